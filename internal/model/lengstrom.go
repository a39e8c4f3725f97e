package model

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

// lengstromEps is the epsilon of lengstrom's instance norms.
const lengstromEps = 1e-3

// variable is the place in lengstrom's network of the variable of that name, which
// TensorFlow counts as they are made: Variable, Variable_1 and so on. Others, such
// as those of the optimiser, have none.
func variable(name string) (place int, ok bool) {
	rest, ok := strings.CutPrefix(name, "Variable")
	if !ok || rest == "" {
		return 0, ok
	}
	number, ok := strings.CutPrefix(rest, "_")
	place, err := strconv.Atoi(number)
	return place, ok && err == nil && place > 0 && strconv.Itoa(place) == number
}

// fromVariables makes lengstrom's network of its variables
// (github.com/lengstrom/fast-style-transfer, src/transform.py). For each layer
// there is a convolution's kernel, rows × columns × inputs × outputs, or of a
// transposed one × outputs × inputs, and then an instance norm's shift and scale.
// Convolutions have TensorFlow's SAME padding and no bias.
func fromVariables(set *weights.Set) (*Model, error) {
	places := map[int]*weights.Tensor{}
	for _, t := range set.Tensors() {
		if place, ok := variable(t.Name); ok {
			places[place] = t
		}
	}
	list := make([]*weights.Tensor, len(places))
	for i := range list {
		list[i] = places[i]
	}
	b := &lengstrom{net: &networks.Network{Channels: 3}, set: &weights.Set{}, last: networks.Input, channels: 3}
	if len(list) < 9 || len(list)%3 != 0 {
		first := "none"
		if set.Len() > 0 {
			first = fmt.Sprintf("the first of %d is %q", set.Len(), set.Tensors()[0].Name)
		}
		return nil, fmt.Errorf("it holds no network of lengstrom's: Variable, Variable_1 and so on, three for each layer, are wanted, but there are %d of them (%s)", len(list), first)
	}
	if i := slices.Index(list, nil); i >= 0 {
		return nil, fmt.Errorf("it holds no network of lengstrom's: variable %d of %d is missing", i+1, len(list))
	}
	if err := b.build(list); err != nil {
		return nil, fmt.Errorf("its variables are named like those of lengstrom's network, but do not make one: %w", err)
	}
	m := &Model{Network: b.net, Weights: b.set}
	return m, m.Check()
}

// lengstrom adds layers that read the last one.
type lengstrom struct {
	net      *networks.Network
	set      *weights.Set
	last     int
	channels int
}

func (b *lengstrom) add(name string, op networks.Op, others ...int) {
	b.net.Layers = append(b.net.Layers, networks.Layer{Name: name, Op: op, Inputs: append([]int{b.last}, others...)})
	b.last = len(b.net.Layers) - 1
}

// build takes the layers in their order: convolutions whose stride is 2 behind the
// first, residual blocks of two layers that keep the channels, transposed
// convolutions, and the last convolution.
func (b *lengstrom) build(list []*weights.Tensor) error {
	layers := len(list) / 3
	of := func(i int) []*weights.Tensor { return list[3*i : 3*i+3] }
	square := func(i int) bool {
		s := of(i)[0].Shape
		return len(s) == 4 && s[2] == s[3] && s[2] == b.channels
	}
	i := 0
	for ; i < layers-1 && !square(i) && !transposed(of(i), b.channels); i++ {
		name := fmt.Sprint(i + 1)
		if err := b.conv("conv"+name, "in"+name, of(i), min(i+1, 2)); err != nil {
			return err
		}
		b.add("relu"+name, networks.ReLU{})
	}
	downs, norms := i-1, i
	for block := 1; i+1 < layers-1 && square(i) && square(i+1); block++ {
		name, from := fmt.Sprintf("res%d", block), b.last
		if err := b.conv(name+".conv1", name+".in1", of(i), 1); err != nil {
			return err
		}
		b.add(name+".relu", networks.ReLU{})
		if err := b.conv(name+".conv2", name+".in2", of(i+1), 1); err != nil {
			return err
		}
		b.add(name+".add", networks.Add{}, from)
		i += 2
	}
	if layers-1-i != downs {
		return fmt.Errorf("%d layers scale the picture down, but %d are there to scale it up", downs, layers-1-i)
	}
	for up := 1; i < layers; up++ {
		name, norm := fmt.Sprintf("deconv%d", up), fmt.Sprintf("in%d", norms+up)
		if i == layers-1 {
			if err := b.conv(name, norm, of(i), 1); err != nil {
				return err
			}
			b.add("output", networks.Tanh{Scale: 150, Offset: 127.5})
			break
		}
		if err := b.transposed(name, norm, of(i)); err != nil {
			return err
		}
		b.add(fmt.Sprintf("relu%d", norms+up), networks.ReLU{})
		i++
	}
	if b.channels != 3 {
		return fmt.Errorf("the last layer gives %d channels", b.channels)
	}
	return nil
}

// transposed tells a transposed convolution by the number of its norm's channels.
func transposed(layer []*weights.Tensor, channels int) bool {
	s := layer[0].Shape
	return len(s) == 4 && s[3] == channels && s[2] != channels && len(layer[1].Data) == s[2]
}

// kernel checks that a kernel is square, odd, no smaller than the stride and of
// that many inputs.
func (b *lengstrom) kernel(t *weights.Tensor, in, out, stride int) error {
	s := t.Shape
	if len(s) != 4 || s[0] != s[1] || s[0]%2 == 0 || s[0] < stride || s[in] != b.channels || s[out] == 0 {
		return fmt.Errorf("variable %q has the shape %v: a square kernel of odd size, at least %d, for %d channels is wanted", t.Name, s, stride, b.channels)
	}
	return nil
}

func (b *lengstrom) conv(name, norm string, layer []*weights.Tensor, stride int) error {
	if err := b.kernel(layer[0], 2, 3, stride); err != nil {
		return err
	}
	s := layer[0].Shape
	op := networks.Conv{In: s[2], Out: s[3], Kernel: s[0], Stride: stride, Pad: networks.Same(s[0] / 2), NoBias: true}
	if stride > 1 {
		// SAME puts a row less above than below where the number of rows is even,
		// as it is for pictures that the network keeps the size of.
		border := s[0] - stride
		op.Pad = networks.Padding{Top: border / 2, Left: border / 2, Bottom: border - border/2, Right: border - border/2}
	}
	if err := b.set.Add(name+".conv2d.weight", []int{s[3], s[2], s[0], s[1]}, permuted(layer[0], 3, 2, 0, 1)); err != nil {
		return err
	}
	b.add(name+".conv2d", op)
	b.channels = s[3]
	return b.norm(norm, layer)
}

func (b *lengstrom) transposed(name, norm string, layer []*weights.Tensor) error {
	if err := b.kernel(layer[0], 3, 2, 2); err != nil {
		return err
	}
	s := layer[0].Shape
	if err := b.set.Add(name+".conv2d.weight", []int{s[3], s[2], s[0], s[1]}, permuted(layer[0], 3, 2, 0, 1)); err != nil {
		return err
	}
	// SAME doubles the size: what its convolution pads is cut off the whole result.
	border := s[0] - 2
	crop := networks.Padding{Top: -(border / 2), Left: -(border / 2), Bottom: border/2 - border, Right: border/2 - border}
	b.add(name+".conv2d", networks.ConvTranspose{In: s[3], Out: s[2], Kernel: s[0], Stride: 2, NoBias: true})
	b.add(name+".crop", networks.Pad{Mode: networks.PadZero, Padding: crop})
	b.channels = s[2]
	return b.norm(norm, layer)
}

func (b *lengstrom) norm(name string, layer []*weights.Tensor) error {
	for k, suffix := range []string{1: ".bias", 2: ".weight"} {
		if t := layer[k]; k > 0 && (len(t.Shape) != 1 || len(t.Data) != b.channels) {
			return fmt.Errorf("variable %q has the shape %v: %d numbers for %s%s are wanted", t.Name, t.Shape, b.channels, name, suffix)
		}
	}
	b.add(name, networks.Norm{Channels: b.channels, Eps: lengstromEps})
	if err := b.set.Add(name+".weight", layer[2].Shape, layer[2].Data); err != nil {
		return err
	}
	return b.set.Add(name+".bias", layer[1].Shape, layer[1].Data)
}

// permuted puts the axes of a tensor of 4 in another order.
func permuted(t *weights.Tensor, order ...int) []float32 {
	step := [4]int{3: 1}
	for i := 2; i >= 0; i-- {
		step[i] = step[i+1] * t.Shape[i+1]
	}
	out := make([]float32, 0, len(t.Data))
	s := t.Shape
	for a := range s[order[0]] {
		for b := range s[order[1]] {
			for c := range s[order[2]] {
				at := a*step[order[0]] + b*step[order[1]] + c*step[order[2]]
				for d := range s[order[3]] {
					out = append(out, t.Data[at+d*step[order[3]]])
				}
			}
		}
	}
	return out
}
