package train

import (
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"stylenet/configs"
	"stylenet/internal/devices"
	"stylenet/internal/formats/safetensors"
	"stylenet/internal/images"
	"stylenet/internal/kernels"
	"stylenet/internal/model"
	"stylenet/internal/networks"
	"stylenet/internal/vgg"
	"stylenet/internal/weights"
	"stylenet/losses"
)

// The sizes of testdata/parity/make_golden.py.
const (
	paritySize, parityBatch             = 36, 2
	parityStyleHeight, parityStyleWidth = 48, 56
)

// From given weights and photos the training step of configs/parity.yaml gives
// PyTorch's gradients and losses, and its losses after ten steps of Adam.
func TestParityWithPyTorch(t *testing.T) {
	path := filepath.Join("testdata", "parity", "golden.safetensors")
	f, err := os.Open(path)
	check(t, err)
	defer f.Close()
	info, err := f.Stat()
	check(t, err)
	golden, _, err := safetensors.Decode(f, info.Size())
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	names := []string{"total", "content", "style", "total variation", "relu1_2", "relu2_2", "relu3_3", "relu4_3"}
	want := golden.Get("losses")
	if want == nil || !slices.Equal(want.Shape, []int{11, len(names)}) {
		t.Fatalf("%s: no losses of shape 11×%d", path, len(names))
	}
	for _, c := range []struct {
		name, device string
		options      devices.Options
		steps        int        // the reference is slow
		gradients    float64    // relative to their norm
		losses       [2]float64 // of step 0 and the others
	}{
		{"reference", "reference", devices.Options{Exact: true}, 3, 1e-3, [2]float64{1e-3, 1e-2}},
		{"onednn, exact", "onednn", devices.Options{Exact: true}, 11, 1e-3, [2]float64{1e-3, 1e-2}},
		// Winograd's rounding turns over a few ReLUs and maxima that are almost
		// ties. Each moves gradients by 1e-3, the losses hardly.
		{"onednn", "onednn", devices.Options{}, 11, 5e-3, [2]float64{1e-3, 1e-2}},
		// The gradients of fresh weights are what remains of large sums, which
		// each instance norm cancels: see TestStepsInBF16.
		{"onednn, bf16", "onednn", devices.Options{Precision: kernels.BF16}, 11, .7, [2]float64{2e-2, 5e-2}},
		// Exact, too, it sums in another order: the same few ReLUs.
		{"cuda, exact", "cuda:0", devices.Options{Exact: true}, 11, 5e-3, [2]float64{1e-3, 1e-2}},
		// TF32 has two bits more than bf16, and rounds only what is multiplied.
		{"cuda", "cuda:0", devices.Options{}, 11, .2, [2]float64{5e-3, 2e-2}},
		{"cuda, bf16", "cuda:0", devices.Options{Precision: kernels.BF16}, 11, .7, [2]float64{2e-2, 5e-2}},
	} {
		if !slices.Contains(devices.Names(), c.device) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			gradients, rows := parityTrain(t, c.device, c.options, c.steps)
			worst := 0.0
			for _, name := range slices.Sorted(maps.Keys(gradients)) {
				want := golden.Get("gradient." + name)
				if want == nil || len(want.Data) != len(gradients[name]) {
					t.Errorf("%s: the golden has no gradient of %d values", name, len(gradients[name]))
					continue
				}
				// A constant added to maps that all go through an instance
				// norm has no influence. The gradient of such a bias is
				// rounding, to be measured on that of the layer's weight.
				scale := distance(want.Data, nil)
				if weight := golden.Get("gradient." + strings.TrimSuffix(name, ".bias") + ".weight"); weight != nil {
					if s := distance(weight.Data, nil); scale < 1e-9*s {
						scale = s
					}
				}
				d := distance(gradients[name], want.Data) / scale
				if !(d <= c.gradients) {
					t.Errorf("%s: the gradient differs by %.2g of its norm from PyTorch's", name, d)
				}
				worst = max(worst, d)
			}
			if want := golden.Len() - 1; len(gradients) != want {
				t.Errorf("%d gradients, the golden has %d", len(gradients), want)
			}
			t.Logf("gradients differ by %.2g at most", worst)
			for step, row := range rows {
				limit, worst := c.losses[min(step, 1)], 0.0
				for i, got := range row {
					w := float64(want.Data[step*len(names)+i])
					d := math.Abs(got-w) / w
					if !(d <= limit) {
						t.Errorf("step %d: loss %s is %g, PyTorch's %g", step, names[i], got, w)
					}
					worst = max(worst, d)
				}
				t.Logf("step %d: losses differ by %.2g at most", step, worst)
			}
		})
	}
}

// parityTrain returns the gradients of the first step and the losses of each.
func parityTrain(t *testing.T, device string, o devices.Options, steps int) (map[string][]float32, [][]float64) {
	r := parityRun(t, device, o)
	defer func() { check(t, r.Close()) }()
	gradients := map[string][]float32{}
	var rows [][]float64
	for r.step < steps {
		var batch []float32
		for i := range parityBatch {
			batch = append(batch, parityPicture(fmt.Sprintf("photo %d", r.step*parityBatch+i), paritySize, paritySize)...)
		}
		first := r.step == 0
		check(t, r.launch(batch))
		m, err := r.read()
		check(t, err)
		row := []float64{m.Loss, m.Content, m.Style, m.TotalVariation}
		for _, term := range r.terms[len(r.recipe.Content):][:len(r.recipe.Style)] {
			var v [1]float32
			check(t, r.machine.Device().Download(v[:], r.machine.Value(term.node)))
			row = append(row, float64(v[0]))
		}
		rows = append(rows, row)
		for i, name := range r.names {
			if !first {
				break
			}
			gradients[name] = make([]float32, r.params[i].Shape().Elements())
			check(t, r.machine.Device().Download(gradients[name], r.machine.Gradient(i)))
		}
	}
	return gradients, rows
}

// parityRun makes a run from formulas instead of files.
func parityRun(t *testing.T, device string, o devices.Options) *Run {
	style := filepath.Join(t.TempDir(), "style.png")
	p := images.New(parityStyleWidth, parityStyleHeight)
	copy(p.Pix, parityPicture("style", parityStyleHeight, parityStyleWidth))
	check(t, images.Save(style, p, images.SaveOptions{}))
	cfg, err := configs.LoadPreset("parity", []string{
		"network.architecture=c9s1-8,d16,d16,R16,R16,u16,u8,c9s1-3", fmt.Sprintf("data.size=%d", paritySize),
		"style.image=" + style, fmt.Sprintf("style.size=%d", parityStyleWidth),
		fmt.Sprintf("train.batch=%d", parityBatch),
	})
	check(t, err)
	r := &Run{config: cfg, unlock: func() error { return nil }}
	o.Threads = 1 // maps this small are not worth a second one
	if r.dev, err = devices.Open(device, o); err != nil && (o.Precision == kernels.BF16 || strings.HasPrefix(device, "cuda")) {
		t.Skip(err) // not every machine has it
	}
	check(t, err)
	n := cfg.Network
	design := networks.Johnson{Architecture: n.Architecture, Padding: n.Padding, Norm: n.Norm, Upsample: n.Upsample, Output: n.Output}
	net, err := design.Build()
	check(t, err)
	r.kind = &johnson{r: r, net: net}
	r.model = &model.Model{Network: design, Weights: parityWeights(net)}
	r.recipe = losses.Recipe{Content: LossLayers(cfg.Loss.Content), Style: LossLayers(cfg.Loss.Style), TotalVariation: cfg.Loss.TotalVariation}
	r.lossNet, err = networks.VGG19(r.recipe.Deepest(), networks.Caffe, false)
	check(t, err)
	r.vgg = &vgg.Weights{Set: parityVGG(), Convention: networks.Caffe}
	check(t, r.vgg.For(r.lossNet))
	check(t, r.buildStep())
	check(t, r.openOptimizer(nil))
	return r
}

// parityVGG is made once: it has 12 million weights.
var parityVGG = sync.OnceValue(func() *weights.Set {
	net, err := networks.VGG19("relu4_3", networks.Caffe, false)
	if err != nil {
		panic(err) // a constant argument
	}
	return parityWeights(net)
})

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
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
func parityWeights(net *networks.Network) *weights.Set {
	set := &weights.Set{}
	for _, p := range net.Params() {
		centre, spread := 0.0, .25
		if vgg := strings.HasPrefix(p.Name, "features."); len(p.Shape) == 4 {
			gain := 36.0
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
		if err := set.Add(p.Name, p.Shape, values); err != nil {
			panic(err) // a network's parameters fit a set
		}
	}
	return set
}
