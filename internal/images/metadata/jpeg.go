package metadata

import (
	"bytes"
	"encoding/binary"
)

const (
	maxSegment    = 65533 // bytes of payload
	iccPrefix     = "ICC_PROFILE\x00"
	maxICCSegment = maxSegment - 12 - 2 // of iccPrefix and two numbers
)

// ReadJPEG reads a JPEG file.
func ReadJPEG(b []byte) Found {
	var (
		exif []byte
		icc  iccSegments
	)
	jpegSegments(b, func(marker byte, payload []byte) {
		switch {
		case marker == 0xe1 && exif == nil && bytes.HasPrefix(payload, []byte(exifPrefix)):
			exif = payload
		case marker == 0xe2 && bytes.HasPrefix(payload, []byte(iccPrefix)):
			icc.add(payload[len(iccPrefix):])
		}
	})
	return find(icc.join(), exif)
}

// JPEGColors returns the number of components of a JPEG file's frame, 0 where it
// has none, and whether a segment of Adobe's says what they mean.
func JPEGColors(b []byte) (components int, adobe bool) {
	jpegSegments(b, func(marker byte, payload []byte) {
		switch {
		case marker == 0xee && bytes.HasPrefix(payload, []byte("Adobe")) && len(payload) >= 12:
			adobe = true
		case marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc && len(payload) >= 6:
			components = int(payload[5])
		}
	})
	return components, adobe
}

// jpegSegments calls f for the segments before the first scan (T.81, annex B).
func jpegSegments(b []byte, f func(marker byte, payload []byte)) {
	for b = b[min(2, len(b)):]; len(b) >= 4; {
		marker := b[1]
		switch {
		case b[0] != 0xff:
			return
		case marker == 0xff: // fill byte
			b = b[1:]
			continue
		case marker == 0x01 || marker >= 0xd0 && marker <= 0xd8: // no payload
			b = b[2:]
			continue
		case marker == 0xd9 || marker == 0xda: // end of image, start of scan
			return
		}
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n < 2 || 2+n > len(b) {
			return
		}
		f(marker, b[4:2+n])
		b = b[2+n:]
	}
}

// iccSegments are the parts of a profile (ICC.1:2010, B.4): each says which of
// how many it is, counted from 1.
type iccSegments struct {
	parts [256][]byte
	count int // as the first one says
	seen  int
	bad   bool
}

func (s *iccSegments) add(payload []byte) {
	if len(payload) < 2 {
		s.bad = true
		return
	}
	number, count := int(payload[0]), int(payload[1])
	if s.seen == 0 {
		s.count = count
	}
	if number < 1 || number > count || count != s.count || s.parts[number] != nil {
		s.bad = true
		return
	}
	s.parts[number] = payload[2:]
	s.seen++
}

// join returns the profile, nil where a part is missing.
func (s *iccSegments) join() []byte {
	if s.bad || s.seen == 0 || s.seen != s.count {
		return nil
	}
	return bytes.Join(s.parts[1:s.count+1], nil)
}

// JPEGSegments returns the segments that say m of a picture of w×h pixels, to
// stand behind the start of the image.
func (m Metadata) JPEGSegments(w, h int) []byte {
	var out []byte
	segment := func(marker byte, parts ...[]byte) {
		payload := bytes.Join(parts, nil)
		out = append(out, 0xff, marker)
		out = binary.BigEndian.AppendUint16(out, uint16(len(payload)+2))
		out = append(out, payload...)
	}
	if exif := sized(m.EXIF, w, h); exif != nil {
		segment(0xe1, []byte(exifPrefix), exif)
	}
	icc := profile(m.ICC)
	count := (len(icc) + maxICCSegment - 1) / maxICCSegment
	for i := range count {
		part := icc[i*maxICCSegment : min((i+1)*maxICCSegment, len(icc))]
		segment(0xe2, []byte(iccPrefix), []byte{byte(i + 1), byte(count)}, part)
	}
	return out
}
