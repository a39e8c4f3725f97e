package reference

import "stylenet/internal/kernels"

// FusedConv is a convolution of what r makes of src, and the statistics of its
// result.
func (d *Device[T]) FusedConv(dst, mean, invstd, src kernels.Array, r kernels.Read, w, bias kernels.Array, c kernels.Conv, n kernels.Norm) (kernels.Kernel, error) {
	o := d.operands("fused conv")
	y, x, k, b := o.activation(dst), o.source(src, r), o.parameter(w), o.optional(bias)
	m, s := o.optional(mean), o.optional(invstd)
	if err := o.verify(func() error { return kernels.CheckFusedConv(dst, mean, invstd, src, r, w, bias, c, n) }); err != nil {
		return nil, err
	}
	in, fill := d.stage(x)
	conv := d.conv(y, in, k, b, c)
	if m == nil {
		return d.launch(func() error { fill(); conv(); return nil }), nil
	}
	stats := d.split(m.planes(), func(_, group int) {
		mean, invstd := statistics(y, group, n)
		m.data[group], s.data[group] = T(mean), T(invstd)
	})
	return d.launch(func() error { fill(); conv(); stats(); return nil }), nil
}

// FusedSum is the sum of what rs make of one or two sources.
func (d *Device[T]) FusedSum(dst kernels.Array, srcs []kernels.Array, rs []kernels.Read) (kernels.Kernel, error) {
	o := d.operands("fused sum")
	y, xs := o.activation(dst), make([]*source[T], min(len(srcs), len(rs)))
	for i := range xs {
		xs[i] = o.source(srcs[i], rs[i])
	}
	if err := o.verify(func() error { return kernels.CheckFusedSum(dst, srcs, rs) }); err != nil {
		return nil, err
	}
	for _, x := range xs {
		x.lay()
	}
	return d.each(y.planes(), func(_, i int) {
		n, c := i/y.shape.C, i%y.shape.C
		for oy := range y.shape.H {
			for ox := range y.shape.W {
				sum := 0.0
				for _, x := range xs {
					sum += x.at(n, c, oy, ox)
				}
				y.row(n, c, oy)[ox] = T(sum)
			}
		}
	}), nil
}

// source is an array with the way to read it.
type source[T Float] struct {
	*array[T]
	read                      kernels.Read
	mean, invstd, gamma, beta *array[T] // nil where it is not normalised
	rows, cols                []int     // of the enlarged source, as border gives them
}

func (o *operands[T]) source(src kernels.Array, r kernels.Read) *source[T] {
	return &source[T]{
		array: o.activation(src), read: r,
		mean: o.optional(r.Mean), invstd: o.optional(r.InvStd), gamma: o.optional(r.Gamma), beta: o.optional(r.Beta),
	}
}

// lay finds the rows and columns that are read, of checked arguments.
func (x *source[T]) lay() {
	r, up, s := x.read, max(1, x.read.Upsample), x.read.Shape(x.shape)
	x.rows = border(r.Mode, x.shape.H*up, r.Pad.Top, s.H)
	x.cols = border(r.Mode, x.shape.W*up, r.Pad.Left, s.W)
}

// at is the value that is read at a pixel.
func (x *source[T]) at(n, c, oy, ox int) float64 {
	iy, ix, up := x.rows[oy], x.cols[ox], max(1, x.read.Upsample)
	if iy < 0 || ix < 0 {
		return 0
	}
	v := float64(x.row(n, c, iy/up)[ix/up])
	if x.mean != nil {
		group := n%x.mean.shape.N*x.shape.C + c
		v = float64(x.gamma.data[c])*float64(x.invstd.data[group])*(v-float64(x.mean.data[group])) + float64(x.beta.data[c])
	}
	if x.read.ReLU && v < 0 {
		return 0
	}
	return v
}

// stage returns an array that holds what is read of a source once the function
// has run, until the next kernel runs. Kernels of a device share its memory.
func (d *Device[T]) stage(x *source[T]) (*array[T], func()) {
	if x.read.Plain() {
		return x.array, func() {}
	}
	x.lay()
	y := &array[T]{shape: x.read.Shape(x.shape), owner: d}
	n := y.shape.Elements()
	if n > cap(d.staged) {
		d.account(-bytes(d.staged))
		d.staged = make([]T, n)
		d.account(bytes(d.staged))
	}
	run := d.split(y.planes(), func(_, i int) {
		n, c := i/y.shape.C, i%y.shape.C
		for oy := range y.shape.H {
			for ox := range y.shape.W {
				y.row(n, c, oy)[ox] = T(x.at(n, c, oy, ox))
			}
		}
	})
	return y, func() {
		y.data = d.staged[:n] // which may have grown since
		run()
	}
}
