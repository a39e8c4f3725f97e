package images

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"

	"stylenet/internal/images/codecs"
	"stylenet/internal/images/metadata"
)

// DefaultMaxPixels is the largest picture, in pixels, that a Decoder reads
// unless it is told otherwise.
const DefaultMaxPixels = 1_000_000_000

// maxFileBytes bounds what is read into memory before the header of a file is
// known. No picture within DefaultMaxPixels that a camera or scanner writes
// comes near it.
const maxFileBytes = 1 << 30

// Decoder reads pictures. The zero value is ready for use and may be used by
// several goroutines.
type Decoder struct {
	// MaxPixels refuses larger pictures before their pixels are decoded, so
	// that a small file cannot claim all memory. 0 means DefaultMaxPixels.
	MaxPixels int64
}

// Decode reads a picture in any format of Formats, told by its content, with
// the default limits. See [Decoder.Source] for what it does to pixels and for
// its errors.
func Decode(r io.Reader) (*Picture, error) { return Decoder{}.Decode(r) }

// Open reads a picture file as Decode does; errors name the file.
func Open(path string) (*Picture, error) { return Decoder{}.Open(path) }

// Decode is the function of that name under this decoder's limits.
func (d Decoder) Decode(r io.Reader) (*Picture, error) {
	s, err := d.ReadSource(r, new(bytes.Buffer))
	if err != nil {
		return nil, err
	}
	return s.Picture(), nil
}

// Open is the function of that name under this decoder's limits.
func (d Decoder) Open(path string) (*Picture, error) {
	s, err := d.OpenSource(path, new(bytes.Buffer))
	if err != nil {
		return nil, err
	}
	return s.Picture(), nil
}

// OpenSource reads a file through buf, which callers that read many files
// reuse; the source does not keep it. Errors name the file.
func (d Decoder) OpenSource(path string, buf *bytes.Buffer) (*Source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := d.ReadSource(f, buf)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// ReadSource reads a stream to its end through buf, as OpenSource does a file.
func (d Decoder) ReadSource(r io.Reader, buf *bytes.Buffer) (*Source, error) {
	buf.Reset()
	if err := ReadAll(buf, r); err != nil {
		return nil, err
	}
	return d.Source(buf.Bytes())
}

// ReadAll appends a stream, such as standard input, to buf. More than any picture
// file has is an *UnsupportedError.
func ReadAll(buf *bytes.Buffer, r io.Reader) error {
	n, err := buf.ReadFrom(io.LimitReader(r, maxFileBytes+1))
	if err != nil {
		return err
	}
	if n > maxFileBytes {
		return &UnsupportedError{fmt.Sprintf("larger than %d MiB, the most that a picture file may have", maxFileBytes>>20)}
	}
	return nil
}

// Source is a decoded picture whose pixels are still in the layout of their
// file format. Training crops are resampled straight from it, which saves the
// float32 copy of a whole photo of which a small part is used. It is not for
// use by several goroutines at once.
type Source struct {
	format   string
	depth    int
	metadata Metadata
	orient   orientation
	pixels   rows
}

// Source decodes data, which it does not keep.
//
// The orientation is applied (EXIF of JPEG, PNG, TIFF and WebP; irot and imir of
// AVIF); CMYK becomes RGB by
// (1-C)(1-K); grey becomes three equal planes; 16-bit samples keep their
// fractions of 1/257; alpha becomes straight; of an animated GIF the first
// frame is read, on its canvas.
//
// A broken or empty file is a *FormatError; a format that is not known, one
// whose variant cannot be read, and a picture over the limit are an
// *UnsupportedError.
func (d Decoder) Source(data []byte) (s *Source, err error) {
	f, err := known(data)
	if err != nil {
		return nil, err
	}
	defer f.rescue(&err)
	cfg, err := d.header(f, data)
	if err != nil {
		return nil, err
	}
	img, err := f.decode(data)
	if err != nil {
		return nil, f.wrap(err)
	}
	s = &Source{format: f.name, depth: depthOf(img), orient: upright, pixels: newRows(img, cfg.Width, cfg.Height, f.studioRange)}
	if f.read != nil {
		found := f.read(data)
		s.orient, s.metadata = orientation(found.Orientation), found.Metadata
	}
	return s, nil
}

// Header reads what the beginning of a file says: the size of the picture as it
// is stored, which may be turned, and the memory that its decoded pixels take at
// most, in bytes. Errors are those of Source.
func (d Decoder) Header(data []byte) (w, h int, bytes int64, err error) {
	f, err := known(data)
	if err != nil {
		return 0, 0, 0, err
	}
	defer f.rescue(&err)
	cfg, err := d.header(f, data)
	if err != nil {
		return 0, 0, 0, err
	}
	return cfg.Width, cfg.Height, int64(modelDepth(cfg.ColorModel)) / 2 * int64(cfg.Width) * int64(cfg.Height), nil
}

// known finds the format of a file.
func known(data []byte) (*format, error) {
	f := sniff(data)
	switch {
	case f != nil:
		return f, nil
	case len(data) == 0:
		return nil, &FormatError{Err: errors.New("the file is empty")}
	}
	return nil, &UnsupportedError{"not a picture in a known format (known: " + strings.Join(Formats(), ", ") + ")"}
}

// rescue makes a panic an error: the decoders are other people's code and eat
// hostile files, and one such file must not end a training run of days.
func (f *format) rescue(err *error) {
	if r := recover(); r != nil {
		*err = &FormatError{f.name, fmt.Errorf("the decoder failed: %v", r)}
	}
}

// header reads a file's beginning, and refuses sizes that cannot be.
func (d Decoder) header(f *format, data []byte) (image.Config, error) {
	cfg, err := f.config(data)
	if err != nil {
		return cfg, f.wrap(err)
	}
	if cfg.Width <= 0 || cfg.Height <= 0 {
		return cfg, &FormatError{f.name, fmt.Errorf("its size is %d×%d", cfg.Width, cfg.Height)}
	}
	limit := d.MaxPixels
	if limit <= 0 {
		limit = DefaultMaxPixels
	}
	if int64(cfg.Height) > limit/int64(cfg.Width) {
		return cfg, &UnsupportedError{fmt.Sprintf("%d×%d pixels are more than the limit of %d", cfg.Width, cfg.Height, limit)}
	}
	return cfg, nil
}

// depthOf is the bits a sample of a decoded picture: 8 or 16.
func depthOf(img image.Image) int { return modelDepth(img.ColorModel()) }

func modelDepth(m color.Model) int {
	switch m {
	case color.Gray16Model, color.RGBA64Model, color.NRGBA64Model:
		return 16
	}
	return 8
}

// Format returns the name of the file's format, one of Formats.
func (s *Source) Format() string { return s.format }

// Depth returns the bits a sample that are worth keeping: 16 where the file has
// more than 8, else 8.
func (s *Source) Depth() int { return s.depth }

// Turned says that the stored pixels lie otherwise than the picture does, by its
// EXIF.
func (s *Source) Turned() bool { return s.orient != upright }

// Transposed says that width and height are stored the other way round.
func (s *Source) Transposed() bool { return s.orient.transposed() }

// Metadata returns what the file says beside its pixels.
func (s *Source) Metadata() Metadata { return s.metadata }

// Size returns the width and height of the upright picture.
func (s *Source) Size() (w, h int) {
	w, h = s.pixels.size()
	if s.orient.transposed() {
		return h, w
	}
	return w, h
}

// Picture converts the whole picture.
func (s *Source) Picture() *Picture {
	p := New(s.Size())
	p.Alpha = make([]float32, p.W*p.H)
	s.ReadRows(p, 0)
	if !slices.ContainsFunc(p.Alpha, func(a float32) bool { return a < 1 }) {
		p.Alpha = nil
	}
	return p
}

// Formats returns the names of the formats that can be read.
func Formats() []string {
	var names []string
	for _, f := range formats() {
		names = append(names, f.name)
	}
	return slices.Compact(names) // some have two kinds of first bytes
}

// Sniff returns the format, one of Formats, that the first bytes of a file
// tell, or "" for none. SniffLen bytes are enough.
func Sniff(head []byte) string {
	if f := sniff(head); f != nil {
		return f.name
	}
	return ""
}

// SniffLen is the number of bytes that Sniff looks at.
const SniffLen = 16

// A format is one kind of file.
type format struct {
	name   string
	magic  string // '?' stands for any byte
	config func([]byte) (image.Config, error)
	decode func([]byte) (image.Image, error)
	read   func([]byte) metadata.Found // nil where the format has nothing that is read

	// studioRange: luma is 16 to 235 and chroma 16 to 240 (BT.601), not the
	// full range that image.YCbCr stands for.
	studioRange bool
}

func formats() []*format {
	return []*format{
		{name: "JPEG", magic: "\xff\xd8\xff", config: from(jpeg.DecodeConfig), decode: decodeJPEG, read: metadata.ReadJPEG},
		{name: "PNG", magic: "\x89PNG\r\n\x1a\n", config: from(png.DecodeConfig), decode: from(png.Decode), read: metadata.ReadPNG},
		{name: "GIF", magic: "GIF8?a", config: from(gif.DecodeConfig), decode: from(gif.Decode)},
		{name: "WebP", magic: "RIFF????WEBP", config: from(webp.DecodeConfig), decode: decodeWebP, read: metadata.ReadWebP, studioRange: true},
		{name: "BMP", magic: "BM????\x00\x00\x00\x00", config: from(bmp.DecodeConfig), decode: from(bmp.Decode)},
		{name: "TIFF", magic: "II*\x00", config: from(tiff.DecodeConfig), decode: from(tiff.Decode), read: metadata.ReadTIFF},
		{name: "TIFF", magic: "MM\x00*", config: from(tiff.DecodeConfig), decode: from(tiff.Decode), read: metadata.ReadTIFF},
		{name: "AVIF", magic: "????ftypavif", config: configAVIF, decode: decodeAVIF, read: metadata.ReadAVIF},
		{name: "AVIF", magic: "????ftypavis", config: configAVIF, decode: decodeAVIF, read: metadata.ReadAVIF},
	}
}

// from makes a function of bytes of one that reads a stream.
func from[T any](f func(io.Reader) (T, error)) func([]byte) (T, error) {
	return func(b []byte) (T, error) { return f(bytes.NewReader(b)) }
}

func sniff(head []byte) *format {
	for _, f := range formats() {
		if len(head) < len(f.magic) {
			continue
		}
		match := true
		for i := range len(f.magic) {
			match = match && (f.magic[i] == '?' || f.magic[i] == head[i])
		}
		if match {
			return f
		}
	}
	return nil
}

// wrap gives a decoder's error one of this package's types.
func (f *format) wrap(err error) error {
	var (
		unsupported *UnsupportedError
		jpegErr     jpeg.UnsupportedError
		pngErr      png.UnsupportedError
		tiffErr     tiff.UnsupportedError
	)
	switch {
	case errors.As(err, &unsupported):
		return err
	case errors.As(err, &jpegErr), errors.As(err, &pngErr), errors.As(err, &tiffErr), errors.Is(err, bmp.ErrUnsupported):
		return &UnsupportedError{fmt.Sprintf("%s variant that cannot be read: %v", f.name, err)}
	case errors.Is(err, codecs.ErrUnable):
		return &UnsupportedError{fmt.Sprintf("%s picture that cannot be read: %v", f.name, err)}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &FormatError{f.name, fmt.Errorf("it ends too early: %w", err)}
	}
	return &FormatError{f.name, err}
}

func decodeJPEG(b []byte) (image.Image, error) {
	if components, adobe := metadata.JPEGColors(b); components == 4 && !adobe {
		// Four components and no Adobe segment: the decoder refuses to guess.
		// Told that it is Adobe's CMYK, it reads the inks as inverted, which
		// is what Pillow and the browsers take such files for.
		const adobe = "\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
		b = slices.Concat(b[:2], []byte(adobe), b[2:])
	}
	return jpeg.Decode(bytes.NewReader(b))
}

func decodeWebP(b []byte) (image.Image, error) {
	if metadata.WebPAnimated(b) {
		return nil, &UnsupportedError{"animated WebP cannot be read; save one frame as a still picture"}
	}
	return webp.Decode(bytes.NewReader(b))
}

// configAVIF reads the size without starting the decoder.
func configAVIF(b []byte) (image.Config, error) {
	w, h := metadata.AVIFSize(b)
	if w == 0 || h == 0 {
		return image.Config{}, errors.New("it says no size of its picture")
	}
	return image.Config{Width: w, Height: h}, nil
}

func decodeAVIF(b []byte) (image.Image, error) {
	w, h := metadata.AVIFSize(b)
	p, err := codecs.DecodeAVIF(b, int64(w)*int64(h))
	if err != nil {
		return nil, err
	}
	rect := image.Rect(0, 0, p.W, p.H)
	if p.Depth == 16 {
		return &image.RGBA64{Pix: p.Pix, Stride: 8 * p.W, Rect: rect}, nil
	}
	return &image.RGBA{Pix: p.Pix, Stride: 4 * p.W, Rect: rect}, nil
}
