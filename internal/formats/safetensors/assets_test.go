package safetensors

import (
	"bytes"
	"math"
	"os"
	"slices"
	"testing"

	"stylenet/internal/testassets"
)

func TestDecodeVGG19(t *testing.T) {
	raw, err := os.ReadFile(testassets.Path(t, "vgg19/vgg19-features.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	set, metadata, err := Decode(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if set.Len() != 32 {
		t.Errorf("%d tensors, want 32", set.Len())
	}
	w := set.Get("features.0.weight")
	if w == nil || !slices.Equal(w.Shape, []int{64, 3, 3, 3}) {
		t.Fatalf("features.0.weight is %v", w)
	}
	for _, tensor := range set.Tensors() {
		for _, f := range tensor.Data {
			if math.IsNaN(float64(f)) || math.Abs(float64(f)) > 100 {
				t.Fatalf("%s holds %g", tensor.Name, f)
			}
		}
	}
	// The data are F16, so writing F16 again loses nothing.
	var out bytes.Buffer
	if err := Encode(&out, set, metadata, F16); err != nil {
		t.Fatal(err)
	}
	again, _, err := Decode(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	for _, tensor := range set.Tensors() {
		if !slices.Equal(tensor.Data, again.Get(tensor.Name).Data) {
			t.Errorf("%s changed", tensor.Name)
		}
	}
}
