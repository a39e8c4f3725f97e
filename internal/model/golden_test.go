package model

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"stylenet/internal/devices"
	"stylenet/internal/formats"
	"stylenet/internal/inference/inferencetest"
	"stylenet/internal/kernels"
	"stylenet/internal/kernels/reference"
	"stylenet/internal/networks"
	"stylenet/internal/testassets"
	"stylenet/internal/weights"
)

// run is what the model makes of a picture, 3×h×w, by the kernels in plain Go.
func run(t *testing.T, m *Model, picture []float32, h, w int) []float32 {
	t.Helper()
	dev := reference.New(2)
	defer dev.Close()
	return runOn(t, dev, m, picture, h, w)
}

func runOn(t *testing.T, dev kernels.Device, m *Model, picture []float32, h, w int) []float32 {
	t.Helper()
	net, err := m.Network.Build()
	if err != nil {
		t.Fatal(err)
	}
	return inferencetest.Run(t, dev, net, m.Weights, picture, h, w)
}

const goldenH, goldenW = 24, 28

func goldenPicture() []float32 { return drawn(goldenH, goldenW) }

// drawn is the picture of the scripts in testdata.
func drawn(h, w int) []float32 {
	p := make([]float32, 0, 3*h*w)
	for c := range 3 {
		for y := range h {
			for x := range w {
				p = append(p, float32((x*9+y*5+c*70+x*y*(c+1)/7)%256))
			}
		}
	}
	return p
}

func readGolden(t *testing.T, path string) []float32 {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]float32, len(raw)/4)
	if _, err := binary.Decode(raw, binary.LittleEndian, values); err != nil {
		t.Fatal(err)
	}
	return values
}

// apart is the largest difference of two pictures; NaN stays NaN.
func apart(t *testing.T, got, want []float32) (worst float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d values, not %d", len(got), len(want))
	}
	for i := range want {
		worst = max(worst, math.Abs(float64(got[i]-want[i])))
	}
	return worst
}

// Files of other systems give the picture that those systems' layers give. The
// scripts beside the files made both.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 9 {
		t.Fatalf("%d golden files: make golden", len(files))
	}
	for _, golden := range files {
		path := strings.TrimSuffix(golden, ".golden")
		kind, convention := KindExample, "rgb-255"
		switch name := filepath.Base(path); {
		case strings.HasPrefix(name, "variant"):
			kind, convention = KindVariant, "torchvision"
		case strings.HasPrefix(name, "lengstrom"):
			kind = KindLengstrom
		}
		if kind != KindLengstrom {
			path += ".pth"
		}
		o, err := Read(path, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		if o.Kind != kind || o.Convention.String() != convention || o.Why == "" {
			t.Errorf("%s: %s, %s because %q", path, o.Kind, o.Convention, o.Why)
		}
		// It can be trained further, and written for PyTorch.
		if j, ok := o.Model.Network.(networks.Johnson); kind != KindLengstrom && (!ok || j.Architecture != "c9s1-4,d6,d8,R8,R8,u6,u4,c9s1-3" || j.Output != "linear") {
			t.Errorf("%s: %+v", path, o.Model.Network)
		}
		worst := apart(t, run(t, o.Model, goldenPicture(), goldenH, goldenW), readGolden(t, golden))
		if !(worst < 1e-2) {
			t.Errorf("%s: %g of 255 apart", path, worst)
		}
		t.Logf("%s: %g of 255 apart", path, worst)
	}
}

// Real files give what PyTorch and TensorFlow make of them.
func TestPublished(t *testing.T) {
	for name, want := range map[string]struct {
		kind       string
		parameters int
	}{
		"lengstrom-wave": {KindLengstrom, 1677638}, "pytorch-starry.pth": {KindExample, 1679235},
	} {
		o, err := Read(testassets.Path(t, "models/"+name), nil)
		if err != nil {
			t.Fatal(err)
		}
		if o.Kind != want.kind || o.Model.Weights.Elements() != want.parameters {
			t.Errorf("%s: %s with %d parameters", name, o.Kind, o.Model.Weights.Elements())
		}
		golden := readGolden(t, "testdata/"+strings.TrimSuffix(name, ".pth")+".asset")
		worst := apart(t, run(t, o.Model, goldenPicture(), goldenH, goldenW), golden)
		if !(worst < 1e-2) {
			t.Errorf("%s: %g of 255 apart", name, worst)
		}
		t.Logf("%s: %g of 255 apart", name, worst)
	}
}

// The published WinML files give what ONNX Runtime makes of them, at the size that
// they are made for and at others.
func TestPublishedONNX(t *testing.T) {
	for _, name := range []string{"candy", "mosaic"} {
		m, err := Open(testassets.Path(t, "models/"+name+".onnx"))
		if err != nil {
			t.Fatal(err)
		}
		golden := readGolden(t, "testdata/"+name+".asset")
		const points, h, w = 3 * 30 * 30, 52, 68
		worst := apart(t, run(t, m, drawn(h, w), h, w), golden[points:])
		if !(worst < 1e-2) {
			t.Errorf("%s: %d×%d: %g of 255 apart", name, w, h, worst)
		}
		t.Logf("%s: %d×%d: %g of 255 apart", name, w, h, worst)

		dev, err := devices.Open("auto", devices.Options{Exact: true})
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		if slices.Equal(devices.Names(), []string{"reference"}) {
			continue // minutes in plain Go
		}
		const side = 720
		whole := runOn(t, dev, m, drawn(side, side), side, side)
		var some []float32
		for c := range 3 {
			for y := 5; y < side; y += 24 {
				for x := 5; x < side; x += 24 {
					some = append(some, whole[(c*side+y)*side+x])
				}
			}
		}
		worst = apart(t, some, golden[:points])
		if !(worst < 5e-2) {
			t.Errorf("%s: %d×%d: %g of 255 apart", name, side, side, worst)
		}
		t.Logf("%s: %d×%d: %g of 255 apart", name, side, side, worst)
	}
}

// A checkpoint opens by any of its names.
func TestCheckpointNames(t *testing.T) {
	want, err := Open("testdata/lengstrom_v2")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"v2/fns.ckpt", "v2/fns.ckpt.index", "v2/fns.ckpt.data-00000-of-00001", "v2/fns.ckpt.meta", "v1", "v1/fns.ckpt", "dump"} {
		m, err := Open("testdata/lengstrom_" + path)
		if err != nil || !reflect.DeepEqual(m, want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestLengstromErrors(t *testing.T) {
	file, err := formats.Open("testdata/lengstrom_dump")
	if err != nil {
		t.Fatal(err)
	}
	edit := func(change func(name string, x *weights.Tensor) *weights.Tensor) *weights.Set {
		set := &weights.Set{}
		for _, x := range file.Tensors.Tensors() {
			if y := change(x.Name, x); y != nil {
				if err := set.Add(y.Name, y.Shape, y.Data); err != nil {
					t.Fatal(err)
				}
			}
		}
		return set
	}
	replace := func(name string, shape ...int) *weights.Set {
		return edit(func(n string, x *weights.Tensor) *weights.Tensor {
			if n == name {
				return &weights.Tensor{Name: n, Shape: shape, Data: make([]float32, weights.Elements(shape))}
			}
			return x
		})
	}
	drop := func(names ...string) *weights.Set {
		return edit(func(n string, x *weights.Tensor) *weights.Tensor {
			if slices.Contains(names, n) {
				return nil
			}
			return x
		})
	}
	for name, test := range map[string]struct {
		set  *weights.Set
		want string
	}{
		"nothing":       {&weights.Set{}, "three for each layer, are wanted, but there are 0 of them (none)"},
		"other":         {set(t, "dense/kernel", []int{2}), `(the first of 1 is "dense/kernel")`},
		"one less":      {drop("Variable_29"), "there are 29 of them"},
		"hole":          {drop("Variable_4", "Variable_8", "Variable_12"), "variable 5 of 27 is missing"},
		"far":           {set(t, "Variable_999999999", []int{1}), "but there are 1 of them"},
		"kernel":        {replace("Variable", 9, 8, 3, 4), "a square kernel of odd size"},
		"rank":          {replace("Variable", 9, 3), "a square kernel"},
		"channels":      {replace("Variable_3", 3, 3, 5, 6), "for 4 channels is wanted"},
		"norm":          {replace("Variable_4", 7), `variable "Variable_4" has the shape [7]: 6 numbers for in2.bias are wanted`},
		"no upsampling": {drop("Variable_27", "Variable_28", "Variable_29"), "2 layers scale the picture down, but 1 are there to scale it up"},
		"small kernel":  {replace("Variable_3", 1, 1, 4, 6), "at least 2"},
		"not finite": {edit(func(n string, x *weights.Tensor) *weights.Tensor {
			y := *x
			y.Data = slices.Clone(x.Data)
			y.Data[0] = float32(math.NaN())
			return &y
		}), "holds NaN"},
	} {
		if _, err := fromVariables(test.set); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestMetadata(t *testing.T) {
	o, err := Read("testdata/variant.pth", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := o.File.Metadata; len(got) != 5 || got["style_weight"] != "400000" || got["commit_hash"] != "0123456789abcdef" {
		t.Errorf("%v", got)
	}
}
