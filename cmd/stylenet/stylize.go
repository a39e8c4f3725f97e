package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stylenet/data"
	"stylenet/internal/images"
	"stylenet/internal/stylize"
)

type stylizeOptions struct {
	model      string
	output     string
	maxSize    int
	strength   float32
	keepColors bool
	memory     byteSize
	tile       int
	quality    int
	json       bool
	arithmetic
}

// stylizeReport is the line that --json prints for each file.
type stylizeReport struct {
	Input   string  `json:"input"`
	Output  string  `json:"output"`
	Width   int     `json:"width,omitempty"` // pixels
	Height  int     `json:"height,omitempty"`
	Seconds float64 `json:"seconds"` // reading and writing included
	Error   string  `json:"error,omitempty"`
}

func newStylizeCmd() *cobra.Command {
	o := &stylizeOptions{memory: stylize.DefaultMemory}
	cmd := &cobra.Command{
		Use:   "stylize --model MODEL FILE|DIR|GLOB... -o OUT",
		Short: "Repaint pictures in the style of a model",
		Long: `Repaint pictures (JPEG, PNG, WebP, GIF, BMP, TIFF, told by their content) in the
style of a model: a model file, or a run, whose newest checkpoint is then taken.

One picture is written to the file OUT, as PNG or JPEG by its extension. Several
pictures, or those of a DIR at any depth, go to the folder OUT, which is made;
names and the structure of DIR are kept, and what is neither .png nor .jpg
becomes .png. Every picture keeps its size, and its alpha in PNG; JPEG gets it
on white. An input is never overwritten.

A picture that needs more than --memory is computed by strips of rows, with the
statistics of the whole picture: the result is the same but for rounding. What
does not fit is kept in temporary files, in the folder of TMPDIR.

A picture that fails is reported, the others are still written, and the exit
code is 1.`,
		Example: `  stylenet stylize --model starry.safetensors photo.jpg -o painted.png
  stylenet stylize --model runs/starry photos -o painted --max-size 1600
  stylenet stylize --model starry.safetensors *.jpg -o painted --strength 0.7 --keep-colors`,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.model, "model", "m", "", "the model file or run (required)")
	flags.StringVarP(&o.output, "output", "o", "", "the file or folder to write (required)")
	flags.IntVar(&o.maxSize, "max-size", 0, "shrink pictures whose long side has more `pixels` (0: never)")
	flags.Float32Var(&o.strength, "strength", 1, "how much of the style to show: 0 (the photo) to 1")
	flags.BoolVar(&o.keepColors, "keep-colors", false, "keep the photo's colours and take the style's brush alone")
	flags.Var(&o.memory, "memory", "how much memory the process may take in all")
	flags.IntVar(&o.tile, "tile", 0, "compute by strips of that many `rows` (0: as large as the memory allows)")
	flags.IntVar(&o.quality, "quality", images.DefaultQuality, "of JPEG, 1 to 100")
	flags.BoolVar(&o.json, "json", false, "print a line of JSON for each file")
	o.addFlags(cmd)
	completeFiles(cmd, "model", "safetensors", "pth")
	completeFiles(cmd, "output", "png", "jpg", "jpeg")
	return cmd
}

func (o *stylizeOptions) check(cmd *cobra.Command) error {
	switch {
	case o.model == "":
		return usagef(cmd, "no model: name one with --model")
	case o.output == "":
		return usagef(cmd, "no output: name a file or folder with -o")
	case !(o.strength >= 0 && o.strength <= 1): // not a number fails too
		return usagef(cmd, "--strength %v is not between 0 and 1", o.strength)
	case o.maxSize < 0:
		return usagef(cmd, "--max-size %d is negative", o.maxSize)
	case o.memory < 1:
		return usagef(cmd, "--memory is 0")
	case o.tile < 0:
		return usagef(cmd, "--tile %d is negative", o.tile)
	case o.quality < 1 || o.quality > 100:
		return usagef(cmd, "--quality %d is not between 1 and 100", o.quality)
	}
	return o.arithmetic.check(cmd)
}

func (o *stylizeOptions) run(cmd *cobra.Command, args []string) (err error) {
	if err := o.check(cmd); err != nil {
		return err
	}
	jobs, err := planJobs(args, o.output)
	if err != nil {
		return err
	}
	m, err := loadModel(cmd, o.model)
	if err != nil {
		return err
	}
	dev, err := openDevice(cmd, o.arithmetic)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	s, err := stylize.Open(dev, m)
	if err != nil {
		return fmt.Errorf("%s: %w", o.model, err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	// Pictures are few large blocks of memory, which are cheap to look through.
	debug.SetGCPercent(10)
	return o.all(cmd, s, jobs)
}

// all does the jobs one after the other. A job that fails stops no other.
func (o *stylizeOptions) all(cmd *cobra.Command, s *stylize.Stylizer, jobs []job) error {
	bar := newShares(cmd, len(jobs), "stylizing")
	defer bar.Exit()
	failed := 0
	for i, j := range jobs {
		start := time.Now()
		w, h, err := o.one(cmd, s, j, func(share float64) { bar.at(i, share) })
		if cause := cmd.Context().Err(); cause != nil && err != nil {
			return fmt.Errorf("%d of %d pictures are done: %w", i-failed, len(jobs), cause)
		}
		r := stylizeReport{Input: j.input, Output: j.output, Seconds: time.Since(start).Seconds()}
		if err != nil {
			failed++
			r.Error = err.Error()
		} else {
			r.Width, r.Height = w, h
		}
		_ = bar.Clear() // a terminal that is gone does not matter
		if o.json {
			if err := printJSON(cmd, r); err != nil {
				return err
			}
		}
		switch {
		case err == nil && !o.json:
			say(cmd, "%s: %d×%d in %.1f s", r.Output, r.Width, r.Height, r.Seconds)
		case err != nil && len(jobs) == 1:
			return err
		case err != nil:
			complain(cmd.ErrOrStderr(), err)
		}
		bar.at(i+1, 0)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d pictures failed", failed, len(jobs))
	}
	return nil
}

// one does a job and returns the size of the result.
func (o *stylizeOptions) one(cmd *cobra.Command, s *stylize.Stylizer, j job, progress func(float64)) (w, h int, err error) {
	src, err := o.read(j.input)
	if err != nil {
		return 0, 0, err // names the file
	}
	format, err := images.FormatOf(j.output)
	if err != nil {
		return 0, 0, err
	}
	w, h = src.Size()
	canvas, err := images.NewCanvas(w, h, format, images.CanvasOptions{Alpha: !src.Opaque()})
	if err != nil {
		return 0, 0, err
	}
	err = s.Paint(cmd.Context(), src, canvas, stylize.Options{
		Strength: o.strength, KeepColors: o.keepColors, Memory: int64(o.memory), Rows: o.tile, Progress: progress,
	})
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", j.input, err)
	}
	if err := os.MkdirAll(filepath.Dir(j.output), 0o777); err != nil {
		return 0, 0, err
	}
	return w, h, canvas.Save(j.output, images.SaveOptions{Quality: o.quality})
}

// read decodes a picture, and shrinks it to --max-size.
func (o *stylizeOptions) read(path string) (images.Reader, error) {
	src, err := images.Decoder{}.OpenSource(path, new(bytes.Buffer))
	if err != nil || o.maxSize == 0 {
		return src, err
	}
	return src.FitWithin(o.maxSize)
}

// job is one picture to read and where to write it.
type job struct{ input, output string }

// item is a picture to read, and its name in an output folder.
type item struct{ path, name string }

// planJobs decides which file goes where before anything is written.
func planJobs(args []string, output string) ([]job, error) {
	var items []item
	folder := isDir(output) || strings.HasSuffix(output, "/") || strings.HasSuffix(output, string(filepath.Separator))
	for _, arg := range args {
		found, err := expand(arg, output)
		if err != nil {
			return nil, err
		}
		items = append(items, found...)
		folder = folder || isDir(arg)
	}
	_, err := images.FormatOf(output)
	switch {
	case !folder && len(items) == 1:
		if err != nil {
			return nil, err
		}
		jobs := []job{{items[0].path, output}}
		return jobs, checkOutputs(jobs)
	case err == nil && !isDir(output):
		return nil, &usageError{fmt.Errorf("%d pictures cannot go to the one file %s", len(items), output), "name a folder with -o"}
	}
	var jobs []job
	for _, it := range items {
		name := it.name
		if _, err := images.FormatOf(name); err != nil {
			name = strings.TrimSuffix(name, filepath.Ext(name)) + ".png"
		}
		jobs = append(jobs, job{it.path, filepath.Join(output, name)})
	}
	return jobs, checkOutputs(jobs)
}

// expand lists the pictures that an argument stands for. Pictures in the output
// folder are not among those of a folder around it, so that a command can be
// repeated.
func expand(arg, output string) ([]item, error) {
	if isDir(arg) {
		return listFolder(arg, output)
	}
	if _, err := os.Stat(arg); err == nil || !strings.ContainsAny(arg, "*?[") {
		// A file that is missing is one that fails, beside the others.
		return []item{{arg, filepath.Base(arg)}}, nil
	}
	matches, err := filepath.Glob(arg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", arg, err)
	}
	if len(matches) == 0 {
		return nil, fmt.Errorf("%s matches no file", arg)
	}
	var items []item
	for _, match := range matches {
		if !isDir(match) {
			items = append(items, item{match, filepath.Base(match)})
			continue
		}
		found, err := listFolder(match, output)
		if err != nil {
			return nil, err
		}
		items = append(items, found...)
	}
	return items, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func listFolder(dir, output string) ([]item, error) {
	names, err := data.List(dir)
	if err != nil {
		return nil, err
	}
	inside := within(dir, output)
	var items []item
	for _, name := range names {
		name = filepath.FromSlash(name)
		if inside == "" || !strings.HasPrefix(name, inside+string(filepath.Separator)) {
			items = append(items, item{filepath.Join(dir, name), name})
		}
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("%s holds no pictures", dir)
	}
	return items, nil
}

// within is the path of a folder inside dir, relative to it, or "" for one that
// is elsewhere, dir itself included.
func within(dir, folder string) string {
	abs := func(path string) string {
		if p, err := filepath.EvalSymlinks(path); err == nil {
			path = p
		}
		if p, err := filepath.Abs(path); err == nil {
			path = p
		}
		return path
	}
	rel, err := filepath.Rel(abs(dir), abs(folder))
	if err != nil || !filepath.IsLocal(rel) || rel == "." {
		return ""
	}
	return rel
}

// checkOutputs refuses to write a file twice, or over an input.
func checkOutputs(jobs []job) error {
	inputs := make([]os.FileInfo, 0, len(jobs))
	for _, j := range jobs {
		if info, err := os.Stat(j.input); err == nil {
			inputs = append(inputs, info)
		}
	}
	from := map[string]string{}
	for _, j := range jobs {
		key := j.output
		if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
			key = strings.ToLower(key) // as their file systems do
		}
		if other, ok := from[key]; ok {
			return &hinted{fmt.Errorf("%s and %s would both be written to %s", other, j.input, j.output), "stylize them into different folders"}
		}
		from[key] = j.input
		info, err := os.Stat(j.output)
		if err != nil {
			continue // it does not exist yet
		}
		if slices.ContainsFunc(inputs, func(input os.FileInfo) bool { return os.SameFile(input, info) }) {
			return &hinted{fmt.Errorf("%s is an input, and inputs are never overwritten", j.output), "name another file or folder with -o"}
		}
	}
	return nil
}
