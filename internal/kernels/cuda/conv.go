//go:build cudnn || cudahost

package cuda

import (
	"fmt"

	"stylenet/internal/kernels"
)

// A convolution computes in the element of the map that it writes: float32 for
// one of few channels. What it reads in another element, or with more than a
// border of zeros that is as wide on both sides, is first read into scratch
// memory.

// operands are what a convolution of the driver runs on.
type operands struct{ x, w, y, workspace ptr }

// packed holds frozen weights as convolutions read them.
type packed struct {
	data  ptr
	ready bool // written
}

// Conv binds a convolution.
func (d *Device) Conv(dst, src, w, bias kernels.Array, c kernels.Conv) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckConv(dst, src, w, bias, c), list(dst, src), list(w, bias)); err != nil {
		return nil, err
	}
	p := d.plan()
	if err := p.forward(arr(dst), arr(src), arr(w), kernels.Read{Pad: c.Pad}, c); err != nil {
		return nil, err
	}
	p.finish(arr(dst), arr(bias).data, c.ReLU, nil)
	return p.kernel()
}

// FusedConv binds a convolution of what r makes of src, with the statistics of
// its result.
func (d *Device) FusedConv(dst, mean, invstd, src kernels.Array, r kernels.Read, w, bias kernels.Array, c kernels.Conv, n kernels.Norm) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckFusedConv(dst, mean, invstd, src, r, w, bias, c, n),
		list(dst, src), list(mean, invstd, r.Mean, r.InvStd, r.Gamma, r.Beta, w, bias)); err != nil {
		return nil, err
	}
	p := d.plan()
	if err := p.forward(arr(dst), arr(src), arr(w), r, c); err != nil {
		return nil, err
	}
	var s *statisticsArgs
	if mean != nil {
		s = &statisticsArgs{mean: arr(mean).data, invstd: arr(invstd).data, eps: n.Eps}
	}
	p.finish(arr(dst), arr(bias).data, c.ReLU, s)
	return p.kernel()
}

// ConvBackwardData binds the gradient for the source, or a transposed
// convolution with a bias.
func (d *Device) ConvBackwardData(dsrc, ddst, w, bias kernels.Array, c kernels.Conv) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckConvBackwardData(dsrc, ddst, w, bias, c), list(dsrc, ddst), list(w, bias)); err != nil {
		return nil, err
	}
	o, i, p := arr(dsrc), arr(ddst), d.plan()
	args := &operands{x: o.data, y: i.data}
	p.staged(i, kernels.Read{}, o.elem, &args.y)
	border := kernels.Read{Pad: c.Pad}
	zeros, cut := splitBorder(border, arr(w).shape)
	padded := cut.Shape(o.shape)
	if err := p.conv(convBackwardData, o.elem, padded, i.shape, arr(w), c, zeros, args); err != nil {
		return nil, err
	}
	if !cut.Plain() { // of the gradient of the border only the inside is wanted
		crop := kernels.Read{Pad: kernels.Padding{Top: -cut.Pad.Top, Bottom: -cut.Pad.Bottom, Left: -cut.Pad.Left, Right: -cut.Pad.Right}}
		whole := d.lay(padded, false)
		read := d.reading(o, []*array{whole}, []kernels.Read{crop})
		p.scratch(whole.bytes(), &args.x, &read.s[0].data)
		p.read(read, o.elem, o.elem)
	}
	p.finish(o, arr(bias).data, false, nil)
	return p.kernel()
}

// ConvBackwardWeights binds the gradient for the weights and the bias.
func (d *Device) ConvBackwardWeights(dw, db, ddst, src kernels.Array, c kernels.Conv) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckConvBackwardWeights(dw, db, ddst, src, c), list(ddst, src), list(dw, db)); err != nil {
		return nil, err
	}
	x, y, w, p := arr(src), arr(ddst), arr(dw), d.plan()
	elem := max(x.elem, y.elem)
	args := &operands{x: x.data, y: y.data}
	p.staged(y, kernels.Read{}, elem, &args.y)
	zeros, rest := splitBorder(kernels.Read{Pad: c.Pad}, w.shape)
	p.staged(x, rest, elem, &args.x)
	if err := p.conv(convBackwardWeights, elem, rest.Shape(x.shape), y.shape, w, c, zeros, args); err != nil {
		return nil, err
	}
	if db != nil {
		p.biasBackward(arr(db), y)
	}
	return p.kernel()
}

// BiasBackward binds the gradient of a bias.
func (d *Device) BiasBackward(db, ddst kernels.Array) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckBiasBackward(db, ddst), list(ddst), list(db)); err != nil {
		return nil, err
	}
	p := d.plan()
	p.biasBackward(arr(db), arr(ddst))
	return p.kernel()
}

// forward adds y = w ⋆ r(x); a border of zeros is the convolution's own where it
// can be.
func (p *plan) forward(y, x, w *array, r kernels.Read, c kernels.Conv) error {
	args := &operands{x: x.data, y: y.data}
	zeros, r := splitBorder(r, w.shape)
	p.staged(x, r, y.elem, &args.x)
	return p.conv(convForward, y.elem, r.Shape(x.shape), y.shape, w, c, zeros, args)
}

// splitBorder takes the border out of a read where a convolution of the driver
// can have it: zeros, as many above as below and left as right, and fewer than
// the kernel has rows and columns.
func splitBorder(r kernels.Read, w kernels.Shape) (zeros kernels.Padding, rest kernels.Read) {
	p := r.Pad
	if r.Mode == kernels.PadZero && p.Top == p.Bottom && p.Left == p.Right && p.Top >= 0 && p.Left >= 0 && p.Top < w.H && p.Left < w.W {
		r.Pad = kernels.Padding{}
		return p, r
	}
	return kernels.Padding{}, r
}

// staged adds the pass that reads x into scratch memory, to which it sets the
// field, unless x can be taken as it is.
func (p *plan) staged(x *array, r kernels.Read, elem element, field *ptr) {
	if r.Plain() && x.elem == elem {
		return
	}
	in := p.d.lay(r.Shape(x.shape), false)
	in.elem = elem
	read := p.d.reading(in, []*array{x}, []kernels.Read{r})
	p.scratch(in.bytes(), field, &read.dst)
	p.read(read, x.elem, elem)
}

// conv adds a convolution of the driver, with weights in its order.
func (p *plan) conv(what convWhat, elem element, x, y kernels.Shape, w *array, c kernels.Conv, zeros kernels.Padding, args *operands) error {
	d := p.d
	prepared, err := d.driver.conv(convSpec{
		what: what, elem: elem,
		n: x.N, h: x.H, w: x.W, c: groupsOf(x.C) * lanes, oh: y.H, ow: y.W, k: groupsOf(y.C) * lanes,
		r: w.shape.H, s: w.shape.W, stride: c.Stride, padH: zeros.Top, padW: zeros.Left,
		exact: d.options.Exact, deterministic: d.options.Deterministic,
	})
	if err != nil {
		return fmt.Errorf("%w (source %v, weights %v, result %v)", err, x, w.shape, y)
	}
	d.cleanup = append(d.cleanup, prepared.close)
	p.scratch(prepared.workspace(), &args.workspace)

	s := w.shape
	layout := &weightsArgs{flat: w.data, k: int32(s.N), c: int32(s.C), taps: int32(s.H * s.W), groups: int32(groupsOf(s.C))}
	vectors := groupsOf(s.N) * lanes * s.H * s.W * groupsOf(s.C)
	run := func() { prepared.run(args.x, args.w, args.y, args.workspace) }
	switch {
	case what == convBackwardWeights:
		p.scratch(vectors*lanes*prepared.gradient().bytes(), &args.w, &layout.packed)
		p.call(run)
		launch(p, "unpack_weights", prepared.gradient(), d.flat(s.Elements()), layout)
		return nil
	case c.Frozen:
		frozen, err := w.frozen(elem, vectors*lanes*elem.bytes())
		if err != nil {
			return err
		}
		args.w, layout.packed = frozen.data, frozen.data
		pack := &plan{d: d}
		launch(pack, "pack_weights", elem, d.flat(vectors), layout)
		p.call(func() {
			if !frozen.ready {
				pack.steps[0]()
				frozen.ready = d.recording == nil // a recorded launch has not run
			}
		})
	default:
		p.scratch(vectors*lanes*elem.bytes(), &args.w, &layout.packed)
		launch(p, "pack_weights", elem, d.flat(vectors), layout)
	}
	p.call(run)
	return nil
}

// frozen returns the memory for frozen weights, which all convolutions share that
// read them in that element. It is the weights' device's.
func (a *array) frozen(elem element, bytes int) (*packed, error) {
	if f := a.packed[elem]; f != nil {
		return f, nil
	}
	b, err := a.owner.keep(bytes)
	if err != nil {
		return nil, fmt.Errorf("frozen weights: %w", err)
	}
	if a.packed == nil {
		a.packed = map[element]*packed{}
	}
	a.packed[elem] = &packed{data: b.data}
	return a.packed[elem], nil
}

// finish adds what follows a convolution, in one pass over its result, where
// anything does: a bias, and then ReLU or the statistics s.
func (p *plan) finish(a *array, bias ptr, relu bool, s *statisticsArgs) {
	if bias == 0 && !relu && s == nil {
		return
	}
	args := &finishArgs{data: a.data, bias: bias, relu: flag(relu)}
	if s == nil {
		args.d = p.d.over(a.shape, streaming)
		launch(p, "bias", a.elem, args.d.grid(), args)
		return
	}
	args.d = p.d.over(a.shape, adding)
	s.d = args.d
	p.scratch(args.d.partBytes(3), &args.moments, &s.moments)
	launch(p, "finish", a.elem, args.d.grid(), args)
	grid := int(s.d.groups)
	if s.batch == 0 {
		grid *= int(s.d.n)
	}
	launch(p, "statistics", float32Element, grid, s)
}

func (p *plan) biasBackward(db, ddst *array) {
	args := &normArgs{ddst: ddst.data, d: p.d.over(ddst.shape, adding)}
	totals := &normTotalsArgs{dbeta: db.data, d: args.d}
	p.scratch(args.d.partBytes(2), &args.sums, &totals.sums)
	launch(p, "norm_sums", ddst.elem, args.d.grid(), args)
	launch(p, "norm_totals", float32Element, int(args.d.groups), totals)
}
