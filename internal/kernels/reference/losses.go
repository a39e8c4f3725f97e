package reference

import "stylenet/internal/kernels"

// Gram is F·Fᵀ/(C·H·W) of each image.
func (d *Device[T]) Gram(dst, src kernels.Array) (kernels.Kernel, error) {
	o := d.operands("gram")
	g, x := o.parameter(dst), o.activation(src)
	if err := o.verify(func() error { return kernels.CheckGram(dst, src) }); err != nil {
		return nil, err
	}
	s := x.shape
	return d.each(s.N*s.C, func(_, item int) {
		n, a := item/s.C, item%s.C
		for b := range a + 1 {
			v := T(dot(x.plane(n, a), x.plane(n, b), 1) / float64(s.C*s.H*s.W))
			g.image(n)[a*s.C+b] = v
			g.image(n)[b*s.C+a] = v
		}
	}), nil
}

// GramBackward is (dgram + dgramᵀ)·F/(C·H·W).
func (d *Device[T]) GramBackward(dsrc, dgram, src kernels.Array) (kernels.Kernel, error) {
	o := d.operands("gram backward")
	dx, dg, x := o.activation(dsrc), o.parameter(dgram), o.activation(src)
	if err := o.verify(func() error { return kernels.CheckGramBackward(dsrc, dgram, src) }); err != nil {
		return nil, err
	}
	s := x.shape
	size := s.H * s.W
	const chunk = 1024 // of a map, so that a worker's sums stay in cache
	chunks := (size + chunk - 1) / chunk
	sums := d.scratch(min(size, chunk))
	weights := make([][]T, d.threads)
	for i := range weights {
		weights[i] = make([]T, s.C)
	}
	return d.each(s.N*chunks*s.C, func(worker, item int) {
		n, from, c := item/(chunks*s.C), item/s.C%chunks*chunk, item%s.C
		w, acc := weights[worker], sums[worker][:min(chunk, size-from)]
		for j := range w {
			w[j] = dg.image(n)[c*s.C+j] + dg.image(n)[j*s.C+c]
		}
		clear(acc)
		addMaps(acc, 1, x.image(n)[from:], 1, size, w, 1, s.C, len(acc))
		out := dx.plane(n, c)[from:]
		for i, v := range acc {
			out[i] = T(v / float64(s.C*size))
		}
	}), nil
}

// MSE is the mean over all elements of a of (a−b)².
func (d *Device[T]) MSE(loss, a, b kernels.Array) (kernels.Kernel, error) {
	o := d.operands("mse")
	l, xs := o.parameter(loss), o.alike(a, b)
	if err := o.verify(func() error { return kernels.CheckMSE(loss, a, b) }); err != nil {
		return nil, err
	}
	x, target := xs[0], xs[1]
	count := float64(x.shape.Elements())
	return d.total(l, x.planes(), func(i int) float64 {
		target := target.planeAt(i % target.planes())
		sum := 0.0
		for j, v := range x.planeAt(i) {
			diff := float64(v) - float64(target[j])
			sum += diff * diff / count
		}
		return sum
	}), nil
}

// MSEBackward is the gradient of MSE for a, times the scalar dloss.
func (d *Device[T]) MSEBackward(da, dloss, a, b kernels.Array) (kernels.Kernel, error) {
	o := d.operands("mse backward")
	l, xs := o.parameter(dloss), o.alike(da, a, b)
	if err := o.verify(func() error { return kernels.CheckMSEBackward(da, dloss, a, b) }); err != nil {
		return nil, err
	}
	dx, x, target := xs[0], xs[1], xs[2]
	return d.each(x.planes(), func(_, i int) {
		scale := 2 * float64(l.data[0]) / float64(x.shape.Elements())
		out, target := dx.planeAt(i), target.planeAt(i%target.planes())
		for j, v := range x.planeAt(i) {
			out[j] = T(scale * (float64(v) - float64(target[j])))
		}
	}), nil
}

// TotalVariation is the sum of the squared differences of vertical and
// horizontal neighbours.
func (d *Device[T]) TotalVariation(loss, src kernels.Array) (kernels.Kernel, error) {
	o := d.operands("total variation")
	l, x := o.parameter(loss), o.activation(src)
	if err := o.verify(func() error { return kernels.CheckLoss("total variation", loss) }); err != nil {
		return nil, err
	}
	w := x.shape.W
	return d.total(l, x.planes(), func(i int) float64 {
		in, sum := x.planeAt(i), 0.0
		for j, v := range in {
			if j >= w {
				diff := float64(v) - float64(in[j-w])
				sum += diff * diff
			}
			if j%w > 0 {
				diff := float64(v) - float64(in[j-1])
				sum += diff * diff
			}
		}
		return sum
	}), nil
}

// TotalVariationBackward is the gradient of TotalVariation times the scalar
// dloss.
func (d *Device[T]) TotalVariationBackward(dsrc, dloss, src kernels.Array) (kernels.Kernel, error) {
	o := d.operands("total variation backward")
	dx, l, x := o.activation(dsrc), o.parameter(dloss), o.activation(src)
	if err := o.verify(func() error { return kernels.CheckTotalVariationBackward(dsrc, dloss, src) }); err != nil {
		return nil, err
	}
	w := x.shape.W
	return d.each(x.planes(), func(_, i int) {
		in, out, scale := x.planeAt(i), dx.planeAt(i), 2*float64(l.data[0])
		for j, v := range in {
			sum := 0.0
			if j >= w {
				sum += float64(v) - float64(in[j-w])
			}
			if j+w < len(in) {
				sum += float64(v) - float64(in[j+w])
			}
			if j%w > 0 {
				sum += float64(v) - float64(in[j-1])
			}
			if j%w+1 < w {
				sum += float64(v) - float64(in[j+1])
			}
			out[j] = T(scale * sum)
		}
	}), nil
}

// total makes a kernel that adds up parts of a sum into a scalar, in their
// order.
func (d *Device[T]) total(dst *array[T], parts int, part func(i int) float64) kernels.Kernel {
	sums := make([]float64, parts)
	run := d.split(parts, func(_, i int) { sums[i] = part(i) })
	return d.launch(func() error {
		run()
		sum := 0.0
		for _, s := range sums {
			sum += s
		}
		dst.data[0] = T(sum)
		return nil
	})
}
