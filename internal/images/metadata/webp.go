package metadata

import (
	"encoding/binary"
	"errors"
)

// The flags of a VP8X chunk (RFC 9649, 2.7.1).
const (
	webpAnimation = 1 << 1
	webpEXIF      = 1 << 3
	webpAlpha     = 1 << 4
	webpICC       = 1 << 5
)

// ReadWebP reads a WebP file.
func ReadWebP(b []byte) Found {
	var icc, exif []byte
	webpChunks(b, func(kind string, data []byte) {
		switch {
		case kind == "ICCP" && icc == nil:
			icc = data
		case kind == "EXIF" && exif == nil:
			exif = data
		}
	})
	return find(icc, exif)
}

// WebPAnimated says whether a WebP file holds an animation.
func WebPAnimated(b []byte) bool {
	animated := false
	webpChunks(b, func(kind string, data []byte) {
		animated = animated || kind == "VP8X" && len(data) > 0 && data[0]&webpAnimation != 0
	})
	return animated
}

// webpChunks calls f for each chunk.
func webpChunks(b []byte, f func(kind string, data []byte)) {
	for b = b[min(12, len(b)):]; len(b) >= 8; {
		n := int64(binary.LittleEndian.Uint32(b[4:]))
		if n+8 > int64(len(b)) {
			return
		}
		f(string(b[:4]), b[8:8+n])
		b = b[min(8+n+n%2, int64(len(b))):]
	}
}

// AddWebP returns a WebP file of w×h pixels, as an encoder has written it, with
// m in it.
func (m Metadata) AddWebP(file []byte, w, h int) ([]byte, error) {
	icc, exif := profile(m.ICC), sized(m.EXIF, w, h)
	if icc == nil && exif == nil {
		return file, nil
	}
	const most = 1 << 24
	if w < 1 || h < 1 || w > most || h > most {
		return nil, errors.New("metadata needs a WebP picture of 1 to 2²⁴ pixels a side")
	}
	var flags byte
	var pixels []byte
	webpChunks(file, func(kind string, data []byte) {
		switch kind {
		case "VP8X": // made anew
			if len(data) > 0 {
				flags |= data[0] & webpAlpha
			}
		case "VP8L": // the bit behind both sizes of 14 bits
			if len(data) >= 5 && data[4]&(1<<4) != 0 {
				flags |= webpAlpha
			}
			pixels = appendWebP(pixels, kind, data)
		case "ALPH", "VP8 ":
			pixels = appendWebP(pixels, kind, data)
		}
	})
	if pixels == nil {
		return nil, errors.New("the WebP file has no picture to add metadata to")
	}
	if icc != nil {
		flags |= webpICC
	}
	if exif != nil {
		flags |= webpEXIF
	}
	head := append([]byte{flags, 0, 0, 0}, byte(w-1), byte((w-1)>>8), byte((w-1)>>16), byte(h-1), byte((h-1)>>8), byte((h-1)>>16))
	out := appendWebP([]byte("RIFF\x00\x00\x00\x00WEBP"), "VP8X", head)
	if icc != nil {
		out = appendWebP(out, "ICCP", icc)
	}
	out = append(out, pixels...)
	if exif != nil {
		out = appendWebP(out, "EXIF", exif)
	}
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8))
	return out, nil
}

func appendWebP(out []byte, kind string, data []byte) []byte {
	out = binary.LittleEndian.AppendUint32(append(out, kind...), uint32(len(data)))
	out = append(out, data...)
	if len(data)%2 == 1 {
		out = append(out, 0)
	}
	return out
}
