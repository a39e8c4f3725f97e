package images

import (
	"fmt"
	"image"
	"io"
	"path/filepath"
	"strings"

	"stylenet/internal/atomicfile"
)

// DefaultQuality is the JPEG quality that 0 stands for.
const DefaultQuality = 95

// EncodeFormats returns the names of the formats that can be written.
func EncodeFormats() []string { return []string{"PNG", "JPEG"} }

// Encode writes p as "PNG" or "JPEG" (upper or lower case), 8 bits a sample.
// Values are clamped to 0..255 and then rounded to the nearest whole number,
// halves up; not a number becomes 0. PNG keeps alpha, JPEG gets the picture
// composited on white. quality is 1 to 100, for JPEG only; 0 is
// DefaultQuality.
func Encode(w io.Writer, p *Picture, format string, quality int) error {
	if p.W < 1 || p.H < 1 || len(p.Pix) != 3*p.W*p.H || p.Alpha != nil && len(p.Alpha) != p.W*p.H {
		return fmt.Errorf("cannot encode a picture of %d×%d with %d values and %d of alpha", p.W, p.H, len(p.Pix), len(p.Alpha))
	}
	c, err := NewCanvas(p.W, p.H, format, p.Alpha != nil)
	if err != nil {
		return err
	}
	c.WriteRows(p, 0)
	return c.Encode(w, quality)
}

// Image returns p as 8-bit samples, rounded as Encode says: an *image.RGBA
// where p is opaque, else an *image.NRGBA.
func (p *Picture) Image() image.Image {
	c := &Canvas{w: p.W, h: p.H, rgba: make([]uint8, 4*p.W*p.H), alpha: p.Alpha != nil}
	c.WriteRows(p, 0)
	return c.Image()
}

func toByte(v float32) uint8 { return uint8(clamp(v) + .5) }

// FormatOf returns the format, one of EncodeFormats, that the extension of a
// file name stands for.
func FormatOf(path string) (string, error) {
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".png":
		return "PNG", nil
	case ".jpg", ".jpeg":
		return "JPEG", nil
	case "":
		return "", &UnsupportedError{fmt.Sprintf("%s: the name has no extension that tells the format (known: .png, .jpg, .jpeg)", path)}
	default:
		return "", &UnsupportedError{fmt.Sprintf("%s: cannot write %s pictures (known: .png, .jpg, .jpeg)", path, ext)}
	}
}

// SaveOptions are the choices of Save. The zero value is the default.
type SaveOptions struct {
	Quality int // of JPEG, 1 to 100; 0 is DefaultQuality
}

// Save writes p to a file in the format of its extension. A reader sees the
// whole old file or the whole new one, never a part, and after a failure the
// old one; errors name the file.
func Save(path string, p *Picture, opts SaveOptions) error {
	format, err := FormatOf(path)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, 0o666, func(w io.Writer) error { return Encode(w, p, format, opts.Quality) })
}
