// Package configs owns the YAML description of a training run: its schema,
// its defaults, strict reading, --set overrides, validation and the recipes
// that are built into the binary.
//
// A config is strict: an unknown key, a key set twice, a value of the wrong
// type and a value out of range are all faults, and every fault is reported at
// once with its file, line and key. docs/config.md lists every key.
//
// The package refuses to touch anything that a config names: it checks values,
// never the file system, so a config can be read, shown and tested on a
// machine that has none of its photos. Relative paths stay as written and mean
// the working directory of the process, not the folder of the config file.
package configs

import (
	"bytes"
	_ "embed"
	"fmt"
	"math"
	"reflect"
	"slices"

	"gopkg.in/yaml.v3"
)

// Config is the complete description of a training run. Load and LoadPreset
// return it with every key filled in.
type Config struct {
	// Name labels the run and the model that it makes.
	Name string `yaml:"name" json:"name"`
	// Kind is the kind of training: "johnson", a network for a style,
	// "multistyle", one for many, "video", one that does not flicker, or "adain",
	// one that takes its style from any picture.
	Kind    string  `yaml:"kind" json:"kind"`
	Data    Data    `yaml:"data" json:"data"`
	Style   Style   `yaml:"style" json:"style"`
	VGG     VGG     `yaml:"vgg" json:"vgg"`
	Network Network `yaml:"network" json:"network"`
	Loss    Loss    `yaml:"loss" json:"loss"`
	Video   Video   `yaml:"video" json:"video"`
	Train   Train   `yaml:"train" json:"train"`
}

// Data says which photos the network learns from and how they are cut.
type Data struct {
	// Dir is the folder of photos, nested or flat. Required.
	Dir string `yaml:"dir" json:"dir"`
	// Size is the side of the square crops in pixels, 32 to 65536 and a
	// multiple of the network's stride.
	Size int `yaml:"size" json:"size"`
	// Workers is the number of goroutines that decode, at most 1024; 0 chooses.
	Workers int `yaml:"workers" json:"workers"`
	// ScaleMin and ScaleMax bound a random zoom, 1 <= ScaleMin <= ScaleMax:
	// before the crop a photo's short side is scaled to Size times the zoom.
	ScaleMin float64 `yaml:"scale_min" json:"scale_min"`
	ScaleMax float64 `yaml:"scale_max" json:"scale_max"`
	// Flip mirrors half of the crops, left to right.
	Flip bool `yaml:"flip" json:"flip"`
	// Holdout is a folder of photos to evaluate on; empty for no evaluation.
	Holdout string `yaml:"holdout" json:"holdout"`
	// Cache is a photo cache of Dir for this Size and ScaleMax, made by
	// "stylenet data prepare"; empty to decode photos as they are needed.
	Cache string `yaml:"cache" json:"cache"`
}

// Style says which painting's hand is learned: Image, or Images, never both. Of
// Images, kinds "johnson" and "video" learn the average, and kind "multistyle" each.
type Style struct {
	// Image is the path of a single style image.
	Image string `yaml:"image" json:"image"`
	// Images are several style images with weights.
	Images []StyleImage `yaml:"images" json:"images"`
	// Dir is the folder of the styles that kind "adain" learns from, nested or
	// flat. Their crops are cut as the photos' are.
	Dir string `yaml:"dir" json:"dir,omitempty"`
	// Holdout is a folder of pictures, kept out of training, in whose styles kind
	// "adain" previews and evaluates; empty for the first ones of Dir.
	Holdout string `yaml:"holdout" json:"holdout,omitempty"`
	// Size is the long side of the style image in pixels, at least 32.
	Size int `yaml:"size" json:"size"`
	// Scale multiplies Size: below 1 for finer strokes, above for broader.
	Scale float64 `yaml:"scale" json:"scale"`
}

// StyleImage is one of several style images.
type StyleImage struct {
	// Path is the image file.
	Path string `yaml:"path" json:"path"`
	// Weight is the image's share against the other images, above 0; 1 where
	// the config does not say.
	Weight float64 `yaml:"weight" json:"weight"`
	// Name is the style's, for kind "multistyle" alone: up to 64 letters, digits,
	// "-" and "_". Images of one name make a style together. Empty means the name
	// of the file without its extension.
	Name string `yaml:"name" json:"name,omitempty"`
}

// Targets returns the style images, given either way, with weights that add up
// to 1.
func (s Style) Targets() []StyleImage {
	if len(s.Images) == 0 {
		return []StyleImage{{Path: s.Image, Weight: 1}}
	}
	var sum float64
	for _, im := range s.Images {
		sum += im.Weight
	}
	targets := slices.Clone(s.Images)
	for i := range targets {
		targets[i].Weight /= sum
	}
	return targets
}

// LongSide returns the long side in pixels to which style images are resized:
// Size times Scale, rounded.
func (s Style) LongSide() int { return int(math.Round(float64(s.Size) * s.Scale)) }

// VGG says which VGG-19 measures content and style.
type VGG struct {
	// Weights is a weights file. Empty means the file that STYLENET_VGG19
	// names, or the fetched one.
	Weights string `yaml:"weights" json:"weights"`
	// Random uses a seeded, layer-normalised random VGG-19 (He, Wang, Hopcroft
	// 2016) instead of a weights file.
	Random bool `yaml:"random" json:"random"`
	// Seed seeds the random VGG-19.
	Seed uint64 `yaml:"seed" json:"seed"`
	// Convention says what input the weights expect: "auto" believes the
	// file, "caffe" is RGB 0-255 minus 123.68, 116.779, 103.939, "caffe-bgr"
	// the same with the channels in BGR order, "torchvision" is RGB 0-1 minus
	// .485, .456, .406 over .229, .224, .225.
	Convention string `yaml:"convention" json:"convention"`
	// Pooling is "max" or "avg".
	Pooling string `yaml:"pooling" json:"pooling"`
}

// Network describes the style network. Its input is RGB 0-255.
type Network struct {
	// Architecture is a comma-separated list: cKsS-N (KxK convolution, stride
	// S, N filters), dN (3x3, stride 2), RN (residual block), uN (upsampling
	// by 2 to N filters), U2 (nearest upsampling by 2).
	Architecture string `yaml:"architecture" json:"architecture"`
	// Padding is "reflect", "reflect-start" or "zero".
	Padding string `yaml:"padding" json:"padding"`
	// Norm is "instance" or "batch".
	Norm string `yaml:"norm" json:"norm"`
	// Upsample is what uN means: "nearest" (then a 3x3 convolution) or
	// "transposed" (a transposed 3x3 convolution of stride 2).
	Upsample string `yaml:"upsample" json:"upsample"`
	// Output is "linear", or "tanh" for OutputScale*tanh(x) + OutputOffset.
	// The result is RGB 0-255, before clamping.
	Output       string  `yaml:"output" json:"output"`
	OutputScale  float64 `yaml:"output_scale" json:"output_scale"`
	OutputOffset float64 `yaml:"output_offset" json:"output_offset"`
	// Encoder is the layer of VGG-19 at which the encoder of kind "adain" ends:
	// "relu2_1", "relu3_1" or "relu4_1".
	Encoder string `yaml:"encoder" json:"encoder,omitempty"`
	// From is a model file or a run of kind "multistyle" that styles are added to:
	// their scales and shifts alone are trained, and the keys above are its own.
	From string `yaml:"from" json:"from,omitempty"`
}

// Loss weighs the perceptual losses of Johnson et al. 2016. Every term is a
// mean over elements: content over the features, style over the Gram matrix
// F·Fᵀ/(C·H·W); total variation is a sum of squared differences.
type Loss struct {
	Content Term `yaml:"content" json:"content"`
	Style   Term `yaml:"style" json:"style"`
	// TotalVariation multiplies the sum, over the batch, of the squared
	// differences between neighbouring pixels (RGB 0-255); 0 turns it off.
	TotalVariation float64 `yaml:"total_variation" json:"total_variation"`
	// Convention is "caffe" or "torchvision", whichever weights of VGG-19 the
	// weights of content and style are meant for; with the other ones the terms
	// are made as large. Kind adain, which balances features, has none.
	Convention string `yaml:"convention" json:"convention"`
}

// Video says how a network for video is trained: on two views of each photo, whose
// results are to be the same where they show the same.
type Video struct {
	// Weight multiplies the temporal loss: the mean over all values (RGB 0-255) of
	// the squared difference of a result and the other view's, moved to it.
	Weight float64 `yaml:"weight" json:"weight"`
	// Motion is the farthest that a view is shifted in pixels, at most an eighth
	// of Data.Size.
	Motion float64 `yaml:"motion" json:"motion"`
	// Noise is the standard deviation of the noise on the views (RGB 0-255).
	Noise float64 `yaml:"noise" json:"noise"`
	// Brightness is the largest share by which one view is brighter than the
	// other, below 1.
	Brightness float64 `yaml:"brightness" json:"brightness"`
	// Clips is a folder of clips, or of folders of frames, whose consecutive
	// frames are half of the pairs; empty for photos alone.
	Clips string `yaml:"clips" json:"clips"`
}

// Term is the content loss or the style loss: Weight times the sum over layers
// of the layer's weight times its loss.
type Term struct {
	Weight float64 `yaml:"weight" json:"weight"`
	Layers Layers  `yaml:"layers" json:"layers"`
}

// Layers maps layers of VGG-19, relu1_1 to relu5_4, to weights of at least 0.
type Layers map[string]float64

// Names returns the layers whose weight is above 0, from the shallowest to the
// deepest.
func (l Layers) Names() []string {
	var names []string
	for name, w := range l {
		if w > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names) // reluB_I has one digit each: the alphabet is the depth
	return names
}

// Train describes the optimisation: Steps or Epochs, never both.
type Train struct {
	// Steps is the number of optimiser steps; 0 where Epochs is set.
	Steps int `yaml:"steps" json:"steps"`
	// Epochs is the number of passes over the photos; 0 where Steps is set.
	Epochs int `yaml:"epochs" json:"epochs"`
	// Batch is the number of photos in a step, 1 to 4096.
	Batch int `yaml:"batch" json:"batch"`
	// LR is Adam's learning rate, after the warm-up.
	LR float64 `yaml:"lr" json:"lr"`
	// Schedule is "constant", "cosine" (down to 0 at the last step), "step"
	// (times DecayFactor every DecayEvery steps) or "inverse" (over 1 + Decay
	// times the steps done).
	Schedule    string  `yaml:"schedule" json:"schedule"`
	DecayEvery  int     `yaml:"decay_every" json:"decay_every"`
	DecayFactor float64 `yaml:"decay_factor" json:"decay_factor"`
	Decay       float64 `yaml:"decay" json:"decay"`
	// Warmup is the number of steps over which the rate rises from 0 to LR.
	Warmup int `yaml:"warmup" json:"warmup"`
	// Beta1, Beta2 and Eps are Adam's (Kingma, Ba 2015).
	Beta1 float64 `yaml:"beta1" json:"beta1"`
	Beta2 float64 `yaml:"beta2" json:"beta2"`
	Eps   float64 `yaml:"eps" json:"eps"`
	// ClipNorm bounds the norm of the whole gradient; 0 is off.
	ClipNorm float64 `yaml:"clip_norm" json:"clip_norm"`
	// Seed fixes initial weights, order of photos and crops.
	Seed uint64 `yaml:"seed" json:"seed"`
	// CheckpointEvery is in steps; 0 keeps only the checkpoint of the end, or
	// of a stop.
	CheckpointEvery int `yaml:"checkpoint_every" json:"checkpoint_every"`
	// KeepCheckpoints is how many of the newest are kept, at least 1.
	KeepCheckpoints int `yaml:"keep_checkpoints" json:"keep_checkpoints"`
	// PreviewEvery is in steps; 0 makes no previews.
	PreviewEvery int `yaml:"preview_every" json:"preview_every"`
	// PreviewImage is the photo of the previews; empty means the first one.
	PreviewImage string `yaml:"preview_image" json:"preview_image"`
	// Precision is "float32", or "bf16": feature maps of more than 4 channels
	// are held in half the bits and multiplied faster; weights, their
	// gradients, statistics and losses stay float32.
	Precision string `yaml:"precision" json:"precision"`
	// Threads is the number of cores the kernels use, at most 1024; 0 means all.
	Threads int `yaml:"threads" json:"threads"`
	// Device is "auto", "cpu", "onednn", "reference", or "cuda:N" for an NVIDIA
	// GPU, counted from 0; "cuda" is the first.
	Device string `yaml:"device" json:"device"`
	// Exact forbids approximate kernels, such as Winograd convolution, and bf16.
	Exact bool `yaml:"exact" json:"exact"`
	// Deterministic has a GPU give the same bits in every run. The processor does
	// anyway, for a number of threads.
	Deterministic bool `yaml:"deterministic" json:"deterministic"`
}

// Default returns the value of every key that a config leaves out. It is not
// valid by itself: data.dir and style.image have no default.
func Default() *Config { return defaultOf(johnson) }

// defaultOf is Default for a kind of training.
func defaultOf(kind string) *Config {
	c := &Config{
		Name:  "style",
		Kind:  kind,
		Data:  Data{Size: 256, ScaleMin: 1, ScaleMax: 1},
		Style: Style{Size: 256, Scale: 1},
		VGG:   VGG{Seed: 1, Convention: "auto", Pooling: "max"},
		Network: Network{
			Architecture: "c9s1-32,d64,d128,R128,R128,R128,R128,R128,u64,u32,c9s1-3",
			Padding:      "reflect",
			Norm:         "instance",
			Upsample:     "nearest",
			Output:       "linear",
			OutputScale:  150,
			OutputOffset: 127.5,
			Encoder:      "relu4_1",
		},
		Loss: Loss{
			Content:        Term{Weight: 1, Layers: Layers{"relu3_3": 1}},
			Style:          Term{Weight: 1, Layers: Layers{"relu1_2": 5, "relu2_2": 5, "relu3_3": 5, "relu4_3": 5}},
			TotalVariation: 1e-6,
			Convention:     "caffe",
		},
		Video: Video{Weight: 1000, Motion: 8, Noise: 3, Brightness: 0.05},
		Train: Train{
			Steps:           40000,
			Batch:           4,
			LR:              1e-3,
			Schedule:        "constant",
			DecayEvery:      10000,
			DecayFactor:     0.5,
			Decay:           5e-5,
			Beta1:           0.9,
			Beta2:           0.999,
			Eps:             1e-8,
			Seed:            1,
			CheckpointEvery: 1000,
			KeepCheckpoints: 3,
			PreviewEvery:    500,
			Precision:       "float32",
			Device:          "auto",
		},
	}
	if kind == adain { // as the paper trains it
		c.Loss = Loss{
			Content:    Term{Weight: 1, Layers: Layers{"relu4_1": 1}},
			Style:      Term{Weight: 10, Layers: Layers{"relu1_1": 1, "relu2_1": 1, "relu3_1": 1, "relu4_1": 1}},
			Convention: "caffe",
		}
		c.Train.Steps, c.Train.Batch, c.Train.LR, c.Train.Schedule = 160000, 8, 1e-4, "inverse"
	}
	return c
}

// Keys returns every key that a config file may set, dotted, in the order of
// the schema. The keys of a map or list are not among them.
func Keys() []string { return keysOf(reflect.ValueOf(Default()).Elem()) }

func keysOf(root reflect.Value) []string {
	var keys []string
	walk(root, "", func(key string, _ reflect.Value) { keys = append(keys, key) })
	return keys
}

// walk calls f on every key below v that is not a section.
func walk(v reflect.Value, path string, f func(key string, v reflect.Value)) {
	for i := range v.NumField() {
		key := join(path, v.Type().Field(i).Tag.Get("yaml"))
		if field := v.Field(i); field.Kind() == reflect.Struct {
			walk(field, key, f)
		} else {
			f(key, field)
		}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// YAML returns the config with every key written out. Load reads it back to an
// equal Config.
func (c *Config) YAML() ([]byte, error) {
	b, err := encode(c)
	if err != nil {
		return nil, fmt.Errorf("write config %q: %w", c.Name, err)
	}
	return b, nil
}

func encode(c schema) ([]byte, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(c); err != nil {
		return nil, err
	}
	return b.Bytes(), enc.Close()
}

//go:embed starter/stylenet.yaml
var starter string

// Starter returns the commented config that a new project begins with. It is
// valid as it stands; its data.dir and style.image are to be edited.
func Starter() []byte { return []byte(starter) }
