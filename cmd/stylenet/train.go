package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"stylenet/configs"
	"stylenet/train"
)

type trainOptions struct {
	out    string
	resume string
	sets   []string
	json   bool
}

func newTrainCmd() *cobra.Command {
	o := &trainOptions{}
	cmd := &cobra.Command{
		Use:   "train CONFIG | --resume RUN",
		Short: "Train a network for a style",
		Long: `Train a network that repaints photos in the style of a painting.

CONFIG is a YAML file, or one of the built-in recipes (` + presetNames() + `).
--set changes single keys; docs/config.md lists them all. The run directory
gets the resolved configuration, metrics.jsonl with a line for each step,
checkpoints and previews.

Ctrl-C or SIGTERM saves a checkpoint and stops. A run that was stopped in any
way, and resumed, ends with the same weights as one that never stopped.`,
		Example: `  stylenet train johnson --set data.dir=photos --set style.image=starry.jpg
  stylenet train my.yaml --out runs/starry --set train.steps=2000
  stylenet train --resume runs/starry`,
		Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, p := range configs.Presets() {
				names = append(names, p.Name+"\t"+p.Summary)
			}
			return names, cobra.ShellCompDirectiveDefault
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.out, "out", "o", "", "the run directory (default: runs/NAME)")
	flags.StringVar(&o.resume, "resume", "", "the run directory to go on with")
	flags.StringArrayVar(&o.sets, "set", nil, "KEY=VALUE changes a key of the configuration; may be repeated")
	flags.BoolVar(&o.json, "json", false, "print each step's metrics as a line of JSON")
	complete(cmd, "set", configs.Keys()...)
	return cmd
}

func presetNames() string {
	names := ""
	for i, p := range configs.Presets() {
		if i > 0 {
			names += ", "
		}
		names += p.Name
	}
	return names
}

func (o *trainOptions) run(cmd *cobra.Command, args []string) error {
	onDevice, err := deviceSets(cmd, "train.")
	if err != nil {
		return err
	}
	sets := append(slices.Clone(o.sets), onDevice...)
	flags := flagsOf(deviceFlags())
	open := func(to train.Options) (*train.Run, error) {
		r, err := train.Resume(cmd.Context(), o.resume, sets, to)
		return r, flagFaults(cmd, err, o.sets, flags)
	}
	switch {
	case o.resume != "" && (len(args) > 0 || o.out != ""):
		return usagef(cmd, "--resume goes on with a run and takes no CONFIG or --out")
	case o.resume == "" && len(args) == 0:
		return usagef(cmd, "give a CONFIG to start a run, or --resume RUN to go on with one")
	case o.resume == "":
		cfg, err := configs.Load(args[0], sets)
		if err != nil {
			return flagFaults(cmd, err, o.sets, flags)
		}
		dir := o.out
		if dir == "" {
			if strings.ContainsAny(cfg.Name, `/\`) || cfg.Name == "." || cfg.Name == ".." {
				return fmt.Errorf("name %q is no name of a folder in runs: change it, or give --out", cfg.Name)
			}
			dir = filepath.Join("runs", cfg.Name)
		}
		open = func(to train.Options) (*train.Run, error) {
			return train.New(cmd.Context(), cfg, dir, to)
		}
	}
	return runTraining(cmd, o.json, open)
}

// deviceSets are the flags --device and --threads, where they are given, as
// settings of a section of a configuration.
func deviceSets(cmd *cobra.Command, section string) ([]string, error) {
	if _, err := threadsFlag(cmd); err != nil {
		return nil, err
	}
	var sets []string
	for _, flag := range []string{"device", "threads"} {
		if cmd.Flags().Changed(flag) {
			sets = append(sets, section+flag+"="+cmd.Flag(flag).Value.String())
		}
	}
	return sets, nil
}

// deviceFlags are the flags of deviceSets by the keys of a training.
func deviceFlags() map[string]string {
	return map[string]string{"train.device": "device", "train.threads": "threads"}
}

// runTraining opens a run, trains it to its end and tells of it.
func runTraining(cmd *cobra.Command, json bool, open func(train.Options) (*train.Run, error)) (err error) {
	bar := newProgress(cmd, -1, "training")
	var printed error
	run, err := open(train.Options{
		Version: buildInfo().Version,
		Warn:    func(err error) { warn(cmd, "%v", err) },
		Observe: func(m train.Metrics) {
			of, more := "", ""
			if m.StyleName != "" {
				of = " of " + m.StyleName
			}
			if m.Temporal > 0 {
				more = fmt.Sprintf(", temporal %.3g", m.Temporal)
			}
			bar.Describe(fmt.Sprintf("loss%s %.4g (content %.3g, style %.3g, tv %.3g%s), %.1f images/s", of, m.Loss, m.Content, m.Style, m.TotalVariation, more, m.ImagesPerSecond))
			_ = bar.Set(m.Step) // a terminal that is gone does not matter
			if json && printed == nil {
				printed = printJSON(cmd, m)
			}
		},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run.Close(), printed) }()
	info := run.Info()
	bar.ChangeMax(info.Steps)
	_ = bar.Set(info.Step)
	if info.RandomVGG {
		warn(cmd, "content and style are measured by a %s; for better results get trained weights: stylenet weights fetch", info.VGG)
	}
	if !json {
		say(cmd, "%s: %d steps from step %d on, %d photos, network of %d weights, %s with %d threads", info.Dir, info.Steps, info.Step, info.Photos, info.Parameters, info.Device.Description, info.Device.Threads)
	}
	trainErr := run.Train(cmd.Context())
	_ = bar.Finish()
	info = run.Info()
	tellSkipped(cmd, info)
	// The bare cause means that the stop went well; a checkpoint that could not
	// be written is joined to it.
	if trainErr != nil && trainErr == context.Cause(cmd.Context()) {
		return &hinted{fmt.Errorf("interrupted at step %d of %d; the run is saved: %w", info.Step, info.Steps, context.Cause(cmd.Context())), "go on with it: stylenet train --resume " + info.Dir}
	}
	if trainErr == nil && !json {
		say(cmd, "%s: done after %d steps; next: stylenet export %s -o model.safetensors", info.Dir, info.Step, info.Dir)
	}
	return trainErr
}

// tellSkipped lists the photos that could not be used.
func tellSkipped(cmd *cobra.Command, info train.Info) {
	const most = 20
	if len(info.Skipped) == 0 {
		return
	}
	warn(cmd, "%d of %d photos could not be used and were skipped:", len(info.Skipped), info.Photos)
	for i, s := range info.Skipped {
		if i == most {
			fmt.Fprintf(cmd.ErrOrStderr(), "  and %d more; stylenet data check %s lists them all\n", len(info.Skipped)-most, info.Config.Data.Dir)
			break
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "  %s: %s\n", s.Path, s.Reason)
	}
}
