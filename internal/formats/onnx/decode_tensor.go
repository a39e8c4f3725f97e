package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"stylenet/internal/formats/floats"
	"stylenet/internal/formats/onnx/onnxpb"
)

// Limits of tensors: no product of dimensions overflows.
const (
	maxRank     = 16
	maxElements = 1 << 28
	unbounded   = 1 << 40 // where ONNX writes the largest integer for "to the end"
)

// tensor holds numbers that are known without a picture: weights, shapes. It
// never changes. Floats have 32 bits, whatever they have in the file; all others
// are integers, and truth values 0 or 1.
type tensor struct {
	dims   []int
	dtype  onnxpb.TensorProto_DataType
	floats []float32
	ints   []int64
	static bool // the same for all sizes of the picture
}

func isFloat(t onnxpb.TensorProto_DataType) bool {
	switch t {
	case onnxpb.TensorProto_FLOAT, onnxpb.TensorProto_FLOAT16, onnxpb.TensorProto_BFLOAT16, onnxpb.TensorProto_DOUBLE:
		return true
	}
	return false
}

// integerBytes is the size of the integers in raw_data, or 0 for types that are
// not read.
func integerBytes(t onnxpb.TensorProto_DataType) int {
	switch t {
	case onnxpb.TensorProto_INT64, onnxpb.TensorProto_UINT64:
		return 8
	case onnxpb.TensorProto_INT32, onnxpb.TensorProto_UINT32:
		return 4
	case onnxpb.TensorProto_INT16, onnxpb.TensorProto_UINT16:
		return 2
	case onnxpb.TensorProto_INT8, onnxpb.TensorProto_UINT8, onnxpb.TensorProto_BOOL:
		return 1
	}
	return 0
}

func (t *tensor) isFloat() bool { return isFloat(t.dtype) }

// len is the number of elements.
func (t *tensor) len() int { return max(len(t.floats), len(t.ints)) }

// at is an element as a float.
func (t *tensor) at(i int) float64 {
	if t.isFloat() {
		return float64(t.floats[i])
	}
	return float64(t.ints[i])
}

// copyElement sets an element of one tensor to that of another of its type.
func (t *tensor) copyElement(i int, from *tensor, k int) {
	if t.isFloat() {
		t.floats[i] = from.floats[k]
	} else {
		t.ints[i] = from.ints[k]
	}
}

// elements multiplies dimensions, or returns −1 where one is negative or the
// product is too large.
func elements(dims []int) int {
	n := 1
	for _, d := range dims {
		if d < 0 || d > maxElements {
			return -1
		}
		if n *= d; n > maxElements {
			return -1
		}
	}
	return n
}

// fromProto reads a tensor of the file.
func (g *graph) fromProto(p *onnxpb.TensorProto) (*tensor, error) {
	dims := make([]int, len(p.GetDims()))
	for i, d := range p.GetDims() {
		dims[i] = int(min(max(d, -1), maxElements+1))
	}
	n := elements(dims)
	switch {
	case isExternal(p):
		return nil, unsupported("tensor %.200q lies in another file: save the model with its data inside, which onnx.save does", p.GetName())
	case p.GetSegment() != nil:
		return nil, unsupported("tensor %.200q is one of several segments", p.GetName())
	case len(dims) > maxRank || n < 0:
		return nil, invalid("tensor %.200q has the shape %v", p.GetName(), clip(p.GetDims()))
	}
	dtype := onnxpb.TensorProto_DataType(p.GetDataType())
	if !isFloat(dtype) && integerBytes(dtype) == 0 {
		return nil, unsupported("tensor %.200q holds %s", p.GetName(), typeName(dtype))
	}
	have := stored(p, dtype)
	if have != n {
		return nil, invalid("tensor %.200q has the shape %v, %d numbers, but holds %d", p.GetName(), dims, n, have)
	}
	t, err := g.newTensor(dtype, dims, true)
	if err != nil {
		return nil, err
	}
	if t.isFloat() {
		fillFloats(t.floats, p, dtype)
	} else {
		fillInts(t.ints, p, dtype)
	}
	return t, nil
}

// clip keeps what is printed short.
func clip[T any](list []T) []T { return list[:min(len(list), maxRank)] }

// stored counts the numbers that a tensor holds, or returns −1 where bytes are
// left over.
func stored(p *onnxpb.TensorProto, dtype onnxpb.TensorProto_DataType) int {
	if raw := p.GetRawData(); len(raw) > 0 {
		size := integerBytes(dtype)
		if isFloat(dtype) {
			size = floatKind(dtype).Size()
		}
		if len(raw)%size != 0 {
			return -1
		}
		return len(raw) / size
	}
	switch dtype {
	case onnxpb.TensorProto_FLOAT:
		return len(p.GetFloatData())
	case onnxpb.TensorProto_DOUBLE:
		return len(p.GetDoubleData())
	case onnxpb.TensorProto_INT64:
		return len(p.GetInt64Data())
	case onnxpb.TensorProto_UINT32, onnxpb.TensorProto_UINT64:
		return len(p.GetUint64Data())
	}
	return len(p.GetInt32Data())
}

func floatKind(dtype onnxpb.TensorProto_DataType) floats.Kind {
	switch dtype {
	case onnxpb.TensorProto_FLOAT16:
		return floats.F16
	case onnxpb.TensorProto_BFLOAT16:
		return floats.BF16
	case onnxpb.TensorProto_DOUBLE:
		return floats.F64
	}
	return floats.F32
}

func fillFloats(to []float32, p *onnxpb.TensorProto, dtype onnxpb.TensorProto_DataType) {
	if raw := p.GetRawData(); len(raw) > 0 {
		floatKind(dtype).Decode(to, raw)
		return
	}
	switch dtype {
	case onnxpb.TensorProto_FLOAT:
		copy(to, p.GetFloatData())
	case onnxpb.TensorProto_DOUBLE:
		for i, v := range p.GetDoubleData() {
			to[i] = float32(v)
		}
	case onnxpb.TensorProto_FLOAT16:
		for i, v := range p.GetInt32Data() { // bits
			to[i] = floats.FromF16(uint16(v))
		}
	case onnxpb.TensorProto_BFLOAT16:
		for i, v := range p.GetInt32Data() {
			to[i] = floats.FromBF16(uint16(v))
		}
	}
}

func fillInts(to []int64, p *onnxpb.TensorProto, dtype onnxpb.TensorProto_DataType) {
	raw := p.GetRawData()
	for i := range to {
		switch {
		case len(raw) > 0:
			to[i] = rawInteger(raw, i, dtype)
		case dtype == onnxpb.TensorProto_INT64:
			to[i] = p.GetInt64Data()[i]
		case dtype == onnxpb.TensorProto_UINT32 || dtype == onnxpb.TensorProto_UINT64:
			to[i] = int64(p.GetUint64Data()[i])
		default:
			to[i] = int64(p.GetInt32Data()[i])
		}
	}
}

func rawInteger(raw []byte, i int, dtype onnxpb.TensorProto_DataType) int64 {
	switch dtype {
	case onnxpb.TensorProto_INT64, onnxpb.TensorProto_UINT64:
		return int64(binary.LittleEndian.Uint64(raw[8*i:]))
	case onnxpb.TensorProto_INT32:
		return int64(int32(binary.LittleEndian.Uint32(raw[4*i:])))
	case onnxpb.TensorProto_UINT32:
		return int64(binary.LittleEndian.Uint32(raw[4*i:]))
	case onnxpb.TensorProto_INT16:
		return int64(int16(binary.LittleEndian.Uint16(raw[2*i:])))
	case onnxpb.TensorProto_UINT16:
		return int64(binary.LittleEndian.Uint16(raw[2*i:]))
	case onnxpb.TensorProto_INT8:
		return int64(int8(raw[i]))
	}
	return int64(raw[i])
}

// newTensor makes a tensor of zeros. All that a file makes us hold is counted.
func (g *graph) newTensor(dtype onnxpb.TensorProto_DataType, dims []int, static bool) (*tensor, error) {
	n := elements(dims)
	if n < 0 || len(dims) > maxRank {
		return nil, fmt.Errorf("a tensor of the shape %v is too large", clip(dims))
	}
	if !static && n > maxSized {
		return nil, fmt.Errorf("a tensor of the shape %v depends on the picture's size: up to %d numbers may", dims, maxSized)
	}
	t := &tensor{dims: slices.Clone(dims), dtype: dtype, static: static}
	if t.isFloat() {
		f, err := g.newFloats(n)
		t.floats = f
		return t, err
	}
	if err := g.charge(8 * n); err != nil {
		return nil, err
	}
	t.ints = make([]int64, n)
	return t, nil
}

func (g *graph) newFloats(n int) ([]float32, error) {
	if err := g.charge(4 * n); err != nil {
		return nil, err
	}
	return make([]float32, n), nil
}

// charge counts bytes of tensors.
func (g *graph) charge(bytes int) error {
	if g.budget -= int64(bytes) + 64; g.budget < 0 {
		return fmt.Errorf("the file's tensors become larger than %d MiB", g.limit>>20)
	}
	return nil
}

// strides are those of a tensor in row-major order.
func strides(dims []int) []int {
	s := make([]int, len(dims))
	step := 1
	for i := len(dims) - 1; i >= 0; i-- {
		s[i] = step
		step *= dims[i]
	}
	return s
}

// walk visits the elements of a tensor of these dimensions in row-major order,
// and gives the places that strides lead to.
func walk(dims, strides []int, first int, visit func(place int)) {
	index := make([]int, len(dims))
	place := first
	for range max(elements(dims), 0) {
		visit(place)
		for k := len(dims) - 1; k >= 0; k-- {
			index[k]++
			place += strides[k]
			if index[k] < dims[k] {
				break
			}
			place -= strides[k] * dims[k]
			index[k] = 0
		}
	}
}

// rearranged makes a tensor of t's elements that strides lead to.
func (g *graph) rearranged(t *tensor, dims, strides []int, first int) (*tensor, error) {
	out, err := g.newTensor(t.dtype, dims, t.static)
	if err != nil {
		return nil, err
	}
	i := 0
	walk(dims, strides, first, func(place int) {
		out.copyElement(i, t, place)
		i++
	})
	return out, nil
}

// reshaped shares t's elements.
func reshaped(t *tensor, dims []int) *tensor {
	out := *t
	out.dims = slices.Clone(dims)
	return &out
}

// broadcastDims are the dimensions of what two tensors make together.
func broadcastDims(a, b []int) ([]int, error) {
	out := make([]int, max(len(a), len(b)))
	for i := range out {
		x, y := fromEnd(a, len(out)-i), fromEnd(b, len(out)-i)
		switch {
		case x == y || y == 1:
			out[i] = x
		case x == 1:
			out[i] = y
		default:
			return nil, fmt.Errorf("tensors of the shapes %v and %v do not go together", a, b)
		}
	}
	return out, nil
}

// fromEnd is the k-th dimension from the end, from 1 on, or 1 beyond the first.
func fromEnd(dims []int, k int) int {
	if k > len(dims) {
		return 1
	}
	return dims[len(dims)-k]
}

// expanded repeats t along the axes where it has one element.
func (g *graph) expanded(t *tensor, dims []int) (*tensor, error) {
	if slices.Equal(t.dims, dims) {
		return t, nil
	}
	return g.rearranged(t, dims, broadcastStrides(t.dims, dims), 0)
}

// broadcastStrides read a tensor of the dimensions from as if it had those of
// to.
func broadcastStrides(from, to []int) []int {
	own := strides(from)
	s := make([]int, len(to))
	for i := range s {
		if k := len(from) - (len(to) - i); k >= 0 && from[k] != 1 {
			s[i] = own[k]
		}
	}
	return s
}

// scalarOf is the one value of a tensor that is the same everywhere.
func scalarOf(t *tensor) (float64, bool) {
	if t.len() == 0 {
		return math.NaN(), false
	}
	first := t.at(0)
	for i := 1; i < t.len(); i++ {
		if t.at(i) != first {
			return first, false
		}
	}
	return first, true
}
