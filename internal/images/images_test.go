package images

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/color/palette"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

func open(t testing.TB, path string) *Picture {
	t.Helper()
	p, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func decode(t testing.TB, data []byte) *Picture {
	t.Helper()
	p, err := Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func encodeWith(t testing.TB, img image.Image, encode func(io.Writer, image.Image) error) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := encode(&buf, img); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func goJPEG(w io.Writer, img image.Image) error {
	return jpeg.Encode(w, img, &jpeg.Options{Quality: 100})
}

// at returns R, G, B and alpha of a pixel.
func at(p *Picture, x, y int) [4]float32 {
	i := y*p.W + x
	v := [4]float32{p.Plane(0)[i], p.Plane(1)[i], p.Plane(2)[i], 1}
	if p.Alpha != nil {
		v[3] = p.Alpha[i]
	}
	return v
}

func near(a, b [4]float32, tolerance float64) bool {
	for c := range 4 {
		if math.Abs(float64(a[c]-b[c])) > tolerance {
			return false
		}
	}
	return true
}

// differ returns the largest and the mean difference of the colours, weighted
// by want's alpha.
func differ(t testing.TB, got, want *Picture) (most, mean float64) {
	t.Helper()
	if got.W != want.W || got.H != want.H {
		t.Fatalf("size %d×%d, want %d×%d", got.W, got.H, want.W, want.H)
	}
	for i := range want.Pix {
		d := math.Abs(float64(got.Pix[i] - want.Pix[i]))
		if want.Alpha != nil {
			d *= float64(want.Alpha[i%(want.W*want.H)])
		}
		most = max(most, d)
		mean += d / float64(len(want.Pix))
	}
	return most, mean
}

// pattern is a small picture without symmetry; alpha rises to the right.
func pattern(w, h int, opaque bool) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.NRGBA{uint8(x * 255 / max(1, w-1)), uint8(y * 255 / max(1, h-1)), uint8((x*7 + y*13) % 256), 255}
			if !opaque {
				c.A = uint8(55 + x*200/max(1, w-1))
			}
			img.SetNRGBA(x, y, c)
		}
	}
	return img
}

func TestDecodeEqualsPillow(t *testing.T) {
	files, err := filepath.Glob("testdata/decode/*.png")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d fixtures, %v", len(files), err)
	}
	for _, want := range files {
		name := strings.TrimSuffix(want, ".png")
		t.Run(filepath.Base(name), func(t *testing.T) {
			got, want := open(t, name), open(t, want)
			if (got.Alpha == nil) != (want.Alpha == nil) {
				t.Fatalf("alpha: %v, want %v", got.Alpha != nil, want.Alpha != nil)
			}
			// Pillow's libraries round at every step of the inverse DCT and of
			// the colour conversion.
			most, mean := differ(t, got, want)
			if most > 4 || mean > .6 {
				t.Errorf("differs by up to %.2f, %.3f in the mean", most, mean)
			}
			for i := range want.Alpha {
				if got.Alpha[i] != want.Alpha[i] {
					t.Fatalf("alpha %d is %v, want %v", i, got.Alpha[i], want.Alpha[i])
				}
			}
		})
	}
}

func TestDecodeLosslessFormats(t *testing.T) {
	opaque := pattern(7, 5, true)
	want := decode(t, encodeWith(t, opaque, png.Encode))
	for x, c := range map[int][4]float32{0: {0, 0, 0, 1}, 6: {255, 0, 42, 1}} {
		if got := at(want, x, 0); got != c {
			t.Fatalf("png pixel (%d, 0) is %v, want %v", x, got, c)
		}
	}
	for name, data := range map[string][]byte{
		"BMP":  encodeWith(t, opaque, bmp.Encode),
		"TIFF": encodeWith(t, opaque, func(w io.Writer, m image.Image) error { return tiff.Encode(w, m, nil) }),
	} {
		got := decode(t, data)
		if most, _ := differ(t, got, want); most != 0 || got.Alpha != nil {
			t.Errorf("%s differs by %v", name, most)
		}
		if f := Sniff(data[:SniffLen]); f != name {
			t.Errorf("sniffed %q, want %s", f, name)
		}
	}
}

func TestDecodeKeepsStraightAlpha(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 3, 1))
	img.SetNRGBA(0, 0, color.NRGBA{200, 100, 50, 51})
	img.SetNRGBA(1, 0, color.NRGBA{10, 20, 30, 0})
	img.SetNRGBA(2, 0, color.NRGBA{1, 2, 3, 255})
	want := [][4]float32{{200, 100, 50, .2}, {10, 20, 30, 0}, {1, 2, 3, 1}}
	got := decode(t, encodeWith(t, img, png.Encode))
	for x, w := range want {
		if !near(at(got, x, 0), w, 1e-6) {
			t.Errorf("pixel %d is %v, want %v", x, at(got, x, 0), w)
		}
	}

	// Premultiplied storage: 200·51/255 = 40.
	rgba := &image.RGBA{Pix: []uint8{40, 20, 10, 51, 0, 0, 0, 0}, Stride: 8, Rect: image.Rect(0, 0, 2, 1)}
	tiffData := encodeWith(t, rgba, func(w io.Writer, m image.Image) error { return tiff.Encode(w, m, nil) })
	if got := at(decode(t, tiffData), 0, 0); !near(got, [4]float32{200, 100, 50, .2}, 1e-3) {
		t.Errorf("premultiplied pixel is %v", got)
	}
}

func TestDecode16Bit(t *testing.T) {
	rgb := image.NewNRGBA64(image.Rect(0, 0, 2, 1))
	rgb.SetNRGBA64(0, 0, color.NRGBA64{257, 128, 65535, 65535})
	rgb.SetNRGBA64(1, 0, color.NRGBA64{1000, 2000, 3000, 13107})
	got := decode(t, encodeWith(t, rgb, png.Encode))
	if v := at(got, 0, 0); !near(v, [4]float32{1, 128. / 257, 255, 1}, 1e-5) {
		t.Errorf("first pixel is %v", v)
	}
	if v := at(got, 1, 0); !near(v, [4]float32{1000. / 257, 2000. / 257, 3000. / 257, .2}, 1e-5) {
		t.Errorf("second pixel is %v", v)
	}

	opaque := image.NewRGBA64(image.Rect(0, 0, 1, 1))
	opaque.SetRGBA64(0, 0, color.RGBA64{1000, 2000, 3000, 65535})
	if got := decode(t, encodeWith(t, opaque, png.Encode)); !near(at(got, 0, 0), [4]float32{1000. / 257, 2000. / 257, 3000. / 257, 1}, 1e-5) || got.Alpha != nil {
		t.Errorf("opaque pixel is %v", at(got, 0, 0))
	}

	gray := image.NewGray16(image.Rect(0, 0, 1, 1))
	gray.SetGray16(0, 0, color.Gray16{771})
	for name, data := range map[string][]byte{
		"png":  encodeWith(t, gray, png.Encode),
		"tiff": encodeWith(t, gray, func(w io.Writer, m image.Image) error { return tiff.Encode(w, m, nil) }),
	} {
		if got := at(decode(t, data), 0, 0); got != [4]float32{3, 3, 3, 1} {
			t.Errorf("16-bit grey %s is %v, want 3", name, got)
		}
	}
}

func TestDecodePalette(t *testing.T) {
	img := image.NewPaletted(image.Rect(0, 0, 3, 1), color.Palette{
		color.NRGBA{10, 20, 30, 255}, color.NRGBA{200, 100, 50, 102}, color.NRGBA{9, 8, 7, 0}})
	copy(img.Pix, []uint8{0, 1, 2})
	got := decode(t, encodeWith(t, img, png.Encode))
	for x, want := range [][4]float32{{10, 20, 30, 1}, {200, 100, 50, .4}, {9, 8, 7, 0}} {
		if !near(at(got, x, 0), want, 1e-6) {
			t.Errorf("pixel %d is %v, want %v", x, at(got, x, 0), want)
		}
	}
}

func TestDecodeGIFFirstFrameOnCanvas(t *testing.T) {
	pal := color.Palette{color.RGBA{255, 0, 0, 255}, color.RGBA{0, 0, 255, 255}}
	first := image.NewPaletted(image.Rect(1, 1, 3, 2), pal)
	second := image.NewPaletted(image.Rect(0, 0, 4, 3), pal)
	for i := range second.Pix {
		second.Pix[i] = 1
	}
	var buf bytes.Buffer
	if err := gif.EncodeAll(&buf, &gif.GIF{Image: []*image.Paletted{first, second}, Delay: []int{1, 1}, Config: image.Config{Width: 4, Height: 3}}); err != nil {
		t.Fatal(err)
	}
	p := decode(t, buf.Bytes())
	if p.W != 4 || p.H != 3 {
		t.Fatalf("size %d×%d, want the canvas, 4×3", p.W, p.H)
	}
	for y := range 3 {
		for x := range 4 {
			want := [4]float32{}
			if y == 1 && (x == 1 || x == 2) {
				want = [4]float32{255, 0, 0, 1}
			}
			if got := at(p, x, y); got != want {
				t.Errorf("pixel (%d, %d) is %v, want %v", x, y, got, want)
			}
		}
	}
}

// exif returns an EXIF block with a maker and an orientation.
func exif(order binary.AppendByteOrder, o int) []byte {
	head := "II*\x00"
	if order.String() == binary.BigEndian.String() {
		head = "MM\x00*"
	}
	b := order.AppendUint32([]byte(head), 8)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, 0x010f) // another tag before it: the camera's maker
	b = order.AppendUint16(b, 2)
	b = order.AppendUint32(b, 4)
	b = append(b, "cam\x00"...)
	b = order.AppendUint16(b, 0x0112)
	b = order.AppendUint16(b, 3)
	b = order.AppendUint32(b, 1)
	b = order.AppendUint16(b, uint16(o))
	b = append(b, 0, 0)
	return order.AppendUint32(b, 0)
}

func withJPEGExif(data []byte, o int) []byte {
	payload := append([]byte("Exif\x00\x00"), exif(binary.BigEndian, o)...)
	out := append([]byte{0xff, 0xd8, 0xff, 0xe1}, byte((len(payload)+2)>>8), byte(len(payload)+2))
	return append(append(out, payload...), data[2:]...)
}

func withPNGExif(data []byte, o int) []byte {
	const afterIHDR = 8 + 25
	payload := exif(binary.LittleEndian, o)
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))
	chunk = append(append(chunk, "eXIf"...), payload...)
	chunk = binary.BigEndian.AppendUint32(chunk, crc(chunk[4:]))
	return append(append(append([]byte{}, data[:afterIHDR]...), chunk...), data[afterIHDR:]...)
}

// crc is CRC-32 as PNG defines it.
func crc(b []byte) uint32 {
	c := ^uint32(0)
	for _, v := range b {
		c ^= uint32(v)
		for range 8 {
			c = c>>1 ^ 0xedb88320&-(c&1)
		}
	}
	return ^c
}

func TestOrientation(t *testing.T) {
	// What EXIF 2.3 says of each value: the visual side at which the stored
	// row 0 and the stored column 0 lie.
	sides := map[int][2]string{
		1: {"top", "left"}, 2: {"top", "right"}, 3: {"bottom", "right"}, 4: {"bottom", "left"},
		5: {"left", "top"}, 6: {"right", "top"}, 7: {"right", "bottom"}, 8: {"left", "bottom"},
	}
	opposite := map[string]string{"top": "bottom", "bottom": "top", "left": "right", "right": "left"}
	corners := map[string]color.NRGBA{
		"top left": {250, 10, 10, 255}, "top right": {10, 250, 10, 255},
		"bottom left": {10, 10, 250, 255}, "bottom right": {250, 250, 250, 255},
	}
	corner := func(a, b string) color.NRGBA {
		if c, ok := corners[a+" "+b]; ok {
			return c
		}
		return corners[b+" "+a]
	}
	for o := 1; o <= 8; o++ {
		w, h := 48, 32 // upright
		sw, sh := w, h
		if o >= 5 {
			sw, sh = h, w
		}
		row0, col0 := sides[o][0], sides[o][1]
		stored := image.NewNRGBA(image.Rect(0, 0, sw, sh))
		for y := range sh {
			for x := range sw {
				row, col := row0, col0
				if y >= sh/2 {
					row = opposite[row]
				}
				if x >= sw/2 {
					col = opposite[col]
				}
				stored.SetNRGBA(x, y, corner(row, col))
			}
		}
		for name, data := range map[string][]byte{
			"jpeg": withJPEGExif(encodeWith(t, stored, goJPEG), o),
			"png":  withPNGExif(encodeWith(t, stored, png.Encode), o),
		} {
			p := decode(t, data)
			if p.W != w || p.H != h {
				t.Errorf("%s, orientation %d: size %d×%d, want %d×%d", name, o, p.W, p.H, w, h)
				continue
			}
			for where, c := range corners {
				x, y := 2, 2
				if strings.Contains(where, "right") {
					x = w - 3
				}
				if strings.Contains(where, "bottom") {
					y = h - 3
				}
				if got := at(p, x, y); !near(got, [4]float32{float32(c.R), float32(c.G), float32(c.B), 1}, 3) {
					t.Errorf("%s, orientation %d: %s is %v, want %v", name, o, where, got, c)
				}
			}
		}
	}
}

func TestWebPOrientation(t *testing.T) {
	data, err := os.ReadFile("testdata/decode/lossless.webp")
	if err != nil {
		t.Fatal(err)
	}
	block := exif(binary.LittleEndian, 6)
	out := append(bytes.Clone(data), "EXIF"...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(block)))
	out = append(out, block...)
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8))
	p, q := decode(t, out), decode(t, data)
	if p.W != q.H || p.H != q.W {
		t.Fatalf("size %d×%d, want %d×%d", p.W, p.H, q.H, q.W)
	}
	// Turned clockwise: the stored left column is the upright top row.
	if got, want := at(p, 0, 0), at(q, 0, q.H-1); got != want {
		t.Errorf("top left is %v, want %v", got, want)
	}
}

func TestDecodeErrors(t *testing.T) {
	good := encodeWith(t, pattern(20, 20, true), goJPEG)
	animated, err := os.ReadFile("testdata/animated.webp")
	if err != nil {
		t.Fatal(err)
	}
	var format *FormatError
	var unsupported *UnsupportedError
	for name, c := range map[string]struct {
		data   []byte
		as     any
		phrase string
	}{
		"empty":     {nil, &format, "the file is empty"},
		"text":      {[]byte("a cat sits on a mat, says the label"), &unsupported, "known: JPEG, PNG, GIF, WebP, BMP, TIFF, AVIF)"},
		"truncated": {good[:len(good)/2], &format, "broken JPEG picture: "},
		"header":    {good[:10], &format, "broken JPEG picture: it ends too early"},
		"animated":  {animated, &unsupported, "animated WebP"},
		"png":       {[]byte("\x89PNG\r\n\x1a\nnonsense and more of it"), &format, "broken PNG picture"},
	} {
		_, err := Decode(bytes.NewReader(c.data))
		if err == nil || !errors.As(err, c.as) || !strings.Contains(err.Error(), c.phrase) {
			t.Errorf("%s: error %v (%T), want %T with %q", name, err, err, c.as, c.phrase)
		}
	}

	path := filepath.Join(t.TempDir(), "cat.jpg")
	if err := os.WriteFile(path, good[:len(good)/2], 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.As(err, &format) || !strings.HasPrefix(err.Error(), path+": broken JPEG") {
		t.Errorf("error %v does not name the file", err)
	}
	if _, err := Open(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want not exist", err)
	}
}

func TestDecodeByContentNotByName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cat.jpg")
	if err := os.WriteFile(path, encodeWith(t, pattern(3, 2, true), png.Encode), 0o666); err != nil {
		t.Fatal(err)
	}
	if p := open(t, path); p.W != 3 || p.H != 2 {
		t.Errorf("size %d×%d", p.W, p.H)
	}
}

func TestDecodeLimit(t *testing.T) {
	data := encodeWith(t, pattern(20, 10, true), png.Encode)
	if _, err := (Decoder{MaxPixels: 200}).Decode(bytes.NewReader(data)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	var unsupported *UnsupportedError
	_, err := Decoder{MaxPixels: 199}.Decode(bytes.NewReader(data))
	if !errors.As(err, &unsupported) || !strings.Contains(err.Error(), "20×10 pixels are more than the limit of 199") {
		t.Errorf("over the limit: %v", err)
	}
	// A header that claims 2³¹-1 by 2³¹-1 pixels costs nothing.
	bomb := bytes.Clone(data)
	binary.BigEndian.PutUint32(bomb[16:], math.MaxInt32)
	binary.BigEndian.PutUint32(bomb[20:], math.MaxInt32)
	binary.BigEndian.PutUint32(bomb[29:], crc(bomb[12:29]))
	if _, err := Decode(bytes.NewReader(bomb)); err == nil {
		t.Error("a picture of 2⁶² pixels was read")
	}
}

func TestOnePixel(t *testing.T) {
	one := image.NewNRGBA(image.Rect(0, 0, 1, 1))
	one.SetNRGBA(0, 0, color.NRGBA{90, 150, 210, 255})
	webSafe := image.NewPaletted(one.Rect, palette.WebSafe)
	webSafe.Set(0, 0, color.NRGBA{153, 153, 204, 255})
	for name, c := range map[string]struct {
		data []byte
		want [4]float32
	}{
		"png":  {encodeWith(t, one, png.Encode), [4]float32{90, 150, 210, 1}},
		"jpeg": {encodeWith(t, one, goJPEG), [4]float32{90, 150, 210, 1}},
		"bmp":  {encodeWith(t, one, bmp.Encode), [4]float32{90, 150, 210, 1}},
		"gif":  {encodeWith(t, webSafe, func(w io.Writer, m image.Image) error { return gif.Encode(w, m, nil) }), [4]float32{153, 153, 204, 1}},
	} {
		p := decode(t, c.data)
		if p.W != 1 || p.H != 1 || !near(at(p, 0, 0), c.want, 1.5) {
			t.Errorf("%s: %d×%d, %v, want %v", name, p.W, p.H, at(p, 0, 0), c.want)
		}
		big, err := Resize(p, 5, 3)
		if err != nil {
			t.Fatal(err)
		}
		if at(big, 4, 2) != at(p, 0, 0) {
			t.Errorf("%s enlarged: %v, want %v", name, at(big, 4, 2), at(p, 0, 0))
		}
	}
}

func TestEncodeRoundTrip(t *testing.T) {
	p := decode(t, encodeWith(t, pattern(9, 6, false), png.Encode))
	var buf bytes.Buffer
	if err := Encode(&buf, p, "png", SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	q := decode(t, buf.Bytes())
	for i := range p.Pix {
		if p.Pix[i] != q.Pix[i] {
			t.Fatalf("value %d is %v, want %v", i, q.Pix[i], p.Pix[i])
		}
	}
	for i := range p.Alpha {
		if p.Alpha[i] != q.Alpha[i] {
			t.Fatalf("alpha %d is %v, want %v", i, q.Alpha[i], p.Alpha[i])
		}
	}
}

func TestEncodeClampsAndRounds(t *testing.T) {
	in := []float32{-5, 0.4, 0.5, 254.4, 254.5, 300, float32(math.NaN()), float32(math.Inf(1))}
	want := []float32{0, 0, 1, 254, 255, 255, 0, 255}
	p := New(len(in), 1)
	for c := range 3 {
		copy(p.Plane(c), in)
	}
	var buf bytes.Buffer
	if err := Encode(&buf, p, "PNG", SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	got := decode(t, buf.Bytes())
	for i, w := range want {
		if got.Pix[i] != w {
			t.Errorf("%v became %v, want %v", in[i], got.Pix[i], w)
		}
	}
}

func TestEncodeJPEGOnWhite(t *testing.T) {
	p := New(16, 16) // black
	p.Alpha = make([]float32, 16*16)
	fill(p.Alpha, .25)
	var buf bytes.Buffer
	if err := Encode(&buf, p, "JPEG", SaveOptions{Quality: 100}); err != nil {
		t.Fatal(err)
	}
	if got := at(decode(t, buf.Bytes()), 8, 8); !near(got, [4]float32{191.25, 191.25, 191.25, 1}, 1.5) {
		t.Errorf("a quarter of black on white is %v, want 191", got)
	}
}

func TestSave(t *testing.T) {
	dir := t.TempDir()
	p := decode(t, encodeWith(t, pattern(8, 8, true), png.Encode))
	for _, name := range []string{"a.png", "a.JPG", "a.jpeg", "a.webp", "a.TIF", "a.tiff"} {
		path := filepath.Join(dir, name)
		for range 2 { // new, and over an old one
			if err := Save(path, p, SaveOptions{Quality: 90}); err != nil {
				t.Fatal(err)
			}
		}
		if q := open(t, path); q.W != 8 || q.H != 8 {
			t.Errorf("%s: %d×%d", name, q.W, q.H)
		}
	}
	for name, phrase := range map[string]string{
		"a.tga":        "cannot write .tga pictures (known: .png, .jpg, .jpeg, .webp, .tif, .tiff, .avif)",
		"a":            "no extension",
		"none/a.png":   "none",
		"quality.jpeg": "quality 101 is not 1 to 100",
	} {
		path := filepath.Join(dir, name)
		err := Save(path, p, SaveOptions{Quality: 101})
		if err == nil || !strings.Contains(err.Error(), phrase) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one with %q", name, err, phrase)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "d.png"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := Save(filepath.Join(dir, "d.png"), p, SaveOptions{}); err == nil {
		t.Error("saved over a folder")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 7 {
		t.Errorf("%d files are left, want 6 and the folder: %v", len(entries), entries)
	}
}

func TestSaveKeepsOldFileOnFailure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.png")
	if err := Save(path, New(2, 2), SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := Save(path, &Picture{W: 3, H: 3}, SaveOptions{}); err == nil || !strings.Contains(err.Error(), path) {
		t.Fatalf("a picture without pixels: %v", err)
	}
	if p := open(t, path); p.W != 2 {
		t.Error("the old file is gone")
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v", entries, err)
	}
}

func TestSheet(t *testing.T) {
	red := New(40, 20)
	fill(red.Plane(0), 255)
	small := New(4, 4)
	sheet, err := Sheet([][]Labelled{{{red, "red"}, {small, "a caption that cannot fit"}}, {{nil, "none"}}}, 20)
	if err != nil {
		t.Fatal(err)
	}
	if sheet.W != 8+2*28 || sheet.H != 8+10+24+44 {
		t.Fatalf("size %d×%d", sheet.W, sheet.H)
	}
	for _, c := range []struct {
		x, y int
		want [4]float32
		what string
	}{
		{18, 13, [4]float32{255, 0, 0, 1}, "the red picture's centre"},
		{18, 8, [4]float32{255, 0, 0, 1}, "the top of the red picture, which is as high as its row"},
		{46, 13, [4]float32{0, 0, 0, 1}, "the small picture, not enlarged"},
		{40, 13, [4]float32{255, 255, 255, 1}, "beside the small picture"},
		{46, 9, [4]float32{255, 255, 255, 1}, "above the small picture"},
		{18, 52, [4]float32{255, 255, 255, 1}, "the empty cell"},
	} {
		if got := at(sheet, c.x, c.y); got != c.want {
			t.Errorf("%s is %v, want %v", c.what, got, c.want)
		}
	}
	ink := 0
	for y := 18; y < 34; y++ {
		for x := 8; x < 28; x++ {
			if at(sheet, x, y)[0] == 0 {
				ink++
			}
		}
	}
	if ink < 10 {
		t.Errorf("the caption has %d black pixels", ink)
	}
	if _, err := Sheet(nil, 20); err == nil {
		t.Error("an empty sheet was made")
	}
}

func FuzzDecode(f *testing.F) {
	for _, glob := range []string{"testdata/decode/*", "testdata/*.webp", "testdata/resize/source.png"} {
		files, err := filepath.Glob(glob)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	small := pattern(5, 4, false)
	f.Add(encodeWith(f, small, bmp.Encode))
	f.Add(encodeWith(f, small, func(w io.Writer, m image.Image) error { return tiff.Encode(w, m, nil) }))
	f.Add(encodeWith(f, small, func(w io.Writer, m image.Image) error { return gif.Encode(w, m, nil) }))
	f.Add(withJPEGExif(encodeWith(f, small, goJPEG), 7))
	f.Add(withPNGExif(encodeWith(f, small, png.Encode), 8))
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 16
		s, err := Decoder{MaxPixels: limit}.Source(data)
		if err != nil {
			var format *FormatError
			var unsupported *UnsupportedError
			if !errors.As(err, &format) && !errors.As(err, &unsupported) {
				t.Fatalf("error %v has type %T", err, err)
			}
			return
		}
		w, h := s.Size()
		p := s.Picture()
		if p.W != w || p.H != h || w < 1 || h < 1 || w*h > limit || len(p.Pix) != 3*w*h || p.Alpha != nil && len(p.Alpha) != w*h {
			t.Fatalf("%d×%d picture of %d×%d source with %d values", p.W, p.H, w, h, len(p.Pix))
		}
		for i, v := range p.Pix {
			if !(v >= 0 && v <= 255) {
				t.Fatalf("value %d is %v", i, v)
			}
		}
		var r Resampler
		dst := make([]float32, 3*4*3)
		if err := r.Crop(dst, s, 9, 8, image.Rect(2, 3, 6, 6), true); err != nil {
			t.Fatal(err)
		}
	})
}
