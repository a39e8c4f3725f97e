// Package calibrate finds what a network's values lie within on photos, which
// is how 8-bit integers are chosen for them.
//
// It owns the size at which photos go through the network, and what is a range
// and what an outlier. It refuses files, and what is made of the ranges.
package calibrate

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"

	"stylenet/internal/formats/onnx"
	"stylenet/internal/images"
	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

// Side is the least side in pixels of what goes through the network of each
// photo: a square from its middle, as high or wide as the photo is.
const Side = 256

// Ranges runs a network of pictures on photos and returns the ranges that
// onnx.Quantized asks for. A range ends half way between the extreme of all photos
// and the mean of each one's: what lies beyond the former is rare and costs a
// photo some brightness, what lies within the latter costs all others precision.
// An error of the photos ends it, as does the end of ctx; no photos are an error.
//
// A network that has nothing to quantize gives ranges of nothing.
func Ranges(ctx context.Context, dev kernels.Device, net *networks.Network, set *weights.Set, photos iter.Seq2[*images.Picture, error]) (r *onnx.Ranges, err error) {
	if styles := net.Styles(); styles != nil {
		return nil, fmt.Errorf("ranges depend on the mix of the %d styles: mix them before", len(styles))
	}
	multiple, least, err := net.Multiple()
	if err != nil {
		return nil, err
	}
	side := max((Side+multiple-1)/multiple*multiple, least)
	maps, channels := onnx.Quantized(net)
	if len(maps) == 0 {
		return &onnx.Ranges{}, nil
	}
	keep := slices.Concat(maps, channels)
	slices.Sort(keep)
	keep = slices.Compact(keep)

	scope := dev.Scope()
	defer func() { err = errors.Join(err, scope.Close()) }()
	params, err := inference.Upload(scope, net, set)
	if err != nil {
		return nil, err
	}
	plan, err := inference.Compile(scope, net, params, 1, side, side, keep...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plan.Close()) }()
	sizes, err := net.Sizes(side, side)
	if err != nil {
		return nil, err
	}

	sums := map[int][]extremes{}
	for _, i := range keep {
		sums[i] = slices.Repeat([]extremes{{low: math.MaxFloat32, high: -math.MaxFloat32}}, sizes[i].C)
	}
	n := 0
	for photo, err := range photos {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
		square, err := images.Centre(photo, side)
		if err != nil {
			return nil, err
		}
		if err := plan.Device().Upload(plan.Input(), square.Pix); err != nil {
			return nil, err
		}
		plan.Run()
		for k, i := range keep {
			values := make([]float32, sizes[i].C*sizes[i].H*sizes[i].W)
			if err := plan.Device().Download(values, plan.Output(k)); err != nil {
				return nil, err
			}
			if err := add(sums[i], values); err != nil {
				return nil, fmt.Errorf("layer %s: %w", net.Layers[i].Name, err)
			}
		}
		n++
	}
	if n == 0 {
		return nil, errors.New("there are no photos to calibrate on")
	}
	r = &onnx.Ranges{Maps: map[int]onnx.Range{}, Channels: map[int][]onnx.Range{}}
	for _, i := range maps {
		whole := sums[i][0].over(n)
		for _, c := range sums[i][1:] {
			whole.Low, whole.High = min(whole.Low, c.over(n).Low), max(whole.High, c.over(n).High)
		}
		r.Maps[i] = whole
	}
	for _, i := range channels {
		for _, c := range sums[i] {
			r.Channels[i] = append(r.Channels[i], c.over(n))
		}
	}
	return r, nil
}

// extremes are a channel's smallest and largest value on all photos, and the sums
// of those of each photo.
type extremes struct {
	low, high       float32
	lowSum, highSum float64
}

func (e extremes) over(n int) onnx.Range {
	return onnx.Range{
		Low:  float32((float64(e.low) + e.lowSum/float64(n)) / 2),
		High: float32((float64(e.high) + e.highSum/float64(n)) / 2),
	}
}

// add takes the values of one photo, channel by channel.
func add(sums []extremes, values []float32) error {
	per := len(values) / len(sums)
	for c := range sums {
		low, high := values[c*per], values[c*per]
		for _, v := range values[c*per : (c+1)*per] {
			if v-v != 0 {
				return fmt.Errorf("its values on a photo are not finite: %v", v)
			}
			low, high = min(low, v), max(high, v)
		}
		e := &sums[c]
		e.low, e.high = min(e.low, low), max(e.high, high)
		e.lowSum += float64(low)
		e.highSum += float64(high)
	}
	return nil
}
