package images

import (
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
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
	switch strings.ToUpper(format) {
	case "PNG":
		return png.Encode(w, p.Image())
	case "JPEG":
		if quality == 0 {
			quality = DefaultQuality
		}
		if quality < 1 || quality > 100 {
			return fmt.Errorf("jpeg quality %d is not 1 to 100", quality)
		}
		return jpeg.Encode(w, over(p, 255).Image(), &jpeg.Options{Quality: quality})
	}
	return &UnsupportedError{fmt.Sprintf("cannot write the picture format %q (known: %s)", format, strings.Join(EncodeFormats(), ", "))}
}

// Image returns p as 8-bit samples, rounded as Encode says: an *image.RGBA
// where p is opaque, else an *image.NRGBA.
func (p *Picture) Image() image.Image {
	r, g, b := p.Plane(0), p.Plane(1), p.Plane(2)
	pix := make([]uint8, 4*p.W*p.H)
	for i := range r {
		o := pix[4*i : 4*i+4 : 4*i+4]
		o[0], o[1], o[2], o[3] = toByte(r[i]), toByte(g[i]), toByte(b[i]), 255
	}
	for i, a := range p.Alpha {
		pix[4*i+3] = toByte(a * 255)
	}
	rect := image.Rect(0, 0, p.W, p.H)
	if p.Alpha == nil {
		return &image.RGBA{Pix: pix, Stride: 4 * p.W, Rect: rect}
	}
	return &image.NRGBA{Pix: pix, Stride: 4 * p.W, Rect: rect}
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
