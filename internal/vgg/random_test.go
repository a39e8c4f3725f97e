package vgg

import (
	"math"
	"slices"
	"testing"

	"stylenet/internal/kernels/reference"
	"stylenet/internal/networks"
)

func TestRandom(t *testing.T) {
	dev := reference.New(0)
	defer dev.Close()
	w, err := Random(dev, 7)
	if err != nil {
		t.Fatal(err)
	}
	if !w.Random || w.Convention != networks.Caffe || w.Description != "random VGG-19 (seed 7), not trained on photos" {
		t.Errorf("got %v, %s, %q", w.Random, w.Convention, w.Description)
	}
	net, err := networks.VGG19(deepest, w.Convention, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.For(net); err != nil {
		t.Error(err)
	}

	// Every layer has the strength that it was scaled to, once more measured.
	rms, err := measure(dev, net, w.Set)
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range rms {
		if math.Abs(got/trainedRMS[i]-1) > 0.01 {
			t.Errorf("layer %d has a root mean square of %.1f, want %.1f", i, got, trainedRMS[i])
		}
	}

	for i, tensor := range w.Set.Tensors() {
		if i%2 == 1 {
			if slices.ContainsFunc(tensor.Data, func(v float32) bool { return v != 0 }) {
				t.Errorf("%s is not zero", tensor.Name)
			}
			continue
		}
		fanIn := len(tensor.Data) / tensor.Shape[0]
		var worst, largest float64
		for o := range tensor.Shape[0] {
			var sum float64
			for _, v := range tensor.Data[o*fanIn:][:fanIn] {
				sum += float64(v)
				largest = max(largest, math.Abs(float64(v)))
			}
			worst = max(worst, math.Abs(sum))
		}
		if centred := worst < 1e-4*largest; centred != (i > 0) {
			t.Errorf("%s: the filters' sums reach %g, the weights %g", tensor.Name, worst, largest)
		}
	}
}

func TestDrawFollowsSeed(t *testing.T) {
	net, err := networks.VGG19("relu1_2", networks.Caffe, false)
	if err != nil {
		t.Fatal(err)
	}
	first := func(seed uint64) []float32 {
		set, err := draw(net, seed)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Concat(set.Get("features.0.weight").Data, set.Get("features.2.weight").Data)
	}
	a := first(1)
	if !slices.Equal(a, first(1)) {
		t.Error("one seed gave two networks")
	}
	if slices.Equal(a, first(2)) {
		t.Error("two seeds gave one network")
	}
	// He's standard deviation √(2/27) of the 64·27 weights of the first layer,
	// within four standard errors.
	var sq float64
	for _, v := range a[:64*27] {
		sq += float64(v) * float64(v)
	}
	if got := sq / (64 * 27) * 27 / 2; math.Abs(got-1) > 4*math.Sqrt(2.0/(64*27)) {
		t.Errorf("the variance is %.3f of He's", got)
	}
}
