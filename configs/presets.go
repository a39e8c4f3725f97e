package configs

import (
	"embed"
	"fmt"
	"path"
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
func Presets() []Preset { return presetsIn(presetFiles, ".") }

func presetsIn(files embed.FS, dir string) []Preset {
	entries, err := files.ReadDir(dir)
	if err != nil {
		panic(err) // an embedded folder is always there
	}
	var presets []Preset
	for _, e := range entries {
		b, err := files.ReadFile(path.Join(dir, e.Name()))
		if err != nil {
			panic(err) // the name came from the same embedded folder
		}
		line, _, _ := strings.Cut(string(b), "\n")
		presets = append(presets, Preset{strings.TrimSuffix(e.Name(), ".yaml"), strings.TrimSpace(strings.TrimPrefix(line, "#"))})
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
	var names []string
	for _, p := range Presets() {
		names = append(names, p.Name)
	}
	return names
}

// presetName returns the preset that a path means: NAME, NAME.yaml or
// configs/NAME.yaml. Any other folder is the user's own.
func presetName(file string) (string, bool) {
	dir, base := filepath.Split(filepath.Clean(file))
	name := strings.TrimSuffix(base, ".yaml")
	ok := dir == "" || filepath.Clean(dir) == "configs" && name != base
	return name, ok && slices.Contains(presetNames(), name)
}
