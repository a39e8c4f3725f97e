package images

import (
	"bytes"
	"encoding/binary"
)

// Only one EXIF tag matters here, in four containers, and it is read from
// files that nobody vouches for. Thirty lines that cannot allocate or recurse
// are safer for that than a general EXIF reader.

// orientation says how a stored picture has to be turned to be upright, as
// EXIF 2.3 defines the values 1 to 8 of tag 0x0112.
type orientation int

const upright orientation = 1

// transposed reports whether the stored picture's columns are the upright
// picture's rows.
func (o orientation) transposed() bool { return o >= 5 && o <= 8 }

// flips reports whether the stored picture is read from its right end, and
// from its bottom.
func (o orientation) flips() (x, y bool) {
	switch o {
	case 2, 8:
		return true, false
	case 3, 7:
		return true, true
	case 4, 6:
		return false, true
	}
	return false, false
}

// tiffOrientation reads tag 0x0112 from the first directory of a TIFF
// structure, which is also what an EXIF block is. Anything odd means upright:
// damaged metadata does not make a picture unusable.
func tiffOrientation(b []byte) orientation {
	b = bytes.TrimPrefix(b, []byte("Exif\x00\x00"))
	if len(b) < 8 {
		return upright
	}
	var order binary.ByteOrder
	switch string(b[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return upright
	}
	at := int64(order.Uint32(b[4:]))
	if at+2 > int64(len(b)) {
		return upright
	}
	b, count := b[at+2:], int(order.Uint16(b[at:]))
	for ; count > 0 && len(b) >= 12; count, b = count-1, b[12:] {
		const short = 3
		if order.Uint16(b) != 0x0112 || order.Uint16(b[2:]) != short || order.Uint32(b[4:]) != 1 {
			continue
		}
		if o := orientation(order.Uint16(b[8:])); o >= 1 && o <= 8 {
			return o
		}
		return upright
	}
	return upright
}

// jpegHeader is what a JPEG file's segments say before the first scan.
type jpegHeader struct {
	orientation orientation
	components  int  // of the frame; 0 where no frame was found
	adobe       bool // has an Adobe APP14 segment
}

func readJPEGHeader(b []byte) jpegHeader {
	h := jpegHeader{orientation: upright}
	for b = b[min(2, len(b)):]; len(b) >= 4; {
		marker := b[1]
		switch {
		case b[0] != 0xff:
			return h
		case marker == 0xff: // fill byte
			b = b[1:]
			continue
		case marker == 0x01 || marker >= 0xd0 && marker <= 0xd8: // no payload
			b = b[2:]
			continue
		case marker == 0xd9 || marker == 0xda: // end of image, start of scan
			return h
		}
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n < 2 || 2+n > len(b) {
			return h
		}
		payload := b[4 : 2+n]
		switch {
		case marker == 0xe1 && bytes.HasPrefix(payload, []byte("Exif\x00\x00")):
			h.orientation = tiffOrientation(payload)
		case marker == 0xee && bytes.HasPrefix(payload, []byte("Adobe")) && len(payload) >= 12:
			h.adobe = true
		case marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc && len(payload) >= 6:
			h.components = int(payload[5])
		}
		b = b[2+n:]
	}
	return h
}

// pngOrientation looks for an eXIf chunk (PNG specification, third edition,
// 11.3.4.5).
func pngOrientation(b []byte) orientation {
	for b = b[min(8, len(b)):]; len(b) >= 12; {
		n := int64(binary.BigEndian.Uint32(b))
		if n+12 > int64(len(b)) {
			break
		}
		if string(b[4:8]) == "eXIf" {
			return tiffOrientation(b[8 : 8+n])
		}
		b = b[n+12:]
	}
	return upright
}

// webpHeader is what a WebP file's chunks say beside its pixels.
func readWebPHeader(b []byte) (o orientation, animated bool) {
	o = upright
	for b = b[min(12, len(b)):]; len(b) >= 8; {
		n := int64(binary.LittleEndian.Uint32(b[4:]))
		if n+8 > int64(len(b)) {
			break
		}
		switch payload := b[8 : 8+n]; string(b[:4]) {
		case "VP8X":
			const animationFlag = 1 << 1
			animated = len(payload) > 0 && payload[0]&animationFlag != 0
		case "EXIF":
			return tiffOrientation(payload), animated
		}
		b = b[min(8+n+n%2, int64(len(b))):]
	}
	return o, animated
}
