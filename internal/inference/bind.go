package inference

import (
	"fmt"
	"math"

	"stylenet/internal/kernels"
	"stylenet/internal/networks"
)

// binder binds steps to a device, for any rows of their results.
type binder struct {
	dev    kernels.Device
	params Arrays
	n      int                            // images
	input  networks.Size                  // of the whole picture
	sizes  []networks.Size                // of whole results
	crops  map[int]int                    // of what each crop is one; see fitted
	stats  map[*networks.Layer]statistics // known, or to be taken
}

// statistics are the mean and 1/√(variance+ε) of what a norm reads.
type statistics struct{ mean, invstd kernels.Array }

// newSizes makes a binder that knows sizes alone.
func newSizes(dev kernels.Device, net *networks.Network, n, h, w int) (*binder, error) {
	sizes, err := net.Sizes(h, w)
	if err != nil {
		return nil, err
	}
	return &binder{dev: dev, n: n, input: networks.Size{C: net.Channels, H: h, W: w}, sizes: sizes, crops: map[int]int{}}, nil
}

func newBinder(dev kernels.Device, net *networks.Network, params Arrays, n, h, w int) (*binder, error) {
	b, err := newSizes(dev, net, n, h, w)
	if err != nil {
		return nil, err
	}
	b.params, b.stats = params, map[*networks.Layer]statistics{}
	for i := range net.Layers {
		l := &net.Layers[i]
		if op, ok := l.Op.(networks.Norm); ok && op.Batch {
			if b.stats[l], err = b.running(l, op); err != nil {
				return nil, fmt.Errorf("layer %s: %w", l.Name, err)
			}
		}
	}
	return b, nil
}

// running are the running statistics of a batch norm.
func (b *binder) running(l *networks.Layer, op networks.Norm) (statistics, error) {
	variance := make([]float32, op.Channels)
	if err := b.dev.Download(variance, b.params[l.Name+".running_var"]); err != nil {
		return statistics{}, err
	}
	for i, v := range variance {
		variance[i] = float32(1 / math.Sqrt(float64(v)+float64(op.Eps)))
	}
	invstd, err := NewParameter(b.dev, []int{op.Channels}, variance)
	return statistics{b.params[l.Name+".running_mean"], invstd}, err
}

func newStatistics(dev kernels.Device, s kernels.Shape) (statistics, error) {
	mean, err := dev.NewParameter(s)
	if err != nil {
		return statistics{}, err
	}
	invstd, err := dev.NewParameter(s)
	return statistics{mean, invstd}, err
}

// source is a result, or some rows of it, on the device.
type source struct {
	array kernels.Array
	rows  rows
}

// piece is a step for some rows of its result.
type piece struct {
	*Fused
	out rows
	// stats, unless nil, receives the statistics of these rows.
	stats *statistics
}

// shape is the shape of some rows of a result.
func (b *binder) shape(value int, r rows) kernels.Shape {
	s := b.size(value)
	s.H = r.count()
	return Shape(b.n, s)
}

// size is the size of a whole result.
func (b *binder) size(value int) networks.Size {
	if of, ok := b.crops[value]; ok {
		value = of
	}
	if value == networks.Input {
		return b.input
	}
	return b.sizes[value]
}

// program binds pieces, in the order in which they run, through dev. given
// are results that are uploaded before each run; keep lists those that stay after
// the last piece. All others share memory.
func (b *binder) program(dev kernels.Device, given map[int]rows, pieces []piece, keep ...int) (map[int]source, []kernels.Kernel, error) {
	held, shapes, lives := b.held(given, pieces, keep...)
	arrays, err := dev.NewActivations(shapes, lives)
	if err != nil {
		return nil, nil, err
	}
	values := map[int]source{}
	for i, v := range held {
		values[v] = source{arrays[i], given[v]}
	}
	var launches []kernels.Kernel
	for _, p := range pieces {
		values[p.Output] = source{values[p.Output].array, p.out}
		k, err := b.step(dev, p, values)
		if err != nil {
			return nil, nil, fmt.Errorf("layer %s: %w", p.Layer.Name, err)
		}
		launches = append(launches, k)
		if p.stats == nil {
			continue
		}
		ks, err := b.measure(dev, p, values)
		if err != nil {
			return nil, nil, fmt.Errorf("layer %s: %w", p.Stats.Name, err)
		}
		launches = append(launches, ks...)
	}
	return values, launches, nil
}

// step binds the kernel of a piece.
func (b *binder) step(dev kernels.Device, p piece, values map[int]source) (kernels.Kernel, error) {
	param := func(suffix string) kernels.Array { return b.params[p.Layer.Name+suffix] }
	dst := values[p.Output].array
	arrays, reads := make([]kernels.Array, len(p.Reads)), make([]kernels.Read, len(p.Reads))
	for i, r := range p.Reads {
		var err error
		arrays[i] = values[r.From].array
		seen := p.reads(p.out, b.size(r.From).H)
		if reads[i], err = b.read(r.strip(seen, values[r.From].rows)); err != nil {
			return nil, err
		}
	}
	src, have := arrays[0], values[p.Reads[0].From].rows
	switch op := p.Layer.Op.(type) {
	case networks.Conv:
		c := kernels.Conv{Stride: op.Stride, ReLU: p.ReLU, Frozen: true}
		if p.stats == nil || !p.measures() {
			return dev.FusedConv(dst, nil, nil, src, reads[0], param(".weight"), param(".bias"), c, kernels.Norm{})
		}
		eps, _ := shared(p.Stats)
		n := kernels.Norm{Eps: eps}
		return dev.FusedConv(dst, p.stats.mean, p.stats.invstd, src, reads[0], param(".weight"), param(".bias"), c, n)
	case nil, networks.Add:
		return dev.FusedSum(dst, arrays, reads)
	case networks.ConvTranspose:
		c := TransposedConv(op)
		c.Frozen = true
		// The rows of dst begin and end within what the rows of src reach.
		c.Pad.Top = p.offset(have)
		c.Pad.Bottom = max(0, (have.count()-1)*op.Stride+op.Kernel-p.out.count()-c.Pad.Top)
		return dev.ConvBackwardData(dst, src, param(".weight"), param(".bias"), c)
	case networks.Norm, networks.GroupNorm:
		return b.norm(dev, p, dst, src)
	case networks.Tanh:
		return dev.Tanh(dst, src, op.Scale, op.Offset)
	case networks.Pool:
		return dev.Pool(dst, src, PoolKind(op))
	case networks.Affine:
		scale, shift, err := AffineArrays(dev, op)
		if err != nil {
			return nil, err
		}
		return dev.ChannelAffine(dst, src, scale, shift)
	}
	return b.operator(dev, p, dst, arrays, have)
}

// norm binds a norm that is a step of its own.
func (b *binder) norm(dev kernels.Device, p piece, dst, src kernels.Array) (kernels.Kernel, error) {
	eps, groups := shared(&p.Layer)
	own, err := newStatistics(dev, kernels.Norm{}.Stats(src.Shape()))
	if err != nil {
		return nil, err
	}
	gamma, beta := b.params[p.Layer.Name+".weight"], b.params[p.Layer.Name+".bias"]
	normalise, err := dev.Norm(dst, own.mean, own.invstd, src, gamma, beta, kernels.Norm{Eps: eps})
	if err != nil || groups == 0 {
		return normalise, err
	}
	merge, err := dev.GroupStatistics(own.mean, own.invstd, groups)
	if err != nil {
		return nil, err
	}
	again, err := dev.FusedSum(dst, []kernels.Array{src}, []kernels.Read{{Mean: own.mean, InvStd: own.invstd, Gamma: gamma, Beta: beta}})
	return func() { normalise(); merge(); again() }, err
}

// shared tells what the statistics of a norm need: its epsilon, and into how many
// groups of channels they are merged, 0 where each channel has its own.
func shared(l *networks.Layer) (eps float32, groups int) {
	switch op := l.Op.(type) {
	case networks.Norm:
		return op.Eps, 0
	case networks.GroupNorm:
		return op.Eps, op.Groups
	}
	return 0, 0
}

// offset is how far a step's first row of interest lies behind the first that
// the rows have of its source reach.
func (p piece) offset(have rows) int {
	switch op := p.Layer.Op.(type) {
	case networks.ConvTranspose:
		return p.out.from + op.Pad - op.Stride*have.from
	case networks.Channels:
		return p.out.from - have.from
	case networks.DepthToSpace:
		return p.out.from - op.Block*have.from
	}
	return 0
}

// measures says that a step's kernel takes statistics itself.
func (s *Fused) measures() bool {
	_, conv := s.Layer.Op.(networks.Conv)
	return conv && !s.ReLU
}

// measure binds what takes the statistics of a piece's result, where its own
// kernel does not, and merges those of groups.
func (b *binder) measure(dev kernels.Device, p piece, values map[int]source) (launches []kernels.Kernel, err error) {
	eps, groups := shared(p.Stats)
	if !p.measures() {
		gamma, beta := b.params[p.Stats.Name+".weight"], b.params[p.Stats.Name+".bias"]
		k, err := dev.Norm(values[scratch(p.Output)].array, p.stats.mean, p.stats.invstd, values[p.Output].array, gamma, beta, kernels.Norm{Eps: eps})
		if err != nil {
			return nil, err
		}
		launches = append(launches, k)
	}
	if groups > 0 {
		k, err := dev.GroupStatistics(p.stats.mean, p.stats.invstd, groups)
		if err != nil {
			return nil, err
		}
		launches = append(launches, k)
	}
	return launches, nil
}

// read turns a Read into the kernels' terms.
func (b *binder) read(r Read) (kernels.Read, error) {
	k := kernels.Read{ReLU: r.ReLU, Upsample: r.Upsample, Pad: Border(r.Pad)}
	if r.Mode != "" {
		var err error
		if k.Mode, err = PadMode(r.Mode); err != nil {
			return k, err
		}
	}
	if r.Norm != nil {
		stats := b.stats[r.Norm]
		k.Mean, k.InvStd = stats.mean, stats.invstd
		k.Gamma, k.Beta = b.params[r.Norm.Name+".weight"], b.params[r.Norm.Name+".bias"]
	}
	return k, nil
}
