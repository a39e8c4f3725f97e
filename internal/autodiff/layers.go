package autodiff

import (
	"fmt"
	"strings"

	"gorgonia.org/gorgonia"

	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/networks"
)

// Network adds a network that reads x. With trainable set its parameters are
// added as parameters of the graph; else they are constants. taps names the
// layers whose results are wanted; none means the last one. Each returned
// node may be read once: Fork it for more.
func (g *Graph) Network(net *networks.Network, arrays inference.Arrays, x *Node, trainable bool, taps ...string) ([]*Node, error) {
	return g.Partly(net, arrays, x, func(string) bool { return trainable }, taps...)
}

// Partly is Network where train tells the parameters, by their names, that are
// trained. Of a layer both are, the weight and the bias, or none.
func (g *Graph) Partly(net *networks.Network, arrays inference.Arrays, x *Node, train func(name string) bool, taps ...string) ([]*Node, error) {
	if len(taps) == 0 {
		taps = []string{net.Layers[len(net.Layers)-1].Name}
	}
	keep, err := net.FindAll(taps)
	if err != nil {
		return nil, err
	}
	in := g.shapes[x]
	sizes, err := net.Sizes(in.H, in.W)
	if err != nil {
		return nil, err
	}
	b := &networkBuilder{g, net, arrays, train, map[string]*Node{}}
	list := steps(net, keep)
	readers := map[int]int{}
	for _, k := range keep {
		readers[k]++
	}
	for _, s := range list {
		for _, j := range s.inputs {
			readers[j]++
		}
	}
	results := map[int][]*Node{} // by layer: one for each reader
	if results[networks.Input], err = g.Fork(x, readers[networks.Input]); err != nil {
		return nil, err
	}
	take := func(j int) *Node {
		n := results[j][0]
		results[j] = results[j][1:]
		return n
	}
	for _, s := range list {
		var inputs []*Node
		for _, j := range s.inputs {
			inputs = append(inputs, take(j))
		}
		n, err := b.layer(s, inference.Shape(in.N, sizes[s.output]), inputs)
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", s.layer.Name, err)
		}
		if results[s.output], err = g.Fork(n, readers[s.output]); err != nil {
			return nil, err
		}
	}
	nodes := make([]*Node, len(keep))
	for i, k := range keep {
		nodes[i] = take(k)
	}
	return nodes, nil
}

type networkBuilder struct {
	*Graph
	net    *networks.Network
	arrays inference.Arrays
	train  func(name string) bool
	nodes  map[string]*Node
}

// trained tells the layers whose parameters are.
func (b *networkBuilder) trained(layer string) bool { return b.train(layer + ".weight") }

// param is the node of a parameter, or nil where the layer has none.
func (b *networkBuilder) param(name string) (*Node, error) {
	a, ok := b.arrays[name]
	if !ok {
		return nil, nil
	}
	return b.leaf(name, a, b.train(name))
}

// withWeights are the inputs of a convolution: x, its weights, and its bias
// where it has one.
func (b *networkBuilder) withWeights(name string, x *Node) ([]*Node, error) {
	w, err := b.param(name + ".weight")
	if err != nil {
		return nil, err
	}
	bias, err := b.param(name + ".bias")
	if err != nil || bias == nil {
		return []*Node{x, w}, err
	}
	return []*Node{x, w, bias}, nil
}

func (b *networkBuilder) layer(s step, out kernels.Shape, in []*Node) (*Node, error) {
	name := s.layer.Name
	switch op := s.layer.Op.(type) {
	case networks.Conv:
		return b.conv(name, out, in[0], kernels.Conv{Stride: op.Stride, Pad: inference.Border(op.Pad), ReLU: s.relu, Frozen: !b.trained(name)})
	case networks.ConvTranspose:
		return b.convTranspose(name, out, in[0], inference.TransposedConv(op))
	case networks.Norm:
		return b.norm(name, out, in[0], kernels.Norm{Eps: op.Eps, Batch: op.Batch, ReLU: s.relu})
	case networks.ReLU:
		return b.relu(out, in[0])
	case networks.Tanh:
		return b.tanh(out, in[0], op)
	case networks.Add:
		return b.add(out, in[0], in[1])
	case networks.Pad:
		return b.pad(out, in[0], op)
	case networks.Upsample:
		return b.upsample(out, in[0], op.Factor)
	case networks.Pool:
		return b.pool(out, in[0], inference.PoolKind(op))
	case networks.Affine:
		return b.affine(out, in[0], op)
	}
	return nil, fmt.Errorf("%s has no gradient here: a network with it runs forward alone and cannot be trained", kind(s.layer.Op))
}

// kind is the name of a layer's operation.
func kind(op networks.Op) string { return strings.TrimPrefix(fmt.Sprintf("%T", op), "networks.") }

// unary adds a node with the kernel that forward binds.
func (g *Graph) unary(name string, out kernels.Shape, forward func(dst kernels.Array, in []kernels.Array) (kernels.Kernel, error), diff differentiator, in ...*Node) (*Node, error) {
	return g.apply(name, out, func(in []*value) (*value, kernels.Kernel, error) {
		v, err := g.activation(out)
		if err != nil {
			return nil, nil, err
		}
		k, err := forward(v.array, arrays(in))
		return v, k, err
	}, diff, in...)
}

// gradient is a differentiator for ops whose first input alone is
// differentiable, with a gradient of that input's shape.
func (g *Graph) gradient(name string, backward func(dsrc kernels.Array, in []kernels.Array) (kernels.Kernel, error), reads func(in gorgonia.Nodes, out, grad *Node) []*Node) differentiator {
	return func(in gorgonia.Nodes, out, grad *Node) (gorgonia.Nodes, error) {
		retVal := make(gorgonia.Nodes, len(in))
		var err error
		retVal[0], err = g.unary(name+" backward", g.shapes[in[0]], backward, nil, reads(in, out, grad)...)
		return retVal, err
	}
}

func gradAlone(_ gorgonia.Nodes, _, grad *Node) []*Node       { return []*Node{grad} }
func gradAndInput(in gorgonia.Nodes, _, grad *Node) []*Node   { return []*Node{grad, in[0]} }
func gradAndOutput(_ gorgonia.Nodes, out, grad *Node) []*Node { return []*Node{grad, out} }

func (b *networkBuilder) conv(name string, out kernels.Shape, x *Node, c kernels.Conv) (*Node, error) {
	inputs, err := b.withWeights(name, x)
	if err != nil {
		return nil, err
	}
	return b.unary("conv "+name, out, func(dst kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
		return b.dev.Conv(dst, in[0], in[1], optional(in, 2), c)
	}, func(in gorgonia.Nodes, out, grad *Node) (gorgonia.Nodes, error) {
		var err error
		if c.ReLU {
			grad, err = b.reluBackward(grad, out)
			if err != nil {
				return nil, err
			}
		}
		grads := make(gorgonia.Nodes, len(in))
		if b.active[in[0]] {
			grads[0], err = b.unary("conv backward data "+name, b.shapes[in[0]], func(dst kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
				return b.dev.ConvBackwardData(dst, in[0], in[1], nil, c)
			}, nil, grad, in[1])
		}
		if err == nil && b.active[in[1]] {
			var db *Node
			grads[1], db, err = b.convBackwardWeights(name, b.shapes[in[1]], len(in) > 2, grad, in[0], c)
			if len(in) > 2 {
				grads[2] = db
			}
		}
		return grads, err
	}, inputs...)
}

func optional(in []kernels.Array, i int) kernels.Array {
	if i < len(in) {
		return in[i]
	}
	return nil
}

// convBackwardWeights adds the gradients for weights and bias, which one
// kernel computes: the bias' node reads the weights' one and takes its result
// from the side.
func (g *Graph) convBackwardWeights(name string, shape kernels.Shape, bias bool, grad, x *Node, c kernels.Conv) (dw, db *Node, err error) {
	var side *value
	out := kernels.Vector(g.shapes[grad].C)
	dw, err = g.apply("conv backward weights "+name, shape, func(in []*value) (*value, kernels.Kernel, error) {
		v, err := g.parameter(shape)
		if err != nil {
			return nil, nil, err
		}
		var b kernels.Array
		if bias {
			if side, err = g.parameter(out); err != nil {
				return nil, nil, err
			}
			b = side.array
		}
		k, err := g.dev.ConvBackwardWeights(v.array, b, in[0].array, in[1].array, c)
		return v, k, err
	}, nil, grad, x)
	if err != nil || !bias {
		return dw, nil, err
	}
	db, err = g.side("conv backward bias "+name, out, func() *value { return side }, dw)
	return dw, db, err
}

// side adds a node for a second result of the op of node main.
func (g *Graph) side(name string, shape kernels.Shape, result func() *value, main *Node) (*Node, error) {
	return g.apply(name, shape, func([]*value) (*value, kernels.Kernel, error) { return result(), nil, nil }, nil, main)
}

func (b *networkBuilder) convTranspose(name string, out kernels.Shape, x *Node, c kernels.Conv) (*Node, error) {
	inputs, err := b.withWeights(name, x)
	if err != nil {
		return nil, err
	}
	return b.unary("transposed conv "+name, out, func(dst kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
		return b.dev.ConvBackwardData(dst, in[0], in[1], optional(in, 2), c)
	}, func(in gorgonia.Nodes, out, grad *Node) (gorgonia.Nodes, error) {
		grads := make(gorgonia.Nodes, len(in))
		var err error
		if b.active[in[0]] {
			grads[0], err = b.unary("transposed conv backward data "+name, b.shapes[in[0]], func(dst kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
				return b.dev.Conv(dst, in[0], in[1], nil, c)
			}, nil, grad, in[1])
		}
		if err == nil && b.active[in[1]] {
			grads[1], _, err = b.convBackwardWeights(name, b.shapes[in[1]], false, in[0], grad, c)
		}
		if err == nil && len(in) > 2 && b.active[in[2]] {
			shape := b.shapes[in[2]]
			grads[2], err = b.apply("bias backward "+name, shape, func(in []*value) (*value, kernels.Kernel, error) {
				v, err := b.parameter(shape)
				if err != nil {
					return nil, nil, err
				}
				k, err := b.dev.BiasBackward(v.array, in[0].array)
				return v, k, err
			}, nil, grad)
		}
		return grads, err
	}, inputs...)
}

func (b *networkBuilder) norm(name string, out kernels.Shape, x *Node, n kernels.Norm) (*Node, error) {
	gamma, err := b.param(name + ".weight")
	if err != nil {
		return nil, err
	}
	beta, err := b.param(name + ".bias")
	if err != nil {
		return nil, err
	}
	var mean, invstd, dgamma, dbeta *value
	pair := func(s kernels.Shape) (p, q *value, err error) {
		if p, err = b.parameter(s); err != nil {
			return nil, nil, err
		}
		q, err = b.parameter(s)
		return p, q, err
	}
	if n.Batch && b.trained(name) {
		b.statistics = append(b.statistics, Statistics{
			Name: name, Count: out.N * out.H * out.W, Eps: n.Eps,
			Mean: func() kernels.Array { return mean.array }, InvStd: func() kernels.Array { return invstd.array },
		})
	}
	return b.unary("norm "+name, out, func(dst kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
		var err error
		if mean, invstd, err = pair(n.Stats(in[0].Shape())); err != nil {
			return nil, err
		}
		return b.dev.Norm(dst, mean.array, invstd.array, in[0], in[1], in[2], n)
	}, func(in gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
		shape := b.shapes[in[1]]
		dx, err := b.unary("norm backward "+name, out, func(dst kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
			var err error
			if dgamma, dbeta, err = pair(shape); err != nil {
				return nil, err
			}
			return b.dev.NormBackward(dst, dgamma.array, dbeta.array, in[0], in[1], in[2], in[3], mean.array, invstd.array, n)
		}, nil, grad, in[0], in[1], in[2])
		if err != nil {
			return nil, err
		}
		dg, err := b.side("norm backward scale "+name, shape, func() *value { return dgamma }, dx)
		if err != nil {
			return nil, err
		}
		db, err := b.side("norm backward shift "+name, shape, func() *value { return dbeta }, dx)
		grads := gorgonia.Nodes{dx, dg, db}
		for i, n := range in {
			if !b.active[n] {
				grads[i] = nil
			}
		}
		return grads, err
	}, x, gamma, beta)
}

// Statistics are what a batch norm saw in the last step: the mean and
// 1/√(variance + Eps) of each channel over Count values. The arrays exist
// after the first step.
type Statistics struct {
	Name         string // of the layer
	Count        int
	Eps          float32
	Mean, InvStd func() kernels.Array
}

func (g *Graph) relu(out kernels.Shape, x *Node) (*Node, error) {
	return g.unary("relu", out, func(dst kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
		return g.dev.ReLU(dst, in[0])
	}, func(_ gorgonia.Nodes, out, grad *Node) (gorgonia.Nodes, error) {
		dx, err := g.reluBackward(grad, out)
		return gorgonia.Nodes{dx}, err
	}, x)
}

func (g *Graph) reluBackward(grad, out *Node) (*Node, error) {
	return g.apply("relu backward", g.shapes[out], func(in []*value) (*value, kernels.Kernel, error) {
		v, err := g.over(in[0])
		if err != nil {
			return nil, nil, err
		}
		k, err := g.dev.ReLUBackward(v.array, in[0].array, in[1].array)
		return v, k, err
	}, nil, grad, out)
}

func (g *Graph) tanh(out kernels.Shape, x *Node, t networks.Tanh) (*Node, error) {
	return g.unary("tanh", out, func(dst kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
		return g.dev.Tanh(dst, in[0], t.Scale, t.Offset)
	}, g.gradient("tanh", func(dsrc kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
		return g.dev.TanhBackward(dsrc, in[0], in[1], t.Scale, t.Offset)
	}, gradAndOutput), x)
}

func (g *Graph) add(out kernels.Shape, x, y *Node) (*Node, error) {
	return g.unary("add", out, func(dst kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
		return g.dev.Sum(dst, in, []float32{1, 1})
	}, func(in gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
		grads := make(gorgonia.Nodes, 2)
		for i := range grads {
			if g.active[in[i]] {
				grads[i] = grad
			}
		}
		return grads, nil
	}, x, y)
}

func (g *Graph) pad(out kernels.Shape, x *Node, p networks.Pad) (*Node, error) {
	mode, err := inference.PadMode(p.Mode)
	if err != nil {
		return nil, err
	}
	border := inference.Border(p.Padding)
	return g.unary("pad", out, func(dst kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
		return g.dev.Pad(dst, in[0], mode, border)
	}, g.gradient("pad", func(dsrc kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
		return g.dev.PadBackward(dsrc, in[0], mode, border)
	}, gradAlone), x)
}

func (g *Graph) upsample(out kernels.Shape, x *Node, factor int) (*Node, error) {
	return g.unary("upsample", out, func(dst kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
		return g.dev.Upsample(dst, in[0], factor)
	}, g.gradient("upsample", func(dsrc kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
		return g.dev.UpsampleBackward(dsrc, in[0], factor)
	}, gradAlone), x)
}

func (g *Graph) pool(out kernels.Shape, x *Node, kind kernels.PoolKind) (*Node, error) {
	return g.unary("pool", out, func(dst kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
		return g.dev.Pool(dst, in[0], kind)
	}, g.gradient("pool", func(dsrc kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
		return g.dev.PoolBackward(dsrc, in[0], in[1], kind)
	}, gradAndInput), x)
}

func (g *Graph) affine(out kernels.Shape, x *Node, a networks.Affine) (*Node, error) {
	scale, shift, err := inference.AffineArrays(g.dev, a)
	if err != nil {
		return nil, err
	}
	return g.unary("affine", out, func(dst kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
		return g.dev.ChannelAffine(dst, in[0], scale, shift)
	}, g.gradient("affine", func(dsrc kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
		return g.dev.ChannelAffine(dsrc, in[0], scale, nil)
	}, gradAlone), x)
}
