// Package onnx writes networks as ONNX models (https://onnx.ai), which ONNX
// Runtime and most other runtimes run without stylenet, and reads models of
// others as networks.
//
// It owns the translation of each kind of layer into ONNX operators, the border
// that lets a model take pictures of any size, and the compiling of a graph of
// operators to layers, which happens once: no graph is run. It refuses
// operators that no layer is made of, files by path, and choosing what a model's
// metadata say.
package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"stylenet/internal/formats/onnx/onnxpb"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

const (
	// opset 17 and IR version 8 are those of ONNX 1.12 (2022): old enough for
	// every runtime in use, new enough for the start and end of Shape.
	opset     = 17
	irVersion = 8

	inputName  = "input"
	outputName = "output"
)

// Meta is what a model says besides its network.
type Meta struct {
	// Doc describes the model to people.
	Doc string
	// Version of stylenet.
	Version string
	// Multiple and Least are those of networks.Network: the model then takes
	// pictures of every size from 1×1 up and answers in the same size. It
	// repeats the picture's last row and column until both sides are a multiple
	// of Multiple and no smaller than Least, and cuts the answer's top left
	// corner. With Multiple 0 the network runs at the size that it is given.
	Multiple, Least int
	// Properties are written as metadata_props, in the order of their keys.
	Properties map[string]string
}

// Encode writes the network with its parameters as an ONNX model of float32.
//
// The input is called "input" and the output "output"; both are [batch,
// channels, height, width] with batch, height and width free, and hold what
// the network itself takes and gives: for Johnson's networks RGB from 0 to
// 255, where the output is not clamped. Parameters are initialisers of their
// own names. Equal arguments give equal bytes.
//
// The set may hold more tensors than the network uses. A missing tensor, one
// of the wrong shape and a model beyond 2 GiB, which protobuf cannot hold,
// are errors; nothing is then written.
func Encode(w io.Writer, net *networks.Network, set *weights.Set, meta Meta) error {
	m, err := build(net, set, meta)
	if err != nil {
		return fmt.Errorf("onnx: %w", err)
	}
	if proto.Size(m) > math.MaxInt32 {
		return fmt.Errorf("onnx: the model has %d bytes, but a protobuf message holds at most 2 GiB: export safetensors", proto.Size(m))
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return fmt.Errorf("onnx: %w", err)
	}
	if _, err := w.Write(raw); err != nil {
		return fmt.Errorf("onnx: writing the model: %w", err)
	}
	return nil
}

func build(net *networks.Network, set *weights.Set, meta Meta) (*onnxpb.ModelProto, error) {
	if err := net.Check(set, func(string) bool { return true }); err != nil {
		return nil, err
	}
	channels, err := outputChannels(net, meta)
	if err != nil {
		return nil, err
	}
	b := &builder{graph: &onnxpb.GraphProto{Name: proto.String("network")}, border: meta.Multiple > 0}
	for _, p := range net.Params() {
		b.floats(p.Name, p.Shape, set.Get(p.Name).Data)
	}
	in, out := inputName, []string{"height", "width"}
	if b.border {
		in = b.addBorder(int64(meta.Multiple), int64(meta.Least))
	} else {
		out = []string{"output_height", "output_width"}
	}
	values := make([]string, len(net.Layers))
	for i, l := range net.Layers {
		inputs := make([]string, len(l.Inputs))
		for k, j := range l.Inputs {
			if j == networks.Input {
				inputs[k] = in
			} else {
				inputs[k] = values[j]
			}
		}
		values[i] = l.Name + "_output"
		if i == len(net.Layers)-1 && !b.border {
			values[i] = outputName
		}
		if err := b.layer(l, inputs, values[i]); err != nil {
			return nil, fmt.Errorf("layer %s: %w", l.Name, err)
		}
	}
	if b.border {
		b.cropBorder(values[len(values)-1])
	}
	b.graph.Input = []*onnxpb.ValueInfoProto{pictures(inputName, net.Channels, "height", "width")}
	b.graph.Output = []*onnxpb.ValueInfoProto{pictures(outputName, channels, out...)}
	m := &onnxpb.ModelProto{
		IrVersion:       proto.Int64(irVersion),
		OpsetImport:     []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(opset)}},
		ProducerName:    proto.String("stylenet"),
		ProducerVersion: &meta.Version,
		DocString:       &meta.Doc,
		Graph:           b.graph,
	}
	for _, key := range slices.Sorted(maps.Keys(meta.Properties)) {
		m.MetadataProps = append(m.MetadataProps, &onnxpb.StringStringEntryProto{Key: &key, Value: proto.String(meta.Properties[key])})
	}
	return m, nil
}

// outputChannels runs the sizes of a large picture through the network, which
// also proves that the layers fit together and that a border can be cropped.
func outputChannels(net *networks.Network, meta Meta) (int, error) {
	if len(net.Layers) == 0 {
		return 0, errors.New("the network has no layers")
	}
	if meta.Multiple < 0 || meta.Least < 0 {
		return 0, fmt.Errorf("multiple %d and least size %d must not be negative", meta.Multiple, meta.Least)
	}
	side := 1 << 12
	if meta.Multiple > 0 {
		side = (max(side, meta.Least) + meta.Multiple - 1) / meta.Multiple * meta.Multiple
	}
	sizes, err := net.Sizes(side, side)
	if err != nil {
		return 0, err
	}
	last := sizes[len(sizes)-1]
	if meta.Multiple > 0 && (last.H != side || last.W != side) {
		return 0, fmt.Errorf("a picture of %d×%d comes out as %d×%d: a network that does not keep the size of multiples of %d cannot take every size",
			side, side, last.W, last.H, meta.Multiple)
	}
	return last.C, nil
}

// pictures describes a batch of feature maps whose sides are free.
func pictures(name string, channels int, sides ...string) *onnxpb.ValueInfoProto {
	dims := []*onnxpb.TensorShapeProto_Dimension{
		{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: "batch"}},
		{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(channels)}},
	}
	for _, side := range sides {
		dims = append(dims, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: side}})
	}
	return &onnxpb.ValueInfoProto{
		Name: &name,
		Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{
			ElemType: proto.Int32(int32(onnxpb.TensorProto_FLOAT)),
			Shape:    &onnxpb.TensorShapeProto{Dim: dims},
		}}},
	}
}

// builder appends nodes and constants to a graph.
type builder struct {
	graph  *onnxpb.GraphProto
	border bool
}

// node appends a node of that name. A layer's main node has the layer's name.
func (b *builder) node(op, name, output string, inputs []string, attrs ...*onnxpb.AttributeProto) string {
	b.graph.Node = append(b.graph.Node, &onnxpb.NodeProto{
		OpType: &op, Name: &name, Input: inputs, Output: []string{output}, Attribute: attrs,
	})
	return output
}

func (b *builder) initializer(name string, shape []int, dtype onnxpb.TensorProto_DataType, raw []byte) string {
	dims := make([]int64, len(shape))
	for i, d := range shape {
		dims[i] = int64(d)
	}
	b.graph.Initializer = append(b.graph.Initializer, &onnxpb.TensorProto{
		Name: &name, Dims: dims, DataType: proto.Int32(int32(dtype)), RawData: raw,
	})
	return name
}

// floats adds a constant and returns its name. ONNX wants little-endian.
func (b *builder) floats(name string, shape []int, values []float32) string {
	raw := make([]byte, 0, 4*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return b.initializer(name, shape, onnxpb.TensorProto_FLOAT, raw)
}

// integers adds a constant vector and returns its name.
func (b *builder) integers(name string, values ...int64) string {
	raw := make([]byte, 0, 8*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
	}
	return b.initializer(name, []int{len(values)}, onnxpb.TensorProto_INT64, raw)
}

func integer(name string, value int) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(int64(value))}
}

func list(name string, values ...int) *onnxpb.AttributeProto {
	a := &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INTS.Enum()}
	for _, v := range values {
		a.Ints = append(a.Ints, int64(v))
	}
	return a
}

func text(name, value string) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_STRING.Enum(), S: []byte(value)}
}

func float(name string, value float32) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_FLOAT.Enum(), F: &value}
}

// layer appends the nodes of one layer, from its inputs to output.
func (b *builder) layer(l networks.Layer, inputs []string, output string) error {
	parameters := func(suffixes ...string) []string {
		names := slices.Clone(inputs)
		for _, s := range suffixes {
			names = append(names, l.Name+"."+s)
		}
		return names
	}
	kernel := func(noBias bool) []string {
		if noBias {
			return parameters("weight")
		}
		return parameters("weight", "bias")
	}
	switch op := l.Op.(type) {
	case networks.Conv:
		p := op.Pad
		b.node("Conv", l.Name, output, kernel(op.NoBias),
			list("kernel_shape", op.Kernel, op.Kernel), list("strides", op.Stride, op.Stride),
			list("pads", p.Top, p.Left, p.Bottom, p.Right))
	case networks.ConvTranspose:
		b.node("ConvTranspose", l.Name, output, kernel(op.NoBias),
			list("kernel_shape", op.Kernel, op.Kernel), list("strides", op.Stride, op.Stride),
			list("pads", op.Pad, op.Pad, op.Pad, op.Pad), list("output_padding", op.OutputPad, op.OutputPad))
	case networks.Norm:
		if op.Batch {
			b.node("BatchNormalization", l.Name, output, parameters("weight", "bias", "running_mean", "running_var"), float("epsilon", op.Eps))
		} else {
			b.node("InstanceNormalization", l.Name, output, parameters("weight", "bias"), float("epsilon", op.Eps))
		}
	case networks.ReLU:
		b.node("Relu", l.Name, output, inputs)
	case networks.Tanh:
		x := b.node("Tanh", l.Name, l.Name+".tanh", inputs)
		b.scaleAndShift(l.Name, output, x, nil, []float32{op.Scale}, []float32{op.Offset})
	case networks.Affine:
		b.scaleAndShift(l.Name, output, inputs[0], []int{len(op.Scale), 1, 1}, op.Scale, op.Shift)
	case networks.Add:
		b.node("Add", l.Name, output, inputs)
	case networks.Pad:
		mode, ok := map[networks.PadMode]string{
			networks.PadZero: "constant", networks.PadReflect: "reflect", networks.PadEdge: "edge",
		}[op.Mode]
		if !ok {
			return fmt.Errorf("unknown padding mode %q", op.Mode)
		}
		// Negative amounts crop here too. The order is that of N, C, H, W:
		// all beginnings, then all ends.
		p := op.Padding
		pads := b.integers(l.Name+".pads", 0, 0, int64(p.Top), int64(p.Left), 0, 0, int64(p.Bottom), int64(p.Right))
		b.node("Pad", l.Name, output, append(inputs, pads), text("mode", mode))
	case networks.Upsample:
		// Scales, unlike sizes, leave the input's size free. Asymmetric and
		// floor together repeat each pixel exactly Factor times.
		scales := b.floats(l.Name+".scales", []int{4}, []float32{1, 1, float32(op.Factor), float32(op.Factor)})
		b.node("Resize", l.Name, output, append(inputs, "", scales), text("mode", "nearest"),
			text("coordinate_transformation_mode", "asymmetric"), text("nearest_mode", "floor"))
	case networks.Pool:
		kind := "MaxPool"
		if op.Average {
			kind = "AveragePool"
		}
		b.node(kind, l.Name, output, inputs, list("kernel_shape", 2, 2), list("strides", 2, 2))
	default:
		return fmt.Errorf("%T has no ONNX form", l.Op)
	}
	return nil
}

// scaleAndShift appends output = scale·x + shift.
func (b *builder) scaleAndShift(name, output, x string, shape []int, scale, shift []float32) {
	x = b.node("Mul", name+".mul", name+".scaled", []string{x, b.floats(name+".scale", shape, scale)})
	b.node("Add", name+".add", output, []string{x, b.floats(name+".shift", shape, shift)})
}

// addBorder repeats the last row and column until both sides are a multiple
// of multiple and at least least. It returns the name of the larger picture.
func (b *builder) addBorder(multiple, least int64) string {
	const name = "border."
	size := b.node("Shape", name+"shape", name+"size", []string{inputName}, integer("start", 2), integer("end", 4))
	up := b.node("Add", name+"add", name+"up", []string{size, b.integers(name+"rest", multiple-1)})
	factor := b.integers(name+"multiple", multiple)
	up = b.node("Div", name+"div", name+"multiples", []string{up, factor})
	up = b.node("Mul", name+"mul", name+"rounded", []string{up, factor})
	up = b.node("Max", name+"max", name+"padded_size", []string{up, b.integers(name+"least", least)})
	ends := b.node("Sub", name+"sub", name+"missing", []string{up, size})
	pads := b.node("Concat", name+"concat", name+"pads", []string{b.integers(name+"zeros", 0, 0, 0, 0, 0, 0), ends}, integer("axis", 0))
	return b.node("Pad", name+"pad", name+"padded", []string{inputName, pads}, text("mode", "edge"))
}

// cropBorder cuts the answer back to the input's size.
func (b *builder) cropBorder(x string) {
	const name = "border."
	b.node("Slice", name+"slice", outputName,
		[]string{x, b.integers(name+"starts", 0, 0), name + "size", b.integers(name+"axes", 2, 3)})
}
