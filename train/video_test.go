package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stylenet/internal/flow"
	"stylenet/internal/images"
	"stylenet/internal/inference"
	"stylenet/internal/kernels/reference"
	"stylenet/internal/model"
	"stylenet/internal/motion"
	"stylenet/internal/scenes"
)

// Training for video makes results that differ less along the motion of a clip,
// which is known exactly, and costs little of the style. Both networks have the
// same seed, photos and number of steps, and as many pictures in each.
func TestVideoTrainingFlickersLess(t *testing.T) {
	w := newWorld(t, 8)
	var painting bytes.Buffer
	check(t, png.Encode(&painting, scenes.Painting(1, 96, 96)))
	check(t, os.WriteFile(w.path("painting.png"), painting.Bytes(), 0o666))
	common := []string{
		"style.image=" + w.path("painting.png"), "style.size=96",
		"data.size=48", "train.steps=80", "train.lr=5e-3", "train.schedule=cosine", "train.checkpoint_every=0",
		"loss.content.layers={relu1_2: 1}", "loss.style.layers={relu1_1: 20, relu1_2: 20}", "train.threads=1",
	}
	type result struct{ error, first, style, temporal float64 }
	run := func(name string, sets ...string) result {
		r := trainAll(t, w.config(t, append(common, sets...)...), w.path(name))
		m, err := model.Open(filepath.Join(r.dir, "checkpoints", "step-00000080", "model.safetensors"))
		check(t, err)
		var got result
		lines := readLines[Metrics](t, w.path(name+"/metrics.jsonl"))
		got.first = lines[0].Style
		for _, l := range lines[60:] {
			got.style, got.temporal = got.style+l.Style/20, got.temporal+l.Temporal/20
		}
		got.error = clipError(t, m, motion.Drawn(3, 96, 64), 4)
		return got
	}
	plain := run("plain", "train.batch=4")
	video := run("video", "kind=video", "train.batch=2", "video.weight=0.5", "video.motion=4")
	t.Logf("plain %+v, video %+v", plain, video)
	if !(video.error < plain.error/2) {
		t.Errorf("the warping error is %g, without training for video %g", video.error, plain.error)
	}
	if learned := plain.first - plain.style; !(video.style < plain.style+.1*learned) || !(learned > plain.first/2) {
		t.Errorf("the style loss falls to %g, without training for video from %g to %g", video.style, plain.first, plain.style)
	}
	if plain.temporal != 0 || !(video.temporal > 0) {
		t.Errorf("temporal losses of %g and, for video, %g in the logs", plain.temporal, video.temporal)
	}
}

// clipError is the mean warping error of a network on the first frames of a clip.
func clipError(t *testing.T, m *model.Model, c *motion.Clip, frames int) float64 {
	t.Helper()
	dev := reference.New(2)
	defer func() { check(t, dev.Close()) }()
	net, err := m.Network.Build()
	check(t, err)
	arrays, err := inference.Upload(dev, net, m.Weights)
	check(t, err)
	plan, err := inference.Compile(dev, net, arrays, 1, c.H, c.W)
	check(t, err)
	defer func() { check(t, plan.Close()) }()
	var results [][]float32
	for i := range frames {
		check(t, plan.Device().Upload(plan.Input(), c.Frame(i).Pix))
		plan.Run()
		p := images.New(c.W, c.H)
		check(t, plan.Device().Download(p.Pix, plan.Output(0)))
		for j, v := range p.Pix {
			p.Pix[j] = min(max(v, 0), 255)
		}
		results = append(results, p.Pix)
	}
	sum := 0.
	for i := range frames - 1 {
		f, seen := c.Motion(i, i+1)
		e, err := flow.WarpingError(results[i], results[i+1], f, seen)
		check(t, err)
		sum += e / float64(frames-1)
	}
	return sum
}

// A run that has been trained plainly goes on for video.
func TestPlainRunGoesOnForVideo(t *testing.T) {
	w := newWorld(t, 3)
	trainAll(t, w.config(t, "train.steps=2"), w.path("run"))
	r, err := Resume(t.Context(), w.path("run"), []string{"kind=video", "video.motion=2", "train.steps=4"}, Options{})
	check(t, err)
	check(t, errors.Join(r.Train(t.Context()), r.Close()))
	lines := readLines[Metrics](t, w.path("run/metrics.jsonl"))
	if len(lines) != 4 || lines[1].Temporal != 0 || !(lines[2].Temporal > 0) {
		t.Errorf("lines %+v", lines)
	}
}

// film adds a folder of frames of a clip.
func (w world) film(t *testing.T, frames int) {
	t.Helper()
	check(t, os.MkdirAll(w.path("clips/a"), 0o777))
	for i, c := 0, motion.Drawn(1, 64, 56); i < frames; i++ {
		check(t, images.Save(w.path(fmt.Sprintf("clips/a/%d.png", i)), c.Frame(i), images.SaveOptions{}))
	}
}

// Clips are opened before training, and stand in the run's directory; what is wrong
// with them leaves nothing behind.
func TestClips(t *testing.T) {
	w := newWorld(t, 2)
	sets := []string{"kind=video", "video.motion=2", "video.clips=" + w.path("clips")}
	for _, want := range []string{"video.clips: open " + w.path("clips"), "video.clips: " + w.path("clips") + " holds no clips"} {
		if _, err := New(t.Context(), w.config(t, sets...), w.path("run"), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if _, err := os.Lstat(w.path("run")); !os.IsNotExist(err) {
			t.Errorf("%s leaves a run: %v", want, err)
		}
		check(t, os.MkdirAll(w.path("clips"), 0o777))
	}
	w.film(t, 4)
	trainAll(t, w.config(t, sets...), w.path("run"))
	trainAll(t, w.config(t, sets[:2]...), w.path("photos"))
	with, without := readLines[Metrics](t, w.path("run/metrics.jsonl")), readLines[Metrics](t, w.path("photos/metrics.jsonl"))
	if with[0].Temporal == without[0].Temporal && with[1].Temporal == without[1].Temporal {
		t.Error("clips change nothing")
	}
	if _, err := os.Stat(w.path("run/clips.frames")); err != nil {
		t.Error(err)
	}
}

// A run goes on with the frames that it began with, whatever has become of the
// clips; with others only where it is told to.
func TestVideoResumesWithItsFrames(t *testing.T) {
	w := newWorld(t, 3)
	w.film(t, 6)
	cfg := w.config(t, "kind=video", "video.motion=2", "train.steps=4", "video.clips="+w.path("clips"))
	trainAll(t, cfg, w.path("straight"))
	dir := w.path("run")
	stopAt(t, func(ctx context.Context, o Options) (*Run, error) { return New(ctx, cfg, dir, o) }, 1)
	resume := func(o Options) (*Run, error) { return Resume(t.Context(), dir, nil, o) }

	// Another clip in the folder, and then no folder.
	frames, err := os.Stat(filepath.Join(dir, "clips.frames"))
	check(t, err)
	check(t, os.Rename(w.path("clips/a"), w.path("away")))
	check(t, os.MkdirAll(w.path("clips/b"), 0o777))
	for i := range 4 {
		check(t, images.Save(w.path(fmt.Sprintf("clips/b/%d.png", i)), motion.Drawn(2, 64, 56).Frame(i), images.SaveOptions{}))
	}
	stopAt(t, func(ctx context.Context, o Options) (*Run, error) { return resume(o) }, 2)
	check(t, os.Rename(w.path("clips"), w.path("others")))
	r, err := resume(Options{Warn: func(err error) { t.Errorf("warning: %v", err) }})
	check(t, err)
	check(t, errors.Join(r.Train(t.Context()), r.Close()))
	same(t, outcome(t, dir), outcome(t, w.path("straight")))
	if again, err := os.Stat(filepath.Join(dir, "clips.frames")); err != nil || !os.SameFile(frames, again) {
		t.Errorf("the frames were taken again (%v)", err)
	}

	// Other frames are taken where the run is told to, and are its own from then on.
	r, err = Resume(t.Context(), dir, []string{"video.clips=" + w.path("others"), "train.steps=5"}, Options{})
	check(t, err)
	check(t, errors.Join(r.Train(t.Context()), r.Close()))
	b, err := os.ReadFile(w.path("straight/clips.frames"))
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "clips.frames"), b, 0o666))
	if _, err := resume(Options{}); err == nil || !strings.Contains(err.Error(), "video.clips: "+filepath.Join(dir, "clips.frames")+" holds other frames than before") {
		t.Errorf("the frames of before: %v", err)
	}
	check(t, os.Remove(filepath.Join(dir, "clips.frames")))
	r, err = resume(Options{})
	check(t, err)
	check(t, r.Close())
}
