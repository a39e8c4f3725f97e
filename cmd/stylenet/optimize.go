package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"stylenet/configs"
	"stylenet/internal/atomicfile"
	"stylenet/internal/checkpoint"
	"stylenet/internal/devices"
	"stylenet/internal/images"
	"stylenet/internal/kernels"
	"stylenet/internal/networks"
	"stylenet/internal/optimize"
	"stylenet/internal/stylize"
	"stylenet/internal/stylize/batch"
	"stylenet/internal/vgg"
	"stylenet/internal/weights"
	"stylenet/losses"
	"stylenet/train"
)

type optimizeOptions struct {
	config  string
	sets    []string
	resume  string
	output  string
	quality int
	json    bool

	styles, blend, masks, regions []string
	contentLayers, styleLayers    []string
}

// optimizeFlags are the flags that are keys of the configuration.
func optimizeFlags() []struct{ flag, key, usage string } {
	return []struct{ flag, key, usage string }{
		{"content", "content", "the photo to repaint (required)"},
		{"start", "start", "begin with content, noise, or a picture's `file`"},
		{"size", "size", "the long side of the result in `pixels`; 0: the photo's own"},
		{"scales", "scales", "how many sizes to go through, each half of the next; 0: from 256 pixels on"},
		{"steps", "steps", "how often the loss is evaluated at the first scale; each later one has half as many"},
		{"style-scale", "style_scale", "the styles' size beside the result's: below 1 for finer strokes"},
		{"content-weight", "loss.content.weight", "of the content loss"},
		{"style-weight", "loss.style.weight", "of the style loss"},
		{"total-variation", "loss.total_variation", "weight of the squared differences of neighbours: smooths"},
		{"pooling", "vgg.pooling", "of VGG-19: max or avg"},
		{"optimizer", "optimizer.name", "lbfgs or adam"},
		{"history", "optimizer.history", "steps that L-BFGS remembers"},
		{"lr", "optimizer.lr", "learning rate of Adam"},
		{"keep-colors", "keep_colors", "keep the photo's colours and take the style's brush alone"},
		{"seed", "seed", "of the noise"},
		{"picture-every", "picture_every", "write the picture as it stands every so many `steps`, as OUT-SIZE-STEP"},
		{"checkpoint-every", "checkpoint_every", "save the state every so many `steps`; 0: when stopped"},
		{"vgg", "vgg.weights", "`file` of VGG-19's weights (default: the fetched ones)"},
		{"random-vgg", "vgg.random", "use a random VGG-19 in place of a trained one"},
		{"precision", "precision", "how feature maps are held: float32, or bf16 (faster, half the memory, close)"},
		{"deterministic", "deterministic", "have a GPU give the same bits in every run, as the processor does"},
		{"exact", "exact", "no approximate kernels: slower, and equal to plain float32 arithmetic"},
	}
}

func newOptimizeCmd() *cobra.Command {
	o := &optimizeOptions{}
	cmd := &cobra.Command{
		Use:   "optimize --content PHOTO --style PAINTING... -o OUT | --resume OUT",
		Short: "Repaint one picture in any style, without training",
		Long: `Repaint one picture by changing its pixels until VGG-19 finds the photo's
content and the painting's style in them (Gatys, Ecker and Bethge 2016). That
takes minutes for each picture, and needs no training.

--style may be given several times. --style-blend weighs them; --style-mask, in
their order, is a picture that is white where a painting's style is taken from,
and --region one that is white where the photo takes it on ("" is everywhere).
What no region covers stays as it is.

Every key can be set in a --config file (docs/config.md lists them) or with
--set; flags win over both. Built-in files are ` + optimizePresetNames() + `.

The state is saved in the folder OUT.state, every --checkpoint-every steps and
on Ctrl-C; --resume OUT goes on from it and ends with the same bytes as a run
that was never stopped. It is removed when OUT is written.`,
		Example: `  stylenet optimize --content photo.jpg --style starry.jpg -o painted.png
  stylenet optimize --content photo.jpg --style starry.jpg -o large.png --config large
  stylenet optimize --content photo.jpg --style a.jpg --region sky.png --style b.jpg --region ground.png -o out.png
  stylenet optimize --resume large.png`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.output, "output", "o", "", "the file to write, PNG or JPEG (required)")
	flags.StringArrayVar(&o.styles, "style", nil, "a painting; may be repeated (required)")
	flags.StringSliceVar(&o.blend, "style-blend", nil, "the styles' `weights` against each other, such as 0.7,0.3")
	flags.StringArrayVar(&o.masks, "style-mask", nil, "`file` that is white where the style of the same number is taken from")
	flags.StringArrayVar(&o.regions, "region", nil, "`file` that is white where the photo takes on the style of the same number")
	flags.StringSliceVar(&o.contentLayers, "content-layers", nil, "`layers` of VGG-19, such as relu4_2 or relu3_2=0.5,relu4_2=1")
	flags.StringSliceVar(&o.styleLayers, "style-layers", nil, "`layers` of VGG-19, such as relu1_1,relu2_1")
	flags.StringVar(&o.config, "config", "", "a YAML `file` with keys of docs/config.md, or the name of a built-in one")
	flags.StringArrayVar(&o.sets, "set", nil, "KEY=VALUE changes a key of the configuration; may be repeated")
	flags.StringVar(&o.resume, "resume", "", "go on with the picture `OUT`")
	flags.IntVar(&o.quality, "quality", images.DefaultQuality, "of JPEG, 1 to 100")
	flags.BoolVar(&o.json, "json", false, "print each step's losses as a line of JSON")
	defaults := configs.DefaultOptimize()
	for _, f := range optimizeFlags() {
		value := defaults.Value(f.key)
		if b, ok := value.(bool); ok {
			flags.Bool(f.flag, b, f.usage)
		} else {
			flags.Var(&keyFlag{text: fmt.Sprint(value)}, f.flag, f.usage)
		}
	}
	complete(cmd, "set", configs.OptimizeKeys()...)
	complete(cmd, "optimizer", optimize.LBFGS, optimize.Adam)
	complete(cmd, "pooling", "max", "avg")
	complete(cmd, "precision", kernels.Float32, kernels.BF16)
	completeFiles(cmd, "output", "png", "jpg", "jpeg")
	return cmd
}

func optimizePresetNames() string {
	var names []string
	for _, p := range configs.OptimizePresets() {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// keyFlag takes a value for a key: package configs checks it.
type keyFlag struct{ text string }

func (f *keyFlag) String() string     { return f.text }
func (f *keyFlag) Set(s string) error { f.text = s; return nil }
func (f *keyFlag) Type() string       { return "value" }

func (o *optimizeOptions) run(cmd *cobra.Command) error {
	if o.resume != "" {
		return o.goOn(cmd)
	}
	switch {
	case o.output == "":
		return usagef(cmd, "no output: name a file with -o")
	case o.quality < 1 || o.quality > 100:
		return usagef(cmd, "--quality %d is not between 1 and 100", o.quality)
	}
	if _, err := images.FormatOf(o.output); err != nil {
		return usagef(cmd, "%w", err)
	}
	cfg, err := o.load(cmd)
	if err != nil {
		return err
	}
	w, err := newRepaint(cmd, cfg, o.output, o.quality, o.json)
	if err != nil {
		return err
	}
	if _, _, err := checkpoint.Latest(w.dir()); !errors.Is(err, checkpoint.ErrNone) {
		return &hinted{fmt.Errorf("%s holds an unfinished run", w.dir()), fmt.Sprintf("go on with it: stylenet optimize --resume %s; or remove the folder", o.output)}
	}
	return w.run(nil)
}

// goOn resumes the run that was to write o.resume.
func (o *optimizeOptions) goOn(cmd *cobra.Command) error {
	for _, f := range []string{"output", "quality", "config", "set", "style", "style-blend", "style-mask", "region", "content-layers", "style-layers", "device", "threads"} {
		if cmd.Flags().Changed(f) {
			return usagef(cmd, "--resume goes on with the saved settings and takes no --%s", f)
		}
	}
	for _, f := range optimizeFlags() {
		if cmd.Flags().Changed(f.flag) {
			return usagef(cmd, "--resume goes on with the saved settings and takes no --%s", f.flag)
		}
	}
	dir := o.resume + stateSuffix
	snapshot, warnings, err := checkpoint.Latest(dir)
	if errors.Is(err, checkpoint.ErrNone) {
		return fmt.Errorf("%s has no run to resume: there is no saved state in %s", o.resume, dir)
	} else if err != nil {
		return err
	}
	for _, w := range warnings {
		warn(cmd, "a damaged state was passed over: %s", w)
	}
	cfg, err := configs.ParseOptimize(dir, []byte(snapshot.Config), nil)
	if err != nil {
		return err
	}
	var saved savedState
	if err := json.Unmarshal(snapshot.State, &saved); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	saved.Run.Tensors = snapshot.Optimizer
	w, err := newRepaint(cmd, cfg, o.resume, saved.Quality, o.json)
	if err != nil {
		return err
	}
	return w.run(&saved.Run)
}

// load reads the configuration: defaults, --config, --set, and then the flags.
func (o *optimizeOptions) load(cmd *cobra.Command) (*configs.Optimize, error) {
	sets, err := deviceSets(cmd, "")
	if err != nil {
		return nil, err
	}
	sets = append(append([]string(nil), o.sets...), sets...)
	flags := map[string]string{"device": "device", "threads": "threads"} // by key
	for _, f := range optimizeFlags() {
		if cmd.Flags().Changed(f.flag) {
			sets = append(sets, f.key+"="+cmd.Flag(f.flag).Value.String())
		}
		flags[f.key] = f.flag
	}
	styles, err := o.styleList(cmd)
	if err != nil {
		return nil, err
	}
	if styles != "" {
		sets = append(sets, "styles="+styles)
	}
	flags["styles"] = "style"
	for key, layers := range map[string][]string{"loss.content.layers": o.contentLayers, "loss.style.layers": o.styleLayers} {
		if layers == nil {
			continue
		}
		list := strings.ReplaceAll(strings.Join(layers, ","), "=", ": ")
		for _, name := range layers {
			if !strings.Contains(name, "=") {
				list = strings.Replace(list, name, name+": 1", 1)
			}
		}
		sets = append(sets, key+"={"+strings.ReplaceAll(list, ",", ", ")+"}")
		flags[key] = strings.Split(key, ".")[1] + "-layers"
	}
	cfg, err := configs.LoadOptimize(o.config, sets)
	return cfg, flagFaults(cmd, err, o.sets, func(key string) (string, bool) { return optimizeFlagOf(key, flags) })
}

// optimizeFlagOf is the flag of a key, of an element of the styles, or of a layer.
func optimizeFlagOf(key string, flags map[string]string) (flag string, ok bool) {
	if strings.HasPrefix(key, "styles[") {
		_, field, _ := strings.Cut(key, ".")
		flag, ok = map[string]string{"path": "style", "weight": "style-blend", "mask": "style-mask", "region": "region"}[field]
		return flag, ok
	}
	if layers, _, found := strings.Cut(key, ".layers."); found {
		key = layers + ".layers"
	}
	flag, ok = flags[key]
	return flag, ok
}

// styleList is the flags of styles as a value of the key, or "" without any.
func (o *optimizeOptions) styleList(cmd *cobra.Command) (string, error) {
	for _, f := range []struct {
		flag   string
		values []string
	}{{"style-blend", o.blend}, {"style-mask", o.masks}, {"region", o.regions}} {
		if n := len(f.values); n > 0 && n != len(o.styles) {
			return "", usagef(cmd, "--%s is given for %d of %d styles: give it for each --style, in their order", f.flag, n, len(o.styles))
		}
	}
	if len(o.styles) == 0 {
		return "", nil
	}
	var list []configs.OptimizeStyle
	for i, path := range o.styles {
		s := configs.OptimizeStyle{Path: path, Weight: 1}
		if o.blend != nil {
			weight, err := strconv.ParseFloat(o.blend[i], 64)
			if err != nil {
				return "", usagef(cmd, "--style-blend %q is not a number", o.blend[i])
			}
			s.Weight = weight
		}
		if o.masks != nil {
			s.Mask = o.masks[i]
		}
		if o.regions != nil {
			s.Region = o.regions[i]
		}
		list = append(list, s)
	}
	b, err := json.Marshal(list)
	return string(b), err
}

// stateSuffix follows the output's name in that of the folder with its state.
const stateSuffix = ".state"

// savedState is the caller's part of a snapshot.
type savedState struct {
	Run     optimize.State `json:"run"`
	Quality int            `json:"quality"`
}

// repaint is one run of the command.
type repaint struct {
	cmd     *cobra.Command
	cfg     *configs.Optimize
	output  string
	quality int
	json    bool

	options optimize.Options
	bar     *progressbar.ProgressBar
	printed error
	saved   bool // there is a state on the disk
	unsaved error
	steps   int // of all scales
}

func newRepaint(cmd *cobra.Command, cfg *configs.Optimize, output string, quality int, json bool) (*repaint, error) {
	w := &repaint{cmd: cmd, cfg: cfg, output: output, quality: quality, json: json}
	if err := w.open(); err != nil { // errors name files as the user does
		return nil, err
	}
	return w, w.absolute()
}

func (w *repaint) dir() string { return w.output + stateSuffix }

// absolute makes paths of the configuration absolute, so that a run can be
// resumed from anywhere.
func (w *repaint) absolute() error {
	c := w.cfg
	paths := []*string{&c.Content, &c.VGG.Weights}
	if c.Start != "content" && c.Start != "noise" {
		paths = append(paths, &c.Start)
	}
	for i := range c.Styles {
		paths = append(paths, &c.Styles[i].Path, &c.Styles[i].Mask, &c.Styles[i].Region)
	}
	for _, p := range paths {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	return nil
}

// open decodes the pictures and fills the options.
func (w *repaint) open() error {
	opened := map[string]*images.Picture{} // one picture for each file: regions are told apart by it
	var failed error
	picture := func(path, what string) *images.Picture {
		if path == "" || failed != nil {
			return nil
		}
		if opened[path] == nil {
			if sameFile(path, w.output) {
				failed = apart(&batch.InputError{Output: w.output})
				return nil
			}
			p, err := images.Open(path)
			if err != nil {
				failed = fmt.Errorf("%s: %w", what, err)
				return nil
			}
			opened[path] = p
		}
		return opened[path]
	}
	c, o := w.cfg, &w.options
	o.Content = picture(c.Content, "content")
	for _, s := range c.Styles {
		o.Styles = append(o.Styles, optimize.Style{
			Picture: picture(s.Path, "style"), Weight: s.Weight, Mask: picture(s.Mask, "mask of a style"), Region: picture(s.Region, "region"),
			MaskName: s.Mask, RegionName: s.Region,
		})
	}
	switch o.Noise = c.Start == "noise"; c.Start {
	case "content", "noise":
	default:
		o.Start = picture(c.Start, "picture to start from")
	}
	if failed != nil {
		return failed
	}
	width, height := o.Content.W, o.Content.H
	if c.Size > 0 {
		width, height = images.LongSide(width, height, c.Size)
	}
	o.Scales = optimize.Scales(width, height, c.Scales, c.Steps)
	for _, s := range o.Scales {
		w.steps += s.Steps
	}
	o.Seed, o.StyleScale, o.KeepColors = c.Seed, c.StyleScale, c.KeepColors
	o.AveragePooling = c.VGG.Pooling == "avg"
	o.Optimizer, o.History, o.Rate = c.Optimizer.Name, c.Optimizer.History, c.Optimizer.LR
	o.Recipe = losses.Recipe{Content: train.LossLayers(c.Loss.Content), Style: train.LossLayers(c.Loss.Style), TotalVariation: c.Loss.TotalVariation}.
		Scaled(1 / networks.Convention(c.Loss.Convention).Features()) // to those of the authors' weights
	o.PictureEvery, o.CheckpointEvery = c.PictureEvery, c.CheckpointEvery
	o.Observe, o.Picture, o.Checkpoint = w.observe, w.save, w.checkpoint
	return nil
}

// run optimises, from the start or from a state, and writes the result.
func (w *repaint) run(from *optimize.State) (err error) {
	c := w.cfg
	dev, err := devices.Open(c.Device, devices.Options{Threads: c.Threads, Exact: c.Exact, Deterministic: c.Deterministic, Precision: c.Precision})
	if err != nil {
		return &hinted{err, "stylenet devices lists what this build has"}
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	if dev.Info().Backend == "onednn" {
		if err := w.checkMemory(stylize.FreeMemory()); err != nil {
			return err
		}
	}
	net, err := w.vgg(dev)
	if err != nil {
		return err
	}
	undo, err := w.claim()
	if err != nil {
		return err
	}
	unlock, err := checkpoint.Lock(w.dir())
	if err != nil {
		undo()
		return err
	}
	w.saved = from != nil
	done := false
	defer func() {
		if w.saved && !done {
			err = errors.Join(err, unlock())
			return
		}
		err = errors.Join(err, checkpoint.Remove(w.dir()), unlock(), checkpoint.Vacate(w.dir()))
		atomicfile.RemoveEmpty(w.dir())
		undo() // the folder of a result is not empty
	}()
	w.bar = newProgress(w.cmd, w.steps, "optimizing")
	run, err := optimize.New(dev, net, w.options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run.Close()) }()
	result, err := run.Run(w.cmd.Context(), from)
	_ = w.bar.Finish() // a terminal that is gone does not matter
	switch {
	case err != nil && w.cmd.Context().Err() != nil && w.saved && w.unsaved == nil:
		return &hinted{fmt.Errorf("interrupted; the state is saved: %w", err), "go on with it: stylenet optimize --resume " + w.output}
	case err != nil:
		return err
	case w.printed != nil:
		return w.printed
	}
	if err := images.Save(w.output, result, images.SaveOptions{Quality: w.quality}); err != nil {
		return err
	}
	done = true
	if !w.json {
		say(w.cmd, "%s: %d×%d", w.output, result.W, result.H)
	}
	return nil
}

// checkMemory warns of a size that takes more memory than is free, and refuses
// one that takes many times as much.
func (w *repaint) checkMemory(free int64, known bool) error {
	history := 0
	if w.options.Optimizer == optimize.LBFGS {
		history = w.options.History
	}
	last := w.options.Scales[len(w.options.Scales)-1]
	need := optimize.Bytes(last, history, w.cfg.Precision)
	if !known || need <= free {
		return nil
	}
	const less = "--precision bf16, a smaller --size and a smaller --history take less"
	text := fmt.Sprintf("%d×%d pixels take about %.1f GiB of memory, and %.1f GiB are free", last.W, last.H, float64(need)/(1<<30), float64(free)/(1<<30))
	if need/stylize.RefusedMemory > free {
		return &hinted{errors.New(text), less}
	}
	warn(w.cmd, "%s; %s", text, less)
	return nil
}

// claim makes the folder of the state, which is removed at the end: one that
// holds anything else is not taken for it. undo removes it where it is empty, and
// folders that were made for it.
func (w *repaint) claim() (undo func(), err error) {
	if undo, err = atomicfile.MkdirAll(w.dir()); err != nil {
		return nil, fmt.Errorf("folder for the state: %w", err)
	}
	entries, err := os.ReadDir(w.dir())
	if err != nil {
		undo()
		return nil, fmt.Errorf("folder for the state: %w", err)
	}
	for _, e := range entries {
		if !checkpoint.Owns(e.Name()) {
			return nil, &hinted{
				fmt.Errorf("%s, where the state would be kept, holds something else: %s", w.dir(), e.Name()),
				"move it away, or choose another -o",
			}
		}
	}
	return undo, nil
}

// vgg opens VGG-19.
func (w *repaint) vgg(dev kernels.Device) (*vgg.Weights, error) {
	c := w.cfg.VGG
	return openVGG(w.cmd, dev, c.Weights, c.Convention, c.Random, c.Seed)
}

// openVGG opens the VGG-19 that measures content and style: a file of weights, ""
// being the one that is found, or a random one.
func openVGG(cmd *cobra.Command, dev kernels.Device, path, convention string, random bool, seed uint64) (*vgg.Weights, error) {
	if random {
		warn(cmd, "content and style are measured by a random VGG-19; for better results get trained weights: stylenet weights fetch")
		return vgg.Random(dev, seed)
	}
	path, err := vgg.Find(path)
	if err != nil {
		return nil, err
	}
	return vgg.Open(path, convention)
}

// optimizeReport is the line that --json prints for each step.
type optimizeReport struct {
	Total int `json:"total"` // steps at this scale
	optimize.Progress
}

func (w *repaint) observe(p optimize.Progress) {
	done := p.Step
	for _, s := range w.options.Scales[:p.Scale] {
		done += s.Steps
	}
	w.bar.Describe(fmt.Sprintf("%d×%d: loss %.4g (content %.3g, style %.3g, tv %.3g)", p.Width, p.Height, p.Loss, p.Content, p.Style, p.TotalVariation))
	_ = w.bar.Set(done) // a terminal that is gone does not matter
	if w.json && w.printed == nil {
		w.printed = printJSON(w.cmd, optimizeReport{w.options.Scales[p.Scale].Steps, p})
	}
}

// save writes the picture as it stands beside the output.
func (w *repaint) save(p optimize.Progress, picture *images.Picture) error {
	extension := filepath.Ext(w.output)
	path := fmt.Sprintf("%s-%d-%04d%s", strings.TrimSuffix(w.output, extension), max(p.Width, p.Height), p.Step, extension)
	return images.Save(path, picture, images.SaveOptions{Quality: w.quality})
}

func (w *repaint) checkpoint(s *optimize.State) error {
	config, err := w.cfg.YAML()
	if err != nil {
		return err
	}
	state, err := json.Marshal(savedState{*s, w.quality})
	if err != nil {
		return err
	}
	step := s.Step
	for _, scale := range w.options.Scales[:s.Scale] {
		step += scale.Steps
	}
	err = checkpoint.Write(w.dir(), &checkpoint.Snapshot{
		Step: step, Seed: w.cfg.Seed, Version: buildInfo().Version, Config: string(config), State: state,
		Model: &weights.Set{}, Optimizer: s.Tensors,
	}, 1)
	w.saved, w.unsaved = w.saved || err == nil, err
	return err
}
