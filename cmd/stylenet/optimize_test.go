package main

import (
	"bytes"
	"encoding/json"
	"image"
	"image/png"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"stylenet/configs"
	"stylenet/internal/atomicfile"
	"stylenet/internal/formats/safetensors"
	"stylenet/internal/networks"
	"stylenet/internal/optimize"
	"stylenet/internal/scenes"
)

func writeVGG(ts *testscript.TestScript, _ bool, args []string) {
	net, err := networks.VGG19(args[1], networks.Caffe, false)
	ts.Check(err)
	set, err := net.Init(1)
	ts.Check(err)
	ts.Check(atomicfile.Write(ts.MkAbs(args[0]), 0o666, func(w io.Writer) error {
		return safetensors.Encode(w, set, nil, safetensors.F32)
	}))
}

func writeScene(ts *testscript.TestScript, _ bool, args []string) {
	w, err := strconv.Atoi(args[2])
	ts.Check(err)
	h, err := strconv.Atoi(args[3])
	ts.Check(err)
	draw := map[string]func(uint64, int, int) *image.RGBA{"photo": scenes.Photo, "painting": scenes.Painting}[args[1]]
	ts.Check(writeImage(ts.MkAbs(args[0]), draw(1, w, h), png.Encode))
}

// A size that does not fit is told, with what would.
func TestOptimizeTellsMemory(t *testing.T) {
	for _, c := range []struct {
		precision string
		history   int
		optimizer string
		free      int64
		known     bool
		want      string
	}{
		{"float32", 8, optimize.LBFGS, 11 << 30, true, ""},
		{"float32", 8, optimize.LBFGS, 1 << 30, false, ""},
		{"float32", 8, optimize.LBFGS, 8 << 30, true, "warning: 2048×2048 pixels take about 10.5 GiB of memory, and 8.0 GiB are free; --precision bf16, "},
		{"bf16", 8, optimize.LBFGS, 8 << 30, true, ""},
		{"bf16", 100, optimize.LBFGS, 8 << 30, true, "take about 14.6 GiB"},
		{"bf16", 100, optimize.Adam, 8 << 30, true, ""},
	} {
		cmd := newOptimizeCmd()
		var b bytes.Buffer
		cmd.SetErr(&b)
		w := &repaint{cmd: cmd, cfg: &configs.Optimize{Precision: c.precision}}
		w.options.Optimizer, w.options.History = c.optimizer, c.history
		w.options.Scales = []optimize.Scale{{W: 9, H: 9}, {W: 2048, H: 2048}}
		if err := w.checkMemory(c.free, c.known); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		if got := b.String(); !strings.Contains(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// What takes many times the free memory is refused, and leaves nothing behind.
func TestOptimizeRefusesMemory(t *testing.T) {
	w := &repaint{cmd: newOptimizeCmd(), cfg: &configs.Optimize{Precision: "float32"}}
	w.options.Optimizer = optimize.Adam
	w.options.Scales = []optimize.Scale{{W: 65536, H: 49152}}
	if err := w.checkMemory(1<<40, true); err == nil || !strings.HasPrefix(err.Error(), "65536×49152 pixels take about 7050.6 GiB of memory, and 1024.0 GiB are free") {
		t.Errorf("on a large machine: %v", err)
	}
	if err := w.checkMemory(0, false); err != nil {
		t.Errorf("where nobody knows: %v", err)
	}
}

func halved(ts *testscript.TestScript, _ bool, args []string) {
	var values []float64
	for _, line := range strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n") {
		var fields map[string]float64
		ts.Check(json.Unmarshal([]byte(line), &fields))
		values = append(values, fields[args[0]])
	}
	if first, last := values[0], values[len(values)-1]; len(values) < 2 || !(last < first/2) {
		ts.Fatalf("%s goes from %g to %g", args[0], first, last)
	}
}
