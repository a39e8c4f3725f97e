package onnx

import (
	"fmt"
	"math"
	"slices"

	"stylenet/internal/networks"
)

// translations are the operators that become layers, or other views of a map.
func translations() map[string]func(*call) []*feature {
	one := func(f func(*call) *feature) func(*call) []*feature {
		return func(c *call) []*feature { return []*feature{f(c)} }
	}
	m := map[string]func(*call) []*feature{
		"Conv": one((*call).conv), "ConvTranspose": one((*call).convTranspose),
		"InstanceNormalization": one((*call).instanceNorm), "BatchNormalization": one((*call).batchNorm), "GroupNormalization": one((*call).groupNorm),
		"Relu": one((*call).relu), "LeakyRelu": one((*call).leakyRelu), "PRelu": one((*call).prelu), "Tanh": one((*call).tanh), "ScaledTanh": one((*call).tanh),
		"Sigmoid": one((*call).sigmoid), "Clip": one((*call).clip), "HardSigmoid": one((*call).hardSigmoid), "HardSwish": one((*call).hardSwish),
		"Pad": one(moving((*call).pad)), "Crop": one((*call).crop), "Slice": one((*call).slice), "Gather": one((*call).gather), "Split": (*call).splitMaps, "Concat": one((*call).concat),
		"Resize": one(moving((*call).resize)), "Upsample": one(moving((*call).upsample)), "DepthToSpace": one(moving((*call).depthToSpace)),
		"MaxPool": one((*call).pool), "AveragePool": one((*call).pool), "GlobalMaxPool": one((*call).globalPool), "GlobalAveragePool": one((*call).globalPool),
		"ReduceMean": one((*call).reduce), "ReduceMax": one((*call).reduce),
		"Affine": one((*call).scaled), "ImageScaler": one((*call).imageScaler),
		"Sqrt": one((*call).root), "Reciprocal": one((*call).root), "Pow": one((*call).power),
		"Round": one((*call).round), "Identity": one((*call).same), "Dropout": one((*call).same), "Cast": one((*call).castMap), "CastLike": one((*call).castMap), "Expand": one((*call).expandMap),
		"Reshape": one((*call).reshapeMap), "Flatten": one((*call).reshapeMap), "Squeeze": one((*call).reshapeMap), "Unsqueeze": one((*call).reshapeMap),
		"Transpose": one((*call).transpose), "QuantizeLinear": one((*call).quantize), "DequantizeLinear": one((*call).dequantize),
		"Neg":   one(func(c *call) *feature { return c.affine("", c.feature(0), -1, 0) }),
		"Shape": nil, "Size": nil, // see outputs
	}
	for _, name := range []string{"Add", "Sub", "Mul", "Div"} {
		m[name] = one((*call).arithmetic)
	}
	for _, name := range []string{"Sum", "Max", "Min"} {
		m[name] = one((*call).several)
	}
	for _, name := range []string{"Abs", "Elu", "Selu", "Celu", "Softplus", "Softsign", "Mish", "Swish", "Erf", "Gelu"} {
		m[name] = one((*call).activation)
	}
	return m
}

// weightsOf is a parameter that is a tensor of the file as it is.
func weightsOf(suffix string, t *tensor) param {
	return param{suffix, t.dims, t, func(*graph) ([]float32, error) { return t.floats, nil }}
}

// filled is a parameter of n equal numbers.
func filled(suffix string, n int, v float32) param {
	return param{suffix, []int{n}, nil, func(g *graph) ([]float32, error) {
		data, err := g.newFloats(n)
		for i := range data {
			data[i] = v
		}
		return data, err
	}}
}

// repeated is a parameter of n numbers, each of t's for as many neighbours.
func repeated(suffix string, t *tensor, n int) param {
	return param{suffix, []int{n}, t, func(g *graph) ([]float32, error) {
		data, err := g.newFloats(n)
		for i := range data {
			data[i] = t.floats[i*t.len()/n]
		}
		return data, err
	}}
}

// window is how a kernel moves over a map. Indices 0 and 1 are rows and
// columns.
type window struct {
	kernel           [2]int // with its dilation
	stride, dilation [2]int
	begin, end       [2]int // borders
}

// window reads the attributes of a convolution or a pooling with a kernel.
func (c *call) window(f *feature, kernel [2]int) window {
	w := window{stride: c.pair("strides", 1), dilation: c.pair("dilations", 1)}
	const most = 1 << 10
	for i := range 2 {
		if kernel[i] < 1 || w.stride[i] < 1 || w.dilation[i] < 1 || max(kernel[i], w.stride[i], w.dilation[i]) > most {
			c.refuse("kernel %v, strides %v, dilations %v: 1 to %d are read", kernel, w.stride, w.dilation, most)
		}
		if w.kernel[i] = (kernel[i]-1)*w.dilation[i] + 1; w.kernel[i] > most {
			c.refuse("a kernel that reaches %d pixels: up to %d are read", w.kernel[i], most)
		}
	}
	switch mode := c.string("auto_pad", "NOTSET"); mode {
	case "NOTSET", "":
		w.begin, w.end = c.borders()
	case "VALID":
	case "SAME_UPPER", "SAME_LOWER":
		if c.n.op == "ConvTranspose" {
			break // see there
		}
		for i, n := range [2]int{f.size.H, f.size.W} {
			out := (n + w.stride[i] - 1) / w.stride[i]
			w.begin[i], w.end[i] = halves(max((out-1)*w.stride[i]+w.kernel[i]-n, 0), mode)
		}
	default:
		c.refuse("auto_pad %.20q", mode)
	}
	return w
}

// halves splits a border in two. The odd pixel is at the end, or with
// SAME_LOWER at the beginning.
func halves(n int, mode string) (begin, end int) {
	if mode == "SAME_LOWER" {
		return n - n/2, n / 2
	}
	return n / 2, n - n/2
}

// borders are the attribute pads: all beginnings, then all ends.
func (c *call) borders() (begin, end [2]int) {
	v := c.ints("pads")
	if v == nil {
		return begin, end
	}
	if len(v) != 4 {
		c.refuse("its pads are %v: rows and columns have two each", clip(v))
	}
	return [2]int(v[:2]), [2]int(v[2:])
}

func padding(begin, end [2]int) networks.Padding {
	return networks.Padding{Top: begin[0], Bottom: end[0], Left: begin[1], Right: end[1]}
}

// kernelOf checks a convolution's weights.
func (c *call) kernelOf(w *tensor) [2]int {
	if len(w.dims) != 4 || w.len() == 0 {
		c.refuse("its weights have the shape %v: convolutions of pictures have 4 dimensions", w.dims)
	}
	kernel := [2]int(w.dims[2:])
	if k := c.ints("kernel_shape"); k != nil && !slices.Equal(k, kernel[:]) {
		c.refuse("its kernel_shape is %v, but its weights have the shape %v", clip(k), w.dims)
	}
	return kernel
}

func (c *call) groups(name string, n int) int {
	g := c.int(name, 1)
	if g < 1 || n%g != 0 {
		c.refuse("%d channels in %d groups", n, g)
	}
	return g
}

// conv makes the kernel square, dense and of one group, with zeros.
func (c *call) conv() *feature {
	f, w := c.maps(0), c.weight(1)
	kernel := c.kernelOf(w)
	win := c.window(f, kernel)
	group := c.groups("group", w.dims[0])
	stride, left := win.common()
	op := networks.Conv{In: w.dims[1] * group, Out: w.dims[0], Kernel: max(win.kernel[0], win.kernel[1]), Stride: stride, NoBias: !c.has(2)}
	if op.In != f.size.C {
		c.refuse("its weights %v in %d groups are for %d channels, not %d", w.dims, group, op.In, f.size.C)
	}
	var crop [2][2]int
	for i := range 2 {
		// What a smaller kernel does not reach is zero, and below and right of it.
		win.end[i] += op.Kernel - win.kernel[i]
		crop[0][i], crop[1][i] = min(win.begin[i], 0), min(win.end[i], 0)
		win.begin[i], win.end[i] = max(win.begin[i], 0), max(win.end[i], 0)
	}
	f = c.bordered(".crop", networks.PadZero, padding(crop[0], crop[1]), layoutNCHW(), f)
	op.Pad = padding(win.begin, win.end)
	params := []param{weightsOf("weight", w)}
	if shape := []int{op.Out, op.In, op.Kernel, op.Kernel}; !slices.Equal(shape, w.dims) {
		params[0] = param{"weight", shape, w, func(g *graph) ([]float32, error) {
			return dense(g, w, group, win.dilation, shape)
		}}
	}
	return c.thinned(c.mapped("", op, f, c.bias(params, 2, op.Out)...), layoutNCHW(), left)
}

// common is the stride of a layer that moves as far by rows as by columns, and
// of what is left to be taken of its result.
func (w window) common() (stride int, left [2]int) {
	if w.stride[0] == w.stride[1] {
		return w.stride[0], [2]int{1, 1}
	}
	return 1, w.stride
}

// thinned takes one of so many rows and columns, from the first on.
func (c *call) thinned(f *feature, layout []int, steps [2]int) *feature {
	switch {
	case steps == [2]int{1, 1}:
		return f
	case max(steps[0], steps[1]) > maxMultiple:
		c.refuse("it takes one of %d rows and of %d columns: steps up to %d are read", steps[0], steps[1], maxMultiple)
	case steps[0] == steps[1]:
		return c.arranged(".thinned", networks.WindowPool{Kernel: 1, Stride: steps[0]}, layout, f)
	}
	// Resizing leaves out the last one of a part of a step.
	f = c.bordered(".border", networks.PadEdge, padding([2]int{}, [2]int{steps[0] - 1, steps[1] - 1}), layout, f)
	op := networks.Resize{Scale: c.ratio(steps[0], 1), Columns: c.ratio(steps[1], 1), Coordinates: "asymmetric", Rounding: "round_prefer_floor"}
	return c.arranged(".thinned", op, layout, f)
}

func (c *call) bias(params []param, input, n int) []param {
	if c.has(input) {
		params = append(params, weightsOf("bias", c.vector(input, n)))
	}
	return params
}

// dense spreads the weights of groups and dilated kernels out to a tensor of the
// shape that a layer has. Their first dimension is all outputs, or with
// transposed convolutions inputs, the second the channels of a group.
func dense(g *graph, w *tensor, group int, dilation [2]int, shape []int) ([]float32, error) {
	if elements(shape) < 0 {
		return nil, fmt.Errorf("weights of the shape %v are too large", shape)
	}
	data, err := g.newFloats(elements(shape))
	if err != nil {
		return nil, err
	}
	to := strides(shape)
	perGroup, i := w.dims[0]/group, 0
	for a := range w.dims[0] {
		for b := range w.dims[1] {
			for y := range w.dims[2] {
				for x := range w.dims[3] {
					data[a*to[0]+(a/perGroup*w.dims[1]+b)*to[1]+y*dilation[0]*to[2]+x*dilation[1]] = w.floats[i]
					i++
				}
			}
		}
	}
	return data, nil
}

// convTranspose writes borders of all kinds as crops of the whole result.
func (c *call) convTranspose() *feature {
	f, w := c.maps(0), c.weight(1)
	kernel := c.kernelOf(w)
	win := c.window(f, kernel)
	group := c.groups("group", w.dims[0])
	op := networks.ConvTranspose{In: w.dims[0], Out: w.dims[1] * group, Kernel: max(win.kernel[0], win.kernel[1]), Stride: win.stride[0], NoBias: !c.has(2)}
	if op.In != f.size.C {
		c.refuse("its weights %v are for %d channels, not %d", w.dims, op.In, f.size.C)
	}
	if win.stride[0] != win.stride[1] {
		c.refuse("strides %d by rows and %d by columns: one for both is read", win.stride[0], win.stride[1])
	}
	more := c.pair("output_padding", 0)
	begin, end := c.transposedBorders(f, win, more)
	for i := range 2 {
		if more[i] < 0 || more[i] >= max(op.Stride, win.dilation[i]) || min(begin[i], end[i]) < -(1<<10) {
			c.refuse("output_padding %v, pads %v to %v", more, begin, end)
		}
		end[i] += op.Kernel - win.kernel[i] - more[i] // of the square kernel's result
	}
	// The layer itself cuts the same border off all sides, and adds a part of a
	// stride at the end.
	op.Pad = max(0, min(begin[0], begin[1], end[0]+op.Stride-1, end[1]+op.Stride-1, op.Kernel-1))
	op.OutputPad = max(0, min(op.Stride-1, max(op.Pad-end[0], op.Pad-end[1])))
	rest := padding([2]int{op.Pad - begin[0], op.Pad - begin[1]}, [2]int{op.Pad - op.OutputPad - end[0], op.Pad - op.OutputPad - end[1]})
	if max(rest.Top, rest.Left, rest.Bottom, rest.Right) > 0 {
		c.refuse("its result is larger than what its kernel reaches: pads %v to %v, output_padding %v", begin, end, more)
	}
	params := []param{weightsOf("weight", w)}
	if shape := []int{op.In, op.Out, op.Kernel, op.Kernel}; !slices.Equal(shape, w.dims) {
		params[0] = param{"weight", shape, w, func(g *graph) ([]float32, error) {
			return dense(g, w, group, win.dilation, shape)
		}}
	}
	return c.bordered(".crop", networks.PadZero, rest, layoutNCHW(), c.mapped("", op, f, c.bias(params, 2, op.Out)...))
}

// transposedBorders are what is cut off the whole result of a transposed
// convolution. Those of auto_pad and output_shape follow from the size of the
// result.
func (c *call) transposedBorders(f *feature, win window, more [2]int) (begin, end [2]int) {
	mode := c.string("auto_pad", "NOTSET")
	same := mode == "SAME_UPPER" || mode == "SAME_LOWER"
	out := c.ints("output_shape")
	if out == nil && !same {
		return win.begin, win.end
	}
	if len(out) > 2 {
		out = out[len(out)-2:] // some files have batch and channels, too
	}
	for i, n := range [2]int{f.size.H, f.size.W} {
		want := n * win.stride[i]
		if out != nil {
			if len(out) != 2 {
				c.refuse("its output_shape is %v: maps have rows and columns", out)
			}
			want = out[i]
		}
		total := (n-1)*win.stride[i] + more[i] + win.kernel[i] - want
		if total < 0 {
			// To reach an output_shape the result grows. Runtimes leave it smaller than
			// auto_pad promises.
			if out != nil {
				end[i] = total
			}
			continue
		}
		// Here the standard has the odd pixel at the beginning but for SAME_UPPER.
		if mode != "SAME_UPPER" {
			mode = "SAME_LOWER"
		}
		begin[i], end[i] = halves(total, mode)
	}
	return begin, end
}

// bordered pads, or crops by negative amounts. No border is no layer.
func (c *call) bordered(suffix string, mode networks.PadMode, p networks.Padding, layout []int, f *feature) *feature {
	if p == (networks.Padding{}) {
		return f
	}
	return c.arranged(suffix, networks.Pad{Mode: mode, Padding: p}, layout, f)
}

func (c *call) epsilon() float32 { return c.float("epsilon", 1e-5) }

// instanceNorm may see its channels in groups, as exporters write group norm.
func (c *call) instanceNorm() *feature {
	f := c.feature(0)
	if len(f.axes) < 3 {
		f = c.maps(0)
	}
	if len(f.axes[0]) != 0 {
		c.refuse("it reads %s", f)
	}
	n := f.axes[1].size()
	c.whole(f, f.axes[1])
	return c.norm("", f, n, c.epsilon(), c.vector(1, n), c.vector(2, n))
}

// whole refuses an axis that is not all channels or groups of them.
func (c *call) whole(f *feature, a axis) {
	n := a.size()
	if f.size.C%n != 0 || n > 1 && !slices.Equal(a, axis{{channels, f.size.C / n, n}}) {
		c.refuse("it reads %s: the second axis is read as channels or groups of them", f)
	}
}

// norm normalises n groups of channels. Scale and shift are for each group, or
// nil where there are none.
func (c *call) norm(suffix string, f *feature, n int, eps float32, scale, shift *tensor) *feature {
	each := func(suffix string, t *tensor, otherwise float32) param {
		switch {
		case t == nil:
			return filled(suffix, f.size.C, otherwise)
		case n == f.size.C:
			return weightsOf(suffix, t)
		}
		return repeated(suffix, t, f.size.C)
	}
	op := networks.Op(networks.Norm{Channels: n, Eps: eps})
	if n != f.size.C {
		op = networks.GroupNorm{Channels: f.size.C, Groups: n, Eps: eps}
	}
	return c.each(suffix, op, f, each("weight", scale, 1), each("bias", shift, 0))
}

func (c *call) groupNorm() *feature {
	f := c.maps(0)
	n := c.groups("num_groups", f.size.C)
	op := networks.GroupNorm{Channels: f.size.C, Groups: n, Eps: c.epsilon()}
	var params []param
	for i, suffix := range []string{"weight", "bias"} {
		t := c.weight(i + 1)
		// One number for each group until opset 20, for each channel from 21 on.
		if len(t.dims) != 1 || t.dims[0] != n && t.dims[0] != f.size.C {
			c.refuse("input %d has the shape %v, for %d groups of %d channels", i+2, t.dims, n, f.size.C)
		}
		params = append(params, repeated(suffix, t, f.size.C))
	}
	return c.each("", op, f, params...)
}

func (c *call) batchNorm() *feature {
	f := c.maps(0)
	if c.int("training_mode", 0) != 0 || c.int("spatial", 1) == 0 || c.opsetBefore(7) && c.int("is_test", 0) == 0 {
		c.refuse("it is for training: export the model for inference")
	}
	var params []param
	for i, suffix := range []string{"weight", "bias", "running_mean", "running_var"} {
		params = append(params, weightsOf(suffix, c.vector(i+1, f.size.C)))
	}
	return c.each("", networks.Norm{Channels: f.size.C, Eps: c.epsilon(), Batch: true}, f, params...)
}

func (c *call) relu() *feature { return c.each("", networks.ReLU{}, c.feature(0)) }

func (c *call) leakyRelu() *feature {
	return c.each("", networks.Pointwise{Function: networks.LeakyReLU, A: c.float("alpha", .01)}, c.feature(0))
}

func (c *call) prelu() *feature {
	f := c.feature(0)
	slope := c.perChannel(f, c.legacySlope(f, c.weight(1)))
	return c.each("", networks.Pointwise{Function: networks.PReLU, Channels: f.size.C}, f, param{
		"weight", []int{f.size.C}, c.weight(1), func(*graph) ([]float32, error) { return slope, nil },
	})
}

// legacySlope puts the slopes of the first versions, one for each channel, where
// broadcasting has them.
func (c *call) legacySlope(f *feature, t *tensor) *tensor {
	if c.opsetBefore(7) && len(t.dims) == 1 && len(f.axes) > 1 {
		return reshaped(t, append([]int{t.dims[0]}, slices.Repeat([]int{1}, len(f.axes)-2)...))
	}
	return t
}

// tanh is also the old α·tanh(β·x).
func (c *call) tanh() *feature {
	f, scale := c.feature(0), float32(1)
	if c.n.op == "ScaledTanh" {
		scale = c.float("alpha", 1)
		f = c.affine(".scale", f, c.float("beta", 1), 0)
	}
	return c.each("", networks.Tanh{Scale: scale}, f)
}

func (c *call) sigmoid() *feature {
	return c.each("", networks.Pointwise{Function: networks.Sigmoid}, c.feature(0))
}

// clip has its limits as attributes before opset 11, and as inputs later.
func (c *call) clip() *feature {
	low, high := c.float("min", -math.MaxFloat32), c.float("max", math.MaxFloat32)
	return c.clipped("", c.feature(0), c.number(1, low), c.number(2, high))
}

func (c *call) clipped(suffix string, f *feature, low, high float32) *feature {
	low, high = max(low, -math.MaxFloat32), min(high, math.MaxFloat32)
	switch {
	case low == 0 && high == math.MaxFloat32:
		return c.each(suffix, networks.ReLU{}, f)
	case low == -math.MaxFloat32 && high == math.MaxFloat32:
		return f
	}
	// Where the limits cross, the upper one holds.
	return c.each(suffix, networks.Pointwise{Function: networks.Clip, A: min(low, high), B: high}, f)
}

func (c *call) hardSigmoid() *feature {
	return c.clipped("", c.affine(".scale", c.feature(0), c.float("alpha", .2), c.float("beta", .5)), 0, 1)
}

func (c *call) hardSwish() *feature {
	f := c.feature(0)
	gate := c.clipped(".gate", c.affine(".scale", f, 1./6, .5), 0, 1)
	return c.combine("", networks.Times, f, gate)
}

// scaled is the old operator Affine.
func (c *call) scaled() *feature {
	return c.affine("", c.feature(0), c.float("alpha", 1), c.float("beta", 0))
}

// imageScaler is the old operator that prepared pictures: one scale, and then a
// bias for each channel.
func (c *call) imageScaler() *feature {
	f := c.maps(0)
	bias := c.floats("bias")
	if len(bias) != f.size.C {
		c.refuse("it has %d biases for %d channels", len(bias), f.size.C)
	}
	return c.affines("", f, slices.Repeat([]float32{c.float("scale", 1)}, f.size.C), bias)
}

// affine is scale·x + shift.
func (c *call) affine(suffix string, f *feature, scale, shift float32) *feature {
	n := f.size.C
	must(c, n, c.g.charge(8*n))
	return c.affines(suffix, f, slices.Repeat([]float32{scale}, n), slices.Repeat([]float32{shift}, n))
}

// affines is scale[c]·x + shift[c]. Where it changes nothing it is no layer.
func (c *call) affines(suffix string, f *feature, scale, shift []float32) *feature {
	unchanged := true
	for i := range scale {
		c.finite(float64(scale[i]))
		c.finite(float64(shift[i]))
		unchanged = unchanged && scale[i] == 1 && shift[i] == 0
	}
	if unchanged {
		return f
	}
	return c.each(suffix, networks.Affine{Scale: scale, Shift: shift}, f)
}

// perChannel reads a tensor as broadcasting puts it beside a feature: one number
// for each channel.
func (c *call) perChannel(f *feature, t *tensor) []float32 {
	if len(t.dims) > len(f.axes) {
		if elements(t.dims[:len(t.dims)-len(f.axes)]) != 1 {
			c.refuse("a constant of the shape %v makes %s larger", t.dims, f)
		}
		t = reshaped(t, t.dims[len(t.dims)-len(f.axes):])
	}
	axes := f.axes[len(f.axes)-len(t.dims):]
	place := make([]int, f.size.C) // of each channel's number in t
	step := strides(t.dims)
	varies := false // by more than channels
	for i, d := range t.dims {
		if d == 1 {
			continue
		}
		if d != axes[i].size() {
			c.refuse("a constant of the shape %v does not go with %s", t.dims, f)
		}
		inner := 1
		for k := len(axes[i]) - 1; k >= 0; k-- {
			a := axes[i][k]
			if a.dim == channels {
				for ch := range place {
					place[ch] += ch / a.stride % a.size * inner * step[i]
				}
			} else {
				varies = true
			}
			inner *= a.size
		}
	}
	if t.len() == 0 {
		c.refuse("a constant of the shape %v has no numbers", t.dims)
	}
	if varies {
		if !c.evenly(axes, t) {
			c.refuse("a constant of the shape %v has other numbers at other places of the picture: one for each channel is read", t.dims)
		}
	}
	must(c, 0, c.g.charge(4*f.size.C))
	values := make([]float32, f.size.C)
	for ch := range values {
		values[ch] = float32(t.at(place[ch]))
	}
	return values
}

// evenly says whether a constant over rows and columns depends on the channel
// alone.
func (c *call) evenly(axes []axis, t *tensor) bool {
	c.spend(t.len())
	// The place of each element among those of channels.
	own := strides(t.dims)
	var dims, steps []int
	for i, a := range axes {
		if t.dims[i] == 1 {
			continue
		}
		inner := own[i]
		var d, s []int
		for k := len(a) - 1; k >= 0; k-- {
			d, s = append(d, a[k].size), append(s, 0)
			if a[k].dim == channels {
				s[len(s)-1] = inner
			}
			inner *= a[k].size
		}
		slices.Reverse(d)
		slices.Reverse(s)
		dims, steps = append(dims, d...), append(steps, s...)
	}
	i, even := 0, true
	walk(dims, steps, 0, func(place int) {
		even = even && t.at(i) == t.at(place)
		i++
	})
	return even
}

// arithmetic is Add, Sub, Mul and Div, of two maps or of a map and a constant.
func (c *call) arithmetic() *feature {
	if len(c.in) != 2 {
		c.refuse("it has %d inputs, not 2", len(c.in))
	}
	if c.in[0].f == nil || c.in[1].f == nil {
		return c.withConstant()
	}
	function := map[string]networks.Function{"Add": networks.Plus, "Sub": networks.Minus, "Mul": networks.Times, "Div": networks.Over}[c.n.op]
	return c.combine("", function, c.feature(0), c.feature(1))
}

// withConstant scales and shifts a map.
func (c *call) withConstant() *feature {
	i := 0
	if c.in[0].f == nil {
		i = 1
	}
	f, t := c.feature(i), c.floatsAt(1-i)
	if i == 0 {
		t = c.aligned(f.dims(), t)
	}
	known := c.statWith(f, t, i == 1)
	if f.layer == absent && known != nil {
		return &feature{layer: absent, size: f.size, axes: f.axes, stat: known}
	}
	v := c.perChannel(f, t)
	if c.n.op == "Div" && i == 1 {
		r := c.plain("", networks.Over, c.constantMap(f, v), f)
		r.stat = known
		return r
	}
	scale, shift := slices.Repeat([]float32{1}, len(v)), make([]float32, len(v))
	for ch, v := range v {
		switch {
		case c.n.op == "Add":
			shift[ch] = v
		case c.n.op == "Sub" && i == 0:
			shift[ch] = -v
		case c.n.op == "Sub":
			scale[ch], shift[ch] = -1, v
		case c.n.op == "Mul":
			scale[ch] = v
		default: // Div
			scale[ch] = c.finite(1 / float64(v))
		}
	}
	r := *c.affines("", f, scale, shift)
	r.stat = known
	return &r
}

// combine computes with two maps. The smaller one, of one channel or one pixel,
// is repeated.
func (c *call) combine(suffix string, function networks.Function, a, b *feature) *feature {
	known, normed := c.statOf(function, a, b)
	if normed != nil {
		return normed
	}
	if known != nil && (a.layer == absent || b.layer == absent) {
		return &feature{layer: absent, size: a.size, axes: a.axes, stat: known}
	}
	r := c.plain(suffix, function, a, b)
	r.stat = known
	return r
}

func (c *call) plain(suffix string, function networks.Function, a, b *feature) *feature {
	if !goTogether(a.axes, b.axes) {
		a, b = c.settled(a), c.settled(b)
	}
	swapped := smaller(a, b)
	if swapped {
		a, b = b, a
	}
	if !goTogether(a.axes, b.axes) {
		c.refuse("it computes with %s and %s, whose places do not correspond", a, b)
	}
	if swapped && function == networks.Over {
		b = c.plain(suffix+".repeated", networks.Times, c.constantMap(a, slices.Repeat([]float32{1}, a.size.C)), b)
		return c.plain(suffix, function, b, a)
	}
	op := networks.Op(networks.Pointwise{Function: function})
	if function == networks.Plus && a.size == b.size {
		op = networks.Add{}
	}
	r := &feature{layer: c.emit(suffix, op, nil, a, b), size: a.size, axes: a.axes}
	if len(b.axes) > len(a.axes) {
		r.axes = append(make([]axis, len(b.axes)-len(a.axes)), a.axes...)
	}
	if swapped && function == networks.Minus {
		return c.affine(suffix+".negative", r, -1, 0)
	}
	return r
}

// smaller says whether a is repeated along some dimension of b.
func smaller(a, b *feature) bool {
	return a.size.C < b.size.C || a.size.H < b.size.H || a.size.W < b.size.W
}

// goTogether says whether each axis of the second is that of the first, or is
// repeated along it.
func goTogether(a, b []axis) bool {
	for k := 1; k <= max(len(a), len(b)); k++ {
		x, y := axisFromEnd(a, k), axisFromEnd(b, k)
		if len(y) > 0 && !slices.Equal(x, y) {
			return false
		}
	}
	return true
}

func axisFromEnd(axes []axis, k int) axis {
	if k > len(axes) {
		return nil
	}
	return axes[len(axes)-k]
}
