package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"

	"github.com/spf13/cobra"

	"stylenet/internal/atomicfile"
	"stylenet/internal/coco"
	"stylenet/internal/images"
	"stylenet/internal/kernels"
	"stylenet/internal/model"
	"stylenet/internal/stylize"
	"stylenet/internal/stylize/batch"
)

// augmentStyle is one of the styles that are drawn.
type augmentStyle struct {
	Model  string `json:"model"`
	Style  string `json:"style,omitempty"` // the file's name, or one of a model of many
	SHA256 string `json:"sha256"`          // of the model and the style

	load func() (loaded, error)
}

// augmentChoice is how a variant is painted, and where it is from: the object
// "stylenet" of its picture.
type augmentChoice struct {
	SourceID       int64   `json:"source_id"`
	SourceFileName string  `json:"source_file_name"`
	Variant        int     `json:"variant"`
	Model          string  `json:"model"`
	Style          string  `json:"style,omitempty"`
	Strength       float64 `json:"strength"`
}

// augmentInfo is the object "stylenet" of the data set's "info".
type augmentInfo struct {
	Source     string         `json:"source"`
	Seed       uint64         `json:"seed"`
	Variants   int            `json:"variants"`
	Strength   [2]float64     `json:"strength"`
	KeepColors string         `json:"keep_colors,omitempty"`
	Styles     []augmentStyle `json:"styles"`
	LeftOut    int            `json:"pictures_left_out,omitempty"`
}

// augmentReport is the line that --json prints for each result.
type augmentReport struct {
	Input  string `json:"input"`
	Output string `json:"output"`
	augmentChoice
	Error string `json:"error,omitempty"`
}

// augmentRun paints a data set, one style after the other, so that one model is
// in memory at a time.
type augmentRun struct {
	o      *augmentOptions
	cmd    *cobra.Command
	data   *coco.Dataset
	styles []augmentStyle
	done   *results

	results [][]int // of each style: the image's index × variants + the variant, ascending
	index   int     // of the style at work
	painter painter

	bar             *shares
	painted, failed int                 // results
	passed          atomic.Int64        // that were done before
	missing         map[variantKey]bool // results that failed
}

type variantKey struct {
	id      int64
	variant int
}

// augmentTask is one variant on its way.
type augmentTask struct {
	image         coco.Image
	choice        augmentChoice
	input, output string
	settings      string
	entry         batch.Entry

	src      images.Reader
	metadata images.Metadata
	canvas   *images.Canvas
}

func (o *augmentOptions) run(cmd *cobra.Command) (err error) {
	if err := o.check(cmd); err != nil {
		return err
	}
	data, err := coco.Read(cmd.Context(), o.coco)
	if err != nil {
		return err
	}
	if len(data.Images) == 0 {
		warn(cmd, "%s lists no images: there is nothing to paint", o.coco)
	}
	if n := data.Outside; n > 0 {
		warn(cmd, "%s: %d of %d annotations have a box that sticks out of its picture, annotation %d first: they are kept as they are", o.coco, n, data.Annotations, data.FirstOutside)
	}
	if err := data.Number(o.variants); err != nil {
		return err
	}
	if err := o.apart(cmd.Context(), data); err != nil {
		return err
	}
	styles, err := o.open(cmd)
	if err != nil {
		return err
	}
	dev, err := openDevice(cmd, o.arithmetic)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	r := &augmentRun{o: o, cmd: cmd, data: data, styles: styles, missing: map[variantKey]bool{}}
	if r.done, err = openResults(cmd, o.output, true); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.done.Close()) }()
	return r.all(dev)
}

// open reads all styles once, so that what is wrong with the last one is said
// before the first has worked for hours.
func (o *augmentOptions) open(cmd *cobra.Command) ([]augmentStyle, error) {
	var files []string
	if len(o.styles) > 0 {
		in, err := batch.Open(o.styles)
		if err != nil {
			return nil, fmt.Errorf("--style: %w", err)
		}
		for p, err := range in.Pictures("") {
			if err != nil {
				return nil, fmt.Errorf("--style: %w", err)
			}
			files = append(files, p.Path)
		}
	}
	var styles []augmentStyle
	fileNames := brushNames(files)
	used := false
	for i, name := range brushNames(o.models) {
		path := o.models[i]
		m, err := loadModel(cmd, path)
		if err != nil {
			return nil, err
		}
		add := func(style string, load func(*model.Model) (loaded, error)) error {
			l, err := load(m)
			if err != nil {
				return err
			}
			digest, err := l.digest()
			if err != nil {
				return err
			}
			styles = append(styles, augmentStyle{name, style, digest, func() (loaded, error) {
				m, err := loadModel(cmd, path)
				if err != nil {
					return loaded{}, err
				}
				return load(m)
			}})
			return nil
		}
		_, any := m.AnyStyle()
		switch {
		case any && len(files) == 0:
			return nil, &hinted{fmt.Errorf("%s takes its style from a picture, and there is none", path), "name one or a folder of them with --style"}
		case any:
			used = true
			for k, file := range files {
				if err := add(fileNames[k], func(m *model.Model) (loaded, error) { return o.pictureStyle(m, file) }); err != nil {
					return nil, err
				}
			}
		case len(m.Styles()) > 0:
			for _, style := range m.Styles() {
				if err := add(style, func(m *model.Model) (loaded, error) {
					one, err := m.Mix([]model.Share{{Style: style, Weight: 1}})
					return modelStyle(path, one), err
				}); err != nil {
					return nil, err
				}
			}
		default:
			if err := add("", func(m *model.Model) (loaded, error) { return modelStyle(path, m), nil }); err != nil {
				return nil, err
			}
		}
	}
	if len(files) > 0 && !used {
		return nil, usagef(cmd, "--style is for a model of any style, of which there is none")
	}
	return styles, nil
}

// modelStyle is a model of one style.
func modelStyle(path string, m *model.Model) loaded {
	return loaded{
		digest: func() (string, error) {
			h := sha256.New()
			err := model.Write(h, m)
			return hex.EncodeToString(h.Sum(nil)), err
		},
		open: func(dev kernels.Device) (painter, error) {
			s, err := stylize.Open(dev, m)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			return s, nil
		},
	}
}

// pictureStyle is a model of any style with a picture's.
func (o *augmentOptions) pictureStyle(m *model.Model, file string) (loaded, error) {
	h := sha256.New()
	p, err := (&styleOptions{size: o.styleSize}).open(file, h)
	if err != nil {
		return loaded{}, err
	}
	return loaded{
		digest: func() (string, error) {
			err := model.Write(h, m)
			return hex.EncodeToString(h.Sum(nil)), err
		},
		open: func(dev kernels.Device) (painter, error) {
			style, err := stylize.StyleOf(dev, m, p)
			if err != nil {
				return nil, fmt.Errorf("style %s: %w", file, err)
			}
			one, err := m.Styled(style, 1)
			if err != nil {
				return nil, err
			}
			s, err := stylize.Open(dev, one)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
	}, nil
}

// choose yields a picture's variants: the style that each has drawn, and how it is
// painted. It depends on nothing but the seed, the picture's number, the variants'
// and the list of styles.
func (r *augmentRun) choose(image coco.Image) iter.Seq2[int, augmentChoice] {
	return func(yield func(int, augmentChoice) bool) {
		random := rand.New(rand.NewPCG(r.o.seed, uint64(image.ID)))
		order := random.Perm(len(r.styles)) // variants differ as long as there are styles
		for v := range r.o.variants {
			style := order[v%len(order)]
			choice := augmentChoice{
				SourceID: image.ID, SourceFileName: image.FileName, Variant: v, Model: r.styles[style].Model, Style: r.styles[style].Style,
				Strength: rounded(r.o.least + random.Float64()*(r.o.most-r.o.least)),
			}
			if !yield(style, choice) {
				return
			}
		}
	}
}

// draw sorts all results by their style. A draw takes time by the number of
// styles: it is made for each picture, and not once more for each style.
func (r *augmentRun) draw() error {
	drawn, count := make([]uint32, 0, len(r.data.Images)*r.o.variants), make([]int, len(r.styles))
	for _, image := range r.data.Images {
		if err := r.cmd.Context().Err(); err != nil {
			return err
		}
		for style := range r.choose(image) {
			drawn = append(drawn, uint32(style))
			count[style]++
		}
	}
	r.results = make([][]int, len(r.styles))
	for style, n := range count {
		r.results[style] = make([]int, 0, n)
	}
	for result, style := range drawn {
		r.results[style] = append(r.results[style], result)
	}
	return nil
}

// all paints everything, and writes the annotations of what there is.
func (r *augmentRun) all(dev kernels.Device) error {
	total := len(r.data.Images) * r.o.variants
	r.bar = newShares(r.cmd, total, "stylizing")
	defer r.bar.Exit()
	if err := r.draw(); err != nil {
		return r.interrupted(err, total)
	}
	for i := range r.styles {
		r.index = i
		if err := r.paintAll(dev); err != nil {
			return r.interrupted(err, total)
		}
	}
	pictures, notes, err := r.annotate()
	switch {
	case err != nil:
		return r.interrupted(err, total)
	case r.failed > 0:
		return fmt.Errorf("%d of %d pictures failed, and are left out of %s", r.failed, total, r.o.annotations())
	case !r.o.json:
		if n := r.passed.Load(); n > 0 {
			say(r.cmd, "%d of %d pictures were done before", n, total)
		}
		say(r.cmd, "%s: %d pictures, %d annotations", r.o.annotations(), pictures, notes)
	}
	return nil
}

// interrupted tells how far it came, where that is why err is.
func (r *augmentRun) interrupted(err error, total int) error {
	cause := r.cmd.Context().Err()
	if cause == nil {
		return err
	}
	return &hinted{fmt.Errorf("%d of %d pictures are done: %w", r.painted+int(r.passed.Load()), total, cause), "go on with the same command"}
}

// paintAll paints every picture that has drawn the style at work.
func (r *augmentRun) paintAll(dev kernels.Device) (err error) {
	// Only where there is something to do is the model opened.
	defer func() {
		if r.painter != nil {
			err = errors.Join(err, r.painter.Close())
			r.painter = nil
		}
	}()
	debug.SetGCPercent(10) // pictures are few large blocks of memory, which are cheap to look through
	return batch.Stages[*augmentTask]{
		Read: r.read, Compute: func(t *augmentTask) error { return r.compute(dev, t) }, Write: r.write, Done: r.report,
		Jobs: r.o.jobs, Weigh: weighTask, Limit: r.room(),
	}.Run(r.cmd.Context(), r.tasks())
}

// tasks yields the variants in the style at work that have no result yet.
func (r *augmentRun) tasks() iter.Seq2[*augmentTask, error] {
	return func(yield func(*augmentTask, error) bool) {
		for _, result := range r.results[r.index] {
			image, v := r.data.Images[result/r.o.variants], result%r.o.variants
			t := &augmentTask{
				image: image, input: filepath.Join(r.o.images, filepath.FromSlash(image.FileName)),
				output: filepath.Join(r.o.output, filepath.FromSlash(r.o.result(image.FileName, v))),
			}
			for _, choice := range r.choose(image) {
				if choice.Variant == v {
					t.choice = choice
					break
				}
			}
			done, err := r.isDone(t)
			if err != nil {
				yield(nil, err)
				return
			}
			if done {
				r.passed.Add(1)
				continue
			}
			if !yield(t, nil) {
				return
			}
		}
	}
}

// isDone says that the journal knows the result, as it is on the disk, to be
// that of the picture, as it is on the disk.
func (r *augmentRun) isDone(t *augmentTask) (bool, error) {
	// All that decides a result beside its input.
	b, err := json.Marshal([]any{
		r.styles[r.index].SHA256, t.choice.Strength, r.o.keepColors, r.o.formatName, r.o.quality, r.o.exact, r.o.precision, t.image.W, t.image.H,
	})
	if err != nil {
		return false, err
	}
	sum := sha256.Sum256(b)
	t.settings = hex.EncodeToString(sum[:8])
	e, err := batch.Describe(t.input, t.settings)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return r.done.has(e, t.output)
}

// room is what pictures in work may take beside the one that is computed.
func (r *augmentRun) room() int64 { return int64(r.o.memory) / 6 }

// weighTask is at most what a picture and its result take, of 16 bits and alpha.
func weighTask(t *augmentTask) int64 { return 2 * 8 * int64(t.image.W) * int64(t.image.H) }

// read decodes a picture and makes room for the result.
func (r *augmentRun) read(t *augmentTask) error {
	var unknown error
	t.entry, unknown = batch.Describe(t.input, t.settings)
	src, err := images.Decoder{}.OpenSource(t.input, new(bytes.Buffer))
	if err = cmp.Or(err, unknown); err != nil {
		return fmt.Errorf("image %d: %w", t.image.ID, err)
	}
	w, h := src.Size()
	switch {
	case w != t.image.W || h != t.image.H:
		return fmt.Errorf("image %d: %s has %d×%d pixels, and the annotations are for %d×%d", t.image.ID, t.input, w, h, t.image.W, t.image.H)
	case src.Turned() && (w == h || !src.Transposed()):
		return fmt.Errorf("image %d: %s is turned by its EXIF, and nothing says whether the annotations are: turn the pixels themselves", t.image.ID, t.input)
	}
	t.src, t.metadata = src, images.Metadata{ICC: src.Metadata().ICC}
	format, err := images.FormatOf(t.output)
	if err != nil {
		return err
	}
	if t.canvas, err = images.NewCanvas(w, h, format, images.CanvasOptions{Alpha: !src.Opaque(), Depth: src.Depth()}); err != nil {
		return fmt.Errorf("image %d: %s: %w", t.image.ID, t.output, err)
	}
	return nil
}

func (r *augmentRun) compute(dev kernels.Device, t *augmentTask) error {
	if r.painter == nil {
		l, err := r.styles[r.index].load()
		if err != nil {
			return err
		}
		if r.painter, err = l.open(dev); err != nil {
			return err
		}
	}
	err := r.painter.Paint(r.cmd.Context(), t.src, t.canvas, stylize.Options{
		Strength: float32(t.choice.Strength), KeepColors: r.o.keepColors,
		// The same for any number of jobs, as the result must be.
		Memory: max(1, int64(r.o.memory)-max(0, r.room()-weighTask(t))),
	})
	t.src = nil
	if err != nil {
		return fmt.Errorf("image %d: %s: %w", t.image.ID, t.input, err)
	}
	return nil
}

// write encodes a result, and enters it in the journal when it is on the disk.
func (r *augmentRun) write(t *augmentTask) error {
	return saveCanvas(t.canvas, t.output, images.SaveOptions{Quality: r.o.quality, Metadata: t.metadata}, r.done, t.entry)
}

// report tells of a result, or why there is none. A picture that fails stops no
// other.
func (r *augmentRun) report(t *augmentTask, err error) error {
	if err != nil && errors.Is(err, context.Canceled) && r.cmd.Context().Err() != nil {
		return nil
	}
	line := augmentReport{Input: t.input, Output: t.output, augmentChoice: t.choice}
	if err != nil {
		r.failed++
		r.missing[variantKey{t.image.ID, t.choice.Variant}] = true
		line.Error = err.Error()
	} else {
		r.painted++
	}
	r.bar.at(r.painted+r.failed+int(r.passed.Load()), 0)
	if r.o.json {
		if err := printJSON(r.cmd, line); err != nil {
			return err
		}
	}
	if err != nil {
		_ = r.bar.Clear() // a terminal that is gone does not matter
		complain(r.cmd.ErrOrStderr(), err)
	}
	return nil
}

// annotate writes the annotations of the results that there are.
func (r *augmentRun) annotate() (pictures, notes int, err error) {
	rewrite := coco.Rewrite{
		Variants: r.o.variants, About: "stylenet",
		Info: augmentInfo{
			Source: filepath.Base(r.o.coco), Seed: r.o.seed, Variants: r.o.variants, Strength: [2]float64{r.o.least, r.o.most},
			KeepColors: r.o.keepColors, Styles: r.styles, LeftOut: r.failed,
		},
		Image: func(image coco.Image) []*coco.Variant {
			variants := make([]*coco.Variant, r.o.variants)
			for _, choice := range r.choose(image) {
				if v := choice.Variant; !r.missing[variantKey{image.ID, v}] {
					variants[v] = &coco.Variant{FileName: r.o.result(image.FileName, v), About: choice}
				}
			}
			return variants
		},
	}
	err = atomicfile.Write(r.o.annotations(), 0o666, func(w io.Writer) error {
		pictures, notes, err = r.data.Write(r.cmd.Context(), w, rewrite)
		return err
	})
	return pictures, notes, err
}
