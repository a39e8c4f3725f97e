package pth

import (
	"archive/zip"
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"stylenet/internal/formats/floats"
	"stylenet/internal/weights"
)

// values are tensors of every rank, with numbers that all three types hold.
func values(t *testing.T) *weights.Set {
	t.Helper()
	set := &weights.Set{}
	err := errors.Join(
		set.Add("conv.weight", []int{2, 3, 1, 2}, []float32{0, 1, -2, 3.5, 1e5, 5, 6, 7, 8, -9, 10, 11}),
		set.Add("naïve", []int{3}, []float32{float32(math.Inf(1)), -.25, 127}),
		set.Add("none", []int{0, 4}, nil),
		set.Add("scalar", []int{}, []float32{42}),
	)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestEncode(t *testing.T) {
	for _, kind := range []floats.Kind{floats.F32, floats.F16, floats.BF16} {
		set := values(t)
		for _, tensor := range set.Tensors() {
			if kind != floats.F32 { // 1e5 is beyond one, and between two numbers of the other
				for i, v := range tensor.Data {
					if v == 1e5 {
						tensor.Data[i] = 4
					}
				}
			}
		}
		var b, again bytes.Buffer
		if err := errors.Join(Encode(&b, set, kind), Encode(&again, set, kind)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), again.Bytes()) {
			t.Errorf("%s: equal sets gave different bytes", kind)
		}
		got, err := decode(b.Bytes())
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if got.Len() != set.Len() {
			t.Errorf("%s: %d tensors became %d", kind, set.Len(), got.Len())
		}
		for i, want := range set.Tensors() {
			g := got.Tensors()[i]
			if g.Name != want.Name || len(g.Shape) != len(want.Shape) || len(g.Data) != len(want.Data) ||
				len(g.Data) > 0 && !reflect.DeepEqual(g.Data, want.Data) {
				t.Errorf("%s: %+v became %+v", kind, want, g)
			}
		}
		// PyTorch maps storages only where they are aligned.
		archive, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.File {
			at, err := f.DataOffset()
			if err != nil {
				t.Fatal(err)
			}
			if at%alignment != 0 || f.Method != zip.Store {
				t.Errorf("%s: %s begins at %d and is packed by method %d", kind, f.Name, at, f.Method)
			}
		}
	}
}

func TestEncodeErrors(t *testing.T) {
	err := Encode(&bytes.Buffer{}, values(t), floats.F16)
	if want := `pytorch: tensor "conv.weight": the value 100000 is beyond the range of float16: write float32`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := Encode(&bytes.Buffer{}, values(t), floats.F64); err == nil || !strings.Contains(err.Error(), "float64") {
		t.Errorf("doubles: %v", err)
	}
	bad := &weights.Set{}
	if err := bad.Add("\xff", []int{1}, []float32{1}); err != nil {
		t.Fatal(err)
	}
	if err := Encode(&bytes.Buffer{}, bad, floats.F32); err == nil || !strings.Contains(err.Error(), "not UTF-8") {
		t.Errorf("a name that is not UTF-8: %v", err)
	}
	if err := Encode(fullDisk{}, values(t), floats.F32); !errors.Is(err, errDisk) {
		t.Errorf("a full disk: %v", err)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errDisk }
