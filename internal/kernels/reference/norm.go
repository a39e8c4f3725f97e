package reference

import (
	"math"

	"stylenet/internal/kernels"
)

// Norm normalises each map, or each channel over the batch with n.Batch, then
// scales and shifts it.
func (d *Device[T]) Norm(dst, mean, invstd, src, gamma, beta kernels.Array, n kernels.Norm) (kernels.Kernel, error) {
	o := d.operands("norm")
	y, x := o.activation(dst), o.activation(src)
	m, r, g, b := o.parameter(mean), o.parameter(invstd), o.parameter(gamma), o.parameter(beta)
	if err := o.verify(func() error { return kernels.CheckNorm(dst, mean, invstd, src, gamma, beta, n) }); err != nil {
		return nil, err
	}
	return d.each(m.shape.Elements(), func(_, group int) {
		c := group % x.shape.C
		first, end := images(group, x.shape, n)
		mean, invstd := statistics(x, group, n)
		m.data[group], r.data[group] = T(mean), T(invstd)
		scale, shift := float64(g.data[c])*invstd, float64(b.data[c])
		for i := first; i < end; i++ {
			out := y.plane(i, c)
			for j, v := range x.plane(i, c) {
				v := scale*(float64(v)-mean) + shift
				if n.ReLU && v < 0 {
					v = 0
				}
				out[j] = T(v)
			}
		}
	}), nil
}

// statistics returns the mean and 1/√(variance + n.Eps) of a group.
func statistics[T Float](x *array[T], group int, n kernels.Norm) (mean, invstd float64) {
	c := group % x.shape.C
	first, end := images(group, x.shape, n)
	count := float64((end - first) * x.shape.H * x.shape.W)
	sum := 0.0
	for i := first; i < end; i++ {
		for _, v := range x.plane(i, c) {
			sum += float64(v)
		}
	}
	mean = sum / count
	sum = 0
	for i := first; i < end; i++ {
		for _, v := range x.plane(i, c) {
			sum += (float64(v) - mean) * (float64(v) - mean)
		}
	}
	return mean, 1 / math.Sqrt(sum/count+float64(n.Eps))
}

// images is the range of images that share one group of statistics.
func images(group int, s kernels.Shape, n kernels.Norm) (first, end int) {
	if n.Batch {
		return 0, s.N
	}
	return group / s.C, group/s.C + 1
}

// NormBackward is Norm's gradient for all of its inputs.
func (d *Device[T]) NormBackward(dsrc, dgamma, dbeta, ddst, src, gamma, beta, mean, invstd kernels.Array, n kernels.Norm) (kernels.Kernel, error) {
	o := d.operands("norm backward")
	dx, dy, x := o.activation(dsrc), o.activation(ddst), o.activation(src)
	dg, db, g, b := o.parameter(dgamma), o.parameter(dbeta), o.parameter(gamma), o.parameter(beta)
	m, r := o.parameter(mean), o.parameter(invstd)
	if err := o.verify(func() error {
		return kernels.CheckNormBackward(dsrc, dgamma, dbeta, ddst, src, gamma, beta, mean, invstd, n)
	}); err != nil {
		return nil, err
	}
	return d.each(x.shape.C, func(_, c int) {
		sumGamma, sumBeta := 0.0, 0.0
		scale, shift := float64(g.data[c]), float64(b.data[c])
		for group := c; group < m.shape.Elements(); group += x.shape.C {
			first, end := images(group, x.shape, n)
			mean, invstd := float64(m.data[group]), float64(r.data[group])
			// at returns the gradient behind the ReLU and the normalised value.
			at := func(dy, x T) (float64, float64) {
				grad, norm := float64(dy), (float64(x)-mean)*invstd
				if n.ReLU && !(scale*norm+shift > 0) {
					grad = 0
				}
				return grad, norm
			}
			sum, sumNorm := 0.0, 0.0
			for i := first; i < end; i++ {
				dy := dy.plane(i, c)
				for j, v := range x.plane(i, c) {
					grad, norm := at(dy[j], v)
					sum += grad
					sumNorm += grad * norm
				}
			}
			count := float64((end - first) * x.shape.H * x.shape.W)
			for i := first; i < end; i++ {
				dx, dy := dx.plane(i, c), dy.plane(i, c)
				for j, v := range x.plane(i, c) {
					grad, norm := at(dy[j], v)
					dx[j] = T(scale * invstd * (grad - sum/count - norm*sumNorm/count))
				}
			}
			sumBeta += sum
			sumGamma += sumNorm
		}
		dg.data[c], db.data[c] = T(sumGamma), T(sumBeta)
	}), nil
}
