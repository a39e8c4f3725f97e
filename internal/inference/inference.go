// Package inference runs a network forward, straight on a device's kernels.
//
// It owns the fusing of layers into kernels, the sharing of memory between
// feature maps that are not needed at the same time, and running by strips of
// rows where memory is short. It refuses gradients, which are package
// autodiff's, and pictures, which are package stylize's.
package inference

import (
	"errors"
	"slices"

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
	run     kernels.Kernel // all of them; made by the first Run
}

// Compile binds a network to dev for n images of h×w pixels. The weights must
// not change as long as the plan is used. keep lists the layers whose results
// Output gives; none means the last layer alone.
func Compile(dev kernels.Device, net *networks.Network, params Arrays, n, h, w int, keep ...int) (*Plan, error) {
	if len(keep) == 0 {
		keep = []int{len(net.Layers) - 1}
	}
	p := &Plan{scope: dev.Scope()}
	if err := p.compile(net, params, n, h, w, keep); err != nil {
		return nil, errors.Join(err, p.scope.Close())
	}
	return p, nil
}

// MapBytes is the memory that the maps of Compile's plan take on dev.
func MapBytes(dev kernels.Device, net *networks.Network, n, h, w int, keep ...int) (int64, error) {
	if len(keep) == 0 {
		keep = []int{len(net.Layers) - 1}
	}
	b, err := newSizes(dev, net, n, h, w)
	if err != nil {
		return 0, err
	}
	given, pieces := b.whole(Fuse(net, keep...))
	return b.bytes(given, pieces, append(slices.Clone(keep), networks.Input)...), nil
}

func (p *Plan) compile(net *networks.Network, params Arrays, n, h, w int, keep []int) error {
	b, err := newBinder(p.scope, net, params, n, h, w)
	if err != nil {
		return err
	}
	given, pieces := b.whole(Fuse(net, keep...))
	for _, piece := range pieces {
		if piece.stats == nil {
			continue
		}
		if *piece.stats, err = newStatistics(p.scope, kernels.Norm{}.Stats(b.shape(piece.Output, piece.out))); err != nil {
			return err
		}
		b.stats[piece.Stats] = *piece.stats
	}
	// The input is the caller's, who may run the plan again without writing it.
	values, launches, err := b.program(p.scope, given, pieces, append(slices.Clone(keep), networks.Input)...)
	if err != nil {
		return err
	}
	p.kernels, p.input = launches, values[networks.Input].array
	for _, k := range keep {
		p.outputs = append(p.outputs, values[k].array)
	}
	return nil
}

// Input is the array that Run reads: (n, channels, h, w).
func (p *Plan) Input() kernels.Array { return p.input }

// Output is the array of the i-th layer that Compile was told to keep.
func (p *Plan) Output(i int) kernels.Array { return p.outputs[i] }

// Run launches the network. A device that can records the launches in one of the
// first runs, and runs them as a whole from then on: pictures of one size cost
// one launch each.
func (p *Plan) Run() {
	if p.run == nil {
		p.run = p.Launch
		if r, ok := p.scope.(kernels.Recorder); ok {
			p.run = r.Record(p.Launch)
		}
	}
	p.run()
}

// Launch launches the network's kernels one by one, as part of what a caller
// records as a whole.
func (p *Plan) Launch() {
	for _, k := range p.kernels {
		k()
	}
}

// Device is the scope that owns the plan's arrays: kernels that read them are
// bound through it.
func (p *Plan) Device() kernels.Device { return p.scope }

// Close frees the plan's memory.
func (p *Plan) Close() error { return p.scope.Close() }

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
