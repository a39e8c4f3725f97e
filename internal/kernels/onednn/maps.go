//go:build onednn && cgo

package onednn

// #include "calls.h"
import "C"

import (
	"unsafe"

	"stylenet/internal/kernels"
)

// Pad binds a border.
func (d *Device) Pad(dst, src kernels.Array, mode kernels.PadMode, p kernels.Padding) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckPad(dst, src, mode, p), dst, src); err != nil {
		return nil, err
	}
	o, i, b := arr(dst), arr(src), border(p)
	return d.simple(func() { C.call_pad(i.table, o.data, i.data, i.dims, C.int(mode), b) })
}

// PadBackward binds the gradient of a border.
func (d *Device) PadBackward(dsrc, ddst kernels.Array, mode kernels.PadMode, p kernels.Padding) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckPad(ddst, dsrc, mode, p), ddst, dsrc); err != nil {
		return nil, err
	}
	o, i, b := arr(dsrc), arr(ddst), border(p)
	return d.simple(func() { C.call_pad_backward(o.table, o.data, i.data, o.dims, C.int(mode), b) })
}

// Norm binds a normalisation.
func (d *Device) Norm(dst, mean, invstd, src, gamma, beta kernels.Array, n kernels.Norm) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckNorm(dst, mean, invstd, src, gamma, beta, n), dst, mean, invstd, src, gamma, beta); err != nil {
		return nil, err
	}
	o, m, s, i, g, b := arr(dst), arr(mean), arr(invstd), arr(src), arr(gamma), arr(beta)
	return d.simple(func() {
		C.call_norm(i.table, o.data, m.data, s.data, i.data, g.data, b.data, i.dims, C.float(n.Eps), flag(n.Batch), flag(n.ReLU))
	})
}

// NormBackward binds the gradient of a normalisation.
func (d *Device) NormBackward(dsrc, dgamma, dbeta, ddst, src, gamma, beta, mean, invstd kernels.Array, n kernels.Norm) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckNormBackward(dsrc, dgamma, dbeta, ddst, src, gamma, beta, mean, invstd, n), dsrc, dgamma, dbeta, ddst, src, gamma, beta, mean, invstd); err != nil {
		return nil, err
	}
	o, dg, db, dy, x := arr(dsrc), arr(dgamma), arr(dbeta), arr(ddst), arr(src)
	g, b, m, s := arr(gamma), arr(beta), arr(mean), arr(invstd)
	floats := 2*x.shape.N*align16(x.shape.C) + 64
	return d.bind(func() error {
		scratch, err := d.scratch(floats)
		if err == nil {
			C.call_norm_backward(x.table, o.data, dg.data, db.data, dy.data, x.data, g.data, b.data, m.data, s.data, x.dims, flag(n.Batch), flag(n.ReLU), scratch)
		}
		return err
	})
}

// scratch returns memory that lasts until the next kernel; on the device's
// thread only.
func (d *Device) scratch(floats int) (unsafe.Pointer, error) {
	var p unsafe.Pointer
	before := C.sn_engine_bytes(d.c)
	err := status("scratch memory", C.sn_engine_scratch(d.c, C.size_t(floats), &p))
	d.hold(int64(C.sn_engine_bytes(d.c)) - int64(before))
	return p, err
}

func align16(n int) int { return (n + 15) / 16 * 16 }

// ChannelAffine binds a scale and shift of each channel.
func (d *Device) ChannelAffine(dst, src, scale, shift kernels.Array) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckChannelAffine(dst, src, scale, shift), dst, src, scale, shift); err != nil {
		return nil, err
	}
	o, i, s, t := arr(dst), arr(src), arr(scale), arr(shift)
	return d.simple(func() { C.call_affine(i.table, o.data, i.data, s.data, t.data, i.dims) })
}

// ReLU binds max(0, ·).
func (d *Device) ReLU(dst, src kernels.Array) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckSame("relu", true, dst, src), dst, src); err != nil {
		return nil, err
	}
	o, i := arr(dst), arr(src)
	return d.simple(func() { C.call_relu(i.table, o.data, i.data, i.count) })
}

// ReLUBackward binds the gradient of ReLU.
func (d *Device) ReLUBackward(dsrc, ddst, dst kernels.Array) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckSame("relu backward", true, dsrc, ddst, dst), dsrc, ddst, dst); err != nil {
		return nil, err
	}
	o, g, y := arr(dsrc), arr(ddst), arr(dst)
	return d.simple(func() { C.call_relu_backward(y.table, o.data, g.data, y.data, y.count) })
}

// Tanh binds a scaled tanh.
func (d *Device) Tanh(dst, src kernels.Array, scale, offset float32) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckSame("tanh", false, dst, src), dst, src); err != nil {
		return nil, err
	}
	o, i := arr(dst), arr(src)
	return d.simple(func() { C.call_tanh(i.table, o.data, i.data, C.float(scale), C.float(offset), i.dims) })
}

// TanhBackward binds the gradient of a scaled tanh.
func (d *Device) TanhBackward(dsrc, ddst, dst kernels.Array, scale, offset float32) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckSame("tanh backward", false, dsrc, ddst, dst), dsrc, ddst, dst); err != nil {
		return nil, err
	}
	o, g, y := arr(dsrc), arr(ddst), arr(dst)
	return d.simple(func() {
		C.call_tanh_backward(y.table, o.data, g.data, y.data, C.float(scale), C.float(offset), y.dims)
	})
}

// Sum binds a weighted sum.
func (d *Device) Sum(dst kernels.Array, srcs []kernels.Array, weights []float32) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckSum(dst, srcs, weights), append(srcs[:len(srcs):len(srcs)], dst)...); err != nil {
		return nil, err
	}
	if err := sameLayout(append(srcs[:len(srcs):len(srcs)], dst)...); err != nil {
		return nil, err
	}
	o, ps, ws := arr(dst), pointers(srcs), append([]float32(nil), weights...)
	return d.simple(func() {
		C.call_sum(o.table, o.data, &ps[0], unsafe.Pointer(&ws[0]), C.int(len(ps)), o.count)
	})
}

// Combine binds a weighted sum with weights of the device.
func (d *Device) Combine(dst kernels.Array, srcs []kernels.Array, weights kernels.Array) (kernels.Kernel, error) {
	maps := append(srcs[:len(srcs):len(srcs)], dst)
	if err := d.check(kernels.CheckCombine(dst, srcs, weights), append(maps[:len(maps):len(maps)], weights)...); err != nil {
		return nil, err
	}
	if err := sameLayout(maps...); err != nil {
		return nil, err
	}
	o, ps, ws := arr(dst), pointers(srcs), arr(weights)
	return d.simple(func() { C.call_sum(o.table, o.data, &ps[0], ws.data, C.int(len(ps)), o.count) })
}

// Upsample binds nearest neighbour upsampling.
func (d *Device) Upsample(dst, src kernels.Array, factor int) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckUpsample(dst, src, factor), dst, src); err != nil {
		return nil, err
	}
	o, i := arr(dst), arr(src)
	return d.simple(func() { C.call_upsample(i.table, o.data, i.data, i.dims, C.int(factor)) })
}

// UpsampleBackward binds the gradient of upsampling.
func (d *Device) UpsampleBackward(dsrc, ddst kernels.Array, factor int) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckUpsample(ddst, dsrc, factor), ddst, dsrc); err != nil {
		return nil, err
	}
	o, i := arr(dsrc), arr(ddst)
	return d.simple(func() { C.call_upsample_backward(o.table, o.data, i.data, o.dims, C.int(factor)) })
}

// Pool binds 2×2 pooling.
func (d *Device) Pool(dst, src kernels.Array, kind kernels.PoolKind) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckPool(dst, src, kind), dst, src); err != nil {
		return nil, err
	}
	o, i := arr(dst), arr(src)
	return d.simple(func() { C.call_pool(i.table, o.data, i.data, i.dims, C.int(kind)) })
}

// PoolBackward binds the gradient of pooling.
func (d *Device) PoolBackward(dsrc, ddst, src kernels.Array, kind kernels.PoolKind) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckPoolBackward(dsrc, ddst, src, kind), dsrc, ddst, src); err != nil {
		return nil, err
	}
	o, g, x := arr(dsrc), arr(ddst), arr(src)
	return d.simple(func() { C.call_pool_backward(x.table, o.data, g.data, x.data, x.dims, C.int(kind)) })
}
