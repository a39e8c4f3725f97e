package onnx

import (
	"math"

	"stylenet/internal/networks"
)

// maxGain bounds how much larger than its input a convolution in half precision
// may make a result that only a norm reads. Behind norms inputs are some tens, so
// that results stay far from 65504; those of trained networks are at most some
// tens as large.
const maxGain = 512

// halfScale is the power of two that the weights of a convolution are multiplied
// by in Float16, so that its results stay within the range of the numbers. It is
// 1 for all but networks of uncommonly large weights, and where anything but a
// norm, which undoes it, reads the result.
func (e *encoder) halfScale(i int) float32 {
	l := e.net.Layers[i]
	if e.o.Precision != Float16 || !isConv(l.Op) || e.exact(i) || !e.forNormAlone(i) {
		return 1
	}
	weight := e.set.Get(l.Name + ".weight").Data
	var channelOf func(k int) int // of the result, by the index of a weight
	var sums []float64            // of the weights' magnitudes
	switch op := l.Op.(type) {
	case networks.Conv:
		sums = make([]float64, op.Out)
		per := len(weight) / op.Out
		channelOf = func(k int) int { return k / per }
	case networks.ConvTranspose:
		sums = make([]float64, op.Out)
		per := op.Kernel * op.Kernel
		channelOf = func(k int) int { return k / per % op.Out }
	}
	most := 0.
	for k, w := range weight {
		c := channelOf(k)
		sums[c] += math.Abs(float64(w))
		most = max(most, sums[c])
	}
	if most <= maxGain {
		return 1
	}
	return float32(math.Exp2(math.Floor(math.Log2(maxGain / most))))
}

// scaled is a tensor's values times a factor.
func scaled(values []float32, by float32) []float32 {
	if by == 1 {
		return values
	}
	out := make([]float32, len(values))
	for i, v := range values {
		out[i] = v * by
	}
	return out
}
