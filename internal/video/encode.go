package video

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"stylenet/internal/images"
)

// Codecs are the names of EncodeOptions.Codec.
func Codecs() []string { return []string{"h264", "h265", "vp9", "av1", "prores", "ffv1"} }

// Presets are the names of EncodeOptions.Preset, the fastest first.
func Presets() []string {
	return []string{"ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"}
}

// DefaultPreset is the preset that "" stands for.
const DefaultPreset = "medium"

// DefaultQuality is the quality that 0 stands for: a constant rate factor of 18
// for h264, at which few people see a difference.
const DefaultQuality = 92

// EncodeOptions say how a clip is written.
type EncodeOptions struct {
	// Codec is one of Codecs; "" is h264, or vp9 in WebM. prores and ffv1 are for
	// work that goes on; ffv1 loses nothing.
	Codec string
	// Quality is 1 to 100, as of pictures; 0 is DefaultQuality. prores takes it
	// for its profile, ffv1 has none.
	Quality int
	// CRF sets the codec's own constant rate factor instead, where it is above 0.
	CRF int
	// Preset is one of Presets: how long the encoder may search. "" is
	// DefaultPreset.
	Preset string
}

// codec is a choice of ffmpeg's.
type codec struct {
	name       string
	encoders   []string // the best first
	crfs       int      // constant rate factors go from 0 to that
	containers []string // extensions that hold it
	even       bool     // whether frames must have even sides
}

func codecs() []codec {
	return []codec{
		{"h264", []string{"libx264"}, 51, []string{".mp4", ".m4v", ".mov", ".mkv", ".avi", ".ts", ".m2ts", ".flv", ".nut"}, true},
		{"h265", []string{"libx265"}, 51, []string{".mp4", ".m4v", ".mov", ".mkv", ".ts", ".m2ts", ".nut"}, true},
		{"vp9", []string{"libvpx-vp9"}, 63, []string{".webm", ".mkv", ".mp4", ".nut"}, false},
		{"av1", []string{"libsvtav1", "libaom-av1"}, 63, []string{".mp4", ".mkv", ".webm"}, true},
		{"prores", []string{"prores_ks"}, 0, []string{".mov", ".mkv", ".nut"}, true},
		{"ffv1", []string{"ffv1"}, 0, []string{".mkv", ".avi", ".mov", ".nut"}, false},
	}
}

// Muxers of the extensions above.
func muxer(out string) (string, error) {
	names := map[string]string{
		".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".avi": "avi",
		".ts": "mpegts", ".m2ts": "mpegts", ".flv": "flv", ".nut": "nut",
	}
	if name, ok := names[strings.ToLower(filepath.Ext(out))]; ok {
		return name, nil
	}
	return "", fmt.Errorf("%s: a video is written as .mp4, .mov, .mkv, .webm, .avi, .ts, .flv or .nut", out)
}

// Check finds what is wrong with the options for a file of that name.
func (o EncodeOptions) Check(out string) error {
	if _, err := muxer(out); err != nil {
		return err
	}
	c, err := o.codec(out)
	if err != nil {
		return err
	}
	ext := strings.ToLower(filepath.Ext(out))
	switch {
	case !slices.Contains(c.containers, ext):
		return fmt.Errorf("%s: %s cannot hold %s: it goes into %s", out, ext, c.name, strings.Join(c.containers, ", "))
	case o.Quality < 0 || o.Quality > 100:
		return fmt.Errorf("a quality of %d is not between 1 and 100", o.Quality)
	case o.CRF < 0 || o.CRF > 0 && o.CRF > c.crfs:
		if c.crfs == 0 {
			return fmt.Errorf("%s has no constant rate factor", c.name)
		}
		return fmt.Errorf("a constant rate factor of %d is not between 1 and %d, which %s has", o.CRF, c.crfs, c.name)
	case o.Preset != "" && !slices.Contains(Presets(), o.Preset):
		return fmt.Errorf("no preset %q: there are %s", o.Preset, strings.Join(Presets(), ", "))
	}
	return nil
}

func (o EncodeOptions) codec(out string) (codec, error) {
	name := o.Codec
	if name == "" {
		name = "h264"
		if strings.EqualFold(filepath.Ext(out), ".webm") {
			name = "vp9"
		}
	}
	all := codecs()
	i := slices.IndexFunc(all, func(c codec) bool { return c.name == name })
	if i < 0 {
		return codec{}, fmt.Errorf("no codec %q: there are %s", name, strings.Join(Codecs(), ", "))
	}
	return all[i], nil
}

// crf is the constant rate factor of a quality. h264's 18 at 92 and 23 at 82 are
// its customary ones; the others' follow by their customary ratio to it.
func (o EncodeOptions) crf(c codec) int {
	if o.CRF > 0 {
		return o.CRF
	}
	q := cmp.Or(o.Quality, DefaultQuality)
	crf := 14 + float64(100-q)/2
	switch c.name {
	case "h265":
		crf += 3
	case "vp9", "av1":
		crf *= 1.3
	}
	return min(int(crf+.5), c.crfs)
}

// args are ffmpeg's arguments of the encoder.
func (o EncodeOptions) args(c codec, encoder string) []string {
	preset := slices.Index(Presets(), cmp.Or(o.Preset, DefaultPreset))
	crf := strconv.Itoa(o.crf(c))
	args := []string{"-c:v", encoder}
	switch encoder {
	case "libx264", "libx265":
		args = append(args, "-crf", crf, "-preset", Presets()[preset])
		if encoder == "libx265" {
			args = append(args, "-x265-params", "log-level=error")
		}
	case "libvpx-vp9", "libaom-av1":
		// Their speeds go from 8 down to 0, with 2 as the usual.
		args = append(args, "-crf", crf, "-b:v", "0", "-row-mt", "1", "-cpu-used", strconv.Itoa(max(8-preset, 1)))
	case "libsvtav1":
		args = append(args, "-crf", crf, "-preset", strconv.Itoa(12-preset))
	case "prores_ks":
		q := cmp.Or(o.Quality, DefaultQuality)
		profile := map[bool]string{true: "3", false: "2"}[q >= 80] // HQ, standard
		if q < 50 {
			profile = "1" // LT
		}
		args = append(args, "-profile:v", profile, "-vendor", "apl0")
	case "ffv1":
		args = append(args, "-level", "3", "-g", "1", "-slicecrc", "1")
	}
	return args
}

// pixels is the format of the pixels that a codec stores.
func pixels(c codec) string {
	switch c.name {
	case "prores":
		return "yuv422p10le"
	case "ffv1":
		return "bgr0"
	}
	return "yuv420p"
}

// plan is how one clip becomes another.
type plan struct {
	tools   *Tools
	info    *Info
	w, h    int // of frames
	codec   codec
	encoder string
	mux     string
	o       EncodeOptions
}

func (t *Tools) plan(info *Info, w, h int, out string, o EncodeOptions) (*plan, error) {
	if err := o.Check(out); err != nil {
		return nil, err
	}
	c, err := o.codec(out)
	if err != nil {
		return nil, err
	}
	mux, err := muxer(out)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(c.encoders, func(e string) bool { return t.encoders[e] })
	if i < 0 {
		return nil, fmt.Errorf("this ffmpeg (%s) cannot write %s: it was built without %s; choose another codec, or install a full ffmpeg",
			t.Version, c.name, strings.Join(c.encoders, " and "))
	}
	return &plan{t, info, w, h, c, c.encoders[i], mux, o}, nil
}

// args are those of an encoder of a segment, which reads frames from stdin.
func (p *plan) args(base Rational, path string) []string {
	in := p.info.color
	if p.info.hdr {
		in = color{Matrix: "bt709", Range: "tv", Primaries: "bt709", Transfer: "bt709"}
	}
	format := pixels(p.codec)
	filters := []string{}
	if p.codec.even && (p.w%2 != 0 || p.h%2 != 0) {
		filters = append(filters, fmt.Sprintf("crop=%d:%d:0:0", p.w&^1, p.h&^1))
	}
	rgb := p.codec.name == "ffv1"
	matrix, rng := p.info.matrix(), "tv"
	if p.info.hdr {
		matrix = "bt709"
	}
	if in.Range == "pc" && in.Matrix != "gbr" {
		rng = "pc"
	}
	if !rgb {
		filters = append(filters, fmt.Sprintf("scale=flags=bicubic+accurate_rnd+full_chroma_int:out_color_matrix=%s:out_range=%s", matrix, rng))
	}
	filters = append(filters, "format="+format)
	if a := p.info.aspect; a.Num > 0 {
		filters = append(filters, fmt.Sprintf("setsar=%d/%d", a.Num, a.Den))
	} else {
		filters = append(filters, "setsar=1")
	}
	args := []string{"-hide_banner", "-nostdin", "-loglevel", "warning", "-y", "-f", "matroska", "-i", "pipe:0", "-map", "0:v:0"}
	var tags []string
	set := func(option, param, value string) {
		if value != "" {
			tags = append(tags, option, value)
			filters = append(filters, "setparams="+param+"="+value)
		}
	}
	if !rgb {
		set("-color_range", "range", rng)
		// The clip's own name for the matrix, where it has one that is of YUV.
		name := map[string]string{"bt470": "bt470bg", "bt2020": "bt2020nc"}[matrix]
		set("-colorspace", "colorspace", cmp.Or(name, matrix))
	}
	set("-color_primaries", "color_primaries", in.Primaries)
	set("-color_trc", "color_trc", in.Transfer)
	args = append(args, "-vf", strings.Join(filters, ","))
	args = append(args, p.tools.passthrough()...)
	args = append(args, "-enc_time_base", fmt.Sprintf("%d:%d", base.Num, base.Den))
	args = append(args, p.o.args(p.codec, p.encoder)...)
	args = append(args, tags...)
	return append(args, "-f", "nut", target(path))
}

// encoder is ffmpeg while it writes a segment.
type encoder struct {
	cmd        *exec.Cmd
	in         io.WriteCloser
	stream     matroska
	base       Rational
	first      int64
	buf        []byte
	complaints bytes.Buffer
}

// encode starts a segment, whose first frame has that time, in units of base.
// It does not end with a context: what was painted is written.
func (p *plan) encode(path string, base Rational, first int64) (*encoder, error) {
	e := &encoder{base: base, first: first, buf: make([]byte, 3*p.w*p.h)}
	e.cmd = exec.Command(p.tools.ffmpeg, p.args(base, path)...)
	apart(e.cmd)
	e.cmd.Env = append(e.cmd.Environ(), "SVT_LOG=1") // its encoder tells errors alone then
	e.cmd.Stderr = &e.complaints
	var err error
	if e.in, err = e.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	e.stream.w = e.in
	frame := uint64(0)
	if r := p.info.Rate.Float(); r > 0 {
		frame = uint64(1e9/r + .5)
	}
	if err := e.stream.start(p.w, p.h, frame); err != nil {
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

func (e *encoder) write(time int64, p *images.Picture) error {
	toBytes(e.buf, p)
	// In ns, which the encoder rounds to base again.
	ns := scaled(time-e.first, Rational{e.base.Num * 1e9, e.base.Den})
	if err := e.stream.frame(uint64(ns), e.buf); err != nil {
		if closed := e.close(); closed != nil {
			return closed // says why the pipe is broken
		}
		return err
	}
	return nil
}

// close ends the segment, and waits until it is written.
func (e *encoder) close() error {
	closed := e.in.Close()
	if err := e.cmd.Wait(); err != nil {
		return fmt.Errorf("ffmpeg cannot encode: %w", explain(err, e.complaints.String()))
	}
	return closed
}

// run runs ffmpeg to its end.
func (p *plan) run(ctx context.Context, args ...string) error {
	_, err := p.tools.output(ctx, p.tools.ffmpeg, append([]string{"-hide_banner", "-nostdin", "-loglevel", "error", "-y"}, args...)...)
	return err
}
