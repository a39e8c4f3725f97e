package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"stylenet/configs"
	"stylenet/data"
	"stylenet/internal/checkpoint"
	"stylenet/internal/devices"
	"stylenet/internal/images"
	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/model"
	"stylenet/internal/networks"
	"stylenet/internal/stylize"
	"stylenet/internal/vgg"
	"stylenet/internal/weights"
	"stylenet/losses"
)

// Options are what a run does not read from its configuration. The functions
// may be nil.
type Options struct {
	Version string            // of stylenet, for checkpoints and models
	Observe func(Metrics)     // after every step; on a GPU, once the next one is launched
	Warn    func(error)       // something was wrong and has been worked around
	Preview func(path string) // a preview was written
	Eval    func(Evaluation)  // held-out photos were evaluated

	// Source gives the steps something in place of the loader's batches, and
	// Device something in place of the run's device, which closes that with
	// itself: for measurements.
	Source func(*data.Loader) Source
	Device func(kernels.Device) kernels.Device
}

// Source hands out batches; a *data.Loader does.
type Source interface {
	Next(context.Context) (*data.Batch, error)
	Release(*data.Batch)
}

// Run is a training run in its directory, which it holds locked.
type Run struct {
	config  *configs.Config
	options Options
	dir     string
	unlock  func() error

	dev     kernels.Device
	vgg     *vgg.Weights
	lossNet *networks.Network
	recipe  losses.Recipe
	kind    kind
	model   *model.Model
	from    *checkpoint.Snapshot // that the run goes on from, while it is opened; nil for one that begins
	loader  *data.Loader
	source  Source // the loader, or what stands before it

	lossArrays inference.Arrays
	graph
	m, v           []kernels.Array
	recorded       func() error // pass as a whole, where the device can record it
	readings       *readings
	launched       []Metrics      // steps whose losses are not read yet, the oldest first
	since          time.Time      // the end of the step that was read last
	norm           kernels.Kernel // of all gradients, into squaredNorm
	squaredNorm    kernels.Array
	adam           adam    // of what every step trains
	turnAdam       []*adam // of what takes turns, by group
	running        runningStats
	metrics        *os.File
	step, steps    int
	cursor         data.Cursor
	elapsed        float64
	previewPicture *images.Picture // nil without previews
	holdout        [][]float32     // held-out photos, each (3, 256, 256), RGB 0-255
	saved          int             // the step of the newest checkpoint
	wrote          bool            // something into the directory
}

// New starts a run in dir, which may not hold one yet. Paths in the
// configuration are made absolute, so that the run can be resumed from
// anywhere.
//
// On an error nothing is left of what it made, in dir or above it, but the frames
// of clips, which take long to make: the next try finds them.
func New(ctx context.Context, cfg *configs.Config, dir string, o Options) (*Run, error) {
	resolved, err := absolute(cfg)
	if err != nil {
		return nil, err
	}
	if taken, _ := holdsRun(dir); taken { // also where it cannot be locked
		return nil, &ExistsError{Dir: dir}
	}
	undo, unlock, err := makeDirectory(dir)
	if err != nil {
		return nil, err
	}
	giveBack := func() error { return errors.Join(unlock(), checkpoint.Vacate(dir)) }
	taken, err := holdsRun(dir)
	if err == nil && taken {
		err = &ExistsError{Dir: dir}
	}
	if err != nil {
		err = errors.Join(err, giveBack())
		undo()
		return nil, err
	}
	r, err := open(ctx, resolved, dir, o, giveBack, nil)
	if err != nil {
		undo()
		return nil, err
	}
	r.unlock = unlock
	return r, nil
}

// ExistsError says that a directory holds a run already.
type ExistsError struct{ Dir string }

func (e *ExistsError) Error() string { return fmt.Sprintf("%s holds a run already", e.Dir) }

// Hint says what to do.
func (e *ExistsError) Hint() string {
	return fmt.Sprintf("go on with it: stylenet train --resume %s; or choose another --out", e.Dir)
}

// Resume goes on with the run in dir where its newest whole checkpoint stands.
// sets override keys of its configuration, as configs.Load takes them; without
// any the run ends as if it had never stopped.
func Resume(ctx context.Context, dir string, sets []string, o Options) (*Run, error) {
	path := filepath.Join(dir, configFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s holds no run to resume: there is no config.yaml in it", dir)
	} else if err != nil {
		return nil, fmt.Errorf("run to resume: %w", err)
	}
	// Before anything is read: a run that goes on writes both.
	unlock, err := checkpoint.Lock(dir)
	if err != nil {
		return nil, err
	}
	cfg, err := configs.Load(path, sets)
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	if says, err := configs.Says(path, "loss.convention", sets); err != nil {
		return nil, errors.Join(err, unlock())
	} else if !says {
		cfg.Loss.Convention = "" // a run of version 0.1, whose weights are meant for the VGG-19 that it has
	}
	snapshot, warnings, err := checkpoint.Latest(filepath.Join(dir, checkpointsDir))
	if err != nil { // even a run without a step has the checkpoint of step 0
		return nil, errors.Join(err, unlock())
	}
	for _, w := range warnings {
		if o.Warn != nil {
			o.Warn(fmt.Errorf("a damaged checkpoint was passed over: %s", w))
		}
	}
	if cfg, err = absolute(cfg); err != nil {
		return nil, errors.Join(err, unlock())
	}
	return open(ctx, cfg, dir, o, unlock, snapshot)
}

// absolute returns a copy of a configuration without relative paths.
func absolute(cfg *configs.Config) (*configs.Config, error) { return mapPaths(cfg, filepath.Abs) }

// published returns a copy of a configuration with the last names of its paths:
// what a model says of its training wherever it goes, which is no news of the
// trainer's folders.
func published(cfg *configs.Config) (*configs.Config, error) {
	return mapPaths(cfg, func(path string) (string, error) { return filepath.Base(path), nil })
}

// mapPaths returns a copy of a configuration whose paths went through a function.
func mapPaths(cfg *configs.Config, f func(path string) (string, error)) (*configs.Config, error) {
	c := *cfg
	c.Style.Images = append([]configs.StyleImage(nil), c.Style.Images...)
	paths := []*string{&c.Data.Dir, &c.Data.Holdout, &c.Data.Cache, &c.Video.Clips, &c.Style.Image, &c.Style.Dir, &c.Style.Holdout, &c.VGG.Weights, &c.Train.PreviewImage, &c.Network.From}
	for i := range c.Style.Images {
		paths = append(paths, &c.Style.Images[i].Path)
	}
	for _, p := range paths {
		if *p == "" {
			continue
		}
		path, err := f(*p)
		if err != nil {
			return nil, err
		}
		*p = path
	}
	return &c, nil
}

// open builds a run in a directory that is locked. On an error whatever was opened
// is closed again, and the directory unlocked.
func open(ctx context.Context, cfg *configs.Config, dir string, o Options, unlock func() error, from *checkpoint.Snapshot) (_ *Run, err error) {
	r := &Run{config: cfg, options: o, dir: dir, unlock: unlock, from: from}
	defer func() {
		if err == nil {
			return
		}
		if r.wrote && from == nil {
			err = errors.Join(err, clearDirectory(dir))
		}
		err = errors.Join(err, r.Close())
	}()
	options := devices.Options{Threads: cfg.Train.Threads, Exact: cfg.Train.Exact, Deterministic: cfg.Train.Deterministic, Precision: cfg.Train.Precision}
	if r.dev, err = devices.Open(cfg.Train.Device, options); err != nil {
		return nil, err
	}
	if o.Device != nil {
		r.dev = o.Device(r.dev)
	}
	if r.kind, err = newKind(r); err != nil {
		return nil, err
	}
	for _, stage := range []func() error{
		r.openLosses,
		func() error { return r.openModel(from) },
		func() error { return r.openData(ctx, from) },
		r.openPreview,
		r.openHoldout,
		r.buildStep,
		func() error { return r.openOptimizer(from) },
		func() error { return r.openDirectory(from) },
	} {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := stage(); err != nil {
			return nil, err
		}
	}
	r.from = nil
	return r, nil
}

// openModel makes or restores the model.
func (r *Run) openModel(from *checkpoint.Snapshot) error {
	design, err := r.kind.design()
	if err != nil {
		return err
	}
	net, err := design.Build()
	if err != nil {
		return err
	}
	free, known := stylize.FreeMemory()
	if err := r.checkMemory(net, free, known); err != nil {
		return err
	}
	public, err := published(r.config)
	if err != nil {
		return err
	}
	recipe, err := json.Marshal(public)
	if err != nil {
		return err
	}
	r.model = &model.Model{Network: design, Recipe: string(recipe), VGG: r.vgg.Description, Version: r.options.Version}
	if from == nil {
		r.model.Weights, err = r.kind.initial(net)
		return err
	}
	r.model.Weights = from.Model
	if err := net.Check(from.Model, nil); err != nil {
		return fmt.Errorf("the checkpoint of step %d does not fit the configuration: %w", from.Step, err)
	}
	return nil
}

// openLosses opens VGG-19 and the recipe of the loss.
func (r *Run) openLosses() (err error) {
	c := r.config.VGG
	if c.Random {
		r.vgg, err = vgg.Random(r.dev, c.Seed)
	} else {
		var path string
		if path, err = vgg.Find(c.Weights); err == nil {
			r.vgg, err = vgg.Open(path, c.Convention)
		}
	}
	if err != nil {
		return err
	}
	if r.config.Loss.Convention == "" {
		r.config.Loss.Convention = string(networks.Caffe)
		if r.vgg.Convention == networks.Torchvision {
			r.config.Loss.Convention = string(networks.Torchvision)
		}
	}
	meant := networks.Convention(r.config.Loss.Convention)
	r.recipe = lossRecipe(r.config.Loss).Scaled(r.vgg.Convention.Features() / meant.Features())
	if r.lossNet, err = networks.VGG19(r.recipe.Deepest(), r.vgg.Convention, c.Pooling == "avg"); err != nil {
		return err
	}
	return r.vgg.For(r.lossNet)
}

// lossRecipe is the loss as its weights stand in the config.
func lossRecipe(l configs.Loss) losses.Recipe {
	return losses.Recipe{Content: LossLayers(l.Content), Style: LossLayers(l.Style), TotalVariation: l.TotalVariation}
}

// LossLayers are the layers of a term of the loss with their weights: the term's
// times the layer's. A term of weight 0 has none.
func LossLayers(t configs.Term) []losses.Layer {
	var layers []losses.Layer
	if t.Weight == 0 {
		return nil
	}
	for _, name := range t.Layers.Names() {
		layers = append(layers, losses.Layer{Name: name, Weight: t.Weight * t.Layers[name]})
	}
	return layers
}

// cursorState is the part of a checkpoint that is the trainer's own.
type cursorState struct {
	Data data.Cursor     `json:"data"`
	Kind json.RawMessage `json:"kind,omitempty"` // what the kind of training adds
}

// DataOptions are the options of a configuration's loader.
func DataOptions(cfg *configs.Config) data.Options {
	d, t := cfg.Data, cfg.Train
	o := data.Options{
		Dir: d.Dir, Size: d.Size, Batch: t.Batch, Seed: t.Seed, Values: 3 * d.Size * d.Size,
		ScaleMin: d.ScaleMin, ScaleMax: d.ScaleMax, Flip: d.Flip, Cache: d.Cache, Workers: d.Workers,
	}
	if cfg.Kind == "video" {
		derivePairs(&o, d.Size, cfg.Video)
	}
	return o
}

func (r *Run) openData(ctx context.Context, from *checkpoint.Snapshot) (err error) {
	var s cursorState
	if from != nil {
		if err := json.Unmarshal(from.State, &s); err != nil {
			return fmt.Errorf("the checkpoint of step %d: state: %w", from.Step, err)
		}
		r.cursor, r.step, r.elapsed = s.Data, from.Step, from.ElapsedSeconds
	}
	options := DataOptions(r.config)
	if k, ok := r.kind.(*video); ok && r.config.Video.Clips != "" {
		if err := k.openClips(ctx, s.Kind, &options); err != nil {
			return fmt.Errorf("video.clips: %w", err)
		}
	}
	r.loader, err = data.NewLoader(options, r.cursor)
	var cache *data.CacheError
	if errors.As(err, &cache) {
		return fmt.Errorf("data.cache: %w", err)
	} else if err != nil {
		return fmt.Errorf("data.dir: %w", err)
	}
	if r.source = r.loader; r.options.Source != nil {
		r.source = r.options.Source(r.loader)
	}
	if err := r.kind.openData(s.Kind); err != nil {
		return err
	}
	t := r.config.Train
	if r.steps = t.Steps; t.Epochs > 0 {
		r.steps = max(1, t.Epochs*len(r.loader.Files())/t.Batch)
	}
	if r.step > r.steps {
		return fmt.Errorf("the run has done %d steps, more than the %d that train.steps or train.epochs ask for: raise them", r.step, r.steps)
	}
	return nil
}

// buildStep uploads VGG-19 and compiles one training step.
func (r *Run) buildStep() (err error) {
	if r.lossArrays, err = inference.Upload(r.dev, r.lossNet, r.vgg.Set); err != nil {
		return err
	}
	// The device has them now: up to 80 MB that the step's arrays can have.
	r.vgg.Set = nil
	debug.FreeOSMemory()
	r.graph, err = r.kind.build()
	return err
}

// openOptimizer binds Adam over all trained parameters.
func (r *Run) openOptimizer(from *checkpoint.Snapshot) error {
	// The graph binds its kernels, and makes the gradients' arrays, in its
	// first run.
	blank := make([]float32, r.config.Train.Batch*DataOptions(r.config).Values)
	if err := r.forwardBackward(blank); err != nil {
		return err
	}
	dev := r.machine.Device()
	moment := func(prefix, name string, like kernels.Array) (kernels.Array, error) {
		a, err := r.dev.NewParameter(like.Shape())
		if err != nil {
			return nil, err
		}
		values := make([]float32, like.Shape().Elements())
		if from != nil {
			t := from.Optimizer.Get(prefix + name)
			if t == nil || len(t.Data) != len(values) {
				return nil, fmt.Errorf("the checkpoint of step %d has no optimiser state %q of %d values", from.Step, prefix+name, len(values))
			}
			values = t.Data
		}
		return a, r.dev.Upload(a, values)
	}
	for i, name := range r.names {
		m, err := moment("m.", name, r.params[i])
		if err != nil {
			return err
		}
		v, err := moment("v.", name, r.params[i])
		if err != nil {
			return err
		}
		r.m, r.v = append(r.m, m), append(r.v, v)
	}
	var err error
	if r.squaredNorm, err = dev.NewParameter(kernels.Scalar()); err != nil {
		return err
	}
	r.adam.settings = r.newAdam()
	if r.adam.run, err = r.bindAdam(everyStep, &r.adam.settings); err != nil {
		return err
	}
	if r.turns != nil {
		for group := range r.turns.names {
			a := &adam{settings: r.newAdam()}
			if a.run, err = r.bindAdam(group, &a.settings); err != nil {
				return err
			}
			r.turnAdam = append(r.turnAdam, a)
		}
	}
	if r.norm, err = dev.SquaredNorm(r.squaredNorm, r.gradients()); err != nil {
		return err
	}
	r.running = runningStats{r.model.Weights}
	if err := r.openReadings(); err != nil {
		return err
	}
	if recorder, ok := dev.(kernels.Recorder); ok {
		var err error
		run := recorder.Record(func() { err = r.pass() })
		r.recorded = func() error {
			err = nil
			run()
			return err
		}
	}
	return dev.Sync()
}

// adam is a bound optimiser; its settings are read as it is launched.
type adam struct {
	settings kernels.Adam
	run      kernels.Kernel // nil where it has no parameters
}

func (r *Run) newAdam() kernels.Adam {
	t := r.config.Train
	return kernels.Adam{Beta1: t.Beta1, Beta2: t.Beta2, Eps: t.Eps, ClipNorm: t.ClipNorm}
}

// bindAdam binds the optimiser of a group of parameters.
func (r *Run) bindAdam(group int, h *kernels.Adam) (kernels.Kernel, error) {
	of, gradients := r.group(group)
	var params, grads, m, v []kernels.Array
	for k, i := range of {
		params, m, v = append(params, r.params[i]), append(m, r.m[i]), append(v, r.v[i])
		grads = append(grads, r.machine.Gradient(gradients[k]))
	}
	if len(params) == 0 {
		return nil, nil
	}
	return r.machine.Device().Adam(params, grads, m, v, r.squaredNorm, h)
}

// gradients lists the arrays of all of the graph's gradients.
func (r *Run) gradients() []kernels.Array {
	n := len(r.params)
	if r.turns != nil {
		n = slices.Max(r.turns.gradients) + 1
	}
	grads := make([]kernels.Array, n)
	for i := range grads {
		grads[i] = r.machine.Gradient(i)
	}
	return grads
}

// next takes a batch of photos, and what the kind of training adds to it.
func (r *Run) next(ctx context.Context) (*data.Batch, error) {
	batch, err := r.source.Next(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.kind.next(ctx); err != nil {
		r.source.Release(batch)
		return nil, err
	}
	return batch, nil
}

// launch launches a step on a batch, and behind it the copy of what read takes.
func (r *Run) launch(pixels []float32) error {
	step := r.step + 1
	m := Metrics{Step: step, LearningRate: learningRate(r.config.Train, step, r.steps)}
	r.adam.settings.Step, r.adam.settings.LR = step, m.LearningRate
	if err := r.forwardBackward(pixels); err != nil {
		return err
	}
	if r.turns != nil {
		group, count := r.turns.of(step)
		m.StyleName = r.turns.names[group]
		a := r.turnAdam[group]
		a.settings.Step, a.settings.LR = count, m.LearningRate
		a.run()
	}
	r.readings.start()
	r.launched = append(r.launched, m)
	r.step = step
	return nil
}

// forwardBackward launches the losses of a batch and their gradients and, once
// they are bound, the norm of these and the optimiser.
func (r *Run) forwardBackward(pixels []float32) error {
	if err := r.kind.upload(pixels); err != nil {
		return err
	}
	if r.recorded != nil {
		return r.recorded()
	}
	return r.pass()
}

// pass is what forwardBackward launches on the batch that is uploaded.
func (r *Run) pass() error {
	r.kind.launch()
	if err := r.machine.Step(); err != nil {
		return err
	}
	if r.norm == nil {
		return nil
	}
	r.norm()
	if r.adam.run != nil {
		r.adam.run()
	}
	return nil
}

// weights brings the trained parameters back from the device.
func (r *Run) weights() (*weights.Set, error) {
	set := r.model.Weights
	for i, name := range r.names {
		if err := r.dev.Download(set.Get(name).Data, r.params[i]); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
	}
	return set, nil
}

// Info describes a run to a person.
type Info struct {
	Config     *configs.Config
	Dir        string
	Device     kernels.Info
	VGG        string // where the loss network's weights come from
	RandomVGG  bool
	Parameters int // of the style network
	Photos     int // files in the folder
	Step       int // done so far
	Steps      int // to do altogether
	Skipped    []data.Skipped
	PeakBytes  int64
}

// Info says what the run is and where it stands.
func (r *Run) Info() Info {
	skipped := r.loader.Skipped()
	if k, ok := r.kind.(interface{ skipped() []data.Skipped }); ok {
		skipped = append(skipped, k.skipped()...)
	}
	return Info{
		Config: r.config, Dir: r.dir, Device: r.dev.Info(), VGG: r.vgg.Description, RandomVGG: r.vgg.Random,
		Parameters: r.model.Weights.Elements(), Photos: len(r.loader.Files()), Step: r.step, Steps: r.steps,
		Skipped: skipped, PeakBytes: r.dev.PeakBytes(),
	}
}

// Close frees everything and unlocks the directory.
func (r *Run) Close() error {
	var errs []error
	if r.loader != nil {
		r.loader.Close()
	}
	if r.metrics != nil {
		errs = append(errs, r.metrics.Close())
	}
	if r.machine != nil {
		errs = append(errs, r.machine.Close())
	}
	if r.kind != nil {
		errs = append(errs, r.kind.close())
	}
	if r.dev != nil {
		errs = append(errs, r.dev.Close())
	}
	return errors.Join(append(errs, r.unlock())...)
}
