package reference

import "stylenet/internal/kernels"

// Pad puts a border around each map.
func (d *Device[T]) Pad(dst, src kernels.Array, mode kernels.PadMode, p kernels.Padding) (kernels.Kernel, error) {
	o := d.operands("pad")
	y, x := o.activation(dst), o.activation(src)
	if err := o.verify(func() error { return kernels.CheckPad(dst, src, mode, p) }); err != nil {
		return nil, err
	}
	rows := border(mode, x.shape.H, p.Top, y.shape.H)
	cols := border(mode, x.shape.W, p.Left, y.shape.W)
	return d.each(y.planes(), func(_, i int) {
		n, c := i/y.shape.C, i%y.shape.C
		for oy, iy := range rows {
			out := y.row(n, c, oy)
			if iy < 0 {
				clear(out)
				continue
			}
			in := x.row(n, c, iy)
			for ox, ix := range cols {
				if ix < 0 {
					out[ox] = 0
				} else {
					out[ox] = in[ix]
				}
			}
		}
	}), nil
}

// PadBackward sums the gradient of the padded map into that of its source.
func (d *Device[T]) PadBackward(dsrc, ddst kernels.Array, mode kernels.PadMode, p kernels.Padding) (kernels.Kernel, error) {
	o := d.operands("pad backward")
	dx, dy := o.activation(dsrc), o.activation(ddst)
	if err := o.verify(func() error { return kernels.CheckPad(ddst, dsrc, mode, p) }); err != nil {
		return nil, err
	}
	cols := border(mode, dx.shape.W, p.Left, dy.shape.W)
	copies := make([][]int, dx.shape.H) // the padded rows that show each row
	for oy, iy := range border(mode, dx.shape.H, p.Top, dy.shape.H) {
		if iy >= 0 {
			copies[iy] = append(copies[iy], oy)
		}
	}
	rows := d.scratch(dx.shape.W)
	return d.each(dx.planes(), func(worker, i int) {
		n, c, acc := i/dx.shape.C, i%dx.shape.C, rows[worker]
		for iy, copies := range copies {
			clear(acc)
			for _, oy := range copies {
				for ox, v := range dy.row(n, c, oy) {
					if ix := cols[ox]; ix >= 0 {
						acc[ix] += float64(v)
					}
				}
			}
			out := dx.row(n, c, iy)
			for ix, v := range acc {
				out[ix] = T(v)
			}
		}
	}), nil
}

// border maps each row (or column) of a padded map to the one of its source
// that it shows, or to −1 for zeros.
func border(mode kernels.PadMode, size, before, padded int) []int {
	at := make([]int, padded)
	for o := range at {
		i := o - before
		switch {
		case i >= 0 && i < size:
		case mode == kernels.PadReflect && i < 0:
			i = -i
		case mode == kernels.PadReflect:
			i = 2*(size-1) - i
		case mode == kernels.PadEdge:
			i = min(max(i, 0), size-1)
		default:
			i = -1
		}
		at[o] = i
	}
	return at
}

// Upsample repeats every pixel factor×factor times.
func (d *Device[T]) Upsample(dst, src kernels.Array, factor int) (kernels.Kernel, error) {
	o := d.operands("upsample")
	y, x := o.activation(dst), o.activation(src)
	if err := o.verify(func() error { return kernels.CheckUpsample(dst, src, factor) }); err != nil {
		return nil, err
	}
	return d.each(y.planes(), func(_, i int) {
		n, c := i/y.shape.C, i%y.shape.C
		for oy := range y.shape.H {
			in, out := x.row(n, c, oy/factor), y.row(n, c, oy)
			for ix, v := range in {
				for ox := ix * factor; ox < (ix+1)*factor; ox++ {
					out[ox] = v
				}
			}
		}
	}), nil
}

// UpsampleBackward sums the gradient over each factor×factor square.
func (d *Device[T]) UpsampleBackward(dsrc, ddst kernels.Array, factor int) (kernels.Kernel, error) {
	o := d.operands("upsample backward")
	dx, dy := o.activation(dsrc), o.activation(ddst)
	if err := o.verify(func() error { return kernels.CheckUpsample(ddst, dsrc, factor) }); err != nil {
		return nil, err
	}
	return d.each(dx.planes(), func(_, i int) {
		n, c := i/dx.shape.C, i%dx.shape.C
		for iy := range dx.shape.H {
			out := dx.row(n, c, iy)
			for ix := range out {
				sum := 0.0
				for oy := iy * factor; oy < (iy+1)*factor; oy++ {
					for _, v := range dy.row(n, c, oy)[ix*factor : (ix+1)*factor] {
						sum += float64(v)
					}
				}
				out[ix] = T(sum)
			}
		}
	}), nil
}

// Pool takes the maximum or the average of each 2×2 square.
func (d *Device[T]) Pool(dst, src kernels.Array, kind kernels.PoolKind) (kernels.Kernel, error) {
	o := d.operands("pool")
	y, x := o.activation(dst), o.activation(src)
	if err := o.verify(func() error { return kernels.CheckPool(dst, src, kind) }); err != nil {
		return nil, err
	}
	return d.each(y.planes(), func(_, i int) {
		n, c := i/y.shape.C, i%y.shape.C
		for oy := range y.shape.H {
			top, bottom, out := x.row(n, c, 2*oy), x.row(n, c, 2*oy+1), y.row(n, c, oy)
			for ox := range out {
				a, b, c, d := top[2*ox], top[2*ox+1], bottom[2*ox], bottom[2*ox+1]
				if kind == kernels.MaxPool {
					out[ox] = max(a, b, c, d)
				} else {
					out[ox] = T((float64(a) + float64(b) + float64(c) + float64(d)) / 4)
				}
			}
		}
	}), nil
}

// PoolBackward gives the gradient of a maximum to the first largest element in
// row-major order, and that of an average to all four. An odd last row or
// column receives zero.
func (d *Device[T]) PoolBackward(dsrc, ddst, src kernels.Array, kind kernels.PoolKind) (kernels.Kernel, error) {
	o := d.operands("pool backward")
	dx, dy, x := o.activation(dsrc), o.activation(ddst), o.activation(src)
	if err := o.verify(func() error { return kernels.CheckPoolBackward(dsrc, ddst, src, kind) }); err != nil {
		return nil, err
	}
	w := x.shape.W
	return d.each(x.planes(), func(_, i int) {
		n, c := i/x.shape.C, i%x.shape.C
		in, out := x.planeAt(i), dx.planeAt(i)
		clear(out)
		for oy := range dy.shape.H {
			for ox, grad := range dy.row(n, c, oy) {
				at := 2*oy*w + 2*ox
				square := [4]int{at, at + 1, at + w, at + w + 1}
				if kind == kernels.AvgPool {
					for _, j := range square {
						out[j] = grad / 4
					}
					continue
				}
				first := at
				for _, j := range square[1:] {
					if in[j] > in[first] {
						first = j
					}
				}
				out[first] = grad
			}
		}
	}), nil
}
