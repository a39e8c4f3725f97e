package inference

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"unsafe"

	"stylenet/internal/networks"
)

// store keeps one result of a picture that is run by strips.
type store struct {
	size  networks.Size
	where interface {
		io.ReaderAt
		io.WriterAt
	}
	giveBack func()
}

// write keeps rows: src is (C, rows, W).
func (s *store) write(src []float32, r rows) error { return s.each(src, r, s.where.WriteAt) }

// read returns rows: dst is (C, rows, W).
func (s *store) read(dst []float32, r rows) error { return s.each(dst, r, s.where.ReadAt) }

// each moves the rows of each channel, several channels at a time: memory is
// copied, be it the operating system's that a file is in.
func (s *store) each(values []float32, r rows, move func([]byte, int64) (int, error)) error {
	n := r.count() * s.size.W
	workers := min(runtime.GOMAXPROCS(0), s.size.C)
	errs := make([]error, workers)
	var done sync.WaitGroup
	for worker := range workers {
		done.Go(func() {
			for c := worker; c < s.size.C && errs[worker] == nil; c += workers {
				at := int64(c*s.size.H+r.from) * int64(s.size.W)
				_, errs[worker] = move(asBytes(values[c*n:(c+1)*n]), 4*at)
			}
		})
	}
	done.Wait()
	if err := cmp.Or(errs...); err != nil {
		return fmt.Errorf("temporary file, for what memory does not hold: %w: make room, or name another folder in the environment variable TMPDIR", err)
	}
	return nil
}

// asBytes is the memory of values: what no other process reads needs no byte
// order.
func asBytes(values []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 4*len(values))
}

// pageBytes is small beside the results that are kept. Pages of one size leave
// no gaps, and no garbage.
const pageBytes = 4 << 20

// roundToPages is the memory that a store of n bytes takes.
func roundToPages(n int64) int64 { return (n + pageBytes - 1) / pageBytes * pageBytes }

// pool is the memory and the files of stores, used again for others: new ones
// cost the operating system more time than what is written to them.
type pool struct {
	pages [][]byte
	files map[networks.Size][]mapFile
}

// mapFile is a temporary file. Without a name not even a process that is killed
// leaves it behind; Windows removes no open file, so it is named there.
type mapFile struct {
	*os.File
	named bool
}

// newStore makes a store in memory, or in a temporary file.
func (p *pool) newStore(size networks.Size, inFile bool) (*store, error) {
	if !inFile {
		return p.inMemory(size), nil
	}
	if old := p.files[size]; len(old) > 0 {
		p.files[size] = old[1:]
		return p.inFile(size, old[0]), nil
	}
	// Files of other sizes would take room that is counted on.
	if err := p.close(); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp("", "stylenet-*.maps")
	if err != nil {
		return nil, fmt.Errorf("temporary file, for what memory does not hold: %w: name another folder in the environment variable TMPDIR", err)
	}
	return p.inFile(size, mapFile{f, os.Remove(f.Name()) != nil}), nil
}

func (p *pool) inFile(size networks.Size, f mapFile) *store {
	return &store{size, f, func() {
		if p.files == nil {
			p.files = map[networks.Size][]mapFile{}
		}
		p.files[size] = append(p.files[size], f)
	}}
}

func (p *pool) inMemory(size networks.Size) *store {
	pages := make(pages, roundToPages(4*int64(size.C)*int64(size.H)*int64(size.W))/pageBytes)
	for i := range pages {
		if n := len(p.pages); n > 0 {
			pages[i], p.pages = p.pages[n-1], p.pages[:n-1]
		} else {
			pages[i] = make([]byte, pageBytes)
		}
	}
	return &store{size, pages, func() { p.pages = append(p.pages, pages...) }}
}

// close removes the files of stores that were given back.
func (p *pool) close() error {
	var errs []error
	for _, files := range p.files {
		for _, f := range files {
			errs = append(errs, f.Close())
			if f.named {
				errs = append(errs, os.Remove(f.Name()))
			}
		}
	}
	p.files = nil
	return errors.Join(errs...)
}

// pages are memory that is used as a file is.
type pages [][]byte

func (p pages) WriteAt(src []byte, at int64) (n int, err error) {
	for n < len(src) {
		n += copy(p[at/pageBytes][at%pageBytes:], src[n:])
		at = at - at%pageBytes + pageBytes
	}
	return n, nil
}

func (p pages) ReadAt(dst []byte, at int64) (n int, err error) {
	for n < len(dst) {
		n += copy(dst[n:], p[at/pageBytes][at%pageBytes:])
		at = at - at%pageBytes + pageBytes
	}
	return n, nil
}
