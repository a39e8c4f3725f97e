package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stylenet/internal/checkpoint"
	"stylenet/internal/images"
	"stylenet/internal/model"
	"stylenet/internal/weights"
)

// A command line that means nothing, or that does not suit the model that it names,
// exits with 2; what is right and fails with 1. Neither leaves anything behind.
func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("STYLENET_VGG19", "")
	for _, name := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} {
		t.Setenv(name, filepath.Join(dir, "cache"))
	}
	one, err := exchange()
	if err != nil {
		t.Fatal(err)
	}
	many, err := colours([]string{"red", "green"})
	if err != nil {
		t.Fatal(err)
	}
	meta, err := one.Metadata()
	if err := errors.Join(err,
		model.Save("one.safetensors", one), model.Save("many.safetensors", many),
		images.Save("a.png", images.New(40, 40), images.SaveOptions{}),
		os.Mkdir("photos", 0o777), images.Save("photos/a.png", images.New(40, 40), images.SaveOptions{}),
		os.Mkdir("empty", 0o777),
		os.WriteFile("junk", []byte("junk"), 0o666),
		os.WriteFile("bad.yaml", []byte("train: {steps: none}\n"), 0o666),
		checkpoint.Write("run/checkpoints", &checkpoint.Snapshot{Step: 1, Model: one.Weights, Metadata: meta, Optimizer: &weights.Set{}}, 1),
	); err != nil {
		t.Fatal(err)
	}
	const config = "johnson --set data.dir=photos --set style.image=a.png --set vgg.random=true --out new/run"
	before := tree(t)
	for code, lines := range map[int]string{
		2: `
			nothing
			--nothing
			init --output=
			init extra
			train
			train johnson more
			train --resume run johnson
			train --resume run --out new
			train ` + config + ` --set
			train ` + config + ` --set train.steps
			train ` + config + ` --set train.steps=none
			train ` + config + ` --set train.steps=0
			train ` + config + ` --set train.lr=.nan
			train ` + config + ` --set train.stepz=4
			train ` + config + ` --set =4
			train ` + config + ` --set train={steps:4,steps:5}
			train ` + config + ` --device tpu
			train ` + config + ` --device cuda:x
			train ` + config + ` --threads -1
			train ` + config + ` --threads 9999
			train ` + config + ` --threads two
			data check
			data check photos photos
			data check photos --threads 9999
			data prepare
			data prepare --photos photos
			data prepare --photos photos -o new/c --size 0
			data prepare --photos photos -o new/c --size big
			data prepare --photos photos -o new/c --scale-max .5
			data prepare --photos photos -o new/c --scale-max NaN
			data prepare --photos photos -o new/c --set data.size=64
			data prepare johnson --photos photos --set style.image=a.png -o new/c --size 33
			data prepare johnson --photos photos --set style.image=a.png -o new/c --set data.sise=64
			weights nothing
			weights import
			weights import junk --convention rgb-255
			weights check a b
			weights fetch a
			export
			export run
			export run -o new/a
			export run -o new/a.tflite
			export run -o new/a.onnx --format pt
			export run -o new/a.onnx --dtype bf16
			export run -o new/a.onnx --dtype int8
			export run -o new/a.onnx --opset 3
			export run -o new/a.onnx --opset eighteen
			export run -o new/a.onnx --size 0
			export run -o new/a.onnx --image-io bytes
			export run -o new/a.onnx --max-batch 2
			export run -o new/a.onnx --part middle
			export run -o new/a.onnx --part encoder
			export run -o new/a.onnx --part encoder --size 64
			export run -o new/a.onnx --style a.png
			export run -o new/a.onnx --style-size 64
			export run -o new/a.onnx --style-mix red
			export run -o new/a.onnx --convention rgb-1
			export run -o new/a.onnx --convention nothing
			export one.safetensors -o new/a.onnx --convention rgb-1
			export many.safetensors -o new/a.onnx --style-mix blue
			export many.safetensors -o new/a.onnx --style-mix red=x
			export many.safetensors -o new/a.onnx --style-mix red --style-mix green
			import one.safetensors
			import one.safetensors -o new/a.onnx
			import one.safetensors -o new/a.safetensors --convention nothing
			import one.safetensors -o new/a.safetensors --convention rgb-1
			inspect
			inspect one.safetensors --convention rgb-1
			inspect run --convention rgb-1
			optimize --content a.png --style a.png
			optimize --content a.png --style a.png -o new/a.gif
			optimize --content a.png --style a.png -o new/a
			optimize --content a.png --style a.png -o new/a.png --quality 0
			optimize --content a.png --style a.png -o new/a.png --device tpu
			optimize --content a.png --style a.png -o new/a.png --steps -1
			optimize --content a.png --style a.png -o new/a.png --set sise=3
			optimize --content a.png --style a.png -o new/a.png --style-weight NaN
			optimize --content a.png --style a.png -o new/a.png --style-blend x
			optimize --resume new/a.png --steps 3
			optimize --resume new/a.png -o b.png
			bench nothing
			bench stylize --size 0
			bench stylize --size 8x8x8
			bench stylize --runs 0
			bench stylize --runs 1.5
			bench stylize --precision half
			bench stylize --device tpu
			bench stylize --exact --precision bf16
			bench train --batch 0
			bench train --batch 5000
			bench train --size 31
			bench train --steps 0
			bench train --device tpu
			bench data --runs 0
			bench data --batch 0
			bench data --size 31
			bench data --scale-max 0
			bench data --set data.size=3
			bench roofline
			bench roofline paint
			bench roofline train --size 32x64
			bench roofline train --size 34
			bench roofline stylize --runs 0
			bench scaling
			bench scaling -o new/a.jpg
			bench scaling -o new/a.png --only colours
			bench scaling -o new/a.png --sides 0
			bench scaling -o new/a.png --sides=
			bench scaling -o new/a.png --crop 33
			bench scaling -o new/a.png --thread-counts 9999
			bench flicker
			bench flicker --model one.safetensors --size 8
			bench flicker --model one.safetensors --frames 1
			bench flicker --model one.safetensors --noise NaN
			bench flicker --model one.safetensors --stabilize 2
			demo --size 8 -o new
			demo --steps -1 -o new
			demo extra
			devices extra
			version extra`,
		1: `
			train johnson --set data.dir=photos --set style.image=a.png --set name=../x
			init -o junk
			init -o junk/a.yaml
			train nothing.yaml
			train bad.yaml
			train junk
			train --resume photos
			train --resume nothing
			train ` + config + ` --set data.dir=none
			train ` + config + ` --set data.dir=empty
			train ` + config + ` --set style.image=none.png
			train ` + config + ` --set vgg.random=false
			train ` + config + ` --set vgg.random=false --set vgg.weights=junk
			train ` + config + ` --out junk
			data check nothing
			data check junk
			data check empty
			data prepare --photos empty -o new/c
			data prepare --photos nothing -o new/c
			data prepare --photos photos -o junk
			weights check
			weights check junk
			weights import junk
			weights import nothing
			export nothing -o new/a.onnx
			export empty -o new/a.onnx
			export junk -o new/a.onnx
			export run -o run/checkpoints/a.onnx
			export run -o run/config.yaml --format onnx
			export one.safetensors -o one.safetensors
			export one.safetensors -o new/a.pth
			export run -o new/a.onnx --dtype int8 --calibrate empty
			import run -o new/a.safetensors
			import junk -o new/a.safetensors
			inspect nothing
			inspect empty
			optimize --content none.png --style a.png -o new/a.png
			optimize --content a.png --style a.png -o a.png --random-vgg
			optimize --content a.png --style a.png -o new/a.png
			optimize --content a.png --style a.png -o new/a.png --config nothing
			optimize --resume new/a.png
			bench stylize --model nothing --runs 1
			bench data --photos nothing --runs 1
			bench flicker --model nothing`,
	} {
		for line := range strings.Lines(strings.TrimSpace(lines)) {
			root := newRootCmd()
			root.SetArgs(strings.Fields(line))
			var out, complaint bytes.Buffer
			root.SetOut(&out)
			root.SetErr(&out)
			got := report(&complaint, root.ExecuteContext(t.Context()))
			if text := complaint.String(); got != code || !strings.HasPrefix(text, "error: ") || strings.Contains(text, "panic") {
				t.Errorf("%s: exit code %d, want %d\n%s", strings.TrimSpace(line), got, code, text)
			}
			if after := tree(t); after != before {
				t.Errorf("%s: changed the folder from\n%s\nto\n%s", strings.TrimSpace(line), before, after)
				before = after
			}
		}
	}
}

// tree lists the files and folders of the working directory.
func tree(t *testing.T) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(".", func(path string, _ os.DirEntry, err error) error {
		all = append(all, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

// A size that no memory holds is an error, and no panic.
func TestPixelsThatDoNotFit(t *testing.T) {
	p := &pixels{65536, 65536}
	if err := p.fitIn(96<<30, 2); err != nil {
		t.Error(err)
	}
	const want = "--size 65536 takes 96.0 GiB of memory for pictures alone, and 32.0 GiB are free: give a smaller one"
	if err := p.fitIn(32<<30, 2); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
