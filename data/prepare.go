package data

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"stylenet/internal/atomicfile"
	"stylenet/internal/images"
)

// unfinished ends the name of a cache that is being made.
const unfinished = ".part"

// Prepared is the outcome of Prepare.
type Prepared struct {
	Path    string    `json:"path"`
	Files   int       `json:"files"`   // that look like pictures
	Usable  int       `json:"usable"`  // whole and large enough
	Reused  int       `json:"reused"`  // photos that an earlier call had done
	Bytes   int64     `json:"bytes"`   // of the cache
	Skipped []Skipped `json:"skipped"` // broken or too small, in the order of List
}

// Prepare decodes every photo of opts.Dir once and writes what crops are cut
// from to the cache opts.Cache. Loaders of the same Size, ScaleMax, MinSide and
// MaxPixels then make the same batches from it, bit for bit, with a small part
// of the work; Batch, Seed, ScaleMin and Flip are theirs to choose. A photo
// takes 3 bytes for each pixel, its short side being at most Size·ScaleMax.
//
// The cache appears under its name when it is whole, until then it has ".part"
// appended. However a call ended (an error, ctx, a kill, a power cut), the next
// goes on with the photos that it had done. A cache that is up to date stays as
// it is; one that is not is replaced. Other files of either name stay, with an
// error. The same photos give the same bytes.
// progress may be nil.
func Prepare(ctx context.Context, opts Options, progress func(done, total int)) (*Prepared, error) {
	if opts.Cache == "" {
		return nil, errors.New("the cache has no name")
	}
	opts.Batch = max(opts.Batch, 1)
	opts, files, err := opts.open()
	if err != nil {
		return nil, err
	}
	if progress == nil {
		progress = func(int, int) {}
	}
	m := &maker{opts: opts, files: files, progress: progress}
	entries, reused, err := m.upToDate(ctx)
	if err == nil && entries == nil {
		entries, reused, err = m.make(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", opts.Cache, err)
	}
	info, err := os.Stat(opts.Cache)
	if err != nil {
		return nil, err
	}
	p := &Prepared{Path: opts.Cache, Files: len(files), Reused: reused, Bytes: info.Size(), Skipped: []Skipped{}}
	for i, e := range entries {
		if e.problem != "" {
			p.Skipped = append(p.Skipped, Skipped{files[i], e.problem})
		}
	}
	p.Usable = p.Files - len(p.Skipped)
	return p, nil
}

// A maker makes one cache.
type maker struct {
	opts     Options
	files    []string
	progress func(done, total int)
}

// upToDate returns the entries of the finished cache, or nil where there is
// none that is whole and of the photos as they are.
func (m *maker) upToDate(ctx context.Context) (_ []entry, _ int, err error) {
	c, err := openCache(m.opts, m.files)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, nil
	case errors.Is(err, errNoCache):
		return nil, 0, fmt.Errorf("there is another file of that name, and it stays: %w", errNoCache)
	case err != nil:
		return nil, 0, nil
	}
	defer func() { err = errors.Join(err, c.pixels.Close()) }()
	var buf []byte
	for i, e := range c.entries {
		if ctx.Err() != nil {
			return nil, 0, context.Cause(ctx)
		}
		if e.problem == "" && c.use(i, &buf, func(*images.Planes) error { return nil }) != nil {
			return nil, 0, nil
		}
		m.progress(i+1, len(c.entries))
	}
	return c.entries, len(c.entries), nil
}

// make writes the cache, from where an earlier call stopped.
func (m *maker) make(ctx context.Context) (entries []entry, reused int, err error) {
	part := m.opts.Cache + unfinished
	if err := os.MkdirAll(filepath.Dir(part), 0o777); err != nil {
		return nil, 0, err
	}
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, 0, err
	}
	closed := false
	defer func() {
		if !closed {
			err = errors.Join(err, f.Close())
		}
	}()
	if err := lock(f); err != nil {
		return nil, 0, err
	}
	// Whoever held the lock until now may have finished.
	opened, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if named, err := os.Stat(part); err != nil || !os.SameFile(opened, named) {
		return nil, 0, errors.New("another process has just made it: try again")
	}
	entries, end, err := m.begin(ctx, f)
	if err != nil {
		return nil, 0, err
	}
	reused = len(entries)
	if entries, end, err = m.decode(ctx, f, entries, end); err != nil {
		return nil, 0, err
	}
	usable := 0
	for _, e := range entries {
		if e.problem == "" {
			usable++
		}
	}
	if usable == 0 {
		return nil, 0, fmt.Errorf("%s holds no usable picture among %d files; %s: %s", m.opts.Dir, len(m.files), m.files[0], entries[0].problem)
	}
	if err := finish(f, entries, end); err != nil {
		return nil, 0, err
	}
	// The lock is kept until the name is gone, but Windows, which has none
	// here, renames no open file.
	if runtime.GOOS == "windows" {
		closed = true
		if err := f.Close(); err != nil {
			return nil, 0, err
		}
	}
	if err := os.Rename(part, m.opts.Cache); err != nil {
		return nil, 0, err
	}
	return entries, reused, atomicfile.SyncDir(filepath.Dir(m.opts.Cache))
}

// begin finds the whole, current photos at the beginning of the file, cuts off
// what follows, and returns their entries and the file's length. All pixels
// are read, for after a power cut any of them may be lost. A file that is not
// of this package stays as it is.
func (m *maker) begin(ctx context.Context, f *os.File) (entries []entry, end int64, err error) {
	head, err := m.opts.head(m.files).encode()
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	start := make([]byte, len(head))
	n, err := f.ReadAt(start, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	start = start[:n]
	// A call may have ended before its first bytes were all there.
	if magic := min(n, len(cacheMagic)); string(start[:magic]) != cacheMagic[:magic] {
		return nil, 0, fmt.Errorf("%s is no unfinished photo cache, and it stays: move it away, or name another cache", f.Name())
	}
	if !bytes.Equal(start, head) {
		if err := f.Truncate(0); err != nil {
			return nil, 0, err
		}
		if _, err := f.WriteAt(head, 0); err != nil {
			return nil, 0, err
		}
		// By these bytes the next call knows the file, even after a power cut.
		return nil, int64(len(head)), f.Sync()
	}
	end = int64(len(head))
	buf := make([]byte, entrySize+maxProblem)
	pixels := fileView{f}
	for i, name := range m.files {
		if ctx.Err() != nil {
			return nil, 0, context.Cause(ctx)
		}
		n, err := f.ReadAt(buf[:entrySize+maxProblem], end)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, 0, err
		}
		e, length, err := decodeEntry(buf[:n], i)
		if err != nil || e.offset != end+int64(length) || e.bytes() > info.Size()-e.offset {
			break
		}
		pix, err := pixels.view(e.offset, e.bytes(), &buf)
		if err != nil || checksum(pix) != e.crc || !e.current(filepath.Join(m.opts.Dir, filepath.FromSlash(name))) {
			break
		}
		buf = buf[:cap(buf)]
		entries, end = append(entries, e), e.offset+e.bytes()
		m.progress(len(entries), len(m.files))
	}
	return entries, end, f.Truncate(end)
}

// A reduction is a photo on its way into the cache.
type reduction struct {
	i      int   // of the photo
	entry  entry // without an offset
	planes images.Planes
	err    error
	done   chan struct{}
}

// decode appends the photos that are not in the cache yet. They are decoded
// several at once and written in order.
func (m *maker) decode(ctx context.Context, f *os.File, entries []entry, end int64) ([]entry, int64, error) {
	var wg sync.WaitGroup
	defer wg.Wait()
	window := 2 * m.opts.Workers
	jobs := make(chan *reduction, window)
	defer close(jobs)
	for range m.opts.Workers {
		wg.Go(func() {
			w := newWorker(&Loader{opts: m.opts, files: m.files})
			for p := range jobs {
				p.err = w.prepare(p)
				p.done <- struct{}{}
			}
		})
	}

	next := len(entries)
	queue := make([]*reduction, 0, window)
	idle := make([]*reduction, window)
	for i := range idle {
		idle[i] = &reduction{done: make(chan struct{}, 1)}
	}
	var text []byte
	for len(entries) < len(m.files) {
		for ; len(idle) > 0 && next < len(m.files); next++ {
			p := idle[len(idle)-1]
			idle, queue = idle[:len(idle)-1], append(queue, p)
			p.i = next
			jobs <- p // never waits: it holds the whole window
		}
		p := queue[0]
		queue = append(queue[:0], queue[1:]...)
		select {
		case <-p.done:
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		}
		if p.err != nil {
			return nil, 0, p.err
		}
		e := &p.entry
		e.offset = end + entrySize + int64(len(e.problem))
		text = e.append(text[:0], p.i)
		_, err := f.WriteAt(text, end)
		if err == nil {
			_, err = f.WriteAt(p.planes.Pix, e.offset)
		}
		if err != nil {
			return nil, 0, err
		}
		entries, end = append(entries, *e), e.offset+e.bytes()
		idle = append(idle, p)
		m.progress(len(entries), len(m.files))
	}
	return entries, end, nil
}

// prepare fills in all of p but where it lies.
func (w *worker) prepare(p *reduction) error {
	name := w.files[p.i]
	path := filepath.Join(w.opts.Dir, filepath.FromSlash(name))
	e := entry{}
	e.size, e.modTime = stamp(path) // before it is read: a change in between makes it stale
	src, problem := w.open(name)
	p.planes.Pix = p.planes.Pix[:0]
	if e.problem = problem[:min(len(problem), maxProblem)]; problem != "" {
		e.sum = sum(path) // what was read may be a part of it
	} else {
		e.sum = sha256.Sum256(w.file.Bytes())
		e.width, e.height = src.Size()
		e.w, e.h = w.opts.reduced(e.width, e.height)
		p.planes.W, p.planes.H = e.w, e.h
		p.planes.Rect.Max.X, p.planes.Rect.Max.Y = e.w, e.h
		if err := w.resampler.Planes(&p.planes, src); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		e.crc = checksum(p.planes.Pix)
	}
	p.entry = e
	return nil
}

// finish appends the index and puts everything on the disk.
func finish(f *os.File, entries []entry, end int64) error {
	var index []byte
	for i := range entries {
		index = entries[i].append(index, i)
	}
	trailer := binary.LittleEndian.AppendUint64(nil, uint64(end))
	trailer = binary.LittleEndian.AppendUint64(trailer, uint64(len(index)))
	trailer = binary.LittleEndian.AppendUint32(trailer, checksum(index))
	trailer = append(trailer, cacheEnd...)
	if _, err := f.WriteAt(append(index, trailer...), end); err != nil {
		return err
	}
	return f.Sync()
}
