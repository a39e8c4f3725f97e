package kerneltest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"pgregory.net/rapid"

	"stylenet/internal/kernels"
)

// read describes how a fused kernel reads a source.
type read struct {
	kernels.Read      // upsampling, ReLU and border
	normalise    bool // with statistics of each image,
	shared       bool // or of one for all
}

func (r read) String() string {
	return fmt.Sprintf("normalise %v shared %v ReLU %v ×%d %v %+v", r.normalise, r.shared, r.ReLU, r.Upsample, r.Mode, r.Pad)
}

// fits says whether something is left of maps of that shape, and enough of it
// for a reflected border.
func (r read) fits(s kernels.Shape) bool {
	p, up, out := r.Pad, max(1, r.Upsample), r.Shape(s)
	return out.H >= 1 && out.W >= 1 &&
		(r.Mode != kernels.PadReflect || max(p.Top, p.Bottom) < s.H*up && max(p.Left, p.Right) < s.W*up)
}

// operands are the source, mean, invstd, gamma and beta.
func (r read) operands(src kernels.Shape) []operand {
	stats := kernels.Norm{}.Stats(src)
	if r.shared {
		stats.N = 1
	}
	return []operand{
		activation(src),
		parameter(stats).unless(!r.normalise), parameter(stats).unless(!r.normalise),
		parameter(kernels.Vector(src.C)).unless(!r.normalise), parameter(kernels.Vector(src.C)).unless(!r.normalise),
	}
}

// of is the Read whose arrays follow the source in a.
func (r read) of(a []kernels.Array) kernels.Read {
	full := r.Read
	full.Mean, full.InvStd, full.Gamma, full.Beta = a[1], a[2], a[3], a[4]
	return full
}

// fill makes statistics such as maps have: no deviation is below 0.
func (r read) fill(v [][]float32) {
	for i, x := range v[2] {
		v[2][i] = 0.1 + float32(math.Abs(float64(x)))
	}
}

// added makes a normalisation of absolute values one that adds everything.
func (r read) added(v [][]float32) {
	for i := range v[1] {
		v[1][i] = -v[1][i]
	}
}

// fusedConv takes the convolution's channels, kernel, stride, ReLU, Frozen and
// bias; its source is what r makes of c's, and its padding r's.
func fusedConv(c convolution, r read, statistics bool) call {
	n := kernels.Norm{Eps: 1e-5}
	src := c.src()
	in := r.Shape(src)
	plain := c
	plain.h, plain.w, plain.Pad = in.H, in.W, kernels.Padding{}
	dst := plain.dst()
	stats := parameter(n.Stats(dst)).written().unless(!statistics)
	stats.ofMap = true // a device may take them of what it writes, rounded
	operands := []operand{
		activation(dst).written(), stats, stats,
		parameter(c.weights()).fixed(c.Frozen), parameter(kernels.Vector(c.out)).unless(c.withoutBias).fixed(c.Frozen),
	}
	return call{
		name:     fmt.Sprintf("FusedConv %v statistics %v of %v", plain, statistics, r),
		conv:     true,
		operands: append(operands, r.operands(src)...),
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.FusedConv(a[0], a[1], a[2], a[5], r.of(a[5:]), a[3], a[4], plain.Conv, n)
		},
		fill:  func(_ *rand.Rand, v [][]float32) { r.fill(v[5:]) },
		added: func(v [][]float32) { r.added(v[5:]) },
		scale: func(v [][]float64, terms []float64) []float64 {
			// Of maps with a small deviation 1/√(variance + ε) magnifies what
			// rounding does to them.
			invstd := largest(v[2])
			return append([]float64{terms[0], terms[0], invstd * (1 + terms[0]*invstd)}, terms[3:]...)
		},
	}
}

// fusedSum takes a result of that shape and sources that the reads fit to it.
func fusedSum(dst kernels.Shape, rs ...read) call {
	c := call{
		operands: []operand{activation(dst).written()},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			var srcs []kernels.Array
			var full []kernels.Read
			for i, r := range rs {
				srcs = append(srcs, a[1+5*i])
				full = append(full, r.of(a[1+5*i:]))
			}
			return d.FusedSum(a[0], srcs, full)
		},
		fill: func(_ *rand.Rand, v [][]float32) {
			for i, r := range rs {
				r.fill(v[1+5*i:])
			}
		},
		added: func(v [][]float32) {
			for i, r := range rs {
				r.added(v[1+5*i:])
			}
		},
	}
	c.name = fmt.Sprintf("FusedSum %v", dst)
	for _, r := range rs {
		c.name += fmt.Sprintf(" + %v", r)
		c.operands = append(c.operands, r.operands(r.source(dst))...)
	}
	return c
}

// source is the shape of which r makes dst.
func (r read) source(dst kernels.Shape) kernels.Shape {
	up := max(1, r.Upsample)
	dst.H = (dst.H - r.Pad.Top - r.Pad.Bottom) / up
	dst.W = (dst.W - r.Pad.Left - r.Pad.Right) / up
	return dst
}

// reads are all ways to read a source: what is done to its values, and where
// they go.
func reads() []read {
	var rs []read
	borders := []kernels.Read{
		{},
		{Mode: kernels.PadZero, Pad: kernels.Same(1)},
		{Mode: kernels.PadReflect, Pad: kernels.Same(1)},
		{Mode: kernels.PadReflect, Pad: kernels.Padding{Top: 2, Bottom: 1, Right: 3}},
		{Mode: kernels.PadEdge, Pad: kernels.Padding{Top: 1, Bottom: 4, Left: 5, Right: 2}},
		{Mode: kernels.PadZero, Pad: kernels.Padding{Top: -1, Bottom: 2, Left: 3, Right: -2}},
		{Mode: kernels.PadReflect, Pad: kernels.Padding{Top: 1, Bottom: -2, Left: -1, Right: 2}},
		{Mode: kernels.PadEdge, Pad: kernels.Padding{Top: -2, Bottom: 3, Left: 1, Right: -1}},
	}
	values := []read{{}, {normalise: true}, {normalise: true, shared: true}, {Read: kernels.Read{ReLU: true}}, {normalise: true, Read: kernels.Read{ReLU: true}}}
	for _, border := range borders {
		for up := range 4 {
			for _, r := range values {
				border.Upsample, border.ReLU = up, r.ReLU
				r.Read = border
				rs = append(rs, r)
			}
		}
	}
	return rs
}

func fusedConvs() []call {
	var calls []call
	kernelSizes := [][2]int{{3, 3}, {3, 3}, {9, 9}, {1, 1}, {3, 3}, {2, 4}}
	channels := []int{32, 3, 16, 5, 40, 20, 16, 4}
	sizes := [][2]int{{6, 7}, {9, 8}, {2, 11}, {12, 5}, {1, 2}, {7, 7}, {4, 13}}
	for i, r := range reads() {
		k := kernelSizes[i%len(kernelSizes)]
		size := sizes[i%len(sizes)]
		c := convolution{
			n: 1 + i%3, in: channels[i%len(channels)], out: channels[(i/3+1)%len(channels)],
			h: size[0], w: size[1], kh: k[0], kw: k[1],
			Conv:        kernels.Conv{Stride: 1 + i/2%2, ReLU: i%4 == 1, Frozen: i%5 < 2},
			withoutBias: i%3 == 1,
		}
		if c.kh == 9 { // as the first and the last layers
			c.in, c.out = []int{3, 20, 16}[i%3], []int{32, 3, 5}[i%3]
		}
		for !r.fits(c.src()) || r.Shape(c.src()).H < c.kh || r.Shape(c.src()).W < c.kw {
			c.h, c.w = c.h+1, c.w+1
		}
		calls = append(calls, fusedConv(c, r, !c.ReLU && i%7 != 0))
	}
	// Layers of the networks, over several tiles, blocks of tiles and threads.
	same := func(mode kernels.PadMode, n int) kernels.Read { return kernels.Read{Mode: mode, Pad: kernels.Same(n)} }
	norm := func(r kernels.Read, relu bool) read { r.ReLU = relu; return read{Read: r, normalise: true} }
	upsampled := same(kernels.PadReflect, 1)
	upsampled.Upsample = 2
	for _, l := range []struct {
		convolution
		read
		statistics bool
	}{
		{convolution{n: 1, in: 32, out: 32, h: 37, w: 53, kh: 3, kw: 3, Conv: kernels.Conv{Stride: 1, Frozen: true}}, norm(same(kernels.PadReflect, 1), true), true},
		{convolution{n: 2, in: 32, out: 48, h: 37, w: 53, kh: 3, kw: 3, Conv: kernels.Conv{Stride: 2, Frozen: true}}, norm(same(kernels.PadReflect, 1), true), true},
		{convolution{n: 1, in: 48, out: 32, h: 19, w: 27, kh: 3, kw: 3, Conv: kernels.Conv{Stride: 1, Frozen: true}}, norm(upsampled, true), true},
		{convolution{n: 1, in: 64, out: 64, h: 29, w: 30, kh: 3, kw: 3, Conv: kernels.Conv{Stride: 1, ReLU: true}}, read{Read: same(kernels.PadZero, 1)}, false},
		{convolution{n: 1, in: 3, out: 32, h: 61, w: 53, kh: 9, kw: 9, Conv: kernels.Conv{Stride: 1, Frozen: true}}, read{Read: same(kernels.PadReflect, 4)}, true},
		{convolution{n: 1, in: 32, out: 3, h: 61, w: 53, kh: 9, kw: 9, Conv: kernels.Conv{Stride: 1, Frozen: true}}, norm(same(kernels.PadReflect, 4), true), false},
		{convolution{n: 1, in: 16, out: 16, h: 101, w: 3, kh: 3, kw: 3, Conv: kernels.Conv{Stride: 1}}, norm(same(kernels.PadReflect, 1), true), true},
		{convolution{n: 3, in: 20, out: 24, h: 2, w: 149, kh: 3, kw: 3, Conv: kernels.Conv{Stride: 1}}, norm(same(kernels.PadEdge, 1), false), true},
	} {
		calls = append(calls, fusedConv(l.convolution, l.read, l.statistics))
	}
	return calls
}

func fusedSums() []call {
	var calls []call
	all := reads()
	for i, r := range all {
		dst := kernels.Shape{N: 1 + i%3, C: []int{3, 16, 20, 5, 40}[i/2%5], H: 12, W: 18}
		dst = r.Shape(r.source(dst)) // divisible
		if !r.fits(r.source(dst)) {
			continue
		}
		rs := []read{r}
		for k := range len(all) * (i % 2) { // every other one beside another of the same shape
			if other := all[(i*7+k)%len(all)]; other.Shape(other.source(dst)) == dst && other.fits(other.source(dst)) {
				rs = append(rs, other)
				break
			}
		}
		calls = append(calls, fusedSum(dst, rs...))
	}
	trunk := read{normalise: true}
	return append(calls,
		fusedSum(kernels.Shape{N: 1, C: 32, H: 67, W: 53}, read{}, trunk),
		fusedSum(kernels.Shape{N: 2, C: 20, H: 67, W: 53}, read{normalise: true, Read: kernels.Read{ReLU: true}}, trunk),
		fusedSum(kernels.Shape{N: 2, C: 3, H: 67, W: 153}, read{normalise: true, Read: kernels.Read{ReLU: true}}, trunk),
	)
}

// drawRead draws a way to read a source of that shape.
func drawRead(t *rapid.T, s kernels.Shape) read {
	r := read{
		normalise: rapid.Bool().Draw(t, "normalise"), shared: rapid.Bool().Draw(t, "shared"),
		Read: kernels.Read{
			ReLU: rapid.Bool().Draw(t, "read relu"), Upsample: rapid.IntRange(0, 3).Draw(t, "upsample"),
			Mode: kernels.PadMode(rapid.IntRange(0, 2).Draw(t, "mode")),
		},
	}
	h, w := s.H*max(1, r.Upsample), s.W*max(1, r.Upsample)
	side := func(name string, n int) int {
		most := 5
		if r.Mode == kernels.PadReflect {
			most = min(most, n-1)
		}
		return rapid.IntRange(-(n-1)/2, most).Draw(t, name)
	}
	r.Pad = kernels.Padding{Top: side("top", h), Bottom: side("bottom", h), Left: side("left", w), Right: side("right", w)}
	return r
}
