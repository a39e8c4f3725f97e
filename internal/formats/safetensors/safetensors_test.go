package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stylenet/internal/formats/floats"
	"stylenet/internal/weights"
)

// file puts a file together by hand.
func file(header, data string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

func decode(b []byte) (*weights.Set, map[string]string, error) {
	return Decode(bytes.NewReader(b), int64(len(b)))
}

func TestDecode(t *testing.T) {
	// Header order is not data order; numbers of each type; scalar, empty.
	b := file(`{"half":{"dtype":"F16","shape":[3],"data_offsets":[12,18]},`+
		`"__metadata__":{"format":"pt","a":"\u00e9"},`+
		`"single":{"data_offsets":[0,8],"shape":[2,1],"dtype":"F32"},`+
		`"brain":{"dtype":"BF16","shape":[1,2],"data_offsets":[8,12]},`+
		`"none":{"dtype":"F32","shape":[0,7],"data_offsets":[18,18]},`+
		`"double":{"dtype":"F64","shape":[],"data_offsets":[18,26]}}   `,
		"\x00\x00\x80\x3f\x00\x00\x00\xc0"+ // 1, -2
			"\x80\x3f\x49\x40"+ // 1, 3.140625
			"\x00\x3c\xff\x7b\x01\x80"+ // 1, 65504, -2^-24
			"\x00\x00\x00\x00\x00\x00\xe0\x3f") // 0.5
	set, metadata, err := decode(b)
	if err != nil {
		t.Fatal(err)
	}
	want := []*weights.Tensor{
		{Name: "single", Shape: []int{2, 1}, Data: []float32{1, -2}},
		{Name: "brain", Shape: []int{1, 2}, Data: []float32{1, 3.140625}},
		{Name: "half", Shape: []int{3}, Data: []float32{1, 65504, -1.0 / (1 << 24)}},
		{Name: "none", Shape: []int{0, 7}, Data: []float32{}},
		{Name: "double", Shape: []int{}, Data: []float32{0.5}},
	}
	if d := cmp.Diff(want, set.Tensors()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]string{"format": "pt", "a": "é"}, metadata); d != "" {
		t.Error(d)
	}
	// Each cut is an error; the last tensor is the one that is missing.
	for n := range b {
		_, _, err := decode(b[:n])
		var format *FormatError
		if !errors.As(err, &format) || n > len(b)-8 && format.Tensor != "double" {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(b), err)
		}
	}
}

func TestDecodeNothing(t *testing.T) {
	set, metadata, err := decode(file("{}", ""))
	if err != nil || set.Len() != 0 || metadata != nil {
		t.Errorf("%v %v %v", set, metadata, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	one := func(entry string) []byte { return file(`{"w":`+entry+`}`, "\x00\x00\x00\x00") }
	two := func(a, b string) []byte {
		return file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":`+a+`},"b":{"dtype":"F32","shape":[1],"data_offsets":`+b+`}}`, "12345678")
	}
	for name, test := range map[string]struct {
		file   []byte
		tensor string
		text   string
	}{
		"no header":        {[]byte("1234567"), "", "7 bytes are too few for a header"},
		"header beyond":    {file("{}", "")[:9], "", "the header claims 2 bytes, the file has 1"},
		"huge header":      {[]byte("\xff\xff\xff\xff\xff\xff\xff\xff{}"), "", "the header claims 18446744073709551615 bytes, the limit is 100000000"},
		"header limit":     {binary.LittleEndian.AppendUint64(nil, 100_000_001), "", "the limit is 100000000"},
		"empty header":     {file("", ""), "", "does not begin with '{'"},
		"array":            {file("[]", ""), "", "does not begin with '{'"},
		"space first":      {file(" {}", ""), "", "does not begin with '{'"},
		"not UTF-8":        {file("{\"\xff\":1}", ""), "", "not UTF-8"},
		"broken JSON":      {file(`{"w":{`, ""), "w", "its entry is broken JSON"},
		"missing comma":    {file(`{"__metadata__":{} "w":{}}`, ""), "", "broken JSON"},
		"after the end":    {file(`{}x`, ""), "", "goes on after its closing"},
		"newline padding":  {file("{}\n", ""), "", "goes on after its closing"},
		"duplicate tensor": {file(`{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, "1234"), "", `key "w" appears twice in the header`},
		"escaped twin":     {file(`{"__metadata__":{"a":"","\u0061":""}}`, ""), "", `key "a" appears twice in __metadata__`},
		"duplicate field":  {one(`{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}`), "w", `key "dtype" appears twice in its entry`},
		"two metadata":     {file(`{"__metadata__":{},"__metadata__":{}}`, ""), "", `key "__metadata__" appears twice`},
		"metadata number":  {file(`{"__metadata__":{"epoch":3}}`, ""), "", `the metadata's "epoch" must be a string`},
		"metadata list":    {file(`{"__metadata__":[]}`, ""), "", "__metadata__ must be a JSON object"},
		"no name":          {file(`{"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, "1234"), "", "a tensor's name has 0 bytes"},
		"long name":        {file(`{"`+strings.Repeat("n", 1025)+`":{}}`, ""), "", "a tensor's name has 1025 bytes"},
		"no object":        {one(`3`), "w", "its entry must be a JSON object"},
		"missing field":    {one(`{"dtype":"F32","shape":[1]}`), "w", "needs dtype, shape and data_offsets"},
		"unknown field":    {one(`{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}`), "w", `unknown key "x"`},
		"other spelling":   {one(`{"Dtype":"F32","shape":[1],"data_offsets":[0,4]}`), "w", `unknown key "Dtype"`},
		"dtype number":     {one(`{"dtype":32,"shape":[1],"data_offsets":[0,4]}`), "w", "dtype must be a string"},
		"negative shape":   {one(`{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}`), "w", "shape must hold unsigned integers"},
		"float shape":      {one(`{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}`), "w", "shape must hold unsigned integers"},
		"nested shape":     {one(`{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}`), "w", "shape must hold unsigned integers"},
		"null shape":       {one(`{"dtype":"F32","shape":null,"data_offsets":[0,4]}`), "w", "shape must be an array"},
		"33 dimensions":    {one(`{"dtype":"F32","shape":[1` + strings.Repeat(",1", 32) + `],"data_offsets":[0,4]}`), "w", "shape has more than 32 numbers"},
		"overflow":         {one(`{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}`), "w", "does not fit"},
		"number too large": {one(`{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4]}`), "w", "unsigned integers of at most 63 bits"},
		"one offset":       {one(`{"dtype":"F32","shape":[1],"data_offsets":[4]}`), "w", "data_offsets must be two numbers"},
		"three offsets":    {one(`{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}`), "w", "data_offsets has more than 2 numbers"},
		"end before begin": {one(`{"dtype":"F32","shape":[1],"data_offsets":[4,0]}`), "w", "its data ends at 0, before its begin at 4"},
		"wrong size":       {one(`{"dtype":"F32","shape":[2],"data_offsets":[0,4]}`), "w", "shape [2] of F32 does not fit the 4 bytes from 0 to 4"},
		"outside":          {one(`{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`), "w", "its data ends at byte 8, the file holds 4: it is truncated"},
		"overlap":          {two("[0,4]", "[2,6]"), "b", "begins at 2, inside the tensor before it, which ends at 4"},
		"same data":        {two("[0,4]", "[0,4]"), "b", "begins at 0, inside the tensor before it"},
		"gap":              {two("[0,4]", "[5,9]"), "b", "begins at 5, a gap after the tensor before it, which ends at 4"},
		"gap at first":     {two("[4,8]", "[8,12]"), "a", "begins at 4, a gap"},
		"bytes left":       {file(`{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, "12345"), "", "1 bytes after the last tensor belong to none"},
	} {
		_, _, err := decode(test.file)
		var format *FormatError
		if !errors.As(err, &format) {
			t.Errorf("%s: %T %v", name, err, err)
			continue
		}
		if format.Tensor != test.tensor || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: tensor %q: %v\nwant tensor %q: %s", name, format.Tensor, err, test.tensor, test.text)
		}
		if len(err.Error()) > 3000 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
}

func TestDecodeUnsupported(t *testing.T) {
	_, _, err := decode(file(`{"steps":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}`, "12345678"))
	var unsupported *UnsupportedError
	if !errors.As(err, &unsupported) || unsupported.Tensor != "steps" || unsupported.DType != "I64" {
		t.Fatalf("%T %v", err, err)
	}
	if want := `safetensors: tensor "steps": number type "I64" is not supported: convert it to F32, F16, BF16 or F64`; err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

// TestDecodeMemory feeds headers that promise much and checks that nothing is
// allocated for what the file does not hold.
func TestDecodeMemory(t *testing.T) {
	for name, b := range map[string][]byte{
		"header":     append(binary.LittleEndian.AppendUint64(nil, maxHeader), '{'),
		"data":       file(`{"w":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}`, ""),
		"dimensions": file(`{"w":{"dtype":"F32","shape":[`+strings.Repeat("1,", 1<<20), ""),
		"nesting":    file(`{"w":`+strings.Repeat("[", 1<<20), ""),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := decode(b)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > uint64(4*len(b)+1<<17) {
			t.Errorf("%s: a file of %d bytes took %d bytes", name, len(b), n)
		}
	}
}

type brokenDisk struct{ io.ReaderAt }

var errDisk = errors.New("disk on fire")

func (brokenDisk) ReadAt([]byte, int64) (int, error) { return 0, errDisk }

func (brokenDisk) Write([]byte) (int, error) { return 0, errDisk }

func TestDiskErrors(t *testing.T) {
	_, _, err := Decode(brokenDisk{}, 1000)
	var format *FormatError
	if !errors.Is(err, errDisk) || errors.As(err, &format) {
		t.Errorf("%T %v", err, err)
	}
	// A file that shrinks after its size was taken.
	b := file(`{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, "1234")
	if _, _, err := Decode(bytes.NewReader(b), int64(len(b)+4)); !errors.As(err, &format) || format.Tensor != "w" {
		t.Errorf("%T %v", err, err)
	}
	if err := Encode(brokenDisk{}, &weights.Set{}, nil, F32); !errors.Is(err, errDisk) {
		t.Errorf("%T %v", err, err)
	}
}

func set(t testing.TB, tensors ...weights.Tensor) *weights.Set {
	t.Helper()
	s := &weights.Set{}
	for _, x := range tensors {
		if err := s.Add(x.Name, x.Shape, x.Data); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestEncode(t *testing.T) {
	s := set(t, weights.Tensor{Name: "z<\"", Shape: []int{2, 1}, Data: []float32{1, -2}}, weights.Tensor{Name: "a", Data: []float32{0.5}})
	var b bytes.Buffer
	if err := Encode(&b, s, map[string]string{"b": "2", "a": "1"}, BF16); err != nil {
		t.Fatal(err)
	}
	header := `{"__metadata__":{"a":"1","b":"2"},"z\u003c\"":{"dtype":"BF16","shape":[2,1],"data_offsets":[0,4]},"a":{"dtype":"BF16","shape":[],"data_offsets":[4,6]}}`
	header += strings.Repeat(" ", -len(header)&7)
	want := file(header, "\x80\x3f\x00\xc0\x00\x3f")
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%q\nwant %q", b.Bytes(), want)
	}
	b.Reset()
	if err := Encode(&b, &weights.Set{}, nil, F32); err != nil || b.String() != "\x08\x00\x00\x00\x00\x00\x00\x00{}      " {
		t.Errorf("an empty set: %q, %v", b.String(), err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	inf, one := float32(math.Inf(1)), []float32{1}
	large := make([]float32, 1<<17)
	large[1<<17-1] = -70000
	for name, test := range map[string]struct {
		tensor   weights.Tensor
		metadata map[string]string
		dtype    DType
		text     string
	}{
		"F16 range":     {weights.Tensor{Name: "w", Shape: []int{2}, Data: []float32{1, 65520}}, nil, F16, `tensor "w": the value 65520 is beyond the range of F16: write F32`},
		"F16, far":      {weights.Tensor{Name: "w", Shape: []int{1 << 17}, Data: large}, nil, F16, `tensor "w": the value -70000 is beyond`},
		"BF16 range":    {weights.Tensor{Name: "w", Shape: []int{1}, Data: []float32{math.MaxFloat32}}, nil, BF16, `tensor "w": the value 3.4028235e+38 is beyond the range of BF16`},
		"F64":           {weights.Tensor{Name: "w", Shape: []int{1}, Data: one}, nil, "F64", `cannot write number type "F64"`},
		"no type":       {weights.Tensor{Name: "w", Shape: []int{1}, Data: one}, nil, "", `cannot write number type ""`},
		"reserved name": {weights.Tensor{Name: "__metadata__", Shape: []int{1}, Data: one}, nil, F32, `tensor "__metadata__": the format does not allow this name`},
		"name":          {weights.Tensor{Name: "\xff", Shape: []int{1}, Data: one}, nil, F32, "does not allow this name"},
		"metadata":      {weights.Tensor{Name: "w", Shape: []int{1}, Data: one}, map[string]string{"k": "\xff"}, F32, `metadata "k" is not UTF-8`},
		"rank":          {weights.Tensor{Name: "w", Shape: slices.Repeat([]int{1}, 33), Data: one}, nil, F32, `tensor "w": 33 dimensions are too many`},
	} {
		err := Encode(io.Discard, set(t, test.tensor), test.metadata, test.dtype)
		if err == nil || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What is no number to begin with is no error.
	s := set(t, weights.Tensor{Name: "w", Shape: []int{3}, Data: []float32{inf, -inf, float32(math.NaN())}})
	for _, dtype := range []DType{F32, F16, BF16} {
		if err := Encode(io.Discard, s, nil, dtype); err != nil {
			t.Errorf("%s: %v", dtype, err)
		}
	}
}

// TestRoundTrip draws sets that each type can hold exactly: what is written
// comes back, in order, and the same call gives the same bytes.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dtype := rapid.SampledFrom([]DType{F32, F16, BF16}).Draw(t, "dtype")
		s := &weights.Set{}
		for i := range rapid.IntRange(0, 5).Draw(t, "tensors") {
			shape := rapid.SliceOfN(rapid.IntRange(0, 4), 0, 4).Draw(t, "shape")
			data := make([]float32, weights.Elements(shape))
			for j := range data {
				switch dtype {
				case F16:
					data[j] = floats.FromF16(rapid.Uint16().Draw(t, "f16"))
				case BF16:
					data[j] = floats.FromBF16(rapid.Uint16().Draw(t, "bf16"))
				default:
					data[j] = rapid.Float32().Draw(t, "f32")
				}
				if data[j] != data[j] { // NaN equals nothing
					data[j] = 0
				}
			}
			name := fmt.Sprint(rapid.String().Draw(t, "name"), i)
			if err := s.Add(name, shape, data); err != nil {
				t.Fatal(err)
			}
		}
		metadata := rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "metadata")
		var b, again bytes.Buffer
		if err := Encode(&b, s, metadata, dtype); err != nil {
			t.Fatal(err)
		}
		if err := Encode(&again, s, metadata, dtype); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
			t.Fatalf("the second file differs: %v", err)
		}
		if n := binary.LittleEndian.Uint64(b.Bytes()); n%8 != 0 {
			t.Fatalf("a header of %d bytes", n)
		}
		got, gotMetadata, err := decode(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range s.Tensors() {
			y := got.Get(x.Name)
			if y == nil || !slices.Equal(x.Shape, y.Shape) || !slices.Equal(x.Data, y.Data) {
				t.Fatalf("%v came back as %v", x, y)
			}
		}
		for i, x := range got.Tensors() {
			if x.Name != s.Tensors()[i].Name {
				t.Fatalf("tensor %d is %q, want %q", i, x.Name, s.Tensors()[i].Name)
			}
		}
		if len(metadata) != len(gotMetadata) || len(metadata) > 0 && cmp.Diff(metadata, gotMetadata) != "" {
			t.Fatalf("%v came back as %v", metadata, gotMetadata)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(file(`{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"F64","shape":[],"data_offsets":[4,12]}}`, "123456789012"))
	f.Add(file(`{"__metadata__":{"k":"v"},"w":{"dtype":"BF16","shape":[0,3],"data_offsets":[0,0]}} `, ""))
	f.Add(file(`{"w":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}}`, "1"))
	f.Add(file(`{"w":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}`, "1234"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, metadata, err := decode(b)
		if err != nil {
			var format *FormatError
			var unsupported *UnsupportedError
			if !errors.As(err, &format) && !errors.As(err, &unsupported) {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		// What was read can be written, and reads the same.
		var out bytes.Buffer
		if err := Encode(&out, s, metadata, F32); err != nil {
			t.Fatal(err)
		}
		again, _, err := decode(out.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range s.Tensors() {
			y := again.Tensors()[i]
			same := slices.EqualFunc(x.Data, y.Data, func(a, b float32) bool { return a == b || a != a && b != b })
			if x.Name != y.Name || !slices.Equal(x.Shape, y.Shape) || !same {
				t.Fatalf("%v came back as %v", x, y)
			}
		}
	})
}
