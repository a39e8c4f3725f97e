package video

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stylenet/internal/images"
)

// Options say how a clip is made of another.
type Options struct {
	W, H   int // of frames; 0 for the clip's own
	Encode EncodeOptions

	// Resume goes on with a clip that was not finished.
	Resume bool
	// Key names all that frames depend on besides the clip and these options. A
	// clip is resumed with the same one alone.
	Key string
	// SegmentFrames is how many frames are saved at once; 0 is as many as are
	// painted in a minute, 48 at the least.
	SegmentFrames int
}

// Painter makes a clip's frames anew. Its methods are called one at a time, but
// not from one goroutine.
type Painter interface {
	// Paint returns a frame's successor, in the same size. Frames come in order.
	// The result is not used after the next call has returned.
	Paint(ctx context.Context, in *images.Picture) (*images.Picture, error)
	// State is what Paint remembers of the frames before, and nil for a painter
	// that remembers nothing.
	State() ([]byte, error)
	// Restore brings a painter to that state; last is the input of the last frame
	// that was painted before.
	Restore(state []byte, last *images.Picture) error
}

// Progress is how far a clip is.
type Progress struct {
	Frame   int // how many are painted
	Resumed int // how many of them were there at the start
	Frames  int // how many there are, about; 0 where it is not known
}

// Result is what was made.
type Result struct {
	Frames  int           // of the clip that was written
	Painted int           // of them by this call
	Elapsed time.Duration // from the first frame to the last
	// Idle is how long Paint waited meanwhile for frames to come in or to go out.
	Idle time.Duration
	// Joined says that the clip was written, be it without its end.
	Joined bool
	// Notes are what could not be kept, and Complaints what ffmpeg found wrong
	// with the clip.
	Notes, Complaints []string
}

// StateDir is the folder beside a clip where its parts are until it is finished.
func StateDir(out string) string { return out + ".state" }

// UnfinishedError reports that a clip was begun before.
type UnfinishedError struct {
	Out    string
	Frames int
	Live   bool // its input is read once, so that it cannot go on
}

func (e *UnfinishedError) Error() string {
	return fmt.Sprintf("%s was begun before, and %d frames of it are in %s", e.Out, e.Frames, StateDir(e.Out))
}

// Hint says what to do.
func (e *UnfinishedError) Hint() string {
	if e.Live {
		return "the input is read once: take from that folder the clips in it that you want, and remove it to begin anew"
	}
	return "go on with --resume, or remove that folder to begin anew"
}

// Transcode writes the clip out with the frames of in as p paints them; sound,
// subtitles, chapters, metadata and the time of each frame are in's. The folder
// StateDir(out), which must exist, holds the segments on the way; the caller
// locks it, and clears it once Transcode has returned no error.
//
// Reading, painting and writing overlap. When ctx ends, what is painted is
// written to out, which is complete but for the missing end, and the error is
// ctx's: Resume then goes on. What is in out is replaced once all is written.
// A live input does not come again: what of it is saved is written to out
// whatever the error.
func (t *Tools) Transcode(ctx context.Context, in Input, info *Info, out string, o Options, p Painter, progress func(Progress)) (res Result, err error) {
	if o.W == 0 {
		o.W, o.H = info.W, info.H
	}
	pl, err := t.plan(info, o.W, o.H, out, o.Encode)
	if err != nil {
		return res, err
	}
	rec, err := openRecording(pl, in, out, o)
	if err != nil {
		return res, err
	}
	streams, notes, err := pl.streams(ctx, in, rec.dir)
	if err != nil {
		return res, err
	}
	res.Notes = append(append(res.Notes, info.Notes...), notes...)
	if pl.codec.even && (o.W%2 != 0 || o.H%2 != 0) {
		res.Notes = append(res.Notes, fmt.Sprintf("%s needs even sides: of %d×%d, the last column or row is cut off (vp9 keeps it)", pl.codec.name, o.W, o.H))
	}
	dec, first, err := t.start(ctx, in, info, o, rec, p)
	if err != nil {
		return res, err
	}
	defer dec.Close()
	resumed := rec.frames()
	painted, err := pump(ctx, dec, first, rec, o, p, func(n int) {
		progress(Progress{resumed + n, resumed, max(info.Frames, resumed+n)})
	})
	res.Painted, res.Elapsed, res.Idle = painted.frames, painted.elapsed, painted.idle
	res.Complaints = dec.Complaints()
	res.Frames = rec.frames()
	stopped := ctx.Err() != nil
	if err != nil && !stopped && !info.Live || res.Frames == 0 {
		return res, err
	}
	// What is painted is put together even where the context has ended.
	joined := rec.join(context.WithoutCancel(ctx), in, out, streams, err == nil)
	res.Joined = joined == nil
	switch {
	case err == nil || stopped && !res.Joined:
		return res, joined
	case !res.Joined:
		return res, fmt.Errorf("%w, and then %w", err, joined)
	}
	return res, err
}

// start opens the clip behind the frames that are already painted. It returns
// the first one that is not, nil if there is none.
func (t *Tools) start(ctx context.Context, in Input, info *Info, o Options, rec *recording, p Painter) (*Decoder, *Frame, error) {
	last, some := rec.last()
	if !some {
		dec, err := t.Decode(ctx, in, info, DecodeOptions{W: o.W, H: o.H})
		if err != nil {
			return nil, nil, err
		}
		first, err := dec.Next()
		if err != nil {
			dec.Close()
			return nil, nil, err
		}
		rec.journal.Base = dec.Base
		return dec, first, nil
	}
	// A little before the place, so that the last frame is among those that come.
	from := float64(last)*rec.journal.Base.Float() - 2
	for {
		dec, err := t.Decode(ctx, in, info, DecodeOptions{W: o.W, H: o.H, From: max(from, 0)})
		if err != nil {
			return nil, nil, err
		}
		before, next, err := seek(dec, last)
		if err != nil {
			dec.Close()
			return nil, nil, err
		}
		if before == nil || dec.Base != rec.journal.Base {
			dec.Close()
			if from <= 0 {
				return nil, nil, fmt.Errorf("%s holds no frame where that of %s left off: is it the same clip?", in.Name, rec.dir)
			}
			from = 0 // the container did not find its way
			continue
		}
		state, err := rec.state()
		if err == nil {
			err = p.Restore(state, before.Picture)
		}
		if err != nil {
			dec.Close()
			return nil, nil, fmt.Errorf("%s: %w", rec.dir, err)
		}
		return dec, next, nil
	}
}

// seek reads up to the frame of that time, and the next one, which is nil at the
// end.
func seek(dec *Decoder, last int64) (at, next *Frame, err error) {
	for {
		f, err := dec.Next()
		switch {
		case err == io.EOF:
			return at, nil, nil
		case err != nil:
			return nil, nil, err
		case f.Time == last:
			at = f
		case f.Time > last:
			return at, f, nil
		}
	}
}

// pumped is what pump did.
type pumped struct {
	frames        int
	elapsed, idle time.Duration
}

// item goes from the painter to the encoder.
type item struct {
	frame *Frame // nil for the end of a segment
	state []byte
}

// pump paints frames while others are read and written.
func pump(ctx context.Context, dec *Decoder, first *Frame, rec *recording, o Options, p Painter, progress func(int)) (done pumped, err error) {
	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	const ahead = 3 // frames that may wait on each side
	in, out := make(chan *Frame, ahead), make(chan item, ahead)
	read, written := make(chan error, 1), make(chan error, 1)
	go func() {
		defer close(in)
		f := first
		for f != nil {
			select {
			case in <- f:
			case <-ctx.Done():
				read <- nil
				return
			}
			var err error
			if f, err = dec.Next(); err != nil {
				if err == io.EOF {
					err = nil
				}
				read <- err
				return
			}
		}
		read <- nil
	}()
	go func() {
		var err error
		for it := range out { // to the end, so that the painter never waits for ever
			if err == nil {
				if err = rec.take(it); err != nil {
					cancel(err)
				}
			}
		}
		written <- errors.Join(err, rec.settle())
	}()

	start := time.Now()
	segment, frames := start, 0
	cut := func() error {
		state, err := p.State()
		if err != nil {
			return err
		}
		out <- item{state: state}
		segment, frames = time.Now(), 0
		return nil
	}
	err = func() error {
		for {
			waiting := time.Now()
			f, ok := <-in
			done.idle += time.Since(waiting)
			if !ok || ctx.Err() != nil {
				return nil
			}
			painted, err := p.Paint(ctx, f.Picture)
			if err != nil {
				if outer.Err() != nil {
					return nil
				}
				return fmt.Errorf("%s: frame %d: %w", dec.name, rec.painted+done.frames, err)
			}
			waiting = time.Now()
			out <- item{frame: &Frame{f.Time, painted}}
			done.idle += time.Since(waiting)
			done.frames++
			frames++
			progress(done.frames)
			const minute, least = time.Minute, 48
			if frames == o.SegmentFrames || o.SegmentFrames == 0 && frames >= least && time.Since(segment) >= minute {
				if err := cut(); err != nil {
					return err
				}
			}
		}
	}()
	if err == nil && frames > 0 {
		err = cut()
	}
	done.elapsed = time.Since(start)
	close(out)
	cause := context.Cause(ctx)
	cancel(nil) // the reader need not go on
	for range in {
	}
	writeErr := <-written
	readErr := <-read
	switch {
	case err != nil:
		return done, err
	case writeErr != nil:
		return done, writeErr
	case outer.Err() != nil:
		return done, outer.Err()
	case cause != nil:
		return done, cause
	}
	return done, readErr
}

// abs is a path that means the same from any folder.
func abs(path string) string {
	if p, err := filepath.Abs(path); err == nil {
		return p
	}
	return path
}

// identity tells an input from others.
func identity(in Input) string {
	info, err := os.Stat(in.Name)
	if err != nil || in.Format != "" {
		return strings.Join(append([]string{in.Format, in.Name}, in.Options...), " ")
	}
	return fmt.Sprintf("%s %d %d", abs(in.Name), info.Size(), info.ModTime().UnixNano())
}
