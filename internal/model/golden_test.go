package model

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stylenet/internal/inference"
	"stylenet/internal/kernels/reference"
	"stylenet/internal/networks"
)

// run is what the model makes of a picture, 3×h×w, by the kernels in plain Go.
func run(t *testing.T, m *Model, picture []float32, h, w int) []float32 {
	t.Helper()
	net, err := m.Network.Build()
	if err != nil {
		t.Fatal(err)
	}
	dev := reference.New(2)
	defer dev.Close()
	arrays, err := inference.Upload(dev, net, m.Weights)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := inference.Compile(dev, net, arrays, 1, h, w)
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	if err := plan.Device().Upload(plan.Input(), picture); err != nil {
		t.Fatal(err)
	}
	plan.Run()
	s := plan.Output(0).Shape()
	out := make([]float32, s.N*s.C*s.H*s.W)
	if err := plan.Device().Download(out, plan.Output(0)); err != nil {
		t.Fatal(err)
	}
	return out
}

const goldenH, goldenW = 24, 28

// goldenPicture is the one of the scripts in testdata.
func goldenPicture() []float32 {
	p := make([]float32, 0, 3*goldenH*goldenW)
	for c := range 3 {
		for y := range goldenH {
			for x := range goldenW {
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
	if len(files) < 6 {
		t.Fatalf("%d golden files: make golden", len(files))
	}
	for _, golden := range files {
		name := strings.TrimSuffix(golden, ".golden")
		kind, convention := KindExample, "rgb-255"
		path := name + ".pth"
		if strings.HasPrefix(filepath.Base(name), "variant") {
			kind, convention = KindVariant, "torchvision"
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
		if j, ok := o.Model.Network.(networks.Johnson); !ok || j.Architecture != "c9s1-4,d6,d8,R8,R8,u6,u4,c9s1-3" || j.Output != "linear" {
			t.Errorf("%s: %+v", path, o.Model.Network)
		}
		want := readGolden(t, golden)
		if worst := apart(t, run(t, o.Model, goldenPicture(), goldenH, goldenW), want); !(worst < 1e-2) {
			t.Errorf("%s: %g of 255 apart", path, worst)
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
