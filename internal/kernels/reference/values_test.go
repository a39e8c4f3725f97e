package reference

import (
	"math"
	"slices"
	"testing"

	"stylenet/internal/kernels"
)

// fixture makes float64 arrays and ends the test on any error. Numbers called
// PyTorch's were printed by testdata/torch_values.py.
type fixture struct {
	*testing.T
	*Device[float64]
}

func newFixture(t *testing.T) fixture { return fixture{t, NewFloat64(2)} }

func (f fixture) activation(s kernels.Shape, values ...float64) kernels.Array {
	f.Helper()
	a, err := f.NewActivation(s)
	return f.filled(a, err, values)
}

func (f fixture) parameter(s kernels.Shape, values ...float64) kernels.Array {
	f.Helper()
	a, err := f.NewParameter(s)
	return f.filled(a, err, values)
}

func (f fixture) vector(values ...float64) kernels.Array {
	f.Helper()
	return f.parameter(kernels.Vector(len(values)), values...)
}

func (f fixture) filled(a kernels.Array, err error, values []float64) kernels.Array {
	f.Helper()
	if err == nil && values != nil {
		err = f.Write(a, values)
	}
	if err != nil {
		f.Fatal(err)
	}
	return a
}

func (f fixture) run(k kernels.Kernel, err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
	k()
}

func (f fixture) read(a kernels.Array) []float64 {
	f.Helper()
	v := make([]float64, a.Shape().Elements())
	if err := f.Read(v, a); err != nil {
		f.Fatal(err)
	}
	return v
}

func (f fixture) want(what string, a kernels.Array, want ...float64) {
	f.Helper()
	got := f.read(a)
	near := func(a, b float64) bool { return math.Abs(a-b) <= 1e-9*(1+math.Abs(b)) }
	if !slices.EqualFunc(got, want, near) {
		f.Errorf("%s is\n%v, not\n%v", what, got, want)
	}
}

func shape(n, c, h, w int) kernels.Shape { return kernels.Shape{N: n, C: c, H: h, W: w} }

func TestConvByHand(t *testing.T) {
	f := newFixture(t)
	x := f.activation(shape(1, 1, 3, 3),
		1, 2, 3,
		4, 5, 6,
		7, 8, 9)
	w := f.parameter(shape(2, 1, 3, 3),
		0, 0, 0, 0, 1, 2, 0, 0, -1, // centre + 2·right − lower right
		1, 0, 0, 0, 0, 0, 0, 0, 0) // upper left
	y := f.activation(shape(1, 2, 3, 3))
	f.run(f.Conv(y, x, w, f.vector(10, -3), kernels.Conv{Stride: 1, Pad: kernels.Same(1), ReLU: true}))
	f.want("convolution", y,
		10+1+4-5, 10+2+6-6, 10+3,
		10+4+10-8, 10+5+12-9, 10+6,
		10+7+16, 10+8+18, 10+9,
		0, 0, 0,
		0, 0, 0,
		0, 4-3, 5-3)
	// Stride 2 with one row above and one column to the right alone.
	y = f.activation(shape(1, 2, 1, 1))
	f.run(f.Conv(y, x, w, nil, kernels.Conv{Stride: 2, Pad: kernels.Padding{Top: 1, Right: 1}}))
	f.want("asymmetric convolution", y, 2+2*3-6, 0)
}

func TestTransposedConvLikePyTorch(t *testing.T) {
	f := newFixture(t)
	x := f.activation(shape(1, 2, 2, 2), 1, 2, 3, 4, 5, 6, 7, 8)
	w := f.parameter(shape(2, 1, 3, 3), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
	y := f.activation(shape(1, 1, 4, 4)) // output padding 1
	f.run(f.ConvBackwardData(y, x, w, f.vector(0.5), kernels.Conv{Stride: 2, Pad: kernels.Same(1)}))
	f.want("transposed convolution", y,
		75.5, 167.5, 94.5, 102.5, 176.5, 386.5, 214.5, 234.5, 113.5, 243.5, 132.5, 144.5, 143.5, 309.5, 168.5, 180.5)
	// Without overlap, rows and columns between the outputs hold the bias.
	y = f.activation(shape(1, 1, 3, 3))
	x = f.activation(shape(1, 1, 2, 2), 1, 2, 3, 4)
	f.run(f.ConvBackwardData(y, x, f.parameter(shape(1, 1, 1, 1), 2), f.vector(7), kernels.Conv{Stride: 2}))
	f.want("sparse transposed convolution", y, 9, 7, 11, 7, 7, 7, 13, 7, 15)
}

func TestInstanceNormLikePyTorch(t *testing.T) {
	f := newFixture(t)
	s := shape(1, 2, 2, 3)
	x := f.activation(s, 1, 2, 3, 4, 6, 8, -1, 0.5, 0, 2, -3, 1)
	g, b := f.vector(2, -0.5), f.vector(0.1, 0.3)
	mean, invstd := f.parameter(shape(1, 2, 1, 1)), f.parameter(shape(1, 2, 1, 1))
	y := f.activation(s)
	// The contract's epsilon is a float32.
	n := kernels.Norm{Eps: 1e-5, ReLU: true}
	f.run(f.Norm(y, mean, invstd, x, g, b, n))
	f.want("mean", mean, 4, -0.5/6)
	f.want("result", y,
		0, 0, 0, 0.10000000000000009, 1.7803346181860733, 3.4606692363721465,
		0.5878825895471929, 0.1168019884699682, 0.27382885549570973, 0, 1.215990057650159, 0)
	dy := f.activation(s, 1, -2, 0.5, 3, 1, -1, 2, 1, -1, 0.5, 0.25, 4)
	dx, dg, db := f.activation(s), f.vector(0, 0), f.vector(0, 0)
	f.run(f.NormBackward(dx, dg, db, dy, x, g, b, mean, invstd, n))
	f.want("source gradient", dx,
		-0.5683482121548937, -0.5189266929521019, -0.4695051737493101, 2.1004182727325915, 0.5189266929521019, -1.0625648868283877,
		-0.47129586040109195, -0.22112814760290206, 0.42827466091782845, 0.02903956519528781, 0.16347953586006106, 0.07163024603081662)
	f.want("scale gradient", dg, -0.8401673090930366, -1.2954716529623678)
	f.want("shift gradient", db, 3, 2.25)
}

func TestAdamLikePyTorch(t *testing.T) {
	type step [3]float64
	grads := []step{{0.5, -1, 2}, {1.5, 0.25, -4}, {-0.75, 3, 0}}
	for _, c := range []struct {
		clip  float64
		steps []step
		m, v  step
	}{
		{
			0,
			[]step{{0.900000002, -1.900000001, 0.4000000005},
				{0.8082218909226944, -1.8530531845234584, 0.4366103530878296},
				{0.7715192579277631, -1.901691982157053, 0.46491026172630107}},
			step{0.1005, 0.2415, -0.198},
			step{0.00305975025, 0.0100604385, 0.019976004},
		}, {
			1.5,
			[]step{{0.9000000030550517, -1.900000001527526, 0.40000000076376296},
				{0.8014190904155096, -1.8434648200101627, 0.40868006603292767},
				{0.7680937360681661, -1.8835975203632387, 0.4153897816323958}},
			step{0.03745382430827965, 0.10038118614628867, -0.020134669515743043},
			step{0.0005154553731715957, 0.0025530315282782973, 0.0036747608827840087},
		},
	} {
		f := newFixture(t)
		p, g, m, v := f.vector(1, -2, 0.5), f.vector(0, 0, 0), f.vector(0, 0, 0), f.vector(0, 0, 0)
		norm := f.vector(0)
		h := kernels.Adam{LR: 0.1, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, ClipNorm: c.clip}
		square, err := f.SquaredNorm(norm, []kernels.Array{g})
		if err != nil {
			t.Fatal(err)
		}
		update, err := f.Adam([]kernels.Array{p}, []kernels.Array{g}, []kernels.Array{m}, []kernels.Array{v}, norm, &h)
		if err != nil {
			t.Fatal(err)
		}
		for i, grad := range grads {
			h.Step = i + 1
			f.filled(g, nil, grad[:])
			square()
			update()
			f.want("parameter", p, c.steps[i][:]...)
		}
		f.want("first moment", m, c.m[:]...)
		f.want("second moment", v, c.v[:]...)
	}
}

func TestPadByHand(t *testing.T) {
	f := newFixture(t)
	x := f.activation(shape(1, 1, 3, 4), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	p := kernels.Padding{Top: 1, Bottom: 2, Left: 2, Right: 3}
	y := f.activation(shape(1, 1, 6, 9))
	f.run(f.Pad(y, x, kernels.PadReflect, p))
	f.want("reflect, as PyTorch's", y,
		7, 6, 5, 6, 7, 8, 7, 6, 5,
		3, 2, 1, 2, 3, 4, 3, 2, 1,
		7, 6, 5, 6, 7, 8, 7, 6, 5,
		11, 10, 9, 10, 11, 12, 11, 10, 9,
		7, 6, 5, 6, 7, 8, 7, 6, 5,
		3, 2, 1, 2, 3, 4, 3, 2, 1)
	y = f.activation(shape(1, 1, 4, 5))
	f.run(f.Pad(y, x, kernels.PadEdge, kernels.Padding{Top: 1, Right: 1}))
	f.want("edge", y, 1, 2, 3, 4, 4, 1, 2, 3, 4, 4, 5, 6, 7, 8, 8, 9, 10, 11, 12, 12)
	crop := kernels.Padding{Top: -1, Bottom: 1, Left: -2, Right: -1}
	y = f.activation(shape(1, 1, 3, 1))
	f.run(f.Pad(y, x, kernels.PadZero, crop))
	f.want("crop and pad", y, 7, 11, 0)
	dx := f.activation(shape(1, 1, 3, 4))
	f.run(f.PadBackward(dx, f.activation(shape(1, 1, 3, 1), 1, 2, 3), kernels.PadZero, crop))
	f.want("gradient of a crop", dx, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0)
}

func TestPoolByHand(t *testing.T) {
	f := newFixture(t)
	s := shape(1, 1, 3, 5) // the last row and column are dropped
	x := f.activation(s,
		1, 5, 2, 2, 9,
		5, 0, 2, 2, 9,
		9, 9, 9, 9, 9)
	y, dx := f.activation(shape(1, 1, 1, 2)), f.activation(s)
	f.run(f.Pool(y, x, kernels.MaxPool))
	f.want("maximum", y, 5, 2)
	f.run(f.PoolBackward(dx, f.activation(shape(1, 1, 1, 2), 3, 4), x, kernels.MaxPool))
	f.want("gradient of a maximum", dx, 0, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	f.run(f.Pool(y, x, kernels.AvgPool))
	f.want("average", y, 11./4, 2)
	f.run(f.PoolBackward(dx, f.activation(shape(1, 1, 1, 2), 4, 8), x, kernels.AvgPool))
	f.want("gradient of an average", dx, 1, 1, 2, 2, 0, 1, 1, 2, 2, 0, 0, 0, 0, 0, 0)
}

func TestLossesByHand(t *testing.T) {
	f := newFixture(t)
	x := f.activation(shape(1, 2, 1, 3), 1, 2, 3, 4, 5, 6)
	gram := f.parameter(shape(1, 1, 2, 2))
	f.run(f.Gram(gram, x))
	f.want("Gram matrix", gram, 14./6, 32./6, 32./6, 77./6)
	dx := f.activation(shape(1, 2, 1, 3))
	f.run(f.GramBackward(dx, f.parameter(shape(1, 1, 2, 2), 6, 0, 12, -6), x))
	f.want("gradient of a Gram matrix", dx, 2*1+2*4, 2*2+2*5, 2*3+2*6, 2*1-2*4, 2*2-2*5, 2*3-2*6)

	loss := f.vector(0)
	two := f.activation(shape(2, 1, 1, 2), 1, 2, 3, 5)
	f.run(f.MSE(loss, two, f.activation(shape(1, 1, 1, 2), 1, 1)))
	f.want("mean squared error with one target", loss, (0+1+4+16)/4.)
	f.run(f.TotalVariation(loss, f.activation(shape(1, 1, 2, 3), 1, 2, 4, 0, 0, 5)))
	f.want("total variation", loss, (1+4+0+25)+(1+4+1))
	f.run(f.SquaredNorm(loss, []kernels.Array{f.vector(1, -2), f.vector(3)}))
	f.want("squared norm", loss, 14)
}

func TestElementwiseByHand(t *testing.T) {
	f := newFixture(t)
	s := shape(1, 2, 1, 2)
	x, y := f.activation(s, -1, 2, 0, 4), f.activation(s)
	f.run(f.ChannelAffine(y, x, f.vector(2, -1), f.vector(0.5, 1)))
	f.want("affine", y, -1.5, 4.5, 1, -3)
	f.run(f.ReLU(y, x))
	f.want("relu", y, 0, 2, 0, 4)
	f.run(f.ReLUBackward(y, f.activation(s, 5, 6, 7, 8), x))
	f.want("gradient of a relu", y, 0, 6, 0, 8)
	f.run(f.Tanh(y, x, 150, 10))
	f.want("tanh", y, 150*math.Tanh(-1)+10, 150*math.Tanh(2)+10, 10, 150*math.Tanh(4)+10)
	f.run(f.Sum(x, []kernels.Array{x, y, y}, []float32{2, 0, 0}))
	f.want("sum in place", x, -2, 4, 0, 8)
	large := f.activation(shape(1, 2, 2, 4))
	f.run(f.Upsample(large, x, 2))
	f.want("upsampled", large, -2, -2, 4, 4, -2, -2, 4, 4, 0, 0, 8, 8, 0, 0, 8, 8)
	f.run(f.UpsampleBackward(x, large, 2))
	f.want("gradient of upsampling", x, -8, 16, 0, 32)
}

func TestPointwiseByHand(t *testing.T) {
	f := newFixture(t)
	s := shape(1, 2, 2, 2)
	x, y := f.activation(s, -1, 2, 0, 4, -8, 3, -.5, 1), f.activation(s)
	f.run(f.Pointwise(y, x, nil, kernels.Pointwise{Function: kernels.LeakyReLU, A: .25}))
	f.want("leaky relu", y, -.25, 2, 0, 4, -2, 3, -.125, 1)
	f.run(f.Pointwise(y, x, f.vector(.5, 2), kernels.Pointwise{Function: kernels.PReLU}))
	f.want("prelu", y, -.5, 2, 0, 4, -16, 3, -1, 1)
	f.run(f.Pointwise(y, x, nil, kernels.Pointwise{Function: kernels.Clip, A: -1.5, B: 2.5}))
	f.want("clip", y, -1, 2, 0, 2.5, -1.5, 2.5, -.5, 1)
	f.run(f.Pointwise(y, x, nil, kernels.Pointwise{Function: kernels.Sigmoid}))
	f.want("sigmoid", y, 0.2689414213699951, 0.8807970779778823, 0.5, 0.9820137900379085,
		0.0003353501304664781, 0.9525741268224334, 0.3775406687981454, 0.7310585786300049)
	f.run(f.Pointwise(y, x, f.activation(s, 1, 2, 3, 4, 5, 6, 7, 8), kernels.Pointwise{Function: kernels.Add}))
	f.want("sum", y, 0, 4, 3, 8, -3, 9, 6.5, 9)
	f.run(f.Pointwise(y, x, f.activation(shape(1, 1, 2, 2), 1, 2, 3, 4), kernels.Pointwise{Function: kernels.Subtract}))
	f.want("difference from one channel", y, -2, 0, -3, 0, -9, 1, -3.5, -3)
	f.run(f.Pointwise(y, x, f.activation(shape(1, 2, 1, 1), 2, -1), kernels.Pointwise{Function: kernels.Multiply}))
	f.want("product with one pixel", y, -2, 4, 0, 8, 8, -3, .5, -1)
	f.run(f.Pointwise(y, x, f.activation(shape(1, 1, 1, 2), 2, 4), kernels.Pointwise{Function: kernels.Divide}))
	f.want("quotient by one row", y, -.5, .5, 0, 1, -4, .75, -.25, .25)
}

func TestArrangeByHand(t *testing.T) {
	f := newFixture(t)
	a, b := f.activation(shape(1, 2, 1, 2), 1, 2, 3, 4), f.activation(shape(1, 1, 1, 2), 5, 6)
	y := f.activation(shape(1, 3, 1, 2))
	f.run(f.Arrange(y, []kernels.Array{b, a}, kernels.Arrangement{From: []int{0, 1, 2}, Block: 1}))
	f.want("concatenation", y, 5, 6, 1, 2, 3, 4)
	y = f.activation(shape(1, 2, 1, 2))
	f.run(f.Arrange(y, []kernels.Array{a, b}, kernels.Arrangement{From: []int{2, 0}, Block: 1}))
	f.want("chosen channels", y, 5, 6, 1, 2)

	// The channels 1 to 8 of one pixel as two channels of 2×2 pixels: ONNX's
	// DepthToSpace in its two modes.
	deep := f.activation(shape(1, 8, 1, 1), 1, 2, 3, 4, 5, 6, 7, 8)
	square := f.activation(shape(1, 2, 2, 2))
	f.run(f.Arrange(square, []kernels.Array{deep}, kernels.Arrangement{From: []int{0, 1, 2, 3, 4, 5, 6, 7}, Block: 2}))
	f.want("DCR", square, 1, 3, 5, 7, 2, 4, 6, 8)
	shuffle := kernels.Arrangement{From: []int{0, 4, 1, 5, 2, 6, 3, 7}, Block: 2}
	f.run(f.Arrange(square, []kernels.Array{deep}, shuffle))
	f.want("CRD", square, 1, 2, 3, 4, 5, 6, 7, 8)
	shuffle.Top = 1
	row := f.activation(shape(1, 2, 1, 2))
	f.run(f.Arrange(row, []kernels.Array{deep}, shuffle))
	f.want("second row of CRD", row, 3, 4, 7, 8)
}

func TestResampleByHand(t *testing.T) {
	f := newFixture(t)
	x := f.activation(shape(1, 1, 2, 2), 0, 4, 8, 16)
	y := f.activation(shape(1, 1, 3, 4))
	rows := []kernels.Tap{{A: 0, B: 1, W: .25}, {A: 1, B: 1}, {A: 1, B: 0, W: 1}}
	cols := []kernels.Tap{{A: 0, B: 0}, {A: 0, B: 1, W: .25}, {A: 0, B: 1, W: .75}, {A: 1, B: 0}}
	f.run(f.Resample(y, x, rows, cols))
	f.want("resampled", y,
		2, 3.25, 5.75, 7,
		8, 10, 14, 16,
		0, 1, 3, 4)
}

func TestWarpByHand(t *testing.T) {
	f := newFixture(t)
	x := f.activation(shape(2, 1, 2, 3),
		0, 4, 8,
		10, 14, 18,
		-1, -2, -3,
		-4, -5, -6)
	flow := f.activation(shape(2, 2, 2, 3),
		.25, 1, 5, 0, -.5, -9, // to the right
		0, .5, 0, -1, -.5, 9, // down
		0, 0, 0, 0, 0, 0,
		0, 0, 0, 1, -1, math.Inf(-1))
	y := f.activation(shape(2, 1, 2, 3))
	f.run(f.Warp(y, x, flow, false))
	f.want("warped", y,
		1, 13, 8,
		0, 7, 10,
		-1, -2, -3,
		-4, -2, -3)
	f.run(f.Warp(y, x, flow, true))
	f.want("each made of the other", y,
		-1.25, -4.5, -3,
		-1, -3, -4,
		0, 4, 8,
		10, 4, 8)
}

func TestWindowPoolByHand(t *testing.T) {
	f := newFixture(t)
	x := f.activation(shape(1, 1, 3, 4),
		-1, -2, -3, -4,
		-5, 6, 7, -8,
		9, -10, -11, 12)
	w := kernels.Window{Height: 2, Width: 3, Stride: 2, Pad: kernels.Padding{Top: 1, Left: 1}}
	y := f.activation(shape(1, 1, 2, 2))
	f.run(f.WindowPool(y, x, w))
	f.want("maximum, which the border is none of", y, -1, -2, 9, 12)
	w.Kind = kernels.AvgPool
	f.run(f.WindowPool(y, x, w))
	f.want("average", y, -3./2, -9./3, 0, -4./6)
	w.CountPad = true
	f.run(f.WindowPool(y, x, w))
	f.want("average with the border", y, -3./6, -9./6, 0, -4./6)
	one := f.activation(shape(1, 1, 1, 1))
	f.run(f.WindowPool(one, x, kernels.Window{Kind: kernels.AvgPool, Height: 3, Width: 4, Stride: 1}))
	f.want("average of a map", one, -10./12)
}

func TestGroupStatisticsByHand(t *testing.T) {
	f := newFixture(t)
	// Means 1 and 3, variances 4 and 8: 2 and 6+1 of both.
	mean, invstd := f.vector(1, 3, 5), f.vector(.5, math.Sqrt(1./8), 2)
	f.run(f.GroupStatistics(mean, invstd, 3))
	f.want("means of single channels", mean, 1, 3, 5)
	pair, inv := f.vector(1, 3), f.vector(.5, math.Sqrt(1./8))
	f.run(f.GroupStatistics(pair, inv, 1))
	f.want("mean", pair, 2, 2)
	f.want("deviation", inv, 1/math.Sqrt(7), 1/math.Sqrt(7))
}
