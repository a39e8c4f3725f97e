package sanity

import (
	"math"
	"strings"
	"testing"

	"stylenet/internal/kernels/reference"
	"stylenet/internal/model"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

// flat is a network of one convolution of 1×1 that scales and shifts.
func flat(t *testing.T, scale, shift float32) *model.Model {
	t.Helper()
	net := &networks.Network{Channels: 3, Layers: []networks.Layer{{Name: "c", Op: networks.Conv{In: 3, Out: 3, Kernel: 1, Stride: 1}, Inputs: []int{networks.Input}}}}
	set := &weights.Set{}
	if err := set.Add("c.weight", []int{3, 3, 1, 1}, []float32{scale, 0, 0, 0, scale, 0, 0, 0, scale}); err != nil {
		t.Fatal(err)
	}
	if err := set.Add("c.bias", []int{3}, []float32{shift, shift, shift}); err != nil {
		t.Fatal(err)
	}
	return &model.Model{Network: net, Weights: set}
}

func TestCheck(t *testing.T) {
	dev := reference.New(2)
	defer dev.Close()
	for name, test := range map[string]struct {
		scale, shift float32
		grey, drawn  string // "" is nothing
	}{
		"as it is":   {1, 0, "", ""},
		"unit":       {1. / 255, 0, "which is black: it seems not to give 0 to 255", "which is black"},
		"signed":     {2. / 255, -1, "which is black", "which is black"},
		"one grey":   {0, 128, "", "one colour (128, 128, 128)"},
		"dark":       {.1, -30, "almost black", "almost black"},
		"white":      {0, 400, "values of 400 to 400, 100% of them far outside", "one colour (400, 400, 400)"},
		"bright":     {.1, 260, "almost white", "almost white"},
		"glaring":    {9, 0, "of them far outside 0 to 255", "of them far outside 0 to 255"},
		"not finite": {math.MaxFloat32, 0, "values that are no numbers", "values that are no numbers"},
	} {
		r, err := Check(dev, flat(t, test.scale, test.shift))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		said := map[string]string{}
		for _, w := range r.Warnings {
			for _, of := range []string{"grey", "drawn"} {
				if strings.HasPrefix(w, "of a "+of+" picture it makes ") {
					said[of] = w
				}
			}
		}
		for of, want := range map[string]string{"grey": test.grey, "drawn": test.drawn} {
			if (said[of] == "") != (want == "") || !strings.Contains(said[of], want) {
				t.Errorf("%s: of a %s picture: %q, want %q (%+v)", name, of, said[of], want, r.Pictures)
			}
		}
	}
	r, err := Check(dev, flat(t, 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	if p := r.Pictures[0]; p.Of != "grey" || p.Mean != [3]float64{128, 128, 128} || p.Low != 128 || p.High != 128 || p.Deviation != 0 || p.Outside != 0 {
		t.Errorf("%+v", p)
	}
}

// A network that would take the machine for long is not run.
func TestSkip(t *testing.T) {
	dev := reference.New(2)
	defer dev.Close()
	const wide = 4096
	net := &networks.Network{Channels: 3, Layers: []networks.Layer{
		{Name: "a", Op: networks.Conv{In: 3, Out: wide, Kernel: 1, Stride: 1, NoBias: true}, Inputs: []int{networks.Input}},
		{Name: "b", Op: networks.Conv{In: wide, Out: 3, Kernel: 65, Stride: 1, Pad: networks.Same(32), NoBias: true}, Inputs: []int{0}},
	}}
	r, err := Check(dev, &model.Model{Network: net, Weights: &weights.Set{}})
	if err != nil || !strings.Contains(r.Skipped, "billion multiplications") || r.Pictures != nil {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestStyles(t *testing.T) {
	dev := reference.New(2)
	defer dev.Close()
	d := networks.MultiStyle{Johnson: networks.Johnson{Architecture: "c3s1-4,c3s1-3", Padding: "reflect", Norm: "instance", Upsample: "nearest", Output: "linear"}, Styles: []string{"a", "b"}}
	net, err := d.Build()
	if err != nil {
		t.Fatal(err)
	}
	set, err := net.Init(1)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Check(dev, &model.Model{Network: d, Weights: set})
	if err != nil || len(r.Pictures) != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}
