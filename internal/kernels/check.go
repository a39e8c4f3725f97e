package kernels

import (
	"errors"
	"fmt"
)

// Backends call these checks before they bind a kernel, so that every device
// refuses the same arguments with the same words.

func shapesEqual(kernel string, want Array, others ...Array) error {
	for _, o := range others {
		if o.Shape() != want.Shape() {
			return fmt.Errorf("%s: shapes %v and %v differ", kernel, want.Shape(), o.Shape())
		}
	}
	return nil
}

func expect(kernel, what string, a Array, want Shape) error {
	if a.Shape() != want {
		return fmt.Errorf("%s: %s has shape %v, not %v", kernel, what, a.Shape(), want)
	}
	return nil
}

func distinct(kernel string, dsts []Array, srcs ...Array) error {
	for i, d := range dsts {
		for _, s := range append(dsts[:i:i], srcs...) {
			if d != nil && d == s {
				return fmt.Errorf("%s: an array is both written and read or written twice", kernel)
			}
		}
	}
	return nil
}

// CheckShape refuses shapes that are empty or that no machine could hold.
func CheckShape(s Shape) error {
	if s.N < 1 || s.C < 1 || s.H < 1 || s.W < 1 {
		return fmt.Errorf("shape %v has a dimension below 1", s)
	}
	const limit = 1 << 40
	n := 1
	for _, d := range []int{s.N, s.C, s.H, s.W} {
		if d > limit/n {
			return fmt.Errorf("shape %v is too large", s)
		}
		n *= d
	}
	return nil
}

// CheckTransfer checks that Upload or Download got one value for each element.
func CheckTransfer(what string, a Array, values int) error {
	if n := a.Shape().Elements(); values != n {
		return fmt.Errorf("%s: %d values for an array of shape %v, not %d", what, values, a.Shape(), n)
	}
	return nil
}

// CheckPad checks the arguments of Pad and PadBackward.
func CheckPad(padded, plain Array, mode PadMode, p Padding) error {
	s := plain.Shape()
	want := Shape{s.N, s.C, s.H + p.Top + p.Bottom, s.W + p.Left + p.Right}
	if err := CheckShape(want); err != nil {
		return fmt.Errorf("pad: %w", err)
	}
	if err := expect("pad", "padded array", padded, want); err != nil {
		return err
	}
	if err := distinct("pad", []Array{padded}, plain); err != nil {
		return err
	}
	if err := checkBorder("pad", mode, p, s.H, s.W); err != nil {
		return err
	}
	if mode != PadZero && min(p.Top, p.Bottom, p.Left, p.Right) < 0 {
		return fmt.Errorf("pad: mode %v cannot crop (%+v)", mode, p)
	}
	return nil
}

// checkBorder checks that a mode can make a border of an h×w map.
func checkBorder(kernel string, mode PadMode, p Padding, h, w int) error {
	switch {
	case mode != PadZero && mode != PadEdge && mode != PadReflect:
		return fmt.Errorf("%s: unknown mode %d of a border", kernel, int(mode))
	case mode == PadReflect && (max(p.Top, p.Bottom) >= h || max(p.Left, p.Right) >= w):
		return fmt.Errorf("%s: a reflected border %+v needs a map larger than %d×%d", kernel, p, w, h)
	}
	return nil
}

// CheckConv checks a convolution of src to dst. bias, over dst's channels, may
// be nil.
func CheckConv(dst, src, w, bias Array, c Conv) error {
	if err := checkConvShapes(dst.Shape(), src.Shape(), w.Shape(), c); err != nil {
		return err
	}
	if bias != nil {
		if err := expect("conv", "bias", bias, Vector(dst.Shape().C)); err != nil {
			return err
		}
	}
	return distinct("conv", []Array{dst}, src, w, bias)
}

// CheckConvBackwardData checks the gradient of a convolution for its source.
// bias, over dsrc's channels, may be nil.
func CheckConvBackwardData(dsrc, ddst, w, bias Array, c Conv) error {
	if err := checkConvShapes(ddst.Shape(), dsrc.Shape(), w.Shape(), c); err != nil {
		return err
	}
	if bias != nil {
		if err := expect("conv backward data", "bias", bias, Vector(dsrc.Shape().C)); err != nil {
			return err
		}
	}
	return distinct("conv backward data", []Array{dsrc}, ddst, w, bias)
}

// CheckConvBackwardWeights checks the gradient of a convolution for its
// weights. db may be nil.
func CheckConvBackwardWeights(dw, db, ddst, src Array, c Conv) error {
	if err := checkConvShapes(ddst.Shape(), src.Shape(), dw.Shape(), c); err != nil {
		return err
	}
	if db != nil {
		if err := CheckBiasBackward(db, ddst); err != nil {
			return err
		}
	}
	return distinct("conv backward weights", []Array{dw, db}, ddst, src)
}

// CheckBiasBackward checks the gradient of a bias.
func CheckBiasBackward(db, ddst Array) error {
	if err := expect("bias backward", "gradient", db, Vector(ddst.Shape().C)); err != nil {
		return err
	}
	return distinct("bias backward", []Array{db}, ddst)
}

// Shape is the shape of what r makes of a source.
func (r Read) Shape(src Shape) Shape {
	up := max(1, r.Upsample)
	return Shape{src.N, src.C, src.H*up + r.Pad.Top + r.Pad.Bottom, src.W*up + r.Pad.Left + r.Pad.Right}
}

// Plain says that r takes a source as it is.
func (r Read) Plain() bool {
	return r.Mean == nil && !r.ReLU && r.Upsample <= 1 && r.Pad == Padding{}
}

// check checks how a source is read, and that this has a shape.
func (r Read) check(kernel string, src Array) error {
	s := src.Shape()
	set := 0
	for _, a := range []Array{r.Mean, r.InvStd, r.Gamma, r.Beta} {
		if a != nil {
			set++
		}
	}
	switch set {
	case 0:
	case 4:
		if err := shapesEqual(kernel, r.Mean, r.InvStd); err != nil {
			return err
		}
		if m := r.Mean.Shape(); m != Vector(s.C) {
			if err := expect(kernel, "statistics of a source", r.Mean, Norm{}.Stats(s)); err != nil {
				return err
			}
		}
		for _, a := range []Array{r.Gamma, r.Beta} {
			if err := expect(kernel, "scale or shift of a source", a, Vector(s.C)); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("%s: a source has %d of the 4 arrays of a normalisation", kernel, set)
	}
	if r.Upsample < 0 {
		return fmt.Errorf("%s: upsampling by %d", kernel, r.Upsample)
	}
	if err := CheckShape(r.Shape(s)); err != nil {
		return fmt.Errorf("%s: source with its border: %w", kernel, err)
	}
	up := max(1, r.Upsample)
	return checkBorder(kernel, r.Mode, r.Pad, s.H*up, s.W*up)
}

// CheckFusedConv checks a convolution with a fused read and statistics. mean
// and invstd may be nil, and so may bias.
func CheckFusedConv(dst, mean, invstd, src Array, r Read, w, bias Array, c Conv, n Norm) error {
	if err := r.check("fused conv", src); err != nil {
		return err
	}
	if c.Pad != (Padding{}) {
		return fmt.Errorf("fused conv: padding %+v beside the border of the source", c.Pad)
	}
	if err := checkConvShapes(dst.Shape(), r.Shape(src.Shape()), w.Shape(), c); err != nil {
		return fmt.Errorf("fused %w", err)
	}
	if bias != nil {
		if err := expect("fused conv", "bias", bias, Vector(dst.Shape().C)); err != nil {
			return err
		}
	}
	switch {
	case (mean == nil) != (invstd == nil):
		return errors.New("fused conv: one of the two statistics is missing")
	case mean == nil:
	case c.ReLU:
		return errors.New("fused conv: statistics are of a result without ReLU")
	case n.Batch:
		return errors.New("fused conv: statistics over a batch")
	case !(n.Eps > 0):
		return fmt.Errorf("fused conv: epsilon %g is not above 0", n.Eps)
	default:
		for _, a := range []Array{mean, invstd} {
			if err := expect("fused conv", "statistics", a, n.Stats(dst.Shape())); err != nil {
				return err
			}
		}
	}
	return distinct("fused conv", []Array{dst, mean, invstd}, src, r.Mean, r.InvStd, r.Gamma, r.Beta, w, bias)
}

// CheckFusedSum checks a sum of fused reads.
func CheckFusedSum(dst Array, srcs []Array, rs []Read) error {
	if len(srcs) < 1 || len(srcs) > 2 || len(srcs) != len(rs) {
		return fmt.Errorf("fused sum: %d sources and %d ways to read them", len(srcs), len(rs))
	}
	for i, r := range rs {
		if err := r.check("fused sum", srcs[i]); err != nil {
			return err
		}
		if want := r.Shape(srcs[i].Shape()); dst.Shape() != want {
			return fmt.Errorf("fused sum: result has shape %v, not %v", dst.Shape(), want)
		}
		if err := distinct("fused sum", []Array{dst}, srcs[i], r.Mean, r.InvStd, r.Gamma, r.Beta); err != nil {
			return err
		}
	}
	return nil
}

func checkConvShapes(dst, src, w Shape, c Conv) error {
	p := c.Pad
	switch {
	case c.Stride < 1:
		return fmt.Errorf("conv: stride %d is below 1", c.Stride)
	case min(p.Top, p.Bottom, p.Left, p.Right) < 0:
		return fmt.Errorf("conv: negative padding %+v", p)
	case w.N != dst.C || w.C != src.C:
		return fmt.Errorf("conv: weights %v do not lead from %d to %d channels", w, src.C, dst.C)
	}
	h, wd := src.H+p.Top+p.Bottom, src.W+p.Left+p.Right
	if h < w.H || wd < w.W {
		return fmt.Errorf("conv: a %d×%d kernel does not fit a padded map of %d×%d", w.W, w.H, wd, h)
	}
	if want := (Shape{src.N, w.N, (h-w.H)/c.Stride + 1, (wd-w.W)/c.Stride + 1}); dst != want {
		return fmt.Errorf("conv: result has shape %v, not %v", dst, want)
	}
	return nil
}

// Stats is the shape of the statistics of a normalisation over src.
func (n Norm) Stats(src Shape) Shape {
	if n.Batch {
		return Vector(src.C)
	}
	return Shape{src.N, src.C, 1, 1}
}

// CheckNorm checks a normalisation.
func CheckNorm(dst, mean, invstd, src, gamma, beta Array, n Norm) error {
	if !(n.Eps > 0) {
		return fmt.Errorf("norm: epsilon %g is not above 0", n.Eps)
	}
	if err := shapesEqual("norm", src, dst); err != nil {
		return err
	}
	for _, a := range []Array{gamma, beta} {
		if err := expect("norm", "scale or shift", a, Vector(src.Shape().C)); err != nil {
			return err
		}
	}
	for _, a := range []Array{mean, invstd} {
		if err := expect("norm", "statistics", a, n.Stats(src.Shape())); err != nil {
			return err
		}
	}
	return distinct("norm", []Array{dst, mean, invstd}, src, gamma, beta)
}

// CheckNormBackward checks the gradient of a normalisation.
func CheckNormBackward(dsrc, dgamma, dbeta, ddst, src, gamma, beta, mean, invstd Array, n Norm) error {
	if err := CheckNorm(dsrc, mean, invstd, src, gamma, beta, n); err != nil {
		return err
	}
	if err := shapesEqual("norm backward", src, ddst); err != nil {
		return err
	}
	if err := shapesEqual("norm backward", gamma, dgamma, dbeta); err != nil {
		return err
	}
	return distinct("norm backward", []Array{dsrc, dgamma, dbeta}, ddst, src, gamma, beta, mean, invstd)
}

// CheckChannelAffine checks a per-channel scale and shift; shift may be nil.
func CheckChannelAffine(dst, src, scale, shift Array) error {
	if err := shapesEqual("channel affine", dst, src); err != nil {
		return err
	}
	for _, a := range []Array{scale, shift} {
		if a == nil {
			continue
		}
		if err := expect("channel affine", "scale or shift", a, Vector(src.Shape().C)); err != nil {
			return err
		}
	}
	return distinct("channel affine", []Array{dst}, src, scale, shift)
}

// CheckSame checks kernels that work element by element. dst may be the first
// source where inPlace is set.
func CheckSame(kernel string, inPlace bool, dst Array, srcs ...Array) error {
	if err := shapesEqual(kernel, dst, srcs...); err != nil {
		return err
	}
	if inPlace {
		srcs = srcs[1:]
	}
	return distinct(kernel, []Array{dst}, srcs...)
}

// CheckSum checks a weighted sum.
func CheckSum(dst Array, srcs []Array, weights []float32) error {
	if len(srcs) == 0 || len(srcs) != len(weights) {
		return fmt.Errorf("sum: %d arrays and %d weights", len(srcs), len(weights))
	}
	if err := shapesEqual("sum", dst, srcs...); err != nil {
		return err
	}
	return distinct("sum", []Array{dst}, srcs[1:]...)
}

// CheckUpsample checks nearest upsampling, large being factor times small.
func CheckUpsample(large, small Array, factor int) error {
	if factor < 1 {
		return fmt.Errorf("upsample: factor %d is below 1", factor)
	}
	s := small.Shape()
	if err := expect("upsample", "large array", large, Shape{s.N, s.C, s.H * factor, s.W * factor}); err != nil {
		return err
	}
	return distinct("upsample", []Array{large}, small)
}

// CheckPool checks 2×2 pooling of large into small.
func CheckPool(small, large Array, kind PoolKind) error {
	if kind != MaxPool && kind != AvgPool {
		return fmt.Errorf("pool: unknown kind %d", int(kind))
	}
	l := large.Shape()
	if l.H < 2 || l.W < 2 {
		return fmt.Errorf("pool: a map of %d×%d is smaller than 2×2", l.W, l.H)
	}
	if err := expect("pool", "small array", small, Shape{l.N, l.C, l.H / 2, l.W / 2}); err != nil {
		return err
	}
	return distinct("pool", []Array{small}, large)
}

// CheckPoolBackward checks the gradient of a 2×2 pooling.
func CheckPoolBackward(dsrc, ddst, src Array, kind PoolKind) error {
	if err := CheckPool(ddst, src, kind); err != nil {
		return err
	}
	return CheckSame("pool backward", false, dsrc, src)
}

// CheckPointwise checks a function of one map or two.
func CheckPointwise(dst, a, b Array, f Pointwise) error {
	switch {
	case f.Function < LeakyReLU || f.Function > Divide:
		return fmt.Errorf("pointwise: unknown function %d", int(f.Function))
	case f.Function == Clip && !(f.A <= f.B):
		return fmt.Errorf("pointwise: at least %g and at most %g", f.A, f.B)
	}
	takes := f.Function == PReLU || f.Function >= Add
	if takes != (b != nil) {
		return fmt.Errorf("pointwise: a second operand of %v: %v", f.Function, b != nil)
	}
	if err := shapesEqual("pointwise", a, dst); err != nil {
		return err
	}
	s := a.Shape()
	switch {
	case f.Function == PReLU:
		if err := expect("pointwise", "slopes", b, Vector(s.C)); err != nil {
			return err
		}
	case takes:
		if t := b.Shape(); t.N != s.N || t.C != s.C && t.C != 1 || t.H != s.H && t.H != 1 || t.W != s.W && t.W != 1 {
			return fmt.Errorf("pointwise: a map of %v cannot be repeated to %v", t, s)
		}
	}
	return distinct("pointwise", []Array{dst}, a, b)
}

// CheckArrange checks a new order of channels and pixels.
func CheckArrange(dst Array, srcs []Array, o Arrangement) error {
	if len(srcs) == 0 {
		return errors.New("arrange: no maps")
	}
	if o.Block < 1 || o.Top < 0 {
		return fmt.Errorf("arrange: squares of %d pixels, %d above", o.Block, o.Top)
	}
	first, d, channels := srcs[0].Shape(), dst.Shape(), 0
	for _, x := range srcs {
		s := x.Shape()
		if s.N != first.N || s.H != first.H || s.W != first.W {
			return fmt.Errorf("arrange: maps of %v and %v differ in more than channels", first, s)
		}
		channels += s.C
	}
	switch {
	case d.N != first.N || d.H+o.Top > first.H*o.Block || d.W != first.W*o.Block:
		return fmt.Errorf("arrange: result of shape %v, %d rows down, of squares of %d for each pixel of %v", d, o.Top, o.Block, first)
	case len(o.From) != o.Block*o.Block*d.C:
		return fmt.Errorf("arrange: %d channels for squares of %d and a result of shape %v", len(o.From), o.Block, d)
	}
	for _, c := range o.From {
		if c < 0 || c >= channels {
			return fmt.Errorf("arrange: channel %d of %d", c, channels)
		}
	}
	return distinct("arrange", []Array{dst}, srcs...)
}

// CheckResample checks that rows and columns are made of what is there.
func CheckResample(dst, src Array, rows, cols []Tap) error {
	s := src.Shape()
	if err := expect("resample", "result", dst, Shape{s.N, s.C, len(rows), len(cols)}); err != nil {
		return err
	}
	for _, axis := range []struct {
		taps []Tap
		n    int
	}{{rows, s.H}, {cols, s.W}} {
		for _, t := range axis.taps {
			if min(t.A, t.B) < 0 || int(max(t.A, t.B)) >= axis.n {
				return fmt.Errorf("resample: between rows or columns %d and %d of %d", t.A, t.B, axis.n)
			}
		}
	}
	return distinct("resample", []Array{dst}, src)
}

// CheckWarp checks that a flow leads from each pixel of a map.
func CheckWarp(dst, src, flow Array, pairs bool) error {
	s := src.Shape()
	if err := shapesEqual("warp", dst, src); err != nil {
		return err
	}
	if err := expect("warp", "flow", flow, Shape{s.N, 2, s.H, s.W}); err != nil {
		return err
	}
	if pairs && s.N%2 != 0 {
		return fmt.Errorf("warp: %d images are no pairs", s.N)
	}
	return distinct("warp", []Array{dst}, src, flow)
}

// CheckWindowPool checks pooling of windows.
func CheckWindowPool(dst, src Array, w Window) error {
	p := w.Pad
	switch {
	case w.Kind != MaxPool && w.Kind != AvgPool:
		return fmt.Errorf("window pool: unknown kind %d", int(w.Kind))
	case min(w.Height, w.Width, w.Stride) < 1:
		return fmt.Errorf("window pool: windows of %d×%d, %d apart", w.Width, w.Height, w.Stride)
	case min(p.Top, p.Bottom, p.Left, p.Right) < 0 || max(p.Top, p.Bottom) >= w.Height || max(p.Left, p.Right) >= w.Width:
		return fmt.Errorf("window pool: a border %+v of windows of %d×%d", p, w.Width, w.Height)
	}
	s := src.Shape()
	h, wd := s.H+p.Top+p.Bottom-w.Height, s.W+p.Left+p.Right-w.Width
	if h < 0 || wd < 0 {
		return fmt.Errorf("window pool: a map of %d×%d is smaller than a window of %d×%d", s.W, s.H, w.Width, w.Height)
	}
	if err := expect("window pool", "result", dst, Shape{s.N, s.C, h/w.Stride + 1, wd/w.Stride + 1}); err != nil {
		return err
	}
	return distinct("window pool", []Array{dst}, src)
}

// CheckGroupStatistics checks the statistics of groups of channels.
func CheckGroupStatistics(mean, invstd Array, groups int) error {
	s := mean.Shape()
	switch {
	case s.H != 1 || s.W != 1:
		return fmt.Errorf("group statistics: shape %v is none of statistics", s)
	case groups < 1 || s.C%groups != 0:
		return fmt.Errorf("group statistics: %d groups of %d channels", groups, s.C)
	}
	if err := shapesEqual("group statistics", mean, invstd); err != nil {
		return err
	}
	return distinct("group statistics", []Array{mean, invstd})
}

// CheckGram checks a Gram matrix.
func CheckGram(gram, src Array) error {
	s := src.Shape()
	if err := expect("gram", "matrix", gram, Shape{s.N, 1, s.C, s.C}); err != nil {
		return err
	}
	return distinct("gram", []Array{gram}, src)
}

// CheckGramBackward checks the gradient of a Gram matrix.
func CheckGramBackward(dsrc, dgram, src Array) error {
	if err := CheckGram(dgram, src); err != nil {
		return err
	}
	if err := CheckSame("gram backward", false, dsrc, src); err != nil {
		return err
	}
	return distinct("gram backward", []Array{dsrc}, dgram)
}

// CheckMSE checks a mean squared error.
func CheckMSE(loss, a, b Array) error {
	if err := expect("mse", "loss", loss, Scalar()); err != nil {
		return err
	}
	want := a.Shape()
	if b.Shape().N == 1 {
		want.N = 1
	}
	if err := expect("mse", "target", b, want); err != nil {
		return err
	}
	return distinct("mse", []Array{loss}, a, b)
}

// CheckMSEBackward checks the gradient of a mean squared error.
func CheckMSEBackward(da, dloss, a, b Array) error {
	if err := CheckMSE(dloss, a, b); err != nil {
		return err
	}
	if err := CheckSame("mse backward", false, da, a); err != nil {
		return err
	}
	return distinct("mse backward", []Array{da}, dloss, b)
}

// CheckLoss checks that loss is a scalar.
func CheckLoss(kernel string, loss Array) error {
	return expect(kernel, "loss", loss, Scalar())
}

// CheckTotalVariationBackward checks the gradient of the total variation.
func CheckTotalVariationBackward(dsrc, dloss, src Array) error {
	if err := CheckLoss("total variation backward", dloss); err != nil {
		return err
	}
	if err := CheckSame("total variation backward", false, dsrc, src); err != nil {
		return err
	}
	return distinct("total variation backward", []Array{dsrc}, dloss)
}

// CheckDots checks dot products of a with each of bs.
func CheckDots(dst, a Array, bs []Array) error {
	if len(bs) == 0 {
		return errors.New("dots: no arrays")
	}
	if err := expect("dots", "result", dst, Vector(len(bs))); err != nil {
		return err
	}
	if err := shapesEqual("dots", a, bs...); err != nil {
		return err
	}
	return distinct("dots", []Array{dst}, append(bs[:len(bs):len(bs)], a)...)
}

// CheckCombine checks a weighted sum with weights on the device.
func CheckCombine(dst Array, srcs []Array, weights Array) error {
	if len(srcs) == 0 {
		return errors.New("combine: no arrays")
	}
	if err := expect("combine", "weights", weights, Vector(len(srcs))); err != nil {
		return err
	}
	if err := shapesEqual("combine", dst, srcs...); err != nil {
		return err
	}
	return distinct("combine", []Array{dst}, append(srcs[1:len(srcs):len(srcs)], weights)...)
}

// CheckSquaredNorm checks a squared norm.
func CheckSquaredNorm(dst Array, srcs []Array) error {
	if len(srcs) == 0 {
		return errors.New("squared norm: no arrays")
	}
	if err := CheckLoss("squared norm", dst); err != nil {
		return err
	}
	return distinct("squared norm", []Array{dst}, srcs...)
}

// CheckAdam checks an optimiser step.
func CheckAdam(params, grads, m, v []Array, squaredNorm Array) error {
	if len(params) == 0 || len(grads) != len(params) || len(m) != len(params) || len(v) != len(params) {
		return fmt.Errorf("adam: %d parameters, %d gradients, %d and %d moments", len(params), len(grads), len(m), len(v))
	}
	for i, p := range params {
		if err := shapesEqual("adam", p, grads[i], m[i], v[i]); err != nil {
			return err
		}
	}
	written := append(append(append([]Array(nil), params...), m...), v...)
	if squaredNorm == nil {
		return distinct("adam", written, grads...)
	}
	if err := CheckLoss("adam", squaredNorm); err != nil {
		return err
	}
	return distinct("adam", written, append([]Array{squaredNorm}, grads...)...)
}

// CheckAdamStep checks the settings of an optimiser step, which a kernel reads
// at its launch.
func CheckAdamStep(h *Adam, squaredNorm Array) error {
	switch {
	case h == nil:
		return errors.New("adam: no settings")
	case h.Step < 1:
		return fmt.Errorf("adam: step %d is below 1", h.Step)
	case h.ClipNorm > 0 && squaredNorm == nil:
		return errors.New("adam: clipping needs the squared norm of the gradients")
	}
	return nil
}

// CheckLives checks arguments of NewActivations.
func CheckLives(shapes []Shape, lives []Life) error {
	if len(shapes) != len(lives) {
		return fmt.Errorf("%d shapes and %d lives", len(shapes), len(lives))
	}
	for i, s := range shapes {
		if err := CheckShape(s); err != nil {
			return err
		}
		if lives[i].Last < lives[i].First {
			return fmt.Errorf("an array is needed from launch %d to launch %d", lives[i].First, lives[i].Last)
		}
	}
	return nil
}
