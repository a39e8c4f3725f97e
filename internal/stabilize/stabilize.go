// Package stabilize takes the flicker out of a clip that was painted frame by
// frame: what moved on from the last frame keeps the paint that it had there.
//
// It owns the blend, and how far the last result is believed at each pixel. It
// refuses networks, and works with whatever painted the frames; files and pipes
// are elsewhere.
package stabilize

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"sync"

	"stylenet/internal/flow"
	"stylenet/internal/images"
)

// DefaultStrength leaves a third of the flicker, or less. More of it takes little
// of the rest, and keeps old paint for longer.
const DefaultStrength = 0.8

// pixels is how many the motion is measured on at most: of a frame of 1080p, a
// quarter. That is exact to a third of a pixel, and takes less than the network.
const pixels = 640_000

// Stabilizer blends each frame with the one before. It is not safe for
// concurrent use.
type Stabilizer struct {
	w, h     int
	strength float32
	est      *flow.Estimator

	last    *flow.Pyramid // of the last input; nil at the beginning
	lastIn  *images.Picture
	history []uint16 // the last result, (3, H, W), in steps of 1/256

	frames int // how many were blended

	in    *images.Picture // of the frame at hand
	now   *flow.Pyramid
	back  *flow.Field // from the frame at hand to the last; nil after a cut
	trust []float32   // (H, W), how far the last result is believed, 0 to 1
}

// New stabilises frames of w×h pixels, both sides at least flow.Least. strength,
// 0 to 1, is the share of the last result in a pixel that is surely the same: 0
// changes nothing, 1 never takes new paint where the old one fits.
func New(w, h int, strength float32) (*Stabilizer, error) {
	if !(strength >= 0 && strength <= 1) { // not a number fails too
		return nil, fmt.Errorf("stabilize: a strength of %v is not between 0 and 1", strength)
	}
	est, err := flow.NewEstimator(w, h, flow.Options{Finest: flow.FinestFor(w, h, pixels)})
	if err != nil {
		return nil, err
	}
	return &Stabilizer{w: w, h: h, strength: strength, est: est}, nil
}

// Look takes the next frame as it was before it was painted, and measures how it
// moved on from the last. That takes no result, so that a device may paint
// meanwhile.
func (s *Stabilizer) Look(in *images.Picture) error {
	if in.W != s.w || in.H != s.h {
		return fmt.Errorf("stabilize: a frame of %d×%d in a clip of %d×%d", in.W, in.H, s.w, s.h)
	}
	s.in, s.back = in, nil
	var err error
	if s.now, err = s.est.Pyramid(images.Luminance(in)); err != nil || s.last == nil {
		return err
	}
	back := s.est.Flow(s.now, s.last)
	seen, err := back.Seen(s.est.Flow(s.last, s.now))
	if err != nil {
		return err
	}
	if err := s.weigh(back, seen); err != nil {
		return err
	}
	sum := float32(0)
	for _, t := range s.trust {
		sum += t
	}
	// A cut: the little that seems to be found is chance.
	const least = 0.3
	if sum >= least*float32(len(s.trust)) {
		s.back = back
	}
	return nil
}

// weigh makes trust: what is seen in both frames, less the more it differs from
// what was there. That holds for light that changes too, and for motion that was
// measured wrongly.
func (s *Stabilizer) weigh(back *flow.Field, seen []float32) error {
	n := s.w * s.h
	warped := make([]float32, 3*n)
	if err := back.Warp(warped, s.lastIn.Pix, nil); err != nil {
		return err
	}
	diff := make([]float32, n)
	rows(s.h, func(y int) {
		for i := y * s.w; i < (y+1)*s.w; i++ {
			for c := range 3 {
				d := s.in.Pix[c*n+i] - warped[c*n+i]
				diff[i] += d * d / 3
			}
		}
	})
	// One pixel differs by noise; nine of them by a reason.
	diff = box(diff, s.w, s.h)
	seen = box(seen, s.w, s.h)
	s.trust = seen
	const sigma = 12. // of values up to 255
	rows(s.h, func(y int) {
		for i := y * s.w; i < (y+1)*s.w; i++ {
			m := seen[i]
			if m < 1 {
				// Beside what was covered the motion is uncertain.
				m *= m
			}
			s.trust[i] = m * float32(math.Exp(-float64(diff[i])/(2*sigma*sigma)))
		}
	})
	return nil
}

// box is the mean over 3×3 pixels, the edges repeated.
func box(plane []float32, w, h int) []float32 {
	across, out := make([]float32, w*h), make([]float32, w*h)
	rows(h, func(y int) {
		row := plane[y*w : (y+1)*w]
		for x := range row {
			across[y*w+x] = (row[max(x-1, 0)] + row[x] + row[min(x+1, w-1)]) / 3
		}
	})
	rows(h, func(y int) {
		up, mid, down := across[max(y-1, 0)*w:][:w], across[y*w:][:w], across[min(y+1, h-1)*w:][:w]
		for x := range mid {
			out[y*w+x] = (up[x] + mid[x] + down[x]) / 3
		}
	})
	return out
}

// Blend takes the frame that Look has seen as it was painted, and returns it
// stabilized. painted is not changed. After a cut it is returned as it is.
func (s *Stabilizer) Blend(painted *images.Picture) (*images.Picture, error) {
	if s.in == nil || painted.W != s.w || painted.H != s.h {
		return nil, fmt.Errorf("stabilize: a result of %d×%d without its frame of %d×%d", painted.W, painted.H, s.w, s.h)
	}
	out := painted.Clone()
	if s.back != nil {
		n := s.w * s.h
		rows(s.h, func(y int) {
			for i := y * s.w; i < (y+1)*s.w; i++ {
				a := s.strength * s.trust[i]
				if a < 1./256 {
					continue
				}
				px, py := float32(i%s.w)+s.back.U[i], float32(y)+s.back.V[i]
				at, fx, fy := s.place(px, py)
				for c := range 3 {
					old := s.cubic(s.history[c*n:(c+1)*n], at, fx, fy)
					out.Pix[c*n+i] += a * (old - out.Pix[c*n+i])
				}
			}
		})
	}
	s.last, s.lastIn, s.in = s.now, s.in, nil
	s.frames++
	s.keep(out)
	if s.back != nil {
		s.restore(out, painted)
	}
	return out, nil
}

// restore gives a blend the contrast that the paint has, around each pixel: the
// mean of strokes that lie elsewhere in each frame is paler than either. It is
// done to what is shown, not to what is kept: contrast that is raised again with
// each frame ends in specks.
func (s *Stabilizer) restore(p, painted *images.Picture) {
	const most = 2 // times the contrast that is left
	n := s.w * s.h
	mean, gain, want := make([]float32, n), make([]float32, n), make([]float32, n)
	spread(want, mean, images.Luminance(painted), s.w, s.h)
	spread(gain, mean, images.Luminance(p), s.w, s.h)
	for i, have := range gain {
		gain[i] = 1
		if s.trust[i] > 0 {
			// What is flat stays so: a step of brightness is none of contrast.
			gain[i] = min(max((want[i]+1)/(have+1), 1), most)
		}
	}
	for c := range 3 { // by the same factor, so that no colour comes in
		plane := p.Plane(c)
		spread(want, mean, plane, s.w, s.h)
		for i, v := range plane {
			if gain[i] > 1 {
				plane[i] = min(max(mean[i]+(v-mean[i])*gain[i], 0), 255)
			}
		}
	}
}

// spread takes the mean and the standard deviation of the 7×7 pixels around
// each, or what of them lies in the plane.
func spread(deviation, mean, plane []float32, w, h int) {
	const radius = 3
	rows(h, func(y int) {
		top, bottom := max(y-radius, 0), min(y+radius, h-1)
		sums, squares := make([]float32, w), make([]float32, w)
		for k := top; k <= bottom; k++ {
			for x, v := range plane[k*w : (k+1)*w] {
				v -= 128 // squares of small numbers are exact
				sums[x] += v
				squares[x] += v * v
			}
		}
		var sum, square float64
		for x := range min(radius, w) {
			sum += float64(sums[x])
			square += float64(squares[x])
		}
		for x := range w {
			if in := x + radius; in < w {
				sum += float64(sums[in])
				square += float64(squares[in])
			}
			if out := x - radius - 1; out >= 0 {
				sum -= float64(sums[out])
				square -= float64(squares[out])
			}
			n := float64((bottom - top + 1) * (min(x+radius, w-1) - max(x-radius, 0) + 1))
			m := sum / n
			mean[y*w+x] = float32(m + 128)
			deviation[y*w+x] = float32(math.Sqrt(max(square/n-m*m, 0)))
		}
	})
}

// Frames is how many frames were blended.
func (s *Stabilizer) Frames() int { return s.frames }

// keep makes a result the last one.
func (s *Stabilizer) keep(p *images.Picture) {
	if s.history == nil {
		s.history = make([]uint16, 3*s.w*s.h)
	}
	for i, v := range p.Pix {
		s.history[i] = uint16(min(max(v, 0), 255)*256 + .5)
	}
}

// place is the pixel at or before a place, and the place behind it. Motion of
// less than a few hundredths is none: a still picture is not read between its
// pixels for ever.
func (s *Stabilizer) place(px, py float32) (at [2]int, fx, fy float32) {
	px, py = min(max(px, 0), float32(s.w-1)), min(max(py, 0), float32(s.h-1))
	x, y := int(px), int(py)
	snap := func(i int, f float32) (int, float32) {
		const none = 0.04
		switch {
		case f < none:
			return i, 0
		case f > 1-none:
			return i + 1, 0
		}
		return i, f
	}
	x, fx = snap(x, px-float32(x))
	y, fy = snap(y, py-float32(y))
	return [2]int{x, y}, fx, fy
}

// cubic reads a plane between its pixels, by cubic convolution (Keys 1981) with
// the slope -3/4: what is read again and again stays sharper than by the usual
// -1/2. Values stay within those of the 16 pixels that are read.
func (s *Stabilizer) cubic(plane []uint16, at [2]int, fx, fy float32) float32 {
	x, y := at[0], at[1]
	if fx == 0 && fy == 0 {
		return float32(plane[y*s.w+x]) / 256
	}
	wx, wy := weights(fx), weights(fy)
	var columns [4]int
	for k := range columns {
		columns[k] = min(max(x-1+k, 0), s.w-1)
	}
	var sum float32
	lo, hi := float32(math.MaxFloat32), float32(0)
	for j := range 4 {
		row := plane[min(max(y-1+j, 0), s.h-1)*s.w:][:s.w]
		a, b, c, d := float32(row[columns[0]]), float32(row[columns[1]]), float32(row[columns[2]]), float32(row[columns[3]])
		sum += wy[j] * (wx[0]*a + wx[1]*b + wx[2]*c + wx[3]*d)
		lo, hi = min(lo, a, b, c, d), max(hi, a, b, c, d)
	}
	return min(max(sum, lo), hi) / 256
}

// weights are those of four pixels, of which the second lies f before the place.
func weights(f float32) [4]float32 {
	const slope = -0.75
	near := func(t float32) float32 { return (slope+2)*t*t*t - (slope+3)*t*t + 1 }
	far := func(t float32) float32 { return slope * (t*t*t - 5*t*t + 8*t - 4) }
	return [4]float32{far(1 + f), near(f), near(1 - f), far(2 - f)}
}

// State is what Restore needs besides the last frame: the last result, 6 bytes a
// pixel. It is nil before the first.
func (s *Stabilizer) State() []byte {
	if s.history == nil {
		return nil
	}
	b := make([]byte, 0, 2*len(s.history))
	for _, v := range s.history {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	return b
}

// Restore makes s what it was when State was taken; in is the last frame that
// Look had seen then. The results that follow are the same, bit for bit.
func (s *Stabilizer) Restore(state []byte, in *images.Picture) error {
	n := 3 * s.w * s.h
	if in.W != s.w || in.H != s.h || len(state) != 2*n {
		return fmt.Errorf("stabilize: a state of %d bytes and a frame of %d×%d are none of a clip of %d×%d", len(state), in.W, in.H, s.w, s.h)
	}
	last, err := s.est.Pyramid(images.Luminance(in))
	if err != nil {
		return err
	}
	s.last, s.lastIn, s.in = last, in, nil
	s.history = make([]uint16, n)
	for i := range s.history {
		s.history[i] = binary.LittleEndian.Uint16(state[2*i:])
	}
	return nil
}

// rows calls f for 0 to n−1, on all cores.
func rows(n int, f func(y int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	var wg sync.WaitGroup
	for k := range workers {
		wg.Go(func() {
			for y := n * k / workers; y < n*(k+1)/workers; y++ {
				f(y)
			}
		})
	}
	wg.Wait()
}
