package metadata

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// smallProfile is the least that a profile for RGB can be.
func smallProfile() []byte {
	p := make([]byte, 132)
	binary.BigEndian.PutUint32(p, uint32(len(p)))
	copy(p[12:], "mntrRGB XYZ ")
	copy(p[36:], "acsp")
	return p
}

func smallMetadata() Metadata {
	return Metadata{ICC: smallProfile(), EXIF: clean(photo(binary.BigEndian, 6))}
}

// check tests what holds for all that is read: it is within its limits, and comes
// back from a file that it is written to.
func check(t *testing.T, f Found) {
	t.Helper()
	const w, h = 640, 480
	if f.Orientation < 1 || f.Orientation > 8 || len(f.ICC) > maxICC || len(f.EXIF) > maxEXIF {
		t.Fatalf("orientation %d, %d bytes of ICC, %d of EXIF", f.Orientation, len(f.ICC), len(f.EXIF))
	}
	exif := sized(f.EXIF, w, h)
	if (exif == nil) != (f.EXIF == nil) || Orientation(exif) != 1 {
		t.Fatalf("EXIF of %d bytes became %d, orientation %d", len(f.EXIF), len(exif), Orientation(exif))
	}
	if again := sized(exif, w, h); !bytes.Equal(again, exif) {
		t.Fatalf("EXIF cleaned twice is another: %q, %q", exif, again)
	}
	jpeg := ReadJPEG(append(append([]byte{0xff, 0xd8}, f.JPEGSegments(w, h)...), 0xff, 0xd9))
	png := ReadPNG(append([]byte("\x89PNG\r\n\x1a\n"), f.PNGChunks(w, h)...))
	for name, got := range map[string]Found{"JPEG": jpeg, "PNG": png} {
		if !bytes.Equal(got.ICC, f.ICC) || !bytes.Equal(got.EXIF, clean(exif)) || got.Orientation != 1 {
			t.Fatalf("%s changed what was written to it", name)
		}
	}
}

func FuzzJPEG(f *testing.F) {
	f.Add(append(append([]byte{0xff, 0xd8}, smallMetadata().JPEGSegments(3, 2)...), "\xff\xc0\x00\x11\x08\x00\x02\x00\x03\x04\x01\x11\x00\x02\x11\x01\x03\x11\x01\x04\x11\x00\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x02\xff\xda"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		check(t, ReadJPEG(b))
		JPEGColors(b)
	})
}

func FuzzPNG(f *testing.F) {
	f.Add(append([]byte("\x89PNG\r\n\x1a\n"), smallMetadata().PNGChunks(3, 2)...))
	f.Fuzz(func(t *testing.T, b []byte) { check(t, ReadPNG(b)) })
}

func FuzzWebP(f *testing.F) {
	plain := appendWebP([]byte("RIFF\x10\x00\x00\x00WEBP"), "VP8L", []byte{0x2f, 2, 0x40, 0, 0x10})
	full, err := smallMetadata().AddWebP(plain, 3, 2)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Add(full)
	f.Fuzz(func(t *testing.T, b []byte) {
		check(t, ReadWebP(b))
		WebPAnimated(b)
		m := smallMetadata()
		out, err := m.AddWebP(b, 3, 2)
		if err != nil {
			return
		}
		if got := ReadWebP(out); !bytes.Equal(got.ICC, m.ICC) || got.EXIF == nil || len(out) > len(b)+len(m.ICC)+len(m.EXIF)+100 {
			t.Fatalf("a file of %d bytes became %d, without what was added", len(b), len(out))
		}
	})
}

func FuzzTIFF(f *testing.F) {
	var b bytes.Buffer
	if err := smallMetadata().WriteTIFF(&b, TIFF{W: 3, H: 2, Depth: 16, Alpha: true, Rows: 1, Strips: [][]byte{{1, 2}, {3}}}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(photo(binary.LittleEndian, 6))
	f.Add(photo(binary.BigEndian, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		found := ReadTIFF(b)
		check(t, found)
		var out bytes.Buffer
		if err := found.WriteTIFF(&out, TIFF{W: 3, H: 2, Depth: 8, Rows: 2, Strips: [][]byte{{1, 2, 3}}}); err != nil {
			t.Fatal(err)
		}
		if got := ReadTIFF(out.Bytes()); !bytes.Equal(got.ICC, found.ICC) {
			t.Fatal("TIFF changed the profile")
		}
	})
}

// stillAVIF is laid out as libavif writes a picture without alpha.
func stillAVIF() []byte {
	box := func(kind string, parts ...string) string {
		var all [][]byte
		for _, p := range parts {
			all = append(all, []byte(p))
		}
		return string(appendBox(nil, kind, all...))
	}
	const full = "\x00\x00\x00\x00"
	ipco := box("ipco", box("ispe", full, "\x00\x00\x00\x03\x00\x00\x00\x02"), box("irot", "\x01"), box("imir", "\x00"))
	ipma := box("ipma", full, "\x00\x00\x00\x01\x00\x01\x03\x01\x82\x03")
	const at = "\x00\x00\x00\xdb" // of the picture
	meta := box("meta", full, box("hdlr", full, "\x00\x00\x00\x00pict"), box("pitm", full, "\x00\x01"),
		box("iloc", full, "\x44\x00\x00\x01\x00\x01\x00\x00\x00\x01", at, "\x00\x00\x00\x04"),
		box("iinf", full, "\x00\x01", box("infe", "\x02\x00\x00\x00\x00\x01\x00\x00av01\x00")), box("iprp", ipco, ipma))
	return []byte(box("ftyp", "avif\x00\x00\x00\x00avifmif1") + meta + box("mdat", "AV1!"))
}

func FuzzAVIF(f *testing.F) {
	plain := stillAVIF()
	full, err := smallMetadata().AddAVIF(plain, 3, 2)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Add(full)
	f.Fuzz(func(t *testing.T, b []byte) {
		check(t, ReadAVIF(b))
		if w, h := AVIFSize(b); w < 0 || h < 0 {
			t.Fatalf("a size of %d×%d", w, h)
		}
		m := smallMetadata()
		out, err := m.AddAVIF(b, 3, 2)
		if err == nil && len(out) > 3*len(b)+len(m.ICC)+len(m.EXIF)+200 {
			t.Fatalf("a file of %d bytes became %d", len(b), len(out))
		}
	})
}

func TestAVIFBoxes(t *testing.T) {
	plain := stillAVIF()
	if w, h := AVIFSize(plain); w != 3 || h != 2 {
		t.Errorf("the size is %d×%d", w, h)
	}
	if got := string(openAVIF(plain).item(1)); got != "AV1!" {
		t.Fatalf("where the picture should be is %q", got)
	}
	m := smallMetadata()
	for _, c := range []Metadata{m, {ICC: m.ICC}, {EXIF: m.EXIF}} {
		full, err := c.AddAVIF(plain, 3, 2)
		if err != nil {
			t.Fatal(err)
		}
		got := ReadAVIF(full)
		if got.Orientation != 5 || !bytes.Equal(got.ICC, c.ICC) || !bytes.Equal(got.EXIF, clean(sized(c.EXIF, 3, 2))) {
			t.Errorf("orientation %d, %d bytes of ICC, %d of EXIF", got.Orientation, len(got.ICC), len(got.EXIF))
		}
		if got := string(openAVIF(full).item(1)); got != "AV1!" {
			t.Errorf("where the picture should be is %q", got)
		}
	}
}

// A few bytes may claim any number of pieces that take no bytes.
func TestAVIFBombs(t *testing.T) {
	items := []byte{2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff} // version 2, numbers of no bytes, 65535 items
	for range 1 << 16 {
		items = append(items, 0, 0, 0, 1, 0, 0, 0, 0, 0xff, 0xff)
	}
	n := 0
	eachExtent(items, func(extent) { n++ })
	if n > 1<<16 {
		t.Errorf("%d bytes have %d pieces", len(items), n)
	}
	many := bytes.Repeat([]byte{0, 0, 0, 8, 'f', 'r', 'e', 'e'}, 1<<20)
	if got := len(boxes(many)); got != maxBoxes {
		t.Errorf("%d boxes were looked at", got)
	}
}
