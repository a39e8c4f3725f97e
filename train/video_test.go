package train

import (
	"errors"
	"testing"
)

// A run that has been trained plainly goes on for video.
func TestPlainRunGoesOnForVideo(t *testing.T) {
	w := newWorld(t, 3)
	trainAll(t, w.config(t, "train.steps=2"), w.path("run"))
	r, err := Resume(t.Context(), w.path("run"), []string{"kind=video", "video.motion=2", "train.steps=4"}, Options{})
	check(t, err)
	check(t, errors.Join(r.Train(t.Context()), r.Close()))
	lines := readLines[Metrics](t, w.path("run/metrics.jsonl"))
	if len(lines) != 4 || lines[1].Temporal != 0 || !(lines[2].Temporal > 0) {
		t.Errorf("lines %+v", lines)
	}
}
