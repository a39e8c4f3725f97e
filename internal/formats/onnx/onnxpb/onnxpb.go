// Package onnxpb holds the protobuf messages of ONNX, generated from the
// onnx.proto of ONNX 1.23.2, which is kept unchanged beside this file
// (Apache-2.0).
//
// It owns nothing but generated code, and refuses meaning: package onnx gives
// the messages theirs. To generate it again: apt install protobuf-compiler
// (3.21 or newer), then go generate.
package onnxpb

//go:generate go build -o protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go
//go:generate protoc --plugin=protoc-gen-go --go_out=. --go_opt=paths=source_relative --go_opt=Monnx.proto=stylenet/internal/formats/onnx/onnxpb onnx.proto
//go:generate rm protoc-gen-go
