package onnx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"stylenet/internal/formats/onnx/onnxpb"
	"stylenet/internal/inference/inferencetest"
	"stylenet/internal/kernels/reference"
)

// Small files of every operator give what ONNX Runtime gave. The script beside
// them made both.
func TestDecodeGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/models/*.onnx")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 200 {
		t.Fatalf("%d models: make golden", len(files))
	}
	used := map[string]bool{}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".onnx"), func(t *testing.T) {
			raw, file := readFile(t, path)
			for _, n := range file.Graph.Node {
				used[n.GetOpType()] = true
			}
			m, err := decode(t, raw)
			if err != nil {
				t.Fatal(err)
			}
			answers := 0
			for ; compareGolden(t, file, m, answers); answers++ {
			}
			if answers == 0 {
				t.Error("the file holds no answer")
			}
		})
	}
	g := graph{folds: folds(), translations: translations()}
	for _, name := range (&call{trace: &trace{g: &g}}).operators() {
		if !used[name] {
			t.Errorf("no model uses %s", name)
		}
	}
}

// readFile returns a file's bytes, and what they say.
func readFile(t *testing.T, path string) ([]byte, *onnxpb.ModelProto) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(raw, file); err != nil {
		t.Fatal(err)
	}
	return raw, file
}

// Graphs that are drawn, of every operator with attributes of all kinds, give what
// ONNX Runtime gives, or are refused with their node. STYLENET_DRAWN is how many, and
// STYLENET_DRAWN_SEED where to begin.
func TestDecodeDrawnPeer(t *testing.T) {
	count, seed := "300", "1"
	for name, to := range map[string]*string{"STYLENET_DRAWN": &count, "STYLENET_DRAWN_SEED": &seed} {
		if v := os.Getenv(name); v != "" {
			*to = v
		}
	}
	dir := t.TempDir()
	t.Logf("%s", python(t, "onnx and onnxruntime", "testdata/draw_models.py", dir, count, seed))
	files, err := filepath.Glob(filepath.Join(dir, "*.onnx"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	refused := map[string]int{}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".onnx"), func(t *testing.T) {
			raw, file := readFile(t, path)
			m, err := decode(t, raw)
			if e := (*UnsupportedError)(nil); errors.As(err, &e) && e.Op != "" {
				refused[e.Op+": "+regexp.MustCompile(`[\d.]+`).ReplaceAllString(e.Reason, "#")]++
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for k := 0; compareGolden(t, file, m, k); k++ {
			}
		})
	}
	total := 0
	for _, reason := range slices.Sorted(maps.Keys(refused)) {
		t.Logf("%d refused: %.300s", refused[reason], reason)
		total += refused[reason]
	}
	if total*5 > len(files) {
		t.Errorf("%d of %d graphs are refused", total, len(files))
	}
}

// compareGolden runs the network on the k-th input of the file and compares the
// result with the file's answer. It returns false where there is none.
func compareGolden(t *testing.T, file *onnxpb.ModelProto, m *Model, k int) bool {
	t.Helper()
	var input, output *onnxpb.TensorProto
	for _, i := range file.Graph.Initializer {
		switch i.GetName() {
		case fmt.Sprintf("golden.%d.input", k):
			input = i
		case fmt.Sprintf("golden.%d.output", k):
			output = i
		}
	}
	if input == nil {
		return false
	}
	scale, tolerance, share := 1., 0., 1e-4
	for key, to := range map[string]*float64{"scale": &scale, "tolerance": &tolerance, "share": &share} {
		if text := m.Info.Properties[key]; text != "" {
			var err error
			if *to, err = strconv.ParseFloat(text, 64); err != nil {
				t.Fatal(err)
			}
		}
	}
	size := planeSize(m.Info.Input.Layout, input.Dims)
	if multiple := max(m.Info.Multiple, 1); size[1]%multiple != 0 || size[2]%multiple != 0 {
		return true // there it is not exactly the file's graph
	}
	picture := make([]float32, len(input.RawData))
	for i, v := range input.RawData {
		picture[i] = float32(v) * float32(scale)
	}
	want := make([]float32, len(output.RawData)/4)
	if _, err := binary.Decode(output.RawData, binary.LittleEndian, want); err != nil {
		t.Fatal(err)
	}
	got := runNetwork(t, m, toPlanes(m.Info.Input.Layout, input.Dims, picture), size[1], size[2])
	want = toPlanes(m.Info.Output.Layout, output.Dims, want)
	if len(got) != len(want) {
		t.Fatalf("input %v gives %d values, not %v", input.Dims, len(got), output.Dims)
	}
	worst, most := 0., 0.
	for i := range want {
		worst = max(worst, math.Abs(float64(got[i]-want[i]))) // NaN stays NaN
		most = max(most, math.Abs(float64(want[i])))
	}
	if tolerance == 0 {
		tolerance = share * most
	}
	if !(worst <= tolerance) {
		t.Errorf("input %v: %g apart, more than %g; the largest value is %g\n%s", input.Dims, worst, tolerance, most, layersOf(m))
	}
	return true
}

func layersOf(m *Model) string {
	var b strings.Builder
	for i, l := range m.Network.Layers {
		fmt.Fprintf(&b, "%d %s %T%.200s %v\n", i, l.Name, l.Op, fmt.Sprintf("%+v", l.Op), l.Inputs)
	}
	return b.String()
}

// planeSize gives channels, rows and columns of a shape.
func planeSize(layout string, dims []int64) (size [3]int) {
	for i, d := range layout {
		if k := strings.IndexRune("CHW", d); k >= 0 {
			size[k] = int(dims[i])
		}
	}
	return size
}

// toPlanes orders values as channels, rows and columns.
func toPlanes(layout string, dims []int64, values []float32) []float32 {
	if strings.HasSuffix(layout, "CHW") {
		return values
	}
	s := planeSize(layout, dims)
	out := make([]float32, len(values))
	for c := range s[0] {
		for i := range s[1] * s[2] {
			out[c*s[1]*s[2]+i] = values[i*s[0]+c]
		}
	}
	return out
}

// runNetwork is the network's answer by the kernels in plain Go.
func runNetwork(t *testing.T, m *Model, picture []float32, h, w int) []float32 {
	t.Helper()
	dev := reference.New(2)
	defer func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	}()
	return inferencetest.Run(t, dev, m.Network, m.Weights, picture, h, w)
}

// Damaged files of every operator are refused, and nothing worse.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/models/*.onnx")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		file := &onnxpb.ModelProto{}
		if err := proto.Unmarshal(raw, file); err != nil {
			f.Fatal(err)
		}
		// Without its answers, which the decoder never looks at.
		file.Graph.Initializer = deleteGolden(file.Graph.Initializer)
		f.Add(marshal(f, file))
		for _, t := range file.Graph.Initializer {
			if len(t.RawData) > 0 {
				// Somewhere in the file itself, which is what the test opens.
				t.ExternalData = []*onnxpb.StringStringEntryProto{{Key: proto.String("location"), Value: proto.String("x.data")},
					{Key: proto.String("offset"), Value: proto.String("3")}, {Key: proto.String("length"), Value: proto.String(fmt.Sprint(len(t.RawData)))}}
				t.RawData = nil
				f.Add(marshal(f, file))
				break
			}
		}
	}
	net, err := johnsons()["reflect"].Build()
	if err != nil {
		f.Fatal(err)
	}
	for _, o := range []Options{
		{Precision: Float16, Bytes: true, Multiple: 4, Least: 16}, {Precision: Int8, Ranges: someRanges(net), Width: 31, Height: 29, Bytes: true, Multiple: 4, Least: 16},
	} {
		var raw bytes.Buffer
		if err := Encode(&raw, net, randomWeights(f, net), o); err != nil {
			f.Fatal(err)
		}
		f.Add(raw.Bytes())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		Sniff(raw[:min(len(raw), 512)], int64(len(raw)))
		beside := func(location string) (*io.SectionReader, error) {
			if !fs.ValidPath(location) {
				t.Errorf("it opens %q", location)
			}
			return io.NewSectionReader(bytes.NewReader(raw), 0, int64(len(raw))), nil
		}
		m, err := Decode(bytes.NewReader(raw), int64(len(raw)), beside)
		if err != nil {
			if len(err.Error()) > 4000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if err := m.Network.Check(m.Weights, nil); err != nil {
			t.Error(err)
		}
		if _, err := m.Network.Build(); err != nil {
			t.Error(err)
		}
		m.Network.Multiple() // ends, and does not panic
	})
}

func deleteGolden(list []*onnxpb.TensorProto) (left []*onnxpb.TensorProto) {
	for _, i := range list {
		if !strings.HasPrefix(i.GetName(), "golden.") {
			left = append(left, i)
		}
	}
	return left
}
