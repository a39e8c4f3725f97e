package profile

import (
	"fmt"
	"slices"

	"stylenet/internal/kernels"
)

// Pad binds and measures the kernel of that name.
func (d *Device) Pad(dst, src kernels.Array, mode kernels.PadMode, p kernels.Padding) (kernels.Kernel, error) {
	k, err := d.Device.Pad(dst, src, mode, p)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "pad "+text(dst), 0, dst, src)
}

// PadBackward binds and measures the kernel of that name.
func (d *Device) PadBackward(dsrc, ddst kernels.Array, mode kernels.PadMode, p kernels.Padding) (kernels.Kernel, error) {
	k, err := d.Device.PadBackward(dsrc, ddst, mode, p)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "pad backward "+text(dsrc), 0, dsrc, ddst)
}

// Conv binds and measures the kernel of that name.
func (d *Device) Conv(dst, src, w, bias kernels.Array, c kernels.Conv) (kernels.Kernel, error) {
	k, err := d.Device.Conv(dst, src, w, bias, c)
	if err != nil {
		return nil, err
	}
	return d.bound(k, convolution("conv", w, dst, c), multiplyAdds(w, dst), dst, src, w, bias)
}

// ConvBackwardData binds and measures the kernel of that name.
func (d *Device) ConvBackwardData(dsrc, ddst, w, bias kernels.Array, c kernels.Conv) (kernels.Kernel, error) {
	k, err := d.Device.ConvBackwardData(dsrc, ddst, w, bias, c)
	if err != nil {
		return nil, err
	}
	return d.bound(k, convolution("conv backward data", w, dsrc, c), multiplyAdds(w, ddst), dsrc, ddst, w, bias)
}

// ConvBackwardWeights binds and measures the kernel of that name.
func (d *Device) ConvBackwardWeights(dw, db, ddst, src kernels.Array, c kernels.Conv) (kernels.Kernel, error) {
	k, err := d.Device.ConvBackwardWeights(dw, db, ddst, src, c)
	if err != nil {
		return nil, err
	}
	return d.bound(k, convolution("conv backward weights", dw, ddst, c), multiplyAdds(dw, ddst), dw, db, ddst, src)
}

// FusedConv binds and measures the kernel of that name.
func (d *Device) FusedConv(dst, mean, invstd, src kernels.Array, r kernels.Read, w, bias kernels.Array, c kernels.Conv, n kernels.Norm) (kernels.Kernel, error) {
	k, err := d.Device.FusedConv(dst, mean, invstd, src, r, w, bias, c, n)
	if err != nil {
		return nil, err
	}
	return d.bound(k, convolution("fused conv", w, dst, c), multiplyAdds(w, dst), dst, src, w, bias)
}

// FusedSum binds and measures the kernel of that name.
func (d *Device) FusedSum(dst kernels.Array, srcs []kernels.Array, rs []kernels.Read) (kernels.Kernel, error) {
	k, err := d.Device.FusedSum(dst, srcs, rs)
	if err != nil {
		return nil, err
	}
	return d.bound(k, fmt.Sprintf("fused sum of %d, %s", len(srcs), text(dst)), 0, append(slices.Clone(srcs), dst)...)
}

// BiasBackward binds and measures the kernel of that name.
func (d *Device) BiasBackward(db, ddst kernels.Array) (kernels.Kernel, error) {
	k, err := d.Device.BiasBackward(db, ddst)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "bias backward "+text(ddst), 0, db, ddst)
}

// Norm binds and measures the kernel of that name.
func (d *Device) Norm(dst, mean, invstd, src, gamma, beta kernels.Array, n kernels.Norm) (kernels.Kernel, error) {
	k, err := d.Device.Norm(dst, mean, invstd, src, gamma, beta, n)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "norm "+text(dst), 0, dst, src)
}

// NormBackward binds and measures the kernel of that name.
func (d *Device) NormBackward(dsrc, dgamma, dbeta, ddst, src, gamma, beta, mean, invstd kernels.Array, n kernels.Norm) (kernels.Kernel, error) {
	k, err := d.Device.NormBackward(dsrc, dgamma, dbeta, ddst, src, gamma, beta, mean, invstd, n)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "norm backward "+text(dsrc), 0, dsrc, ddst, src)
}

// ChannelAffine binds and measures the kernel of that name.
func (d *Device) ChannelAffine(dst, src, scale, shift kernels.Array) (kernels.Kernel, error) {
	k, err := d.Device.ChannelAffine(dst, src, scale, shift)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "affine "+text(dst), 0, dst, src)
}

// ReLU binds and measures the kernel of that name.
func (d *Device) ReLU(dst, src kernels.Array) (kernels.Kernel, error) {
	k, err := d.Device.ReLU(dst, src)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "relu "+text(dst), 0, dst, src)
}

// ReLUBackward binds and measures the kernel of that name.
func (d *Device) ReLUBackward(dsrc, ddst, dst kernels.Array) (kernels.Kernel, error) {
	k, err := d.Device.ReLUBackward(dsrc, ddst, dst)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "relu backward "+text(dsrc), 0, dsrc, ddst, dst)
}

// Tanh binds and measures the kernel of that name.
func (d *Device) Tanh(dst, src kernels.Array, scale, offset float32) (kernels.Kernel, error) {
	k, err := d.Device.Tanh(dst, src, scale, offset)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "tanh "+text(dst), 0, dst, src)
}

// TanhBackward binds and measures the kernel of that name.
func (d *Device) TanhBackward(dsrc, ddst, dst kernels.Array, scale, offset float32) (kernels.Kernel, error) {
	k, err := d.Device.TanhBackward(dsrc, ddst, dst, scale, offset)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "tanh backward "+text(dsrc), 0, dsrc, ddst, dst)
}

// Sum binds and measures the kernel of that name.
func (d *Device) Sum(dst kernels.Array, srcs []kernels.Array, weights []float32) (kernels.Kernel, error) {
	k, err := d.Device.Sum(dst, srcs, weights)
	if err != nil {
		return nil, err
	}
	return d.bound(k, fmt.Sprintf("sum of %d, %s", len(srcs), text(dst)), 0, append(slices.Clone(srcs), dst)...)
}

// Upsample binds and measures the kernel of that name.
func (d *Device) Upsample(dst, src kernels.Array, factor int) (kernels.Kernel, error) {
	k, err := d.Device.Upsample(dst, src, factor)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "upsample "+text(dst), 0, dst, src)
}

// UpsampleBackward binds and measures the kernel of that name.
func (d *Device) UpsampleBackward(dsrc, ddst kernels.Array, factor int) (kernels.Kernel, error) {
	k, err := d.Device.UpsampleBackward(dsrc, ddst, factor)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "upsample backward "+text(dsrc), 0, dsrc, ddst)
}

// Pool binds and measures the kernel of that name.
func (d *Device) Pool(dst, src kernels.Array, kind kernels.PoolKind) (kernels.Kernel, error) {
	k, err := d.Device.Pool(dst, src, kind)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "pool "+text(dst), 0, dst, src)
}

// PoolBackward binds and measures the kernel of that name.
func (d *Device) PoolBackward(dsrc, ddst, src kernels.Array, kind kernels.PoolKind) (kernels.Kernel, error) {
	k, err := d.Device.PoolBackward(dsrc, ddst, src, kind)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "pool backward "+text(dsrc), 0, dsrc, ddst, src)
}

// Pointwise binds and measures the kernel of that name.
func (d *Device) Pointwise(dst, a, b kernels.Array, f kernels.Pointwise) (kernels.Kernel, error) {
	k, err := d.Device.Pointwise(dst, a, b, f)
	if err != nil {
		return nil, err
	}
	return d.bound(k, fmt.Sprintf("%v, %s", f.Function, text(dst)), 0, dst, a, b)
}

// Arrange binds and measures the kernel of that name.
func (d *Device) Arrange(dst kernels.Array, srcs []kernels.Array, o kernels.Arrangement) (kernels.Kernel, error) {
	k, err := d.Device.Arrange(dst, srcs, o)
	if err != nil {
		return nil, err
	}
	return d.bound(k, fmt.Sprintf("arrange %d, %s", len(srcs), text(dst)), 0, dst, dst)
}

// Resample binds and measures the kernel of that name.
func (d *Device) Resample(dst, src kernels.Array, rows, cols []kernels.Tap) (kernels.Kernel, error) {
	k, err := d.Device.Resample(dst, src, rows, cols)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "resample "+text(dst), 0, dst, src)
}

// Warp binds and measures the kernel of that name.
func (d *Device) Warp(dst, src, flow kernels.Array, pairs bool) (kernels.Kernel, error) {
	k, err := d.Device.Warp(dst, src, flow, pairs)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "warp "+text(dst), 0, dst, src, flow)
}

// WindowPool binds and measures the kernel of that name.
func (d *Device) WindowPool(dst, src kernels.Array, w kernels.Window) (kernels.Kernel, error) {
	k, err := d.Device.WindowPool(dst, src, w)
	if err != nil {
		return nil, err
	}
	return d.bound(k, fmt.Sprintf("window pool %d×%d, %s", w.Height, w.Width, text(dst)), 0, dst, src)
}

// GroupStatistics binds and measures the kernel of that name.
func (d *Device) GroupStatistics(mean, invstd kernels.Array, groups int) (kernels.Kernel, error) {
	k, err := d.Device.GroupStatistics(mean, invstd, groups)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "group statistics "+text(mean), 0, mean, invstd, mean, invstd)
}

// Gram binds and measures the kernel of that name.
func (d *Device) Gram(dst, src kernels.Array) (kernels.Kernel, error) {
	k, err := d.Device.Gram(dst, src)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "gram "+text(src), outer(src), dst, src)
}

// GramBackward binds and measures the kernel of that name.
func (d *Device) GramBackward(dsrc, dgram, src kernels.Array) (kernels.Kernel, error) {
	k, err := d.Device.GramBackward(dsrc, dgram, src)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "gram backward "+text(src), outer(src), dsrc, dgram, src)
}

// MSE binds and measures the kernel of that name.
func (d *Device) MSE(loss, a, b kernels.Array) (kernels.Kernel, error) {
	k, err := d.Device.MSE(loss, a, b)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "mse "+text(a), 0, a, b)
}

// MSEBackward binds and measures the kernel of that name.
func (d *Device) MSEBackward(da, dloss, a, b kernels.Array) (kernels.Kernel, error) {
	k, err := d.Device.MSEBackward(da, dloss, a, b)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "mse backward "+text(a), 0, da, a, b)
}

// TotalVariation binds and measures the kernel of that name.
func (d *Device) TotalVariation(loss, src kernels.Array) (kernels.Kernel, error) {
	k, err := d.Device.TotalVariation(loss, src)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "total variation "+text(src), 0, src)
}

// TotalVariationBackward binds and measures the kernel of that name.
func (d *Device) TotalVariationBackward(dsrc, dloss, src kernels.Array) (kernels.Kernel, error) {
	k, err := d.Device.TotalVariationBackward(dsrc, dloss, src)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "total variation backward "+text(src), 0, dsrc, src)
}

// Dots binds and measures the kernel of that name: it reads a beside each of bs.
func (d *Device) Dots(dst, a kernels.Array, bs []kernels.Array) (kernels.Kernel, error) {
	k, err := d.Device.Dots(dst, a, bs)
	if err != nil {
		return nil, err
	}
	return d.bound(k, fmt.Sprintf("dots with %d, %s", len(bs), text(a)), 0, append(slices.Clone(bs), a)...)
}

// Combine binds and measures the kernel of that name.
func (d *Device) Combine(dst kernels.Array, srcs []kernels.Array, weights kernels.Array) (kernels.Kernel, error) {
	k, err := d.Device.Combine(dst, srcs, weights)
	if err != nil {
		return nil, err
	}
	return d.bound(k, fmt.Sprintf("combine %d, %s", len(srcs), text(dst)), 0, append(slices.Clone(srcs), dst)...)
}

// SquaredNorm binds and measures the kernel of that name.
func (d *Device) SquaredNorm(dst kernels.Array, srcs []kernels.Array) (kernels.Kernel, error) {
	k, err := d.Device.SquaredNorm(dst, srcs)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "squared norm of parameters", 0, srcs...)
}

// Adam binds and measures the kernel of that name: it reads and writes its
// parameters and moments.
func (d *Device) Adam(params, grads, m, v []kernels.Array, squaredNorm kernels.Array, h *kernels.Adam) (kernels.Kernel, error) {
	k, err := d.Device.Adam(params, grads, m, v, squaredNorm, h)
	if err != nil {
		return nil, err
	}
	return d.bound(k, "adam", 0, slices.Concat(params, params, grads, m, m, v, v)...)
}
