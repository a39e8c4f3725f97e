package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"image/color"
	"io"
	"os"

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
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
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
	drawing, err := p.WriterTo(18*vg.Centimeter, 12*vg.Centimeter, "png")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, 0o666, func(w io.Writer) error {
		_, err := drawing.WriteTo(w)
		return err
	})
}
