package optimize

import "math"

// search looks for a step along a direction that meets the strong Wolfe
// conditions: it brackets one and then narrows the bracket (Nocedal and Wright
// 2006, algorithms 3.5 and 3.6). The first step tried is 1, which L-BFGS' own
// length mostly makes the last.
type search struct {
	o           *lbfgs
	loss, slope float64 // at step 0
	most        int     // evaluations
	trials      int

	low point // the best one so far that decreases the loss enough
}

type point struct {
	t float64
	Losses
	slope float64
}

// run leaves the function at the step that it returns, with loss and gradient:
// 0 where no step lowers the loss.
func (s *search) run() (t, slope float64, err error) {
	s.low = point{0, s.o.at, s.slope}
	s.o.keepLow()
	last, next := s.low, 1.0
	for s.trials < s.most {
		p, err := s.try(next)
		if err != nil {
			return 0, 0, err
		}
		switch {
		case !s.enough(p) || s.trials > 1 && p.Loss >= last.Loss:
			return s.zoom(p)
		case math.Abs(p.slope) <= -curvature*s.slope:
			s.o.at = p.Losses
			return p.t, p.slope, nil
		}
		before := s.low
		s.take(p)
		if p.slope >= 0 {
			return s.zoom(before)
		}
		last, next = p, 2*p.t
	}
	return s.finish()
}

// zoom narrows the bracket between the best point and high.
func (s *search) zoom(high point) (t, slope float64, err error) {
	for s.trials < s.most {
		width := math.Abs(high.t - s.low.t)
		if width*-s.slope <= 1e-9*math.Abs(s.loss) {
			break // less than the loss can show
		}
		next := interpolate(s.low, high)
		// Towards the middle where the guess is too near to an end.
		nearest, farthest := min(s.low.t, high.t)+width/10, max(s.low.t, high.t)-width/10
		next = min(max(next, nearest), farthest)
		p, err := s.try(next)
		if err != nil {
			return 0, 0, err
		}
		if !s.enough(p) || p.Loss >= s.low.Loss {
			high = p
			continue
		}
		if math.Abs(p.slope) <= -curvature*s.slope {
			s.o.at = p.Losses
			return p.t, p.slope, nil
		}
		if p.slope*(high.t-s.low.t) >= 0 {
			high = s.low
		}
		s.take(p)
	}
	return s.finish()
}

// finish goes back to the best point, which lowers the loss and may do no more.
func (s *search) finish() (t, slope float64, err error) {
	if err := s.o.upload(s.o.line, []float64{1, s.low.t}); err != nil {
		return 0, 0, err
	}
	s.o.step()
	s.o.takeLow()
	s.o.at = s.low.Losses
	return s.low.t, s.low.slope, nil
}

func (s *search) try(t float64) (point, error) {
	s.trials++
	return s.o.trial(t)
}

// enough is false for a loss that is not a number.
func (s *search) enough(p point) bool { return p.Loss <= s.loss+sufficientDecrease*p.t*s.slope }

func (s *search) take(p point) {
	s.low = p
	s.o.keepLow()
}

// interpolate is the minimum of the cubic through both points, or their middle.
func interpolate(a, b point) float64 {
	middle := (a.t + b.t) / 2
	d1 := a.slope + b.slope - 3*(a.Loss-b.Loss)/(a.t-b.t)
	root := d1*d1 - a.slope*b.slope
	if !(root >= 0) || math.IsInf(root, 0) {
		return middle
	}
	d2 := math.Copysign(math.Sqrt(root), b.t-a.t)
	t := b.t - (b.t-a.t)*(b.slope+d2-d1)/(b.slope-a.slope+2*d2)
	if math.IsNaN(t) || math.IsInf(t, 0) {
		return middle
	}
	return t
}
