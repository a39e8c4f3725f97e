package images

import (
	"image"
	"image/color"
	"testing"
)

func TestFromImage(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 3, 2))
	img.SetNRGBA(1, 0, color.NRGBA{R: 10, G: 20, B: 30, A: 255})
	img.SetNRGBA(2, 1, color.NRGBA{R: 200, G: 100, B: 50, A: 51})
	for _, c := range []struct {
		img  image.Image
		w, h int
		at   int // of the half transparent pixel
	}{
		{img, 3, 2, 5},
		{img.SubImage(image.Rect(1, 0, 3, 2)), 2, 2, 3},
	} {
		p, err := FromImage(c.img)
		if err != nil {
			t.Fatal(err)
		}
		if p.W != c.w || p.H != c.h {
			t.Fatalf("%d×%d, want %d×%d", p.W, p.H, c.w, c.h)
		}
		for plane, want := range []float32{200, 100, 50} {
			if got := p.Plane(plane)[c.at]; got < want-.01 || got > want+.01 {
				t.Errorf("plane %d is %v, want %v", plane, got, want)
			}
		}
		if got := p.Alpha[c.at]; got < .1999 || got > .2001 {
			t.Errorf("alpha is %v, want .2", got)
		}
	}
	if _, err := FromImage(image.NewRGBA(image.Rectangle{})); err == nil {
		t.Error("an empty image was accepted")
	}
}
