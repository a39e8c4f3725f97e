// Package vgg provides the weights of VGG-19, whose features measure content
// and style: from a file of any known format, from torchvision's server, or
// random ones drawn from a seed.
//
// It owns which file is used, what input a file's weights expect (their
// convention), and the check that a file really is VGG-19. It refuses the
// layers (package networks), the formats' bytes (package formats), and any
// guess: a file whose convention cannot be told is an error, because features
// of the wrong input train without a complaint and look wrong.
package vgg

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"stylenet/internal/formats"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

// EnvPath is the environment variable that names a file of weights.
const EnvPath = "STYLENET_VGG19"

// Auto is the convention of a file that says itself what it expects.
const Auto = "auto"

// deepest is the last layer of the convolutional part.
const deepest = "relu5_4"

// Weights are VGG-19's convolutions, or the first of them.
type Weights struct {
	// Set holds features.0.weight … in the order of the network, for input of
	// Convention: the weight (out, in, 3, 3) and the bias (out) of each layer.
	Set *weights.Set
	// Convention is networks.Caffe or networks.Torchvision.
	Convention networks.Convention
	// Description names the weights on screen and in a model's metadata, such
	// as "vgg19-features.safetensors (sha256 4e1243bd22c66e76)".
	Description string
	// Random is true for weights that were never trained.
	Random bool
}

// For reports weights that do not fit net, a VGG-19 up to the layer that is
// asked of it. The error names the weights and the tensor.
func (w *Weights) For(net *networks.Network) error {
	deeper := func(string) bool { return true }
	if err := net.Check(w.Set, deeper); err != nil {
		return fmt.Errorf("VGG-19 weights %s: %w", w.Description, err)
	}
	return nil
}

// DefaultPath is where Fetch and Import leave weights for Find: a file in the
// user's cache.
func DefaultPath() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache folder for VGG-19 weights: %w; name a file in %s", err, EnvPath)
	}
	return filepath.Join(dir, "stylenet", "vgg19.safetensors"), nil
}

// NotFoundError reports that there are no weights to be found.
type NotFoundError struct {
	Looked string // the last place that was looked at
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("no VGG-19 weights: vgg.weights and %s are empty, and there is no %s", EnvPath, e.Looked)
}

// Hint says how to provide weights.
func (e *NotFoundError) Hint() string {
	return fmt.Sprintf("run stylenet weights fetch, or stylenet weights import FILE with a file at hand, or set %s, "+
		"or train on random features with --set vgg.random=true", EnvPath)
}

// advised is an error with a hint of what to do.
type advised struct {
	error
	hint string
}

func (e *advised) Unwrap() error { return e.error }

// Hint says what to do.
func (e *advised) Hint() string { return e.hint }

// Find returns the file of weights to use: path, else what STYLENET_VGG19
// names, else the fetched or imported file at DefaultPath. With none of them
// the error is a *NotFoundError.
func Find(path string) (string, error) {
	if path != "" {
		return existing("vgg.weights", path)
	}
	if path := os.Getenv(EnvPath); path != "" {
		return existing(EnvPath, path)
	}
	path, err := DefaultPath()
	if err != nil {
		return "", err
	}
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return "", &NotFoundError{Looked: path}
	case err != nil:
		return "", fmt.Errorf("VGG-19 weights: %w", err)
	}
	return path, nil
}

func existing(source, path string) (string, error) {
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("VGG-19 weights named by %s: %w", source, err)
	}
	return path, nil
}

// Open reads a file of weights in any format that package formats opens. The
// classifier behind the convolutions is left out, and a file may end before
// features.34: Weights.For tells whether it reaches deep enough.
//
// convention is Auto or one of package networks. What it says, what the file's
// metadata says and what the values show must agree; weights in BGR order are
// turned to RGB. Errors name the file, and the tensor where one is at fault.
func Open(path, convention string) (*Weights, error) {
	f, err := read(path, convention)
	if err != nil {
		return nil, err
	}
	return f.Weights, nil
}

// file is what a file of weights turned out to hold.
type file struct {
	*Weights
	format  string
	sha256  string              // in full, hexadecimal
	order   networks.Convention // as in the file: may be CaffeBGR
	source  string              // what told the convention
	ignored []string            // names of tensors that are no convolutions
	last    string              // the deepest layer that the file reaches
}

func read(path, convention string) (*file, error) {
	opened, err := formats.Open(path)
	if err != nil {
		return nil, err // names the path
	}
	sum, err := hash(path)
	if err != nil {
		return nil, err
	}
	f := &file{Weights: &Weights{}, format: opened.Format, sha256: sum}
	if err := f.take(opened, convention); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.Description = fmt.Sprintf("%s (sha256 %s)", filepath.Base(path), sum[:16])
	return f, nil
}

func hash(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (f *file) take(opened *formats.File, convention string) error {
	if err := f.convolutions(opened.Tensors); err != nil {
		return err
	}
	if err := f.agree(convention, opened.Metadata); err != nil {
		return err
	}
	f.Convention = f.order
	if f.order == networks.CaffeBGR {
		f.Convention = networks.Caffe
		return networks.RGBOrder(f.Set)
	}
	return nil
}

// convolutions keeps VGG-19's convolutions, from the first to the last that
// the file holds without a gap.
func (f *file) convolutions(all *weights.Set) error {
	net, err := networks.VGG19(deepest, networks.Caffe, false)
	if err != nil {
		return err
	}
	if all.Get("features.0.weight") == nil {
		return errors.New(`not VGG-19 weights: there is no tensor "features.0.weight"`)
	}
	switch {
	case all.Get("features.1.weight") != nil:
		return errors.New(`tensor "features.1.weight": this is a VGG with batch norm, which cannot be used: take the plain VGG-19`)
	case all.Get("features.17.weight") != nil && all.Get("features.16.weight") == nil:
		return errors.New(`tensor "features.16.weight" is missing, but there is "features.17.weight": this is VGG-16, take VGG-19`)
	}
	f.Set = &weights.Set{}
	params, layers := net.Params(), networks.VGG19Layers()
	for i, p := range params {
		t := all.Get(p.Name)
		if t == nil {
			break
		}
		if fmt.Sprint(t.Shape) != fmt.Sprint(p.Shape) {
			return fmt.Errorf("tensor %q has shape %v, but VGG-19 wants %v", t.Name, t.Shape, p.Shape)
		}
		for k, v := range t.Data {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return fmt.Errorf("tensor %q holds %v (element %d): the file is damaged, fetch it again", t.Name, v, k)
			}
		}
		if err := f.Set.Add(t.Name, t.Shape, t.Data); err != nil {
			return err
		}
		if strings.HasSuffix(t.Name, ".bias") {
			f.last = layers[i/2]
		}
	}
	for _, p := range params[f.Set.Len():] {
		if all.Get(p.Name) != nil {
			return fmt.Errorf("tensor %q is missing, though there is %q", params[f.Set.Len()].Name, p.Name)
		}
	}
	if f.Set.Len()%2 != 0 {
		return fmt.Errorf("tensor %q is missing", params[f.Set.Len()].Name)
	}
	for _, t := range all.Tensors() {
		if f.Set.Get(t.Name) == nil {
			f.ignored = append(f.ignored, t.Name)
		}
	}
	return nil
}
