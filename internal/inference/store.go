package inference

import (
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
	close func() error
}

// newFileStore keeps a result in a temporary file. The file has no name any
// more, so that not even a process that is killed leaves it behind.
func newFileStore(size networks.Size) (*store, error) {
	f, err := os.CreateTemp("", "stylenet-*.maps")
	if err != nil {
		return nil, fmt.Errorf("temporary file: %w", err)
	}
	named := os.Remove(f.Name()) != nil // Windows removes no open file
	return &store{size, f, func() error {
		err := f.Close()
		if named {
			err = errors.Join(err, os.Remove(f.Name()))
		}
		return err
	}}, nil
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
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("what is kept between passes: %w", err)
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

// pool is memory for stores.
type pool struct{ free [][]byte }

func (p *pool) newStore(size networks.Size) *store {
	pages := make(pages, roundToPages(4*int64(size.C)*int64(size.H)*int64(size.W))/pageBytes)
	for i := range pages {
		if n := len(p.free); n > 0 {
			pages[i], p.free = p.free[n-1], p.free[:n-1]
		} else {
			pages[i] = make([]byte, pageBytes)
		}
	}
	return &store{size, pages, func() error {
		p.free = append(p.free, pages...)
		return nil
	}}
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
