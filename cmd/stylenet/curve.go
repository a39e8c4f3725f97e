package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"image/color"
	"io"
	"math"
	"os"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"stylenet/internal/atomicfile"
	"stylenet/train"
)

// drawCurve plots a run's losses over its steps, as PNG.
func drawCurve(metrics, path string) error {
	f, err := os.Open(metrics)
	if err != nil {
		return err
	}
	defer f.Close()
	curves := make([]plotter.XYs, 3)
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		var m train.Metrics
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return fmt.Errorf("%s:%d: %w", metrics, n, err)
		}
		for i, v := range []float64{m.Loss, m.Content, m.Style} {
			if v > 0 { // the axis is logarithmic
				curves[i] = append(curves[i], plotter.XY{X: float64(m.Step), Y: v})
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", metrics, err)
	}
	p := plot.New()
	p.BackgroundColor = color.White
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = "training", "step", "loss (logarithmic)"
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.TickerFunc(logTicks)
	p.X.Min = 0
	p.Add(plotter.NewGrid())
	p.Legend.Top = true
	for i, name := range []string{"loss", "content", "style"} {
		if len(curves[i]) == 0 {
			continue
		}
		line, err := plotter.NewLine(curves[i])
		if err != nil {
			return err
		}
		line.Color = plotutil.Color(i)
		p.Add(line)
		p.Legend.Add(name, line)
	}
	if len(curves[0]) == 0 {
		return fmt.Errorf("%s: no step with a loss to draw", metrics)
	}
	drawing, err := p.WriterTo(18*vg.Centimeter, 12*vg.Centimeter, "png")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, 0o666, func(w io.Writer) error {
		_, err := drawing.WriteTo(w)
		return err
	})
}

// logTicks are 1, 2 and 5 times the powers of ten, labelled, as far as they lie
// on the axis. gonum's own label powers of ten alone, of which an axis may show
// one or none.
func logTicks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for e := math.Floor(math.Log10(low)); e <= math.Log10(high); e++ {
		for _, digit := range []float64{1, 2, 5} {
			if v := digit * math.Pow(10, e); v >= low && v <= high {
				ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'g', 3, 64)})
			}
		}
	}
	return ticks
}
