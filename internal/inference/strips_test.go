package inference

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"stylenet/internal/kernels"
	"stylenet/internal/networks"
)

// strips runs a fixture by strips.
func (f *fixture) strips(t *testing.T, limits Limits, edit func(*Strips)) []float32 {
	t.Helper()
	s, err := NewStrips(f.dev, f.net, f.arrays, f.h, f.w, limits)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	if edit != nil {
		edit(s)
	}
	sizes, err := f.net.Sizes(f.h, f.w)
	if err != nil {
		t.Fatal(err)
	}
	out := sizes[len(sizes)-1]
	result, next, done := make([]float32, out.C*out.H*out.W), 0, 0.
	read := func(dst []float32, from, to int) error {
		copyRows(dst, f.picture, to-from, f.h, 0, from, to-from, f.w)
		return nil
	}
	write := func(src []float32, from, to int) error {
		if from != next {
			t.Errorf("rows from %d on were written after row %d", from, next-1)
		}
		next = to
		copyRows(result, src, out.H, to-from, from, 0, to-from, out.W)
		return nil
	}
	progress := func(share float64) {
		if share < done || share > 1+1e-9 {
			t.Errorf("progress went from %g to %g", done, share)
		}
		done = share
	}
	if err := s.Run(context.Background(), read, write, progress); err != nil {
		t.Fatal(err)
	}
	if next != out.H || done < 1-1e-9 {
		t.Errorf("%d of %d rows were written, progress is %g", next, out.H, done)
	}
	return result
}

// copyRows copies n rows of each plane between maps of different heights.
func copyRows(dst, src []float32, dh, sh, dy, sy, n, w int) {
	for c := range len(dst) / (dh * w) {
		copy(dst[(c*dh+dy)*w:(c*dh+dy+n)*w], src[(c*sh+sy)*w:])
	}
}

// The result does not depend on the strips, nor on what is kept where.
func TestStripsAgreeWithTheWhole(t *testing.T) {
	for name, edit := range kinds() {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, johnson(t, edit), 40, 28)
			want := f.run(t)[0]
			for _, n := range []int{1, 2, 3, 5, 7, 13, 32, 39, 100} {
				if d := apart(f.strips(t, Limits{Bytes: 1 << 30, Rows: n}, nil), want); d > 1e-4 {
					t.Errorf("strips of %d rows: %g apart", n, d)
				}
			}
		})
	}
}

func TestStripsKeepAnything(t *testing.T) {
	net := johnson(t, func(*networks.Johnson) {})
	f := newFixture(t, net, 40, 28)
	want := f.run(t)[0]
	rnd := rand.New(rand.NewPCG(5, 5))
	for range 30 {
		chosen := map[int]bool{}
		d := apart(f.strips(t, Limits{Bytes: 1 << 30, Rows: 1 + rnd.IntN(20)}, func(s *Strips) {
			for _, step := range s.steps[:len(s.steps)-1] {
				s.stored[step.Output] = rnd.IntN(2) == 0
				chosen[step.Output] = s.stored[step.Output]
			}
			s.cost(1)
			if err := s.fit(); err != nil {
				t.Fatal(err)
			}
			for i := range s.passes {
				s.passes[i].inFile = rnd.IntN(2) == 0
			}
		}), want)
		if d > 1e-4 {
			t.Errorf("keeping %v: %g apart", chosen, d)
		}
	}
}

// Every row that a source gives is needed by some row, and none is missing.
func TestReadsOfEachRow(t *testing.T) {
	for _, s := range []Fused{
		{Layer: networks.Layer{Op: networks.Add{}}},
		{Layer: networks.Layer{Op: networks.Conv{Kernel: 9, Stride: 1}}},
		{Layer: networks.Layer{Op: networks.Conv{Kernel: 3, Stride: 2}}},
		{Layer: networks.Layer{Op: networks.Conv{Kernel: 1, Stride: 3}}},
		{Layer: networks.Layer{Op: networks.ConvTranspose{Kernel: 3, Stride: 2, Pad: 1, OutputPad: 1}}},
		{Layer: networks.Layer{Op: networks.ConvTranspose{Kernel: 4, Stride: 2, Pad: 0}}},
		{Layer: networks.Layer{Op: networks.Pool{}}},
		{Layer: networks.Layer{Op: networks.Tanh{}}},
	} {
		for from := range 9 {
			for to := from + 1; to < 12; to++ {
				want := rows{1 << 30, -1}
				for y := from; y < to; y++ {
					for _, seen := range touched(s.Layer.Op, y) {
						want = rows{min(want.from, seen), max(want.to, seen+1)}
					}
				}
				if got := s.reads(rows{from, to}, 40); got != want {
					t.Errorf("%T %+v: rows %d to %d read %v, want %v", s.Layer.Op, s.Layer.Op, from, to, got, want)
				}
			}
		}
	}
}

// touched lists the rows that row y of a layer's result depends on.
func touched(op networks.Op, y int) (seen []int) {
	switch op := op.(type) {
	case networks.Conv:
		for k := range op.Kernel {
			seen = append(seen, y*op.Stride+k)
		}
	case networks.ConvTranspose:
		for i := range y + op.Pad + 1 {
			if k := y + op.Pad - i*op.Stride; k >= 0 && k < op.Kernel {
				seen = append(seen, i)
			}
		}
	case networks.Pool:
		seen = []int{2 * y, 2*y + 1}
	default:
		seen = []int{y}
	}
	return seen
}

// Reading the rows that source names, as strip says, gives what reading the
// whole gives.
func TestReadOfStrips(t *testing.T) {
	const h = 6
	for _, mode := range []networks.PadMode{networks.PadZero, networks.PadReflect, networks.PadEdge} {
		for up := 1; up <= 3; up++ {
			for _, top := range []int{-2, 0, 1, 5} {
				for _, bottom := range []int{-1, 0, 4} {
					r := Read{Upsample: up, Mode: mode, Pad: networks.Padding{Top: top, Bottom: bottom}}
					whole := r.rowsOf(rows{0, h})
					for from := range whole {
						for to := from + 1; to <= len(whole); to++ {
							seen := rows{from, to}
							have := r.source(seen, h)
							if have.from < 0 || have.to > h || have.count() < 1 {
								t.Fatalf("%+v: rows %v need %v of %d", r, seen, have, h)
							}
							if got := r.strip(seen, have).rowsOf(have); !slices.Equal(got, whole[from:to]) {
								t.Fatalf("%+v: rows %v are %v, want %v", r, seen, got, whole[from:to])
							}
						}
					}
				}
			}
		}
	}
}

// rowsOf lists the source row of each row that r makes of the rows have, or -1
// for zeros.
func (r Read) rowsOf(have rows) (list []int) {
	n := have.count() * r.Upsample
	for y := range n + r.Pad.Top + r.Pad.Bottom {
		y -= r.Pad.Top
		switch {
		case y >= 0 && y < n:
		case r.Mode == networks.PadReflect:
			y = max(y, -y)
			y = min(y, 2*(n-1)-y)
		case r.Mode == networks.PadEdge:
			y = min(max(y, 0), n-1)
		default:
			list = append(list, -1)
			continue
		}
		list = append(list, have.from+y/r.Upsample)
	}
	return list
}

func TestStripsLimits(t *testing.T) {
	net := johnson(t, func(j *networks.Johnson) { j.Architecture = "c9s1-8,d16,R16,R16,u8,c9s1-3" })
	f := newFixture(t, net, 512, 16)
	want := f.run(t)[0]
	whole, err := MapBytes(f.dev, net, 1, f.h, f.w)
	if err != nil {
		t.Fatal(err)
	}
	for _, share := range []int64{2, 4} {
		limit := whole / share
		before := f.dev.PeakBytes()
		s, err := NewStrips(f.dev, net, f.arrays, f.h, f.w, Limits{Bytes: limit})
		if err != nil {
			t.Fatal(err)
		}
		if s.memory > limit || s.memory < limit/8 {
			t.Errorf("%d bytes are used of %d", s.memory, limit)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if d := apart(f.strips(t, Limits{Bytes: limit}, nil), want); d > 1e-4 {
			t.Errorf("%g apart", d)
		}
		if after := f.dev.PeakBytes(); after > before { // the whole picture's
			t.Errorf("the device held %d bytes, for the whole picture %d", after, before)
		}
	}
	_, err = NewStrips(f.dev, net, f.arrays, f.h, f.w, Limits{Bytes: 1 << 10})
	var e *MemoryError
	if !errors.As(err, &e) || e.Limit != 1<<10 || e.Need <= e.Limit {
		t.Errorf("got %v", err)
	}
}

// A run that is stopped or fails leaves no file behind.
func TestStripsStop(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	f := newFixture(t, johnson(t, func(*networks.Johnson) {}), 40, 28)
	broken := errors.New("broken picture")
	for _, at := range []float64{0, .1, .5, .9} {
		s, err := NewStrips(f.dev, f.net, f.arrays, f.h, f.w, Limits{Bytes: 1 << 30, Rows: 4})
		if err != nil {
			t.Fatal(err)
		}
		for i := range s.passes {
			s.passes[i].inFile = true
		}
		ctx, stop := context.WithCancel(context.Background())
		done, calls := 0., 0
		read := func([]float32, int, int) error {
			if at == 0 {
				return broken
			}
			return nil
		}
		write := func([]float32, int, int) error { return nil }
		err = s.Run(ctx, read, write, func(share float64) {
			if done = share; done >= at {
				calls++
				stop()
			}
		})
		stop()
		if at == 0 && !errors.Is(err, broken) || at > 0 && (!errors.Is(err, context.Canceled) || calls != 1) {
			t.Errorf("stopped at %g: %v, after %d more strips", at, err, calls)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%v is left (%v)", left, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestMerger(t *testing.T) {
	f := newFixture(t, johnson(t, func(*networks.Johnson) {}), 20, 28)
	const n, eps = 90, 1e-5
	rnd := rand.New(rand.NewPCG(3, 3))
	values := make([]float32, n)
	for i := range values {
		values[i] = 1e3 + rnd.Float32() + float32(i/20)
	}
	take := func(values []float32) (m statistics) {
		shape := kernels.Shape{N: 1, C: 1, H: 1, W: len(values)}
		x, err := f.dev.NewActivation(shape)
		if err != nil {
			t.Fatal(err)
		}
		y, _ := f.dev.NewActivation(shape)
		one, _ := NewParameter(f.dev, []int{1}, []float32{1})
		m, _ = newStatistics(f.dev, kernels.Vector(1))
		k, err := f.dev.Norm(y, m.mean, m.invstd, x, one, one, kernels.Norm{Eps: eps})
		if err := errors.Join(err, f.dev.Upload(x, values)); err != nil {
			t.Fatal(err)
		}
		k()
		return m
	}
	want := take(values)
	whole, _ := newStatistics(f.dev, kernels.Vector(1))
	m, err := newMerger(f.dev, whole, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []rows{{0, 1}, {1, 30}, {30, 33}, {33, 90}} {
		m.part = take(values[r.from:r.to])
		if err := m.add(f.dev, r.count()); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.finish(f.dev); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]kernels.Array{{whole.mean, want.mean}, {whole.invstd, want.invstd}} {
		if d := apart(download(t, f.dev, c[0]), download(t, f.dev, c[1])); d > 1e-4 {
			t.Errorf("%v is %g apart from %v", fmt.Sprint(download(t, f.dev, c[0])), d, download(t, f.dev, c[1]))
		}
	}
}
