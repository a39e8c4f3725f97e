//go:build unix

package data

import (
	"errors"
	"os"
	"syscall"
)

// openPixels maps a file into memory, or reads it where that cannot be. It
// takes the file over.
func openPixels(f *os.File, size int64) (pixelFile, error) {
	if int64(int(size)) != size {
		return fileView{f}, nil
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, int(size), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return fileView{f}, nil
	}
	return &mapped{b, f}, nil
}

// mapped is a file in memory: a photo is read without a copy of it.
type mapped struct {
	b []byte
	f *os.File
}

func (m *mapped) view(offset, n int64, _ *[]byte) ([]byte, error) {
	return m.b[offset : offset+n], nil
}

func (m *mapped) Close() error {
	return errors.Join(syscall.Munmap(m.b), m.f.Close())
}

// lock takes an open file for this process alone, until it is closed.
func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errors.New("another process is making it")
	}
	return nil // some file systems know no locks
}
