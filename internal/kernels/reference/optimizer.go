package reference

import (
	"math"

	"stylenet/internal/kernels"
)

// Dots is the dot product of a with each of bs.
func (d *Device[T]) Dots(dst, a kernels.Array, bs []kernels.Array) (kernels.Kernel, error) {
	o := d.operands("dots")
	y, as := o.parameter(dst), o.alike(append([]kernels.Array{a}, bs...)...)
	if err := o.verify(func() error { return kernels.CheckDots(dst, a, bs) }); err != nil {
		return nil, err
	}
	x := as[0]
	return d.each(len(bs), func(_, i int) { y.data[i] = T(dot(x.data, as[1+i].data, 1)) }), nil
}

// SquaredNorm is the sum of the squares of all values of parameters.
func (d *Device[T]) SquaredNorm(dst kernels.Array, srcs []kernels.Array) (kernels.Kernel, error) {
	o := d.operands("squared norm")
	y, xs := o.parameter(dst), o.parameters(srcs)
	if err := o.verify(func() error { return kernels.CheckSquaredNorm(dst, srcs) }); err != nil {
		return nil, err
	}
	return d.total(y, len(xs), func(i int) float64 { return dot(xs[i].data, xs[i].data, 1) }), nil
}

// Adam updates parameters in place, with its moments m and v. The epsilon
// stands beside the corrected root of v, as in PyTorch.
func (d *Device[T]) Adam(params, grads, m, v []kernels.Array, squaredNorm kernels.Array, h *kernels.Adam) (kernels.Kernel, error) {
	o := d.operands("adam")
	var ps, gs, ms, vs []*array[T]
	norm := o.optional(squaredNorm)
	for i := range min(len(params), len(grads), len(m), len(v)) {
		as := o.alike(params[i], grads[i], m[i], v[i])
		if o.err == nil && !as[0].parameter && as[0].shape.C > kernels.PlainChannels {
			o.fail("an activation of %d channels is no picture", as[0].shape.C)
		}
		ps, gs, ms, vs = append(ps, as[0]), append(gs, as[1]), append(ms, as[2]), append(vs, as[3])
	}
	if err := o.verify(func() error { return kernels.CheckAdam(params, grads, m, v, squaredNorm) }); err != nil {
		return nil, err
	}
	run := d.split(len(ps), func(_, i int) {
		clip := 1.0
		if h.ClipNorm > 0 {
			clip = min(1, h.ClipNorm/(math.Sqrt(float64(norm.data[0]))+1e-6))
		}
		rate := h.LR / (1 - math.Pow(h.Beta1, float64(h.Step)))
		root := math.Sqrt(1 - math.Pow(h.Beta2, float64(h.Step)))
		p, m, v := ps[i].data, ms[i].data, vs[i].data
		for j, g := range gs[i].data {
			g := clip * float64(g)
			first := h.Beta1*float64(m[j]) + (1-h.Beta1)*g
			second := h.Beta2*float64(v[j]) + (1-h.Beta2)*g*g
			m[j], v[j] = T(first), T(second)
			p[j] = T(float64(p[j]) - rate*first/(math.Sqrt(second)/root+h.Eps))
		}
	})
	return d.launch(func() error {
		if err := kernels.CheckAdamStep(h, squaredNorm); err != nil {
			return err
		}
		run()
		return nil
	}), nil
}
