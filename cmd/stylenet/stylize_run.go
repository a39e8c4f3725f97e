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
	"iter"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"stylenet/internal/images"
	"stylenet/internal/kernels"
	"stylenet/internal/stylize"
	"stylenet/internal/stylize/batch"
)

// stylizeReport is the line that --json prints for each result.
type stylizeReport struct {
	Input   string  `json:"input"`
	Model   string  `json:"model,omitempty"`  // where there are several
	Output  string  `json:"output,omitempty"` // none where a contact sheet is all
	Width   int     `json:"width,omitempty"`  // pixels
	Height  int     `json:"height,omitempty"`
	Seconds float64 `json:"seconds"` // reading, computing and writing, without waiting
	Error   string  `json:"error,omitempty"`
}

// stylizeRun takes pictures through all brushes, one brush after the other, so
// that one model is in memory at a time, and its plans are used by all pictures
// of a size.
type stylizeRun struct {
	o        *stylizeOptions
	cmd      *cobra.Command
	plan     *batch.Plan
	pictures int // how many there are
	brushes  []brush
	results  *results   // nil where none are entered
	sheet    *moodBoard // nil where none is made

	stdin []byte // what standard input held, where several brushes need it

	settings string // a digest of what decides results beside their inputs
	painter  painter
	index    int // of the brush at work

	bar                  *shares
	done, failed, passed int // results
	err                  error
}

// stylizeTask is one picture on its way.
type stylizeTask struct {
	pic    batch.Picture
	output string // "" where a contact sheet is all that is written
	entry  batch.Entry
	place  int   // among all results
	weight int64 // bytes from reading to writing
	encode int64 // of them, for encoding

	src      images.Reader
	paint    *images.Mask
	metadata images.Metadata
	canvas   *images.Canvas
	spent    time.Duration
}

// all paints every picture with every brush.
func (r *stylizeRun) all(dev kernels.Device) error {
	total := r.pictures * len(r.brushes)
	r.bar = newShares(r.cmd, total, "stylizing")
	defer r.bar.Exit()
	for i, b := range r.brushes {
		r.index = i
		if err := r.paintAll(dev, b); err != nil {
			if cause := r.cmd.Context().Err(); cause != nil {
				err = fmt.Errorf("%d of %d pictures are done: %w", r.done+r.passed, total, cause)
				if r.results != nil {
					err = &hinted{err, "go on with the same command and --resume"}
				}
			}
			return err
		}
	}
	if r.sheet != nil {
		if err := r.sheet.save(r.brushes); err != nil {
			return err
		}
	}
	switch {
	case r.failed > 0 && total == 1:
		return r.err
	case r.failed > 0:
		return fmt.Errorf("%d of %d pictures failed", r.failed, total)
	case r.passed > 0 && !r.o.json:
		say(r.cmd, "%d of %d pictures were done before", r.passed, total)
	}
	return nil
}

// paintAll paints every picture with one brush.
func (r *stylizeRun) paintAll(dev kernels.Device, b brush) (err error) {
	if err := r.open(dev, b); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.painter.Close()) }()
	// Pictures are few large blocks of memory, which are cheap to look through.
	debug.SetGCPercent(10)
	pictures, err := r.plan.Pictures()
	if err != nil {
		return err
	}
	return batch.Stages[*stylizeTask]{
		Read: timed(r.read), Compute: timed(r.compute), Write: timed(r.write), Done: r.report,
		Jobs: r.jobs(), Weigh: func(t *stylizeTask) int64 { return t.weight }, Limit: r.room(),
	}.Run(r.cmd.Context(), r.tasks(pictures))
}

// open gets a brush ready. What its files held is not kept.
func (r *stylizeRun) open(dev kernels.Device, b brush) error {
	l, err := b.load(r.cmd)
	if err != nil {
		return err
	}
	if r.results != nil {
		if r.settings, err = r.o.digest(l); err != nil {
			return err
		}
	}
	r.painter, err = l.open(dev)
	return err
}

// digest is that of all that decides results beside the inputs.
func (o *stylizeOptions) digest(l loaded) (string, error) {
	painter, err := l.digest()
	if err != nil {
		return "", err
	}
	b, err := json.Marshal([]any{painter, o.quality, o.noEXIF, o.maxSize, o.strength, o.keepColors, o.styleScale, o.feather, o.exact, o.precision})
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8]), err
}

// timed adds the time that a stage takes to that of the task.
func timed(stage func(*stylizeTask) error) func(*stylizeTask) error {
	return func(t *stylizeTask) error {
		start := time.Now()
		defer func() { t.spent += time.Since(start) }()
		return stage(t)
	}
}

// tasks yields the pictures that have no result yet.
func (r *stylizeRun) tasks(pictures iter.Seq2[batch.Picture, error]) iter.Seq2[*stylizeTask, error] {
	return func(yield func(*stylizeTask, error) bool) {
		place := r.index * r.pictures
		for pic, err := range pictures {
			if err != nil {
				yield(nil, err)
				return
			}
			t := &stylizeTask{pic: pic, place: place}
			place++
			if r.sheet != nil {
				r.sheet.name(t)
			}
			if r.o.output != "" {
				t.output = r.plan.Outputs(pic)[r.index]
			}
			if r.o.resume {
				done, err := r.isDone(t)
				if err != nil {
					yield(nil, err)
					return
				}
				if done {
					r.passed++
					if r.sheet != nil {
						err = r.sheet.addFiles(t, r.index == 0)
					}
					if err == nil {
						continue
					}
					yield(nil, err)
					return
				}
			}
			if r.jobs() > 1 {
				t.weight = r.weigh(t)
			}
			if !yield(t, nil) {
				return
			}
		}
	}
}

// isDone says that the journal knows the result, as it is on the disk, to be
// that of the picture, as it is on the disk.
func (r *stylizeRun) isDone(t *stylizeTask) (bool, error) {
	if t.pic.Path == batch.Stdin {
		return false, nil
	}
	e, err := r.describe(t)
	if err != nil {
		return false, nil // what is missing is missed again when it is read
	}
	return r.results.has(e, t.output)
}

// describe says what a result is made of, as that is on the disk.
func (r *stylizeRun) describe(t *stylizeTask) (batch.Entry, error) {
	settings, err := r.o.maskSettings(r.settings, t.pic)
	if err != nil {
		return batch.Entry{}, err
	}
	return batch.Describe(t.pic.Path, settings)
}

// jobs is how many pictures are in work at a time.
func (r *stylizeRun) jobs() int { return min(r.o.jobs, r.pictures) }

// room is what pictures in work may take beside the one that is computed.
func (r *stylizeRun) room() int64 { return int64(r.o.memory) / 6 }

// beside is what is kept free while a picture is computed: for other pictures, for
// the sheet, and for encoding, during which feature maps stay. It does not depend
// on which others there are, so that results do not either.
func (r *stylizeRun) beside(t *stylizeTask) int64 {
	n := t.encode
	if r.sheet != nil {
		n += r.sheet.bytes
	}
	if r.jobs() == 1 {
		return n
	}
	return n + max(0, r.room()-t.weight)
}

// weigh says how many bytes a picture takes from reading to writing: at most, by
// what the beginning of its file says. One that does not say it weighs heavy,
// which is more than all may take together; one that will not be read, nothing.
func (r *stylizeRun) weigh(t *stylizeTask) int64 {
	pic, heavy := t.pic, r.room()
	const head, whole = 1 << 16, 1 << 26 // bytes; of TIFF, the end of the file may tell
	if pic.Path == batch.Stdin {
		return heavy + 1
	}
	info, err := os.Stat(pic.Path)
	if err != nil {
		return 0
	}
	if !info.Mode().IsRegular() { // what is read from a pipe is gone
		return heavy + 1
	}
	f, err := os.Open(pic.Path)
	if err != nil {
		return 0
	}
	defer f.Close()
	var b []byte
	for _, n := range []int64{head, whole} {
		more, err := io.ReadAll(io.LimitReader(f, n-int64(len(b))))
		if err != nil {
			return 0
		}
		b = append(b, more...)
		if w, h, decoded, err := (images.Decoder{}).Header(b); err == nil {
			// The file, its pixels, and those of the result.
			n := info.Size() + 2*decoded + r.encoding(t, w, h)
			if r.o.mask != "" {
				n += 4 * int64(w) * int64(h)
			}
			return n
		}
		if int64(len(b)) == info.Size() {
			return 0
		}
	}
	return heavy + 1
}

// read decodes a picture, shrinks it to --max-size, and makes room for the
// result.
func (r *stylizeRun) read(t *stylizeTask) error {
	var unknown error
	if r.results != nil && t.pic.Path != batch.Stdin {
		t.entry, unknown = r.describe(t)
	}
	src, err := r.decode(t.pic)
	if err = cmp.Or(err, unknown); err != nil {
		return err
	}
	t.src, t.metadata = src, src.Metadata()
	if r.o.noEXIF {
		t.metadata.EXIF = nil
	}
	if r.o.maxSize > 0 {
		if t.src, err = src.FitWithin(r.o.maxSize); err != nil {
			return fmt.Errorf("%s: %w", r.input(t), err)
		}
	}
	w, h := t.src.Size()
	if r.o.mask != "" {
		if t.paint, err = r.o.openMask(t.pic, w, h); err != nil {
			return err
		}
	}
	if r.sheet != nil && r.index == 0 {
		if err := r.sheet.addPhoto(t.place, t.src); err != nil {
			return err
		}
	}
	format, err := r.format(t)
	if err != nil {
		return err
	}
	t.encode = r.encoding(t, w, h)
	t.canvas, err = images.NewCanvas(w, h, format, images.CanvasOptions{Alpha: !t.src.Opaque(), Depth: src.Depth()})
	if err != nil {
		return fmt.Errorf("%s: %w", t.output, err)
	}
	return nil
}

// format is that of a result: PNG where nothing is written.
func (r *stylizeRun) format(t *stylizeTask) (string, error) {
	if t.output == "" {
		return "PNG", nil
	}
	return r.plan.OutputFormat(t.output)
}

// encoding is the memory that encoding a result takes, of a picture of w×h pixels
// before it is shrunk.
func (r *stylizeRun) encoding(t *stylizeTask, w, h int) int64 {
	if r.o.maxSize > 0 && max(w, h) > r.o.maxSize {
		w, h = images.LongSide(w, h, r.o.maxSize)
	}
	format, err := r.format(t)
	if err != nil || t.output == "" {
		return 0
	}
	n, err := images.EncodeBytes(format, w, h)
	if err != nil {
		return 0 // it is reported where the picture is read
	}
	return n
}

// decode reads a file or standard input. Errors name it.
func (r *stylizeRun) decode(pic batch.Picture) (*images.Source, error) {
	if pic.Path != batch.Stdin {
		return images.Decoder{}.OpenSource(pic.Path, new(bytes.Buffer))
	}
	b := r.stdin
	if b == nil {
		var buf bytes.Buffer
		if err := images.ReadAll(&buf, r.cmd.InOrStdin()); err != nil {
			return nil, fmt.Errorf("standard input: %w", err)
		}
		b = buf.Bytes()
		if len(r.brushes) > 1 {
			r.stdin = b
		}
	}
	src, err := images.Decoder{}.Source(b)
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return src, nil
}

// input names a picture in errors.
func (r *stylizeRun) input(t *stylizeTask) string {
	if t.pic.Path == batch.Stdin {
		return "standard input"
	}
	return t.pic.Path
}

// painting is what the flags ask of all pictures.
func (o *stylizeOptions) painting() stylize.Options {
	p := o.effects.painting()
	p.Memory, p.Rows = int64(o.memory), o.tile
	return p
}

// compute paints a picture.
func (r *stylizeRun) compute(t *stylizeTask) error {
	o := r.o.painting()
	o.Mask, o.Memory = t.paint, max(1, o.Memory-r.beside(t))
	o.Progress = func(share float64) { r.bar.at(t.place, share) }
	err := r.painter.Paint(r.cmd.Context(), t.src, t.canvas, o)
	t.src, t.paint = nil, nil
	if err != nil {
		return fmt.Errorf("%s: %w", r.input(t), err)
	}
	if r.sheet != nil {
		return r.sheet.add(t.place, t.canvas)
	}
	return nil
}

// write encodes a result, and enters it in the journal when it is on the disk.
func (r *stylizeRun) write(t *stylizeTask) error {
	save := images.SaveOptions{Quality: r.o.quality, Metadata: t.metadata}
	switch t.output {
	case "":
		return nil
	case stdout:
		if err := t.canvas.Encode(r.cmd.OutOrStdout(), save); err != nil {
			return fmt.Errorf("standard output: %w", err)
		}
		return nil
	}
	results := r.results
	if t.pic.Path == batch.Stdin {
		results = nil
	}
	return saveCanvas(t.canvas, t.output, save, results, t.entry)
}

// report tells of a result, or why there is none. A picture that fails stops no
// other.
func (r *stylizeRun) report(t *stylizeTask, err error) error {
	if err != nil && errors.Is(err, context.Canceled) && r.cmd.Context().Err() != nil {
		return nil
	}
	line := stylizeReport{Input: t.pic.Path, Output: t.output, Seconds: t.spent.Seconds()}
	if len(r.brushes) > 1 {
		line.Model = r.brushes[r.index].name
	}
	if err != nil {
		r.failed++
		r.err = err
		line.Error = err.Error()
	} else {
		r.done++
		line.Width, line.Height = t.canvas.Size()
	}
	_ = r.bar.Clear() // a terminal that is gone does not matter
	if r.o.json {
		if err := printJSON(r.cmd, line); err != nil {
			return err
		}
	}
	switch {
	case err == nil && !r.o.json && t.output != stdout && t.output != "":
		say(r.cmd, "%s: %d×%d in %.1f s", t.output, line.Width, line.Height, line.Seconds)
	case err != nil && r.pictures*len(r.brushes) > 1:
		complain(r.cmd.ErrOrStderr(), err)
	}
	return nil
}
