package video

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"stylenet/internal/atomicfile"
)

// recording is a clip on its way: segments that are finished, one that is being
// written, and a journal of the finished ones, which alone counts after a crash.
type recording struct {
	plan    *plan
	dir     string
	journal journal
	painted int // frames that were there at the start

	current  *encoder
	segment  segment
	finished chan error // of the segment before, which ends while this one begins
	err      error
}

// journal is the file clip.json.
type journal struct {
	Version  int       `json:"version"`
	Key      string    `json:"key"` // of all that frames depend on
	Base     Rational  `json:"base"`
	Segments []segment `json:"segments"`
}

// segment is a file of NUT, whose first frame has the time 0 in it.
type segment struct {
	File   string `json:"file"`
	Frames int    `json:"frames"`
	First  int64  `json:"first"` // time of its first frame, in units of the journal's base
	Last   int64  `json:"last"`
	State  string `json:"state,omitempty"` // file of what the painter remembers behind it
}

const journalFile = "clip.json"

// openRecording opens the folder of a clip's state.
func openRecording(p *plan, in Input, out string, o Options) (*recording, error) {
	r := &recording{plan: p, dir: StateDir(out)}
	key, err := json.Marshal(map[string]any{
		"input": identity(in), "width": o.W, "height": o.H, "codec": p.codec.name, "encoder": p.encoder, "crf": o.Encode.crf(p.codec),
		"quality": o.Encode.Quality, "preset": o.Encode.Preset, "key": o.Key,
	})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(r.dir, journalFile)
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(b, &r.journal); err != nil || r.journal.Version != 1 || r.journal.Base.Den <= 0 || r.journal.Base.Num <= 0 {
			return nil, fmt.Errorf("%s is no journal of a clip: remove the folder to begin anew", path)
		}
	}
	if n := r.frames(); n > 0 {
		if !o.Resume {
			return nil, &UnfinishedError{out, n, p.info.Live}
		}
		if r.journal.Key != string(key) {
			return nil, fmt.Errorf("%s was begun with another clip, model or setting: give the same ones, or remove %s to begin anew", out, r.dir)
		}
		for _, s := range r.journal.Segments {
			if _, err := os.Stat(filepath.Join(r.dir, s.File)); err != nil {
				return nil, fmt.Errorf("a part of the clip is missing, remove %s to begin anew: %w", r.dir, err)
			}
		}
	}
	r.journal.Version, r.journal.Key = 1, string(key)
	r.painted = r.frames()
	return r, r.sweep()
}

// sweep removes what a killed process left, which no journal names.
func (r *recording) sweep() error {
	keep := map[string]bool{journalFile: true}
	for _, s := range r.journal.Segments {
		keep[s.File], keep[s.State] = true, true
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ours := strings.HasPrefix(e.Name(), "part-") || atomicfile.IsTemp(e.Name()); ours && !keep[e.Name()] {
			if err := os.Remove(filepath.Join(r.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// frames is how many are saved.
func (r *recording) frames() int {
	n := 0
	for _, s := range r.journal.Segments {
		n += s.Frames
	}
	return n
}

// last is the time of the last frame that is saved.
func (r *recording) last() (int64, bool) {
	if len(r.journal.Segments) == 0 {
		return 0, false
	}
	return r.journal.Segments[len(r.journal.Segments)-1].Last, true
}

// state is what the painter remembered behind the last segment.
func (r *recording) state() ([]byte, error) {
	name := r.journal.Segments[len(r.journal.Segments)-1].State
	if name == "" {
		return nil, nil
	}
	return os.ReadFile(filepath.Join(r.dir, name))
}

// take writes a frame, or ends a segment.
func (r *recording) take(it item) error {
	if it.frame == nil {
		return r.cut(it.state)
	}
	if r.current == nil {
		f, err := os.CreateTemp(r.dir, "part-*.nut")
		if err != nil {
			return err
		}
		r.segment = segment{File: filepath.Base(f.Name()), First: it.frame.Time}
		if err := f.Close(); err != nil {
			return err
		}
		if r.current, err = r.plan.encode(f.Name(), r.journal.Base, it.frame.Time); err != nil {
			return err
		}
	}
	if err := r.current.write(it.frame.Time, it.frame.Picture); err != nil {
		r.current = nil
		return err
	}
	r.segment.Last = it.frame.Time
	r.segment.Frames++
	return nil
}

// cut ends the segment at hand. The encoder finishes it while the next one
// begins.
func (r *recording) cut(state []byte) error {
	if r.current == nil {
		return nil
	}
	if err := r.wait(); err != nil {
		return err
	}
	enc, s := r.current, r.segment
	r.current = nil
	r.finished = make(chan error, 1)
	go func() { r.finished <- r.save(enc, s, state) }()
	return nil
}

// save finishes a segment and enters it in the journal.
func (r *recording) save(enc *encoder, s segment, state []byte) error {
	if err := enc.close(); err != nil {
		return err
	}
	if err := syncFile(filepath.Join(r.dir, s.File)); err != nil {
		return err
	}
	if state != nil {
		s.State = strings.TrimSuffix(s.File, ".nut") + ".frame"
		err := atomicfile.Write(filepath.Join(r.dir, s.State), 0o666, func(w io.Writer) error {
			_, err := w.Write(state)
			return err
		})
		if err != nil {
			return err
		}
	}
	var old string // the state before is of no use any more
	if n := len(r.journal.Segments); n > 0 {
		old = r.journal.Segments[n-1].State
		r.journal.Segments[n-1].State = ""
	}
	r.journal.Segments = append(r.journal.Segments, s)
	err := atomicfile.Write(filepath.Join(r.dir, journalFile), 0o666, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r.journal)
	})
	if err == nil && old != "" {
		err = os.Remove(filepath.Join(r.dir, old))
	}
	return err
}

// wait waits for the segment before.
func (r *recording) wait() error {
	if r.finished == nil {
		return r.err
	}
	r.err = errors.Join(r.err, <-r.finished)
	r.finished = nil
	return r.err
}

// settle ends what is being written. A segment that was not cut is dropped: what
// the painter remembers behind it is not known.
func (r *recording) settle() error {
	if r.current != nil {
		_ = r.current.close()
		r.current = nil
	}
	return r.wait()
}

// syncFile makes a file's content durable.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// join puts the segments together, with what goes beside them, and replaces out.
func (r *recording) join(ctx context.Context, in Input, out string, streams []string, whole bool) error {
	base, segments := r.journal.Base, r.journal.Segments
	first, last := segments[0], segments[len(segments)-1]
	frame := 1 / r.plan.info.Rate.Float() // seconds that the last frame is seen
	if r.plan.info.Rate.Float() == 0 {
		frame = float64(last.Last-first.First) * base.Float() / float64(max(r.frames()-1, 1))
	}
	// A segment lasts until the next one begins, which the list says exactly: its
	// file does not know.
	list := "ffconcat version 1.0\n"
	for i, s := range segments {
		ticks := s.Last - s.First
		if i+1 < len(segments) {
			ticks = segments[i+1].First - s.First
		}
		us := scaled(ticks, Rational{base.Num * 1e6, base.Den})
		if i+1 == len(segments) {
			us += int64(frame*1e6 + .5)
		}
		list += fmt.Sprintf("file '%s'\nduration %d.%06d\n", s.File, us/1e6, us%1e6)
	}
	listPath := filepath.Join(r.dir, "part-list.txt")
	if err := os.WriteFile(listPath, []byte(list), 0o666); err != nil {
		return err
	}
	args := []string{}
	offset := scaled(first.First, Rational{base.Num * 1e6, base.Den})
	args = append(args, "-itsoffset", fmt.Sprintf("%dus", offset), "-f", "concat", "-safe", "0", "-i", target(listPath))
	if !r.plan.info.Live {
		args = append(args, in.args()...)
		args = append(args, "-map_metadata", "1", "-map_chapters", "1")
	}
	args = append(args, "-map", "0:v:0")
	args = append(args, streams...)
	args = append(args, "-c:v", "copy")
	if !whole {
		end := scaled(last.Last, Rational{base.Num * 1e6, base.Den}) + int64(frame*1e6+.5)
		args = append(args, "-t", fmt.Sprintf("%dus", end))
	}
	switch r.plan.mux {
	case "mp4", "mov":
		if r.plan.codec.name == "h265" {
			args = append(args, "-tag:v", "hvc1") // what Apple's players ask for
		}
		if base.Den < 1e9 {
			args = append(args, "-video_track_timescale", fmt.Sprint(base.Den))
		}
		args = append(args, "-movflags", "+faststart")
	}
	temp := filepath.Join(r.dir, "part-joined")
	if err := r.plan.run(ctx, append(args, "-f", r.plan.mux, target(temp))...); err != nil {
		return fmt.Errorf("%s: its parts cannot be put together: %w", out, err)
	}
	if err := syncFile(temp); err != nil {
		return err
	}
	if err := os.Rename(temp, out); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(out))
}

// streams are the arguments that keep what goes beside the picture, from the
// second input, and notes of what cannot be kept as it is. That is tried before
// anything is painted.
func (p *plan) streams(ctx context.Context, in Input, dir string) (args, notes []string, err error) {
	try := func(args []string) (bool, error) {
		temp := filepath.Join(dir, "part-try")
		defer os.Remove(temp)
		all := append(append([]string{}, in.args()...), args...)
		err := p.run(ctx, append(all, "-t", "1", "-f", p.mux, target(temp))...)
		return err == nil, ctx.Err()
	}
	var copies []string
	counts := map[string]int{}
	for _, s := range p.info.others {
		copies = append(copies, "-map", fmt.Sprintf("0:%d", s.index), fmt.Sprintf("-c:%s:%d", s.letter(), counts[s.kind]), "copy")
		counts[s.kind]++
	}
	if len(copies) == 0 {
		return nil, nil, nil
	}
	ok, err := try(copies)
	if err != nil {
		return nil, nil, err
	}
	if ok {
		return beside(copies), nil, nil
	}
	// One by one: as it is, in a codec that the container holds, or not at all.
	clear(counts)
	for _, s := range p.info.others {
		kept := false
		for _, codec := range append([]string{"copy"}, p.substitutes(s)...) {
			option := fmt.Sprintf("-c:%s:0", s.letter())
			ok, err := try([]string{"-map", fmt.Sprintf("0:%d", s.index), option, codec})
			if err != nil {
				return nil, nil, err
			}
			if !ok {
				continue
			}
			option = fmt.Sprintf("-c:%s:%d", s.letter(), counts[s.kind])
			args = append(args, "-map", fmt.Sprintf("0:%d", s.index), option, codec)
			counts[s.kind]++
			kept = true
			if codec != "copy" {
				notes = append(notes, fmt.Sprintf("its %s %s is converted to %s, which %s holds", s.codec, s.kind, codec, p.mux))
			}
			break
		}
		if !kept {
			notes = append(notes, fmt.Sprintf("its %s %s is left out: %s cannot hold it", s.codec, s.kind, p.mux))
		}
	}
	return beside(args), notes, nil
}

// beside makes the maps those of the second input.
func beside(args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = a
		if i > 0 && args[i-1] == "-map" {
			out[i] = "1" + strings.TrimPrefix(a, "0")
		}
	}
	return out
}

// letter is ffmpeg's for a kind of stream.
func (s stream) letter() string {
	return map[string]string{"audio": "a", "subtitle": "s", "attachment": "t"}[s.kind]
}

// substitutes are codecs that a container holds instead of a stream's own.
func (p *plan) substitutes(s stream) []string {
	switch {
	case s.kind == "audio" && p.mux == "webm":
		return []string{"libopus", "libvorbis"}
	case s.kind == "audio" && p.mux == "avi":
		return []string{"libmp3lame", "pcm_s16le"}
	case s.kind == "audio":
		return []string{"aac"}
	case s.kind != "subtitle" || !s.text:
		return nil
	case p.mux == "mp4" || p.mux == "mov":
		return []string{"mov_text"}
	case p.mux == "webm":
		return []string{"webvtt"}
	case p.mux == "matroska":
		return []string{"subrip"}
	}
	return nil
}

// Clear removes what Transcode keeps in the folder StateDir(out), which stays.
func Clear(out string) error {
	dir := StateDir(out)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	// The journal first: without it the parts are nothing.
	if err := os.Remove(filepath.Join(dir, journalFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "part-") || atomicfile.IsTemp(e.Name()) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
