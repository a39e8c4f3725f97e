// Package stabilize takes the flicker out of a clip that was painted frame by
// frame: what moved on from the last frame keeps the paint that it had there.
//
// Paint is kept, not averaged: the mean of strokes that lie elsewhere in each
// frame is paler than either, and the style is lost with it. So a pixel has the
// paint that moved along with it or the new one, and between them is a seam of a
// pixel.
//
// It owns that choice, and how far the last result is believed at each pixel. It
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
// of the rest, and keeps old paint where it fits badly.
const DefaultStrength = 0.8

const (
	// colour is by how much the paint around a pixel, in squares of 2·around+1
	// pixels, may have another colour than the new one, of values up to 255.
	colour, around = 12., 8
	// same is the difference up to which paint is as good as the new, which is
	// then taken: it was never read between its pixels.
	same = 10.
	// follow is the share that the light in squares of 2·wide+1 pixels comes nearer
	// to that of the new paint with each frame. A day that gets dark slowly looks
	// the same from each frame to the next.
	follow, wide = 0.2, 16
	// Detail is what deviates from the mean of squares of 2·detail+1 pixels, and
	// mostGain the loss of it up to which paint is kept.
	detail, mostGain = 2, 2
)

// pixels is how many the motion is measured on at most: of a frame of 1080p, a
// quarter. That is exact to a third of a pixel, and takes less than the network.
const pixels = 640_000

// Stabilizer blends each frame with the one before. It is not safe for
// concurrent use.
type Stabilizer struct {
	w, h     int
	strength float32
	est      *flow.Estimator
	between  [places + 1][taps]float32 // the weights of taps pixels, for a place between the middle two

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
// 0 to 1, is how badly a pixel may fit to what was there, and keep its paint: 0
// keeps none and changes nothing.
func New(w, h int, strength float32) (*Stabilizer, error) {
	if !(strength >= 0 && strength <= 1) { // not a number fails too
		return nil, fmt.Errorf("stabilize: a strength of %v is not between 0 and 1", strength)
	}
	est, err := flow.NewEstimator(w, h, flow.Options{Finest: flow.FinestFor(w, h, pixels)})
	if err != nil {
		return nil, err
	}
	s := &Stabilizer{w: w, h: h, strength: strength, est: est}
	for i := range s.between {
		s.between[i] = lanczos(float64(i) / places)
	}
	return s, nil
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
	if !flow.Cut(s.trust) {
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
	square(warped[:n], diff, s.w, s.h, 1)
	diff = warped[:n]
	s.trust = make([]float32, n)
	square(s.trust, seen, s.w, s.h, 1)
	const sigma = 12. // of values up to 255
	rows(s.h, func(y int) {
		for i := y * s.w; i < (y+1)*s.w; i++ {
			// Beside what was covered the motion is uncertain.
			m := max(3*s.trust[i]-2, 0)
			s.trust[i] = m * float32(math.Exp(-float64(diff[i])/(2*sigma*sigma)))
		}
	})
	return nil
}

// Blend takes the frame that Look has seen as it was painted, and returns it
// stabilized. painted is not changed. After a cut it is returned as it is.
func (s *Stabilizer) Blend(painted *images.Picture) (*images.Picture, error) {
	if s.in == nil || painted.W != s.w || painted.H != s.h {
		return nil, fmt.Errorf("stabilize: a result of %d×%d without its frame of %d×%d", painted.W, painted.H, s.w, s.h)
	}
	out := painted.Clone()
	s.last, s.lastIn, s.in = s.now, s.in, nil
	s.frames++
	if s.back == nil || s.strength == 0 {
		s.keep(out)
		return out, nil
	}
	s.move(out)
	s.agree(out, painted)
	n := s.w * s.h
	gain, mean := s.lost(out, painted), make([]float32, n)
	rows(s.h, func(y int) {
		for i := y * s.w; i < (y+1)*s.w; i++ {
			// What was stretched or read between its pixels for too long is new.
			fresh := min(max(gain[i]-mostGain, 0), 1)
			for k := i; k < 3*n; k += n {
				out.Pix[k] += fresh * (painted.Pix[k] - out.Pix[k])
			}
			gain[i] = 1 + (min(gain[i], mostGain)-1)*(1-fresh)
		}
	})
	s.keep(out)
	// Detail comes back in what is shown, not in what is kept: contrast that is
	// raised again with each frame ends in specks.
	for c := range 3 {
		plane := out.Plane(c)
		square(mean, plane, s.w, s.h, detail)
		rows(s.h, func(y int) {
			for i := y * s.w; i < (y+1)*s.w; i++ {
				plane[i] = min(max(plane[i]+(gain[i]-1)*(plane[i]-mean[i]), 0), 255)
			}
		})
	}
	return out, nil
}

// move puts the last result, moved here, where it may be kept.
func (s *Stabilizer) move(out *images.Picture) {
	n := s.w * s.h
	rows(s.h, func(y int) {
		for i := y * s.w; i < (y+1)*s.w; i++ {
			if s.trust[i] < s.least() {
				continue
			}
			x, y, wx, wy := s.place(float32(i%s.w)+s.back.U[i], float32(y)+s.back.V[i])
			for c := range 3 {
				out.Pix[c*n+i] = s.read(s.history[c*n:(c+1)*n], x, y, wx, wy)
			}
		}
	})
}

// least is the trust from which paint is kept.
func (s *Stabilizer) least() float32 { return 1 - .8*s.strength }

// agree takes new paint where the old one, in out, has another colour: strokes
// around a thing that moved on would be left behind as its trail. Colours are
// those of squares, as no single stroke lies where it did. It takes new paint, too,
// where both are the same.
func (s *Stabilizer) agree(out, painted *images.Picture) {
	n := s.w * s.h
	apart, differ, mean := make([]float32, n), make([]float32, n), make([]float32, n)
	var light [3][]float32
	for c := range light {
		light[c] = make([]float32, n)
		d := light[c]
		for i, v := range painted.Plane(c) {
			d[i] = v - out.Plane(c)[i]
			differ[i] += d[i] * d[i] / 3
		}
		square(mean, d, s.w, s.h, around)
		for i, v := range mean {
			apart[i] += v * v / 3
		}
		square(d, d, s.w, s.h, wide)
	}
	rows(s.h, func(y int) {
		for i := y * s.w; i < (y+1)*s.w; i++ {
			kept := s.trust[i]*float32(math.Exp(-float64(apart[i])/(2*colour*colour))) >= s.least()
			s.trust[i] = 0
			if kept {
				s.trust[i] = 1
			}
		}
	})
	square(s.trust, s.trust, s.w, s.h, 1) // without a seam
	square(differ, differ, s.w, s.h, 2)
	rows(s.h, func(y int) {
		for i := y * s.w; i < (y+1)*s.w; i++ {
			a := s.trust[i] * float32(1-math.Exp(-float64(differ[i])/(2*same*same)))
			for c := range light {
				k := c*n + i
				v := out.Pix[k] + follow*light[c][i]
				out.Pix[k] = min(max(painted.Pix[k]+a*(v-painted.Pix[k]), 0), 255)
			}
		}
	})
}

// lost is by how much the paint has more detail than a blend around each pixel,
// 1 or more.
func (s *Stabilizer) lost(blend, painted *images.Picture) []float32 {
	n := s.w * s.h
	mean, have, want := make([]float32, n), make([]float32, n), make([]float32, n)
	for c := range 3 { // all colours together, so that none comes in
		for _, p := range []struct{ plane, sum []float32 }{{blend.Plane(c), have}, {painted.Plane(c), want}} {
			square(mean, p.plane, s.w, s.h, detail)
			rows(s.h, func(y int) {
				for i := y * s.w; i < (y+1)*s.w; i++ {
					d := p.plane[i] - mean[i]
					p.sum[i] += d * d
				}
			})
		}
	}
	square(mean, want, s.w, s.h, 3)
	square(want, have, s.w, s.h, 3)
	const flat = 3 // what is flat stays so
	rows(s.h, func(y int) {
		for i := y * s.w; i < (y+1)*s.w; i++ {
			have[i] = max(float32(math.Sqrt(float64((mean[i]+flat)/(want[i]+flat)))), 1)
		}
	})
	return have
}

// square makes dst, which may be plane, the means over the 2r+1 pixels in each direction, or
// what of them lies in the plane.
func square(dst, plane []float32, w, h, r int) {
	across := make([]float32, w*h)
	rows(h, func(y int) {
		row, out := plane[y*w:][:w], across[y*w:][:w]
		var sum float64
		for x := range min(r, w) {
			sum += float64(row[x])
		}
		for x := range out {
			if x+r < w {
				sum += float64(row[x+r])
			}
			if x > r {
				sum -= float64(row[x-r-1])
			}
			out[x] = float32(sum / float64(min(x+r, w-1)-max(x-r, 0)+1))
		}
	})
	// Down in strips of rows, each of which begins anew, whatever the number of
	// cores is.
	const strip = 64
	rows((h+strip-1)/strip, func(k int) {
		sums := make([]float64, w)
		add := func(y int, sign float64) {
			for x, v := range across[y*w:][:w] {
				sums[x] += sign * float64(v)
			}
		}
		first := k * strip
		for y := max(first-r, 0); y < min(first+r, h); y++ {
			add(y, 1)
		}
		for y := first; y < min(first+strip, h); y++ {
			if y+r < h {
				add(y+r, 1)
			}
			if y > r && y > first {
				add(y-r-1, -1)
			}
			n := 1 / float64(min(y+r, h-1)-max(y-r, 0)+1)
			for x, v := range sums {
				dst[y*w+x] = float32(v * n)
			}
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

// place is the pixel at or before a place, and the weights of the pixels around.
// Motion of less than a few hundredths is none: a still picture is not read
// between its pixels for ever.
func (s *Stabilizer) place(px, py float32) (x, y int, wx, wy *[taps]float32) {
	px, py = min(max(px, 0), float32(s.w-1)), min(max(py, 0), float32(s.h-1))
	snap := func(v float32) (int, *[taps]float32) {
		i := int(v)
		k := int((v-float32(i))*places + .5)
		const none = places / 25
		switch {
		case k <= none:
			k = 0
		case k >= places-none:
			i, k = i+1, 0
		}
		return i, &s.between[k]
	}
	x, wx = snap(px)
	y, wy = snap(py)
	return x, y, wx, wy
}

// read takes a plane's value between its pixels. It stays within those of the
// 4×4 pixels around: what is read again and again does not begin to ring.
func (s *Stabilizer) read(plane []uint16, x, y int, wx, wy *[taps]float32) float32 {
	const before, still = taps/2 - 1, 1
	if wx[before] == still && wy[before] == still {
		return float32(plane[y*s.w+x]) / 256
	}
	var columns [taps]int
	for k := range columns {
		columns[k] = min(max(x-before+k, 0), s.w-1)
	}
	var sum float32
	lo, hi := uint16(math.MaxUint16), uint16(0)
	for j, weight := range wy {
		row := plane[min(max(y-before+j, 0), s.h-1)*s.w:][:s.w]
		var line float32
		for k, column := range columns {
			line += wx[k] * float32(row[column])
		}
		sum += weight * line
		if j > 0 && j < taps-1 {
			a, b, c, d := row[columns[1]], row[columns[2]], row[columns[3]], row[columns[4]]
			lo, hi = min(lo, a, b, c, d), max(hi, a, b, c, d)
		}
	}
	return min(max(sum, float32(lo)), float32(hi)) / 256
}

const (
	taps   = 6   // pixels that are read, in each direction
	places = 256 // between two of them
)

// lanczos are the weights of taps pixels, the middle two of which lie before and
// behind the place, at f and 1−f: a windowed sinc, which keeps more of the detail
// than cubic convolution where it is read once for each frame.
func lanczos(f float64) (w [taps]float32) {
	const half = taps / 2
	var all [taps]float64
	sum := 0.
	for i := range all {
		x := math.Pi * (float64(i-half+1) - f)
		all[i] = 1
		if x != 0 {
			all[i] = half * math.Sin(x) * math.Sin(x/half) / (x * x)
		}
		sum += all[i]
	}
	for i := range w {
		w[i] = float32(all[i] / sum)
	}
	if f == 0 { // exactly
		w = [taps]float32{half - 1: 1}
	}
	return w
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
