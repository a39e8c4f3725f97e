//go:build onednn && cgo

package onednn

// #include "calls.h"
import "C"

import (
	"fmt"
	"slices"
	"unsafe"

	"stylenet/internal/kernels"
)

// FusedConv binds a convolution of what r makes of src, with the statistics of
// its result.
func (d *Device) FusedConv(dst, mean, invstd, src kernels.Array, r kernels.Read, w, bias kernels.Array, c kernels.Conv, n kernels.Norm) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckFusedConv(dst, mean, invstd, src, r, w, bias, c, n),
		dst, mean, invstd, src, r.Mean, r.InvStd, r.Gamma, r.Beta, w, bias); err != nil {
		return nil, err
	}
	spec := d.spec(arr(dst), arr(src), arr(w), c, arr(bias))
	spec.up, spec.mode, spec.pad = C.int(max(1, r.Upsample)), C.int(r.Mode), border(r.Pad)
	spec.normalise, spec.read_relu = flag(r.Mean != nil), flag(r.ReLU)
	spec.stats, spec.eps = flag(mean != nil), C.float(n.Eps)
	k, err := d.own(spec, arr(dst), arr(src), arr(w), arr(bias), c.Frozen, fused{r, arr(mean), arr(invstd)})
	if k != nil || err != nil {
		return k, err
	}
	return d.composed(dst, mean, invstd, src, r, w, bias, c, n)
}

// composed makes a fused convolution of separate passes over memory.
func (d *Device) composed(dst, mean, invstd, src kernels.Array, r kernels.Read, w, bias kernels.Array, c kernels.Conv, n kernels.Norm) (kernels.Kernel, error) {
	x, y, m, s := arr(src), arr(dst), arr(mean), arr(invstd)
	if p := r.Pad; r.Mode == kernels.PadZero && min(p.Top, p.Bottom, p.Left, p.Right) >= 0 {
		c.Pad, r.Pad = p, kernels.Padding{} // the convolution's own border
	}
	read := func() {}
	if !r.Plain() {
		in := d.lay(r.Shape(src.Shape()), false)
		if err := d.stage(in.bytes()); err != nil {
			return nil, fmt.Errorf("fused conv: %w", err)
		}
		sum, err := d.sum(in, []kernels.Array{x}, []kernels.Read{r})
		if err != nil {
			return nil, err
		}
		stage, err := d.simple(func() { in.data = d.staged })
		if err != nil {
			return nil, err
		}
		x, read = in, func() { stage(); sum() }
	}
	conv, err := d.conv(C.SN_CONV_FORWARD, x, arr(w), arr(bias), y, c)
	if err != nil || mean == nil {
		return func() { read(); conv() }, err
	}
	stats, err := d.simple(func() { C.call_statistics(y.table, m.data, s.data, y.data, y.dims, C.float(n.Eps)) })
	return func() { read(); conv(); stats() }, err
}

// FusedSum binds the sum of what rs make of one or two sources.
func (d *Device) FusedSum(dst kernels.Array, srcs []kernels.Array, rs []kernels.Read) (kernels.Kernel, error) {
	all := append(slices.Clone(srcs), dst)
	err := kernels.CheckFusedSum(dst, srcs, rs)
	for _, r := range rs {
		all = append(all, r.Mean, r.InvStd, r.Gamma, r.Beta)
	}
	if err := d.check(err, all...); err != nil {
		return nil, err
	}
	if err := sameLayout(all[:len(srcs)+1]...); err != nil {
		return nil, err
	}
	return d.sum(arr(dst), srcs, rs)
}

func (d *Device) sum(dst *array, srcs []kernels.Array, rs []kernels.Read) (kernels.Kernel, error) {
	sources, floats := make([]C.sn_source, len(srcs)), 0
	for i, r := range rs {
		x := arr(srcs[i])
		sources[i] = C.sn_source{
			src: x.data, d: x.dims,
			relu: flag(r.ReLU), up: C.int(max(1, r.Upsample)), mode: C.int(r.Mode), pad: border(r.Pad),
		}
		floats += 2 * x.shape.N * align16(x.shape.C)
	}
	return d.bind(func() error {
		scratch, err := d.scratch(floats)
		if err != nil {
			return err
		}
		for i, r := range rs {
			if r.Mean != nil {
				shift, rest := d.affine(scratch, arr(srcs[i]), r)
				sources[i].scale, sources[i].shift = (*C.float)(scratch), (*C.float)(shift)
				scratch = rest
			}
		}
		C.call_fused_sum(dst.table, dst.data, dst.dims, &sources[0], C.int(len(sources)))
		return nil
	})
}

// affine writes the scale and the shift that a normalised read of x is; it
// returns where the shift and where the memory behind it is. It runs on the
// device's thread.
func (d *Device) affine(scale unsafe.Pointer, x *array, r kernels.Read) (shift, rest unsafe.Pointer) {
	bytes := x.shape.N * align16(x.shape.C) * 4
	shift = unsafe.Add(scale, bytes)
	C.call_read_affine(d.table, scale, shift, arr(r.Mean).data, arr(r.InvStd).data, arr(r.Gamma).data, arr(r.Beta).data,
		C.int(x.shape.N), C.int(x.shape.C), C.int(r.Mean.Shape().N))
	return shift, unsafe.Add(shift, bytes)
}

// stage makes room for a map that a composed convolution reads: memory that all
// of the scope share, each for as long as it runs.
func (d *Device) stage(bytes int) error {
	if bytes <= d.stagedBytes {
		return nil
	}
	p := C.sn_alloc(C.size_t(bytes + slack))
	if p == nil {
		return d.outOfMemory(bytes)
	}
	d.hold(int64(bytes + slack))
	free := func() {
		if d.staged != nil {
			C.free(d.staged)
			d.hold(-int64(d.stagedBytes + slack))
		}
	}
	if d.stagedBytes == 0 {
		d.cleanup = append(d.cleanup, free)
	}
	return d.do(func() error { // after the kernels that are under way
		free()
		d.staged, d.stagedBytes = p, bytes
		return nil
	})
}
