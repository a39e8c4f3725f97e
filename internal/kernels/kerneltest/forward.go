package kerneltest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"pgregory.net/rapid"

	"stylenet/internal/kernels"
)

// pointwise takes a second map of shape b, or slopes, or nothing.
func pointwise(s, b kernels.Shape, f kernels.Pointwise) call {
	second := activation(b)
	switch {
	case f.Function == kernels.PReLU:
		second = parameter(kernels.Vector(s.C))
	case f.Function < kernels.Add:
		second.absent = true
	}
	return call{
		name:     fmt.Sprintf("Pointwise %v of %v and %v, %g %g", f.Function, s, b, f.A, f.B),
		operands: []operand{activation(s).written(), activation(s), second},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.Pointwise(a[0], a[1], a[2], f)
		},
		fill: func(_ *rand.Rand, v [][]float32) {
			if f.Function == kernels.Divide {
				for i, x := range v[2] {
					v[2][i] = float32(math.Copysign(.25+math.Abs(float64(x)), float64(x)))
				}
			}
		},
	}
}

// pointwises are all functions of maps of that shape, and of two that one is
// repeated in each way for.
func pointwises(s kernels.Shape) []call {
	calls := []call{
		pointwise(s, s, kernels.Pointwise{Function: kernels.LeakyReLU, A: .2}),
		pointwise(s, s, kernels.Pointwise{Function: kernels.PReLU}),
		pointwise(s, s, kernels.Pointwise{Function: kernels.Sigmoid}),
		pointwise(s, s, kernels.Pointwise{Function: kernels.Clip, A: -.5, B: .75}),
		pointwise(s, s, kernels.Pointwise{Function: kernels.Clip, A: .5, B: 3}), // not of padding
	}
	for f := kernels.Add; f <= kernels.Divide; f++ {
		calls = append(calls, pointwise(s, s, kernels.Pointwise{Function: f}))
	}
	for sides := 1; sides < 8; sides++ {
		b := s
		for bit, side := range []*int{&b.C, &b.H, &b.W} {
			if sides>>bit&1 == 1 {
				*side = 1
			}
		}
		f := kernels.Add + kernels.Function((sides+s.C)%4) // each in turn
		calls = append(calls, pointwise(s, b, kernels.Pointwise{Function: f}))
	}
	return calls
}

// arrange takes maps of the given channels.
func arrange(s kernels.Shape, channels []int, o kernels.Arrangement, rows int) call {
	dst := kernels.Shape{N: s.N, C: len(o.From) / o.Block / o.Block, H: rows, W: s.W * o.Block}
	c := call{
		name:     fmt.Sprintf("Arrange %v channels of %v to %v: %d rows from %d of squares of %d", channels, s, dst, rows, o.Top, o.Block),
		operands: []operand{activation(dst).written()},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.Arrange(a[0], a[1:], o)
		},
	}
	for _, n := range channels {
		s.C = n
		c.operands = append(c.operands, activation(s))
	}
	return c
}

// squares is PyTorch's pixel shuffle to so many channels.
func squares(channels, block int) kernels.Arrangement {
	o := kernels.Arrangement{Block: block}
	for phase := range block * block {
		for c := range channels {
			o.From = append(o.From, c*block*block+phase)
		}
	}
	return o
}

// arranges are slices, concatenations and squares of channels.
func arranges(s kernels.Shape) []call {
	var calls []call
	sequence := func(from, n int) (list []int) {
		for c := range n {
			list = append(list, from+c)
		}
		return list
	}
	add := func(channels, from []int, block, top, rows int) {
		calls = append(calls, arrange(s, channels, kernels.Arrangement{From: from, Block: block, Top: top}, rows))
	}
	add([]int{s.C}, sequence(s.C/3, s.C-s.C/3), 1, 0, s.H)
	add([]int{s.C, 3}, sequence(0, s.C+3), 1, 0, s.H)
	add([]int{16, s.C, 32}, sequence(0, s.C+48), 1, 0, s.H)
	add([]int{5, 1, s.C, 11}, sequence(0, s.C+17), 1, s.H-1, 1)
	for block := 2; block <= 3; block++ {
		for _, c := range []int{s.C, 16} {
			n := block * block * c
			add([]int{n}, sequence(0, n), block, 0, block*s.H)
			from := squares(c, block).From
			add([]int{n}, from, block, 1, block*s.H-1)
			add([]int{n - 1, 1}, from, block, block*s.H/2, (block*s.H+1)/2)
		}
	}
	return calls
}

func resample(s kernels.Shape, rows, cols []kernels.Tap) call {
	dst := kernels.Shape{N: s.N, C: s.C, H: len(rows), W: len(cols)}
	return call{
		name:     fmt.Sprintf("Resample %v to %v: %v and %v", s, dst, rows, cols),
		operands: []operand{activation(dst).written(), activation(s)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.Resample(a[0], a[1], rows, cols)
		},
	}
}

// taps scale n pixels to out ones, between two or to the nearest.
func taps(n, out int, linear bool) []kernels.Tap {
	list := make([]kernels.Tap, out)
	for i := range list {
		x := min(max((float64(i)+.5)*float64(n)/float64(out)-.5, 0), float64(n-1))
		if !linear {
			x = math.Round(x)
		}
		a := math.Floor(x)
		list[i] = kernels.Tap{A: int32(a), B: int32(min(a+1, float64(n-1))), W: float32(x - a)}
	}
	return list
}

func resamples(s kernels.Shape) []call {
	var calls []call
	for _, linear := range []bool{true, false} {
		for _, size := range [][2]int{{2 * s.H, 2 * s.W}, {3*s.H + 1, 2*s.W - 1}, {(s.H + 1) / 2, (s.W + 2) / 3}, {1, 1}} {
			calls = append(calls, resample(s, taps(s.H, size[0], linear), taps(s.W, size[1], linear)))
		}
	}
	return append(calls, resample(s, taps(s.H, 2*s.H, true), taps(s.W, s.W, false)))
}

// warp takes flows of about that many pixels, the first of which is no number.
func warp(s kernels.Shape, pixels float32, pairs bool) call {
	flow := kernels.Shape{N: s.N, C: 2, H: s.H, W: s.W}
	return call{
		name:     fmt.Sprintf("Warp %v by %g pixels, pairs %v", s, pixels, pairs),
		operands: []operand{activation(s).written(), activation(s), activation(flow)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.Warp(a[0], a[1], a[2], pairs)
		},
		fill: func(_ *rand.Rand, v [][]float32) {
			for i := range v[2] {
				v[2][i] *= pixels
			}
			v[2][0] = float32(math.NaN())
		},
	}
}

func warps(s kernels.Shape) []call {
	calls := []call{warp(s, .5, false), warp(s, 4, false), warp(s, 1e12, false)}
	if s.N%2 == 0 {
		calls = append(calls, warp(s, 1, true))
	}
	return calls
}

func windowPool(s kernels.Shape, w kernels.Window) call {
	dst := kernels.Shape{N: s.N, C: s.C,
		H: (s.H+w.Pad.Top+w.Pad.Bottom-w.Height)/w.Stride + 1,
		W: (s.W+w.Pad.Left+w.Pad.Right-w.Width)/w.Stride + 1}
	return call{
		name:     fmt.Sprintf("WindowPool %v of %v", w, s),
		operands: []operand{activation(dst).written(), activation(s)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.WindowPool(a[0], a[1], w)
		},
	}
}

func windowPools(s kernels.Shape) []call {
	var calls []call
	for _, w := range []kernels.Window{
		{Height: 2, Width: 2, Stride: 2},
		{Height: 3, Width: 3, Stride: 2, Pad: kernels.Same(1)},
		{Height: 3, Width: 3, Stride: 1, Pad: kernels.Padding{Top: 2, Right: 2}},
		{Height: 1, Width: 4, Stride: 3, Pad: kernels.Padding{Left: 3, Right: 1}},
		{Height: 5, Width: 2, Stride: 2, Pad: kernels.Padding{Top: 4, Bottom: 4, Left: 1}},
		{Height: s.H, Width: s.W, Stride: 1},
		{Height: s.H, Width: s.W, Stride: 2},
	} {
		if s.H+w.Pad.Top+w.Pad.Bottom < w.Height || s.W+w.Pad.Left+w.Pad.Right < w.Width {
			continue
		}
		calls = append(calls, windowPool(s, w))
		w.Kind = kernels.AvgPool
		calls = append(calls, windowPool(s, w))
		w.CountPad = true
		calls = append(calls, windowPool(s, w))
	}
	return calls
}

// groupStatistics takes statistics of that shape, with means far apart or near.
func groupStatistics(s kernels.Shape, groups int, apart float32) call {
	return call{
		name:     fmt.Sprintf("GroupStatistics %v in %d groups, %g apart", s, groups, apart),
		operands: []operand{parameter(s).updated(), parameter(s).updated()},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.GroupStatistics(a[0], a[1], groups)
		},
		fill: func(_ *rand.Rand, v [][]float32) {
			for i := range v[0] {
				v[0][i] *= apart
				v[1][i] = .1 + float32(math.Abs(float64(v[1][i])))
			}
		},
	}
}

func allGroupStatistics(s kernels.Shape) []call {
	s.H, s.W = 1, 1
	var calls []call
	for groups := 1; groups <= s.C; groups++ {
		if s.C%groups == 0 {
			calls = append(calls, groupStatistics(s, groups, 1), groupStatistics(s, groups, 100))
		}
	}
	return calls
}

// drawForward draws calls of all kernels above, for maps of that shape.
func drawForward(t *rapid.T, s kernels.Shape) []call {
	b := s
	for _, side := range []*int{&b.C, &b.H, &b.W} {
		if rapid.Bool().Draw(t, "repeated") {
			*side = 1
		}
	}
	f := kernels.Pointwise{Function: kernels.Function(rapid.IntRange(0, int(kernels.Divide)).Draw(t, "function")), A: -.25, B: 1.5}

	channels := rapid.SliceOfN(rapid.IntRange(1, 20), 1, 4).Draw(t, "channels of sources")
	all := 0
	for _, c := range channels {
		all += c
	}
	o := kernels.Arrangement{Block: rapid.IntRange(1, 3).Draw(t, "block")}
	o.Top = rapid.IntRange(0, o.Block*s.H-1).Draw(t, "top")
	n := o.Block * o.Block * rapid.IntRange(1, 20).Draw(t, "channels")
	o.From = rapid.SliceOfN(rapid.IntRange(0, all-1), n, n).Draw(t, "from")

	tap := func(n int) *rapid.Generator[kernels.Tap] {
		return rapid.Custom(func(t *rapid.T) kernels.Tap {
			at := rapid.Int32Range(0, int32(n-1))
			return kernels.Tap{A: at.Draw(t, "a"), B: at.Draw(t, "b"), W: rapid.Float32Range(0, 1).Draw(t, "w")}
		})
	}
	w := kernels.Window{
		Kind:   kernels.PoolKind(rapid.IntRange(0, 1).Draw(t, "kind")),
		Height: rapid.IntRange(1, s.H).Draw(t, "height"), Width: rapid.IntRange(1, s.W).Draw(t, "width"),
		Stride: rapid.IntRange(1, 3).Draw(t, "pool stride"), CountPad: rapid.Bool().Draw(t, "count pad"),
	}
	side := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "border") }
	w.Pad = kernels.Padding{Top: side(w.Height), Bottom: side(w.Height), Left: side(w.Width), Right: side(w.Width)}
	return []call{
		pointwise(s, b, f),
		arrange(s, channels, o, rapid.IntRange(1, o.Block*s.H-o.Top).Draw(t, "rows")),
		resample(s, rapid.SliceOfN(tap(s.H), 1, 9).Draw(t, "row taps"), rapid.SliceOfN(tap(s.W), 1, 9).Draw(t, "column taps")),
		windowPool(s, w),
		warp(s, rapid.Float32Range(0, 9).Draw(t, "pixels"), s.N%2 == 0 && rapid.Bool().Draw(t, "pairs")),
	}
}
