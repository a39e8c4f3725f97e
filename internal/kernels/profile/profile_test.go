package profile

import (
	"errors"
	"testing"

	"stylenet/internal/kernels"
	"stylenet/internal/kernels/reference"
)

func TestStages(t *testing.T) {
	d := Wrap(reference.New(1))
	defer d.Close()
	scope := d.Scope()
	array := func(n func(kernels.Shape) (kernels.Array, error), s kernels.Shape) kernels.Array {
		a, err := n(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := scope.Upload(a, make([]float32, s.Elements())); err != nil {
			t.Fatal(err)
		}
		return a
	}
	x := array(scope.NewActivation, kernels.Shape{N: 2, C: 3, H: 5, W: 7})
	y := array(scope.NewActivation, kernels.Shape{N: 2, C: 4, H: 5, W: 7})
	w := array(scope.NewParameter, kernels.Shape{N: 4, C: 3, H: 3, W: 3})
	g := array(scope.NewParameter, kernels.Shape{N: 2, C: 1, H: 4, W: 4})
	bind := func(k kernels.Kernel, err error) kernels.Kernel {
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	conv := func() kernels.Kernel {
		return bind(scope.Conv(y, x, w, nil, kernels.Conv{Stride: 1, Pad: kernels.Same(1)}))
	}
	launched := []kernels.Kernel{conv(), conv(), bind(scope.Gram(g, y)), bind(scope.ReLU(y, y))}
	bind(scope.ConvBackwardData(x, y, w, nil, kernels.Conv{Stride: 1, Pad: kernels.Same(1)})) // not launched
	for range 3 {
		for _, k := range launched {
			k()
		}
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	const in, out = 2 * 3 * 5 * 7, 2 * 4 * 5 * 7
	want := []Stage{
		{Name: "upload 2·3×5×7", Kernels: 1, Bytes: 2 * 4 * in},
		{Name: "upload 2·4×5×7", Kernels: 1, Bytes: 2 * 4 * out},
		{Name: "conv 3×3, 3 to 2·4×5×7", Kernels: 2, FLOPs: 2 * 2 * out * 27, Bytes: 2 * 4 * (in + out + 4*27)},
		{Name: "gram 2·4×5×7", Kernels: 1, FLOPs: 2 * out * 4, Bytes: 4 * (out + 2*16)},
		{Name: "relu 2·4×5×7", Kernels: 1, Bytes: 2 * 4 * out},
	}
	got := d.Stages()
	if len(got) != len(want) {
		t.Fatalf("%d stages, want %d: %+v", len(got), len(want), got)
	}
	for i, s := range got {
		if s.Seconds <= 0 || s.Seconds > 1 {
			t.Errorf("%s took %v s", s.Name, s.Seconds)
		}
		if s.Seconds = 0; s != want[i] {
			t.Errorf("stage %d is %+v, want %+v", i, s, want[i])
		}
	}
}

// A launch that fails is reported by the next wait of the device, once.
func TestError(t *testing.T) {
	d := Wrap(reference.New(1))
	defer d.Close()
	d.log.err = errors.New("test")
	if err := d.Sync(); err == nil {
		t.Error("the error was lost")
	}
	if err := d.Sync(); err != nil {
		t.Errorf("the error came twice: %v", err)
	}
}
