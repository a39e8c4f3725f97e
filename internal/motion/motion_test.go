package motion

import (
	"testing"

	"stylenet/internal/flow"
)

// The motion that a clip states is the one that its frames show: a frame warped
// by it is the other one, where it is seen, and is not where it is covered.
func TestMotion(t *testing.T) {
	c := Drawn(3, 200, 140)
	for _, frames := range [][2]int{{0, 1}, {8, 9}, {9, 8}, {10, 14}} {
		now, next := c.Frame(frames[0]), c.Frame(frames[1])
		f, seen := c.Motion(frames[0], frames[1])
		err := must(t)(flow.WarpingError(now.Pix, next.Pix, f, seen))
		still := must(t)(flow.WarpingError(now.Pix, next.Pix, flow.NewField(c.W, c.H), seen))
		if err > 3e-4 || err > still/10 {
			t.Errorf("%v: frames differ by %.2g after warping, and by %.2g before", frames, err, still)
		}
		covered := make([]float32, len(seen))
		share := 0.
		for i, v := range seen {
			covered[i] = 1 - v
			share += float64(1-v) / float64(len(seen))
		}
		if hidden := must(t)(flow.WarpingError(now.Pix, next.Pix, f, covered)); hidden < 3*err {
			t.Errorf("%v: what is covered differs by %.2g, what is seen by %.2g", frames, hidden, err)
		}
		if share < 0.01 || share > 0.2 {
			t.Errorf("%v: %.0f%% of the pixels are not seen", frames, 100*share)
		}
	}
}

// Motion there and back ends where it began.
func TestMotionIsInverted(t *testing.T) {
	c := Drawn(1, 160, 120)
	there, seen := c.Motion(5, 7)
	back, _ := c.Motion(7, 5)
	agree, err := there.Seen(back)
	if err != nil {
		t.Fatal(err)
	}
	n, wrong := 0., 0.
	for i, v := range seen {
		n += float64(v)
		wrong += float64(v * (1 - agree[i]))
	}
	if n < 10000 || wrong > n/200 {
		t.Errorf("%v of %v pixels that are seen do not come back", wrong, n)
	}
}

func must(t *testing.T) func(v float64, err error) float64 {
	return func(v float64, err error) float64 {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
