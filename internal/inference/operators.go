package inference

import (
	"fmt"

	"stylenet/internal/kernels"
	"stylenet/internal/networks"
)

// operator binds the kernel of a piece of a network that others have trained.
func (b *binder) operator(dev kernels.Device, p piece, dst kernels.Array, srcs []kernels.Array, have rows) (kernels.Kernel, error) {
	switch op := p.Layer.Op.(type) {
	case networks.Pointwise:
		f, err := pointwise(op)
		if err != nil {
			return nil, err
		}
		var second kernels.Array
		switch {
		case op.Function == networks.PReLU:
			second = b.params[p.Layer.Name+".weight"]
		case op.Function.Binary():
			second = srcs[1]
		}
		return dev.Pointwise(dst, srcs[0], second, f)
	case networks.Concat:
		return dev.Arrange(dst, srcs, kernels.Arrangement{From: count(0, dst.Shape().C), Block: 1})
	case networks.Channels:
		return dev.Arrange(dst, srcs, kernels.Arrangement{From: count(op.From, op.To), Block: 1, Top: p.offset(have)})
	case networks.DepthToSpace:
		return dev.Arrange(dst, srcs, kernels.Arrangement{From: squares(op, dst.Shape().C), Block: op.Block, Top: p.offset(have)})
	case networks.Resize:
		source := b.size(p.Reads[0].From)
		return dev.Resample(dst, srcs[0], taps(op, source.H, p.out, have.from), taps(op.OfColumns(), source.W, rows{0, dst.Shape().W}, 0))
	case networks.WindowPool:
		return dev.WindowPool(dst, srcs[0], p.window(op, srcs[0].Shape()))
	}
	return nil, fmt.Errorf("unknown kind of layer %T", p.Layer.Op)
}

func pointwise(op networks.Pointwise) (kernels.Pointwise, error) {
	f := kernels.Pointwise{A: op.A, B: op.B}
	switch op.Function {
	case networks.LeakyReLU:
		f.Function = kernels.LeakyReLU
	case networks.PReLU:
		f.Function = kernels.PReLU
	case networks.Sigmoid:
		f.Function = kernels.Sigmoid
	case networks.Clip:
		f.Function = kernels.Clip
	case networks.Plus:
		f.Function = kernels.Add
	case networks.Minus:
		f.Function = kernels.Subtract
	case networks.Times:
		f.Function = kernels.Multiply
	case networks.Over:
		f.Function = kernels.Divide
	default:
		return f, fmt.Errorf("unknown function %q", op.Function)
	}
	return f, nil
}

// count lists the numbers from ≤ c < to.
func count(from, to int) []int {
	list := make([]int, to-from)
	for i := range list {
		list[i] = from + i
	}
	return list
}

// squares lists the channels that the pixels of squares take, for that many
// channels of the result.
func squares(op networks.DepthToSpace, channels int) []int {
	pixels := op.Block * op.Block
	list := count(0, pixels*channels)
	if op.CRD {
		for i := range list {
			list[i] = i%channels*pixels + i/channels
		}
	}
	return list
}

// taps are those of the pixels out of a row of n that is resized, counted from
// the pixel `from` on.
func taps(op networks.Resize, n int, out rows, from int) []kernels.Tap {
	list := make([]kernels.Tap, out.count())
	for i := range list {
		first, second, weight := op.Tap(out.from+i, n)
		list[i] = kernels.Tap{A: int32(first - from), B: int32(second - from), W: weight}
	}
	return list
}

// window describes the windows of a piece, of a source of that shape.
func (p piece) window(op networks.WindowPool, src kernels.Shape) kernels.Window {
	w := kernels.Window{Stride: op.Stride, Pad: Border(op.Pad), CountPad: op.CountPad}
	w.Height, w.Width = op.Window()
	if op.Average {
		w.Kind = kernels.AvgPool
	}
	if op.Global {
		w.Height, w.Width, w.Stride, w.Pad, w.CountPad = src.H, src.W, 1, kernels.Padding{}, false
		return w
	}
	// Windows of a strip that lies inside have no border above or below.
	seen := windows(op, p.out)
	w.Pad.Top = max(0, -seen.from)
	w.Pad.Bottom = max(0, seen.count()-w.Pad.Top-src.H)
	return w
}

// windows are the rows of the windows of some rows of a result, which begin above
// a source and end below it where the border is.
func windows(op networks.WindowPool, out rows) rows {
	return rows{out.from*op.Stride - op.Pad.Top, (out.to-1)*op.Stride - op.Pad.Top + op.Kernel}
}
