package video

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stylenet/internal/images"
)

// found is what Find finds, once for all tests.
var found = sync.OnceValues(func() (*Tools, error) { return Find(context.Background()) })

func find(t *testing.T) *Tools {
	t.Helper()
	tools, err := found()
	if missing := (*MissingError)(nil); errors.As(err, &missing) {
		t.Skipf("%v; %s", err, missing.Hint())
	}
	if err != nil {
		t.Fatal(err)
	}
	return tools
}

// ffmpeg makes a file to test with.
func ffmpeg(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.Command("ffmpeg", append([]string{"-v", "error", "-y"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ffmpeg %v: %v\n%s", args, err, out)
	}
}

// ask is what ffprobe prints for one or more keys, line by line.
func ask(t *testing.T, path string, args ...string) []string {
	t.Helper()
	out, err := exec.Command("ffprobe", append(append([]string{"-v", "error", "-of", "csv=p=0"}, args...), path)...).Output()
	if err != nil {
		t.Fatalf("ffprobe %s: %v", path, err)
	}
	return strings.Fields(strings.ReplaceAll(string(out), ",\n", "\n"))
}

// timesOf are those of a file's frames, in order.
func timesOf(t *testing.T, path string) []string {
	return ask(t, path, "-select_streams", "v:0", "-show_entries", "frame=pts_time")
}

// painter exchanges red and blue. It remembers how many frames it has seen, and
// does something before one of them.
type painter struct {
	frames int
	last   float32 // the first value of the frame before
	before func(frame int)
	err    error
}

func (p *painter) Paint(_ context.Context, in *images.Picture) (*images.Picture, error) {
	if p.before != nil {
		p.before(p.frames)
	}
	p.frames++
	p.last = in.Pix[0]
	out := in.Clone()
	copy(out.Plane(0), in.Plane(2))
	copy(out.Plane(2), in.Plane(0))
	return out, p.err
}

func (p *painter) State() ([]byte, error) { return json.Marshal([]float32{float32(p.frames), p.last}) }

func (p *painter) Restore(state []byte, last *images.Picture) error {
	var values []float32
	if err := json.Unmarshal(state, &values); err != nil {
		return err
	}
	if last.Pix[0] != values[1] {
		return fmt.Errorf("the last frame begins with %v, and its state with %v", last.Pix[0], values[1])
	}
	p.frames = int(values[0])
	return nil
}

func transcode(t *testing.T, ctx context.Context, in, out string, o Options, p Painter) (Result, error) {
	t.Helper()
	tools := find(t)
	input := Input{Name: in}
	info, err := tools.Probe(t.Context(), input)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(StateDir(out), 0o777); err != nil {
		t.Fatal(err)
	}
	return tools.Transcode(ctx, input, info, out, o, p, func(Progress) {})
}

// A clip with all that goes beside the picture, at uneven times.
func rich(t *testing.T) string {
	dir := t.TempDir()
	srt, meta, path := filepath.Join(dir, "s.srt"), filepath.Join(dir, "m.txt"), filepath.Join(dir, "rich.mp4")
	must(t, os.WriteFile(srt, []byte("1\n00:00:00,200 --> 00:00:01,000\nhello\n"), 0o666))
	must(t, os.WriteFile(meta, []byte(";FFMETADATA1\ntitle=A clip\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=one\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=500\nEND=1500\ntitle=two\n"), 0o666))
	ffmpeg(t, "-f", "lavfi", "-i", "testsrc=s=96x64:r=30:d=1.5", "-f", "lavfi", "-i", "sine=f=440:d=1.5", "-i", srt, "-i", meta,
		"-map", "0", "-map", "1", "-map", "2", "-map_metadata", "3",
		"-vf", "select='not(between(n,10,14))*not(eq(n,30))',setpts=PTS+0.1/TB*gt(N\\,20)", "-fps_mode", "passthrough", "-enc_time_base", "1:15360",
		"-c:v", "libx264", "-pix_fmt", "yuv420p", "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv",
		"-c:a", "aac", "-c:s", "mov_text", "-metadata:s:a:0", "language=deu", path)
	return path
}

func TestTranscode(t *testing.T) {
	find(t)
	in := rich(t)
	out := filepath.Join(t.TempDir(), "it's out.mp4")
	res, err := transcode(t, t.Context(), in, out, Options{SegmentFrames: 7, Encode: EncodeOptions{Preset: "veryfast"}}, &painter{})
	if err != nil {
		t.Fatal(err)
	}
	want := timesOf(t, in)
	if got := timesOf(t, out); !slices.Equal(got, want) {
		t.Errorf("times of frames are\n%v\nwant\n%v", got, want)
	}
	if res.Frames != len(want) || res.Painted != len(want) || len(res.Notes) != 0 || len(res.Complaints) != 0 {
		t.Errorf("result %+v, want %d frames", res, len(want))
	}
	for _, entries := range []string{
		"stream=codec_type", "stream_tags=language", "format_tags=title", "chapter_tags=title", "stream=width,height,color_range,color_space,color_transfer,color_primaries",
		"packet=pts_time,data_hash:stream=index", // of sound and subtitles
	} {
		args := []string{"-show_entries", entries}
		if strings.HasPrefix(entries, "packet") {
			args = append(args, "-select_streams", "a", "-show_data_hash", "md5")
		}
		if got, want := ask(t, out, args...), ask(t, in, args...); !slices.Equal(got, want) {
			t.Errorf("%s is %v, want %v", entries, got, want)
		}
	}
	// Segments are joined without a gap in decoding order, either.
	packets := ask(t, out, "-select_streams", "v:0", "-show_entries", "packet=dts_time")
	if len(packets) != len(want) || !slices.IsSortedFunc(packets, func(a, b string) int { return compareNumbers(t, a, b) }) {
		t.Errorf("decoding times are %v", packets)
	}
	// Red and blue are exchanged.
	got, old := first(t, out), first(t, in)
	if sum := difference(got, old); sum > 8 {
		t.Errorf("values differ by %.1f on average", sum)
	}
}

func compareNumbers(t *testing.T, a, b string) int {
	var x, y float64
	if _, err := fmt.Sscan(a+" "+b, &x, &y); err != nil {
		t.Fatal(err)
	}
	if x < y {
		return -1
	}
	return 1
}

// first is the first frame, as ffmpeg sees it.
func first(t *testing.T, path string) []byte {
	out, err := exec.Command("ffmpeg", "-v", "error", "-i", path, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-").Output()
	must(t, err)
	return out
}

// difference is the mean distance of values from those of the other frame with
// red and blue exchanged.
func difference(a, b []byte) float64 {
	sum := 0.
	for i, v := range a {
		sum += math.Abs(float64(v) - float64(b[i-i%3+2-i%3]))
	}
	return sum / float64(len(a))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Stopped in the middle, the clip is whole as far as it goes, and goes on to
// what it would have been, without loss.
func TestResume(t *testing.T) {
	find(t)
	dir := t.TempDir()
	in, out, whole := filepath.Join(dir, "in.mkv"), filepath.Join(dir, "out.mkv"), filepath.Join(dir, "whole.mkv")
	ffmpeg(t, "-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=4", "-f", "lavfi", "-i", "sine=d=4", "-c:v", "libx264", "-g", "20", "-c:a", "aac", in)
	o := Options{SegmentFrames: 9, Encode: EncodeOptions{Codec: "ffv1"}}
	_, err := transcode(t, t.Context(), in, whole, o, &painter{})
	must(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	res, err := transcode(t, ctx, in, out, o, &painter{before: func(frame int) {
		if frame == 70 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || res.Frames != 71 {
		t.Fatalf("a clip that is stopped at frame 70 has %d: %v", res.Frames, err)
	}
	if n := len(timesOf(t, out)); n != res.Frames {
		t.Errorf("the stopped clip has %d frames, want %d", n, res.Frames)
	}
	var long float64
	if _, err := fmt.Sscan(ask(t, out, "-show_entries", "format=duration")[0], &long); err != nil || long < 2.8 || long > 2.9 {
		t.Errorf("it is %v s long, sound included, want 2.84", long)
	}

	var unfinished *UnfinishedError
	if _, err = transcode(t, t.Context(), in, out, o, &painter{}); !errors.As(err, &unfinished) || unfinished.Frames != 71 {
		t.Errorf("without resume: %v", err)
	}
	o.Resume = true
	other := o
	other.Key = "another model"
	if _, err = transcode(t, t.Context(), in, out, other, &painter{}); err == nil || !strings.Contains(err.Error(), "another clip, model or setting") {
		t.Errorf("with another model: %v", err)
	}
	p := &painter{}
	res, err = transcode(t, t.Context(), in, out, o, p)
	if err != nil || res.Frames != 100 || res.Painted != 29 || p.frames != 100 {
		t.Fatalf("resumed: %+v, the painter has seen %d: %v", res, p.frames, err)
	}
	if got, want := hashes(t, out), hashes(t, whole); !slices.Equal(got, want) {
		t.Errorf("the resumed clip has other frames:\n%v\nwant\n%v", got, want)
	}
	// All is there already.
	res, err = transcode(t, t.Context(), in, out, o, &painter{})
	if err != nil || res.Frames != 100 || res.Painted != 0 {
		t.Errorf("resumed when all is done: %+v, %v", res, err)
	}
}

// hashes are those of a clip's frames, with their times.
func hashes(t *testing.T, path string) []string {
	out, err := exec.Command("ffmpeg", "-v", "error", "-i", path, "-map", "0:v:0", "-f", "framemd5", "-").Output()
	must(t, err)
	var lines []string
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

// Of a camera, which does not come again, what is saved is put together whatever
// ends it, and nobody is told to resume.
func TestLiveFails(t *testing.T) {
	tools := find(t)
	dir := t.TempDir()
	in := Input{Name: "testsrc2=s=64x48:r=25:d=4", Format: "lavfi"}
	info, err := tools.Probe(t.Context(), in)
	must(t, err)
	if !info.Live {
		t.Fatal("a generator is not live")
	}
	broken := errors.New("out of paint")
	run := func(out string) (Result, error) {
		p := &painter{}
		p.before = func(frame int) {
			if frame == 25 {
				p.err = broken
			}
		}
		must(t, os.MkdirAll(StateDir(out), 0o777))
		return tools.Transcode(t.Context(), in, info, out, Options{SegmentFrames: 10, Encode: EncodeOptions{Codec: "ffv1"}}, p, func(Progress) {})
	}
	out := filepath.Join(dir, "out.mkv")
	res, err := run(out)
	if !errors.Is(err, broken) || !res.Joined || res.Frames != 20 {
		t.Fatalf("a camera whose painter fails: %+v, %v", res, err)
	}
	if n := len(timesOf(t, out)); n != 20 {
		t.Errorf("the clip has %d frames, want 20", n)
	}
	var unfinished *UnfinishedError
	if _, err := run(out); !errors.As(err, &unfinished) || strings.Contains(unfinished.Hint(), "--resume") {
		t.Errorf("begun again: %v", err)
	}
	// Where they cannot be put together both errors are told.
	out = filepath.Join(dir, "taken.mkv")
	must(t, os.MkdirAll(filepath.Join(out, "folder"), 0o777))
	res, err = run(out)
	if !errors.Is(err, broken) || res.Joined || res.Frames != 20 || !strings.Contains(err.Error(), ", and then ") {
		t.Errorf("a folder is in the way: %+v, %v", res, err)
	}
}

// Frames come upright, and go out so.
func TestRotation(t *testing.T) {
	tools := find(t)
	dir := t.TempDir()
	in, turned, out := filepath.Join(dir, "in.mp4"), filepath.Join(dir, "turned.mp4"), filepath.Join(dir, "out.mp4")
	ffmpeg(t, "-f", "lavfi", "-i", "testsrc=s=96x64:r=10:d=0.5", "-pix_fmt", "yuv420p", in)
	ffmpeg(t, "-i", in, "-c", "copy", "-metadata:s:v:0", "rotate=90", turned)
	info, err := tools.Probe(t.Context(), Input{Name: turned})
	must(t, err)
	if info.W != 64 || info.H != 96 {
		t.Fatalf("it is %d×%d, want 64×96", info.W, info.H)
	}
	_, err = transcode(t, t.Context(), turned, out, Options{}, &painter{})
	must(t, err)
	if got := ask(t, out, "-select_streams", "v", "-show_entries", "stream=width,height:stream_side_data=rotation:stream_tags=rotate"); !slices.Equal(got, []string{"64,96"}) {
		t.Errorf("the result is %v, want 64,96 and no rotation", got)
	}
}

// Colours go through RGB and back to themselves, whatever matrix and range they
// are in, and the result says which.
func TestColors(t *testing.T) {
	find(t)
	for _, c := range [][3]string{{"bt709", "tv", "320x200"}, {"bt709", "pc", "320x200"}, {"", "", "320x200"}, {"", "", "1280x720"}} {
		matrix, rng, size := c[0], c[1], c[2]
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			dir := t.TempDir()
			in, out := filepath.Join(dir, "in.mkv"), filepath.Join(dir, "out.mkv")
			args := []string{"-f", "lavfi", "-i", "color=0xC06030:s=" + size + ":r=5:d=0.4"}
			filter := "scale=out_color_matrix=" + or(matrix, "bt601") + ":out_range=" + or(rng, "tv") + ",format=yuv420p"
			args = append(args, "-vf", filter)
			if matrix != "" {
				args = append(args, "-colorspace", matrix, "-color_range", rng)
			}
			ffmpeg(t, append(args, "-c:v", "libx264", "-qp", "1", in)...)
			keep := paintFunc(func(p *images.Picture) *images.Picture { return p })
			_, err := transcode(t, t.Context(), in, out, Options{Encode: EncodeOptions{CRF: 1}}, keep)
			must(t, err)
			yuv := func(path string) []byte {
				out, err := exec.Command("ffmpeg", "-v", "error", "-i", path, "-frames:v", "1", "-vf", "format=yuv420p", "-f", "rawvideo", "-").Output()
				must(t, err)
				return []byte{out[0], out[len(out)*2/3+100], out[len(out)-100]}
			}
			got, want := yuv(out), yuv(in)
			for i := range got {
				if d := int(got[i]) - int(want[i]); d < -2 || d > 2 {
					t.Errorf("the pixels are %v, want %v", got, want)
					break
				}
			}
			if matrix == "" {
				matrix = map[string]string{"320x200": "smpte170m", "1280x720": "bt709"}[size]
				rng = "tv"
			}
			if got := ask(t, out, "-select_streams", "v", "-show_entries", "stream=color_range,color_space"); !slices.Equal(got, []string{rng + "," + matrix}) {
				t.Errorf("tagged %v, want %s,%s", got, rng, matrix)
			}
		})
	}
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// paintFunc is a painter that remembers nothing.
type paintFunc func(*images.Picture) *images.Picture

func (f paintFunc) Paint(_ context.Context, in *images.Picture) (*images.Picture, error) {
	return f(in), nil
}
func (paintFunc) State() ([]byte, error)                { return nil, nil }
func (paintFunc) Restore([]byte, *images.Picture) error { return nil }

// Each codec that this ffmpeg has writes a clip of the right frames.
func TestCodecs(t *testing.T) {
	tools := find(t)
	in := filepath.Join(t.TempDir(), "in.mp4")
	ffmpeg(t, "-f", "lavfi", "-i", "testsrc=s=64x64:r=10:d=0.8", "-f", "lavfi", "-i", "sine=d=0.8", "-pix_fmt", "yuv420p", in)
	for out, codec := range map[string]string{
		"a.mp4": "", "b.mov": "h265", "c.webm": "", "d.mkv": "av1", "e.mov": "prores", "f.mkv": "ffv1", "h.ts": "h264",
	} {
		t.Run(out, func(t *testing.T) {
			out = filepath.Join(t.TempDir(), out)
			o := EncodeOptions{Codec: codec, Preset: "ultrafast"}
			c, err := o.codec(out)
			must(t, err)
			if !slices.ContainsFunc(c.encoders, func(e string) bool { return tools.encoders[e] }) {
				t.Skipf("this ffmpeg has none of %v", c.encoders)
			}
			res, err := transcode(t, t.Context(), in, out, Options{SegmentFrames: 5, Encode: o}, &painter{})
			must(t, err)
			if n := len(timesOf(t, out)); n != 8 || res.Frames != 8 {
				t.Errorf("%d frames, %d by the result, want 8; notes %v", n, res.Frames, res.Notes)
			}
			if got := ask(t, out, "-show_entries", "stream=codec_type"); !slices.Contains(got, "audio") {
				t.Errorf("streams are %v, want sound", got)
			}
		})
	}
}

// A side that the codec cannot hold loses one pixel, and that is said.
func TestOddSides(t *testing.T) {
	find(t)
	dir := t.TempDir()
	in := filepath.Join(dir, "in.mkv")
	ffmpeg(t, "-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=0.2", "-vf", "scale=65:49", "-c:v", "ffv1", in)
	for out, want := range map[string]string{"a.mp4": "64,48", "b.webm": "65,49"} {
		out = filepath.Join(dir, out)
		res, err := transcode(t, t.Context(), in, out, Options{Encode: EncodeOptions{Preset: "ultrafast"}}, &painter{})
		must(t, err)
		if got := ask(t, out, "-show_entries", "stream=width,height"); !slices.Equal(got, []string{want}) {
			t.Errorf("the result is %v, want %s", got, want)
		}
		if said := strings.Contains(strings.Join(res.Notes, ""), "needs even sides: of 65×49"); said != (want == "64,48") {
			t.Errorf("%s: notes are %v", want, res.Notes)
		}
	}
}

// What goes wrong says so, and leaves nothing half written.
func TestErrors(t *testing.T) {
	tools := find(t)
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.mp4"), filepath.Join(dir, "out.mp4")
	ffmpeg(t, "-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=2", "-pix_fmt", "yuv420p", in)
	for name, c := range map[string]struct {
		content string
		want    string
	}{
		"text.mp4":  {"this is no video", "text.mp4: ffprobe cannot read it: "},
		"empty.mp4": {"", "empty.mp4: ffprobe cannot read it: "},
		"none.mp4":  {"-", "none.mp4: ffprobe cannot read it: No such file"},
	} {
		path := filepath.Join(dir, name)
		if c.content != "-" {
			must(t, os.WriteFile(path, []byte(c.content), 0o666))
		}
		if _, err := tools.Probe(t.Context(), Input{Name: path}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	sound := filepath.Join(dir, "sound.mp4")
	ffmpeg(t, "-f", "lavfi", "-i", "sine=d=0.2", sound)
	if _, err := tools.Probe(t.Context(), Input{Name: sound}); err == nil || !strings.HasSuffix(err.Error(), "it holds no video") {
		t.Errorf("sound alone: %v", err)
	}
	broken := errors.New("out of paint")
	_, err := transcode(t, t.Context(), in, out, Options{}, &painter{err: broken})
	if !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), in+": frame 0: ") {
		t.Errorf("a painter that fails: %v", err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a failed clip was written")
	}
	// A clip that ends in the middle gives the frames that it has, and a complaint.
	cut := filepath.Join(dir, "cut.mkv")
	ffmpeg(t, "-i", in, "-c", "copy", cut)
	b, err := os.ReadFile(cut)
	must(t, err)
	must(t, os.WriteFile(cut, b[:len(b)*2/3], 0o666))
	res, err := transcode(t, t.Context(), cut, out, Options{}, &painter{})
	if err != nil || res.Frames == 0 || res.Frames >= 20 || len(res.Complaints) == 0 {
		t.Errorf("a clip that was cut: %+v, %v", res, err)
	}
}

func TestCheck(t *testing.T) {
	for want, c := range map[string]struct {
		out string
		o   EncodeOptions
	}{
		"a.gif: a video is written as .mp4":                    {"a.gif", EncodeOptions{}},
		".webm cannot hold h264: it goes into .mp4":            {"a.webm", EncodeOptions{Codec: "h264"}},
		"no codec \"divx\": there are h264":                    {"a.mp4", EncodeOptions{Codec: "divx"}},
		"a quality of 101":                                     {"a.mp4", EncodeOptions{Quality: 101}},
		"a constant rate factor of 52 is not between 1 and 51": {"a.mp4", EncodeOptions{CRF: 52}},
		"prores has no constant rate factor":                   {"a.mov", EncodeOptions{Codec: "prores", CRF: 5}},
		"no preset \"quick\"":                                  {"a.mp4", EncodeOptions{Preset: "quick"}},
	} {
		if err := c.o.Check(c.out); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	for q, want := range map[int]int{92: 18, 100: 14, 82: 23, 1: 51} {
		o := EncodeOptions{Quality: q}
		c, err := o.codec("a.mp4")
		must(t, err)
		if got := o.crf(c); got != want {
			t.Errorf("quality %d is crf %d, want %d", q, got, want)
		}
	}
}

func TestIsClip(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		content []byte
		want    bool
	}{
		"a.mp4":     {[]byte("\x00\x00\x00\x20ftypisom"), true},
		"noname":    {[]byte("\x1a\x45\xdf\xa3"), true},
		"p.avif":    {[]byte("\x00\x00\x00\x20ftypavif"), false},
		"wrong.mp4": {[]byte("\x89PNG\r\n\x1a\n"), false},
		"raw.mpg":   {[]byte("anything"), true},
		"a.png":     {[]byte("\x89PNG\r\n\x1a\n"), false},
		"ts":        {append(bytes.Repeat([]byte{'G'}, 1), append(make([]byte, 187), 'G')...), true},
	} {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, c.content, 0o666))
		if got := IsClip(path); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for arg, want := range map[string]bool{"rtsp://host/x": true, "none.mov": true, `C:\a.png`: false, dir: false, "none.jpg": false} {
		if got := IsClip(arg); got != want {
			t.Errorf("%s: %v", arg, got)
		}
	}
}

func TestVersion(t *testing.T) {
	for line, want := range map[string][2]int{
		"ffmpeg version 5.1.9-0+deb12u1 Copyright": {5, 1}, "ffmpeg version n7.1 x": {7, 1}, "ffmpeg version 4.4.2-0ubuntu x": {4, 4},
		"ffmpeg version N-109-gabc x": {99, 0}, "": {99, 0}, "ffmpeg version 8.0 x": {8, 0},
	} {
		if _, major, minor := version(line); major != want[0] || minor != want[1] {
			t.Errorf("%q: %d.%d", line, major, minor)
		}
	}
}

// Reading, painting and writing overlap: frames that take long to paint make
// the painter wait for nothing else.
func TestOverlap(t *testing.T) {
	find(t)
	dir := t.TempDir()
	in := filepath.Join(dir, "in.mp4")
	ffmpeg(t, "-f", "lavfi", "-i", "testsrc=s=320x240:r=25:d=1", "-pix_fmt", "yuv420p", in)
	slow := &painter{before: func(int) { time.Sleep(20 * time.Millisecond) }}
	res, err := transcode(t, t.Context(), in, filepath.Join(dir, "out.mp4"), Options{Encode: EncodeOptions{Preset: "ultrafast"}}, slow)
	must(t, err)
	if res.Idle > res.Elapsed/3 {
		t.Errorf("of %v the painter waited %v", res.Elapsed, res.Idle)
	}
}
