package kerneltest

import (
	"strings"
	"testing"

	"stylenet/internal/kernels"
)

// testBadArguments binds kernels to arguments that the contract forbids; the
// errors must have the words of the checks in package kernels.
func testBadArguments(t *testing.T, d kernels.Device) {
	b := bench{t, d.Scope()}
	defer b.Close()
	act := func(n, c, h, w int) kernels.Array { return b.array(kernels.Shape{N: n, C: c, H: h, W: w}) }
	par := func(n, c, h, w int) kernels.Array { return b.parameter(kernels.Shape{N: n, C: c, H: h, W: w}) }

	x, x2, small := act(2, 3, 6, 8), act(2, 3, 6, 8), act(2, 3, 3, 4)
	y := act(2, 5, 6, 8) // of a 3×3 convolution
	w, bias, five := par(5, 3, 3, 3), par(1, 5, 1, 1), par(1, 5, 1, 1)
	v3, w3, u3, s3 := par(1, 3, 1, 1), par(1, 3, 1, 1), par(1, 3, 1, 1), par(1, 3, 1, 1)
	stats, stats2 := par(2, 3, 1, 1), par(2, 3, 1, 1)
	loss, loss2, gram := par(1, 1, 1, 1), par(1, 1, 1, 1), par(2, 1, 3, 3)
	same := kernels.Conv{Stride: 1, Pad: kernels.Same(1)}
	in := kernels.Norm{Eps: 1e-5}
	list := func(a ...kernels.Array) []kernels.Array { return a }
	h := kernels.Adam{Step: 1}

	try := func(want string) func(kernels.Kernel, error) {
		return func(_ kernels.Kernel, err error) {
			t.Helper()
			if err == nil {
				t.Errorf("a kernel was bound, want an error %q", want)
			} else if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q does not say %q", err, want)
			}
		}
	}
	const aliased = "both written and read or written twice"

	try("padded array has shape")(b.Pad(act(2, 3, 8, 9), x, kernels.PadZero, kernels.Same(1)))
	try("needs a map larger than")(b.Pad(act(2, 3, 18, 20), x, kernels.PadReflect, kernels.Same(6)))
	try("cannot crop")(b.Pad(act(2, 3, 4, 6), x, kernels.PadEdge, kernels.Same(-1)))
	try("dimension below 1")(b.Pad(act(2, 3, 1, 8), x, kernels.PadZero, kernels.Padding{Top: -6}))
	try("unknown mode 7")(b.Pad(act(2, 3, 8, 10), x, kernels.PadMode(7), kernels.Same(1)))
	try(aliased)(b.Pad(x, x, kernels.PadZero, kernels.Padding{}))
	try("padded array has shape")(b.PadBackward(x, act(2, 3, 8, 9), kernels.PadZero, kernels.Same(1)))

	try("stride 0 is below 1")(b.Conv(y, x, w, bias, kernels.Conv{Stride: 0, Pad: kernels.Same(1)}))
	try("negative padding")(b.Conv(y, x, w, bias, kernels.Conv{Stride: 1, Pad: kernels.Same(-1)}))
	try("conv: result has shape")(b.Conv(y, x, w, bias, kernels.Conv{Stride: 1}))
	try("do not lead from 3 to 3 channels")(b.Conv(x2, x, w, bias, same))
	try("does not fit a padded map")(b.Conv(y, x, par(5, 3, 9, 9), bias, same))
	try("bias has shape")(b.Conv(y, x, w, v3, same))
	try(aliased)(b.Conv(x, x, par(3, 3, 3, 3), nil, same))
	try("bias has shape")(b.ConvBackwardData(x, y, w, bias, same))
	try("conv: result has shape")(b.ConvBackwardData(x, y, w, nil, kernels.Conv{Stride: 2, Pad: kernels.Same(1)}))
	try(aliased)(b.ConvBackwardData(x, x, par(3, 3, 3, 3), nil, same))
	try("gradient has shape")(b.ConvBackwardWeights(w, v3, y, x, same))
	try("do not lead from 3 to 5 channels")(b.ConvBackwardWeights(par(3, 5, 3, 3), nil, y, x, same))
	try("gradient has shape")(b.BiasBackward(v3, y))

	// A fused convolution of x, with a border, to y.
	border, ym, ys := kernels.Read{Pad: kernels.Same(1)}, par(2, 5, 1, 1), par(2, 5, 1, 1)
	normed, plain := border, kernels.Conv{Stride: 1}
	normed.Mean, normed.InvStd, normed.Gamma, normed.Beta = stats, stats2, v3, w3
	read := func(change func(r *kernels.Read)) kernels.Read {
		r := normed
		change(&r)
		return r
	}
	for want, r := range map[string]kernels.Read{
		"3 of the 4 arrays of a normalisation":      read(func(r *kernels.Read) { r.Beta = nil }),
		"1 of the 4 arrays of a normalisation":      {Gamma: v3},
		"statistics of a source has shape":          read(func(r *kernels.Read) { r.Mean, r.InvStd = five, bias }),
		"differ":                                    read(func(r *kernels.Read) { r.InvStd = u3 }),
		"scale or shift of a source has shape":      read(func(r *kernels.Read) { r.Beta = five }),
		"upsampling by -1":                          {Upsample: -1},
		"dimension below 1":                         {Pad: kernels.Same(-3)},
		"unknown mode 3":                            {Mode: 3},
		"needs a map larger than 8×6":               {Mode: kernels.PadReflect, Pad: kernels.Padding{Bottom: 6}},
		"needs a map larger than 16×12":             {Mode: kernels.PadReflect, Upsample: 2, Pad: kernels.Padding{Left: 16, Right: -20}},
		"fused conv: result has shape":              {Upsample: 2, Pad: kernels.Same(1)},
		"a 3×3 kernel does not fit a padded map of": {Pad: kernels.Padding{Top: -4}},
	} {
		try(want)(b.FusedConv(y, ym, ys, x, r, w, bias, plain, in))
	}
	try("beside the border")(b.FusedConv(y, ym, ys, x, kernels.Read{}, w, bias, same, in))
	try("stride 0 is below 1")(b.FusedConv(y, nil, nil, x, border, w, bias, kernels.Conv{}, in))
	try("do not lead from 3 to 3 channels")(b.FusedConv(x2, nil, nil, x, border, w, nil, plain, in))
	try("bias has shape")(b.FusedConv(y, nil, nil, x, border, w, v3, plain, in))
	try("one of the two statistics is missing")(b.FusedConv(y, nil, ys, x, border, w, bias, plain, in))
	try("without ReLU")(b.FusedConv(y, ym, ys, x, border, w, bias, kernels.Conv{Stride: 1, ReLU: true}, in))
	try("over a batch")(b.FusedConv(y, bias, five, x, border, w, nil, plain, kernels.Norm{Eps: 1, Batch: true}))
	try("epsilon 0 is not above 0")(b.FusedConv(y, ym, ys, x, border, w, bias, plain, kernels.Norm{}))
	try("statistics has shape")(b.FusedConv(y, stats, stats2, x, border, w, bias, plain, in))
	try(aliased)(b.FusedConv(y, ym, ym, x, border, w, bias, plain, in))
	try(aliased)(b.FusedConv(x, nil, nil, x, border, par(3, 3, 3, 3), nil, plain, in))
	try(aliased)(b.FusedConv(x2, stats, par(2, 3, 1, 1), x, normed, par(3, 3, 3, 3), nil, plain, in))

	twice := kernels.Read{Upsample: 2}
	try("0 sources and 0 ways")(b.FusedSum(x, nil, nil))
	try("2 sources and 1 ways")(b.FusedSum(x, list(x2, x2), []kernels.Read{{}}))
	try("3 sources and 3 ways")(b.FusedSum(x, list(x2, x2, x2), []kernels.Read{{}, {}, {}}))
	try("fused sum: result has shape")(b.FusedSum(x, list(x2, small), []kernels.Read{{}, {}}))
	try("fused sum: result has shape")(b.FusedSum(x, list(x2), []kernels.Read{border}))
	try("fused sum: a source has 1 of the 4")(b.FusedSum(x, list(small, x2), []kernels.Read{twice, {Mean: stats}}))
	try(aliased)(b.FusedSum(x, list(small, x), []kernels.Read{twice, {}}))

	try("epsilon 0 is not above 0")(b.Norm(x2, stats, stats2, x, v3, w3, kernels.Norm{}))
	try("differ")(b.Norm(small, stats, stats2, x, v3, w3, in))
	try("scale or shift has shape")(b.Norm(x2, stats, stats2, x, five, w3, in))
	try("statistics has shape")(b.Norm(x2, stats, stats2, x, v3, w3, kernels.Norm{Eps: 1, Batch: true}))
	try(aliased)(b.Norm(x2, stats, stats, x, v3, w3, in))
	try(aliased)(b.Norm(x, stats, stats2, x, v3, w3, in))
	try("differ")(b.NormBackward(act(2, 3, 6, 8), v3, w3, small, x, u3, s3, stats, stats2, in))
	try("differ")(b.NormBackward(act(2, 3, 6, 8), five, w3, x2, x, u3, s3, stats, stats2, in))
	try(aliased)(b.NormBackward(x2, v3, w3, x2, x, u3, s3, stats, stats2, in))
	try(aliased)(b.NormBackward(act(2, 3, 6, 8), u3, w3, x2, x, u3, s3, stats, stats2, in))

	try("differ")(b.ChannelAffine(small, x, v3, nil))
	try("scale or shift has shape")(b.ChannelAffine(x2, x, v3, five))
	try(aliased)(b.ChannelAffine(x, x, v3, nil))
	try("relu: shapes")(b.ReLU(small, x))
	try("relu backward: shapes")(b.ReLUBackward(small, x, x2))
	try(aliased)(b.ReLUBackward(x, x2, x))
	try("tanh: shapes")(b.Tanh(small, x, 1, 0))
	try(aliased)(b.Tanh(x, x, 1, 0))
	try("tanh backward: shapes")(b.TanhBackward(x, x2, small, 1, 0))
	try(aliased)(b.TanhBackward(x, x, x2, 1, 0))
	try("0 arrays and 0 weights")(b.Sum(x, nil, nil))
	try("2 arrays and 1 weights")(b.Sum(x, list(x2, x2), []float32{1}))
	try("sum: shapes")(b.Sum(x, list(x2, small), []float32{1, 1}))
	try(aliased)(b.Sum(x, list(x2, x), []float32{1, 1}))

	try("factor 0 is below 1")(b.Upsample(x, small, 0))
	try("large array has shape")(b.Upsample(x, small, 3))
	try(aliased)(b.Upsample(x, x, 1))
	try("large array has shape")(b.UpsampleBackward(small, x, 3))
	try("unknown kind 5")(b.Pool(small, x, kernels.PoolKind(5)))
	try("smaller than 2×2")(b.Pool(small, act(2, 3, 1, 8), kernels.MaxPool))
	try("small array has shape")(b.Pool(x2, x, kernels.MaxPool))
	try("differ")(b.PoolBackward(small, small, x, kernels.MaxPool))
	try(aliased)(b.PoolBackward(x, small, x, kernels.MaxPool))

	leaky, plus := kernels.Pointwise{Function: kernels.LeakyReLU}, kernels.Pointwise{Function: kernels.Add}
	try("unknown function 8")(b.Pointwise(x2, x, nil, kernels.Pointwise{Function: 8}))
	try("at least 2 and at most 1")(b.Pointwise(x2, x, nil, kernels.Pointwise{Function: kernels.Clip, A: 2, B: 1}))
	try("a second operand of leaky relu: true")(b.Pointwise(x2, x, x, leaky))
	try("a second operand of add: false")(b.Pointwise(x2, x, nil, plus))
	try("pointwise: shapes")(b.Pointwise(small, x, nil, leaky))
	try("slopes has shape")(b.Pointwise(x2, x, five, kernels.Pointwise{Function: kernels.PReLU}))
	try("cannot be repeated")(b.Pointwise(x2, x, small, plus))
	try("cannot be repeated")(b.Pointwise(x2, x, act(1, 3, 6, 8), plus))
	try(aliased)(b.Pointwise(x, x, nil, leaky))
	try(aliased)(b.Pointwise(x, x2, x, plus))
	three := kernels.Arrangement{From: []int{0, 1, 2}, Block: 1}
	try("no maps")(b.Arrange(x, nil, three))
	try("squares of 0 pixels")(b.Arrange(x2, list(x), kernels.Arrangement{From: three.From}))
	try("-1 above")(b.Arrange(x2, list(x), kernels.Arrangement{From: three.From, Block: 1, Top: -1}))
	try("differ in more than channels")(b.Arrange(x2, list(x, small), three))
	try("arrange: result of shape")(b.Arrange(small, list(x), three))
	try("arrange: result of shape")(b.Arrange(x2, list(x), kernels.Arrangement{From: three.From, Block: 1, Top: 1}))
	try("3 channels for squares of 1")(b.Arrange(y, list(x), three))
	try("channel 3 of 3")(b.Arrange(x2, list(x), kernels.Arrangement{From: []int{0, 3, 1}, Block: 1}))
	try(aliased)(b.Arrange(x, list(x), three))
	taps := func(n int) []kernels.Tap { return make([]kernels.Tap, n) }
	try("resample: result has shape")(b.Resample(x2, x, taps(6), taps(7)))
	try("between rows or columns 0 and 6 of 6")(b.Resample(act(2, 3, 1, 1), x, []kernels.Tap{{B: 6}}, taps(1)))
	try("between rows or columns -1 and 0 of 8")(b.Resample(act(2, 3, 1, 1), x, taps(1), []kernels.Tap{{A: -1}}))
	try(aliased)(b.Resample(x, x, taps(6), taps(8)))
	try("warp: shapes")(b.Warp(small, x, act(2, 2, 6, 8), false))
	try("warp: flow has shape")(b.Warp(x2, x, x2, false))
	try("3 images are no pairs")(b.Warp(act(3, 1, 2, 2), act(3, 1, 2, 2), act(3, 2, 2, 2), true))
	try(aliased)(b.Warp(x, x, act(2, 2, 6, 8), false))
	window := func(change func(w *kernels.Window)) kernels.Window {
		w := kernels.Window{Height: 2, Width: 2, Stride: 2}
		change(&w)
		return w
	}
	try("unknown kind 2")(b.WindowPool(small, x, window(func(w *kernels.Window) { w.Kind = 2 })))
	try("windows of 2×2, 0 apart")(b.WindowPool(small, x, window(func(w *kernels.Window) { w.Stride = 0 })))
	try("windows of 2×0, 2 apart")(b.WindowPool(small, x, window(func(w *kernels.Window) { w.Height = 0 })))
	try("a border {Top:2")(b.WindowPool(small, x, window(func(w *kernels.Window) { w.Pad.Top = 2 })))
	try("a border {Top:0 Bottom:0 Left:-1")(b.WindowPool(small, x, window(func(w *kernels.Window) { w.Pad.Left = -1 })))
	try("a map of 8×6 is smaller than a window of 2×7")(b.WindowPool(small, x, window(func(w *kernels.Window) { w.Height = 7 })))
	try("window pool: result has shape")(b.WindowPool(small, x, window(func(w *kernels.Window) { w.Stride = 1 })))
	try(aliased)(b.WindowPool(x, x, kernels.Window{Height: 1, Width: 1, Stride: 1}))
	try("is none of statistics")(b.GroupStatistics(par(2, 3, 1, 2), par(2, 3, 1, 2), 1))
	try("2 groups of 3 channels")(b.GroupStatistics(stats, stats2, 2))
	try("0 groups of 3 channels")(b.GroupStatistics(stats, stats2, 0))
	try("group statistics: shapes")(b.GroupStatistics(stats, v3, 1))
	try(aliased)(b.GroupStatistics(stats, stats, 1))

	try("matrix has shape")(b.Gram(par(2, 1, 3, 4), x))
	try("gram backward: shapes")(b.GramBackward(small, gram, x))
	try(aliased)(b.GramBackward(x, gram, x))
	try("loss has shape")(b.MSE(v3, x, x2))
	try("target has shape")(b.MSE(loss, x, small))
	try(aliased)(b.MSE(loss, loss, loss2))
	try("mse backward: shapes")(b.MSEBackward(small, loss, x, x2))
	try(aliased)(b.MSEBackward(x, loss, x, x2))
	try(aliased)(b.MSEBackward(x2, loss, x, x2))
	try("total variation: loss has shape")(b.TotalVariation(v3, x))
	try("total variation backward: loss has shape")(b.TotalVariationBackward(x, v3, x2))
	try("total variation backward: shapes")(b.TotalVariationBackward(small, loss, x))
	try(aliased)(b.TotalVariationBackward(x, loss, x))

	try("dots: no arrays")(b.Dots(loss, x, nil))
	try("dots: result has shape")(b.Dots(v3, x, list(x2)))
	try("dots: shapes")(b.Dots(loss, x, list(small)))
	try(aliased)(b.Dots(loss, loss, list(loss2)))
	try("combine: no arrays")(b.Combine(x, nil, v3))
	try("combine: weights has shape")(b.Combine(x, list(x2), v3))
	try("combine: shapes")(b.Combine(x, list(small), loss))
	try(aliased)(b.Combine(v3, list(w3, w3, v3), u3))
	try(aliased)(b.Combine(v3, list(w3, w3, w3), v3))

	try("no arrays")(b.SquaredNorm(loss, nil))
	try("squared norm: loss has shape")(b.SquaredNorm(v3, list(w)))
	try(aliased)(b.SquaredNorm(loss, list(loss)))
	try("adam: 0 parameters")(b.Adam(nil, nil, nil, nil, nil, &h))
	try("adam: 1 parameters, 2 gradients")(b.Adam(list(v3), list(w3, w3), list(u3), list(s3), nil, &h))
	try("adam: shapes")(b.Adam(list(v3), list(five), list(u3), list(s3), nil, &h))
	try("5 channels is no picture")(b.Adam(list(y), list(act(2, 5, 6, 8)), list(act(2, 5, 6, 8)), list(act(2, 5, 6, 8)), nil, &h))
	try("adam: loss has shape")(b.Adam(list(v3), list(w3), list(u3), list(s3), five, &h))
	try(aliased)(b.Adam(list(v3), list(w3), list(u3), list(u3), nil, &h))
	try(aliased)(b.Adam(list(v3), list(v3), list(u3), list(s3), nil, &h))
}
