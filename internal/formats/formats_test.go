package formats

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"stylenet/internal/formats/onnx"
	"stylenet/internal/formats/pth"
	"stylenet/internal/formats/safetensors"
	"stylenet/internal/networks"
	"stylenet/internal/testassets"
	"stylenet/internal/weights"
)

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpenSafetensors(t *testing.T) {
	set := &weights.Set{}
	if err := set.Add("w", []int{2, 1}, []float32{1.5, -2}); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := safetensors.Encode(&b, set, map[string]string{"input": "caffe"}, safetensors.F32); err != nil {
		t.Fatal(err)
	}
	file, err := Open(write(t, "wrong-name.pth", b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	w := file.Tensors.Get("w")
	if file.Format != Safetensors || file.Metadata["input"] != "caffe" || !slices.Equal(w.Shape, []int{2, 1}) || !slices.Equal(w.Data, []float32{1.5, -2}) {
		t.Errorf("%+v, w is %v", file, w)
	}
}

func TestOpenPyTorch(t *testing.T) {
	for _, name := range []string{"zip_module.pth", "legacy_module.pth", "python2.pth"} {
		content, err := os.ReadFile(filepath.Join("pth", "testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		file, err := Open(write(t, "wrong-name.safetensors", content))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if file.Format != PyTorch || file.Tensors.Len() < 3 || file.Metadata != nil {
			t.Errorf("%s: %+v", name, file)
		}
	}
}

func TestOpenONNX(t *testing.T) {
	net := &networks.Network{Channels: 3, Layers: []networks.Layer{{Name: "c", Op: networks.Conv{In: 3, Out: 3, Kernel: 1, Stride: 1}, Inputs: []int{networks.Input}}}}
	set, err := net.Init(1)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := onnx.Encode(&b, net, set, onnx.Options{Version: "1", Properties: map[string]string{"k": "v"}}); err != nil {
		t.Fatal(err)
	}
	file, err := Open(write(t, "wrong-name.pth", b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if file.Format != ONNX || file.Metadata["k"] != "v" || file.ONNX.Producer != "stylenet 1" || !reflect.DeepEqual(file.Network, net) || !reflect.DeepEqual(file.Tensors, set) {
		t.Errorf("%+v", file)
	}
}

func TestOpenAssets(t *testing.T) {
	for path, format := range map[string]string{
		"vgg19/vgg19-features.safetensors": Safetensors,
		"models/pytorch-starry.pth":        PyTorch,
		"models/candy.onnx":                ONNX,
		"models/mosaic.onnx":               ONNX,
	} {
		file, err := Open(testassets.Path(t, path))
		if err != nil {
			t.Errorf("%s: %v", path, err)
		} else if file.Format != format {
			t.Errorf("%s: format %s", path, file.Format)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	tar := make([]byte, 1024)
	copy(tar[257:], "ustar")
	unknown, format, unsupported, other, onnxFormat := new(*UnknownError), new(*pth.FormatError), new(*pth.UnsupportedError), new(*safetensors.FormatError), new(*onnx.UnsupportedError)
	for name, test := range map[string]struct {
		content string
		target  any
		text    string
	}{
		"empty":        {"", unknown, "unknown model format: safetensors, pytorch (.pth, .pt) and onnx files are known; the file is empty"},
		"lfs":          {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", unknown, "this is a Git LFS pointer, not weights: run git lfs pull"},
		"html":         {"\ufeff\n <!DOCTYPE html><html>", unknown, "this is a web page, not weights"},
		"html in caps": {"<HTML>", unknown, "this is a web page, not weights"},
		"text":         {"some notes", unknown, "safetensors, pytorch (.pth, .pt) and onnx files are known"},
		"picture":      {"\x89PNG\r\n\x1a\n", unknown, "safetensors, pytorch (.pth, .pt) and onnx files are known"},
		"zip":          {"PK\x03\x04", format, "truncated or damaged"},
		"pickle":       {"\x80\x04K\x01.", format, "torch.save"},
		"tar":          {string(tar), unsupported, "a tar file"},
		"onnx":         {"\x08\x08\x12\x08stylenet\x3a\x02\x0a\x00", onnxFormat, "it takes 0 inputs"},
		"saved model":  {"\x08\x01\x12\x04\x0a\x02\x0a\x00", unknown, "files are known"},
		"safetensors":  {"\xff\x00\x00\x00\x00\x00\x00\x00{}", other, "the header claims 255 bytes, the file has 2"},
	} {
		path := write(t, "file", []byte(test.content))
		file, err := Open(path)
		if err == nil || file != nil || !errors.As(err, test.target) || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v, %v", name, file, err)
		}
	}
	dir := t.TempDir()
	if _, err := Open(dir); err == nil || err.Error() != dir+": not a regular file" {
		t.Errorf("a folder: %v", err)
	}
	missing := filepath.Join(dir, "missing")
	if _, err := Open(missing); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("a missing file: %v", err)
	}
}
