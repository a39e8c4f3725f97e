package images

import (
	"bytes"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// deep returns a picture of 16 bits a sample, which holds every value of them
// but for its alpha, which is never 0.
func deep(alpha bool) *image.NRGBA64 {
	img := image.NewNRGBA64(image.Rect(0, 0, 256, 256))
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 1 << 16 {
		c := color.NRGBA64{R: uint16(i), G: uint16(rnd.Uint32()), B: uint16(i * 40503), A: math.MaxUint16}
		if alpha {
			c.A = uint16(max(1, math.MaxUint16-i))
		}
		img.SetNRGBA64(i%256, i/256, c)
	}
	return img
}

// paint copies a source to a canvas by strips.
func paint(t testing.TB, s *Source, format string, depth int) *Canvas {
	t.Helper()
	w, h := s.Size()
	c, err := NewCanvas(w, h, format, CanvasOptions{Alpha: !s.Opaque(), Depth: depth})
	if err != nil {
		t.Fatal(err)
	}
	for y := 0; y < h; y += 7 {
		strip := New(w, min(7, h-y))
		if !c.Opaque() {
			strip.Alpha = make([]float32, w*strip.H)
		}
		s.ReadRows(strip, y)
		c.WriteRows(strip, y)
	}
	return c
}

// reread encodes a canvas and decodes the result.
func reread(t testing.TB, c *Canvas, o SaveOptions) *Source {
	t.Helper()
	var buf bytes.Buffer
	if err := c.Encode(&buf, o); err != nil {
		t.Fatal(err)
	}
	s, err := Decoder{}.ReadSource(&buf, new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Every value of 16 bits survives reading, floats, writing and reading again.
func Test16BitsStay(t *testing.T) {
	for _, format := range []string{"PNG", "TIFF"} {
		for _, alpha := range []bool{false, true} {
			img := deep(alpha)
			src, err := NewSource(img)
			if err != nil {
				t.Fatal(err)
			}
			if src.Depth() != 16 {
				t.Fatalf("the depth of an image.NRGBA64 is %d", src.Depth())
			}
			for range 2 { // a decoded picture is written again
				if src = reread(t, paint(t, src, format, src.Depth()), SaveOptions{}); src.Depth() != 16 {
					t.Fatalf("%s: the depth is %d", format, src.Depth())
				}
				got := paint(t, src, "PNG", 16)
				if got.Opaque() == alpha || !slices.Equal(got.pix, img.Pix) {
					t.Fatalf("%s, alpha %v: values changed", format, alpha)
				}
			}
		}
	}
}

// A format without 16 bits gets 8, rounded to the nearest.
func TestDepthOfFormats(t *testing.T) {
	src, err := NewSource(deep(false))
	if err != nil {
		t.Fatal(err)
	}
	for format, want := range map[string]int{"PNG": 16, "TIFF": 16, "JPEG": 8, "WebP": 8, "AVIF": 8} {
		if got := paint(t, src, format, 16).Depth(); got != want {
			t.Errorf("a canvas for %s has %d bits, want %d", format, got, want)
		}
	}
	if got := paint(t, src, "PNG", 8).Depth(); got != 8 {
		t.Errorf("a canvas of 8 bits has %d", got)
	}
	if _, err := NewCanvas(1, 1, "PNG", CanvasOptions{Depth: 12}); err == nil {
		t.Error("a canvas of 12 bits was made")
	}
}

// What is read from a canvas is what was painted, rounded.
func TestCanvasIsRead(t *testing.T) {
	p, err := FromImage(noisy(33, 17)["NRGBA64"])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		format string
		o      CanvasOptions
		most   float64
	}{
		{"PNG", CanvasOptions{Alpha: true}, .5},
		{"PNG", CanvasOptions{Alpha: true, Depth: 16}, .5 / 257},
		{"PNG", CanvasOptions{}, .5},
		{"JPEG", CanvasOptions{}, 1.9}, // by way of YCbCr: .5 + .5 + .5·1.772
	} {
		canvas, err := NewCanvas(p.W, p.H, c.format, c.o)
		if err != nil {
			t.Fatal(err)
		}
		canvas.WriteRows(p, 0)
		want := p
		if !c.o.Alpha {
			want = over(p, 255)
		}
		got := New(p.W, 5)
		got.Alpha = make([]float32, p.W*5)
		canvas.ReadRows(got, 9)
		for plane := range 3 {
			for i, v := range got.Plane(plane) {
				if d := math.Abs(float64(v - want.Plane(plane)[9*p.W+i])); d > c.most+1e-4 {
					t.Fatalf("%s %+v: value %d of plane %d is off by %v", c.format, c.o, i, plane, d)
				}
			}
		}
		for i, a := range got.Alpha {
			alpha := float32(1)
			if c.o.Alpha {
				alpha = p.Alpha[9*p.W+i]
			}
			if d := math.Abs(float64(a - alpha)); d > c.most/255+1e-6 {
				t.Fatalf("%s %+v: alpha %d is off by %v", c.format, c.o, i, d)
			}
		}
	}
}

func TestEncodeBytes(t *testing.T) {
	for format, want := range map[string]int64{"PNG": 0, "jpg": 0, "tiff": 0, "webp": 12<<20 + 28*200, "AVIF": 32<<20 + 132*200} {
		if got, err := EncodeBytes(format, 20, 10); err != nil || got != want {
			t.Errorf("%s: %d bytes, %v; want %d", format, got, err, want)
		}
	}
	if _, err := EncodeBytes("gif", 1, 1); err == nil {
		t.Error("gif is taken")
	}
}
