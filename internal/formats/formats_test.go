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
	named := write(t, "Candy.ONNX", []byte("\x3a"))
	if _, err := Open(named); err == nil || !strings.HasSuffix(err.Error(), "; an ONNX file like this may be truncated: fetch it again") {
		t.Errorf("%s: %v", named, err)
	}
	unknown, format, unsupported, other, onnxFormat := new(*UnknownError), new(*pth.FormatError), new(*pth.UnsupportedError), new(*safetensors.FormatError), new(*onnx.UnsupportedError)
	for name, test := range map[string]struct {
		content string
		target  any
		text    string
	}{
		"empty":        {"", unknown, "unknown model format: safetensors, pytorch (.pth, .pt), onnx and tensorflow (checkpoints) files are known; the file is empty"},
		"lfs":          {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", unknown, "this is a Git LFS pointer, not weights: run git lfs pull"},
		"html":         {"\ufeff\n <!DOCTYPE html><html>", unknown, "this is a web page, not weights"},
		"html in caps": {"<HTML>", unknown, "this is a web page, not weights"},
		"text":         {"some notes", unknown, "safetensors, pytorch (.pth, .pt), onnx and tensorflow (checkpoints) files are known"},
		"picture":      {"\x89PNG\r\n\x1a\n", unknown, "safetensors, pytorch (.pth, .pt), onnx and tensorflow (checkpoints) files are known"},
		"zip":          {"PK\x03\x04", format, "truncated or damaged"},
		"pickle":       {"\x80\x04K\x01.", format, "torch.save"},
		"tar":          {string(tar), unsupported, "a tar file"},
		"onnx":         {"\x08\x08\x12\x08stylenet\x3a\x02\x0a\x00", onnxFormat, "it takes 0 inputs"},
		"saved model":  {"\x08\x01\x12\x04\x0a\x02\x0a\x00", unknown, "files are known"},
		"cut onnx":     {"\x08\x08\x12\x08style", unknown, "an ONNX file like this may be truncated: fetch it again"},
		"safetensors":  {"\xff\x00\x00\x00\x00\x00\x00\x00{}", other, "the header claims 255 bytes, the file has 2"},
	} {
		path := write(t, "file", []byte(test.content))
		file, err := Open(path)
		if err == nil || file != nil || !errors.As(err, test.target) || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v, %v", name, file, err)
		}
	}
	dir := t.TempDir()
	if _, err := Open(dir); err == nil || err.Error() != dir+": it is a folder that holds no model: neither a checkpoint of TensorFlow nor variables with a manifest.json" {
		t.Errorf("a folder: %v", err)
	}
	missing := filepath.Join(dir, "missing")
	if _, err := Open(missing); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("a missing file: %v", err)
	}
}

// A checkpoint is found by any of its files and in its folder, dumped variables
// by theirs.
func TestOpenTensorFlow(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("tensorflow/testdata/sharded")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "m.ckpt", "m.ckpt.index", "m.ckpt.data-00002-of-00003", "m.ckpt.meta"} {
		file, err := Open(filepath.Join(dir, name))
		if err != nil || file.Format != TensorFlow || file.Tensors.Get("matrix") == nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	if !IsFolder(dir) || IsFolder(t.TempDir()) || IsFolder(filepath.Join(dir, "m.ckpt.index")) {
		t.Error("folders are not told apart")
	}
	// The state names a checkpoint of a folder that was moved since.
	state := filepath.Join(dir, "checkpoint")
	for text, want := range map[string]string{
		`model_checkpoint_path: "/elsewhere/m.ckpt"` + "\n":         "",
		`model_checkpoint_path: "n.ckpt"`:                           "n.ckpt",
		`model_checkpoint_path: "../../.."`:                         "it names no checkpoint",
		`model_checkpoint_path: 3`:                                  "it names no checkpoint",
		`all_model_checkpoint_paths: "a"`:                           "it names no checkpoint",
		strings.Repeat(" ", 1<<20+1):                                "more than 1048576 bytes",
		`model_checkpoint_path: "` + strings.Repeat("a", 300) + `"`: "file name too long",
	} {
		if err := os.WriteFile(state, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); (err == nil) != (want == "") || err != nil && (!strings.HasPrefix(err.Error(), dir) && !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
	if err := os.Remove(state); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err != nil {
		t.Errorf("one checkpoint: %v", err)
	}
	if err := os.Rename(filepath.Join(dir, "m.ckpt.data-00001-of-00003"), filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "m.ckpt.data-00001-of-00003") {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "n.ckpt.index"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "it holds several checkpoints, m.ckpt.index and n.ckpt.index: name one of them") {
		t.Errorf("two checkpoints: %v", err)
	}
}

// An ONNX file finds its weights in its folder, and nowhere else.
func TestOpenONNXWithData(t *testing.T) {
	file, err := Open("onnx/testdata/external/conv.onnx")
	if err != nil {
		t.Fatal(err)
	}
	if file.Tensors.Len() != 4 || file.Tensors.Elements() != 3*3*9+3+3*3*81+3 {
		t.Errorf("%d tensors of %d values", file.Tensors.Len(), file.Tensors.Elements())
	}
	dir := t.TempDir()
	raw, err := os.ReadFile("onnx/testdata/external/conv.onnx")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "conv.onnx")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), "conv.onnx.data") {
		t.Errorf("without its data: %v", err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, make([]byte, 1<<14), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "conv.onnx.data")); err != nil {
		t.Skip("links cannot be made here")
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("a link out of the folder: %v", err)
	}
}
