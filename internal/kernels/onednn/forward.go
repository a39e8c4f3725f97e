//go:build onednn && cgo

package onednn

// #include "calls.h"
import "C"

import (
	"unsafe"

	"stylenet/internal/kernels"
)

// Pointwise binds a function of one map or of two.
func (d *Device) Pointwise(dst, a, b kernels.Array, f kernels.Pointwise) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckPointwise(dst, a, b, f), dst, a, b); err != nil {
		return nil, err
	}
	o, x, y := arr(dst), arr(a), arr(b)
	of := C.sn_function{C.int(f.Function), C.float(f.A), C.float(f.B)}
	return d.simple(func() { C.call_pointwise(x.table, o.data, x.data, x.dims, &of, y.data, y.dims) })
}

// Arrange binds a new order of channels and pixels.
func (d *Device) Arrange(dst kernels.Array, srcs []kernels.Array, a kernels.Arrangement) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckArrange(dst, srcs, a), append(srcs[:len(srcs):len(srcs)], dst)...); err != nil {
		return nil, err
	}
	var all []C.sn_channel
	for _, src := range srcs {
		all = append(all, arr(src).channels()...)
	}
	from := make([]C.sn_channel, len(a.From))
	for i, c := range a.From {
		from[i] = all[c]
	}
	o := arr(dst)
	return d.simple(func() { C.call_arrange(d.table, o.data, o.dims, &from[0], C.int(a.Block), C.int(a.Top)) })
}

// channels says where each channel of a map lies.
func (a *array) channels() []C.sn_channel {
	s, blk := a.shape, int(a.dims.blk)
	list := make([]C.sn_channel, s.C)
	for c := range list {
		at := c/blk*s.H*s.W*blk + c%blk
		list[c] = C.sn_channel{_map: a.data, at: C.size_t(at), image: a.count / C.size_t(s.N), blk: a.dims.blk}
	}
	return list
}

// Resample binds rows and columns that lie between others.
func (d *Device) Resample(dst, src kernels.Array, rows, cols []kernels.Tap) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckResample(dst, src, rows, cols), dst, src); err != nil {
		return nil, err
	}
	o, i, r, c := arr(dst), arr(src), taps(rows), taps(cols)
	return d.simple(func() { C.call_resample(i.table, o.data, o.dims, i.data, i.dims, &r[0], &c[0]) })
}

func taps(list []kernels.Tap) []C.sn_tap {
	all := make([]C.sn_tap, len(list))
	for i, t := range list {
		all[i] = C.sn_tap{C.int(t.A), C.int(t.B), C.float(t.W)}
	}
	return all
}

// Warp binds the move of pixels by a flow.
func (d *Device) Warp(dst, src, flow kernels.Array, pairs bool) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckWarp(dst, src, flow, pairs), dst, src, flow); err != nil {
		return nil, err
	}
	o, i, f := arr(dst), arr(src), arr(flow)
	return d.simple(func() { C.call_warp(i.table, o.data, i.data, f.data, o.dims, flag(pairs)) })
}

// WindowPool binds the maximum or the average of windows.
func (d *Device) WindowPool(dst, src kernels.Array, w kernels.Window) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckWindowPool(dst, src, w), dst, src); err != nil {
		return nil, err
	}
	o, i := arr(dst), arr(src)
	of := C.sn_window{
		kind: C.int(w.Kind), height: C.int(w.Height), width: C.int(w.Width), stride: C.int(w.Stride),
		top: C.int(w.Pad.Top), left: C.int(w.Pad.Left), count_pad: flag(w.CountPad),
	}
	return d.simple(func() { C.call_window_pool(i.table, o.data, o.dims, i.data, i.dims, &of) })
}

// GroupStatistics binds the statistics of groups of channels.
func (d *Device) GroupStatistics(mean, invstd kernels.Array, groups int) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckGroupStatistics(mean, invstd, groups), mean, invstd); err != nil {
		return nil, err
	}
	m, s := arr(mean), arr(invstd)
	return d.simple(func() { kernels.MergeGroups(m.floats(), s.floats(), m.shape.C, groups) })
}

// floats are the values of a parameter, on the device's thread.
func (a *array) floats() []float32 {
	return unsafe.Slice((*float32)(a.data), a.shape.Elements())
}
