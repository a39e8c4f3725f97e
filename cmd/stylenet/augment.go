package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"stylenet/internal/coco"
	"stylenet/internal/images"
	"stylenet/internal/stylize"
	"stylenet/internal/stylize/batch"
)

type augmentOptions struct {
	coco       string
	images     string
	models     []string
	styles     []string
	styleSize  int
	output     string
	variants   int
	strength   []string
	seed       uint64
	keepColors string
	format     string
	quality    int
	jobs       int
	memory     byteSize
	json       bool
	arithmetic

	least, most float64 // of the strength
	formatName  string  // one of images.EncodeFormats, or "" for the pictures' own
}

func newAugmentCmd() *cobra.Command {
	o := &augmentOptions{memory: stylize.DefaultMemory}
	cmd := &cobra.Command{
		Use:   "augment --coco FILE --images DIR --model MODEL... -o OUT",
		Short: "Stylize a COCO data set, to train other models with",
		Long: `Stylize the pictures of a COCO data set, each with a style and a strength drawn
at random, so that a detector trained on them looks at shapes more than at
textures (Geirhos et al. 2019, Jackson et al. 2019).

Every picture keeps its size, and each of its pixels its place: boxes, masks and
keypoints stay valid. The folder OUT gets the pictures, by their names in the
data set, and a file of annotations of the name of --coco, in which every field
is kept. Under the key "stylenet" a picture says where it is from and how it was
painted. With --variants N each picture has N results in N styles, as far as there
are so many: name-v0.jpg, name-v1.jpg and so on, with the numbers N·id + 0, 1, …;
with one, numbers stay as they are.

A style is a model, or a picture of --style (or in a folder of it) for a model of
any style, or one of those that a model of many has. What is drawn depends on the
seed, the picture's number and the list of styles alone, so that the result is the
same whatever --jobs is, and a part of a data set is painted as it is in the
whole.

The annotations are checked before anything is painted. A picture that fails is
reported by its file and number, and left out of the annotations, and the exit
code is 1. What is done is passed over: the same command goes on after it was
stopped in any way.`,
		Example: `  stylenet augment --coco instances_train2017.json --images train2017 -m starry.safetensors -m candy.pth -o stylized
  stylenet augment --coco instances.json --images photos -m adain.safetensors --style paintings --variants 4 --strength 0.3,1 --seed 7 -o stylized`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.coco, "coco", "", "the `file` of annotations, JSON (required)")
	flags.StringVar(&o.images, "images", "", "the `folder` of its pictures (required)")
	flags.StringArrayVarP(&o.models, "model", "m", nil, "a model `file` or run; may be repeated (required)")
	flags.StringArrayVar(&o.styles, "style", nil, "for models of any style: a `picture` or a folder of them; may be repeated")
	flags.IntVar(&o.styleSize, "style-size", 512, "long side of styles in `pixels` (0: as they are)")
	flags.StringVarP(&o.output, "output", "o", "", "the `folder` to write (required)")
	flags.IntVar(&o.variants, "variants", 1, "how many results each picture has")
	flags.StringSliceVar(&o.strength, "strength", []string{"0.5", "1"}, "how much of the style to show, 0 to 1: drawn evenly between two `numbers`, or always one")
	flags.Uint64Var(&o.seed, "seed", 1, "of the choice of styles and strengths")
	addKeepColors(cmd, &o.keepColors)
	flags.StringVar(&o.format, "format", "", "of all results: "+strings.ToLower(strings.Join(images.EncodeFormats(), ", "))+" (default: the pictures' own)")
	flags.IntVar(&o.quality, "quality", 0, "1 to 100, of JPEG (default 95), WebP (90; 100 loses nothing) and AVIF (80)")
	flags.IntVar(&o.jobs, "jobs", 3, "how many `pictures` to have in work: one computed, others read and written")
	flags.Var(&o.memory, "memory", "how much memory the process may take in all")
	flags.BoolVar(&o.json, "json", false, "print a line of JSON for each result")
	o.addFlags(cmd)
	addConvention(cmd)
	complete(cmd, "format", lower(images.EncodeFormats())...)
	completeFiles(cmd, "coco", "json")
	completeFiles(cmd, "model", "safetensors", "pth", "onnx")
	return cmd
}

// maxVariants is the most results that a picture can have.
const maxVariants = 10000

func (o *augmentOptions) check(cmd *cobra.Command) error {
	switch {
	case o.coco == "":
		return usagef(cmd, "no data set: name its file of annotations with --coco")
	case o.images == "":
		return usagef(cmd, "no pictures: name their folder with --images")
	case len(o.models) == 0:
		return usagef(cmd, "no model: name one with --model")
	case o.output == "":
		return usagef(cmd, "no output: name a folder with -o")
	case o.variants < 1 || o.variants > maxVariants:
		return usagef(cmd, "--variants %d: give 1 to %d", o.variants, maxVariants)
	case o.jobs < 1:
		return usagef(cmd, "--jobs %d: give 1 or more", o.jobs)
	case o.memory < 1:
		return usagef(cmd, "--memory is 0")
	case cmd.Flags().Changed("quality") && (o.quality < 1 || o.quality > 100):
		return usagef(cmd, "--quality %d is not between 1 and 100", o.quality)
	case o.styleSize < 0 || o.styleSize > 0 && o.styleSize < minStyle:
		return usagef(cmd, "--style-size %d: give %d or more, or 0 for the styles' own", o.styleSize, minStyle)
	case len(o.strength) < 1 || len(o.strength) > 2:
		return usagef(cmd, "--strength takes one number or two, got %d", len(o.strength))
	}
	for i, to := range []*float64{&o.least, &o.most} {
		text := o.strength[min(i, len(o.strength)-1)]
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || !(v >= 0 && v <= 1) {
			return usagef(cmd, "--strength %q is not a number between 0 and 1", text)
		}
		*to = v
	}
	if o.least > o.most {
		return usagef(cmd, "--strength %v,%v: the second number is less than the first", o.least, o.most)
	}
	if err := checkKeepColors(cmd, o.keepColors); err != nil {
		return err
	}
	if o.format != "" {
		var err error
		if o.formatName, err = images.FormatNamed(o.format); err != nil {
			return usagef(cmd, "--format: %w", err)
		}
	}
	return o.arithmetic.check(cmd)
}

// annotations is the file to write.
func (o *augmentOptions) annotations() string {
	return filepath.Join(o.output, filepath.Base(o.coco))
}

// result is the name of a variant, slash-separated.
func (o *augmentOptions) result(name string, variant int) string {
	ext := path.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	format, err := images.FormatNamed(strings.TrimPrefix(ext, "."))
	switch {
	case o.formatName != "" && (err != nil || format != o.formatName):
		ext = "." + batch.Extension(o.formatName)
	case o.formatName == "" && (err != nil || ext == ""):
		ext = ".png"
	}
	if o.variants > 1 {
		stem = fmt.Sprintf("%s-v%d", stem, variant)
	}
	return stem + ext
}

// apart refuses results that would be written over pictures of the data set, or
// over its annotations, and two of one name.
func (o *augmentOptions) apart(ctx context.Context, d *coco.Dataset) error {
	info, err := os.Stat(o.images)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no folder", o.images)
	}
	if err != nil {
		return fmt.Errorf("pictures: %w", err)
	}
	in, err := batch.RealPath(o.images)
	if err != nil {
		return err
	}
	out, err := batch.RealPath(o.output)
	if err != nil {
		return err
	}
	if sameFile(o.coco, o.annotations()) {
		return apart(&batch.InputError{Output: o.annotations()})
	}
	from := map[string]int64{}
	for _, image := range d.Images {
		if err := ctx.Err(); err != nil {
			return err
		}
		if batch.Inside(out, filepath.Join(in, filepath.FromSlash(image.FileName))) {
			return apart(&batch.InputError{Output: filepath.Join(o.output, filepath.FromSlash(o.result(image.FileName, 0))), Folder: o.images})
		}
		for v := range o.variants {
			name := batch.SameName(o.result(image.FileName, v))
			if other, ok := from[name]; ok {
				return &hinted{
					fmt.Errorf("%s: images %d and %d would both be written to %s", o.coco, other, image.ID, o.result(image.FileName, v)),
					"a picture that is listed twice needs one number; files that differ in their extension alone need another --format",
				}
			}
			from[name] = image.ID
		}
	}
	return nil
}

// digits are those of a strength: what is told of it is all that decides.
const digits = 1e3

func rounded(v float64) float64 { return math.Round(v*digits) / digits }
