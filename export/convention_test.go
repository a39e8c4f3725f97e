package export_test

import (
	"strings"
	"testing"

	"stylenet/export"
)

func TestLoadAs(t *testing.T) {
	const path = "../internal/model/testdata/example.pth"
	recognised, err := export.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for convention, same := range map[string]bool{"": true, "auto": true, "rgb-255": true, "rgb-1": false} {
		m, err := export.LoadAs(path, convention)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Weights.Get("conv1.conv2d.weight").Data[0] == recognised.Weights.Get("conv1.conv2d.weight").Data[0]; got != same {
			t.Errorf("%q: the weights are the same: %v", convention, got)
		}
	}
	if _, err := export.LoadAs(path, "rgb"); err == nil || !strings.Contains(err.Error(), `convention "rgb"`) {
		t.Errorf("%v", err)
	}
	if _, err := export.OpenWith(path, export.Options{Convention: "rgb"}); err == nil || !strings.Contains(err.Error(), `convention "rgb"`) {
		t.Errorf("%v", err)
	}
}

func TestIsModel(t *testing.T) {
	for path, want := range map[string]bool{
		"../internal/model/testdata/lengstrom_v2": true, "../internal/model/testdata/lengstrom_dump": true,
		"../internal/model/testdata/example.pth": true, "missing": true, "../internal": false,
	} {
		if export.IsModel(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
}
