package evaluate

import (
	"errors"
	"image"
	"math"
	"strings"
	"testing"

	"stylenet/internal/images"
	"stylenet/internal/kernels/reference"
	"stylenet/internal/scenes"
	"stylenet/internal/vgg"
)

func open(t *testing.T, style *images.Picture, c Conditions) *Judge {
	t.Helper()
	dev := reference.New(0)
	w, err := vgg.Random(dev, 1)
	if err != nil {
		t.Fatal(err)
	}
	j, err := New(dev, w, style, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(j.Close(), dev.Close()); err != nil {
			t.Error(err)
		}
	})
	return j
}

func small() Conditions {
	return Conditions{ContentLayers: []string{"relu2_1"}, StyleLayers: []string{"relu1_1", "relu2_1"}, Size: minSize, StyleSize: minSize}
}

func scene(t *testing.T, img image.Image) *images.Picture {
	t.Helper()
	p, err := images.FromImage(img)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The photo is equal to itself; the painting has its own style; what is between
// them is between them.
func TestScores(t *testing.T) {
	style := scene(t, scenes.Painting(5, minSize, minSize))
	j := open(t, style, small())
	photo, err := j.Photo(scene(t, scenes.Photo(2, minSize, minSize)))
	if err != nil {
		t.Fatal(err)
	}
	judge := func(p *images.Picture) Scores {
		s, err := j.Judge(photo, p)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Content) != 1 || len(s.Style) != 2 {
			t.Fatalf("%d layers of content and %d of style", len(s.Content), len(s.Style))
		}
		return s
	}
	same, other, half := judge(photo), judge(style), judge(images.Blend(photo, style, .5))
	if Sum(same.Content) != 0 || same.SSIM < .9999 || same.ColorDistance != 0 || Sum(same.Style) <= 0 {
		t.Errorf("the photo itself: %+v", same)
	}
	if Sum(other.Style) > 1e-9*Sum(same.Style) || Sum(other.Content) <= 0 {
		t.Errorf("the painting itself: %+v, and the photo %+v", other, same)
	}
	if !(Sum(half.Content) > 0 && Sum(half.Content) < Sum(other.Content) && half.SSIM < 1 && half.SSIM > other.SSIM &&
		half.ColorDistance > 0 && half.ColorDistance < other.ColorDistance) {
		t.Errorf("half of either: %+v, and the painting %+v", half, other)
	}
	var m Mean
	m.Add(same)
	m.Add(other)
	mean := m.Scores()
	if math.Abs(mean.SSIM-(same.SSIM+other.SSIM)/2) > 1e-12 ||
		math.Abs(mean.Style[1]-(same.Style[1]+other.Style[1])/2) > 1e-12*same.Style[1] || mean.Content[0] != other.Content[0]/2 {
		t.Errorf("the mean is %+v", mean)
	}
	if c := j.Conditions(); !strings.Contains(c.VGG, "seed 1") || c.Gram != Gram {
		t.Errorf("conditions %+v", c)
	}
	t.Run("photo", func(t *testing.T) { testPhoto(t, j) })
}

func testPhoto(t *testing.T, j *Judge) {
	p := images.New(4*minSize, 2*minSize)
	for i := range p.Plane(0) {
		p.Plane(0)[i] = float32(i % p.W)
	}
	p.Alpha = make([]float32, p.W*p.H)
	got, err := j.Photo(p)
	if err != nil {
		t.Fatal(err)
	}
	if got.W != minSize || got.H != minSize || got.Alpha != nil {
		t.Errorf("%d×%d, alpha %v", got.W, got.H, got.Alpha != nil)
	}
	p.Alpha = nil
	if got, err = j.Photo(p); err != nil || math.Abs(float64(got.Pix[0])-float64(minSize)-.5) > 1 {
		t.Errorf("the crop begins with %v, want the column %d (%v)", got.Pix[0], minSize, err)
	}
	if _, err := j.Photo(images.New(minSize-1, 500)); err == nil || !strings.Contains(err.Error(), "63×500 pixels is smaller than the 64×64") {
		t.Errorf("got %v", err)
	}
	if _, err := j.Judge(got, images.New(3, 3)); err == nil || !strings.Contains(err.Error(), "a picture of 3×3 pixels, not of 64×64") {
		t.Errorf("got %v", err)
	}
}

func TestConditions(t *testing.T) {
	if err := Default().Check(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Conditions){
		"photos of 63 pixels":          func(c *Conditions) { c.Size = 63 },
		"a style of 0 pixels":          func(c *Conditions) { c.StyleSize = 0 },
		"at least one layer":           func(c *Conditions) { c.StyleLayers = nil },
		`no layer "relu9"`:             func(c *Conditions) { c.ContentLayers = []string{"relu9"} },
		"layer relu1_1 is named twice": func(c *Conditions) { c.StyleLayers = []string{"relu1_1", "relu1_1"} },
	} {
		c := Default()
		change(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
