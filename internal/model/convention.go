package model

import (
	"fmt"
	"slices"
	"strings"

	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

// Convention is what a network that others have trained takes and gives. A
// Model takes and gives RGB 0-255: Read puts what lies between in front of the
// network and behind it, or into its weights.
type Convention struct {
	In, Out networks.Convention
	// Tanh is the head of a network whose file holds weights alone: its last
	// convolution goes through tanh, which is scaled to Out's range: as it is
	// for rgb-signed, (tanh+1)/2 for rgb-1, 150·tanh for caffe and caffe-bgr
	// (jcjohnson), 150·tanh + 127.5 for rgb-255 and bgr-255 (lengstrom).
	Tanh bool
}

// own is the convention of a Model.
func own() Convention { return Convention{In: networks.RGB255, Out: networks.RGB255} }

// tanhSuffix of an output's convention says that tanh is not in the file.
const tanhSuffix = "+tanh"

// ParseConvention reads IN:OUT, or one word for both, each of which is one of
// networks.Conventions; OUT may end with +tanh.
func ParseConvention(text string) (Convention, error) {
	in, out, two := strings.Cut(text, ":")
	if !two {
		out = in
		in = strings.TrimSuffix(in, tanhSuffix)
	}
	out, tanh := strings.CutSuffix(out, tanhSuffix)
	c := Convention{networks.Convention(in), networks.Convention(out), tanh}
	for _, side := range []networks.Convention{c.In, c.Out} {
		if !slices.Contains(networks.Conventions(), side) {
			return c, fmt.Errorf("convention %q: %q is none of %s; give one of them, or IN:OUT, and OUT%s where a tanh is missing", text, side, conventionNames(), tanhSuffix)
		}
	}
	if _, ok := c.head(); tanh && !ok {
		return c, fmt.Errorf("convention %q: no network's tanh gives %s", text, c.Out)
	}
	return c, nil
}

func conventionNames() string {
	var names []string
	for _, c := range networks.Conventions() {
		names = append(names, string(c))
	}
	return strings.Join(names, ", ")
}

// String is what ParseConvention reads.
func (c Convention) String() string {
	text := string(c.In)
	if c.Out != c.In {
		text += ":" + string(c.Out)
	}
	if c.Tanh {
		text += tanhSuffix
	}
	return text
}

// head is the tanh that is added.
func (c Convention) head() (networks.Tanh, bool) {
	switch c.Out {
	case networks.RGBSigned:
		return networks.Tanh{Scale: 1}, true
	case networks.RGB1:
		return networks.Tanh{Scale: .5, Offset: .5}, true
	case networks.RGB255, networks.BGR255:
		return networks.Tanh{Scale: 150, Offset: 127.5}, true
	case networks.Caffe, networks.CaffeBGR:
		return networks.Tanh{Scale: 150}, true
	}
	return networks.Tanh{}, false
}

// turned is the affine map from RGB 0-255 to c in c's order of channels.
func turned(c networks.Convention) networks.Affine {
	a, _ := c.Affine() // ParseConvention and recognise know no other
	if c.BGR() {
		slices.Reverse(a.Scale)
		slices.Reverse(a.Shift)
	}
	return a
}

// inverse is the affine map back.
func inverse(a networks.Affine) networks.Affine {
	b := networks.Affine{Scale: make([]float32, len(a.Scale)), Shift: make([]float32, len(a.Scale))}
	for i, s := range a.Scale {
		b.Scale[i] = float32(1 / float64(s))
		b.Shift[i] = float32(-float64(a.Shift[i]) / float64(s))
	}
	return b
}

// apply makes m, which takes and gives what c says, one that takes and gives RGB
// 0-255. Networks of Johnson's kind stay such where their weights can take it in:
// they can then be trained further and written for PyTorch.
func (c Convention) apply(m *Model) error {
	if c == own() {
		return nil
	}
	if j, ok := m.Network.(networks.Johnson); ok {
		net, err := j.Build()
		if err != nil {
			return err
		}
		if c.fold(&j, net, m) {
			return nil
		}
	}
	return c.wrap(m)
}

// fold puts the maps before and behind into the first and the last convolution,
// and says whether that could be done.
func (c Convention) fold(j *networks.Johnson, net *networks.Network, m *Model) bool {
	first := ""
	for _, l := range net.Layers {
		if p, ok := l.Op.(networks.Pad); ok && p.Mode != networks.PadZero {
			continue // a border of pixels of the picture
		}
		if conv, ok := l.Op.(networks.Conv); !ok || conv.Pad != (networks.Padding{}) || conv.NoBias {
			return false
		}
		first = l.Name
		break
	}
	back := inverse(turned(c.Out))
	tanh := networks.Tanh{Scale: j.OutputScale, Offset: j.OutputOffset}
	if c.Tanh {
		if j.Output != "linear" {
			return false
		}
		tanh, _ = c.head()
	}
	last := net.Layers[len(net.Layers)-1].Name
	if linear := j.Output == "linear" && !c.Tanh; !linear {
		even := back.Scale[0] == back.Scale[1] && back.Scale[1] == back.Scale[2] && back.Shift[0] == back.Shift[1] && back.Shift[1] == back.Shift[2]
		if !even || c.Out.BGR() {
			return false
		}
		j.Output = "tanh"
		j.OutputScale, j.OutputOffset = tanh.Scale*back.Scale[0], tanh.Offset*back.Scale[0]+back.Shift[0]
		last = ""
	}
	set := m.Weights.Clone()
	if first != "" {
		foldIn(set, first, turned(c.In), c.In.BGR())
	}
	if last != "" {
		foldOut(set, last, back, c.Out.BGR())
	}
	m.Network, m.Weights = *j, set
	return true
}

// foldIn has a convolution of 3 channels read RGB 0-255 instead of a's values.
func foldIn(set *weights.Set, name string, a networks.Affine, bgr bool) {
	w, b := set.Get(name+".weight"), set.Get(name+".bias")
	plane := w.Shape[2] * w.Shape[3]
	for o := range b.Data {
		kernel := w.Data[o*3*plane : (o+1)*3*plane]
		shift := float64(b.Data[o])
		for ch := range 3 {
			for i, v := range kernel[ch*plane : (ch+1)*plane] {
				shift += float64(v) * float64(a.Shift[ch])
				kernel[ch*plane+i] = v * a.Scale[ch]
			}
		}
		b.Data[o] = float32(shift)
		if bgr {
			exchange(kernel[:plane], kernel[2*plane:])
		}
	}
}

// foldOut has a convolution to 3 channels give what a makes of its values.
func foldOut(set *weights.Set, name string, a networks.Affine, bgr bool) {
	w, b := set.Get(name+".weight"), set.Get(name+".bias")
	each := len(w.Data) / 3
	for ch := range 3 {
		for i := range each {
			w.Data[ch*each+i] *= a.Scale[ch]
		}
		b.Data[ch] = b.Data[ch]*a.Scale[ch] + a.Shift[ch]
	}
	if bgr {
		exchange(w.Data[:each], w.Data[2*each:])
		b.Data[0], b.Data[2] = b.Data[2], b.Data[0]
	}
}

func exchange(a, b []float32) {
	for i := range a {
		a[i], b[i] = b[i], a[i]
	}
}

// wrap puts layers in front of the network and behind it.
func (c Convention) wrap(m *Model) error {
	inner, err := build(m.Network)
	if err != nil {
		return err
	}
	w := &wrapper{net: &networks.Network{Channels: 3}, last: networks.Input, names: map[string]bool{}}
	for _, l := range inner.Layers {
		w.names[l.Name] = true
	}
	if c.In.BGR() {
		w.reverse("input")
	}
	w.affine("input.range", turned(c.In))
	entry, before := w.last, len(w.net.Layers)
	for _, l := range inner.Layers {
		from := make([]int, len(l.Inputs))
		for i, k := range l.Inputs {
			if from[i] = k + before; k == networks.Input {
				from[i] = entry
			}
		}
		w.last = len(w.net.Layers)
		w.net.Layers = append(w.net.Layers, networks.Layer{Name: l.Name, Op: l.Op, Inputs: from})
	}
	if c.Tanh {
		head, _ := c.head()
		w.add("output.tanh", head, w.last)
	}
	w.affine("output.range", inverse(turned(c.Out)))
	if c.Out.BGR() {
		w.reverse("output")
	}
	m.Network = w.net
	return nil
}

// wrapper appends layers that read the last one.
type wrapper struct {
	net   *networks.Network
	last  int
	names map[string]bool // taken
}

func (w *wrapper) add(name string, op networks.Op, from ...int) int {
	for w.names[name] {
		name += "_"
	}
	w.names[name] = true
	w.last = len(w.net.Layers)
	w.net.Layers = append(w.net.Layers, networks.Layer{Name: name, Op: op, Inputs: from})
	return w.last
}

func (w *wrapper) affine(name string, a networks.Affine) {
	if !slices.Equal(a.Scale, []float32{1, 1, 1}) || !slices.Equal(a.Shift, []float32{0, 0, 0}) {
		w.add(name, a, w.last)
	}
}

// reverse turns RGB into BGR, or back.
func (w *wrapper) reverse(name string) {
	from := w.last
	third := w.add(name+".third", networks.Channels{From: 2, To: 3}, from)
	second := w.add(name+".second", networks.Channels{From: 1, To: 2}, from)
	first := w.add(name+".first", networks.Channels{From: 0, To: 1}, from)
	w.add(name+".order", networks.Concat{}, third, second, first)
}
