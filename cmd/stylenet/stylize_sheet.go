package main

import (
	"bytes"
	"fmt"
	"math"
	"path"
	"path/filepath"
	"sync"

	"stylenet/internal/images"
	"stylenet/internal/stylize/batch"
)

// sheetCell is the side of a cell of contact sheets, in pixels.
const sheetCell = 384

// moodBoard collects what a contact sheet shows: a row for each picture, of the
// photo and its results, or of one picture a grid.
type moodBoard struct {
	path     string
	quality  int
	pictures int
	bytes    int64 // that it takes in the end

	mu    sync.Mutex
	names []string          // of the pictures
	cells []*images.Picture // of the photos, and then of the results by place
}

// newMoodBoard refuses a sheet that takes more than a quarter of the memory, and
// one that would overwrite something.
func newMoodBoard(o *stylizeOptions, p *batch.Plan, pictures int) (*moodBoard, error) {
	if err := p.Apart(o.sheet); err != nil {
		return nil, err
	}
	// A cell is held itself, in the sheet and in what is encoded.
	const cellBytes = (12 + 12 + 4) * (sheetCell + 2*images.SheetMargin) * (sheetCell + 2*images.SheetMargin)
	cells := pictures * (len(p.Models) + 1)
	if most := int64(o.memory) / 4 / cellBytes; int64(cells) > most {
		return nil, fmt.Errorf("a contact sheet of %d pictures and their results has %d cells, and a quarter of --memory holds %d: give fewer pictures or more memory", pictures, cells, most)
	}
	if o.output != "" && o.output != stdout {
		all, err := p.Pictures()
		if err != nil {
			return nil, err
		}
		for pic, err := range all {
			if err != nil {
				return nil, err
			}
			for _, output := range p.Outputs(pic) {
				if filepath.Clean(output) == filepath.Clean(o.sheet) {
					return nil, &batch.CollisionError{A: pic.Path, B: "the contact sheet", Output: output}
				}
			}
		}
	}
	return &moodBoard{
		path: o.sheet, quality: o.quality, pictures: pictures, bytes: int64(cells) * cellBytes,
		names: make([]string, pictures), cells: make([]*images.Picture, cells),
	}, nil
}

// name takes the name of a picture.
func (b *moodBoard) name(t *stylizeTask) {
	if t.place < b.pictures {
		b.names[t.place] = path.Base(t.pic.Name)
	}
}

// addPhoto takes the photo of a picture.
func (b *moodBoard) addPhoto(picture int, r images.Reader) error { return b.put(picture, r) }

// add takes a result, whose place is that among all.
func (b *moodBoard) add(place int, r images.Reader) error { return b.put(b.pictures+place, r) }

// addFiles takes a result that an earlier run has made, and its photo where that
// is asked for.
func (b *moodBoard) addFiles(t *stylizeTask, photo bool) error {
	src, err := images.Decoder{}.OpenSource(t.output, new(bytes.Buffer))
	if err != nil {
		return err
	}
	if err := b.add(t.place, src); err != nil || !photo {
		return err
	}
	if src, err = (images.Decoder{}).OpenSource(t.pic.Path, new(bytes.Buffer)); err != nil {
		return err
	}
	return b.addPhoto(t.place, src)
}

func (b *moodBoard) put(cell int, r images.Reader) error {
	p, err := thumbnail(r, sheetCell)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if cell < len(b.cells) { // a folder may have grown since it was counted
		b.cells[cell] = p
	}
	return nil
}

// thumbnail shrinks a picture to fit a cell, without another copy of its pixels.
func thumbnail(r images.Reader, cell int) (*images.Picture, error) {
	w, h := r.Size()
	if max(w, h) > cell {
		w, h = images.LongSide(w, h, cell)
	}
	s, err := images.NewScaled(r, w, h)
	if err != nil {
		return nil, err
	}
	p := images.New(w, h)
	if !s.Opaque() {
		p.Alpha = make([]float32, w*h)
	}
	s.ReadRows(p, 0)
	return p, nil
}

// save writes the sheet.
func (b *moodBoard) save(brushes []brush) error {
	at := func(cell int, caption string) images.Labelled {
		if b.cells[cell] == nil {
			caption += " (failed)"
		}
		return images.Labelled{Picture: b.cells[cell], Caption: caption}
	}
	var rows [][]images.Labelled
	for i := range b.pictures {
		row := []images.Labelled{at(i, b.names[i])}
		for k, brush := range brushes {
			row = append(row, at(b.pictures*(1+k)+i, brush.name))
		}
		rows = append(rows, row)
	}
	if b.pictures == 1 {
		rows = grid(rows[0])
	}
	sheet, err := images.Sheet(rows, sheetCell)
	if err != nil {
		return err
	}
	if err := makeFolder(b.path); err != nil {
		return err
	}
	return images.Save(b.path, sheet, images.SaveOptions{Quality: b.quality})
}

// grid breaks cells into rows, about as many as there are columns.
func grid(cells []images.Labelled) [][]images.Labelled {
	columns := int(math.Ceil(math.Sqrt(float64(len(cells)))))
	var rows [][]images.Labelled
	for len(cells) > 0 {
		n := min(columns, len(cells))
		rows = append(rows, cells[:n])
		cells = cells[n:]
	}
	return rows
}
