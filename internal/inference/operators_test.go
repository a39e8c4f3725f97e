package inference

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"stylenet/internal/devices"
	"stylenet/internal/networks"
)

// volume is a map of one picture, in the plainest form.
type volume struct {
	networks.Size
	values []float64
}

func newVolume(s networks.Size) volume { return volume{s, make([]float64, s.C*s.H*s.W)} }

func (v volume) at(c, y, x int) *float64 { return &v.values[(c*v.H+y)*v.W+x] }

// or is the value at a place, or beyond the border what is missing there.
func (v volume) or(c, y, x int, missing float64) float64 {
	if y < 0 || y >= v.H || x < 0 || x >= v.W {
		return missing
	}
	return *v.at(c, y, x)
}

// evaluate runs a network by its definitions alone. It returns the results of all
// layers.
func (f *fixture) evaluate(t *testing.T) []volume {
	t.Helper()
	sizes, err := f.net.Sizes(f.h, f.w)
	if err != nil {
		t.Fatal(err)
	}
	results := make([]volume, len(sizes))
	input := newVolume(networks.Size{C: f.net.Channels, H: f.h, W: f.w})
	for i, v := range f.picture {
		input.values[i] = float64(v)
	}
	for i, l := range f.net.Layers {
		var in []volume
		for _, j := range l.Inputs {
			if j == networks.Input {
				in = append(in, input)
			} else {
				in = append(in, results[j])
			}
		}
		params := func(suffix string) (values []float64) {
			for _, v := range download(t, f.dev, f.arrays[l.Name+suffix]) {
				values = append(values, float64(v))
			}
			return values
		}
		value := definition(l.Op, in, params)
		out := newVolume(sizes[i])
		for k := range out.values {
			out.values[k] = value(k/(out.H*out.W), k/out.W%out.H, k%out.W)
		}
		results[i] = out
	}
	return results
}

// definition is the value of a layer at each place.
func definition(op networks.Op, in []volume, params func(string) []float64) func(c, y, x int) float64 {
	a := in[0]
	switch op := op.(type) {
	case networks.Conv:
		w, bias := params(".weight"), params(".bias")
		return func(c, y, x int) float64 {
			sum := bias[c]
			for i := range op.In * op.Kernel * op.Kernel {
				ky, kx := i/op.Kernel%op.Kernel, i%op.Kernel
				sum += w[c*op.In*op.Kernel*op.Kernel+i] * a.or(i/op.Kernel/op.Kernel, y*op.Stride+ky-op.Pad.Top, x*op.Stride+kx-op.Pad.Left, 0)
			}
			return sum
		}
	case networks.ReLU:
		return func(c, y, x int) float64 { return max(0, *a.at(c, y, x)) }
	case networks.Upsample:
		return func(c, y, x int) float64 { return *a.at(c, y/op.Factor, x/op.Factor) }
	case networks.Pad:
		edge := func(i, n int) int { return min(max(i, 0), n-1) }
		return func(c, y, x int) float64 { return *a.at(c, edge(y-op.Padding.Top, a.H), edge(x-op.Padding.Left, a.W)) }
	case networks.Add:
		return func(c, y, x int) float64 { return *a.at(c, y, x) + *in[1].at(c, y, x) }
	case networks.Tanh:
		return func(c, y, x int) float64 { return float64(op.Scale)*math.Tanh(*a.at(c, y, x)) + float64(op.Offset) }
	case networks.Norm:
		return normed(a, a.C, float64(op.Eps), params)
	case networks.GroupNorm:
		return normed(a, op.Groups, float64(op.Eps), params)
	case networks.Pointwise:
		return pointwiseDefinition(op, in, params)
	case networks.Concat:
		return func(c, y, x int) float64 {
			k := 0
			for ; c >= in[k].C; k++ {
				c -= in[k].C
			}
			return *in[k].at(c, y, x)
		}
	case networks.Channels:
		return func(c, y, x int) float64 { return *a.at(op.From+c, y, x) }
	case networks.DepthToSpace:
		return func(c, y, x int) float64 {
			i, j, channels := y%op.Block, x%op.Block, a.C/op.Block/op.Block
			if op.CRD {
				return *a.at((c*op.Block+i)*op.Block+j, y/op.Block, x/op.Block)
			}
			return *a.at((i*op.Block+j)*channels+c, y/op.Block, x/op.Block)
		}
	case networks.Resize:
		y0, y1, wy := op.Taps(a.H)
		x0, x1, wx := op.OfColumns().Taps(a.W)
		return func(c, y, x int) float64 {
			u, v := float64(wy[y]), float64(wx[x])
			return (1-u)*((1-v)**a.at(c, y0[y], x0[x])+v**a.at(c, y0[y], x1[x])) + u*((1-v)**a.at(c, y1[y], x0[x])+v**a.at(c, y1[y], x1[x]))
		}
	case networks.WindowPool:
		return poolDefinition(op, a)
	}
	panic(fmt.Sprintf("no definition of %T", op))
}

func normed(a volume, groups int, eps float64, params func(string) []float64) func(c, y, x int) float64 {
	gamma, beta := params(".weight"), params(".bias")
	n := len(a.values) / groups
	mean, deviation := make([]float64, groups), make([]float64, groups)
	for g := range groups {
		for _, v := range a.values[g*n : (g+1)*n] {
			mean[g] += v / float64(n)
		}
		for _, v := range a.values[g*n : (g+1)*n] {
			deviation[g] += (v - mean[g]) * (v - mean[g]) / float64(n)
		}
		deviation[g] = math.Sqrt(deviation[g] + eps)
	}
	return func(c, y, x int) float64 {
		g := c / (a.C / groups)
		return gamma[c]*(*a.at(c, y, x)-mean[g])/deviation[g] + beta[c]
	}
}

func pointwiseDefinition(op networks.Pointwise, in []volume, params func(string) []float64) func(c, y, x int) float64 {
	slope := func(int) float64 { return float64(op.A) }
	if op.Function == networks.PReLU {
		slopes := params(".weight")
		slope = func(c int) float64 { return slopes[c] }
	}
	return func(c, y, x int) float64 {
		v := *in[0].at(c, y, x)
		switch op.Function {
		case networks.LeakyReLU, networks.PReLU:
			if v < 0 {
				v *= slope(c)
			}
			return v
		case networks.Sigmoid:
			return 1 / (1 + math.Exp(-v))
		case networks.Clip:
			return min(max(v, float64(op.A)), float64(op.B))
		}
		b := in[1]
		u := *b.at(min(c, b.C-1), min(y, b.H-1), min(x, b.W-1))
		return map[networks.Function]float64{networks.Plus: v + u, networks.Minus: v - u, networks.Times: v * u, networks.Over: v / u}[op.Function]
	}
}

func poolDefinition(op networks.WindowPool, a volume) func(c, y, x int) float64 {
	h, w := op.Window()
	stride := op.Stride
	if op.Global {
		h, w, stride = a.H, a.W, 1
	}
	return func(c, y, x int) float64 {
		most, sum, count := math.Inf(-1), 0., 0
		for i := range h * w {
			iy, ix := y*stride-op.Pad.Top+i/w, x*stride-op.Pad.Left+i%w
			sum += a.or(c, iy, ix, 0)
			most = max(most, a.or(c, iy, ix, most))
			if op.CountPad || !math.IsNaN(a.or(c, iy, ix, math.NaN())) {
				count++
			}
		}
		if op.Average {
			return sum / float64(count)
		}
		return most
	}
}

// drawNetwork makes a network of those operations that agree in their sizes.
func drawNetwork(rnd *rand.Rand, layers, h, w int) *networks.Network {
	net := &networks.Network{Channels: 3}
	sizes := []networks.Size{{C: 3, H: h, W: w}} // of the input, and of each layer
	try := func(op networks.Op, inputs ...int) {
		more := &networks.Network{Channels: 3, Layers: append(net.Layers[:len(net.Layers):len(net.Layers)],
			networks.Layer{Name: fmt.Sprintf("l%d", len(net.Layers)), Op: op, Inputs: inputs})}
		if s, err := more.Sizes(h, w); err == nil && len(s) == len(more.Layers) {
			if last := s[len(s)-1]; last.C <= 24 && last.H*last.W <= 9*h*w {
				net, sizes = more, append(sizes, last)
			}
		}
	}
	for len(net.Layers) < layers {
		// Rather the newest result, but an older one too.
		i := len(sizes) - 1
		if rnd.IntN(3) == 0 {
			i = rnd.IntN(len(sizes))
		}
		j := rnd.IntN(len(sizes))
		for range 5 { // rather one that goes together with the first
			if sizes[j].H != sizes[i].H || sizes[j].W != sizes[i].W || j == i {
				j = rnd.IntN(len(sizes))
			}
		}
		c, in, second := sizes[i].C, i-1, j-1
		pads := networks.Padding{Top: rnd.IntN(2), Bottom: rnd.IntN(2), Left: rnd.IntN(2), Right: rnd.IntN(2)}
		if rnd.IntN(4) > 0 {
			pads = networks.Same(1)
		}
		switch rnd.IntN(17) {
		case 0, 1:
			try(networks.Conv{In: c, Out: 1 + rnd.IntN(12), Kernel: 3, Stride: 1 + rnd.IntN(4)/3, Pad: pads}, in)
		case 2:
			try(networks.ReLU{}, in)
		case 3:
			try(networks.Norm{Channels: c, Eps: .1}, in)
		case 4:
			groups := 1 + rnd.IntN(c)
			if c%groups == 0 {
				try(networks.GroupNorm{Channels: c, Groups: groups, Eps: .1}, in)
			}
		case 5:
			try(networks.Pad{Mode: networks.PadEdge, Padding: pads}, in)
		case 6:
			try(networks.Upsample{Factor: 2}, in)
		case 7:
			try(networks.Pointwise{Function: networks.LeakyReLU, A: .2}, in)
			try(networks.Pointwise{Function: networks.PReLU, Channels: c}, len(sizes)-2)
		case 8:
			try(networks.Pointwise{Function: networks.Sigmoid}, in)
		case 9:
			try(networks.Pointwise{Function: networks.Clip, A: .5, B: 2}, second)
			try(networks.Pointwise{Function: networks.Over}, in, len(sizes)-2)
		case 10:
			try(networks.Pointwise{Function: []networks.Function{networks.Plus, networks.Minus, networks.Times}[rnd.IntN(3)]}, in, second)
		case 11, 12:
			try(networks.Concat{}, in, second, in)
		case 13:
			from := rnd.IntN(c)
			try(networks.Channels{From: from, To: from + 1 + rnd.IntN(c-from)}, in)
		case 14:
			d := networks.DepthToSpace{Block: 2 + rnd.IntN(2), CRD: rnd.IntN(2) == 0}
			try(networks.Conv{In: c, Out: d.Block * d.Block * (1 + rnd.IntN(2)), Kernel: 3, Stride: 1, Pad: networks.Same(1)}, in)
			try(d, len(sizes)-2)
		case 15:
			scales := []float64{.5, 1. / 3, 1. / 16, 1.25, 1.7, 2, 3}
			try(networks.Resize{
				Scale: scales[rnd.IntN(7)], Columns: append(scales, 0, 0, 0, 0, 0, 0)[rnd.IntN(13)], Linear: rnd.IntN(2) == 0,
				Coordinates: []string{"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"}[rnd.IntN(4)],
				Rounding:    []string{"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}[rnd.IntN(4)],
			}, in)
		case 16:
			try(networks.WindowPool{
				Average: rnd.IntN(2) == 0, Kernel: 2 + rnd.IntN(3), Width: []int{0, 0, 2, 5}[rnd.IntN(4)], Stride: 1 + rnd.IntN(2), CountPad: rnd.IntN(2) == 0, Pad: pads,
			}, in)
		}
	}
	return net
}

// far is the largest difference, in units of the largest value.
func far(got []float32, want volume) float64 {
	worst, largest := 0., 1e-3
	for i, v := range want.values {
		worst, largest = max(worst, math.Abs(float64(got[i])-v)), max(largest, math.Abs(v))
	}
	return worst / largest
}

// describe lists a network's layers.
func describe(net *networks.Network) string {
	var b strings.Builder
	for i, l := range net.Layers {
		fmt.Fprintf(&b, "%d: %T%+v of %v\n", i, l.Op, l.Op, l.Inputs)
	}
	return b.String()
}

// Networks of all operations give what their definitions say, whole and by
// strips of any height.
func TestDrawnNetworks(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8, 8))
	refused, used := 0, map[string]int{}
	for range 100 {
		net := drawNetwork(rnd, 3+rnd.IntN(9), 12+rnd.IntN(9), 8)
		f := newFixture(t, net, 12+rnd.IntN(9), 8)
		if _, err := net.Sizes(f.h, f.w); err != nil {
			continue // of that height alone
		}
		for i := range f.picture {
			f.picture[i] = f.picture[i]/128 - 1
		}
		want := f.evaluate(t)
		last := want[len(want)-1]
		if d := far(f.run(t)[0], last); d > 1e-4 {
			t.Fatalf("%g apart at %d×%d:\n%s", d, f.w, f.h, describe(net))
		}
		for _, l := range net.Layers {
			used[fmt.Sprintf("%T", l.Op)]++
		}
		for range 4 {
			n := 1 + rnd.IntN(last.H)
			s, err := NewStrips(f.dev, f.net, f.arrays, f.h, f.w, Limits{Bytes: 1 << 30, Rows: n})
			if err != nil && strings.Contains(err.Error(), "cannot be run by strips") {
				refused++
				break
			}
			if err != nil {
				t.Fatalf("%v:\n%s", err, describe(net))
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			got := f.strips(t, Limits{Bytes: 1 << 30, Rows: n}, func(s *Strips) {
				for _, step := range s.steps[:len(s.steps)-1] {
					s.stored[step.Output] = rnd.IntN(2) == 0
				}
				s.cost(1)
				if err := s.fit(); err != nil {
					t.Fatal(err)
				}
			})
			if d := far(got, last); d > 1e-4 {
				t.Fatalf("strips of %d of %d rows are %g apart at %d×%d:\n%s", n, last.H, d, f.w, f.h, describe(net))
			}
		}
	}
	if refused > 40 {
		t.Errorf("%d networks could not be run by strips", refused)
	}
	for _, op := range []networks.Op{
		networks.Pointwise{}, networks.Concat{}, networks.Channels{}, networks.DepthToSpace{}, networks.Resize{}, networks.WindowPool{}, networks.GroupNorm{},
	} {
		if name := fmt.Sprintf("%T", op); used[name] < 10 {
			t.Errorf("%s was drawn %d times", name, used[name])
		}
	}
}

// The same on the best device of this build.
func TestDrawnNetworksOnBestDevice(t *testing.T) {
	dev, err := devices.Open("auto", devices.Options{Exact: true})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	if dev.Info().Backend == "reference" {
		t.Skip("the reference is the only device of this build")
	}
	rnd := rand.New(rand.NewPCG(9, 9))
	for range 60 {
		net := drawNetwork(rnd, 3+rnd.IntN(9), 16, 9)
		f := newFixtureOn(t, dev.Scope(), net, 16, 9)
		for i := range f.picture {
			f.picture[i] = f.picture[i]/128 - 1
		}
		want := f.evaluate(t)
		last := want[len(want)-1]
		if d := far(f.run(t)[0], last); d > 1e-4 {
			t.Fatalf("%g apart:\n%s", d, describe(net))
		}
		if got, err := NewStrips(f.dev, net, f.arrays, f.h, f.w, Limits{Bytes: 1 << 30, Rows: 5}); err == nil {
			if err := got.Close(); err != nil {
				t.Fatal(err)
			}
			if d := far(f.strips(t, Limits{Bytes: 1 << 30, Rows: 5}, nil), last); d > 1e-4 {
				t.Fatalf("strips are %g apart:\n%s", d, describe(net))
			}
		} else if !strings.Contains(err.Error(), "cannot be run by strips") {
			t.Fatal(err)
		}
	}
}

// A result that is another one's own values is there, too.
func TestKeptViews(t *testing.T) {
	net := &networks.Network{Channels: 3, Layers: []networks.Layer{
		{Name: "same", Op: networks.Pad{Mode: networks.PadZero}, Inputs: []int{networks.Input}},
		{Name: "once", Op: networks.Upsample{Factor: 1}, Inputs: []int{0}},
	}}
	f := newFixture(t, net, 4, 5)
	for i, got := range f.run(t, 0, 1) {
		if d := apart(got, f.picture); d != 0 {
			t.Errorf("layer %d is %g apart", i, d)
		}
	}
	if d := apart(f.strips(t, Limits{Bytes: 1 << 30, Rows: 3}, nil), f.picture); d != 0 {
		t.Errorf("strips are %g apart", d)
	}
}

// What needs the whole picture at once is refused by the layer's name.
func TestStripsRefuse(t *testing.T) {
	conv := networks.Layer{Name: "conv", Op: networks.Conv{In: 3, Out: 4, Kernel: 1, Stride: 1}, Inputs: []int{networks.Input}}
	group := networks.GroupNorm{Channels: 4, Groups: 2, Eps: 1e-5}
	for want, layers := range map[string][]networks.Layer{
		"layer pool: a global pooling": {conv,
			{Name: "pool", Op: networks.WindowPool{Average: true, Global: true}, Inputs: []int{0}},
			{Name: "scaled", Op: networks.Pointwise{Function: networks.Times}, Inputs: []int{0, 1}}},
		"layer second: a norm": {conv,
			{Name: "first", Op: group, Inputs: []int{0}},
			{Name: "second", Op: group, Inputs: []int{0}},
			{Name: "sum", Op: networks.Add{}, Inputs: []int{1, 2}}},
	} {
		f := newFixture(t, &networks.Network{Channels: 3, Layers: layers}, 9, 7)
		results := f.evaluate(t)
		if d := far(f.run(t)[0], results[len(results)-1]); d > 1e-5 {
			t.Errorf("%s: the whole is %g apart", want, d)
		}
		if _, err := NewStrips(f.dev, f.net, f.arrays, f.h, f.w, Limits{Bytes: 1 << 30}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
