package atomicfile

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Sweep removes the temporary files, in dir and the folders below it, that
// killed processes left behind. A file that is being written, by whatever
// process, stays, and so does one of which nothing can be said: where the file
// system knows no locks. Links and folders whose names begin with a dot are not
// entered. It holds a bounded number of names, and goes on past what it cannot
// read or remove, of which it returns the first error.
func Sweep(ctx context.Context, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	var first error
	note := func(err error) {
		if first == nil && !errors.Is(err, fs.ErrNotExist) { // another process may sweep too
			first = err
		}
	}
	for {
		entries, err := d.ReadDir(1024)
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			switch {
			case e.IsDir() && !strings.HasPrefix(e.Name(), "."):
				note(Sweep(ctx, path))
			case e.Type().IsRegular() && IsTemp(e.Name()):
				note(removeDead(path))
			}
		}
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			return first
		}
		if err != nil {
			note(err)
			return first
		}
	}
}
