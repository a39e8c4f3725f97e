package main

import (
	"encoding/json"
	"image"
	"image/png"
	"io"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"stylenet/internal/atomicfile"
	"stylenet/internal/formats/safetensors"
	"stylenet/internal/networks"
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
