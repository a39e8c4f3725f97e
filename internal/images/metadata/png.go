package metadata

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"io"
)

// ReadPNG reads a PNG file.
func ReadPNG(b []byte) Found {
	var icc, exif []byte
	pngChunks(b, func(kind string, data []byte) {
		switch {
		case kind == "iCCP" && icc == nil:
			icc = inflateProfile(data)
		case kind == "eXIf" && exif == nil:
			exif = data
		}
	})
	return find(icc, exif)
}

// pngChunks calls f for each chunk (PNG, third edition, 5.3).
func pngChunks(b []byte, f func(kind string, data []byte)) {
	for b = b[min(8, len(b)):]; len(b) >= 12; {
		n := int64(binary.BigEndian.Uint32(b))
		kind := string(b[4:8])
		if n+12 > int64(len(b)) || kind == "IEND" {
			return
		}
		f(kind, b[8:8+n])
		b = b[n+12:]
	}
}

// inflateProfile reads the data of an iCCP chunk: a name, a zero, the method of
// compression, of which there is one, and the compressed profile.
func inflateProfile(data []byte) []byte {
	_, rest, ok := bytes.Cut(data, []byte{0})
	if !ok || len(rest) < 1 || rest[0] != 0 {
		return nil
	}
	z, err := zlib.NewReader(bytes.NewReader(rest[1:]))
	if err != nil {
		return nil
	}
	p, err := io.ReadAll(io.LimitReader(z, maxICC+1))
	if err != nil {
		return nil
	}
	return p
}

// PNGChunks returns the chunks that say m of a picture of w×h pixels, to stand
// behind IHDR.
func (m Metadata) PNGChunks(w, h int) []byte {
	var out []byte
	chunk := func(kind string, data []byte) {
		out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
		start := len(out)
		out = append(append(out, kind...), data...)
		out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[start:]))
	}
	if icc := profile(m.ICC); icc != nil {
		data := bytes.NewBufferString("ICC profile\x00\x00")
		z := zlib.NewWriter(data)
		z.Write(icc) // to memory: it cannot fail
		z.Close()
		chunk("iCCP", data.Bytes())
	}
	if exif := sized(m.EXIF, w, h); exif != nil {
		chunk("eXIf", exif)
	}
	return out
}
