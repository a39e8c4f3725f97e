//go:build onednn && cgo

package onednn

// #include "calls.h"
import "C"

import (
	"fmt"
	"unsafe"

	"stylenet/internal/kernels"
)

// packing is the layout of weights that a convolution of our own reads.
type packing struct {
	name                   string // the convolution's
	in, out, kh, kw, up    C.int
	stride, flipped, plain C.int
}

// packed holds frozen weights in such a layout. It belongs to the weights'
// array, so that every kernel that reads them shares one copy.
type packed struct {
	data  unsafe.Pointer
	ready bool // written; the device thread's alone
}

// fused is what a convolution of our own does beside convolving.
type fused struct {
	read         kernels.Read
	mean, invstd *array
}

// own binds the first of our own convolutions that takes spec, or returns nil
// where none does.
func (d *Device) own(spec C.sn_own_spec, dst, src, w, bias *array, frozen bool, f fused) (kernels.Kernel, error) {
	i := C.own_find(d.table, &spec, flag(d.options.Exact))
	if i < 0 {
		return nil, nil
	}
	bytes := C.own_packed_bytes(d.table, i, &spec)
	var p *packed
	packing := 0 // floats of weights that are packed for each run
	if frozen {
		var err error
		if p, err = d.packing(i, &spec, w, bytes); err != nil {
			return nil, err
		}
	} else {
		packing = align16(int(bytes+3) / 4)
	}
	if f.mean == nil {
		f.mean, f.invstd = &array{}, &array{}
	}
	affine := 0 // floats of scale and of shift
	if spec.normalise != 0 {
		affine = src.shape.N * align16(src.shape.C)
	}
	need := 2*affine + packing + int(C.own_scratch_bytes(d.table, i, &spec, C.int(d.options.Threads))+3)/4
	args := C.sn_own_args{
		src: src.data, bias: (*C.float)(bias.data), dst: dst.data,
		mean: (*C.float)(f.mean.data), invstd: (*C.float)(f.invstd.data),
	}
	return d.bind(func() error {
		scratch, err := d.scratch(need)
		if err != nil {
			return err
		}
		a := args
		if affine > 0 {
			var shift unsafe.Pointer
			a.scale = (*C.float)(scratch)
			shift, scratch = d.affine(scratch, src, f.read)
			a.shift = (*C.float)(shift)
		}
		a.packed = scratch
		if p != nil {
			a.packed = p.data
		}
		a.scratch = unsafe.Add(scratch, 4*packing) // aligned, for affine and packing keep it so
		if p == nil || !p.ready {
			C.own_pack(d.table, i, &spec, unsafe.Pointer(a.packed), w.data)
		}
		if p != nil {
			p.ready = true
		}
		C.own_run(d.table, i, &spec, &a)
		return nil
	})
}

// ownWeights binds the first of our own gradients for weights that takes the
// convolution spec, or returns nil where none does.
func (d *Device) ownWeights(spec C.sn_own_spec, dw, db, ddst, src *array) (kernels.Kernel, error) {
	i := C.own_wgrad_find(d.table, &spec, flag(d.options.Exact))
	if i < 0 {
		return nil, nil
	}
	need := int(C.own_wgrad_scratch_bytes(d.table, i, &spec, C.int(d.options.Threads))+3) / 4
	return d.bind(func() error {
		scratch, err := d.scratch(need)
		if err != nil {
			return err
		}
		a := C.sn_own_args{src: src.data, scratch: scratch}
		C.own_wgrad_run(d.table, i, &spec, &a, ddst.data, (*C.float)(dw.data))
		if db.data != nil {
			C.call_bias_backward(ddst.table, db.data, ddst.data, ddst.dims)
		}
		return nil
	})
}

// packing returns the memory for the frozen weights of the i-th convolution.
func (d *Device) packing(i C.int, spec *C.sn_own_spec, w *array, bytes C.size_t) (*packed, error) {
	key := packing{
		name: C.GoString(C.own_name(d.table, i)), in: spec.src.c, out: spec.dst.c, kh: spec.kh, kw: spec.kw,
		up: spec.up, stride: spec.stride, flipped: spec.flipped, plain: spec.src.blk*256 + spec.dst.blk,
	}
	if p := w.packed[key]; p != nil {
		return p, nil
	}
	p := &packed{data: C.sn_alloc(bytes)}
	if p.data == nil {
		return nil, fmt.Errorf("convolution: out of memory for %d MiB of packed weights", bytes>>20)
	}
	d.hold(int64(bytes))
	w.owner.cleanup = append(w.owner.cleanup, func() {
		C.free(p.data)
		d.hold(-int64(bytes))
	})
	if w.packed == nil {
		w.packed = map[packing]*packed{}
	}
	w.packed[key] = p
	return p, nil
}

// spec is what our own convolutions are asked for, without a fused read.
func (d *Device) spec(dst, src, w *array, c kernels.Conv, bias *array) C.sn_own_spec {
	return C.sn_own_spec{
		src: src.dims, dst: dst.dims, kh: C.int(w.shape.H), kw: C.int(w.shape.W), stride: C.int(c.Stride),
		up: 1, mode: C.SN_PAD_ZERO, pad: border(c.Pad), bias: flag(bias.data != nil), relu: flag(c.ReLU),
	}
}

// flipped is the gradient for the source of a convolution of stride 1, as a
// convolution of ddst.
func (d *Device) flipped(dsrc, ddst, w *array, c kernels.Conv, bias *array) C.sn_own_spec {
	spec := d.spec(dsrc, ddst, w, kernels.Conv{Stride: 1}, bias)
	h, x := w.shape.H-1, w.shape.W-1
	spec.pad = border(kernels.Padding{Top: h - c.Pad.Top, Bottom: h - c.Pad.Bottom, Left: x - c.Pad.Left, Right: x - c.Pad.Right})
	spec.flipped = 1
	return spec
}
