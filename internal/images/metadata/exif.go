package metadata

import (
	"bytes"
	"slices"
)

// Tags of EXIF 2.3 (CIPA DC-008) that are named here.
const (
	tagOrientation = 0x0112
	tagEXIF        = 0x8769
	tagGPS         = 0x8825
	tagInterop     = 0xa005
	tagMakerNote   = 0x927c
	tagWidth       = 0xa002 // PixelXDimension
	tagHeight      = 0xa003
	tagPadding     = 0xea1c
)

// describes says whether a tag of the first directory tells of the picture: the
// others tell how pixels are stored in the file that it was found in, or point
// to things that are not carried.
func describes(tag uint16) bool {
	switch tag {
	case 0x010e, // ImageDescription
		0x010f, 0x0110, // Make, Model
		0x011a, 0x011b, 0x0128, // XResolution, YResolution, ResolutionUnit
		0x0131, 0x0132, // Software, DateTime
		0x013b, 0x013c, // Artist, HostComputer
		0x4746, 0x4749, // Rating, RatingPercent
		0x8298,                                 // Copyright
		0x9c9b, 0x9c9c, 0x9c9d, 0x9c9e, 0x9c9f, // XPTitle to XPSubject
		0xa433, 0xa434: // LensMake, LensModel, where they should not stand
		return true
	}
	return false
}

// Orientation reads tag 0x0112 from the first directory of a TIFF structure,
// which is also what an EXIF block is. Anything odd means 1, upright.
func Orientation(b []byte) int {
	orientation := 1
	t, at, ok := openTIFF(bytes.TrimPrefix(b, []byte(exifPrefix)))
	if !ok {
		return orientation
	}
	t.fields(at, func(f field) bool {
		if f.tag != tagOrientation {
			return true
		}
		if v, ok := t.number(f); ok && v >= 1 && v <= 8 {
			orientation = int(v)
		}
		return false
	})
	return orientation
}

// block is an EXIF block without what must not be carried.
type block struct {
	order byteOrder
	root  directory
}

// clean returns an EXIF block as it may be carried, or nil.
func clean(b []byte) []byte {
	parsed, ok := parse(b)
	if !ok {
		return nil
	}
	return parsed.encode()
}

// parse reads an EXIF block, or that of a TIFF file.
func parse(b []byte) (block, bool) {
	t, at, ok := openTIFF(bytes.TrimPrefix(b, []byte(exifPrefix)))
	if !ok {
		return block{}, false
	}
	p := parser{tiff: t, left: maxEXIF}
	root := p.directory(at, func(f field) bool { return describes(f.tag) }, map[uint16]func(uint32) directory{
		tagGPS: func(at uint32) directory { return p.directory(at, every, nil) },
		tagEXIF: func(at uint32) directory {
			return p.directory(at, ofEXIF, map[uint16]func(uint32) directory{
				tagInterop: func(at uint32) directory { return p.directory(at, every, nil) },
			})
		},
	})
	return block{t.order, root}, len(root) > 0
}

func every(field) bool { return true }

func ofEXIF(f field) bool { return f.tag != tagPadding }

// parser reads directories.
type parser struct {
	tiff
	left int // bytes that may still be taken: fields may share their bytes
}

// directory reads the fields that take says yes to, and the directories that
// fields of some tags point to. It is nil where there are none.
func (p *parser) directory(at uint32, take func(field) bool, below map[uint16]func(uint32) directory) directory {
	var d directory
	p.fields(at, func(f field) bool {
		if d.get(f.tag) != nil {
			return true
		}
		if p.left -= 12; p.left < 0 {
			return false
		}
		if read := below[f.tag]; read != nil {
			if to, ok := p.number(f); ok {
				if dir := read(to); dir != nil {
					d = append(d, entry{tag: f.tag, dir: dir})
				}
			}
			return true
		}
		if !take(f) {
			return true
		}
		e := entry{tag: f.tag, kind: f.kind, count: f.count, value: f.value}
		if f.tag == tagMakerNote && len(f.value) > 4 {
			// Its own offsets count from the start of the block, so it can be
			// carried where it stands alone.
			if f.at < 8 || f.at+len(f.value) > maxEXIF {
				return true
			}
			e.pin = f.at
		}
		if len(f.value) > p.left {
			return true
		}
		p.left -= len(f.value)
		d = append(d, e)
		return true
	})
	return d
}

// encode returns the block, without the maker's note where it does not fit with
// it, and nil where it does not fit even so.
func (b block) encode() []byte {
	out := b.root.encode(b.order)
	if len(out) > maxEXIF {
		if e := b.root.get(tagEXIF); e != nil {
			e.dir = slices.DeleteFunc(slices.Clone(e.dir), func(e entry) bool { return e.tag == tagMakerNote })
			out = b.root.encode(b.order)
		}
	}
	if len(out) > maxEXIF {
		return nil
	}
	return out
}

// resize writes the size of the picture to the tags that tell it.
func (b block) resize(w, h int) {
	e := b.root.get(tagEXIF)
	if e == nil {
		return
	}
	for tag, v := range map[uint16]int{tagWidth: w, tagHeight: h} {
		if f := e.dir.get(tag); f != nil {
			*f = entry{tag: tag, kind: kindLong, count: 1, value: b.order.AppendUint32(nil, uint32(v))}
		}
	}
}

// sized returns an EXIF block for a picture of w×h pixels, or nil.
func sized(exif []byte, w, h int) []byte {
	b, ok := parse(exif)
	if !ok {
		return nil
	}
	b.resize(w, h)
	return b.encode()
}
