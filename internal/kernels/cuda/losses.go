//go:build cudnn || cudahost

package cuda

import (
	"fmt"
	"math"
	"slices"
	"unsafe"

	"stylenet/internal/kernels"
)

// Gram binds the Gram matrices of a batch. Pixels are the rows of a map, so a
// Gram matrix is the map, transposed, times itself.
func (d *Device) Gram(dst, src kernels.Array) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckGram(dst, src), list(src), list(dst)); err != nil {
		return nil, err
	}
	x, p := arr(src), d.plan()
	s, wide := x.shape, x.groups()*lanes
	spec := gemmSpec{
		transposeA: true, m: wide, n: wide, k: s.H * s.W, alpha: 1 / float32(s.C*s.H*s.W), elem: x.elem, out: float32Element,
		batch: s.N, strideA: s.H * s.W * wide, strideB: s.H * s.W * wide, strideC: wide * wide, exact: d.options.Exact,
	}
	args := &gramArgs{packed: arr(dst).data, flat: arr(dst).data, n: int32(s.N), c: int32(s.C), groups: int32(x.groups())}
	if wide != s.C {
		p.scratch(4*s.N*wide*wide, &args.packed)
	}
	p.call(func() { d.driver.gemm(spec, x.data, x.data, args.packed) })
	if wide != s.C {
		launch(p, "gram_unpack", float32Element, d.flat(s.N*s.C*s.C), args)
	}
	return p.kernel()
}

// GramBackward binds the gradient of Gram matrices, the map times G + Gᵀ.
func (d *Device) GramBackward(dsrc, dgram, src kernels.Array) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckGramBackward(dsrc, dgram, src), list(dsrc, src), list(dgram)); err != nil {
		return nil, err
	}
	x, o, p := arr(src), arr(dsrc), d.plan()
	s, wide := x.shape, x.groups()*lanes
	spec := gemmSpec{
		m: s.H * s.W, n: wide, k: wide, alpha: 1 / float32(s.C*s.H*s.W), elem: x.elem, out: x.elem,
		batch: s.N, strideA: s.H * s.W * wide, strideB: wide * wide, strideC: s.H * s.W * wide, exact: d.options.Exact,
	}
	args := &gramArgs{flat: arr(dgram).data, n: int32(s.N), c: int32(s.C), groups: int32(x.groups())}
	p.scratch(s.N*wide*wide*x.elem.bytes(), &args.packed)
	launch(p, "gram_pack", x.elem, d.flat(s.N*wide*x.groups()), args)
	p.call(func() { d.driver.gemm(spec, x.data, args.packed, o.data) })
	return p.kernel()
}

// total adds the kernel that adds up the parts that blocks leave.
func (p *plan) total(out ptr, parts int, scale float32, field *ptr) *totalArgs {
	t := &totalArgs{out: out, count: int32(parts), scale: scale}
	p.scratch(4*parts, field, &t.parts)
	return t
}

// MSE binds a mean squared error.
func (d *Device) MSE(loss, a, b kernels.Array) (kernels.Kernel, error) {
	if err := d.alike(d.check(kernels.CheckMSE(loss, a, b), nil, list(loss)), a, b); err != nil {
		return nil, err
	}
	p, args := d.plan(), mse(arr(a), arr(b))
	grid := d.flat(arr(a).vectors())
	t := p.total(arr(loss).data, grid, 1/float32(a.Shape().Elements()), &args.parts)
	launch(p, "mse", arr(a).elem, grid, args)
	launch(p, "total", float32Element, 1, t)
	return p.kernel()
}

// MSEBackward binds the gradient of a mean squared error.
func (d *Device) MSEBackward(da, dloss, a, b kernels.Array) (kernels.Kernel, error) {
	if err := d.alike(d.check(kernels.CheckMSEBackward(da, dloss, a, b), nil, list(dloss)), da, a, b); err != nil {
		return nil, err
	}
	p, args := d.plan(), mse(arr(a), arr(b))
	args.da, args.dloss, args.scale = arr(da).data, arr(dloss).data, 2/float32(a.Shape().Elements())
	launch(p, "mse_backward", arr(a).elem, d.flat(arr(a).vectors()), args)
	return p.kernel()
}

// Dots binds dot products, of a few arrays at a time.
func (d *Device) Dots(dst, a kernels.Array, bs []kernels.Array) (kernels.Kernel, error) {
	err := d.check(kernels.CheckDots(dst, a, bs), nil, list(dst))
	if err := d.alike(err, append(slices.Clone(bs), a)...); err != nil {
		return nil, err
	}
	x, p := arr(a), d.plan()
	grid := d.flat(x.vectors())
	for from := 0; from < len(bs); from += terms {
		args := &dotsArgs{a: x.data, count: elements(x)}
		for _, b := range bs[from:min(from+terms, len(bs))] {
			args.b[args.terms] = arr(b).data
			args.terms++
		}
		t := &dotsTotalArgs{out: arr(dst).data + ptr(4*from), count: int32(grid)}
		p.scratch(4*grid*int(args.terms), &args.parts, &t.parts)
		launch(p, "dots", x.elem, grid, args)
		launch(p, "dots_total", float32Element, int(args.terms), t)
	}
	return p.kernel()
}

// elements counts what memory holds of a map, the padding of channels, which is
// zero, included; of a parameter its own elements.
func elements(x *array) int64 {
	if x.parameter {
		return int64(x.shape.Elements())
	}
	return int64(x.vectors()) * lanes
}

// mse compares what memory holds, the padding of channels, which is zero in
// both, included.
func mse(a, b *array) *mseArgs {
	return &mseArgs{a: a.data, b: b.data, count: elements(a), period: elements(b)}
}

// TotalVariation binds the sum of squared differences of neighbours.
func (d *Device) TotalVariation(loss, src kernels.Array) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckLoss("total variation", loss), list(src), list(loss)); err != nil {
		return nil, err
	}
	x, p := arr(src), d.plan()
	args := &variationArgs{src: x.data, d: d.over(x.shape, streaming)}
	t := p.total(arr(loss).data, args.d.grid(), 1, &args.parts)
	launch(p, "variation", x.elem, args.d.grid(), args)
	launch(p, "total", float32Element, 1, t)
	return p.kernel()
}

// TotalVariationBackward binds its gradient.
func (d *Device) TotalVariationBackward(dsrc, dloss, src kernels.Array) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckTotalVariationBackward(dsrc, dloss, src), list(dsrc, src), list(dloss)); err != nil {
		return nil, err
	}
	x, p := arr(src), d.plan()
	args := &variationArgs{src: x.data, dsrc: arr(dsrc).data, dloss: arr(dloss).data, d: d.over(x.shape, streaming)}
	launch(p, "variation_backward", x.elem, args.d.grid(), args)
	return p.kernel()
}

// tables are lists of tensors, and of the pieces of them that blocks take, in the
// device's memory.
func (d *Device) tables(tensors []tensor) (args *adamArgs, grid int, err error) {
	var pieces []piece
	for i, t := range tensors {
		for from := int64(0); from*pieceElements < t.count; from++ {
			pieces = append(pieces, piece{int32(i), int32(from)})
		}
	}
	first, second := len(tensors)*int(unsafe.Sizeof(tensors[0])), len(pieces)*int(unsafe.Sizeof(pieces[0]))
	at := align(first, alignment)
	end := align(at+second, alignment)
	b, err := d.keep(end + int(unsafe.Sizeof(adamSettings{})))
	if err != nil {
		return nil, 0, err
	}
	args = &adamArgs{tensors: b.data, pieces: b.data + ptr(at), settings: b.data + ptr(end)}
	if err := d.driver.upload(args.tensors, unsafe.Pointer(&tensors[0]), first); err != nil {
		return nil, 0, err
	}
	return args, len(pieces), d.driver.upload(args.pieces, unsafe.Pointer(&pieces[0]), second)
}

// SquaredNorm binds the sum of squares of parameters.
func (d *Device) SquaredNorm(dst kernels.Array, srcs []kernels.Array) (kernels.Kernel, error) {
	if err := d.check(kernels.CheckSquaredNorm(dst, srcs), nil, append(slices.Clone(srcs), dst)); err != nil {
		return nil, err
	}
	tensors := make([]tensor, len(srcs))
	for i, s := range srcs {
		tensors[i] = tensor{g: arr(s).data, count: int64(s.Shape().Elements())}
	}
	args, grid, err := d.tables(tensors)
	if err != nil {
		return nil, err
	}
	p := d.plan()
	t := p.total(arr(dst).data, grid, 1, &args.parts)
	launch(p, "squared_norm", float32Element, grid, args)
	launch(p, "total", float32Element, 1, t)
	return p.kernel()
}

// Adam binds an optimiser step: one launch for all parameters. Its settings lie
// in the device's memory, so that a recorded launch finds those of each step.
func (d *Device) Adam(params, grads, m, v []kernels.Array, squaredNorm kernels.Array, h *kernels.Adam) (kernels.Kernel, error) {
	all := slices.Concat(params, grads, m, v)
	if err := d.check(kernels.CheckAdam(params, grads, m, v, squaredNorm), nil, list(squaredNorm), all...); err != nil {
		return nil, err
	}
	for i, p := range params {
		if err := d.alike(nil, p, grads[i], m[i], v[i]); err != nil {
			return nil, err
		}
		if x := arr(p); !x.parameter && x.shape.C > kernels.PlainChannels {
			return nil, fmt.Errorf("adam: a feature map of %d channels is no picture", x.shape.C)
		}
	}
	tensors := make([]tensor, len(params))
	for i, p := range params {
		tensors[i] = tensor{p: arr(p).data, m: arr(m[i]).data, v: arr(v[i]).data, g: arr(grads[i]).data, count: elements(arr(p))}
	}
	args, grid, err := d.tables(tensors)
	if err != nil {
		return nil, err
	}
	args.norm = arr(squaredNorm).data
	p := d.plan()
	launch(p, "adam", float32Element, grid, args)
	settings := new(adamSettings)
	prepare := func() error {
		if err := kernels.CheckAdamStep(h, squaredNorm); err != nil {
			return err
		}
		*settings = settingsOf(h)
		return d.driver.upload(args.settings, unsafe.Pointer(settings), int(unsafe.Sizeof(*settings)))
	}
	return func() {
		if d.recording != nil {
			d.recording.before = append(d.recording.before, prepare)
		} else if err := prepare(); err != nil {
			d.fail(err)
			return
		}
		p.run()
	}, nil
}

func settingsOf(h *kernels.Adam) adamSettings {
	step := float64(h.Step)
	return adamSettings{
		rate: float32(h.LR / (1 - math.Pow(h.Beta1, step))), root: float32(math.Sqrt(1 - math.Pow(h.Beta2, step))),
		beta1: float32(h.Beta1), rest1: float32(1 - h.Beta1), beta2: float32(h.Beta2), rest2: float32(1 - h.Beta2),
		eps: float32(h.Eps), clip: float32(max(0, h.ClipNorm)),
	}
}
