package images

import (
	"bytes"
	"image"
	"image/png"
	"strings"
	"testing"
)

func TestCropPlanes(t *testing.T) {
	p := open(t, "testdata/resize/source.png")
	var file bytes.Buffer
	if err := Encode(&file, p, "PNG", SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	s, err := Decoder{}.Source(file.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	var r Resampler
	fromW, fromH := p.W*2/3, p.H*3/4
	whole := Planes{W: fromW, H: fromH, Rect: image.Rect(0, 0, fromW, fromH)}
	if err := r.Planes(&whole, s); err != nil {
		t.Fatal(err)
	}

	// The pixels are those of Resize, rounded as a file's are.
	small, err := Resize(p, fromW, fromH)
	if err != nil {
		t.Fatal(err)
	}
	file.Reset()
	if err := png.Encode(&file, small.Image()); err != nil {
		t.Fatal(err)
	}
	rounded, err := Decode(&file)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range rounded.Pix {
		if float32(whole.Pix[i]) != v {
			t.Fatalf("value %d is %d, want %v", i, whole.Pix[i], v)
		}
	}

	for _, size := range []image.Point{{fromW, fromH}, {fromW * 2 / 3, fromH * 4 / 5}, {fromW * 2, fromH * 3 / 2}} {
		want, err := Resize(rounded, size.X, size.Y)
		if err != nil {
			t.Fatal(err)
		}
		rect := image.Rect(size.X/4, size.Y/3, size.X*3/4, size.Y)
		if want, err = Crop(want, rect.Min.X, rect.Min.Y, rect.Dx(), rect.Dy()); err != nil {
			t.Fatal(err)
		}
		part := Planes{W: fromW, H: fromH, Rect: r.Reach(fromW, fromH, size.X, size.Y, rect)}
		if err := r.Planes(&part, s); err != nil {
			t.Fatal(err)
		}
		got := make([]float32, len(want.Pix))
		for _, flip := range []bool{false, true} {
			if flip {
				want = FlipHorizontal(want)
			}
			for name, from := range map[string]*Planes{"the whole": &whole, "a part": &part} {
				if err := r.CropPlanes(got, from, size.X, size.Y, rect, flip); err != nil {
					t.Fatal(err)
				}
				for i, v := range want.Pix {
					if got[i] != v {
						t.Fatalf("%v of %s, flip %v: value %d is %v, want %v", size, name, flip, i, got[i], v)
					}
				}
			}
		}
	}

	dst := make([]float32, 3*4*4)
	for phrase, c := range map[string]struct {
		p    Planes
		dst  []float32
		w, h int
		crop image.Rectangle
	}{
		"cannot crop":     {whole, dst, fromW, fromH, image.Rect(-1, 0, 3, 4)},
		"made of one":     {Planes{}, dst, 4, 4, image.Rect(0, 0, 4, 4)},
		"has 48 values":   {whole, dst[1:], fromW, fromH, image.Rect(0, 0, 4, 4)},
		"needs more than": {Planes{W: fromW, H: fromH, Rect: image.Rect(0, 0, 4, 4), Pix: make([]uint8, 48)}, dst, fromW, fromH, image.Rect(1, 0, 5, 4)},
		"the part (0,0)-": {Planes{W: fromW, H: fromH, Rect: whole.Rect, Pix: whole.Pix[1:]}, dst, fromW, fromH, image.Rect(0, 0, 4, 4)},
	} {
		if err := r.CropPlanes(c.dst, &c.p, c.w, c.h, c.crop, false); err == nil || !strings.Contains(err.Error(), phrase) {
			t.Errorf("error %v lacks %q", err, phrase)
		}
	}
}
