package kerneltest

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"stylenet/internal/kernels"
)

type suite struct {
	name  string
	calls []call
}

// shapes are maps of odd and even sizes, 1 pixel wide or high, and channels on
// both sides of the blocks of 8 and 16 that devices like.
var shapes = []kernels.Shape{
	{N: 1, C: 1, H: 1, W: 1},
	{N: 2, C: 1, H: 5, W: 7},
	{N: 1, C: 2, H: 1, W: 9},
	{N: 3, C: 3, H: 8, W: 6},
	{N: 1, C: 4, H: 7, W: 1},
	{N: 4, C: 5, H: 3, W: 5},
	{N: 1, C: 8, H: 4, W: 4},
	{N: 5, C: 16, H: 3, W: 3},
	{N: 2, C: 17, H: 4, W: 9},
	{N: 1, C: 24, H: 11, W: 2},
	{N: 2, C: 32, H: 1, W: 1},
	{N: 1, C: 48, H: 6, W: 5},
	{N: 2, C: 64, H: 5, W: 4},
	{N: 1, C: 3, H: 65, W: 67},
}

func groups() []suite {
	var g []suite
	add := func(name string, calls ...call) {
		if len(g) == 0 || g[len(g)-1].name != name {
			g = append(g, suite{name: name})
		}
		last := &g[len(g)-1]
		last.calls = append(last.calls, calls...)
	}
	for _, c := range convolutions() {
		add("Conv", c.all()...)
	}
	add("FusedConv", fusedConvs()...)
	add("FusedSum", fusedSums()...)
	for _, s := range shapes {
		add("BiasBackward", biasBackward(s))
	}
	for _, s := range shapes {
		for _, mode := range []kernels.PadMode{kernels.PadZero, kernels.PadReflect, kernels.PadEdge} {
			for _, p := range []kernels.Padding{{}, kernels.Same(1), kernels.Same(4), {Top: 1, Left: 2}, {Bottom: 2, Right: 1}, {Top: 3, Bottom: 1, Right: 5}} {
				if mode == kernels.PadReflect && (max(p.Top, p.Bottom) >= s.H || max(p.Left, p.Right) >= s.W) {
					continue
				}
				add("Pad", pad(s, mode, p)...)
			}
		}
		for _, p := range []kernels.Padding{kernels.Same(-1), {Top: -2, Left: -1}, {Top: 3, Bottom: -2, Left: -1, Right: 2}} {
			if s.H+p.Top+p.Bottom >= 1 && s.W+p.Left+p.Right >= 1 {
				add("Pad", pad(s, kernels.PadZero, p)...)
			}
		}
	}
	for _, s := range shapes {
		for i, n := range []kernels.Norm{{Eps: 1e-5}, {Eps: 1e-3, ReLU: true}, {Eps: 1e-5, Batch: true}, {Eps: 1e-5, Batch: true, ReLU: true}} {
			add("Norm", norm(s, n, 0.5, 2)...)
			switch i % 2 {
			case 0: // a variance that E[x²] − E[x]² loses in float32
				add("Norm", norm(s, n, 1000, 1)...)
				add("Norm", norm(s, n, 120, 60)...)
			case 1: // none at all
				add("Norm", norm(s, n, 3.3, 0)...)
			}
		}
	}
	for _, s := range shapes {
		add("ChannelAffine", channelAffine(s, false), channelAffine(s, true))
	}
	for _, s := range shapes {
		add("ReLU", relu(s)...)
	}
	for _, s := range shapes {
		add("Tanh", tanh(s, 150, 0)...)
		add("Tanh", tanh(s, 127.5, 127.5)...)
	}
	for _, s := range shapes {
		for _, inPlace := range []bool{false, true} {
			for _, parameters := range []bool{false, true} {
				add("Sum", sum(s, parameters, inPlace, 1, 1))
				add("Sum", sum(s, parameters, inPlace, 2, -0.5, 0))
				add("Sum", sum(s, parameters, inPlace, 0.1, 1, -1, 3, 7))
			}
			add("Sum", sum(s, true, inPlace, -2.5))
		}
	}
	for _, s := range shapes {
		for factor := 1; factor <= 4; factor++ {
			add("Upsample", upsample(s, factor)...)
		}
	}
	for _, s := range shapes {
		if s.H >= 2 && s.W >= 2 {
			add("Pool", pool(s, kernels.AvgPool, false)...)
			add("Pool", pool(s, kernels.MaxPool, false)...)
			add("Pool", pool(s, kernels.MaxPool, true)...)
		}
	}
	// Enough for several threads, and for pieces that caches hold.
	large := []kernels.Shape{{N: 1, C: 3, H: 131, W: 129}, {N: 2, C: 40, H: 33, W: 35}}
	for _, s := range shapes {
		add("Pointwise", pointwises(s)...)
	}
	for _, s := range large {
		add("Pointwise", pointwise(s, s, kernels.Pointwise{Function: kernels.Sigmoid}))
		add("Pointwise", pointwise(s, kernels.Shape{N: s.N, C: 1, H: s.H, W: s.W}, kernels.Pointwise{Function: kernels.Multiply}))
	}
	for _, s := range shapes {
		add("Arrange", arranges(s)...)
	}
	for _, s := range large {
		add("Arrange", arrange(s, []int{4 * s.C}, squares(s.C, 2), 2*s.H), arrange(s, []int{s.C, s.C}, squares(2*s.C, 1), s.H))
	}
	for _, s := range slices.Concat(shapes, large) {
		add("Resample", resamples(s)...)
	}
	for _, s := range slices.Concat(shapes, large) {
		add("WindowPool", windowPools(s)...)
	}
	for _, s := range slices.Concat(shapes, large) {
		add("Warp", warps(s)...)
	}
	for _, s := range shapes {
		add("GroupStatistics", allGroupStatistics(s)...)
	}
	for _, s := range shapes {
		add("Gram", gram(s)...)
	}
	for _, s := range shapes {
		for _, parameters := range []bool{false, true} {
			add("MSE", mse(s, parameters, false)...)
			add("MSE", mse(s, parameters, true)...)
		}
	}
	for _, s := range shapes {
		add("TotalVariation", totalVariation(s)...)
	}
	for _, s := range shapes {
		for _, parameters := range []bool{false, true} {
			for _, n := range []int{1, 20} {
				add("Dots", dots(s, parameters, n))
				add("Combine", combine(s, parameters, false, n), combine(s, parameters, true, n))
			}
		}
	}
	for i := range shapes {
		add("SquaredNorm", squaredNorm(shapes[i:]...))
	}
	h := kernels.Adam{LR: 0.5, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: 1}
	later := kernels.Adam{LR: 0.25, Beta1: 0.5, Beta2: 0.9, Eps: 1e-3, Step: 1000}
	clipped := h
	clipped.ClipNorm = 1
	add("Adam",
		adam(h, 0, shapes...), adam(later, 0, shapes[:1]...),
		adam(clipped, 100, shapes...),  // scaled to a tenth
		adam(clipped, 0.25, shapes...), // small enough
		adam(h, 100, shapes...),        // clipping is off
		onPictures(adam(h, 0, kernels.Shape{N: 1, C: 3, H: 7, W: 9}, kernels.Shape{N: 2, C: 4, H: 5, W: 3})),
	)
	return g
}

// convolutions crosses channels and kernels, while the other numbers go round
// at their own pace.
func convolutions() []convolution {
	var cs []convolution
	channels := [][2]int{{1, 1}, {3, 16}, {16, 3}, {4, 5}, {5, 17}, {17, 24}, {24, 32}, {32, 3}, {2, 48}, {48, 64}, {64, 64}, {3, 64}, {1, 2}, {8, 8}}
	kernelSizes := [][2]int{{1, 1}, {3, 3}, {5, 5}, {9, 9}, {2, 2}, {4, 4}, {1, 3}, {3, 2}}
	sizes := [][2]int{{7, 9}, {1, 11}, {10, 1}, {6, 6}, {13, 4}}
	pads := []func(h, w int) kernels.Padding{
		func(h, w int) kernels.Padding { return kernels.Padding{} },
		func(h, w int) kernels.Padding {
			return kernels.Padding{Top: h / 2, Bottom: h / 2, Left: w / 2, Right: w / 2}
		},
		func(h, w int) kernels.Padding {
			return kernels.Padding{Top: h - 1, Bottom: h / 2, Left: w / 2, Right: w - 1}
		},
		func(h, w int) kernels.Padding { return kernels.Padding{Bottom: h - 1, Right: w - 1} },
	}
	i := 0
	for _, ch := range channels {
		for _, k := range kernelSizes {
			i++
			size := sizes[i%len(sizes)]
			c := convolution{
				n: 1 + i%3, in: ch[0], out: ch[1], h: size[0], w: size[1], kh: k[0], kw: k[1],
				Conv:        kernels.Conv{Stride: 1 + i/2%3, Pad: pads[i/3%len(pads)](k[0], k[1]), ReLU: i%4 == 0, Frozen: i/4%3 == 0},
				withoutBias: i%5 < 2,
			}
			if !c.fits() {
				c.h, c.w = c.h+k[0], c.w+k[1]
			}
			cs = append(cs, c)
		}
	}
	same := func(stride, pad int) kernels.Conv { return kernels.Conv{Stride: stride, Pad: kernels.Same(pad)} }
	return append(cs,
		// Layers of the networks, large enough for Winograd's tiles and for
		// every thread.
		convolution{n: 2, in: 64, out: 64, h: 14, w: 15, kh: 3, kw: 3, Conv: same(1, 1)},
		convolution{n: 1, in: 32, out: 32, h: 33, w: 34, kh: 3, kw: 3, Conv: kernels.Conv{Stride: 1, Pad: kernels.Same(1), ReLU: true, Frozen: true}},
		convolution{n: 5, in: 16, out: 32, h: 12, w: 12, kh: 3, kw: 3, Conv: same(1, 0)},
		convolution{n: 1, in: 3, out: 32, h: 24, w: 21, kh: 9, kw: 9, Conv: same(1, 4)},
		convolution{n: 1, in: 32, out: 3, h: 24, w: 21, kh: 9, kw: 9, Conv: same(1, 0)},
		// Transposed convolutions 3×3, stride 2, with and without output
		// padding, which rows and columns that no output touches are.
		convolution{n: 2, in: 32, out: 64, h: 12, w: 12, kh: 3, kw: 3, Conv: same(2, 1)},
		convolution{n: 2, in: 32, out: 64, h: 11, w: 11, kh: 3, kw: 3, Conv: same(2, 1)},
		convolution{n: 1, in: 17, out: 5, h: 11, w: 10, kh: 2, kw: 2, Conv: same(3, 0)},
		convolution{n: 1, in: 4, out: 4, h: 9, w: 9, kh: 1, kw: 1, Conv: same(3, 0)},
		// A border that no kernel position leaves.
		convolution{n: 1, in: 16, out: 16, h: 3, w: 2, kh: 1, kw: 1, Conv: same(1, 2)},
		convolution{n: 1, in: 3, out: 4, h: 1, w: 1, kh: 9, kw: 9, Conv: same(1, 4)},
	)
}

// testRandom runs kernels on shapes that nobody chose.
func testRandom(t *testing.T, d kernels.Device, tol Tolerance) {
	shape := rapid.Custom(func(t *rapid.T) kernels.Shape {
		return kernels.Shape{
			N: rapid.IntRange(1, 5).Draw(t, "n"),
			C: rapid.OneOf(rapid.IntRange(1, 5), rapid.IntRange(1, 40)).Draw(t, "c"),
			H: rapid.IntRange(1, 9).Draw(t, "h"),
			W: rapid.IntRange(1, 9).Draw(t, "w"),
		}
	})
	padding := rapid.Custom(func(t *rapid.T) kernels.Padding {
		side := rapid.IntRange(0, 4)
		return kernels.Padding{Top: side.Draw(t, "top"), Bottom: side.Draw(t, "bottom"), Left: side.Draw(t, "left"), Right: side.Draw(t, "right")}
	})
	check := func(t *rapid.T, calls ...call) {
		for _, c := range calls {
			c.check(t, d, tol, rapid.Uint64().Draw(t, "seed"))
		}
	}
	t.Run("Conv", rapid.MakeCheck(func(t *rapid.T) {
		s := shape.Draw(t, "source")
		c := convolution{
			n: s.N, in: s.C, out: rapid.IntRange(1, 20).Draw(t, "out"), h: s.H, w: s.W,
			kh: rapid.IntRange(1, 5).Draw(t, "kh"), kw: rapid.IntRange(1, 5).Draw(t, "kw"),
			Conv: kernels.Conv{
				Stride: rapid.IntRange(1, 3).Draw(t, "stride"), Pad: padding.Draw(t, "pad"),
				ReLU: rapid.Bool().Draw(t, "relu"), Frozen: rapid.Bool().Draw(t, "frozen"),
			},
			withoutBias: rapid.Bool().Draw(t, "without bias"),
		}
		if !c.fits() {
			c.kh, c.kw = 1, 1
		}
		check(t, c.all()...)
	}))
	t.Run("FusedConv", rapid.MakeCheck(func(t *rapid.T) {
		s := shape.Draw(t, "source")
		r := drawRead(t, s)
		in := r.Shape(s)
		c := convolution{
			n: s.N, in: s.C, out: rapid.IntRange(1, 40).Draw(t, "out"), h: s.H, w: s.W,
			kh: rapid.IntRange(1, min(4, in.H)).Draw(t, "kh"), kw: rapid.IntRange(1, min(4, in.W)).Draw(t, "kw"),
			Conv:        kernels.Conv{Stride: rapid.IntRange(1, 3).Draw(t, "stride"), Frozen: rapid.Bool().Draw(t, "frozen")},
			withoutBias: rapid.Bool().Draw(t, "without bias"),
		}
		statistics := rapid.Bool().Draw(t, "statistics")
		c.ReLU = !statistics && rapid.Bool().Draw(t, "relu")
		check(t, fusedConv(c, r, statistics))
	}))
	t.Run("FusedSum", rapid.MakeCheck(func(t *rapid.T) {
		s := shape.Draw(t, "source")
		r := drawRead(t, s)
		dst := r.Shape(s)
		check(t, fusedSum(dst, r))
		other := read{normalise: rapid.Bool().Draw(t, "normalise other")}
		other.Read.Pad = kernels.Padding{Top: rapid.IntRange(-3, min(1, dst.H-1)).Draw(t, "top of other")}
		check(t, fusedSum(dst, r, other), fusedSum(dst, other, r))
	}))
	t.Run("Forward", rapid.MakeCheck(func(t *rapid.T) { check(t, drawForward(t, shape.Draw(t, "source"))...) }))
	t.Run("Maps", rapid.MakeCheck(func(t *rapid.T) {
		s := shape.Draw(t, "source")
		n := kernels.Norm{Eps: 1e-5, Batch: rapid.Bool().Draw(t, "batch"), ReLU: rapid.Bool().Draw(t, "relu")}
		check(t, norm(s, n, rapid.Float32Range(-200, 200).Draw(t, "mean"), 1)...)
		p := padding.Draw(t, "pad")
		check(t, pad(s, kernels.PadZero, p)...)
		check(t, pad(s, kernels.PadEdge, p)...)
		reflect := kernels.Padding{Top: min(p.Top, s.H-1), Bottom: min(p.Bottom, s.H-1), Left: min(p.Left, s.W-1), Right: min(p.Right, s.W-1)}
		check(t, pad(s, kernels.PadReflect, reflect)...)
		check(t, upsample(s, rapid.IntRange(1, 4).Draw(t, "factor"))...)
		s.H, s.W = s.H+1, s.W+1
		check(t, pool(s, kernels.MaxPool, rapid.Bool().Draw(t, "ties"))...)
		check(t, pool(s, kernels.AvgPool, false)...)
		check(t, gram(s)...)
		check(t, totalVariation(s)...)
		check(t, mse(s, rapid.Bool().Draw(t, "parameters"), rapid.Bool().Draw(t, "shared"))...)
	}))
}
