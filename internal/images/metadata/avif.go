package metadata

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
)

// ReadAVIF reads an AVIF file. Its orientation is that of the irot and imir
// properties, which have the say over EXIF's (ISO/IEC 23008-12, 6.5.10 to
// 6.5.12).
func ReadAVIF(b []byte) Found {
	f := openAVIF(b)
	var (
		icc    []byte
		angle  byte
		mirror = -1
	)
	f.each(func(kind string, content []byte) {
		switch {
		case kind == "colr" && len(content) >= 4 && icc == nil && (string(content[:4]) == "prof" || string(content[:4]) == "rICC"):
			icc = content[4:]
		case kind == "irot" && len(content) >= 1:
			angle = content[0] & 3
		case kind == "imir" && len(content) >= 1:
			mirror = int(content[0] & 1)
		}
	})
	found := find(icc, f.exif())
	found.Orientation = turned(angle, mirror)
	return found
}

// AVIFSize returns the size that an AVIF file claims, before the picture is
// turned; 0 where it does not say.
func AVIFSize(b []byte) (w, h int) {
	openAVIF(b).each(func(kind string, content []byte) {
		if kind == "ispe" && len(content) >= 12 {
			w, h = int(binary.BigEndian.Uint32(content[4:])), int(binary.BigEndian.Uint32(content[8:]))
		}
	})
	if w < 1 || h < 1 || w > math.MaxInt32 || h > math.MaxInt32 { // a side is negative where int has 32 bits
		return 0, 0
	}
	return w, h
}

// turned is the orientation that EXIF has for a picture that is turned by angle
// times 90° against the clock, and then mirrored: -1 not, 0 top to bottom, 1
// left to right.
func turned(angle byte, mirror int) int {
	switch mirror {
	case 0:
		return [4]int{4, 5, 2, 7}[angle]
	case 1:
		return [4]int{2, 7, 4, 5}[angle]
	}
	return [4]int{1, 8, 3, 6}[angle]
}

// avifFile is the meta box of a file.
type avifFile struct {
	b          []byte
	meta       []box
	primary    uint32
	ipco       []box
	properties []int // of the primary item: numbers in ipco, from 1
}

// openAVIF finds the primary item and its properties, as far as there are any.
func openAVIF(b []byte) *avifFile {
	f := &avifFile{b: b}
	meta := first(boxes(f.b), "meta")
	if len(meta) < 4 {
		return f
	}
	f.meta = boxes(meta[4:])
	c := cursor{b: first(f.meta, "pitm")}
	version, _ := c.full()
	f.primary = uint32(c.uint(idBytes(version == 0)))
	iprp := boxes(first(f.meta, "iprp"))
	f.ipco = boxes(first(iprp, "ipco"))
	eachAssociation(first(iprp, "ipma"), func(item uint32, property int) {
		if item == f.primary && !c.bad && len(f.properties) < math.MaxUint8 {
			f.properties = append(f.properties, property)
		}
	})
	return f
}

// each calls do for the properties of the primary item.
func (f *avifFile) each(do func(kind string, content []byte)) {
	for _, i := range f.properties {
		if i >= 1 && i <= len(f.ipco) {
			do(f.ipco[i-1].kind, f.ipco[i-1].content)
		}
	}
}

// idBytes is the size of an item's number: 2 in the first versions of boxes.
func idBytes(early bool) int {
	if early {
		return 2
	}
	return 4
}

// eachAssociation calls f for the properties of each item that an ipma box
// lists.
func eachAssociation(ipma []byte, f func(item uint32, property int)) {
	c := cursor{b: ipma}
	version, flags := c.full()
	for n := c.uint(4); n > 0 && !c.bad; n-- {
		item := uint32(c.uint(idBytes(version < 1)))
		for k := c.uint(1); k > 0 && !c.bad; k-- {
			property := int(c.uint(1)) & 0x7f // the first bit says that it must be understood
			if flags&1 != 0 {
				property = property<<8 | int(c.uint(1))
			}
			if !c.bad {
				f(item, property)
			}
		}
	}
}

// exif returns the first EXIF item that describes the primary item.
func (f *avifFile) exif() []byte {
	c := cursor{b: first(f.meta, "iinf")}
	version, _ := c.full()
	if c.uint(idBytes(version == 0)); c.bad {
		return nil
	}
	const most = 16 // that are looked at: each is looked for in other boxes
	seen := 0
	for _, infe := range boxes(c.b) {
		c := cursor{b: infe.content}
		version, _ := c.full()
		if infe.kind != "infe" || version < 2 || version > 3 {
			continue
		}
		id := uint32(c.uint(idBytes(version == 2)))
		c.uint(2) // protection
		if kind := c.uint(4); c.bad || kind != uint64(binary.BigEndian.Uint32([]byte("Exif"))) {
			continue
		}
		if seen++; seen > most {
			return nil
		}
		if !f.describes(id) {
			continue
		}
		// It begins with the number of bytes before the TIFF structure.
		payload := cursor{b: f.item(id)}
		if skip := payload.uint(4); !payload.bad && skip <= uint64(len(payload.b)) {
			return payload.b[skip:]
		}
	}
	return nil
}

// describes says whether an item is a description of the primary item.
func (f *avifFile) describes(id uint32) bool {
	c := cursor{b: first(f.meta, "iref")}
	version, _ := c.full()
	for _, ref := range boxes(c.b) {
		if ref.kind != "cdsc" {
			continue
		}
		c := cursor{b: ref.content}
		n := idBytes(version == 0)
		from := uint32(c.uint(n))
		for k := c.uint(2); k > 0 && !c.bad; k-- {
			if to := uint32(c.uint(n)); !c.bad && from == id && to == f.primary {
				return true
			}
		}
	}
	return false
}

// item returns an item's bytes, which share memory with the file where they lie
// in one piece; nil where they are not in the file, or more than an EXIF block.
func (f *avifFile) item(id uint32) []byte {
	var out []byte
	ok := true
	eachExtent(first(f.meta, "iloc"), func(e extent) {
		if e.item != id || !ok {
			return
		}
		from := f.b
		switch e.method {
		case 0:
		case 1:
			from = first(f.meta, "idat")
		default:
			from = nil
		}
		length := e.length
		if e.offset > uint64(len(from)) || length > uint64(len(from))-e.offset || length+uint64(len(out)) > maxEXIF+4 {
			ok = false
			return
		}
		out = append(out, from[e.offset:e.offset+length]...)
	})
	if !ok {
		return nil
	}
	return out
}

// extent is a piece of an item: of the file, or of the idat box where method is
// 1.
type extent struct {
	item           uint32
	method         int
	offset, length uint64
}

// eachExtent calls f for each piece that an iloc box lists.
func eachExtent(iloc []byte, f func(extent)) {
	c := cursor{b: iloc}
	version, _ := c.full()
	sizes := c.uint(2)
	offsetSize, lengthSize, baseSize, indexSize := int(sizes>>12&15), int(sizes>>8&15), int(sizes>>4&15), int(sizes&15)
	if version == 0 {
		indexSize = 0
	}
	if version > 2 || max(offsetSize, lengthSize, baseSize, indexSize) > 8 {
		return
	}
	for n := c.uint(idBytes(version < 2)); n > 0 && !c.bad; n-- {
		e := extent{item: uint32(c.uint(idBytes(version < 2)))}
		if version > 0 {
			e.method = int(c.uint(2) & 15)
		}
		c.uint(2) // the file that it lies in: this one
		base := c.uint(baseSize)
		k := c.uint(2)
		if indexSize+offsetSize+lengthSize == 0 {
			k = min(k, 1) // the file has no bytes for more
		}
		for ; k > 0 && !c.bad; k-- {
			c.uint(indexSize)
			offset := c.uint(offsetSize)
			e.length = c.uint(lengthSize)
			if e.offset = base + offset; e.offset < base {
				e.offset = math.MaxUint64
			}
			if !c.bad {
				f(e)
			}
		}
	}
}

// AddAVIF returns an AVIF file of w×h pixels, as libavif writes a still picture,
// with m in it.
func (m Metadata) AddAVIF(file []byte, w, h int) ([]byte, error) {
	icc, exif := profile(m.ICC), sized(m.EXIF, w, h)
	if icc == nil && exif == nil {
		return file, nil
	}
	f := openAVIF(file)
	top := boxes(file)
	if len(top) != 3 || top[0].kind != "ftyp" || top[1].kind != "meta" || top[2].kind != "mdat" || len(f.properties) == 0 {
		return nil, errors.New("the AVIF file is not laid out as a still picture of libavif")
	}
	e := avifEdit{avifFile: *f, icc: icc, exif: exif}
	// The pieces of items move by what the meta box grows, which does not
	// depend on how far that is.
	meta, err := e.meta(0, 0)
	if err != nil {
		return nil, err
	}
	grown := len(meta) - (len(top[1].content) + 8)
	data := top[2].content
	if meta, err = e.meta(grown, top[2].at+grown+len(data)); err != nil {
		return nil, err
	}
	out := appendBox(nil, "ftyp", top[0].content)
	out = append(out, meta...)
	if exif == nil {
		return appendBox(out, "mdat", data), nil
	}
	return appendBox(out, "mdat", data, make([]byte, 4), exif), nil
}

// avifEdit adds a profile and EXIF to a file.
type avifEdit struct {
	avifFile
	icc, exif []byte
	exifItem  uint32
}

// meta returns the meta box with what is added: items lie grown bytes later, and
// EXIF at an offset.
func (e *avifEdit) meta(grown, exifAt int) ([]byte, error) {
	e.exifItem = 0
	eachExtent(first(e.avifFile.meta, "iloc"), func(x extent) { e.exifItem = max(e.exifItem, x.item+1) })
	var out []byte
	hasRef := false
	for _, b := range e.avifFile.meta {
		content, err := b.content, error(nil)
		switch b.kind {
		case "iloc":
			content, err = e.iloc(content, grown, exifAt)
		case "iinf":
			content, err = e.iinf(content)
		case "iref":
			hasRef = true
			content, err = e.iref(content)
		case "iprp":
			content, err = e.iprp(content)
		}
		if err != nil {
			return nil, err
		}
		out = appendBox(out, b.kind, content)
	}
	if !hasRef && e.exif != nil {
		content, err := e.iref(make([]byte, 4))
		if err != nil {
			return nil, err
		}
		out = appendBox(out, "iref", content)
	}
	return appendBox(nil, "meta", make([]byte, 4), out), nil
}

// iloc writes where the items are, in version 0 with offsets and lengths of 4
// bytes.
func (e *avifEdit) iloc(old []byte, grown, exifAt int) ([]byte, error) {
	type pieces struct {
		item uint32
		all  []extent
	}
	var items []pieces
	var failed error
	eachExtent(old, func(x extent) {
		if x.method != 0 || x.item >= math.MaxUint16 || x.offset+uint64(grown) > math.MaxUint32 || x.length > math.MaxUint32 {
			failed = errors.New("the AVIF file has an item that does not lie in the file")
			return
		}
		x.offset += uint64(grown)
		if len(items) == 0 || items[len(items)-1].item != x.item {
			items = append(items, pieces{item: x.item})
		}
		last := &items[len(items)-1]
		last.all = append(last.all, x)
	})
	if failed != nil {
		return nil, failed
	}
	if e.exif != nil {
		items = append(items, pieces{e.exifItem, []extent{{offset: uint64(exifAt), length: uint64(4 + len(e.exif))}}})
	}
	out := []byte{0, 0, 0, 0, 0x44, 0}
	out = binary.BigEndian.AppendUint16(out, uint16(len(items)))
	for _, i := range items {
		out = binary.BigEndian.AppendUint16(out, uint16(i.item))
		out = append(out, 0, 0) // this file
		out = binary.BigEndian.AppendUint16(out, uint16(len(i.all)))
		for _, x := range i.all {
			out = binary.BigEndian.AppendUint32(out, uint32(x.offset))
			out = binary.BigEndian.AppendUint32(out, uint32(x.length))
		}
	}
	return out, nil
}

// iinf lists EXIF among the items.
func (e *avifEdit) iinf(old []byte) ([]byte, error) {
	if e.exif == nil {
		return old, nil
	}
	c := cursor{b: old}
	version, _ := c.full()
	n := c.uint(2)
	if c.bad || version != 0 || n == math.MaxUint16 {
		return nil, errBox
	}
	out := append(slices.Clone(old[:4]), byte((n+1)>>8), byte(n+1))
	out = append(out, c.b...)
	entry := binary.BigEndian.AppendUint16([]byte{2, 0, 0, 1}, uint16(e.exifItem)) // flag 1: hidden
	entry = append(entry, 0, 0)                                                    // not protected
	return appendBox(out, "infe", entry, []byte("Exif\x00")), nil
}

// iref says that EXIF describes the primary item.
func (e *avifEdit) iref(old []byte) ([]byte, error) {
	if e.exif == nil {
		return old, nil
	}
	if len(old) < 4 || old[0] != 0 {
		return nil, errBox
	}
	ref := binary.BigEndian.AppendUint16(nil, uint16(e.exifItem))
	ref = append(ref, 0, 1)
	return appendBox(slices.Clone(old), "cdsc", binary.BigEndian.AppendUint16(ref, uint16(e.primary))), nil
}

// iprp gives the primary item its profile, as the last property.
func (e *avifEdit) iprp(old []byte) ([]byte, error) {
	if e.icc == nil {
		return old, nil
	}
	property := len(e.ipco) + 1
	if property > 0x7f {
		return nil, errors.New("the AVIF file has too many properties")
	}
	var out []byte
	for _, b := range boxes(old) {
		content := b.content
		switch b.kind {
		case "ipco":
			content = appendBox(slices.Clone(content), "colr", []byte("prof"), e.icc)
		case "ipma":
			var err error
			if content, err = e.ipma(content, byte(property)); err != nil {
				return nil, err
			}
		}
		out = appendBox(out, b.kind, content)
	}
	return out, nil
}

// ipma adds a property to the primary item.
func (e *avifEdit) ipma(old []byte, property byte) ([]byte, error) {
	c := cursor{b: old}
	if version, flags := c.full(); version != 0 || flags != 0 {
		return nil, errBox
	}
	n := c.uint(4)
	out := slices.Clone(old[:len(old)-len(c.b)])
	for ; n > 0 && !c.bad; n-- {
		entry := c.b
		item, count := uint32(c.uint(2)), c.uint(1)
		if c.bad || uint64(len(c.b)) < count {
			return nil, errBox
		}
		properties := c.b[:count]
		c.b = c.b[count:]
		out = append(out, entry[:2]...)
		if item == e.primary {
			out = append(out, byte(count+1))
			out = append(out, properties...)
			out = append(out, property)
			continue
		}
		out = append(out, byte(count))
		out = append(out, properties...)
	}
	if c.bad {
		return nil, errBox
	}
	return out, nil
}
