package onnx

import (
	"errors"
	"fmt"
	"math"

	"stylenet/internal/formats/floats"
	"stylenet/internal/formats/onnx/onnxpb"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

// encoder appends a network's nodes. Each layer has a type of its own, in which
// it computes; others get its result in the type that they ask for. The first
// error stays.
type encoder struct {
	builder
	*analysis
	set    *weights.Set
	o      Options
	values map[wanted]string // the names of results, and of the picture
	err    error
}

// wanted is a layer's result, or the network's input, in some type.
type wanted struct {
	layer int
	dtype onnxpb.TensorProto_DataType
}

func newEncoder(net *networks.Network, set *weights.Set, o Options) (*encoder, error) {
	e := &encoder{
		builder:  builder{graph: &onnxpb.GraphProto{Name: new("network")}, constants: map[string]bool{}},
		analysis: analyse(net), set: set, o: o, values: map[wanted]string{},
	}
	if o.Precision == Int8 {
		return e, e.checkRanges(o.Ranges)
	}
	return e, nil
}

func (e *encoder) fail(format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf(format, args...)
	}
}

// network appends everything between the graph's input and its output.
func (e *encoder) network() error {
	picture, size := inputName, ""
	if e.o.Bytes {
		picture = e.fromBytes(picture)
	}
	if e.o.Multiple > 0 {
		picture, size = e.addBorder(picture)
	}
	e.values[wanted{networks.Input, typeSingle}] = picture
	last := len(e.net.Layers) - 1
	// Layers in their order, so that a layer's value is never asked for by a
	// chain of calls as long as the network.
	for i := range last {
		if e.used[i] {
			e.value(i, e.own(i))
		}
	}
	result := e.value(last, typeSingle)
	if e.o.Multiple > 0 {
		result = e.cropBorder(result, size)
	}
	if e.o.Bytes {
		e.toBytes(result)
	}
	if e.err != nil {
		return e.err
	}
	// The node that was appended last gives the result.
	e.graph.Node[len(e.graph.Node)-1].Output[0] = outputName
	return nil
}

// own is the type in which a layer computes.
func (e *encoder) own(i int) onnxpb.TensorProto_DataType {
	switch {
	case e.o.Precision == Float16 && !e.exact(i):
		return typeHalf
	case e.o.Precision == Int8 && e.moves(i):
		return typeByte
	}
	return typeSingle
}

// value is the name of a layer's result in that type.
func (e *encoder) value(i int, dtype onnxpb.TensorProto_DataType) string {
	key := wanted{i, dtype}
	if name, ok := e.values[key]; ok || e.err != nil {
		return name
	}
	name := "picture"
	own := typeSingle
	if i != networks.Input {
		name, own = e.net.Layers[i].Name, e.own(i)
	}
	switch {
	case dtype == own:
		name = e.layer(i, dtype)
	case dtype == typeByte:
		name = e.quantize(i)
	default:
		to, suffix := int(onnxpb.TensorProto_FLOAT), ".single"
		if dtype == typeHalf {
			to, suffix = int(onnxpb.TensorProto_FLOAT16), ".half"
		}
		name = e.node("Cast", name+suffix, name+"_output"+suffix, []string{e.value(i, own)}, integer("to", to))
	}
	e.values[key] = name
	return name
}

// constant adds a constant of a layer that computes in that type.
func (e *encoder) constant(name string, shape []int, values []float32, dtype onnxpb.TensorProto_DataType) string {
	if dtype != typeHalf {
		return e.floats(name, shape, values)
	}
	raw := floats.F16.Encode(make([]byte, 0, 2*len(values)), values)
	if i := floats.F16.Overflow(values, raw); i >= 0 {
		e.fail("tensor %q: the value %g is beyond the range of float16: write float32", name, values[i])
	}
	return e.initializer(name, shape, typeHalf, raw)
}

// parameter adds one of a layer's tensors, in its own shape unless another one
// is given.
func (e *encoder) parameter(l networks.Layer, suffix string, dtype onnxpb.TensorProto_DataType, shape ...int) string {
	t := e.set.Get(l.Name + "." + suffix)
	if len(shape) == 0 {
		shape = t.Shape
	}
	return e.constant(t.Name, shape, t.Data, dtype)
}

// kernel lists the tensors of a convolution.
func (e *encoder) kernel(i int, noBias bool, dtype onnxpb.TensorProto_DataType) (names []string) {
	suffixes := []string{"weight", "bias"}
	if noBias {
		suffixes = suffixes[:1]
	}
	for _, suffix := range suffixes {
		t := e.set.Get(e.net.Layers[i].Name + "." + suffix)
		names = append(names, e.constant(t.Name, t.Shape, scaled(t.Data, e.halfScale(i)), dtype))
	}
	return names
}

// layer appends the nodes of a layer that computes in that type, and returns
// its result.
func (e *encoder) layer(i int, dtype onnxpb.TensorProto_DataType) string {
	l := e.net.Layers[i]
	if e.o.Precision == Int8 && e.inIntegers(i) {
		return e.integerConv(i)
	}
	inputs := make([]string, len(l.Inputs))
	for k, j := range l.Inputs {
		inputs[k] = e.value(j, dtype)
	}
	output := l.Name + "_output"
	switch op := l.Op.(type) {
	case networks.Conv:
		e.node("Conv", l.Name, output, append(inputs, e.kernel(i, op.NoBias, dtype)...), convAttributes(op)...)
	case networks.ConvTranspose:
		e.node("ConvTranspose", l.Name, output, append(inputs, e.kernel(i, op.NoBias, dtype)...),
			list("kernel_shape", op.Kernel, op.Kernel), list("strides", op.Stride, op.Stride),
			list("pads", op.Pad, op.Pad, op.Pad, op.Pad), list("output_padding", op.OutputPad, op.OutputPad))
	case networks.Norm:
		if l.Name == e.o.Style {
			e.anyStyle(l, op, inputs[0], output)
			break
		}
		e.norm(i, op, inputs, output)
	case networks.StyleNorm:
		e.styleNorm(l, op, inputs[0], output)
	case networks.GroupNorm:
		e.groupNorm(l, op, inputs[0], output)
	case networks.ReLU:
		e.node("Relu", l.Name, output, inputs)
	case networks.Tanh:
		x := e.node("Tanh", l.Name, l.Name+".tanh", inputs)
		e.scaleAndShift(l.Name, output, x, nil, []float32{op.Scale}, []float32{op.Offset}, dtype)
	case networks.Affine:
		e.scaleAndShift(l.Name, output, inputs[0], []int{len(op.Scale), 1, 1}, op.Scale, op.Shift, dtype)
	case networks.Pointwise:
		e.pointwise(l, op, inputs, output, dtype)
	case networks.Add:
		e.node("Add", l.Name, output, inputs)
	case networks.Concat:
		e.node("Concat", l.Name, output, inputs, integer("axis", 1))
	case networks.Channels:
		e.node("Slice", l.Name, output, append(inputs, e.integers(l.Name+".from", int64(op.From)),
			e.integers(l.Name+".to", int64(op.To)), e.integers(l.Name+".axis", 1)))
	default:
		e.spatial(l, inputs, output, dtype)
	}
	return e.prefix + output
}

// spatial appends a layer that moves values from place to place, or takes one of
// several.
func (e *encoder) spatial(l networks.Layer, inputs []string, output string, dtype onnxpb.TensorProto_DataType) {
	switch op := l.Op.(type) {
	case networks.Pad:
		e.pad(l, op, inputs, output, dtype)
	case networks.Upsample:
		// Asymmetric and floor together repeat each pixel exactly Factor times.
		e.resize(l, inputs, output, float64(op.Factor), float64(op.Factor), text("mode", "nearest"),
			text("coordinate_transformation_mode", "asymmetric"), text("nearest_mode", "floor"))
	case networks.Resize:
		mode := []*onnxpb.AttributeProto{text("mode", "linear")}
		if !op.Linear {
			mode = []*onnxpb.AttributeProto{text("mode", "nearest")}
			if op.Rounding != "" {
				mode = append(mode, text("nearest_mode", op.Rounding))
			}
		}
		e.resize(l, inputs, output, op.Scale, op.OfColumns().Scale, append(mode, text("coordinate_transformation_mode", op.Coordinates))...)
	case networks.DepthToSpace:
		mode := "DCR"
		if op.CRD {
			mode = "CRD"
		}
		e.node("DepthToSpace", l.Name, output, inputs, integer("blocksize", op.Block), text("mode", mode))
	case networks.Pool:
		e.pool(l, networks.WindowPool{Average: op.Average, Kernel: 2, Stride: 2}, inputs, output)
	case networks.WindowPool:
		e.pool(l, op, inputs, output)
	default:
		e.fail("layer %s: %T has no ONNX form", l.Name, l.Op)
	}
}

func convAttributes(op networks.Conv) []*onnxpb.AttributeProto {
	p := op.Pad
	return []*onnxpb.AttributeProto{
		list("kernel_shape", op.Kernel, op.Kernel), list("strides", op.Stride, op.Stride), list("pads", p.Top, p.Left, p.Bottom, p.Right),
	}
}

// norm appends a norm, whose statistics are of float32.
func (e *encoder) norm(i int, op networks.Norm, inputs []string, output string) {
	l := e.net.Layers[i]
	inputs = append(inputs, e.parameter(l, "weight", typeSingle), e.parameter(l, "bias", typeSingle))
	if !op.Batch {
		e.node("InstanceNormalization", l.Name, output, inputs, float("epsilon", op.Eps*e.epsilonScale(i)))
		return
	}
	inputs = append(inputs, e.parameter(l, "running_mean", typeSingle), e.parameter(l, "running_var", typeSingle))
	e.node("BatchNormalization", l.Name, output, inputs, float("epsilon", op.Eps))
}

// styleNorm appends a norm whose scale and shift are sums of the styles' own, with
// the weights of the mix. They come behind a norm that has none: to many runtimes
// its own are constants.
func (e *encoder) styleNorm(l networks.Layer, op networks.StyleNorm, x, output string) {
	x = e.normalized(l.Name, op.Channels, op.Eps, x)
	mixed := func(suffix string) string {
		var table []float32
		for _, style := range op.Styles {
			table = append(table, e.set.Get(l.Name+"."+style+"."+suffix).Data...)
		}
		name := l.Name + "." + suffix
		row := e.node("MatMul", name+".mix", name+".row", []string{mixName, e.floats(name, []int{len(op.Styles), op.Channels}, table)})
		return e.node("Reshape", name+".spread", name+".mixed", []string{row, e.integers(name+".shape", int64(op.Channels), 1, 1)})
	}
	x = e.node("Mul", l.Name+".mul", l.Name+".scaled", []string{x, mixed("weight")})
	e.node("Add", l.Name+".add", output, []string{x, mixed("bias")})
}

// normalized appends an instance norm without a scale and a shift.
func (e *encoder) normalized(name string, channels int, eps float32, x string) string {
	ones, zeros := make([]float32, channels), make([]float32, channels)
	for i := range ones {
		ones[i] = 1
	}
	return e.node("InstanceNormalization", name, name+".normalized",
		[]string{x, e.floats(name+".ones", []int{channels}, ones), e.floats(name+".zeros", []int{channels}, zeros)}, float("epsilon", eps))
}

// anyStyle appends a norm whose scale and shift are the moments of what the
// layers before it make of the style, as inference.Moments has them. All of it is
// float32.
func (e *encoder) anyStyle(l networks.Layer, op networks.Norm, x, output string) {
	picture := styleName
	style := &encoder{builder: e.builder, analysis: e.analysis, set: e.set, o: e.o, values: map[wanted]string{}}
	style.prefix = "style."
	if e.o.Bytes {
		picture = style.fromBytes(picture)
	}
	style.values[wanted{networks.Input, typeSingle}] = picture
	features := style.value(l.Inputs[0], typeSingle)
	e.err = errors.Join(e.err, style.err)
	mean := style.node("GlobalAveragePool", "mean", "mean_output", []string{features})
	centred := style.node("Sub", "centre", "centred", []string{features, mean})
	variance := style.node("GlobalAveragePool", "variance", "variance_output", []string{style.node("Mul", "square", "squares", []string{centred, centred})})
	root := style.node("Sqrt", "root", "root_output", []string{style.node("Add", "add_epsilon", "positive", []string{variance, e.floats("style.epsilon", nil, []float32{op.Eps})})})
	deviation := style.node("Div", "deviation", "deviation_output", []string{variance, root})
	x = e.normalized(l.Name, op.Channels, op.Eps, x)
	x = e.node("Mul", l.Name+".mul", l.Name+".scaled", []string{x, deviation})
	e.node("Add", l.Name+".add", output, []string{x, mean})
}

// groupNorm normalises groups as the channels of a picture of one row:
// GroupNormalization is younger than MinOpset, and has changed its meaning.
func (e *encoder) groupNorm(l networks.Layer, op networks.GroupNorm, x, output string) {
	ones, zeros := make([]float32, op.Groups), make([]float32, op.Groups)
	for i := range ones {
		ones[i] = 1
	}
	size := e.node("Shape", l.Name+".shape", l.Name+".size", []string{x})
	flat := e.node("Reshape", l.Name+".group", l.Name+".grouped", []string{x, e.integers(l.Name+".groups", 0, int64(op.Groups), -1)})
	flat = e.node("InstanceNormalization", l.Name, l.Name+".normalized",
		[]string{flat, e.floats(l.Name+".ones", []int{op.Groups}, ones), e.floats(l.Name+".zeros", []int{op.Groups}, zeros)}, float("epsilon", op.Eps))
	maps := e.node("Reshape", l.Name+".ungroup", l.Name+".ungrouped", []string{flat, size})
	maps = e.node("Mul", l.Name+".mul", l.Name+".scaled", []string{maps, e.parameter(l, "weight", typeSingle, op.Channels, 1, 1)})
	e.node("Add", l.Name+".add", output, []string{maps, e.parameter(l, "bias", typeSingle, op.Channels, 1, 1)})
}

func (e *encoder) pointwise(l networks.Layer, op networks.Pointwise, inputs []string, output string, dtype onnxpb.TensorProto_DataType) {
	switch op.Function {
	case networks.LeakyReLU:
		e.node("LeakyRelu", l.Name, output, inputs, float("alpha", op.A))
	case networks.PReLU:
		e.node("PRelu", l.Name, output, append(inputs, e.parameter(l, "weight", dtype, op.Channels, 1, 1)))
	case networks.Sigmoid:
		e.node("Sigmoid", l.Name, output, inputs)
	case networks.Clip:
		for k, limit := range []float32{op.A, op.B} {
			name := "" // no limit
			if float64(max(limit, -limit)) < largest(dtype) {
				name = e.constant(l.Name+[]string{".least", ".most"}[k], nil, []float32{limit}, dtype)
			}
			inputs = append(inputs, name)
		}
		e.node("Clip", l.Name, output, inputs)
	case networks.Plus:
		e.node("Add", l.Name, output, inputs)
	case networks.Minus:
		e.node("Sub", l.Name, output, inputs)
	case networks.Times:
		e.node("Mul", l.Name, output, inputs)
	case networks.Over:
		e.node("Div", l.Name, output, inputs)
	default:
		e.fail("layer %s: %q has no ONNX form", l.Name, op.Function)
	}
}

// largest is the largest number of a type.
func largest(dtype onnxpb.TensorProto_DataType) float64 {
	if dtype == typeHalf {
		return 65504
	}
	return math.MaxFloat32
}

// pad appends a border. Negative amounts crop here too. ONNX's order is that of
// N, C, H, W: all beginnings, then all ends.
func (e *encoder) pad(l networks.Layer, op networks.Pad, inputs []string, output string, dtype onnxpb.TensorProto_DataType) {
	mode, ok := map[networks.PadMode]string{
		networks.PadZero: "constant", networks.PadReflect: "reflect", networks.PadEdge: "edge",
	}[op.Mode]
	if !ok {
		e.fail("layer %s: unknown padding mode %q", l.Name, op.Mode)
	}
	p := op.Padding
	inputs = append(inputs, e.integers(l.Name+".pads", 0, 0, int64(p.Top), int64(p.Left), 0, 0, int64(p.Bottom), int64(p.Right)))
	if op.Mode == networks.PadZero && dtype == typeByte {
		inputs = append(inputs, e.zeroPoint(l.Inputs[0]))
	}
	e.node("Pad", l.Name, output, inputs, text("mode", mode))
}

// resize scales by a factor, which, unlike sizes, leaves the input's size free.
func (e *encoder) resize(l networks.Layer, inputs []string, output string, rows, columns float64, attrs ...*onnxpb.AttributeProto) {
	scales := e.floats(l.Name+".scales", []int{4}, []float32{1, 1, float32(rows), float32(columns)})
	e.node("Resize", l.Name, output, append(inputs, "", scales), attrs...)
}

func (e *encoder) pool(l networks.Layer, op networks.WindowPool, inputs []string, output string) {
	kind := "MaxPool"
	if op.Average {
		kind = "AveragePool"
	}
	if op.Global {
		e.node("Global"+kind, l.Name, output, inputs)
		return
	}
	rows, columns := op.Window()
	attrs := []*onnxpb.AttributeProto{list("kernel_shape", rows, columns), list("strides", op.Stride, op.Stride)}
	if op.Pad != (networks.Padding{}) {
		attrs = append(attrs, list("pads", op.Pad.Top, op.Pad.Left, op.Pad.Bottom, op.Pad.Right))
	}
	if op.Average && op.CountPad {
		attrs = append(attrs, integer("count_include_pad", 1))
	}
	e.node(kind, l.Name, output, inputs, attrs...)
}

// scaleAndShift appends output = scale·x + shift.
func (e *encoder) scaleAndShift(name, output, x string, shape []int, scale, shift []float32, dtype onnxpb.TensorProto_DataType) {
	x = e.node("Mul", name+".mul", name+".scaled", []string{x, e.constant(name+".scale", shape, scale, dtype)})
	e.node("Add", name+".add", output, []string{x, e.constant(name+".shift", shape, shift, dtype)})
}
