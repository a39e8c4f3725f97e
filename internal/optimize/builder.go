package optimize

import "stylenet/internal/kernels"

// builder makes arrays and binds kernels, and keeps the first error: what it
// returns after that must not be used.
type builder struct {
	dev kernels.Device
	err error
}

func (b *builder) array(make func(kernels.Shape) (kernels.Array, error), s kernels.Shape) kernels.Array {
	if b.err != nil {
		return nil
	}
	a, err := make(s)
	b.err = err
	return a
}

func (b *builder) map_(s kernels.Shape) kernels.Array { return b.array(b.dev.NewActivation, s) }

func (b *builder) vector(n int) kernels.Array { return b.array(b.dev.NewParameter, kernels.Vector(n)) }

func (b *builder) zeros(s kernels.Shape) kernels.Array {
	a := b.map_(s)
	b.upload(a, make([]float32, s.Elements()))
	return a
}

func (b *builder) upload(a kernels.Array, values []float32) {
	if b.err == nil {
		b.err = b.dev.Upload(a, values)
	}
}

// kernel takes what a method of the device returns.
func (b *builder) kernel(k kernels.Kernel, err error) kernels.Kernel {
	if b.err == nil {
		b.err = err
	}
	return k
}
