package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"

	"github.com/spf13/cobra"

	"stylenet/configs"
	"stylenet/internal/kernels"
	"stylenet/train"
)

type benchTrainOptions struct {
	size         int
	batch, steps count
	json         bool
	arithmetic
}

type benchTrainReport struct {
	measurement
	Size         int    `json:"size"`
	Batch        int    `json:"batch"`
	Architecture string `json:"architecture"`
	VGGUpTo      string `json:"vgg_up_to"`
	Exact        bool   `json:"exact"`
	Precision    string `json:"precision"`
}

func newBenchTrainCmd() *cobra.Command {
	o := &benchTrainOptions{}
	cmd := &cobra.Command{
		Use:   "train",
		Short: "Measure how fast a network is trained",
		Long: `Measure training steps of the parity recipe, VGG-19 up to relu4_3, photos
decoded and cropped as in a real run: the median of the steps, after two that
are not counted. Photos and style are drawn for the purpose, and VGG-19 has
random weights, which cost what trained ones do.`,
		Example: `  stylenet bench train
  stylenet bench train --size 256 --batch 4 --steps 5 --json`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	flags := cmd.Flags()
	flags.IntVar(&o.size, "size", 256, "the side of the crops in pixels")
	o.batch.addBatch(cmd, "photos in a step")
	o.steps = 5
	flags.Var(&o.steps, "steps", "the number of steps that are counted")
	flags.BoolVar(&o.json, "json", false, "print the result as JSON")
	o.addFlags(cmd)
	return cmd
}

func (o *benchTrainOptions) run(cmd *cobra.Command) (err error) {
	const warmUp = 2
	if err := o.check(cmd); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "stylenet-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	steps := warmUp + int(o.steps)
	cfg, err := o.config(cmd, dir, steps)
	if err != nil {
		return err
	}
	bar := newProgress(cmd, steps, "measuring")
	var seconds []float64
	run, err := train.New(cmd.Context(), cfg, dir+"/run", train.Options{Observe: func(m train.Metrics) {
		if m.Step > warmUp {
			seconds = append(seconds, float64(o.batch)/m.ImagesPerSecond)
		}
		_ = bar.Set(m.Step) // a terminal that is gone does not matter
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run.Close()) }()
	if err := run.Train(cmd.Context()); err != nil {
		return err
	}
	info := run.Info()
	r := benchTrainReport{
		measurement: measure(seconds, int(o.batch)), Size: o.size, Batch: int(o.batch),
		Architecture: cfg.Network.Architecture, VGGUpTo: "relu4_3", Exact: info.Device.Exact, Precision: info.Device.Precision,
	}
	r.Device, r.Threads = info.Device.Backend, info.Device.Threads
	if o.json {
		return printJSON(cmd, r)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "batch %d at %d² in %s on %s with %d threads: %.2f images/s, %.3f s a step (median of %d), peak %.0f MiB\n",
		o.batch, o.size, r.Precision, r.Device, r.Threads, r.ImagesPerSecond, r.Seconds, r.Runs, r.PeakMiB)
	return err
}

// config draws photos and a style into dir and is the recipe that trains with
// them.
func (o *benchTrainOptions) config(cmd *cobra.Command, dir string, steps int) (*configs.Config, error) {
	scenes := demoFolder{dir}
	cfg, err := o.settings(cmd, scenes, steps, map[string]string{"data.size": "size", "train.batch": "batch", "train.steps": "steps"})
	if err != nil {
		return nil, err
	}
	return cfg, scenes.draw(cmd.Context(), 2*int(o.batch), 640, 480)
}

// settings are the recipe that trains with scenes; flags are those of its keys.
func (o *benchTrainOptions) settings(cmd *cobra.Command, scenes demoFolder, steps int, flags map[string]string) (*configs.Config, error) {
	sets, err := deviceSets(cmd, "train.")
	if err != nil {
		return nil, err
	}
	sets = append(sets, "data.dir="+scenes.photos(), "style.image="+scenes.style(), "vgg.random=true", "train.checkpoint_every=0", "train.preview_every=0",
		fmt.Sprintf("data.size=%d", o.size), fmt.Sprintf("train.batch=%d", o.batch), fmt.Sprintf("train.steps=%d", steps), fmt.Sprintf("train.exact=%t", o.exact),
		"train.precision="+cmp.Or(o.precision, kernels.Float32))
	maps.Copy(flags, deviceFlags())
	cfg, err := configs.LoadPreset("parity", sets)
	return cfg, flagFaults(cmd, err, nil, flagsOf(flags))
}
