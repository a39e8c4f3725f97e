package reference

import (
	"math"

	"stylenet/internal/kernels"
)

// ChannelAffine is dst = scale[c]·src + shift[c]; shift may be nil.
func (d *Device[T]) ChannelAffine(dst, src, scale, shift kernels.Array) (kernels.Kernel, error) {
	o := d.operands("channel affine")
	y, x, k, b := o.activation(dst), o.activation(src), o.parameter(scale), o.optional(shift)
	if err := o.verify(func() error { return kernels.CheckChannelAffine(dst, src, scale, shift) }); err != nil {
		return nil, err
	}
	return d.each(x.planes(), func(_, i int) {
		c := i % x.shape.C
		scale, shift := k.data[c], T(0)
		if b != nil {
			shift = b.data[c]
		}
		out := y.planeAt(i)
		for j, v := range x.planeAt(i) {
			out[j] = scale*v + shift
		}
	}), nil
}

// ReLU is max(0, src).
func (d *Device[T]) ReLU(dst, src kernels.Array) (kernels.Kernel, error) {
	o := d.operands("relu")
	y, x := o.activation(dst), o.activation(src)
	if err := o.verify(func() error { return kernels.CheckSame("relu", true, dst, src) }); err != nil {
		return nil, err
	}
	return d.each(x.planes(), func(_, i int) {
		out := y.planeAt(i)
		for j, v := range x.planeAt(i) {
			out[j] = max(0, v)
		}
	}), nil
}

// ReLUBackward passes ddst on where the result dst was above zero.
func (d *Device[T]) ReLUBackward(dsrc, ddst, dst kernels.Array) (kernels.Kernel, error) {
	o := d.operands("relu backward")
	dx, dy, y := o.activation(dsrc), o.activation(ddst), o.activation(dst)
	if err := o.verify(func() error { return kernels.CheckSame("relu backward", true, dsrc, ddst, dst) }); err != nil {
		return nil, err
	}
	return d.each(y.planes(), func(_, i int) {
		dx, dy := dx.planeAt(i), dy.planeAt(i)
		for j, v := range y.planeAt(i) {
			if v > 0 {
				dx[j] = dy[j]
			} else {
				dx[j] = 0
			}
		}
	}), nil
}

// Tanh is scale·tanh(src) + offset.
func (d *Device[T]) Tanh(dst, src kernels.Array, scale, offset float32) (kernels.Kernel, error) {
	o := d.operands("tanh")
	y, x := o.activation(dst), o.activation(src)
	if err := o.verify(func() error { return kernels.CheckSame("tanh", false, dst, src) }); err != nil {
		return nil, err
	}
	return d.each(x.planes(), func(_, i int) {
		out := y.planeAt(i)
		for j, v := range x.planeAt(i) {
			out[j] = T(float64(scale)*math.Tanh(float64(v)) + float64(offset))
		}
	}), nil
}

// TanhBackward is the gradient of Tanh from its result dst.
func (d *Device[T]) TanhBackward(dsrc, ddst, dst kernels.Array, scale, offset float32) (kernels.Kernel, error) {
	o := d.operands("tanh backward")
	dx, dy, y := o.activation(dsrc), o.activation(ddst), o.activation(dst)
	if err := o.verify(func() error { return kernels.CheckSame("tanh backward", false, dsrc, ddst, dst) }); err != nil {
		return nil, err
	}
	return d.each(y.planes(), func(_, i int) {
		dx, dy := dx.planeAt(i), dy.planeAt(i)
		for j, v := range y.planeAt(i) {
			t := (float64(v) - float64(offset)) / float64(scale)
			dx[j] = T(float64(dy[j]) * float64(scale) * (1 - t*t))
		}
	}), nil
}

// Sum is the weighted sum of arrays of one shape.
func (d *Device[T]) Sum(dst kernels.Array, srcs []kernels.Array, weights []float32) (kernels.Kernel, error) {
	o := d.operands("sum")
	as := o.alike(append([]kernels.Array{dst}, srcs...)...)
	if err := o.verify(func() error { return kernels.CheckSum(dst, srcs, weights) }); err != nil {
		return nil, err
	}
	ws := append([]float32(nil), weights...)
	return d.sum(as[0], as[1:], func(k int) float64 { return float64(ws[k]) }), nil
}

// Combine is the weighted sum of arrays of one shape, with weights of the
// device.
func (d *Device[T]) Combine(dst kernels.Array, srcs []kernels.Array, weights kernels.Array) (kernels.Kernel, error) {
	o := d.operands("combine")
	as, ws := o.alike(append([]kernels.Array{dst}, srcs...)...), o.parameter(weights)
	if err := o.verify(func() error { return kernels.CheckCombine(dst, srcs, weights) }); err != nil {
		return nil, err
	}
	return d.sum(as[0], as[1:], func(k int) float64 { return float64(ws.data[k]) }), nil
}

func (d *Device[T]) sum(y *array[T], xs []*array[T], weight func(k int) float64) kernels.Kernel {
	return d.each(y.planes(), func(_, i int) {
		out := y.planeAt(i)
		for j := range out {
			sum := 0.0
			for k, x := range xs {
				sum += weight(k) * float64(x.data[i*len(out)+j])
			}
			out[j] = T(sum)
		}
	})
}
