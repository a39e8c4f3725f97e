package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stylenet/export"
	"stylenet/internal/images"
	"stylenet/internal/kernels"
	"stylenet/internal/networks"
	"stylenet/internal/stylize"
)

type benchStylizeOptions struct {
	model string
	size  pixels
	runs  count
	json  bool
	arithmetic
}

type benchStylizeReport struct {
	measurement
	Width        int    `json:"width"`
	Height       int    `json:"height"`
	Architecture string `json:"architecture"`
	Exact        bool   `json:"exact"`
	Precision    string `json:"precision"`
}

func newBenchStylizeCmd() *cobra.Command {
	o := &benchStylizeOptions{}
	cmd := &cobra.Command{
		Use:   "stylize",
		Short: "Measure how fast pictures are stylized",
		Long: `Measure how fast one picture after the other is stylized, without reading and
writing files: the median of the runs, after one run that is not counted. The
network is that of a model, or the paper's with random weights.`,
		Example: `  stylenet bench stylize
  stylenet bench stylize --size 1920x1080 --runs 5 --json
  stylenet bench stylize --model starry.safetensors --threads 1`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.model, "model", "m", "", "the model file or run (default: the paper's network)")
	o.size = pixels{256, 256}
	flags.Var(&o.size, "size", "the picture in pixels: SIDE or WIDTHxHEIGHT")
	o.runs.addRuns(cmd, 10, "the number of runs that are counted")
	flags.BoolVar(&o.json, "json", false, "print the result as JSON")
	o.addFlags(cmd)
	completeFiles(cmd, "model", "safetensors", "pth")
	complete(cmd, "size", "256", "512", "1024", "1920x1080")
	return cmd
}

func (o *benchStylizeOptions) run(cmd *cobra.Command) (err error) {
	if err := o.check(cmd); err != nil {
		return err
	}
	m, err := o.load(cmd)
	if err != nil {
		return err
	}
	dev, err := openDevice(cmd, o.arithmetic)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	var seconds []float64
	runs := int(o.runs) + 1
	bar := newProgress(cmd, runs, "measuring")
	err = stylizeNoise(cmd.Context(), dev, m, o.size, runs, func(run int, took float64) {
		if run > 0 {
			seconds = append(seconds, took)
		}
		_ = bar.Add(1) // a terminal that is gone does not matter
	})
	if err != nil {
		return err
	}
	info := dev.Info()
	r := benchStylizeReport{measurement: measure(seconds, 1), Width: o.size.w, Height: o.size.h, Architecture: m.Network.String(), Exact: info.Exact, Precision: info.Precision}
	r.Device, r.Threads = info.Backend, info.Threads
	if o.json {
		return printJSON(cmd, r)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d×%d in %s on %s with %d threads: %.2f images/s, %.4f s each (median of %d), peak %.0f MiB\n",
		r.Width, r.Height, r.Precision, r.Device, r.Threads, r.ImagesPerSecond, r.Seconds, r.Runs, r.PeakMiB)
	return err
}

func (o *benchStylizeOptions) load(cmd *cobra.Command) (*export.Model, error) {
	if o.model != "" {
		m, err := loadModel(cmd, o.model)
		if err != nil {
			return nil, err
		}
		if styles := m.Styles(); len(styles) > 1 {
			return m.Mix([]export.Share{{Style: styles[0], Weight: 1}}) // any mix takes as long
		}
		return m, nil
	}
	return randomModel(networks.JohnsonArchitecture)
}

// randomModel is a network of the paper's kind with random weights.
func randomModel(architecture string) (*export.Model, error) {
	j := networks.Johnson{Architecture: architecture, Padding: "reflect", Norm: "instance", Upsample: "nearest", Output: "linear"}
	net, err := j.Build()
	if err != nil {
		return nil, err
	}
	set, err := net.Init(1)
	return &export.Model{Network: j, Weights: set}, err
}

// stylizeNoise stylizes a picture some times and tells the seconds of each run.
// The first one packs weights, too.
func stylizeNoise(ctx context.Context, dev kernels.Device, m *export.Model, size pixels, runs int, tell func(run int, seconds float64)) (err error) {
	if err := size.fit(2); err != nil {
		return err
	}
	s, err := stylize.Open(dev, m)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	p, out := noise(size.w, size.h), images.New(size.w, size.h)
	for i := range runs {
		start := time.Now()
		if err := s.Paint(ctx, p, out, stylize.Options{Strength: 1}); err != nil {
			return err
		}
		tell(i, time.Since(start).Seconds())
	}
	return nil
}

// noise is a picture to measure with.
func noise(w, h int) *images.Picture {
	p := images.New(w, h)
	random := rand.New(rand.NewPCG(1, 1))
	for i := range p.Pix {
		p.Pix[i] = 255 * random.Float32()
	}
	return p
}

// maxPixels bounds the sides of pictures.
const maxPixels = 1 << 16

// parseSize reads SIDE or WIDTHxHEIGHT.
func parseSize(s string) (w, h int, err error) {
	a, b, found := strings.Cut(strings.ToLower(s), "x")
	if !found {
		b = a
	}
	w, errW := strconv.Atoi(a)
	h, errH := strconv.Atoi(b)
	if errW != nil || errH != nil || w < 1 || h < 1 || w > maxPixels || h > maxPixels {
		return 0, 0, errors.New("give pixels such as 256 or 1920x1080")
	}
	return w, h, nil
}
