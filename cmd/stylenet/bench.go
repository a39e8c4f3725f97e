package main

import (
	"slices"

	"github.com/spf13/cobra"
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
