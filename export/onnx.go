package export

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"iter"

	"stylenet/internal/atomicfile"
	"stylenet/internal/calibrate"
	"stylenet/internal/devices"
	"stylenet/internal/formats/onnx"
	"stylenet/internal/images"
	"stylenet/internal/model"
	"stylenet/internal/networks"
)

// The opsets that ONNX files are written for.
const (
	MinOpset = onnx.MinOpset
	MaxOpset = onnx.MaxOpset
)

// How pictures go into an ONNX model and come out.
const (
	// FloatNCHW is float32, [batch, 3, height, width], RGB from 0 to 255. Values
	// of the output can lie outside: clamp them before making bytes.
	FloatNCHW = "float-nchw"
	// Uint8NHWC is uint8, [batch, height, width, 3], RGB: the bytes of a decoded
	// picture as they lie in memory.
	Uint8NHWC = "uint8-nhwc"
)

// ONNXOptions say how a model is written as ONNX. The zero value is the default
// of all.
type ONNXOptions struct {
	// Opset is MinOpset to MaxOpset, or 0 for MinOpset, which every runtime in
	// use knows.
	Opset int
	// DType is F32, which "" means too, F16 or Int8. F16 holds weights and feature
	// maps in half precision, and takes the statistics of norms in float32. Int8
	// multiplies 8-bit integers in all convolutions but the first and the last,
	// and needs Ranges.
	DType string
	// ImageIO is FloatNCHW, which "" means too, or Uint8NHWC.
	ImageIO string
	// Width and Height fix the size of pictures, in pixels, for runtimes that want
	// to know it beforehand; 0 and 0 leave it free.
	Width, Height int
	// Part is Encoder or Decoder, of a model of any style, whose two networks are
	// then written apart, in FloatNCHW; "" is all of a model.
	Part string
	// Ranges are what Calibrate found.
	Ranges *Ranges
	// Version is that of the program that writes the file, for people to read.
	Version string
}

// The parts of a model of any style.
const (
	// Encoder takes a picture and gives its features: [batch, channels,
	// height/8, width/8] for an encoder up to relu4_1.
	Encoder = "encoder"
	// Decoder takes features and gives a picture.
	Decoder = "decoder"
)

// Ranges are what the values within a network lie within on photos.
type Ranges = onnx.Ranges

// ONNX writes an ONNX model of opset 17 that needs nothing but a runtime.
//
// The input "input" and the output "output" are FloatNCHW, with batch, height and
// width free. The output has the size of the input, for every size from 1×1 up:
// inside, the last row and column are repeated until the network can take the
// picture, and the answer is cropped, as stylenet itself does. The metadata are
// those of Safetensors, and ONNX's own about images.
//
// A network of many styles has a second input, "mix": float32, [styles], weights
// that add up to 1, in the order of Model.Styles. To have one style, or one mix
// alone, write what Model.Mix returns. It cannot be Int8.
//
// A model of any style has a second input, "style": a batch of one picture, or one
// for each of "input", of any size of its own. To have one style alone, write what
// Model.Styled returns.
//
// The file appears whole or not at all. Errors name the path.
func ONNX(path string, m *Model) error { return ONNXWith(path, m, ONNXOptions{}) }

// ONNXWith is ONNX with options. Options that do not fit the model, or each other,
// are errors, such as a weight beyond the range of F16.
func ONNXWith(path string, m *Model, o ONNXOptions) error {
	return atomicfile.Write(path, 0o644, func(w io.Writer) error { return writeONNX(w, m, o) })
}

func writeONNX(w io.Writer, m *Model, o ONNXOptions) error {
	precision, ok := map[string]onnx.Precision{"": onnx.Float32, F32: onnx.Float32, F16: onnx.Float16, Int8: onnx.Int8}[o.DType]
	switch {
	case !ok:
		return fmt.Errorf("onnx: numbers of %q are not written: use %s, %s or %s", o.DType, F32, F16, Int8)
	case o.ImageIO != "" && o.ImageIO != FloatNCHW && o.ImageIO != Uint8NHWC:
		return fmt.Errorf("onnx: pictures as %q are not known: use %s or %s", o.ImageIO, FloatNCHW, Uint8NHWC)
	case o.Ranges != nil && precision != onnx.Int8:
		return fmt.Errorf("onnx: ranges are for %s, not for %q", Int8, o.DType)
	}
	if err := m.Check(); err != nil {
		return err
	}
	if o.Part != "" {
		return writePart(w, m, o, precision)
	}
	net, err := m.Network.Build()
	if err != nil {
		return err
	}
	style := ""
	if _, ok := m.AnyStyle(); ok {
		style = networks.AdaINNorm
	}
	multiple, least, err := net.Multiple()
	if err != nil {
		return err
	}
	properties, err := m.Metadata()
	if err != nil {
		return err
	}
	// https://github.com/onnx/onnx/blob/main/docs/MetadataProps.md
	properties["Image.BitmapPixelFormat"] = "Rgb8"
	properties["Image.ColorSpaceGamma"] = "SRGB"
	properties["Image.NominalPixelRange"] = "NominalRange_0_255"
	bytes := o.ImageIO == Uint8NHWC
	how := "planes from 0 to 255 of any size; clamp the output to 0 to 255."
	if bytes {
		how = "pixels of 8 bits of any size."
	}
	return onnx.Encode(w, net, m.Weights, onnx.Options{
		Doc:     fmt.Sprintf("Style transfer network %s. Input and output are RGB %s", m.Network, how),
		Version: o.version(m), Properties: properties, Style: style,
		Multiple: multiple, Least: least, Width: o.Width, Height: o.Height,
		Bytes: bytes, Opset: o.Opset, Precision: precision, Ranges: o.Ranges,
	})
}

// writePart writes one of the two networks of a model of any style.
func writePart(w io.Writer, m *Model, o ONNXOptions, precision onnx.Precision) error {
	design, ok := m.AnyStyle()
	switch {
	case !ok:
		return fmt.Errorf("onnx: the parts %s and %s are those of a model of any style", Encoder, Decoder)
	case o.ImageIO == Uint8NHWC || o.Width > 0 || precision == onnx.Int8:
		return fmt.Errorf("onnx: a part is written for %s of any size, as %s or %s", FloatNCHW, F32, F16)
	}
	build, doc := design.EncoderNetwork, "Encoder of a style transfer network (Huang and Belongie 2017). The input is RGB planes from 0 to 255, the output features."
	if o.Part == Decoder {
		build, doc = design.DecoderNetwork, "Decoder of a style transfer network (Huang and Belongie 2017). The input are features, the output is RGB planes; clamp it to 0 to 255."
	} else if o.Part != Encoder {
		return fmt.Errorf("onnx: part %q is none of %s, %s", o.Part, Encoder, Decoder)
	}
	net, err := build()
	if err != nil {
		return err
	}
	properties, err := m.Metadata()
	if err != nil {
		return err
	}
	properties[model.KeyPart] = o.Part
	return onnx.Encode(w, net, m.Weights, onnx.Options{Doc: doc, Version: o.version(m), Properties: properties, Opset: o.Opset, Precision: precision})
}

// version is the one to write: that of the program, or else the model's.
func (o ONNXOptions) version(m *Model) string {
	if o.Version != "" {
		return o.Version
	}
	return m.Version
}

// Calibrate finds the ranges that Int8 needs: it runs the model on photos, which
// should be like those that the model will get. Some dozens are enough.
func Calibrate(ctx context.Context, m *Model, photos iter.Seq2[image.Image, error]) (r *Ranges, err error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	net, err := m.Network.Build()
	if err != nil {
		return nil, err
	}
	dev, err := devices.Open("auto", devices.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	return calibrate.Ranges(ctx, dev, net, m.Weights, func(yield func(*images.Picture, error) bool) {
		for img, err := range photos {
			var p *images.Picture
			if err == nil {
				p, err = images.FromImage(img)
			}
			if !yield(p, err) {
				return
			}
		}
	})
}
