package train

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"stylenet/configs"
	"stylenet/internal/atomicfile"
	"stylenet/internal/devices"
	"stylenet/internal/formats/safetensors"
	"stylenet/internal/images"
	"stylenet/internal/model"
	"stylenet/internal/networks"
	"stylenet/internal/scenes"
	"stylenet/internal/stylize"
	"stylenet/losses"
)

// anyStyle is a training run of a network for any style that takes a moment, on
// drawn photos and drawn paintings.
func (w world) anyStyle(t *testing.T, sets ...string) *configs.Config {
	t.Helper()
	check(t, os.MkdirAll(w.path("styles"), 0o777))
	for i := range 6 {
		var b bytes.Buffer
		check(t, png.Encode(&b, painting(uint64(20+i), 64, i%2 == 1)))
		check(t, os.WriteFile(w.path(fmt.Sprintf("styles/%d.png", i)), b.Bytes(), 0o666))
	}
	check(t, os.WriteFile(w.path("styles/broken.png"), []byte("no picture"), 0o666))
	cfg, err := configs.LoadPreset("adain", append([]string{
		"data.dir=" + w.path("photos"), "data.size=32", "data.scale_min=1", "style.dir=" + w.path("styles"), "style.size=64",
		"vgg.random=true", "network.encoder=relu2_1", "loss.content.layers={relu2_1: 1}", "loss.style.layers={relu1_1: 1, relu2_1: 1}",
		"train.batch=2", "train.threads=1", "train.steps=12", "train.checkpoint_every=4", "train.preview_every=0",
	}, sets...))
	check(t, err)
	return cfg
}

// painting draws one of side² pixels, bold or faint.
func painting(seed uint64, side int, faint bool) *image.RGBA {
	img := scenes.Painting(seed, side, side)
	for i, v := range img.Pix {
		if faint && i%4 != 3 {
			img.Pix[i] = 96 + v/4
		}
	}
	return img
}

// quick takes VGG-19 from a file that is read sooner than a random one is made.
func (w world) quick(t *testing.T) []string {
	t.Helper()
	net, err := networks.VGG19("relu2_1", networks.Caffe, false)
	check(t, err)
	set, err := net.Init(1)
	check(t, err)
	check(t, atomicfile.Write(w.path("vgg2.safetensors"), 0o666, func(out io.Writer) error {
		return safetensors.Encode(out, set, map[string]string{}, safetensors.F32)
	}))
	return []string{"vgg.random=false", "vgg.weights=" + w.path("vgg2.safetensors"), "vgg.convention=caffe"}
}

func TestAdaINResumeIsExact(t *testing.T) {
	defer goleak.VerifyNone(t)
	w := newWorld(t, 5)
	cfg := w.anyStyle(t, append(w.quick(t), "data.flip=true", "data.scale_max=1.5", "train.preview_every=6", "train.steps=6", "train.checkpoint_every=6")...)
	if devices.Names()[0] != "reference" { // evaluations are of 256²
		cfg.Data.Holdout = w.path("held out")
	}
	check(t, os.MkdirAll(w.path("held out"), 0o777))
	w.draw(t, "held out/0.png", 99)
	cfg.Style.Holdout = w.path("unseen")
	check(t, os.MkdirAll(cfg.Style.Holdout, 0o777))
	for _, name := range []string{"a", "b"} {
		w.draw(t, "unseen/"+name+".png", uint64(name[0]))
	}
	trainAll(t, cfg, w.path("straight"))
	want := outcome(t, w.path("straight"))
	dir := w.path("stopped")
	open := func(ctx context.Context, o Options) (*Run, error) { return New(ctx, cfg, dir, o) }
	for _, step := range []int{1, 4} {
		stopAt(t, open, step)
		open = func(ctx context.Context, o Options) (*Run, error) { return Resume(ctx, dir, nil, o) }
	}
	r, err := open(t.Context(), Options{})
	check(t, err)
	check(t, errors.Join(r.Train(t.Context()), r.Close()))
	same(t, outcome(t, dir), want)
	var evaluations []Evaluation
	if cfg.Data.Holdout != "" {
		evaluations = readLines[Evaluation](t, filepath.Join(dir, "eval.jsonl"))
	}
	for _, e := range evaluations {
		if !(e.Plain > 0 && e.Style > 0) || e.Plain == e.Style {
			t.Errorf("the style is %g away from photos, %g from results", e.Plain, e.Style)
		}
	}
	var skipped []string
	for _, s := range r.Info().Skipped {
		skipped = append(skipped, filepath.Base(s.Path))
	}
	slices.Sort(skipped)
	if !slices.Equal(skipped, []string{"broken.jpg", "broken.png"}) {
		t.Errorf("skipped %v", skipped)
	}
	previews, err := filepath.Glob(filepath.Join(dir, "previews", "*"))
	check(t, err)
	if len(previews) != 1 || filepath.Base(previews[0]) != "step-00000006.png" {
		t.Fatalf("previews %v", previews)
	}
	if p, err := images.Open(previews[0]); err != nil || p.W != 8+3*(previewSide/2+8) { // the photo in two styles, beside it
		t.Errorf("a sheet of %d×%d, %v", p.W, p.H, err)
	}
}

// A trained network takes on a style that it never saw, gives back the photo at
// no strength, and goes from one style to another in even steps.
func TestAdaINLearnsAnyStyle(t *testing.T) {
	if devices.Names()[0] == "reference" {
		t.Skip("needs a fast backend: build with -tags onednn")
	}
	w := newWorld(t, 8)
	cfg := w.anyStyle(t, "train.steps=80", "train.lr=2e-3", "train.batch=4", "train.checkpoint_every=0")
	r, err := New(t.Context(), cfg, w.path("run"), Options{})
	check(t, err)
	defer func() { check(t, r.Close()) }()
	check(t, r.Train(t.Context()))
	log := readLines[Metrics](t, w.path("run/metrics.jsonl"))
	mean := func(lines []Metrics) (sum float64) {
		for _, m := range lines {
			sum += m.Style / float64(len(lines))
		}
		return sum
	}
	before, after := mean(log[:5]), mean(log[len(log)-10:])
	t.Logf("the style loss falls from %.4g to %.4g", before, after)
	if !(after < before/2) {
		t.Errorf("the style loss falls from %g to %g, want half or less", before, after)
	}

	set, err := r.weights()
	check(t, err)
	trained := &model.Model{Network: r.model.Network, Weights: set}
	picture := func(img image.Image) *images.Picture {
		var b bytes.Buffer
		check(t, png.Encode(&b, img))
		p, err := images.Decode(&b)
		check(t, err)
		return p
	}
	// None of them was seen in training.
	photo, a, b := picture(scenes.Photo(77, 96, 96)), picture(painting(500, 96, false)), picture(painting(501, 96, true))
	var styles []model.Style
	for _, p := range []*images.Picture{a, b} {
		s, err := stylize.StyleOf(r.dev, trained, p)
		check(t, err)
		styles = append(styles, s)
	}
	paint := func(s model.Style, strength float32) *images.Picture {
		m, err := trained.Styled(s, strength)
		check(t, err)
		st, err := stylize.Open(r.dev, m)
		check(t, err)
		p, err := st.Picture(t.Context(), photo, stylize.Options{Strength: 1})
		check(t, errors.Join(err, st.Close()))
		return p
	}
	distance := func(p, style *images.Picture) float64 { return momentsDistance(t, r, p, style) }
	content := func(p *images.Picture) float64 { return contentDistance(t, r, p, photo) }

	plain, styled := distance(photo, a), distance(paint(styles[0], 1), a)
	t.Logf("an unseen style is %.4g away from the photo, %.4g from the result", plain, styled)
	if !(styled < plain/2) {
		t.Errorf("an unseen style is %g away from the result, %g from the photo: want half or less", styled, plain)
	}
	// From no strength to all of it, the photo gets lost and the style shows.
	var kept, shown []float64
	for _, strength := range []float32{0, .25, .5, .75, 1} {
		p := paint(styles[0], strength)
		kept, shown = append(kept, content(p)), append(shown, distance(p, a))
	}
	t.Logf("content %.3g, style %.3g", kept, shown)
	if !slices.IsSorted(kept) || !slices.IsSortedFunc(shown, func(x, y float64) int { return cmp.Compare(y, x) }) {
		t.Errorf("with strength, the distance to the photo is %.3g and to the style %.3g", kept, shown)
	}
	if !(kept[0] < kept[4]/2) {
		t.Errorf("at strength 0 the photo is %g away, at 1 %g: want half or less", kept[0], kept[4])
	}
	// From one style to the other.
	var toA, toB []float64
	for _, share := range []float64{0, .25, .5, .75, 1} {
		mix, err := model.MixStyles(styles, []float64{1 - share, share})
		check(t, err)
		p := paint(mix, 1)
		toA, toB = append(toA, distance(p, a)), append(toB, distance(p, b))
	}
	t.Logf("to one style %.3g, to the other %.3g", toA, toB)
	if !slices.IsSorted(toA) || !slices.IsSortedFunc(toB, func(x, y float64) int { return cmp.Compare(y, x) }) {
		t.Errorf("from one style to the other, the distances are %.3g and %.3g", toA, toB)
	}
}

// momentsDistance is the style loss of a picture against another.
func momentsDistance(t *testing.T, r *Run, p, style *images.Picture) (sum float64) {
	t.Helper()
	var of [2][][]float32
	for i, p := range []*images.Picture{p, style} {
		var err error
		of[i], err = losses.MomentsOf(r.dev, r.lossNet, r.lossArrays, p.Pix, p.H, p.W, r.recipe.Style)
		check(t, err)
	}
	for l := range of[0] {
		for i, v := range of[0][l] {
			d := float64(v - of[1][l][i])
			sum += 2 * d * d / float64(len(of[0][l]))
		}
	}
	return sum
}

// contentDistance is the content loss of a picture against another.
func contentDistance(t *testing.T, r *Run, p, photo *images.Picture) float64 {
	t.Helper()
	recipe := losses.Recipe{Content: r.recipe.Content}
	m, err := losses.NewMeter(r.dev, r.lossNet, r.lossArrays, nil, recipe, p.H, p.W)
	check(t, err)
	content, _, err := m.Measure(photo.Pix, p.Pix)
	check(t, errors.Join(err, m.Close()))
	return content[0]
}

// What is wrong with the folders of styles is said before the first step.
func TestAdaINFolders(t *testing.T) {
	w := newWorld(t, 2)
	check(t, os.MkdirAll(w.path("empty"), 0o777))
	for want, sets := range map[string][]string{
		"style.dir: ":     {"style.dir=" + w.path("empty")},
		"style.holdout: ": {"style.holdout=" + w.path("gone"), "train.preview_every=1"},
		"style.holdout: no picture in " + w.path("empty"): {"style.holdout=" + w.path("empty"), "train.preview_every=1"},
	} {
		cfg := w.anyStyle(t, append(w.quick(t), sets...)...)
		if _, err := New(t.Context(), cfg, w.path("run"), Options{}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v: %v, want %s", sets, err, want)
		}
	}
}

// The encoder in a model is VGG-19, scaled: it is what the losses are measured
// with, and stays as it was made.
func TestAdaINEncoderIsKept(t *testing.T) {
	w := newWorld(t, 3)
	// Without a content loss nothing but the model asks for the deepest layer.
	cfg := w.anyStyle(t, append(w.quick(t), "train.steps=2", "loss.content={weight: 0, layers: {}}", "loss.style.layers={relu1_2: 1}")...)
	r, err := New(t.Context(), cfg, w.path("run"), Options{})
	check(t, err)
	defer func() { check(t, r.Close()) }()
	before := slices.Clone(r.model.Weights.Get("features.2.weight").Data)
	decoder := slices.Clone(r.model.Weights.Get("decoder.conv2_1.weight").Data)
	check(t, r.Train(t.Context()))
	set, err := r.weights()
	check(t, err)
	if !slices.Equal(set.Get("features.2.weight").Data, before) {
		t.Error("the encoder was trained")
	}
	if slices.Equal(set.Get("decoder.conv2_1.weight").Data, decoder) {
		t.Error("the decoder was not trained")
	}
	onDevice := make([]float32, len(before))
	check(t, r.dev.Download(onDevice, r.lossArrays["features.2.weight"]))
	if !slices.Equal(onDevice, before) {
		t.Error("the losses are measured with another network than the model's encoder")
	}
}
