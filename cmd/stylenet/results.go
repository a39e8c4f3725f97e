package main

import (
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"stylenet/internal/atomicfile"
	"stylenet/internal/images"
	"stylenet/internal/stylize/batch"
)

// results is a folder of results with the journal of what is done.
type results struct {
	dir     string
	journal *batch.Journal
}

// openResults opens a folder of results, which it makes. sweep clears what runs
// that were killed have left in it.
func openResults(cmd *cobra.Command, dir string, sweep bool) (*results, error) {
	j, err := batch.OpenJournal(dir)
	if err != nil {
		return nil, err
	}
	if sweep {
		if err := atomicfile.Sweep(cmd.Context(), dir); err != nil && cmd.Context().Err() == nil {
			warn(cmd, "what killed runs have left in %s cannot all be cleared: %v", dir, err)
		}
	}
	return &results{dir, j}, nil
}

// has says that the journal knows a result, as it is on the disk, to be made of
// the input that e describes.
func (r *results) has(e batch.Entry, output string) (bool, error) {
	e, err := e.Of(r.dir, output)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return r.journal.Has(e)
}

// add enters a result that is on the disk.
func (r *results) add(e batch.Entry, output string) error {
	e, err := e.Of(r.dir, output)
	if err != nil {
		return err
	}
	return r.journal.Add(e)
}

func (r *results) Close() error { return r.journal.Close() }

// saveCanvas writes a picture to a file, whose folder it makes, and enters it where
// there are results to enter it in.
func saveCanvas(c *images.Canvas, output string, save images.SaveOptions, r *results, e batch.Entry) error {
	if err := makeFolder(output); err != nil {
		return err
	}
	if err := c.Save(output, save); err != nil || r == nil {
		return err
	}
	return r.add(e, output)
}
