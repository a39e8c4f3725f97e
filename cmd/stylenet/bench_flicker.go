package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"

	"github.com/spf13/cobra"

	"stylenet/configs"
	"stylenet/export"
	"stylenet/internal/flow"
	"stylenet/internal/images"
	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/motion"
	"stylenet/internal/networks"
	"stylenet/internal/stabilize"
	"stylenet/internal/stylize"
	"stylenet/internal/vgg"
	"stylenet/losses"
	"stylenet/train"
)

type benchFlickerOptions struct {
	models       []string
	back, object string
	size         pixels
	frames       int
	noise        float64
	strength     float32
	style        string
	styleSize    int
	weights      string
	randomVGG    bool
	save         string
	json         bool
	arithmetic
}

// flickerReport has a row for each model, painted frame by frame, and one for it
// stabilized. The first row is what the others are compared with.
type flickerReport struct {
	Width  int          `json:"width"`
	Height int          `json:"height"`
	Frames int          `json:"frames"`
	Noise  float64      `json:"noise"`
	Rows   []flickerRow `json:"rows"`
}

type flickerRow struct {
	Model     string  `json:"model"`
	Stabilize float32 `json:"stabilize"` // the strength; 0 is frame by frame
	// WarpingError is that of Lai et al. 2018, the mean over pairs of frames.
	WarpingError float64 `json:"warping_error"`
	// Content and Style are the mean losses of the frames, with their weights.
	Content float64 `json:"content,omitempty"`
	Style   float64 `json:"style,omitempty"`
}

func newBenchFlickerCmd() *cobra.Command {
	o := &benchFlickerOptions{}
	cmd := &cobra.Command{
		Use:   "flicker",
		Short: "Measure how much models flicker on a clip whose motion is known",
		Long: `Measure how much models flicker on a clip whose motion is known: a photo that
pans, zooms and turns, and an object, cut from another, that moves across it. Flow
and occlusions are those of the rendering, not measured.

Each model paints the clip frame by frame, and with stylize --stabilize. The
warping error (Lai et al. 2018) is the mean squared difference of a result and the
next one, moved back to it, where both show the same. With --style the mean
style and content losses of the frames stand beside it, as training with the
default layers and weights has them. The first row is the baseline.`,
		Example: `  stylenet bench flicker --model plain.safetensors --model video.safetensors
  stylenet bench flicker --model runs/plain --model runs/video --back street.jpg --object tower.jpg --style starry.jpg`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&o.models, "model", "m", nil, "a model `file` or run; may be repeated (required)")
	flags.StringVar(&o.back, "back", "", "the photo of the background; at least 2.6 times the clip's size is sharp (default: a drawn scene)")
	flags.StringVar(&o.object, "object", "", "the photo of the object (default: a drawn scene)")
	o.size = pixels{256, 168}
	flags.Var(&o.size, "size", "the clip in pixels: SIDE or WIDTHxHEIGHT")
	flags.IntVar(&o.frames, "frames", 16, "how many frames to paint")
	flags.Float64Var(&o.noise, "noise", 0, "standard deviation of noise on the frames, of values from 0 to 255")
	flags.Float32Var(&o.strength, "stabilize", stabilize.DefaultStrength, "the strength of stylize --stabilize")
	flags.StringVar(&o.style, "style", "", "the models' style picture, to measure style and content losses")
	flags.IntVar(&o.styleSize, "style-size", 256, "its long side in pixels (style.size)")
	flags.StringVar(&o.weights, "vgg", "", "VGG-19's weights (default: as vgg.weights)")
	flags.BoolVar(&o.randomVGG, "random-vgg", false, "measure losses by a random VGG-19 (vgg.random)")
	flags.StringVar(&o.save, "save", "", "also write the frames, all results and, four times as bright, how each differs from the last one moved to it, as PNG to this `folder`")
	flags.BoolVar(&o.json, "json", false, "print the result as JSON")
	o.addFlags(cmd)
	completeFiles(cmd, "model", "safetensors", "pth")
	complete(cmd, "size", "256x168", "512x336")
	return cmd
}

func (o *benchFlickerOptions) run(cmd *cobra.Command) (err error) {
	w, h := o.size.w, o.size.h
	switch {
	case min(w, h) < flow.Least:
		return usagef(cmd, "--size %s: motion is measured in frames of at least %d×%[2]d pixels", &o.size, flow.Least)
	case len(o.models) == 0:
		return usagef(cmd, "name a model with --model")
	case o.frames < 2 || o.styleSize < 32:
		return usagef(cmd, "--frames %d and --style-size %d: give 2 or more, and 32 or more", o.frames, o.styleSize)
	case !(o.noise >= 0 && o.noise <= 255) || !(o.strength >= 0 && o.strength <= 1):
		return usagef(cmd, "--noise %v and --stabilize %v: give 0 to 255, and 0 to 1", o.noise, o.strength)
	case o.style == "" && (o.weights != "" || o.randomVGG):
		return usagef(cmd, "--vgg and --random-vgg measure losses against --style")
	case o.weights != "" && o.randomVGG:
		return usagef(cmd, "--vgg and --random-vgg exclude each other")
	}
	if err := o.check(cmd); err != nil {
		return err
	}
	if err := o.size.fit(8); err != nil { // frames, results, and the motion between them
		return err
	}
	var models []*export.Model
	for _, name := range o.models {
		m, err := loadModel(cmd, name)
		if err != nil {
			return err
		}
		models = append(models, m)
	}
	clip, err := o.clip(w, h)
	if err != nil {
		return err
	}
	dev, err := openDevice(cmd, o.arithmetic)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	var judge *flickerJudge
	if o.style != "" {
		if judge, err = o.judge(dev, w, h); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, judge.meter.Close()) }()
	}
	r := &flickerReport{Width: w, Height: h, Frames: o.frames, Noise: o.noise}
	bar := newProgress(cmd, len(models)*o.frames, "measuring")
	for i, m := range models {
		// A number before it, and no two models share a folder of --save, nor does
		// one have that of the frames.
		folder := fmt.Sprintf("%d-%s", i+1, brushNames(o.models[i:][:1])[0])
		rows, err := o.measure(cmd.Context(), dev, clip, o.models[i], folder, m, judge, func() { _ = bar.Add(1) }) // a terminal that is gone does not matter
		if err != nil {
			return fmt.Errorf("%s: %w", o.models[i], err)
		}
		r.Rows = append(r.Rows, rows...)
	}
	_ = bar.Finish()
	if o.json {
		return printJSON(cmd, r)
	}
	return r.print(cmd.OutOrStdout())
}

// clip renders nothing yet.
func (o *benchFlickerOptions) clip(w, h int) (*motion.Clip, error) {
	clip := motion.Drawn(1, w, h)
	if o.back == "" && o.object == "" {
		return clip, nil
	}
	back, object := clip.Layers[0].Picture, clip.Layers[1].Picture
	for _, p := range []struct {
		path string
		to   **images.Picture
	}{{o.back, &back}, {o.object, &object}} {
		if p.path == "" {
			continue
		}
		opened, err := images.Open(p.path)
		if err != nil {
			return nil, err
		}
		*p.to = opened
	}
	return motion.NewClip(w, h, back, object), nil
}

// flickerJudge measures the losses of results.
type flickerJudge struct {
	meter  *losses.Meter
	recipe losses.Recipe
}

func (o *benchFlickerOptions) judge(dev kernels.Device, w, h int) (*flickerJudge, error) {
	p, err := images.Open(o.style)
	if err != nil {
		return nil, fmt.Errorf("style: %w", err)
	}
	sw, sh := images.LongSide(p.W, p.H, o.styleSize)
	if p, err = images.Resize(p, sw, sh); err != nil {
		return nil, fmt.Errorf("style: %w", err)
	}
	var features *vgg.Weights
	if o.randomVGG {
		features, err = vgg.Random(dev, 1)
	} else {
		var path string
		if path, err = vgg.Find(o.weights); err == nil {
			features, err = vgg.Open(path, "auto")
		}
	}
	if err != nil {
		return nil, err
	}
	loss := configs.Default().Loss
	recipe := losses.Recipe{Content: train.LossLayers(loss.Content), Style: train.LossLayers(loss.Style)}
	j := &flickerJudge{recipe: recipe.Scaled(features.Convention.Features())}
	net, err := networks.VGG19(j.recipe.Deepest(), features.Convention, false)
	if err != nil {
		return nil, err
	}
	if err := features.For(net); err != nil {
		return nil, err
	}
	arrays, err := inference.Upload(dev, net, features.Set)
	if err != nil {
		return nil, err
	}
	grams, err := losses.GramMatrices(dev, net, arrays, p.Pix, p.H, p.W, j.recipe.Style)
	if err != nil {
		return nil, err
	}
	var targets []kernels.Array
	for _, gram := range grams {
		a, err := losses.NewGram(dev, gram)
		if err != nil {
			return nil, err
		}
		targets = append(targets, a)
	}
	j.meter, err = losses.NewMeter(dev, net, arrays, targets, j.recipe, h, w)
	return j, err
}

// add adds the losses of a result to a row, as a share of all frames.
func (j *flickerJudge) add(row *flickerRow, photo, result *images.Picture, frames int) error {
	content, style, err := j.meter.Measure(photo.Pix, result.Pix)
	if err != nil {
		return err
	}
	for i, l := range j.recipe.Content {
		row.Content += l.Weight * content[i] / float64(frames)
	}
	for i, l := range j.recipe.Style {
		row.Style += l.Weight * style[i] / float64(frames)
	}
	return nil
}

// measure paints the clip with a model, frame by frame and stabilized.
func (o *benchFlickerOptions) measure(ctx context.Context, dev kernels.Device, clip *motion.Clip, name, folder string, m *export.Model, judge *flickerJudge, tell func()) (_ []flickerRow, err error) {
	s, err := stylize.Open(dev, m)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	steady, err := stabilize.New(clip.W, clip.H, o.strength)
	if err != nil {
		return nil, err
	}
	rows := []flickerRow{{Model: name}, {Model: name, Stabilize: o.strength}}
	var last [2]*images.Picture
	random := rand.New(rand.NewPCG(1, 1)) // each model sees the same noise
	for t := range o.frames {
		frame := clip.Frame(t)
		if o.noise > 0 {
			for i, v := range frame.Pix {
				frame.Pix[i] = min(max(v+float32(o.noise*random.NormFloat64()), 0), 255)
			}
		}
		if err := steady.Look(frame); err != nil {
			return nil, err
		}
		painted, err := s.Picture(ctx, frame, stylize.Options{Strength: 1})
		if err != nil {
			return nil, err
		}
		blended, err := steady.Blend(painted)
		if err != nil {
			return nil, err
		}
		for i, p := range []*images.Picture{painted, blended} {
			if judge != nil {
				if err := judge.add(&rows[i], frame, p, o.frames); err != nil {
					return nil, err
				}
			}
			if t > 0 {
				f, seen := clip.Motion(t-1, t)
				e, err := flow.WarpingError(last[i].Pix, p.Pix, f, seen)
				if err != nil {
					return nil, err
				}
				rows[i].WarpingError += e / float64(o.frames-1)
			}
		}
		if err := o.write(folder, t, clip, frame, [2]*images.Picture{painted, blended}, last); err != nil {
			return nil, err
		}
		last = [2]*images.Picture{painted, blended}
		tell()
	}
	return rows, nil
}

// write saves a frame, its results, and how these differ from the last ones moved
// to them, where that is asked for.
func (o *benchFlickerOptions) write(folder string, t int, clip *motion.Clip, frame *images.Picture, results, last [2]*images.Picture) error {
	if o.save == "" {
		return nil
	}
	pictures := map[string]*images.Picture{"frames": frame}
	for i, suffix := range []string{"", "-stabilized"} {
		name := folder + suffix
		pictures[name] = results[i]
		if t > 0 {
			flicker, err := difference(clip, t, results[i], last[i])
			if err != nil {
				return err
			}
			pictures[name+"-flicker"] = flicker
		}
	}
	for name, p := range pictures {
		path := filepath.Join(o.save, name, fmt.Sprintf("%04d.png", t))
		if err := makeFolder(path); err != nil {
			return err
		}
		if err := images.Save(path, p, images.SaveOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// difference is 4 times that of a result and the last one, moved to it, and black
// where the last one does not show the same.
func difference(clip *motion.Clip, t int, now, last *images.Picture) (*images.Picture, error) {
	f, seen := clip.Motion(t, t-1)
	d := images.New(now.W, now.H)
	if err := f.Warp(d.Pix, last.Pix, nil); err != nil {
		return nil, err
	}
	for i, v := range d.Pix {
		v = 4 * seen[i%len(seen)] * (now.Pix[i] - v)
		d.Pix[i] = min(max(v, -v), 255)
	}
	return d, nil
}

// print writes a Markdown table.
func (r *flickerReport) print(w io.Writer) error {
	first := r.Rows[0]
	text := fmt.Sprintf("%d frames of %d×%d, noise %g:\n\n| model | stabilize | warping error | of the first |", r.Frames, r.Width, r.Height, r.Noise)
	losses := first.Style > 0
	if losses {
		text += " style loss | of the first | content loss |"
	}
	text += "\n|---|---|---|---|"
	if losses {
		text += "---|---|---|"
	}
	for _, row := range r.Rows {
		text += fmt.Sprintf("\n| %s | %g | %.3g | %s |", row.Model, row.Stabilize, row.WarpingError, percent(row.WarpingError, first.WarpingError))
		if losses {
			text += fmt.Sprintf(" %.4g | %s | %.4g |", row.Style, percent(row.Style, first.Style), row.Content)
		}
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

func percent(part, whole float64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f%%", 100*part/whole)
}
