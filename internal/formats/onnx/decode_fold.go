package onnx

import (
	"cmp"
	"errors"
	"math"
	"slices"

	"stylenet/internal/formats/onnx/onnxpb"
)

// folds are the operators that are computed where all inputs are known.
func folds() map[string]func(*call) []*tensor {
	one := func(f func(*call) *tensor) func(*call) []*tensor {
		return func(c *call) []*tensor { return []*tensor{f(c)} }
	}
	m := map[string]func(*call) []*tensor{
		"Constant": one((*call).foldConstant), "ConstantOfShape": one((*call).foldConstantOfShape), "Range": one((*call).foldRange),
		"Shape": one(func(c *call) *tensor { return c.shapeOf(c.tensor(0).dims) }), "Size": one(func(c *call) *tensor { return c.shapeOf(c.tensor(0).dims) }),
		"Identity": one(func(c *call) *tensor { return c.tensor(0) }), "Dropout": one(func(c *call) *tensor { return c.tensor(0) }),
		"Cast": one((*call).foldCast), "CastLike": one((*call).foldCast),
		"Reshape": one((*call).foldReshape), "Flatten": one((*call).foldReshape), "Squeeze": one((*call).foldReshape), "Unsqueeze": one((*call).foldReshape),
		"Transpose": one((*call).foldTranspose), "Slice": one((*call).foldSlice), "Gather": one((*call).foldGather),
		"Concat": one((*call).foldConcat), "Split": (*call).foldSplit, "Expand": one((*call).foldExpand), "Tile": one((*call).foldTile),
		"Where": one((*call).foldWhere), "QuantizeLinear": one((*call).foldQuantize), "DequantizeLinear": one((*call).foldDequantize),
	}
	for _, name := range []string{"Add", "Sub", "Mul", "Div", "Mod", "Pow", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor"} {
		m[name] = one((*call).foldBinary)
	}
	for _, name := range []string{"Max", "Min", "Sum"} {
		m[name] = one((*call).foldSeveral)
	}
	for _, name := range []string{"Neg", "Abs", "Floor", "Ceil", "Round", "Sqrt", "Reciprocal", "Sign", "Not"} {
		m[name] = one((*call).foldUnary)
	}
	for _, name := range []string{"ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceMean", "ReduceSumSquare", "ReduceL2"} {
		m[name] = one((*call).foldReduce)
	}
	return m
}

// static says whether all inputs are the same for all sizes.
func (c *call) static() bool {
	return !slices.ContainsFunc(c.in, func(v value) bool { return v.f != nil || v.t != nil && !v.t.static })
}

func (c *call) newTensor(dtype onnxpb.TensorProto_DataType, dims []int) *tensor {
	t, err := c.g.newTensor(dtype, dims, c.static())
	return must(c, t, err)
}

func (c *call) newInts(values ...int) *tensor {
	t := c.newTensor(onnxpb.TensorProto_INT64, []int{len(values)})
	for i, v := range values {
		t.ints[i] = int64(v)
	}
	return t
}

// shapeOf is the result of Shape, or Size, of a tensor.
func (c *call) shapeOf(dims []int) *tensor {
	if c.n.op == "Size" {
		return reshaped(c.newInts(max(elements(dims), 0)), nil)
	}
	from, to := bounds(c.int("start", 0), c.int("end", len(dims)), len(dims))
	return c.newInts(dims[from:max(from, to)]...)
}

// bounds are a start and an end that may count from the end or lie outside.
func bounds(start, end, n int) (int, int) {
	if start < 0 {
		start += n
	}
	if end < 0 {
		end += n
	}
	return min(max(start, 0), n), min(max(end, 0), n)
}

func (c *call) foldConstant() *tensor {
	for name, a := range c.n.attributes {
		switch name {
		case "value":
			t, err := c.g.fromProto(c.attribute(name, onnxpb.AttributeProto_TENSOR).GetT())
			return must(c, t, err)
		case "value_int":
			return reshaped(c.newInts(c.int(name, 0)), nil)
		case "value_ints":
			return c.newInts(c.ints(name)...)
		case "value_float", "value_floats":
			values, dims := c.attribute(name, a.GetType()).GetFloats(), []int{len(a.GetFloats())}
			if name == "value_float" {
				values, dims = []float32{c.float(name, 0)}, nil
			}
			t := c.newTensor(onnxpb.TensorProto_FLOAT, dims)
			copy(t.floats, values)
			return t
		}
	}
	c.refuse("it holds no dense tensor of numbers")
	return nil
}

func (c *call) foldConstantOfShape() *tensor {
	dims := c.shape(c.integers(0))
	var v *tensor
	if c.hasAttribute("value") {
		t, err := c.g.fromProto(c.attribute("value", onnxpb.AttributeProto_TENSOR).GetT())
		if v = must(c, t, err); v.len() != 1 {
			c.refuse("its value has %d numbers, not 1", v.len())
		}
	} else {
		v = c.newTensor(onnxpb.TensorProto_FLOAT, []int{1})
	}
	out := c.newTensor(v.dtype, dims)
	for i := range out.len() {
		out.copyElement(i, v, 0)
	}
	return out
}

// shape refuses dimensions that no tensor has.
func (c *call) shape(dims []int) []int {
	if elements(dims) < 0 || len(dims) > maxRank {
		c.refuse("a tensor of the shape %v is too large", clip(dims))
	}
	return dims
}

func (c *call) foldRange() *tensor {
	start, limit, delta := c.tensor(0), c.tensor(1), c.tensor(2)
	if start.len() != 1 || limit.len() != 1 || delta.len() != 1 || delta.at(0) == 0 {
		c.refuse("it does not count from one number to another")
	}
	n := math.Ceil((limit.at(0) - start.at(0)) / delta.at(0))
	if !(n <= maxElements) {
		c.refuse("it counts %g numbers", n)
	}
	out := c.newTensor(start.dtype, []int{int(max(n, 0))})
	for i := range out.len() {
		if v := start.at(0) + float64(i)*delta.at(0); out.isFloat() {
			out.floats[i] = float32(v)
		} else {
			out.ints[i] = int64(v)
		}
	}
	return out
}

func (c *call) foldCast() *tensor {
	t := c.tensor(0)
	to := onnxpb.TensorProto_DataType(c.int("to", 0))
	if c.n.op == "CastLike" {
		to = c.tensor(1).dtype
	}
	if c.n.op == "Cast" && c.opsetBefore(6) && c.hasAttribute("to") {
		to = onnxpb.TensorProto_DataType(onnxpb.TensorProto_DataType_value[c.string("to", "")])
	}
	return c.cast(t, to)
}

func (c *call) opsetBefore(v int64) bool { return c.g.opset < v }

// cast changes the type of numbers as C does.
func (c *call) cast(t *tensor, to onnxpb.TensorProto_DataType) *tensor {
	if !isFloat(to) && integerBytes(to) == 0 {
		c.refuse("it makes %s", typeName(to))
	}
	out := c.newTensor(to, t.dims)
	for i := range out.len() {
		switch {
		case to == onnxpb.TensorProto_BOOL:
			if t.at(i) != 0 {
				out.ints[i] = 1
			}
		case out.isFloat():
			out.floats[i] = float32(t.at(i))
		case t.isFloat():
			out.ints[i] = wrapped(int64(t.at(i)), to)
		default:
			out.ints[i] = wrapped(t.ints[i], to)
		}
	}
	return out
}

// wrapped is an integer in a type of fewer bits.
func wrapped(v int64, t onnxpb.TensorProto_DataType) int64 {
	switch t {
	case onnxpb.TensorProto_INT8:
		return int64(int8(v))
	case onnxpb.TensorProto_UINT8:
		return int64(uint8(v))
	case onnxpb.TensorProto_INT16:
		return int64(int16(v))
	case onnxpb.TensorProto_UINT16:
		return int64(uint16(v))
	case onnxpb.TensorProto_INT32:
		return int64(int32(v))
	case onnxpb.TensorProto_UINT32:
		return int64(uint32(v))
	}
	return v
}

func (c *call) foldReshape() *tensor {
	t := c.tensor(0)
	dims := c.newShape(t.dims)
	if elements(dims) != t.len() {
		c.refuse("a tensor of the shape %v cannot become one of %v", t.dims, clip(dims))
	}
	return reshaped(t, dims)
}

// newShape is that of the result of Reshape, Flatten, Squeeze or Unsqueeze.
func (c *call) newShape(dims []int) []int {
	switch c.n.op {
	case "Flatten":
		a := c.int("axis", 1)
		if a != len(dims) {
			a = c.axis(a, len(dims))
		}
		return []int{elements(dims[:a]), elements(dims[a:])}
	case "Squeeze":
		axes := c.axes(c.list("axes", 1), len(dims))
		all := !c.hasAttribute("axes") && !c.has(1)
		var out []int
		for i, d := range dims {
			switch {
			case all && d == 1:
			case !slices.Contains(axes, i):
				out = append(out, d)
			case d != 1:
				c.refuse("axis %d of the shape %v is no single element", i, dims)
			}
		}
		return out
	case "Unsqueeze":
		list := c.list("axes", 1)
		if len(list)+len(dims) > maxRank {
			c.refuse("it makes more than %d dimensions", maxRank)
		}
		axes := c.axes(list, len(dims)+len(list))
		out := slices.Clone(dims)
		for _, a := range axes {
			out = slices.Insert(out, a, 1)
		}
		return out
	}
	return c.reshapeTo(dims, c.list("shape", 1))
}

// reshapeTo puts numbers for the 0, "as before", and the −1, "the rest", of
// Reshape.
func (c *call) reshapeTo(dims, to []int) []int {
	out, rest, known := slices.Clone(to), -1, 1
	for i, d := range out {
		switch {
		case d == 0 && c.int("allowzero", 0) == 0:
			if i >= len(dims) {
				c.refuse("a tensor of the shape %v cannot become one of %v", dims, clip(to))
			}
			out[i] = dims[i]
		case d == -1 && rest < 0:
			rest = i
			continue
		case d < 0:
			c.refuse("it makes the shape %v", clip(to))
		}
		if known = elements([]int{known, out[i]}); known < 0 {
			c.refuse("it makes the shape %v", clip(to))
		}
	}
	if rest >= 0 {
		if known == 0 || elements(dims)%known != 0 {
			c.refuse("a tensor of the shape %v cannot become one of %v", dims, clip(to))
		}
		out[rest] = elements(dims) / known
	}
	return c.shape(out)
}

// permutation is that of Transpose.
func (c *call) permutation(rank int) []int {
	perm := c.ints("perm")
	if perm == nil {
		for i := range rank {
			perm = append(perm, rank-1-i)
		}
	}
	if len(perm) != rank || len(c.axes(perm, rank)) != rank {
		c.refuse("it orders %d dimensions as %v", rank, clip(perm))
	}
	return perm
}

func (c *call) foldTranspose() *tensor {
	t := c.tensor(0)
	own := strides(t.dims)
	var dims, steps []int
	for _, a := range c.permutation(len(t.dims)) {
		a = c.axis(a, len(t.dims))
		dims, steps = append(dims, t.dims[a]), append(steps, own[a])
	}
	out, err := c.g.rearranged(t, dims, steps, 0)
	return must(c, out, err)
}

// part is what Slice takes of an axis: n elements, and forwards none from end on.
type part struct{ start, step, n, end int }

// all says that it is the whole axis of n elements, in order.
func (p part) all(n int) bool { return p.start == 0 && p.step == 1 && p.n == n }

// parts are what Slice takes of each axis.
func (c *call) parts(dims []int) []part {
	out := make([]part, len(dims))
	for i, d := range dims {
		out[i] = part{0, 1, d, d}
	}
	starts, ends, axes, steps := c.list("starts", 1), c.list("ends", 2), c.list("axes", 3), []int(nil)
	if c.has(4) {
		steps = c.integers(4)
	}
	if axes == nil {
		for i := range starts {
			axes = append(axes, i)
		}
	}
	if len(ends) != len(starts) || len(axes) != len(starts) || steps != nil && len(steps) != len(starts) {
		c.refuse("it has %d starts, %d ends and %d axes", len(starts), len(ends), len(axes))
	}
	c.axes(axes, len(dims)) // none appears twice
	for i, a := range axes {
		a, step := c.axis(a, len(dims)), 1
		if steps != nil {
			step = steps[i]
		}
		out[a] = c.part(starts[i], ends[i], step, dims[a])
	}
	return out
}

func (c *call) part(start, end, step, n int) part {
	switch {
	case step == 0:
		c.refuse("a step of 0")
	case step > 0:
		from, to := bounds(start, end, n)
		return part{from, step, (max(to-from, 0) + step - 1) / step, to}
	}
	// Backwards, an end of −1 is the last element, and one before the first is
	// written as something less than −n.
	if start < 0 {
		start += n
	}
	if end < 0 {
		end += n
	}
	start, end = min(max(start, -1), n-1), min(max(end, -1), n-1)
	return part{start: max(start, 0), step: step, n: (max(start-end, 0) - step - 1) / -step}
}

func (c *call) foldSlice() *tensor {
	t := c.tensor(0)
	dims, steps, first := slices.Clone(t.dims), strides(t.dims), 0
	for i, p := range c.parts(t.dims) {
		dims[i] = p.n
		first += p.start * steps[i]
		steps[i] *= p.step
	}
	out, err := c.g.rearranged(t, dims, steps, first)
	return must(c, out, err)
}

// indices are those of Gather, within n.
func (c *call) indices(n int) (list []int, dims []int) {
	t := c.tensor(1)
	if t.isFloat() {
		c.refuse("its indices are floats")
	}
	c.spend(t.len())
	for _, v := range t.ints {
		list = append(list, c.axis(toInt(v), n))
	}
	return list, t.dims
}

func (c *call) foldGather() *tensor {
	t := c.tensor(0)
	a := c.axis(c.int("axis", 0), len(t.dims))
	list, inner := c.indices(t.dims[a])
	before, after := elements(t.dims[:a]), elements(t.dims[a+1:])
	out := c.newTensor(t.dtype, slices.Concat(t.dims[:a], inner, t.dims[a+1:]))
	i := 0
	for b := range before {
		for _, k := range list {
			for e := range after {
				out.copyElement(i, t, (b*t.dims[a]+k)*after+e)
				i++
			}
		}
	}
	return out
}

func (c *call) foldConcat() *tensor {
	first := c.tensor(0)
	a := c.axis(c.int("axis", 1), len(first.dims)) // the default of the first version
	dims := slices.Clone(first.dims)
	dims[a] = 0
	for i := range c.in {
		t := c.tensor(i)
		if t.isFloat() != first.isFloat() || len(t.dims) != len(dims) {
			c.refuse("tensors of the shapes %v and %v, %s and %s, cannot stand behind each other", first.dims, t.dims, typeName(first.dtype), typeName(t.dtype))
		}
		for k, d := range t.dims {
			if k == a {
				dims[a] += d
			} else if d != dims[k] {
				c.refuse("tensors of the shapes %v and %v cannot stand behind each other", first.dims, t.dims)
			}
		}
	}
	out := c.newTensor(first.dtype, c.shape(dims))
	before, after, i := elements(dims[:a]), elements(dims[a+1:]), 0
	for b := range before {
		for k := range c.in {
			t := c.tensor(k)
			n := t.dims[a] * after
			for e := range n {
				out.copyElement(i, t, b*n+e)
				i++
			}
		}
	}
	return out
}

// split are the lengths of Split's results.
func (c *call) split(n int) []int {
	if list := c.list("split", 1); list != nil {
		sum := 0
		for _, v := range list {
			if v < 0 || v > n {
				c.refuse("it splits %d into %v", n, clip(list))
			}
			sum += v
		}
		if sum != n || len(list) < len(c.n.outputs) {
			c.refuse("it splits %d into %v, for %d outputs", n, clip(list), len(c.n.outputs))
		}
		return list
	}
	k := len(c.n.outputs)
	if k < 1 || k > n || c.int("num_outputs", k) != k {
		c.refuse("it splits %d into %d parts, for %d outputs", n, c.int("num_outputs", k), k)
	}
	each := (n + k - 1) / k // the last one may be shorter
	var list []int
	for rest := n; rest > 0; rest -= each {
		list = append(list, min(each, rest))
	}
	return list
}

func (c *call) foldSplit() []*tensor {
	t := c.tensor(0)
	a := c.axis(c.int("axis", 0), len(t.dims))
	var outs []*tensor
	first, steps := 0, strides(t.dims)
	for _, n := range c.split(t.dims[a]) {
		dims := slices.Clone(t.dims)
		dims[a] = n
		out, err := c.g.rearranged(t, dims, steps, first)
		outs = append(outs, must(c, out, err))
		first += n * steps[a]
	}
	return outs
}

func (c *call) foldExpand() *tensor {
	t := c.tensor(0)
	dims, err := broadcastDims(t.dims, c.shape(c.integers(1)))
	out, err2 := c.g.expanded(t, c.shape(must(c, dims, err)))
	return must(c, out, err2)
}

func (c *call) foldTile() *tensor {
	t, repeats := c.tensor(0), c.integers(1)
	if len(repeats) != len(t.dims) || 2*len(repeats) > maxRank {
		c.refuse("it repeats %d dimensions by %d numbers", len(t.dims), len(repeats))
	}
	// Each dimension becomes two: repeated, and its own.
	var dims, out, steps []int
	for i, d := range t.dims {
		dims, out = append(dims, repeats[i], d), append(out, elements([]int{repeats[i], d}))
		steps = append(steps, 0, strides(t.dims)[i])
	}
	r, err := c.g.rearranged(t, c.shape(dims), steps, 0)
	return reshaped(must(c, r, err), c.shape(out))
}

func (c *call) foldWhere() *tensor {
	condition, a, b := c.tensor(0), c.tensor(1), c.tensor(2)
	dims, err := broadcastDims(a.dims, b.dims)
	dims, err2 := broadcastDims(must(c, dims, err), condition.dims)
	dims = must(c, dims, err2)
	condition, a, b = c.expand(condition, dims), c.expand(a, dims), c.expand(b, dims)
	if condition.isFloat() || a.isFloat() != b.isFloat() {
		c.refuse("it chooses between %s and %s", typeName(a.dtype), typeName(b.dtype))
	}
	out := c.newTensor(a.dtype, dims)
	for i := range out.len() {
		if condition.ints[i] != 0 {
			out.copyElement(i, a, i)
		} else {
			out.copyElement(i, b, i)
		}
	}
	return out
}

func (c *call) expand(t *tensor, dims []int) *tensor {
	out, err := c.g.expanded(t, c.shape(dims))
	return must(c, out, err)
}

func (c *call) foldBinary() *tensor {
	return c.binary(c.tensor(0), c.aligned(c.tensor(0).dims, c.tensor(1)))
}

// aligned gives the second of two tensors the dimensions that put it beside the
// first: before opset 7 an attribute said where it belongs.
func (c *call) aligned(dims []int, t *tensor) *tensor {
	if !c.opsetBefore(7) || !c.hasAttribute("axis") {
		return t
	}
	a := c.axis(c.int("axis", 0), len(dims))
	behind := len(dims) - a - len(t.dims)
	if behind < 0 {
		c.refuse("it puts a tensor of the shape %v at axis %d of %v", t.dims, a, dims)
	}
	return reshaped(t, append(slices.Clone(t.dims), slices.Repeat([]int{1}, behind)...))
}

func (c *call) foldSeveral() *tensor {
	t := c.tensor(0)
	for i := range c.in[1:] {
		t = c.binary(t, c.tensor(i+1))
	}
	return t
}

func (c *call) binary(a, b *tensor) *tensor {
	dims, err := broadcastDims(a.dims, b.dims)
	dims = must(c, dims, err)
	a, b = c.expand(a, dims), c.expand(b, dims)
	if a.isFloat() != b.isFloat() {
		c.refuse("it computes with %s and %s", typeName(a.dtype), typeName(b.dtype))
	}
	dtype := a.dtype
	if slices.Contains([]string{"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor"}, c.n.op) {
		dtype = onnxpb.TensorProto_BOOL
	}
	out := c.newTensor(dtype, dims)
	for i := range out.len() {
		switch {
		case dtype == onnxpb.TensorProto_BOOL:
			if compare(c.n.op, a, b, i) {
				out.ints[i] = 1
			}
		case a.isFloat():
			out.floats[i] = float32(c.floatOf(a.at(i), b.at(i)))
		default:
			v, err := integerOf(c.n.op, a.ints[i], b.ints[i], c.int("fmod", 0) != 0)
			out.ints[i] = wrapped(must(c, v, err), dtype)
		}
	}
	return out
}

func compare(op string, a, b *tensor, i int) bool {
	order := cmp.Compare(a.at(i), b.at(i))
	if !a.isFloat() {
		order = cmp.Compare(a.ints[i], b.ints[i])
	}
	x, y := a.at(i) != 0, b.at(i) != 0
	switch op {
	case "Equal":
		return order == 0
	case "Less":
		return order < 0
	case "LessOrEqual":
		return order <= 0
	case "Greater":
		return order > 0
	case "GreaterOrEqual":
		return order >= 0
	case "And":
		return x && y
	case "Or":
		return x || y
	}
	return x != y
}

func (c *call) floatOf(a, b float64) float64 {
	switch c.n.op {
	case "Add", "Sum":
		return a + b
	case "Sub":
		return a - b
	case "Mul":
		return a * b
	case "Div":
		return a / b
	case "Max":
		return max(a, b)
	case "Min":
		return min(a, b)
	case "Pow":
		return math.Pow(a, b)
	}
	if c.int("fmod", 0) == 0 {
		c.refuse("the remainder of floats is read with fmod=1")
	}
	return math.Mod(a, b)
}

func integerOf(op string, a, b int64, truncated bool) (int64, error) {
	switch op {
	case "Add", "Sum":
		return a + b, nil
	case "Sub":
		return a - b, nil
	case "Mul":
		return a * b, nil
	case "Max":
		return max(a, b), nil
	case "Min":
		return min(a, b), nil
	case "Pow":
		return int64(math.Pow(float64(a), float64(b))), nil
	}
	if b == 0 {
		return 0, errors.New("it divides by 0")
	}
	if op == "Div" {
		return a / b, nil // towards 0, as runtimes do
	}
	r := a % b
	if !truncated && r != 0 && (r < 0) != (b < 0) {
		r += b
	}
	return r, nil
}

func (c *call) foldUnary() *tensor {
	t := c.tensor(0)
	out := c.newTensor(t.dtype, t.dims)
	for i := range out.len() {
		v := t.at(i)
		switch c.n.op {
		case "Neg":
			v = -v
		case "Abs":
			v = math.Abs(v)
		case "Floor":
			v = math.Floor(v)
		case "Ceil":
			v = math.Ceil(v)
		case "Round":
			v = math.RoundToEven(v)
		case "Sqrt":
			v = math.Sqrt(v)
		case "Reciprocal":
			v = 1 / v
		case "Sign":
			v = float64(cmp.Compare(v, 0))
		case "Not":
			v = float64(1 - min(1, math.Abs(v)))
		}
		if out.isFloat() {
			out.floats[i] = float32(v)
		} else {
			out.ints[i] = int64(v)
		}
	}
	return out
}

// reduced are the axes of a reduction, and whether they stay with one element.
func (c *call) reduced(rank int) (axes []int, keep bool) {
	axes = c.axes(c.list("axes", 1), rank)
	if len(axes) == 0 {
		if c.int("noop_with_empty_axes", 0) != 0 {
			c.refuse("it reduces no axis")
		}
		for i := range rank {
			axes = append(axes, i)
		}
	}
	return axes, c.int("keepdims", 1) != 0
}

func (c *call) foldReduce() *tensor {
	t := c.tensor(0)
	axes, keep := c.reduced(len(t.dims))
	kept, dims := slices.Clone(t.dims), []int(nil)
	for i := range kept {
		one := slices.Contains(axes, i)
		if one {
			kept[i] = 1
		}
		if keep || !one {
			dims = append(dims, kept[i])
		}
	}
	n := elements(kept)
	if n == 0 || t.len() == 0 {
		c.refuse("it reduces a tensor of the shape %v", t.dims)
	}
	c.spend(t.len())
	err := c.g.charge(9 * n)
	must(c, n, err)
	sums, started, k := make([]float64, n), make([]bool, n), 0
	walk(t.dims, broadcastStrides(kept, t.dims), 0, func(place int) {
		v := t.at(k)
		k++
		if c.n.op == "ReduceSumSquare" || c.n.op == "ReduceL2" {
			v *= v
		}
		switch {
		case !started[place]:
			sums[place], started[place] = v, true
		case c.n.op == "ReduceProd":
			sums[place] *= v
		case c.n.op == "ReduceMax":
			sums[place] = max(sums[place], v)
		case c.n.op == "ReduceMin":
			sums[place] = min(sums[place], v)
		default:
			sums[place] += v
		}
	})
	out := c.newTensor(t.dtype, dims)
	for i, v := range sums {
		switch c.n.op {
		case "ReduceMean":
			v /= float64(t.len() / n)
		case "ReduceL2":
			v = math.Sqrt(v)
		}
		if out.isFloat() {
			out.floats[i] = float32(v)
		} else {
			out.ints[i] = int64(v)
		}
	}
	return out
}
