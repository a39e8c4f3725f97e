package reference

import (
	"math"
	"slices"

	"stylenet/internal/kernels"
)

// The kernels of this file run forward alone.

// Pointwise is a function of one map or of two.
func (d *Device[T]) Pointwise(dst, a, b kernels.Array, f kernels.Pointwise) (kernels.Kernel, error) {
	o := d.operands("pointwise")
	y, x := o.activation(dst), o.activation(a)
	var z *array[T]
	switch {
	case b == nil:
	case f.Function == kernels.PReLU:
		z = o.parameter(b)
	default:
		z = o.activation(b)
	}
	if err := o.verify(func() error { return kernels.CheckPointwise(dst, a, b, f) }); err != nil {
		return nil, err
	}
	return d.each(x.planes(), func(_, i int) {
		n, c := i/x.shape.C, i%x.shape.C
		for py := range x.shape.H {
			out := y.row(n, c, py)
			for px, v := range x.row(n, c, py) {
				second := 0.0
				if z != nil {
					second = float64(z.repeated(n, c, py, px))
				}
				out[px] = T(pointwise(f, float64(v), second))
			}
		}
	}), nil
}

// repeated is the value at a place of what a is repeated to, along each side of
// length 1.
func (a *array[T]) repeated(n, c, y, x int) T {
	s := a.shape
	return a.row(min(n, s.N-1), min(c, s.C-1), min(y, s.H-1))[min(x, s.W-1)]
}

func pointwise(f kernels.Pointwise, x, y float64) float64 {
	low, high := float64(f.A), float64(f.B)
	switch f.Function {
	case kernels.LeakyReLU, kernels.PReLU:
		if f.Function == kernels.LeakyReLU {
			y = low
		}
		if x < 0 {
			return x * y
		}
		return x
	case kernels.Sigmoid:
		return 1 / (1 + math.Exp(-x))
	case kernels.Clip:
		return min(max(x, low), high)
	case kernels.Add:
		return x + y
	case kernels.Subtract:
		return x - y
	case kernels.Multiply:
		return x * y
	}
	return x / y
}

// Arrange puts channels into a new order, and pixels' channels into squares.
func (d *Device[T]) Arrange(dst kernels.Array, srcs []kernels.Array, a kernels.Arrangement) (kernels.Kernel, error) {
	o := d.operands("arrange")
	y := o.activation(dst)
	type channel struct {
		of *array[T]
		c  int
	}
	var all []channel
	for _, src := range srcs {
		if x := o.activation(src); x != nil {
			for c := range x.shape.C {
				all = append(all, channel{x, c})
			}
		}
	}
	if err := o.verify(func() error { return kernels.CheckArrange(dst, srcs, a) }); err != nil {
		return nil, err
	}
	from := slices.Clone(a.From)
	return d.each(y.planes(), func(_, i int) {
		n, c := i/y.shape.C, i%y.shape.C
		for py := range y.shape.H {
			row, phase := (py+a.Top)/a.Block, (py+a.Top)%a.Block*a.Block
			out := y.row(n, c, py)
			for px := range out {
				x := all[from[(phase+px%a.Block)*y.shape.C+c]]
				out[px] = x.of.row(n, x.c, row)[px/a.Block]
			}
		}
	}), nil
}

// Resample makes each row of two rows and each column of two columns.
func (d *Device[T]) Resample(dst, src kernels.Array, rows, cols []kernels.Tap) (kernels.Kernel, error) {
	o := d.operands("resample")
	y, x := o.activation(dst), o.activation(src)
	if err := o.verify(func() error { return kernels.CheckResample(dst, src, rows, cols) }); err != nil {
		return nil, err
	}
	rows, cols = slices.Clone(rows), slices.Clone(cols)
	between := func(t kernels.Tap, a, b float64) float64 { return (1-float64(t.W))*a + float64(t.W)*b }
	return d.each(y.planes(), func(_, i int) {
		n, c := i/y.shape.C, i%y.shape.C
		for py, r := range rows {
			above, below, out := x.row(n, c, int(r.A)), x.row(n, c, int(r.B)), y.row(n, c, py)
			for px, q := range cols {
				out[px] = T(between(q,
					between(r, float64(above[q.A]), float64(below[q.A])),
					between(r, float64(above[q.B]), float64(below[q.B]))))
			}
		}
	}), nil
}

// Warp moves pixels by a flow.
func (d *Device[T]) Warp(dst, src, flow kernels.Array, pairs bool) (kernels.Kernel, error) {
	o := d.operands("warp")
	y, x, f := o.activation(dst), o.activation(src), o.activation(flow)
	if err := o.verify(func() error { return kernels.CheckWarp(dst, src, flow, pairs) }); err != nil {
		return nil, err
	}
	// place is the pixel of n before the place that a flow leads to from pixel p,
	// and how far behind it that lies. What is no number leads to the first.
	place := func(p int, flow float64, n int) (int, float64) {
		if !(flow > float64(-n)) {
			flow = float64(-n)
		}
		whole := math.Floor(min(flow, float64(n)))
		i := p + int(whole)
		switch {
		case i < 0 || n == 1:
			return 0, 0
		case i >= n-1:
			return n - 2, 1
		}
		return i, flow - whole
	}
	return d.each(y.planes(), func(_, i int) {
		n, c := i/y.shape.C, i%y.shape.C
		from := n
		if pairs {
			from ^= 1
		}
		for py := range y.shape.H {
			out, us, vs := y.row(n, c, py), f.row(n, 0, py), f.row(n, 1, py)
			for px := range out {
				x0, u := place(px, float64(us[px]), x.shape.W)
				y0, v := place(py, float64(vs[px]), x.shape.H)
				x1 := min(x0+1, x.shape.W-1)
				above, below := x.row(from, c, y0), x.row(from, c, min(y0+1, x.shape.H-1))
				out[px] = T((1-v)*((1-u)*float64(above[x0])+u*float64(above[x1])) + v*((1-u)*float64(below[x0])+u*float64(below[x1])))
			}
		}
	}), nil
}

// WindowPool takes the maximum or the average of each window.
func (d *Device[T]) WindowPool(dst, src kernels.Array, w kernels.Window) (kernels.Kernel, error) {
	o := d.operands("window pool")
	y, x := o.activation(dst), o.activation(src)
	if err := o.verify(func() error { return kernels.CheckWindowPool(dst, src, w) }); err != nil {
		return nil, err
	}
	return d.each(y.planes(), func(_, i int) {
		n, c := i/y.shape.C, i%y.shape.C
		for py := range y.shape.H {
			top := py*w.Stride - w.Pad.Top
			for px := range y.shape.W {
				left := px*w.Stride - w.Pad.Left
				count, sum, most := 0, 0.0, math.Inf(-1)
				for iy := max(top, 0); iy < min(top+w.Height, x.shape.H); iy++ {
					for _, v := range x.row(n, c, iy)[max(left, 0):min(left+w.Width, x.shape.W)] {
						count++
						sum += float64(v)
						most = max(most, float64(v))
					}
				}
				if w.CountPad {
					count = w.Height * w.Width
				}
				if w.Kind == kernels.AvgPool {
					most = sum / float64(count)
				}
				y.row(n, c, py)[px] = T(most)
			}
		}
	}), nil
}

// GroupStatistics turns the statistics of maps into those of groups of channels.
func (d *Device[T]) GroupStatistics(mean, invstd kernels.Array, groups int) (kernels.Kernel, error) {
	o := d.operands("group statistics")
	m, s := o.parameter(mean), o.parameter(invstd)
	if err := o.verify(func() error { return kernels.CheckGroupStatistics(mean, invstd, groups) }); err != nil {
		return nil, err
	}
	return d.launch(func() error {
		kernels.MergeGroups(m.data, s.data, m.shape.C, groups)
		return nil
	}), nil
}
