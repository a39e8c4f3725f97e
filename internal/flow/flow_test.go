package flow_test

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"

	"stylenet/internal/flow"
	"stylenet/internal/images"
	"stylenet/internal/motion"
	"stylenet/internal/scenes"
)

// still is a clip of one layer that does not move by itself.
func still(seed uint64, w, h int, pose func(t float64) motion.Pose) *motion.Clip {
	c := motion.Drawn(seed, w, h)
	c.Layers = c.Layers[:1]
	c.Layers[0].Pose = pose
	return c
}

// Drawn scenes that move in known ways: the mean length of the error (the end
// point error), where what moves is seen in both frames.
func TestFlow(t *testing.T) {
	const w, h = 240, 180
	for name, c := range map[string]struct {
		clip      *motion.Clip
		from      int     // the frame; the next one is the other
		mean, big float64 // at most: the mean error, and the share of pixels off by more than 1
	}{
		"shift":       {still(2, w, h, func(t float64) motion.Pose { return motion.Pose{X: 5 * t, Y: 3 * t, Scale: .5} }), 0, 0.1, 0.01},
		"large shift": {still(2, w, h, func(t float64) motion.Pose { return motion.Pose{X: -31 * t, Y: 14 * t, Scale: .5} }), 0, 0.3, 0.05},
		"part shift":  {still(5, w, h, func(t float64) motion.Pose { return motion.Pose{X: .4 * t, Y: -.3 * t, Scale: .5} }), 0, 0.1, 0.01},
		"zoom":        {still(2, w, h, func(t float64) motion.Pose { return motion.Pose{Scale: .5 * (1 + .05*t)} }), 0, 0.15, 0.01},
		"turn":        {still(2, w, h, func(t float64) motion.Pose { return motion.Pose{Scale: .5, Turn: .05 * t} }), 0, 0.15, 0.01},
		"object":      {motion.Drawn(2, w, h), 20, 0.35, 0.06},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := c.from, c.from+1
			a, b := luma(c.clip, from), luma(c.clip, to)
			truth, seen := c.clip.Motion(from, to)
			f, err := flow.Between(a, b, w, h, flow.Options{})
			if err != nil {
				t.Fatal(err)
			}
			mean, big := errorOf(f, truth, seen)
			t.Logf("mean error %.3f, %.2f%% off by more than 1", mean, 100*big)
			if mean > c.mean || big > c.big {
				t.Errorf("the mean error is %.3f pixels, and %.2f%% are off by more than 1; want at most %v and %v%%", mean, 100*big, c.mean, 100*c.big)
			}
		})
	}
}

func errorOf(f, truth *flow.Field, seen []float32) (mean, big float64) {
	n := 0.
	for i, s := range seen {
		if s == 0 {
			continue
		}
		d := math.Hypot(float64(f.U[i]-truth.U[i]), float64(f.V[i]-truth.V[i]))
		mean += d
		if !(d <= 1) {
			big++
		}
		n++
	}
	return mean / n, big / n
}

func luma(c *motion.Clip, t int) []float32 { return images.Luminance(c.Frame(t)) }

// A shift by whole pixels is measured everywhere, not only on the whole.
func TestShift(t *testing.T) {
	const w, h = 200, 150
	big := scenes.Photo(3, w+20, h+20)
	cut := func(dx, dy int) []float32 {
		p := make([]float32, w*h)
		for i := range p {
			c := big.RGBAAt(10+i%w-dx, 10+i/w-dy)
			p[i] = .299*float32(c.R) + .587*float32(c.G) + .114*float32(c.B)
		}
		return p
	}
	f, err := flow.Between(cut(0, 0), cut(5, 3), w, h, flow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var u, v, worst float64
	var errs []float64
	for i := range f.U {
		if x, y := i%w, i/w; x < 8 || y < 8 || x >= w-8 || y >= h-8 {
			continue // parts of it have left the picture
		}
		u, v = u+float64(f.U[i]), v+float64(f.V[i])
		d := math.Hypot(float64(f.U[i])-5, float64(f.V[i])-3)
		errs = append(errs, d)
		worst = max(worst, d)
	}
	slices.Sort(errs)
	n := float64(len(errs))
	t.Logf("mean (%.3f, %.3f), 99%% within %.3f, worst %.3f", u/n, v/n, errs[len(errs)*99/100], worst)
	if math.Abs(u/n-5) > 0.02 || math.Abs(v/n-3) > 0.02 || errs[len(errs)*99/100] > 0.1 {
		t.Errorf("the mean motion is (%.3f, %.3f), and 99%% of the pixels are within %.3f of (5, 3)", u/n, v/n, errs[len(errs)*99/100])
	}
}

// Nothing to see is no motion, and no NaN.
func TestFlat(t *testing.T) {
	a := make([]float32, 40*30)
	for i := range a {
		a[i] = 128
	}
	f, err := flow.Between(a, a, 40, 30, flow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range f.U {
		if f.U[i] != 0 || f.V[i] != 0 {
			t.Fatalf("a flat picture moves by (%v, %v)", f.U[i], f.V[i])
		}
	}
}

// The result is the same on any number of cores, and at each finest level close
// to that of the full size.
func TestFlowOptions(t *testing.T) {
	c := still(2, 161, 127, func(t float64) motion.Pose { return motion.Pose{X: 6 * t, Y: -4 * t, Scale: .5} })
	a, b := luma(c, 0), luma(c, 1)
	truth, seen := c.Motion(0, 1)
	for _, o := range []flow.Options{{}, {Finest: 1}, {Finest: 2}, {Rough: true}} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			f, err := flow.Between(a, b, c.W, c.H, o)
			if err != nil {
				t.Fatal(err)
			}
			if mean, big := errorOf(f, truth, seen); mean > 0.4 || big > 0.03 {
				t.Errorf("the mean error is %.3f pixels, and %.2f%% are off by more than 1", mean, 100*big)
			}
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			again, err := flow.Between(a, b, c.W, c.H, o)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(f.U, again.U) || !slices.Equal(f.V, again.V) {
				t.Error("one core measures another motion")
			}
		})
	}
}

func TestFlowErrors(t *testing.T) {
	for name, err := range map[string]error{
		"small": second(flow.NewEstimator(100, 15, flow.Options{})),
		"level": second(flow.NewEstimator(100, 40, flow.Options{Finest: 2})),
		"plane": second(flow.Between(make([]float32, 20*20), make([]float32, 20), 20, 20, flow.Options{})),
		"warp":  flow.NewField(4, 4).Warp(make([]float32, 16), make([]float32, 20), nil),
		"seen":  second(flow.NewField(4, 4).Seen(flow.NewField(4, 5))),
		"error": second(flow.WarpingError(make([]float32, 16), make([]float32, 16), flow.NewField(4, 4), nil)),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestFinestFor(t *testing.T) {
	for _, c := range [][4]int{{1920, 1080, 640000, 1}, {256, 256, 640000, 0}, {3840, 2160, 640000, 2}, {4000, 40, 1, 1}, {4000, 30, 1, 0}} {
		if got := flow.FinestFor(c[0], c[1], c[2]); got != c[3] {
			t.Errorf("%d×%d in %d pixels: level %d, want %d", c[0], c[1], c[2], got, c[3])
		}
	}
}

// Warp reads between pixels, repeats edges, and says what it found.
func TestWarp(t *testing.T) {
	f := flow.NewField(3, 2)
	src := []float32{0, 10, 20, 30, 40, 50, 100, 110, 120, 130, 140, 150}
	f.U[0], f.V[0] = .5, 1 // between 30 and 40
	f.U[1] = -1.5          // outside, left
	f.U[4], f.V[4] = 1, -.25
	f.V[5] = float32(math.NaN())
	dst, valid := make([]float32, 12), make([]float32, 6)
	if err := f.Warp(dst, src, valid); err != nil {
		t.Fatal(err)
	}
	want := []float32{35, 0, 20, 30, 42.5, 20, 135, 100, 120, 130, 142.5, 120}
	if !slices.Equal(dst, want) || !slices.Equal(valid, []float32{1, 0, 1, 1, 1, 0}) {
		t.Errorf("warped %v, valid %v; want %v", dst, valid, want)
	}
}

// The masks are those of the known motion: what an object uncovers is not seen
// in the frame before, and motion changes at its edge.
func TestMasks(t *testing.T) {
	c := motion.Drawn(2, 240, 180)
	there, seen := c.Motion(20, 18)
	back, _ := c.Motion(18, 20)
	mask, err := there.Seen(back)
	if err != nil {
		t.Fatal(err)
	}
	a, b := luma(c, 20), luma(c, 18)
	est, err := flow.NewEstimator(c.W, c.H, flow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pa, _ := est.Pyramid(a)
	pb, _ := est.Pyramid(b)
	measured, err := est.Flow(pa, pb).Seen(est.Flow(pb, pa))
	if err != nil {
		t.Fatal(err)
	}
	for name, mask := range map[string][]float32{"exact": mask, "measured": measured} {
		hidden, found, false_ := 0, 0, 0
		for i, m := range mask {
			switch {
			case seen[i] == 0:
				hidden++
				if m == 0 {
					found++
				}
			case m == 0:
				false_++
			}
		}
		t.Logf("%s: %d of %d hidden pixels found, %d of others", name, found, hidden, false_)
		if found < hidden/2 || false_ > len(mask)/20 {
			t.Errorf("%s: %d of %d hidden pixels are found, and %d of %d others", name, found, hidden, false_, len(mask)-hidden)
		}
	}
	steady := there.Steady()
	edges := 0
	for _, s := range steady {
		if s == 0 {
			edges++
		}
	}
	if edges < 100 || edges > len(steady)/10 {
		t.Errorf("motion changes at %d of %d pixels", edges, len(steady))
	}
}

// The measures by hand: two pixels of which one is seen.
func TestMeasures(t *testing.T) {
	f := flow.NewField(2, 1)
	now, other := []float32{0, 0, 0, 0, 0, 0}, []float32{255, 51, 255, 51, 255, 51}
	e, err := flow.WarpingError(now, other, f, []float32{0, 1})
	if err != nil || math.Abs(e-.04) > 1e-9 {
		t.Errorf("warping error %v, %v; want .04", e, err)
	}
	e, err = flow.TemporalLoss(now, other, f, []float32{0, 1})
	if err != nil || math.Abs(e-.02) > 1e-9 {
		t.Errorf("temporal loss %v, %v; want .02", e, err)
	}
	if e, err = flow.WarpingError(now, other, f, []float32{0, 0}); e != 0 || err != nil {
		t.Errorf("nothing seen gives %v, %v", e, err)
	}
}

func BenchmarkFlow(b *testing.B) {
	const w, h = 1920, 1080
	p, q := scenes.Photo(2, w, h), scenes.Photo(2, w+8, h+8)
	luma := func(i, stride int, pix []uint8) float32 {
		return .299*float32(pix[4*i]) + .587*float32(pix[4*i+1]) + .114*float32(pix[4*i+2])
	}
	x, y := make([]float32, w*h), make([]float32, w*h)
	for i := range x {
		x[i] = luma(i, w, p.Pix)
		y[i] = luma(i/w*(w+8)+i%w, w+8, q.Pix)
	}
	for _, o := range []flow.Options{{Finest: 1}, {Finest: 1, Rough: true}, {Finest: 2}} {
		b.Run(fmt.Sprintf("%dx%d/finest%d/rough=%v", w, h, o.Finest, o.Rough), func(b *testing.B) {
			e, err := flow.NewEstimator(w, h, o)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() { // both directions, as stabilisation needs
				px, err := e.Pyramid(x)
				if err != nil {
					b.Fatal(err)
				}
				py, _ := e.Pyramid(y)
				e.Flow(px, py)
				e.Flow(py, px)
			}
		})
	}
}

// Much less than three tenths of a picture that are found are a cut.
func TestCut(t *testing.T) {
	for found, cut := range map[int]bool{0: true, 28: true, 32: false, 100: false} {
		seen := make([]float32, 100)
		for i := range found {
			seen[i] = 1
		}
		if got := flow.Cut(seen); got != cut {
			t.Errorf("%d of 100 pixels are found: a cut is %v", found, got)
		}
	}
}
