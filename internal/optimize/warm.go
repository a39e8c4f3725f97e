package optimize

import (
	"encoding/json"
	"errors"
	"fmt"

	"stylenet/internal/images"
	"stylenet/internal/kernels"
)

// enlargement turns vectors of one scale into those of the next.
//
// The losses are means over pixels, so the loss of an enlarged picture is about
// that of the small one. Steps then enlarge as the picture does. Gradients, and
// their changes, are spread over more pixels, each of which has the less of them:
// the products of steps and changes, the curvature that the optimiser has
// learned, stay what they were.
type enlargement struct {
	from, to Scale
	scene    *scene
}

// fewer is how much less of a gradient a pixel has.
func (e enlargement) fewer() float64 {
	return float64(e.from.W) * float64(e.from.H) / (float64(e.to.W) * float64(e.to.H))
}

// vector resizes a vector of the saved state and multiplies it; where the picture
// may not change it is 0.
func (e enlargement) vector(s *State, name string, times float64) ([]float32, error) {
	t := s.Tensors.Get(name)
	if t == nil || len(t.Data) != 3*e.from.W*e.from.H {
		return nil, fmt.Errorf("the scale before left no %q of %d×%d", name, e.from.W, e.from.H)
	}
	p, err := images.Resize(&images.Picture{W: e.from.W, H: e.from.H, Pix: t.Data}, e.to.W, e.to.H)
	if err != nil {
		return nil, err
	}
	for i := range p.Pix {
		p.Pix[i] *= float32(times)
		if e.scene.free != nil {
			p.Pix[i] *= e.scene.free[i%len(e.scene.free)]
		}
	}
	return p.Pix, nil
}

func (e enlargement) upload(dev kernels.Device, a kernels.Array, s *State, name string, times float64) error {
	values, err := e.vector(s, name, times)
	if err != nil {
		return err
	}
	return dev.Upload(a, values)
}

// warm takes the history of the scale before, from the oldest pair on.
func (o *lbfgs) warm(s *State, e enlargement) error {
	var state lbfgsState
	if err := json.Unmarshal(s.Optimizer, &state); err != nil {
		return fmt.Errorf("the state of the scale before: %w", err)
	}
	for pair := max(0, state.Pairs-o.history); pair < state.Pairs; pair++ {
		from, to := pair%o.history, o.pairs%o.history
		err := errors.Join(
			e.upload(o.dev, o.s[to], s, fmt.Sprintf("s.%d", from), 1),
			e.upload(o.dev, o.y[to], s, fmt.Sprintf("y.%d", from), e.fewer()))
		if err != nil {
			return err
		}
		if err := o.learn(); err != nil {
			return err
		}
	}
	return nil
}

// warm takes nothing: the second moments that the first, large gradients have
// left would keep steps short. From zero on the loss falls faster.
func (o *adam) warm(*State, enlargement) error { return nil }
