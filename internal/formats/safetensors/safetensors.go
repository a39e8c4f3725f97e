// Package safetensors reads and writes .safetensors files: a JSON header that
// names tensors and the raw numbers behind it
// (https://github.com/huggingface/safetensors#format).
//
// It owns the bytes of the format. It refuses whatever the specification
// refuses (duplicate keys, overlaps, gaps, bytes that no tensor owns), files
// by path, and the meaning of names and metadata.
package safetensors

import (
	"errors"
	"fmt"
	"io"

	"stylenet/internal/formats/floats"
)

// DType is a number type, as a header spells it.
type DType string

// The number types that Encode writes. Decode reads "F64" too.
const (
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
)

// kind returns the layout of the numbers, or false for types that are not
// floats of 16, 32 or 64 bits.
func (d DType) kind() (floats.Kind, bool) {
	switch d {
	case F32:
		return floats.F32, true
	case F16:
		return floats.F16, true
	case BF16:
		return floats.BF16, true
	case "F64":
		return floats.F64, true
	}
	return 0, false
}

const (
	// maxHeader is the limit of the reference implementation, in bytes.
	maxHeader = 100_000_000
	// maxRank and maxName bound what a hostile header costs in memory and
	// what it can put into an error message.
	maxRank = 32
	maxName = 1024

	metadataKey = "__metadata__"
)

// FormatError reports a file that is not valid safetensors.
type FormatError struct {
	Tensor string // the tensor at fault, or ""
	Reason string
}

func (e *FormatError) Error() string {
	return "safetensors: invalid file: " + ofTensor(e.Tensor) + e.Reason
}

// UnsupportedError reports a valid file that holds numbers which this package
// does not read.
type UnsupportedError struct {
	Tensor string // the tensor at fault
	DType  DType
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("safetensors: %snumber type %q is not supported: convert it to F32, F16, BF16 or F64",
		ofTensor(e.Tensor), e.DType)
}

func ofTensor(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf("tensor %q: ", name)
}

func invalid(tensor, format string, args ...any) error {
	return &FormatError{Tensor: tensor, Reason: fmt.Sprintf(format, args...)}
}

// readError tells a file that ends early from a disk that fails.
func readError(tensor, what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return invalid(tensor, "the file ends inside %s: it is truncated, fetch it again", what)
	}
	return fmt.Errorf("safetensors: %sreading %s: %w", ofTensor(tensor), what, err)
}
