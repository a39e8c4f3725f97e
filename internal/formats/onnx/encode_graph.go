package onnx

import (
	"encoding/binary"

	"google.golang.org/protobuf/proto"

	"stylenet/internal/formats/floats"
	"stylenet/internal/formats/onnx/onnxpb"
)

// The types of a graph's values.
const (
	typeSingle = onnxpb.TensorProto_FLOAT
	typeHalf   = onnxpb.TensorProto_FLOAT16
	typeByte   = onnxpb.TensorProto_UINT8
)

// builder appends nodes and constants to a graph.
type builder struct {
	graph *onnxpb.GraphProto
	// prefix begins the names of nodes and their outputs, where layers are in a
	// graph for a second time. Constants are there once.
	prefix    string
	constants map[string]bool
}

// node appends a node of that name and returns its output. A layer's main node
// has the layer's name.
func (b *builder) node(op, name, output string, inputs []string, attrs ...*onnxpb.AttributeProto) string {
	name, output = b.prefix+name, b.prefix+output
	b.graph.Node = append(b.graph.Node, &onnxpb.NodeProto{
		OpType: &op, Name: &name, Input: inputs, Output: []string{output}, Attribute: attrs,
	})
	return output
}

// initializer adds a constant, of which ONNX wants the bytes little-endian, and
// returns its name.
func (b *builder) initializer(name string, shape []int, dtype onnxpb.TensorProto_DataType, raw []byte) string {
	if b.constants[name] {
		return name
	}
	b.constants[name] = true
	dims := make([]int64, len(shape))
	for i, d := range shape {
		dims[i] = int64(d)
	}
	b.graph.Initializer = append(b.graph.Initializer, &onnxpb.TensorProto{
		Name: &name, Dims: dims, DataType: proto.Int32(int32(dtype)), RawData: raw,
	})
	return name
}

// floats adds a constant of float32.
func (b *builder) floats(name string, shape []int, values []float32) string {
	return b.initializer(name, shape, typeSingle, floats.F32.Encode(nil, values))
}

// numbers adds a constant of integers.
func numbers[T int8 | uint8 | int32 | int64](b *builder, name string, shape []int, values []T) string {
	var dtype onnxpb.TensorProto_DataType
	switch any(values).(type) {
	case []int8:
		dtype = onnxpb.TensorProto_INT8
	case []uint8:
		dtype = onnxpb.TensorProto_UINT8
	case []int32:
		dtype = onnxpb.TensorProto_INT32
	default:
		dtype = onnxpb.TensorProto_INT64
	}
	raw, err := binary.Append(nil, binary.LittleEndian, values)
	if err != nil {
		panic(err) // these types have a size
	}
	return b.initializer(name, shape, dtype, raw)
}

// integers adds a constant vector, of sizes or indices.
func (b *builder) integers(name string, values ...int64) string {
	return numbers(b, name, []int{len(values)}, values)
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
