package onnx

import (
	"slices"

	"stylenet/internal/networks"
)

// tidy joins layers that are one, and drops those that nothing reads. It leaves
// the output as the last one.
func (t *trace) tidy() {
	readers := make([]int, len(t.layers))
	for _, l := range t.layers {
		for _, i := range l.Inputs {
			if i >= 0 {
				readers[i]++
			}
		}
	}
	readers[t.output.layer]++
	for i := range t.layers {
		l := &t.layers[i]
		if len(l.Inputs) != 1 || l.Inputs[0] == networks.Input || readers[l.Inputs[0]] != 1 {
			continue
		}
		before := t.layers[l.Inputs[0]]
		if one, ok := joined(before, *l); ok {
			one.size, one.Inputs = l.size, before.Inputs
			*l = one
		}
	}
	t.drop()
}

// joined is the layer that does what two do, one after the other.
func joined(a, b layer) (layer, bool) {
	switch second := b.Op.(type) {
	case networks.Affine:
		switch first := a.Op.(type) {
		case networks.Affine:
			sum := networks.Affine{Scale: slices.Clone(first.Scale), Shift: slices.Clone(first.Shift)}
			for c, s := range second.Scale {
				sum.Scale[c] *= s
				sum.Shift[c] = sum.Shift[c]*s + second.Shift[c]
			}
			a.Op = sum
			return a, true
		case networks.Tanh:
			s, d := second.Scale[0], second.Shift[0]
			for c := range second.Scale {
				if second.Scale[c] != s || second.Shift[c] != d {
					return a, false
				}
			}
			a.Op = networks.Tanh{Scale: first.Scale * s, Offset: first.Offset*s + d}
			return a, true
		}
	case networks.Conv:
		first, ok := a.Op.(networks.Pad)
		p := first.Padding
		if !ok || first.Mode != networks.PadZero || min(p.Top, p.Bottom, p.Left, p.Right) < 0 {
			return a, false
		}
		q := second.Pad
		second.Pad = networks.Padding{Top: p.Top + q.Top, Bottom: p.Bottom + q.Bottom, Left: p.Left + q.Left, Right: p.Right + q.Right}
		b.Op = second
		return b, true
	case networks.Pad:
		first, ok := a.Op.(networks.ConvTranspose)
		p := second.Padding
		if !ok || second.Mode != networks.PadZero || p.Top != p.Left || p.Bottom != p.Right || max(p.Top, p.Bottom) > 0 {
			return a, false
		}
		first.Pad -= p.Top
		first.OutputPad += p.Bottom - p.Top
		a.Op = first
		_, err := networks.Shape(first, networks.Size{C: first.In, H: a.size.H, W: a.size.W})
		return a, err == nil
	}
	return a, false
}

// dropBorder takes out the border that a file for one size gives its picture and
// cuts from its result, where the size is no multiple of what the network needs:
// the border is repeated pixels at the right and below, which whoever runs the
// network adds for a picture of any size.
func (t *trace) dropBorder() {
	if len(t.layers) < 3 {
		return
	}
	cut := t.layers[len(t.layers)-1]
	first, ok := t.layers[0].Op.(networks.Pad)
	last, cuts := cut.Op.(networks.Pad)
	p, q := first.Padding, last.Padding
	if !ok || !cuts || first.Mode != networks.PadEdge || last.Mode != networks.PadZero || !slices.Equal(t.layers[0].Inputs, []int{networks.Input}) ||
		p.Top != 0 || p.Left != 0 || q != (networks.Padding{Bottom: -p.Bottom, Right: -p.Right}) {
		return
	}
	for i, l := range t.layers {
		if i > 0 && slices.Contains(l.Inputs, networks.Input) {
			return
		}
	}
	for i := range t.layers {
		for k, from := range t.layers[i].Inputs {
			if from == 0 {
				t.layers[i].Inputs = slices.Clone(t.layers[i].Inputs)
				t.layers[i].Inputs[k] = networks.Input
			}
		}
	}
	t.output = t.output.of(cut.Inputs[0])
	t.drop()
}

// drop removes the layers that the output does not need.
func (t *trace) drop() {
	needed := make([]bool, len(t.layers))
	needed[t.output.layer] = true
	for i := len(t.layers) - 1; i >= 0; i-- {
		for _, k := range t.layers[i].Inputs {
			if needed[i] && k >= 0 {
				needed[k] = true
			}
		}
	}
	place := make([]int, len(t.layers))
	var left []layer
	for i, l := range t.layers {
		if !needed[i] {
			continue
		}
		place[i] = len(left)
		inputs := slices.Clone(l.Inputs)
		for k, from := range inputs {
			if from >= 0 {
				inputs[k] = place[from]
			}
		}
		l.Inputs = inputs
		left = append(left, l)
	}
	t.layers = left
}
