package train

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"stylenet/configs"
	"stylenet/internal/devices"
	"stylenet/internal/images"
	"stylenet/internal/kernels"
)

func TestTrainingLearns(t *testing.T) {
	last := map[string]float64{}
	for _, precision := range []string{kernels.Float32, kernels.BF16} {
		t.Run(precision, func(t *testing.T) { last[precision] = learns(t, precision) })
	}
	if a, b := last[kernels.Float32], last[kernels.BF16]; b != 0 && math.Abs(a-b) > .05*a {
		t.Errorf("the loss falls to %g in float32, to %g in bf16", a, b)
	}
}

// learns returns the mean loss of the last steps.
func learns(t *testing.T, precision string) float64 {
	w := newWorld(t, 6)
	cfg := w.config(t, "train.steps=60", "train.lr=1e-2", "train.checkpoint_every=0", "loss.style.layers={relu1_1: 5}", inPrecision(t, precision))
	var loss []float64
	var peak []int64
	var r *Run
	r, err := New(t.Context(), cfg, w.path("run"), Options{Observe: func(m Metrics) {
		if d := m.Content + m.Style + m.TotalVariation + m.Temporal - m.Loss; math.Abs(d) > 1e-9*m.Loss {
			t.Errorf("step %d: the terms add up to %g more than the loss %g", m.Step, d, m.Loss)
		}
		loss, peak = append(loss, m.Loss), append(peak, r.Info().PeakBytes)
	}})
	check(t, err)
	check(t, errors.Join(r.Train(t.Context()), r.Close()))
	mean := func(v []float64) (sum float64) {
		for _, x := range v {
			sum += x / float64(len(v))
		}
		return sum
	}
	first, last := mean(loss[:5]), mean(loss[55:])
	t.Logf("the loss falls from %.4g to %.4g", first, last)
	if !(last < first/3) {
		t.Errorf("the loss goes from %g to %g, want a third or less", first, last)
	}
	if peak[0] != peak[len(peak)-1] || peak[0] == 0 {
		t.Errorf("the device's memory goes from %d to %d bytes", peak[0], peak[len(peak)-1])
	}
	if m := readLines[Metrics](t, w.path("run/metrics.jsonl")); len(m) != 60 || m[59].Step != 60 || m[59].Loss != loss[59] {
		t.Errorf("the log has %d lines, the last is %+v", len(m), m[len(m)-1])
	}
	return last
}

// inPrecision is the setting of a precision. It skips the test where there is
// none.
func inPrecision(t *testing.T, precision string) string {
	t.Helper()
	d, err := devices.Open("auto", devices.Options{Precision: precision})
	if err != nil {
		t.Skip(err)
	}
	check(t, d.Close())
	return "train.precision=" + precision
}

// Beyond the photos a step leaves next to nothing to the garbage collector.
func TestStepsHardlyAllocate(t *testing.T) {
	w := newWorld(t, 2)
	r, err := New(t.Context(), w.config(t, "network.norm=batch", "train.clip_norm=1"), w.path("run"), Options{})
	check(t, err)
	r.loader.Close() // its goroutines allocate
	pixels := make([]float32, r.config.Train.Batch*3*r.config.Data.Size*r.config.Data.Size)
	step := func() {
		check(t, r.launch(pixels))
		check(t, r.settle(0))
	}
	step()
	const steps, bound = 10, 32 << 10 // bytes a step
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range steps {
		step()
	}
	runtime.ReadMemStats(&after)
	per := (after.TotalAlloc - before.TotalAlloc) / steps
	t.Logf("%d bytes in %d allocations a step", per, (after.Mallocs-before.Mallocs)/steps)
	if per > bound {
		t.Errorf("a step allocates %d bytes, more than %d", per, bound)
	}
	check(t, r.Close())
}

func TestLearningRate(t *testing.T) {
	for _, c := range []struct {
		train configs.Train
		want  []float64 // of steps 1, 2, ...
	}{
		{configs.Train{LR: 2, Schedule: "constant"}, []float64{2, 2, 2}},
		{configs.Train{LR: 2, Schedule: "constant", Warmup: 4}, []float64{.5, 1, 1.5, 2, 2, 2}},
		// (1 + cos(π·k/4)) for k = 0 to 3
		{configs.Train{LR: 2, Schedule: "cosine"}, []float64{2, 1 + math.Sqrt2/2, 1, 1 - math.Sqrt2/2}},
		{configs.Train{LR: 8, Schedule: "step", DecayEvery: 2, DecayFactor: .5}, []float64{8, 8, 4, 4, 2}},
		{configs.Train{LR: 8, Schedule: "inverse", Decay: 1}, []float64{8, 4, 8. / 3, 2}},
		{configs.Train{LR: 8, Schedule: "step", DecayEvery: 2, DecayFactor: .5, Warmup: 4}, []float64{2, 4, 3, 4, 2}},
	} {
		for i, want := range c.want {
			if got := learningRate(c.train, i+1, len(c.want)); math.Abs(got-want) > 1e-12 {
				t.Errorf("%+v: the rate of step %d is %g, want %g", c.train, i+1, got, want)
			}
		}
	}
}

func TestStyleImagesAreAveraged(t *testing.T) {
	w := newWorld(t, 2)
	w.draw(t, "other.png", 5)
	grams := func(dir string, images ...configs.StyleImage) [][]float32 {
		cfg := w.config(t, "loss.style.layers={relu1_1: 1, relu1_2: 1}")
		cfg.Style.Image, cfg.Style.Images = "", images
		r, err := New(t.Context(), cfg, w.path(dir), Options{})
		check(t, err)
		var all [][]float32
		for _, a := range r.kind.(*johnson).styleTargets {
			values := make([]float32, a.Shape().Elements())
			check(t, r.dev.Download(values, a))
			all = append(all, values)
		}
		check(t, r.Close())
		return all
	}
	a, b := configs.StyleImage{Path: w.path("style.png"), Weight: 3}, configs.StyleImage{Path: w.path("other.png"), Weight: 1}
	one, other, both := grams("one", a), grams("other", b), grams("both", a, b)
	if len(both) != 2 || len(both[0]) != 64*64 {
		t.Fatalf("%d matrices, the first of %d values", len(both), len(both[0]))
	}
	for l := range both {
		var scale, worst, apart float64
		for i, got := range both[l] {
			a, b := float64(one[l][i]), float64(other[l][i])
			scale, apart = max(scale, math.Abs(a)), max(apart, math.Abs(a-b))
			worst = max(worst, math.Abs(float64(got)-(.75*a+.25*b)))
		}
		if worst > 1e-6*scale || apart < .01*scale {
			t.Errorf("layer %d: %g from the mean, of values up to %g that differ by %g", l, worst, scale, apart)
		}
	}
}

func TestEvaluations(t *testing.T) {
	w := newWorld(t, 3)
	check(t, os.Mkdir(w.path("holdout"), 0o777))
	check(t, os.WriteFile(w.path("holdout/broken.png"), []byte("no"), 0o666))
	w.draw(t, "holdout/a.png", 8)
	cfg := w.config(t, "data.holdout="+w.path("holdout"), "train.steps=4", "train.checkpoint_every=2", "train.lr=1e-2")
	trainAll(t, cfg, w.path("straight"))
	evals := readLines[Evaluation](t, w.path("straight/eval.jsonl"))
	if len(evals) != 2 || evals[0].Step != 2 || evals[1].Step != 4 || evals[1].Photos != 1 {
		t.Fatalf("evaluations %+v", evals)
	}
	for _, e := range evals {
		if !(e.Content > 0 && e.Style > 0) || math.Abs(e.Content+e.Style-e.Loss) > 1e-9*e.Loss {
			t.Errorf("%+v", e)
		}
	}
	if !(evals[1].Loss < evals[0].Loss) {
		t.Errorf("the loss rises: %+v", evals)
	}

	// A crash after the evaluation of step 4, before its checkpoint, and
	// another in the middle of a line.
	dir := w.path("run")
	var r *Run
	r, err := New(t.Context(), cfg, dir, Options{})
	check(t, err)
	r.steps = 3
	check(t, errors.Join(r.Train(t.Context()), r.Close()))
	check(t, os.RemoveAll(filepath.Join(dir, "checkpoints", "step-00000003")))
	f, err := os.OpenFile(filepath.Join(dir, "eval.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	check(t, err)
	_, err = f.WriteString("{\"step\":4,\"loss\":7}\n{\"step\":")
	check(t, errors.Join(err, f.Close()))
	var seen []Evaluation
	r, err = Resume(t.Context(), dir, nil, Options{Warn: func(error) {}, Eval: func(e Evaluation) { seen = append(seen, e) }})
	check(t, err)
	check(t, errors.Join(r.Train(t.Context()), r.Close()))
	if !slices.Equal(seen, evals[1:]) {
		t.Errorf("evaluated %+v", seen)
	}
	same(t, outcome(t, dir), outcome(t, w.path("straight")))
}

func TestEpochs(t *testing.T) {
	w := newWorld(t, 4) // 5 files, with the broken one
	cfg := w.config(t)
	cfg.Train.Steps, cfg.Train.Epochs = 0, 2
	r := trainAll(t, cfg, w.path("run"))
	if i := r.Info(); i.Steps != 5 || i.Step != 5 || i.Photos != 5 {
		t.Errorf("%d of %d steps on %d photos, want 5 of 5 on 5", i.Step, i.Steps, i.Photos)
	}
	// One photo fills a batch of three, and less than an epoch is a step.
	w = newWorld(t, 1)
	cfg = w.config(t, "train.batch=3")
	cfg.Train.Steps, cfg.Train.Epochs = 0, 1
	r = trainAll(t, cfg, w.path("run"))
	if i := r.Info(); i.Steps != 1 || i.Step != 1 {
		t.Errorf("%d of %d steps", i.Step, i.Steps)
	}
}

func TestPreviews(t *testing.T) {
	w := newWorld(t, 2)
	for _, c := range []struct {
		every string
		want  []string
	}{
		{"0", nil},
		{"2", []string{"step-00000002.png", "step-00000003.png"}},
	} {
		var told []string
		dir := w.path("run" + c.every)
		r, err := New(t.Context(), w.config(t, "train.steps=3", "train.preview_every="+c.every), dir, Options{Preview: func(path string) { told = append(told, path) }})
		check(t, err)
		check(t, errors.Join(r.Train(t.Context()), r.Close()))
		var want []string
		for _, name := range c.want {
			want = append(want, filepath.Join(dir, "previews", name))
			p, err := images.Open(want[len(want)-1])
			check(t, err)
			if p.W != 64 || p.H != 64 {
				t.Errorf("%s is %d×%d", name, p.W, p.H)
			}
		}
		files, err := filepath.Glob(filepath.Join(dir, "previews", "*"))
		check(t, err)
		if !slices.Equal(files, want) || !slices.Equal(told, want) {
			t.Errorf("every %s: %v and told of %v, want %v", c.every, files, told, want)
		}
	}
}
