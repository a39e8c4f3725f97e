package images

import (
	"fmt"
	"image"
	"image/png"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestResizeEqualsPillow(t *testing.T) {
	for _, source := range []string{"source", "source-alpha"} {
		src := open(t, "testdata/resize/"+source+".png")
		files, err := filepath.Glob("testdata/resize/" + source + "-[0-9]*.png")
		if err != nil || len(files) != 5 {
			t.Fatalf("%d goldens, %v", len(files), err)
		}
		for _, name := range files {
			want := open(t, name)
			got, err := Resize(src, want.W, want.H)
			if err != nil {
				t.Fatal(err)
			}
			limit := 1.0 // Pillow rounds to bytes after each pass
			if want.Alpha != nil {
				limit = 2.5 // and before and after multiplying by alpha
				for i := range want.Alpha {
					if d := math.Abs(float64(got.Alpha[i] - want.Alpha[i])); d > 1./255 {
						t.Errorf("%s: alpha %d differs by %v", name, i, d)
						break
					}
				}
			}
			if most, _ := differ(t, got, want); most > limit {
				t.Errorf("%s differs by %.3f", name, most)
			}
		}
	}
}

func TestResizeBounds(t *testing.T) {
	p := open(t, "testdata/resize/source.png")
	same, err := Resize(p, p.W, p.H)
	if err != nil {
		t.Fatal(err)
	}
	if most, _ := differ(t, same, p); most != 0 {
		t.Errorf("the same size differs by %v", most)
	}
	if same.Pix[0]++; p.Pix[0] == same.Pix[0] {
		t.Error("the result shares the source's memory")
	}
	for _, size := range [][2]int{{0, 5}, {5, 0}, {-1, 5}} {
		if _, err := Resize(p, size[0], size[1]); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%d×%d", size[0], size[1])) {
			t.Errorf("%v: error %v", size, err)
		}
	}
}

func TestResizeLimit(t *testing.T) {
	for _, side := range [][2]int{{100_000_000, 75_000_000}, {DefaultMaxPixels, 2}, {2, DefaultMaxPixels}, {math.MaxInt, math.MaxInt}} {
		_, err := Resize(New(4, 3), side[0], side[1])
		if err == nil || !strings.Contains(err.Error(), "more than the limit of 1000000000 pixels") {
			t.Errorf("%v: %v", side, err)
		}
	}
	if _, err := FitWithin(New(4, 3), math.MaxInt); err != nil {
		t.Error(err)
	}
}

func TestResizeWeighsColourByAlpha(t *testing.T) {
	// Opaque red beside transparent green: nothing green may show.
	p := &Picture{W: 2, H: 1, Pix: []float32{255, 0, 0, 255, 0, 0}, Alpha: []float32{1, 0}}
	q, err := Resize(p, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := at(q, 0, 0); !near(got, [4]float32{255, 0, 0, .5}, 1e-4) {
		t.Errorf("mixed pixel is %v, want half-transparent red", got)
	}
}

func TestSides(t *testing.T) {
	// Python: k = 128/480; (round(640*k), round(480*k)) and so on.
	for _, c := range []struct {
		f                  func(w, h, size int) (int, int)
		w, h, size, ww, wh int
	}{
		{ShortSide, 640, 480, 128, 171, 128},
		{ShortSide, 3, 2, 1, 2, 1}, // 1.5 rounds to 2
		{ShortSide, 5, 2, 1, 2, 1}, // 2.5 rounds to 2
		{ShortSide, 100, 300, 256, 256, 768},
		{LongSide, 640, 480, 256, 256, 192},
		{LongSide, 5, 2, 1, 1, 1},
		{LongSide, 10, 4000, 100, 1, 100},
	} {
		if w, h := c.f(c.w, c.h, c.size); w != c.ww || h != c.wh {
			t.Errorf("%d×%d to %d is %d×%d, want %d×%d", c.w, c.h, c.size, w, h, c.ww, c.wh)
		}
	}
}

func TestFitWithin(t *testing.T) {
	p := New(40, 30)
	if q, err := FitWithin(p, 40); err != nil || q != p {
		t.Errorf("a picture that fits was changed: %v", err)
	}
	if q, err := FitWithin(p, 20); err != nil || q.W != 20 || q.H != 15 {
		t.Errorf("%v, %v, want 20×15", q, err)
	}
	if _, err := FitWithin(p, 0); err == nil {
		t.Error("fit within nothing")
	}
}

func TestCentre(t *testing.T) {
	wide := decode(t, encodeWith(t, pattern(9, 5, false), png.Encode))
	q, err := Centre(wide, 5)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Crop(wide, 2, 0, 5, 5)
	if err != nil {
		t.Fatal(err)
	}
	if q.W != 5 || q.H != 5 || !slices.Equal(q.Pix, want.Pix) {
		t.Errorf("the centre of 9×5 pixels is %d×%d, and not those from the third column on", q.W, q.H)
	}
	if q, err := Centre(New(30, 70), 8); err != nil || q.W != 8 || q.H != 8 {
		t.Errorf("%v, %v, want 8×8", q, err)
	}
	if _, err := Centre(wide, 0); err == nil {
		t.Error("a centre of nothing")
	}
}

func TestCropAndFlip(t *testing.T) {
	p := decode(t, encodeWith(t, pattern(6, 5, false), png.Encode))
	q, err := Crop(p, 2, 1, 3, 4)
	if err != nil {
		t.Fatal(err)
	}
	f := FlipHorizontal(q)
	for y := range 4 {
		for x := range 3 {
			if at(q, x, y) != at(p, x+2, y+1) {
				t.Errorf("cropped (%d, %d) is %v", x, y, at(q, x, y))
			}
			if at(f, x, y) != at(p, 4-x, y+1) {
				t.Errorf("flipped (%d, %d) is %v", x, y, at(f, x, y))
			}
		}
	}
	for _, c := range [][4]int{{0, 0, 7, 1}, {-1, 0, 1, 1}, {5, 0, 2, 1}, {0, 4, 1, 2}, {0, 0, 0, 1}, {1, 1, math.MaxInt, 1}} {
		if _, err := Crop(p, c[0], c[1], c[2], c[3]); err == nil {
			t.Errorf("crop %v was accepted", c)
		}
	}
}

func TestResamplerCropEqualsResizeAndCrop(t *testing.T) {
	var r Resampler // reused, as the loader does
	stored := encodeWith(t, pattern(37, 23, true), png.Encode)
	for o := 1; o <= 8; o++ {
		s, err := Decoder{}.Source(withPNGExif(stored, o))
		if err != nil {
			t.Fatal(err)
		}
		sw, sh := s.Size()
		for _, c := range []struct {
			w, h int
			crop image.Rectangle
		}{
			{sw, sh, image.Rect(3, 2, 14, 19)},
			{12, 20, image.Rect(1, 5, 10, 17)},
			{60, 51, image.Rect(0, 11, 48, 51)},
			{7, 7, image.Rect(6, 0, 7, 7)},
		} {
			for _, flip := range []bool{false, true} {
				whole, err := Resize(s.Picture(), c.w, c.h)
				if err != nil {
					t.Fatal(err)
				}
				want, err := Crop(whole, c.crop.Min.X, c.crop.Min.Y, c.crop.Dx(), c.crop.Dy())
				if err != nil {
					t.Fatal(err)
				}
				if flip {
					want = FlipHorizontal(want)
				}
				got := New(want.W, want.H)
				if err := r.Crop(got.Pix, s, c.w, c.h, c.crop, flip); err != nil {
					t.Fatal(err)
				}
				if most, _ := differ(t, got, want); most > 1e-3 {
					t.Errorf("orientation %d, %v of %d×%d, flip %v: differs by %v", o, c.crop, c.w, c.h, flip, most)
				}
			}
		}
		if err := r.Crop(make([]float32, 3), s, 10, 10, image.Rect(9, 9, 11, 10), false); err == nil {
			t.Error("a crop outside was accepted")
		}
		if err := r.Crop(make([]float32, 4), s, 10, 10, image.Rect(9, 9, 10, 10), false); err == nil {
			t.Error("a buffer of the wrong size was accepted")
		}
	}
}

func TestKeepColors(t *testing.T) {
	content := &Picture{W: 1, H: 1, Pix: []float32{200, 100, 50}}
	result := &Picture{W: 1, H: 1, Pix: []float32{300, 120, -20}, Alpha: []float32{.5}}
	got := KeepColors(result, content)
	// By hand: Y of the result, clamped to (255, 120, 0), is 146.685; Cb and Cr
	// of the content, Y 124.2, are (50-124.2)·.564 = -41.875 and
	// (200-124.2)·.713 = 54.066 (JFIF). Back to RGB: R = Y + 1.402 Cr,
	// B = Y + 1.772 Cb, G = Y - .344136 Cb - .714136 Cr.
	want := [4]float32{222.485, 122.485, 72.485, .5}
	if v := at(got, 0, 0); !near(v, want, .05) {
		t.Errorf("got %v, want %v", v, want)
	}
	if y := Luminance(got)[0]; math.Abs(float64(y)-146.685) > 1e-3 {
		t.Errorf("luminance %v, want 146.685", y)
	}
	if q := KeepColors(New(4, 3), content); q.W != 4 || q.H != 3 {
		t.Errorf("size %d×%d, want the result's", q.W, q.H)
	}
}

func TestBlend(t *testing.T) {
	a := &Picture{W: 1, H: 1, Pix: []float32{10, 20, 30}, Alpha: []float32{.5}}
	b := &Picture{W: 1, H: 1, Pix: []float32{110, 0, 30.5}}
	for strength, want := range map[float32][4]float32{0: {10, 20, 30, .5}, 1: {110, 0, 30.5, .5}, .25: {35, 15, 30.125, .5}} {
		if got := at(Blend(a, b, strength), 0, 0); got != want {
			t.Errorf("strength %v: %v, want %v", strength, got, want)
		}
	}
}

func BenchmarkCrop(b *testing.B) {
	data := encodeWith(b, pattern(640, 480, true), goJPEG)
	s, err := Decoder{}.Source(data)
	if err != nil {
		b.Fatal(err)
	}
	w, h := ShortSide(640, 480, 256)
	var r Resampler
	dst := make([]float32, 3*256*256)
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Crop(dst, s, w, h, image.Rect(20, 0, 276, 256), false); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPicture1080p(b *testing.B) {
	s, err := Decoder{}.Source(encodeWith(b, pattern(1920, 1080, true), goJPEG))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s.Picture()
	}
}
