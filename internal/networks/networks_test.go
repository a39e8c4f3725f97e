package networks

import (
	"slices"
	"strings"
	"testing"

	"stylenet/internal/weights"
)

func transformer() Johnson {
	return Johnson{Architecture: JohnsonArchitecture, Padding: "reflect", Norm: "instance", Upsample: "nearest", Output: "linear"}
}

// The PyTorch example's TransformerNet has 62 tensors and 1,679,235 values
// under these names.
func TestTransformerNetNames(t *testing.T) {
	net, err := transformer().Build()
	if err != nil {
		t.Fatal(err)
	}
	elements, got := 0, map[string][]int{}
	for _, p := range net.Params() {
		elements += weights.Elements(p.Shape)
		got[p.Name] = p.Shape
	}
	if len(got) != 62 || elements != 1679235 {
		t.Errorf("%d tensors with %d values, want 62 with 1679235", len(got), elements)
	}
	for name, shape := range map[string][]int{
		"conv1.conv2d.weight": {32, 3, 9, 9}, "in1.bias": {32}, "conv3.conv2d.weight": {128, 64, 3, 3},
		"res5.conv2.conv2d.weight": {128, 128, 3, 3}, "res1.in2.weight": {128},
		"deconv1.conv2d.weight": {64, 128, 3, 3}, "in4.weight": {64}, "in5.weight": {32},
		"deconv3.conv2d.weight": {3, 32, 9, 9}, "deconv3.conv2d.bias": {3},
	} {
		if !slices.Equal(got[name], shape) {
			t.Errorf("%s has shape %v, want %v", name, got[name], shape)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*Johnson)
	}{
		{"reflect", func(*Johnson) {}},
		{"reflect-start", func(j *Johnson) { j.Padding = "reflect-start"; j.Upsample = "transposed"; j.Output = "tanh" }},
		{"zero and batch norm", func(j *Johnson) { j.Padding, j.Norm = "zero", "batch" }},
		{"explicit upsampling", func(j *Johnson) {
			j.Architecture = "c9s1-16,d32,d64,R64,R64,U2,c3s1-32,U2,c3s1-16,c9s1-3"
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := transformer()
			c.edit(&j)
			net, err := j.Build()
			if err != nil {
				t.Fatal(err)
			}
			multiple, least, err := net.Multiple()
			if err != nil || multiple != 4 {
				t.Fatalf("multiple %d, %v; want 4", multiple, err)
			}
			for _, s := range [][2]int{{least, least}, {least + 4, least + 12}, {256, 128}} {
				sizes, err := net.Sizes(s[0], s[1])
				if err != nil {
					t.Fatal(err)
				}
				if got := sizes[len(sizes)-1]; got != (Size{3, s[0], s[1]}) {
					t.Errorf("input %v gives %v", s, got)
				}
			}
			if _, err := net.Sizes(least-4, least-4); err == nil {
				t.Errorf("%d should be too small", least-4)
			}
		})
	}
}

// The border of jcjohnson's released networks is 40 pixels.
func TestReflectStartBorder(t *testing.T) {
	j := transformer()
	j.Padding = "reflect-start"
	net, err := j.Build()
	if err != nil {
		t.Fatal(err)
	}
	if p := net.Layers[0].Op.(Pad); p.Padding != Same(40) || p.Mode != PadReflect {
		t.Errorf("the network starts with %+v", p)
	}
}

func TestArchitectureErrors(t *testing.T) {
	for arch, want := range map[string]string{
		"":                        `"" (layer 1) is none of`,
		"c9s1-32,x4,c9s1-3":       `"x4" (layer 2)`,
		"c8s1-32,c9s1-3":          "odd kernel",
		"c9s1-32":                 "3 channels",
		"c9s1-32,d64,c9s1-3":      "reduce the picture 2 times",
		"c9s1-32,R64,c9s1-3":      "R64 follows a layer of 32",
		"c9s1-32,U3,c9s1-3":       "only U2",
		"c9s1-0,c9s1-3":           "outside 1 to 4096",
		"c9s9-16,c9s1-3":          "stride of 1 to 4",
		"c9s1-99999999999,c9s1-3": "outside 1 to 4096",
		// These products of strides and of factors overflow to equal numbers.
		strings.Repeat("c1s4-1,", 32) + strings.Repeat("U2,", 64) + "c1s1-3": "layer 4 scales the picture by more than 64",
		strings.Repeat("U2,", 7) + "c1s1-3":                                  "layer 7 scales the picture by more than 64",
	} {
		j := transformer()
		j.Architecture = arch
		if _, err := j.Build(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", arch, err, want)
		}
	}
	j := transformer()
	j.Norm = "layer"
	if _, err := j.Build(); err == nil || !strings.Contains(err.Error(), "none of instance, batch") {
		t.Errorf("norm layer: %v", err)
	}
}

func TestVGG19(t *testing.T) {
	net, err := VGG19("relu5_4", Caffe, false)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	elements := 0
	for _, p := range net.Params() {
		elements += weights.Elements(p.Shape)
		if name, ok := strings.CutSuffix(p.Name, ".weight"); ok {
			names = append(names, strings.TrimPrefix(name, "features."))
		}
	}
	if got := strings.Join(names, " "); got != "0 2 5 7 10 12 14 16 19 21 23 25 28 30 32 34" {
		t.Errorf("features %s", got)
	}
	if elements != 20024384 {
		t.Errorf("%d values, want VGG-19's 20024384", elements)
	}
	if net, err = VGG19("relu4_3", Torchvision, true); err != nil {
		t.Fatal(err)
	}
	sizes, err := net.Sizes(257, 130)
	if err != nil {
		t.Fatal(err)
	}
	if got := sizes[len(sizes)-1]; got != (Size{512, 32, 16}) {
		t.Errorf("relu4_3 of 257×130 is %v", got)
	}
	if _, err := VGG19("relu4_9", Caffe, false); err == nil || !strings.Contains(err.Error(), "relu4_4") {
		t.Errorf("unknown layer: %v", err)
	}
}

func TestInitAndCheck(t *testing.T) {
	net, err := transformer().Build()
	if err != nil {
		t.Fatal(err)
	}
	a, err := net.Init(1)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := net.Init(1)
	c, _ := net.Init(2)
	w := "res1.conv1.conv2d.weight"
	if !slices.Equal(a.Get(w).Data, b.Get(w).Data) || slices.Equal(a.Get(w).Data, c.Get(w).Data) {
		t.Error("initial values do not follow the seed")
	}
	bound, sum := float32(1/33.941125), 0.0 // 1/√(128·9)
	for _, v := range a.Get(w).Data {
		if v < -bound*1.0001 || v > bound*1.0001 {
			t.Fatalf("%g is outside ±%g", v, bound)
		}
		sum += float64(v)
	}
	if mean := sum / float64(len(a.Get(w).Data)); mean > 1e-3 || mean < -1e-3 {
		t.Errorf("mean %g", mean)
	}
	if a.Get("in1.weight").Data[5] != 1 || a.Get("in1.bias").Data[5] != 0 {
		t.Error("norms do not start as the identity")
	}
	if err := net.Check(a, nil); err != nil {
		t.Error(err)
	}
	extra := a.Clone()
	if err := extra.Add("in1.running_mean", []int{32}, make([]float32, 32)); err != nil {
		t.Fatal(err)
	}
	if err := net.Check(extra, nil); err == nil || !strings.Contains(err.Error(), "in1.running_mean") {
		t.Errorf("extra tensor: %v", err)
	}
	missing := &weights.Set{}
	if err := net.Check(missing, nil); err == nil || !strings.Contains(err.Error(), `"conv1.conv2d.weight" is missing`) {
		t.Errorf("missing tensor: %v", err)
	}
}
