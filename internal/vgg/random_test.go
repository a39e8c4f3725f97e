package vgg

import (
	"math"
	"math/rand/v2"
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
		// A filter whose weights add up to zero sees nothing of what all its
		// inputs share.
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

// The variance of a filter's mean over an area, against that of its weights,
// tells how strongly it sees flat areas.
func TestDrawFilter(t *testing.T) {
	const inputs, area, filters = 4, 9, 4000
	rnd := rand.New(rand.NewPCG(1, 2))
	w := make([]float32, inputs*area)
	var common, apart, detail float64
	for range filters {
		drawFilter(rnd, w, inputs, flatness{common: 0.5, apart: 0.25})
		var means [inputs]float64
		var mean float64
		for i, v := range w {
			means[i/area] += float64(v) / area
			mean += float64(v) / (area * inputs)
		}
		common += mean * mean
		for _, m := range means {
			apart += (m - mean) * (m - mean)
		}
		for i, v := range w {
			d := float64(v) - means[i/area]
			detail += d * d
		}
	}
	// Of Gaussian weights of variance s² the parts have s²/36, 3·s²/9, 32·s².
	s2 := 2. / (inputs * area)
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"common", common / filters, 0.25 * s2 / 36},
		{"apart", apart / filters, 0.0625 * 3 * s2 / 9},
		{"detail", detail / filters, 32 * s2},
	} {
		if math.Abs(c.got/c.want-1) > 0.1 {
			t.Errorf("%s: variance %g, want %g", c.name, c.got, c.want)
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
}
