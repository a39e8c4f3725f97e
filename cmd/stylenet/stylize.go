package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"stylenet/internal/images"
	"stylenet/internal/stylize"
	"stylenet/internal/stylize/batch"
	"stylenet/internal/video"
)

type stylizeOptions struct {
	models     []string
	output     string
	outPattern string
	format     string
	quality    int
	noEXIF     bool
	maxSize    int
	mask       string
	feather    float64
	sheet      string
	resume     bool
	jobs       int
	memory     byteSize
	tile       int
	json       bool
	style      styleOptions
	mixing     mixing
	video      videoOptions
	effects
	arithmetic
}

func newStylizeCmd() *cobra.Command {
	o := &stylizeOptions{memory: stylize.DefaultMemory, mixing: mixing{several: true}}
	cmd := &cobra.Command{
		Use:   "stylize --model MODEL... FILE|DIR|GLOB|-... -o OUT",
		Short: "Repaint pictures and clips in the style of a model",
		Long: `Repaint pictures (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, told by their content)
in the style of a model: a model file, or a run, whose newest checkpoint is then
taken.

One picture is written to the file OUT, in the format of its extension: JPEG,
PNG, WebP, TIFF or AVIF. Several pictures, or those of a DIR at any depth, go to
the folder OUT, which is made; names and the structure of DIR are kept
(--out-pattern changes that), and what cannot be written in its own format
becomes PNG. - is standard input or output. An input is never overwritten.

Every picture keeps its size, its alpha (JPEG gets it on white), 16 bits a
sample in PNG and TIFF, its ICC profile, and its EXIF but for the orientation,
which is applied, and the thumbnail.

A model of any style (kind adain) takes it from the picture that --style names.
Those of several are mixed, with the weights of --style-blend, or painted where
--region, in their order, is white; what no region covers stays as it is.
--strength is then what share of the features is styled: 0 gives the photo as the
model's decoder remembers it.

A model of many styles (kind multistyle) paints the one that --style-mix names, or
several mixed: a=0.3,b=0.7. stylenet inspect lists them.

With several models, or mixes, each has a result of every picture, and --sheet
shows them side by side. --style-mix is then for those of many styles, and --style
for those of any.

--keep-colors=luminance paints what is blue in the photo in light and dark blue;
--keep-colors=match paints with the photo's palette, but where the style puts
which colour. The latter, and --style-scale, need another 8 bytes of memory for
each pixel that the model paints, and --mask needs 4; a --style-scale of 0.5 takes
four times as long. Masks are stretched to the size of the picture.

A folder of results holds a journal, .stylenet-journal. --resume passes over the
pictures that it says were made of the same inputs with the same settings, also
after the process was killed.

A picture that needs more than --memory is computed by strips of rows, with the
statistics of the whole picture: the result is the same but for rounding. What
does not fit is kept in temporary files, in the folder of TMPDIR.

A picture that fails is reported, the others are still written, and the exit
code is 1.

A clip (a file of video, told by its content, a URL, or a device with
--input-format) is painted frame by frame, through ffmpeg, which must be on PATH.
Sound, subtitles, chapters, metadata, colour space and the time of each frame are
kept. --stabilize takes the flicker out. What is painted is saved in the folder
OUT.state on the way: Ctrl-C leaves a clip that ends there, and --resume goes on,
also after the process was killed. docs/video.md says more.`,
		Example: `  stylenet stylize --model starry.safetensors photo.jpg -o painted.png
  stylenet stylize --model runs/starry photos -o painted --max-size 1600 --resume
  stylenet stylize --model starry.safetensors photos -o painted --format webp --quality 80
  stylenet stylize --model multi.safetensors --style-mix starry=.3,scream=.7 photo.jpg -o out.png
  stylenet stylize --model adain.safetensors --style a.jpg --style b.jpg --style-blend .7,.3 photo.jpg -o out.png
  stylenet stylize --model a.pth --model b.pth *.jpg -o painted --out-pattern '{model}/{name}.{ext}'
  stylenet stylize --model starry.safetensors clip.mp4 -o painted.mp4 --stabilize
  stylenet stylize --model a.pth --model b.pth photo.jpg --sheet board.jpg --max-size 800
  stylenet stylize --model a.pth portrait.jpg -o out.png --mask sky.png --feather 20 --keep-colors
  curl -s https://example.com/photo.jpg | stylenet stylize --model a.pth - -o - --format jpeg > painted.jpg`,
		Args: args(1, math.MaxInt),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "mp4", "mov", "mkv", "webm"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&o.models, "model", "m", nil, "a model `file` or run; may be repeated (required)")
	flags.StringVarP(&o.output, "output", "o", "", "the file or folder to write, or - for standard output (required)")
	flags.StringVar(&o.outPattern, "out-pattern", "", "names of results in the folder, of the words {"+strings.Join(batch.Words(), "}, {")+"} (default "+batch.OneModel+", with several models "+batch.SeveralModels+")")
	flags.StringVar(&o.format, "format", "", "of all results: "+strings.ToLower(strings.Join(images.EncodeFormats(), ", "))+" (default: by their names)")
	flags.IntVar(&o.quality, "quality", 0, "1 to 100, of JPEG (default 95), WebP (90; 100 loses nothing), AVIF (80) and clips (92)")
	flags.BoolVar(&o.noEXIF, "no-exif", false, "leave out the EXIF, which may tell where and by whom a photo was taken")
	flags.IntVar(&o.maxSize, "max-size", 0, "shrink pictures whose long side has more `pixels` (0: never)")
	o.addEffects(cmd)
	flags.StringVar(&o.mask, "mask", "", "paint where this picture is white, and leave the photo where it is black: a `file`, or a folder of files with the pictures' names")
	flags.Float64Var(&o.feather, "feather", 0, "soften the mask's edges over so many `pixels`")
	flags.StringVar(&o.sheet, "sheet", "", "write a contact sheet of photos and results to this `file`; -o can be left out then")
	flags.BoolVar(&o.resume, "resume", false, "pass over pictures that are done, or go on with a clip")
	flags.IntVar(&o.jobs, "jobs", 3, "how many `pictures` to have in work: one computed, others read and written")
	flags.Var(&o.memory, "memory", "how much memory the process may take in all")
	flags.IntVar(&o.tile, "tile", 0, "compute by strips of that many `rows` (0: as large as the memory allows)")
	flags.BoolVar(&o.json, "json", false, "print a line of JSON for each result")
	o.addFlags(cmd)
	addConvention(cmd)
	o.style.addFlags(cmd)
	o.style.addRegions(cmd)
	o.mixing.addFlags(cmd)
	o.video.addFlags(cmd)
	completeFiles(cmd, "model", "safetensors", "pth", "onnx")
	completeFiles(cmd, "output", "png", "jpg", "jpeg", "webp", "tif", "tiff", "avif", "mp4", "mov", "mkv", "webm")
	completeFiles(cmd, "sheet", "png", "jpg", "jpeg", "webp", "tif", "tiff", "avif")
	complete(cmd, "format", lower(images.EncodeFormats())...)
	return cmd
}

func lower(names []string) []string {
	var low []string
	for _, n := range names {
		low = append(low, strings.ToLower(n))
	}
	return low
}

// maxFeather is more pixels than any picture has on a side that is painted: one
// that has fewer refuses what is too much for it when its size is known.
const maxFeather = 1 << 16

func (o *stylizeOptions) check(cmd *cobra.Command) error {
	switch {
	case len(o.models) == 0:
		return usagef(cmd, "no model: name one with --model")
	case o.output == "" && o.sheet == "":
		return usagef(cmd, "no output: name a file or folder with -o, or a contact sheet with --sheet")
	case o.output == "" && (o.resume || o.outPattern != "" || o.format != ""):
		return usagef(cmd, "--resume, --out-pattern and --format are of results, which need a folder with -o")
	case !(o.feather >= 0):
		return usagef(cmd, "--feather %v is negative", o.feather)
	case o.feather > maxFeather:
		return usagef(cmd, "--feather %v: give 0 to %d pixels", o.feather, maxFeather)
	case o.feather > 0 && o.mask == "":
		return usagef(cmd, "--feather softens a mask: name one with --mask")
	case o.maxSize < 0:
		return usagef(cmd, "--max-size %d is negative", o.maxSize)
	case o.memory < 1:
		return usagef(cmd, "--memory is 0")
	case o.tile < 0:
		return usagef(cmd, "--tile %d is negative", o.tile)
	case o.jobs < 1:
		return usagef(cmd, "--jobs %d: give 1 or more", o.jobs)
	case cmd.Flags().Changed("quality") && (o.quality < 1 || o.quality > 100):
		return usagef(cmd, "--quality %d is not between 1 and 100", o.quality)
	case o.output == stdout && o.json:
		return usagef(cmd, "--json and -o - would both write to standard output")
	case o.output == stdout && o.format == "":
		return usagef(cmd, "-o - has no name that tells the format: give one with --format")
	case o.sheet == stdout:
		return usagef(cmd, "--sheet - has no name that tells the format: name a file")
	case o.output == stdout && isTerminal(cmd.OutOrStdout()):
		return usagef(cmd, "-o - would write a picture to the terminal: send it to a file or a program")
	}
	if o.sheet != "" {
		if _, err := images.FormatOf(o.sheet); err != nil {
			return usagef(cmd, "--sheet: %w", err)
		}
	}
	if err := o.checkEffects(cmd); err != nil {
		return err
	}
	if err := o.style.check(cmd); err != nil {
		return err
	}
	if err := o.mixing.check(cmd); err != nil {
		return err
	}
	return o.arithmetic.check(cmd)
}

// stdout is the output that stands for standard output.
const stdout = "-"

// read are the files that are read beside the pictures, and the folder of masks.
func (o *stylizeOptions) read() []string {
	return slices.Concat(modelFiles(o.models), o.style.styles, o.style.regions, []string{o.mask})
}

// plan says where the results go.
func (o *stylizeOptions) plan(cmd *cobra.Command, args []string, brushes []brush) (*batch.Plan, error) {
	p := &batch.Plan{Output: o.output, Read: o.read()}
	for _, b := range brushes {
		p.Models = append(p.Models, b.name)
	}
	var err error
	if p.Inputs, err = batch.Open(args); err != nil {
		if errors.Is(err, batch.ErrStdinTwice) {
			return nil, usagef(cmd, "%w", err)
		}
		return nil, err
	}
	if o.format != "" {
		if p.Format, err = images.FormatNamed(o.format); err != nil {
			return nil, usagef(cmd, "--format: %w", err)
		}
	}
	if o.output == "" {
		return p, nil
	}
	several := p.Inputs.Many() || len(brushes) > 1
	p.Folder = several || o.outPattern != "" || isFolder(o.output)
	if !p.Folder {
		return p, o.checkName(cmd, p, o.output)
	}
	if _, err := images.FormatOf(o.output); o.output == stdout || err == nil && !isFolder(o.output) {
		to, is := "the one file "+o.output, o.output+" is a file"
		if o.output == stdout {
			to, is = "standard output", o.output+" is standard output"
		}
		if !several {
			return nil, &usageError{fmt.Errorf("--out-pattern names results in a folder, and %s", is), "name a folder with -o, or leave out --out-pattern"}
		}
		return nil, &usageError{fmt.Errorf("several results cannot go to %s", to), "name a folder with -o"}
	}
	text := o.outPattern
	switch {
	case text != "":
	case len(brushes) > 1:
		text = batch.SeveralModels
	default:
		text = batch.OneModel
	}
	if p.Pattern, err = batch.ParsePattern(text); err != nil {
		return nil, usagef(cmd, "--out-pattern: %w", err)
	}
	// A name whose extension is a part of the pattern is like all others.
	return p, o.checkName(cmd, p, p.Outputs(batch.Picture{Name: "picture.png"})[0])
}

// checkName refuses a name without a format, or with another one than --format.
func (o *stylizeOptions) checkName(cmd *cobra.Command, p *batch.Plan, output string) error {
	format, err := images.FormatOf(output)
	switch {
	case p.Format == "" && err != nil:
		return usagef(cmd, "%w", err)
	case p.Format == "":
		return nil
	case err == nil && format != p.Format:
		return usagef(cmd, "%s would hold %s, by --format: give one of them another format", output, p.Format)
	}
	return nil
}

// isFolder says that a path is a folder, or is meant to be one.
func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir() || strings.HasSuffix(path, "/") || strings.HasSuffix(path, string(filepath.Separator))
}

// leftClips are clips in folders of pictures, which are passed over: a clip is
// painted by a command of its own.
type leftClips struct {
	first []string
	more  bool
}

// see is told of files that are no pictures, of each perhaps more than once.
func (c *leftClips) see(path string) {
	const shown = 3
	switch {
	case !video.HasClipName(path) || slices.Contains(c.first, path) || !video.IsClip(path):
	case len(c.first) < shown:
		c.first = append(c.first, path)
	default:
		c.more = true
	}
}

// tell says in one line which are left out, and what to do with them.
func (c *leftClips) tell(cmd *cobra.Command, advice string) {
	names := strings.Join(c.first, ", ")
	if c.more {
		names += " and more"
	}
	if names != "" {
		warn(cmd, "clips in a folder of pictures are left out: %s; %s", names, advice)
	}
}

// apart adds advice to the errors of plans.
func apart(err error) error {
	var collision *batch.CollisionError
	var input *batch.InputError
	switch {
	case errors.As(err, &collision):
		return &hinted{err, "stylize them into different folders, or tell them apart with --out-pattern"}
	case errors.As(err, &input):
		return &hinted{err, "name another file or folder with -o"}
	}
	return err
}

// count goes through all pictures, and refuses what cannot be written.
func (o *stylizeOptions) count(ctx context.Context, p *batch.Plan) (pictures int, err error) {
	switch o.output {
	case stdout:
		return 1, nil
	case "":
	default:
		return p.Check(ctx)
	}
	all, err := p.Pictures()
	if err != nil {
		return 0, err
	}
	for _, err := range all {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return 0, err
		}
		pictures++
	}
	return pictures, nil
}

func (o *stylizeOptions) run(cmd *cobra.Command, args []string) (err error) {
	if err := o.checkPiped(cmd, args); err != nil {
		return err
	}
	if err := o.check(cmd); err != nil {
		return err
	}
	if err := checkDetached(cmd, args); err != nil {
		return err
	}
	if clip, err := o.isVideo(cmd, args); err != nil {
		return err
	} else if clip {
		return o.runVideo(cmd, args[0])
	}
	brushes, err := o.brushes(cmd)
	if err != nil {
		return err
	}
	plan, err := o.plan(cmd, args, brushes)
	if err != nil {
		return err
	}
	if o.resume && !plan.Folder {
		return usagef(cmd, "--resume needs a folder of results, but %s is one file", o.output)
	}
	var left leftClips
	plan.Inputs.Other = left.see
	pictures, err := o.count(cmd.Context(), plan)
	plan.Inputs.Other = nil
	left.tell(cmd, "give each in a command of its own: stylenet stylize … CLIP -o OUT")
	if cause := cmd.Context().Err(); err != nil && cause != nil {
		return fmt.Errorf("no picture was begun: %w", cause)
	}
	if err != nil {
		return apart(err)
	}
	r := &stylizeRun{o: o, cmd: cmd, plan: plan, pictures: pictures, brushes: brushes}
	if o.sheet != "" {
		if r.sheet, err = newMoodBoard(o, plan, pictures); err != nil {
			return apart(err)
		}
	}
	dev, err := openDevice(cmd, o.arithmetic)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	if plan.Folder && (plan.Inputs.Many() || o.resume) {
		if r.results, err = openResults(cmd, o.output, o.resume); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.results.Close()) }()
	}
	return r.all(dev)
}
