package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"stylenet/internal/atomicfile"
	"stylenet/internal/checkpoint"
	"stylenet/internal/flow"
	"stylenet/internal/images"
	"stylenet/internal/stabilize"
	"stylenet/internal/stylize"
	"stylenet/internal/stylize/batch"
	"stylenet/internal/video"
)

// videoOptions are the flags that are for clips alone.
type videoOptions struct {
	codec       string
	crf         int
	preset      string
	stabilize   float32
	inputFormat string
	inputOption []string
	every       int
}

// videoFlags are their names.
func videoFlags() []string {
	return []string{"codec", "crf", "preset", "stabilize", "input-format", "input-option", "checkpoint-every"}
}

func (o *videoOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.codec, "codec", "", "of a clip: "+strings.Join(video.Codecs(), ", ")+" (default h264, and vp9 in .webm)")
	flags.IntVar(&o.crf, "crf", 0, "of a clip: the codec's own constant rate `factor`, in place of --quality")
	flags.StringVar(&o.preset, "preset", video.DefaultPreset, "of a clip: how long the codec may search, "+video.Presets()[0]+" to "+video.Presets()[len(video.Presets())-1])
	flags.Float32Var(&o.stabilize, "stabilize", 0, "take the flicker out of a clip: 0 (not) to 1; alone it is "+fmt.Sprint(stabilize.DefaultStrength))
	flags.Lookup("stabilize").NoOptDefVal = fmt.Sprint(stabilize.DefaultStrength)
	flags.StringVar(&o.inputFormat, "input-format", "", "read a device, with ffmpeg's `name` of its kind: v4l2, avfoundation, dshow")
	flags.StringArrayVar(&o.inputOption, "input-option", nil, "ffmpeg's for the input, as `KEY=VALUE`: framerate=30; may be repeated")
	flags.IntVar(&o.every, "checkpoint-every", 0, "save a clip's result every so many `frames` (0: about every minute)")
	complete(cmd, "codec", video.Codecs()...)
	complete(cmd, "preset", video.Presets()...)
}

// videoReport is the line that --json prints for a clip.
type videoReport struct {
	Input      string  `json:"input"`
	Output     string  `json:"output"`
	Width      int     `json:"width"` // pixels
	Height     int     `json:"height"`
	Frames     int     `json:"frames"`            // of the result
	Resumed    int     `json:"resumed,omitempty"` // of them those of runs before
	Seconds    float64 `json:"seconds"`           // for the frames of this run
	FPS        float64 `json:"frames_per_second"`
	Idle       float64 `json:"idle"` // share of the time in which the network waited for the pipes
	Incomplete bool    `json:"incomplete,omitempty"`
}

// checkPiped refuses a clip from standard input, or to standard output.
func (o *stylizeOptions) checkPiped(cmd *cobra.Command, args []string) error {
	clip := func(arg string) bool { return o.video.inputFormat != "" || video.IsClip(arg) }
	if o.output == stdout && slices.ContainsFunc(args, clip) ||
		slices.Contains(args, batch.Stdin) && video.HasClipName(o.output) && o.format == "" && !isFolder(o.output) {
		return usagef(cmd, "clips are read from and written to files, not - for standard input or output")
	}
	return nil
}

// isVideo says whether the arguments are a clip, which is one alone.
func (o *stylizeOptions) isVideo(cmd *cobra.Command, args []string) (bool, error) {
	clips := 0
	for _, arg := range args {
		if o.video.inputFormat != "" || video.IsClip(arg) {
			clips++
		}
	}
	switch {
	case clips == 0:
		for _, name := range videoFlags() {
			if cmd.Flags().Changed(name) {
				return false, usagef(cmd, "--%s is for a clip, and %s is none", name, strings.Join(args, " "))
			}
		}
		return false, nil
	case len(args) > 1:
		return false, usagef(cmd, "give one clip at a time, and not with pictures")
	}
	for _, name := range []string{"out-pattern", "format", "no-exif", "jobs", "sheet"} {
		if cmd.Flags().Changed(name) {
			return false, usagef(cmd, "--%s is for pictures, and %s is a clip", name, args[0])
		}
	}
	switch {
	case len(o.models) > 1:
		return false, usagef(cmd, "give one model for a clip")
	case len(o.mixing.mixes) > 1:
		return false, usagef(cmd, "give one --style-mix for a clip")
	case !(o.video.stabilize >= 0 && o.video.stabilize <= 1): // not a number fails too
		return false, usagef(cmd, "--stabilize %v is not between 0 and 1", o.video.stabilize)
	case cmd.Flags().Changed("crf") && o.video.crf < 1:
		return false, usagef(cmd, "--crf %d: give 1 or more", o.video.crf)
	case cmd.Flags().Changed("crf") && cmd.Flags().Changed("quality"):
		return false, usagef(cmd, "--crf and --quality say the same: give one of them")
	case o.video.every < 0:
		return false, usagef(cmd, "--checkpoint-every %d is negative", o.video.every)
	}
	for _, option := range o.video.inputOption {
		if key, _, ok := strings.Cut(option, "="); !ok || key == "" {
			return false, usagef(cmd, "--input-option %q is not KEY=VALUE", option)
		}
	}
	return true, nil
}

// videoOutput is the file that a clip is written to.
func (o *stylizeOptions) videoOutput(input string) string {
	if !isFolder(o.output) {
		return o.output
	}
	name := filepath.Base(input)
	if o.encoding().Check(name) != nil {
		name = strings.TrimSuffix(name, filepath.Ext(name)) + ".mp4"
	}
	return filepath.Join(o.output, name)
}

func (o *stylizeOptions) encoding() video.EncodeOptions {
	return video.EncodeOptions{Codec: o.video.codec, Quality: o.quality, CRF: o.video.crf, Preset: o.video.preset}
}

// runVideo paints a clip.
func (o *stylizeOptions) runVideo(cmd *cobra.Command, input string) (err error) {
	ctx := cmd.Context()
	output := o.videoOutput(input)
	if err := o.encoding().Check(output); err != nil {
		return usagef(cmd, "%w", err)
	}
	read := &batch.Plan{Inputs: new(batch.Inputs), Read: append(o.read(), input)}
	if err := read.Apart(output); err != nil {
		return apart(err)
	}
	tools, err := video.Find(ctx)
	if err != nil {
		return err
	}
	in := video.Input{Name: input, Format: o.video.inputFormat, Options: o.video.inputOption}
	info, err := tools.Probe(ctx, in)
	if err != nil {
		return err
	}
	if info.Live && o.resume {
		return usagef(cmd, "--resume needs a clip that can be read again, and %s is read once", input)
	}
	w, h := info.W, info.H
	if o.maxSize > 0 && max(w, h) > o.maxSize {
		w, h = images.LongSide(w, h, o.maxSize)
	}
	if o.video.stabilize > 0 && min(w, h) < flow.Least {
		return usagef(cmd, "%s: frames of %d×%d are too small for --stabilize: it needs sides of %d pixels", input, w, h, flow.Least)
	}
	brushes, err := o.brushes(cmd)
	if err != nil {
		return err
	}
	l, err := brushes[0].load(cmd)
	if err != nil {
		return err
	}
	key, err := o.digest(l)
	if err != nil {
		return err
	}
	dev, err := openDevice(cmd, o.arithmetic)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	p := &framePainter{o: o.painting()}
	if o.mask != "" {
		clip := batch.Picture{Path: input, Name: filepath.Base(input)}
		if p.o.Mask, err = o.openMask(clip, w, h); err != nil {
			return err
		}
		if key, err = o.maskSettings(key, clip); err != nil {
			return err
		}
	}
	if p.painter, err = l.open(dev); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.painter.Close()) }()
	if o.video.stabilize > 0 {
		// A network on a GPU leaves the processor free meanwhile.
		p.beside = dev.Info().Backend == "cuda"
		if p.steady, err = stabilize.New(w, h, o.video.stabilize); err != nil {
			return err
		}
	}
	// Frames are few large blocks of memory, which are cheap to look through.
	debug.SetGCPercent(10)

	free, err := holdState(output)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, free()) }()
	bar := newBar(cmd, cmp.Or(info.Frames, -1), "stylizing", progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("frames"))
	defer bar.Exit()
	started := false
	res, err := tools.Transcode(ctx, in, info, output, video.Options{
		W: w, H: h, Encode: o.encoding(), Resume: o.resume, SegmentFrames: o.video.every,
		Key: fmt.Sprintf("%s stabilize=%v", key, o.video.stabilize),
	}, p, func(at video.Progress) {
		// A terminal that is gone does not matter.
		if !started {
			started = true
			_ = bar.Set(at.Resumed)
		}
		if info.Frames > 0 {
			bar.ChangeMax(at.Frames)
		}
		_ = bar.Set(at.Frame)
	})
	_ = bar.Clear()
	for _, note := range res.Notes {
		warn(cmd, "%s: %s", input, note)
	}
	if n := len(res.Complaints); n > 0 && ctx.Err() == nil {
		warn(cmd, "%s: ffmpeg found it damaged, frames may be missing: %s", input, strings.Join(slices.Compact(res.Complaints[:min(n, 3)]), "; "))
	}
	stopped := ctx.Err() != nil
	if res.Joined {
		if err := o.reportVideo(cmd, input, output, info, w, h, res, err != nil && !(stopped && info.Live)); err != nil {
			return err
		}
	}
	switch {
	case err != nil && info.Live && res.Joined:
		// Ctrl-C is the end of a camera, and anything else is one too.
		if stopped {
			err = nil
		} else {
			err = fmt.Errorf("%s ends after %d frames: %w", output, res.Frames, err)
		}
		return errors.Join(err, video.Clear(output))
	case err != nil && info.Live && res.Frames > 0:
		unfinished := &video.UnfinishedError{Out: output, Frames: res.Frames, Live: true}
		return &hinted{fmt.Errorf("%w; %d frames are in %s", err, res.Frames, video.StateDir(output)), unfinished.Hint()}
	case err != nil && stopped && res.Joined:
		done := fmt.Sprintf("%d", res.Frames)
		if info.Frames >= res.Frames {
			done = fmt.Sprintf("%d of %d", res.Frames, info.Frames)
		}
		return &hinted{fmt.Errorf("%s has %s frames: %w", output, done, err), "go on with the same command and --resume"}
	case err != nil && res.Frames > 0:
		return &hinted{fmt.Errorf("%w; %d frames are saved", err, res.Frames), "go on with the same command and --resume"}
	case err != nil:
		return err
	}
	return video.Clear(output)
}

func (o *stylizeOptions) reportVideo(cmd *cobra.Command, input, output string, info *video.Info, w, h int, res video.Result, incomplete bool) error {
	r := videoReport{
		Input: input, Output: output, Width: w, Height: h, Frames: res.Frames, Resumed: res.Frames - res.Painted,
		Seconds: round3(res.Elapsed.Seconds()), Incomplete: incomplete,
	}
	if s := res.Elapsed.Seconds(); s > 0 {
		r.FPS, r.Idle = round3(float64(res.Painted)/s), round3(res.Idle.Seconds()/s)
	}
	if o.json {
		return printJSON(cmd, r)
	}
	say(cmd, "%s: %d frames of %d×%d, %.2f frames/s, %.0f%% of the time waiting for ffmpeg", output, r.Frames, r.Width, r.Height, r.FPS, 100*r.Idle)
	return nil
}

func round3(v float64) float64 { return math.Round(v*1000) / 1000 }

// holdState makes the folder beside a clip and takes it for this process. free
// gives it back, and removes it where nothing is in it.
func holdState(output string) (free func() error, err error) {
	dir := video.StateDir(output)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	unlock, err := checkpoint.Lock(dir)
	if err != nil {
		return nil, err
	}
	return func() error {
		err := errors.Join(unlock(), checkpoint.Vacate(dir))
		atomicfile.RemoveEmpty(dir)
		return err
	}, nil
}

// framePainter paints frames with a model, and takes their flicker out.
type framePainter struct {
	painter painter
	o       stylize.Options
	steady  *stabilize.Stabilizer // nil for none
	beside  bool                  // whether motion is measured while the network runs
}

func (p *framePainter) Paint(ctx context.Context, in *images.Picture) (*images.Picture, error) {
	looked := make(chan error, 1)
	look := func() {
		if p.steady == nil {
			looked <- nil
			return
		}
		looked <- p.steady.Look(in)
	}
	if p.beside {
		go look()
	} else {
		look()
	}
	out := images.New(in.W, in.H)
	if err := errors.Join(p.painter.Paint(ctx, in, out, p.o), <-looked); err != nil {
		return nil, err
	}
	if p.steady == nil {
		return out, nil
	}
	return p.steady.Blend(out)
}

func (p *framePainter) State() ([]byte, error) {
	if p.steady == nil {
		return nil, nil
	}
	return p.steady.State(), nil
}

func (p *framePainter) Restore(state []byte, last *images.Picture) error {
	if p.steady == nil {
		return nil
	}
	return p.steady.Restore(state, last)
}
