package stabilize

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"stylenet/internal/flow"
	"stylenet/internal/images"
	"stylenet/internal/motion"
)

// paint is a style that flickers: patches of the frame get brighter or darker by
// chance, and its contrast is raised.
func paint(in *images.Picture, seed uint64) *images.Picture {
	r := rand.New(rand.NewPCG(seed, 1))
	const cell = 6
	across := in.W/cell + 1
	chance := make([]float32, across*(in.H/cell+1))
	for i := range chance {
		chance[i] = 30 * (r.Float32() - .5)
	}
	out := in.Clone()
	for c := range 3 {
		for i := range out.Plane(c) {
			v := &out.Plane(c)[i]
			*v = min(max(1.2**v-20+chance[i/in.W/cell*across+i%in.W/cell], 0), 255)
		}
	}
	return out
}

// A clip that flickers does so much less, where the motion is known, and is as
// sharp as before.
func TestStabilize(t *testing.T) {
	c := motion.Drawn(2, 200, 150)
	s, err := New(c.W, c.H, DefaultStrength)
	must(t, err)
	var plain, steady, sharp, soft float64
	var lastPainted, lastOut *images.Picture
	for i := range 8 {
		in := c.Frame(i)
		painted := paint(in, uint64(i))
		must(t, s.Look(in))
		out, err := s.Blend(painted)
		must(t, err)
		if i == 0 {
			if !slices.Equal(out.Pix, painted.Pix) {
				t.Error("the first frame is changed")
			}
		} else {
			f, seen := c.Motion(i-1, i)
			plain += warping(t, lastPainted, painted, f, seen)
			steady += warping(t, lastOut, out, f, seen)
			sharp += slope(c.Frame(i))
			soft += slope(out) / 1.2
		}
		lastPainted, lastOut = painted, out
	}
	t.Logf("warping error %.5f plain, %.5f stabilized; sharpness %.3f of the frame's", plain/7, steady/7, soft/sharp)
	if steady > plain/4 {
		t.Errorf("the warping error is %.5f, and plain %.5f", steady/7, plain/7)
	}
	if soft < 0.9*sharp {
		t.Errorf("the slopes are %.2f of the frame's", soft/sharp)
	}
}

func warping(t *testing.T, a, b *images.Picture, f *flow.Field, seen []float32) float64 {
	v, err := flow.WarpingError(a.Pix, b.Pix, f, seen)
	must(t, err)
	return v
}

// slope is the mean distance of neighbours.
func slope(p *images.Picture) float64 {
	sum := 0.
	for i := 1; i < len(p.Pix); i++ {
		if i%p.W != 0 {
			sum += math.Abs(float64(p.Pix[i] - p.Pix[i-1]))
		}
	}
	return sum
}

// After a cut nothing of the scene before is left.
func TestCut(t *testing.T) {
	a, b := motion.Drawn(2, 120, 90), motion.Drawn(7, 120, 90)
	s, err := New(120, 90, 1)
	must(t, err)
	for _, in := range []*images.Picture{a.Frame(0), a.Frame(1), b.Frame(0)} {
		must(t, s.Look(in))
		painted := paint(in, 1)
		out, err := s.Blend(painted)
		must(t, err)
		if s.back == nil && !slices.Equal(out.Pix, painted.Pix) {
			t.Error("a frame after a cut is changed")
		}
	}
	if s.back != nil {
		t.Error("the cut was not found")
	}
}

// What an object uncovers is new, also at full strength: it leaves no trail.
func TestNoTrail(t *testing.T) {
	c := motion.Drawn(4, 160, 120)
	s, err := New(c.W, c.H, 1)
	must(t, err)
	for i := 18; i < 26; i++ {
		in := c.Frame(i)
		must(t, s.Look(in))
		// The style is the frame itself: the result should be, too.
		out, err := s.Blend(in)
		must(t, err)
		_, seen := c.Motion(i, i-1)
		var uncovered, covered, n float64
		for k, v := range out.Pix {
			d := math.Abs(float64(v - in.Pix[k]))
			if seen[k%len(seen)] == 0 {
				uncovered += d
				n++
			} else {
				covered += d
			}
		}
		uncovered, covered = uncovered/n, covered/(float64(len(out.Pix))-n)
		t.Logf("frame %d: mean distance %.2f where it is new, %.2f elsewhere", i, uncovered, covered)
		if uncovered > 2 || covered > 4 {
			t.Errorf("frame %d differs by %.2f on average where it is new, and by %.2f elsewhere", i, uncovered, covered)
		}
	}
}

// grain is paint whose strokes lie elsewhere in each frame, around a level.
func grain(w, h int, level float32, seed uint64) *images.Picture {
	r := rand.New(rand.NewPCG(seed, 2))
	p := images.New(w, h)
	for i := range w * h {
		v := level + 40*(r.Float32()-.5)
		for c := range 3 {
			p.Plane(c)[i] = v
		}
	}
	return p
}

// What is kept is not averaged: strokes that are others in each frame stay as
// strong as they are, neither pale nor, after many frames of motion, specks. And
// nothing of the first frames' light is left where the paint gets brighter slowly.
func TestKeepsStrokes(t *testing.T) {
	c := motion.Drawn(2, 96, 64)
	s, err := New(c.W, c.H, DefaultStrength)
	must(t, err)
	const frames = 60
	var flicker, plain float64
	var last, lastPainted *images.Picture
	for i := range frames {
		level := 80 + float32(i)
		painted := grain(c.W, c.H, level, uint64(i))
		out := step(t, s, c.Frame(i), painted)
		if ratio := deviation(out) / deviation(painted); ratio < .85 || ratio > 1.15 {
			t.Errorf("frame %d: the strokes are %.2f times as strong as they were painted", i, ratio)
		}
		if mean := mean(out.Pix); mean < level-8 || mean > level+8 {
			t.Errorf("frame %d: the light is %.1f, and was painted as %.1f", i, mean, level)
		}
		if last != nil {
			f, seen := c.Motion(i-1, i)
			flicker += warping(t, last, out, f, seen)
			plain += warping(t, lastPainted, painted, f, seen)
		}
		last, lastPainted = out, painted
	}
	t.Logf("warping error %.2f of plain", flicker/plain)
	if flicker > .75*plain { // which a white noise keeps where it is read between its pixels
		t.Errorf("the warping error is %.2f of plain", flicker/plain)
	}
}

func mean(v []float32) float32 {
	sum := 0.
	for _, v := range v {
		sum += float64(v)
	}
	return float32(sum / float64(len(v)))
}

func deviation(p *images.Picture) float64 {
	sum, m := 0., mean(p.Pix)
	for _, v := range p.Pix {
		sum += float64((v - m) * (v - m))
	}
	return math.Sqrt(sum / float64(len(p.Pix)))
}

// A stabiliser that is restored goes on with the same results; strength 0 is
// the identity.
func TestState(t *testing.T) {
	c := motion.Drawn(3, 64, 48)
	one, err := New(c.W, c.H, DefaultStrength)
	must(t, err)
	none, err := New(c.W, c.H, 0)
	must(t, err)
	var two *Stabilizer
	for i := range 5 {
		in := c.Frame(i)
		painted := paint(in, uint64(i))
		out := step(t, one, in, painted)
		if same := step(t, none, in, painted); !slices.Equal(same.Pix, painted.Pix) {
			t.Errorf("frame %d: strength 0 changes it", i)
		}
		if two != nil {
			if again := step(t, two, in, painted); !slices.Equal(again.Pix, out.Pix) {
				t.Errorf("frame %d: the restored one gives another result", i)
			}
		}
		if i == 2 {
			two, err = New(c.W, c.H, DefaultStrength)
			must(t, err)
			must(t, two.Restore(one.State(), in))
		}
	}
}

func step(t *testing.T, s *Stabilizer, in, painted *images.Picture) *images.Picture {
	must(t, s.Look(in))
	out, err := s.Blend(painted)
	must(t, err)
	return out
}

func TestErrors(t *testing.T) {
	s, err := New(32, 24, 0.5)
	must(t, err)
	if s.State() != nil {
		t.Error("there is a state before the first frame")
	}
	_, tooStrong := New(32, 24, 1.5)
	_, nan := New(32, 24, float32(math.NaN()))
	_, tiny := New(8, 8, 0.5)
	_, unseen := s.Blend(images.New(32, 24))
	for name, err := range map[string]error{
		"strength": tooStrong, "not a number": nan, "small": tiny, "unseen": unseen,
		"size": s.Look(images.New(24, 32)), "state": s.Restore(make([]byte, 10), images.New(32, 24)),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What stabilisation adds to a frame of 1080p.
func BenchmarkStabilize(b *testing.B) {
	c := motion.Drawn(2, 480, 270)
	big := func(i int) *images.Picture {
		p, err := images.Resize(c.Frame(i), 1920, 1080)
		if err != nil {
			b.Fatal(err)
		}
		return p
	}
	frames := []*images.Picture{big(0), big(1)}
	s, err := New(1920, 1080, DefaultStrength)
	if err != nil {
		b.Fatal(err)
	}
	i := 0
	for b.Loop() {
		if err := s.Look(frames[i%2]); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Blend(frames[i%2]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
