package calibrate

import (
	"context"
	"errors"
	"iter"
	"math"
	"strings"
	"testing"

	"stylenet/internal/devices"
	"stylenet/internal/formats/onnx"
	"stylenet/internal/images"
	"stylenet/internal/kernels"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

// grey makes photos of one brightness each.
func grey(levels ...float32) iter.Seq2[*images.Picture, error] {
	return func(yield func(*images.Picture, error) bool) {
		for _, level := range levels {
			p := images.New(30, 20)
			for i := range p.Pix {
				p.Pix[i] = level
			}
			if !yield(p, nil) {
				return
			}
		}
	}
}

// network has a first convolution that halves the picture, one of integers that
// a norm reads, another that takes its negative, and a last one.
func network(t *testing.T) (*networks.Network, *weights.Set) {
	t.Helper()
	conv := networks.Conv{In: 3, Out: 3, Kernel: 1, Stride: 1}
	net := &networks.Network{Channels: 3, Layers: []networks.Layer{
		{Name: "first", Op: conv, Inputs: []int{networks.Input}},
		{Name: "normed", Op: conv, Inputs: []int{0}},
		{Name: "norm", Op: networks.Norm{Channels: 3, Eps: 1e-5}, Inputs: []int{1}},
		{Name: "negative", Op: conv, Inputs: []int{2}},
		{Name: "last", Op: conv, Inputs: []int{3}},
	}}
	set := &weights.Set{}
	for i, l := range net.Layers {
		if l.Name == "norm" {
			if err := errors.Join(set.Add("norm.weight", []int{3}, []float32{1, 1, 1}), set.Add("norm.bias", []int{3}, []float32{-1, 0, 7})); err != nil {
				t.Fatal(err)
			}
			continue
		}
		by := []float32{.5, 3, 0, -1, 1}[i]
		w := []float32{by, 0, 0, 0, by, 0, 0, 0, by}
		if err := errors.Join(set.Add(l.Name+".weight", []int{3, 3, 1, 1}, w), set.Add(l.Name+".bias", []int{3}, []float32{0, 1, 2})); err != nil {
			t.Fatal(err)
		}
	}
	return net, set
}

func open(t *testing.T) kernels.Device {
	t.Helper()
	dev, err := devices.Open("auto", devices.Options{Exact: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	return dev
}

func TestRanges(t *testing.T) {
	net, set := network(t)
	r, err := Ranges(t.Context(), open(t), net, set, grey(0, 100, 200))
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, got onnx.Range, low, high float64) {
		t.Helper()
		if math.Abs(float64(got.Low)-low) > .01 || math.Abs(float64(got.High)-high) > .01 {
			t.Errorf("%s lies within %v, want %g to %g", what, got, low, high)
		}
	}
	// The first layer's channels are 0, 1 and 2 above half the grey: 0, 50 and
	// 100. Half way between 0 and the mean 50, and between 100 and the mean.
	check("first", r.Maps[0], 25, 2+75)
	check("the normed channel 0", r.Channels[1][0], 75, 225)
	check("the normed channel 2", r.Channels[1][2], 2+75+3*2, 2+225+3*2)
	// A plain map comes out of a norm as its bias.
	check("norm", r.Maps[2], -1, 7)
	if len(r.Maps) != 2 || len(r.Channels) != 1 {
		t.Errorf("ranges of the maps %v and the channels %v", r.Maps, r.Channels)
	}
	// They are those that the encoder asks for.
	err = onnx.Encode(&strings.Builder{}, net, set, onnx.Options{Precision: onnx.Int8, Ranges: r})
	if err != nil {
		t.Error(err)
	}
}

func TestRangesErrors(t *testing.T) {
	net, set := network(t)
	dev := open(t)
	if _, err := Ranges(t.Context(), dev, net, set, grey()); err == nil || !strings.Contains(err.Error(), "no photos") {
		t.Errorf("without photos: %v", err)
	}
	broken := errors.New("a broken photo")
	_, err := Ranges(t.Context(), dev, net, set, func(yield func(*images.Picture, error) bool) { yield(nil, broken) })
	if !errors.Is(err, broken) {
		t.Errorf("a broken photo: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Ranges(ctx, dev, net, set, grey(1, 2)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	huge := set.Clone()
	huge.Get("first.weight").Data[0] = math.MaxFloat32
	if _, err := Ranges(t.Context(), dev, net, huge, grey(255)); err == nil || !strings.Contains(err.Error(), "layer first: its values on a photo are not finite") {
		t.Errorf("values beyond float32: %v", err)
	}
	only := &networks.Network{Channels: 3, Layers: net.Layers[:1]}
	first := &weights.Set{}
	for _, p := range only.Params() {
		if err := first.Add(p.Name, p.Shape, set.Get(p.Name).Data); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := Ranges(t.Context(), dev, only, first, grey(1)); err != nil || len(r.Maps)+len(r.Channels) > 0 {
		t.Errorf("a network without integers: %v, %v", r, err)
	}
}
