package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stylenet/internal/devices"
)

// benchJSON runs a benchmark and decodes what it prints.
func benchJSON(t *testing.T, to any, words ...string) {
	t.Helper()
	if !slices.Contains(devices.Names(), "onednn") {
		t.Skip("VGG-19 in plain Go takes too long")
	}
	cmd := newRootCmd()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs(append(words, "--json"))
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), to); err != nil {
		t.Fatal(err)
	}
}

func TestRooflineOfTraining(t *testing.T) {
	var r rooflineReport
	benchJSON(t, &r, "bench", "roofline", "train", "--size", "32", "--batch", "1", "--runs", "1")
	if r.Work != "train, batch 1, 32²" || r.PeakFLOPS < 1e8 || len(r.Bandwidths) == 0 {
		t.Errorf("%s: %v FLOP/s, %v", r.Work, r.PeakFLOPS, r.Bandwidths)
	}
	// The network's ten residual convolutions of 128 channels at 8×8.
	i := slices.IndexFunc(r.Stages, func(s rooflineStage) bool { return s.Name == "conv backward weights 3×3, 128 to 128×8×8" })
	if i < 0 {
		t.Fatal("no weight gradients of residual blocks")
	}
	if s := r.Stages[i]; s.Kernels != 10 || s.FLOPs != 10*2*128*128*9*8*8 || s.Seconds <= 0 || s.Ceiling <= 0 || s.Bound == "" {
		t.Errorf("%+v", s)
	}
	for _, kind := range []string{"gram backward ", "adam", "norm backward ", "conv backward data "} {
		if !slices.ContainsFunc(r.Stages, func(s rooflineStage) bool { return strings.HasPrefix(s.Name, kind) }) {
			t.Errorf("no stage %q", kind)
		}
	}
}

func TestScalingOfBatch(t *testing.T) {
	var panels []panel
	benchJSON(t, &panels, "bench", "scaling", "-o", filepath.Join(t.TempDir(), "plots.png"), "--only", "batch", "--batches", "1,2", "--crop", "32", "--runs", "1")
	if len(panels) != 2 || len(panels[0].Series) == 0 {
		t.Fatalf("%+v", panels)
	}
	for _, p := range panels {
		for _, s := range p.Series {
			if !slices.Equal(s.X, []float64{1, 2}) || len(s.Y) != 2 || slices.Min(s.Y) <= 0 {
				t.Errorf("%s: %+v", p.Title, s)
			}
		}
	}
}
