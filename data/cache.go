package data

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"

	"stylenet/internal/images"
)

// A photo cache is one file, little-endian:
//
//	magic, version (uint32), length of the head (uint32)
//	the head: a cacheHead as JSON
//	CRC-32C of all that (uint32)
//	for each photo, in the order of List: its entry, then its pixels
//	the index: all entries once more
//	offset and length of the index (uint64 each), its CRC-32C (uint32), endMagic
//
// It is written from the front to the back, so that any beginning of it that
// ends with a photo can be gone on with.
const (
	cacheMagic   = "stylenet photos\n"
	cacheEnd     = "\nend of photos.\n"
	cacheVersion = 1

	cachePrefix  = len(cacheMagic) + 8
	cacheTrailer = 20 + len(cacheEnd)
	maxCacheHead = 1 << 20
	maxProblem   = 1 << 16 // bytes
	maxPhoto     = 1 << 40 // pixels
	entrySize    = 88      // without the problem
)

// cacheHead says what a cache was made of, and how.
type cacheHead struct {
	Files       int    `json:"files"`
	Fingerprint string `json:"fingerprint"` // of the listing
	Side        int    `json:"side"`        // the longest short side, pixels
	MinSide     int    `json:"min_side"`
	MaxPixels   int64  `json:"max_pixels"`
}

func (o Options) head(files []string) cacheHead {
	return cacheHead{len(files), fingerprint(files), o.side(), o.MinSide, o.MaxPixels}
}

// differs says in which respect a cache is not the one that is asked for.
func (h cacheHead) differs(want cacheHead) string {
	switch {
	case h.Fingerprint != want.Fingerprint:
		return fmt.Sprintf("it is of other photos: it was made of %d, and the folder has %d, or others by name", h.Files, want.Files)
	case h.Side != want.Side:
		return fmt.Sprintf("it is for another recipe: it keeps short sides of up to %d pixels, and crops of this size and zoom need %d", h.Side, want.Side)
	case h != want:
		return fmt.Sprintf("it is for other limits: a smallest side of %d and at most %d pixels, not %d and %d", h.MinSide, h.MaxPixels, want.MinSide, want.MaxPixels)
	}
	return ""
}

// encode returns the file's beginning.
func (h cacheHead) encode() ([]byte, error) {
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	b := append([]byte(cacheMagic), make([]byte, 8)...)
	binary.LittleEndian.PutUint32(b[len(cacheMagic):], cacheVersion)
	binary.LittleEndian.PutUint32(b[len(cacheMagic)+4:], uint32(len(text)))
	b = append(b, text...)
	return binary.LittleEndian.AppendUint32(b, checksum(b)), nil
}

// decodeHead reads a file's beginning and returns its length.
func decodeHead(file io.ReaderAt) (h cacheHead, length int64, err error) {
	start, err := readAt(file, 0, cachePrefix)
	if err != nil || string(start[:len(cacheMagic)]) != cacheMagic {
		return h, 0, errNoCache
	}
	if v := binary.LittleEndian.Uint32(start[len(cacheMagic):]); v != cacheVersion {
		return h, 0, fmt.Errorf("it has version %d, and this stylenet reads version %d", v, cacheVersion)
	}
	n := binary.LittleEndian.Uint32(start[len(cacheMagic)+4:])
	if n > maxCacheHead {
		return h, 0, errors.New("it is damaged: its head is too long")
	}
	b, err := readAt(file, 0, cachePrefix+int(n)+4)
	if err != nil {
		return h, 0, fmt.Errorf("it is damaged: its head is cut short: %w", err)
	}
	text := b[cachePrefix : len(b)-4]
	if binary.LittleEndian.Uint32(b[len(b)-4:]) != checksum(b[:len(b)-4]) {
		return h, 0, errors.New("it is damaged: the checksum of its head is wrong")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&h); err != nil || h.Files < 0 || h.Side < 1 {
		return h, 0, errors.New("it is damaged: its head means nothing")
	}
	return h, int64(len(b)), nil
}

var errNoCache = errors.New("it is no photo cache")

// entry is what a cache knows of a photo.
type entry struct {
	size    int64             // of the file, or -1 where there is none
	modTime int64             // of the file, Unix nanoseconds
	sum     [sha256.Size]byte // of the file, or zero where it could not be read

	width, height int // of the whole, upright picture
	w, h          int // as it is kept
	offset        int64
	crc           uint32 // of the pixels
	problem       string // why there are none
}

// bytes is the length of the pixels, (3, h, w).
func (e *entry) bytes() int64 { return 3 * int64(e.w) * int64(e.h) }

// append encodes the entry of photo i.
func (e *entry) append(b []byte, i int) []byte {
	at := len(b)
	le := binary.LittleEndian
	b = le.AppendUint32(b, 0) // the checksum of the rest
	b = le.AppendUint32(b, uint32(i))
	b = le.AppendUint64(b, uint64(e.size))
	b = le.AppendUint64(b, uint64(e.modTime))
	b = append(b, e.sum[:]...)
	for _, v := range []int{e.width, e.height, e.w, e.h} {
		b = le.AppendUint32(b, uint32(v))
	}
	b = le.AppendUint32(b, e.crc)
	b = le.AppendUint32(b, uint32(len(e.problem)))
	b = le.AppendUint64(b, uint64(e.offset))
	b = append(b, e.problem...)
	le.PutUint32(b[at:], checksum(b[at+4:]))
	return b
}

// decodeEntry reads the entry of photo i from the start of b, and returns its
// length. It holds what it says of sizes to the bounds of this package, so
// that their products fit.
func decodeEntry(b []byte, i int) (e entry, length int, err error) {
	if len(b) < entrySize {
		return e, 0, io.ErrUnexpectedEOF
	}
	le := binary.LittleEndian
	n := le.Uint32(b[76:])
	if n > maxProblem || len(b) < entrySize+int(n) {
		return e, 0, io.ErrUnexpectedEOF
	}
	b = b[:entrySize+int(n)]
	if le.Uint32(b) != checksum(b[4:]) {
		return e, 0, fmt.Errorf("the checksum of entry %d is wrong", i)
	}
	e.size, e.modTime = int64(le.Uint64(b[8:])), int64(le.Uint64(b[16:]))
	copy(e.sum[:], b[24:])
	e.width, e.height, e.w, e.h = int(int32(le.Uint32(b[56:]))), int(int32(le.Uint32(b[60:]))), int(int32(le.Uint32(b[64:]))), int(int32(le.Uint32(b[68:])))
	e.crc, e.offset, e.problem = le.Uint32(b[72:]), int64(le.Uint64(b[80:])), string(b[entrySize:])
	usable := e.w > 0 && e.h > 0 && e.width > 0 && e.height > 0 && int64(e.w)*int64(e.h) <= maxPhoto
	unusable := e.w == 0 && e.h == 0
	if int(le.Uint32(b[4:])) != i || e.offset < 0 || !(e.problem == "" && usable || e.problem != "" && unusable) {
		return e, 0, fmt.Errorf("entry %d means nothing", i)
	}
	return e, len(b), nil
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// readAt returns n bytes at an offset, or says that there are fewer.
func readAt(r io.ReaderAt, offset int64, n int) ([]byte, error) {
	b := make([]byte, n)
	if m, err := r.ReadAt(b, offset); m < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b, nil
}

// CacheError reports a photo cache that cannot be used.
type CacheError struct {
	Path string // of the cache
	Err  error  // says what is wrong
}

func (e *CacheError) Error() string { return fmt.Sprintf("photo cache %s: %v", e.Path, e.Err) }
func (e *CacheError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *CacheError) Hint() string {
	if errors.Is(e.Err, errNoCache) {
		return "name another file"
	}
	return "make it with stylenet data prepare, or leave data.cache empty to decode photos as they are needed"
}

// cache is an open photo cache. Several goroutines may read at once.
type cache struct {
	path    string
	pixels  pixelFile
	entries []entry // in the order of List
}

// pixelFile is what photos are read from.
type pixelFile interface {
	// view returns n bytes at an offset, in buf or in place. They are valid
	// until buf is used again, and until Close. Reading them may fault.
	view(offset, n int64, buf *[]byte) ([]byte, error)
	Close() error
}

// openCache opens a cache that is whole and of these files, as they are now.
func openCache(opts Options, files []string) (*cache, error) {
	c, err := readCache(opts.Cache, opts.head(files))
	if err == nil {
		if err = c.compare(opts.Dir, files); err != nil {
			err = errors.Join(err, c.pixels.Close())
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, started := os.Stat(opts.Cache + unfinished); started == nil {
			err = errors.New("it is not finished")
		} else {
			err = fs.ErrNotExist
		}
	case err == nil:
		return c, nil
	}
	return nil, &CacheError{opts.Cache, err}
}

// readCache opens a cache without a look at the photos.
func readCache(path string, want cacheHead) (_ *cache, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNoCache
	}
	entries, err := readIndex(f, info.Size(), want)
	if err != nil {
		return nil, err
	}
	pixels, err := openPixels(f, info.Size())
	if err != nil {
		return nil, err
	}
	return &cache{path: path, pixels: pixels, entries: entries}, nil
}

// readIndex checks everything of a cache but its pixels.
func readIndex(file io.ReaderAt, size int64, want cacheHead) ([]entry, error) {
	head, start, err := decodeHead(file)
	if err != nil {
		return nil, err
	}
	if why := head.differs(want); why != "" {
		return nil, errors.New(why)
	}
	damaged := func(what string) error { return fmt.Errorf("it is damaged: %s", what) }
	if size < start+int64(cacheTrailer) {
		return nil, damaged("it is cut short")
	}
	trailer, err := readAt(file, size-int64(cacheTrailer), cacheTrailer)
	if err != nil {
		return nil, err
	}
	if string(trailer[20:]) != cacheEnd {
		return nil, damaged("it is cut short, or has grown")
	}
	at, length := binary.LittleEndian.Uint64(trailer), binary.LittleEndian.Uint64(trailer[8:])
	end := uint64(size) - uint64(cacheTrailer)
	if at < uint64(start) || at > end || length != end-at || length/entrySize < uint64(head.Files) || length > uint64(head.Files)*(entrySize+maxProblem) {
		return nil, damaged("its index is not where it should be")
	}
	index, err := readAt(file, int64(at), int(length))
	if err != nil {
		return nil, err
	}
	if checksum(index) != binary.LittleEndian.Uint32(trailer[16:]) {
		return nil, damaged("the checksum of its index is wrong")
	}
	entries := make([]entry, head.Files)
	for i := range entries {
		e, n, err := decodeEntry(index, i)
		if err != nil {
			return nil, damaged(err.Error())
		}
		if e.offset < start || uint64(e.offset) > at || uint64(e.bytes()) > at-uint64(e.offset) {
			return nil, damaged(fmt.Sprintf("photo %d lies outside of it", i))
		}
		entries[i], index = e, index[n:]
	}
	if len(index) > 0 {
		return nil, damaged("its index is too long")
	}
	return entries, nil
}

// compare looks for a photo that has changed since the cache was made.
func (c *cache) compare(dir string, files []string) error {
	for i, name := range files {
		if !c.entries[i].current(filepath.Join(dir, filepath.FromSlash(name))) {
			return fmt.Errorf("it is stale: %s has changed since it was made", name)
		}
	}
	return nil
}

// current reports whether a file is still the one of the entry. A file of
// another date is read: copying a folder makes no cache stale.
func (e *entry) current(path string) bool {
	size, modTime := stamp(path)
	if size == e.size && modTime == e.modTime && (e.sum != [sha256.Size]byte{} || size < 0) {
		return true
	}
	return size == e.size && sum(path) == e.sum
}

// stamp is a file's size and date; -1 and 0 where there is none.
func stamp(path string) (size, modTime int64) {
	info, err := os.Stat(path)
	if err != nil {
		return -1, 0
	}
	return info.Size(), info.ModTime().UnixNano()
}

// sum hashes a file; zero stands for one that cannot be read.
func sum(path string) (sum [sha256.Size]byte) {
	f, err := os.Open(path)
	if err != nil {
		return sum
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum
	}
	h.Sum(sum[:0])
	return sum
}

// use calls f with photo i, whose pixels are valid until f returns. A cache
// that is not as it was written is no reason to pass a photo over, which would
// quietly make other batches.
func (c *cache) use(i int, buf *[]byte, f func(*images.Planes) error) (err error) {
	damaged := func(err error) error { return &CacheError{c.path, fmt.Errorf("it is damaged: %w", err)} }
	// Where a file in memory shrinks, or its disk fails, the processor faults.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch r := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }:
			err = damaged(io.ErrUnexpectedEOF)
		default:
			panic(r)
		}
	}()
	e := &c.entries[i]
	pix, err := c.pixels.view(e.offset, e.bytes(), buf)
	if err != nil {
		return damaged(err)
	}
	if checksum(pix) != e.crc {
		return damaged(fmt.Errorf("the checksum of photo %d is wrong", i))
	}
	return f(&images.Planes{W: e.w, H: e.h, Rect: image.Rect(0, 0, e.w, e.h), Pix: pix})
}

// fileView reads into the caller's buffer.
type fileView struct{ *os.File }

func (f fileView) view(offset, n int64, buf *[]byte) ([]byte, error) {
	*buf = slices.Grow((*buf)[:0], int(n))[:n]
	_, err := f.ReadAt(*buf, offset)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return *buf, err
}
