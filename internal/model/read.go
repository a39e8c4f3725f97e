package model

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"stylenet/internal/formats"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

// Opened is a model file, and what was found out about it.
type Opened struct {
	Model *Model
	File  *formats.File
	// Kind is what wrote the file: one of the Kinds.
	Kind string
	// Convention is what the file's network takes and gives, and Why what told
	// it. Model takes and gives RGB 0-255.
	Convention Convention
	Why        string
}

// Open reads a model file of any kind, as Read does, and believes what it finds.
func Open(path string) (*Model, error) {
	o, err := Read(path, nil)
	if err != nil {
		return nil, err
	}
	return o.Model, nil
}

// ErrConvention is what Read returns, wrapped, where a convention is asked for that
// differs from what the file says.
var ErrConvention = errors.New("the file says that its network takes and gives RGB 0-255: --convention is for files that do not say")

// Read reads a model file:
//
//   - a native one;
//   - a network as ONNX;
//   - the weights of the PyTorch example's TransformerNet, as .pth or
//     .safetensors, with any widths, kernel sizes and number of residual blocks,
//     under its own names or those of gordicaleksa's variant. Weights alone do
//     not tell padding and output; they are taken to be the example's, reflect
//     and linear;
//   - the variables of lengstrom's network, as a checkpoint of TensorFlow or
//     dumped to a folder, with any widths, kernel sizes and number of residual
//     blocks.
//
// What the network takes and gives is asked, unless that is nil, or recognised
// from the file. Native files say it, and cannot be asked.
//
// Errors name the file. A file that holds something else, does not fit its
// architecture or carries a value that is not finite is refused.
func Read(path string, asked *Convention) (*Opened, error) {
	file, err := formats.Open(path)
	if err != nil {
		return nil, err // names the path
	}
	o := &Opened{File: file}
	if err := o.read(asked); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return o, nil
}

// Auto is the convention that is recognised from the file.
const Auto = "auto"

// ReadAs is Read with a convention as people write it; "" is Auto.
func ReadAs(path, convention string) (*Opened, error) {
	if convention == "" || convention == Auto {
		return Read(path, nil)
	}
	c, err := ParseConvention(convention)
	if err != nil {
		return nil, err
	}
	return Read(path, &c)
}

// OfRun is the model of a run or a checkpoint as if it had been a file.
func OfRun(m *Model) *Opened {
	meta, err := m.Metadata()
	if err != nil {
		meta = nil // the model was read from such
	}
	return &Opened{
		Model: m, File: &formats.File{Format: formats.Safetensors, Tensors: m.Weights, Metadata: meta},
		Kind: KindStylenet, Convention: own(), Why: "stylenet wrote the run",
	}
}

func (o *Opened) read(asked *Convention) error {
	var err error
	_, native := o.File.Metadata[keyNetwork]
	switch {
	case o.File.Network != nil:
		o.Kind = KindONNX
		if part := o.File.Metadata[KeyPart]; part != "" {
			return fmt.Errorf("it is the %.40s of a model of any style, one of its two networks: open the model's .safetensors", part)
		}
		o.Model, native, err = fromNetwork(o.File.Network, o.File.Tensors, o.File.Metadata)
	case o.File.Format == formats.TensorFlow:
		o.Kind = KindLengstrom
		o.Model, err = fromVariables(o.File.Tensors)
	case o.File.Format == formats.PyTorch:
		native = false // a pickle's words are not ours
		_, o.Kind = exampleNames(o.File.Tensors)
		o.Model, err = FromTensors(o.File.Tensors, nil)
	default:
		_, o.Kind = exampleNames(o.File.Tensors)
		o.Model, err = FromTensors(o.File.Tensors, o.File.Metadata)
	}
	if err != nil {
		return err
	}
	if native {
		o.Kind, o.Convention, o.Why = KindStylenet, own(), "stylenet wrote the file"
		if asked != nil && *asked != own() {
			return ErrConvention
		}
		return nil
	}
	if asked != nil {
		o.Convention, o.Why = *asked, "asked for"
	} else {
		o.recognise()
	}
	if err := o.Convention.apply(o.Model); err != nil {
		return err
	}
	return o.Model.Check()
}

// fromNetwork makes a model of a file that holds a network. Where that is the
// one that the metadata describe, as in files of our own, the description is
// kept: it is shorter, and can be trained. Then the file is native.
func fromNetwork(net *networks.Network, set *weights.Set, meta map[string]string) (m *Model, native bool, err error) {
	m = &Model{Network: net, Weights: set}
	m.about(meta)
	if described, err := networks.ParseDesign([]byte(meta[keyNetwork])); err == nil {
		if same, err := described.Build(); err == nil && reflect.DeepEqual(same, net) {
			m.Network, native = described, true
		}
	}
	return m, native, m.Check()
}

// recognise finds out what the network takes and gives from what the file says,
// then from how the network begins and ends, then from what is usual.
func (o *Opened) recognise() {
	switch o.Kind {
	case KindVariant:
		o.Convention = Convention{In: networks.Torchvision, Out: networks.Torchvision}
		o.Why = "its tensors have the names of gordicaleksa's variant, which takes and gives ImageNet's normalised values"
		return
	case KindLengstrom:
		o.Convention, o.Why = own(), "its variables are those of lengstrom's network, which takes RGB 0-255 and gives it by 150·tanh + 127.5"
		return
	case KindExample:
		o.Convention, o.Why = own(), "its tensors have the names of PyTorch's example, which takes and gives RGB 0-255"
		return
	}
	if c, why, ok := o.said(); ok {
		o.Convention, o.Why = c, why
		return
	}
	net, err := o.Model.Network.Build()
	if err != nil {
		o.Convention, o.Why = own(), ""
		return
	}
	in, whyIn := firstRange(net)
	out, whyOut := lastRange(net)
	switch {
	case in == "" && out == "":
		o.Convention, o.Why = own(), "nothing in the file tells, and most style networks take and give RGB 0-255"
		return
	case in == "":
		in, whyIn = out, "and is taken to take the same"
	case out == "":
		out, whyOut = in, "and is taken to give the same"
	}
	o.Convention, o.Why = Convention{In: in, Out: out}, fmt.Sprintf("the network %s, %s", whyIn, whyOut)
	if strings.HasPrefix(whyIn, "and") {
		o.Why = fmt.Sprintf("the network %s, %s", whyOut, whyIn)
	}
}

// said reads what ONNX files say of pictures in their metadata
// (https://github.com/onnx/onnx/blob/main/docs/MetadataProps.md), and what
// CoreML's converter wrote into the descriptions.
func (o *Opened) said() (c Convention, why string, ok bool) {
	info := o.File.ONNX
	if info == nil {
		return c, "", false
	}
	bgr := false
	side := networks.RGB255
	switch format := info.Properties["Image.BitmapPixelFormat"]; {
	case strings.HasPrefix(format, "Bgr"):
		bgr, why, ok = true, "its metadata say Image.BitmapPixelFormat "+clip(format), true
	case strings.HasPrefix(format, "Rgb"):
		why, ok = "its metadata say Image.BitmapPixelFormat "+clip(format), true
	case strings.Contains(info.Output.Doc, "in BGR format") || strings.Contains(info.Input.Doc, "in BGR format"):
		bgr, why, ok = true, `its description says "in BGR format"`, true
	case strings.Contains(info.Output.Doc, "in RGB format") || strings.Contains(info.Input.Doc, "in RGB format"):
		why, ok = `its description says "in RGB format"`, true
	}
	nominal := info.Properties["Image.NominalPixelRange"]
	switch nominal {
	case "Normalized_0_1":
		side = networks.RGB1
	case "Normalized_1_1":
		side = networks.RGBSigned
	case "NominalRange_0_255", "":
	default:
		return c, "", false
	}
	if nominal != "" {
		why, ok = strings.TrimPrefix(why+", its metadata say Image.NominalPixelRange "+nominal, ", "), true
	}
	if bgr {
		if side != networks.RGB255 {
			return c, "", false
		}
		side = networks.BGR255
	}
	return Convention{In: side, Out: side}, why, ok
}

func clip(text string) string { return fmt.Sprintf("%.40s", text) }

// firstRange tells what a network takes that begins with a scale or with the
// mean of ImageNet's pictures.
func firstRange(net *networks.Network) (c networks.Convention, why string) {
	a, ok := net.Layers[0].Op.(networks.Affine)
	if !ok || len(a.Scale) != 3 {
		return "", ""
	}
	near := func(want networks.Affine) bool {
		for i := range a.Scale {
			if math.Abs(float64(a.Scale[i]/want.Scale[i]-1)) > .02 || math.Abs(float64(a.Shift[i]-want.Shift[i])) > .02*math.Abs(float64(want.Shift[i]))+1e-3 {
				return false
			}
		}
		return true
	}
	caffe, _ := networks.Caffe.Affine()
	imagenet, _ := networks.Torchvision.Affine()
	unit, _ := networks.RGB1.Affine()
	signed, _ := networks.RGBSigned.Affine()
	if near(caffe) || near(imagenet) || near(unit) || near(signed) {
		return networks.RGB255, "begins by turning RGB 0-255 into other values"
	}
	slices.Reverse(caffe.Shift)
	if near(caffe) {
		return networks.BGR255, "begins by taking ImageNet's mean from BGR 0-255"
	}
	// The same from RGB 0-1.
	for i := range imagenet.Scale {
		imagenet.Scale[i] *= 255
	}
	for i := range signed.Scale {
		signed.Scale[i] *= 255
	}
	if near(imagenet) || near(signed) {
		return networks.RGB1, "begins by turning RGB 0-1 into other values"
	}
	return "", ""
}

// lastRange tells what a network gives whose last layers bound it.
func lastRange(net *networks.Network) (c networks.Convention, why string) {
	scale, shift := 1., 0.
	for i := len(net.Layers) - 1; i >= 0; {
		l := net.Layers[i]
		low, high := 0., 0.
		switch op := l.Op.(type) {
		case networks.Affine:
			for k := range op.Scale {
				if op.Scale[k] != op.Scale[0] || op.Shift[k] != op.Shift[0] {
					return "", ""
				}
			}
			shift += scale * float64(op.Shift[0])
			scale *= float64(op.Scale[0])
			if i = l.Inputs[0]; i < 0 {
				return "", ""
			}
			continue
		case networks.Pad:
			if i = l.Inputs[0]; i < 0 { // a crop
				return "", ""
			}
			continue
		case networks.Tanh:
			low, high = float64(op.Offset-op.Scale), float64(op.Offset+op.Scale)
		case networks.Pointwise:
			switch op.Function {
			case networks.Sigmoid:
				low, high = 0, 1
			case networks.Clip:
				low, high = float64(op.A), float64(op.B)
			default:
				return "", ""
			}
		default:
			return "", ""
		}
		low, high = scale*low+shift, scale*high+shift
		why = fmt.Sprintf("ends with values of %.4g to %.4g", low, high)
		between := func(a, b, slack float64) bool { return math.Abs(low-a) <= slack && math.Abs(high-b) <= slack }
		switch {
		case between(0, 1, .01):
			return networks.RGB1, why
		case between(-1, 1, .01):
			return networks.RGBSigned, why
		case between(0, 255, 1), between(-22.5, 277.5, 1):
			return networks.RGB255, why
		case between(-150, 150, 1):
			return networks.CaffeBGR, why + ", as jcjohnson's do before the mean is added"
		}
		return "", ""
	}
	return "", ""
}
