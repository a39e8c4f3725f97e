package onnx

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"stylenet/internal/formats/onnx/onnxpb"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

const (
	maxPicture  = 1 << 14 // sides that a file may fix
	maxMultiple = 64      // of sides, as networks scale down at most
	maxLayers   = 1 << 12
	maxChannels = 1 << 14
)

// value is what a name of the graph stands for: numbers that are known, or a
// feature.
type value struct {
	t *tensor
	f *feature
}

// trace is the graph at one size of the picture, as layers. What depends on the
// size alone is computed.
type trace struct {
	g      *graph
	h, w   int
	values map[string]value
	layers []layer
	names  map[string]int
	output *feature
	layout string // of the output
}

// layer is a layer of a trace, its size and parameters, and where it is from.
type layer struct {
	networks.Layer
	node   *graphNode
	size   networks.Size
	params []param
}

// param makes a parameter of a layer, from a tensor of the file or by itself.
type param struct {
	suffix string
	shape  []int
	from   *tensor
	data   func(g *graph) ([]float32, error)
}

// call is one node at work, and its inputs.
type call struct {
	*trace
	n     *graphNode
	in    []value
	moved *quant // of the first input, where its numbers are moved alone
}

// refusal is what the methods of call panic with where a node cannot be read.
// It ends the work on the node, never that of another function's.
type refusal struct{ error }

func (c *call) refuse(format string, args ...any) {
	panic(refusal{c.n.unsupported(format, args...)})
}

// must refuses what err says.
func must[T any](c *call, v T, err error) T {
	if e := (*UnsupportedError)(nil); errors.As(err, &e) && e.Op != "" {
		panic(refusal{err})
	}
	if e := (*FormatError)(nil); errors.As(err, &e) {
		panic(refusal{err})
	}
	if err != nil {
		c.refuse("%v", err)
	}
	return v
}

// compile follows the graph at several sizes. Where the layers are the same at
// all of them, they are the network.
func (g *graph) compile() (*Model, error) {
	if err := g.fold(); err != nil {
		return nil, err
	}
	var refused error
	for m := 1; m <= maxMultiple; m *= 2 {
		t, err := g.traceMultiples(m)
		if err == nil {
			return t.model(m)
		}
		refused = err
	}
	// A file for one size alone may hold what was computed of it.
	h, w, ok := g.declaredSides()
	if !ok {
		return nil, refused
	}
	t, err := g.trace(h, w)
	if err != nil {
		return nil, err
	}
	t.dropBorder()
	g.note("the file is made for %d×%d pixels: what it computed of that size is taken in proportion", w, h)
	return t.model(0)
}

// fold computes what is the same for all sizes, once.
func (g *graph) fold() error {
	t := g.newTrace(0, 0)
	return g.keep(func(n *graphNode) (bool, error) {
		c := &call{trace: t, n: n}
		for _, name := range n.inputs {
			k, err := g.constant(name)
			if err != nil {
				return false, err
			}
			if k == nil && name != "" {
				return true, nil
			}
			c.in = append(c.in, value{t: k})
		}
		outs, err := c.run()
		for i, v := range outs {
			g.static[n.outputs[i]] = v.t
		}
		return false, err
	})
}

// keep drops the nodes for which f says so.
func (g *graph) keep(f func(*graphNode) (bool, error)) error {
	var left []*graphNode
	for _, n := range g.nodes {
		ok, err := f(n)
		if err != nil {
			return err
		}
		if ok {
			left = append(left, n)
		}
	}
	g.nodes = left
	return nil
}

// sizes are those at which the layers must be the same: multiples of m, odd and
// even ones, near and far from square.
func sizes(m int) [][2]int {
	b := (256 + m - 1) / m
	var s [][2]int
	for _, k := range [][2]int{{b, b + 1}, {b + 1, b + 4}, {b + 2, b + 7}, {b + 3, b + 2}, {b + 4, b + 3}, {b + 5, b}, {b + 6, b + 5}, {b + 7, 9*b + 6}} {
		s = append(s, [2]int{m * k[0], m * k[1]})
	}
	return s
}

func (g *graph) traceMultiples(m int) (*trace, error) {
	var first *trace
	for _, s := range sizes(m) {
		t, err := g.trace(s[0], s[1])
		if err != nil {
			return nil, err
		}
		if first == nil {
			first = t
		} else if err := first.same(t); err != nil {
			return nil, err
		}
	}
	return first, nil
}

// same reports a difference between the layers of two sizes.
func (t *trace) same(o *trace) error {
	for i := range max(len(t.layers), len(o.layers)) {
		if i >= len(t.layers) || i >= len(o.layers) {
			l := append(slices.Clone(t.layers), o.layers...)[max(len(t.layers), len(o.layers))-1]
			return l.node.unsupported("it does something at some sizes of the picture alone")
		}
		a, b := t.layers[i], o.layers[i]
		if !reflect.DeepEqual(a.Layer, b.Layer) || !slices.EqualFunc(a.params, b.params, param.same) {
			return a.node.unsupported("it depends on the picture's size: %s at %d×%d pixels, %s at %d×%d", a.settings(), t.w, t.h, b.settings(), o.w, o.h)
		}
	}
	return nil
}

func (l layer) settings() string {
	return fmt.Sprintf("%.100s%.200s", strings.TrimPrefix(fmt.Sprintf("%T", l.Op), "networks."), fmt.Sprintf("%+v", l.Op))
}

func (p param) same(o param) bool {
	return p.suffix == o.suffix && p.from == o.from && slices.Equal(p.shape, o.shape)
}

func (g *graph) newTrace(h, w int) *trace {
	return &trace{g: g, h: h, w: w, values: map[string]value{}, names: map[string]int{}}
}

// trace follows the graph for a picture of h rows and w columns.
func (g *graph) trace(h, w int) (*trace, error) {
	budget := g.budget
	defer func() { g.budget = budget }() // its tensors are not kept
	t := g.newTrace(h, w)
	dims, layout := g.inputLayout()
	if len(dims) > 0 && len(dims) != len(layout) {
		return nil, unsupported("its input has %d dimensions: pictures have a batch, channels, rows and columns", len(dims))
	}
	s := networks.Size{C: g.inputChannels(), H: h, W: w}
	if s.C > maxChannels {
		return nil, unsupported("its input has %d channels", s.C)
	}
	dtype := onnxpb.TensorProto_DataType(g.input.GetType().GetTensorType().GetElemType())
	t.values[g.input.GetName()] = value{f: &feature{layer: networks.Input, size: s, axes: arranged(layout, s), integer: dtype != 0 && !isFloat(dtype)}}
	for _, n := range g.nodes {
		c := &call{trace: t, n: n}
		for _, name := range n.inputs {
			v, ok := t.values[name]
			if !ok && name != "" {
				k, err := g.constant(name)
				if err != nil {
					return nil, err
				}
				if v.t = k; k == nil {
					return nil, invalid("%s reads %.200q, which is not an output that is made here", n, name)
				}
			}
			c.in = append(c.in, v)
		}
		outs, err := c.run()
		if err != nil {
			return nil, err
		}
		for i, v := range outs {
			t.values[n.outputs[i]] = v
		}
	}
	if err := t.finish(); err != nil {
		return nil, err
	}
	t.tidy()
	return t, nil
}

// run computes or translates the node. It gives as many values as the node has
// outputs, or fewer.
func (c *call) run() (outs []value, err error) {
	err = c.protect(func() { outs = c.outputs() })
	return outs, err
}

// outputs computes what is made of numbers alone, and translates the rest.
func (c *call) outputs() []value {
	known := !slices.ContainsFunc(c.in, func(v value) bool { return v.f != nil })
	var outs []value
	switch fold, layers := c.g.folds[c.n.op], c.g.translations[c.n.op]; {
	case fold == nil && layers == nil:
		c.refuse("the operator is not read: write this layer in those that are, and export the model again: %s", strings.Join(c.operators(), ", "))
	case !known && (c.n.op == "Shape" || c.n.op == "Size"):
		outs = []value{{t: c.shapeOf(c.featureAsIs(0).dims())}}
	case !known && layers == nil:
		c.refuse("it computes with the picture, which it is read for shapes and weights alone")
	case !known:
		for _, f := range layers(c) {
			outs = append(outs, value{f: f})
		}
	case fold == nil:
		c.refuse("it computes with constants, which it is read for the picture alone")
	default:
		for _, t := range fold(c) {
			outs = append(outs, value{t: t})
		}
	}
	return outs[:min(len(outs), len(c.n.outputs))]
}

// operators are the names of all that are read.
func (c *call) operators() []string {
	names := map[string]bool{}
	for name := range c.g.folds {
		names[name] = true
	}
	for name := range c.g.translations {
		names[name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// finish checks what the output is.
func (t *trace) finish() error {
	v := t.values[t.g.output.GetName()]
	if v.f == nil {
		return unsupported("its output %.200q does not depend on the picture", t.g.output.GetName())
	}
	n := &graphNode{name: t.g.output.GetName(), op: "output"}
	c := &call{trace: t, n: n}
	return c.protect(func() {
		f := c.settled(v.f)
		if f.layer == absent {
			c.refuse("it is part of a norm")
		}
		if f.quant != nil {
			f = c.affine("quantized", f, float32(1/f.quant.scale), float32(f.quant.zero))
		}
		if f.layer == networks.Input {
			c.refuse("the graph gives back its input")
		}
		layout := f.layout()
		known := slices.ContainsFunc([][]int{layoutNCHW(), layoutNHWC(), layoutCHW(), layoutHWC()}, func(l []int) bool { return slices.Equal(l, layout) })
		if !known {
			c.refuse("%s is no picture", f)
		}
		t.output, t.layout = f, layoutName(layout)
	})
}

// protect runs f and returns its refusal.
func (c *call) protect(f func()) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case refusal:
			err = r.error
		default:
			panic(r)
		}
	}()
	f()
	return nil
}

// model makes the network of the trace and its weights.
func (t *trace) model(multiple int) (*Model, error) {
	net, set := &networks.Network{Channels: t.g.inputChannels()}, &weights.Set{}
	for _, l := range t.layers {
		net.Layers = append(net.Layers, l.Layer)
		for _, p := range l.params {
			data, err := p.data(t.g)
			if err != nil {
				return nil, l.node.unsupported("%v", err)
			}
			if err := set.Add(l.Name+"."+p.suffix, p.shape, data); err != nil {
				return nil, l.node.unsupported("%v", err)
			}
		}
	}
	if _, err := net.Build(); err != nil {
		return nil, unsupported("%v", err)
	}
	if err := net.Check(set, nil); err != nil {
		return nil, unsupported("%v", err)
	}
	info := t.g.info
	info.Multiple = multiple
	_, layout := t.g.inputLayout()
	info.Input, info.Output = port(t.g.input, layoutName(layout)), port(t.g.output, t.layout)
	return &Model{net, set, info}, nil
}

// emit appends a layer that reads others, and returns it.
func (c *call) emit(suffix string, op networks.Op, params []param, in ...*feature) int {
	if len(c.layers) == maxLayers {
		c.refuse("the graph becomes more than %d layers", maxLayers)
	}
	l := layer{Layer: networks.Layer{Name: c.layerName(suffix), Op: op}, node: c.n, params: params}
	var shapes []networks.Size
	for _, f := range in {
		if f.layer == absent {
			c.refuse("it reads a value that is read as part of an instance norm alone")
		}
		l.Inputs = append(l.Inputs, f.layer)
		shapes = append(shapes, f.size)
	}
	var err error
	l.size, err = networks.Shape(op, shapes...)
	must(c, l.size, err)
	if l.size.C > maxChannels {
		c.refuse("it makes %d channels: up to %d are read", l.size.C, maxChannels)
	}
	c.layers = append(c.layers, l)
	return len(c.layers) - 1
}

// layerName is the node's own, or numbered where others have it.
func (c *call) layerName(suffix string) string {
	const longest = 100
	name := strings.ToValidUTF8(c.n.name[:min(len(c.n.name), longest)], "") + suffix
	for {
		c.names[name]++
		n := c.names[name]
		if n == 1 {
			return name
		}
		name = fmt.Sprintf("%s_%d", name, n)
	}
}

// each appends a layer that keeps places: its result is seen through the same
// axes.
func (c *call) each(suffix string, op networks.Op, f *feature, params ...param) *feature {
	return f.of(c.emit(suffix, op, params, f))
}

// arranged appends a layer whose result is seen as a tensor with its dimensions
// in the order of layout.
func (c *call) arranged(suffix string, op networks.Op, layout []int, f *feature, params ...param) *feature {
	i := c.emit(suffix, op, params, f)
	return &feature{layer: i, size: c.layers[i].size, axes: arranged(layout, c.layers[i].size)}
}

func (c *call) mapped(suffix string, op networks.Op, f *feature, params ...param) *feature {
	return c.arranged(suffix, op, layoutNCHW(), f, params...)
}
