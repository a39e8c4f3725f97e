package images

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// golden is what testdata/make_metrics.py computes from the papers' formulas.
type golden struct {
	Pairs []struct {
		A, B           string
		Luma, RGB, Lab float64
	}
	At      []int
	Matched [][3]float64
}

func readGolden(t *testing.T) golden {
	t.Helper()
	data, err := os.ReadFile("testdata/metrics/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestMetricsEqualPython(t *testing.T) {
	g := readGolden(t)
	if len(g.Pairs) < 3 {
		t.Fatalf("%d pairs", len(g.Pairs))
	}
	for _, c := range g.Pairs {
		a, b := open(t, filepath.Join("testdata", c.A)), open(t, filepath.Join("testdata", c.B))
		s, err := MeasureSSIM(a, b)
		if err != nil {
			t.Fatal(err)
		}
		lab, err := ColorDistance(a, b)
		if err != nil {
			t.Fatal(err)
		}
		for name, v := range map[string][2]float64{"luma": {s.Luma, c.Luma}, "rgb": {s.RGB, c.RGB}, "lab": {lab, c.Lab}} {
			if d := math.Abs(v[0] - v[1]); !(d < 1e-5*max(1, v[1])) {
				t.Errorf("%s, %s: %s is %v, want %v", c.A, c.B, name, v[0], v[1])
			}
		}
	}
}

// plain is a picture of one colour.
func plain(w, h int, r, g, b float32) *Picture {
	p := New(w, h)
	for c, v := range []float32{r, g, b} {
		fill(p.Plane(c), v)
	}
	return p
}

func TestMetricsByHand(t *testing.T) {
	// Without variance only the comparison of means is left:
	// (2·60·180 + C1) / (60² + 180² + C1), C1 = 6.5025.
	s, err := MeasureSSIM(plain(11, 11, 60, 60, 60), plain(11, 11, 180, 180, 180))
	if want := (2*60*180 + 6.5025) / (60*60 + 180*180 + 6.5025); err != nil || math.Abs(s.Luma-want) > 1e-6 || math.Abs(s.RGB-want) > 1e-6 {
		t.Errorf("ssim of greys is %v, %v, want %v", s, err, want)
	}
	p := open(t, "testdata/resize/source.png")
	if s, err = MeasureSSIM(p, p); err != nil || s.Luma != 1 || s.RGB != 1 {
		t.Errorf("ssim of a picture with itself is %v, %v", s, err)
	}
	for name, c := range map[string]struct {
		a, b *Picture
		want float64
	}{
		"equal":           {p, p, 0},
		"black and white": {plain(3, 2, 0, 0, 0), plain(3, 2, 255, 255, 255), 100},
		// sRGB's red is L*a*b* 53.23, 80.11, 67.22.
		"red and black":  {plain(1, 1, 255, 0, 0), plain(1, 1, 0, 0, 0), math.Sqrt(53.23*53.23 + 80.11*80.11 + 67.22*67.22)},
		"outside 0..255": {plain(1, 1, -40, 300, 0), plain(1, 1, 0, 255, 0), 0},
	} {
		if got, err := ColorDistance(c.a, c.b); err != nil || math.Abs(got-c.want) > .02 {
			t.Errorf("%s: the distance is %v, %v, want %v", name, got, err, c.want)
		}
	}
}

func TestMetricsRefuse(t *testing.T) {
	if _, err := MeasureSSIM(New(20, 10), New(20, 10)); err == nil {
		t.Error("ssim of a picture that is smaller than its window")
	}
	if _, err := MeasureSSIM(New(20, 20), New(21, 20)); err == nil {
		t.Error("ssim of pictures of different size")
	}
	if _, err := ColorDistance(New(2, 2), New(2, 3)); err == nil {
		t.Error("a distance of pictures of different size")
	}
	if _, err := ColorDistance(New(0, 0), New(0, 0)); err == nil {
		t.Error("a distance of empty pictures")
	}
}
