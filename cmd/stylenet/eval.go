package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"stylenet/internal/evaluate"
	"stylenet/internal/images"
	"stylenet/internal/kernels"
	"stylenet/internal/model"
	"stylenet/internal/stylize/batch"
	"stylenet/internal/vgg"
)

type evalOptions struct {
	models     []string
	style      string
	conditions evaluate.Conditions
	maxPhotos  int
	vgg        string
	randomVGG  bool
	sheet      string
	json       bool
	mixing     mixing
	flicker    evalVideoOptions
	effects
	arithmetic
}

// evalRow is what is known of a model, or of the photos as they are.
type evalRow struct {
	Name          string             `json:"name"`
	Content       float64            `json:"content"` // the sum over layers
	Style         float64            `json:"style"`
	StyleShare    float64            `json:"style_share"` // of the photos' own
	ContentLayers map[string]float64 `json:"content_layers"`
	StyleLayers   map[string]float64 `json:"style_layers"`
	SSIM          float64            `json:"ssim"`
	ColorDistance float64            `json:"color_distance"`
	Seconds       float64            `json:"seconds,omitempty"` // median for a picture, without reading
}

// evalReport is what --json prints.
type evalReport struct {
	Style      string              `json:"style"`
	Conditions evaluate.Conditions `json:"conditions"`
	Photos     int                 `json:"photos"`
	Failed     int                 `json:"failed,omitempty"` // photos that could not be read
	Device     string              `json:"device"`
	Strength   float32             `json:"strength"` // and the other options of painting
	KeepColors string              `json:"keep_colors,omitempty"`
	StyleScale float64             `json:"style_scale"`
	Rows       []evalRow           `json:"rows"` // the photos as they are first
}

func newEvalCmd() *cobra.Command {
	o := &evalOptions{conditions: evaluate.Default(), mixing: mixing{several: true}}
	cmd := &cobra.Command{
		Use:   "eval --model MODEL... --style PAINTING FILE|DIR|GLOB... | --video --model MODEL... CLIP...",
		Short: "Compare models by numbers and by eye",
		Long: `Paint photos with each model and say how far the results are from the photos and
from a painting: the content loss and the style loss for each layer of VGG-19,
the structural similarity (SSIM) and the colour distance (ΔE) to the photo, and
the time for a picture. The first row is that of the photos as they are: models
lie between it and the painting.

Of each photo the centre is taken, at --size; a smaller photo is an error, and
left out. Losses have no weights. All that they depend on is printed: only
numbers under equal conditions can be compared. VGG-19 computes in float32,
whatever --precision the models have. A model of any style takes it from
PAINTING.

With --video the arguments are clips (through ffmpeg, which must be on PATH), and
what is measured is how much results flicker, plain and with --stabilize: the
warping error (Lai et al. 2018) and the temporal loss, which is the mean squared
error where nothing is covered (Ruder et al. 2016). Motion is measured in the
clip itself; stylenet bench flicker measures the same where it is known. --style
is not needed then but for a model of any style, and adds the style loss.

--strength, --keep-colors and --style-scale are those of stylenet stylize, and
apply to all models.

--sheet shows the first ` + fmt.Sprint(evalSheetRows) + ` photos with all results side by side.`,
		Example: `  stylenet eval --model runs/starry --style starry.jpg photos --sheet compare.png
  stylenet eval --model a.safetensors --model b.safetensors --style starry.jpg photos --max-photos 16
  stylenet eval --video --model a.safetensors --model b.safetensors clip.mp4
  stylenet eval --model a.pth --style starry.jpg photos --json | jq '.rows[] | {name, style_share, ssim}'`,
		Args: args(1, math.MaxInt),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	flags := cmd.Flags()
	c := &o.conditions
	flags.StringArrayVarP(&o.models, "model", "m", nil, "a model `file` or run; may be repeated (required)")
	flags.StringVar(&o.style, "style", "", "the `picture` whose style results are compared with (required)")
	flags.IntVar(&c.Size, "size", c.Size, "side of the photos' centres, in `pixels`")
	flags.IntVar(&c.StyleSize, "style-size", c.StyleSize, "long side of the style, in `pixels`")
	flags.StringSliceVar(&c.ContentLayers, "content-layers", c.ContentLayers, "`layers` of VGG-19")
	flags.StringSliceVar(&c.StyleLayers, "style-layers", c.StyleLayers, "`layers` of VGG-19")
	flags.IntVar(&o.maxPhotos, "max-photos", 0, "stop after so many `photos` (0: all)")
	flags.StringVar(&o.vgg, "vgg", "", "`file` of VGG-19's weights (default: the fetched ones)")
	flags.BoolVar(&o.randomVGG, "random-vgg", false, "use a random VGG-19 in place of a trained one")
	flags.StringVar(&o.sheet, "sheet", "", "write a contact sheet to this `file`")
	flags.BoolVar(&o.json, "json", false, "print the table as JSON")
	o.addFlags(cmd)
	o.addEffects(cmd)
	o.mixing.addFlags(cmd)
	o.flicker.addFlags(cmd)
	addConvention(cmd)
	completeFiles(cmd, "model", "safetensors", "pth", "onnx")
	completeFiles(cmd, "style", "jpg", "jpeg", "png", "webp")
	completeFiles(cmd, "sheet", "png", "jpg", "jpeg", "webp", "tif", "tiff", "avif")
	return cmd
}

// evalSheetRows is how many photos a sheet shows.
const evalSheetRows = 8

func (o *evalOptions) check(cmd *cobra.Command) error {
	switch {
	case len(o.models) == 0:
		return usagef(cmd, "no model: name one with --model")
	case o.style == "" && !o.flicker.video:
		return usagef(cmd, "no style: name a picture with --style")
	case o.maxPhotos < 0:
		return usagef(cmd, "--max-photos %d is negative", o.maxPhotos)
	case o.randomVGG && o.vgg != "":
		return usagef(cmd, "--vgg names a file, and --random-vgg uses none: give one of them")
	}
	if err := o.conditions.Check(); err != nil {
		return usagef(cmd, "%w", err)
	}
	if o.sheet != "" {
		if _, err := images.FormatOf(o.sheet); err != nil {
			return usagef(cmd, "--sheet: %w", err)
		}
	}
	if err := o.checkEffects(cmd); err != nil {
		return err
	}
	if err := o.mixing.check(cmd); err != nil {
		return err
	}
	if err := o.flicker.check(cmd); err != nil {
		return err
	}
	return o.arithmetic.check(cmd)
}

func (o *evalOptions) run(cmd *cobra.Command, args []string) (err error) {
	if err := o.check(cmd); err != nil {
		return err
	}
	if err := checkDetached(cmd, args); err != nil {
		return err
	}
	if o.flicker.video {
		return o.runVideo(cmd, args)
	}
	e := &evaluation{o: o, cmd: cmd}
	if slices.Contains(args, batch.Stdin) {
		return usagef(cmd, "photos are read once for each model: give files, not standard input")
	}
	if e.plan.Inputs, err = batch.Open(args); err != nil {
		return err
	}
	if e.brushes, err = o.brushes(cmd, false); err != nil {
		return err
	}
	if o.sheet != "" {
		e.plan.Read = append(modelFiles(o.models), o.style, o.vgg)
		if err := e.plan.Apart(o.sheet); err != nil {
			return apart(err)
		}
	}
	style, err := images.Open(o.style)
	if err != nil {
		return fmt.Errorf("style: %w", err)
	}
	if e.dev, err = openDevice(cmd, o.arithmetic); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.dev.Close()) }()
	judge, closeJudge, err := o.openJudge(cmd, style)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeJudge()) }()
	e.judge = judge
	if err := e.all(cmd.Context()); err != nil {
		return err
	}
	if o.sheet != "" {
		if err := e.saveSheet(style); err != nil {
			return err
		}
	}
	if err := e.print(); err != nil {
		return err
	}
	if e.failed > 0 {
		return fmt.Errorf("%d of %d photos were left out", e.failed, e.failed+len(e.photos))
	}
	return nil
}

// brushes are those of the models, all of them ready where keep says so.
func (o *evalOptions) brushes(cmd *cobra.Command, keep bool) ([]brush, error) {
	return openBrushes(cmd, o.models, o.mixing, keep, func(path string, m *model.Model, mix string) (loaded, error) {
		if _, ok := m.AnyStyle(); !ok {
			return mixBrush(cmd, path, m, mix)
		}
		if o.style == "" { // which --video allows
			return loaded{}, &hinted{fmt.Errorf("%s takes its style from a picture, and there is none", path), "name one with --style"}
		}
		// One of any style gets that of the comparison.
		style := &styleOptions{styles: []string{o.style}, size: o.conditions.StyleSize}
		return style.load(path, m, o.strength)
	})
}

// openJudge opens what measures, which does not take part in what is measured.
func (o *evalOptions) openJudge(cmd *cobra.Command, style *images.Picture) (_ *evaluate.Judge, closeAll func() error, err error) {
	dev, err := openDevice(cmd, arithmetic{precision: kernels.Float32})
	if err != nil {
		return nil, nil, err
	}
	net, err := openVGG(cmd, dev, o.vgg, vgg.Auto, o.randomVGG, 1)
	if err != nil {
		return nil, nil, errors.Join(err, dev.Close())
	}
	judge, err := evaluate.New(dev, net, style, o.conditions)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", o.style, err), dev.Close())
	}
	return judge, func() error { return errors.Join(judge.Close(), dev.Close()) }, nil
}

// evaluation is one run of the command.
type evaluation struct {
	o       *evalOptions
	cmd     *cobra.Command
	plan    batch.Plan
	brushes []brush
	dev     kernels.Device
	judge   *evaluate.Judge

	photos []batch.Picture // those that can be used
	own    []float64       // their own style losses
	failed int
	rows   []evalRow
	sheet  [][]images.Labelled // a row for each of the first photos
}

// all measures the photos as they are, and then the results of every model.
func (e *evaluation) all(ctx context.Context) error {
	if err := e.measurePhotos(ctx); err != nil {
		return err
	}
	bar := newProgress(e.cmd, len(e.photos)*len(e.brushes), "painting")
	defer bar.Exit()
	for _, b := range e.brushes {
		err := e.measureModel(ctx, b, func() { _ = bar.Add(1) }) // a terminal that is gone does not matter
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	return nil
}

// measurePhotos finds the photos and measures them as they are. One that cannot be
// used is reported and left out for all models.
func (e *evaluation) measurePhotos(ctx context.Context) error {
	var left leftClips
	e.plan.Inputs.Other = left.see
	defer left.tell(e.cmd, "give them to --video")
	all, err := e.plan.Pictures()
	if err != nil {
		return err
	}
	var mean evaluate.Mean
	for pic, err := range all {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if e.o.maxPhotos > 0 && len(e.photos) == e.o.maxPhotos {
			break
		}
		photo, err := e.open(pic)
		if err != nil {
			e.failed++
			complain(e.cmd.ErrOrStderr(), err)
			continue
		}
		s, err := e.judge.Judge(photo, photo)
		if err != nil {
			return err
		}
		mean.Add(s)
		e.photos, e.own = append(e.photos, pic), append(e.own, evaluate.Sum(s.Style))
		e.show(len(e.photos)-1, photo, path.Base(pic.Name))
	}
	if len(e.photos) == 0 {
		return errors.New("none of the photos can be used")
	}
	e.add("photo", mean.Scores(), 0)
	return nil
}

// open is the centre of a photo.
func (e *evaluation) open(pic batch.Picture) (*images.Picture, error) {
	src, err := images.Decoder{}.OpenSource(pic.Path, new(bytes.Buffer))
	if err != nil {
		return nil, err
	}
	photo, err := e.judge.Photo(src.Picture())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pic.Path, err)
	}
	return photo, nil
}

// measureModel paints all photos with a model and measures the results.
func (e *evaluation) measureModel(ctx context.Context, b brush, done func()) (err error) {
	l, err := b.load(e.cmd)
	if err != nil {
		return err
	}
	p, err := l.open(e.dev)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	var mean evaluate.Mean
	var seconds []float64
	for i, pic := range e.photos {
		photo, err := e.open(pic)
		if err != nil {
			return err
		}
		result := images.New(photo.W, photo.H)
		times := 1
		if i == 0 {
			times = 2 // the first picture of a size takes longer
		}
		var took time.Duration
		for range times {
			start := time.Now()
			if err := p.Paint(ctx, photo, result, e.o.painting()); err != nil {
				return err
			}
			took = time.Since(start)
		}
		seconds = append(seconds, took.Seconds())
		s, err := e.judge.Judge(photo, result)
		if err != nil {
			return err
		}
		mean.Add(s)
		e.show(i, result, fmt.Sprintf("%s style %.0f%%  SSIM %.2f", b.name, 100*evaluate.Sum(s.Style)/e.own[i], s.SSIM))
		done()
	}
	slices.Sort(seconds)
	e.add(b.name, mean.Scores(), seconds[len(seconds)/2])
	return nil
}

// show puts a cell on the sheet, where the photo has a row there.
func (e *evaluation) show(photo int, p *images.Picture, caption string) {
	if e.o.sheet == "" || photo >= evalSheetRows {
		return
	}
	if photo == len(e.sheet) {
		e.sheet = append(e.sheet, nil)
	}
	e.sheet[photo] = append(e.sheet[photo], images.Labelled{Picture: p, Caption: caption})
}

// add adds a row to the table.
func (e *evaluation) add(name string, s evaluate.Scores, seconds float64) {
	c := e.judge.Conditions()
	row := evalRow{
		Name: name, Content: evaluate.Sum(s.Content), Style: evaluate.Sum(s.Style), SSIM: s.SSIM, ColorDistance: s.ColorDistance, Seconds: seconds,
		ContentLayers: map[string]float64{}, StyleLayers: map[string]float64{}, StyleShare: 1,
	}
	for i, layer := range c.ContentLayers {
		row.ContentLayers[layer] = s.Content[i]
	}
	for i, layer := range c.StyleLayers {
		row.StyleLayers[layer] = s.Style[i]
	}
	if len(e.rows) > 0 {
		row.StyleShare = row.Style / e.rows[0].Style
	}
	e.rows = append(e.rows, row)
}

// saveSheet writes the contact sheet: the style, and below it a row of each photo.
func (e *evaluation) saveSheet(style *images.Picture) error {
	cell := min(e.o.conditions.Size, sheetCell)
	small, err := thumbnail(style, cell)
	if err != nil {
		return err
	}
	rows := append([][]images.Labelled{{{Picture: small, Caption: "style: " + path.Base(e.o.style)}}}, e.sheet...)
	sheet, err := images.Sheet(rows, cell)
	if err != nil {
		return err
	}
	if err := makeFolder(e.o.sheet); err != nil {
		return err
	}
	return images.Save(e.o.sheet, sheet, images.SaveOptions{})
}

// print writes the table.
func (e *evaluation) print() error {
	c, info := e.judge.Conditions(), e.dev.Info()
	device := fmt.Sprintf("%s, %s", info.Description, info.Precision)
	if e.o.json {
		return printJSON(e.cmd, evalReport{
			Style: e.o.style, Conditions: c, Photos: len(e.photos), Failed: e.failed, Device: device,
			Strength: e.o.strength, KeepColors: e.o.keepColors, StyleScale: e.o.styleScale, Rows: e.rows,
		})
	}
	out := e.cmd.OutOrStdout()
	pooling := "max"
	if c.AveragePooling {
		pooling = "average"
	}
	fmt.Fprintf(out, "photos   %d, their centres at %d×%[2]d\n", len(e.photos), c.Size)
	fmt.Fprintf(out, "style    %s, long side %d\n", e.o.style, c.StyleSize)
	fmt.Fprintf(out, "VGG-19   %s, %s pooling\n", c.VGG, pooling)
	fmt.Fprintf(out, "content  %s, mean squared difference\n", strings.Join(c.ContentLayers, ", "))
	fmt.Fprintf(out, "style    %s, Gram matrices %s\n", strings.Join(c.StyleLayers, ", "), c.Gram)
	fmt.Fprintf(out, "models   %s%s\n\n", device, e.o.said())
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\tcontent\tstyle\tof photo's\t%s\tSSIM\tΔE\ts/picture\t\n", strings.Join(c.StyleLayers, "\t"))
	for _, r := range e.rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%.1f%%\t", r.Name, lossDigits(r.Content), lossDigits(r.Style), 100*r.StyleShare)
		for _, layer := range c.StyleLayers {
			fmt.Fprintf(w, "%s\t", lossDigits(r.StyleLayers[layer]))
		}
		seconds := "-"
		if r.Seconds > 0 {
			seconds = fmt.Sprintf("%.3f", r.Seconds)
		}
		fmt.Fprintf(w, "%.3f\t%.1f\t%s\t\n", r.SSIM, r.ColorDistance, seconds)
	}
	return w.Flush()
}

// lossDigits prints a loss, of any size, with at least four digits and no exponent.
func lossDigits(v float64) string {
	if v == 0 {
		return "0"
	}
	return strconv.FormatFloat(v, 'f', max(0, 3-int(math.Floor(math.Log10(math.Abs(v))))), 64)
}
