package images

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"slices"
	"testing"
)

// noisy fills images of every layout with noise.
func noisy(w, h int) map[string]image.Image {
	rnd := rand.New(rand.NewPCG(7, 7))
	rect := image.Rect(0, 0, w, h)
	all := map[string]image.Image{
		"RGBA": image.NewRGBA(rect), "NRGBA": image.NewNRGBA(rect), "Gray": image.NewGray(rect), "CMYK": image.NewCMYK(rect),
		"NRGBA64": image.NewNRGBA64(rect), "RGBA64": image.NewRGBA64(rect), "Gray16": image.NewGray16(rect),
		"YCbCr":    image.NewYCbCr(rect, image.YCbCrSubsampleRatio420),
		"NYCbCrA":  image.NewNYCbCrA(rect, image.YCbCrSubsampleRatio422),
		"Paletted": image.NewPaletted(rect, []color.Color{color.Black, color.White, color.NRGBA{R: 9, A: 77}}),
	}
	for _, img := range all {
		for y := range h {
			for x := range w {
				c := color.NRGBA64{uint16(rnd.Uint32()), uint16(rnd.Uint32()), uint16(rnd.Uint32()), uint16(rnd.Uint32())}
				switch img := img.(type) {
				case interface{ Set(x, y int, c color.Color) }:
					img.Set(x, y, c)
				case *image.YCbCr:
					img.Y[img.YOffset(x, y)], img.Cb[img.COffset(x, y)], img.Cr[img.COffset(x, y)] = uint8(c.R), uint8(c.G), uint8(c.B)
				case *image.NYCbCrA:
					img.Y[img.YOffset(x, y)], img.Cb[img.COffset(x, y)], img.A[img.AOffset(x, y)] = uint8(c.R), uint8(c.G), uint8(c.A)
				}
			}
		}
	}
	return all
}

// Strips of a source, turned in any way, are the rows of its picture, and
// writing them gives the picture again.
func TestStripsOfSources(t *testing.T) {
	for name, img := range noisy(7, 5) {
		for o := upright; o <= 8; o++ {
			s, err := NewSource(img)
			if err != nil {
				t.Fatal(err)
			}
			s.orient = o
			want := s.Picture()
			if s.Opaque() != want.Opaque() {
				t.Errorf("%s: opaque is %v, of its picture %v", name, s.Opaque(), want.Opaque())
			}
			if s.Bytes() < 7*5 || s.Bytes() > 8*7*5 {
				t.Errorf("%s takes %d bytes", name, s.Bytes())
			}
			for _, alpha := range []bool{true, false} {
				for _, n := range []int{1, 2, 3, want.H} {
					for _, from := range []Reader{s, want} {
						got := New(want.W, want.H)
						if alpha && want.Alpha != nil {
							got.Alpha = make([]float32, want.W*want.H)
						}
						for y := 0; y < want.H; y += n {
							strip := New(want.W, min(n, want.H-y))
							if alpha {
								strip.Alpha = make([]float32, strip.W*strip.H)
							}
							from.ReadRows(strip, y)
							got.WriteRows(strip, y)
						}
						if !slices.Equal(got.Pix, want.Pix) || alpha && !slices.Equal(got.Alpha, want.Alpha) {
							t.Errorf("%s, orientation %d, strips of %d rows of a %T: they differ from the picture", name, o, n, from)
						}
					}
				}
			}
		}
	}
}

// Painted by strips, a canvas encodes as the image package's types do.
func TestCanvas(t *testing.T) {
	p, err := FromImage(noisy(33, 17)["NRGBA"])
	if err != nil {
		t.Fatal(err)
	}
	opaque := p.Clone()
	opaque.Alpha = nil
	for _, c := range []struct {
		p      *Picture
		format string
		bytes  int64
	}{{p, "PNG", 4}, {opaque, "png", 4}, {p, "JPEG", 3}, {opaque, "jpeg", 3}} {
		t.Run(fmt.Sprint(c.format, c.p.Opaque()), func(t *testing.T) {
			canvas, err := NewCanvas(33, 17, c.format, CanvasOptions{Alpha: !c.p.Opaque()})
			if err != nil {
				t.Fatal(err)
			}
			if got := canvas.Bytes(); got != c.bytes*33*17 {
				t.Errorf("it takes %d bytes", got)
			}
			for y := 0; y < 17; y += 4 {
				strip, err := Crop(c.p, 0, y, 33, min(4, 17-y))
				if err != nil {
					t.Fatal(err)
				}
				canvas.WriteRows(strip, y)
			}
			var got, want bytes.Buffer
			if err := canvas.Encode(&got, SaveOptions{Quality: 90}); err != nil {
				t.Fatal(err)
			}
			if c.bytes == 3 {
				err = jpeg.Encode(&want, over(c.p, 255).Image(), &jpeg.Options{Quality: 90})
			} else {
				err = Encode(&want, c.p, "PNG", SaveOptions{})
			}
			if err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
				t.Errorf("the files differ (%v)", err)
			}
		})
	}
	if _, err := NewCanvas(3, 0, "PNG", CanvasOptions{}); err == nil {
		t.Error("an empty canvas was made")
	}
}

// A canvas without alpha shows pictures with alpha on white.
func TestCanvasBackground(t *testing.T) {
	c, err := NewCanvas(1, 1, "PNG", CanvasOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.WriteRows(&Picture{W: 1, H: 1, Pix: []float32{0, 100, 200}, Alpha: []float32{.5}}, 0)
	if got, want := c.Image().At(0, 0), (color.RGBA{128, 178, 228, 255}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestFitWithinOfSources(t *testing.T) {
	for name, img := range noisy(17, 9) {
		for _, o := range []orientation{upright, 6} {
			s, err := NewSource(img)
			if err != nil {
				t.Fatal(err)
			}
			s.orient = o
			for _, size := range []int{5, 16, 17} {
				want, err := FitWithin(s.Picture(), size)
				if err != nil {
					t.Fatal(err)
				}
				r, err := s.FitWithin(size)
				if err != nil {
					t.Fatal(err)
				}
				got := New(r.Size())
				r.ReadRows(got, 0)
				if got.W != want.W || got.H != want.H || r.Opaque() != want.Opaque() || (size == 17) != (r == Reader(s)) {
					t.Fatalf("%s within %d is %d×%d", name, size, got.W, got.H)
				}
				for i, v := range want.Pix {
					if d := v - got.Pix[i]; d > 1e-3 || d < -1e-3 {
						t.Fatalf("%s, orientation %d, within %d: value %d is %v, want %v", name, o, size, i, got.Pix[i], v)
					}
				}
			}
		}
	}
}
