package optimize

import (
	"stylenet/internal/kernels"
)

// adam minimises a function by Adam (Kingma and Ba 2015).
type adam struct {
	f        function
	dev      kernels.Device // a scope of its own
	m, v     kernels.Array
	settings kernels.Adam
	update   kernels.Kernel
	at       Losses
}

func newAdam(dev kernels.Device, f function, rate float64) (*adam, error) {
	o := &adam{f: f, dev: dev.Scope(), settings: kernels.Adam{LR: rate, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8}}
	b := &builder{dev: o.dev}
	x := f.variable()
	o.m, o.v = b.zeros(x.Shape()), b.zeros(x.Shape())
	list := func(a kernels.Array) []kernels.Array { return []kernels.Array{a} }
	if b.err == nil {
		o.update = b.kernel(o.dev.Adam(list(x), list(f.gradient()), list(o.m), list(o.v), nil, &o.settings))
	}
	if b.err != nil {
		o.dev.Close()
		return nil, b.err
	}
	return o, nil
}

// iterate evaluates the function and does one step.
func (o *adam) iterate(int) (evaluations int, err error) {
	if o.at, err = o.f.evaluate(); err != nil {
		return 1, err
	}
	o.settings.Step++
	o.update()
	return 1, nil
}

// losses are those before the last step.
func (o *adam) losses() Losses { return o.at }

func (o *adam) close() error { return o.dev.Close() }
