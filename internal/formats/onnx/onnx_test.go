package onnx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"stylenet/internal/formats/onnx/onnxpb"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

// encode writes and parses back.
func encode(t *testing.T, net *networks.Network, set *weights.Set, o Options) *onnxpb.ModelProto {
	t.Helper()
	var out bytes.Buffer
	if err := Encode(&out, net, set, o); err != nil {
		t.Fatal(err)
	}
	m := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(out.Bytes(), m); err != nil {
		t.Fatal(err)
	}
	return m
}

func node(t *testing.T, m *onnxpb.ModelProto, name string) *onnxpb.NodeProto {
	t.Helper()
	for _, n := range m.Graph.Node {
		if n.GetName() == name {
			return n
		}
	}
	t.Fatalf("no node %q", name)
	return nil
}

func attribute(n *onnxpb.NodeProto, name string) *onnxpb.AttributeProto {
	for _, a := range n.Attribute {
		if a.GetName() == name {
			return a
		}
	}
	return nil
}

func initializer(t *testing.T, m *onnxpb.ModelProto, name string) *onnxpb.TensorProto {
	t.Helper()
	for _, i := range m.Graph.Initializer {
		if i.GetName() == name {
			return i
		}
	}
	t.Fatalf("no initialiser %q", name)
	return nil
}

func buildSmall(t *testing.T, name string) (*networks.Network, *weights.Set) {
	t.Helper()
	net, err := johnsons()[name].Build()
	if err != nil {
		t.Fatal(err)
	}
	return net, randomWeights(t, net)
}

func TestHeader(t *testing.T) {
	net, set := buildSmall(t, "reflect")
	m := encode(t, net, set, Options{
		Doc: "what it is", Version: "1.2", Multiple: 4, Least: 20,
		Properties: map[string]string{"z": "last", "a": "first", "m": "é"},
	})
	if m.GetIrVersion() != 8 || len(m.OpsetImport) != 1 || m.OpsetImport[0].GetDomain() != "" || m.OpsetImport[0].GetVersion() != 17 {
		t.Errorf("IR version %d, opsets %v", m.GetIrVersion(), m.OpsetImport)
	}
	if m.GetProducerName() != "stylenet" || m.GetProducerVersion() != "1.2" || m.GetDocString() != "what it is" || m.Graph.GetName() != "network" {
		t.Errorf("producer %q %q, doc %q, graph %q", m.GetProducerName(), m.GetProducerVersion(), m.GetDocString(), m.Graph.GetName())
	}
	var properties []string
	for _, p := range m.MetadataProps {
		properties = append(properties, p.GetKey()+"="+p.GetValue())
	}
	if want := []string{"a=first", "m=é", "z=last"}; !slices.Equal(properties, want) {
		t.Errorf("metadata_props %q, want %q", properties, want)
	}
	for _, v := range []*onnxpb.ValueInfoProto{m.Graph.Input[0], m.Graph.Output[0]} {
		dims := v.GetType().GetTensorType().GetShape().Dim
		if v.GetType().GetTensorType().GetElemType() != int32(onnxpb.TensorProto_FLOAT) || len(dims) != 4 ||
			dims[0].GetDimParam() != "batch" || dims[1].GetDimValue() != 3 || dims[2].GetDimParam() != "height" || dims[3].GetDimParam() != "width" {
			t.Errorf("%s is %v", v.GetName(), v.GetType())
		}
	}
}

// Every parameter is an initialiser of its name, shape and bytes, and the
// graph holds no other floats than the scales of the upsamplings.
func TestInitializers(t *testing.T) {
	net, set := buildSmall(t, "reflect")
	m := encode(t, net, set, Options{Multiple: 4})
	for _, p := range net.Params() {
		i := initializer(t, m, p.Name)
		want, err := binary.Append(nil, binary.LittleEndian, set.Get(p.Name).Data)
		if err != nil {
			t.Fatal(err)
		}
		var shape []int
		for _, d := range i.Dims {
			shape = append(shape, int(d))
		}
		if !slices.Equal(shape, p.Shape) || !bytes.Equal(i.RawData, want) || i.GetDataType() != int32(onnxpb.TensorProto_FLOAT) {
			t.Errorf("%s: shape %v, %d bytes, type %d", p.Name, shape, len(i.RawData), i.GetDataType())
		}
	}
	floats := 0
	for _, i := range m.Graph.Initializer {
		if i.GetDataType() == int32(onnxpb.TensorProto_FLOAT) {
			floats++
		}
	}
	if want := len(net.Params()) + 2; floats != want {
		t.Errorf("%d float initialisers, want %d", floats, want)
	}
}

func TestNodes(t *testing.T) {
	net, set := buildSmall(t, "reflect")
	m := encode(t, net, set, Options{Multiple: 4, Least: 20})
	conv := node(t, m, "conv2.conv2d")
	if !slices.Equal(conv.Input, []string{"conv2.pad_output", "conv2.conv2d.weight", "conv2.conv2d.bias"}) ||
		!slices.Equal(attribute(conv, "strides").Ints, []int64{2, 2}) || !slices.Equal(attribute(conv, "pads").Ints, []int64{0, 0, 0, 0}) ||
		!slices.Equal(attribute(conv, "kernel_shape").Ints, []int64{3, 3}) {
		t.Errorf("conv2 is %v", conv)
	}
	norm := node(t, m, "in1")
	if norm.GetOpType() != "InstanceNormalization" || attribute(norm, "epsilon").GetF() != 1e-5 ||
		!slices.Equal(norm.Input, []string{"conv1.conv2d_output", "in1.weight", "in1.bias"}) {
		t.Errorf("in1 is %v", norm)
	}
	sum := node(t, m, "res1")
	if sum.GetOpType() != "Add" || !slices.Equal(sum.Input, []string{"res1.in2_output", "in3.relu_output"}) {
		t.Errorf("res1 is %v", sum)
	}
	up := node(t, m, "deconv1.upsample")
	if up.GetOpType() != "Resize" || !slices.Equal(up.Input, []string{"res1_output", "", "deconv1.upsample.scales"}) ||
		string(attribute(up, "mode").S) != "nearest" || string(attribute(up, "nearest_mode").S) != "floor" ||
		string(attribute(up, "coordinate_transformation_mode").S) != "asymmetric" {
		t.Errorf("deconv1.upsample is %v", up)
	}
	pad := node(t, m, "conv1.pad")
	if string(attribute(pad, "mode").S) != "reflect" || pad.Input[0] != "border.padded" {
		t.Errorf("conv1.pad is %v", pad)
	}
	if got := integers(t, m, "conv1.pad.pads"); !slices.Equal(got, []int64{0, 0, 4, 4, 0, 0, 4, 4}) {
		t.Errorf("conv1.pad.pads is %v", got)
	}
	for name, want := range map[string][]int64{"border.rest": {3}, "border.multiple": {4}, "border.least": {20}} {
		if got := integers(t, m, name); !slices.Equal(got, want) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	last := m.Graph.Node[len(m.Graph.Node)-1]
	if last.GetOpType() != "Slice" || last.Input[0] != "deconv3.conv2d_output" || last.Input[2] != "border.size" || last.Output[0] != "output" {
		t.Errorf("the last node is %v", last)
	}

	net, set = buildSmall(t, "start")
	m = encode(t, net, set, Options{})
	transposed := node(t, m, "deconv1.conv2d")
	if transposed.GetOpType() != "ConvTranspose" || !slices.Equal(attribute(transposed, "pads").Ints, []int64{1, 1, 1, 1}) ||
		!slices.Equal(attribute(transposed, "output_padding").Ints, []int64{1, 1}) || !slices.Equal(attribute(transposed, "strides").Ints, []int64{2, 2}) {
		t.Errorf("deconv1 is %v", transposed)
	}
	if got := integers(t, m, "res1.crop.pads"); !slices.Equal(got, []int64{0, 0, -2, -2, 0, 0, -2, -2}) {
		t.Errorf("res1.crop.pads is %v", got)
	}
	for name, want := range map[string]float32{"output.scale": 150, "output.shift": 127.5} {
		i := initializer(t, m, name)
		if got := math.Float32frombits(binary.LittleEndian.Uint32(i.RawData)); len(i.Dims) != 0 || got != want {
			t.Errorf("%s is %v of shape %v, want %v", name, got, i.Dims, want)
		}
	}
	if got := m.Graph.Node[len(m.Graph.Node)-1].Output[0]; got != "output" {
		t.Errorf("the last node gives %q", got)
	}
	if d := m.Graph.Output[0].GetType().GetTensorType().GetShape().Dim[2].GetDimParam(); d != "output_height" {
		t.Errorf("without a border the output's rows are called %q, as if they were the input's", d)
	}

	net, set = buildSmall(t, "zero")
	norm = node(t, encode(t, net, set, Options{}), "bn1")
	if norm.GetOpType() != "BatchNormalization" || !slices.Equal(norm.Input[1:], []string{"bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"}) {
		t.Errorf("bn1 is %v", norm)
	}
}

func integers(t *testing.T, m *onnxpb.ModelProto, name string) []int64 {
	t.Helper()
	i := initializer(t, m, name)
	values := make([]int64, len(i.RawData)/8)
	if _, err := binary.Decode(i.RawData, binary.LittleEndian, values); err != nil || i.GetDataType() != int32(onnxpb.TensorProto_INT64) {
		t.Fatalf("%s: type %d, %v", name, i.GetDataType(), err)
	}
	return values
}

// ONNX wants every value to be defined once and before its use.
func TestValuesAreDefinedOnceBeforeUse(t *testing.T) {
	for name := range johnsons() {
		net, set := buildSmall(t, name)
		for _, o := range []Options{
			{}, {Multiple: 4}, {Multiple: 4, Bytes: true}, {Multiple: 4, Width: 17, Height: 30, Bytes: true}, {Multiple: 4, Width: 64, Height: 64},
			{Multiple: 4, Precision: Float16}, {Precision: Float16, Bytes: true},
		} {
			definedOnce(t, name, encode(t, net, set, o))
		}
		if maps, _ := Quantized(net); len(maps) > 0 {
			definedOnce(t, name, encode(t, net, set, Options{Multiple: 4, Precision: Int8, Ranges: someRanges(net)}))
		}
	}
	net := operators()
	definedOnce(t, "operators", encode(t, net, randomWeights(t, net), Options{}))
}

// someRanges gives all values the same range, which is not that of a picture.
func someRanges(net *networks.Network) *Ranges {
	r := &Ranges{map[int]Range{}, map[int][]Range{}}
	maps, channels := Quantized(net)
	for _, i := range maps {
		r.Maps[i] = Range{-1, 3}
	}
	for _, i := range channels {
		for c := range net.Layers[i].Op.(networks.Conv).Out {
			r.Channels[i] = append(r.Channels[i], Range{-1 - float32(c), 1})
		}
	}
	return r
}

func definedOnce(t *testing.T, name string, m *onnxpb.ModelProto) {
	t.Helper()
	known := map[string]bool{"": true}
	for _, i := range m.Graph.Input {
		known[i.GetName()] = true
	}
	define := func(value string) {
		if known[value] {
			t.Errorf("%s: %q is defined twice", name, value)
		}
		known[value] = true
	}
	for _, i := range m.Graph.Initializer {
		define(i.GetName())
	}
	nodes := map[string]bool{}
	for _, n := range m.Graph.Node {
		for _, in := range n.Input {
			if !known[in] {
				t.Errorf("%s: node %s reads %q before it is defined", name, n.GetName(), in)
			}
		}
		define(n.Output[0])
		if nodes[n.GetName()] {
			t.Errorf("%s: two nodes %q", name, n.GetName())
		}
		nodes[n.GetName()] = true
	}
	if !known["output"] {
		t.Errorf("%s: no output", name)
	}
}

// manyStyles is a small network of three styles, with weights.
func manyStyles(t *testing.T) (*networks.Network, *weights.Set) {
	t.Helper()
	net, err := networks.MultiStyle{Johnson: johnsons()["reflect"], Styles: []string{"a", "b", "c"}}.Build()
	if err != nil {
		t.Fatal(err)
	}
	return net, randomWeights(t, net)
}

// A network of many styles takes their weights, and holds all scales of a norm as
// one table.
func TestManyStyles(t *testing.T) {
	net, set := manyStyles(t)
	for _, o := range []Options{{}, {Multiple: 4, Bytes: true, Precision: Float16}, {Multiple: 4, Width: 17, Height: 30}} {
		m := encode(t, net, set, o)
		definedOnce(t, "styles", m)
		mix := m.Graph.Input[len(m.Graph.Input)-1]
		kind := mix.GetType().GetTensorType()
		if len(m.Graph.Input) != 2 || mix.GetName() != "mix" || kind.GetElemType() != int32(onnxpb.TensorProto_FLOAT) ||
			len(kind.Shape.Dim) != 1 || kind.Shape.Dim[0].GetDimValue() != 3 || !strings.HasSuffix(mix.GetDocString(), ": a, b, c") {
			t.Errorf("inputs %v", m.Graph.Input)
		}
		table := initializer(t, m, "res1.in2.bias")
		if !slices.Equal(table.Dims, []int64{3, 8}) {
			t.Errorf("shape %v", table.Dims)
		}
		want := slices.Concat(set.Get("res1.in2.a.bias").Data, set.Get("res1.in2.b.bias").Data, set.Get("res1.in2.c.bias").Data)
		if got := singles(t, m, "res1.in2.bias"); !slices.Equal(got, want) {
			t.Errorf("a table of %v, want %v", got, want)
		}
	}
	// What is read is a network of one input.
	if _, err := decode(t, marshal(t, encode(t, net, set, Options{}))); err == nil || !strings.Contains(err.Error(), `it takes 2 inputs, ["input" "mix"]`) {
		t.Errorf("read back: %v", err)
	}
}

func TestDeterministic(t *testing.T) {
	net, set := buildSmall(t, "start")
	o := Options{Multiple: 2, Least: 4, Properties: map[string]string{"a": "1", "b": "2", "c": "3", "d": "4", "e": "5"}}
	var first bytes.Buffer
	if err := Encode(&first, net, set, o); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		var again bytes.Buffer
		if err := Encode(&again, net, set.Clone(), o); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first.Bytes(), again.Bytes()) {
			t.Fatal("equal arguments gave different bytes")
		}
	}
}

type failingWriter struct{}

var errDisk = errors.New("disk full")

func (failingWriter) Write([]byte) (int, error) { return 0, errDisk }

func TestErrors(t *testing.T) {
	net, set := buildSmall(t, "reflect")
	if err := Encode(failingWriter{}, net, set, Options{}); !errors.Is(err, errDisk) {
		t.Errorf("a failing writer gives %v", err)
	}
	many, styles := manyStyles(t)
	one := func(op networks.Op) *networks.Network {
		return &networks.Network{Channels: 3, Layers: []networks.Layer{{Name: "only", Op: op, Inputs: []int{networks.Input}}}}
	}
	for _, c := range []struct {
		net  *networks.Network
		set  *weights.Set
		o    Options
		want string
	}{
		{net, &weights.Set{}, Options{}, `onnx: tensor "conv1.conv2d.weight" is missing`},
		{&networks.Network{Channels: 3}, &weights.Set{}, Options{}, "onnx: the network has no layers"},
		{net, set, Options{Multiple: -1}, "must not be negative"},
		{net, set, Options{Width: 3}, "a size of 3×0"},
		{net, set, Options{Width: -3, Height: -3}, "a size of -3×-3"},
		{net, set, Options{Width: 2, Height: 2}, "onnx: layer conv1.pad: a map of 2×2 is too small"},
		{net, set, Options{Opset: 16}, "opset 16 is none of 17 to 28"},
		{net, set, Options{Opset: 29}, "opset 29 is none of 17 to 28"},
		{net, set, Options{Precision: "bf16"}, `precision "bf16" is none of float32, float16, int8`},
		{net, set, Options{Precision: Int8}, "int8 needs the ranges of the network's values"},
		{net, set, Options{Precision: Int8, Ranges: &Ranges{}}, "layer in1.relu: its range is"},
		{many, styles, Options{Precision: Int8, Ranges: &Ranges{}}, "depend on the mix of 3 styles: mix the styles before"},
		{one(networks.Upsample{Factor: 2}), &weights.Set{}, Options{Multiple: 4}, "a picture of 4096×4096 comes out as 8192×8192"},
		{one(networks.Pad{Mode: "mirror"}), &weights.Set{}, Options{}, `onnx: layer only: unknown padding mode "mirror"`},
	} {
		var out bytes.Buffer
		err := Encode(&out, c.net, c.set, c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
		if out.Len() > 0 {
			t.Errorf("%q: %d bytes were written", c.want, out.Len())
		}
	}
}

// The set may be that of a larger network: VGG-19's first layers are exported
// with the weights of all.
func TestLargerSet(t *testing.T) {
	large, err := networks.VGG19("relu2_1", networks.Caffe, false)
	if err != nil {
		t.Fatal(err)
	}
	small, err := networks.VGG19("relu1_1", networks.Caffe, false)
	if err != nil {
		t.Fatal(err)
	}
	m := encode(t, small, randomWeights(t, large), Options{})
	if len(m.Graph.Initializer) != 4 { // weight, bias, and normalize's two
		t.Errorf("%d initialisers, want 4", len(m.Graph.Initializer))
	}
	if got := m.Graph.Output[0].GetType().GetTensorType().GetShape().Dim[1].GetDimValue(); got != 64 {
		t.Errorf("%d output channels, want 64", got)
	}
}
