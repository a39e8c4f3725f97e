//go:build cudnn || cudahost

package cuda

import (
	"slices"
	"unsafe"

	"stylenet/internal/kernels"
)

// Pointwise binds a function of one map or of two.
func (d *Device) Pointwise(dst, a, b kernels.Array, f kernels.Pointwise) (kernels.Kernel, error) {
	maps, parameters := list(dst, a, b), list()
	if f.Function == kernels.PReLU {
		maps, parameters = list(dst, a), list(b)
	}
	if err := d.check(kernels.CheckPointwise(dst, a, b, f), maps, parameters); err != nil {
		return nil, err
	}
	o, y, p := arr(dst), arr(b), d.plan()
	args := &pointwiseArgs{
		dst: o.data, a: arr(a).data, b: y.data, d: d.over(o.shape, streaming),
		function: int32(f.Function), low: f.A, high: f.B,
		channels: int32(y.shape.C), h: int32(y.shape.H), w: int32(y.shape.W),
	}
	launch(p, "pointwise", o.elem, args.d.grid(), args)
	return p.kernel()
}

// table puts a list into the device's memory, for as long as d is open.
func table[T any](d *Device, list []T) (ptr, error) {
	bytes := len(list) * int(unsafe.Sizeof(list[0]))
	b, err := d.keep(bytes)
	if err != nil {
		return 0, err
	}
	return b.data, d.driver.upload(b.data, unsafe.Pointer(&list[0]), bytes)
}

// Arrange binds a new order of channels and pixels.
func (d *Device) Arrange(dst kernels.Array, srcs []kernels.Array, a kernels.Arrangement) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckArrange(dst, srcs, a), append(slices.Clone(srcs), dst), nil); err != nil {
		return nil, err
	}
	var all []channel
	for _, src := range srcs {
		x := arr(src)
		for c := range x.shape.C {
			all = append(all, channel{data: x.data, groups: int32(x.groups()), c: int32(c), plain: flag(x.elem == float32Element)})
		}
	}
	o, s := arr(dst), srcs[0].Shape()
	from := make([]channel, len(a.From))
	for i, c := range a.From {
		from[i] = all[c]
	}
	for pixel := 0; pixel < len(from); pixel += o.shape.C {
		for c := 0; c < o.shape.C; c += lanes {
			group := from[pixel+c : pixel+min(c+lanes, o.shape.C)]
			group[0].whole = flag(sideBySide(group, o.elem))
		}
	}
	data, err := table(d, from)
	if err != nil {
		return nil, err
	}
	p := d.plan()
	args := &arrangeArgs{
		dst: o.data, from: data, d: d.over(o.shape, streaming),
		h: int32(s.H), w: int32(s.W), block: int32(a.Block), top: int32(a.Top),
	}
	launch(p, "arrange", o.elem, args.d.grid(), args)
	return p.kernel()
}

// sideBySide says that channels are the first ones of a group of a map of that
// element.
func sideBySide(group []channel, elem element) bool {
	first := group[0]
	for i, c := range group {
		if c.data != first.data || int(c.c) != int(first.c)+i {
			return false
		}
	}
	return first.c%lanes == 0 && first.plain == flag(elem == float32Element)
}

// Resample binds rows and columns that lie between others.
func (d *Device) Resample(dst, src kernels.Array, rows, cols []kernels.Tap) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckResample(dst, src, rows, cols), list(dst, src), nil); err != nil {
		return nil, err
	}
	o, i := arr(dst), arr(src)
	taps, err := table(d, slices.Concat(rows, cols))
	if err != nil {
		return nil, err
	}
	p := d.plan()
	args := &betweenArgs{
		dst: o.data, src: i.data, rows: taps, cols: taps + ptr(len(rows))*ptr(unsafe.Sizeof(kernels.Tap{})), d: d.over(o.shape, streaming),
		h: int32(i.shape.H), w: int32(i.shape.W),
	}
	launch(p, "between", o.elem, args.d.grid(), args)
	return p.kernel()
}

// Warp binds the move of pixels by a flow.
func (d *Device) Warp(dst, src, flow kernels.Array, pairs bool) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckWarp(dst, src, flow, pairs), list(dst, src, flow), nil); err != nil {
		return nil, err
	}
	o, p := arr(dst), d.plan()
	args := &warpArgs{dst: o.data, src: arr(src).data, flow: arr(flow).data, d: d.over(o.shape, streaming), pairs: flag(pairs)}
	launch(p, "warp", o.elem, args.d.grid(), args)
	return p.kernel()
}

// WindowPool binds the maximum or the average of windows. One window that is the
// whole map would be one thread's: its average is that of a normalisation, and
// its maximum that of the rows' maxima.
func (d *Device) WindowPool(dst, src kernels.Array, w kernels.Window) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckWindowPool(dst, src, w), list(dst, src), nil); err != nil {
		return nil, err
	}
	o, i, p := arr(dst), arr(src), d.plan()
	s := i.shape
	whole := w.Height == s.H && w.Width == s.W && w.Pad == kernels.Padding{}
	switch {
	case whole && w.Kind == kernels.AvgPool:
		stats, flat := &statisticsArgs{eps: 1}, &layoutArgs{data: o.data, d: d.over(o.shape, streaming)}
		p.scratch(4*s.N*s.C, &stats.mean, &flat.flat)
		p.scratch(4*s.N*s.C, &stats.invstd)
		p.finish(i, 0, false, stats)
		launch(p, "import_map", o.elem, flat.d.grid(), flat)
	case whole:
		lines := d.lay(kernels.Shape{N: s.N, C: s.C, H: s.H, W: 1}, false)
		first, second := d.windows(lines, i, w), d.windows(o, lines, w)
		first.height, first.stride, second.width = 1, 1, 1
		p.scratch(lines.bytes(), &first.dst, &second.src)
		launch(p, "window", o.elem, first.d.grid(), first)
		launch(p, "window", o.elem, second.d.grid(), second)
	default:
		args := d.windows(o, i, w)
		launch(p, "window", o.elem, args.d.grid(), args)
	}
	return p.kernel()
}

func (d *Device) windows(dst, src *array, w kernels.Window) *windowArgs {
	return &windowArgs{
		dst: dst.data, src: src.data, d: d.over(dst.shape, streaming), h: int32(src.shape.H), w: int32(src.shape.W),
		height: int32(w.Height), width: int32(w.Width), stride: int32(w.Stride), top: int32(w.Pad.Top), left: int32(w.Pad.Left),
		average: flag(w.Kind == kernels.AvgPool), countPad: flag(w.CountPad),
	}
}

// GroupStatistics binds the statistics of groups of channels.
func (d *Device) GroupStatistics(mean, invstd kernels.Array, groups int) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckGroupStatistics(mean, invstd, groups), nil, list(mean, invstd)); err != nil {
		return nil, err
	}
	s, p := mean.Shape(), d.plan()
	args := &groupsArgs{mean: arr(mean).data, invstd: arr(invstd).data, count: int64(s.N) * int64(groups), size: int32(s.C / groups)}
	launch(p, "groups", float32Element, d.flat(int(args.count)), args)
	return p.kernel()
}
