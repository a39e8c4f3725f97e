package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"stylenet/configs"
	"stylenet/data"
	"stylenet/train"
)

// photoOptions say which photos a command reads, and how they are cropped: as a
// configuration does, or with photos and size alone.
type photoOptions struct {
	photos   string
	size     int
	scaleMax float64
	sets     []string
}

func (o *photoOptions) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.photos, "photos", "", "the folder of photos (data.dir)")
	flags.IntVar(&o.size, "size", 256, "the side of the crops in pixels (data.size)")
	flags.Float64Var(&o.scaleMax, "scale-max", 1, "the largest random zoom (data.scale_max)")
	flags.StringArrayVar(&o.sets, "set", nil, "KEY=VALUE changes a key of CONFIG; may be repeated")
	complete(cmd, "set", configs.Keys()...)
	if err := cmd.MarkFlagDirname("photos"); err != nil {
		panic(fmt.Sprintf("completion of --photos: %v", err)) // the flag does not exist
	}
}

// config is the configuration of the first argument under the flags, with more
// sets; nil where there is no argument.
func (o *photoOptions) config(cmd *cobra.Command, args []string, more ...string) (*configs.Config, error) {
	if len(args) == 0 {
		if len(o.sets) > 0 {
			return nil, usagef(cmd, "--set changes a CONFIG: name one")
		}
		return nil, nil
	}
	cfg, err := configs.Load(args[0], slices.Concat(o.sets, o.given(cmd), more))
	return cfg, o.faults(cmd, err)
}

// photoFlags are the flags that are keys of a configuration.
func photoFlags() [][2]string {
	return [][2]string{{"photos", "data.dir"}, {"size", "data.size"}, {"scale-max", "data.scale_max"}, {"cache", "data.cache"}, {"batch", "train.batch"}}
}

// faults names flags in place of their keys.
func (o *photoOptions) faults(cmd *cobra.Command, err error) error {
	flags := deviceFlags()
	for _, f := range photoFlags() {
		flags[f[1]] = f[0]
	}
	return flagFaults(cmd, err, o.sets, flagsOf(flags))
}

// given are the flags that a person has set, as settings of a configuration.
func (o *photoOptions) given(cmd *cobra.Command) []string {
	var sets []string
	for _, f := range photoFlags() {
		if cmd.Flags().Changed(f[0]) { // not all commands have each
			sets = append(sets, f[1]+"="+cmd.Flag(f[0]).Value.String())
		}
	}
	return sets
}

// options are those of a loader of a configuration, or of the flags where it is
// nil.
func (o *photoOptions) options(cmd *cobra.Command, cfg *configs.Config) (data.Options, error) {
	threads, err := threadsFlag(cmd)
	if err != nil {
		return data.Options{}, err
	}
	opts := data.Options{Dir: o.photos, Size: o.size, ScaleMax: o.scaleMax}
	if cfg != nil {
		opts = train.DataOptions(cfg)
	}
	if threads > 0 {
		opts.Workers = threads
	}
	return opts, nil
}

type dataPrepareOptions struct {
	photoOptions
	output string
	json   bool
}

func newDataPrepareCmd() *cobra.Command {
	o := &dataPrepareOptions{}
	cmd := &cobra.Command{
		Use:   "prepare [CONFIG] -o FILE",
		Short: "Decode all photos once, into a cache for training",
		Long: `Decode every photo once and write what training cuts its crops from to a cache,
which training reads with data.cache=FILE: the same crops, bit for bit, for a
small part of the time. It takes 3 bytes a pixel: 262 KB for a photo of 640x480
and crops of 256.

CONFIG says which photos and crops, as for stylenet train; without one,
--photos, --size and --scale-max do. Where CONFIG sets data.cache, -o may be left
out.

Ctrl-C, a kill or a power cut loses nothing but the photos at hand: the next call
goes on. A cache that is up to date is left as it is, one that is not is made
again. Photos that cannot be used are listed.`,
		Example: `  stylenet data prepare my.yaml -o photos.sndata
  stylenet data prepare --photos photos --size 256 -o photos.sndata
  stylenet train my.yaml --set data.cache=photos.sndata`,
		Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.flags(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&o.output, "output", "o", "", "the cache to write (default: data.cache of CONFIG)")
	flags.BoolVar(&o.json, "json", false, "print a summary as JSON")
	return cmd
}

func (o *dataPrepareOptions) run(cmd *cobra.Command, args []string) error {
	cfg, err := o.config(cmd, args)
	if err != nil {
		return err
	}
	opts, err := o.options(cmd, cfg)
	if err != nil {
		return err
	}
	if o.output != "" {
		opts.Cache = o.output
	}
	switch {
	case opts.Dir == "":
		return usagef(cmd, "give a CONFIG, or --photos DIR")
	case opts.Cache == "":
		return usagef(cmd, "give the cache to write: -o FILE")
	}
	bar := newProgress(cmd, -1, "preparing")
	total := 0
	p, err := data.Prepare(cmd.Context(), opts, func(done, of int) {
		if total != of {
			total = of
			bar.ChangeMax(of)
		}
		_ = bar.Set(done) // a terminal that is gone does not matter
	})
	_ = bar.Finish()
	var wrong *data.OptionsError
	switch {
	case errors.As(err, &wrong):
		return usagef(cmd, "%w", err)
	case err != nil && cmd.Context().Err() != nil:
		return &hinted{err, "go on with the same command"}
	case err != nil:
		return err
	}
	if o.json {
		return printJSON(cmd, p)
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s: %d of %d photos, %s MB", p.Path, p.Usable, p.Files, strconv.FormatFloat(float64(p.Bytes)/1e6, 'f', 1, 64))
	if p.Reused > 0 {
		fmt.Fprintf(out, ", %d of them done before", p.Reused)
	}
	fmt.Fprintln(out)
	for _, s := range p.Skipped {
		fmt.Fprintf(out, "  skipped: %s: %s\n", s.Path, s.Reason)
	}
	return nil
}
