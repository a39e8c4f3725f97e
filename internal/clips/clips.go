// Package clips takes pairs of consecutive frames from a folder of clips, with the
// motion between them, for temporal losses.
//
// It owns which frames are taken, a file that keeps them decoded, the directory in
// which it makes that file, and the pairs that are cut from them. It refuses to
// decode video (package video), to measure motion (package flow), to know what
// learns from pairs, and to put other frames in the place of those that its caller
// has begun with.
package clips

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"stylenet/internal/atomicfile"
	"stylenet/internal/images"
	"stylenet/internal/video"
)

// MaxPairs is how many pairs are taken of all clips together. They are spread
// over the clips evenly; of more clips than that, as many are taken, spread over
// the list.
const MaxPairs = 2000

// Set is the frames of a folder's clips, in a file. It serves any number of
// goroutines.
type Set struct {
	file  *os.File
	pairs []pair
	id    string
}

// pair is two frames of one size, one after the other in the file: each (3, H, W),
// a byte a value.
type pair struct {
	offset int64
	w, h   int
}

// index is the first line of the file.
type index struct {
	Key   string `json:"key"` // of what the frames were taken from
	Sum   string `json:"sum"` // SHA-256 of the frames
	Clips []clip `json:"clips"`
}

// id tells the frames from all others, wherever they were taken from.
func (x index) id() string {
	hash := sha256.New()
	fmt.Fprintln(hash, x.Sum)
	for _, c := range x.Clips {
		fmt.Fprintln(hash, c.W, c.H, c.Pairs)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// clip is what was taken of one.
type clip struct {
	Name  string `json:"name"`
	W     int    `json:"w"`
	H     int    `json:"h"`
	Pairs int    `json:"pairs"`
}

// source is a file of video, or a folder whose pictures are frames.
type source struct {
	name   string   // relative to the folder of clips
	frames []string // pictures, in the order of their names; nil for a file
}

// Open takes the frames of the clips in dir, reduced to a short side of side
// pixels, from the file at path, which is written first where it does not hold
// those of these clips. dir holds files of video, folders of pictures, whose names
// are in the order of frames, or such pictures itself. ctx ends the decoding.
//
// want, unless it is empty, is the ID of the set that the caller has begun with:
// then a file at path is taken as it is, whatever has become of dir since, one that
// is gone is made again, and other frames than those of want are refused.
//
// Nobody else may open a set at a path in the same directory at the same time.
func Open(ctx context.Context, dir, path string, side int, want string) (*Set, error) {
	x, s, err := readIndex(path)
	gone := errors.Is(err, os.ErrNotExist)
	if err != nil && !gone && want != "" {
		return nil, err
	}
	if want == "" || gone {
		sources, key, err := list(dir, side)
		if err == nil && (s == nil || x.Key != key) {
			err = prepare(ctx, dir, path, sources, key, side, want)
		}
		if err != nil && want != "" {
			err = fmt.Errorf("%s is gone, and cannot be made again: %w", path, err)
		}
		if err != nil {
			return nil, err
		}
		if _, s, err = readIndex(path); err != nil {
			return nil, err
		}
	}
	if want != "" && s.id != want {
		return nil, fmt.Errorf("%s holds other frames than before: put the file back, or remove it, and it is made again where the clips in %s are as they were", path, dir)
	}
	if s.file, err = os.Open(path); err != nil {
		return nil, err
	}
	return s, nil
}

// ID tells the frames from all others.
func (s *Set) ID() string { return s.id }

// Len is the number of pairs, at least 1.
func (s *Set) Len() int { return len(s.pairs) }

// Close closes the file.
func (s *Set) Close() error { return s.file.Close() }

// list finds the clips of a folder, and a key that changes with them.
func list(dir string, side int) ([]source, string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, "", err
	}
	hash := sha256.New()
	fmt.Fprintln(hash, "frames and their sum, of", side, MaxPairs)
	note := func(name string) error {
		info, err := os.Stat(filepath.Join(dir, name))
		if err == nil {
			fmt.Fprintln(hash, filepath.ToSlash(name), info.Size(), info.ModTime().UnixNano())
		}
		return err
	}
	var sources []source
	own := source{name: "."}
	for _, e := range entries { // in the order of their names
		name := e.Name()
		full := filepath.Join(dir, name)
		info, err := os.Stat(full)
		if err != nil {
			return nil, "", err
		}
		switch {
		case strings.HasPrefix(name, "."):
		case info.IsDir():
			frames, err := pictures(dir, name)
			if err != nil {
				return nil, "", err
			}
			if len(frames) > 1 {
				sources = append(sources, source{name, frames})
			}
		case isPicture(name):
			own.frames = append(own.frames, name)
		case video.IsClip(full):
			sources = append(sources, source{name: name})
		}
	}
	if len(own.frames) > 1 {
		sources = append(sources, own)
	}
	if len(sources) == 0 {
		return nil, "", fmt.Errorf("%s holds no clips: put files of video into it, or folders of two or more frames each", dir)
	}
	sources = spread(sources, MaxPairs)
	for _, s := range sources {
		for _, name := range append(slices.Clone(s.frames), s.name) {
			if name == "." || name == s.name && s.frames != nil {
				continue
			}
			if err := note(name); err != nil {
				return nil, "", err
			}
		}
	}
	return sources, hex.EncodeToString(hash.Sum(nil)), nil
}

// spread takes most of a longer list, at even distances.
func spread(sources []source, most int) []source {
	if len(sources) <= most {
		return sources
	}
	taken := make([]source, most)
	for i := range taken {
		taken[i] = sources[i*len(sources)/most]
	}
	return taken
}

// pictures lists those of a folder below dir, relative to dir.
func pictures(dir, folder string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, folder))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && isPicture(e.Name()) && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, filepath.Join(folder, e.Name()))
		}
	}
	return names, nil
}

func isPicture(name string) bool {
	return slices.Contains([]string{".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}, strings.ToLower(filepath.Ext(name)))
}

// maxIndex bounds the index, in bytes: MaxPairs clips with the longest names that
// file systems have, 255 bytes, each of them escaped.
const maxIndex = MaxPairs * (6*255 + 100)

// readIndex reads the index of the file at path, and makes a set of it that has no
// file yet.
func readIndex(path string) (x index, s *Set, err error) {
	f, err := os.Open(path)
	if err != nil {
		return x, nil, err
	}
	defer f.Close()
	damaged := func(err error) (index, *Set, error) {
		return index{}, nil, fmt.Errorf("%s is damaged (%w): remove it, and it is made again", path, err)
	}
	line, err := bufio.NewReader(io.LimitReader(f, maxIndex)).ReadBytes('\n')
	if err != nil {
		return damaged(fmt.Errorf("no end of the index in its first %d bytes: %w", len(line), err))
	}
	if err := json.Unmarshal(line, &x); err != nil {
		return damaged(err)
	}
	s = &Set{id: x.id()}
	at := int64(len(line))
	for _, c := range x.Clips {
		if c.W < 1 || c.H < 1 || c.Pairs < 1 || len(s.pairs)+c.Pairs > MaxPairs {
			return damaged(fmt.Errorf("%d pairs of %d×%d", c.Pairs, c.W, c.H))
		}
		for range c.Pairs {
			s.pairs = append(s.pairs, pair{at, c.W, c.H})
			at += 2 * 3 * int64(c.W) * int64(c.H)
		}
	}
	if info, err := f.Stat(); err != nil {
		return x, nil, err
	} else if info.Size() != at || len(s.pairs) == 0 {
		return damaged(fmt.Errorf("%d bytes, not %d", info.Size(), at))
	}
	return x, s, nil
}

// workPrefix starts the names of the directories that prepare works in.
const workPrefix = ".clips-"

// prepare writes the file. Frames go to a temporary one first, as how many a clip
// has is known at its end alone. Both are made in a directory beside path, so that
// what a killed process has left is known by its name, and removed first.
func prepare(ctx context.Context, dir, path string, sources []source, key string, side int, want string) (err error) {
	parent := filepath.Dir(path)
	if err := removeLeftovers(parent); err != nil {
		return err
	}
	work, err := os.MkdirTemp(parent, workPrefix+"*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	raw, err := os.Create(filepath.Join(work, "raw"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	x := index{Key: key}
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(raw, sum), 1<<20)
	for _, s := range sources {
		c, err := s.take(ctx, dir, side, MaxPairs/len(sources), out)
		if err != nil {
			return err
		}
		if c.Pairs > 0 {
			x.Clips = append(x.Clips, c)
		}
	}
	if len(x.Clips) == 0 {
		return fmt.Errorf("%s holds no clip of two frames or more", dir)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if _, err := raw.Seek(0, io.SeekStart); err != nil {
		return err
	}
	x.Sum = hex.EncodeToString(sum.Sum(nil))
	if want != "" && x.id() != want {
		return fmt.Errorf("the clips in %s, or what decodes them, have changed since it was made: put the file or the clips back", dir)
	}
	line, err := json.Marshal(x)
	if err != nil {
		return err
	}
	whole := filepath.Join(work, "whole")
	if err := atomicfile.Write(whole, 0o666, func(w io.Writer) error {
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
		_, err := io.Copy(w, raw)
		return err
	}); err != nil {
		return err
	}
	if err := os.Rename(whole, path); err != nil {
		return err
	}
	return atomicfile.SyncDir(parent)
}

// removeLeftovers removes from dir what prepare, killed, has left there.
func removeLeftovers(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), workPrefix) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// take writes up to that many pairs of a clip, spread over it.
func (s source) take(ctx context.Context, dir string, side, most int, out io.Writer) (c clip, err error) {
	c.Name = filepath.ToSlash(s.name)
	next, count, closeClip, err := s.open(ctx, dir, side)
	if err != nil {
		return c, err
	}
	defer closeClip()
	// A pair begins every so many frames; 2 where the clip is short.
	every := max(2, (count+most-1)/most)
	var first *images.Picture
	buf := []byte(nil)
	for i := 0; c.Pairs < most; i++ {
		p, err := next()
		if err == io.EOF {
			break
		} else if err != nil {
			return c, err
		}
		switch i % every {
		case 0:
			first = p
		case 1:
			if c.Pairs == 0 {
				c.W, c.H = p.W, p.H
			}
			if p.W != first.W || p.H != first.H || p.W != c.W || p.H != c.H {
				return c, fmt.Errorf("%s: frame %d has another size than the ones before", filepath.Join(dir, s.name), i+1)
			}
			for _, p := range []*images.Picture{first, p} {
				buf = buf[:0]
				for _, v := range p.Pix {
					buf = append(buf, uint8(min(max(v, 0), 255)+.5))
				}
				if _, err := out.Write(buf); err != nil {
					return c, err
				}
			}
			c.Pairs++
		}
	}
	return c, nil
}

// open returns what gives a clip's frames one by one, with a short side of side
// pixels, and io.EOF behind the last one, and about how many there are.
func (s source) open(ctx context.Context, dir string, side int) (next func() (*images.Picture, error), count int, done func(), err error) {
	if s.frames != nil {
		i := 0
		return func() (*images.Picture, error) {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if i == len(s.frames) {
				return nil, io.EOF
			}
			p, err := images.Open(filepath.Join(dir, s.frames[i]))
			i++
			if err != nil {
				return nil, err
			}
			w, h := images.ShortSide(p.W, p.H, side)
			p, err = images.Resize(p, w, h)
			if err == nil {
				p.Alpha = nil
			}
			return p, err
		}, len(s.frames), func() {}, nil
	}
	tools, err := video.Find(ctx)
	if err != nil {
		return nil, 0, nil, err
	}
	in := video.Input{Name: filepath.Join(dir, s.name)}
	info, err := tools.Probe(ctx, in)
	if err != nil {
		return nil, 0, nil, err
	}
	w, h := images.ShortSide(info.W, info.H, side)
	d, err := tools.Decode(ctx, in, info, video.DecodeOptions{W: w, H: h})
	if err != nil {
		return nil, 0, nil, err
	}
	count = info.Frames
	if count == 0 {
		count = int(info.Seconds * info.Rate.Float())
	}
	return func() (*images.Picture, error) {
		f, err := d.Next()
		if err != nil {
			return nil, err
		}
		return f.Picture, nil
	}, count, d.Close, nil
}
