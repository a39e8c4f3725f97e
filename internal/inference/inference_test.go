package inference

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

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

// run returns the results of the kept layers of a network with random weights
// on a random picture of 14×10 pixels.
func run(t *testing.T, net *networks.Network, keep ...int) [][]float32 {
	t.Helper()
	dev := reference.New(2)
	defer dev.Close()
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
	arrays, err := Upload(dev, net, set)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := Compile(dev, net, arrays, 1, 10, 14, keep...)
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	picture := make([]float32, plan.Input().Shape().Elements())
	for i := range picture {
		picture[i] = 255 * rnd.Float32()
	}
	if err := plan.Device().Upload(plan.Input(), picture); err != nil {
		t.Fatal(err)
	}
	plan.Run()
	plan.Run() // launches must repeat
	results := make([][]float32, max(1, len(keep)))
	for i := range results {
		results[i] = make([]float32, plan.Output(i).Shape().Elements())
		if err := plan.Device().Download(results[i], plan.Output(i)); err != nil {
			t.Fatal(err)
		}
	}
	return results
}

// Sharing memory and fusing ReLU change no result: a plan that keeps every
// layer does neither.
func TestPlanAgreesWithKeepingEverything(t *testing.T) {
	for name, edit := range map[string]func(*networks.Johnson){
		"reflect": func(*networks.Johnson) {},
		"reflect-start": func(j *networks.Johnson) {
			j.Padding, j.Upsample, j.Output = "reflect-start", "transposed", "tanh"
			j.OutputScale = 150
		},
		"batch norm": func(j *networks.Johnson) { j.Norm, j.Padding = "batch", "zero" },
	} {
		t.Run(name, func(t *testing.T) {
			net := johnson(t, edit)
			every := make([]int, len(net.Layers))
			for i := range every {
				every[i] = i
			}
			all := run(t, net, every...)
			if got := run(t, net)[0]; !slices.Equal(got, all[len(all)-1]) {
				t.Error("the results differ")
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

func TestStepsFuseReLU(t *testing.T) {
	net, err := networks.VGG19("relu1_2", networks.Caffe, false)
	if err != nil {
		t.Fatal(err)
	}
	fused := func(keep ...int) (n int) {
		for _, s := range Steps(net, keep...) {
			if s.ReLU {
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

func TestFoldBatchNorm(t *testing.T) {
	scale, shift := foldBatchNorm(networks.Norm{Channels: 1, Eps: 1e-5}, []float32{3}, []float32{.5}, []float32{2}, []float32{4})
	x := 7.0
	want := 3*(x-2)/math.Sqrt(4+1e-5) + .5
	if got := float64(scale[0])*x + float64(shift[0]); math.Abs(got-want) > 1e-5 {
		t.Errorf("%g, want %g", got, want)
	}
}
