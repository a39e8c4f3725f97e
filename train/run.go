package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"stylenet/configs"
	"stylenet/data"
	"stylenet/internal/autodiff"
	"stylenet/internal/checkpoint"
	"stylenet/internal/devices"
	"stylenet/internal/images"
	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/model"
	"stylenet/internal/networks"
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
	model   *model.Model
	net     *networks.Network
	loader  *data.Loader
	source  Source // the loader, or what stands before it

	lossArrays     inference.Arrays
	styleTargets   []kernels.Array // Gram matrices
	x              kernels.Array   // the batch, (N, 3, size, size): the input of targets, where these are
	targets        *inference.Plan // VGG-19 on the batch, up to the deepest content layer; nil without content layers
	machine        *autodiff.Machine
	terms          *losses.Terms
	names          []string // of the trainable parameters
	params, m, v   []kernels.Array
	recorded       func() error // pass as a whole, where the device can record it
	readings       *readings
	launched       []Metrics      // steps whose losses are not read yet, the oldest first
	since          time.Time      // the end of the step that was read last
	norm           kernels.Kernel // of all gradients, into squaredNorm
	squaredNorm    kernels.Array
	adam           kernels.Kernel
	adamSettings   kernels.Adam
	running        runningStats
	metrics        *os.File
	step, steps    int
	cursor         data.Cursor
	elapsed        float64
	previewPicture *images.Picture // nil without previews
	holdout        [][]float32     // held-out photos, each (3, 256, 256), RGB 0-255
	saved          int             // the step of the newest checkpoint
}

// New starts a run in dir, which may not hold one yet. Paths in the
// configuration are made absolute, so that the run can be resumed from
// anywhere.
func New(ctx context.Context, cfg *configs.Config, dir string, o Options) (*Run, error) {
	if _, err := os.Stat(filepath.Join(dir, "config.yaml")); err == nil {
		return nil, &ExistsError{Dir: dir}
	}
	if log, err := os.Stat(filepath.Join(dir, "metrics.jsonl")); err == nil && log.Size() > 0 {
		return nil, &ExistsError{Dir: dir}
	}
	resolved, err := absolute(cfg)
	if err != nil {
		return nil, err
	}
	return open(ctx, resolved, dir, o, nil)
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
	path := filepath.Join(dir, "config.yaml")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s holds no run to resume: there is no config.yaml in it", dir)
	} else if err != nil {
		return nil, fmt.Errorf("run to resume: %w", err)
	}
	cfg, err := configs.Load(path, sets)
	if err != nil {
		return nil, err
	}
	snapshot, warnings, err := checkpoint.Latest(filepath.Join(dir, "checkpoints"))
	if err != nil { // even a run without a step has the checkpoint of step 0
		return nil, err
	}
	for _, w := range warnings {
		if o.Warn != nil {
			o.Warn(fmt.Errorf("a damaged checkpoint was passed over: %s", w))
		}
	}
	if cfg, err = absolute(cfg); err != nil {
		return nil, err
	}
	return open(ctx, cfg, dir, o, snapshot)
}

// absolute returns a copy of a configuration without relative paths.
func absolute(cfg *configs.Config) (*configs.Config, error) {
	c := *cfg
	c.Style.Images = append([]configs.StyleImage(nil), c.Style.Images...)
	paths := []*string{&c.Data.Dir, &c.Data.Holdout, &c.Data.Cache, &c.Style.Image, &c.VGG.Weights, &c.Train.PreviewImage}
	for i := range c.Style.Images {
		paths = append(paths, &c.Style.Images[i].Path)
	}
	for _, p := range paths {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return nil, err
		}
		*p = abs
	}
	return &c, nil
}

// open builds a run. On an error whatever was opened is closed again, and a new
// run's directory can be started in anew.
func open(ctx context.Context, cfg *configs.Config, dir string, o Options, from *checkpoint.Snapshot) (_ *Run, err error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	r := &Run{config: cfg, options: o, dir: dir}
	if r.unlock, err = checkpoint.Lock(dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	options := devices.Options{Threads: cfg.Train.Threads, Exact: cfg.Train.Exact, Deterministic: cfg.Train.Deterministic, Precision: cfg.Train.Precision}
	if r.dev, err = devices.Open(cfg.Train.Device, options); err != nil {
		return nil, err
	}
	if o.Device != nil {
		r.dev = o.Device(r.dev)
	}
	for _, stage := range []func() error{
		func() error { return r.openModel(from) },
		r.openLosses,
		func() error { return r.openData(from) },
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
	return r, nil
}

// openModel makes or restores the style network.
func (r *Run) openModel(from *checkpoint.Snapshot) (err error) {
	n := r.config.Network
	johnson := networks.Johnson{Architecture: n.Architecture, Padding: n.Padding, Norm: n.Norm, Upsample: n.Upsample, Output: n.Output}
	if n.Output == "tanh" {
		johnson.OutputScale, johnson.OutputOffset = float32(n.OutputScale), float32(n.OutputOffset)
	}
	if r.net, err = johnson.Build(); err != nil {
		return fmt.Errorf("network.%w", err)
	}
	recipe, err := json.Marshal(r.config)
	if err != nil {
		return err
	}
	r.model = &model.Model{Network: johnson, Recipe: string(recipe), Version: r.options.Version}
	if from == nil {
		r.model.Weights, err = r.net.Init(r.config.Train.Seed)
		return err
	}
	r.model.Weights = from.Model
	if err := r.net.Check(from.Model, nil); err != nil {
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
	r.model.VGG = r.vgg.Description
	r.recipe = losses.Recipe{
		Content:        term(r.config.Loss.Content),
		Style:          term(r.config.Loss.Style),
		TotalVariation: r.config.Loss.TotalVariation,
	}
	if r.lossNet, err = networks.VGG19(r.recipe.Deepest(), r.vgg.Convention, c.Pooling == "avg"); err != nil {
		return err
	}
	return r.vgg.For(r.lossNet)
}

func term(t configs.Term) []losses.Layer {
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
	Data data.Cursor `json:"data"`
}

// DataOptions are the options of a configuration's loader.
func DataOptions(cfg *configs.Config) data.Options {
	d, t := cfg.Data, cfg.Train
	return data.Options{
		Dir: d.Dir, Size: d.Size, Batch: t.Batch, Seed: t.Seed,
		ScaleMin: d.ScaleMin, ScaleMax: d.ScaleMax, Flip: d.Flip, Cache: d.Cache, Workers: d.Workers,
	}
}

func (r *Run) openData(from *checkpoint.Snapshot) (err error) {
	if from != nil {
		var s cursorState
		if err := json.Unmarshal(from.State, &s); err != nil {
			return fmt.Errorf("the checkpoint of step %d: state: %w", from.Step, err)
		}
		r.cursor, r.step, r.elapsed = s.Data, from.Step, from.ElapsedSeconds
	}
	r.loader, err = data.NewLoader(DataOptions(r.config), r.cursor)
	var cache *data.CacheError
	if errors.As(err, &cache) {
		return fmt.Errorf("data.cache: %w", err)
	} else if err != nil {
		return fmt.Errorf("data.dir: %w", err)
	}
	if r.source = r.loader; r.options.Source != nil {
		r.source = r.options.Source(r.loader)
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

// buildStep compiles one training step: the style network, VGG-19 on its
// result, and the losses. The photos' own features are computed by a plan
// beside the graph, which keeps nothing but the content layers.
func (r *Run) buildStep() (err error) {
	size, batch := r.config.Data.Size, r.config.Train.Batch
	if r.lossArrays, err = inference.Upload(r.dev, r.lossNet, r.vgg.Set); err != nil {
		return err
	}
	// The device has them now: up to 80 MB that the step's arrays can have.
	r.vgg.Set = nil
	debug.FreeOSMemory()
	if err := r.openStyle(); err != nil {
		return err
	}
	targets := losses.Targets{Style: r.styleTargets}
	owner := r.dev
	if layers := r.recipe.Content; len(layers) > 0 {
		net, err := networks.VGG19(r.recipe.DeepestContent(), r.vgg.Convention, r.config.VGG.Pooling == "avg")
		if err != nil {
			return err
		}
		keep, err := net.FindAll(losses.Names(layers))
		if err != nil {
			return err
		}
		if r.targets, err = inference.Compile(r.dev, net, r.lossArrays, batch, size, size, keep...); err != nil {
			return err
		}
		owner, r.x = r.targets.Device(), r.targets.Input()
		for i := range layers {
			targets.Content = append(targets.Content, r.targets.Output(i))
		}
	}
	if r.x == nil {
		if r.x, err = r.dev.NewActivation(kernels.Shape{N: batch, C: 3, H: size, W: size}); err != nil {
			return err
		}
	}
	arrays, err := inference.Upload(r.dev, r.net, r.model.Weights)
	if err != nil {
		return err
	}
	g, err := autodiff.New(owner)
	if err != nil {
		return err
	}
	x, err := g.Input("photos", r.x)
	if err != nil {
		return err
	}
	y, err := g.Network(r.net, arrays, x, true)
	if err != nil {
		return fmt.Errorf("the style network at data.size %d: %w", size, err)
	}
	if r.terms, err = losses.Perceptual(g, r.lossNet, r.lossArrays, y[0], targets, r.recipe); err != nil {
		return err
	}
	if r.machine, err = g.Compile(r.terms.Total); err != nil {
		return err
	}
	for _, p := range r.net.Params() {
		if p.Trainable {
			r.names = append(r.names, p.Name)
			r.params = append(r.params, arrays[p.Name])
		}
	}
	return nil
}

// openStyle uploads the Gram matrices of the style images, averaged with the
// images' weights: the loss against the average differs from the average of
// the losses by a constant alone.
func (r *Run) openStyle() error {
	var means [][]float32
	for _, s := range r.config.Style.Targets() {
		p, err := images.Open(s.Path)
		if err != nil {
			return fmt.Errorf("style image: %w", err)
		}
		w, h := images.LongSide(p.W, p.H, r.config.Style.LongSide())
		if p, err = images.Resize(p, w, h); err != nil {
			return fmt.Errorf("style image %s: %w", s.Path, err)
		}
		grams, err := losses.GramMatrices(r.dev, r.lossNet, r.lossArrays, p.Pix, p.H, p.W, r.recipe.Style)
		if err != nil {
			return fmt.Errorf("style image %s at %d×%d: %w", s.Path, w, h, err)
		}
		if means == nil {
			means = make([][]float32, len(grams))
		}
		for i, gram := range grams {
			if means[i] == nil {
				means[i] = make([]float32, len(gram))
			}
			for k, v := range gram {
				means[i][k] += float32(s.Weight) * v
			}
		}
	}
	for _, mean := range means {
		c := int(math.Round(math.Sqrt(float64(len(mean)))))
		a, err := inference.NewParameter(r.dev, []int{1, 1, c, c}, mean)
		if err != nil {
			return err
		}
		r.styleTargets = append(r.styleTargets, a)
	}
	return nil
}

// openOptimizer binds Adam over all trainable parameters.
func (r *Run) openOptimizer(from *checkpoint.Snapshot) error {
	// The graph binds its kernels, and makes the gradients' arrays, in its
	// first run.
	if err := r.forwardBackward(make([]float32, r.x.Shape().Elements())); err != nil {
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
	var grads []kernels.Array
	for i, name := range r.names {
		m, err := moment("m.", name, r.params[i])
		if err != nil {
			return err
		}
		v, err := moment("v.", name, r.params[i])
		if err != nil {
			return err
		}
		r.m, r.v, grads = append(r.m, m), append(r.v, v), append(grads, r.machine.Gradient(i))
	}
	var err error
	if r.squaredNorm, err = dev.NewParameter(kernels.Scalar()); err != nil {
		return err
	}
	if r.norm, err = dev.SquaredNorm(r.squaredNorm, grads); err != nil {
		return err
	}
	t := r.config.Train
	r.adamSettings = kernels.Adam{Beta1: t.Beta1, Beta2: t.Beta2, Eps: t.Eps, ClipNorm: t.ClipNorm}
	if r.adam, err = dev.Adam(r.params, grads, r.m, r.v, r.squaredNorm, &r.adamSettings); err != nil {
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

// launch launches a step on a batch, and behind it the copy of what read takes.
func (r *Run) launch(pixels []float32) error {
	step := r.step + 1
	r.adamSettings.Step, r.adamSettings.LR = step, learningRate(r.config.Train, step, r.steps)
	if err := r.forwardBackward(pixels); err != nil {
		return err
	}
	r.readings.start()
	r.launched = append(r.launched, Metrics{Step: step, LearningRate: r.adamSettings.LR})
	r.step = step
	return nil
}

// forwardBackward launches the losses of a batch and their gradients and, once
// they are bound, the norm of these and the optimiser.
func (r *Run) forwardBackward(pixels []float32) error {
	if err := r.machine.Device().Upload(r.x, pixels); err != nil {
		return err
	}
	if r.recorded != nil {
		return r.recorded()
	}
	return r.pass()
}

// pass is what forwardBackward launches on the batch that is uploaded.
func (r *Run) pass() error {
	if r.targets != nil {
		r.targets.Launch()
	}
	if err := r.machine.Step(); err != nil {
		return err
	}
	if r.adam != nil {
		r.norm()
		r.adam()
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
	return Info{
		Config: r.config, Dir: r.dir, Device: r.dev.Info(), VGG: r.vgg.Description, RandomVGG: r.vgg.Random,
		Parameters: r.model.Weights.Elements(), Photos: len(r.loader.Files()), Step: r.step, Steps: r.steps,
		Skipped: r.loader.Skipped(), PeakBytes: r.dev.PeakBytes(),
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
	if r.targets != nil {
		errs = append(errs, r.targets.Close())
	}
	if r.dev != nil {
		errs = append(errs, r.dev.Close())
	}
	return errors.Join(append(errs, r.unlock())...)
}
