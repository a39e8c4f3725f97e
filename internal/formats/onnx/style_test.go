package onnx

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"stylenet/internal/formats/onnx/onnxpb"
	"stylenet/internal/networks"
)

// A model of any style has a second picture of any size, and each of the encoder's
// weights once.
func TestStyleInput(t *testing.T) {
	net, err := networks.AdaIN{Encoder: networks.Caffe, Layer: "relu2_1"}.Build()
	if err != nil {
		t.Fatal(err)
	}
	set := randomWeights(t, net)
	for _, o := range []Options{
		{Style: networks.AdaINNorm, Multiple: 2, Least: 8},
		{Style: networks.AdaINNorm, Multiple: 2, Least: 8, Width: 32, Height: 16, Precision: Float16, Bytes: true},
	} {
		var b bytes.Buffer
		if err := Encode(&b, net, set, o); err != nil {
			t.Fatal(err)
		}
		m := &onnxpb.ModelProto{}
		if err := proto.Unmarshal(b.Bytes(), m); err != nil {
			t.Fatal(err)
		}
		if in := m.Graph.Input; len(in) != 2 || in[0].GetName() != "input" || in[1].GetName() != "style" {
			t.Fatalf("inputs %v", in)
		}
		free := 0
		for _, d := range m.Graph.Input[1].GetType().GetTensorType().GetShape().GetDim() {
			if strings.HasPrefix(d.GetDimParam(), "style_") {
				free++
			}
		}
		if free != 3 {
			t.Errorf("%d of batch, height and width of the style are free", free)
		}
		names, outputs := map[string]bool{}, map[string]bool{}
		for _, i := range m.Graph.Initializer {
			if names[i.GetName()] {
				t.Errorf("the constant %s is there twice", i.GetName())
			}
			names[i.GetName()] = true
		}
		if !names["features.2.weight"] || names["adain.weight"] {
			t.Error("the encoder's weights are missing, or those of the norm are not")
		}
		for _, n := range m.Graph.Node {
			if outputs[n.Output[0]] {
				t.Errorf("two nodes give %s", n.Output[0])
			}
			outputs[n.Output[0]] = true
		}
	}
	for want, o := range map[string]Options{
		`no layer "style"`:                     {Style: "style"},
		"layer features.0 is no instance norm": {Style: "features.0"},
		"depend on the style":                  {Style: networks.AdaINNorm, Precision: Int8},
	} {
		if err := Encode(&bytes.Buffer{}, net, set, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	// What is read back is one picture's network.
	var b bytes.Buffer
	if err := Encode(&b, net, set, Options{Style: networks.AdaINNorm}); err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(bytes.NewReader(b.Bytes()), int64(b.Len()), nil); err == nil || !strings.Contains(err.Error(), "style") {
		t.Errorf("a model of two pictures was read: %v", err)
	}
}
