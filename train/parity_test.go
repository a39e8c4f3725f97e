package train_test

import (
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stylenet/internal/autodiff"
	"stylenet/internal/devices"
	"stylenet/internal/formats/safetensors"
	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
	"stylenet/losses"
)

// What testdata/parity/make_golden.py does, and the recipe that it does it by.
const (
	parityHeight, parityWidth, parityBatch   = 40, 48, 2
	parityStyleHeight, parityStyleWidth      = 48, 56
	parityArchitecture                       = "c9s1-8,d16,d16,R16,R16,u16,u8,c9s1-3"
	parityContentLayer, parityLR, parityBias = "relu3_3", 1e-3, ".conv2d.bias"
)

func parityRecipe() losses.Recipe {
	return losses.Recipe{
		Content:        []losses.Layer{{Name: parityContentLayer, Weight: 1}},
		Style:          []losses.Layer{{Name: "relu1_2", Weight: 5}, {Name: "relu2_2", Weight: 5}, {Name: "relu3_3", Weight: 5}, {Name: "relu4_3", Weight: 5}},
		TotalVariation: 1e-6,
	}
}

// From given weights and photos, PyTorch and we get the same gradients, the
// same losses, and the same losses after ten steps of the optimiser.
func TestParityWithPyTorch(t *testing.T) {
	path := filepath.Join("testdata", "parity", "golden.safetensors")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	golden, _, err := safetensors.Decode(f, info.Size())
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	type tolerance struct{ gradients, losses, later float64 }
	exact := tolerance{gradients: 1e-3, losses: 1e-3, later: 1e-2}
	// Winograd's transforms cost digits. A ReLU or a maximum that falls to the
	// other side of a tie then moves a gradient by more than its rounding.
	winograd := tolerance{gradients: 1e-2, losses: 1e-3, later: 1e-2}
	for _, name := range devices.Names() {
		for _, mode := range []struct {
			name  string
			exact bool
			tolerance
			steps int
		}{{"exact", true, exact, 11}, {"approximate", false, winograd, 11}} {
			if name == "reference" {
				if !mode.exact {
					continue // it knows no approximate kernels
				}
			}
			t.Run(name+"/"+mode.name, func(t *testing.T) {
				dev, err := devices.Open(name, devices.Options{Exact: mode.exact})
				if err != nil {
					t.Fatal(err)
				}
				defer dev.Close()
				gradients, rows := parityTrain(t, dev, mode.steps)
				for name, got := range gradients {
					want := golden.Get("gradient." + name)
					if want == nil || len(want.Data) != len(got) {
						t.Errorf("%s: the golden has no gradient of %d values", name, len(got))
						continue
					}
					scale := distance(want.Data, nil)
					// A bias before an instance norm has no influence: its
					// gradient is rounding, to be measured on that of the weight.
					if layer, bias := strings.CutSuffix(name, parityBias); bias && layer != "deconv3" {
						weight := golden.Get("gradient." + layer + ".conv2d.weight")
						if s := distance(weight.Data, nil); scale > 1e-9*s {
							t.Errorf("%s: the golden's gradient is %g, not zero up to rounding", name, scale)
						} else {
							scale = s
						}
					}
					if d := distance(got, want.Data) / scale; !(d <= mode.gradients) {
						t.Errorf("%s: gradient differs by %.2g of its norm from PyTorch's", name, d)
					} else {
						t.Logf("%s: %.2g", name, d)
					}
				}
				if want := golden.Len() - 1; len(gradients) != want {
					t.Errorf("%d gradients, the golden has %d", len(gradients), want)
				}
				names := []string{"total", "content", "style", "relu1_2", "relu2_2", "relu3_3", "relu4_3", "total variation"}
				want := golden.Get("losses")
				if !slices.Equal(want.Shape, []int{11, len(names)}) {
					t.Fatalf("the golden's losses have shape %v", want.Shape)
				}
				worst := 0.0
				for step, row := range rows {
					limit := mode.losses
					if step > 0 {
						limit = mode.later
					}
					for i, got := range row {
						w := float64(want.Data[step*len(names)+i])
						if !(math.Abs(got-w) <= limit*w) {
							t.Errorf("step %d: loss %s is %g, PyTorch's %g", step, names[i], got, w)
						}
						worst = max(worst, math.Abs(got-w)/w)
					}
				}
				t.Logf("losses differ by %.2g at most", worst)
			})
		}
	}
}

// parityTrain returns the gradients of the first step and the losses of each.
func parityTrain(t *testing.T, dev kernels.Device, steps int) (map[string][]float32, [][]float64) {
	recipe := parityRecipe()
	johnson := networks.Johnson{Architecture: parityArchitecture, Padding: "reflect", Norm: "instance", Upsample: "nearest", Output: "linear"}
	net := must(johnson.Build())(t)
	arrays := must(inference.Upload(dev, net, parityWeights(t, net)))(t)
	vgg := must(networks.VGG19(recipe.Deepest(), networks.Caffe, false))(t)
	vggArrays := must(inference.Upload(dev, vgg, parityWeights(t, vgg)))(t)
	grams := must(losses.GramMatrices(dev, vgg, vggArrays, parityPicture("style", parityStyleHeight, parityStyleWidth), parityStyleHeight, parityStyleWidth, recipe.Style))(t)

	content := must(networks.VGG19(parityContentLayer, networks.Caffe, false))(t)
	plan := must(inference.Compile(dev, content, vggArrays, parityBatch, parityHeight, parityWidth))(t)
	defer plan.Close()
	features := plan.Output(0)
	targets := losses.Targets{Content: []kernels.Array{must(dev.NewActivation(features.Shape()))(t)}}
	for i, gram := range grams {
		c := int(math.Sqrt(float64(len(gram))))
		targets.Style = append(targets.Style, must(dev.NewParameter(kernels.Shape{N: 1, C: 1, H: c, W: c}))(t))
		check(t, dev.Upload(targets.Style[i], gram))
	}

	g := must(autodiff.New(dev))(t)
	photos := must(dev.NewActivation(kernels.Shape{N: parityBatch, C: 3, H: parityHeight, W: parityWidth}))(t)
	x := must(g.Input("photos", photos))(t)
	y := must(g.Network(net, arrays, x, true))(t)
	terms := must(losses.Perceptual(g, vgg, vggArrays, y[0], targets, recipe))(t)
	g.Keep(terms.Total)
	machine := must(g.Compile(terms.Total))(t)
	defer machine.Close()
	scope := machine.Device()

	adam := &kernels.Adam{LR: parityLR, Beta1: .9, Beta2: .999, Eps: 1e-8}
	var update kernels.Kernel
	gradients := map[string][]float32{}
	var rows [][]float64
	for step := range steps {
		var batch []float32
		for i := range parityBatch {
			batch = append(batch, parityPicture(fmt.Sprintf("photo %d", step*parityBatch+i), parityHeight, parityWidth)...)
		}
		check(t, dev.Upload(plan.Input(), batch))
		plan.Run()
		values := make([]float32, features.Shape().Elements())
		check(t, dev.Download(values, features))
		check(t, dev.Upload(targets.Content[0], values))
		check(t, dev.Upload(photos, batch))
		check(t, machine.Step())
		if step == 0 {
			var params, grads, m, v []kernels.Array
			for i, p := range net.Params() {
				values := make([]float32, weights.Elements(p.Shape))
				gradient := machine.Gradient(i)
				check(t, scope.Download(values, gradient))
				gradients[p.Name] = values
				params, grads = append(params, arrays[p.Name]), append(grads, gradient)
				for _, moments := range []*[]kernels.Array{&m, &v} {
					a := must(scope.NewParameter(gradient.Shape()))(t)
					check(t, scope.Upload(a, make([]float32, len(values))))
					*moments = append(*moments, a)
				}
			}
			update = must(scope.Adam(params, grads, m, v, nil, adam))(t)
		}
		scalar := func(n *autodiff.Node) float64 {
			var v [1]float32
			check(t, scope.Download(v[:], machine.Value(n)))
			return float64(v[0])
		}
		row := []float64{scalar(terms.Total), scalar(terms.Content[0]), 0}
		for _, n := range terms.Style {
			row = append(row, scalar(n))
			row[2] += row[len(row)-1]
		}
		rows = append(rows, append(row, scalar(terms.TotalVariation)))
		adam.Step = step + 1
		update()
	}
	check(t, scope.Sync())
	return gradients, rows
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		check(t, err)
		return v
	}
}

// distance is the norm of a−b; a nil b is zero.
func distance(a, b []float32) float64 {
	sum := 0.0
	for i, v := range a {
		d := float64(v)
		if b != nil {
			d -= float64(b[i])
		}
		sum += d * d
	}
	return math.Sqrt(sum)
}

// parityMix is a hash of 32 bits of a name's CRC and an index.
func parityMix(seed uint32, i int) uint32 {
	x := seed + uint32(i)*0x9E3779B9
	x = (x ^ x>>16) * 0x7FEB352D
	x = (x ^ x>>15) * 0x846CA68B
	return x ^ x>>16
}

// parityPicture makes a picture of two triangle waves and noise: C, H, W.
func parityPicture(name string, h, w int) []float32 {
	seed := crc32.ChecksumIEEE([]byte(name))
	pixels := make([]float32, 0, 3*h*w)
	for c := range 3 {
		for y := range h {
			for x := range w {
				value := 2 * int(parityMix(seed, 16+len(pixels))>>24)
				for wave := range 2 {
					r := int(parityMix(seed, 2*c+wave))
					m := ((1+r&15)*x + (1+r>>4&15)*y + r>>8) % 512
					value += 3 * min(m, 511-m)
				}
				pixels = append(pixels, float32(value/8))
			}
		}
	}
	return pixels
}

// parityWeights makes the initial weights of a network.
func parityWeights(t *testing.T, net *networks.Network) *weights.Set {
	set := &weights.Set{}
	for _, p := range net.Params() {
		centre, spread := 0.0, .25
		if vgg := strings.HasPrefix(p.Name, "features."); len(p.Shape) == 4 {
			gain := 1.0
			if vgg {
				gain = 9
			}
			spread = math.Sqrt(gain / float64(p.Shape[1]*p.Shape[2]*p.Shape[3]))
		} else if !vgg && !strings.Contains(p.Name, ".conv2d.") && strings.HasSuffix(p.Name, ".weight") {
			centre = 1
		}
		seed := crc32.ChecksumIEEE([]byte(p.Name))
		values := make([]float32, weights.Elements(p.Shape))
		for i := range values {
			values[i] = float32(centre + spread*((float64(parityMix(seed, i))+.5)/(1<<31)-1))
		}
		check(t, set.Add(p.Name, p.Shape, values))
	}
	return set
}
