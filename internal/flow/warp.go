package flow

import "fmt"

// A mask is a plane (H, W) of a weight for each pixel: 1 counts, 0 does not.

// Warp fills dst with src as the field finds it: dst(x, y) = src(x+U, y+V),
// interpolated bilinearly, with the edges of src repeated. Both are (C, H, W) of
// any C. valid, unless nil, becomes a mask of the pixels that were found inside
// src.
func (f *Field) Warp(dst, src, valid []float32) error {
	n := f.W * f.H
	if n == 0 || len(src) != len(dst) || len(dst)%n != 0 || valid != nil && len(valid) != n {
		return fmt.Errorf("flow: %d values cannot be warped to %d by a field of %d×%d, with a mask of %d", len(src), len(dst), f.W, f.H, len(valid))
	}
	channels := len(dst) / n
	each(f.H, func(y int) {
		for x := range f.W {
			i := y*f.W + x
			px, py := float32(x)+f.U[i], float32(y)+f.V[i]
			inside := px >= 0 && py >= 0 && px <= float32(f.W-1) && py <= float32(f.H-1)
			if valid != nil {
				valid[i] = 0
				if inside {
					valid[i] = 1
				}
			}
			a, b, c, d, fx, fy := f.corners(px, py)
			for k := range channels {
				p := src[k*n : (k+1)*n]
				top, bottom := p[a]+(p[b]-p[a])*fx, p[c]+(p[d]-p[c])*fx
				dst[k*n+i] = top + (bottom-top)*fy
			}
		}
	})
	return nil
}

// corners gives the four pixels around a place, those of the edge where it lies
// outside, and its place between them.
func (f *Field) corners(x, y float32) (a, b, c, d int, fx, fy float32) {
	// Not a number becomes 0.
	x = max(min(x, float32(f.W-1)), 0)
	y = max(min(y, float32(f.H-1)), 0)
	if !(x >= 0) {
		x = 0
	}
	if !(y >= 0) {
		y = 0
	}
	x0, y0 := int(x), int(y)
	x1, y1 := min(x0+1, f.W-1), min(y0+1, f.H-1)
	return y0*f.W + x0, y0*f.W + x1, y1*f.W + x0, y1*f.W + x1, x - float32(x0), y - float32(y0)
}

// Seen is a mask of the pixels that f finds in the other picture, and that back,
// the field from there, brings back to where they were (Ruder 2016, equation 5).
// A pixel is not seen there where
//
//	|w̃ + ŵ|² > .01 (|w̃|² + |ŵ|²) + .5
//
// with ŵ its own motion and w̃ that of back at the place where it is found, or
// where it is found outside.
func (f *Field) Seen(back *Field) ([]float32, error) {
	n := f.W * f.H
	if back.W != f.W || back.H != f.H {
		return nil, fmt.Errorf("flow: fields of %d×%d and %d×%d", f.W, f.H, back.W, back.H)
	}
	mask, u, v := make([]float32, n), make([]float32, n), make([]float32, n)
	if err := f.Warp(u, back.U, mask); err != nil {
		return nil, err
	}
	if err := f.Warp(v, back.V, nil); err != nil {
		return nil, err
	}
	for i := range mask {
		du, dv := u[i]+f.U[i], v[i]+f.V[i]
		if !(du*du+dv*dv <= .01*(u[i]*u[i]+v[i]*v[i]+f.U[i]*f.U[i]+f.V[i]*f.V[i])+.5) {
			mask[i] = 0
		}
	}
	return mask, nil
}

// Cut says whether there was a cut between two pictures, of which a mask says what
// of one is seen in the other: less than 30% is, and that is found by chance.
func Cut(seen []float32) bool {
	sum := float32(0)
	for _, v := range seen {
		sum += v
	}
	const least = 0.3
	return sum < least*float32(len(seen))
}

// Steady is a mask of the pixels beside which motion does not change (Ruder
// 2016, equation 6). It does where
//
//	|∇u|² + |∇v|² > .01 |w|² + .002
func (f *Field) Steady() []float32 {
	n := f.W * f.H
	ux, uy, vx, vy := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	gradients(f.W, f.H, f.U, ux, uy)
	gradients(f.W, f.H, f.V, vx, vy)
	for i := range n {
		slope := ux[i]*ux[i] + uy[i]*uy[i] + vx[i]*vx[i] + vy[i]*vy[i]
		steady := slope <= .01*(f.U[i]*f.U[i]+f.V[i]*f.V[i])+.002
		ux[i] = 0
		if steady {
			ux[i] = 1
		}
	}
	return ux
}

// WarpingError is how far a frame differs from the next one brought back to it
// (Lai et al. 2018, arXiv:1808.00449, equation 8):
//
//	Σ M (now − W(next))² / Σ M
//
// over all channels, with M the mask of what of now is seen in next. Values are
// 0 to 255 and are taken as 0 to 1, as the paper does. now and next are (C, H,
// W), and forward is the motion from now to next. Nothing seen gives 0.
func WarpingError(now, next []float32, forward *Field, seen []float32) (float64, error) {
	sum, weight, err := squares(now, next, forward, seen)
	if err != nil || weight == 0 {
		return 0, err
	}
	return sum / weight, nil
}

// TemporalLoss is how far a frame differs from the last one brought to it where
// it should not, as a mean over all D values of the frame (Ruder 2016, equation 7):
//
//	1/D Σ c (now − ω(last))²
//
// c is 0 where now shows what last does not, and beside boundaries of motion:
// the product of Seen and Steady of back, the motion from now to last. Values are
// 0 to 255 and are taken as 0 to 1.
func TemporalLoss(now, last []float32, back *Field, c []float32) (float64, error) {
	sum, _, err := squares(now, last, back, c)
	return sum / float64(max(len(now), 1)), err
}

// squares sums weighted squares of differences, and the weights.
func squares(now, other []float32, f *Field, mask []float32) (sum, weight float64, err error) {
	n := f.W * f.H
	if len(mask) != n || len(now) != len(other) {
		return 0, 0, fmt.Errorf("flow: %d values are compared with %d by a mask of %d and a field of %d×%d", len(now), len(other), len(mask), f.W, f.H)
	}
	warped, valid := make([]float32, len(now)), make([]float32, n)
	if err := f.Warp(warped, other, valid); err != nil {
		return 0, 0, err
	}
	for i, v := range now {
		m := float64(mask[i%n] * valid[i%n])
		d := float64(v-warped[i]) / 255
		sum += m * d * d
		weight += m
	}
	return sum, weight, nil
}

// Times multiplies masks, into the first, and returns it.
func Times(mask []float32, others ...[]float32) []float32 {
	for _, o := range others {
		for i := range mask {
			mask[i] *= o[i]
		}
	}
	return mask
}
