package main

import (
	"bytes"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"stylenet/internal/atomicfile"
	"stylenet/internal/formats/safetensors"
	"stylenet/internal/networks"
	"stylenet/internal/vgg"
)

// TestWeightsImportAndCheck takes in a file that cannot say its convention, and
// finds it where training looks.
func TestWeightsImportAndCheck(t *testing.T) {
	cache := t.TempDir()
	for _, name := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} {
		t.Setenv(name, cache)
	}
	t.Setenv(vgg.EnvPath, "")
	net, err := networks.VGG19("relu1_2", networks.Caffe, false)
	if err != nil {
		t.Fatal(err)
	}
	set, err := net.Init(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Add("classifier.0.bias", []int{2}, []float32{1, 2}); err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(cache, "mine.safetensors")
	if err := atomicfile.Write(src, 0o644, func(w io.Writer) error {
		return safetensors.Encode(w, set, nil, safetensors.F32)
	}); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		cmd := newWeightsCmd()
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs(args)
		err := cmd.Execute()
		return out.String(), err
	}

	if _, err := run("import", src); err == nil || !strings.Contains(hintOf(err), "--convention") {
		t.Errorf("import without a convention: %v, hint %q", err, hintOf(err))
	}
	if out, err := run("import", src, "--convention", "torchvision"); err != nil || out != "" {
		t.Fatalf("import: %v, printed %q", err, out)
	}
	out, err := run("check")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"torchvision (told by the file's metadata)", "features.2.weight  [64 64 3 3]", "usable up to relu1_2"} {
		if !strings.Contains(out, want) {
			t.Errorf("check lacks %q:\n%s", want, out)
		}
	}
	out, err = run("check", src, "--json")
	if err == nil {
		t.Errorf("check of a file without a convention printed %s", out)
	}
	path, err := vgg.DefaultPath()
	if err != nil {
		t.Fatal(err)
	}
	if out, err = run("check", path, "--json"); err != nil {
		t.Fatal(err)
	}
	var report map[string]any
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if report["convention"] != "torchvision" || report["deepest"] != "relu1_2" || len(report["tensors"].([]any)) != 4 {
		t.Errorf("%s", out)
	}
}
