package export_test

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"stylenet/export"
	"stylenet/internal/formats/onnx/onnxpb"
	"stylenet/internal/model"
	"stylenet/internal/networks"
)

func tiny(j networks.Johnson) *export.Model {
	net, err := j.Build()
	if err != nil {
		log.Fatal(err)
	}
	set, err := net.Init(1)
	if err != nil {
		log.Fatal(err)
	}
	return &export.Model{Network: j, Weights: set, Recipe: `{"steps":1}`, VGG: "random (seed 1)", Version: "0.1.0"}
}

func johnson(architecture string) networks.Johnson {
	return networks.Johnson{Architecture: architecture, Padding: "reflect", Norm: "instance", Upsample: "nearest", Output: "linear"}
}

var reflectNet = johnson("c3s1-2,d4,R4,u2,c3s1-3")

func readONNX(t *testing.T, path string) *onnxpb.ModelProto {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(raw, m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestONNX(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.onnx")
	m := tiny(reflectNet)
	if err := export.ONNX(path, m); err != nil {
		t.Fatal(err)
	}
	p := readONNX(t, path)
	got := map[string]string{}
	for _, e := range p.MetadataProps {
		got[e.GetKey()] = e.GetValue()
	}
	for key, want := range map[string]string{
		"stylenet.network": `{"architecture":"c3s1-2,d4,R4,u2,c3s1-3","padding":"reflect","norm":"instance","upsample":"nearest","output":"linear"}`,
		"stylenet.recipe":  `{"steps":1}`, "stylenet.vgg": "random (seed 1)", "stylenet.version": "0.1.0",
		"Image.BitmapPixelFormat": "Rgb8", "Image.ColorSpaceGamma": "SRGB", "Image.NominalPixelRange": "NominalRange_0_255",
	} {
		if got[key] != want {
			t.Errorf("metadata %s is %q, want %q", key, got[key], want)
		}
	}
	if p.GetProducerVersion() != "0.1.0" || !strings.Contains(p.GetDocString(), "c3s1-2,d4,R4,u2,c3s1-3") {
		t.Errorf("version %q, doc %q", p.GetProducerVersion(), p.GetDocString())
	}
	// Multiple and Least reach the graph: sides are rounded up to 2, and to 4,
	// since a 2×2 picture becomes a map of 1×1, too small to reflect.
	integers := map[string]byte{}
	for _, i := range p.Graph.Initializer {
		if strings.HasPrefix(i.GetName(), "border.") {
			integers[i.GetName()] = i.RawData[0]
		}
	}
	if integers["border.multiple"] != 2 || integers["border.least"] != 4 {
		t.Errorf("the border is %v, want multiple 2 and least 4", integers)
	}
}

func TestBrokenModelIsNotWritten(t *testing.T) {
	m := tiny(reflectNet)
	m.Network = johnson("c3s1-2,c3s1-3")
	for name, write := range map[string]func(string, *export.Model) error{"m.onnx": export.ONNX, "m.safetensors": export.Safetensors} {
		path := filepath.Join(t.TempDir(), name)
		err := write(path, m)
		want := `tensor "conv2.conv2d.weight" has shape [4 2 3 3], but the architecture wants [3 2 3 3]`
		if err == nil || !strings.HasPrefix(err.Error(), "write "+path) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s was written", name)
		}
	}
}

func TestSafetensors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	m := tiny(reflectNet)
	if err := export.Safetensors(path, m); err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := model.Write(&want, m); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("the file is not what model.Write writes (%v)", err)
	}
	back, err := export.Load(path)
	if err != nil || back.Network != m.Network {
		t.Errorf("%v, %v", back, err)
	}
}

func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	trained := filepath.Join(dir, "starry.safetensors")
	if err := export.Safetensors(trained, tiny(reflectNet)); err != nil {
		log.Fatal(err)
	}

	m, err := export.Load(trained)
	if err != nil {
		log.Fatal(err)
	}
	if err := export.ONNX(filepath.Join(dir, "starry.onnx"), m); err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Network, "trained with VGG-19 features", m.VGG)
	// Output: c3s1-2,d4,R4,u2,c3s1-3 trained with VGG-19 features random (seed 1)
}
