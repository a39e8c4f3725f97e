package train

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"stylenet/configs"
	"stylenet/internal/atomicfile"
	"stylenet/internal/checkpoint"
	"stylenet/internal/formats/safetensors"
	"stylenet/internal/kernels"
	"stylenet/internal/networks"
	"stylenet/internal/scenes"
	"stylenet/internal/vgg"
)

// world is a folder of photos, a painting and the start of a VGG-19.
type world struct{ dir string }

func TestMain(m *testing.M) {
	// In memory the syncs of all the checkpoints cost nothing.
	const memory = "/dev/shm"
	if os.Getenv("TMPDIR") == "" {
		if dir, err := os.MkdirTemp(memory, "probe"); err == nil {
			os.Remove(dir)
			os.Setenv("TMPDIR", memory)
		}
	}
	os.Exit(m.Run())
}

// newWorld draws photos of 64² pixels and adds a broken one.
func newWorld(t *testing.T, photos int) world {
	t.Helper()
	w := world{t.TempDir()}
	check(t, os.MkdirAll(w.path("photos"), 0o777))
	for i := range photos {
		w.draw(t, fmt.Sprintf("photos/%d.png", i), uint64(i))
	}
	check(t, os.WriteFile(w.path("photos/broken.jpg"), []byte("\xff\xd8\xff broken"), 0o666))
	w.draw(t, "style.png", 3)
	net, err := networks.VGG19("relu1_2", networks.Caffe, false)
	check(t, err)
	set, err := net.Init(1)
	check(t, err)
	check(t, atomicfile.Write(w.path("vgg.safetensors"), 0o666, func(out io.Writer) error {
		return safetensors.Encode(out, set, nil, safetensors.F32)
	}))
	return w
}

func (w world) path(name string) string { return filepath.Join(w.dir, filepath.FromSlash(name)) }

func (w world) draw(t *testing.T, name string, seed uint64) {
	t.Helper()
	var b bytes.Buffer
	check(t, png.Encode(&b, scenes.Photo(seed, 64, 64)))
	check(t, os.WriteFile(w.path(name), b.Bytes(), 0o666))
}

// config is a training run that takes a moment, changed by sets.
func (w world) config(t *testing.T, sets ...string) *configs.Config {
	t.Helper()
	cfg, err := w.load(sets...)
	check(t, err)
	return cfg
}

func (w world) load(sets ...string) (*configs.Config, error) {
	return configs.LoadPreset("johnson", append([]string{
		"data.dir=" + w.path("photos"), "data.size=32",
		"style.image=" + w.path("style.png"), "style.size=32",
		"vgg.weights=" + w.path("vgg.safetensors"), "vgg.convention=caffe",
		"network.architecture=c3s1-8,d8,R8,u8,c3s1-3", "network.padding=reflect",
		"loss.content.layers={relu1_1: 1}", "loss.style.layers={relu1_1: 1}",
		"train.batch=2", "train.threads=1", "train.steps=12",
		"train.checkpoint_every=4", "train.preview_every=0",
	}, sets...))
}

// A model goes to strangers: it says what it was trained on, not where that lay.
func TestRecipeOfAModelNamesNoFolder(t *testing.T) {
	w := newWorld(t, 2)
	cfg := w.config(t, append(w.twoStyles(t), "train.steps=1", "data.holdout="+w.path("photos"), "train.preview_image="+w.path("style.png"))...)
	r := trainAll(t, cfg, w.path("run"))
	if strings.Contains(r.model.Recipe, w.dir) {
		t.Errorf("the recipe names %s: %s", w.dir, r.model.Recipe)
	}
	for _, want := range []string{`"dir":"photos"`, `"path":"style.png"`, `"path":"other.png"`, `"weights":"vgg.safetensors"`} {
		if !strings.Contains(r.model.Recipe, want) {
			t.Errorf("the recipe lacks %s: %s", want, r.model.Recipe)
		}
	}
	if b, err := os.ReadFile(w.path("run/config.yaml")); err != nil || !strings.Contains(string(b), w.path("photos")) {
		t.Errorf("the run's own configuration lost its folders (%v):\n%s", err, b)
	}
}

// everything turns on whatever has a state that a resume must bring back.
var everything = []string{
	"network.norm=batch", "train.clip_norm=1", "train.schedule=cosine", "train.warmup=3",
	"data.flip=true", "data.scale_min=1", "data.scale_max=1.5",
}

// twoStyles has a network learn two styles, of which one is drawn here.
func (w world) twoStyles(t *testing.T) []string {
	t.Helper()
	w.draw(t, "other.png", 5)
	return []string{"kind=multistyle", "style.image=", fmt.Sprintf("style.images=[{name: a, path: %q}, {name: b, path: %q}]", w.path("style.png"), w.path("other.png"))}
}

func trainAll(t *testing.T, cfg *configs.Config, dir string) *Run {
	t.Helper()
	r, err := New(t.Context(), cfg, dir, Options{})
	check(t, err)
	check(t, errors.Join(r.Train(t.Context()), r.Close()))
	return r
}

// outcome is all that a run leaves behind that may not depend on stops.
func outcome(t *testing.T, dir string) map[string]string {
	t.Helper()
	latest, err := os.ReadFile(filepath.Join(dir, "checkpoints", "latest"))
	check(t, err)
	got := map[string]string{"latest": string(latest)}
	for _, name := range []string{"model.safetensors", "optimizer.safetensors"} {
		b, err := os.ReadFile(filepath.Join(dir, "checkpoints", strings.TrimSpace(string(latest)), name))
		check(t, err)
		got[name] = string(b)
	}
	var lines strings.Builder
	for _, m := range readLines[Metrics](t, filepath.Join(dir, "metrics.jsonl")) {
		m.ImagesPerSecond = 0
		fmt.Fprintf(&lines, "%+v\n", m)
	}
	got["metrics.jsonl"] = lines.String()
	if b, err := os.ReadFile(filepath.Join(dir, "eval.jsonl")); err == nil {
		got["eval.jsonl"] = string(b)
	}
	return got
}

func readLines[T any](t *testing.T, path string) []T {
	t.Helper()
	f, err := os.Open(path)
	check(t, err)
	defer f.Close()
	var all []T
	for s := bufio.NewScanner(f); s.Scan(); {
		var v T
		d := json.NewDecoder(bytes.NewReader(s.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%s: %v in %s", path, err, s.Text())
		}
		all = append(all, v)
	}
	return all
}

func same(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name := range want {
		if got[name] == want[name] {
			continue
		}
		if strings.HasSuffix(name, ".safetensors") {
			t.Errorf("%s differs from that of a run without a stop", name)
		} else {
			t.Errorf("%s is\n%s\nwithout a stop it is\n%s", name, got[name], want[name])
		}
	}
}

// stopAt trains until after a step, is told to stop, and closes the run. Where
// losses are read late, the next step is under way by then.
func stopAt(t *testing.T, open func(context.Context, Options) (*Run, error), step int) {
	t.Helper()
	stop := errors.New("told to stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	r, err := open(ctx, Options{Observe: func(m Metrics) {
		if m.Step == step {
			cancel(stop)
		}
	}})
	check(t, err)
	if err := r.Train(ctx); err != stop {
		t.Errorf("stopped after step %d: %v", step, err)
	}
	got := r.Info().Step
	if got < step || got > step+r.readings.ahead {
		t.Errorf("stopped after step %d, not %d", got, step)
	}
	check(t, r.Close())
	if lines := readLines[Metrics](t, filepath.Join(r.dir, "metrics.jsonl")); len(lines) != got {
		t.Errorf("stopped after step %d, with %d lines in the log", got, len(lines))
	}
}

// A run that is stopped and resumed ends with the bytes of one that is not.
func TestResumeIsExact(t *testing.T) {
	defer goleak.VerifyNone(t)
	w := newWorld(t, 7)
	w.film(t, 6)
	for _, c := range []struct {
		name string
		sets []string
		at   []int
		wrap func(kernels.Device) kernels.Device
	}{
		{"instance norm", nil, []int{4}, nil},
		{"threads", []string{
			"train.threads=2", "train.steps=4", "network.architecture=c3s1-16,d32,R32,u16,c3s1-3", "loss.style.layers={relu1_2: 1}",
		}, []int{2}, nil},
		{"bf16", []string{"train.precision=bf16"}, []int{4}, nil},
		{"clips", append(everything, "kind=video", "video.motion=3", "data.workers=3", "video.clips="+w.path("clips")), []int{1, 5, 8, 11}, nil},
		{"video", append(everything, "kind=video", "video.motion=3", "data.workers=3"), []int{1, 5, 8, 11}, nil},
		{"many styles", w.twoStyles(t), []int{3, 6}, nil},
		{"everything", append(everything, "data.workers=3"), []int{1, 5, 8, 11}, nil},
		{"read late", append(everything, "data.workers=3"), []int{1, 5, 8, 10}, readLate},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := w.config(t, c.sets...)
			inPrecision(t, cfg.Train.Precision)
			trainAll(t, cfg, w.path(c.name+"/straight"))
			want := outcome(t, w.path(c.name+"/straight"))
			dir := w.path(c.name + "/stopped")
			open := func(ctx context.Context, o Options) (*Run, error) {
				o.Device = c.wrap
				return New(ctx, cfg, dir, o)
			}
			for _, step := range c.at {
				stopAt(t, open, step)
				open = func(ctx context.Context, o Options) (*Run, error) {
					o.Device = c.wrap
					o.Warn = func(err error) { t.Errorf("warning: %v", err) }
					return Resume(ctx, dir, nil, o)
				}
			}
			r, err := open(t.Context(), Options{})
			check(t, err)
			check(t, errors.Join(r.Train(t.Context()), r.Close()))
			same(t, outcome(t, dir), want)
			if s := r.Info().Skipped; len(s) != 1 || s[0].Path != "broken.jpg" {
				t.Errorf("skipped %v", s)
			}
			// To resume what is done does nothing.
			r, err = Resume(t.Context(), dir, nil, Options{Observe: func(m Metrics) { t.Errorf("step %d", m.Step) }})
			check(t, err)
			check(t, errors.Join(r.Train(t.Context()), r.Close()))
			same(t, outcome(t, dir), want)
		})
	}
}

// A context that ends before the first step, or in New, loses nothing.
func TestStoppedBeforeTheFirstStep(t *testing.T) {
	defer goleak.VerifyNone(t)
	w := newWorld(t, 2)
	cfg := w.config(t, "train.steps=2")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	dir := w.path("run")
	if _, err := New(ended, cfg, dir, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("New: %v", err)
	}
	r, err := New(t.Context(), cfg, dir, Options{})
	check(t, err)
	if err := r.Train(ended); err != context.Canceled {
		t.Errorf("Train: %v", err)
	}
	// The same run goes on without a loss, too.
	check(t, errors.Join(r.Train(t.Context()), r.Close()))
	trainAll(t, cfg, w.path("straight"))
	same(t, outcome(t, dir), outcome(t, w.path("straight")))
}

func TestResumePassesOverDamage(t *testing.T) {
	w := newWorld(t, 5)
	cfg := w.config(t, everything...)
	trainAll(t, cfg, w.path("straight"))
	dir := w.path("run")
	stopAt(t, func(ctx context.Context, o Options) (*Run, error) { return New(ctx, cfg, dir, o) }, 9)
	damaged := filepath.Join(dir, "checkpoints", "step-00000009", "optimizer.safetensors")
	b, err := os.ReadFile(damaged)
	check(t, err)
	b[len(b)/2] ^= 1
	check(t, os.WriteFile(damaged, b, 0o666))
	var warnings []string
	r, err := Resume(t.Context(), dir, nil, Options{Warn: func(err error) { warnings = append(warnings, err.Error()) }})
	check(t, err)
	if r.Info().Step != 8 {
		t.Errorf("resumed at step %d, not at 8", r.Info().Step)
	}
	if len(warnings) != 1 || !strings.HasPrefix(warnings[0], "a damaged checkpoint was passed over: "+damaged+": it is damaged: its SHA-256 is ") {
		t.Errorf("warnings %q", warnings)
	}
	check(t, errors.Join(r.Train(t.Context()), r.Close()))
	same(t, outcome(t, dir), outcome(t, w.path("straight")))
}

// A log that lost lines is told of, and training goes on.
func TestResumeOfAShortLog(t *testing.T) {
	w := newWorld(t, 3)
	cfg := w.config(t, "train.steps=3")
	dir := w.path("run")
	stopAt(t, func(ctx context.Context, o Options) (*Run, error) { return New(ctx, cfg, dir, o) }, 2)
	check(t, os.Truncate(filepath.Join(dir, "metrics.jsonl"), 0))
	var warnings []string
	r, err := Resume(t.Context(), dir, nil, Options{Warn: func(err error) { warnings = append(warnings, err.Error()) }})
	check(t, err)
	check(t, errors.Join(r.Train(t.Context()), r.Close()))
	want := filepath.Join(dir, "metrics.jsonl") + " is shorter than at the checkpoint of step 2: some of its lines are lost"
	if len(warnings) != 1 || warnings[0] != want {
		t.Errorf("warnings %q, want %q", warnings, want)
	}
	if m := readLines[Metrics](t, filepath.Join(dir, "metrics.jsonl")); len(m) != 1 || m[0].Step != 3 {
		t.Errorf("the log holds %+v", m)
	}
}

func TestDivergence(t *testing.T) {
	defer goleak.VerifyNone(t)
	w := newWorld(t, 3)
	for name, wrap := range map[string]func(kernels.Device) kernels.Device{"at once": nil, "late": readLate} {
		t.Run(name, func(t *testing.T) { diverge(t, w, name, wrap) })
	}
	// What the hint says helps.
	r, err := Resume(t.Context(), filepath.Join(w.dir, "at once", "train.lr=1e30"), []string{"train.lr=1e-3", "train.steps=2"}, Options{})
	check(t, err)
	check(t, errors.Join(r.Train(t.Context()), r.Close()))
}

// diverge trains, on a device that reads losses at once or late, until they are
// no numbers.
func diverge(t *testing.T, w world, name string, wrap func(kernels.Device) kernels.Device) {
	for _, c := range []struct {
		sets []string
		step int
		want string
		kept int
	}{
		// Weights of 1e30 make features that float32 cannot hold.
		{[]string{"train.lr=1e30"}, 2, "step 2: the loss is ", 0},
		{[]string{"train.lr=1e30", "train.checkpoint_every=1"}, 2, "step 2: the loss is ", 1},
		// The step itself is finite; what it makes of the weights is not.
		{[]string{"train.lr=1e39", "train.checkpoint_every=1"}, 1, `step 1: tensor "`, 0},
		{[]string{"train.lr=1e39", "train.steps=1"}, 1, `step 1: tensor "`, 0},
		// Fused ReLUs turn pictures of NaN into features of zero: without total
		// variation the gradients alone tell.
		{[]string{"train.lr=1e37", "loss.total_variation=0"}, 2, "step 2: the ", 0},
		{[]string{"loss.content.weight=1e308", "loss.content.layers={relu1_1: 1e5}"}, 1, "step 1: the loss is +Inf: training has diverged", 0},
	} {
		dir := filepath.Join(w.dir, name, strings.Join(c.sets, " "))
		r, err := New(t.Context(), w.config(t, c.sets...), dir, Options{Device: wrap})
		check(t, err)
		err = r.Train(t.Context())
		check(t, r.Close())
		diverged, ok := errors.AsType[*DivergedError](err)
		if !ok {
			t.Errorf("%v: %v", c.sets, err)
			continue
		}
		if diverged.Step != c.step || diverged.Checkpoint != c.kept || !strings.HasPrefix(err.Error(), c.want) ||
			!strings.HasSuffix(err.Error(), fmt.Sprintf("; the checkpoint of step %d in %s is kept", c.kept, dir)) {
			t.Errorf("%v: %v", c.sets, err)
		}
		hint := diverged.Hint()
		if !strings.HasPrefix(hint, "resume it with a lower train.lr") || (c.kept > 0) != strings.Contains(hint, "remove "+filepath.Join(dir, "checkpoints", "step-00000001")) {
			t.Errorf("%v: hint %q", c.sets, hint)
		}
		s, warnings, err := checkpoint.Latest(filepath.Join(dir, "checkpoints"))
		check(t, err)
		if s.Step != c.kept || len(warnings) > 0 {
			t.Errorf("%v: step %d is kept, warnings %v", c.sets, s.Step, warnings)
		}
		for _, tensor := range s.Model.Tensors() {
			for _, v := range tensor.Data {
				if !finite(float64(v)) {
					t.Fatalf("%v: the kept %s holds %v", c.sets, tensor.Name, v)
				}
			}
		}
	}
}

// Whatever is wrong at the start is told, and the directory can be used again.
func TestErrorsBeforeTraining(t *testing.T) {
	defer goleak.VerifyNone(t)
	w := newWorld(t, 2)
	t.Setenv(vgg.EnvPath, "")
	for _, name := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} {
		t.Setenv(name, w.path("cache"))
	}
	for _, dir := range []string{"empty", "bad"} {
		check(t, os.Mkdir(w.path(dir), 0o777))
	}
	check(t, os.WriteFile(w.path("bad/a.jpg"), []byte("no picture"), 0o666))
	for _, c := range []struct {
		set  string
		want string // the error contains it
		hint string // the hint begins with it
	}{
		{"data.dir=" + w.path("empty"), "data.dir: " + w.path("empty") + " holds no pictures", ""},
		{"data.dir=" + w.path("bad"), "data.dir: " + w.path("bad") + " holds no usable picture among 1 files; a.jpg: not a picture", ""},
		{"data.dir=" + w.path("none"), "data.dir: stat " + w.path("none") + ": no such file", ""},
		{"data.holdout=" + w.path("bad"), "data.holdout: no photo in " + w.path("bad") + " can be read", ""},
		{"data.holdout=" + w.path("none"), "data.holdout: stat " + w.path("none") + ": no such file", ""},
		{"style.image=" + w.path("none.png"), "style.image: open " + w.path("none.png") + ": no such file", ""},
		{"style.image=" + w.path("bad/a.jpg"), "style.image: " + w.path("bad/a.jpg") + ": not a picture", ""},
		{"train.preview_image=" + w.path("none.png"), "train.preview_image: open " + w.path("none.png") + ": no such file", ""},
		{"vgg.weights=", "no VGG-19 weights: vgg.weights and STYLENET_VGG19 are empty, and there is no " + w.path("cache"), "run stylenet weights fetch, "},
		{"vgg.weights=" + w.path("none"), "VGG-19 weights named by vgg.weights: stat " + w.path("none") + ": no such file", ""},
		{"vgg.weights=" + w.path("style.png"), w.path("style.png") + ": unknown model format", ""},
		{"loss.style.layers={relu4_1: 1}", `VGG-19 weights vgg.safetensors (sha256 `, ""},
		{"loss.content.layers={relu2_1: 1}", `tensor "features.5.weight" is missing`, ""},
		{"network.architecture=c3s1-8,d8,d8,d8,d8,d8,c5s1-8,u8,u8,u8,u8,u8,c3s1-3", "the style network at data.size 32: layer conv7.pad: a map of 1×1 is too small for a reflected border", ""},
	} {
		dir := w.path("runs/of/today")
		r, err := New(t.Context(), w.config(t, "train.preview_every=1", c.set), dir, Options{})
		if r != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.set, err, c.want)
		}
		var h interface{ Hint() string }
		if errors.As(err, &h) != (c.hint != "") || h != nil && !strings.HasPrefix(h.Hint(), c.hint) {
			t.Errorf("%s: hint of %v, want %q", c.set, err, c.hint)
		}
		if _, err := os.Lstat(w.path("runs")); !os.IsNotExist(err) {
			t.Errorf("%s leaves runs: %v", c.set, err)
		}
	}
	// What was there before stays. A checkpoint that cannot be written is in the
	// way of nothing either.
	check(t, os.Mkdir(w.path("run"), 0o777))
	check(t, os.WriteFile(w.path("run/notes"), nil, 0o666))
	if _, err := New(t.Context(), w.config(t, "data.dir="+w.path("none")), w.path("run"), Options{}); err == nil {
		t.Error("a run without photos")
	}
	if entries, err := os.ReadDir(w.path("run")); err != nil || len(entries) != 1 {
		t.Errorf("%v: left are %v", err, entries)
	}
	check(t, os.WriteFile(w.path("run/checkpoints"), nil, 0o666))
	if _, err := New(t.Context(), w.config(t), w.path("run"), Options{}); err == nil || !strings.Contains(err.Error(), w.path("run/checkpoints")) {
		t.Errorf("a file in place of checkpoints: %v", err)
	}
	check(t, os.Remove(w.path("run/checkpoints")))
	trainAll(t, w.config(t, "train.steps=1"), w.path("run"))

	// So do links, empty directories and what other programs call latest.
	check(t, os.MkdirAll(w.path("theirs/checkpoints/latest"), 0o777))
	check(t, os.WriteFile(w.path("theirs/checkpoints/latest/model.bin"), nil, 0o666))
	check(t, os.MkdirAll(w.path("empty run"), 0o777))
	for link, to := range map[string]string{"link": "run", "link to nothing in it": "empty run"} {
		if err := os.Symlink(w.path(to), w.path(link)); err != nil {
			t.Skip("no symbolic links: ", err)
		}
	}
	for dir, kept := range map[string]string{
		"link": "link", "link to nothing in it": "link to nothing in it", "empty run": "empty run",
		"theirs": "theirs/checkpoints/latest/model.bin",
	} {
		if _, err := New(t.Context(), w.config(t, "data.dir="+w.path("none")), w.path(dir), Options{}); err == nil {
			t.Error("a run without photos")
		}
		if _, err := os.Lstat(w.path(kept)); err != nil {
			t.Error(err)
		}
	}

	if _, err := New(t.Context(), w.config(t), w.path("style.png"), Options{}); err == nil || !strings.HasPrefix(err.Error(), "run directory: ") {
		t.Errorf("a file in place of the directory: %v", err)
	}
}

func TestDirectoriesThatAreTaken(t *testing.T) {
	defer goleak.VerifyNone(t)
	w := newWorld(t, 2)
	dir := w.path("run")
	cfg := w.config(t, "train.steps=3")
	r, err := New(t.Context(), cfg, dir, Options{})
	check(t, err)
	if _, err := Resume(t.Context(), dir, nil, Options{}); !strings.Contains(fmt.Sprint(err), fmt.Sprintf("run directory %s is in use by process %d", dir, os.Getpid())) {
		t.Errorf("a second trainer: %v", err)
	}
	check(t, errors.Join(r.Train(t.Context()), r.Close()))
	before := outcome(t, dir)

	_, err = New(t.Context(), cfg, dir, Options{})
	exists, ok := errors.AsType[*ExistsError](err)
	if !ok || err.Error() != dir+" holds a run already" || exists.Hint() != "go on with it: stylenet train --resume "+dir+"; or choose another --out" {
		t.Errorf("a new run in place of another: %v", err)
	}
	for set, want := range map[string]string{
		"network.architecture=c3s1-4,d8,R8,u8,c3s1-3": `the checkpoint of step 3 does not fit the configuration: tensor "`,
		"network.norm=batch":                          `the checkpoint of step 3 does not fit the configuration: tensor "`,
		"train.steps=2":                               "the run has done 3 steps, more than the 2 that train.steps or train.epochs ask for: raise them",
		"train.lr=0":                                  "--set train.lr must be above 0",
		"data.dir=" + w.path("."):                     w.path(".") + " has changed since the run began: it had 3 pictures and has 4",
	} {
		if _, err := Resume(t.Context(), dir, []string{set}, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("resume with %s: %v, want %q", set, err, want)
		}
	}
	if _, err := Resume(t.Context(), w.path("photos"), nil, Options{}); err == nil || err.Error() != w.path("photos")+" holds no run to resume: there is no config.yaml in it" {
		t.Errorf("resume of photos: %v", err)
	}
	same(t, outcome(t, dir), before)

	// What is left of a run is one.
	for _, name := range []string{"metrics.jsonl", "eval.jsonl", "checkpoints"} {
		left := w.path("left of " + name)
		check(t, os.Mkdir(left, 0o777))
		if name == "checkpoints" {
			check(t, os.CopyFS(filepath.Join(left, name), os.DirFS(filepath.Join(dir, name))))
		} else {
			check(t, os.WriteFile(filepath.Join(left, name), []byte("{}\n"), 0o666))
		}
		if _, err := New(t.Context(), cfg, left, Options{}); !errors.As(err, &exists) {
			t.Errorf("a new run over %s: %v", name, err)
		}
		if entries, err := os.ReadDir(left); err != nil || len(entries) != 1 {
			t.Errorf("%s: %v %v", name, entries, err)
		}
	}

	// More steps than were planned.
	r, err = Resume(t.Context(), dir, []string{"train.steps=4"}, Options{})
	check(t, err)
	check(t, errors.Join(r.Train(t.Context()), r.Close()))
	trainAll(t, w.config(t, "train.steps=4"), w.path("four"))
	same(t, outcome(t, dir), outcome(t, w.path("four")))
}

// A stop reads the step that is under way first: a run that has diverged there
// leaves the newest checkpoint as it is.
func TestStopOfADivergedRun(t *testing.T) {
	w := newWorld(t, 3)
	stop := errors.New("told to stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	r, err := New(t.Context(), w.config(t, "train.lr=1e30"), w.path("run"), Options{Device: readLate, Observe: func(Metrics) { cancel(stop) }})
	check(t, err)
	err = r.Train(ctx)
	check(t, r.Close())
	if diverged, ok := errors.AsType[*DivergedError](err); !ok || !errors.Is(err, stop) || diverged.Step != 2 {
		t.Errorf("stopped after step 1, with step 2 under way: %v", err)
	}
	s, _, err := checkpoint.Latest(w.path("run/checkpoints"))
	check(t, err)
	if s.Step != 0 {
		t.Errorf("the newest checkpoint is of step %d", s.Step)
	}
}
