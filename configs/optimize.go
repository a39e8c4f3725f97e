package configs

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// A preset of a repainting is a YAML file of the folder optimize.
//
//go:embed optimize/*.yaml
var optimizePresetFiles embed.FS

// Optimize is the complete description of a picture that is repainted by
// optimisation. LoadOptimize returns it with every key filled in.
type Optimize struct {
	// Content is the path of the photo. Required.
	Content string `yaml:"content" json:"content"`
	// Styles are the paintings. At least one is required where loss.style has a
	// weight.
	Styles []OptimizeStyle `yaml:"styles" json:"styles"`
	// Start is what the optimisation begins with: "content", "noise", or the
	// path of a picture.
	Start string `yaml:"start" json:"start"`
	// Size is the long side of the result in pixels, 32 to 65536; 0 is the
	// content's own.
	Size int `yaml:"size" json:"size"`
	// Scales is how many sizes are gone through, each half of the next; 0
	// chooses as many as leave the first one at least 256 pixels.
	Scales int `yaml:"scales" json:"scales"`
	// Steps is how often the loss is evaluated at the first scale.
	Steps int `yaml:"steps" json:"steps"`
	// StyleScale is the long side of the styles beside the result's, at most
	// 16: below 1 for finer strokes, above for broader.
	StyleScale float64 `yaml:"style_scale" json:"style_scale"`
	VGG        VGG     `yaml:"vgg" json:"vgg"`
	// Loss weighs the terms.
	Loss      Loss      `yaml:"loss" json:"loss"`
	Optimizer Optimizer `yaml:"optimizer" json:"optimizer"`
	// KeepColors gives the result the content's colours.
	KeepColors bool `yaml:"keep_colors" json:"keep_colors"`
	// Seed draws the noise to start from.
	Seed uint64 `yaml:"seed" json:"seed"`
	// PictureEvery writes the picture as it stands every so many steps, and
	// CheckpointEvery the state to resume from; 0 is never.
	PictureEvery    int `yaml:"picture_every" json:"picture_every"`
	CheckpointEvery int `yaml:"checkpoint_every" json:"checkpoint_every"`
	// Precision, Threads, Device and Exact are those of Train.
	Precision string `yaml:"precision" json:"precision"`
	Threads   int    `yaml:"threads" json:"threads"`
	Device    string `yaml:"device" json:"device"`
	Exact     bool   `yaml:"exact" json:"exact"`
	// Deterministic has a GPU give the same bits in every run, which an exact
	// resume needs there.
	Deterministic bool `yaml:"deterministic" json:"deterministic"`
}

// OptimizeStyle is one of the paintings.
type OptimizeStyle struct {
	Path string `yaml:"path" json:"path"`
	// Weight is the share against the other styles of the same region, above 0;
	// 1 where the config does not say.
	Weight float64 `yaml:"weight" json:"weight"`
	// Mask is a picture that is white where the painting's style is taken from,
	// and Region one that is white where the content takes it on; empty is
	// everywhere.
	Mask   string `yaml:"mask" json:"mask"`
	Region string `yaml:"region" json:"region"`
}

// Optimizer is what changes the pixels.
type Optimizer struct {
	// Name is "lbfgs" or "adam".
	Name string `yaml:"name" json:"name"`
	// History is the number of steps that L-BFGS remembers, 1 to 1000.
	History int `yaml:"history" json:"history"`
	// LR is Adam's learning rate, in brightness of 0-255.
	LR float64 `yaml:"lr" json:"lr"`
}

// DefaultOptimize returns the value of every key that a config leaves out: the
// losses are those of jcjohnson/neural-style. It is not valid by itself:
// content and styles have no default.
func DefaultOptimize() *Optimize {
	return &Optimize{
		Start:      "content",
		Size:       512,
		Steps:      500,
		StyleScale: 1,
		VGG:        VGG{Seed: 1, Convention: "auto", Pooling: "max"},
		Loss: Loss{
			Content:        Term{Weight: 5, Layers: Layers{"relu4_2": 1}},
			Style:          Term{Weight: 100, Layers: Layers{"relu1_1": 1, "relu2_1": 1, "relu3_1": 1, "relu4_1": 1, "relu5_1": 1}},
			TotalVariation: 5e-4,
			Convention:     "caffe",
		},
		Optimizer:       Optimizer{Name: "lbfgs", History: 20, LR: 2},
		Seed:            1,
		CheckpointEvery: 100,
		Precision:       "float32",
		Device:          "auto",
	}
}

// OptimizePresets returns the built-in recipes of repainting, sorted by name.
func OptimizePresets() []Preset { return presetsIn(optimizePresetFiles, "optimize") }

// LoadOptimize reads a config file, or none where path is empty, and applies
// overrides to it, as Load does. Where no such file exists but path is the name
// of a preset, "NAME.yaml" or "configs/optimize/NAME.yaml", that is read.
func LoadOptimize(path string, sets []string) (*Optimize, error) {
	var b []byte
	if path != "" {
		var err error
		b, err = readFile(path)
		if errors.Is(err, os.ErrNotExist) || isDir(path) {
			var names []string
			for _, p := range OptimizePresets() {
				names = append(names, p.Name)
			}
			if name := strings.TrimSuffix(filepath.Base(path), ".yaml"); slices.Contains(names, name) && slices.Contains([]string{".", "configs/optimize"}, filepath.ToSlash(filepath.Dir(path))) {
				path = name + ".yaml"
				b, err = optimizePresetFiles.ReadFile("optimize/" + path)
			} else if errors.Is(err, os.ErrNotExist) {
				err = fmt.Errorf("%w, and no preset has that name (presets: %s)", err, strings.Join(names, ", "))
			}
		}
		if err != nil {
			return nil, fmt.Errorf("read config: %w", err)
		}
	}
	return ParseOptimize(path, b, sets)
}

// ParseOptimize is LoadOptimize of the content of a file of that name.
func ParseOptimize(name string, content []byte, sets []string) (*Optimize, error) {
	c := DefaultOptimize()
	if err := read(c, name, content, sets); err != nil {
		return nil, err
	}
	return c, nil
}

// OptimizeKeys returns every key of an Optimize, as Keys does of a Config.
func OptimizeKeys() []string { return keysOf(reflect.ValueOf(DefaultOptimize()).Elem()) }

// Value returns the value of a key, nil for none that there is.
func (c *Optimize) Value(key string) (value any) {
	walk(reflect.ValueOf(c).Elem(), "", func(k string, v reflect.Value) {
		if k == key {
			value = v.Interface()
		}
	})
	return value
}

// YAML returns the config with every key written out.
func (c *Optimize) YAML() ([]byte, error) { return encode(c) }

func (c *Optimize) exclude(d *decoder) { c.VGG.exclude(d.only) }

func (c *Optimize) check(v *checker) {
	v.texts(reflect.ValueOf(c).Elem())
	if c.Content == "" {
		v.fail("content", "is missing: name the photo to repaint")
	}
	if len(c.Styles) == 0 && c.Loss.Style.Weight > 0 {
		if _, ok := v.at("styles"); ok {
			v.fail("styles", "is missing: name the painting whose style the photo takes on")
		}
	}
	for i, s := range c.Styles {
		key := fmt.Sprintf("styles[%d]", i)
		if s.Path == "" {
			v.fail(key+".path", "is missing: name an image file")
		}
		for _, text := range []struct{ key, value string }{{".path", s.Path}, {".mask", s.Mask}, {".region", s.Region}} {
			v.text(key+text.key, text.value)
		}
		v.positive(key+".weight", s.Weight)
	}
	if c.Start == "" {
		v.fail("start", "must be content, noise or the path of a picture, got nothing")
	}
	if c.Size != 0 {
		v.between("size", c.Size, minSize, maxSide)
	}
	v.atLeast("scales", c.Scales, 0)
	v.atLeast("steps", c.Steps, 0)
	v.number("style_scale", c.StyleScale, c.StyleScale > 0 && c.StyleScale <= maxScale, fmt.Sprintf("above 0 and at most %d", maxScale))
	v.vgg(c.VGG)
	v.loss(c.Loss)
	v.oneOf("optimizer.name", c.Optimizer.Name, "lbfgs", "adam")
	v.between("optimizer.history", c.Optimizer.History, 1, maxHistory)
	v.positive("optimizer.lr", c.Optimizer.LR)
	v.atLeast("picture_every", c.PictureEvery, 0)
	v.atLeast("checkpoint_every", c.CheckpointEvery, 0)
	v.arithmetic("", c.Precision, c.Exact, c.Threads, c.Device)
}
