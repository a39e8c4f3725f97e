package video

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	"stylenet/internal/images"
)

// Decoder reads a clip's frames, each with its time.
type Decoder struct {
	W, H int
	// Base is the unit of times, in seconds. It is known once a frame is.
	Base Rational

	ctx    context.Context
	cmd    *exec.Cmd
	name   string
	out    io.Reader
	buf    []byte
	times  *times
	last   int64
	frames int
	step   int64 // from the frame before, for one without a time
}

// Frame is one of a clip.
type Frame struct {
	Time int64 // in units of the decoder's Base, more than the one before
	*images.Picture
}

// DecodeOptions say how a clip is decoded.
type DecodeOptions struct {
	W, H int     // of frames; 0 for the clip's own
	From float64 // seconds: frames before are left out, as far as the container can find its way
}

// Decode opens a clip. Frames come upright, as RGB, in the size asked for. The
// decoder ends with ctx.
func (t *Tools) Decode(ctx context.Context, in Input, info *Info, o DecodeOptions) (*Decoder, error) {
	if o.W == 0 {
		o.W, o.H = info.W, info.H
	}
	filters, err := t.toRGB(ctx, info, o.W, o.H)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", in.Name, err)
	}
	// With copyts a time is the same wherever reading begins.
	args := []string{"-hide_banner", "-nostdin", "-loglevel", "level+info", "-nostats", "-copyts", "-start_at_zero"}
	if o.From > 0 {
		args = append(args, "-ss", strconv.FormatFloat(o.From, 'f', 6, 64))
	}
	args = append(args, in.args()...)
	args = append(args, "-map", fmt.Sprintf("0:%d", info.stream), "-vf", filters)
	args = append(args, t.passthrough()...)
	args = append(args, "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1")
	d := &Decoder{W: o.W, H: o.H, ctx: ctx, name: in.Name, times: newTimes(), buf: make([]byte, 3*o.W*o.H), step: 1}
	d.cmd = exec.CommandContext(ctx, t.ffmpeg, args...)
	apart(d.cmd)
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	d.out = stdout
	go d.times.read(stderr)
	return d, nil
}

// toRGB is the chain of filters that makes RGB of a clip's frames and says the
// time of each.
func (t *Tools) toRGB(ctx context.Context, info *Info, w, h int) (string, error) {
	var filters []string
	matrix := info.matrix()
	if info.hdr {
		out, err := t.output(ctx, t.ffmpeg, "-hide_banner", "-filters")
		if err != nil {
			return "", err
		}
		if !strings.Contains(string(out), " zscale ") || !strings.Contains(string(out), " tonemap ") {
			return "", errors.New("it is high dynamic range, and this ffmpeg has no filter zscale to map it: use one built with libzimg")
		}
		filters = append(filters, "zscale=t=linear:npl=100", "format=gbrpf32le", "zscale=p=bt709", "tonemap=hable:desat=0",
			"zscale=t=bt709:m=bt709:r=tv", "format=yuv444p")
		matrix = "bt709"
	}
	filters = append(filters, fmt.Sprintf("scale=%d:%d:flags=bicubic+accurate_rnd+full_chroma_int:in_color_matrix=%s", w, h, matrix),
		"format=rgb24", "showinfo=checksum=0")
	return strings.Join(filters, ","), nil
}

// Next returns the next frame, and io.EOF behind the last one.
func (d *Decoder) Next() (*Frame, error) {
	n, err := io.ReadFull(d.out, d.buf)
	if err != nil {
		return nil, d.end(n, err)
	}
	time, known, base, err := d.times.next()
	if err != nil {
		return nil, fmt.Errorf("%s: frame %d has no time: %w", d.name, d.frames, err)
	}
	d.Base = base
	if !known {
		time = d.last + d.step
	}
	if d.frames > 0 {
		// Broken clips have frames at the same time, or earlier ones behind.
		time = max(time, d.last+1)
		d.step = time - d.last
	}
	d.last = time
	d.frames++
	return &Frame{time, fromBytes(d.buf, d.W, d.H)}, nil
}

// end is what follows from the end of the frames.
func (d *Decoder) end(n int, err error) error {
	d.times.wait()
	waited := d.cmd.Wait()
	switch {
	case d.ctx.Err() != nil:
		return d.ctx.Err()
	case waited != nil:
		return fmt.Errorf("%s: ffmpeg ended after %d frames: %w", d.name, d.frames, explain(waited, strings.Join(d.times.complaints, "\n")))
	case err == io.EOF && d.frames > 0:
		return io.EOF
	case err == io.EOF:
		return fmt.Errorf("%s: it has no frames", d.name)
	}
	return fmt.Errorf("%s: frame %d ends after %d bytes: %w", d.name, d.frames, n, err)
}

// Complaints are what ffmpeg found wrong with the clip, once it has ended: the
// frames may be fewer or damaged then.
func (d *Decoder) Complaints() []string {
	d.times.mu.Lock()
	defer d.times.mu.Unlock()
	var lines []string
	for _, line := range d.times.complaints {
		lines = append(lines, plain(line))
	}
	return lines
}

// Close ends the decoder, wherever it is.
func (d *Decoder) Close() {
	if d.cmd.ProcessState == nil {
		_ = d.cmd.Process.Kill() // it may have ended by itself
		d.times.wait()
		_ = d.cmd.Wait()
	}
}

// times are those of frames, as the filter showinfo tells them on ffmpeg's
// stderr, each before its frame.
type times struct {
	mu         sync.Mutex
	changed    *sync.Cond
	queue      []string
	base       Rational
	ended      bool
	done       chan struct{}
	complaints []string // the first few errors
}

func newTimes() *times {
	t := &times{done: make(chan struct{})}
	t.changed = sync.NewCond(&t.mu)
	return t
}

// read takes the lines of stderr until it ends.
func (t *times) read(stderr io.Reader) {
	defer close(t.done)
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		t.line(lines.Text())
	}
	_, _ = io.Copy(io.Discard, stderr) // a line of more than 1 MiB is none of ours
	t.mu.Lock()
	t.ended = true
	t.changed.Broadcast()
	t.mu.Unlock()
}

func (t *times) line(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch sender, text, _ := strings.Cut(line, "] "); {
	case strings.HasPrefix(sender, "[Parsed_showinfo"):
		text = plain(text)
		if _, config, ok := strings.Cut(text, "config in time_base: "); ok {
			base, _, _ := strings.Cut(config, ",")
			t.base = parseRational(base)
		} else if strings.HasPrefix(text, "n:") {
			if _, pts, ok := strings.Cut(text, " pts:"); ok {
				pts, _, _ = strings.Cut(strings.TrimLeft(pts, " "), " ")
				t.queue = append(t.queue, pts)
				t.changed.Signal()
			}
		}
	case strings.Contains(line, "[error]") || strings.Contains(line, "[fatal]"):
		const most = 20
		if len(t.complaints) < most {
			t.complaints = append(t.complaints, line)
		}
	}
}

// next is the time of the next frame, and whether it has one.
func (t *times) next() (time int64, known bool, base Rational, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.queue) == 0 && !t.ended {
		t.changed.Wait()
	}
	if len(t.queue) == 0 || t.base.Den == 0 {
		return 0, false, t.base, errors.New("this ffmpeg's filter showinfo does not tell it")
	}
	text := t.queue[0]
	t.queue = t.queue[1:]
	time, err = strconv.ParseInt(text, 10, 64)
	if text == "NOPTS" {
		return 0, false, t.base, nil
	}
	return time, err == nil, t.base, err
}

func (t *times) wait() { <-t.done }

// fromBytes makes a picture of RGB, RGB, ….
func fromBytes(pix []byte, w, h int) *images.Picture {
	p := images.New(w, h)
	r, g, b := p.Plane(0), p.Plane(1), p.Plane(2)
	for i := range r {
		r[i], g[i], b[i] = float32(pix[3*i]), float32(pix[3*i+1]), float32(pix[3*i+2])
	}
	return p
}

// toBytes is the inverse of fromBytes; values are clamped and rounded.
func toBytes(dst []byte, p *images.Picture) {
	r, g, b := p.Plane(0), p.Plane(1), p.Plane(2)
	for i := range r {
		dst[3*i], dst[3*i+1], dst[3*i+2] = toByte(r[i]), toByte(g[i]), toByte(b[i])
	}
}

func toByte(v float32) byte { return byte(min(max(v, 0), 255) + .5) }
