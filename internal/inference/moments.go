package inference

import (
	"stylenet/internal/kernels"
	"stylenet/internal/networks"
)

// Moments binds the mean and the standard deviation of each of a batch's maps,
// and what follows from them. An array of moments is an activation of shape
// (N, 2·C, 1, 1), of maps of shape (N, C, H, W): their means, and then their
// deviations, v/√(v+ε) of a variance v and the ε of networks.AdaINNorm.
//
// Bound kernels need maps on the way, which they make on the device they are
// bound to, and release. So that device may not make arrays afterwards which
// have to keep a value from one run to the next.
type Moments struct {
	maps                kernels.Shape
	ones, zeros, shares kernels.Array // shares are 1/(H·W), of 2·C
}

// NewMoments makes the constants for maps of one shape, which last as long as
// dev.
func NewMoments(dev kernels.Device, maps kernels.Shape) (*Moments, error) {
	m := &Moments{maps: maps}
	for _, c := range []struct {
		array *kernels.Array
		n     int
		value float32
	}{{&m.ones, maps.C, 1}, {&m.zeros, maps.C, 0}, {&m.shares, 2 * maps.C, 1 / float32(maps.H*maps.W)}} {
		values := make([]float32, c.n)
		for i := range values {
			values[i] = c.value
		}
		var err error
		if *c.array, err = NewParameter(dev, []int{c.n}, values); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Shape is that of an array of moments.
func (m *Moments) Shape() kernels.Shape {
	return kernels.Shape{N: m.maps.N, C: 2 * m.maps.C, H: 1, W: 1}
}

// Measure binds dst = the moments of src.
func (m *Moments) Measure(dev kernels.Device, dst, src kernels.Array) (kernels.Kernel, error) {
	b := sequence{dev: dev}
	normal, product, mean, deviation := b.activation(m.maps), b.activation(m.maps), b.activation(m.vector()), b.activation(m.vector())
	m.normalise(&b, normal, src)
	// The mean of x·(x−m)/σ is the variance over σ.
	b.bind(func() (kernels.Kernel, error) {
		return dev.Pointwise(product, src, normal, kernels.Pointwise{Function: kernels.Multiply})
	})
	whole := kernels.Window{Kind: kernels.AvgPool, Height: m.maps.H, Width: m.maps.W, Stride: 1}
	b.bind(func() (kernels.Kernel, error) { return dev.WindowPool(mean, src, whole) })
	b.bind(func() (kernels.Kernel, error) { return dev.WindowPool(deviation, product, whole) })
	b.bind(func() (kernels.Kernel, error) {
		return dev.Arrange(dst, []kernels.Array{mean, deviation}, kernels.Arrangement{From: channels(0, 2*m.maps.C), Block: 1})
	})
	return b.finish()
}

// Restyle binds adaptive instance normalisation (Huang and Belongie 2017): dst is
// src with the moments of style in place of its own.
func (m *Moments) Restyle(dev kernels.Device, dst, src, style kernels.Array) (kernels.Kernel, error) {
	b := sequence{dev: dev}
	m.restyle(&b, dst, src, style)
	return b.finish()
}

// Backward binds Measure's gradient for its source, but for ε: it is src with
// the result's gradient for moments, divided by the number of pixels.
func (m *Moments) Backward(dev kernels.Device, dsrc, ddst, src kernels.Array) (kernels.Kernel, error) {
	b := sequence{dev: dev}
	share := b.activation(m.Shape())
	b.bind(func() (kernels.Kernel, error) { return dev.ChannelAffine(share, ddst, m.shares, nil) })
	m.restyle(&b, dsrc, src, share)
	return b.finish()
}

func (m *Moments) restyle(b *sequence, dst, src, style kernels.Array) {
	normal, product, mean, deviation := b.activation(m.maps), b.activation(m.maps), b.activation(m.vector()), b.activation(m.vector())
	m.normalise(b, normal, src)
	for i, part := range []kernels.Array{mean, deviation} {
		b.bind(func() (kernels.Kernel, error) {
			return b.dev.Arrange(part, []kernels.Array{style}, kernels.Arrangement{From: channels(i*m.maps.C, m.maps.C), Block: 1})
		})
	}
	b.bind(func() (kernels.Kernel, error) {
		return b.dev.Pointwise(product, normal, deviation, kernels.Pointwise{Function: kernels.Multiply})
	})
	b.bind(func() (kernels.Kernel, error) {
		return b.dev.Pointwise(dst, product, mean, kernels.Pointwise{Function: kernels.Add})
	})
}

func (m *Moments) normalise(b *sequence, dst, src kernels.Array) {
	b.bind(func() (kernels.Kernel, error) {
		n := kernels.Norm{Eps: networks.AdaINEps}
		own, err := newStatistics(b.dev, n.Stats(m.maps))
		if err != nil {
			return nil, err
		}
		return b.dev.Norm(dst, own.mean, own.invstd, src, m.ones, m.zeros, n)
	})
}

// vector is the shape of one value for each map.
func (m *Moments) vector() kernels.Shape {
	return kernels.Shape{N: m.maps.N, C: m.maps.C, H: 1, W: 1}
}

func channels(from, n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = from + i
	}
	return list
}

// sequence binds kernels that run one after the other, up to the first error,
// with maps of their own.
type sequence struct {
	dev      kernels.Device
	maps     []kernels.Array
	launches []kernels.Kernel
	err      error
}

func (b *sequence) activation(s kernels.Shape) (a kernels.Array) {
	if b.err == nil {
		if a, b.err = b.dev.NewActivation(s); b.err == nil {
			b.maps = append(b.maps, a)
		}
	}
	return a
}

func (b *sequence) bind(f func() (kernels.Kernel, error)) {
	if b.err == nil {
		var k kernels.Kernel
		k, b.err = f()
		b.launches = append(b.launches, k)
	}
}

// finish releases the maps and returns all kernels as one.
func (b *sequence) finish() (kernels.Kernel, error) {
	for _, a := range b.maps {
		b.dev.Release(a)
	}
	if b.err != nil {
		return nil, b.err
	}
	return func() {
		for _, k := range b.launches {
			k()
		}
	}, nil
}
