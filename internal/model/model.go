// Package model reads and writes trained style networks: the architecture
// together with its weights and what is known about their training.
//
// It owns the metadata of the native model file, which is safetensors, telling
// the architecture of other systems' files from their tensors, and what their
// networks take and give for a picture. It refuses the formats' bytes (package
// formats), running a network, and checkpoints, which hold more than a model.
package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"stylenet/internal/atomicfile"
	"stylenet/internal/formats/safetensors"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

// The metadata keys of a native model. "format" says "pt", which loaders of
// other projects ask for.
const (
	keyFormat  = "format"
	keyNetwork = "stylenet.network"
	keyVersion = "stylenet.version"
	keyRecipe  = "stylenet.recipe"
	keyVGG     = "stylenet.vgg"
	keyOrigin  = "stylenet.origin"
	keyStyle   = "stylenet.style_name"
	keyLicence = "stylenet.style_licence"
)

// Model is a trained style network. It takes and gives RGB from 0 to 255.
type Model struct {
	// Network describes the architecture.
	Network networks.Design
	// Weights are the network's parameters, no more and no less, in the order
	// of its layers.
	Weights *weights.Set
	// Recipe is the configuration of the training as JSON, or "".
	Recipe string
	// VGG names the VGG-19 features that trained the network, such as a file's
	// SHA-256 or "random (seed 1)", or is "".
	VGG string
	// Version is that of the stylenet that trained the network, or "".
	Version string
	// Origin says of a network that another system trained from which file it
	// was imported, and what that file said, or is "".
	Origin string
	// StyleName names the painting or the style, and StyleLicence under which
	// terms its picture may be used: texts for people, each "" where not known.
	StyleName, StyleLicence string
}

// about fills in what the metadata of a file say of a model besides its network.
func (m *Model) about(meta map[string]string) {
	m.Recipe, m.VGG, m.Version, m.Origin = meta[keyRecipe], meta[keyVGG], meta[keyVersion], meta[keyOrigin]
	m.StyleName, m.StyleLicence = meta[keyStyle], meta[keyLicence]
}

// FromTensors makes a model of what a file holds: the tensors, which it shares
// with the model, and the metadata. It refuses what Open refuses.
func FromTensors(set *weights.Set, meta map[string]string) (*Model, error) {
	m := &Model{}
	m.about(meta)
	if described, ok := meta[keyNetwork]; ok {
		var err error
		if m.Network, err = networks.ParseDesign([]byte(described)); err != nil {
			return nil, fmt.Errorf("metadata %s: %w (the file was written by stylenet %q)", keyNetwork, err, m.Version)
		}
	} else {
		set, _ = exampleNames(set)
		var err error
		if m.Network, err = infer(set); err != nil {
			return nil, err
		}
	}
	net, err := build(m.Network)
	if err != nil {
		return nil, err
	}
	if err := net.Check(set, isStatistic); err != nil {
		return nil, err
	}
	m.Weights = &weights.Set{}
	for _, p := range net.Params() {
		t := set.Get(p.Name)
		if err := m.Weights.Add(t.Name, t.Shape, t.Data); err != nil {
			return nil, err
		}
	}
	return m, finite(m.Weights)
}

// build makes the network and sees that it is one of pictures.
func build(d networks.Design) (*networks.Network, error) {
	net, err := d.Build()
	if err != nil {
		return nil, err
	}
	_, least, err := net.Multiple()
	if err != nil {
		return nil, err
	}
	sizes, err := net.Sizes(least, least)
	if err != nil {
		return nil, err
	}
	if out := sizes[len(sizes)-1].C; net.Channels != 3 || out != 3 {
		return nil, fmt.Errorf("the network takes %d channels and gives %d, but a picture has 3", net.Channels, out)
	}
	return net, nil
}

// isStatistic tells the running statistics that old PyTorch versions stored
// for instance norms, and the counter of batch norms. Neither has an effect.
func isStatistic(name string) bool {
	for _, suffix := range []string{".running_mean", ".running_var", ".num_batches_tracked"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

func finite(set *weights.Set) error {
	for _, t := range set.Tensors() {
		for i, v := range t.Data {
			if v-v != 0 { // infinities and NaN; weights are many, and this is quick
				return fmt.Errorf("tensor %q holds %v (element %d): the training diverged, take an earlier checkpoint", t.Name, v, i)
			}
		}
	}
	return nil
}

// Check reports a model whose weights do not fit its network or are not
// finite.
func (m *Model) Check() error {
	if m.Weights == nil {
		return errors.New("the model has no weights")
	}
	net, err := build(m.Network)
	if err != nil {
		return err
	}
	if err := net.Check(m.Weights, nil); err != nil {
		return err
	}
	return finite(m.Weights)
}

// Metadata returns what a file says of the model besides its tensors; keys
// without a value are absent.
func (m *Model) Metadata() (map[string]string, error) {
	network, err := json.Marshal(m.Network)
	if err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	meta := map[string]string{keyNetwork: string(network)}
	for key, value := range map[string]string{
		keyRecipe: m.Recipe, keyVGG: m.VGG, keyVersion: m.Version, keyOrigin: m.Origin, keyStyle: m.StyleName, keyLicence: m.StyleLicence,
	} {
		if value != "" {
			meta[key] = value
		}
	}
	return meta, nil
}

// Write writes a native model file of float32. Equal models give equal bytes.
func Write(w io.Writer, m *Model) error { return WriteAs(w, m, safetensors.F32) }

// WriteAs is Write with numbers of F32, F16 or BF16. A weight that dtype cannot
// hold is an error.
func WriteAs(w io.Writer, m *Model, dtype safetensors.DType) error {
	if err := m.Check(); err != nil {
		return err
	}
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	meta[keyFormat] = "pt"
	return safetensors.Encode(w, m.Weights, meta, dtype)
}

// Save writes a native model file whole or not at all; a file that was there
// before stays as it was when Save fails. Errors name the path.
func Save(path string, m *Model) error {
	return atomicfile.Write(path, 0o644, func(w io.Writer) error { return Write(w, m) })
}
