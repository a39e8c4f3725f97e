package images

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"runtime"
	"sync"

	"stylenet/internal/images/codecs"
	"stylenet/internal/images/metadata"
)

const (
	// maxTIFF is what offsets of 32 bits reach, less what is written beside
	// pixels.
	maxTIFF = math.MaxUint32 - 64<<20
	// maxAVIF is what the encoder's memory holds beside its own data.
	maxAVIF = 256 << 20
)

func encodePNG(w io.Writer, c *Canvas, o SaveOptions) error {
	const head = 8 + 25 // the signature and IHDR
	return png.Encode(&inserter{w: w, after: head, what: o.Metadata.PNGChunks(c.w, c.h)}, c.Image())
}

func encodeJPEG(w io.Writer, c *Canvas, o SaveOptions) error {
	const head = 2 // the start of the image
	return jpeg.Encode(&inserter{w: w, after: head, what: o.Metadata.JPEGSegments(c.w, c.h)}, c.ycc, &jpeg.Options{Quality: o.Quality})
}

// inserter puts bytes into a stream, after so many bytes of it.
type inserter struct {
	w     io.Writer
	after int
	what  []byte
}

func (i *inserter) Write(p []byte) (n int, err error) {
	if len(p) > i.after && i.what != nil {
		if n, err = i.w.Write(p[:i.after]); err != nil {
			return n, err
		}
		if _, err = i.w.Write(i.what); err != nil {
			return n, err
		}
		i.what = nil
	}
	k, err := i.w.Write(p[n:])
	n += k
	i.after -= min(n, i.after)
	return n, err
}

func encodeWebP(w io.Writer, c *Canvas, o SaveOptions) error {
	file, err := codecs.EncodeWebP(c.w, c.h, c.pix, o.Quality, o.Quality == 100)
	if err != nil {
		return err
	}
	if file, err = o.Metadata.AddWebP(file, c.w, c.h); err != nil {
		return err
	}
	_, err = w.Write(file)
	return err
}

func encodeAVIF(w io.Writer, c *Canvas, o SaveOptions) error {
	pix := c.pix
	if c.alpha {
		pix = premultiplied(pix)
	}
	file, err := codecs.EncodeAVIF(c.w, c.h, pix, o.Quality)
	if err != nil {
		return err
	}
	if file, err = o.Metadata.AddAVIF(file, c.w, c.h); err != nil {
		return err
	}
	_, err = w.Write(file)
	return err
}

// premultiplied multiplies colours of 8 bits by alpha.
func premultiplied(pix []byte) []byte {
	out := bytes.Clone(pix)
	for i := 0; i < len(out); i += 4 {
		a := int(out[i+3])
		for k := range 3 {
			out[i+k] = byte((int(out[i+k])*a + 127) / 255)
		}
	}
	return out
}

func encodeTIFF(w io.Writer, c *Canvas, o SaveOptions) error {
	const strip = 1 << 18 // bytes of pixels, about
	bytes := c.pixelBytes()
	rows := min(max(strip/(bytes*c.w), 1), c.h)
	strips := make([][]byte, (c.h+rows-1)/rows)
	order := o.Metadata.TIFFOrder()
	errs := make([]error, len(strips))
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range strips {
		slots <- struct{}{}
		wg.Go(func() {
			strips[i], errs[i] = c.tiffStrip(i*rows, min((i+1)*rows, c.h), order)
			<-slots
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return o.Metadata.WriteTIFF(w, metadata.TIFF{W: c.w, H: c.h, Depth: c.depth, Alpha: c.alpha, Rows: rows, Strips: strips})
}

// tiffStrip compresses some rows: of each sample but the first of a row, what it
// differs from the same one of the pixel before (TIFF 6.0, section 14).
func (c *Canvas) tiffStrip(from, to int, order binary.ByteOrder) ([]byte, error) {
	samples, size := 3, c.depth/8
	if c.alpha {
		samples = 4
	}
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	line := make([]byte, c.w*samples*size)
	for y := from; y < to; y++ {
		pix := c.pix[y*c.w*4*size:][:c.w*4*size]
		for k := range samples {
			if c.depth == 8 {
				last := byte(0)
				for x := range c.w {
					v := pix[4*x+k]
					line[x*samples+k], last = v-last, v
				}
				continue
			}
			last := uint16(0)
			for x := range c.w {
				v := binary.BigEndian.Uint16(pix[2*(4*x+k):])
				order.PutUint16(line[2*(x*samples+k):], v-last)
				last = v
			}
		}
		if _, err := z.Write(line); err != nil {
			return nil, fmt.Errorf("compress rows %d to %d: %w", from, to, err)
		}
	}
	err := z.Close()
	return out.Bytes(), err
}
