// Package onnx writes networks as ONNX models (https://onnx.ai), which ONNX
// Runtime and most other runtimes run without stylenet, and reads models of
// others as networks.
//
// It owns the translation of each kind of layer into ONNX operators, the border
// that lets a model take pictures of any size, what half precision and 8-bit
// integers mean for a network, and the compiling of a graph of operators to
// layers, which happens once: no graph is run. It refuses operators that no
// layer is made of, files by path, choosing what a model's metadata say, and
// running a network to find the ranges of its values.
package onnx

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"stylenet/internal/formats/onnx/onnxpb"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

// The opsets that Encode writes. MinOpset is of ONNX 1.12 (2022): old enough for
// every runtime in use, new enough for the start and end of Shape. No operator
// that networks need has changed its meaning up to MaxOpset.
const (
	MinOpset = 17
	MaxOpset = 28
)

const (
	// irVersion is that of MinOpset. Nothing of later ones is needed.
	irVersion = 8

	inputName  = "input"
	outputName = "output"
	mixName    = "mix"
	styleName  = "style"
)

// Precision is how a model holds weights and computes.
type Precision string

// The precisions.
const (
	Float32 Precision = "float32"
	// Float16 holds weights and feature maps in half precision. What sees the
	// picture before its first convolution, that convolution, every norm with
	// its statistics and the output's tanh stay in float32: a picture's
	// brightness is far larger than its contrast, and a norm takes it away.
	Float16 Precision = "float16"
	// Int8 has the convolutions multiply 8-bit integers, between the first and
	// the last of them. Everything else is float32.
	Int8 Precision = "int8"
)

// Options say how a network is written, and what a model says besides it.
type Options struct {
	// Doc describes the model to people.
	Doc string
	// Version of stylenet.
	Version string
	// Properties are written as metadata_props, in the order of their keys.
	Properties map[string]string

	// Multiple and Least are those of networks.Network: the model then takes
	// pictures of every size from 1×1 up and answers in the same size. It
	// repeats the picture's last row and column until both sides are a multiple
	// of Multiple and no smaller than Least, and cuts the answer's top left
	// corner. With Multiple 0 the network runs at the size that it is given.
	Multiple, Least int
	// Width and Height are the size of every picture, or both 0: free. Some
	// runtimes want to know it beforehand.
	Width, Height int
	// Bytes has the model take and give [batch, height, width, 3] of uint8: RGB
	// as image files have it. Values are rounded to the nearest, and those
	// outside 0 to 255 are set to 0 and 255.
	Bytes bool
	// Opset is MinOpset to MaxOpset; 0 is MinOpset.
	Opset int
	// Precision is Float32 where "".
	Precision Precision
	// Style names an instance norm that takes its scale and its shift from a
	// second picture, the input "style", or is "": they are the standard
	// deviation and the mean of each map that the layers before the norm make of
	// it (Huang and Belongie 2017). The norm's own are not written.
	Style string
	// Ranges are for Int8: those of the layers that Quantized lists.
	Ranges *Ranges
}

// Encode writes the network with its parameters as an ONNX model.
//
// The input is called "input" and the output "output". Unless the options say
// otherwise both are float32, [batch, channels, height, width], with batch,
// height and width free, and hold what the network itself takes and gives: for
// style networks RGB from 0 to 255, where the output is not clamped. Parameters are
// initialisers of their own names. Equal arguments give equal bytes.
//
// A network of many styles has a second input "mix": float32, [styles], a weight
// for each style, in their order. Those of a mix add up to 1. The scales of norms
// are tensors of shape [styles, channels] then, and so are their shifts. Int8 is
// for a network of one style.
//
// With Style the model has a second input "style", a batch of one picture or of as
// many as the first, of any size, in the form of the first. Int8 is for a network
// of one style here, too.
//
// The set may hold more tensors than the network uses. A missing tensor, one
// of the wrong shape, a value beyond the range of Float16 and a model beyond 2
// GiB, which protobuf cannot hold, are errors; nothing is then written.
func Encode(w io.Writer, net *networks.Network, set *weights.Set, o Options) error {
	m, err := build(net, set, o)
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

func build(net *networks.Network, set *weights.Set, o Options) (*onnxpb.ModelProto, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := net.Check(set, func(string) bool { return true }); err != nil {
		return nil, err
	}
	out, err := outputSize(net, o)
	if err != nil {
		return nil, err
	}
	styles := net.Styles()
	if o.Precision == Int8 && styles != nil {
		return nil, fmt.Errorf("precision %s takes the ranges of values, which depend on the mix of %d styles: mix the styles before", Int8, len(styles))
	}
	if err := o.checkStyle(net); err != nil {
		return nil, err
	}
	e, err := newEncoder(net, set, o)
	if err != nil {
		return nil, err
	}
	if err := e.network(); err != nil {
		return nil, err
	}
	e.graph.Input = []*onnxpb.ValueInfoProto{o.pictures(inputName, "", networks.Size{C: net.Channels, H: o.Height, W: o.Width})}
	if styles != nil {
		e.graph.Input = append(e.graph.Input, mixInput(styles))
	}
	if o.Style != "" {
		free := o
		free.Multiple = 0
		style := free.pictures(styleName, "style_", networks.Size{C: net.Channels})
		style.GetType().GetTensorType().GetShape().GetDim()[0].Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: "style_batch"}
		e.graph.Input = append(e.graph.Input, style)
	}
	e.graph.Output = []*onnxpb.ValueInfoProto{o.pictures(outputName, "output_", out)}
	opset := int64(max(o.Opset, MinOpset))
	m := &onnxpb.ModelProto{
		IrVersion:       proto.Int64(irVersion),
		OpsetImport:     []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: &opset}},
		ProducerName:    proto.String("stylenet"),
		ProducerVersion: &o.Version,
		DocString:       &o.Doc,
		Graph:           e.graph,
	}
	for _, key := range slices.Sorted(maps.Keys(o.Properties)) {
		m.MetadataProps = append(m.MetadataProps, &onnxpb.StringStringEntryProto{Key: &key, Value: proto.String(o.Properties[key])})
	}
	return m, nil
}

func (o Options) check() error {
	switch {
	case o.Multiple < 0 || o.Least < 0:
		return fmt.Errorf("multiple %d and least size %d must not be negative", o.Multiple, o.Least)
	case o.Width < 0 || o.Height < 0 || (o.Width == 0) != (o.Height == 0) || max(o.Width, o.Height) > maxSide:
		return fmt.Errorf("a size of %d×%d: give sides of 1 to %d, or 0 and 0 for any", o.Width, o.Height, maxSide)
	case o.Opset != 0 && (o.Opset < MinOpset || o.Opset > MaxOpset):
		return fmt.Errorf("opset %d is none of %d to %d", o.Opset, MinOpset, MaxOpset)
	}
	switch o.Precision {
	case "", Float32, Float16, Int8:
		return nil
	}
	return fmt.Errorf("precision %q is none of %s, %s, %s", o.Precision, Float32, Float16, Int8)
}

// checkStyle sees that the network has the norm of Style, and no other on the way
// to it.
func (o Options) checkStyle(net *networks.Network) error {
	if o.Style == "" {
		return nil
	}
	i, err := net.Find(o.Style)
	if err != nil {
		return err
	}
	if op, ok := net.Layers[i].Op.(networks.Norm); !ok || op.Batch {
		return fmt.Errorf("layer %s is no instance norm, and takes no style", o.Style)
	}
	if o.Precision == Int8 {
		return fmt.Errorf("precision %s takes the ranges of values, which depend on the style: give the network one before", Int8)
	}
	return nil
}

// mixInput describes the weights of styles.
func mixInput(styles []string) *onnxpb.ValueInfoProto {
	size := &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(len(styles))}}
	return &onnxpb.ValueInfoProto{
		Name:      proto.String(mixName),
		DocString: proto.String("weights of the styles, which add up to 1: " + strings.Join(styles, ", ")),
		Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{
			ElemType: proto.Int32(int32(typeSingle)),
			Shape:    &onnxpb.TensorShapeProto{Dim: []*onnxpb.TensorShapeProto_Dimension{size}},
		}}},
	}
}

// maxSide is the largest side of a picture whose size is fixed.
const maxSide = 1 << 16

// outputSize runs the sizes of a large picture through the network, or those of
// the pictures that it will get. It proves that the layers fit together and that
// a border can be cropped. Sides of 0 are free.
func outputSize(net *networks.Network, o Options) (networks.Size, error) {
	if len(net.Layers) == 0 {
		return networks.Size{}, errors.New("the network has no layers")
	}
	w, h := o.Width, o.Height
	free := w == 0
	if free {
		w, h = 1<<12, 1<<12
	}
	w, h = o.grown(w), o.grown(h)
	sizes, err := net.Sizes(h, w)
	if err != nil {
		return networks.Size{}, err
	}
	last := sizes[len(sizes)-1]
	if o.Multiple > 0 && (last.H != h || last.W != w) {
		return last, fmt.Errorf("a picture of %d×%d comes out as %d×%d: a network that does not keep the size of multiples of %d cannot take every size",
			w, h, last.W, last.H, o.Multiple)
	}
	switch {
	case free:
		last.H, last.W = 0, 0
	case o.Multiple > 0:
		last.H, last.W = o.Height, o.Width
	}
	return last, nil
}

// grown is a side with its border.
func (o Options) grown(side int) int {
	if o.Multiple == 0 {
		return side
	}
	return (max(side, o.Least) + o.Multiple - 1) / o.Multiple * o.Multiple
}

// pictures describes a batch of pictures or of feature maps. Sides that are free
// have names: those of an output differ from the input's unless it has its size.
func (o Options) pictures(name, prefix string, s networks.Size) *onnxpb.ValueInfoProto {
	if o.Multiple > 0 {
		prefix = ""
	}
	side := func(name string, n int) *onnxpb.TensorShapeProto_Dimension {
		if n > 0 {
			return &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(n)}}
		}
		return &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: name}}
	}
	batch, channels, height, width := side("batch", 0), side("", s.C), side(prefix+"height", s.H), side(prefix+"width", s.W)
	dims, dtype := []*onnxpb.TensorShapeProto_Dimension{batch, channels, height, width}, typeSingle
	if o.Bytes {
		dims, dtype = []*onnxpb.TensorShapeProto_Dimension{batch, height, width, channels}, typeByte
	}
	return &onnxpb.ValueInfoProto{
		Name: &name,
		Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{
			ElemType: proto.Int32(int32(dtype)),
			Shape:    &onnxpb.TensorShapeProto{Dim: dims},
		}}},
	}
}
