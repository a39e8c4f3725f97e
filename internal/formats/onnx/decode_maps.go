package onnx

import (
	"math"
	"slices"

	"stylenet/internal/formats/onnx/onnxpb"
	"stylenet/internal/networks"
)

func (c *call) same() *feature { return c.featureAsIs(0) }

// castMap leaves out casts between floats, and those of the input and the output
// from and to whole numbers.
func (c *call) castMap() *feature {
	f := *c.featureAsIs(0)
	var to onnxpb.TensorProto_DataType
	switch {
	case c.n.op == "CastLike":
		to = c.tensor(1).dtype
	case c.opsetBefore(6) && c.hasAttribute("to"):
		to = onnxpb.TensorProto_DataType(onnxpb.TensorProto_DataType_value[c.string("to", "")])
	default:
		to = onnxpb.TensorProto_DataType(c.int("to", 0))
	}
	switch {
	case f.quant != nil:
		c.refuse("it casts quantized numbers: DequantizeLinear is read")
	case isFloat(to) && f.rounded:
		c.refuse("the graph computes with numbers that were made whole: that is read at the output alone")
	case isFloat(to) && f.integer:
		f.integer = false
		c.g.note("the input's whole numbers are taken as floats of the same value")
	case isFloat(to):
		if to != onnxpb.TensorProto_FLOAT {
			c.g.note("what the file computes as %s is computed as float", typeName(to))
		}
	case integerBytes(to) > 0:
		f.integer, f.rounded = true, true
		c.g.note("the output is floats, and not made %s", typeName(to))
	default:
		c.refuse("it makes %s", typeName(to))
	}
	return &f
}

// round is read where the output is made whole numbers. Limits before it are those
// of bytes, which whoever makes bytes of the result keeps.
func (c *call) round() *feature {
	f := *c.feature(0)
	if f.layer >= 0 && c.layers[f.layer].Op == (networks.Pointwise{Function: networks.Clip, A: 0, B: 255}) {
		f = *f.of(c.layers[f.layer].Inputs[0])
	}
	f.integer, f.rounded = true, true
	c.g.note("the output is not rounded")
	return &f
}

func (c *call) reshapeMap() *feature {
	f := c.featureAsIs(0)
	dims := c.newShape(f.dims())
	axes, ok := f.reshape(dims)
	if !ok {
		c.refuse("%s becomes %v, which is no other arrangement of the same map", f, clip(dims))
	}
	return f.view(axes)
}

func (c *call) transpose() *feature {
	f := c.featureAsIs(0)
	var axes []axis
	for _, a := range c.permutation(len(f.axes)) {
		axes = append(axes, f.axes[c.axis(a, len(f.axes))])
	}
	return f.view(axes)
}

// expandMap is read where it changes nothing: operators on two maps repeat the
// smaller one by themselves.
func (c *call) expandMap() *feature {
	f := c.featureAsIs(0)
	dims, err := broadcastDims(f.dims(), c.shape(c.integers(1)))
	dims = must(c, dims, err)
	axes, ok := f.reshape(dims)
	if !ok {
		c.refuse("it repeats %s to %v", f, dims)
	}
	return f.view(axes)
}

// pad has its amounts as an attribute before opset 11, and as an input later.
func (c *call) pad() *feature {
	f, layout := c.laidOut(0)
	amounts := c.list("pads", 1)
	if c.opsetBefore(2) {
		amounts = c.ints("paddings")
	}
	var axes []int
	if c.has(3) {
		for _, a := range c.integers(3) {
			axes = append(axes, c.axis(a, len(layout)))
		}
		c.axes(axes, len(layout)) // none appears twice
	} else {
		for i := range layout {
			axes = append(axes, i)
		}
	}
	if len(amounts) != 2*len(axes) {
		c.refuse("it has %d amounts for %d axes", len(amounts), len(axes))
	}
	mode, value := c.string("mode", "constant"), c.real(c.number(2, c.float("value", 0)))
	var begin, end [2]int
	for i, a := range axes {
		b, e := amounts[i], amounts[len(axes)+i]
		switch d := layout[a]; {
		case d == rows || d == columns:
			begin[d-rows], end[d-rows] = b, e
		case b == 0 && e == 0:
		case d == channels:
			f = c.padChannels(f, layout, mode, value, b, e)
		default:
			c.refuse("it pads axis %d by %d and %d: channels, rows and columns are read", a, b, e)
		}
	}
	return c.padded(f, layout, mode, value, begin, end)
}

// padChannels adds channels in front of a map's and behind them, or takes them
// away.
func (c *call) padChannels(f *feature, layout []int, mode string, value float32, begin, end int) *feature {
	n := f.size.C
	if least := -n; mode != "constant" || begin <= least || end <= least || begin+end <= least || begin+end > maxChannels-n {
		c.refuse("it pads %d channels by %d and %d, mode %.20q: constant is read", n, begin, end, mode)
	}
	var list []int
	var scale, shift []float32
	for i := -begin; i < n+end; i++ {
		list = append(list, ((i%n)+n)%n) // those in a row are one layer
		if i >= 0 && i < n {
			scale, shift = append(scale, 1), append(shift, 0)
		} else {
			scale, shift = append(scale, 0), append(shift, value)
		}
	}
	return c.affines(".value", c.pick(f, layout, list), scale, shift)
}

func (c *call) padded(f *feature, layout []int, mode string, value float32, begin, end [2]int) *feature {
	switch mode {
	case "constant":
		// The border is 0: a map is shifted for any other.
		c.finite(float64(value))
		if begin == [2]int{} && end == [2]int{} {
			return f
		}
		f = c.affine(".down", f, 1, -value)
		f = c.bordered("", networks.PadZero, padding(begin, end), layout, f)
		return c.affine(".up", f, 1, value)
	case "reflect", "edge":
		crop, more := [2][2]int{}, [2][2]int{}
		for i := range 2 {
			crop[0][i], crop[1][i] = min(begin[i], 0), min(end[i], 0)
			more[0][i], more[1][i] = max(begin[i], 0), max(end[i], 0)
		}
		f = c.bordered(".crop", networks.PadZero, padding(crop[0], crop[1]), layout, f)
		return c.bordered("", networks.PadMode(mode), padding(more[0], more[1]), layout, f)
	}
	c.refuse("mode %.20q: constant, reflect and edge are read", mode)
	return nil
}

// crop is the old operator: amounts left, top, right and bottom, or those of the
// left and top and the size.
func (c *call) crop() *feature {
	f := c.maps(0)
	border, size := c.ints("border"), c.ints("scale")
	if len(border) != 4 || size != nil && len(size) != 2 {
		c.refuse("its border is %v and its scale %v: 4 and 2 numbers", clip(border), clip(size))
	}
	begin, end := [2]int{-border[1], -border[0]}, [2]int{-border[3], -border[2]}
	if size != nil {
		end = [2]int{size[0] + border[1] - f.size.H, size[1] + border[0] - f.size.W}
	}
	if max(begin[0], begin[1], end[0], end[1]) > 0 {
		c.refuse("it crops %v of a map of %d×%d", clip(border), f.size.W, f.size.H)
	}
	return c.bordered("", networks.PadZero, padding(begin, end), layoutNCHW(), f)
}

// slice crops, or picks channels.
func (c *call) slice() *feature {
	f, layout := c.laidOut(0)
	dims := f.dims()
	var begin, end [2]int
	steps := [2]int{1, 1}
	var picked []int
	for i, p := range c.parts(dims) {
		switch d := layout[i]; {
		case p.n == 0:
			c.refuse("it leaves nothing of axis %d", i)
		case p.all(dims[i]):
		case d == channels:
			for k := range p.n {
				picked = append(picked, p.start+k*p.step)
			}
		case (d == rows || d == columns) && p.step > 0:
			begin[d-rows], end[d-rows], steps[d-rows] = -p.start, p.end-dims[i], p.step
		case p.n != 1 || dims[i] != 1:
			c.refuse("it takes axis %d from its end to its beginning: rows and columns keep their order", i)
		}
	}
	if picked != nil {
		f = c.pick(f, layout, picked)
	}
	return c.thinned(c.bordered("", networks.PadZero, padding(begin, end), layout, f), layout, steps)
}

// pick takes channels in an order.
func (c *call) pick(f *feature, layout []int, list []int) *feature {
	var parts []*feature
	for i := 0; i < len(list); {
		k := i + 1
		for k < len(list) && list[k] == list[k-1]+1 {
			k++
		}
		op := networks.Channels{From: list[i], To: list[k-1] + 1}
		if op.From == 0 && op.To == f.size.C && len(list) == op.To {
			return f
		}
		parts = append(parts, c.arranged(".channels", op, layout, f))
		i = k
	}
	return c.joined(layout, parts)
}

// joined puts maps behind each other.
func (c *call) joined(layout []int, parts []*feature) *feature {
	if len(parts) == 1 {
		return parts[0]
	}
	i := c.emit("", networks.Concat{}, nil, parts...)
	return &feature{layer: i, size: c.layers[i].size, axes: arranged(layout, c.layers[i].size)}
}

func (c *call) gather() *feature {
	f, layout := c.laidOut(0)
	a := c.axis(c.int("axis", 0), len(layout))
	list, dims := c.indices(f.axes[a].size())
	if len(dims) > 1 || len(list) == 0 || len(list) > maxSized {
		c.refuse("its indices have the shape %v: one, or a list, is read", dims)
	}
	switch {
	case layout[a] == channels:
		f = c.pick(f, layout, list)
	case len(f.axes[a]) > 0 || len(list) > 1:
		c.refuse("it takes elements of axis %d of %s: channels are read", a, f)
	}
	if len(dims) == 0 {
		return f.view(slices.Delete(slices.Clone(f.axes), a, a+1))
	}
	return f
}

func (c *call) splitMaps() []*feature {
	f, layout := c.laidOut(0)
	a := c.axis(c.int("axis", 0), len(layout))
	if layout[a] != channels {
		c.refuse("it splits axis %d of %s: channels are read", a, f)
	}
	var outs []*feature
	from := 0
	for _, n := range c.split(f.size.C) {
		outs = append(outs, c.arranged("", networks.Channels{From: from, To: from + n}, layout, f))
		from += n
	}
	return outs
}

func (c *call) concat() *feature {
	first, layout := c.laidOut(0)
	a := c.axis(c.int("axis", 1), len(layout))
	parts := []*feature{first}
	for i := range c.in[1:] {
		f, l := c.laidOut(i + 1)
		if !slices.Equal(l, layout) {
			c.refuse("it joins %s and %s, whose axes are in other orders", first, f)
		}
		parts = append(parts, f)
	}
	if len(parts) > 1 && layout[a] != channels {
		c.refuse("it joins axis %d of %s: channels are read", a, first)
	}
	return c.joined(layout, parts)
}

func (c *call) depthToSpace() *feature {
	mode := c.string("mode", "DCR")
	if mode != "DCR" && mode != "CRD" {
		c.refuse("mode %.20q: DCR and CRD are read", mode)
	}
	return c.mapped("", networks.DepthToSpace{Block: c.int("blocksize", 0), CRD: mode == "CRD"}, c.maps(0))
}

func (c *call) globalPool() *feature {
	return c.mapped("", networks.WindowPool{Average: c.n.op == "GlobalAveragePool", Global: true}, c.maps(0))
}

func (c *call) pool() *feature {
	f := c.maps(0)
	kernel := c.pair("kernel_shape", 0)
	win := c.window(f, kernel)
	if win.dilation != [2]int{1, 1} {
		c.refuse("dilations %v: windows without gaps are read", win.dilation)
	}
	stride, left := win.common()
	op := networks.WindowPool{Average: c.n.op == "AveragePool", Kernel: kernel[0], Stride: stride, CountPad: c.int("count_include_pad", 0) != 0}
	if kernel[1] != kernel[0] {
		op.Width = kernel[1]
	}
	if c.int("ceil_mode", 0) != 0 {
		more := [2]int{win.ceil(0, f.size.H), win.ceil(1, f.size.W)}
		if op.Average && op.CountPad && more != [2]int{} {
			// The border that the file names counts, what is beyond it does not.
			f = c.bordered(".border", networks.PadZero, padding(win.begin, win.end), layoutNCHW(), f)
			win.begin, win.end, op.CountPad = [2]int{}, [2]int{}, false
		}
		win.end[0] += more[0]
		win.end[1] += more[1]
	}
	if rows, columns := op.Window(); max(win.begin[0], win.end[0]) >= rows || max(win.begin[1], win.end[1]) >= columns {
		c.refuse("pads %v to %v of windows of %v: less than a window is read", win.begin, win.end, kernel)
	}
	op.Pad = padding(win.begin, win.end)
	if op.Pad == (networks.Padding{}) {
		op.CountPad = false
	}
	if op == (networks.WindowPool{Average: op.Average, Kernel: 2, Stride: 2}) {
		return c.mapped("", networks.Pool{Average: op.Average}, f)
	}
	return c.thinned(c.mapped("", op, f), layoutNCHW(), left)
}

// ceil is how much more border the last window of ceil_mode takes. It starts
// within the map or the border before it.
func (w window) ceil(i, n int) int {
	left := max(n+w.begin[i]+w.end[i]-w.kernel[i], 0)
	steps := (left + w.stride[i] - 1) / w.stride[i]
	if steps*w.stride[i] >= n+w.begin[i] {
		steps--
	}
	return max(steps*w.stride[i]-left, 0)
}

// scaling is how Resize and Upsample scale rows and columns.
type scaling struct {
	rows, columns float64
	op            networks.Resize
}

// upsample is the older operator.
func (c *call) upsample() *feature {
	f, layout := c.laidOut(0)
	var scales []float32
	switch {
	case c.has(1):
		scales = c.scales(1)
	case c.hasAttribute("scales"):
		scales = c.floats("scales")
	default:
		scales = []float32{1, 1, c.float("height_scale", 0), c.float("width_scale", 0)}
	}
	return c.resizedBefore11(f, layout, c.byScales(layout, nil, scales))
}

// resizedBefore11 is Upsample, and Resize before opset 11. Nearest pixels are rounded
// one way where an axis becomes smaller, and the other way where it does not.
func (c *call) resizedBefore11(f *feature, layout []int, s scaling) *feature {
	if (s.rows < 1) != (s.columns < 1) {
		first := scaling{rows: s.rows, columns: 1}
		first.op = c.oldMode(first)
		f, s.rows = c.resized(f, layout, first), 1
	}
	s.op = c.oldMode(s)
	return c.resized(f, layout, s)
}

func (c *call) oldMode(s scaling) networks.Resize {
	op := networks.Resize{Coordinates: "asymmetric", Rounding: "floor"}
	switch mode := c.string("mode", "nearest"); mode {
	case "nearest":
		if min(s.rows, s.columns) < 1 {
			op.Rounding = "ceil" // as ONNX Runtime does
		}
	case "linear", "bilinear":
		op.Linear, op.Rounding = true, ""
	default:
		c.refuse("mode %.20q: nearest and linear are read", mode)
	}
	return op
}

func (c *call) scales(input int) []float32 {
	t := c.tensor(input)
	if !t.isFloat() || len(t.dims) != 1 || t.len() > maxRank {
		c.refuse("its scales are %s of the shape %v: one float for each axis", typeName(t.dtype), t.dims)
	}
	return t.floats
}

func (c *call) resize() *feature {
	f, layout := c.laidOut(0)
	if c.opsetBefore(11) {
		return c.resizedBefore11(f, layout, c.byScales(layout, nil, c.scales(1)))
	}
	if policy := c.string("keep_aspect_ratio_policy", "stretch"); policy != "stretch" {
		c.refuse("keep_aspect_ratio_policy %.20q: stretch is read", policy)
	}
	var s scaling
	if c.has(2) && c.tensor(2).len() > 0 {
		s = c.byScales(layout, c.ints("axes"), c.scales(2))
	} else {
		s = c.bySizes(f, layout, c.ints("axes"), c.integers(3))
	}
	s.op = networks.Resize{Coordinates: c.string("coordinate_transformation_mode", "half_pixel")}
	switch mode := c.string("mode", "nearest"); mode {
	case "nearest":
		s.op.Rounding = c.string("nearest_mode", "round_prefer_floor")
	case "linear":
		s.op.Linear = true
	default:
		c.refuse("mode %.20q: nearest and linear are read", mode)
	}
	if c.int("antialias", 0) != 0 && s.op.Linear && min(s.rows, s.columns) < 1 {
		c.refuse("antialias where maps become smaller is not read")
	}
	return c.resized(f, layout, s)
}

// scaled axes are all, or those that are named.
func (c *call) scaledAxes(layout, axes []int, n int) []int {
	if axes == nil {
		for i := range layout {
			axes = append(axes, i)
		}
	}
	if n != len(axes) {
		c.refuse("it has %d scales or sizes for %d axes", n, len(axes))
	}
	c.axes(axes, len(layout)) // none appears twice
	return axes
}

func (c *call) byScales(layout, axes []int, scales []float32) scaling {
	s := scaling{rows: 1, columns: 1}
	for i, a := range c.scaledAxes(layout, axes, len(scales)) {
		s.set(c, layout[c.axis(a, len(layout))], float64(scales[i]))
	}
	return s
}

func (s *scaling) set(c *call, dim int, scale float64) {
	switch {
	case dim == rows:
		s.rows = scale
	case dim == columns:
		s.columns = scale
	case scale != 1:
		c.refuse("it scales channels or the batch by %g", scale)
	}
}

func (c *call) bySizes(f *feature, layout, axes, sizes []int) scaling {
	s := scaling{rows: 1, columns: 1}
	dims := f.dims()
	for i, a := range c.scaledAxes(layout, axes, len(sizes)) {
		a = c.axis(a, len(layout))
		s.set(c, layout[a], c.ratio(dims[a], sizes[i]))
	}
	return s
}

// ratio is the scale from one number of pixels to another, such that the layer
// makes as many.
func (c *call) ratio(from, to int) float64 {
	if to < 1 || to > maxElements {
		c.refuse("it makes %d pixels of %d", to, from)
	}
	p, q := to, from
	for a, b := p, q; ; a, b = b, a%b {
		if b == 0 {
			p, q = p/a, q/a
			break
		}
	}
	s := float64(p) / float64(q)
	if q&(q-1) != 0 {
		// Rounded down it could make one pixel less of some size.
		s *= 1 + 1e-12
	}
	return s
}

// resized is a layer that repeats pixels, where that is the same.
func (c *call) resized(f *feature, layout []int, s scaling) *feature {
	if s.rows == 1 && s.columns == 1 {
		return f
	}
	op := s.op
	op.Scale = s.rows
	if s.columns != s.rows {
		op.Columns = s.columns
	}
	switch op.Coordinates {
	case "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric":
	case "half_pixel_symmetric":
		// It differs where a side is no whole number of pixels before rounding.
		if h, w := float64(f.size.H)*s.rows, float64(f.size.W)*s.columns; h != math.Floor(h) || w != math.Floor(w) {
			c.refuse("half_pixel_symmetric at scales of %g and %g and %d×%d pixels", s.rows, s.columns, f.size.W, f.size.H)
		}
		op.Coordinates = "half_pixel"
	case "tf_half_pixel_for_nn":
		if op.Linear || op.Rounding != "floor" || s.rows != math.Floor(s.rows) || s.columns != math.Floor(s.columns) {
			c.refuse("tf_half_pixel_for_nn is read for nearest pixels, rounded by floor, and whole scales")
		}
		op.Coordinates = "asymmetric" // the same then
	default:
		c.refuse("coordinate_transformation_mode %.40q: half_pixel, pytorch_half_pixel, half_pixel_symmetric, align_corners and asymmetric are read", op.Coordinates)
	}
	if !op.Linear && !slices.Contains([]string{"floor", "ceil", "round_prefer_floor", "round_prefer_ceil"}, op.Rounding) {
		c.refuse("nearest_mode %.40q", op.Rounding)
	}
	if k := int(op.Scale); float64(k) == op.Scale && op.Columns == 0 && !op.Linear && op.Scale <= 64 && repeats(op, k) {
		return c.arranged("", networks.Upsample{Factor: k}, layout, f)
	}
	return c.arranged("", op, layout, f)
}

// repeats says whether nearest pixels are each one k times.
func repeats(op networks.Resize, k int) bool {
	first, _, _ := op.Taps(64)
	for i, from := range first {
		if from != i/k {
			return false
		}
	}
	return true
}
