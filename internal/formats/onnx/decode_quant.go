package onnx

import (
	"math"

	"stylenet/internal/formats/onnx/onnxpb"
)

// quant is how a feature is quantized: its numbers divided by scale, rounded,
// and zero added.
type quant struct{ scale, zero float64 }

// integerRange is that of a type of quantized numbers.
func integerRange(t onnxpb.TensorProto_DataType) (low, high float64, ok bool) {
	switch t {
	case onnxpb.TensorProto_UINT8:
		return 0, math.MaxUint8, true
	case onnxpb.TensorProto_INT8:
		return math.MinInt8, math.MaxInt8, true
	case onnxpb.TensorProto_UINT16:
		return 0, math.MaxUint16, true
	case onnxpb.TensorProto_INT16:
		return math.MinInt16, math.MaxInt16, true
	}
	return 0, 0, false
}

// quantType is that of the result of QuantizeLinear.
func (c *call) quantType() onnxpb.TensorProto_DataType {
	if c.has(2) {
		return c.tensor(2).dtype
	}
	if t := c.int("output_dtype", 0); t != 0 {
		return onnxpb.TensorProto_DataType(t)
	}
	return onnxpb.TensorProto_UINT8
}

// quantOf is the quantization of a map, which has one scale.
func (c *call) quantOf() quant {
	scale, ok := scalarOf(c.weight(1))
	zero := 0.
	if c.has(2) {
		var same bool
		zero, same = scalarOf(c.tensor(2))
		ok = ok && same
	}
	if !ok || !(scale > 0) || math.IsInf(scale, 0) {
		c.refuse("a map is read with one scale above 0 and one zero point")
	}
	return quant{scale, zero}
}

// quantize keeps what quantizing does to the range, and leaves out the rounding.
func (c *call) quantize() *feature {
	f, q := c.feature(0), c.quantOf()
	low, high, ok := integerRange(c.quantType())
	if !ok {
		c.refuse("it makes %s: integers of 8 and 16 bits are read", typeName(c.quantType()))
	}
	c.g.note("feature maps are not rounded to %s, but kept within its range", typeName(c.quantType()))
	r := *c.clipped("", f, c.finite((low-q.zero)*q.scale), c.finite((high-q.zero)*q.scale))
	r.quant = &q
	return &r
}

func (c *call) dequantize() *feature {
	f, q := *c.featureAsIs(0), c.quantOf()
	switch {
	case f.quant != nil && *f.quant == q:
		f.quant = nil
		return &f
	case f.quant == nil && f.integer && !f.rounded:
		f.integer = false
		return c.affine("", &f, c.finite(q.scale), c.finite(-q.zero*q.scale))
	}
	c.refuse("it reads what QuantizeLinear made with the same scale and zero point, or an input of whole numbers")
	return nil
}

// moving is the translation of an operator that moves numbers from place to place,
// for numbers that are quantized, too.
func moving(translate func(*call) *feature) func(*call) *feature {
	return func(c *call) *feature {
		f := c.featureAsIs(0)
		if f.quant == nil {
			return translate(c)
		}
		plain := *f
		plain.quant = nil
		c.in[0].f, c.moved = &plain, f.quant
		r := *translate(c)
		r.quant = f.quant
		return &r
	}
}

// real is what a number among those that are moved stands for.
func (c *call) real(v float32) float32 {
	if c.moved == nil {
		return v
	}
	return c.finite((float64(v) - c.moved.zero) * c.moved.scale)
}

// perAxis gives the scale and the zero point of each element of t.
func (c *call) perAxis(t *tensor) (scale, zero func(i int) float64) {
	s := c.weight(1)
	inner := max(t.len(), 1) // one for all
	switch {
	case c.int("block_size", 0) != 0:
		c.refuse("block_size is not read")
	case s.len() == 1:
	case len(s.dims) == 1:
		a := c.axis(c.int("axis", 1), len(t.dims))
		if s.len() != t.dims[a] {
			c.refuse("%d scales for axis %d of the shape %v", s.len(), a, t.dims)
		}
		inner = max(elements(t.dims[a+1:]), 1)
	default:
		c.refuse("its scales have the shape %v", s.dims)
	}
	var z *tensor
	if c.has(2) {
		if z = c.tensor(2); z.len() != s.len() {
			c.refuse("%d zero points for %d scales", z.len(), s.len())
		}
	}
	scale = func(i int) float64 { return s.at(i / inner % s.len()) }
	zero = func(i int) float64 {
		if z == nil {
			return 0
		}
		return z.at(i / inner % s.len())
	}
	return scale, zero
}

func (c *call) foldDequantize() *tensor {
	t := c.tensor(0)
	if t.isFloat() {
		c.refuse("it reads %s", typeName(t.dtype))
	}
	scale, zero := c.perAxis(t)
	out := c.newTensor(onnxpb.TensorProto_FLOAT, t.dims)
	for i := range out.floats {
		out.floats[i] = float32((t.at(i) - zero(i)) * scale(i))
	}
	c.g.note("weights of %s become float", typeName(t.dtype))
	return out
}

func (c *call) foldQuantize() *tensor {
	t := c.tensor(0)
	low, high, ok := integerRange(c.quantType())
	if !ok || !t.isFloat() {
		c.refuse("it makes %s of %s", typeName(c.quantType()), typeName(t.dtype))
	}
	scale, zero := c.perAxis(t)
	out := c.newTensor(c.quantType(), t.dims)
	for i := range out.ints {
		v := math.RoundToEven(float64(t.floats[i])/scale(i)) + zero(i)
		out.ints[i] = int64(min(max(v, low), high))
	}
	return out
}
