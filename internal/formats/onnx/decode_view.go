package onnx

import (
	"fmt"
	"slices"

	"stylenet/internal/networks"
)

// The dimensions of a map. Layers keep them in this order; a graph may order,
// split and merge them as it likes. The batch is no dimension: a graph is
// followed for one picture.
const (
	batch    = -1
	channels = 0
	rows     = 1
	columns  = 2
)

func layoutNCHW() []int { return []int{batch, channels, rows, columns} }
func layoutNHWC() []int { return []int{batch, rows, columns, channels} }
func layoutCHW() []int  { return []int{channels, rows, columns} }
func layoutHWC() []int  { return []int{rows, columns, channels} }

// factor is a part of a dimension: (index / stride) mod size.
type factor struct{ dim, stride, size int }

// axis is an axis of a tensor of the graph: factors of a map's dimensions, the
// slowest first. An axis of one element has none.
type axis []factor

func (a axis) size() int {
	n := 1
	for _, f := range a {
		n *= f.size
	}
	return n
}

// absent is the layer of a feature that no layer can compute. It is read as
// part of a pattern.
const absent = -2

// feature is a tensor of the graph that depends on the picture: a layer's map,
// and how the graph's axes are made of it.
type feature struct {
	layer int // or networks.Input, or absent
	size  networks.Size
	axes  []axis

	integer bool   // whole numbers, which only the input and the output are
	rounded bool   // was made whole numbers, as only the output is
	quant   *quant // in the graph it is divided by a scale, and whole numbers
	stat    *stat  // what it is in the definition of a norm
}

func whole(dim int, s networks.Size) axis {
	n := [...]int{s.C, s.H, s.W}[dim]
	if n == 1 {
		return nil
	}
	return axis{{dim, 1, n}}
}

// arranged are the axes of a map in an order of its dimensions.
func arranged(layout []int, s networks.Size) []axis {
	axes := make([]axis, len(layout))
	for i, d := range layout {
		if d != batch {
			axes[i] = whole(d, s)
		}
	}
	return axes
}

// dims is the shape of the tensor.
func (f *feature) dims() []int {
	dims := make([]int, len(f.axes))
	for i, a := range f.axes {
		dims[i] = a.size()
	}
	return dims
}

func sameAxes(a, b []axis) bool { return slices.EqualFunc(a, b, slices.Equal[axis]) }

// layout is the dimension of each axis, or nil where axes are parts or several
// of them. Axes of one element are batch where nothing tells what they are.
func (f *feature) layout() []int {
	for _, l := range [][]int{layoutNCHW(), layoutNHWC(), layoutCHW(), layoutHWC()} {
		if sameAxes(f.axes, arranged(l, f.size)) {
			return l
		}
	}
	l := make([]int, len(f.axes))
	for i, a := range f.axes {
		switch {
		case len(a) == 0:
			l[i] = batch
		case len(a) == 1 && slices.Equal(a, whole(a[0].dim, f.size)):
			l[i] = a[0].dim
		default:
			return nil
		}
	}
	return l
}

// view is the same map as a tensor of other axes.
func (f *feature) view(axes []axis) *feature {
	v := *f
	v.axes = axes
	return &v
}

// of is another layer's map of the same size, seen through the same axes.
func (f *feature) of(layer int) *feature {
	return &feature{layer: layer, size: f.size, axes: f.axes}
}

// reshape gives the axes of the tensor with dimensions dims, or false where an
// axis would be made of parts of dimensions that are no factors.
func (f *feature) reshape(dims []int) ([]axis, bool) {
	var rest axis
	for _, a := range f.axes {
		rest = append(rest, a...)
	}
	rest = merged(rest)
	axes := make([]axis, len(dims))
	for i, want := range dims {
		for want > 1 {
			if len(rest) == 0 {
				return nil, false
			}
			f := rest[0]
			switch {
			case want%f.size == 0:
				axes[i] = append(axes[i], f)
				want /= f.size
				rest = rest[1:]
			case f.size%want == 0:
				low := f.size / want
				axes[i] = append(axes[i], factor{f.dim, f.stride * low, want})
				rest[0] = factor{f.dim, f.stride, low}
				want = 1
			default:
				return nil, false
			}
		}
		if want != 1 {
			return nil, false
		}
		axes[i] = merged(axes[i])
	}
	return axes, len(rest) == 0
}

// merged joins factors that were split.
func merged(a axis) axis {
	var out axis
	for _, f := range a {
		if n := len(out); n > 0 && out[n-1].dim == f.dim && out[n-1].stride == f.stride*f.size {
			out[n-1] = factor{f.dim, f.stride, out[n-1].size * f.size}
			continue
		}
		out = append(out, f)
	}
	return out
}

// shuffled recognises rows and columns that are made of channels as well, which
// is how pixel shuffling is written with Reshape and Transpose. It returns the
// layer that does it, and the axes of its result.
func (f *feature) shuffled() (networks.DepthToSpace, []axis, bool) {
	block, places := 0, [3]int{-1, -1, -1}
	parts := [3]factor{}
	for i, a := range f.axes {
		switch {
		case len(a) == 0:
		case len(a) == 1 && a[0].dim == channels && places[channels] < 0:
			places[channels], parts[channels] = i, a[0]
		case len(a) == 2 && a[0].dim != channels && a[1].dim == channels && places[a[0].dim] < 0:
			if !slices.Equal(a[:1], whole(a[0].dim, f.size)) || block != 0 && a[1].size != block {
				return networks.DepthToSpace{}, nil, false
			}
			block = a[1].size
			places[a[0].dim], parts[a[0].dim] = i, a[1]
		default:
			return networks.DepthToSpace{}, nil, false
		}
	}
	if places[rows] < 0 || places[columns] < 0 {
		return networks.DepthToSpace{}, nil, false
	}
	left := f.size.C / (block * block) // channels of the result
	if places[channels] < 0 {
		parts[channels] = factor{channels, 0, 1}
	}
	op := networks.DepthToSpace{Block: block}
	switch {
	case parts[channels].size != left:
		return op, nil, false
	case parts[rows].stride == block && parts[columns].stride == 1 && (left == 1 || parts[channels].stride == block*block):
		op.CRD = true
	case parts[rows].stride == block*left && parts[columns].stride == left && (left == 1 || parts[channels].stride == 1):
	default:
		return op, nil, false
	}
	axes := make([]axis, len(f.axes))
	out := networks.Size{C: left, H: f.size.H * block, W: f.size.W * block}
	for d, i := range places {
		if i >= 0 {
			axes[i] = whole(d, out)
		}
	}
	return op, axes, true
}

func (f *feature) String() string {
	return fmt.Sprintf("a tensor of %v (a map of %d channels, %d×%d pixels)", f.dims(), f.size.C, f.size.W, f.size.H)
}
