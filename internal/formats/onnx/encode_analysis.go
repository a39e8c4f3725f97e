package onnx

import (
	"slices"

	"stylenet/internal/networks"
)

// analysis is what precisions ask of a network's layers.
type analysis struct {
	net     *networks.Network
	readers [][]int // the layers that read each one
	used    []bool  // the output depends on it
	raw     []bool  // it sees the picture before any convolution or norm
	early   []bool  // a convolution follows, near or far
}

func analyse(net *networks.Network) *analysis {
	n := len(net.Layers)
	a := &analysis{net: net, readers: make([][]int, n), used: make([]bool, n), raw: make([]bool, n), early: make([]bool, n)}
	for i, l := range net.Layers {
		for _, j := range l.Inputs {
			if j != networks.Input {
				a.readers[j] = append(a.readers[j], i)
			}
		}
		a.raw[i] = a.readsRaw(i) && !isConv(l.Op) && !isNorm(l.Op)
	}
	a.used[n-1] = true
	for i := n - 1; i >= 0; i-- {
		for _, j := range net.Layers[i].Inputs {
			if a.used[i] && j != networks.Input {
				a.used[j] = true
				a.early[j] = a.early[j] || a.early[i] || isConv(net.Layers[i].Op)
			}
		}
	}
	return a
}

func isConv(op networks.Op) bool {
	switch op.(type) {
	case networks.Conv, networks.ConvTranspose:
		return true
	}
	return false
}

// isNorm tells the norms that take their statistics of the picture at hand.
func isNorm(op networks.Op) bool {
	switch op := op.(type) {
	case networks.Norm:
		return !op.Batch
	case networks.GroupNorm, networks.StyleNorm:
		return true
	}
	return false
}

func (a *analysis) readsRaw(i int) bool {
	return slices.ContainsFunc(a.net.Layers[i].Inputs, func(j int) bool { return j == networks.Input || a.raw[j] })
}

// exact tells the layers that Float16 leaves in float32.
func (a *analysis) exact(i int) bool {
	switch a.net.Layers[i].Op.(type) {
	case networks.Norm, networks.GroupNorm, networks.StyleNorm, networks.Tanh:
		return true
	}
	return a.readsRaw(i)
}

// forNormAlone tells a layer whose result nothing but an instance norm reads.
// Any scale and shift of a channel are lost there.
func (a *analysis) forNormAlone(i int) bool {
	if len(a.readers[i]) != 1 {
		return false
	}
	op, ok := a.net.Layers[a.readers[i][0]].Op.(networks.Norm)
	return ok && !op.Batch
}

// inIntegers tells the convolutions that Int8 has multiply integers: not the
// first, since a picture's brightness is far larger than its contrast, and not
// the last, whose result is the picture.
func (a *analysis) inIntegers(i int) bool {
	_, conv := a.net.Layers[i].Op.(networks.Conv)
	return conv && a.used[i] && a.early[i] && !a.readsRaw(i)
}

// moves tells a layer between a value and the convolutions of integers that
// read it: it moves bytes as well as it moves floats.
func (a *analysis) moves(i int) bool {
	switch a.net.Layers[i].Op.(type) {
	case networks.Pad, networks.Upsample, networks.DepthToSpace:
	default:
		return false
	}
	if !a.used[i] || a.readsRaw(i) {
		return false
	}
	return !slices.ContainsFunc(a.readers[i], func(r int) bool { return !a.inIntegers(r) && !a.moves(r) })
}

// source is the layer whose values the bytes of layer i are.
func (a *analysis) source(i int) int {
	for a.moves(i) {
		i = a.net.Layers[i].Inputs[0]
	}
	return i
}

// Quantized lists the layers whose ranges Int8 asks for: maps are read by
// convolutions, and channels are convolutions whose results are normalised. Both
// are empty where a network has no convolution between its first and its last.
func Quantized(net *networks.Network) (maps, channels []int) {
	a := analyse(net)
	for i, l := range net.Layers {
		if !a.inIntegers(i) {
			continue
		}
		maps = append(maps, a.source(l.Inputs[0]))
		if a.forNormAlone(i) {
			channels = append(channels, i)
		}
	}
	slices.Sort(maps)
	return slices.Compact(maps), channels
}
