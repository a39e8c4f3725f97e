package images

import (
	"math"
	"math/rand/v2"
	"testing"
)

func stats(t *testing.T, r Reader) *ColorStats {
	t.Helper()
	var s ColorStats
	eachStrip(r, func(rows *Picture, _ int) { s.Add(rows) })
	return &s
}

// sameStats compares means, and covariances in units of 1.
func sameStats(t *testing.T, what string, got, want *ColorStats, mean, covariance float64) {
	t.Helper()
	g, w := got.Covariance(), want.Covariance()
	for a := range 3 {
		if d := math.Abs(got.Mean()[a] - want.Mean()[a]); !(d <= mean) {
			t.Errorf("%s: the mean is %.3f, want %.3f", what, got.Mean(), want.Mean())
			return
		}
		for b := range 3 {
			if d := math.Abs(g[a][b] - w[a][b]); !(d <= covariance) {
				t.Errorf("%s: the covariance is %.3f, want %.3f", what, g, w)
				return
			}
		}
	}
}

func TestColorStats(t *testing.T) {
	p := New(3, 1)
	copy(p.Pix, []float32{10, 20, 30, 5, 5, 5, 30, 20, 10})
	s := stats(t, p)
	want := ColorStats{weight: 3, mean: [3]float64{20, 5, 20}, moments: [3][3]float64{{200, 0, -200}, {0, 0, 0}, {-200, 0, 200}}}
	sameStats(t, "three pixels", s, &want, 1e-12, 1e-12)
	// A pixel of half alpha counts half, one of none not at all.
	p.Alpha = []float32{1, .5, 0}
	s = stats(t, p)
	third := 1. / 3
	want = ColorStats{weight: 1.5, mean: [3]float64{10 + 10*third, 5, 30 - 10*third}}
	v := 1.5 * 100 * (2 * third) * third
	want.moments = [3][3]float64{{v, 0, -v}, {0, 0, 0}, {-v, 0, v}}
	sameStats(t, "with alpha", s, &want, 1e-9, 1e-9)
	// Strips of any height are the whole, also where the mean is large and the
	// variance small.
	rnd := rand.New(rand.NewPCG(4, 4))
	whole := New(37, 41)
	for i := range whole.Pix {
		whole.Pix[i] = 250 + rnd.Float32()*.01
	}
	var strips ColorStats
	for y := 0; y < whole.H; y += 3 {
		rows := New(whole.W, min(3, whole.H-y))
		whole.ReadRows(rows, y)
		strips.Add(rows)
	}
	var all ColorStats
	all.Add(whole)
	sameStats(t, "strips", &strips, &all, 1e-9, 1e-12)
	if v := all.Covariance()[0][0]; v < 7e-6 || v > 1e-5 { // .01²/12
		t.Errorf("the variance is %v", v)
	}
}

func TestMatchColorsEqualsPython(t *testing.T) {
	g := readGolden(t)
	p := open(t, "testdata/resize/source.png")
	from, to := stats(t, p), stats(t, open(t, "testdata/decode/444.jpg.png"))
	m, err := NewColorMap(from, to)
	if err != nil {
		t.Fatal(err)
	}
	m.Apply(p)
	for k, i := range g.At {
		for c, want := range g.Matched[k] {
			if got := float64(p.Plane(c)[i]); math.Abs(got-want) > 1e-3 {
				t.Errorf("pixel %d, plane %d: %v, want %v", i, c, got, want)
			}
		}
	}
	sameStats(t, "the result", stats(t, p), to, 1e-3, 1e-1)
}

// readWriter is a picture that is read and written by strips of rows: a
// *Picture, or a *Canvas.
type readWriter interface {
	Reader
	Writer
}

// matchColors gives the colours of p the mean and the covariance of those of like,
// by strips, as callers do.
func matchColors(p readWriter, like Reader) error {
	var from, to ColorStats
	eachStrip(p, func(rows *Picture, _ int) { from.Add(rows) })
	eachStrip(like, func(rows *Picture, _ int) { to.Add(rows) })
	m, err := NewColorMap(&from, &to)
	if err != nil {
		return err
	}
	eachStrip(p, func(rows *Picture, y int) {
		m.Apply(rows)
		for i, v := range rows.Pix {
			rows.Pix[i] = clamp(v)
		}
		p.WriteRows(rows, y)
	})
	return nil
}

func TestMatchColors(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	noise := func(w, h int, mean, spread [3]float32, shared float32) *Picture {
		p := New(w, h)
		for i := range w * h {
			common := shared * (rnd.Float32() - .5)
			for c := range 3 {
				p.Plane(c)[i] = mean[c] + spread[c]*(rnd.Float32()-.5) + common
			}
		}
		return p
	}
	style := noise(90, 70, [3]float32{60, 130, 180}, [3]float32{60, 20, 90}, 30)
	content := noise(50, 80, [3]float32{140, 120, 100}, [3]float32{40, 50, 30}, 50)
	want := stats(t, content)

	canvas := func(format string, depth int) *Canvas {
		c, err := NewCanvas(style.W, style.H, format, CanvasOptions{Depth: depth})
		if err != nil {
			t.Fatal(err)
		}
		c.WriteRows(style, 0)
		return c
	}
	for _, c := range []struct {
		name             string
		p                readWriter
		mean, covariance float64
	}{
		{"a picture", style.Clone(), 1e-3, .05},
		{"a canvas of 16 bits", canvas("TIFF", 16), 1e-2, .1},
		{"a canvas of 8 bits", canvas("PNG", 8), .1, 3},
		{"a canvas of JPEG", canvas("JPEG", 8), .5, 12},
	} {
		if err := matchColors(c.p, content); err != nil {
			t.Fatal(err)
		}
		sameStats(t, c.name, stats(t, c.p), want, c.mean, c.covariance)
	}
}

// Pictures without colours, or of one colour, get no noise for colours.
func TestMatchColorsOfFlatPictures(t *testing.T) {
	content := open(t, "testdata/resize/source.png")
	flat := plain(9, 9, 30, 60, 90)
	if err := matchColors(flat, content); err != nil {
		t.Fatal(err)
	}
	mean := stats(t, content).Mean()
	for c := range 3 {
		for _, v := range flat.Plane(c) {
			if math.Abs(float64(v)-mean[c]) > 1e-2 {
				t.Fatalf("one colour became %v, want the mean %v", v, mean)
			}
		}
	}
	grey := New(64, 64)
	for i := range 64 * 64 {
		for c := range 3 {
			grey.Plane(c)[i] = float32(i/64) + .1*float32(c)
		}
	}
	if err := matchColors(grey, content); err != nil {
		t.Fatal(err)
	}
	// The content's colours vary in three directions, grey in one.
	got, want := stats(t, grey).Covariance(), stats(t, content).Covariance()
	if trace, most := got[0][0]+got[1][1]+got[2][2], want[0][0]+want[1][1]+want[2][2]; trace > most || trace < most/10 {
		t.Errorf("the variance is %v, the content's %v", trace, most)
	}
	if err := matchColors(content, plain(5, 5, 10, 20, 30)); err != nil {
		t.Fatal(err)
	}
	sameStats(t, "like one colour", stats(t, content), stats(t, plain(5, 5, 10, 20, 30)), 1e-3, 1e-3)

	clear := plain(4, 4, 1, 2, 3)
	clear.Alpha = make([]float32, 16)
	before := clear.Clone()
	if err := matchColors(clear, flat); err != nil || clear.Pix[0] != before.Pix[0] {
		t.Errorf("a picture that is not seen changed (%v)", err)
	}
	broken := plain(4, 4, 1, 2, float32(math.NaN()))
	if err := matchColors(broken, flat); err == nil {
		t.Error("colours that are no numbers were matched")
	}
}
