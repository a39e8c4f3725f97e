package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Tags of TIFF 6.0 that are named here.
const (
	tagImageWidth      = 256
	tagImageLength     = 257
	tagBitsPerSample   = 258
	tagCompression     = 259
	tagPhotometric     = 262
	tagStripOffsets    = 273
	tagSamplesPerPixel = 277
	tagRowsPerStrip    = 278
	tagStripByteCounts = 279
	tagXResolution     = 282
	tagYResolution     = 283
	tagPlanar          = 284
	tagResolutionUnit  = 296
	tagPredictor       = 317
	tagExtraSamples    = 338
	tagICC             = 34675 // ICC.1:2010, B.3
)

// ReadTIFF reads a TIFF file.
func ReadTIFF(b []byte) Found {
	t, at, ok := openTIFF(b)
	if !ok {
		return Found{Orientation: 1}
	}
	var icc []byte
	t.fields(at, func(f field) bool {
		if f.tag == tagICC {
			icc = f.value
		}
		return icc == nil
	})
	found := find(icc, b)
	if exif, ok := parse(found.EXIF); ok && len(exif.root.without(tagXResolution, tagYResolution, tagResolutionUnit)) == 0 {
		found.EXIF = nil // a resolution alone stands in every TIFF file
	}
	return found
}

// TIFF is a picture in RGB, or RGBA with straight alpha, as it lies in a TIFF
// file.
type TIFF struct {
	W, H  int
	Depth int // bits a sample, 8 or 16 in the order of TIFFOrder
	Alpha bool
	Rows  int // of each strip; the last one may have less
	// Strips are the pixels from the top: horizontal differences (TIFF 6.0,
	// section 14), compressed by zlib.
	Strips [][]byte
}

// TIFFOrder is the byte order that a TIFF file with m has: EXIF that it carries
// cannot be turned around, since a part of it may be a maker's secret.
func (m Metadata) TIFFOrder() binary.ByteOrder { return m.order() }

func (m Metadata) order() byteOrder {
	if b, ok := parse(m.EXIF); ok {
		return b.order
	}
	return binary.LittleEndian
}

// WriteTIFF writes a picture with m.
func (m Metadata) WriteTIFF(w io.Writer, p TIFF) error {
	if want := (p.H + max(p.Rows, 1) - 1) / max(p.Rows, 1); p.W < 1 || p.H < 1 || p.Rows < 1 || len(p.Strips) != want {
		return fmt.Errorf("a TIFF picture of %d×%d pixels with %d strips of %d rows", p.W, p.H, len(p.Strips), p.Rows)
	}
	order := m.order()
	root := p.directory(order)
	if b, ok := parse(sized(m.EXIF, p.W, p.H)); ok {
		root = append(root, b.root...)
	}
	if root.get(tagXResolution) == nil || root.get(tagYResolution) == nil {
		root = append(root.without(tagXResolution, tagYResolution, tagResolutionUnit),
			rational(order, tagXResolution, 72), rational(order, tagYResolution, 72), short(order, tagResolutionUnit, 2)) // per inch
	}
	if icc := profile(m.ICC); icc != nil {
		root = append(root, entry{tag: tagICC, kind: kindUndefined, count: uint32(len(icc)), value: icc})
	}
	// The strips lie behind the directories, whose length does not depend on
	// where that is.
	at := int64(len(root.encode(order)))
	var offsets, counts []byte
	for _, s := range p.Strips {
		offsets = order.AppendUint32(offsets, uint32(at))
		counts = order.AppendUint32(counts, uint32(len(s)))
		at += int64(len(s))
	}
	if at > math.MaxUint32 {
		return errors.New("the picture is larger than TIFF's 4 GiB: write PNG")
	}
	root.get(tagStripOffsets).value, root.get(tagStripByteCounts).value = offsets, counts
	if _, err := w.Write(root.encode(order)); err != nil {
		return err
	}
	for _, s := range p.Strips {
		if _, err := w.Write(s); err != nil {
			return err
		}
	}
	return nil
}

// directory says how the pixels are stored, but for where.
func (p TIFF) directory(order byteOrder) directory {
	samples := 3
	if p.Alpha {
		samples = 4
	}
	const (
		zlib       = 8
		rgb        = 2
		contiguous = 1
		horizontal = 2
		straight   = 2
	)
	var bits []uint16
	for range samples {
		bits = append(bits, uint16(p.Depth))
	}
	unknown := make([]byte, 4*len(p.Strips))
	d := directory{
		long(order, tagImageWidth, p.W), long(order, tagImageLength, p.H),
		short(order, tagBitsPerSample, bits...), short(order, tagCompression, zlib), short(order, tagPhotometric, rgb),
		short(order, tagSamplesPerPixel, uint16(samples)), short(order, tagPlanar, contiguous), short(order, tagPredictor, horizontal),
		long(order, tagRowsPerStrip, p.Rows),
		{tag: tagStripOffsets, kind: kindLong, count: uint32(len(p.Strips)), value: unknown},
		{tag: tagStripByteCounts, kind: kindLong, count: uint32(len(p.Strips)), value: unknown},
	}
	if p.Alpha {
		d = append(d, short(order, tagExtraSamples, straight))
	}
	return d
}

func (d directory) without(tags ...uint16) directory {
	var rest directory
	for _, e := range d {
		keep := true
		for _, tag := range tags {
			keep = keep && e.tag != tag
		}
		if keep {
			rest = append(rest, e)
		}
	}
	return rest
}

func short(order byteOrder, tag uint16, v ...uint16) entry {
	e := entry{tag: tag, kind: kindShort, count: uint32(len(v))}
	for _, v := range v {
		e.value = order.AppendUint16(e.value, v)
	}
	return e
}

func long(order byteOrder, tag uint16, v int) entry {
	return entry{tag: tag, kind: kindLong, count: 1, value: order.AppendUint32(nil, uint32(v))}
}

func rational(order byteOrder, tag uint16, v uint32) entry {
	return entry{tag: tag, kind: kindRational, count: 1, value: order.AppendUint32(order.AppendUint32(nil, v), 1)}
}
