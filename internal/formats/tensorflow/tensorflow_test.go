package tensorflow

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"stylenet/internal/weights"
)

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// decode reads a table with the files of numbers beside it.
func decode(table []byte, files ...[]byte) (*weights.Set, error) {
	return Decode(bytes.NewReader(table), int64(len(table)), func(i, n int) (*io.SectionReader, error) {
		if n != len(files) || i >= n {
			return nil, fmt.Errorf("no file %d of %d", i, n)
		}
		return io.NewSectionReader(bytes.NewReader(files[i]), 0, int64(len(files[i]))), nil
	})
}

// folder reads a checkpoint in testdata.
func folder(t testing.TB, name string) (table []byte, files [][]byte) {
	t.Helper()
	base := filepath.Join("testdata", name, "m.ckpt")
	shards, err := filepath.Glob(base + ".data-*")
	if err != nil {
		t.Fatal(err)
	}
	if shards == nil {
		return read(t, base), nil
	}
	for _, s := range shards {
		files = append(files, read(t, s))
	}
	return read(t, base+".index"), files
}

// Checkpoints that TensorFlow wrote hold what TensorFlow read from them.
func TestDecode(t *testing.T) {
	var expected map[string]struct {
		Shape  []int
		Values []float64
	}
	if err := json.Unmarshal(read(t, "testdata/expected.json"), &expected); err != nil {
		t.Fatal(err)
	}
	for name, missing := range map[string][]string{"v2": nil, "sharded": nil, "v1": {"brain"}} {
		table, files := folder(t, name)
		if name == "sharded" && len(files) != 3 {
			t.Errorf("sharded has %d files", len(files))
		}
		set, err := decode(table, files...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for key, want := range expected {
			got := set.Get(key)
			if got == nil {
				if !slices.Contains(missing, key) {
					t.Errorf("%s: %s is missing", name, key)
				}
				continue
			}
			same := slices.EqualFunc(got.Data, want.Values, func(a float32, b float64) bool {
				return a == float32(b) && math.Signbit(float64(a)) == math.Signbit(b)
			})
			if !slices.Equal(got.Shape, want.Shape) || !same {
				t.Errorf("%s: %s is %v %v, want %v %v", name, key, got.Shape, got.Data, want.Shape, want.Values)
			}
		}
		if set.Len() != len(expected)-len(missing) {
			t.Errorf("%s: %d tensors, want %d", name, set.Len(), len(expected)-len(missing))
		}
	}
}

// pair is an entry of a table.
type pair struct{ key, value string }

// block writes entries as a block with its trailer.
func block(pairs []pair) []byte {
	var b []byte
	last := ""
	for _, p := range pairs {
		shared := 0
		for shared < min(len(last), len(p.key)) && last[shared] == p.key[shared] {
			shared++
		}
		b = binary.AppendUvarint(b, uint64(shared))
		b = binary.AppendUvarint(b, uint64(len(p.key)-shared))
		b = binary.AppendUvarint(b, uint64(len(p.value)))
		b = append(append(b, p.key[shared:]...), p.value...)
		last = p.key
	}
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint32(b, 1)
	return trailed(b, 0)
}

func trailed(b []byte, kind byte) []byte {
	b = append(b, kind)
	return binary.LittleEndian.AppendUint32(b, masked(crc32.Checksum(b, castagnoli())))
}

// tableOf writes a table of blocks that are given with their trailers.
func tableOf(blocks ...[]byte) []byte {
	var b []byte
	place := func(at, size int) []byte {
		return binary.AppendUvarint(binary.AppendUvarint(nil, uint64(at)), uint64(size))
	}
	var index []pair
	for i, block := range blocks {
		index = append(index, pair{fmt.Sprintf("%06d", i), string(place(len(b), len(block)-trailerSize))})
		b = append(b, block...)
	}
	return ended(b, index)
}

func ended(b []byte, index []pair) []byte {
	at := len(b)
	b = append(b, block(index)...)
	footer := binary.AppendUvarint(binary.AppendUvarint([]byte{0, 0}, uint64(at)), uint64(len(b)-at-trailerSize))
	footer = append(footer, make([]byte, footerSize-len(footer))...)
	copy(footer[footerSize-8:], magic)
	return append(b, footer...)
}

func bundle(pairs ...pair) []byte { return tableOf(block(pairs)) }

// msg writes a message: numbers, texts, messages and fixed numbers of 32 bits.
func msg(fields ...any) string {
	var b []byte
	for i := 0; i < len(fields); i += 2 {
		n := protowire.Number(fields[i].(int))
		switch v := fields[i+1].(type) {
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(v))
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), v)
		case uint32:
			b = protowire.AppendFixed32(protowire.AppendTag(b, n, protowire.Fixed32Type), v)
		}
	}
	return string(b)
}

func shape(dims ...int) string {
	s := ""
	for _, d := range dims {
		s += msg(2, msg(1, d))
	}
	return s
}

func sum(data string) uint32 { return masked(crc32.Checksum([]byte(data), castagnoli())) }

// header of the present format.
func header(files int) pair { return pair{"", msg(1, files)} }

// bundled is a variable of float32 of the present format.
func bundled(name, shape string, file, offset, size int, sum uint32) pair {
	return pair{name, msg(1, 1, 2, shape, 3, file, 4, offset, 5, size, 6, sum)}
}

// old is a checkpoint of the first format with one variable.
func old(name, meta, data string) []byte {
	return bundle(pair{"", msg(1, meta)}, pair{"k", msg(2, msg(1, name, 3, data))})
}

func meta(name, shape string, kind int) string { return msg(1, msg(1, name, 2, shape, 3, kind)) }

func TestDecodeErrors(t *testing.T) {
	const numbers = "\x00\x00\x80\x3f\x00\x00\x00\x40" // 1, 2
	good := func(name string) pair { return bundled(name, shape(2), 0, 0, 8, sum(numbers)) }
	type files = []string
	format, unsupported := new(*FormatError), new(*UnsupportedError)
	wholeTable := bundle(header(1), good("w"))
	var many []pair
	for i := range 2*maxTensors + 2 {
		many = append(many, pair{fmt.Sprintf("%06d", i), ""})
	}
	many[0] = header(1)
	many[0].key = ""
	overlap := []pair{header(1)}
	for i := range 1000 {
		overlap = append(overlap, good(fmt.Sprintf("w%04d", i)))
	}
	for name, test := range map[string]struct {
		table  []byte
		files  files
		target any
		text   string
	}{
		"short":               {[]byte("short"), nil, format, "5 bytes are too few for a table"},
		"no magic":            {make([]byte, 100), nil, format, "it does not end as a table does"},
		"no footer":           {append(bytes.Repeat([]byte{0xff}, 40), magic...), nil, format, "the footer of its table is broken"},
		"block outside":       {ended(nil, []pair{{"k", "\x80\x80\x80\x01\x05"}}), nil, format, "a block of its table lies at bytes 2097152 to"},
		"blocks overlap":      {ended(nil, []pair{{"a", "\x09\x05"}, {"b", "\x00\x05"}}), nil, format, "table"},
		"checksum":            {flip(wholeTable, 5), files{numbers}, format, "the checksum of a block of its table is wrong"},
		"compressed":          {tableOf(trailed([]byte("x"), 1)), nil, unsupported, "its table is compressed"},
		"lengths":             {tableOf(trailed([]byte("\x00\x7f\x7f\x00\x00\x00\x00"), 0)), nil, format, "a block of its table is broken"},
		"shared key":          {tableOf(trailed([]byte("\x05\x00\x00\x00\x00\x00\x00"), 0)), nil, format, "a block of its table is broken"},
		"restarts":            {tableOf(trailed([]byte("\x00\x00\x00\xff\xff\xff\xff"), 0)), nil, format, "a block of its table is broken"},
		"order":               {tableOf(block([]pair{header(1), good("b"), good("a")})), files{numbers}, format, "not in order"},
		"many entries":        {bundle(many...), files{numbers}, unsupported, "a table of many thousand entries"},
		"empty":               {bundle(), nil, format, "its table is empty"},
		"other table":         {bundle(pair{"k", "v"}), nil, format, "does not begin as a checkpoint's does"},
		"no message":          {bundle(pair{"", "\xff"}), nil, format, "a message in it is broken"},
		"no files":            {bundle(header(0)), nil, format, "it has 0 files"},
		"many files":          {bundle(header(1 << 20)), nil, format, "it has 1048576 files"},
		"big endian":          {bundle(pair{"", msg(1, 1, 2, 1)}), nil, unsupported, "big-endian"},
		"no floats":           {bundle(header(1), pair{"w", msg(1, 9)}), nil, format, "it holds no variable of floats"},
		"parts":               {bundle(header(1), pair{"w", msg(1, 1, 7, "")}), nil, unsupported, `variable "w": it is saved in several parts`},
		"file outside":        {bundle(header(1), bundled("w", "", 1, 0, 4, 0)), nil, format, `variable "w": its place is byte 0 of file 1, of 1 files`},
		"negative":            {bundle(header(1), bundled("w", "", 0, -1, 4, 0)), nil, format, "its place is byte -1"},
		"offset outside":      {bundle(header(1), bundled("w", shape(2), 0, 4, 8, 0)), files{numbers}, format, `variable "w": its numbers lie at bytes 4 to 12, but the file has 8`},
		"offset far outside":  {bundle(header(1), bundled("w", shape(2), 0, math.MaxInt64, 8, 0)), files{numbers}, format, "but the file has 8"},
		"size":                {bundle(header(1), bundled("w", shape(2), 0, 0, 4, 0)), files{numbers}, format, "shape [2] of float32 does not fit its 4 bytes"},
		"huge shape":          {bundle(header(1), bundled("w", shape(1<<30, 1<<30, 1<<30), 0, 0, 8, 0)), files{numbers}, format, "is too large for a file of this size"},
		"huge dimension":      {bundle(header(1), bundled("w", shape(1<<40), 0, 0, 8, 0)), files{numbers}, format, "goes on with 1099511627776"},
		"negative dimension":  {bundle(header(1), bundled("w", shape(-1), 0, 0, 8, 0)), files{numbers}, format, "goes on with -1"},
		"many dimensions":     {bundle(header(1), bundled("w", shape(slices.Repeat([]int{1}, 99)...), 0, 0, 8, 0)), files{numbers}, format, "goes on with 1"},
		"checksum of numbers": {wholeTable, files{"\x00\x00\x80\x3f\x00\x00\x00\x41"}, format, `variable "w": the checksum of its numbers is not that of the index`},
		"overlap":             {bundle(overlap...), files{numbers}, format, "the variables together are larger than the files: they overlap"},

		"old parts":       {old("w", msg(1, msg(1, "w", 2, shape(2), 3, 1, 4, msg(1, msg(2, 1)))), msg(5, numbers)), nil, unsupported, `variable "w": it is saved in several parts`},
		"old count":       {old("w", meta("w", shape(3), 1), msg(5, numbers)), nil, format, `variable "w": it has 2 numbers, not 3`},
		"old extra count": {old("w", meta("w", shape(1), 1), msg(5, numbers)), nil, format, "it has 2 numbers, not 1"},
		"old huge":        {old("w", meta("w", shape(1<<30, 1<<30), 1), msg(5, numbers)), nil, format, "is too large"},
		"old other":       {old("x", meta("w", shape(2), 1), msg(5, numbers)), nil, format, "it holds no variable of floats"},
		"old half":        {old("w", meta("w", shape(2), 19), msg(13, "\xff")), nil, format, "its numbers are broken"},
	} {
		var raw [][]byte
		for _, f := range test.files {
			raw = append(raw, []byte(f))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err := decode(test.table, raw...)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if err == nil || !errors.As(err, test.target) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v, want %q", name, err, test.text)
		}
		if used := after.TotalAlloc - before.TotalAlloc; took > 10*time.Second || used > 64<<20 {
			t.Errorf("%s: took %s and %d MiB", name, took, used>>20)
		}
	}
	if set, err := decode(wholeTable, []byte(numbers)); err != nil || !slices.Equal(set.Get("w").Data, []float32{1, 2}) {
		t.Errorf("the good table: %v", err)
	}
	for name, want := range map[string]string{"parts": "saved in several parts", "parts_v1": "saved in several parts", "no_floats": "no variable of floats"} {
		table, files := folder(t, name)
		if _, err := decode(table, files...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func flip(b []byte, at int) []byte {
	b = slices.Clone(b)
	b[at] ^= 1
	return b
}

// A checkpoint of the first format may have its numbers in several fields, and
// its entries in several blocks.
func TestOldFields(t *testing.T) {
	b := tableOf(block([]pair{{"", msg(1, meta("a", shape(2), 1)+meta("b", shape(2), 19)+meta("c", shape(), 1))}}),
		block([]pair{{"1", msg(2, msg(1, "a", 3, msg(5, math.Float32bits(1), 5, math.Float32bits(2))))}}),
		block([]pair{{"2", msg(2, msg(1, "b", 3, msg(13, "\x80\x78\x80\x80\x01")))}, {"3", msg(2, msg(1, "c", 3, msg(4, "\x00\x00\x80\x3f")))}}))
	set, err := decode(b)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]float32{"a": {1, 2}, "b": {1, 2}, "c": {1}} {
		if got := set.Get(name); got == nil || !slices.Equal(got.Data, want) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

func TestDump(t *testing.T) {
	files := map[string]string{"a": "\x00\x00\x80\x3f\x00\x00\x00\x40", "b": "\x00\x00\x80\x3f", "empty": ""}
	open := func(name string) (io.ReadCloser, int64, error) {
		b, ok := files[name]
		if !ok {
			return nil, 0, os.ErrNotExist
		}
		return io.NopCloser(strings.NewReader(b)), int64(len(b)), nil
	}
	set, err := DecodeDump([]byte(`{"y": {"filename": "a", "shape": [1, 2]}, "x": {"filename": "b", "shape": []}, "z": {"filename": "empty", "shape": [0], "more": 1}}`), open)
	if err != nil {
		t.Fatal(err)
	}
	if y := set.Get("y"); set.Len() != 3 || set.Tensors()[0].Name != "x" || !slices.Equal(y.Shape, []int{1, 2}) || !slices.Equal(y.Data, []float32{1, 2}) {
		t.Errorf("%v", set)
	}
	for manifest, want := range map[string]string{
		``:          "the manifest is broken",
		`[]`:        "the manifest is broken",
		`{}`:        "the manifest lists 0 variables",
		`{"w": {}}`: `variable "w": the manifest names no file`,
		`{"w": 1}`:  "the manifest is broken",
		`{"w": {"filename": "../a", "shape": [2]}}`:                                    `names the file "../a", which does not lie beside it`,
		`{"w": {"filename": "/a", "shape": [2]}}`:                                      "does not lie beside it",
		`{"w": {"filename": "..", "shape": [2]}}`:                                      "does not lie beside it",
		`{"w": {"filename": "c:\\a", "shape": [2]}}`:                                   "does not lie beside it",
		`{"w": {"filename": "a", "shape": [-1]}}`:                                      "the shape [-1]",
		`{"w": {"filename": "a", "shape": [3]}}`:                                       "shape [3] needs 12 bytes, but a has 8",
		`{"w": {"filename": "a", "shape": [1]}}`:                                       "shape [1] needs 4 bytes, but a has 8",
		`{"w": {"filename": "a", "shape": [4294967296, 4294967296]}}`:                  "is too large",
		`{"w": {"filename": "c", "shape": [1]}}`:                                       "file does not exist",
		`{"v": {"filename": "a", "shape": [2]}, "w": {"filename": "a", "shape": [2]}}`: `variable "w": the manifest names the file "a" twice`,
		`{"w": {"filename": "a", "shape": [` + strings.Repeat("1,", 99) + `2]}}`:       "gives it the shape",
		strings.Repeat(" ", MaxManifest+1):                                             "the limit is",
	} {
		if _, err := DecodeDump([]byte(manifest), open); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", manifest, err, want)
		}
	}
}

type brokenDisk struct{}

var errDisk = errors.New("disk on fire")

func (brokenDisk) ReadAt([]byte, int64) (int, error) { return 0, errDisk }

func TestReadError(t *testing.T) {
	if _, err := Decode(brokenDisk{}, 1000, nil); !errors.Is(err, errDisk) {
		t.Errorf("%v", err)
	}
	if _, err := decode(bundle(header(1), bundled("w", shape(1), 0, 0, 4, 0))); err == nil || !strings.Contains(err.Error(), "no file 0 of 1") {
		t.Errorf("%v", err)
	}
}

// Damaged tables are refused, and nothing worse. Checksums would stop most of
// them, so those of the input are made right first.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"v2", "sharded", "v1", "parts", "parts_v1", "no_floats"} {
		table, files := folder(f, name)
		f.Add(table, bytes.Join(files, nil))
	}
	f.Fuzz(func(t *testing.T, table, data []byte) {
		for _, b := range [][]byte{table, repaired(table)} {
			set, err := decode(b, data)
			if err != nil {
				var format *FormatError
				var unsupported *UnsupportedError
				if !errors.As(err, &format) && !errors.As(err, &unsupported) && !strings.Contains(err.Error(), "no file ") {
					t.Fatalf("%T %v", err, err)
				}
				if len(err.Error()) > 2000 {
					t.Fatalf("an error of %d bytes", len(err.Error()))
				}
				continue
			}
			if n := set.Elements(); n > len(b)+len(data) {
				t.Fatalf("%d bytes gave %d values", len(b)+len(data), n)
			}
		}
	})
}

// repaired has the right checksums behind the blocks that the index names.
func repaired(b []byte) []byte {
	b = slices.Clone(b)
	if len(b) < footerSize {
		return b
	}
	fix := func(p place) []byte {
		if p.offset+p.size+trailerSize > int64(len(b)) {
			return nil
		}
		whole := b[p.offset : p.offset+p.size+trailerSize]
		binary.LittleEndian.PutUint32(whole[p.size+1:], masked(crc32.Checksum(whole[:p.size+1], castagnoli())))
		return whole[:p.size]
	}
	rest := b[len(b)-footerSize:]
	handle(&rest)
	at, ok := handle(&rest)
	if !ok {
		return b
	}
	_ = entries(fix(at), func(_ string, value []byte) error {
		if at, ok := handle(&value); ok {
			fix(at)
		}
		return nil
	})
	fix(at)
	return b
}

func FuzzDump(f *testing.F) {
	f.Add([]byte(`{"y": {"filename": "a", "shape": [1, 2]}, "x": {"filename": "b", "shape": []}}`))
	f.Fuzz(func(t *testing.T, manifest []byte) {
		set, err := DecodeDump(manifest, func(name string) (io.ReadCloser, int64, error) {
			if name != filepath.Base(name) {
				t.Fatalf("it opens %q", name)
			}
			return io.NopCloser(strings.NewReader("01234567")), 8, nil
		})
		if err == nil && set.Elements() > 2*set.Len() {
			t.Fatalf("%d values", set.Elements())
		}
	})
}
