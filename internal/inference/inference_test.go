package inference

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"stylenet/internal/kernels"
	"stylenet/internal/kernels/reference"
	"stylenet/internal/networks"
)

func johnson(t *testing.T, edit func(*networks.Johnson)) *networks.Network {
	t.Helper()
	j := networks.Johnson{Architecture: "c9s1-5,d6,R6,R6,u4,c9s1-3", Padding: "reflect", Norm: "instance", Upsample: "nearest", Output: "linear"}
	edit(&j)
	net, err := j.Build()
	if err != nil {
		t.Fatal(err)
	}
	return net
}

// fixture is a network with random weights on a device, and a random picture for
// it.
type fixture struct {
	net     *networks.Network
	dev     kernels.Device
	arrays  Arrays
	h, w    int
	picture []float32 // (3, h, w)
}

// newFixture makes a fixture on the reference device.
func newFixture(t *testing.T, net *networks.Network, h, w int) *fixture {
	t.Helper()
	return newFixtureOn(t, reference.New(2), net, h, w)
}

// newFixtureOn makes a fixture on a device, which it closes.
func newFixtureOn(t *testing.T, dev kernels.Device, net *networks.Network, h, w int) *fixture {
	t.Helper()
	f := &fixture{net: net, dev: dev, h: h, w: w, picture: make([]float32, 3*h*w)}
	t.Cleanup(func() {
		if err := f.dev.Close(); err != nil {
			t.Error(err)
		}
	})
	set, err := net.Init(1)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, p := range net.Params() { // norms that do something
		for i := range set.Get(p.Name).Data {
			if len(p.Shape) == 1 {
				set.Get(p.Name).Data[i] = .5 + rnd.Float32()
			}
		}
	}
	if f.arrays, err = Upload(f.dev, net, set); err != nil {
		t.Fatal(err)
	}
	for i := range f.picture {
		f.picture[i] = 255 * rnd.Float32()
	}
	return f
}

// run returns the results of the kept layers.
func (f *fixture) run(t *testing.T, keep ...int) [][]float32 {
	t.Helper()
	plan, err := Compile(f.dev, f.net, f.arrays, 1, f.h, f.w, keep...)
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	if err := plan.Device().Upload(plan.Input(), f.picture); err != nil {
		t.Fatal(err)
	}
	plan.Run()
	plan.Run() // launches must repeat
	results := make([][]float32, max(1, len(keep)))
	for i := range results {
		results[i] = download(t, plan.Device(), plan.Output(i))
	}
	return results
}

func download(t *testing.T, dev kernels.Device, a kernels.Array) []float32 {
	t.Helper()
	values := make([]float32, a.Shape().Elements())
	if err := dev.Download(values, a); err != nil {
		t.Fatal(err)
	}
	return values
}

// layers runs the network layer by layer, each with the kernel of its own, and
// returns all results.
func (f *fixture) layers(t *testing.T) [][]float32 {
	t.Helper()
	dev := f.dev.Scope()
	defer dev.Close()
	sizes, err := f.net.Sizes(f.h, f.w)
	if err != nil {
		t.Fatal(err)
	}
	arrays := make([]kernels.Array, len(sizes))
	activation := func(s networks.Size) kernels.Array {
		a, err := dev.NewActivation(Shape(1, s))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	input := activation(networks.Size{C: f.net.Channels, H: f.h, W: f.w})
	if err := dev.Upload(input, f.picture); err != nil {
		t.Fatal(err)
	}
	results := make([][]float32, len(sizes))
	for i, l := range f.net.Layers {
		dst := activation(sizes[i])
		arrays[i] = dst
		srcs := make([]kernels.Array, len(l.Inputs))
		for k, j := range l.Inputs {
			srcs[k] = input
			if j != networks.Input {
				srcs[k] = arrays[j]
			}
		}
		param := func(suffix string) kernels.Array { return f.arrays[l.Name+suffix] }
		var k kernels.Kernel
		switch op := l.Op.(type) {
		case networks.Conv:
			k, err = dev.Conv(dst, srcs[0], param(".weight"), param(".bias"), kernels.Conv{Stride: op.Stride, Pad: Border(op.Pad)})
		case networks.ConvTranspose:
			k, err = dev.ConvBackwardData(dst, srcs[0], param(".weight"), param(".bias"), TransposedConv(op))
		case networks.Norm:
			stats, _ := newStatistics(dev, kernels.Norm{}.Stats(dst.Shape()))
			if op.Batch {
				scale, shift := make([]float32, op.Channels), make([]float32, op.Channels)
				gamma, beta := download(t, dev, param(".weight")), download(t, dev, param(".bias"))
				mean, variance := download(t, dev, param(".running_mean")), download(t, dev, param(".running_var"))
				for c := range scale {
					scale[c] = gamma[c] / float32(math.Sqrt(float64(variance[c]+op.Eps)))
					shift[c] = beta[c] - scale[c]*mean[c]
				}
				a, b, _ := AffineArrays(dev, networks.Affine{Scale: scale, Shift: shift})
				k, err = dev.ChannelAffine(dst, srcs[0], a, b)
			} else {
				k, err = dev.Norm(dst, stats.mean, stats.invstd, srcs[0], param(".weight"), param(".bias"), kernels.Norm{Eps: op.Eps})
			}
		case networks.ReLU:
			k, err = dev.ReLU(dst, srcs[0])
		case networks.Tanh:
			k, err = dev.Tanh(dst, srcs[0], op.Scale, op.Offset)
		case networks.Add:
			k, err = dev.Sum(dst, srcs, []float32{1, 1})
		case networks.Pad:
			mode, _ := PadMode(op.Mode)
			k, err = dev.Pad(dst, srcs[0], mode, Border(op.Padding))
		case networks.Upsample:
			k, err = dev.Upsample(dst, srcs[0], op.Factor)
		default:
			t.Fatalf("no kernel for %T", op)
		}
		if err != nil {
			t.Fatal(err)
		}
		k()
		results[i] = download(t, dev, dst)
	}
	return results
}

// apart is the largest difference, in units of the largest value.
func apart(a, b []float32) float64 {
	worst, largest := 0., 0.
	for i := range a {
		worst = max(worst, math.Abs(float64(a[i]-b[i])))
		largest = max(largest, math.Abs(float64(b[i])))
	}
	return worst / largest
}

// kinds are Johnson networks of every kind.
func kinds() map[string]func(*networks.Johnson) {
	return map[string]func(*networks.Johnson){
		"reflect": func(*networks.Johnson) {},
		"reflect-start": func(j *networks.Johnson) {
			j.Padding, j.Upsample, j.Output = "reflect-start", "transposed", "tanh"
			j.OutputScale = 150
		},
		"reflect-start, nearest": func(j *networks.Johnson) { j.Padding = "reflect-start" },
		"batch norm":             func(j *networks.Johnson) { j.Norm, j.Padding = "batch", "zero" },
		"zero, transposed":       func(j *networks.Johnson) { j.Padding, j.Upsample = "zero", "transposed" },
		"batch, transposed": func(j *networks.Johnson) {
			j.Norm, j.Padding, j.Upsample = "batch", "reflect", "transposed"
		},
		"U2":             func(j *networks.Johnson) { j.Architecture = "c5s2-5,d6,R6,U2,c3s1-4,R4,U2,c7s1-3" },
		"U2, up to down": func(j *networks.Johnson) { j.Architecture = "U2,c3s2-4,U2,U2,d5,c5s2-4,c3s1-3" },
		"wide strides":   func(j *networks.Johnson) { j.Architecture = "c7s4-4,R4,u5,u4,c1s1-3" },
		"odd stride":     func(j *networks.Johnson) { j.Architecture = "c1s1-3" },
		"two norms less": func(j *networks.Johnson) { j.Architecture = "c3s1-4,U2,c3s2-3,c3s1-3" },
	}
}

// Sharing memory and reading through layers change no result.
func TestPlanAgreesWithItsLayers(t *testing.T) {
	for name, edit := range kinds() {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, johnson(t, edit), 20, 28)
			every := make([]int, len(f.net.Layers))
			for i := range every {
				every[i] = i
			}
			want := f.layers(t)
			for i, got := range f.run(t, every...) {
				if d := apart(got, want[i]); d > 1e-4 {
					t.Errorf("layer %s: %g apart where all are kept", f.net.Layers[i].Name, d)
				}
			}
			if d := apart(f.run(t)[0], want[len(want)-1]); d > 1e-4 {
				t.Errorf("the results are %g apart", d)
			}
		})
	}
}

// Memory does not grow with depth: residual blocks share two or three maps.
func TestPlanSharesMemory(t *testing.T) {
	peak := func(architecture string) int64 {
		net := johnson(t, func(j *networks.Johnson) { j.Architecture = architecture })
		dev := reference.New(1)
		defer dev.Close()
		set, err := net.Init(1)
		if err != nil {
			t.Fatal(err)
		}
		arrays, err := Upload(dev, net, set)
		if err != nil {
			t.Fatal(err)
		}
		before := dev.PeakBytes()
		plan, err := Compile(dev, net, arrays, 1, 64, 64)
		if err != nil {
			t.Fatal(err)
		}
		defer plan.Close()
		return dev.PeakBytes() - before
	}
	few, many := peak("c3s1-8,R8,R8,c3s1-3"), peak("c3s1-8,R8,R8,R8,R8,R8,R8,R8,R8,R8,R8,c3s1-3")
	if many > few+few/10 {
		t.Errorf("2 blocks take %d bytes, 10 blocks %d", few, many)
	}
}

// listing prints steps one a line, such as
//
//	conv2.conv2d = Conv(reflect 1(relu(in1(conv1.conv2d)))), statistics for in2
func listing(net *networks.Network, steps []Fused) string {
	name := func(i int) string {
		if i == networks.Input {
			return "input"
		}
		return net.Layers[i].Name
	}
	var b strings.Builder
	for _, s := range steps {
		var reads []string
		for _, r := range s.Reads {
			reads = append(reads, r.over(name(r.From)))
		}
		fmt.Fprintf(&b, "%s = ", name(s.Output))
		switch s.Layer.Op.(type) {
		case nil:
			b.WriteString(reads[0])
		case networks.Add:
			b.WriteString(strings.Join(reads, " + "))
		default:
			kind := strings.TrimPrefix(fmt.Sprintf("%T", s.Layer.Op), "networks.")
			text := fmt.Sprintf("%s(%s)", kind, reads[0])
			if s.ReLU {
				text = "relu(" + text + ")"
			}
			b.WriteString(text)
		}
		if s.Stats != nil {
			fmt.Fprintf(&b, ", statistics for %s", s.Stats.Name)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// over prints the way of reading around the name of what is read.
func (r Read) over(name string) string {
	if r.Norm != nil {
		name = fmt.Sprintf("%s(%s)", r.Norm.Name, name)
	}
	if r.ReLU {
		name = fmt.Sprintf("relu(%s)", name)
	}
	if r.Upsample > 1 {
		name = fmt.Sprintf("up %d(%s)", r.Upsample, name)
	}
	switch p := r.Pad; {
	case r.unbordered():
	case p == networks.Same(p.Top):
		name = fmt.Sprintf("%s %d(%s)", r.Mode, p.Top, name)
	default:
		name = fmt.Sprintf("%s %+v(%s)", r.Mode, p, name)
	}
	return name
}

// A whole network, as it runs: nothing is written but convolutions and the
// residual trunk.
func TestListing(t *testing.T) {
	net := johnson(t, func(j *networks.Johnson) {
		j.Architecture, j.Output, j.OutputScale = "c9s1-4,d8,R8,R8,u4,c9s1-3", "tanh", 1
	})
	want := `conv1.conv2d = Conv(reflect 4(input)), statistics for in1
conv2.conv2d = Conv(reflect 1(relu(in1(conv1.conv2d)))), statistics for in2
res1.conv1.conv2d = Conv(reflect 1(relu(in2(conv2.conv2d)))), statistics for res1.in1
res1.conv2.conv2d = Conv(reflect 1(relu(res1.in1(res1.conv1.conv2d)))), statistics for res1.in2
res1 = res1.in2(res1.conv2.conv2d) + relu(in2(conv2.conv2d))
res2.conv1.conv2d = Conv(reflect 1(res1)), statistics for res2.in1
res2.conv2.conv2d = Conv(reflect 1(relu(res2.in1(res2.conv1.conv2d)))), statistics for res2.in2
res2 = res2.in2(res2.conv2.conv2d) + res1
deconv1.conv2d = Conv(reflect 1(up 2(res2))), statistics for in3
deconv2.conv2d = Conv(reflect 4(relu(in3(deconv1.conv2d))))
output = Tanh(deconv2.conv2d)
`
	if got := listing(net, Fuse(net)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}

	net = johnson(t, func(j *networks.Johnson) {
		j.Architecture, j.Padding, j.Norm, j.Upsample = "c3s1-4,d8,R8,u4,U2,c3s2-4,c3s1-3", "reflect-start", "batch", "transposed"
	})
	want = `start.pad = reflect 4(input)
conv1.conv2d = Conv(zero 1(start.pad))
conv2.conv2d = Conv(zero 1(relu(bn1(conv1.conv2d))))
res1.conv1.conv2d = Conv(relu(bn2(conv2.conv2d)))
res1.conv2.conv2d = Conv(relu(res1.bn1(res1.conv1.conv2d)))
res1 = res1.bn2(res1.conv2.conv2d) + zero -2(relu(bn2(conv2.conv2d)))
deconv1.conv2d = ConvTranspose(res1)
deconv2.conv2d = Conv(zero 1(up 2(relu(bn3(deconv1.conv2d)))))
deconv3.conv2d = Conv(zero 1(relu(bn4(deconv2.conv2d))))
`
	if got := listing(net, Fuse(net)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}

	vgg, err := networks.VGG19("relu2_1", networks.Caffe, false)
	if err != nil {
		t.Fatal(err)
	}
	keep, err := vgg.FindAll([]string{"features.2", "relu2_1"})
	if err != nil {
		t.Fatal(err)
	}
	want = `normalize = Affine(input)
relu1_1 = relu(Conv(zero 1(normalize)))
features.2 = Conv(zero 1(relu1_1))
relu1_2 = relu(features.2)
pool1 = Pool(relu1_2)
relu2_1 = relu(Conv(zero 1(pool1)))
`
	if got := listing(vgg, Fuse(vgg, keep...)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// recorder is a device that takes sequences of launches, and counts how often it
// runs them.
type recorder struct {
	kernels.Device
	given, called *int
}

func (r recorder) Scope() kernels.Device { return recorder{r.Device.Scope(), r.given, r.called} }

func (r recorder) Record(sequence func()) kernels.Kernel {
	*r.given++
	return func() { *r.called++; sequence() }
}

// A plan is recorded as a whole where the device can, but not as a part of what
// a caller records.
func TestPlansAreRecorded(t *testing.T) {
	f := newFixture(t, johnson(t, func(*networks.Johnson) {}), 24, 20)
	want := f.run(t)[0]
	given, called := 0, 0
	f.dev = recorder{f.dev, &given, &called}
	plan, err := Compile(f.dev, f.net, f.arrays, 1, f.h, f.w)
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	run := func(run func()) {
		t.Helper()
		if err := plan.Device().Upload(plan.Input(), f.picture); err != nil {
			t.Fatal(err)
		}
		run()
		if got := download(t, plan.Device(), plan.Output(0)); !slices.Equal(got, want) {
			t.Error("a recorded plan gives another picture")
		}
	}
	run(plan.Launch)
	if given != 0 {
		t.Error("kernels that were launched one by one were recorded")
	}
	for range 3 {
		run(plan.Run)
	}
	if given != 1 || called != 3 {
		t.Errorf("%d sequences were recorded and %d times called, not one and 3 times", given, called)
	}
}
