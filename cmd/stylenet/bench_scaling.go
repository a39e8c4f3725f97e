package main

import (
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"stylenet/configs"
	"stylenet/internal/atomicfile"
	"stylenet/internal/kernels"
	"stylenet/train"
)

type benchScalingOptions struct {
	out                              string
	only                             []string
	sides, batches, threads, channel []int
	side, crop                       int
	runs                             count
	json                             bool
}

// series is how a cost grows with something.
type series struct {
	Name string    `json:"name"` // the precision
	X    []float64 `json:"x"`
	Y    []float64 `json:"y"`
}

// panel is one of the plots.
type panel struct {
	Title  string    `json:"title"`
	X      string    `json:"x"`
	Y      string    `json:"y"`
	Series []*series `json:"series"`
	log    bool      // both axes
	ideal  bool      // show y = x
}

var scalingPanels = []string{"size", "batch", "threads", "channels"}

func newBenchScalingCmd() *cobra.Command {
	o := &benchScalingOptions{}
	cmd := &cobra.Command{
		Use:   "scaling -o FILE",
		Short: "Plot how cost grows with size, batch, threads and channels",
		Long: `Measure how the cost of a picture grows with its size, with threads and with the
network's channels, and that of a training step with its batch, and plot it as
PNG: seconds, and the memory of feature maps, weights and scratch. The network is
the paper's, with 32 channels at its ends; the fastest of several runs counts.
Takes about a minute on 2 cores.`,
		Example: `  stylenet bench scaling -o scaling.png
  stylenet bench scaling -o sizes.png --only size --sides 256,512,1024,2048 --json`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.out, "output", "o", "", "the PNG file to write (required)")
	flags.StringSliceVar(&o.only, "only", scalingPanels, "what to vary")
	flags.IntSliceVar(&o.sides, "sides", []int{128, 192, 256, 384, 512, 768, 1024}, "sides of square pictures in pixels")
	flags.IntSliceVar(&o.batches, "batches", []int{1, 2, 4, 8}, "photos in a training step")
	flags.IntSliceVar(&o.threads, "thread-counts", threadCounts(), "numbers of threads")
	flags.IntSliceVar(&o.channel, "channels", []int{8, 16, 32, 48, 64}, "channels of the network's first layer; the others follow")
	flags.IntVar(&o.side, "side", 512, "the side of the picture where threads and channels vary")
	flags.IntVar(&o.crop, "crop", 128, "the side of the crops where the batch varies")
	o.runs.addRuns(cmd, 3, "the number of runs, the fastest of which counts")
	flags.BoolVar(&o.json, "json", false, "print the measurements as JSON")
	completeFiles(cmd, "output", "png")
	complete(cmd, "only", scalingPanels...)
	if err := cmd.MarkFlagRequired("output"); err != nil {
		panic(err) // the flag does not exist
	}
	return cmd
}

// threadCounts are 1, 2, 4 and so on, up to the number of processors.
func threadCounts() []int {
	counts := []int{1}
	for n := 2; n < runtime.NumCPU(); n *= 2 {
		counts = append(counts, n)
	}
	if runtime.NumCPU() > 1 {
		counts = append(counts, runtime.NumCPU())
	}
	return counts
}

func (o *benchScalingOptions) check(cmd *cobra.Command) error {
	if len(o.only) == 0 {
		return usagef(cmd, "--only names nothing: there are %s", strings.Join(scalingPanels, ", "))
	}
	for _, name := range o.only {
		if !slices.Contains(scalingPanels, name) {
			return usagef(cmd, "--only %q: there are %s", name, strings.Join(scalingPanels, ", "))
		}
	}
	if !strings.EqualFold(filepath.Ext(o.out), ".png") {
		return usagef(cmd, "%s: plots are written as PNG: give a name that ends in .png", o.out)
	}
	const mostChannels = 1024 // the layers behind the first one have up to 4 times as many
	for _, f := range []struct {
		flag    string
		numbers []int
		most    int
	}{
		{"sides", o.sides, maxPixels}, {"side", []int{o.side}, maxPixels}, {"thread-counts", o.threads, configs.MaxThreads},
		{"channels", o.channel, mostChannels}, {"batches", o.batches, math.MaxInt},
	} {
		if len(f.numbers) == 0 {
			return usagef(cmd, "--%s names nothing: give 1 or more", f.flag)
		}
		if slices.Min(f.numbers) < 1 || slices.Max(f.numbers) > f.most {
			return usagef(cmd, "--%s %v: give 1 to %d", f.flag, f.numbers, f.most)
		}
	}
	_, err := (&benchTrainOptions{size: o.crop, batch: count(slices.Max(o.batches))}).settings(cmd, demoFolder{}, 1, map[string]string{"data.size": "crop", "train.batch": "batches"})
	return err
}

func (o *benchScalingOptions) run(cmd *cobra.Command) error {
	if err := o.check(cmd); err != nil {
		return err
	}
	all, err := precisions(cmd)
	if err != nil {
		return err
	}
	var panels []*panel
	for _, name := range o.only {
		measured, err := map[string]func(*cobra.Command, []arithmetic) ([]*panel, error){
			"size": o.bySize, "batch": o.byBatch, "threads": o.byThreads, "channels": o.byChannels,
		}[name](cmd, all)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		panels = append(panels, measured...)
	}
	if err := drawPanels(panels, o.out); err != nil {
		return err
	}
	if o.json {
		return printJSON(cmd, panels)
	}
	say(cmd, "wrote %s", o.out)
	return nil
}

func (p *panel) add(name string, x, y float64) {
	i := slices.IndexFunc(p.Series, func(s *series) bool { return s.Name == name })
	if i < 0 {
		i = len(p.Series)
		p.Series = append(p.Series, &series{Name: name})
	}
	p.Series[i].X, p.Series[i].Y = append(p.Series[i].X, x), append(p.Series[i].Y, y)
}

// precisions are those that the device of the flags has.
func precisions(cmd *cobra.Command) ([]arithmetic, error) {
	all := []arithmetic{{precision: kernels.Float32}, {precision: kernels.BF16}}
	for i, a := range all {
		dev, err := openDevice(cmd, a)
		if err != nil && i > 0 {
			return all[:i], nil
		}
		if err != nil {
			return nil, err
		}
		if err := dev.Close(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (o *benchScalingOptions) bySize(cmd *cobra.Command, all []arithmetic) ([]*panel, error) {
	seconds := &panel{Title: "a picture's time", X: "megapixels", Y: "seconds", log: true}
	memory := &panel{Title: "a picture's memory", X: "megapixels", Y: "MiB on the device", log: true}
	for _, a := range all {
		for _, side := range o.sides {
			s, bytes, err := o.picture(cmd, a, 32, side)
			if err != nil {
				return nil, err
			}
			megapixels := float64(side*side) / 1e6
			seconds.add(a.precision, megapixels, s)
			memory.add(a.precision, megapixels, float64(bytes)/(1<<20))
		}
	}
	return []*panel{seconds, memory}, nil
}

func (o *benchScalingOptions) byThreads(cmd *cobra.Command, all []arithmetic) (_ []*panel, err error) {
	p := &panel{Title: fmt.Sprintf("speed by threads, %d²", o.side), X: "threads", Y: "times as fast as one", ideal: true}
	given := cmd.Flag("threads").Value.String()
	defer func() { err = errors.Join(err, cmd.Flags().Set("threads", given)) }()
	for _, a := range all {
		var one float64
		for _, n := range o.threads {
			if err := cmd.Flags().Set("threads", fmt.Sprint(n)); err != nil {
				return nil, err
			}
			s, _, err := o.picture(cmd, a, 32, o.side)
			if err != nil {
				return nil, err
			}
			if one == 0 {
				one = s * float64(n) // where the first count is not 1, as if speed had grown with it
			}
			p.add(a.precision, float64(n), one/s)
		}
	}
	return []*panel{p}, nil
}

func (o *benchScalingOptions) byChannels(cmd *cobra.Command, all []arithmetic) ([]*panel, error) {
	p := &panel{Title: fmt.Sprintf("a picture's time by channels, %d²", o.side), X: "channels of the first layer", Y: "seconds", log: true}
	for _, a := range all {
		for _, c := range o.channel {
			s, _, err := o.picture(cmd, a, c, o.side)
			if err != nil {
				return nil, err
			}
			p.add(a.precision, float64(c), s)
		}
	}
	return []*panel{p}, nil
}

// picture is the fastest of some runs, and the most memory of the device.
func (o *benchScalingOptions) picture(cmd *cobra.Command, a arithmetic, channels, side int) (seconds float64, bytes int64, err error) {
	m, err := randomModel(fmt.Sprintf("c9s1-%[1]d,d%[2]d,d%[3]d,R%[3]d,R%[3]d,R%[3]d,R%[3]d,R%[3]d,u%[2]d,u%[1]d,c9s1-3", channels, 2*channels, 4*channels))
	if err != nil {
		return 0, 0, err
	}
	dev, err := openDevice(cmd, a)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	err = stylizeNoise(cmd.Context(), dev, m, pixels{side, side}, int(o.runs)+1, func(run int, took float64) {
		if run == 1 || took < seconds {
			seconds = took
		}
	})
	return seconds, dev.PeakBytes(), err
}

func (o *benchScalingOptions) byBatch(cmd *cobra.Command, all []arithmetic) ([]*panel, error) {
	seconds := &panel{Title: fmt.Sprintf("a training step's time by batch, %d²", o.crop), X: "photos in a step", Y: "seconds"}
	memory := &panel{Title: fmt.Sprintf("a training step's memory by batch, %d²", o.crop), X: "photos in a step", Y: "MiB on the device"}
	for _, a := range all {
		for _, batch := range o.batches {
			s, bytes, err := o.step(cmd, a, batch)
			if err != nil {
				return nil, err
			}
			seconds.add(a.precision, float64(batch), s)
			memory.add(a.precision, float64(batch), float64(bytes)/(1<<20))
		}
	}
	return []*panel{seconds, memory}, nil
}

// step is the fastest of some training steps, and the most memory of the device.
func (o *benchScalingOptions) step(cmd *cobra.Command, a arithmetic, batch int) (seconds float64, bytes int64, err error) {
	dir, err := os.MkdirTemp("", "stylenet-bench-")
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg, err := (&benchTrainOptions{size: o.crop, batch: count(batch), arithmetic: a}).config(cmd, dir, int(o.runs)+1)
	if err != nil {
		return 0, 0, err
	}
	var dev kernels.Device
	run, err := train.New(cmd.Context(), cfg, filepath.Join(dir, "run"), train.Options{
		Device: func(d kernels.Device) kernels.Device { dev = d; return d },
		Observe: func(m train.Metrics) {
			if s := float64(batch) / m.ImagesPerSecond; m.Step == 2 || s < seconds { // the first one packs weights
				seconds = s
			}
		},
	})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, run.Close()) }()
	if err := run.Train(cmd.Context()); err != nil {
		return 0, 0, err
	}
	return seconds, dev.PeakBytes(), nil
}

// drawPanels puts plots side by side, two in a row.
func drawPanels(panels []*panel, path string) error {
	const columns = 2
	rows := (len(panels) + columns - 1) / columns
	plots := make([][]*plot.Plot, rows)
	for i := range plots {
		plots[i] = make([]*plot.Plot, columns)
	}
	for i, p := range panels {
		var err error
		if plots[i/columns][i%columns], err = p.plot(); err != nil {
			return err
		}
	}
	img := vgimg.NewWith(vgimg.UseWH(24*vg.Centimeter, vg.Length(rows)*8*vg.Centimeter), vgimg.UseDPI(110), vgimg.UseBackgroundColor(color.White))
	pad := vg.Points(12)
	tiles := draw.Tiles{Rows: rows, Cols: columns, PadX: 2 * pad, PadY: 2 * pad, PadTop: pad, PadBottom: pad, PadLeft: pad, PadRight: pad}
	for i, row := range plot.Align(plots, tiles, draw.New(img)) {
		for j, canvas := range row {
			if plots[i][j] != nil {
				plots[i][j].Draw(canvas)
			}
		}
	}
	return inFolder(path, func() error {
		return atomicfile.Write(path, 0o666, func(w io.Writer) error {
			_, err := vgimg.PngCanvas{Canvas: img}.WriteTo(w)
			return err
		})
	})
}

func (p *panel) plot() (*plot.Plot, error) {
	pl := plot.New()
	pl.Title.Text, pl.X.Label.Text, pl.Y.Label.Text = p.Title, p.X, p.Y
	pl.Title.Padding = vg.Points(6)
	pl.Add(plotter.NewGrid())
	pl.Legend.Top, pl.Legend.Left = true, true
	if p.log {
		pl.X.Label.Text, pl.Y.Label.Text = p.X+" (logarithmic)", p.Y+" (logarithmic)"
		for _, axis := range []*plot.Axis{&pl.X, &pl.Y} {
			axis.Scale, axis.Tick.Marker = plot.LogScale{}, plot.TickerFunc(logTicks)
		}
		defer func() { // once the axes know what they show
			for _, axis := range []*plot.Axis{&pl.X, &pl.Y} {
				axis.Min, axis.Max = tickBelow(axis.Min), 1/tickBelow(1/axis.Max)
			}
		}()
	} else {
		pl.X.Min, pl.Y.Min = 0, 0
	}
	most := 0.0
	for i, s := range p.Series {
		points := make(plotter.XYs, len(s.X))
		for j := range points {
			points[j] = plotter.XY{X: s.X[j], Y: s.Y[j]}
			most = max(most, s.X[j])
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, err
		}
		line.Color, dots.Color, dots.Shape = plotutil.Color(i), plotutil.Color(i), plotutil.Shape(i)
		pl.Add(line, dots)
		pl.Legend.Add(s.Name, line, dots)
	}
	if p.ideal {
		line, err := plotter.NewLine(plotter.XYs{{X: 0, Y: 0}, {X: most, Y: most}})
		if err != nil {
			return nil, err
		}
		line.Dashes = []vg.Length{vg.Points(4), vg.Points(4)}
		pl.Add(line)
		pl.Legend.Add("as fast as threads", line)
	}
	return pl, nil
}

// tickBelow is the next tick of a logarithmic axis at or below v: whole ticks
// leave no axis without labels.
func tickBelow(v float64) float64 {
	low := math.Pow(10, math.Floor(math.Log10(v)))
	tick := low
	for _, t := range logTicks(low, v*(1+1e-9)) {
		tick = max(tick, t.Value)
	}
	return tick
}
