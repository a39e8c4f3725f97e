package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"stylenet/configs"
	"stylenet/data"
	"stylenet/export"
	"stylenet/internal/calibrate"
	"stylenet/internal/checkpoint"
	"stylenet/internal/images"
	"stylenet/internal/stylize/batch"
	"stylenet/train"
)

// exportFormat is what a model can be written as, or cannot.
type exportFormat struct {
	name       string   // of --format
	extensions []string // of FILE, without their dots; none where --format must say it
	about      []string // lines of help
	dtypes     []string // of --dtype, the default first
	flags      []string // what else it takes, of the flags that some formats take
	write      func(o *exportOptions, m *export.Model, ranges *export.Ranges) (written string, err error)
	refused    string // why there is no such format, and what to do instead
}

func exportFormats() []exportFormat {
	onnxFlags := []string{"opset", "image-io", "size", "calibrate"}
	return []exportFormat{
		{
			name: "safetensors", extensions: []string{"safetensors"}, dtypes: []string{export.F32, export.F16, export.BF16},
			flags: []string{"style-name", "style-licence"}, write: writeSafetensors,
			about: []string{"stylenet's own, with PyTorch's names of the tensors"},
		},
		{
			name: "onnx", extensions: []string{"onnx"}, dtypes: []string{export.F32, export.F16, export.Int8},
			flags: append(slices.Clone(onnxFlags), "style-name", "style-licence", "part"), write: writeONNX,
			about: []string{"for ONNX Runtime and others; any batch and size"},
		},
		{
			name: "pytorch", extensions: []string{"pth", "pt"}, dtypes: []string{export.F32, export.F16, export.BF16}, write: writePyTorch,
			about: []string{"a state_dict for the TransformerNet of PyTorch's examples, or", "for one like it that has other widths or blocks"},
		},
		{
			name: "triton", dtypes: []string{export.F32, export.F16, export.Int8},
			flags: append(onnxFlags, "style-name", "style-licence", "max-batch"), write: writeTriton,
			about: []string{"for NVIDIA Triton: FILE is the folder of a model in a model", "repository, to which a version is added where it exists"},
		},
		{
			name: "tflite", extensions: []string{"tflite"},
			refused: "tflite is not written: export onnx with --size, and convert that with onnx2tf, or run it on the device with ONNX Runtime Mobile",
		},
		{
			name: "coreml", extensions: []string{"mlmodel", "mlpackage"},
			refused: "coreml is not written: export onnx, and run that with ONNX Runtime, whose CoreML execution provider uses the same hardware",
		},
	}
}

// exportFormatNames are those of the formats that are written.
func exportFormatNames() (names []string) {
	for _, f := range exportFormats() {
		if f.refused == "" {
			names = append(names, f.name)
		}
	}
	return names
}

func exportExtensions() (extensions []string) {
	for _, f := range exportFormats() {
		if f.refused == "" {
			extensions = append(extensions, f.extensions...)
		}
	}
	return extensions
}

type exportOptions struct {
	output       string
	format       string
	dtype        string
	opset        int
	imageIO      string
	size         string
	calibrate    string
	part         string
	style        styleOptions
	maxBatch     int
	styleName    string
	styleLicence string
	mixing       mixing
	json         bool
}

// exportReport is what --json prints.
type exportReport struct {
	Source       string `json:"source"`
	Output       string `json:"output"`
	Format       string `json:"format"`
	DType        string `json:"dtype"`
	Architecture string `json:"architecture"`
	Parameters   int    `json:"parameters"`
	Bytes        int64  `json:"bytes"`
}

func newExportCmd() *cobra.Command {
	o := &exportOptions{}
	var formats strings.Builder
	for _, f := range exportFormats() {
		for i, line := range f.about {
			name := f.name
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(&formats, "  %-13s %s\n", name, line)
		}
	}
	cmd := &cobra.Command{
		Use:   "export RUN|CHECKPOINT|MODEL -o FILE",
		Short: "Write a trained network as a model file",
		Long: `Write the network of a run (its newest checkpoint that is whole), of one
checkpoint or of a model file as a model file:

` + formats.String() + `
The format follows from the extension of FILE, or is named by --format. FILE is
written whole or not at all.

ONNX models take and give RGB from 0 to 255: float32 planes, or bytes as decoded
pictures have them with --image-io uint8-nhwc, which is the default for Triton.
--dtype f16 halves the file and keeps the statistics of norms in float32; int8
quarters it, and wants --calibrate with some dozens of photos like those that the
model will get. docs/serving.md shows how to run each.

A model of any style (kind adain) takes the style as a second picture, or in two
--part files, or is given one by --style.

A network of many styles keeps all of them, and its ONNX model takes a second
input, "mix": a weight for each, in the order in which stylenet inspect lists them.
--style-mix writes one mix alone, as a network of one style; int8 and the formats
other than safetensors and onnx need that.`,
		Example: `  stylenet export runs/starry -o starry.safetensors
  stylenet export runs/starry -o starry.onnx --dtype f16 --image-io uint8-nhwc
  stylenet export starry.safetensors -o small.onnx --dtype int8 --calibrate photos
  stylenet export starry.safetensors -o starry.pth
  stylenet export adain.safetensors -o wave.onnx --style wave.jpg
  stylenet export multi.safetensors -o half.pth --style-mix starry=.5,scream=.5
  stylenet export starry.safetensors -o repository/starry --format triton
  stylenet export runs/starry/checkpoints/step-00001000 -o model.bin --format onnx`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.output, "output", "o", "", "the file to write, or the folder of a Triton model (required)")
	flags.StringVar(&o.format, "format", "", strings.Join(exportFormatNames(), ", ")+" (default: the extension of FILE)")
	flags.StringVar(&o.dtype, "dtype", export.F32, "the numbers: f32, f16, bf16 (safetensors, pytorch) or int8 (onnx, triton)")
	flags.StringVar(&o.calibrate, "calibrate", "", "folder of photos that show int8 which values to expect")
	flags.IntVar(&o.opset, "opset", export.MinOpset, fmt.Sprintf("ONNX's version of operators, %d to %d", export.MinOpset, export.MaxOpset))
	flags.StringVar(&o.imageIO, "image-io", "", "how ONNX pictures go in and out: float-nchw or uint8-nhwc (default: float-nchw, for triton uint8-nhwc)")
	flags.StringVar(&o.size, "size", "", "fix the size of ONNX pictures, as SIDE or WIDTHxHEIGHT (default: any size)")
	flags.StringVar(&o.part, "part", "", "of a model of any style: encoder or decoder alone (default: both, with an input for each picture)")
	o.style.addFlags(cmd)
	flags.IntVar(&o.maxBatch, "max-batch", 8, "pictures that Triton may compute at once")
	flags.StringVar(&o.styleName, "style-name", "", "the style's name, for the metadata (default: that in MODEL, or the style image's in the recipe)")
	flags.StringVar(&o.styleLicence, "style-licence", "", "the licence of the style image, for the metadata (default: that in MODEL)")
	flags.BoolVar(&o.json, "json", false, "print what was written as JSON")
	o.mixing.addFlags(cmd)
	addConvention(cmd)
	completeFiles(cmd, "output", exportExtensions()...)
	complete(cmd, "format", exportFormatNames()...)
	complete(cmd, "dtype", export.F32, export.F16, export.BF16, export.Int8)
	complete(cmd, "part", export.Encoder, export.Decoder)
	complete(cmd, "image-io", export.FloatNCHW, export.Uint8NHWC)
	return cmd
}

func (o *exportOptions) run(cmd *cobra.Command, source string) error {
	format, err := o.check(cmd)
	if err != nil {
		return err
	}
	if err := keepSource(source, o.output); err != nil {
		return err
	}
	for _, style := range o.style.styles {
		if err := keepSource(style, o.output); err != nil {
			return err
		}
	}
	m, err := loadModel(cmd, source)
	if err != nil {
		return err
	}
	if err := o.suits(cmd, source, m); err != nil {
		return err
	}
	if len(o.style.styles) > 0 {
		if m, err = o.style.fix(cmd, m); err != nil {
			return err
		}
		m.StyleName = strings.Join(brushNames(o.style.styles), " + ")
	}
	holdsMany := format.name == "safetensors" || format.name == "onnx" && o.dtype != export.Int8
	if len(o.mixing.mixes) > 0 || len(m.Styles()) == 1 || !holdsMany {
		mixed, err := o.mixing.mix(m, source)
		if err != nil && len(o.mixing.mixes) > 0 {
			return usagef(cmd, "--style-mix: %w", err)
		} else if err != nil {
			return err
		}
		m = mixed
	}
	o.describe(m)
	var ranges *export.Ranges
	if o.calibrate != "" {
		if ranges, err = o.ranges(cmd, m); err != nil {
			return err
		}
	}
	var written string
	if err := inFolder(o.output, func() (err error) {
		written, err = format.write(o, m, ranges)
		return err
	}); err != nil {
		return err
	}
	if format.name == "pytorch" {
		if err := export.FitsTransformerNet(m); err != nil {
			warn(cmd, "the TransformerNet of PyTorch's examples does not load %s: %v", o.output, err)
		}
	}
	bytes, err := sizeOf(written)
	if err != nil {
		return err
	}
	r := exportReport{source, written, format.name, o.dtype, m.Network.String(), m.Weights.Elements(), bytes}
	if o.json {
		return printJSON(cmd, r)
	}
	say(cmd, "wrote %s: %s, %d parameters, %.1f MiB", r.Output, r.Architecture, r.Parameters, float64(r.Bytes)/(1<<20))
	return nil
}

// check chooses the format and refuses flags that do not go with it.
func (o *exportOptions) check(cmd *cobra.Command) (exportFormat, error) {
	if o.output == "" {
		return exportFormat{}, usagef(cmd, "no output: name a file with -o")
	}
	format, err := o.chooseFormat(cmd)
	if err != nil {
		return format, err
	}
	for _, flag := range []string{"opset", "image-io", "size", "calibrate", "part", "max-batch", "style-name", "style-licence"} {
		if !cmd.Flags().Changed(flag) || slices.Contains(format.flags, flag) {
			continue
		}
		var takers []string
		for _, f := range exportFormats() {
			if slices.Contains(f.flags, flag) {
				takers = append(takers, f.name)
			}
		}
		return format, usagef(cmd, "--%s is for %s, not for %s", flag, strings.Join(takers, ", "), format.name)
	}
	if err := o.mixing.check(cmd); err != nil {
		return format, err
	}
	switch {
	case !slices.Contains(format.dtypes, o.dtype):
		return format, usagef(cmd, "--dtype %q: %s is written as %s", o.dtype, format.name, strings.Join(format.dtypes, ", "))
	case o.dtype == export.Int8 && o.calibrate == "":
		return format, usagef(cmd, "--dtype int8 wants photos that show which values to expect: name their folder with --calibrate")
	case o.calibrate != "" && o.dtype != export.Int8:
		return format, usagef(cmd, "--calibrate is for --dtype int8, not for %s", o.dtype)
	case o.opset < export.MinOpset || o.opset > export.MaxOpset:
		return format, usagef(cmd, "--opset %d is none of %d to %d", o.opset, export.MinOpset, export.MaxOpset)
	case o.part != "" && o.part != export.Encoder && o.part != export.Decoder:
		return format, usagef(cmd, "--part %q: give %s or %s", o.part, export.Encoder, export.Decoder)
	case o.part != "" && len(o.style.styles) > 0:
		return format, usagef(cmd, "--part and --style exclude each other: a part has no style")
	case o.part != "" && (o.imageIO == export.Uint8NHWC || o.size != "" || o.dtype == export.Int8):
		return format, usagef(cmd, "--part: a part is written for %s of any size, as %s or %s", export.FloatNCHW, export.F32, export.F16)
	case o.imageIO != "" && o.imageIO != export.FloatNCHW && o.imageIO != export.Uint8NHWC:
		return format, usagef(cmd, "--image-io %q: give %s or %s", o.imageIO, export.FloatNCHW, export.Uint8NHWC)
	case o.maxBatch < 1:
		return format, usagef(cmd, "--max-batch %d: give 1 or more", o.maxBatch)
	case o.size != "":
		if _, _, err := parseSize(o.size); err != nil {
			return format, usagef(cmd, "--size %q: %w", o.size, err)
		}
	}
	return format, o.style.check(cmd)
}

// suits refuses flags that are for models of another kind.
func (o *exportOptions) suits(cmd *cobra.Command, source string, m *export.Model) error {
	_, anyStyle := m.AnyStyle()
	switch {
	case len(o.style.styles) > 0 && !anyStyle:
		return usagef(cmd, "%w", ownStyle(source))
	case o.part != "" && !anyStyle:
		return usagef(cmd, "%s has no parts: --part is for a model of kind adain", source)
	case len(o.mixing.mixes) > 0 && anyStyle:
		return usagef(cmd, "%w", noMix(source))
	case len(o.mixing.mixes) > 0 && len(m.Styles()) == 0:
		return usagef(cmd, "%s has one style: --style-mix is for a model of kind multistyle", source)
	case o.dtype == export.Int8 && anyStyle && len(o.style.styles) == 0:
		return usagef(cmd, "--dtype int8: the ranges of %s depend on the style: give it one with --style", source)
	}
	return nil
}

func (o *exportOptions) chooseFormat(cmd *cobra.Command) (exportFormat, error) {
	name := strings.ToLower(o.format)
	extension := strings.ToLower(strings.TrimPrefix(filepath.Ext(o.output), "."))
	for _, f := range exportFormats() {
		if f.name != name && (name != "" || !slices.Contains(f.extensions, extension)) {
			continue
		}
		if f.refused != "" {
			return f, &usageError{err: errors.New(f.refused)}
		}
		return f, nil
	}
	known := strings.Join(exportFormatNames(), ", ")
	if o.format != "" {
		return exportFormat{}, usagef(cmd, "--format %q is none of %s", o.format, known)
	}
	return exportFormat{}, &usageError{fmt.Errorf("the extension of %s tells none of the formats %s", o.output, known), "name the format with --format"}
}

// describe says what the style is.
func (o *exportOptions) describe(m *export.Model) {
	if o.styleLicence != "" {
		m.StyleLicence = o.styleLicence
	}
	switch {
	case o.styleName != "":
		m.StyleName = o.styleName
	case m.StyleName == "":
		m.StyleName = recipeStyle(m.Recipe)
	}
}

// recipeStyle names the style images of a recipe, or is "".
func recipeStyle(recipe string) string {
	var r struct {
		Style configs.Style `json:"style"`
	}
	if json.Unmarshal([]byte(recipe), &r) != nil {
		return ""
	}
	var names []string
	for _, im := range r.Style.Targets() {
		if im.Path != "" {
			names = append(names, strings.TrimSuffix(filepath.Base(im.Path), filepath.Ext(im.Path)))
		}
	}
	return strings.Join(names, " + ")
}

func writeSafetensors(o *exportOptions, m *export.Model, _ *export.Ranges) (string, error) {
	return o.output, export.SafetensorsAs(o.output, m, o.dtype)
}

func writeONNX(o *exportOptions, m *export.Model, ranges *export.Ranges) (string, error) {
	return o.output, export.ONNXWith(o.output, m, o.onnx(ranges))
}

func writePyTorch(o *exportOptions, m *export.Model, _ *export.Ranges) (string, error) {
	return o.output, export.PyTorch(o.output, m, o.dtype)
}

func writeTriton(o *exportOptions, m *export.Model, ranges *export.Ranges) (string, error) {
	version, err := export.Triton(o.output, m, export.TritonOptions{ONNXOptions: o.onnx(ranges), MaxBatch: o.maxBatch})
	return filepath.Join(o.output, fmt.Sprint(version)), err
}

// onnx are the options of formats with an ONNX model in them.
func (o *exportOptions) onnx(ranges *export.Ranges) export.ONNXOptions {
	options := export.ONNXOptions{Opset: o.opset, DType: o.dtype, ImageIO: o.imageIO, Part: o.part, Ranges: ranges, Version: buildInfo().Version}
	if o.size != "" {
		options.Width, options.Height, _ = parseSize(o.size) // check has parsed it
	}
	return options
}

// calibrationPhotos is how many photos of a folder are looked at: more change the
// ranges little.
const calibrationPhotos = 64

// ranges calibrates the model on photos of the folder --calibrate, evenly taken
// from all. Those that cannot be read are told and passed over.
func (o *exportOptions) ranges(cmd *cobra.Command, m *export.Model) (r *export.Ranges, err error) {
	files, err := data.List(o.calibrate)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds no photos", o.calibrate)
	}
	net, err := m.Network.Build()
	if err != nil {
		return nil, err
	}
	dev, err := openDevice(cmd, arithmetic{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	bar := newProgress(cmd, min(len(files), calibrationPhotos), "calibrating")
	defer bar.Close()
	photos := func(yield func(*images.Picture, error) bool) {
		n := min(len(files), calibrationPhotos)
		for i := range n {
			photo, err := images.Open(filepath.Join(o.calibrate, filepath.FromSlash(files[i*len(files)/n])))
			_ = bar.Add(1) // a terminal that is gone does not matter
			if err != nil {
				warn(cmd, "%v", err)
				continue
			}
			if !yield(photo, nil) {
				return
			}
		}
	}
	if r, err = calibrate.Ranges(cmd.Context(), dev, net, m.Weights, photos); err != nil {
		return nil, fmt.Errorf("%s: %w", o.calibrate, err)
	}
	return r, nil
}

// sizeOf is the size of a file, or of all files in a folder.
func sizeOf(path string) (bytes int64, err error) {
	err = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	return bytes, err
}

// loadModel reads a model file, or the model of a run or checkpoint.
func loadModel(cmd *cobra.Command, path string) (*export.Model, error) {
	asked, err := convention(cmd)
	if err != nil {
		return nil, err
	}
	if export.IsModel(path) {
		m, err := export.LoadAs(path, asked)
		return m, conventionFault(cmd, err)
	}
	if asked != "" {
		return nil, usagef(cmd, "--convention %s: %s is a run or a checkpoint of stylenet, whose network takes and gives rgb-255", asked, path)
	}
	m, warnings, err := export.LoadRun(path)
	for _, w := range warnings {
		warn(cmd, "%s", w)
	}
	if errors.Is(err, checkpoint.ErrNone) {
		return nil, &hinted{fmt.Errorf("%s holds no checkpoint", path), "name the run directory of stylenet train --out, which has checkpoints/ in it"}
	}
	return m, err
}

// keepSource refuses an output that is what a command reads, or lies in the
// folder that it reads. In that of a run there is room for files that are not the
// run's own.
func keepSource(source, output string) error {
	if sameFile(source, output) {
		return fmt.Errorf("%s is the input, which is never overwritten", output)
	}
	if info, err := os.Stat(source); err != nil || !info.IsDir() {
		return nil // what is wrong with it is said when it is read
	}
	dir, err := batch.RealPath(source)
	if err != nil {
		return err
	}
	path, err := batch.RealPath(output)
	if err != nil {
		return err
	}
	run, isRun := runOf(dir)
	isRun = isRun && !export.IsModel(source)
	switch rel, err := filepath.Rel(run, path); {
	case isRun && (err != nil || !filepath.IsLocal(rel)):
	case isRun:
		if name, _, _ := strings.Cut(filepath.ToSlash(rel), "/"); train.Owns(name) {
			return &hinted{fmt.Errorf("%s is the run's own, which is never overwritten or added to", output), "name another file with -o"}
		}
	case batch.Inside(dir, path):
		return &hinted{fmt.Errorf("%s lies in the input %s, which is never overwritten or added to", output, source), "name a file elsewhere with -o"}
	}
	return nil
}

// runOf is the run that a folder is, or is the checkpoints or one checkpoint of.
func runOf(dir string) (run string, ok bool) {
	for _, run := range []string{dir, filepath.Dir(dir), filepath.Dir(filepath.Dir(dir))} {
		at, err := filepath.Rel(run, dir)
		if err != nil || at != "." && !train.Owns(strings.Split(filepath.ToSlash(at), "/")[0]) {
			continue
		}
		if info, err := os.Stat(filepath.Join(run, "checkpoints")); err == nil && info.IsDir() {
			return run, true
		}
	}
	return "", false
}

// sameFile tells whether two paths lead to one file that exists.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
