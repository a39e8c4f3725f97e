package onnx

import "stylenet/internal/formats/onnx/onnxpb"

// fromBytes makes planes of float32 of pixels.
func (e *encoder) fromBytes(pixels string) string {
	const name = "bytes."
	x := e.node("Cast", name+"cast", name+"single", []string{pixels}, integer("to", int(onnxpb.TensorProto_FLOAT)))
	return e.node("Transpose", name+"transpose", name+"planes", []string{x}, list("perm", 0, 3, 1, 2))
}

// toBytes makes pixels of planes of float32.
func (e *encoder) toBytes(x string) string {
	const name = "bytes."
	limits := []string{x, e.floats(name+"black", nil, []float32{0}), e.floats(name+"white", nil, []float32{255})}
	x = e.node("Clip", name+"clip", name+"clipped", limits)
	x = e.node("Round", name+"round", name+"rounded", []string{x})
	x = e.node("Cast", name+"narrow", name+"samples", []string{x}, integer("to", int(onnxpb.TensorProto_UINT8)))
	return e.node("Transpose", name+"interleave", name+"pixels", []string{x}, list("perm", 0, 2, 3, 1))
}

// addBorder repeats the last row and column until both sides are a multiple of
// Multiple and at least Least. It returns the larger picture and, where it is not
// known beforehand, the size of the smaller one.
func (e *encoder) addBorder(picture string) (padded, size string) {
	const name = "border."
	if e.o.Width > 0 {
		down, right := e.o.grown(e.o.Height)-e.o.Height, e.o.grown(e.o.Width)-e.o.Width
		if down == 0 && right == 0 {
			return picture, ""
		}
		pads := e.integers(name+"pads", 0, 0, 0, 0, 0, 0, int64(down), int64(right))
		return e.node("Pad", name+"pad", name+"padded", []string{picture, pads}, text("mode", "edge")), ""
	}
	multiple, least := int64(e.o.Multiple), int64(e.o.Least)
	size = e.node("Shape", name+"shape", name+"size", []string{picture}, integer("start", 2), integer("end", 4))
	up := e.node("Add", name+"add", name+"up", []string{size, e.integers(name+"rest", multiple-1)})
	factor := e.integers(name+"multiple", multiple)
	up = e.node("Div", name+"div", name+"multiples", []string{up, factor})
	up = e.node("Mul", name+"mul", name+"rounded", []string{up, factor})
	up = e.node("Max", name+"max", name+"padded_size", []string{up, e.integers(name+"least", least)})
	ends := e.node("Sub", name+"sub", name+"missing", []string{up, size})
	pads := e.node("Concat", name+"concat", name+"pads", []string{e.integers(name+"zeros", 0, 0, 0, 0, 0, 0), ends}, integer("axis", 0))
	return e.node("Pad", name+"pad", name+"padded", []string{picture, pads}, text("mode", "edge")), size
}

// cropBorder cuts the answer back to the input's size.
func (e *encoder) cropBorder(x, size string) string {
	const name = "border."
	if size == "" {
		w, h := e.o.Width, e.o.Height
		if e.o.grown(w) == w && e.o.grown(h) == h {
			return x
		}
		size = e.integers(name+"size", int64(h), int64(w))
	}
	return e.node("Slice", name+"slice", name+"cropped", []string{x, e.integers(name+"starts", 0, 0), size, e.integers(name+"axes", 2, 3)})
}
