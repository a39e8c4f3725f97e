// Package inference runs a network forward, straight on a device's kernels.
//
// It owns the fusing of layers into kernels and the sharing of memory between
// feature maps that are not needed at the same time. It refuses gradients,
// which are package autodiff's, and pictures, which are package stylize's.
package inference

import (
	"errors"
	"fmt"

	"stylenet/internal/kernels"
	"stylenet/internal/networks"
)

// Plan is a network bound to a device for one size of input. It is not safe
// for concurrent use.
type Plan struct {
	scope   kernels.Device
	input   kernels.Array
	outputs []kernels.Array
	kernels []kernels.Kernel
}

// Compile binds a network to dev for n images of h×w pixels. The weights must
// not change as long as the plan is used. keep lists the layers whose results
// Output gives; none means the last layer alone.
func Compile(dev kernels.Device, net *networks.Network, params Arrays, n, h, w int, keep ...int) (*Plan, error) {
	if len(keep) == 0 {
		keep = []int{len(net.Layers) - 1}
	}
	sizes, err := net.Sizes(h, w)
	if err != nil {
		return nil, err
	}
	c := &compiler{
		Plan: &Plan{scope: dev.Scope()}, params: params, n: n, sizes: sizes,
		values: map[int]kernels.Array{}, readers: map[int]int{}, shared: map[int]int{},
	}
	if err := c.compile(net, h, w, keep); err != nil {
		return nil, errors.Join(err, c.scope.Close())
	}
	return c.Plan, nil
}

// Input is the array that Run reads: (n, channels, h, w).
func (p *Plan) Input() kernels.Array { return p.input }

// Output is the array of the i-th layer that Compile was told to keep.
func (p *Plan) Output(i int) kernels.Array { return p.outputs[i] }

// Run launches the network.
func (p *Plan) Run() {
	for _, k := range p.kernels {
		k()
	}
}

// Device is the scope that owns the plan's arrays: kernels that read them are
// bound through it.
func (p *Plan) Device() kernels.Device { return p.scope }

// Close frees the plan's memory.
func (p *Plan) Close() error { return p.scope.Close() }

type compiler struct {
	*Plan
	params  Arrays
	n       int
	sizes   []networks.Size
	values  map[int]kernels.Array // results by layer
	readers map[int]int           // steps that will still read a result
	shared  map[int]int           // the layer whose array a result is
}

func (c *compiler) compile(net *networks.Network, h, w int, keep []int) error {
	var err error
	if c.input, err = c.scope.NewActivation(kernels.Shape{N: c.n, C: net.Channels, H: h, W: w}); err != nil {
		return err
	}
	c.values[networks.Input] = c.input
	c.readers[networks.Input] = 1 // the caller's: never released
	steps := Steps(net, keep...)
	for _, s := range steps {
		for _, j := range s.Inputs {
			c.readers[j]++
		}
	}
	for _, k := range keep {
		c.readers[k]++
	}
	for _, s := range steps {
		if err := c.bind(s); err != nil {
			return fmt.Errorf("layer %s: %w", s.Layer.Name, err)
		}
		for _, j := range s.Inputs {
			if c.readers[j]--; c.readers[j] == 0 {
				c.scope.Release(c.values[j])
			}
		}
	}
	for _, k := range keep {
		c.outputs = append(c.outputs, c.values[k])
	}
	return nil
}

func (c *compiler) bind(s Step) error {
	src := c.values[s.Inputs[0]]
	dst, err := c.scope.NewActivation(Shape(c.n, c.sizes[s.Output]))
	if err != nil {
		return err
	}
	c.values[s.Output] = dst
	k, err := c.kernel(s, dst, src)
	if err != nil {
		return err
	}
	c.kernels = append(c.kernels, k)
	return nil
}

func (c *compiler) kernel(s Step, dst, src kernels.Array) (kernels.Kernel, error) {
	dev, name := c.scope, s.Layer.Name
	param := func(suffix string) kernels.Array { return c.params[name+suffix] }
	switch op := s.Layer.Op.(type) {
	case networks.Conv:
		return dev.Conv(dst, src, param(".weight"), param(".bias"), kernels.Conv{Stride: op.Stride, Pad: Border(op.Pad), ReLU: s.ReLU, Frozen: true})
	case networks.ConvTranspose:
		c := TransposedConv(op)
		c.Frozen = true
		return dev.ConvBackwardData(dst, src, param(".weight"), param(".bias"), c)
	case networks.Norm:
		if op.Batch {
			return c.batchNorm(s, op, dst, src)
		}
		mean, err := dev.NewParameter(kernels.Norm{}.Stats(src.Shape()))
		if err != nil {
			return nil, err
		}
		invstd, err := dev.NewParameter(mean.Shape())
		if err != nil {
			return nil, err
		}
		return dev.Norm(dst, mean, invstd, src, param(".weight"), param(".bias"), kernels.Norm{Eps: op.Eps, ReLU: s.ReLU})
	case networks.ReLU:
		return dev.ReLU(dst, src)
	case networks.Tanh:
		return dev.Tanh(dst, src, op.Scale, op.Offset)
	case networks.Add:
		return dev.Sum(dst, []kernels.Array{src, c.values[s.Inputs[1]]}, []float32{1, 1})
	case networks.Pad:
		mode, err := PadMode(op.Mode)
		if err != nil {
			return nil, err
		}
		return dev.Pad(dst, src, mode, Border(op.Padding))
	case networks.Upsample:
		return dev.Upsample(dst, src, op.Factor)
	case networks.Pool:
		return dev.Pool(dst, src, PoolKind(op))
	case networks.Affine:
		scale, shift, err := AffineArrays(dev, op)
		if err != nil {
			return nil, err
		}
		return dev.ChannelAffine(dst, src, scale, shift)
	}
	return nil, fmt.Errorf("unknown kind of layer %T", s.Layer.Op)
}

// batchNorm normalises with the running statistics.
func (c *compiler) batchNorm(s Step, n networks.Norm, dst, src kernels.Array) (kernels.Kernel, error) {
	var values [4][]float32
	for i, suffix := range []string{".weight", ".bias", ".running_mean", ".running_var"} {
		values[i] = make([]float32, n.Channels)
		if err := c.scope.Download(values[i], c.params[s.Layer.Name+suffix]); err != nil {
			return nil, err
		}
	}
	scale, shift := foldBatchNorm(n, values[0], values[1], values[2], values[3])
	a, b, err := AffineArrays(c.scope, networks.Affine{Scale: scale, Shift: shift})
	if err != nil {
		return nil, err
	}
	affine, err := c.scope.ChannelAffine(dst, src, a, b)
	if err != nil || !s.ReLU {
		return affine, err
	}
	relu, err := c.scope.ReLU(dst, dst)
	return func() { affine(); relu() }, err
}

// AffineArrays puts the constants of an Affine on a device.
func AffineArrays(dev kernels.Device, a networks.Affine) (scale, shift kernels.Array, err error) {
	if scale, err = NewParameter(dev, []int{len(a.Scale)}, a.Scale); err != nil {
		return nil, nil, err
	}
	shift, err = NewParameter(dev, []int{len(a.Shift)}, a.Shift)
	return scale, shift, err
}

// TransposedConv describes the convolution whose gradient for its source a
// transposed convolution is. Its output padding is in the shape of the source.
func TransposedConv(t networks.ConvTranspose) kernels.Conv {
	return kernels.Conv{Stride: t.Stride, Pad: kernels.Same(t.Pad)}
}
