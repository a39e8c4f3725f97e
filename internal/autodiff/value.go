package autodiff

import (
	"fmt"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"stylenet/internal/kernels"
)

// value is a kernels.Array as a gorgonia.Value: Gorgonia moves it through the
// graph without looking inside.
type value struct {
	array   kernels.Array
	readers int  // kernels, among those not yet bound, that read the array
	pinned  bool // the array is needed after the step, or is not the graph's own
}

var _ gorgonia.Value = (*value)(nil)

func (v *value) Shape() tensor.Shape { return tensorShape(v.array.Shape()) }
func (v *value) Size() int           { return v.array.Shape().Elements() }
func (v *value) Data() any           { return v.array }
func (v *value) Dtype() tensor.Dtype { return tensor.Float32 }
func (v *value) Type() hm.Type       { return typeOf(v.array.Shape()) }

// Uintptr and MemSize are zero: the array is the device's own.
func (v *value) Uintptr() uintptr { return 0 }
func (v *value) MemSize() uintptr { return 0 }

func (v *value) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "array %v", v.array.Shape()) }

// scalars are scalars to Gorgonia too, for only those can be differentiated;
// everything else has four dimensions.
func tensorShape(s kernels.Shape) tensor.Shape {
	if s == kernels.Scalar() {
		return tensor.ScalarShape()
	}
	return tensor.Shape{s.N, s.C, s.H, s.W}
}

func typeOf(s kernels.Shape) hm.Type {
	if s == kernels.Scalar() {
		return tensor.Float32
	}
	return gorgonia.TensorType{Dims: 4, Of: tensor.Float32}
}
