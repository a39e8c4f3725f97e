// Package coco reads the annotations of a COCO data set (Lin et al. 2014) and
// writes them again for other pictures of the same geometry.
//
// It owns the strict reading, in which every annotation has its picture, and the
// writing, which keeps every field that it does not know, digit for digit. Both
// read the file as a stream: of a picture a few words are held, of an annotation
// a few numbers, of anything else one element at a time. It refuses to open
// pictures and to know what is done to them.
package coco

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Image is a picture of a data set.
type Image struct {
	ID       int64
	FileName string // slash-separated, without ".."
	W, H     int    // pixels
}

// Dataset is a file of annotations that was read and found to be whole.
type Dataset struct {
	// Images are those of the file, in its order. No two have the same ID.
	Images []Image
	// Annotations is how many there are.
	Annotations int
	// Outside is how many of them have a box that sticks out of its picture by more
	// than rounding does, and FirstOutside the least number of one.
	Outside      int
	FirstOutside int64

	largest  int64 // number of a picture or an annotation, without its sign
	path     string
	size     int64
	modified time.Time
}

// Number checks that pictures and annotations can be numbered for so many
// variants of each.
func (d *Dataset) Number(variants int) error {
	if d.largest > math.MaxInt64/int64(variants)-1 {
		return fmt.Errorf("%s: id %d is too large for %d variants", d.path, d.largest, variants)
	}
	return nil
}

// FormatError reports a file that is no data set, or not a whole one.
type FormatError struct {
	Path   string
	Faults []string // what is wrong, the first ones
	More   int      // how many more there are
}

func (e *FormatError) Error() string {
	text := e.Path + ": " + strings.Join(e.Faults, "\n"+e.Path+": ")
	if e.More > 0 {
		text += fmt.Sprintf("\n%s: and %d more faults", e.Path, e.More)
	}
	return text
}

// mostFaults is how many faults are told.
const mostFaults = 10

// faults collects what is wrong.
type faults struct{ FormatError }

func (f *faults) add(format string, args ...any) {
	if len(f.Faults) == mostFaults {
		f.More++
		return
	}
	f.Faults = append(f.Faults, fmt.Sprintf(format, args...))
}

func (f *faults) err() error {
	if len(f.Faults) == 0 {
		return nil
	}
	return &f.FormatError
}

// reference is what is held of an annotation.
type reference struct {
	id, image, category int64
	right, bottom       float32 // of the box, in pixels; 0 without one
	outside             bool    // the box begins outside of its picture
}

// slack is how far a box sticks out of its picture, in pixels, where that is not
// worth a word: those of COCO do by rounding.
const slack = 2

// reading is the state of Read.
type reading struct {
	faults
	data       *Dataset
	categories []int64
	listed     bool // there is a list of categories
	images     int  // elements, with those that are at fault
	references []reference
}

// Read reads a file of annotations: an object with "images", a list of objects
// with "id", "file_name", "width" and "height", and where they are there
// "annotations" (objects with "id" and "image_id", and where they have them
// "category_id", and "bbox" of x, y, width and height, the latter at least 0) and
// "categories" (objects with "id"). IDs are whole numbers, and unique in their list.
// Other keys may hold anything. A box that sticks out of its picture is no fault,
// and counted: sets in use have them, and whoever reads them cuts them off. A byte
// order mark is passed over. The error is a *FormatError with the faults that were
// found, unless the file cannot be read.
func Read(ctx context.Context, path string) (*Dataset, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	r := &reading{data: &Dataset{path: path, size: info.Size(), modified: info.ModTime()}}
	r.Path = path
	hasImages := false
	err = walk(ctx, f, func(key string, i int, value json.RawMessage, at int64) error {
		switch key {
		case images:
			hasImages = true
			if i >= 0 {
				r.image(value, i)
			}
		case annotations:
			if i >= 0 {
				r.annotation(value, i)
			}
		case categories:
			r.listed = true
			if i >= 0 {
				r.category(value, i)
			}
		case info_:
			if _, err := parse(value); err != nil {
				r.add("info: %v", err)
			}
		}
		return nil
	})
	var syntax *syntaxError
	switch {
	case errors.As(err, &syntax):
		r.add("%s", syntax)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	case !hasImages:
		r.add(`no list "images": not the annotations of a COCO data set`)
	default:
		r.compare()
	}
	return r.data, r.err()
}

// The keys of a data set that are read.
const (
	images      = "images"
	annotations = "annotations"
	categories  = "categories"
	info_       = "info"
)

func (r *reading) image(value json.RawMessage, i int) {
	r.images++
	v, id, ok := r.object("image", value, i)
	if !ok {
		return
	}
	var name string
	named := json.Unmarshal(v.get("file_name"), &name) == nil && name != ""
	w, wide := whole(v.get("width"))
	h, high := whole(v.get("height"))
	switch {
	case !named:
		r.add("image %d: file_name must be a text, got %s", id, shown(v.get("file_name")))
	case !filepath.IsLocal(filepath.FromSlash(name)) || strings.Contains(name, "\\"):
		r.add("image %d: file_name %q does not stay within the folder of pictures", id, name)
	case !wide || !high || w < 1 || h < 1 || w > math.MaxInt32 || h > math.MaxInt32:
		r.add("image %d (%s): width and height must be whole numbers of at least 1, got %s and %s", id, name, shown(v.get("width")), shown(v.get("height")))
	default:
		r.data.Images = append(r.data.Images, Image{id, path.Clean(name), int(w), int(h)})
	}
}

func (r *reading) annotation(value json.RawMessage, i int) {
	r.data.Annotations++
	v, id, ok := r.object("annotation", value, i)
	if !ok {
		return
	}
	ref := reference{id: id, category: none}
	if ref.image, ok = whole(v.get("image_id")); !ok {
		r.add("annotation %d: image_id must be a whole number, got %s", id, shown(v.get("image_id")))
		return
	}
	if category := v.get("category_id"); category != nil {
		if ref.category, ok = whole(category); !ok {
			r.add("annotation %d: category_id must be a whole number, got %s", id, shown(category))
			return
		}
	}
	if box := v.get("bbox"); box != nil {
		var b []float64
		switch {
		case json.Unmarshal(box, &b) != nil || len(b) != 4 || b[2] < 0 || b[3] < 0:
			r.add("annotation %d: bbox must be x, y, width and height, got %s", id, shown(box))
		default:
			ref.outside = b[0] < -slack || b[1] < -slack
			ref.right, ref.bottom = float32(b[0]+b[2]), float32(b[1]+b[3])
		}
	}
	r.references = append(r.references, ref)
	r.data.largest = max(r.data.largest, id, -id)
}

// none is the category of an annotation without one.
const none = math.MinInt64

func (r *reading) category(value json.RawMessage, i int) {
	if _, id, ok := r.object("category", value, i); ok {
		r.categories = append(r.categories, id)
	}
}

// object reads an element that has an ID.
func (r *reading) object(what string, value json.RawMessage, i int) (v object, id int64, ok bool) {
	v, err := parse(value)
	if err != nil {
		r.add("%s number %d of the list: %v", what, i+1, err)
		return nil, 0, false
	}
	id, ok = whole(v.get("id"))
	if !ok {
		r.add("%s number %d of the list: id must be a whole number, got %s", what, i+1, shown(v.get("id")))
	}
	return v, id, ok
}

// object is one of JSON with its fields in their order.
type object []field

type field struct {
	key   string
	value json.RawMessage
}

// get is the value of a field, nil where there is none.
func (o object) get(key string) json.RawMessage {
	for _, f := range o {
		if f.key == key {
			return f.value
		}
	}
	return nil
}

// parse reads an object, no two fields of which may have the same key.
func parse(value json.RawMessage) (object, error) {
	d := json.NewDecoder(bytes.NewReader(value))
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') {
		return nil, fmt.Errorf("%s is no object", shown(value))
	}
	var o object
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		f := field{key: token.(string)} // nothing else is a key
		if o.get(f.key) != nil {
			return nil, fmt.Errorf("%q is there twice", f.key)
		}
		if err := d.Decode(&f.value); err != nil {
			return nil, err
		}
		o = append(o, f)
	}
	return o, nil
}

// whole reads a whole number whose negative is one, too: of −2⁶³ there is none
// in 64 bits.
func whole(value json.RawMessage) (n int64, ok bool) {
	ok = len(value) > 0 && value[0] != 'n' && json.Unmarshal(value, &n) == nil && n != math.MinInt64
	return n, ok
}

// shown is a value in an error.
func shown(value json.RawMessage) string {
	const most = 40
	switch {
	case value == nil:
		return "nothing"
	case len(value) > most:
		return strings.ToValidUTF8(string(value[:most]), "") + "…"
	}
	return string(value)
}

// compare looks for IDs that are there twice, and for annotations of pictures
// and categories that are not.
func (r *reading) compare() {
	ids := make([]int64, len(r.data.Images))
	for i, image := range r.data.Images {
		ids[i] = image.ID
		r.data.largest = max(r.data.largest, image.ID, -image.ID)
	}
	r.unique("image", ids)
	r.unique("category", r.categories)
	byID := slices.SortedStableFunc(slices.Values(r.data.Images), func(a, b Image) int { return cmp.Compare(a.ID, b.ID) })
	all := len(r.data.Images) == r.images // otherwise some are missed for a fault that is told
	slices.SortStableFunc(r.references, func(a, b reference) int { return cmp.Compare(a.id, b.id) })
	for i, ref := range r.references {
		if i > 0 && ref.id == r.references[i-1].id {
			r.add("annotation %d is there twice", ref.id)
		}
		n, found := slices.BinarySearchFunc(byID, ref.image, func(image Image, id int64) int { return cmp.Compare(image.ID, id) })
		if found {
			if image := byID[n]; ref.outside || float64(ref.right) > float64(image.W)+slack || float64(ref.bottom) > float64(image.H)+slack {
				if r.data.Outside == 0 { // references are sorted
					r.data.FirstOutside = ref.id
				}
				r.data.Outside++
			}
		} else if all {
			r.add("annotation %d: there is no image %d", ref.id, ref.image)
		}
		if _, found := slices.BinarySearch(r.categories, ref.category); !found && r.listed && ref.category != none {
			r.add("annotation %d: there is no category %d", ref.id, ref.category)
		}
	}
}

// unique sorts IDs and tells of those that are there twice.
func (r *reading) unique(what string, ids []int64) {
	slices.Sort(ids)
	for i := 1; i < len(ids); i++ {
		if ids[i] == ids[i-1] {
			r.add("%s %d is there twice", what, ids[i])
		}
	}
}

// syntaxError reports bytes that are no JSON, or not of the right kind.
type syntaxError struct {
	at      int64 // byte
	problem string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("byte %d: %s", e.at, e.problem) }

// byteOrderMark is what some editors begin a file of UTF-8 with.
const byteOrderMark = "\ufeff"

// walk reads an object as a stream. visit is called with each value of it; the
// lists of images, annotations and categories are visited element by element,
// after a first call with element -1 and no value.
func walk(ctx context.Context, r io.Reader, visit func(key string, element int, value json.RawMessage, at int64) error) error {
	b := bufio.NewReaderSize(r, 1<<20)
	var skipped int64 // bytes before those of JSON
	// Where the file cannot be read the decoder says so.
	if start, _ := b.Peek(len(byteOrderMark)); string(start) == byteOrderMark {
		n, err := b.Discard(len(byteOrderMark))
		if err != nil {
			return err
		}
		skipped = int64(n)
	}
	d := json.NewDecoder(b)
	at := func() int64 { return skipped + d.InputOffset() }
	wrong := func(err error) error {
		var syntax *json.SyntaxError
		switch {
		case errors.As(err, &syntax):
			return &syntaxError{skipped + syntax.Offset, strings.TrimPrefix(syntax.Error(), "json: ")}
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return &syntaxError{at(), "the file ends too early"}
		}
		return err
	}
	begin, err := d.Token()
	if err != nil {
		return wrong(err)
	}
	if begin != json.Delim('{') {
		return &syntaxError{at(), "the file is no object"}
	}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return wrong(err)
		}
		key := token.(string) // More and the decoder leave nothing else
		if seen[key] {
			return &syntaxError{at(), fmt.Sprintf("%q is there twice", key)}
		}
		seen[key] = true
		if key != images && key != annotations && key != categories {
			var value json.RawMessage
			if err := d.Decode(&value); err != nil {
				return wrong(err)
			}
			if err := visit(key, 0, value, at()); err != nil {
				return err
			}
			continue
		}
		list, err := d.Token()
		if err != nil {
			return wrong(err)
		}
		if list != json.Delim('[') {
			return &syntaxError{at(), fmt.Sprintf("%q is no list", key)}
		}
		if err := visit(key, -1, nil, at()); err != nil {
			return err
		}
		for i := 0; d.More(); i++ {
			if i%1024 == 0 && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			var value json.RawMessage
			if err := d.Decode(&value); err != nil {
				return wrong(err)
			}
			if err := visit(key, i, value, at()); err != nil {
				return err
			}
		}
		if _, err := d.Token(); err != nil {
			return wrong(err)
		}
	}
	if _, err := d.Token(); err != nil {
		return wrong(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return &syntaxError{at(), "something follows the object"}
	}
	return nil
}
