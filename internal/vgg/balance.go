package vgg

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/networks"
)

// Balance scales the convolutions up to a layer so that the root mean square of
// every channel, over all places of some pictures, is 1 behind ReLU. Channels and
// layers then weigh alike in a loss, and are of a size that a decoder learns from.
// The "normalised" VGG of Gatys, Ecker and Bethge 2016 has means of 1; a channel
// that is seldom stirred, but strongly, would outweigh all others so. One of less
// than a tenth of its layer's root mean square is scaled as if it had that: other
// pictures may stir it.
//
// The network computes what it did but for these scales, for ReLU and pooling
// pass on a factor above 0. Convolutions behind that layer are dropped. net is
// VGG-19 up to it, pictures is (n, 3, side, side), RGB 0-255.
func (w *Weights) Balance(dev kernels.Device, net *networks.Network, pictures []float32, side int) (err error) {
	if err := w.For(net); err != nil {
		return err
	}
	strengths, err := channelStrengths(dev, net, w, pictures, side)
	if err != nil {
		return err
	}
	set, err := net.Init(0) // of the right names and shapes
	if err != nil {
		return err
	}
	before := []float64{1, 1, 1} // what each channel that a layer reads was divided by
	for i, l := range net.Layers {
		op, ok := l.Op.(networks.Conv)
		if !ok {
			continue
		}
		after := strengths[net.Layers[i+1].Name] // the ReLU's
		floor(after)
		from, to := w.Set.Get(l.Name+".weight").Data, set.Get(l.Name+".weight").Data
		bias, shift := w.Set.Get(l.Name+".bias").Data, set.Get(l.Name+".bias").Data
		area := op.Kernel * op.Kernel
		for o := range op.Out {
			shift[o] = float32(float64(bias[o]) / after[o])
			for c := range op.In {
				scale := before[c] / after[o]
				for k := range area {
					j := (o*op.In+c)*area + k
					to[j] = float32(float64(from[j]) * scale)
				}
			}
		}
		before = after
	}
	w.Set = set
	w.Description += ", balanced"
	return nil
}

// floor raises the strengths of channels to a tenth of their layer's.
func floor(strengths []float64) {
	var square float64
	for _, s := range strengths {
		square += s * s / float64(len(strengths))
	}
	least := math.Sqrt(square) / 10
	if least == 0 {
		least = 1 // a layer that no picture stirs stays as it is
	}
	for c, s := range strengths {
		strengths[c] = max(s, least)
	}
}

// channelStrengths are, for each ReLU, the root mean squares of its channels.
func channelStrengths(dev kernels.Device, net *networks.Network, w *Weights, pictures []float32, side int) (_ map[string][]float64, err error) {
	scope := dev.Scope()
	defer func() { err = errors.Join(err, scope.Close()) }()
	var keep []int
	for i, l := range net.Layers {
		if strings.HasPrefix(l.Name, "relu") {
			keep = append(keep, i)
		}
	}
	params, err := inference.Upload(scope, net, w.Set)
	if err != nil {
		return nil, err
	}
	// One picture at a time: all layers are kept.
	plan, err := inference.Compile(scope, net, params, 1, side, side, keep...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plan.Close()) }()
	size := 3 * side * side
	n := len(pictures) / size
	if n < 1 || len(pictures)%size != 0 {
		return nil, fmt.Errorf("%d values are not pictures of %d×%d", len(pictures), side, side)
	}
	strengths := map[string][]float64{} // the squares, at first
	for p := range n {
		if err := plan.Device().Upload(plan.Input(), pictures[p*size:][:size]); err != nil {
			return nil, err
		}
		plan.Run()
		for i, k := range keep {
			s := plan.Output(i).Shape()
			values := make([]float32, s.Elements())
			if err := plan.Device().Download(values, plan.Output(i)); err != nil {
				return nil, err
			}
			name, area := net.Layers[k].Name, s.H*s.W
			if strengths[name] == nil {
				strengths[name] = make([]float64, s.C)
			}
			for c := range s.C {
				var sum float64
				for _, v := range values[c*area:][:area] {
					sum += float64(v) * float64(v)
				}
				strengths[name][c] += sum / float64(area*n)
			}
		}
	}
	for name, of := range strengths {
		for c, v := range of {
			of[c] = math.Sqrt(v)
			if v-v != 0 {
				return nil, fmt.Errorf("channel %d of %s has the mean square %v on device %s", c, name, v, dev.Info().Backend)
			}
		}
	}
	return strengths, nil
}
