package onnx

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"stylenet/internal/formats/onnx/onnxpb"
)

// outsourced moves the numbers of a tensor into another file.
func outsourced(t *onnxpb.TensorProto, location string, offset int, pairs ...string) {
	t.ExternalData = []*onnxpb.StringStringEntryProto{{Key: proto.String("location"), Value: &location}, {Key: proto.String("offset"), Value: proto.String(fmt.Sprint(offset))}}
	for i := 0; i < len(pairs); i += 2 {
		t.ExternalData = append(t.ExternalData, &onnxpb.StringStringEntryProto{Key: &pairs[i], Value: &pairs[i+1]})
	}
	t.DataLocation, t.RawData = onnxpb.TensorProto_EXTERNAL.Enum(), nil
}

// A network whose weights lie in other files is the same.
func TestExternal(t *testing.T) {
	net, err := johnsons()["reflect"].Build()
	if err != nil {
		t.Fatal(err)
	}
	set := randomWeights(t, net)
	var b bytes.Buffer
	if err := Encode(&b, net, set, Options{}); err != nil {
		t.Fatal(err)
	}
	file := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(b.Bytes(), file); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"m.data": nil, "more/n.data": nil}
	for i, x := range file.Graph.Initializer {
		if len(x.RawData) == 0 || i%3 == 2 {
			continue
		}
		name := []string{"m.data", "more/n.data"}[i%3]
		files[name] = append(files[name], "gap"...)
		at := len(files[name])
		files[name] = append(files[name], x.RawData...)
		outsourced(x, name, at, "length", fmt.Sprint(len(x.RawData)), "checksum", "not looked at")
	}
	if len(files["m.data"]) < 100 || len(files["more/n.data"]) < 100 {
		t.Fatal("the files are empty")
	}
	open := func(name string) (*io.SectionReader, error) {
		content, ok := files[name]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return io.NewSectionReader(bytes.NewReader(content), 0, int64(len(content))), nil
	}
	raw := marshal(t, file)
	m, err := Decode(bytes.NewReader(raw), int64(len(raw)), open)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(m.Network.Layers, net.Layers) || !reflect.DeepEqual(m.Weights, set) {
		t.Error("the network is another one")
	}
	delete(files, "m.data")
	if _, err := Decode(bytes.NewReader(raw), int64(len(raw)), open); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "lies in another file") {
		t.Errorf("a missing file: %v", err)
	}
}

func TestExternalErrors(t *testing.T) {
	format := new(*FormatError)
	for name, test := range map[string]struct {
		dims     []int64
		location string
		offset   int
		pairs    []string
		want     string
	}{
		"absolute":  {[]int64{2}, "/etc/passwd", 0, nil, `tensor "one" lies in the file "/etc/passwd", which is not in the model's folder`},
		"above":     {[]int64{2}, "../x", 0, nil, "which is not in the model's folder"},
		"below":     {[]int64{2}, "a/../../x", 0, nil, "which is not in the model's folder"},
		"none":      {[]int64{2}, "", 0, nil, "which is not in the model's folder"},
		"folder":    {[]int64{2}, ".", 0, nil, "which is not in the model's folder"},
		"outside":   {[]int64{2}, "x", 4, nil, `tensor "one" lies at bytes 4 to 12 of "x", which has 8`},
		"far":       {[]int64{2}, "x", math.MaxInt64, nil, "which has 8"},
		"large":     {[]int64{1 << 20}, "x", 0, nil, "which has 8"},
		"huge":      {[]int64{math.MaxInt64, 2}, "x", 0, nil, "has the shape"},
		"negative":  {[]int64{2}, "x", -1, nil, `has the offset "-1" in another file`},
		"length":    {[]int64{2}, "x", 0, []string{"length", "4"}, "has the shape [2], 8 bytes, but takes 4 of another file"},
		"no number": {[]int64{2}, "x", 0, []string{"length", "many"}, `has the length "many"`},
		"overlap":   {[]int64{2}, "x", 0, nil, "they overlap"},
	} {
		m := sketch(step("Add", "picture one", "painting"))
		x := m.Graph.Initializer[0]
		x.Dims, x.FloatData = test.dims, nil
		outsourced(x, test.location, test.offset, test.pairs...)
		if name == "overlap" {
			y := proto.Clone(x).(*onnxpb.TensorProto)
			y.Name = proto.String("again")
			m.Graph.Initializer = append(m.Graph.Initializer, y)
		}
		raw := marshal(t, m)
		_, err := Decode(bytes.NewReader(raw), int64(len(raw)), func(string) (*io.SectionReader, error) {
			return io.NewSectionReader(strings.NewReader("12345678"), 0, 8), nil
		})
		if !errors.As(err, format) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
