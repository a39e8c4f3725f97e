package vgg

import (
	"math"
	"slices"
	"testing"

	"stylenet/internal/devices"
	"stylenet/internal/networks"
)

// Balance leaves every feature as it was, but for one factor for each channel,
// and these factors make the strengths 1.
func TestBalance(t *testing.T) {
	dev, err := devices.Open("auto", devices.Options{Threads: 1, Exact: true})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	net, err := networks.VGG19("relu2_1", networks.Caffe, false)
	if err != nil {
		t.Fatal(err)
	}
	set, err := net.Init(3)
	if err != nil {
		t.Fatal(err)
	}
	dead := set.Get("features.2.bias").Data // a channel that nothing stirs
	dead[5] = -1e6
	const side = 16
	pictures := make([]float32, 3*3*side*side)
	for i := range pictures {
		pictures[i] = float32((i*i + i/7) % 256)
	}
	w := &Weights{Set: set, Convention: networks.Caffe, Description: "some"}
	before, err := channelStrengths(dev, net, w, pictures, side)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Balance(dev, net, pictures, side); err != nil {
		t.Fatal(err)
	}
	if w.Description != "some, balanced" || slices.Equal(w.Set.Get("features.5.weight").Data, set.Get("features.5.weight").Data) {
		t.Errorf("%s: weights stayed as they were", w.Description)
	}
	after, err := channelStrengths(dev, net, w, pictures, side)
	if err != nil {
		t.Fatal(err)
	}
	if len(after) != 3 || before["relu1_2"][5] != 0 {
		t.Fatalf("%d layers, a dead channel of strength %g", len(after), before["relu1_2"][5])
	}
	ones := 0
	for name, means := range after {
		for c, m := range means {
			switch {
			case math.Abs(m-1) < 1e-4:
				ones++
			case m > 1:
				t.Errorf("%s: the strength of channel %d is %g", name, c, m)
			}
		}
		floor(before[name])
	}
	if ones < 200 { // of 256
		t.Errorf("the strength of %d channels is 1", ones)
	}
	// On another picture the ratio of every channel's strength is that factor.
	other := pictures[100 : 100+3*side*side]
	was, err := channelStrengths(dev, net, &Weights{Set: set}, other, side)
	if err != nil {
		t.Fatal(err)
	}
	is, err := channelStrengths(dev, net, w, other, side)
	if err != nil {
		t.Fatal(err)
	}
	for name := range was {
		for c := range was[name] {
			if got, want := is[name][c], was[name][c]/before[name][c]; math.Abs(got-want) > 1e-4*max(1, want) {
				t.Errorf("%s: channel %d has the strength %g, want %g", name, c, got, want)
			}
		}
	}
	if err := w.Balance(dev, net, pictures[1:], side); err == nil {
		t.Error("pictures of another size were taken")
	}
}
