// Package flow measures how things move between two pictures, and what follows
// from that: where a pixel came from, which pixels are seen in both, and how far
// two frames differ once the motion is taken out.
//
// It owns dense optical flow by inverse search over a pyramid (DIS: Kroeger,
// Timofte, Dai and Van Gool 2016, arXiv:1603.03590), warping, the checks for
// occlusions and motion boundaries of Ruder, Dosovitskiy and Brox 2016
// (arXiv:1604.08610), and the two measures of flicker that the field reports. It
// works on planes of float32, and refuses files, pictures and networks. It is
// plain Go, so that every build of the product measures the same motion.
package flow

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// Field is a displacement for each pixel: what stands at (x, y) of one picture
// stands at (x+U, y+V) of another, in pixels, x to the right and y down.
type Field struct {
	W, H int
	U, V []float32 // (H, W)
}

// NewField returns a field without motion.
func NewField(w, h int) *Field {
	return &Field{w, h, make([]float32, w*h), make([]float32, w*h)}
}

// Least is the smallest side of a picture whose motion can be measured, in
// pixels: two patches beside each other.
const Least = 2 * patch

// Options say how carefully motion is measured. The zero value is what
// [NewEstimator] calls careful: each pixel of the full size.
type Options struct {
	// Finest is the level of the pyramid that the search ends at: 0 measures at
	// the full size, 1 at the half, 2 at the quarter. The field is then enlarged.
	// Each level costs a quarter of the one before.
	Finest int
	// Rough leaves the variational refinement out, which is half of the cost.
	Rough bool
}

// FinestFor is the Finest at which no more than that many pixels are measured.
func FinestFor(w, h, pixels int) int {
	finest := 0
	for w*h > pixels && min(w, h) >= 2*Least {
		w, h = (w+1)/2, (h+1)/2
		finest++
	}
	return finest
}

// Estimator measures motion between pictures of one size. It holds memory that
// is used again, so it serves one call at a time; a call uses all cores, and its
// result does not depend on their number.
type Estimator struct {
	w, h   int
	o      Options
	levels int // of a pyramid
	search searcher
	refine refiner
}

// NewEstimator is for pictures of w×h pixels, both sides at least Least.
func NewEstimator(w, h int, o Options) (*Estimator, error) {
	if min(w, h) < Least {
		return nil, fmt.Errorf("flow: motion can be measured in pictures of at least %d×%[1]d pixels, not %d×%d", Least, w, h)
	}
	if o.Finest < 0 || o.Finest > 0 && min(w, h)>>o.Finest < Least {
		return nil, fmt.Errorf("flow: pictures of %d×%d have no level %d of at least %d pixels", w, h, o.Finest, Least)
	}
	e := &Estimator{w: w, h: h, o: o, levels: 1}
	for w, h := w, h; min((w+1)/2, (h+1)/2) >= Least; e.levels++ {
		w, h = (w+1)/2, (h+1)/2
	}
	return e, nil
}

// Pyramid is a picture made ready for the search. It does not change, and serves
// any number of calls.
type Pyramid struct {
	levels []level // the full size first
}

// Pyramid makes luma, (H, W) with values 0 to 255, ready.
func (e *Estimator) Pyramid(luma []float32) (*Pyramid, error) {
	if len(luma) != e.w*e.h {
		return nil, fmt.Errorf("flow: a plane of %d×%d has %d values, not %d", e.w, e.h, e.w*e.h, len(luma))
	}
	p := &Pyramid{levels: make([]level, e.levels)}
	p.levels[0] = newLevel(e.w, e.h)
	p.levels[0].fill(luma)
	for i := 1; i < e.levels; i++ {
		p.levels[i] = p.levels[i-1].half()
	}
	for i := range p.levels {
		p.levels[i].differentiate()
	}
	return p, nil
}

// Flow returns where the pixels of a stand in b.
func (e *Estimator) Flow(a, b *Pyramid) *Field {
	var f *Field
	for i := e.levels - 1; i >= e.o.Finest; i-- {
		la, lb := &a.levels[i], &b.levels[i]
		if f == nil {
			f = NewField(la.w, la.h)
		} else {
			f = f.double(la.w, la.h)
		}
		e.search.run(f, la, lb)
		if !e.o.Rough {
			e.refine.run(f, la, lb)
		}
	}
	for i := e.o.Finest - 1; i >= 0; i-- {
		f = f.double(a.levels[i].w, a.levels[i].h)
	}
	return f
}

// Between returns where the pixels of a stand in b, two planes (h, w) with
// values 0 to 255.
func Between(a, b []float32, w, h int, o Options) (*Field, error) {
	e, err := NewEstimator(w, h, o)
	if err != nil {
		return nil, err
	}
	pa, err := e.Pyramid(a)
	if err != nil {
		return nil, err
	}
	pb, err := e.Pyramid(b)
	if err != nil {
		return nil, err
	}
	return e.Flow(pa, pb), nil
}

// double enlarges a field to w×h, whose half it has.
func (f *Field) double(w, h int) *Field {
	d := NewField(w, h)
	each(h, func(y int) {
		y0, y1, fy := halves(y, f.H)
		for x := range w {
			x0, x1, fx := halves(x, f.W)
			a, b, c, e := y0*f.W+x0, y0*f.W+x1, y1*f.W+x0, y1*f.W+x1
			top, bottom := f.U[a]+(f.U[b]-f.U[a])*fx, f.U[c]+(f.U[e]-f.U[c])*fx
			d.U[y*w+x] = 2 * (top + (bottom-top)*fy)
			top, bottom = f.V[a]+(f.V[b]-f.V[a])*fx, f.V[c]+(f.V[e]-f.V[c])*fx
			d.V[y*w+x] = 2 * (top + (bottom-top)*fy)
		}
	})
	return d
}

// halves gives the two pixels of a line of n that pixel i of one of twice the
// length lies between, and its place between them.
func halves(i, n int) (lo, hi int, at float32) {
	at = float32(i&1)*-0.5 + 0.75 // even ones lie at .75 of the way from the left
	lo = (i+1)/2 - 1
	return min(max(lo, 0), n-1), min(lo+1, n-1), at
}

// each calls f for 0 to n−1, on all cores.
func each(n int, f func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	// A few numbers at a time, which keeps neighbours in one cache.
	chunk := int64(max(n/(8*workers), 1))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				to := next.Add(chunk)
				from := to - chunk
				if from >= int64(n) {
					return
				}
				for i := from; i < min(to, int64(n)); i++ {
					f(int(i))
				}
			}
		})
	}
	wg.Wait()
}
