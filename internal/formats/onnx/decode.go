package onnx

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"stylenet/internal/formats/onnx/onnxpb"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

// Limits of files that anybody may have written. A style network has some
// hundred nodes and some million weights.
const (
	maxFile    = 256 << 20 // bytes
	maxParts   = 1 << 18   // messages and strings, each of which costs some hundred bytes of memory
	maxNumbers = 1 << 24   // numbers that are shorter in the file than in memory
	maxDepth   = 16        // of messages in messages
	newest     = 28        // opset, of ONNX 1.23
)

// Model is the content of an ONNX file.
type Model struct {
	// Network takes and gives what the file's graph does, one picture at a time,
	// as channels, rows and columns, of any size.
	Network *networks.Network
	// Weights are the network's parameters, no more and no less.
	Weights *weights.Set
	Info    Info
}

// Info is what an ONNX file says besides its network.
type Info struct {
	IR         int64             // version of the format
	Opset      int64             // version of the operators
	Producer   string            // the program that wrote the file, and its version
	Graph      string            // name
	Doc        string            // description for people
	Properties map[string]string // metadata_props
	Input      Port
	Output     Port
	// Multiple says for which pictures the network is exactly the file's graph:
	// those whose sides are multiples of it. It is 0 for a file that is made for
	// one size alone.
	Multiple int
	// Notes say what of the file is not in the network, for people.
	Notes []string
}

// Port is what a file declares of its input or output.
type Port struct {
	Name   string `json:"name"`
	Type   string `json:"type"`          // of numbers, in ONNX's words: "float", "uint8" …, or ""
	Shape  string `json:"shape"`         // such as "1×3×224×224" or "batch×3×height×width", or ""
	Layout string `json:"layout"`        // "NCHW" or "NHWC", or "CHW" or "HWC" of files without a batch
	Doc    string `json:"doc,omitempty"` // description for people
}

// FormatError reports a file that is damaged, hostile, or no ONNX.
type FormatError struct{ Reason string }

func (e *FormatError) Error() string { return "onnx: invalid file: " + e.Reason }

// UnsupportedError reports a valid file that is not read.
type UnsupportedError struct {
	Node   string // the node at fault, or ""
	Op     string // its operator
	Reason string
}

func (e *UnsupportedError) Error() string {
	if e.Op == "" {
		return "onnx: unsupported: " + e.Reason
	}
	return fmt.Sprintf("onnx: unsupported: node %.200q (%.100s): %s", e.Node, e.Op, e.Reason)
}

func invalid(format string, args ...any) error {
	return &FormatError{fmt.Sprintf(format, args...)}
}

func unsupported(format string, args ...any) error {
	return &UnsupportedError{Reason: fmt.Sprintf(format, args...)}
}

// Sniff tells an ONNX file of size bytes from its first ones. The format has no
// magic: the bytes must begin as a model's message does, with the version of
// the format and then other fields of a model.
func Sniff(start []byte, size int64) bool {
	version, n := protowire.ConsumeVarint(start[min(1, len(start)):])
	if len(start) == 0 || start[0] != 0x08 || n < 0 || version == 0 || version > 1000 {
		return false
	}
	fields := (&onnxpb.ModelProto{}).ProtoReflect().Descriptor().Fields()
	end := int64(len(start))
	for at := int64(1 + n); ; {
		if at >= end {
			return at > int64(1+n) && at <= size
		}
		number, kind, n := protowire.ConsumeTag(start[at:])
		if n < 0 {
			return end < size // the tag goes on behind the first bytes
		}
		field := fields.ByNumber(number)
		if field == nil || wireType(field) != kind {
			return false
		}
		at += int64(n)
		switch kind {
		case protowire.VarintType:
			_, n := protowire.ConsumeVarint(start[at:])
			if n < 0 {
				return end < size
			}
			at += int64(n)
		case protowire.BytesType:
			length, n := protowire.ConsumeVarint(start[at:])
			if n < 0 {
				return end < size
			}
			at += int64(n)
			if length > uint64(size-at) {
				return false
			}
			if field.Kind() == protoreflect.StringKind && !isText(start[at:min(at+int64(length), end)]) {
				return false // other formats that begin so hold messages there
			}
			at += int64(length)
		}
	}
}

func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\t' && c != '\r' {
			return false
		}
	}
	return true
}

// wireType is how a field of ModelProto is written.
func wireType(f protoreflect.FieldDescriptor) protowire.Type {
	if f.Kind() == protoreflect.Int64Kind {
		return protowire.VarintType
	}
	return protowire.BytesType
}

// Decode reads a whole file of size bytes and compiles its graph to a network
// that takes pictures of any size, whatever size, batch and order of axes the
// file declares. Weights and constants of 8 and 16 bits become float32.
//
// The graph must take one picture. Of several outputs the first is read. Only
// what the output needs is looked at. Errors are a *FormatError, an
// *UnsupportedError, or what r and data returned.
//
// Tensors may lie in files beside the model's, as PyTorch's exporter writes them.
// data opens one by its path from the model's folder, which has slashes and does
// not leave the folder. With nil they are an error.
//
// Memory stays within a small multiple of the files' sizes, and time is short,
// also for hostile files.
func Decode(r io.ReaderAt, size int64, data func(location string) (*io.SectionReader, error)) (*Model, error) {
	if size > maxFile {
		return nil, unsupported("the file has %d MiB; networks up to %d MiB are read", size>>20, maxFile>>20)
	}
	raw := make([]byte, max(size, 0))
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, size), raw); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, invalid("it ends too early: it is truncated, fetch it again")
		}
		return nil, fmt.Errorf("onnx: %w", err)
	}
	model := &onnxpb.ModelProto{}
	s := scanner{parts: maxParts, numbers: maxNumbers}
	if err := s.scan(raw, model.ProtoReflect().Descriptor(), 0); err != nil {
		return nil, err
	}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, model); err != nil {
		return nil, invalid("it is no message of ONNX: %v", err)
	}
	more, err := external(model.GetGraph(), data)
	if err != nil {
		return nil, err
	}
	g, err := newGraph(model, size+more)
	if err != nil {
		return nil, err
	}
	return g.compile()
}

// scanner bounds what the messages of a file take in memory before they are
// read.
type scanner struct{ parts, numbers int }

func (s *scanner) scan(b []byte, m protoreflect.MessageDescriptor, depth int) error {
	if depth > maxDepth {
		return invalid("its messages lie in each other %d deep", depth)
	}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return damaged(n)
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			return damaged(n)
		}
		value := b[:n]
		b = b[n:]
		field := m.Fields().ByNumber(number)
		if field == nil {
			continue // Unmarshal skips it
		}
		if kind != protowire.BytesType {
			s.numbers--
		} else if content, _ := protowire.ConsumeBytes(value); field.Kind() == protoreflect.MessageKind {
			s.parts--
			if err := s.scan(content, field.Message(), depth+1); err != nil {
				return err
			}
		} else if field.Kind() == protoreflect.BytesKind || field.Kind() == protoreflect.StringKind {
			s.parts--
		} else if field.Kind() != protoreflect.FloatKind && field.Kind() != protoreflect.DoubleKind {
			s.numbers -= len(content)
		}
		if s.parts < 0 || s.numbers < 0 {
			return invalid("it has more than %d parts or %d numbers outside of raw_data", maxParts, maxNumbers)
		}
	}
	return nil
}

func damaged(code int) error {
	return invalid("%v: it is truncated or damaged, fetch it again", protowire.ParseError(code))
}

// describe fills what is known without the network.
func describe(m *onnxpb.ModelProto, opset int64) Info {
	info := Info{
		IR: m.GetIrVersion(), Opset: opset,
		Producer: strings.TrimSpace(m.GetProducerName() + " " + m.GetProducerVersion()),
		Graph:    m.GetGraph().GetName(), Doc: m.GetDocString(),
		Properties: map[string]string{},
	}
	for _, p := range m.GetMetadataProps() {
		info.Properties[p.GetKey()] = p.GetValue()
	}
	return info
}

// port describes a declared input or output.
func port(v *onnxpb.ValueInfoProto, layout string) Port {
	p := Port{Name: v.GetName(), Layout: layout, Doc: v.GetDocString()}
	t := v.GetType().GetTensorType()
	if t.GetElemType() != 0 {
		p.Type = typeName(onnxpb.TensorProto_DataType(t.GetElemType()))
	}
	var dims []string
	for _, d := range t.GetShape().GetDim() {
		switch {
		case d.GetDimParam() != "":
			dims = append(dims, d.GetDimParam())
		case d.GetValue() != nil:
			dims = append(dims, fmt.Sprint(d.GetDimValue()))
		default:
			dims = append(dims, "?")
		}
	}
	p.Shape = strings.Join(dims, "×")
	return p
}

func typeName(t onnxpb.TensorProto_DataType) string { return strings.ToLower(t.String()) }
