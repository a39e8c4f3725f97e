package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"stylenet/internal/evaluate"
	"stylenet/internal/flow"
	"stylenet/internal/images"
	"stylenet/internal/stabilize"
	"stylenet/internal/video"
)

// evalVideoOptions are the flags of eval --video alone.
type evalVideoOptions struct {
	video     bool
	frames    int
	maxSize   int
	stabilize float32
}

func (o *evalVideoOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&o.video, "video", false, "measure how much the results of clips flicker")
	flags.IntVar(&o.frames, "frames", 0, "with --video: stop a clip after so many (0: all)")
	flags.IntVar(&o.maxSize, "max-size", 0, "with --video: shrink frames whose long side has more `pixels` (0: never)")
	flags.Float32Var(&o.stabilize, "stabilize", stabilize.DefaultStrength, "with --video: how strongly, 0 to 1, the stabilized results are")
}

// evalVideoFlags are those that mean nothing without --video.
func evalVideoFlags() []string { return []string{"frames", "max-size", "stabilize"} }

// clipRow is what is known of one way to paint a clip, or several.
type clipRow struct {
	Name string `json:"name"`
	// WarpingError is that of Lai et al. 2018, TemporalLoss the occlusion-masked
	// mean squared error of Ruder et al. 2016: means over pairs of frames, of
	// values from 0 to 1.
	WarpingError float64 `json:"warping_error"`
	TemporalLoss float64 `json:"temporal_loss"`
	// Share is the warping error beside the first model's plain one.
	Share float64 `json:"share,omitempty"`
	// Style is the style loss, and StyleShare what it is of the clip's own.
	Style      float64 `json:"style,omitempty"`
	StyleShare float64 `json:"style_share,omitempty"`
	Seconds    float64 `json:"seconds,omitempty"` // for a frame, without reading and writing

	style evaluate.Mean
}

// clipReport is what --json prints, for each clip.
type clipReport struct {
	Clip       string               `json:"clip"`
	Width      int                  `json:"width"`
	Height     int                  `json:"height"`
	Frames     int                  `json:"frames"`
	Stabilize  float32              `json:"stabilize"`
	Style      string               `json:"style,omitempty"`
	Conditions *evaluate.Conditions `json:"conditions,omitempty"` // of the style loss
	Device     string               `json:"device"`
	Strength   float32              `json:"strength"` // and the other options of painting
	KeepColors string               `json:"keep_colors,omitempty"`
	StyleScale float64              `json:"style_scale"`
	Rows       []*clipRow           `json:"rows"` // the clip itself first
}

func (o *evalVideoOptions) check(cmd *cobra.Command) error {
	others, why := evalVideoFlags(), "is for clips: give --video, too"
	if o.video {
		others, why = []string{"sheet", "max-photos"}, "is for photos, and --video measures clips"
	}
	for _, name := range others {
		if cmd.Flags().Changed(name) {
			return usagef(cmd, "--%s %s", name, why)
		}
	}
	switch {
	case o.frames < 0 || o.frames == 1:
		return usagef(cmd, "--frames %d: give 2 or more", o.frames)
	case o.maxSize < 0 || o.maxSize > 0 && o.maxSize < flow.Least:
		return usagef(cmd, "--max-size %d: give %d or more", o.maxSize, flow.Least)
	case !(o.stabilize >= 0 && o.stabilize <= 1): // not a number fails too
		return usagef(cmd, "--stabilize %v is not between 0 and 1", o.stabilize)
	}
	return nil
}

// runVideo measures the results of clips.
func (o *evalOptions) runVideo(cmd *cobra.Command, args []string) (err error) {
	f := &clipScorer{o: o, cmd: cmd}
	brushes, err := o.brushes(cmd, true)
	if err != nil {
		return err
	}
	var opened []loaded
	for _, b := range brushes {
		l, err := b.load(cmd)
		if err != nil {
			return err
		}
		opened, f.names = append(opened, l), append(f.names, b.name)
	}
	dev, err := openDevice(cmd, o.arithmetic)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	f.device = fmt.Sprintf("%s, %s", dev.Info().Description, dev.Info().Precision)
	for _, l := range opened {
		p, err := l.open(dev)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.Close()) }()
		f.painters = append(f.painters, p)
	}
	if o.style != "" {
		style, err := images.Open(o.style)
		if err != nil {
			return fmt.Errorf("style: %w", err)
		}
		judge, closeJudge, err := o.openJudge(cmd, style)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, closeJudge()) }()
		f.judge = judge
	}
	return f.all(cmd.Context(), args)
}

// clipScorer is one run of eval --video.
type clipScorer struct {
	o        *evalOptions
	cmd      *cobra.Command
	painters []painter
	names    []string
	judge    *evaluate.Judge // nil without a style
	device   string
}

// all measures clips one after the other.
func (f *clipScorer) all(ctx context.Context, args []string) error {
	for _, arg := range args {
		r, err := f.clip(ctx, arg)
		if err != nil {
			return err
		}
		if err := f.print(r); err != nil {
			return err
		}
	}
	return nil
}

// open opens a clip, whose frames have the size w×h.
func (f *clipScorer) open(ctx context.Context, arg string) (_ *movingClip, w, h int, err error) {
	tools, err := video.Find(ctx)
	if err != nil {
		return nil, 0, 0, err
	}
	in := video.Input{Name: arg}
	info, err := tools.Probe(ctx, in)
	if err != nil {
		return nil, 0, 0, err
	}
	w, h = info.W, info.H
	if n := f.o.flicker.maxSize; n > 0 && max(w, h) > n {
		w, h = images.LongSide(w, h, n)
	}
	if min(w, h) < flow.Least {
		return nil, 0, 0, fmt.Errorf("%s: frames of %d×%d are too small: their motion is measured with sides of %d pixels", arg, w, h, flow.Least)
	}
	est, err := flow.NewEstimator(w, h, flow.Options{Finest: flow.FinestFor(w, h, measuredPixels)})
	if err != nil {
		return nil, 0, 0, err
	}
	dec, err := tools.Decode(ctx, in, info, video.DecodeOptions{W: w, H: h})
	if err != nil {
		return nil, 0, 0, err
	}
	return &movingClip{dec: dec, est: est}, w, h, nil
}

// measuredPixels is how many pixels motion is measured on at most.
const measuredPixels = 2_100_000

// movingClip is a clip whose motion is measured.
type movingClip struct {
	dec       *video.Decoder
	est       *flow.Estimator
	last, now *flow.Pyramid
}

// next is the next frame, and io.EOF behind the last.
func (d *movingClip) next() (*images.Picture, error) {
	f, err := d.dec.Next()
	if err != nil {
		return nil, err
	}
	d.last = d.now
	d.now, err = d.est.Pyramid(images.Luminance(f.Picture))
	return f.Picture, err
}

// motion is that between the last two frames: where the first's pixels stand in
// the second, and the other way, each with what is seen in both.
func (d *movingClip) motion() (forward, back *flow.Field, seen, seenBack []float32, err error) {
	forward, back = d.est.Flow(d.last, d.now), d.est.Flow(d.now, d.last)
	seen, err = forward.Seen(back)
	if err == nil {
		seenBack, err = back.Seen(forward)
	}
	return forward, back, seen, seenBack, err
}

// clip measures one clip.
func (f *clipScorer) clip(ctx context.Context, arg string) (_ *clipReport, err error) {
	c, w, h, err := f.open(ctx, arg)
	if err != nil {
		return nil, err
	}
	defer c.dec.Close()
	o := f.o.flicker
	r := &clipReport{Clip: arg, Width: w, Height: h, Stabilize: o.stabilize, Device: f.device, Strength: f.o.strength, KeepColors: f.o.keepColors, StyleScale: f.o.styleScale, Rows: []*clipRow{{Name: "clip"}}}
	for _, name := range f.names {
		r.Rows = append(r.Rows, &clipRow{Name: name}, &clipRow{Name: name + ", stabilized"})
	}
	if f.judge != nil {
		conditions := f.judge.Conditions()
		r.Style, r.Conditions = f.o.style, &conditions
	}
	steady := make([]*stabilize.Stabilizer, len(f.painters))
	for i := range steady {
		if steady[i], err = stabilize.New(w, h, o.stabilize); err != nil {
			return nil, err
		}
	}
	bar := newProgress(f.cmd, max(o.frames, 1), "measuring")
	defer bar.Exit()
	var last []*images.Picture
	for o.frames == 0 || r.Frames < o.frames {
		in, err := c.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		now, err := f.paint(ctx, in, steady, r.Rows)
		if err != nil {
			return nil, fmt.Errorf("%s: frame %d: %w", arg, r.Frames, err)
		}
		if last != nil {
			if err := compare(c, last, now, r.Rows); err != nil {
				return nil, err
			}
		}
		const judged = 8 // frames apart, which differ enough
		if f.judge != nil && r.Frames%judged == 0 {
			if err := f.judgeAll(now, r.Rows); err != nil {
				return nil, fmt.Errorf("%s: %w", arg, err)
			}
		}
		last = now
		r.Frames++
		bar.ChangeMax(max(o.frames, r.Frames+1))
		_ = bar.Add(1) // a terminal that is gone does not matter
	}
	_ = bar.Clear()
	if r.Frames < 2 {
		return nil, fmt.Errorf("%s: it has %d frames, and flicker is between two", arg, r.Frames)
	}
	pairs := float64(r.Frames - 1)
	for i, row := range r.Rows {
		row.WarpingError /= pairs
		row.TemporalLoss /= pairs
		row.Seconds /= pairs
		if i > 0 && r.Rows[1].WarpingError > 0 {
			row.Share = row.WarpingError / r.Rows[1].WarpingError
		}
		if f.judge != nil {
			row.Style = evaluate.Sum(row.style.Scores().Style)
			row.StyleShare = row.Style / r.Rows[0].Style
		}
	}
	return r, nil
}

// paint paints a frame with every model, and stabilises it. The first frame's
// time does not count.
func (f *clipScorer) paint(ctx context.Context, in *images.Picture, steady []*stabilize.Stabilizer, rows []*clipRow) ([]*images.Picture, error) {
	all := []*images.Picture{in}
	for i, p := range f.painters {
		plain, stable := rows[1+2*i], rows[2+2*i]
		out := images.New(in.W, in.H)
		start := time.Now()
		if err := p.Paint(ctx, in, out, f.o.painting()); err != nil {
			return nil, err
		}
		painted := time.Since(start).Seconds()
		if err := steady[i].Look(in); err != nil {
			return nil, err
		}
		blended, err := steady[i].Blend(out)
		if err != nil {
			return nil, err
		}
		if steady[i].Frames() > 1 {
			plain.Seconds += painted
			stable.Seconds += time.Since(start).Seconds()
		}
		all = append(all, out, blended)
	}
	return all, nil
}

// compare adds what a pair of frames differs by, for each row.
func compare(c *movingClip, last, now []*images.Picture, rows []*clipRow) error {
	forward, back, seen, seenBack, err := c.motion()
	if err != nil {
		return err
	}
	flow.Times(seenBack, back.Steady())
	for i, row := range rows {
		w, err := flow.WarpingError(last[i].Pix, now[i].Pix, forward, seen)
		if err != nil {
			return err
		}
		l, err := flow.TemporalLoss(now[i].Pix, last[i].Pix, back, seenBack)
		if err != nil {
			return err
		}
		row.WarpingError += w
		row.TemporalLoss += l
	}
	return nil
}

// judgeAll adds the style losses of a frame, for each row.
func (f *clipScorer) judgeAll(now []*images.Picture, rows []*clipRow) error {
	photo, err := f.judge.Photo(now[0])
	if err != nil {
		return err
	}
	for i, row := range rows {
		result, err := f.judge.Photo(now[i])
		if err != nil {
			return err
		}
		scores, err := f.judge.Judge(photo, result)
		if err != nil {
			return err
		}
		row.style.Add(scores)
	}
	return nil
}

// print writes the table of a clip.
func (f *clipScorer) print(r *clipReport) error {
	if f.o.json {
		return printJSON(f.cmd, r)
	}
	out := f.cmd.OutOrStdout()
	fmt.Fprintf(out, "clip     %s, %d frames of %d×%d\n", r.Clip, r.Frames, r.Width, r.Height)
	fmt.Fprintf(out, "models   %s%s, stabilized with %v\n", r.Device, f.o.said(), r.Stabilize)
	if c := r.Conditions; c != nil {
		fmt.Fprintf(out, "style    %s, long side %d; centres of frames at %d×%[3]d\n", r.Style, c.StyleSize, c.Size)
		fmt.Fprintf(out, "VGG-19   %s; %s, Gram matrices %s\n", c.VGG, strings.Join(c.StyleLayers, ", "), c.Gram)
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "\twarping error\tof plain\ttemporal loss\t")
	if r.Conditions != nil {
		fmt.Fprint(w, "style\tof clip's\t")
	}
	fmt.Fprintln(w, "s/frame\t")
	for i, row := range r.Rows {
		share, seconds := "-", "-"
		if i > 0 {
			share, seconds = fmt.Sprintf("%.1f%%", 100*row.Share), fmt.Sprintf("%.3f", row.Seconds)
		}
		fmt.Fprintf(w, "%s\t%.3e\t%s\t%.3e\t", row.Name, row.WarpingError, share, row.TemporalLoss)
		if r.Conditions != nil {
			fmt.Fprintf(w, "%.4g\t%.1f%%\t", row.Style, 100*row.StyleShare)
		}
		fmt.Fprintf(w, "%s\t\n", seconds)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out)
	return err
}
