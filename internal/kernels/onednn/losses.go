//go:build onednn && cgo

package onednn

// #include "calls.h"
import "C"

import (
	"fmt"
	"slices"

	"stylenet/internal/kernels"
)

// Gram binds the Gram matrices of a batch.
func (d *Device) Gram(dst, src kernels.Array) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckGram(dst, src), dst, src); err != nil {
		return nil, err
	}
	o, i := arr(dst), arr(src)
	return d.simple(func() { C.call_gram(i.table, o.data, i.data, i.dims) })
}

// GramBackward binds the gradient of Gram matrices.
func (d *Device) GramBackward(dsrc, dgram, src kernels.Array) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckGramBackward(dsrc, dgram, src), dsrc, dgram, src); err != nil {
		return nil, err
	}
	o, g, x := arr(dsrc), arr(dgram), arr(src)
	c := align16(x.shape.C)
	return d.bind(func() error {
		scratch, err := d.scratch(c*c + 64)
		if err == nil {
			C.call_gram_backward(x.table, o.data, g.data, x.data, x.dims, scratch)
		}
		return err
	})
}

// MSE binds a mean squared error.
func (d *Device) MSE(loss, a, b kernels.Array) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckMSE(loss, a, b), loss, a, b); err != nil {
		return nil, err
	}
	if err := sameLayout(a, b); err != nil {
		return nil, err
	}
	l, x, y := arr(loss), arr(a), arr(b)
	return d.simple(func() {
		C.call_mse(x.table, l.data, x.data, y.data, x.dims.n, y.dims.n, x.count/C.size_t(x.dims.n), C.size_t(x.shape.Elements()))
	})
}

// MSEBackward binds the gradient of a mean squared error.
func (d *Device) MSEBackward(da, dloss, a, b kernels.Array) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckMSEBackward(da, dloss, a, b), da, dloss, a, b); err != nil {
		return nil, err
	}
	if err := sameLayout(da, a, b); err != nil {
		return nil, err
	}
	o, l, x, y := arr(da), arr(dloss), arr(a), arr(b)
	return d.simple(func() {
		C.call_mse_backward(x.table, o.data, l.data, x.data, y.data, x.dims.n, y.dims.n, x.count/C.size_t(x.dims.n), C.size_t(x.shape.Elements()))
	})
}

// TotalVariation binds the sum of squared differences of neighbours.
func (d *Device) TotalVariation(loss, src kernels.Array) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckLoss("total variation", loss), loss, src); err != nil {
		return nil, err
	}
	l, x := arr(loss), arr(src)
	return d.simple(func() { C.call_tv(x.table, l.data, x.data, x.dims) })
}

// TotalVariationBackward binds its gradient.
func (d *Device) TotalVariationBackward(dsrc, dloss, src kernels.Array) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckTotalVariationBackward(dsrc, dloss, src), dsrc, dloss, src); err != nil {
		return nil, err
	}
	o, l, x := arr(dsrc), arr(dloss), arr(src)
	return d.simple(func() { C.call_tv_backward(x.table, o.data, l.data, x.data, x.dims) })
}

// Dots binds dot products.
func (d *Device) Dots(dst, a kernels.Array, bs []kernels.Array) (kernels.Kernel, error) {
	maps := append(bs[:len(bs):len(bs)], a)
	if err := d.check(kernels.CheckDots(dst, a, bs), append(maps[:len(maps):len(maps)], dst)...); err != nil {
		return nil, err
	}
	if err := sameLayout(maps...); err != nil {
		return nil, err
	}
	o, x, ps := arr(dst), arr(a), pointers(bs)
	return d.simple(func() { C.call_dots(x.table, o.data, x.data, &ps[0], C.int(len(ps)), x.count) })
}

// SquaredNorm binds the sum of squares of parameters.
func (d *Device) SquaredNorm(dst kernels.Array, srcs []kernels.Array) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckSquaredNorm(dst, srcs), append(srcs[:len(srcs):len(srcs)], dst)...); err != nil {
		return nil, err
	}
	o, ps, counts := arr(dst), pointers(srcs), make([]C.size_t, len(srcs))
	for i, a := range srcs {
		counts[i] = arr(a).count
	}
	return d.simple(func() { C.call_squared_norm(d.table.plain, o.data, &ps[0], &counts[0], C.int(len(ps))) })
}

// Adam binds an optimiser step.
func (d *Device) Adam(params, grads, m, v []kernels.Array, squaredNorm kernels.Array, h *kernels.Adam) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckAdam(params, grads, m, v, squaredNorm), slices.Concat(params, grads, m, v, []kernels.Array{squaredNorm})...); err != nil {
		return nil, err
	}
	for i, x := range params {
		if err := sameLayout(x, grads[i], m[i], v[i]); err != nil {
			return nil, err
		}
		if arr(x).dims.blk > 1 {
			return nil, fmt.Errorf("adam: an activation of %d channels is no picture", x.Shape().C)
		}
	}
	p, g, m1, v1, norm := pointers(params), pointers(grads), pointers(m), pointers(v), arr(squaredNorm).data
	return func() { // h is read now, not when the queue gets there
		if err := kernels.CheckAdamStep(h, squaredNorm); err != nil {
			d.queue <- func() error { return err }
			return
		}
		a := C.sn_adam_params{
			lr: C.double(h.LR), beta1: C.double(h.Beta1), beta2: C.double(h.Beta2), eps: C.double(h.Eps),
			clip_norm: C.double(h.ClipNorm), step: C.int(h.Step),
		}
		d.queue <- func() error {
			for i, x := range params {
				C.call_adam(d.table.plain, p[i], g[i], m1[i], v1[i], arr(x).count, norm, &a)
			}
			return nil
		}
	}, nil
}
