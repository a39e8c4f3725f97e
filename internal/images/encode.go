package images

import (
	"fmt"
	"image"
	"io"
	"path/filepath"
	"strings"

	"stylenet/internal/atomicfile"
)

// DefaultQuality is the quality of JPEG that 0 stands for.
const DefaultQuality = 95

// SaveOptions are the choices of Save. The zero value is the default.
type SaveOptions struct {
	// Quality is 1 to 100, of the formats that lose something; 0 is the
	// format's own default: 95 of JPEG, 90 of WebP, 80 of AVIF. WebP of quality
	// 100 loses nothing.
	Quality int
	// Metadata is written where the format can hold it.
	Metadata Metadata
}

// encoder is one kind of file that can be written.
type encoder struct {
	name       string
	extensions []string // the first one is the usual one
	alpha      bool     // holds alpha
	deep       bool     // holds 16 bits a sample
	ycc        bool     // is encoded from YCbCr
	quality    int      // that 0 stands for; 0 where nothing is lost
	maxSide    int      // pixels; 0 is no limit
	maxBytes   int64    // of pixels; 0 is no limit
	fixed      int64    // bytes that encoding takes beside the canvas
	perPixel   int64    // and for each pixel
	encode     func(io.Writer, *Canvas, SaveOptions) error
}

func encoders() []*encoder {
	return []*encoder{
		{name: "PNG", extensions: []string{".png"}, alpha: true, deep: true, encode: encodePNG},
		{name: "JPEG", extensions: []string{".jpg", ".jpeg"}, ycc: true, quality: DefaultQuality, maxSide: 1<<16 - 1, encode: encodeJPEG},
		{name: "WebP", extensions: []string{".webp"}, alpha: true, quality: 90, maxSide: 1<<14 - 1, fixed: 12 << 20, perPixel: 28, encode: encodeWebP},
		{name: "TIFF", extensions: []string{".tif", ".tiff"}, alpha: true, deep: true, maxBytes: maxTIFF, encode: encodeTIFF},
		{name: "AVIF", extensions: []string{".avif"}, alpha: true, quality: 80, maxSide: 1 << 16, maxBytes: maxAVIF, fixed: 32 << 20, perPixel: 132, encode: encodeAVIF},
	}
}

// EncodeFormats returns the names of the formats that can be written.
func EncodeFormats() []string {
	var names []string
	for _, e := range encoders() {
		names = append(names, e.name)
	}
	return names
}

// EncodeBytes is the memory that encoding a picture of w×h pixels takes beside the
// canvas, as it was measured: that of the codecs in WebAssembly. Other formats are
// written as they are encoded.
func EncodeBytes(format string, w, h int) (int64, error) {
	e, err := encoderNamed(format)
	if err != nil {
		return 0, err
	}
	return e.fixed + e.perPixel*int64(w)*int64(h), nil
}

// EncodeExtensions returns the extensions of file names that FormatOf knows:
// lower case, with the dot.
func EncodeExtensions() []string {
	var extensions []string
	for _, e := range encoders() {
		extensions = append(extensions, e.extensions...)
	}
	return extensions
}

// encoderNamed finds an encoder by its name or one of its extensions, with or
// without the dot, in upper or lower case.
func encoderNamed(name string) (*encoder, error) {
	low := strings.TrimPrefix(strings.ToLower(name), ".")
	for _, e := range encoders() {
		if low == strings.ToLower(e.name) {
			return e, nil
		}
		for _, extension := range e.extensions {
			if low == extension[1:] {
				return e, nil
			}
		}
	}
	return nil, &UnsupportedError{fmt.Sprintf("cannot write the picture format %q (known: %s)", name, strings.Join(EncodeFormats(), ", "))}
}

// FormatNamed returns the format, one of EncodeFormats, that people call name:
// the format or one of its extensions, in upper or lower case, as "jpg".
func FormatNamed(name string) (string, error) {
	e, err := encoderNamed(name)
	if err != nil {
		return "", err
	}
	return e.name, nil
}

// FormatOf returns the format, one of EncodeFormats, that the extension of a
// file name stands for.
func FormatOf(path string) (string, error) {
	known := strings.Join(EncodeExtensions(), ", ")
	extension := strings.ToLower(filepath.Ext(path))
	if extension == "" {
		return "", &UnsupportedError{fmt.Sprintf("%s: the name has no extension that tells the format (known: %s)", path, known)}
	}
	e, err := encoderNamed(extension)
	if err != nil {
		return "", &UnsupportedError{fmt.Sprintf("%s: cannot write %s pictures (known: %s)", path, extension, known)}
	}
	return e.name, nil
}

// Encode writes p in one of EncodeFormats (in upper or lower case), 8 bits a
// sample. Values are clamped to 0..255 and then rounded to the nearest that the
// format holds, halves up; not a number becomes 0. JPEG gets a picture with
// alpha composited on white, the other formats keep it.
func Encode(w io.Writer, p *Picture, format string, o SaveOptions) error {
	if p.W < 1 || p.H < 1 || len(p.Pix) != 3*p.W*p.H || p.Alpha != nil && len(p.Alpha) != p.W*p.H {
		return fmt.Errorf("cannot encode a picture of %d×%d with %d values and %d of alpha", p.W, p.H, len(p.Pix), len(p.Alpha))
	}
	c, err := NewCanvas(p.W, p.H, format, CanvasOptions{Alpha: p.Alpha != nil})
	if err != nil {
		return err
	}
	c.WriteRows(p, 0)
	return c.Encode(w, o)
}

// Save writes p to a file in the format of its extension, as Encode does. A
// reader sees the whole old file or the whole new one, never a part, and after
// a failure the old one; errors name the file.
func Save(path string, p *Picture, o SaveOptions) error {
	format, err := FormatOf(path)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, 0o666, func(w io.Writer) error { return Encode(w, p, format, o) })
}

// Image returns p as 8-bit samples, rounded as Encode says: an *image.RGBA
// where p is opaque, else an *image.NRGBA.
func (p *Picture) Image() image.Image {
	c := &Canvas{w: p.W, h: p.H, depth: 8, pix: make([]uint8, 4*p.W*p.H), alpha: p.Alpha != nil}
	c.WriteRows(p, 0)
	return c.Image()
}
