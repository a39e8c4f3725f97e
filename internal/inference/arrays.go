package inference

import (
	"fmt"

	"stylenet/internal/kernels"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

// Arrays are a network's parameters on a device, by name.
type Arrays map[string]kernels.Array

// Upload puts a network's parameters on a device.
func Upload(dev kernels.Device, net *networks.Network, set *weights.Set) (Arrays, error) {
	arrays := Arrays{}
	for _, p := range net.Params() {
		t := set.Get(p.Name)
		if t == nil {
			return nil, fmt.Errorf("tensor %q is missing", p.Name)
		}
		a, err := NewParameter(dev, p.Shape, t.Data)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", p.Name, err)
		}
		arrays[p.Name] = a
	}
	return arrays, nil
}

// NewParameter makes a parameter of a tensor's shape and fills it.
func NewParameter(dev kernels.Device, shape []int, data []float32) (kernels.Array, error) {
	s, err := ParameterShape(shape)
	if err != nil {
		return nil, err
	}
	a, err := dev.NewParameter(s)
	if err != nil {
		return nil, err
	}
	return a, dev.Upload(a, data)
}

// ParameterShape is the device's shape of a tensor.
func ParameterShape(shape []int) (kernels.Shape, error) {
	switch len(shape) {
	case 1:
		return kernels.Vector(shape[0]), nil
	case 4:
		return kernels.Shape{N: shape[0], C: shape[1], H: shape[2], W: shape[3]}, nil
	}
	return kernels.Shape{}, fmt.Errorf("a parameter of shape %v has neither 1 nor 4 dimensions", shape)
}

// Shape is the shape of n feature maps.
func Shape(n int, s networks.Size) kernels.Shape { return kernels.Shape{N: n, C: s.C, H: s.H, W: s.W} }

// Border converts a border.
func Border(p networks.Padding) kernels.Padding {
	return kernels.Padding{Top: p.Top, Bottom: p.Bottom, Left: p.Left, Right: p.Right}
}

// PadMode converts a mode of padding.
func PadMode(m networks.PadMode) (kernels.PadMode, error) {
	switch m {
	case networks.PadZero:
		return kernels.PadZero, nil
	case networks.PadReflect:
		return kernels.PadReflect, nil
	case networks.PadEdge:
		return kernels.PadEdge, nil
	}
	return 0, fmt.Errorf("unknown mode of padding %q", m)
}

// PoolKind converts a kind of pooling.
func PoolKind(p networks.Pool) kernels.PoolKind {
	if p.Average {
		return kernels.AvgPool
	}
	return kernels.MaxPool
}
