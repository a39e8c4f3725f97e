// Package metadata reads and writes what picture files say beside their pixels:
// the orientation, an ICC profile and EXIF.
//
// It owns the containers of JPEG, PNG, WebP, TIFF and AVIF as far as that needs,
// and what of an EXIF block may go into another picture. It refuses pixels, and
// to fail: what is broken, too large or does not fit the format is left out, for
// damaged metadata does not make a picture unusable. Files are read that nobody
// vouches for; nothing here recurses or takes more memory than a small multiple
// of what the file holds.
package metadata

import "encoding/binary"

// Metadata is what is carried from a picture file to one that is made of it.
// The zero value is nothing.
type Metadata struct {
	// ICC is a profile (ICC.1) for RGB pixels, byte for byte as it was found.
	ICC []byte
	// EXIF is a TIFF structure as EXIF 2.3 says: what describes the picture and
	// how it was taken, without the orientation and the thumbnail.
	EXIF []byte
}

// Found is what a file says beside its pixels.
type Found struct {
	Metadata
	Orientation int // 1 to 8, as EXIF 2.3 defines tag 0x0112; 1 is upright
}

// The least that one of the formats holds, which is JPEG, so that all hold the
// same.
const (
	maxICC  = 255 * maxICCSegment
	maxEXIF = maxSegment - 6 // of exifPrefix
)

// exifPrefix stands before EXIF in JPEG, and by mistake elsewhere.
const exifPrefix = "Exif\x00\x00"

// find takes a profile and an EXIF block as they lie in a file.
func find(icc, exif []byte) Found {
	return Found{Metadata{ICC: profile(icc), EXIF: clean(exif)}, Orientation(exif)}
}

// profile returns a copy of p where it is a profile that RGB pixels can have
// (ICC.1:2010, 7.2), and else nil: pixels that were grey or CMYK in the file are
// RGB when they are written.
func profile(p []byte) []byte {
	const header = 128
	if len(p) < header || len(p) > maxICC {
		return nil
	}
	size := binary.BigEndian.Uint32(p)
	if size < header || uint64(size) > uint64(len(p)) || string(p[36:40]) != "acsp" || string(p[16:20]) != "RGB " {
		return nil
	}
	switch string(p[12:16]) { // the class: of a device or a colour space
	case "scnr", "mntr", "prtr", "spac":
		return append([]byte(nil), p...)
	}
	return nil
}
