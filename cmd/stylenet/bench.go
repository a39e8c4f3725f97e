package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"stylenet/internal/stylize"
)

func newBenchCmd() *cobra.Command {
	return group(&cobra.Command{
		Use:   "bench",
		Short: "Measure the speed of this machine",
		Long: `Measure the speed of this machine. --json gives images_per_second, seconds and
peak_mib among its keys.`,
		Example: `  stylenet bench stylize --size 1920x1080
  stylenet bench stylize --json | jq .images_per_second`,
	}, newBenchStylizeCmd(), newBenchTrainCmd(), newBenchDataCmd(), newBenchRooflineCmd(), newBenchScalingCmd(), newBenchFlickerCmd())
}

// pixels is a flag of a size: SIDE or WIDTHxHEIGHT.
type pixels struct{ w, h int }

// Set reads the size of a picture with sides of up to 65536 pixels.
func (p *pixels) Set(s string) (err error) {
	p.w, p.h, err = parseSize(s)
	return err
}

// String gives the size as Set takes it.
func (p *pixels) String() string {
	if p.w == p.h {
		return strconv.Itoa(p.w)
	}
	return fmt.Sprintf("%dx%d", p.w, p.h)
}

// Type is what help calls the value.
func (p *pixels) Type() string { return "size" }

// fit refuses a size of which so many pictures take more memory than is free.
func (p *pixels) fit(pictures int) error {
	if free, known := stylize.FreeMemory(); known {
		return p.fitIn(free, pictures)
	}
	return nil
}

func (p *pixels) fitIn(free int64, pictures int) error {
	const channels, bytes = 3, 4
	if need := int64(pictures) * channels * bytes * int64(p.w) * int64(p.h); need > free {
		return fmt.Errorf("--size %s takes %.1f GiB of memory for pictures alone, and %.1f GiB are free: give a smaller one", p, float64(need)/(1<<30), float64(free)/(1<<30))
	}
	return nil
}

// count is a flag of a number of at least 1.
type count int

// Set reads a whole number of at least 1.
func (c *count) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return errors.New("give a whole number of at least 1")
	}
	*c = count(n)
	return nil
}

// String gives the number in digits.
func (c *count) String() string { return strconv.Itoa(int(*c)) }

// Type is what help calls the value.
func (c *count) Type() string { return "int" }

// addRuns gives cmd the flag --runs.
func (c *count) addRuns(cmd *cobra.Command, usual int, usage string) {
	*c = count(usual)
	cmd.Flags().Var(c, "runs", usage)
}

// addBatch gives cmd the flag --batch.
func (c *count) addBatch(cmd *cobra.Command, usage string) {
	*c = 4
	cmd.Flags().Var(c, "batch", usage)
}

// measurement is what every benchmark reports.
type measurement struct {
	ImagesPerSecond float64 `json:"images_per_second"`
	Seconds         float64 `json:"seconds"`  // of one run, median
	PeakMiB         float64 `json:"peak_mib"` // resident memory of the process
	Runs            int     `json:"runs"`
	Device          string  `json:"device"`
	Threads         int     `json:"threads"`
}

// median sorts v.
func median(v []float64) float64 {
	slices.Sort(v)
	if len(v)%2 == 0 {
		return (v[len(v)/2] + v[len(v)/2-1]) / 2
	}
	return v[len(v)/2]
}

// measure sums up runs of that many images each. seconds is sorted.
func measure(seconds []float64, images int) measurement {
	middle := median(seconds)
	return measurement{
		ImagesPerSecond: float64(images) / middle,
		Seconds:         middle,
		PeakMiB:         float64(peakBytes()) / (1 << 20),
		Runs:            len(seconds),
	}
}
