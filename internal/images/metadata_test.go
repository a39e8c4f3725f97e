package images

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"testing"

	"stylenet/internal/images/metadata"
)

// rgbProfile is the least that an ICC profile for RGB can be, with n bytes of
// noise behind its header.
func rgbProfile(n int) []byte {
	p := make([]byte, 128+n)
	rnd := rand.New(rand.NewPCG(3, uint64(n)))
	for i := range p {
		p[i] = byte(rnd.Uint32())
	}
	binary.BigEndian.PutUint32(p, uint32(len(p)))
	copy(p[12:], "mntrRGB XYZ ")
	copy(p[36:], "acsp")
	return p
}

// painted returns a canvas with a picture.
func painted(t testing.TB, format string, alpha bool) *Canvas {
	t.Helper()
	s, err := NewSource(pattern(12, 7, !alpha))
	if err != nil {
		t.Fatal(err)
	}
	return paint(t, s, format, 8)
}

// A profile comes through every pair of formats byte for byte, however many
// segments JPEG cuts it into, and so does EXIF.
func TestMetadataGoesThroughAllFormats(t *testing.T) {
	for _, n := range []int{5, 560, 70_000, 200_001} {
		icc := rgbProfile(n)
		for _, from := range EncodeFormats() {
			for _, to := range EncodeFormats() {
				if n != 560 && from != "JPEG" && to != "JPEG" {
					continue // the length matters to JPEG
				}
				t.Run(fmt.Sprint(n, from, to), func(t *testing.T) {
					m := Metadata{ICC: icc, EXIF: exif(binary.BigEndian, 6)}
					for i, format := range []string{from, to} {
						c := painted(t, format, i == 0)
						var buf bytes.Buffer
						if err := c.Encode(&buf, SaveOptions{Metadata: m}); err != nil {
							t.Fatal(err)
						}
						s, err := Decoder{}.Source(buf.Bytes())
						if err != nil {
							t.Fatal(err)
						}
						if w, h := s.Size(); w != 12 || h != 7 || s.Format() != format {
							t.Fatalf("%s of %d×%d", s.Format(), w, h)
						}
						if !bytes.Equal(s.Metadata().ICC, icc) {
							t.Fatalf("%s changed the profile", format)
						}
						if !bytes.Contains(s.Metadata().EXIF, []byte("cam\x00")) {
							t.Fatalf("%s lost EXIF", format)
						}
						m = s.Metadata()
					}
				})
			}
		}
	}
}

// Metadata does not touch pixels, and a file without it is what the encoder has
// written.
func TestMetadataLeavesPixels(t *testing.T) {
	m := Metadata{ICC: rgbProfile(100), EXIF: exif(binary.LittleEndian, 1)}
	for _, format := range EncodeFormats() {
		for _, alpha := range []bool{false, true} {
			c := painted(t, format, alpha)
			with, without := reread(t, c, SaveOptions{Metadata: m}).Picture(), reread(t, c, SaveOptions{})
			if most, _ := differ(t, with, without.Picture()); most != 0 || (with.Alpha != nil) != (alpha && format != "JPEG") {
				t.Errorf("%s with alpha %v: values differ by %v, alpha is %v", format, alpha, most, with.Alpha != nil)
			}
			if got := without.Metadata(); got.ICC != nil || got.EXIF != nil {
				t.Errorf("%s has metadata that nobody gave", format)
			}
		}
	}
}

// Profiles that RGB pixels cannot have stay behind: of CMYK and grey, and what is
// no profile.
func TestProfilesOfOtherColoursAreDropped(t *testing.T) {
	good := rgbProfile(50)
	for name, change := range map[string]func(p []byte) []byte{
		"CMYK":        func(p []byte) []byte { copy(p[16:], "CMYK"); return p },
		"grey":        func(p []byte) []byte { copy(p[16:], "GRAY"); return p },
		"a link":      func(p []byte) []byte { copy(p[12:], "link"); return p },
		"no profile":  func(p []byte) []byte { copy(p[36:], "none"); return p },
		"cut":         func(p []byte) []byte { return p[:150] },
		"half header": func(p []byte) []byte { return p[:100] },
		"empty":       func([]byte) []byte { return []byte{} },
		"huge":        func([]byte) []byte { return rgbProfile(17 << 20) },
	} {
		for _, format := range EncodeFormats() {
			if name == "huge" && format == "AVIF" {
				continue // the codec would copy it around
			}
			bad := change(bytes.Clone(good))
			if got := reread(t, painted(t, format, false), SaveOptions{Metadata: Metadata{ICC: bad}}); got.Metadata().ICC != nil {
				t.Errorf("%s: %s was written to %s", name, name, format)
			}
		}
		// And none is taken from a file that has it.
		file := encodeWith(t, pattern(3, 3, true), goJPEG)
		bad := change(bytes.Clone(good))
		if len(bad) > 60_000 {
			continue
		}
		segment := append([]byte("ICC_PROFILE\x00\x01\x01"), bad...)
		file = append(append([]byte{0xff, 0xd8, 0xff, 0xe2, byte((len(segment) + 2) >> 8), byte(len(segment) + 2)}, segment...), file[2:]...)
		s, err := Decoder{}.Source(file)
		if err != nil {
			t.Fatal(err)
		}
		if s.Metadata().ICC != nil {
			t.Errorf("%s was read from JPEG", name)
		}
	}
}

// A turned picture is written upright, and nothing in the file says otherwise.
func TestOrientationIsNotCarried(t *testing.T) {
	stored := image.NewNRGBA(image.Rect(0, 0, 6, 4))
	for name, file := range map[string][]byte{
		"jpeg": withJPEGExif(encodeWith(t, stored, goJPEG), 6),
		"png":  withPNGExif(encodeWith(t, stored, png.Encode), 8),
	} {
		s, err := Decoder{}.Source(file)
		if err != nil {
			t.Fatal(err)
		}
		if w, h := s.Size(); w != 4 || h != 6 {
			t.Fatalf("%s: the picture is %d×%d, not turned", name, w, h)
		}
		if metadata.Orientation(s.Metadata().EXIF) != 1 {
			t.Errorf("%s: the orientation is carried", name)
		}
		for _, format := range EncodeFormats() {
			got := reread(t, paint(t, s, format, 8), SaveOptions{Metadata: s.Metadata()})
			if w, h := got.Size(); w != 4 || h != 6 {
				t.Errorf("%s to %s: %d×%d, turned again", name, format, w, h)
			}
		}
	}
}
