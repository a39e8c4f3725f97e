package model

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"stylenet/internal/networks"
)

func anyStyle(t *testing.T) *Model {
	t.Helper()
	design := networks.AdaIN{Encoder: networks.Caffe, Layer: "relu2_1"}
	net, err := design.Build()
	if err != nil {
		t.Fatal(err)
	}
	set, err := net.Init(5)
	if err != nil {
		t.Fatal(err)
	}
	return &Model{Network: design, Weights: set}
}

func flat(mean, deviation float32) Style {
	s := Style{make([]float32, 128), make([]float32, 128)}
	for c := range s.Mean {
		s.Mean[c], s.Deviation[c] = mean+float32(c), deviation
	}
	return s
}

func TestAnyStyleSaveOpen(t *testing.T) {
	m := anyStyle(t)
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := Save(path, m); err != nil {
		t.Fatal(err)
	}
	got, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if design, ok := got.AnyStyle(); !ok || design != m.Network || !reflect.DeepEqual(got.Weights, m.Weights) {
		t.Errorf("opened %v", got.Network)
	}
}

func TestStyled(t *testing.T) {
	m := anyStyle(t)
	styled, err := m.Styled(flat(2, 3), .5)
	if err != nil {
		t.Fatal(err)
	}
	if err := styled.Check(); err != nil {
		t.Error(err)
	}
	if w := styled.Weights.Get("adain.weight").Data; w[7] != 1.5 {
		t.Errorf("the scale of channel 7 is %v, want half of 3", w[7])
	}
	if b := styled.Weights.Get("adain.bias").Data; b[7] != 4.5 {
		t.Errorf("the shift of channel 7 is %v, want half of 9", b[7])
	}
	if _, ok := styled.AnyStyle(); ok {
		t.Error("a styled model takes a style")
	}
	// It is a model as any other: it can be saved.
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := Save(path, styled); err != nil {
		t.Fatal(err)
	}
	if got, err := Open(path); err != nil || !reflect.DeepEqual(got.Network, styled.Network) {
		t.Errorf("opened %v, %v", got, err)
	}
	for want, f := range map[string]func() error{
		"takes none from a picture": func() error { _, err := styled.Styled(flat(0, 1), 1); return err },
		"2 channels":                func() error { _, err := m.Styled(Style{make([]float32, 2), make([]float32, 2)}, 1); return err },
		"strength of 2":             func() error { _, err := m.Styled(flat(0, 1), 2); return err },
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestMixStyles(t *testing.T) {
	mix, err := MixStyles([]Style{flat(0, 2), flat(8, 6)}, []float64{3, 1})
	if err != nil {
		t.Fatal(err)
	}
	if mix.Mean[10] != 12 || mix.Deviation[10] != 3 {
		t.Errorf("mean %v and deviation %v, want 12 and 3", mix.Mean[10], mix.Deviation[10])
	}
	for want, weights := range map[string][]float64{"-1": {2, -1}, "above 0": {0, 0}, "3 weights": {1, 1, 1}} {
		if _, err := MixStyles([]Style{flat(0, 1), flat(1, 1)}, weights); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", weights, err, want)
		}
	}
}
