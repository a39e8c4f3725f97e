// Package autodiff compiles layer lists and losses to a Gorgonia expression
// graph, differentiates it symbolically and runs it on a device with
// Gorgonia's tape machine.
//
// It owns the differentiable ops and the sharing of memory between their
// results. It refuses to compute: kernels do.
package autodiff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"stylenet/internal/inference"
	"stylenet/internal/kernels"
)

// Node is a value in the graph.
type Node = gorgonia.Node

// Graph is an expression graph over one device's arrays.
type Graph struct {
	dev   kernels.Device
	graph *gorgonia.ExprGraph
	ops   uint64
	// What Gorgonia does not say about its nodes.
	shapes     map[*Node]kernels.Shape
	flat       map[*Node]bool // is a parameter to the device, not an activation
	active     map[*Node]bool // depends on a trainable parameter
	readers    map[*Node]int
	lasting    map[*Node]bool // is needed after the step
	values     map[*Node]*value
	params     []*Node
	anchor     *Node
	anchored   bool
	statistics []Statistics
	// one is made before any array is released: what is written once may not
	// share memory with what is written in every step.
	one *value
}

// New makes an empty graph, in a scope of dev of its own.
func New(dev kernels.Device) (*Graph, error) {
	g := &Graph{
		dev: dev.Scope(), graph: gorgonia.NewGraph(),
		shapes: map[*Node]kernels.Shape{}, flat: map[*Node]bool{}, active: map[*Node]bool{},
		readers: map[*Node]int{}, lasting: map[*Node]bool{}, values: map[*Node]*value{},
	}
	g.anchor = gorgonia.NewScalar(g.graph, tensor.Float32, gorgonia.WithName("anchor"), gorgonia.WithValue(float32(0)))
	g.shapes[g.anchor] = kernels.Scalar()
	one, err := inference.NewParameter(g.dev, []int{1}, []float32{1})
	if err != nil {
		return nil, errors.Join(err, g.dev.Close())
	}
	g.one = &value{array: one, pinned: true}
	return g, nil
}

// Input adds a value that the graph reads and does not differentiate by.
func (g *Graph) Input(name string, a kernels.Array) (*Node, error) { return g.leaf(name, a, false) }

// Parameter adds a value to differentiate by.
func (g *Graph) Parameter(name string, a kernels.Array) (*Node, error) { return g.leaf(name, a, true) }

func (g *Graph) leaf(name string, a kernels.Array, trainable bool) (*Node, error) {
	s := a.Shape()
	// Gorgonia takes leaves of one name and shape for one node.
	unique := gorgonia.WithName(fmt.Sprintf("%s, leaf %d", name, len(g.values)))
	var n *Node
	if s == kernels.Scalar() {
		n = gorgonia.NewScalar(g.graph, tensor.Float32, unique)
	} else {
		n = gorgonia.NewTensor(g.graph, tensor.Float32, 4, unique, gorgonia.WithShape(s.N, s.C, s.H, s.W))
	}
	v := &value{array: a, pinned: true}
	if err := gorgonia.Let(n, v); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	g.shapes[n], g.values[n] = s, v
	if trainable {
		g.active[n] = true
		g.params = append(g.params, n)
	}
	return n, nil
}

// Keep makes a node's value readable after a step.
func (g *Graph) Keep(n *Node) { g.lasting[n] = true }

// binder binds an op's kernel to its inputs when the op first runs, and
// returns the result. A nil kernel means that there is nothing to run.
type binder func(in []*value) (*value, kernels.Kernel, error)

// differentiator returns the gradients for an op's inputs, nil for those that
// are not active.
type differentiator func(in gorgonia.Nodes, out, grad *Node) (gorgonia.Nodes, error)

// op is a gorgonia.Op that runs one kernel. Each node has an op of its own,
// which makes its result's array once and reuses it in every step.
type op struct {
	g     *Graph
	id    uint64
	name  string
	shape kernels.Shape
	in    []kernels.Shape
	bind  binder
	diff  differentiator
	wrt   []bool

	node  *Node
	args  []*value
	value *value
	run   kernels.Kernel
}

var _ gorgonia.SDOp = (*op)(nil)

// apply adds a node. diff may be nil for ops that are never differentiated.
func (g *Graph) apply(name string, shape kernels.Shape, bind binder, diff differentiator, inputs ...*Node) (*Node, error) {
	if err := kernels.CheckShape(shape); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	g.ops++
	o := &op{g: g, id: g.ops, name: name, shape: shape, bind: bind, diff: diff}
	active := false
	for _, in := range inputs {
		if _, ok := g.shapes[in]; !ok { // the 1 that Gorgonia starts a derivative from
			g.shapes[in] = kernels.Scalar()
		}
		o.in = append(o.in, g.shapes[in])
		o.wrt = append(o.wrt, diff != nil && g.active[in])
		active = active || (diff != nil && g.active[in])
	}
	n, err := gorgonia.ApplyOpWithName(o, fmt.Sprintf("%s#%d", name, o.id), inputs...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, in := range inputs {
		g.readers[in]++
	}
	o.node, g.shapes[n], g.active[n] = n, shape, active
	return n, nil
}

func (o *op) Arity() int { return len(o.in) }

func (o *op) Type() hm.Type {
	var ts []hm.Type
	for _, s := range o.in {
		ts = append(ts, typeOf(s))
	}
	return hm.NewFnType(append(ts, typeOf(o.shape))...)
}

func (o *op) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) {
	return tensorShape(o.shape), nil
}

func (o *op) ReturnsPtr() bool     { return true }
func (o *op) CallsExtern() bool    { return false }
func (o *op) OverwritesInput() int { return -1 }
func (o *op) String() string       { return o.name }

// WriteHash tells every op apart: Gorgonia merges ops of one hash.
func (o *op) WriteHash(h hash.Hash) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], o.id)
	h.Write(b[:])
}

func (o *op) Hashcode() uint32 {
	h := fnv.New32a()
	o.WriteHash(h)
	return h.Sum32()
}

func (o *op) DiffWRT(int) []bool { return o.wrt }

func (o *op) SymDiff(in gorgonia.Nodes, out, grad *Node) (gorgonia.Nodes, error) {
	if o.diff == nil {
		return nil, fmt.Errorf("%s cannot be differentiated", o.name)
	}
	return o.diff(in, out, grad)
}

// Do launches the op's kernel.
func (o *op) Do(inputs ...gorgonia.Value) (gorgonia.Value, error) {
	if o.value == nil {
		if err := o.bindTo(inputs); err != nil {
			return nil, fmt.Errorf("%s: %w", o.name, err)
		}
	}
	if o.run != nil {
		o.run()
	}
	return o.value, nil
}

// bindTo binds the kernel and gives back the memory of inputs that no later
// kernel reads. Steps repeat in the same order, so arrays made after that may
// share it.
func (o *op) bindTo(inputs []gorgonia.Value) error {
	for _, in := range inputs {
		v, ok := in.(*value)
		if !ok {
			// Gorgonia's own scalars: the 1 that a derivative starts from, and
			// the anchor, which no kernel reads.
			v = o.g.one
		}
		o.args = append(o.args, v)
	}
	v, run, err := o.bind(o.args)
	if err != nil {
		return err
	}
	o.value, o.run, o.g.values[o.node] = v, run, v
	v.readers += o.g.readers[o.node]
	v.pinned = v.pinned || o.g.lasting[o.node]
	o.g.drop(v, 0)
	for _, in := range o.args {
		o.g.drop(in, 1)
	}
	return nil
}

func (g *Graph) drop(v *value, readers int) {
	if v.readers -= readers; v.readers == 0 && !v.pinned {
		g.dev.Release(v.array)
	}
}

// activation makes the array of an op's result.
func (g *Graph) activation(s kernels.Shape) (*value, error) {
	a, err := g.dev.NewActivation(s)
	return &value{array: a}, err
}

// over makes the array of a result of in's shape and kind: in's own where the
// kernel being bound is the last to read it, for kernels that may work in place.
func (g *Graph) over(in *value) (*value, error) {
	if in.readers == 1 && !in.pinned {
		in.pinned = true // its array lives on in the result
		return &value{array: in.array}, nil
	}
	return g.activation(in.array.Shape())
}

func (g *Graph) parameter(s kernels.Shape) (*value, error) {
	a, err := g.dev.NewParameter(s)
	return &value{array: a}, err
}

// Fork gives a node to k readers. Gorgonia would sum the gradients of a node
// with several readers with an Add of its own, which knows dense tensors only.
// So only one edge, the first, is differentiable to Gorgonia's eyes; the
// others hand their gradients to the fork, whose own derivative sums them.
// They hang on an anchor, a scalar zero to differentiate by, which keeps them
// on the path from parameters to cost.
func (g *Graph) Fork(n *Node, k int) ([]*Node, error) {
	if k < 2 || !g.active[n] {
		nodes := make([]*Node, k)
		for i := range nodes {
			nodes[i] = n
		}
		return nodes, nil
	}
	shape := g.shapes[n]
	var gradients gorgonia.Nodes // of the branches; they are differentiated before the fork
	same := func(in []*value) (*value, kernels.Kernel, error) { return in[0], nil, nil }
	fork, err := g.apply("fork", shape, same, func(_ gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
		sum, err := g.sum(append(gorgonia.Nodes{grad}, gradients...))
		return gorgonia.Nodes{sum}, err
	}, n)
	if err != nil {
		return nil, err
	}
	nodes := []*Node{fork}
	g.anchored = true
	g.active[g.anchor] = true
	for range k - 1 {
		g.active[fork] = false
		branch, err := g.apply("branch", shape, same, func(_ gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
			gradients = append(gradients, grad)
			return gorgonia.Nodes{nil, gorgonia.NewConstant(float32(0), gorgonia.In(g.graph))}, nil
		}, fork, g.anchor)
		g.active[fork] = true
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, branch)
	}
	return nodes, nil
}

func (g *Graph) sum(nodes gorgonia.Nodes) (*Node, error) {
	shape := g.shapes[nodes[0]]
	weights := make([]float32, len(nodes))
	for i := range weights {
		weights[i] = 1
	}
	flat := g.flat[nodes[0]]
	return g.apply("sum", shape, func(in []*value) (*value, kernels.Kernel, error) {
		result := g.over
		if flat {
			result = func(*value) (*value, error) { return g.parameter(shape) }
		}
		out, err := result(in[0])
		if err != nil {
			return nil, nil, err
		}
		k, err := g.dev.Sum(out.array, arrays(in), weights)
		return out, k, err
	}, nil, nodes...)
}

func arrays(in []*value) []kernels.Array {
	as := make([]kernels.Array, len(in))
	for i, v := range in {
		as[i] = v.array
	}
	return as
}

// Machine runs a graph: the cost, and its gradient for every parameter.
type Machine struct {
	g         *Graph
	vm        gorgonia.VM
	gradients []*Node
}

// Compile differentiates cost by all parameters. The graph must not be
// changed any more.
func (g *Graph) Compile(cost *Node) (*Machine, error) {
	if len(g.params) == 0 || !g.active[cost] {
		return nil, errors.New("the cost does not depend on a parameter")
	}
	g.Keep(cost)
	wrt := append([]*Node(nil), g.params...)
	if g.anchored {
		wrt = append(wrt, g.anchor)
	}
	grads, err := gorgonia.Grad(cost, wrt...)
	if err != nil {
		return nil, fmt.Errorf("differentiate: %w", err)
	}
	grads = grads[:len(g.params)]
	for _, n := range grads {
		g.Keep(n)
	}
	return &Machine{g: g, vm: gorgonia.NewTapeMachine(g.graph), gradients: grads}, nil
}

// Step launches one run of the whole graph. The first one binds the kernels.
func (m *Machine) Step() error {
	m.vm.Reset()
	return m.vm.RunAll()
}

// Gradient is the gradient for the i-th parameter, in the order in which they
// were added. It exists after the first step.
func (m *Machine) Gradient(i int) kernels.Array { return m.Value(m.gradients[i]) }

// Value is a kept node's array. It exists after the first step.
func (m *Machine) Value(n *Node) kernels.Array { return m.g.values[n].array }

// Statistics lists the trained batch norms.
func (m *Machine) Statistics() []Statistics { return m.g.statistics }

// Device is the scope that owns the graph's arrays: kernels that read them,
// such as an optimiser's, are bound through it.
func (m *Machine) Device() kernels.Device { return m.g.dev }

// Close frees the graph's memory.
func (m *Machine) Close() error { return errors.Join(m.vm.Close(), m.g.dev.Close()) }
