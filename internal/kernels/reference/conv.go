package reference

import "stylenet/internal/kernels"

// Conv is the cross-correlation dst = w ⋆ src + bias, with c.ReLU followed by
// max(0, ·).
func (d *Device[T]) Conv(dst, src, w, bias kernels.Array, c kernels.Conv) (kernels.Kernel, error) {
	o := d.operands("conv")
	y, x, k, b := o.activation(dst), o.activation(src), o.parameter(w), o.optional(bias)
	if err := o.verify(func() error { return kernels.CheckConv(dst, src, w, bias, c) }); err != nil {
		return nil, err
	}
	run := d.conv(y, x, k, b, c)
	return d.launch(func() error { run(); return nil }), nil
}

func (d *Device[T]) conv(y, x, k, b *array[T], c kernels.Conv) func() {
	in, out, ker := x.shape, y.shape, k.shape
	rows := d.scratch(out.W)
	return d.split(out.N*out.H*out.C, func(worker, item int) {
		// Neighbouring items read the same rows of the source.
		n, oy, oc := item/(out.H*out.C), item/out.C%out.H, item%out.C
		acc := rows[worker]
		fill(acc, b, oc)
		for ky := range ker.H {
			iy := oy*c.Stride + ky - c.Pad.Top
			if iy < 0 || iy >= in.H {
				continue
			}
			for kx := range ker.W {
				shift := kx - c.Pad.Left
				lo, hi := span(out.W, in.W, c.Stride, shift)
				if lo == hi {
					continue
				}
				addMaps(acc[lo:], 1,
					x.image(n)[iy*in.W+lo*c.Stride+shift:], c.Stride, in.H*in.W,
					k.data[(oc*ker.C*ker.H+ky)*ker.W+kx:], ker.H*ker.W,
					in.C, hi-lo)
			}
		}
		row := y.row(n, oc, oy)
		for i, v := range acc {
			if c.ReLU && v < 0 {
				v = 0
			}
			row[i] = T(v)
		}
	})
}

// ConvBackwardData is the gradient of Conv for its source plus bias: the
// transposed convolution.
func (d *Device[T]) ConvBackwardData(dsrc, ddst, w, bias kernels.Array, c kernels.Conv) (kernels.Kernel, error) {
	o := d.operands("conv backward data")
	x, y, k, b := o.activation(dsrc), o.activation(ddst), o.parameter(w), o.optional(bias)
	if err := o.verify(func() error { return kernels.CheckConvBackwardData(dsrc, ddst, w, bias, c) }); err != nil {
		return nil, err
	}
	in, out, ker := x.shape, y.shape, k.shape
	rows := d.scratch(in.W)
	return d.each(in.N*in.H*in.C, func(worker, item int) {
		n, iy, ic := item/(in.H*in.C), item/in.C%in.H, item%in.C
		acc := rows[worker]
		fill(acc, b, ic)
		for ky := range ker.H {
			// Conv read row iy = oy·stride + ky − top.
			t := iy + c.Pad.Top - ky
			oy := t / c.Stride
			if t < 0 || t%c.Stride != 0 || oy >= out.H {
				continue
			}
			for kx := range ker.W {
				shift := kx - c.Pad.Left
				lo, hi := span(out.W, in.W, c.Stride, shift)
				if lo == hi {
					continue
				}
				addMaps(acc[lo*c.Stride+shift:], c.Stride,
					y.image(n)[oy*out.W+lo:], 1, out.H*out.W,
					k.data[(ic*ker.H+ky)*ker.W+kx:], ker.C*ker.H*ker.W,
					out.C, hi-lo)
			}
		}
		row := x.row(n, ic, iy)
		for i, v := range acc {
			row[i] = T(v)
		}
	}), nil
}

// ConvBackwardWeights is the gradient of Conv for its weights and, unless db
// is nil, its bias.
func (d *Device[T]) ConvBackwardWeights(dw, db, ddst, src kernels.Array, c kernels.Conv) (kernels.Kernel, error) {
	o := d.operands("conv backward weights")
	k, b, y, x := o.parameter(dw), o.optional(db), o.activation(ddst), o.activation(src)
	if err := o.verify(func() error { return kernels.CheckConvBackwardWeights(dw, db, ddst, src, c) }); err != nil {
		return nil, err
	}
	in, out, ker := x.shape, y.shape, k.shape
	weights := d.split(ker.N*ker.C, func(_, item int) {
		oc, ic := item/ker.C, item%ker.C
		kernel := k.plane(oc, ic)
		for ky := range ker.H {
			for kx := range ker.W {
				shift := kx - c.Pad.Left
				lo, hi := span(out.W, in.W, c.Stride, shift)
				sum := 0.0
				for n := range out.N {
					for oy := range out.H {
						iy := oy*c.Stride + ky - c.Pad.Top
						if lo == hi || iy < 0 || iy >= in.H {
							continue
						}
						sum += dot(y.row(n, oc, oy)[lo:hi], x.row(n, ic, iy)[lo*c.Stride+shift:], c.Stride)
					}
				}
				kernel[ky*ker.W+kx] = T(sum)
			}
		}
	})
	if b == nil {
		return d.launch(func() error { weights(); return nil }), nil
	}
	biases := d.biasBackward(b, y)
	return d.launch(func() error { weights(); biases(); return nil }), nil
}

// BiasBackward sums ddst over everything but the channels.
func (d *Device[T]) BiasBackward(db, ddst kernels.Array) (kernels.Kernel, error) {
	o := d.operands("bias backward")
	b, y := o.parameter(db), o.activation(ddst)
	if err := o.verify(func() error { return kernels.CheckBiasBackward(db, ddst) }); err != nil {
		return nil, err
	}
	run := d.biasBackward(b, y)
	return d.launch(func() error { run(); return nil }), nil
}

func (d *Device[T]) biasBackward(db, ddst *array[T]) func() {
	return d.split(ddst.shape.C, func(_, c int) {
		sum := 0.0
		for n := range ddst.shape.N {
			for _, v := range ddst.plane(n, c) {
				sum += float64(v)
			}
		}
		db.data[c] = T(sum)
	})
}

// fill sets a row to the bias of a channel; b may be nil.
func fill[T Float](row []float64, b *array[T], channel int) {
	v := 0.0
	if b != nil {
		v = float64(b.data[channel])
	}
	for i := range row {
		row[i] = v
	}
}

// span returns the range of output columns x whose source column
// x·stride + shift lies inside a row of that width.
func span(outputs, width, stride, shift int) (lo, hi int) {
	if shift < 0 {
		lo = (-shift + stride - 1) / stride
	}
	if last := width - 1 - shift; last >= 0 {
		hi = min(outputs, last/stride+1)
	}
	return min(lo, hi), hi
}

// addMaps adds to n values of acc, step accStep, the weighted sum over all
// channels of n values of src, step srcStep. Channel c begins at src[c·srcMap]
// and has the weight w[c·wMap].
func addMaps[T Float](acc []float64, accStep int, src []T, srcStep, srcMap int, w []T, wMap, channels, n int) {
	acc = acc[:(n-1)*accStep+1]
	size := (n-1)*srcStep + 1
	at := func(c int) ([]T, float64) { return src[c*srcMap:][:size], float64(w[c*wMap]) }
	c := 0
	// Four channels at a time read and write acc a quarter as often.
	for ; c+4 <= channels; c += 4 {
		s0, w0 := at(c)
		s1, w1 := at(c + 1)
		s2, w2 := at(c + 2)
		s3, w3 := at(c + 3)
		if accStep == 1 && srcStep == 1 {
			for i := range acc {
				acc[i] += w0*float64(s0[i]) + w1*float64(s1[i]) + w2*float64(s2[i]) + w3*float64(s3[i])
			}
			continue
		}
		for i, j := 0, 0; i < len(acc); i, j = i+accStep, j+srcStep {
			acc[i] += w0*float64(s0[j]) + w1*float64(s1[j]) + w2*float64(s2[j]) + w3*float64(s3[j])
		}
	}
	for ; c < channels; c++ {
		s, w := at(c)
		for i, j := 0, 0; i < len(acc); i, j = i+accStep, j+srcStep {
			acc[i] += w * float64(s[j])
		}
	}
}

// dot is the sum of a[i]·b[i·step]. Four partial sums let a processor overlap
// the additions.
func dot[T Float](a, b []T, step int) float64 {
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += float64(a[i]) * float64(b[i*step])
		s1 += float64(a[i+1]) * float64(b[(i+1)*step])
		s2 += float64(a[i+2]) * float64(b[(i+2)*step])
		s3 += float64(a[i+3]) * float64(b[(i+3)*step])
	}
	for ; i < len(a); i++ {
		s0 += float64(a[i]) * float64(b[i*step])
	}
	return s0 + s1 + s2 + s3
}
