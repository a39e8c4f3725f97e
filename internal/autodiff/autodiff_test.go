package autodiff

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/kernels/reference"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

// perceptual is a small perceptual-loss training step: a style network, a
// loss network, content, style and total variation.
type perceptual struct {
	params  *weights.Set
	net     *networks.Network
	arrays  inference.Arrays
	machine *Machine
	cost    *Node
	names   []string
}

func random(rnd *rand.Rand, n int, scale float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(scale * rnd.NormFloat64())
	}
	return v
}

func build(dev kernels.Device, johnson networks.Johnson, average bool, train func(name string) bool) (*perceptual, error) {
	rnd := rand.New(rand.NewPCG(1, 2))
	net, err := johnson.Build()
	if err != nil {
		return nil, err
	}
	p := &perceptual{net: net}
	if p.params, err = net.Init(3); err != nil {
		return nil, err
	}
	if p.arrays, err = inference.Upload(dev, net, p.params); err != nil {
		return nil, err
	}
	vgg, err := networks.VGG19("relu2_1", networks.Caffe, average)
	if err != nil {
		return nil, err
	}
	vggWeights, err := vgg.Init(4)
	if err != nil {
		return nil, err
	}
	vggArrays, err := inference.Upload(dev, vgg, vggWeights)
	if err != nil {
		return nil, err
	}
	g, err := New(dev)
	if err != nil {
		return nil, err
	}
	activation := func(s kernels.Shape, scale float64) (*Node, error) {
		a, err := dev.NewActivation(s)
		if err != nil {
			return nil, err
		}
		if err := dev.Upload(a, random(rnd, s.Elements(), scale)); err != nil {
			return nil, err
		}
		return g.Input(fmt.Sprint(s), a)
	}
	x, err := activation(kernels.Shape{N: 2, C: 3, H: 16, W: 12}, 60)
	if err != nil {
		return nil, err
	}
	outs, err := g.Partly(net, p.arrays, x, train)
	if err != nil {
		return nil, err
	}
	y, err := g.Fork(outs[0], 2)
	if err != nil {
		return nil, err
	}
	features, err := g.Network(vgg, vggArrays, y[0], false, "relu1_2", "relu2_1", "relu2_1", "relu2_1")
	if err != nil {
		return nil, err
	}
	gram, err := g.Gram(features[0])
	if err != nil {
		return nil, err
	}
	target, err := dev.NewParameter(kernels.Shape{N: 1, C: 1, H: 64, W: 64})
	if err != nil {
		return nil, err
	}
	if err := dev.Upload(target, random(rnd, 64*64, .1)); err != nil {
		return nil, err
	}
	targetNode, err := g.Input("style", target)
	if err != nil {
		return nil, err
	}
	style, err := g.MSE(gram, targetNode)
	if err != nil {
		return nil, err
	}
	contentTarget, err := activation(kernels.Shape{N: 2, C: 128, H: 8, W: 6}, 1)
	if err != nil {
		return nil, err
	}
	content, err := g.MSE(features[1], contentTarget)
	if err != nil {
		return nil, err
	}
	gram2, err := g.Gram(features[2])
	if err != nil {
		return nil, err
	}
	zero, err := dev.NewParameter(kernels.Shape{N: 1, C: 1, H: 128, W: 128})
	if err != nil {
		return nil, err
	}
	if err := dev.Upload(zero, make([]float32, 128*128)); err != nil {
		return nil, err
	}
	zeroNode, err := g.Input("zero", zero)
	if err != nil {
		return nil, err
	}
	style2, err := g.MSE(gram2, zeroNode)
	if err != nil {
		return nil, err
	}
	moments, err := g.Moments(features[3])
	if err != nil {
		return nil, err
	}
	momentsTarget, err := activation(kernels.Shape{N: 2, C: 256, H: 1, W: 1}, 1)
	if err != nil {
		return nil, err
	}
	style3, err := g.MSE(moments, momentsTarget)
	if err != nil {
		return nil, err
	}
	tv, err := g.TotalVariation(y[1])
	if err != nil {
		return nil, err
	}
	if p.cost, err = g.WeightedSum([]*Node{content, style, style2, style3, tv}, []float32{1, 5, 2, 3, 1e-3}); err != nil {
		return nil, err
	}
	for _, q := range net.Params() {
		if q.Trainable && train(q.Name) {
			p.names = append(p.names, q.Name)
		}
	}
	p.machine, err = g.Compile(p.cost)
	return p, err
}

// Every gradient of the whole step agrees with finite differences of its cost,
// in float64.
func TestGradientsOfWholeStep(t *testing.T) {
	all := func(string) bool { return true }
	for _, c := range []struct {
		name    string
		network networks.Johnson
		train   func(name string) bool
	}{
		{"norms alone", networks.Johnson{Architecture: "c3s1-4,d6,R6,u4,c3s1-3", Padding: "reflect", Norm: "instance", Upsample: "transposed", Output: "linear"}, func(name string) bool {
			return !strings.Contains(name, "conv")
		}},
		{"reflect nearest", networks.Johnson{Architecture: "c9s1-4,d6,R6,R6,u4,c9s1-3", Padding: "reflect", Norm: "instance", Upsample: "nearest", Output: "linear"}, all},
		{"reflect-start transposed tanh", networks.Johnson{Architecture: "c3s1-4,d6,R6,u4,c3s1-3", Padding: "reflect-start", Norm: "instance", Upsample: "transposed", Output: "tanh", OutputScale: 150, OutputOffset: 127.5}, all},
		{"zero batch", networks.Johnson{Architecture: "c3s1-4,d6,R6,U2,c3s1-3", Padding: "zero", Norm: "batch", Upsample: "nearest", Output: "linear"}, all},
	} {
		t.Run(c.name, func(t *testing.T) {
			dev := reference.NewFloat64(2)
			defer dev.Close()
			p, err := build(dev, c.network, true, c.train)
			if err != nil {
				t.Fatal(err)
			}
			defer p.machine.Close()
			scope := p.machine.Device().(*reference.Device[float64])
			cost := func() float64 {
				if err := p.machine.Step(); err != nil {
					t.Fatal(err)
				}
				var v [1]float64
				if err := scope.Read(v[:], p.machine.Value(p.cost)); err != nil {
					t.Fatal(err)
				}
				return v[0]
			}
			cost()
			rnd := rand.New(rand.NewPCG(5, 6))
			for i, name := range p.names {
				n := p.arrays[name].Shape().Elements()
				grad, value, moved := make([]float64, n), make([]float64, n), make([]float64, n)
				if err := scope.Read(grad, p.machine.Gradient(i)); err != nil {
					t.Fatal(err)
				}
				if err := dev.Read(value, p.arrays[name]); err != nil {
					t.Fatal(err)
				}
				direction, want := make([]float64, n), 0.0
				for k := range direction {
					direction[k] = rnd.NormFloat64()
					want += direction[k] * grad[k]
				}
				const h = 1e-6
				along := func(s float64) float64 {
					for k := range moved {
						moved[k] = value[k] + s*direction[k]
					}
					if err := dev.Write(p.arrays[name], moved); err != nil {
						t.Fatal(err)
					}
					return cost()
				}
				got := (along(h) - along(-h)) / (2 * h)
				along(0)
				if err := scope.Read(grad, p.machine.Gradient(i)); err != nil {
					t.Fatal(err)
				}
				// Biases before a norm have no influence: their gradient is
				// rounding.
				if diff := math.Abs(got - want); diff > 2e-4*math.Abs(want)+1e-3 {
					t.Errorf("%s: gradient %g, finite differences %g", name, want, got)
				}
			}
		})
	}
}

func TestStepsFuseReLU(t *testing.T) {
	net, err := networks.VGG19("relu1_2", networks.Caffe, false)
	if err != nil {
		t.Fatal(err)
	}
	fused := func(keep ...int) (n int) {
		for _, s := range steps(net, keep) {
			if s.relu {
				n++
			}
		}
		return n
	}
	conv, err := net.Find("features.0")
	if err != nil {
		t.Fatal(err)
	}
	if fused() != 2 || fused(conv) != 1 {
		t.Errorf("%d and %d ReLUs are fused, want 2, and 1 where a convolution's own result is kept", fused(), fused(conv))
	}
}

// Networks that run forward alone are refused by the layer's name.
func TestForwardAlone(t *testing.T) {
	for want, op := range map[string]networks.Op{
		"Pointwise":    networks.Pointwise{Function: networks.Sigmoid},
		"Channels":     networks.Channels{To: 1},
		"DepthToSpace": networks.DepthToSpace{Block: 2},
		"Resize":       networks.Resize{Scale: 2, Coordinates: "asymmetric"},
		"WindowPool":   networks.WindowPool{Global: true},
		"GroupNorm":    networks.GroupNorm{Channels: 4, Groups: 2, Eps: 1e-5},
	} {
		dev := reference.New(1)
		net := &networks.Network{Channels: 4, Layers: []networks.Layer{{Name: "odd", Op: op, Inputs: []int{networks.Input}}}}
		a, err := dev.NewActivation(kernels.Shape{N: 1, C: 4, H: 2, W: 2})
		if err != nil {
			t.Fatal(err)
		}
		g, err := New(dev)
		if err != nil {
			t.Fatal(err)
		}
		x, err := g.Input("x", a)
		if err != nil {
			t.Fatal(err)
		}
		want = "layer odd: " + want + " has no gradient"
		if _, err := g.Network(net, nil, x, true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Leaves of one name and shape are not taken for one.
func TestLeavesOfOneName(t *testing.T) {
	dev := reference.New(1)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	defer func() { must(dev.Close()) }()
	g, err := New(dev)
	must(err)
	array := func(v float32) kernels.Array {
		a, err := dev.NewActivation(kernels.Shape{N: 1, C: 1, H: 1, W: 2})
		must(err)
		must(dev.Upload(a, []float32{v, v}))
		return a
	}
	x, err := g.Parameter("x", array(0))
	must(err)
	readers, err := g.Fork(x, 2)
	must(err)
	var terms []*Node
	for i, v := range []float32{1, 2} {
		target, err := g.Input("target", array(v))
		must(err)
		term, err := g.MSE(readers[i], target)
		must(err)
		terms = append(terms, term)
	}
	sum, err := g.WeightedSum(terms, []float32{1, 10})
	must(err)
	g.Keep(sum)
	m, err := g.Compile(sum)
	must(err)
	defer func() { must(m.Close()) }()
	must(m.Step())
	var got [1]float32
	must(m.Device().Download(got[:], m.Value(sum)))
	if got[0] != 1+10*4 {
		t.Errorf("the distances from 1 and 2 sum up to %g, want 41", got[0])
	}
}
