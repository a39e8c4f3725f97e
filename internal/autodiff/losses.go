package autodiff

import (
	"errors"
	"fmt"

	"gorgonia.org/gorgonia"

	"stylenet/internal/inference"
	"stylenet/internal/kernels"
)

// Gram adds the Gram matrix of each image's feature maps: (N, C, H, W) to
// (N, 1, C, C), divided by C·H·W.
func (g *Graph) Gram(x *Node) (*Node, error) {
	s := g.shapes[x]
	out := kernels.Shape{N: s.N, C: 1, H: s.C, W: s.C}
	n, err := g.apply("gram", out, func(in []*value) (*value, kernels.Kernel, error) {
		v, err := g.parameter(out)
		if err != nil {
			return nil, nil, err
		}
		k, err := g.dev.Gram(v.array, in[0].array)
		return v, k, err
	}, g.gradient("gram", func(dsrc kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
		return g.dev.GramBackward(dsrc, in[0], in[1])
	}, gradAndInput), x)
	g.flat[n] = true
	return n, err
}

// Mask adds the product of each of x's maps with the mask of its image, of shape
// (N, 1, H, W), which is constant.
func (g *Graph) Mask(x, mask *Node) (*Node, error) {
	if g.active[mask] {
		return nil, errors.New("mask: it depends on a parameter")
	}
	s, m := g.shapes[x], g.shapes[mask]
	if m != (kernels.Shape{N: s.N, C: 1, H: s.H, W: s.W}) {
		return nil, fmt.Errorf("mask: a mask of shape %v for maps of shape %v", m, s)
	}
	multiply := func(dst kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
		return g.dev.Pointwise(dst, in[0], in[1], kernels.Pointwise{Function: kernels.Multiply})
	}
	return g.unary("mask", s, multiply, g.gradient("mask", multiply, func(in gorgonia.Nodes, _, grad *Node) []*Node {
		return []*Node{grad, in[1]}
	}), x, mask)
}

// Moments adds the mean and the standard deviation of each of x's maps, as
// inference.Moments gives them: (N, C, H, W) to (N, 2·C, 1, 1).
func (g *Graph) Moments(x *Node) (*Node, error) {
	m, err := inference.NewMoments(g.dev, g.shapes[x])
	if err != nil {
		return nil, err
	}
	return g.unary("moments", m.Shape(), func(dst kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
		return m.Measure(g.dev, dst, in[0])
	}, g.gradient("moments", func(dsrc kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
		return m.Backward(g.dev, dsrc, in[0], in[1])
	}, gradAndInput), x)
}

// Warp adds x with its pixels moved by a flow, as kernels.Device has it. The
// result is constant: nothing is differentiated through it.
func (g *Graph) Warp(x, flow *Node, pairs bool) (*Node, error) {
	return g.unary("warp", g.shapes[x], func(dst kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
		return g.dev.Warp(dst, in[0], in[1], pairs)
	}, nil, x, flow)
}

// MSE adds the mean over all elements of x of (x−target)². target has x's
// shape, or one image that all of x are compared with, and is constant.
func (g *Graph) MSE(x, target *Node) (*Node, error) {
	if g.active[target] {
		return nil, fmt.Errorf("mse: the target depends on a parameter")
	}
	result := g.activation
	if g.flat[x] {
		result = g.parameter
	}
	return g.apply("mse", kernels.Scalar(), func(in []*value) (*value, kernels.Kernel, error) {
		v, err := g.parameter(kernels.Scalar())
		if err != nil {
			return nil, nil, err
		}
		k, err := g.dev.MSE(v.array, in[0].array, in[1].array)
		return v, k, err
	}, func(in gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
		shape := g.shapes[in[0]]
		dx, err := g.apply("mse backward", shape, func(in []*value) (*value, kernels.Kernel, error) {
			v, err := result(shape)
			if err != nil {
				return nil, nil, err
			}
			k, err := g.dev.MSEBackward(v.array, in[0].array, in[1].array, in[2].array)
			return v, k, err
		}, nil, grad, in[0], in[1])
		return gorgonia.Nodes{dx, nil}, err
	}, x, target)
}

// TotalVariation adds the sum of the squared differences of neighbouring
// pixels over the whole batch.
func (g *Graph) TotalVariation(x *Node) (*Node, error) {
	return g.apply("total variation", kernels.Scalar(), func(in []*value) (*value, kernels.Kernel, error) {
		v, err := g.parameter(kernels.Scalar())
		if err != nil {
			return nil, nil, err
		}
		k, err := g.dev.TotalVariation(v.array, in[0].array)
		return v, k, err
	}, g.gradient("total variation", func(dsrc kernels.Array, in []kernels.Array) (kernels.Kernel, error) {
		return g.dev.TotalVariationBackward(dsrc, in[0], in[1])
	}, gradAndInput), x)
}

// WeightedSum adds Σ weights[i]·terms[i] of scalars.
func (g *Graph) WeightedSum(terms []*Node, weights []float32) (*Node, error) {
	if len(terms) == 0 || len(terms) != len(weights) {
		return nil, fmt.Errorf("weighted sum of %d terms with %d weights", len(terms), len(weights))
	}
	return g.weightedSum(terms, weights, func(_ gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
		grads := make(gorgonia.Nodes, len(terms))
		for i, w := range weights {
			var err error
			if grads[i], err = g.weightedSum([]*Node{grad}, []float32{w}, nil); err != nil {
				return nil, err
			}
		}
		return grads, nil
	})
}

func (g *Graph) weightedSum(terms []*Node, weights []float32, diff differentiator) (*Node, error) {
	return g.apply("weighted sum", kernels.Scalar(), func(in []*value) (*value, kernels.Kernel, error) {
		v, err := g.parameter(kernels.Scalar())
		if err != nil {
			return nil, nil, err
		}
		k, err := g.dev.Sum(v.array, arrays(in), weights)
		return v, k, err
	}, diff, terms...)
}
