package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"stylenet/internal/kernels"
	"stylenet/internal/kernels/profile"
	"stylenet/train"
)

type benchRooflineOptions struct {
	model string
	size  pixels
	batch count
	runs  count
	all   bool
	json  bool
	arithmetic
}

type rooflineReport struct {
	Work      string  `json:"work"`
	Device    string  `json:"device"`
	Threads   int     `json:"threads"`
	Precision string  `json:"precision"`
	PeakFLOPS float64 `json:"peak_flops"` // 0 where the device does not measure it
	// Bandwidths are of copies as large as the stages.
	Bandwidths []bandwidth     `json:"bandwidths"`
	Seconds    float64         `json:"seconds"` // of all stages
	Stages     []rooflineStage `json:"stages"`
}

type bandwidth struct {
	Bytes          int     `json:"bytes"`
	BytesPerSecond float64 `json:"bytes_per_second"`
}

type rooflineStage struct {
	profile.Stage
	// Ceiling is the least time that the stage could take: its arithmetic at
	// the peak rate, or its bytes at the rate of a copy, whichever is more. 0:
	// not known.
	Ceiling float64 `json:"ceiling_seconds"`
	Bound   string  `json:"bound"` // "arithmetic", "memory" or ""
}

func newBenchRooflineCmd() *cobra.Command {
	o := &benchRooflineOptions{}
	cmd := &cobra.Command{
		Use:   "roofline stylize|train",
		Short: "Measure every kernel against what the machine can do",
		Long: `Measure every kernel of a stylized picture, or of a training step, against what
the machine can do, and print it as a Markdown table.

Kernels are timed where they run, one by one; the fastest run of each counts.
Arithmetic is that of convolutions and Gram matrices computed directly, so that
algorithms which need less of it, such as Winograd's, can pass 100%. Bytes are
those of every array that a kernel reads or writes, once. The ceilings are
measured in the same process: multiply-adds between registers, and copies of as
much memory as a kernel moves, caches included. The share is the least time that
the ceilings allow by the time that was taken.`,
		Example: `  stylenet bench roofline stylize --size 1920x1080
  stylenet bench roofline train --precision bf16 --json`,
		Args:      args(1, 1),
		ValidArgs: []string{"stylize", "train"},
		RunE:      func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.model, "model", "m", "", "the model file or run to stylize with (default: the paper's network)")
	o.size = pixels{256, 256}
	flags.Var(&o.size, "size", "the picture or the crops in pixels: SIDE or WIDTHxHEIGHT")
	o.batch.addBatch(cmd, "photos in a training step")
	o.runs.addRuns(cmd, 5, "the number of runs, the fastest of which counts")
	flags.BoolVar(&o.all, "all", false, "list stages below 1% of the time, too")
	flags.BoolVar(&o.json, "json", false, "print the result as JSON")
	o.addFlags(cmd)
	completeFiles(cmd, "model", "safetensors", "pth")
	return cmd
}

func (o *benchRooflineOptions) run(cmd *cobra.Command, work string) error {
	if err := o.check(cmd); err != nil {
		return err
	}
	var r *rooflineReport
	var err error
	if work == "train" {
		if o.size.w != o.size.h {
			return usagef(cmd, "--size %s: crops are squares", &o.size)
		}
		if o.model != "" {
			return usagef(cmd, "--model is for stylize: training measures the parity recipe's network")
		}
		r, err = o.train(cmd)
	} else {
		r, err = o.stylize(cmd)
	}
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(cmd, r)
	}
	return r.print(cmd.OutOrStdout(), o.all)
}

func (o *benchRooflineOptions) stylize(cmd *cobra.Command) (_ *rooflineReport, err error) {
	m, err := (&benchStylizeOptions{model: o.model}).load(cmd)
	if err != nil {
		return nil, err
	}
	dev, err := openDevice(cmd, o.arithmetic)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	measured := profile.Wrap(dev)
	runs := int(o.runs) + 1
	bar := newProgress(cmd, runs, "measuring")
	err = stylizeNoise(cmd.Context(), measured, m, o.size, runs, func(int, float64) { _ = bar.Add(1) }) // a terminal that is gone does not matter
	if err != nil {
		return nil, err
	}
	return newRoofline(fmt.Sprintf("stylize %d×%d", o.size.w, o.size.h), measured)
}

func (o *benchRooflineOptions) train(cmd *cobra.Command) (_ *rooflineReport, err error) {
	dir, err := os.MkdirTemp("", "stylenet-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	runs := int(o.runs) + 1
	cfg, err := (&benchTrainOptions{size: o.size.w, batch: o.batch, arithmetic: o.arithmetic}).config(cmd, dir, runs)
	if err != nil {
		return nil, err
	}
	var measured *profile.Device
	bar := newProgress(cmd, runs, "measuring")
	run, err := train.New(cmd.Context(), cfg, filepath.Join(dir, "run"), train.Options{
		Observe: func(train.Metrics) { _ = bar.Add(1) }, // a terminal that is gone does not matter
		Device: func(dev kernels.Device) kernels.Device {
			measured = profile.Wrap(dev)
			return measured
		},
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, run.Close()) }()
	measured.Forget() // the style's Gram matrices are taken once
	if err := run.Train(cmd.Context()); err != nil {
		return nil, err
	}
	return newRoofline(fmt.Sprintf("train, batch %d, %d²", o.batch, o.size.w), measured)
}

// newRoofline measures the ceilings and puts the stages below them, the
// longest first.
func newRoofline(work string, dev *profile.Device) (*rooflineReport, error) {
	info := dev.Info()
	r := &rooflineReport{Work: work, Device: info.Backend, Threads: info.Threads, Precision: info.Precision}
	limits, known := dev.Device.(kernels.Limits)
	if known {
		var err error
		if r.PeakFLOPS, err = limits.PeakFLOPS(); err != nil {
			return nil, err
		}
	}
	for _, s := range dev.Stages() {
		stage := rooflineStage{Stage: s}
		if known {
			rate, err := r.bandwidth(limits, int(s.Bytes)/s.Kernels)
			if err != nil {
				return nil, err
			}
			arithmetic, memory := s.FLOPs/r.PeakFLOPS, s.Bytes/rate
			stage.Ceiling, stage.Bound = max(arithmetic, memory), "memory"
			if arithmetic > memory {
				stage.Bound = "arithmetic"
			}
		}
		r.Seconds += s.Seconds
		r.Stages = append(r.Stages, stage)
	}
	slices.SortStableFunc(r.Stages, func(a, b rooflineStage) int { return cmp.Compare(b.Seconds, a.Seconds) })
	slices.SortFunc(r.Bandwidths, func(a, b bandwidth) int { return cmp.Compare(a.Bytes, b.Bytes) })
	return r, nil
}

// bandwidth is the rate of copies of that many bytes, rounded to a power of 2,
// from 64 KiB to 1 GiB.
func (r *rooflineReport) bandwidth(limits kernels.Limits, bytes int) (float64, error) {
	size := 1 << min(max(bits.Len(uint(bytes)), 16), 30)
	for _, b := range r.Bandwidths {
		if b.Bytes == size {
			return b.BytesPerSecond, nil
		}
	}
	rate, err := limits.Bandwidth(size)
	r.Bandwidths = append(r.Bandwidths, bandwidth{size, rate})
	return rate, err
}

func (r *rooflineReport) print(out io.Writer, all bool) error {
	fmt.Fprintf(out, "%s in %s on %s with %d threads: %.1f ms in kernels.", r.Work, r.Precision, r.Device, r.Threads, 1000*r.Seconds)
	if r.PeakFLOPS > 0 {
		fmt.Fprintf(out, " Ceilings: %.0f GFLOP/s; copies of", r.PeakFLOPS/1e9)
		first, last := r.Bandwidths[0], r.Bandwidths[len(r.Bandwidths)-1]
		fmt.Fprintf(out, " %s %.0f GB/s, of %s %.0f GB/s.", binaryBytes(first.Bytes), first.BytesPerSecond/1e9, binaryBytes(last.Bytes), last.BytesPerSecond/1e9)
	}
	fmt.Fprint(out, "\n\n| stage | kernels | GFLOP | MB | ms | GFLOP/s | GB/s | share of the ceiling |\n|---|---|---|---|---|---|---|---|\n")
	var rest, total rooflineStage
	for _, s := range r.Stages {
		total.add(s)
		if !all && s.Seconds < .01*r.Seconds {
			rest.add(s)
			continue
		}
		s.row(out)
	}
	if rest.Kernels > 0 {
		rest.Name = "all below 1%"
		rest.row(out)
	}
	total.Name = "all"
	return total.row(out)
}

// add sums up stages; what bounds them differs.
func (s *rooflineStage) add(o rooflineStage) {
	s.Kernels += o.Kernels
	s.FLOPs += o.FLOPs
	s.Bytes += o.Bytes
	s.Seconds += o.Seconds
	s.Ceiling += o.Ceiling
}

func (s *rooflineStage) row(out io.Writer) error {
	share := "not known"
	if s.Ceiling > 0 {
		share = fmt.Sprintf("%.0f%%", 100*s.Ceiling/s.Seconds)
		if s.Bound != "" {
			share += " (" + s.Bound + ")"
		}
	}
	arithmetic, rate := "", ""
	if s.FLOPs > 0 {
		arithmetic, rate = fmt.Sprintf("%.3g", s.FLOPs/1e9), fmt.Sprintf("%.0f", s.FLOPs/s.Seconds/1e9)
	}
	_, err := fmt.Fprintf(out, "| %s | %d | %s | %.3g | %.3g | %s | %.1f | %s |\n", s.Name, s.Kernels, arithmetic, s.Bytes/1e6, 1000*s.Seconds, rate, s.Bytes/s.Seconds/1e9, share)
	return err
}

// binaryBytes is a power of 2 in words.
func binaryBytes(n int) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
