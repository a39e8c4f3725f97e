package images

import (
	"bytes"
	"errors"
	"testing"
)

// The header tells what decoding takes: blocks of 16×16 are whole here.
func TestHeader(t *testing.T) {
	for _, format := range []string{"PNG", "JPEG", "WebP", "TIFF"} { // AVIF takes seconds
		for _, depth := range []int{8, 16} {
			c, err := NewCanvas(16, 16, format, CanvasOptions{Depth: depth})
			if err != nil {
				t.Fatal(err)
			}
			c.WriteRows(New(16, 16), 0)
			var file bytes.Buffer
			if err := c.Encode(&file, SaveOptions{}); err != nil {
				t.Fatal(err)
			}
			w, h, most, err := Decoder{}.Header(file.Bytes())
			if err != nil {
				t.Fatal(format, err)
			}
			s, err := Decoder{}.Source(file.Bytes())
			if err != nil {
				t.Fatal(format, err)
			}
			if w != 16 || h != 16 || most < s.Bytes() || most > int64(s.Depth())/2*256 {
				t.Errorf("%s of %d bits: %d×%d, %d bytes, decoded %d", format, depth, w, h, most, s.Bytes())
			}
		}
	}
	var unsupported *UnsupportedError
	if _, _, _, err := (Decoder{}).Header([]byte("no picture at all")); !errors.As(err, &unsupported) {
		t.Errorf("got %v", err)
	}
	var broken *FormatError
	if _, _, _, err := (Decoder{}).Header([]byte("\x89PNG\r\n\x1a\n....")); !errors.As(err, &broken) {
		t.Errorf("got %v", err)
	}
}
