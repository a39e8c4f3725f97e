package main

import (
	"os"
	"testing"

	"stylenet/internal/model"
)

// A model is read once to be checked, which is all where it is the only one; a
// mix makes a brush of its own.
func TestBrushesReadOnce(t *testing.T) {
	t.Chdir(t.TempDir())
	one, err := exchange()
	if err != nil {
		t.Fatal(err)
	}
	many, err := colours([]string{"red", "blue"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		models []string
		mixes  []string
		keep   bool
		opened int // brushes
		kept   bool
	}{
		{"one", []string{"one.safetensors"}, nil, false, 1, true},
		{"two", []string{"one.safetensors", "many.safetensors"}, []string{"red"}, false, 2, false},
		{"mixes", []string{"one.safetensors", "many.safetensors"}, []string{"red", "blue"}, true, 3, true},
	} {
		for name, m := range map[string]*model.Model{"one.safetensors": one, "many.safetensors": many} {
			if err := model.Save(name, m); err != nil {
				t.Fatal(err)
			}
		}
		cmd := newStylizeCmd()
		opened := 0
		all, err := openBrushes(cmd, c.models, mixing{several: true, mixes: c.mixes}, c.keep, func(path string, m *model.Model, mix string) (loaded, error) {
			opened++
			return mixBrush(cmd, path, m, mix)
		})
		if err != nil || len(all) != c.opened || opened != c.opened {
			t.Fatalf("%s: %d brushes, %d opened, %v", c.name, len(all), opened, err)
		}
		for _, name := range c.models {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		for _, b := range all {
			if _, err := b.load(cmd); (err == nil) != c.kept {
				t.Errorf("%s: %s is kept: %v, want %v", c.name, b.name, err == nil, c.kept)
			}
			if _, err := b.load(cmd); err == nil {
				t.Errorf("%s: %s is held after it was handed out", c.name, b.name)
			}
		}
	}
}
