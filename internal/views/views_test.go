package views

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"stylenet/internal/scenes"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// drawn is a photo for views of that size.
func drawn(seed uint64, side int) []float32 {
	p := scenes.Photo(seed, side, side)
	photo := make([]float32, 3*side*side)
	for i := range side * side {
		for c := range 3 {
			photo[c*side*side+i] = float32(p.Pix[4*i+c])
		}
	}
	return photo
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// read is a plane between its pixels.
func read(p []float32, size int, x, y float32) float32 {
	x0, y0 := min(int(x), size-2), min(int(y), size-2)
	return between(p, y0*size+x0, size, x-float32(x0), y-float32(y0))
}

// Where a pixel is marked as seen, the other view shows the same at the place that
// the flow says, and the flow of that place leads back. Where it is not, an object
// or the edge is in the way.
func TestFlowLeadsToTheSame(t *testing.T) {
	const size = 96
	m := Motion{Pixels: 8}
	k, err := NewMaker(size, m)
	check(t, err)
	n := size * size
	values := make([]float32, Values(size))
	objects, unseen := 0, 0
	for seed := range uint64(12) {
		check(t, k.Make(values, drawn(seed, size+2*m.Border()), random(seed)))
		p := PairOf(values, size)
		for view := range 2 {
			flow, back := p.Flow[view*2*n:][:2*n], p.Flow[(1-view)*2*n:][:2*n]
			var still, moved, longest float64
			count := 0
			for i := range n {
				u, v := flow[i], flow[n+i]
				longest = max(longest, math.Hypot(float64(u), float64(v)))
				switch p.Seen[view*n+i] {
				case 0:
					unseen++
					continue
				case 1:
				default:
					t.Fatalf("a mark of %g", p.Seen[view*n+i])
				}
				x, y := float32(i%size)+u, float32(i/size)+v
				bu, bv := read(back[:n], size, x, y), read(back[n:], size, x, y)
				if d := math.Hypot(float64(u+bu), float64(v+bv)); d > .02 && p.Seen[(1-view)*n+int(y+.5)*size+int(x+.5)] == 1 && whole(p.Seen[(1-view)*n:][:n], size, x, y) {
					t.Fatalf("pair %d, view %d: pixel %d does not come back by %g", seed, view, i, d)
				}
				for c := range 3 {
					mine, other := p.Views[(view*3+c)*n:][:n], p.Views[((1-view)*3+c)*n:][:n]
					d := float64(mine[i] - read(other, size, x, y))
					moved += d * d
					d = float64(mine[i] - other[i])
					still += d * d
				}
				count++
			}
			if count < n/2 {
				t.Errorf("pair %d: %d of %d pixels are seen", seed, count, n)
			}
			// What is left is what interpolation takes of fine grain.
			if moved > still/8 {
				t.Errorf("pair %d, view %d: squares of %.0f along the flow, of %.0f without it", seed, view, moved, still)
			}
			if longest > 2.5*m.Pixels || longest < .2 {
				t.Errorf("pair %d: moved by up to %g pixels", seed, longest)
			}
		}
		if k.drawsObject(seed) {
			objects++
		}
	}
	if objects < 2 || objects > 10 || unseen == 0 {
		t.Errorf("%d of 12 pairs have an object, and %d pixels are not seen", objects, unseen)
	}
}

// drawsObject says whether a seed's pair has an object.
func (k *Maker) drawsObject(seed uint64) bool {
	r := random(seed)
	k.drawMotion(r)
	return k.drawObject(r) != nil
}

// whole says whether all four pixels around a place are marked.
func whole(seen []float32, size int, x, y float32) bool {
	x0, y0 := min(int(x), size-2), min(int(y), size-2)
	return seen[y0*size+x0] == 1 && seen[y0*size+x0+1] == 1 && seen[(y0+1)*size+x0] == 1 && seen[(y0+1)*size+x0+1] == 1
}

// An object that comes in front hides what is behind it, and moves by its own.
func TestObjectHides(t *testing.T) {
	const size = 64
	k, err := NewMaker(size, Motion{Pixels: 6})
	check(t, err)
	photo := drawn(3, k.side)
	n := size * size
	p := PairOf(make([]float32, Values(size)), size)
	o := &object{x: 30, y: 30, rx: 10, ry: 8, cos: 1, move: similarity{mx: 30, my: 30, sx: 9, cos: 1}}
	k.cut(p.Views[:3*n], photo)
	k.cut(p.Views[3*n:], photo)
	k.see(p.Seen[:n], p.Flow[:2*n])
	k.see(p.Seen[n:], p.Flow[2*n:])
	k.cover(p, photo, o)
	at := func(plane []float32, x, y int) float32 { return plane[y*size+x] }
	for _, c := range []struct {
		what        string
		x, y        int
		seen1, flow float32
		seen2, back float32
	}{
		{"the object in both", 34, 30, 1, 9, 1, -9},
		{"the object, then what it leaves", 23, 30, 1, 9, 0, 0},
		{"what it covers, then it", 46, 30, 0, 0, 1, -9},
		{"its edge", 21, 30, 0, 0, 0, 0},
		{"the rest", 5, 5, 1, 0, 1, 0},
	} {
		got := [4]float32{at(p.Seen[:n], c.x, c.y), at(p.Flow[:n], c.x, c.y), at(p.Seen[n:], c.x, c.y), at(p.Flow[2*n:], c.x, c.y)}
		if want := [4]float32{c.seen1, c.flow, c.seen2, c.back}; got != want {
			t.Errorf("%s: seen, flow, seen and flow of the second are %v, want %v", c.what, got, want)
		}
	}
}

// A pair is a function of the photo and the random numbers; noise and light change
// the pictures alone.
func TestPairIsDrawnFromItsNumbers(t *testing.T) {
	const size = 64
	pair := func(m Motion, seed uint64) Pair {
		k, err := NewMaker(size, m)
		check(t, err)
		values := make([]float32, Values(size))
		check(t, k.Make(values, drawn(9, size+2*m.Border()), random(7))) // what an earlier pair leaves does not matter
		check(t, k.Make(values, drawn(1, size+2*m.Border()), random(seed)))
		return PairOf(values, size)
	}
	m := Motion{Pixels: 4, Noise: 5, Brightness: .1}
	a, b, other := pair(m, 1), pair(m, 1), pair(m, 2)
	if !slices.Equal(a.Views, b.Views) || !slices.Equal(a.Flow, b.Flow) || !slices.Equal(a.Seen, b.Seen) {
		t.Error("the same numbers give another pair")
	}
	if slices.Equal(a.Flow, other.Flow) {
		t.Error("other numbers give the same flow")
	}
	plain := pair(Motion{Pixels: 4}, 1)
	if !slices.Equal(a.Flow, plain.Flow) || !slices.Equal(a.Seen, plain.Seen) {
		t.Error("noise changes the flow")
	}
	var square float64
	first := a.Views[:len(a.Views)/2] // the second one's light differs, too
	for i, v := range first {
		d := float64(v - plain.Views[i])
		square += d * d
		if v < 0 || v > 255 {
			t.Fatalf("a value of %g", v)
		}
	}
	if sigma := math.Sqrt(square / float64(len(first))); math.Abs(sigma-5) > .2 {
		t.Errorf("noise of %g, want 5", sigma)
	}
	still := pair(Motion{}, 3)
	for i, v := range still.Flow {
		if v != 0 {
			t.Fatalf("without motion, the flow has a %g at %d", v, i)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, pixels := range []float64{-1, 9, math.NaN()} {
		if _, err := NewMaker(64, Motion{Pixels: pixels}); err == nil {
			t.Errorf("a motion of %g pixels at 64² is no error", pixels)
		}
	}
	k, err := NewMaker(64, Motion{})
	check(t, err)
	if err := k.Make(nil, nil, random(1)); err == nil {
		t.Error("a pair of nothing is no error")
	}
}

func BenchmarkMake(b *testing.B) {
	const size = 256
	m := Motion{Pixels: 16, Noise: 4, Brightness: .05}
	k, err := NewMaker(size, m)
	if err != nil {
		b.Fatal(err)
	}
	photo, values := drawn(1, size+2*m.Border()), make([]float32, Values(size))
	r := random(1)
	for b.Loop() {
		if err := k.Make(values, photo, r); err != nil {
			b.Fatal(err)
		}
	}
}
