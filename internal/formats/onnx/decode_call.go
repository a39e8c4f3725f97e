package onnx

import (
	"math"
	"slices"

	"stylenet/internal/formats/onnx/onnxpb"
)

// has says whether an optional input is there.
func (c *call) has(i int) bool { return i < len(c.in) && (c.in[i].t != nil || c.in[i].f != nil) }

// tensor is an input of numbers that are known.
func (c *call) tensor(i int) *tensor {
	if !c.has(i) {
		c.refuse("input %d is missing", i+1)
	}
	if c.in[i].t == nil {
		c.refuse("input %d, %.200q, is made of the picture: a constant is read there", i+1, c.n.inputs[i])
	}
	return c.in[i].t
}

// weight is an input that is the same for all sizes, of floats.
func (c *call) weight(i int) *tensor {
	t := c.tensor(i)
	if !t.static {
		c.refuse("input %d, %.200q, depends on the picture's size: weights do not", i+1, c.n.inputs[i])
	}
	if !t.isFloat() {
		c.refuse("input %d, %.200q, holds %s: weights are floats", i+1, c.n.inputs[i], typeName(t.dtype))
	}
	return t
}

// vector is a weight of n numbers.
func (c *call) vector(i, n int) *tensor {
	t := c.weight(i)
	if len(t.dims) != 1 || t.dims[0] != n {
		c.refuse("input %d, %.200q, has the shape %v, not [%d]", i+1, c.n.inputs[i], t.dims, n)
	}
	return t
}

// featureAsIs is an input that is made of the picture, whatever it holds.
func (c *call) featureAsIs(i int) *feature {
	if !c.has(i) {
		c.refuse("input %d is missing", i+1)
	}
	if c.in[i].f == nil {
		c.refuse("input %d, %.200q, is a constant: it is read where it is made of the picture", i+1, c.n.inputs[i])
	}
	return c.in[i].f
}

// feature is an input that is made of the picture, of floats.
func (c *call) feature(i int) *feature {
	f := c.featureAsIs(i)
	switch {
	case f.quant != nil:
		c.refuse("it computes with quantized numbers: QuantizeLinear and DequantizeLinear are read around operators of floats")
	case f.integer:
		c.refuse("it computes with whole numbers: they are read where the picture comes in or goes out, with a Cast")
	}
	return f
}

// settled writes out a pixel shuffle that a view has come to.
func (c *call) settled(f *feature) *feature {
	if f.layout() != nil {
		return f
	}
	op, axes, ok := f.shuffled()
	if !ok {
		return f
	}
	i := c.emit(".shuffle", op, nil, f)
	return &feature{layer: i, size: c.layers[i].size, axes: axes}
}

// maps is an input that is a map in the order of the network.
func (c *call) maps(i int) *feature {
	f := c.settled(c.feature(i))
	if !sameAxes(f.axes, arranged(layoutNCHW(), f.size)) {
		c.refuse("it reads %s: batch, channels, rows and columns are read", f)
	}
	return f
}

// laidOut is an input whose axes are dimensions in some order, and that order.
func (c *call) laidOut(i int) (*feature, []int) {
	f := c.settled(c.feature(i))
	l := f.layout()
	if l == nil {
		c.refuse("it reads %s, whose axes are parts of dimensions", f)
	}
	return f, l
}

// attribute returns nil where the node has none of that name.
func (c *call) attribute(name string, t onnxpb.AttributeProto_AttributeType) *onnxpb.AttributeProto {
	a := c.n.attributes[name]
	if a == nil {
		return nil
	}
	if a.GetRefAttrName() != "" {
		c.refuse("its %s is that of a function", name)
	}
	// The first version of the format had no types.
	if a.GetType() != t && a.GetType() != onnxpb.AttributeProto_UNDEFINED {
		c.refuse("its %s is of the type %s, not %s", name, a.GetType(), t)
	}
	return a
}

func (c *call) hasAttribute(name string) bool { return c.n.attributes[name] != nil }

func toInt(v int64) int { return int(min(max(v, -unbounded), unbounded)) }

func (c *call) int(name string, otherwise int) int {
	if a := c.attribute(name, onnxpb.AttributeProto_INT); a != nil {
		return toInt(a.GetI())
	}
	return otherwise
}

func (c *call) float(name string, otherwise float32) float32 {
	if a := c.attribute(name, onnxpb.AttributeProto_FLOAT); a != nil {
		return a.GetF()
	}
	return otherwise
}

func (c *call) floats(name string) []float32 {
	return c.attribute(name, onnxpb.AttributeProto_FLOATS).GetFloats()
}

func (c *call) string(name, otherwise string) string {
	if a := c.attribute(name, onnxpb.AttributeProto_STRING); a != nil {
		return string(a.GetS())
	}
	return otherwise
}

// ints is nil where the node has none.
func (c *call) ints(name string) []int {
	var v []int
	for _, i := range c.attribute(name, onnxpb.AttributeProto_INTS).GetInts() {
		v = append(v, toInt(i))
	}
	return v
}

// pair is an attribute of rows and columns.
func (c *call) pair(name string, otherwise int) [2]int {
	v := c.ints(name)
	if v == nil {
		return [2]int{otherwise, otherwise}
	}
	if len(v) != 2 {
		c.refuse("its %s are %v: maps have rows and columns", name, clip(v))
	}
	return [2]int(v)
}

// list is an attribute in old versions and an input in new ones, of integers,
// or nil.
func (c *call) list(name string, input int) []int {
	if c.hasAttribute(name) {
		return c.ints(name)
	}
	if !c.has(input) {
		return nil
	}
	return c.integers(input)
}

// integers are the numbers of an input.
func (c *call) integers(input int) []int {
	t := c.tensor(input)
	if t.isFloat() || len(t.dims) > 1 {
		c.refuse("input %d, %.200q, is %s of the shape %v: a list of integers is read", input+1, c.n.inputs[input], typeName(t.dtype), t.dims)
	}
	if len(t.ints) > maxSized {
		c.refuse("input %d, %.200q, is a list of %d integers: up to %d are read", input+1, c.n.inputs[input], len(t.ints), maxSized)
	}
	v := make([]int, len(t.ints))
	for i := range v {
		v[i] = toInt(t.ints[i])
	}
	return v
}

// number is an input of one float, or otherwise where it is left out.
func (c *call) number(input int, otherwise float32) float32 {
	if !c.has(input) {
		return otherwise
	}
	t := c.tensor(input)
	if t.len() != 1 {
		c.refuse("input %d, %.200q, has %d numbers, not 1", input+1, c.n.inputs[input], t.len())
	}
	return float32(t.at(0))
}

// axis counts from the end where it is negative.
func (c *call) axis(a, rank int) int {
	if a < -rank || a >= rank {
		c.refuse("axis %d of a tensor of %d dimensions", a, rank)
	}
	if a < 0 {
		return a + rank
	}
	return a
}

// axes are sorted, and appear once.
func (c *call) axes(list []int, rank int) []int {
	out := make([]int, 0, min(len(list), maxRank))
	for _, a := range list {
		if a = c.axis(a, rank); slices.Contains(out, a) {
			c.refuse("axis %d appears twice", a)
		}
		out = append(out, a)
	}
	slices.Sort(out)
	return out
}

// spend counts the numbers that are looked at without making any, so that a file
// cannot have the same ones looked at without end.
func (c *call) spend(n int) {
	if c.g.work -= int64(n); c.g.work < 0 {
		c.refuse("the graph computes with its constants for too long")
	}
}

// finite is for numbers that become settings of layers.
func (c *call) finite(v float64) float32 {
	f := float32(v)
	if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
		c.refuse("it computes with %g", f)
	}
	return f
}
