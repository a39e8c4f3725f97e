// Package codecs writes WebP and AVIF and reads AVIF, with libwebp and libavif
// as WebAssembly: no C compiler, no library of the system, and hostile files end
// in a sandbox.
//
// It owns the modules (README.md says where they are from) and the way of pixels
// into them and out of them. It refuses containers and metadata. Nothing happens
// until it is used; then a module is compiled once for the life of the process,
// which takes a quarter of a second, and of the encoder of AVIF a whole one.
package codecs

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

var (
	//go:embed webp.wasm.gz
	webpModule []byte
	//go:embed avif-encode.wasm.gz
	avifEncodeModule []byte
	//go:embed avif-decode.wasm.gz
	avifDecodeModule []byte
)

// The modules, compiled when they are first used.
var (
	webpCodec   = sync.OnceValues(func() (*module, error) { return compile("libwebp", webpModule) })
	avifEncoder = sync.OnceValues(func() (*module, error) { return compile("libavif", avifEncodeModule) })
	avifDecoder = sync.OnceValues(func() (*module, error) { return compile("libavif", avifDecodeModule) })
)

// module is a library that is ready to run.
type module struct {
	name     string
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
}

// compile makes a module of a compressed file. The compiler may panic where the
// system lets no process make code.
func compile(name string, file []byte) (m *module, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
		if err != nil {
			m, err = nil, fmt.Errorf("%w: %s cannot be started: %w", ErrUnable, name, err)
		}
	}()
	z, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	code, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	m = &module{name: name, runtime: wazero.NewRuntime(ctx)}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, m.runtime); err != nil {
		return nil, err
	}
	m.compiled, err = m.runtime.CompileModule(ctx, code)
	return m, err
}

// ErrUnable is in errors that have nothing to do with what a file holds.
var ErrUnable = errors.New("the codec cannot run")

// errMemory says that a picture does not fit into the 4 GiB that a module has.
func errMemory() error {
	return fmt.Errorf("%w: the picture is too large for its memory of 4 GiB", ErrUnable)
}

// run calls f with a new instance of the module, which has no part in any other
// and writes nothing to the process's output.
func (m *module) run(f func(*instance) error) (err error) {
	defer func() {
		if r := recover(); r != nil { // the runtime's own memory, where the system has none left
			err = fmt.Errorf("%w: %s: %v", ErrUnable, m.name, r)
		}
	}()
	ctx := context.Background()
	mod, err := m.runtime.InstantiateModule(ctx, m.compiled, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrUnable, m.name, err)
	}
	defer mod.Close(ctx)
	if err := f(&instance{ctx, mod}); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	return nil
}

// instance is a running module. Its memory goes with it, so that nothing is
// freed one by one.
type instance struct {
	ctx context.Context
	mod api.Module
}

// call calls an exported function that returns one number.
func (i *instance) call(name string, args ...uint64) (uint32, error) {
	f := i.mod.ExportedFunction(name)
	if f == nil {
		return 0, fmt.Errorf("it has no function %s", name)
	}
	result, err := f.Call(i.ctx, args...)
	if err != nil {
		return 0, err
	}
	return uint32(result[0]), nil
}

// alloc makes room for n bytes, which are zero.
func (i *instance) alloc(n int64) (at uint32, err error) {
	if n > math.MaxUint32 {
		return 0, errMemory()
	}
	if at, err = i.call("malloc", uint64(n)); err != nil {
		return 0, err
	}
	b, ok := i.mod.Memory().Read(at, uint32(n))
	if at == 0 || !ok {
		return 0, errMemory()
	}
	clear(b)
	return at, nil
}

// put copies bytes to the module's memory.
func (i *instance) put(b []byte) (at uint32, err error) {
	if at, err = i.alloc(int64(len(b))); err != nil {
		return 0, err
	}
	if !i.mod.Memory().Write(at, b) {
		return 0, errMemory()
	}
	return at, nil
}

// read returns n bytes of the module's memory, which are valid until the next
// call.
func (i *instance) read(at, n uint32) ([]byte, error) {
	b, ok := i.mod.Memory().Read(at, n)
	if !ok {
		return nil, errors.New("it returned what is outside its memory")
	}
	return b, nil
}

// number reads a number of 32 bits.
func (i *instance) number(at uint32) (uint32, error) {
	v, ok := i.mod.Memory().ReadUint32Le(at)
	if !ok {
		return 0, errors.New("it returned what is outside its memory")
	}
	return v, nil
}

// encoded calls the function encode, which gets the pixels, the size of the
// picture, where to say how long the result is, and args, and returns where the
// result is.
func (i *instance) encoded(w, h int, pix []byte, args ...uint64) ([]byte, error) {
	in, err := i.put(pix)
	if err != nil {
		return nil, err
	}
	size, err := i.alloc(4)
	if err != nil {
		return nil, err
	}
	at, err := i.call("encode", append([]uint64{uint64(in), uint64(w), uint64(h), uint64(size)}, args...)...)
	if err != nil {
		return nil, err
	}
	n, err := i.number(size)
	if err != nil {
		return nil, err
	}
	if at == 0 || n == 0 {
		return nil, fmt.Errorf("it cannot encode the picture of %d×%d pixels", w, h)
	}
	out, err := i.read(at, n)
	return bytes.Clone(out), err
}

// checkPixels reports pixels that are not those of a picture of 4 samples of 8
// bits.
func checkPixels(w, h int, pix []byte) error {
	if w < 1 || h < 1 || int64(len(pix)) != 4*int64(w)*int64(h) {
		return fmt.Errorf("a picture of %d×%d pixels has %d bytes", w, h, len(pix))
	}
	return nil
}

// EncodeWebP writes pixels, (h, w, R G B A) of 8 bits with straight alpha, as
// WebP of a quality from 1 to 100, or without loss, whatever is under alpha 0
// included. A side may have 16383 pixels.
func EncodeWebP(w, h int, pix []byte, quality int, lossless bool) (file []byte, err error) {
	if err := checkPixels(w, h, pix); err != nil {
		return nil, err
	}
	m, err := webpCodec()
	if err != nil {
		return nil, err
	}
	const (
		rgba   = 0
		method = 4 // of 0 (fast) to 6 (small), libwebp's default
	)
	exact := uint64(0)
	if lossless {
		exact = 1
	}
	err = m.run(func(i *instance) error {
		file, err = i.encoded(w, h, pix, rgba, uint64(quality), method, exact, exact)
		return err
	})
	return file, err
}

// EncodeAVIF writes pixels, (h, w, R G B A) of 8 bits multiplied by alpha, as
// AVIF of 8 bits without subsampling, of a quality from 1 to 100.
func EncodeAVIF(w, h int, pix []byte, quality int) (file []byte, err error) {
	if err := checkPixels(w, h, pix); err != nil {
		return nil, err
	}
	m, err := avifEncoder()
	if err != nil {
		return nil, err
	}
	const (
		speed  = 9 // of 0 (small) to 10 (fast): 8 takes five times as long for files 2 % smaller
		yuv444 = 1
	)
	err = m.run(func(i *instance) error {
		file, err = i.encoded(w, h, pix, uint64(quality), uint64(quality), speed, yuv444)
		return err
	})
	return file, err
}

// AVIF is a decoded picture.
type AVIF struct {
	W, H  int
	Depth int    // bits a sample: 8, or 16 where the file has more
	Pix   []byte // (H, W, R G B A) multiplied by alpha; of 16 bits big-endian
}

// DecodeAVIF reads the first picture of an AVIF file. One of more than maxPixels
// is refused before its pixels are decoded. irot and imir properties are not
// applied.
func DecodeAVIF(file []byte, maxPixels int64) (*AVIF, error) {
	m, err := avifDecoder()
	if err != nil {
		return nil, err
	}
	var p *AVIF
	err = m.run(func(i *instance) error {
		p, err = i.decodeAVIF(file, maxPixels)
		return err
	})
	return p, err
}

// errBroken is all that the module says of a fault in a file.
var errBroken = errors.New("the file is damaged, or of a kind that it does not know")

func (i *instance) decodeAVIF(file []byte, maxPixels int64) (*AVIF, error) {
	in, err := i.put(file)
	if err != nil {
		return nil, err
	}
	said, err := i.alloc(4*4 + 8) // width, height, depth and number of pictures; how long the first one is shown
	if err != nil {
		return nil, err
	}
	duration := said + 16
	const (
		pixels, headOnly = 0, 1
		firstOnly        = 0
	)
	decode := func(what uint64, to uint32) error {
		ok, err := i.call("decode", uint64(in), uint64(len(file)), what, firstOnly,
			uint64(said), uint64(said+4), uint64(said+8), uint64(said+12), uint64(duration), uint64(to))
		if err == nil && ok == 0 {
			return errBroken
		}
		return err
	}
	if err := decode(headOnly, 0); err != nil {
		return nil, err
	}
	head, err := i.read(said, 12)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	p := &AVIF{W: int(le.Uint32(head)), H: int(le.Uint32(head[4:])), Depth: 8}
	if p.W < 1 || p.H < 1 || int64(p.H) > maxPixels/int64(p.W) {
		return nil, &SizeError{p.W, p.H}
	}
	if le.Uint32(head[8:]) > 8 {
		p.Depth = 16
	}
	n := int64(p.W) * int64(p.H) * int64(p.Depth/2)
	out, err := i.alloc(n)
	if err != nil {
		return nil, err
	}
	// Where the first picture cannot be decoded, the module says that all went
	// well, but writes neither pixels nor a duration.
	const none = math.MaxUint64
	if !i.mod.Memory().WriteUint64Le(duration, none) {
		return nil, errMemory()
	}
	if err := decode(pixels, out); err != nil {
		return nil, err
	}
	if v, ok := i.mod.Memory().ReadUint64Le(duration); !ok || v == none {
		return nil, errBroken
	}
	pix, err := i.read(out, uint32(n))
	if err != nil {
		return nil, err
	}
	p.Pix = bytes.Clone(pix)
	if p.Depth == 16 {
		for k := 0; k < len(p.Pix); k += 2 {
			p.Pix[k], p.Pix[k+1] = p.Pix[k+1], p.Pix[k]
		}
	}
	return p, nil
}

// SizeError reports a picture of no pixels, or of more than were allowed.
type SizeError struct{ W, H int }

func (e *SizeError) Error() string { return fmt.Sprintf("it has %d×%d pixels", e.W, e.H) }
