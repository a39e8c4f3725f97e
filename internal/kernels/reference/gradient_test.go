package reference

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"stylenet/internal/kernels"
)

// operand is the shape and the kind of an array.
type operand struct {
	kernels.Shape
	parameter bool
}

func act(n, c, h, w int) operand { return operand{shape(n, c, h, w), false} }
func par(n, c, h, w int) operand { return operand{shape(n, c, h, w), true} }
func vec(c int) operand          { return operand{kernels.Vector(c), true} }

var scalar = vec(1)

// derivative is a kernel and the kernels that compute its gradients.
type derivative struct {
	name string
	// in are the sources, the first varied of which have gradients; out are
	// the results, the first of which is differentiated.
	in, out []operand
	varied  int
	forward func(d kernels.Device, out, in []kernels.Array) (kernels.Kernel, error)
	// backward has the gradients of in and of out[0].
	backward func(d kernels.Device, din []kernels.Array, dout kernels.Array, out, in []kernels.Array) (kernels.Kernel, error)
	// away is the least distance of sources from zero, where there is a kink.
	away float64
}

// TestGradients compares every backward kernel with central differences of its
// forward kernel along random directions, weighing the elements of the result
// at random.
func TestGradients(t *testing.T) {
	for _, c := range derivatives() {
		t.Run(c.name, func(t *testing.T) { c.check(newFixture(t)) })
	}
}

func (c derivative) check(f fixture) {
	const step = 1e-5
	r := rand.New(rand.NewPCG(7, 7))
	random := func(n int, away float64) []float64 {
		v := make([]float64, n)
		for i := range v {
			v[i] = r.NormFloat64()
			v[i] += math.Copysign(away, v[i])
		}
		return v
	}
	arrays := func(os []operand) []kernels.Array {
		as := make([]kernels.Array, len(os))
		for i, o := range os {
			if o.parameter {
				as[i] = f.parameter(o.Shape)
			} else {
				as[i] = f.activation(o.Shape)
			}
		}
		return as
	}
	in, out := arrays(c.in), arrays(c.out)
	values := make([][]float64, len(in))
	for i, a := range in {
		values[i] = random(a.Shape().Elements(), c.away)
		f.filled(a, nil, values[i])
	}
	forward, err := c.forward(f, out, in)
	if err != nil {
		f.Fatal(err)
	}
	dout := arrays(c.out[:1])[0]
	weights := random(dout.Shape().Elements(), 0)
	f.filled(dout, nil, weights)
	din := arrays(c.in[:c.varied])
	forward()
	f.run(c.backward(f, din, dout, out, in))

	for i, d := range din {
		for range 3 {
			direction := random(len(values[i]), 0)
			slope, scale := 0.0, 0.0
			for j, g := range f.read(d) {
				slope += g * direction[j]
				scale += math.Abs(g * direction[j])
			}
			if scale == 0 {
				f.Fatalf("gradient %d is all zeros", i)
			}
			at := func(offset float64) float64 {
				moved := make([]float64, len(values[i]))
				for j, v := range values[i] {
					moved[j] = v + offset*direction[j]
				}
				f.filled(in[i], nil, moved)
				forward()
				sum := 0.0
				for j, v := range f.read(out[0]) {
					sum += v * weights[j]
				}
				return sum
			}
			want := (at(step) - at(-step)) / (2 * step)
			f.filled(in[i], nil, values[i])
			if diff := math.Abs(slope - want); !(diff <= 1e-6*scale) {
				f.Errorf("slope of source %d is %.12g, by differences %.12g, at a scale of %.3g", i, slope, want, scale)
			}
		}
	}
}

func derivatives() []derivative {
	type arrays = []kernels.Array
	var all []derivative
	for _, c := range []struct {
		dst, src, w operand
		conv        kernels.Conv
	}{
		{act(2, 4, 5, 6), act(2, 3, 5, 6), par(4, 3, 3, 3), kernels.Conv{Stride: 1, Pad: kernels.Same(1)}},
		{act(1, 2, 3, 4), act(1, 5, 6, 7), par(2, 5, 3, 3), kernels.Conv{Stride: 2, Pad: kernels.Same(1)}},
		{act(2, 3, 2, 2), act(2, 2, 7, 5), par(3, 2, 2, 3), kernels.Conv{Stride: 3, Pad: kernels.Padding{Right: 2}}},
		{act(1, 1, 1, 3), act(1, 6, 1, 1), par(1, 6, 9, 5), kernels.Conv{Stride: 1, Pad: kernels.Padding{Top: 3, Bottom: 5, Left: 2, Right: 4}}},
	} {
		all = append(all, derivative{
			name: fmt.Sprintf("Conv %v %+v", c.w.Shape, c.conv),
			in:   []operand{c.src, c.w, vec(c.dst.C)}, out: []operand{c.dst}, varied: 3,
			forward: func(d kernels.Device, out, in arrays) (kernels.Kernel, error) {
				return d.Conv(out[0], in[0], in[1], in[2], c.conv)
			},
			backward: func(d kernels.Device, din arrays, dout kernels.Array, out, in arrays) (kernels.Kernel, error) {
				weights, err := d.ConvBackwardWeights(din[1], din[2], dout, in[0], c.conv)
				if err != nil {
					return nil, err
				}
				data, err := d.ConvBackwardData(din[0], dout, in[1], nil, c.conv)
				return func() { weights(); data() }, err
			},
		}, derivative{
			// A transposed convolution layer: source and result change places.
			name: fmt.Sprintf("transposed Conv %v %+v", c.w.Shape, c.conv),
			in:   []operand{c.dst, c.w, vec(c.src.C)}, out: []operand{c.src}, varied: 3,
			forward: func(d kernels.Device, out, in arrays) (kernels.Kernel, error) {
				return d.ConvBackwardData(out[0], in[0], in[1], in[2], c.conv)
			},
			backward: func(d kernels.Device, din arrays, dout kernels.Array, out, in arrays) (kernels.Kernel, error) {
				weights, err := d.ConvBackwardWeights(din[1], nil, in[0], dout, c.conv)
				if err != nil {
					return nil, err
				}
				bias, err := d.BiasBackward(din[2], dout)
				if err != nil {
					return nil, err
				}
				data, err := d.Conv(din[0], dout, in[1], nil, c.conv)
				return func() { weights(); bias(); data() }, err
			},
		})
	}
	for _, n := range []kernels.Norm{{Eps: 1e-5}, {Eps: 1e-3, ReLU: true}, {Eps: 1e-5, Batch: true}, {Eps: 1e-3, Batch: true, ReLU: true}} {
		s := act(3, 2, 4, 3)
		stats := operand{n.Stats(s.Shape), true}
		all = append(all, derivative{
			name: fmt.Sprintf("Norm %+v", n),
			in:   []operand{s, vec(s.C), vec(s.C)}, out: []operand{s, stats, stats}, varied: 3,
			forward: func(d kernels.Device, out, in arrays) (kernels.Kernel, error) {
				return d.Norm(out[0], out[1], out[2], in[0], in[1], in[2], n)
			},
			backward: func(d kernels.Device, din arrays, dout kernels.Array, out, in arrays) (kernels.Kernel, error) {
				return d.NormBackward(din[0], din[1], din[2], dout, in[0], in[1], in[2], out[1], out[2], n)
			},
		})
	}
	s := act(2, 3, 5, 7)
	for _, p := range []struct {
		mode kernels.PadMode
		kernels.Padding
	}{
		{kernels.PadZero, kernels.Padding{Top: 1, Bottom: 3, Left: 2}},
		{kernels.PadZero, kernels.Padding{Top: -1, Bottom: 3, Left: -2, Right: -3}},
		{kernels.PadReflect, kernels.Padding{Top: 4, Bottom: 1, Left: 3, Right: 6}},
		{kernels.PadEdge, kernels.Padding{Top: 9, Bottom: 1, Right: 2}},
	} {
		all = append(all, derivative{
			name: fmt.Sprintf("Pad %v %+v", p.mode, p.Padding),
			in:   []operand{s}, out: []operand{act(2, 3, 5+p.Top+p.Bottom, 7+p.Left+p.Right)}, varied: 1,
			forward: func(d kernels.Device, out, in arrays) (kernels.Kernel, error) {
				return d.Pad(out[0], in[0], p.mode, p.Padding)
			},
			backward: func(d kernels.Device, din arrays, dout kernels.Array, out, in arrays) (kernels.Kernel, error) {
				return d.PadBackward(din[0], dout, p.mode, p.Padding)
			},
		})
	}
	for _, kind := range []kernels.PoolKind{kernels.MaxPool, kernels.AvgPool} {
		all = append(all, derivative{
			name: "Pool " + kind.String(),
			in:   []operand{s}, out: []operand{act(2, 3, 2, 3)}, varied: 1,
			forward: func(d kernels.Device, out, in arrays) (kernels.Kernel, error) {
				return d.Pool(out[0], in[0], kind)
			},
			backward: func(d kernels.Device, din arrays, dout kernels.Array, out, in arrays) (kernels.Kernel, error) {
				return d.PoolBackward(din[0], dout, in[0], kind)
			},
		})
	}
	for _, b := range []operand{s, act(1, 3, 5, 7)} {
		all = append(all, derivative{
			name: fmt.Sprintf("MSE with %v", b.Shape),
			in:   []operand{s, b}, out: []operand{scalar}, varied: 1,
			forward: func(d kernels.Device, out, in arrays) (kernels.Kernel, error) {
				return d.MSE(out[0], in[0], in[1])
			},
			backward: func(d kernels.Device, din arrays, dout kernels.Array, out, in arrays) (kernels.Kernel, error) {
				return d.MSEBackward(din[0], dout, in[0], in[1])
			},
		})
	}
	return append(all, derivative{
		name: "ChannelAffine",
		in:   []operand{s, vec(3), vec(3)}, out: []operand{s}, varied: 1,
		forward: func(d kernels.Device, out, in arrays) (kernels.Kernel, error) {
			return d.ChannelAffine(out[0], in[0], in[1], in[2])
		},
		backward: func(d kernels.Device, din arrays, dout kernels.Array, out, in arrays) (kernels.Kernel, error) {
			return d.ChannelAffine(din[0], dout, in[1], nil)
		},
	}, derivative{
		name: "ReLU",
		in:   []operand{s}, out: []operand{s}, varied: 1, away: 0.1,
		forward: func(d kernels.Device, out, in arrays) (kernels.Kernel, error) {
			return d.ReLU(out[0], in[0])
		},
		backward: func(d kernels.Device, din arrays, dout kernels.Array, out, in arrays) (kernels.Kernel, error) {
			return d.ReLUBackward(din[0], dout, out[0])
		},
	}, derivative{
		name: "Tanh",
		in:   []operand{s}, out: []operand{s}, varied: 1,
		forward: func(d kernels.Device, out, in arrays) (kernels.Kernel, error) {
			return d.Tanh(out[0], in[0], 150, 127.5)
		},
		backward: func(d kernels.Device, din arrays, dout kernels.Array, out, in arrays) (kernels.Kernel, error) {
			return d.TanhBackward(din[0], dout, out[0], 150, 127.5)
		},
	}, derivative{
		name: "Upsample",
		in:   []operand{s}, out: []operand{act(2, 3, 15, 21)}, varied: 1,
		forward: func(d kernels.Device, out, in arrays) (kernels.Kernel, error) {
			return d.Upsample(out[0], in[0], 3)
		},
		backward: func(d kernels.Device, din arrays, dout kernels.Array, out, in arrays) (kernels.Kernel, error) {
			return d.UpsampleBackward(din[0], dout, 3)
		},
	}, derivative{
		name: "Gram",
		in:   []operand{s}, out: []operand{par(2, 1, 3, 3)}, varied: 1,
		forward: func(d kernels.Device, out, in arrays) (kernels.Kernel, error) {
			return d.Gram(out[0], in[0])
		},
		backward: func(d kernels.Device, din arrays, dout kernels.Array, out, in arrays) (kernels.Kernel, error) {
			return d.GramBackward(din[0], dout, in[0])
		},
	}, derivative{
		name: "TotalVariation",
		in:   []operand{s}, out: []operand{scalar}, varied: 1,
		forward: func(d kernels.Device, out, in arrays) (kernels.Kernel, error) {
			return d.TotalVariation(out[0], in[0])
		},
		backward: func(d kernels.Device, din arrays, dout kernels.Array, out, in arrays) (kernels.Kernel, error) {
			return d.TotalVariationBackward(din[0], dout, in[0])
		},
	})
}
