// Package clips takes pairs of consecutive frames from a folder of clips, with the
// motion between them, for temporal losses.
//
// It owns which frames are taken, a file that keeps them decoded, and the pairs
// that are cut from them. It refuses to decode video (package video), to measure
// motion (package flow) and to know what learns from pairs.
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
	Clips []clip `json:"clips"`
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
func Open(ctx context.Context, dir, path string, side int) (_ *Set, err error) {
	sources, key, err := list(dir, side)
	if err != nil {
		return nil, err
	}
	x, start, err := readIndex(path)
	if err != nil || x.Key != key {
		if err := prepare(ctx, dir, path, sources, key, side); err != nil {
			return nil, err
		}
		if x, start, err = readIndex(path); err != nil {
			return nil, err
		}
	}
	s := &Set{}
	for _, c := range x.Clips {
		for range c.Pairs {
			s.pairs = append(s.pairs, pair{start, c.W, c.H})
			start += 2 * 3 * int64(c.W) * int64(c.H)
		}
	}
	if s.file, err = os.Open(path); err != nil {
		return nil, err
	}
	if info, err := s.file.Stat(); err != nil || info.Size() != start {
		return nil, errors.Join(err, s.file.Close(), fmt.Errorf("%s is damaged: remove it, and it is made again", path))
	}
	return s, nil
}

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
	fmt.Fprintln(hash, "frames of", side, MaxPairs)
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

func readIndex(path string) (index, int64, error) {
	var x index
	f, err := os.Open(path)
	if err != nil {
		return x, 0, err
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, maxIndex)).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &x)
	}
	if err != nil {
		err = fmt.Errorf("%s: index: %w", path, err)
	}
	return x, int64(len(line)), err
}

// workPrefix starts the names of the directories that prepare works in.
const workPrefix = ".clips-"

// prepare writes the file. Frames go to a temporary one first, as how many a clip
// has is known at its end alone. Both are made in a directory beside path, so that
// what a killed process has left is known by its name, and removed first.
func prepare(ctx context.Context, dir, path string, sources []source, key string, side int) (err error) {
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
	out := bufio.NewWriterSize(raw, 1<<20)
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
