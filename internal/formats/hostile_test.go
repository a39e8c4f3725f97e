package formats

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stylenet/internal/formats/onnx/onnxpb"
)

// zipped writes a zip file of records; those whose name ends with "!" are
// compressed.
func zipped(t *testing.T, records map[string]io.Reader) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) { return flate.NewWriter(out, flate.BestSpeed) })
	for name, content := range records {
		method := zip.Store
		if strings.HasSuffix(name, "!") {
			name, method = strings.TrimSuffix(name, "!"), zip.Deflate
		}
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		if err == nil {
			_, err = io.Copy(f, content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// zeros are n bytes that compress a thousand times.
func zeros(n int64) io.Reader { return io.LimitReader(zeroReader{}, n) }

type zeroReader struct{}

func (zeroReader) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func headed(header string, data ...byte) []byte {
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), data...)
}

func onnxFile(t *testing.T, nodes []*onnxpb.NodeProto, initializers ...*onnxpb.TensorProto) []byte {
	t.Helper()
	picture := func(name string) *onnxpb.ValueInfoProto {
		var dims []*onnxpb.TensorShapeProto_Dimension
		for _, d := range []int64{1, 3, 64, 64} {
			dims = append(dims, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: d}})
		}
		return &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
			TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(1), Shape: &onnxpb.TensorShapeProto{Dim: dims}}}}}
	}
	raw, err := proto.Marshal(&onnxpb.ModelProto{
		IrVersion: proto.Int64(8), OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(17)}},
		Graph: &onnxpb.GraphProto{Node: nodes, Initializer: initializers,
			Input: []*onnxpb.ValueInfoProto{picture("x")}, Output: []*onnxpb.ValueInfoProto{picture("y")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func op(kind string, output string, inputs ...string) *onnxpb.NodeProto {
	return &onnxpb.NodeProto{OpType: &kind, Name: proto.String("the " + kind), Input: inputs, Output: []string{output}}
}

// Hostile files are refused with their name and the reason, quickly and in
// little memory, whatever codec they are made for.
func TestHostile(t *testing.T) {
	codec := func(name string) []byte {
		raw, err := os.ReadFile(filepath.FromSlash(name))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	pickle := func(body string) []byte {
		return zipped(t, map[string]io.Reader{"m/data.pkl": strings.NewReader("\x80\x02" + body), "m/data/0": strings.NewReader("12345678")})
	}
	storage := func(numel string) string {
		return "ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + numel + "tQ"
	}
	var million []*onnxpb.NodeProto
	for i := range 1 << 20 {
		million = append(million, &onnxpb.NodeProto{OpType: proto.String("Relu"), Input: []string{fmt.Sprint(i)}, Output: []string{fmt.Sprint(i + 1)}})
	}
	many := map[string]io.Reader{}
	for i := range 1 << 15 {
		many[fmt.Sprint("m/data/", i)] = strings.NewReader("")
	}
	huge := &onnxpb.TensorProto{Name: proto.String("w"), Dims: []int64{math.MaxInt32, math.MaxInt32}, DataType: proto.Int32(1), RawData: []byte("1234")}
	outside := &onnxpb.TensorProto{Name: proto.String("w"), Dims: []int64{1 << 20}, DataType: proto.Int32(1), RawData: []byte("1234")}
	away := &onnxpb.TensorProto{Name: proto.String("w"), Dims: []int64{1}, DataType: proto.Int32(1), DataLocation: onnxpb.TensorProto_EXTERNAL.Enum(),
		ExternalData: []*onnxpb.StringStringEntryProto{{Key: proto.String("location"), Value: proto.String("/etc/passwd")}}}

	for name, test := range map[string]struct {
		raw  []byte
		want string
	}{
		"pickle that calls code":         {codec("pth/testdata/hostile_call_zip.pth"), "system, which is never run"},
		"legacy pickle that calls code":  {codec("pth/testdata/hostile_call_legacy.pth"), "system, which is never run"},
		"pickle that calls builtins":     {pickle("c__builtin__\neval\nX\x01\x00\x00\x001\x85R."), "__builtin__.eval, which is never run"},
		"pickle that gets attributes":    {pickle("cbuiltins\ngetattr\n)R."), "builtins.getattr, which is never run"},
		"pickle of a long text":          {pickle("X\xff\xff\xff\x7f."), "the pickle ends too early"},
		"pickle of a long number":        {pickle("\x8b\xff\xff\xff\x7f."), "pickle"},
		"pickle of deep lists":           {pickle(strings.Repeat("(", 1<<20) + "."), "nested more than 1000 deep"},
		"pickle of many lists":           {pickle(strings.Repeat("]", 1<<21) + "."), "operations"},
		"pickle of a large tensor":       {pickle("}X\x01\x00\x00\x00w" + storage("J\xff\xff\xff\x7f") + "K\x00J\xff\xff\xff\x7f\x85K\x01\x85tRs."), "too large for a file of this size"},
		"pickle of a broadcast tensor":   {pickle("}X\x01\x00\x00\x00w" + storage("K\x02") + "K\x00J\xff\xff\xff\x7f\x85K\x00\x85tRs."), "too large for a file of this size"},
		"pickle outside its storage":     {pickle("}X\x01\x00\x00\x00w" + storage("K\x02") + "K\x01K\x02\x85K\x01\x85tRs."), "leave its storage of 2 values"},
		"zip bomb":                       {zipped(t, map[string]io.Reader{"m/data.pkl!": zeros(64 << 20)}), "has 67108864 bytes, the limit is"},
		"zip bomb behind a small pickle": {zipped(t, map[string]io.Reader{"m/data.pkl!": zeros(1 << 20)}), "the zip file is compressed"},
		"zip bomb of numbers": {zipped(t, map[string]io.Reader{
			"m/data.pkl": strings.NewReader("\x80\x02}X\x01\x00\x00\x00w" + storage("J\x00\x00\x00\x01") + "K\x00J\x00\x00\x00\x01\x85K\x01\x85tRs."),
			"m/data/0!":  zeros(64 << 20)}), "too large for a file of this size"},
		"zip of many records": {zipped(t, many), "the zip file holds no data.pkl"},

		"safetensors of a huge header":   {binary.LittleEndian.AppendUint64(nil, 1<<60)[:8:8], "unknown model format"},
		"safetensors longer than itself": {append(binary.LittleEndian.AppendUint64(nil, 1<<40), '{'), "the header claims"},
		"safetensors outside":            {headed(`{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4000000000]}}`, 1, 2, 3, 4), "does not fit the 4000000000 bytes"},
		"safetensors of a huge shape":    {headed(`{"w":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,4]}}`, 1, 2, 3, 4), "does not fit the 4 bytes"},
		"safetensors of deep JSON":       {headed(`{"w":` + strings.Repeat("[", 1<<20)), "must be"},
		"safetensors that overlap":       {headed(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 1, 2, 3, 4), "inside the tensor before it"},

		"onnx with a cycle":         {onnxFile(t, []*onnxpb.NodeProto{op("Add", "y", "x", "z"), op("Relu", "z", "y")}), "the graph has a cycle"},
		"onnx of a million nodes":   {onnxFile(t, million), "parts"},
		"onnx of a huge tensor":     {onnxFile(t, []*onnxpb.NodeProto{op("Add", "y", "x", "w")}, huge), `tensor "w" has the shape [2147483647 2147483647]`},
		"onnx outside its bytes":    {onnxFile(t, []*onnxpb.NodeProto{op("Add", "y", "x", "w")}, outside), "1048576 numbers, but holds 1"},
		"onnx that reads a file":    {onnxFile(t, []*onnxpb.NodeProto{op("Add", "y", "x", "w")}, away), `lies in the file "/etc/passwd", which is not in the model's folder`},
		"onnx with a graph of code": {onnxFile(t, []*onnxpb.NodeProto{op("PyOp", "y", "x")}), `node "the PyOp" (PyOp): the operator is not read`},

		"checkpoint outside its file": {append(bytes.Repeat([]byte{0x7f}, 40), "\x57\xfb\x80\x8b\x24\x75\x47\xdb"...), "tensorflow: invalid file"},
	} {
		path := write(t, "file", test.raw)
		test.raw = nil
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		start := time.Now()
		file, err := Open(path)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if err == nil || file != nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %.300v, want %q", name, err, test.want)
		}
		if used := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 15*time.Second || used > 160 {
			t.Errorf("%s: took %s and %d MiB", name, took, used)
		}
		if err != nil && len(err.Error()) > 1500 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
}
