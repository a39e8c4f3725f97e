//go:build cudnn || cudahost

package cuda

import (
	"slices"

	"stylenet/internal/kernels"
)

// reading is the parameter of a pass that reads one or two maps, of which dst is
// the sum.
func (d *Device) reading(dst *array, srcs []*array, rs []kernels.Read) *readArgs {
	args := &readArgs{dst: dst.data, d: d.over(dst.shape, streaming), sources: int32(len(srcs))}
	for i, r := range rs {
		x := srcs[i]
		args.s[i] = source{
			data: x.data, mean: arr(r.Mean).data, invstd: arr(r.InvStd).data, gamma: arr(r.Gamma).data, beta: arr(r.Beta).data,
			h: int32(x.shape.H), w: int32(x.shape.W), up: int32(max(1, r.Upsample)), mode: int32(r.Mode),
			top: int32(r.Pad.Top), left: int32(r.Pad.Left), relu: flag(r.ReLU),
			sharedByImages: flag(r.Mean != nil && r.Mean.Shape().N == 1),
		}
	}
	return args
}

func (p *plan) read(args *readArgs, from, to element) {
	name := "read"
	if from != to {
		name += suffix(from)
	}
	launch(p, name, to, args.d.grid(), args)
}

// readOne binds the pass that reads one map in one way.
func (d *Device) readOne(dst, src kernels.Array, r kernels.Read) (kernels.Kernel, error) {
	p := d.plan()
	p.read(d.reading(arr(dst), []*array{arr(src)}, []kernels.Read{r}), arr(src).elem, arr(dst).elem)
	return p.kernel()
}

// FusedSum binds the sum of what rs make of one or two sources.
func (d *Device) FusedSum(dst kernels.Array, srcs []kernels.Array, rs []kernels.Read) (kernels.Kernel, error) {
	var parameters []kernels.Array
	for _, r := range rs {
		parameters = append(parameters, r.Mean, r.InvStd, r.Gamma, r.Beta)
	}
	if err := d.check(kernels.CheckFusedSum(dst, srcs, rs), append(slices.Clone(srcs), dst), parameters); err != nil {
		return nil, err
	}
	xs := make([]*array, len(srcs))
	for i, s := range srcs {
		xs[i] = arr(s)
	}
	p := d.plan()
	p.read(d.reading(arr(dst), xs, rs), xs[0].elem, arr(dst).elem)
	return p.kernel()
}

// Pad binds a border.
func (d *Device) Pad(dst, src kernels.Array, mode kernels.PadMode, b kernels.Padding) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckPad(dst, src, mode, b), list(dst, src), nil); err != nil {
		return nil, err
	}
	return d.readOne(dst, src, kernels.Read{Mode: mode, Pad: b})
}

// PadBackward binds the gradient of a border.
func (d *Device) PadBackward(dsrc, ddst kernels.Array, mode kernels.PadMode, b kernels.Padding) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckPad(ddst, dsrc, mode, b), list(dsrc, ddst), nil); err != nil {
		return nil, err
	}
	o, i, p := arr(dsrc), arr(ddst), d.plan()
	args := &padBackwardArgs{
		dsrc: o.data, ddst: i.data, d: d.over(o.shape, streaming),
		h: int32(i.shape.H), w: int32(i.shape.W), mode: int32(mode), top: int32(b.Top), left: int32(b.Left),
	}
	launch(p, "pad_backward", o.elem, args.d.grid(), args)
	return p.kernel()
}

// Norm binds a normalisation: one pass for the statistics and one that uses
// them.
func (d *Device) Norm(dst, mean, invstd, src, gamma, beta kernels.Array, n kernels.Norm) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckNorm(dst, mean, invstd, src, gamma, beta, n), list(dst, src), list(mean, invstd, gamma, beta)); err != nil {
		return nil, err
	}
	o, i, p := arr(dst), arr(src), d.plan()
	p.finish(i, 0, false, &statisticsArgs{mean: arr(mean).data, invstd: arr(invstd).data, batch: flag(n.Batch), eps: n.Eps})
	args := d.reading(o, []*array{i}, []kernels.Read{{Mean: mean, InvStd: invstd, Gamma: gamma, Beta: beta, ReLU: n.ReLU}})
	p.read(args, i.elem, o.elem)
	return p.kernel()
}

// NormBackward binds the gradient of a normalisation.
func (d *Device) NormBackward(dsrc, dgamma, dbeta, ddst, src, gamma, beta, mean, invstd kernels.Array, n kernels.Norm) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckNormBackward(dsrc, dgamma, dbeta, ddst, src, gamma, beta, mean, invstd, n),
		list(dsrc, ddst, src), list(dgamma, dbeta, gamma, beta, mean, invstd)); err != nil {
		return nil, err
	}
	x, p := arr(src), d.plan()
	sums := &normArgs{
		ddst: arr(ddst).data, src: x.data, mean: arr(mean).data, invstd: arr(invstd).data, gamma: arr(gamma).data, beta: arr(beta).data,
		d: d.over(x.shape, adding), relu: flag(n.ReLU), batch: flag(n.Batch),
	}
	totals := &normTotalsArgs{dgamma: arr(dgamma).data, dbeta: arr(dbeta).data, d: sums.d, batch: sums.batch}
	apply := *sums
	apply.dsrc, apply.d = arr(dsrc).data, d.over(x.shape, streaming)
	p.scratch(sums.d.partBytes(2), &sums.sums, &totals.sums)
	p.scratch(x.shape.N*2*x.groups()*lanes*4, &totals.groups, &apply.groups)
	launch(p, "norm_sums", x.elem, sums.d.grid(), sums)
	launch(p, "norm_totals", float32Element, x.groups(), totals)
	launch(p, "norm_backward", x.elem, apply.d.grid(), &apply)
	return p.kernel()
}

// ChannelAffine binds a scale and shift of each channel.
func (d *Device) ChannelAffine(dst, src, scale, shift kernels.Array) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckChannelAffine(dst, src, scale, shift), list(dst, src), list(scale, shift)); err != nil {
		return nil, err
	}
	return d.readOne(dst, src, kernels.Read{Gamma: scale, Beta: shift})
}

// ReLU binds max(0, ·).
func (d *Device) ReLU(dst, src kernels.Array) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckSame("relu", true, dst, src), list(dst, src), nil); err != nil {
		return nil, err
	}
	return d.relu(arr(dst), arr(src), 0)
}

// ReLUBackward binds the gradient of ReLU.
func (d *Device) ReLUBackward(dsrc, ddst, dst kernels.Array) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckSame("relu backward", true, dsrc, ddst, dst), list(dsrc, ddst, dst), nil); err != nil {
		return nil, err
	}
	return d.relu(arr(dsrc), arr(ddst), arr(dst).data)
}

func (d *Device) relu(o, i *array, result ptr) (kernels.Kernel, error) {
	p := d.plan()
	args := &reluArgs{dst: o.data, src: i.data, result: result, groups: int64(o.vectors())}
	launch(p, "relu", o.elem, d.flat(o.vectors()), args)
	return p.kernel()
}

// Tanh binds a scaled tanh.
func (d *Device) Tanh(dst, src kernels.Array, scale, offset float32) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckSame("tanh", false, dst, src), list(dst, src), nil); err != nil {
		return nil, err
	}
	return d.tanh(arr(dst), arr(src), 0, scale, offset)
}

// TanhBackward binds the gradient of a scaled tanh.
func (d *Device) TanhBackward(dsrc, ddst, dst kernels.Array, scale, offset float32) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckSame("tanh backward", false, dsrc, ddst, dst), list(dsrc, ddst, dst), nil); err != nil {
		return nil, err
	}
	return d.tanh(arr(dsrc), arr(ddst), arr(dst).data, scale, offset)
}

func (d *Device) tanh(o, i *array, result ptr, scale, offset float32) (kernels.Kernel, error) {
	p := d.plan()
	args := &tanhArgs{
		dst: o.data, src: i.data, result: result, pixels: int64(o.shape.N * o.shape.H * o.shape.W),
		c: int32(o.shape.C), groups: int32(o.groups()), scale: scale, offset: offset,
	}
	launch(p, "tanh", o.elem, d.flat(o.vectors()), args)
	return p.kernel()
}

// Sum binds a weighted sum, a few terms at a time.
func (d *Device) Sum(dst kernels.Array, srcs []kernels.Array, weights []float32) (kernels.Kernel, error) {
	if err := d.alike(kernels.CheckSum(dst, srcs, weights), append(slices.Clone(srcs), dst)...); err != nil {
		return nil, err
	}
	return d.sum(arr(dst), srcs, func(args *sumArgs, i int) {
		args.weight[args.terms] = weights[i]
		args.fixed++
	})
}

// Combine binds a weighted sum with weights of the device's memory.
func (d *Device) Combine(dst kernels.Array, srcs []kernels.Array, weights kernels.Array) (kernels.Kernel, error) {
	err := d.check(kernels.CheckCombine(dst, srcs, weights), nil, list(weights))
	if err := d.alike(err, append(slices.Clone(srcs), dst)...); err != nil {
		return nil, err
	}
	by := arr(weights).data
	return d.sum(arr(dst), srcs, func(args *sumArgs, i int) {
		if args.by == 0 {
			args.by = by + ptr(4*i)
		}
	})
}

// sum adds up a few terms at a time, the first of which is then what was added
// up before. weigh sets the weight of the next term, that of source i.
func (d *Device) sum(o *array, srcs []kernels.Array, weigh func(args *sumArgs, i int)) (kernels.Kernel, error) {
	p := d.plan()
	for from := 0; from < len(srcs); {
		args := &sumArgs{dst: o.data, groups: int64(o.vectors())}
		if from > 0 {
			args.src[0], args.weight[0], args.terms, args.fixed = o.data, 1, 1, 1
		}
		for ; from < len(srcs) && args.terms < terms; from++ {
			args.src[args.terms] = arr(srcs[from]).data
			weigh(args, from)
			args.terms++
		}
		launch(p, "sum", o.elem, d.flat(o.vectors()), args)
	}
	return p.kernel()
}

// Upsample binds nearest neighbour upsampling.
func (d *Device) Upsample(dst, src kernels.Array, factor int) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckUpsample(dst, src, factor), list(dst, src), nil); err != nil {
		return nil, err
	}
	return d.readOne(dst, src, kernels.Read{Upsample: factor})
}

// UpsampleBackward binds the gradient of upsampling.
func (d *Device) UpsampleBackward(dsrc, ddst kernels.Array, factor int) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckUpsample(ddst, dsrc, factor), list(ddst, dsrc), nil); err != nil {
		return nil, err
	}
	o := arr(dsrc)
	return d.resample("upsample_backward", o, o.shape, arr(ddst), 0, arr(ddst), factor)
}

// Pool binds 2×2 pooling.
func (d *Device) Pool(dst, src kernels.Array, kind kernels.PoolKind) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckPool(dst, src, kind), list(dst, src), nil); err != nil {
		return nil, err
	}
	o := arr(dst)
	return d.resample("pool", o, o.shape, arr(src), 0, arr(src), int(kind))
}

// PoolBackward binds the gradient of pooling.
func (d *Device) PoolBackward(dsrc, ddst, src kernels.Array, kind kernels.PoolKind) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckPoolBackward(dsrc, ddst, src, kind), list(dsrc, ddst, src), nil); err != nil {
		return nil, err
	}
	o := arr(dsrc)
	squares := o.shape
	squares.H, squares.W = (squares.H+1)/2, (squares.W+1)/2
	return d.resample("pool_backward", o, squares, arr(src), arr(ddst).data, o, int(kind))
}

// resample binds a kernel that goes over maps of that shape between a small and a
// large map.
func (d *Device) resample(kernel string, o *array, over kernels.Shape, src *array, grad ptr, large *array, k int) (kernels.Kernel, error) {
	p := d.plan()
	args := &resampleArgs{
		dst: o.data, grad: grad, src: src.data, d: d.over(over, streaming),
		h: int32(large.shape.H), w: int32(large.shape.W), k: int32(k),
	}
	launch(p, kernel, o.elem, args.d.grid(), args)
	return p.kernel()
}
