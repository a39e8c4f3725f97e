package onnx

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"stylenet/internal/formats/floats"
	"stylenet/internal/formats/onnx/onnxpb"
	"stylenet/internal/networks"
)

// types are those of all values of a graph whose operators change none but by
// Cast, QuantizeLinear and DequantizeLinear.
func types(t *testing.T, m *onnxpb.ModelProto) map[string]onnxpb.TensorProto_DataType {
	t.Helper()
	of := map[string]onnxpb.TensorProto_DataType{"input": onnxpb.TensorProto_DataType(m.Graph.Input[0].GetType().GetTensorType().GetElemType())}
	for _, i := range m.Graph.Initializer {
		of[i.GetName()] = onnxpb.TensorProto_DataType(i.GetDataType())
	}
	for _, n := range m.Graph.Node {
		out := of[n.Input[0]]
		switch n.GetOpType() {
		case "Cast":
			out = onnxpb.TensorProto_DataType(attribute(n, "to").GetI())
		case "QuantizeLinear":
			out = of[n.Input[2]]
		case "DequantizeLinear":
			out = of[n.Input[1]]
		case "Shape":
			out = onnxpb.TensorProto_INT64
		}
		of[n.Output[0]] = out
	}
	return of
}

// Half precision is for what the norms have made of the picture. Norms take
// float32.
func TestFloat16(t *testing.T) {
	net, set := buildSmall(t, "reflect")
	m := encode(t, net, set, Options{Multiple: 4, Precision: Float16})
	of := types(t, m)
	for _, n := range m.Graph.Node {
		want := typeHalf
		switch {
		case n.GetOpType() == "InstanceNormalization", strings.HasPrefix(n.GetName(), "conv1."), strings.HasPrefix(n.GetName(), "border."):
			want = typeSingle
		case n.GetOpType() == "Cast", n.GetOpType() == "Resize":
			continue // a Resize's scales are always float32
		}
		if n.GetName() == "border.shape" || of[n.Output[0]] == onnxpb.TensorProto_INT64 {
			continue
		}
		for k, in := range n.Input {
			if got := of[in]; got != want && got != onnxpb.TensorProto_INT64 {
				t.Errorf("%s reads %s, its input %d, of %v, want %v", n.GetName(), in, k, got, want)
			}
		}
	}
	if of["output"] != typeSingle {
		t.Errorf("the output is of %v", of["output"])
	}
	weight := initializer(t, m, "conv2.conv2d.weight")
	if got, want := len(weight.RawData), 2*len(set.Get("conv2.conv2d.weight").Data); got != want {
		t.Errorf("conv2.conv2d.weight has %d bytes, want %d", got, want)
	}
	set.Get("deconv3.conv2d.weight").Data[3] = 65520
	err := Encode(&strings.Builder{}, net, set, Options{Precision: Float16})
	if want := `onnx: tensor "deconv3.conv2d.weight": the value 65520 is beyond the range of float16: write float32`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Weights are scaled down where their results could leave the range of half
// precision and a norm undoes it, and nowhere else.
func TestFloat16Scales(t *testing.T) {
	conv := networks.Conv{In: 3, Out: 3, Kernel: 1, Stride: 1}
	net := &networks.Network{Channels: 3, Layers: []networks.Layer{
		{Name: "first", Op: conv, Inputs: []int{networks.Input}},
		{Name: "normed", Op: conv, Inputs: []int{0}},
		{Name: "norm", Op: networks.Norm{Channels: 3, Eps: 1e-5}, Inputs: []int{1}},
		{Name: "relu", Op: networks.ReLU{}, Inputs: []int{2}},
		{Name: "again", Op: networks.Norm{Channels: 3, Eps: 1e-5}, Inputs: []int{3}},
		{Name: "up", Op: networks.ConvTranspose{In: 3, Out: 3, Kernel: 1, Stride: 1}, Inputs: []int{4}},
		{Name: "upped", Op: networks.Norm{Channels: 3, Eps: 1e-5}, Inputs: []int{5}},
		{Name: "last", Op: conv, Inputs: []int{6}},
	}}
	set := randomWeights(t, net)
	for _, name := range []string{"first", "normed", "up", "last"} {
		copy(set.Get(name+".weight").Data, []float32{1000, -500, 500, 1, 1, 1, 0, 0, 0}) // 2000 in channel 0
	}
	copy(set.Get("up.weight").Data, []float32{100, 3000, 0, 100, -1000, 0, 100, 96, 0}) // 4096 in channel 1
	m := encode(t, net, set, Options{Precision: Float16})
	for name, scale := range map[string]float32{"first": 1, "normed": 1. / 4, "up": 1. / 8, "last": 1} {
		raw := initializer(t, m, name+".weight")
		got := make([]float32, 9)
		if raw.GetDataType() == int32(typeHalf) {
			floats.F16.Decode(got, raw.RawData)
		} else {
			floats.F32.Decode(got, raw.RawData)
		}
		if want := set.Get(name + ".weight").Data[0] * scale; got[0] != want {
			t.Errorf("%s begins with %g, want %g", name, got[0], want)
		}
	}
	for name, want := range map[string]float64{"norm": 1e-5 / 16, "again": 1e-5, "upped": 1e-5 / 64} {
		if got := float64(attribute(node(t, m, name), "epsilon").GetF()); math.Abs(got/want-1) > 1e-5 {
			t.Errorf("ε of %s is %g, want %g", name, got, want)
		}
	}
}

func TestInt8(t *testing.T) {
	net, set := buildSmall(t, "reflect")
	m := encode(t, net, set, Options{Multiple: 4, Precision: Int8, Ranges: someRanges(net)})
	of := types(t, m)
	for _, l := range net.Layers {
		if _, ok := l.Op.(networks.Conv); !ok {
			continue
		}
		conv := node(t, m, l.Name)
		exact := l.Name == "conv1.conv2d" || l.Name == "deconv3.conv2d"
		from := []string{"", "", ""}
		for _, n := range m.Graph.Node {
			if k := slices.Index(conv.Input, n.Output[0]); k >= 0 && n.GetOpType() == "DequantizeLinear" {
				from[k] = of[n.Input[0]].String()
			}
		}
		if want := []string{"UINT8", "INT8", "INT32"}; !slices.Equal(from, want) && !exact {
			t.Errorf("%s reads %v, want %v", l.Name, from, want)
		} else if exact && from[0]+from[1]+from[2] != "" {
			t.Errorf("%s reads %v, want floats", l.Name, from)
		}
	}
	// The border is made of bytes.
	if got := of[node(t, m, "conv2.pad").Output[0]]; got != typeByte {
		t.Errorf("conv2.pad gives %v", got)
	}
	// A range of −1 to 3 in 255 steps, with zero on one of them.
	if q, z := single(t, m, "in1.relu.quantum"), initializer(t, m, "in1.relu.zero").RawData[0]; q != 4./255 || z != 64 {
		t.Errorf("quantum %g, zero point %d", q, z)
	}
	// Every channel's weights reach 127, and together with their quanta are the
	// weights divided by half of the range: 1, 1.5, 2 …
	w, raw := set.Get("conv2.conv2d.weight"), initializer(t, m, "conv2.conv2d.weight").RawData
	quanta := singles(t, m, "conv2.conv2d.weight.quanta")
	biases := make([]int32, 6)
	if _, err := binary.Decode(initializer(t, m, "conv2.conv2d.bias").RawData, binary.LittleEndian, biases); err != nil {
		t.Fatal(err)
	}
	for c := range 6 {
		half, mid := (2+float32(c))/2, -float32(c)/2
		per, largest := len(w.Data)/6, 0
		for k := range per {
			q := int(int8(raw[c*per+k]))
			largest = max(largest, q, -q)
			if off := math.Abs(float64(float32(q)*quanta[c]*half - w.Data[c*per+k])); off > float64(quanta[c]*half)*.5001 {
				t.Errorf("channel %d: weight %d is %g off", c, k, off)
			}
		}
		if largest != 127 {
			t.Errorf("channel %d reaches %d", c, largest)
		}
		step := quanta[c] * 4 / 255
		if got, want := float32(biases[c])*step, (set.Get("conv2.conv2d.bias").Data[c]-mid)/half; math.Abs(float64(got-want)) > float64(step) {
			t.Errorf("channel %d: bias %g, want %g", c, got, want)
		}
	}
	// ε by the geometric mean of those halves' squares.
	want := 1e-5 * math.Pow(1*1.5*2*2.5*3*3.5, -2./6)
	if got := float64(attribute(node(t, m, "in2"), "epsilon").GetF()); math.Abs(got/want-1) > 1e-5 {
		t.Errorf("ε is %g, want %g", got, want)
	}
	if got := attribute(node(t, m, "in1"), "epsilon").GetF(); got != 1e-5 {
		t.Errorf("ε of the first norm is %g", got)
	}

	small := &networks.Network{Channels: 3, Layers: []networks.Layer{{Name: "only", Op: networks.Conv{In: 3, Out: 3, Kernel: 1, Stride: 1}, Inputs: []int{networks.Input}}}}
	err := Encode(&strings.Builder{}, small, randomWeights(t, small), Options{Precision: Int8})
	if err == nil || !strings.Contains(err.Error(), "no convolution between its first and its last") {
		t.Errorf("a network of one convolution: %v", err)
	}
}

// A border of zeros is one of the zero's byte.
func TestInt8ZeroBorder(t *testing.T) {
	conv := networks.Conv{In: 3, Out: 3, Kernel: 1, Stride: 1}
	net := &networks.Network{Channels: 3, Layers: []networks.Layer{
		{Name: "a", Op: conv, Inputs: []int{networks.Input}},
		{Name: "pad", Op: networks.Pad{Mode: networks.PadZero, Padding: networks.Same(1)}, Inputs: []int{0}},
		{Name: "b", Op: conv, Inputs: []int{1}},
		{Name: "c", Op: conv, Inputs: []int{2}},
	}}
	m := encode(t, net, randomWeights(t, net), Options{Precision: Int8, Ranges: someRanges(net)})
	if in := node(t, m, "pad").Input; len(in) != 3 || in[2] != "a.zero" {
		t.Errorf("the border reads %v", in)
	}
}

func single(t *testing.T, m *onnxpb.ModelProto, name string) float32 { return singles(t, m, name)[0] }

func singles(t *testing.T, m *onnxpb.ModelProto, name string) []float32 {
	t.Helper()
	raw := initializer(t, m, name).RawData
	values := make([]float32, len(raw)/4)
	if _, err := binary.Decode(raw, binary.LittleEndian, values); err != nil {
		t.Fatal(err)
	}
	return values
}
