package train

import (
	"math"
	"testing"

	"stylenet/configs"
	"stylenet/internal/kernels"
	"stylenet/internal/model"
	"stylenet/internal/testassets"
	"stylenet/internal/weights"
)

// A step in bf16 has the losses of one in float32 and goes the same way. From
// fresh weights it does so less: the result is almost flat, and what instance
// norms leave of the gradients is small beside what they cancel, and with it
// beside its rounding.
func TestStepsInBF16(t *testing.T) {
	pth := testassets.Path(t, "models/pytorch-starry.pth")
	inPrecision(t, kernels.BF16)
	trained, err := model.Open(pth)
	check(t, err)
	cfg, err := configs.LoadPreset("parity", []string{
		"data.dir=" + testassets.Path(t, "photos"), "data.size=64", "style.size=128", "style.image=" + testassets.Path(t, "styles/starry_night.jpg"),
		"vgg.weights=" + testassets.Path(t, "vgg19/vgg19-features.safetensors"), "train.batch=2", "train.exact=false", "train.preview_every=0", "train.threads=1",
	})
	check(t, err)
	for _, c := range []struct {
		name  string
		set   *weights.Set
		least float64
	}{
		{"fresh weights", nil, .9},
		{"trained weights", trained.Weights, .99},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, wantLosses := oneStep(t, cfg, kernels.Float32, c.set)
			got, gotLosses := oneStep(t, cfg, kernels.BF16, c.set)
			for i, w := range wantLosses {
				d := math.Abs(gotLosses[i]-w) / w
				if t.Logf("loss %d differs by %.2g", i, d); !(d < .01) {
					t.Errorf("loss %d is %g, in float32 %g", i, gotLosses[i], w)
				}
			}
			cos := cosine(got, want)
			if t.Logf("the cosine between the gradients is %.4f", cos); !(cos > c.least) {
				t.Errorf("the cosine between the gradients is %.4f, want %g", cos, c.least)
			}
		})
	}
}

// oneStep returns the gradients and the losses of the first step.
func oneStep(t *testing.T, cfg *configs.Config, precision string, set *weights.Set) (gradients [][]float32, losses []float64) {
	c := *cfg
	c.Train.Precision = precision
	r, err := New(t.Context(), &c, t.TempDir()+"/run", Options{})
	check(t, err)
	defer func() { check(t, r.Close()) }()
	if set != nil {
		for i, name := range r.names {
			check(t, r.dev.Upload(r.params[i], set.Get(name).Data))
		}
	}
	batch, err := r.loader.Next(t.Context())
	check(t, err)
	check(t, r.launch(batch.Pixels))
	m, err := r.read()
	check(t, err)
	for i, p := range r.params {
		gradients = append(gradients, make([]float32, p.Shape().Elements()))
		check(t, r.machine.Device().Download(gradients[i], r.machine.Gradient(i)))
	}
	return gradients, []float64{m.Loss, m.Content, m.Style}
}

// cosine is that of the angle between lists of vectors, each list taken as one.
func cosine(a, b [][]float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		for j := range a[i] {
			x, y := float64(a[i][j]), float64(b[i][j])
			ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
		}
	}
	return ab / math.Sqrt(aa*bb)
}
