//go:build onednn && cgo

package onednn

// #include "calls.h"
import "C"

import (
	"fmt"

	"stylenet/internal/kernels"
)

// Conv binds a convolution.
func (d *Device) Conv(dst, src, w, bias kernels.Array, c kernels.Conv) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckConv(dst, src, w, bias, c), dst, src, w, bias); err != nil {
		return nil, err
	}
	if run, err := d.own(d.spec(arr(dst), arr(src), arr(w), c, arr(bias)), arr(dst), arr(src), arr(w), arr(bias), c.Frozen, fused{}); run != nil || err != nil {
		return run, err
	}
	return d.conv(C.SN_CONV_FORWARD, arr(src), arr(w), arr(bias), arr(dst), c)
}

// ConvBackwardData binds the gradient for the source, or a transposed
// convolution with a bias.
func (d *Device) ConvBackwardData(dsrc, ddst, w, bias kernels.Array, c kernels.Conv) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckConvBackwardData(dsrc, ddst, w, bias, c), dsrc, ddst, w, bias); err != nil {
		return nil, err
	}
	if c.Stride == 1 {
		spec := d.flipped(arr(dsrc), arr(ddst), arr(w), c, arr(bias))
		if run, err := d.own(spec, arr(dsrc), arr(ddst), arr(w), arr(bias), c.Frozen, fused{}); run != nil || err != nil {
			return run, err
		}
	}
	run, err := d.conv(C.SN_CONV_BACKWARD_DATA, arr(dsrc), arr(w), nil, arr(ddst), c)
	if err != nil || bias == nil {
		return run, err
	}
	a, b := arr(dsrc), arr(bias)
	add, err := d.simple(func() { C.call_add_bias(a.table, a.data, b.data, a.dims) })
	return func() { run(); add() }, err
}

// ConvBackwardWeights binds the gradient for the weights and the bias.
func (d *Device) ConvBackwardWeights(dw, db, ddst, src kernels.Array, c kernels.Conv) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckConvBackwardWeights(dw, db, ddst, src, c), dw, db, ddst, src); err != nil {
		return nil, err
	}
	if run, err := d.ownWeights(d.spec(arr(ddst), arr(src), arr(dw), c, arr(db)), arr(dw), arr(db), arr(ddst), arr(src)); run != nil || err != nil {
		return run, err
	}
	return d.conv(C.SN_CONV_BACKWARD_WEIGHTS, arr(src), arr(dw), arr(db), arr(ddst), c)
}

func (d *Device) conv(what C.int, src, w, b, dst *array, c kernels.Conv) (kernels.Kernel, error) {
	if b == nil {
		b = &array{}
	}
	spec := C.sn_conv_spec{
		what: what, src: src.dims, dst: dst.dims,
		kh: C.int(w.shape.H), kw: C.int(w.shape.W), stride: C.int(c.Stride), pad: border(c.Pad),
		relu: flag(c.ReLU && what == C.SN_CONV_FORWARD), bias: flag(b.data != nil), frozen: flag(c.Frozen), exact: flag(d.options.Exact),
	}
	var prim *C.sn_conv
	var bytes int64
	err := d.do(func() error {
		before := C.sn_engine_bytes(d.c)
		code := C.sn_conv_create(&prim, d.c, &spec)
		d.hold(int64(C.sn_engine_bytes(d.c)) - int64(before))
		return status("convolution", code)
	})
	if err != nil {
		return nil, fmt.Errorf("%w (source %v, weights %v, result %v)", err, src.shape, w.shape, dst.shape)
	}
	bytes = int64(C.sn_conv_bytes(prim))
	d.hold(bytes)
	d.cleanup = append(d.cleanup, func() {
		C.sn_conv_destroy(prim)
		d.hold(-bytes)
	})
	return d.bind(func() error {
		return status("convolution", C.sn_conv_run(prim, src.data, w.data, b.data, dst.data))
	})
}

// BiasBackward binds the gradient of a bias.
func (d *Device) BiasBackward(db, ddst kernels.Array) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckBiasBackward(db, ddst), db, ddst); err != nil {
		return nil, err
	}
	g, a := arr(db), arr(ddst)
	return d.simple(func() { C.call_bias_backward(a.table, g.data, a.data, a.dims) })
}
