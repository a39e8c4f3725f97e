package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"stylenet/configs"
	"stylenet/internal/checkpoint"
	"stylenet/internal/images"
	"stylenet/internal/model"
	"stylenet/internal/stylize"
)

// newest reads the model of a run's newest checkpoint.
func newest(t *testing.T, dir string) *model.Model {
	t.Helper()
	s, warnings, err := checkpoint.Latest(filepath.Join(dir, "checkpoints"))
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	m, err := model.FromTensors(s.Model, s.Metadata)
	check(t, err)
	return m
}

// painted are pictures of styles that differ far more than photos do.
func (w world) painted(t *testing.T, names ...string) string {
	t.Helper()
	var list []string
	for _, name := range names {
		p := images.New(64, 64)
		for i := range p.W * p.H {
			x, y := i%p.W, i/p.W
			on := map[string]bool{"stripes": x/2%2 == 0, "lines": y/2%2 == 0, "blue": x/2%2 == 0}[name]
			colour := map[string][3]float32{"stripes": {240, 40, 40}, "lines": {30, 200, 60}, "blue": {20, 30, 200}}[name]
			for c := range 3 {
				p.Plane(c)[i] = colour[c]
				if on {
					p.Plane(c)[i] = 255 - colour[c]/4
				}
			}
		}
		check(t, images.Save(w.path(name+".png"), p, images.SaveOptions{}))
		list = append(list, w.path(name+".png"))
	}
	return "style.images=[" + strings.Join(list, ", ") + "]"
}

// styleLosses are a mix's style losses on a photo, against each style that the run
// trains.
func styleLosses(t *testing.T, r *Run, m *model.Model, photo *images.Picture) []float64 {
	t.Helper()
	s, err := stylize.Open(r.dev, m)
	check(t, err)
	p, err := s.Picture(t.Context(), photo, stylize.Options{Strength: 1})
	check(t, errors.Join(err, s.Close()))
	samples, err := r.kind.samples()
	check(t, err)
	var all []float64
	for _, s := range samples {
		meter, err := s.meter(r.dev, photo.H, photo.W)
		check(t, err)
		_, style, err := meter.Measure(photo.Pix, p.Pix)
		check(t, errors.Join(err, meter.Close()))
		sum := 0.0
		for i, l := range r.recipe.Style {
			sum += l.Weight * style[i]
		}
		all = append(all, sum)
	}
	return all
}

// The effect of the whole: each style is learned by one network of the same
// convolutions, mixing two goes from one to the other, and a style that is added
// leaves everything else as it is, byte for byte.
func TestManyStylesAreLearned(t *testing.T) {
	defer goleak.VerifyNone(t)
	w := newWorld(t, 6)
	w.draw(t, "photo.png", 8)
	photo, err := images.Open(w.path("photo.png"))
	check(t, err)
	sets := []string{
		"kind=multistyle", "style.image=", w.painted(t, "stripes", "lines"), "vgg.weights=", "vgg.random=true", "vgg.convention=auto",
		"network.architecture=c3s1-16,d16,R16,u16,c3s1-3", "loss.style.layers={relu1_2: 1}", "loss.style.weight=10",
		"train.lr=1e-2", "train.checkpoint_every=0", "train.schedule=cosine", "train.threads=0",
	}
	cfg := w.config(t, append(sets, "train.steps=110", "train.preview_every=110")...)
	loss := map[string][]float64{}
	r, err := New(t.Context(), cfg, w.path("run"), Options{Observe: func(m Metrics) { loss[m.StyleName] = append(loss[m.StyleName], m.Style) }})
	check(t, err)
	before := styleLosses(t, r, mixed(t, r.model, 1, 0), photo)
	check(t, r.Train(t.Context()))
	if len(loss["stripes"]) != 55 || len(loss["lines"]) != 55 {
		t.Errorf("%d and %d steps of two styles, want 55 each", len(loss["stripes"]), len(loss["lines"]))
	}
	trained := newest(t, w.path("run"))
	var against [2][]float64 // by style, as the share of the second grows
	for _, share := range []float64{0, .25, .5, .75, 1} {
		of := styleLosses(t, r, mixed(t, trained, 1-share, share), photo)
		against[0], against[1] = append(against[0], of[0]), append(against[1], of[1])
	}
	t.Logf("style losses %.3g before, %.3g as the share grows", before, against)
	for i, name := range []string{"stripes", "lines"} {
		own := against[i]
		if i == 0 {
			slices.Reverse(own)
		}
		if !(own[4] < before[i]/2) {
			t.Errorf("%s: its style loss falls from %g to %g, not by half", name, before[i], own[4])
		}
		if !slices.IsSortedFunc(own, func(a, b float64) int { return -1 * compare(a, b) }) {
			t.Errorf("%s: as its share grows its style loss goes %.4g, which does not fall all the way", name, own)
		}
	}
	check(t, r.Close())
	if p, err := images.Open(w.path("run/previews/step-00000110.png")); err != nil || p.W != 8+3*(previewSide/2+8) {
		t.Errorf("the sheet of previews: %+v, %v", p, err)
	}

	// A third one is added, in fewer steps.
	cfg = w.config(t, append(sets, w.painted(t, "blue"), "network.from="+w.path("run"), "train.steps=80", "train.lr=5e-2", "network.architecture=c3s1-4,c3s1-3")...)
	r, err = New(t.Context(), cfg, w.path("more"), Options{})
	check(t, err)
	start := styleLosses(t, r, mixed(t, r.model, 0, 0, 1), photo)
	check(t, r.Train(t.Context()))
	more := newest(t, w.path("more"))
	end := styleLosses(t, r, mixed(t, more, 0, 0, 1), photo)
	t.Logf("the added style's loss falls from %.3g to %.3g", start, end)
	if !(end[0] < start[0]/2) {
		t.Errorf("the added style's loss falls from %g to %g, not by half", start, end)
	}
	check(t, r.Close())
	if s := strings.Join(more.Styles(), " "); s != "stripes lines blue" {
		t.Errorf("styles %q", s)
	}
	for _, tensor := range trained.Weights.Tensors() {
		if got := more.Weights.Get(tensor.Name); got == nil || !slices.EqualFunc(got.Data, tensor.Data, sameBits) {
			t.Errorf("%s is not what it was", tensor.Name)
		}
	}
	if got := cfg.Network.Architecture; got != "c3s1-4,c3s1-3" {
		t.Errorf("the caller's configuration has the architecture %s", got)
	}
	resolved, err := configs.Load(w.path("more/config.yaml"), nil)
	check(t, err)
	if got := resolved.Network.Architecture; got != "c3s1-16,d16,R16,u16,c3s1-3" {
		t.Errorf("the run's configuration has the architecture %s", got)
	}
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func sameBits(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }

// mixed is a mix with these weights.
func mixed(t *testing.T, m *model.Model, weights ...float64) *model.Model {
	t.Helper()
	var mix []model.Share
	for i, v := range weights {
		mix = append(mix, model.Share{Style: m.Styles()[i], Weight: v})
	}
	got, err := m.Mix(mix)
	check(t, err)
	return got
}

// A step moves the convolutions and the rows of its own style: no other's move,
// by whatever momentum, and theirs are as if the other styles' steps had not been.
func TestStylesTakeTurns(t *testing.T) {
	w := newWorld(t, 4)
	cfg := w.config(t, append(w.twoStyles(t), "train.steps=6")...)
	r, err := New(t.Context(), cfg, w.path("run"), Options{})
	check(t, err)
	snapshot := func() map[string][]float32 {
		set, err := r.weights()
		check(t, err)
		all := map[string][]float32{}
		for _, tensor := range set.Tensors() {
			all[tensor.Name] = slices.Clone(tensor.Data)
		}
		return all
	}
	counts := map[string]int{}
	before := snapshot()
	for step := 1; step <= 6; step++ {
		batch, err := r.next(t.Context())
		check(t, err)
		check(t, r.launch(batch.Pixels))
		r.source.Release(batch)
		of := r.launched[0].StyleName
		check(t, r.settle(0))
		counts[of]++
		after := snapshot()
		for name, values := range after {
			moved := !slices.EqualFunc(values, before[name], sameBits)
			conv, own := strings.Contains(name, "conv2d.weight"), strings.Contains(name, "."+of+".")
			if (conv || own) && !moved || strings.Contains(name, "in") && !own && moved {
				t.Errorf("step %d, of style %s: %s moved %v", step, of, name, moved)
			}
			// Adam's first step is the learning rate, whatever the gradient.
			if own && counts[of] == 1 {
				for i, v := range values {
					if d := math.Abs(float64(v - before[name][i])); d > 1.01e-3 || d < .9e-3 && !strings.Contains(name, "weight") && d != 0 {
						t.Errorf("%s[%d] moves by %g in its first step", name, i, d)
					}
				}
			}
		}
		if last := step % 2; last == 0 && counts["a"] != counts["b"] {
			t.Errorf("after step %d there were %v", step, counts)
		}
		before = after
	}
	check(t, r.Close())
}

// The style of a step is decided by the seed and the step alone, and rounds have
// orders of their own.
func TestTurns(t *testing.T) {
	order := func(seed uint64) (all []int) {
		cfg := &configs.Config{Train: configs.Train{Seed: seed}}
		k := &multistyle{johnson: johnson{r: &Run{config: cfg}}, styles: make([]configs.NamedStyle, 5)}
		for step := 1; step <= 50; step++ {
			style, count := k.turn(step)
			if count != (step-1)/5+1 {
				t.Errorf("step %d is turn %d", step, count)
			}
			all = append(all, style)
		}
		return all
	}
	a := order(1)
	rounds := map[string]bool{}
	for round := range slices.Chunk(a, 5) {
		rounds[fmt.Sprint(round)] = true
		if sorted := slices.Sorted(slices.Values(round)); !slices.Equal(sorted, []int{0, 1, 2, 3, 4}) {
			t.Errorf("a round of %v", round)
		}
	}
	if len(rounds) < 8 || !slices.Equal(a, order(1)) || slices.Equal(a, order(2)) {
		t.Errorf("%d different rounds of 10", len(rounds))
	}
}

// A run that adds styles goes on without the model that they are added to.
func TestResumeOfAddedStyles(t *testing.T) {
	w := newWorld(t, 4)
	two := w.twoStyles(t)
	trainAll(t, w.config(t, append(two, "train.steps=4")...), w.path("base"))
	w.draw(t, "third.png", 7)
	m := newest(t, w.path("base"))
	check(t, model.Save(w.path("base.safetensors"), m))
	cfg := w.config(t, append(two, "style.images=["+w.path("third.png")+"]", "network.from="+w.path("base.safetensors"), "train.steps=6")...)
	trainAll(t, cfg, w.path("straight"))
	stopAt(t, func(ctx context.Context, o Options) (*Run, error) { return New(ctx, cfg, w.path("stopped"), o) }, 3)
	check(t, os.Remove(w.path("base.safetensors")))
	r, err := Resume(t.Context(), w.path("stopped"), nil, Options{})
	check(t, err)
	check(t, errors.Join(r.Train(t.Context()), r.Close()))
	same(t, outcome(t, w.path("stopped")), outcome(t, w.path("straight")))
	if got := newest(t, w.path("stopped")).Styles(); !slices.Equal(got, []string{"a", "b", "third"}) {
		t.Errorf("styles %q", got)
	}
}

func TestErrorsOfAddedStyles(t *testing.T) {
	w := newWorld(t, 2)
	two := w.twoStyles(t)
	trainAll(t, w.config(t, append(two, "train.steps=1")...), w.path("base"))
	trainAll(t, w.config(t, "train.steps=1"), w.path("plain"))
	for want, from := range map[string]string{
		"network.from: " + w.path("base") + `: the network has a style "a" already: it has a, b`:       w.path("base"),
		"network.from: " + w.path("plain") + ": styles can be added to a network of many styles alone": w.path("plain"),
		"network.from: " + w.path("photos") + " is no run: it holds no checkpoint":                     w.path("photos"),
		"network.from: open " + w.path("none"):                                                         w.path("none"),
		"network.from: " + w.path("style.png") + ": unknown model format: ":                            w.path("style.png"),
	} {
		r, err := New(t.Context(), w.config(t, append(two, "network.from="+from)...), w.path("run"), Options{})
		if r != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	// A size that the model's network does not give back is refused by its key.
	cfg := w.config(t, append(two, w.painted(t, "blue"), "network.from="+w.path("base"), "network.architecture=c3s1-3", "data.size=33")...)
	if _, err := New(t.Context(), cfg, w.path("run"), Options{}); err == nil || !strings.Contains(err.Error(), "data.size must be a multiple of 2") {
		t.Errorf("an odd data.size: %v", err)
	}
}
