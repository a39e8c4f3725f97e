package pth

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stylenet/internal/testassets"
	"stylenet/internal/weights"
)

func decode(b []byte) (*weights.Set, error) {
	set, _, err := Decode(bytes.NewReader(b), int64(len(b)))
	return set, err
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDecode compares each good fixture with what torch.load made of it.
func TestDecode(t *testing.T) {
	var expected map[string][]struct {
		Name   string
		Shape  []int
		Values []float64
	}
	if err := json.Unmarshal(read(t, "testdata/expected.json"), &expected); err != nil {
		t.Fatal(err)
	}
	for file, want := range expected {
		t.Run(file, func(t *testing.T) {
			set, err := decode(read(t, "testdata/"+file))
			if err != nil {
				t.Fatal(err)
			}
			if set.Len() != len(want) {
				t.Fatalf("%d tensors, want %d", set.Len(), len(want))
			}
			for i, got := range set.Tensors() {
				w := want[i]
				if got.Name != w.Name || !slices.Equal(got.Shape, w.Shape) || len(got.Data) != len(w.Values) {
					t.Fatalf("tensor %d is %s %v with %d values, want %s %v", i, got.Name, got.Shape, len(got.Data), w.Name, w.Shape)
				}
				for j, f := range got.Data {
					if v := float32(w.Values[j]); f != v || math.Signbit(float64(f)) != math.Signbit(float64(v)) {
						t.Fatalf("%s: value %d is %g, want %g", w.Name, j, f, v)
					}
				}
			}
		})
	}
	for file := range refusals {
		if expected[file] != nil {
			t.Errorf("%s is both good and refused", file)
		}
	}
	files, err := filepath.Glob("testdata/*.pth")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := filepath.Base(f); expected[name] == nil && refusals[name].text == "" {
			t.Errorf("no test uses %s", f)
		}
	}
}

type refusal struct {
	unsupported bool
	tensor      string
	text        string
}

// refusals are the fixtures that must fail, and what the error must say.
var refusals = map[string]refusal{
	"hostile_call_zip.pth":       {text: "the pickle calls posix.system, which is never run"},
	"hostile_call_legacy.pth":    {text: "the pickle calls posix.system, which is never run"},
	"hostile_call_protocol4.pth": {text: "the pickle calls posix.system, which is never run"},
	"hostile_outside.pth":        {tensor: "w", text: `tensor "w": shape [3], stride [1] at offset 0 leave its storage of 2 values`},
	"hostile_short_record.pth":   {tensor: "0.weight", text: `its storage "0" declares 54 values of 4 bytes but has 212 bytes`},
	"hostile_missing_record.pth": {tensor: "0.weight", text: `its data (storage "0") are not in the file`},
	"hostile_checksum.pth":       {tensor: "0.weight", text: "checksum error: it is truncated or damaged"},
	"refused_whole_model.pth":    {text: "the pickle calls torch.nn.modules.activation.ReLU"},
	"refused_no_floats.pth":      {text: "holds 2 entries but no float tensor (1 integer ones)"},
	"refused_complex.pth":        {unsupported: true, tensor: "w", text: "ComplexFloatStorage"},
	"refused_compressed.pth":     {unsupported: true, text: "the zip file is compressed"},
	"refused_torchscript.pth":    {unsupported: true, text: "a TorchScript model"},
	"refused_tar.pth":            {unsupported: true, text: "a tar file of PyTorch before 0.1.10"},
}

func TestRefusals(t *testing.T) {
	for file, want := range refusals {
		_, err := decode(read(t, "testdata/"+file))
		want.check(t, file, err)
	}
}

func (want refusal) check(t *testing.T, what string, err error) {
	t.Helper()
	var format *FormatError
	var unsupported *UnsupportedError
	tensor := ""
	switch {
	case errors.As(err, &format) && !want.unsupported:
		tensor = format.Tensor
	case errors.As(err, &unsupported) && want.unsupported:
		tensor = unsupported.Tensor
	default:
		t.Errorf("%s: %T %v", what, err, err)
		return
	}
	if tensor != want.tensor || !strings.Contains(err.Error(), want.text) {
		t.Errorf("%s: the error names tensor %q, want %q:\n%v\nwant … %s", what, tensor, want.tensor, err, want.text)
	}
}

// TestTruncated cuts good files at every length. Whatever lies behind the cut
// was the file's, so no cut may pass; and in a legacy file, a cut in the
// numbers names a tensor.
func TestTruncated(t *testing.T) {
	for _, file := range []string{"zip_module.pth", "legacy_module.pth", "python2.pth", "legacy_protocol4.pth"} {
		whole := read(t, "testdata/"+file)
		for n := range whole {
			_, err := decode(whole[:n])
			var format *FormatError
			if !errors.As(err, &format) {
				t.Fatalf("%s cut to %d of %d bytes: %v", file, n, len(whole), err)
			}
			if strings.HasPrefix(file, "legacy") && n > len(whole)-100 && format.Tensor == "" {
				t.Fatalf("%s cut to %d of %d bytes names no tensor: %v", file, n, len(whole), err)
			}
		}
	}
}

// TestHostilePickles feeds pickles that would hurt a plain unpickler, each
// behind the head of a legacy file.
func TestHostilePickles(t *testing.T) {
	head := read(t, "testdata/python2.pth")
	head = head[:bytes.Index(head, []byte("\x80\x02ccollections"))]
	for name, test := range map[string]struct{ pickle, text string }{
		"bytes of 2^62":        {"\x80\x04\x8e\x00\x00\x00\x00\x00\x00\x00\x40.", "ends too early"},
		"string of 2 GB":       {"\x80\x02X\xff\xff\xff\x7fabc.", "ends too early"},
		"frame of 2^63":        {"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.", "ends too early"},
		"long of 2 GB":         {"\x80\x02\x8b\xff\xff\xff\x7f.", "operation 0x8b"},
		"long of no bytes":     {"\x80\x02\x8a\x00.", "malformed"},
		"million marks":        {"\x80\x02" + strings.Repeat("(", 1<<20) + ".", "nested more than"},
		"million dicts":        {"\x80\x02" + strings.Repeat("}", 1<<21) + ".", "operations"},
		"line without end":     {"\x80\x02L" + strings.Repeat("1", 1<<20), "line that does not end"},
		"unknown operation":    {"\x80\x02\xff.", "operation 0xff"},
		"empty stack":          {"\x80\x02.", "malformed"},
		"list as a key":        {"\x80\x02ccollections\nOrderedDict\n)RC\x01aNs.", "malformed"},
		"odd dict":             {"\x80\x02}(Nu.", "malformed"},
		"builtins.eval":        {"\x80\x02cbuiltins\neval\nU\x011\x85R.", "calls builtins.eval"},
		"inst":                 {"(ios\nsystem\n.", "neither"},
		"torch function":       {"\x80\x02ctorch\nload\n.", "calls torch.load"},
		"no state_dict":        {"\x80\x02K\x01.", "holds no state_dict"},
		"foreign object":       {"\x80\x02U\x06moduleQ.", "no storage"},
		"negative offset":      {"\x80\x02}U\x01w" + rebuild("K\x02", "J\xff\xff\xff\xff", "K\x01\x85", "K\x01\x85") + "s.", "or negative"},
		"negative stride":      {"\x80\x02}U\x01w" + rebuild("K\x02", "K\x00", "K\x02\x85", "J\xff\xff\xff\xff\x85") + "s.", "or negative"},
		"shape beyond 64 bits": {"\x80\x02}U\x01w" + rebuild("K\x02", "K\x00", "(J\x00\x00\x00\x7fJ\x00\x00\x00\x7fJ\x00\x00\x00\x7ft", "(K\x00K\x00K\x00t") + "s.", "too large for a file of this size"},
		"broadcast bomb":       {"\x80\x02}U\x01w" + rebuild("K\x02", "K\x00", "J\x00\x00\x00\x7f\x85", "K\x00\x85") + "s.", "too large for a file of this size"},
		"stride beyond 64 bit": {"\x80\x02}U\x01w" + rebuild("K\x02", "K\x00", "K\x03K\x03\x86", "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x7fK\x01\x86") + "s.", "leave its storage"},
		"offset at the end":    {"\x80\x02}U\x01w" + rebuild("K\x02", "K\x02", "K\x01\x85", "K\x01\x85") + "s.", "leave its storage"},
		"size beyond the file": {"\x80\x02}U\x01w" + rebuild("J\x00\x00\x00\x7f", "K\x00", "K\x01\x85", "K\x01\x85") + "s.", "2130706432 in the pickle"},
		"tensor without name":  {"\x80\x02}K\x07" + rebuild("K\x02", "K\x00", "K\x01\x85", "K\x01\x85") + "s.", "a key of type int, not a name"},
		"key in itself":        {"\x80\x02}]q\x00h\x00a" + rebuild("K\x02", "K\x00", "K\x01\x85", "K\x01\x85") + "s.", "a key of type *types.List, not a name"},
		"empty parameter":      {"\x80\x02}U\x01wctorch.nn.parameter\nParameter\n)Rs.", "a parameter without data"},
		"parameter of a list":  {"\x80\x02}U\x01wctorch.nn.parameter\nParameter\n]\x85Rs.", "a parameter made from *types.List"},
	} {
		tail := "\x80\x02]."
		if strings.Contains(test.pickle, "Storage") {
			tail = tailOfS
		}
		file := slices.Concat(head, []byte(test.pickle), []byte(tail))
		if name == "inst" {
			file = []byte(test.pickle) // protocol 0 is no torch.save
		}
		_, err := decode(file)
		var format *FormatError
		if !errors.As(err, &format) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
	// The head and the tail are right: a good tensor between them is read.
	good := slices.Concat(head, []byte("\x80\x02}U\x01w"+rebuild("K\x02", "K\x00", "K\x02\x85", "K\x01\x85")+"s."),
		[]byte(tailOfS))
	set, err := decode(good)
	if err != nil || !slices.Equal(set.Get("w").Data, []float32{1, 2}) {
		t.Errorf("%v, %v", set, err)
	}
}

// A state_dict is found under any name, unless there are several.
func TestUnwrap(t *testing.T) {
	head := read(t, "testdata/python2.pth")
	head = head[:bytes.Index(head, []byte("\x80\x02ccollections"))]
	w := rebuild("K\x02", "K\x00", "K\x02\x85", "K\x01\x85")
	inner := "}U\x01w" + w + "s"
	key := func(name, value string) string { return "U" + string(rune(len(name))) + name + value + "s" }
	numbers := "}" + key("lr", "K\x03") // no tensors
	for name, test := range map[string]struct{ dict, want string }{
		"other name":       {"}" + key("epoch", "K\x07") + key("transformer", inner) + key("optimizer", numbers), "w epoch=7"},
		"state_dict first": {"}" + key("ema", inner) + key("state_dict", inner) + key("epoch", "K\x07"), "w epoch=7"},
		"itself":           {"}U\x01w" + w + "s" + key("buffers", inner), "w"},
		"two":              {"}" + key("G", inner) + key("D", inner), `it holds several state_dicts ("G", "D"): save one of them under "state_dict"`},
		"keys in keys":     {"}]q\x00h\x00a" + inner + "s]q\x01h\x01a" + inner + "s", `several state_dicts ("", "")`},
	} {
		file := slices.Concat(head, []byte("\x80\x02"+test.dict+"."), []byte(tailOfS))
		set, metadata, err := Decode(bytes.NewReader(file), int64(len(file)))
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = set.Tensors()[0].Name
			for k, v := range metadata {
				got += " " + k + "=" + v
			}
		}
		if !strings.HasSuffix(got, test.want) && (err == nil || !strings.Contains(got, test.want)) {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// tailOfS ends a legacy file: the list of storages, ["s"], and its values 1
// and 2.
const tailOfS = "\x80\x02]U\x01sa.\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80?\x00\x00\x00\x40"

// rebuild returns the operations that make a tensor of storage "s".
func rebuild(numel, offset, shape, stride string) string {
	return "ctorch._utils\n_rebuild_tensor\n((U\x07storagectorch\nFloatStorage\nU\x01sU\x03cpu" + numel + "NtQ" + offset + shape + stride + "tR"
}

func TestNoPickle(t *testing.T) {
	for name, test := range map[string]struct{ file, text string }{
		"empty":        {"", "neither a zip file nor a pickle"},
		"text":         {"hello", "neither a zip file nor a pickle"},
		"other pickle": {"\x80\x02K\x01.", "not one that torch.save wrote"},
		"other zip":    {"PK\x03\x04 and so on", "it is truncated or damaged"},
	} {
		_, err := decode([]byte(test.file))
		refusal{text: test.text}.check(t, name, err)
	}
}

type brokenDisk struct{ io.ReaderAt }

var errDisk = errors.New("disk on fire")

func (brokenDisk) ReadAt([]byte, int64) (int, error) { return 0, errDisk }

func TestReadError(t *testing.T) {
	_, _, err := Decode(brokenDisk{}, 1000)
	var format *FormatError
	if !errors.Is(err, errDisk) || errors.As(err, &format) {
		t.Errorf("%T %v", err, err)
	}
}

func TestStarryNight(t *testing.T) {
	set, err := decode(read(t, testassets.Path(t, "models/pytorch-starry.pth")))
	if err != nil {
		t.Fatal(err)
	}
	if set.Len() != 62 || set.Elements() != 1679235 {
		t.Errorf("%d tensors, %d parameters", set.Len(), set.Elements())
	}
	if w := set.Tensors()[0]; w.Name != "conv1.conv2d.weight" || !slices.Equal(w.Shape, []int{32, 3, 9, 9}) {
		t.Errorf("first tensor: %s %v", w.Name, w.Shape)
	}
}

func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/*.pth")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		f.Add(read(f, file))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := decode(b)
		if err != nil {
			var format *FormatError
			var unsupported *UnsupportedError
			if !errors.As(err, &format) && !errors.As(err, &unsupported) {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		if n := set.Elements(); n > 4*len(b)+1<<20 {
			t.Fatalf("%d bytes gave %d values", len(b), n)
		}
	})
}

// What a training script saved beside the state_dict comes along where it is a
// number or a text.
func TestMetadata(t *testing.T) {
	for file, want := range map[string]map[string]string{
		"zip_wrapped.pth":    {"epoch": "3"},
		"legacy_wrapped.pth": {"epoch": "3"},
		"zip_module.pth":     nil,
	} {
		b := read(t, "testdata/"+file)
		_, got, err := Decode(bytes.NewReader(b), int64(len(b)))
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v, %v", file, got, err)
		}
	}
}
