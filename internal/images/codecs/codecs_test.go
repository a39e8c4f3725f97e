package codecs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"math"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/image/webp"
)

// gradient is a picture, (h, w, R G B A), whose alpha falls to the right where it
// is not opaque.
func gradient(w, h int, opaque bool) []byte {
	var pix []byte
	for y := range h {
		for x := range w {
			a := 255
			if !opaque {
				a = 255 - 255*x/w
			}
			pix = append(pix, byte(255*x/w), byte(255*y/h), byte(128+64*math.Sin(float64(x+y)/9)), byte(a))
		}
	}
	return pix
}

// distance is the mean difference of the colours of two pictures.
func distance(a, b []byte) float64 {
	sum := 0.
	for i := range a {
		if i%4 != 3 {
			sum += math.Abs(float64(a[i]) - float64(b[i]))
		}
	}
	return sum / float64(len(a)/4*3)
}

func TestModulesAreThoseOfTheirSums(t *testing.T) {
	sums, err := os.ReadFile("SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string][]byte{"webp": webpModule, "avif-encode": avifEncodeModule, "avif-decode": avifDecodeModule} {
		if want := fmt.Sprintf("%x  %s.wasm.gz\n", sha256.Sum256(file), name); !strings.Contains(string(sums), want) {
			t.Errorf("SHA256SUMS lacks %s", want)
		}
	}
}

func TestWebPWithoutLoss(t *testing.T) {
	for _, opaque := range []bool{true, false} {
		pix := gradient(37, 21, opaque)
		file, err := EncodeWebP(37, 21, pix, 100, true)
		if err != nil {
			t.Fatal(err)
		}
		img, err := webp.Decode(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		got, ok := img.(*image.NRGBA)
		if !ok || got.Rect != image.Rect(0, 0, 37, 21) || !bytes.Equal(got.Pix, pix) {
			t.Errorf("opaque %v: the picture, a %T, changed", opaque, img)
		}
	}
}

func TestWebPQuality(t *testing.T) {
	pix := gradient(200, 100, true)
	last, lastDistance := 0, math.Inf(1)
	for _, quality := range []int{5, 50, 99} {
		file, err := EncodeWebP(200, 100, pix, quality, false)
		if err != nil {
			t.Fatal(err)
		}
		img, err := webp.Decode(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for y := range 100 {
			for x := range 200 {
				r, g, b, a := img.At(x, y).RGBA()
				got = append(got, byte(r>>8), byte(g>>8), byte(b>>8), byte(a>>8))
			}
		}
		// What x/image takes for the full range of YCbCr is BT.601's, so that
		// the distance has a floor.
		d := distance(got, pix)
		if len(file) <= last || d >= lastDistance || d > 15 {
			t.Errorf("quality %d: %d bytes after %d, distance %.2f after %.2f", quality, len(file), last, d, lastDistance)
		}
		last, lastDistance = len(file), d
	}
}

func TestAVIF(t *testing.T) {
	pix := gradient(101, 67, true)
	last, lastDistance := 0, math.Inf(1)
	for _, quality := range []int{5, 60, 95} {
		file, err := EncodeAVIF(101, 67, pix, quality)
		if err != nil {
			t.Fatal(err)
		}
		p, err := DecodeAVIF(file, 101*67)
		if err != nil {
			t.Fatal(err)
		}
		if p.W != 101 || p.H != 67 || p.Depth != 8 || len(p.Pix) != len(pix) {
			t.Fatalf("%d×%d of %d bits", p.W, p.H, p.Depth)
		}
		d := distance(p.Pix, pix)
		if len(file) <= last || d >= lastDistance || d > 8 {
			t.Errorf("quality %d: %d bytes after %d, distance %.2f after %.2f", quality, len(file), last, d, lastDistance)
		}
		last, lastDistance = len(file), d
	}
	if lastDistance > 1 {
		t.Errorf("quality 95 differs by %.2f", lastDistance)
	}
}

func TestAVIFOf10Bits(t *testing.T) {
	file, err := os.ReadFile("testdata/10bit.avif")
	if err != nil {
		t.Fatal(err)
	}
	p, err := DecodeAVIF(file, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	// testdata/make_avif.py draws a ramp of all 1024 greys.
	if p.W != 1024 || p.H != 8 || p.Depth != 16 {
		t.Fatalf("%d×%d of %d bits", p.W, p.H, p.Depth)
	}
	values := map[int]bool{}
	for x := range p.W {
		v := int(p.Pix[8*x])<<8 | int(p.Pix[8*x+1])
		values[v] = true
		if want := x * 65535 / 1023; v < want-400 || v > want+400 {
			t.Fatalf("value %d is %d, want %d", x, v, want)
		}
	}
	if len(values) < 600 {
		t.Errorf("%d different values: no more than of 8 bits", len(values))
	}
}

// A picture whose pixels are damaged is an error, not an empty picture.
func TestDamagedAVIF(t *testing.T) {
	good, err := EncodeAVIF(64, 64, gradient(64, 64, true), 50)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(good, []byte("mdat")) + 4
	if at < 4 {
		t.Fatal("no mdat box")
	}
	noise := bytes.Clone(good)
	for i := at; i < len(noise); i++ {
		noise[i] = byte(i * 37)
	}
	for name, file := range map[string][]byte{
		"noise": noise, "cut": good[:at+20], "cut in its boxes": good[:at-40], "empty": {}, "text": []byte("this is no AVIF file"),
	} {
		if p, err := DecodeAVIF(file, 1<<20); err == nil {
			t.Errorf("%s: a picture of %d×%d", name, p.W, p.H)
		} else if errors.Is(err, ErrUnable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var size *SizeError
	if _, err := DecodeAVIF(good, 64*64-1); !errors.As(err, &size) || size.W != 64 {
		t.Errorf("a picture over the limit: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct{ w, h, n int }{{0, 1, 0}, {1, 0, 0}, {2, 2, 15}, {-1, -1, 4}, {1 << 20, 1 << 20, 16}} {
		if _, err := EncodeWebP(c.w, c.h, make([]byte, c.n), 50, false); err == nil {
			t.Errorf("WebP of %d×%d with %d bytes", c.w, c.h, c.n)
		}
		if _, err := EncodeAVIF(c.w, c.h, make([]byte, c.n), 50); err == nil {
			t.Errorf("AVIF of %d×%d with %d bytes", c.w, c.h, c.n)
		}
	}
	if _, err := EncodeWebP(1<<14, 1, make([]byte, 4<<14), 50, false); err == nil || !strings.Contains(err.Error(), "libwebp") {
		t.Errorf("WebP of 16384 pixels: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	pix := gradient(40, 30, true)
	want, err := EncodeWebP(40, 30, pix, 80, false)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := EncodeWebP(40, 30, pix, 80, false); err != nil || !bytes.Equal(got, want) {
				t.Errorf("another file (%v)", err)
			}
		})
	}
	wg.Wait()
}
