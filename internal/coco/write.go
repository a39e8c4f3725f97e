package coco

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// Variant is a picture that takes the place of one of the data set.
type Variant struct {
	FileName string // slash-separated
	// About goes into the picture's object, under the key About of Rewrite.
	About any
}

// Rewrite says what becomes of a data set.
type Rewrite struct {
	// Variants is how many pictures take the place of one, 1 or more. Picture and
	// annotation number id become id·Variants to id·Variants+Variants-1: with one
	// variant they keep their numbers.
	Variants int
	// Image returns the pictures that take the place of one: Variants of them,
	// nil for those that are missing. Their annotations are left out with them.
	Image func(Image) []*Variant
	// About is the key under which the objects "info", of each picture, and with
	// several variants of each annotation say where they are from; Info is what
	// "info" says.
	About string
	Info  any
}

// Write reads the file of the data set again and writes that of its variants.
// Fields that it does not know come out as they went in. Where the file has
// changed since Read it is an error. It returns how many pictures and
// annotations were written.
func (d *Dataset) Write(ctx context.Context, w io.Writer, r Rewrite) (pictures, notes int, err error) {
	if err := d.Number(r.Variants); err != nil {
		return 0, 0, err
	}
	f, err := os.Open(d.path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	if stat.Size() != d.size || !stat.ModTime().Equal(d.modified) {
		return 0, 0, fmt.Errorf("%s has changed since it was read: begin again", d.path)
	}
	o := &writing{w: bufio.NewWriterSize(w, 1<<20), rewrite: r, byID: map[int64]int{}}
	for i, image := range d.Images {
		o.byID[image.ID] = i
	}
	o.variants = make([][]*Variant, len(d.Images))
	for i, image := range d.Images {
		o.variants[i] = r.Image(image)
		if len(o.variants[i]) != r.Variants {
			return 0, 0, fmt.Errorf("coco: %d variants of image %d, want %d", len(o.variants[i]), image.ID, r.Variants)
		}
	}
	if err := walk(ctx, f, o.visit); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", d.path, err)
	}
	if err := o.end(); err != nil {
		return 0, 0, err
	}
	return o.pictures, o.notes, o.w.Flush()
}

// writing is the state of Write.
type writing struct {
	w        *bufio.Writer
	rewrite  Rewrite
	variants [][]*Variant
	byID     map[int64]int // the place of a picture

	began           bool
	list            string // that is open
	elements        int    // of it
	hasInfo         bool
	pictures, notes int
}

// visit copies a value. Errors of the buffered writer come with Flush.
func (o *writing) visit(key string, i int, value json.RawMessage, _ int64) error {
	if i < 0 {
		o.key(key)
		o.w.WriteByte('[')
		o.list, o.elements = key, 0
		return nil
	}
	switch key {
	case images, annotations:
		return o.element(key, value)
	case categories:
		return o.copies(value)
	case info_:
		o.hasInfo = true
		with, err := o.edited(value, nil, o.rewrite.Info)
		if err != nil {
			return err
		}
		value = with
	}
	o.key(key)
	_, err := o.w.Write(value)
	return err
}

// key begins the next value of the object.
func (o *writing) key(key string) {
	o.closeList()
	if o.began {
		o.w.WriteString(",\n")
	} else {
		o.w.WriteString("{\n")
	}
	o.began = true
	o.w.Write(marshalled(key))
	o.w.WriteByte(':')
}

func (o *writing) closeList() {
	if o.list != "" {
		o.w.WriteString("]")
		o.list = ""
	}
}

func (o *writing) end() error {
	if !o.hasInfo && o.rewrite.Info != nil {
		value, err := o.edited(json.RawMessage("{}"), nil, o.rewrite.Info)
		if err != nil {
			return err
		}
		o.key(info_)
		o.w.Write(value)
	}
	o.closeList()
	_, err := o.w.WriteString("}\n")
	return err
}

// copies adds an element to the list.
func (o *writing) copies(value json.RawMessage) error {
	if o.elements > 0 {
		o.w.WriteByte(',')
	}
	o.elements++
	o.w.WriteByte('\n')
	_, err := o.w.Write(value)
	return err
}

// element writes the variants of a picture or an annotation.
func (o *writing) element(key string, value json.RawMessage) error {
	v, err := parse(value)
	if err != nil {
		return err
	}
	id, _ := whole(v.get("id"))
	image := id
	if key == annotations {
		image, _ = whole(v.get("image_id"))
	}
	place, ok := o.byID[image]
	if !ok {
		return fmt.Errorf("there is no image %d", image)
	}
	for k, variant := range o.variants[place] {
		if variant == nil {
			continue
		}
		fields := map[string]json.RawMessage{"id": o.number(id, k)}
		var about any
		if key == images {
			fields["file_name"] = marshalled(variant.FileName)
			about = variant.About
			o.pictures++
		} else {
			fields["image_id"] = o.number(image, k)
			if o.rewrite.Variants > 1 {
				about = map[string]int64{"source_id": id}
			}
			o.notes++
		}
		with, err := o.edited(value, fields, about)
		if err != nil {
			return err
		}
		if err := o.copies(with); err != nil {
			return err
		}
	}
	return nil
}

// number is that of a variant; Number has checked that it is one.
func (o *writing) number(id int64, variant int) json.RawMessage {
	return marshalled(id*int64(o.rewrite.Variants) + int64(variant))
}

// edited is an object with other values of some fields, and about it.
func (o *writing) edited(value json.RawMessage, fields map[string]json.RawMessage, about any) (json.RawMessage, error) {
	parsed, err := parse(value)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	add := func(key string, value json.RawMessage) {
		if out.Len() > 0 {
			out.WriteByte(',')
		}
		out.Write(marshalled(key))
		out.WriteByte(':')
		out.Write(value)
	}
	for _, f := range parsed {
		if f.key == o.rewrite.About && about != nil {
			continue // of an augmentation of an augmentation, the last is told
		}
		if other, ok := fields[f.key]; ok {
			f.value = other
		}
		add(f.key, f.value)
	}
	if about != nil {
		value, err := json.Marshal(about)
		if err != nil {
			return nil, err
		}
		add(o.rewrite.About, value)
	}
	return append(append([]byte{'{'}, out.Bytes()...), '}'), nil
}

// marshalled writes a text or a number, which cannot fail.
func marshalled(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("coco: %v", err))
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}
