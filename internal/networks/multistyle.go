package networks

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MultiStyle describes a network of many styles (Dumoulin, Shlens and Kudlur
// 2017, "A learned representation for artistic style"): Johnson's, with one set
// of convolutions, and at every norm a scale and a shift for each style. What it
// paints is a mix of its styles: the scales and shifts are weighted sums of
// theirs.
type MultiStyle struct {
	Johnson
	// Styles are the names, each once, in the order of a mix's weights.
	Styles []string `json:"styles"`
}

// StyleNorm is instance norm with a scale and a shift for each style.
// Parameters: for each style S a weight and a bias (Channels) called
// Name.S.weight and Name.S.bias. A network with such layers has a second input,
// the mix; see MultiStyle.Johnson for the network of one mix.
type StyleNorm struct {
	Channels int      `json:"channels"`
	Eps      float32  `json:"eps"`
	Styles   []string `json:"styles"`
}

// maxStyles bounds what a file may ask for. The networks of the literature have
// up to 32.
const maxStyles = 1 << 10

// CheckStyles reports names that are none, or not different. A name has up to 64
// letters, digits, "-" and "_": it is part of tensors' names and of what people
// type as NAME=WEIGHT,NAME=WEIGHT.
func CheckStyles(names []string) error {
	if len(names) == 0 {
		return errors.New("styles: there is none")
	}
	if len(names) > maxStyles {
		return fmt.Errorf("styles: %d are more than %d", len(names), maxStyles)
	}
	for i, name := range names {
		if name == "" || utf8.RuneCountInString(name) > 64 || !utf8.ValidString(name) || strings.ContainsFunc(name, notInName) {
			return fmt.Errorf("styles: the name %.200q is not 1 to 64 letters, digits, - and _", name)
		}
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("styles: two are called %q", name)
		}
	}
	return nil
}

func notInName(r rune) bool {
	return !unicode.In(r, unicode.L, unicode.M, unicode.Nd) && r != '-' && r != '_'
}

// String is the list of layers of Johnson's notation, with the styles.
func (m MultiStyle) String() string {
	if len(m.Styles) == 1 {
		return fmt.Sprintf("%s of 1 style: %s", m.Architecture, m.Styles[0])
	}
	return fmt.Sprintf("%s of %d styles: %s", m.Architecture, len(m.Styles), strings.Join(m.Styles, ", "))
}

// Build makes the layer list: that of Johnson, with StyleNorm for every norm.
func (m MultiStyle) Build() (*Network, error) {
	if err := CheckStyles(m.Styles); err != nil {
		return nil, err
	}
	if m.Norm != "instance" {
		return nil, fmt.Errorf("norm: a network of many styles has instance norms, not %q", m.Norm)
	}
	net, err := m.Johnson.Build()
	if err != nil {
		return nil, err
	}
	for i, l := range net.Layers {
		if norm, ok := l.Op.(Norm); ok {
			net.Layers[i].Op = StyleNorm{norm.Channels, norm.Eps, m.Styles}
		}
	}
	return net, nil
}

// Row is one style's scale or shift at one norm.
type Row struct {
	Style int    // its index
	Name  string // of the tensor
	Plain string // of the tensor in a network of one style
}

// Rows lists the scales and shifts of all norms: a network of one style has one
// row of each Plain, or a weighted sum of them.
func (n *Network) Rows() []Row {
	var rows []Row
	for _, l := range n.Layers {
		op, ok := l.Op.(StyleNorm)
		if !ok {
			continue
		}
		for i := range op.Styles {
			for _, suffix := range []string{".weight", ".bias"} {
				rows = append(rows, Row{i, op.row(l.Name, i) + suffix, l.Name + suffix})
			}
		}
	}
	return rows
}

// Styles are the names of the styles of a network of many, or nil.
func (n *Network) Styles() []string {
	for _, l := range n.Layers {
		if op, ok := l.Op.(StyleNorm); ok {
			return op.Styles
		}
	}
	return nil
}

// row is the name of a style's norm.
func (n StyleNorm) row(name string, style int) string { return name + "." + n.Styles[style] }

func (n StyleNorm) params(name string) []Param {
	var ps []Param
	for i := range n.Styles {
		ps = append(ps, Norm{Channels: n.Channels}.params(n.row(name, i))...)
	}
	return ps
}

func (n StyleNorm) shape(in []Size) (Size, error) { return in[0], want(in, 1, n.Channels) }

// sameStyles reports norms that have other styles than the first.
func (n *Network) sameStyles() error {
	styles := n.Styles()
	for _, l := range n.Layers {
		if op, ok := l.Op.(StyleNorm); ok && !slices.Equal(op.Styles, styles) {
			return fmt.Errorf("layer %s has the styles %.200q, another layer %.200q", l.Name, op.Styles, styles)
		}
	}
	return nil
}
