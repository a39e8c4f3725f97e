package configs

import (
	"embed"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// A preset is a YAML file of this folder. Its first line is a comment: the
// summary.
//
//go:embed *.yaml
var presetFiles embed.FS

// Preset is a recipe built into the binary.
type Preset struct {
	// Name is what LoadPreset takes, such as "johnson".
	Name string
	// Summary is one line.
	Summary string
}

// Presets returns the built-in recipes, sorted by name.
func Presets() []Preset {
	var presets []Preset
	for _, name := range presetNames() {
		b, err := presetFiles.ReadFile(name + ".yaml")
		if err != nil {
			panic(err) // the name came from the same embedded folder
		}
		line, _, _ := strings.Cut(string(b), "\n")
		presets = append(presets, Preset{name, strings.TrimSpace(strings.TrimPrefix(line, "#"))})
	}
	return presets
}

// LoadPreset returns a built-in recipe with overrides, as Load does for a file.
// Presets name "photos" as data.dir and "style.jpg" as style.image: override
// both.
func LoadPreset(name string, sets []string) (*Config, error) {
	names := presetNames()
	if !slices.Contains(names, name) {
		return nil, fmt.Errorf("no preset is called %s%s (presets: %s)", printable(name), didYouMean(nearest(name, names)), strings.Join(names, ", "))
	}
	file := name + ".yaml"
	b, err := presetFiles.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read preset %s: %w", name, err)
	}
	return load(file, b, sets)
}

func presetNames() []string {
	entries, err := presetFiles.ReadDir(".")
	if err != nil {
		panic(err) // the root of an embedded folder is always there
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// presetName returns the preset that a path means: NAME, NAME.yaml or
// configs/NAME.yaml. Any other folder is the user's own.
func presetName(path string) (string, bool) {
	dir, base := filepath.Split(filepath.Clean(path))
	name := strings.TrimSuffix(base, ".yaml")
	ok := dir == "" || filepath.Clean(dir) == "configs" && name != base
	return name, ok && slices.Contains(presetNames(), name)
}
