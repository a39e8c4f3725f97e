// Package views makes two views of one photo, and says where each pixel of one
// stands in the other: what a film would show of it in two frames, with motion
// that is known.
//
// The photo moves as a whole (it is shifted, turned and zoomed), and each part of
// it a little on its own, smoothly. Half of the pairs have an object in front, cut
// from the same photo, which moves by itself: it hides what one view shows and the
// other does not. Light and noise differ, too. This is the motion that temporal
// losses train with where there is no film (ReCoNet, Gao et al. 2018, and others
// take it from films that were rendered).
//
// The package owns what moves and how. It refuses files and devices.
package views

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Motion bounds how the views of a pair differ.
type Motion struct {
	// Pixels is the farthest that the photo is shifted. Turning, zooming and the
	// motion of parts add about as much at the corners.
	Pixels float64
	// Noise is the standard deviation of the noise on each value, of 0 to 255.
	Noise float64
	// Brightness is the largest share by which one view is brighter than the other.
	Brightness float64
}

// Border is how many pixels of the photo are needed around a view.
func (m Motion) Border() int { return int(math.Ceil(m.Pixels)) }

// MaxPixels is the largest Motion.Pixels of views of that size: more, and parts
// would fold over each other.
func MaxPixels(size int) float64 { return float64(size) / 8 }

// Pair is two views of size×size pixels, those of a batch one after the other.
type Pair struct {
	Views []float32 // (2, 3, size, size), RGB 0-255
	// Flow is where a pixel of either view stands in the other one, from where it
	// is: to the right, and down.
	Flow []float32 // (2, 2, size, size)
	// Seen is 1 where the other view shows the same, and 0 where it is hidden
	// there, lies outside, or is a mixture at an object's edge.
	Seen []float32 // (2, 1, size, size)
}

// Values is how many floats a pair takes.
func Values(size int) int { return 12 * size * size }

// PairOf divides a pair's values.
func PairOf(values []float32, size int) Pair {
	n := size * size
	return Pair{values[:6*n], values[6*n : 10*n], values[10*n : 12*n]}
}

// Maker makes pairs, one at a time, in memory of its own.
type Maker struct {
	size, side int // of a view, of the photo
	motion     Motion
	knots      []float32 // of the smooth motion of parts: (2, spans+3, spans+3)
	line       []float32 // those of one row of pixels: (2, spans+3)
	weights    []spline  // of each column, and of each row
	noise      *rand.PCG
}

// spans is how many pieces the smooth motion of parts has along a side.
const spans = 4

// NewMaker is for views of size×size pixels.
func NewMaker(size int, m Motion) (*Maker, error) {
	if !(m.Pixels >= 0 && m.Pixels <= MaxPixels(size)) {
		return nil, fmt.Errorf("views: a motion of %g pixels in views of %d×%[2]d, not 0 to %g", m.Pixels, size, MaxPixels(size))
	}
	k := &Maker{
		size: size, side: size + 2*m.Border(), motion: m,
		knots: make([]float32, 2*(spans+3)*(spans+3)), line: make([]float32, 2*(spans+3)),
		weights: make([]spline, size), noise: rand.NewPCG(0, 0),
	}
	for i := range k.weights {
		k.weights[i] = splineAt(float64(i) * spans / float64(size))
	}
	return k, nil
}

// Make fills dst with the values of a pair. photo is (3, side, side), RGB 0-255,
// with side the size and Border pixels on both sides of it. The result is a
// function of the photo and of what random gives.
func (k *Maker) Make(dst, photo []float32, random *rand.Rand) error {
	if len(dst) != Values(k.size) || len(photo) != 3*k.side*k.side {
		return fmt.Errorf("views: %d values of a photo for a pair of %d, not %d and %d", len(photo), len(dst), 3*k.side*k.side, Values(k.size))
	}
	p := PairOf(dst, k.size)
	n := k.size * k.size
	shift := k.drawMotion(random)
	object := k.drawObject(random)
	gain := float32(1 + k.motion.Brightness*(2*random.Float64()-1))
	k.noise.Seed(random.Uint64(), random.Uint64())

	// The second view is the photo, moved; the first one is as the photo lies.
	toFirst, toSecond := p.Flow[2*n:], p.Flow[:2*n]
	k.field(toFirst, shift)
	invert(toSecond, toFirst, k.size)
	k.cut(p.Views[:3*n], photo)
	k.move(p.Views[3*n:], photo, toFirst)
	k.see(p.Seen[:n], toSecond)
	k.see(p.Seen[n:], toFirst)
	if object != nil {
		k.cover(p, photo, object)
	}
	k.light(p.Views, gain)
	return nil
}

// cut takes the middle of the photo.
func (k *Maker) cut(dst, photo []float32) {
	b := k.motion.Border()
	for c := range 3 {
		for y := range k.size {
			copy(dst[(c*k.size+y)*k.size:][:k.size], photo[(c*k.side+y+b)*k.side+b:])
		}
	}
}

// move takes each pixel from where the flow says that it stands in the middle of
// the photo.
func (k *Maker) move(dst, photo, flow []float32) {
	n, b := k.size*k.size, float32(k.motion.Border())
	var v [3]float32
	for y := range k.size {
		for x := range k.size {
			i := y*k.size + x
			k.sample(&v, photo, float32(x)+b+flow[i], float32(y)+b+flow[n+i])
			dst[i], dst[n+i], dst[2*n+i] = v[0], v[1], v[2]
		}
	}
}

// sample reads the photo between its pixels, by Catmull and Rom's cubics, which
// leave it nearly as sharp as it is.
func (k *Maker) sample(v *[3]float32, photo []float32, x, y float32) {
	last := float32(k.side - 1)
	x, y = min(max(x, 0), last), min(max(y, 0), last)
	x0, y0 := int(x), int(y)
	wx, wy := cubic(x-float32(x0)), cubic(y-float32(y0))
	if x0 >= 1 && y0 >= 1 && x0 < k.side-2 && y0 < k.side-2 {
		for c := range v {
			at := (c*k.side+y0-1)*k.side + x0 - 1
			sum := float32(0)
			for r := range wy {
				p := (*[4]float32)(photo[at:])
				sum += wy[r] * (wx[0]*p[0] + wx[1]*p[1] + wx[2]*p[2] + wx[3]*p[3])
				at += k.side
			}
			v[c] = sum
		}
		return
	}
	for c := range v {
		sum := float32(0)
		for r := range wy {
			row := photo[(c*k.side+min(max(y0-1+r, 0), k.side-1))*k.side:][:k.side]
			for q := range wx {
				sum += wy[r] * wx[q] * row[min(max(x0-1+q, 0), k.side-1)]
			}
		}
		v[c] = sum
	}
}

func cubic(t float32) [4]float32 {
	return [4]float32{
		((-.5*t+1)*t - .5) * t,
		(1.5*t-2.5)*t*t + 1,
		((-1.5*t+2)*t + .5) * t,
		(.5*t - .5) * t * t,
	}
}

// see marks the pixels that the flow leads to a place inside.
func (k *Maker) see(seen, flow []float32) {
	for i := range seen {
		seen[i] = 0
		if k.inside(float32(i%k.size)+flow[i], float32(i/k.size)+flow[len(seen)+i]) {
			seen[i] = 1
		}
	}
}

func (k *Maker) inside(x, y float32) bool {
	last := float32(k.size - 1)
	return x >= 0 && y >= 0 && x <= last && y <= last
}

// light makes the second view brighter or darker, and puts noise on both.
func (k *Maker) light(views []float32, gain float32) {
	second := views[len(views)/2:]
	for i := range second {
		second[i] *= gain
	}
	sigma := float32(k.motion.Noise)
	noise := rand.New(k.noise)
	for i, v := range views {
		if sigma > 0 {
			v += sigma * float32(noise.NormFloat64())
		}
		views[i] = min(max(v, 0), 255)
	}
}
