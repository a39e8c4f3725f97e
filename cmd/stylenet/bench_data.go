package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"stylenet/configs"
	"stylenet/data"
	"stylenet/train"
)

type benchDataOptions struct {
	photoOptions
	cache    string
	batch    count
	runs     count
	training bool
	steps    count
	json     bool
}

type benchDataReport struct {
	measurement
	Size                int     `json:"size"`
	Batch               int     `json:"batch"`
	Source              string  `json:"source"`                 // photos or cache
	ImagesPerSecondCore float64 `json:"images_per_second_core"` // by the processor's time
	MBPerSecond         float64 `json:"mb_per_second"`          // of files or of the cache, 10⁶ bytes

	*againstTraining
}

// againstTraining compares training steps on photos with steps on a batch that
// stays the same.
type againstTraining struct {
	Step          float64 `json:"step_seconds"`           // on photos, median
	SyntheticStep float64 `json:"synthetic_step_seconds"` // median
	Ratio         float64 `json:"training_ratio"`         // of the rates: 1 where data cost nothing

	// ProcessorRatio is the same by the processors' time, which other programs
	// do not change; 0 where it is not known.
	ProcessorRatio float64 `json:"training_processor_ratio"`
}

func newBenchDataCmd() *cobra.Command {
	o := &benchDataOptions{}
	cmd := &cobra.Command{
		Use:   "data [CONFIG]",
		Short: "Measure how fast photos become batches",
		Long: `Measure how fast photos become batches of crops, by the clock and for each core,
with no network beside it. Photos and crops are those of CONFIG or of --photos;
without either, scenes of 640x480 are drawn for the purpose. --cache takes them
from a cache, which is made first where it is not up to date.

--against-training then trains, in turn, on these batches and on one batch that
stays the same, and gives the ratio of the two rates: 1 where data cost nothing,
below 0.95 where a cache is worth its space. The network is that of CONFIG, or
the parity recipe's with a random VGG-19.`,
		Example: `  stylenet bench data
  stylenet bench data --photos photos --cache photos.sndata --json
  stylenet bench data my.yaml --against-training`,
		Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.flags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.cache, "cache", "", "the cache to read (data.cache)")
	o.batch.addBatch(cmd, "photos in a batch (train.batch)")
	o.runs.addRuns(cmd, 10, "the number of runs, of 10 batches each")
	flags.BoolVar(&o.training, "against-training", false, "compare training steps on photos with steps on one batch")
	o.steps = 12
	flags.Var(&o.steps, "steps", "the number of training steps of each kind")
	flags.BoolVar(&o.json, "json", false, "print the result as JSON")
	return cmd
}

func (o *benchDataOptions) run(cmd *cobra.Command, args []string) (err error) {
	dir, err := os.MkdirTemp("", "stylenet-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg, err := o.recipe(cmd, args, demoFolder{dir})
	if err != nil {
		return err
	}
	opts, err := o.options(cmd, cfg)
	if err != nil {
		return err
	}
	bytes := int64(0)
	if opts.Cache != "" {
		p, err := data.Prepare(cmd.Context(), opts, nil)
		if err != nil {
			return err
		}
		bytes = p.Bytes / int64(p.Usable)
	}
	bar := newProgress(cmd, int(o.runs), "measuring")
	r, err := o.load(cmd.Context(), opts, bytes, func() { _ = bar.Add(1) }) // a terminal that is gone does not matter
	if err != nil {
		return err
	}
	if o.training {
		if r.againstTraining, err = o.train(cmd, cfg, filepath.Join(dir, "run")); err != nil {
			return err
		}
	}
	if o.json {
		return printJSON(cmd, r)
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "crops of %d² from %s: %.0f images/s with %d workers, %.0f images/s a core (%.2f ms each), %.1f MB/s\n",
		r.Size, r.Source, r.ImagesPerSecond, r.Threads, r.ImagesPerSecondCore, 1000/r.ImagesPerSecondCore, r.MBPerSecond)
	if r.againstTraining != nil {
		fmt.Fprintf(out, "training: %.3f s a step, %.3f s on one batch that stays the same: %.1f%% of its rate", r.Step, r.SyntheticStep, 100*r.Ratio)
		if r.ProcessorRatio > 0 {
			fmt.Fprintf(out, ", %.1f%% by the processors' time", 100*r.ProcessorRatio)
		}
		fmt.Fprintln(out)
	}
	return nil
}

// recipe is the configuration to measure, that of CONFIG or the parity recipe
// of the flags, without checkpoints. It draws what is missing.
func (o *benchDataOptions) recipe(cmd *cobra.Command, args []string, scenes demoFolder) (*configs.Config, error) {
	sets := []string{"train.checkpoint_every=0", "train.preview_every=0", "data.holdout="}
	onDevice, err := deviceSets(cmd, "train.")
	if err != nil {
		return nil, err
	}
	sets = append(sets, onDevice...)
	cfg, err := o.config(cmd, args, sets...)
	if cfg != nil || err != nil {
		return cfg, err
	}
	sets = append(sets, "data.dir="+scenes.photos(), "style.image="+scenes.style(), "vgg.random=true", "train.exact=false",
		fmt.Sprintf("data.size=%d", o.size), fmt.Sprintf("train.batch=%d", o.batch))
	if cfg, err = configs.LoadPreset("parity", append(sets, o.given(cmd)...)); err != nil {
		return nil, o.faults(cmd, err)
	}
	photos := 0
	if o.photos == "" {
		photos = 16
	}
	return cfg, scenes.draw(cmd.Context(), photos, 640, 480)
}

// load measures a loader by itself. bytes is what a photo takes in the cache.
func (o *benchDataOptions) load(ctx context.Context, opts data.Options, bytes int64, tick func()) (*benchDataReport, error) {
	const batches = 10
	l, err := data.NewLoader(opts, data.Cursor{})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	read := int64(0)
	next := func() error {
		b, err := l.Next(ctx)
		if err != nil {
			return err
		}
		for _, name := range b.Paths {
			if read += bytes; bytes > 0 {
				continue
			}
			info, err := os.Stat(filepath.Join(opts.Dir, filepath.FromSlash(name)))
			if err != nil {
				return err
			}
			read += info.Size()
		}
		l.Release(b)
		return nil
	}
	// The batches made ahead, and so before the clock starts, are not counted.
	for range 2 * batches {
		if err := next(); err != nil {
			return nil, err
		}
	}
	var seconds []float64
	read = 0
	begin := time.Now()
	used, known := processorTime()
	for range o.runs {
		start := time.Now()
		for range batches {
			if err := next(); err != nil {
				return nil, err
			}
		}
		seconds = append(seconds, time.Since(start).Seconds())
		tick()
	}
	wall := time.Since(begin)
	r := &benchDataReport{measurement: measure(seconds, batches*opts.Batch), Size: opts.Size, Batch: opts.Batch, Source: "photos"}
	r.Device, r.Threads = "cpu", opts.Workers
	if r.Threads == 0 {
		r.Threads = data.DefaultWorkers()
	}
	if opts.Cache != "" {
		r.Source = "cache"
	}
	now, _ := processorTime()
	if used = now - used; !known {
		used = wall * time.Duration(r.Threads) // all that there was for it
	}
	r.ImagesPerSecondCore = float64(int(o.runs)*batches*opts.Batch) / used.Seconds()
	r.MBPerSecond = float64(read) / 1e6 / wall.Seconds()
	return r, nil
}

// train measures training with and without data.
func (o *benchDataOptions) train(cmd *cobra.Command, cfg *configs.Config, dir string) (_ *againstTraining, err error) {
	const block = 3 // steps, more than are made ahead
	pairs := (int(o.steps) + block - 1) / block
	turns := &turns{steps: block}
	// The last step ends the last block, and is followed by a checkpoint.
	cfg.Train.Epochs, cfg.Train.Steps = 0, turnsWarmUp+2*block*pairs+1
	bar := newProgress(cmd, cfg.Train.Steps, "training")
	run, err := train.New(cmd.Context(), cfg, dir, train.Options{
		Source:  turns.on,
		Observe: func(m train.Metrics) { _ = bar.Set(m.Step) }, // a terminal that is gone does not matter
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, run.Close()) }()
	if err := run.Train(cmd.Context()); err != nil {
		return nil, err
	}
	photos, same := turns.photos, turns.same
	r := &againstTraining{Ratio: median(ratios(same.wall, photos.wall))}
	if !slices.Contains(photos.used, 0) {
		r.ProcessorRatio = median(ratios(same.used, photos.used))
	}
	r.Step, r.SyntheticStep = median(photos.wall)/block, median(same.wall)/block
	return r, nil
}

func ratios(a, b []float64) []float64 {
	r := slices.Clone(a)
	for i := range r {
		r[i] /= b[i]
	}
	return r
}

const turnsWarmUp = 2 // steps that are not counted

// turns gives training blocks of steps on a loader's batches and on one that
// stays the same, and times them. Each begins and ends with a loader that is as
// far ahead as it goes, so that a block pays for its own photos and for no
// others.
type turns struct {
	*data.Loader
	steps        int // of a block
	step         int
	batch        *data.Batch // the one that stays the same
	start        time.Time
	used         time.Duration // of the processors, at the start
	photos, same blocks
}

// blocks are the seconds of blocks of one kind, by the clock and of the
// processors; the latter are 0 where they are not known.
type blocks struct{ wall, used []float64 }

func (t *turns) on(l *data.Loader) train.Source {
	t.Loader = l
	return t
}

// synthetic tells the blocks' kinds: A B, B A, A B, ..., for a machine that
// grows slower favours neither.
func (t *turns) synthetic(block int) bool { return block%4 == 0 || block%4 == 3 }

func (t *turns) Next(ctx context.Context) (*data.Batch, error) {
	at := t.step - turnsWarmUp
	if at >= 0 && at%t.steps == 0 {
		if err := t.end(ctx); err != nil {
			return nil, err
		}
		t.start = time.Now()
		t.used, _ = processorTime()
	}
	t.step++
	if at >= 0 && t.synthetic(at/t.steps) {
		return t.batch, nil
	}
	b, err := t.Loader.Next(ctx)
	if err == nil && t.batch == nil {
		t.batch = &data.Batch{Pixels: slices.Clone(b.Pixels), Paths: slices.Clone(b.Paths), Cursor: b.Cursor}
	}
	return b, err
}

func (t *turns) Release(b *data.Batch) {
	if b != t.batch {
		t.Loader.Release(b)
	}
}

// end ends a block, where one has begun.
func (t *turns) end(ctx context.Context) error {
	for !t.Idle() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		time.Sleep(100 * time.Microsecond)
	}
	if t.start.IsZero() {
		return nil
	}
	kind := &t.photos
	if t.synthetic((t.step - turnsWarmUp - 1) / t.steps) {
		kind = &t.same
	}
	used, _ := processorTime()
	kind.wall = append(kind.wall, time.Since(t.start).Seconds())
	kind.used = append(kind.used, (used - t.used).Seconds())
	return nil
}
