package clips

import (
	"fmt"
	"math/rand/v2"

	"stylenet/internal/flow"
	"stylenet/internal/images"
)

// Cutter cuts pairs of views, one at a time, in memory of its own.
type Cutter struct {
	set          *Set
	size, border int
	estimator    *flow.Estimator
	bytes        []byte
	views        [2]*images.Picture // with the border
}

// NewCutter is for views of size×size pixels, at most the frames' short side less
// border on both sides of them: that much more is looked at for motion.
func (s *Set) NewCutter(size, border int) (*Cutter, error) {
	side := size + 2*border
	for _, p := range s.pairs {
		if min(p.w, p.h) < side {
			return nil, fmt.Errorf("clips: frames of %d×%d are too small for views of %d×%[3]d", p.w, p.h, side)
		}
	}
	e, err := flow.NewEstimator(side, side, flow.Options{})
	if err != nil {
		return nil, err
	}
	c := &Cutter{set: s, size: size, border: border, estimator: e}
	for i := range c.views {
		c.views[i] = images.New(side, side)
	}
	return c, nil
}

// Cut draws a pair of frames and a place in them, and fills what views.Pair has:
// views, (2, 3, size, size), flow, (2, 2, size, size), and seen, (2, 1, size,
// size). Occlusions are found as Ruder et al. 2016 do, forward and backward, and
// boundaries of motion count as not seen, as motion is uncertain there. Across a
// cut nothing is seen.
func (c *Cutter) Cut(views, field, seen []float32, random *rand.Rand) error {
	p := c.set.pairs[random.IntN(len(c.set.pairs))]
	n, frame := c.size*c.size, 3*p.w*p.h
	if len(views) != 6*n || len(field) != 4*n || len(seen) != 2*n {
		return fmt.Errorf("clips: %d, %d and %d values for a pair of %d×%[4]d", len(views), len(field), len(seen), c.size)
	}
	side := c.views[0].W
	x, y := random.IntN(p.w-side+1), random.IntN(p.h-side+1)
	if cap(c.bytes) < 2*frame {
		c.bytes = make([]byte, 2*frame)
	}
	c.bytes = c.bytes[:2*frame]
	if _, err := c.set.file.ReadAt(c.bytes, p.offset); err != nil {
		return fmt.Errorf("%s: %w", c.set.file.Name(), err)
	}
	var pyramids [2]*flow.Pyramid
	for i, v := range c.views {
		for k := range 3 * side {
			from := c.bytes[i*frame+(k/side*p.h+y+k%side)*p.w+x:][:side]
			to := v.Pix[k*side:][:side]
			for j, b := range from {
				to[j] = float32(b)
			}
		}
		var err error
		if pyramids[i], err = c.estimator.Pyramid(images.Luminance(v)); err != nil {
			return err
		}
		c.inner(views[i*3*n:][:3*n], v.Pix)
	}
	fields := [2]*flow.Field{c.estimator.Flow(pyramids[0], pyramids[1]), c.estimator.Flow(pyramids[1], pyramids[0])}
	for i, f := range fields {
		mask, err := f.Seen(fields[1-i])
		if err != nil {
			return err
		}
		c.inner(field[2*i*n:][:n], f.U)
		c.inner(field[2*i*n+n:][:n], f.V)
		c.inner(seen[i*n:][:n], flow.Times(mask, f.Steady()))
		c.keepInside(seen[i*n:][:n], field[2*i*n:][:2*n])
	}
	return nil
}

// inner takes planes without their border.
func (c *Cutter) inner(dst, src []float32) {
	side := c.size + 2*c.border
	for k := range len(dst) / c.size {
		plane, row := k/c.size, k%c.size
		copy(dst[k*c.size:][:c.size], src[(plane*side+row+c.border)*side+c.border:])
	}
}

// keepInside unmarks what is found outside the other view, and all across a cut.
func (c *Cutter) keepInside(seen, field []float32) {
	last := float32(c.size - 1)
	for i := range seen {
		x, y := float32(i%c.size)+field[i], float32(i/c.size)+field[len(seen)+i]
		if !(x >= 0 && y >= 0 && x <= last && y <= last) {
			seen[i] = 0
		}
	}
	if flow.Cut(seen) {
		clear(seen)
	}
}
