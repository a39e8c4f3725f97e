package pth

import (
	"archive/zip"
	"encoding/binary"
	"io"
	"math/big"
	"strings"

	"github.com/nlpodyssey/gopickle/types"
)

// loadZip reads the format of PyTorch 1.6: NAME/data.pkl is the pickle,
// NAME/data/KEY the bytes of each storage, stored without compression.
func loadZip(r io.ReaderAt, size int64) (any, error) {
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return nil, readError("", "reading the zip directory", err)
	}
	files := make(map[string]*zip.File, len(archive.File))
	prefix, found := "", false
	for _, f := range archive.File {
		if files[f.Name] != nil {
			return nil, invalid("the zip file holds %.200q twice", f.Name)
		}
		files[f.Name] = f
		if p, ok := strings.CutSuffix(f.Name, "data.pkl"); ok && !found && (p == "" || strings.HasSuffix(p, "/")) {
			prefix, found = p, true
		}
	}
	if !found {
		return nil, invalid("the zip file holds no data.pkl: torch.save did not write it")
	}
	if files[prefix+"constants.pkl"] != nil {
		return nil, &UnsupportedError{Reason: "a TorchScript model: save model.state_dict() with torch.save instead"}
	}
	if order, err := readRecord(files[prefix+"byteorder"]); err != nil {
		return nil, err
	} else if order != nil && string(order) != "little" {
		return nil, &UnsupportedError{Reason: "numbers stored in the byte order of a big-endian machine"}
	}
	pickle, err := readRecord(files[prefix+"data.pkl"])
	if err != nil {
		return nil, err
	}
	u := newUnpickler(func(s *storage) {
		if f := files[prefix+"data/"+s.key]; f != nil {
			s.bytes = int64(min(f.UncompressedSize64, 1<<62))
			s.open = func() (io.Reader, error) { return openRecord(f) }
		}
	})
	state, _, err := u.load(pickle)
	return state, err
}

// openRecord opens a record of a zip file. torch.save compresses none, which
// bounds what they take by the size of the file.
func openRecord(f *zip.File) (io.Reader, error) {
	if f.Method != zip.Store || f.CompressedSize64 != f.UncompressedSize64 {
		return nil, &UnsupportedError{Reason: "the zip file is compressed: torch.save its state_dict again"}
	}
	return f.Open()
}

// readRecord reads a small record; nil for a nil file.
func readRecord(f *zip.File) ([]byte, error) {
	if f == nil {
		return nil, nil
	}
	if f.UncompressedSize64 > maxPickle {
		return nil, invalid("%.200q has %d bytes, the limit is %d", f.Name, f.UncompressedSize64, maxPickle)
	}
	r, err := openRecord(f)
	if err == nil {
		var b []byte
		if b, err = io.ReadAll(r); err == nil {
			return b, nil
		}
	}
	return nil, readError("", "reading its record "+shorten(f.Name), err)
}

// The legacy format begins with these two numbers, each a pickle of its own.
const (
	legacyMagic    = "1950a86a20f9469cfc6c"
	legacyProtocol = 1001
)

// loadLegacy reads the format before PyTorch 1.6: pickles of a magic number,
// a version, the machine, the state and the list of storage keys; then, in
// the order of that list, for each storage its number of values (8 bytes) and
// its bytes.
func loadLegacy(r io.ReaderAt, size int64) (any, error) {
	window := make([]byte, min(size, maxPickle))
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, size), window); err != nil {
		return nil, readError("", "reading its pickles", err)
	}
	at := 0
	next := func(u *unpickler) (any, error) {
		v, n, err := u.load(window[at:])
		at += n
		return v, err
	}
	none := newUnpickler(nil)
	magic, err := next(none)
	if n, ok := magic.(*big.Int); err != nil || !ok || n.Text(16) != legacyMagic {
		return nil, invalid("it begins like a pickle, but not one that torch.save wrote")
	}
	version, err := next(none)
	if err != nil {
		return nil, err
	}
	if version != legacyProtocol {
		return nil, &UnsupportedError{Reason: "an unknown version of the legacy format"}
	}
	machine, err := next(none)
	if err != nil {
		return nil, err
	}
	about, _ := items(machine)
	for _, e := range about {
		if e.Key == "little_endian" && e.Value != true {
			return nil, &UnsupportedError{Reason: "numbers stored in the byte order of a big-endian machine"}
		}
	}
	storages := make(map[string]*storage)
	state, err := next(newUnpickler(func(s *storage) { storages[s.key] = s }))
	if err != nil {
		return nil, err
	}
	list, err := next(none)
	if err != nil {
		return nil, err
	}
	keys, ok := list.(*types.List)
	if !ok {
		return nil, invalid("the list of storages is no list")
	}
	pos := int64(at)
	for _, k := range *keys {
		key, _ := k.(string)
		s := storages[key]
		if s == nil {
			return nil, invalid("it lists a storage %.40q that no tensor uses", key)
		}
		if s.open != nil {
			return nil, invalid("it lists storage %.40q twice", key)
		}
		var count [8]byte
		if pos+8 > size {
			break // collect names the tensor whose storage is missing
		}
		if _, err := r.ReadAt(count[:], pos); err != nil {
			return nil, readError("", "reading the size of storage "+shorten(key), err)
		}
		n := binary.LittleEndian.Uint64(count[:])
		if n != uint64(s.numel) || n > maxElements {
			return nil, invalid("storage %.40q has %d values here and %d in the pickle", key, n, s.numel)
		}
		start := pos + 8
		if pos = start + int64(n)*int64(s.size); pos > size {
			break
		}
		s.bytes = pos - start
		s.open = func() (io.Reader, error) { return io.NewSectionReader(r, start, s.bytes), nil }
	}
	return state, nil
}
