package onnx

import (
	"errors"
	"fmt"
	"math"

	"stylenet/internal/networks"
)

// Range is what values lie within, or most of them.
type Range struct{ Low, High float32 }

// Ranges are those of a network's values on pictures like those that it will
// get, by the indices of layers.
type Ranges struct {
	Maps     map[int]Range   // of all values of a layer
	Channels map[int][]Range // of each channel
}

func (e *encoder) checkRanges(r *Ranges) error {
	maps, channels := Quantized(e.net)
	if len(maps) == 0 {
		return errors.New("the network has no convolution between its first and its last, which stay in float32: nothing is left for int8")
	}
	if r == nil {
		return errors.New("int8 needs the ranges of the network's values: calibrate it on photos")
	}
	good := func(r Range) bool { return r.Low <= r.High && r.Low-r.Low == 0 && r.High-r.High == 0 }
	for _, i := range maps {
		if v, ok := r.Maps[i]; !ok || !good(v) {
			return fmt.Errorf("layer %s: its range is %v: calibrate the network on photos", e.net.Layers[i].Name, v)
		}
	}
	for _, i := range channels {
		of := r.Channels[i]
		if n := e.net.Layers[i].Op.(networks.Conv).Out; len(of) != n {
			return fmt.Errorf("layer %s: %d ranges for %d channels: calibrate the network on photos", e.net.Layers[i].Name, len(of), n)
		}
		for _, v := range of {
			if !good(v) {
				return fmt.Errorf("layer %s: a channel's range is %v: calibrate the network on photos", e.net.Layers[i].Name, v)
			}
		}
	}
	return nil
}

// affine returns the scale and zero point of bytes that hold a range. Zero has a
// byte of its own, which borders are made of.
func (r Range) affine() (scale float32, zero uint8) {
	low, high := min(r.Low, 0), max(r.High, 0)
	scale = max((high-low)/255, math.SmallestNonzeroFloat32*(1<<24))
	return scale, uint8(min(max(math.RoundToEven(float64(-low/scale)), 0), 255))
}

// quantize appends what makes bytes of a layer's result. The convolutions that
// read it share them.
func (e *encoder) quantize(i int) string {
	name := e.net.Layers[i].Name
	scale, zero := e.o.Ranges.Maps[i].affine()
	return e.node("QuantizeLinear", name+".quantize", name+"_output.bytes", []string{
		e.value(i, typeSingle), e.floats(name+".quantum", nil, []float32{scale}), numbers(&e.builder, name+".zero", nil, []uint8{zero}),
	})
}

// zeroPoint is the byte of zero among those of layer i.
func (e *encoder) zeroPoint(i int) string { return e.net.Layers[e.source(i)].Name + ".zero" }

// integerConv appends a convolution between QuantizeLinear and DequantizeLinear,
// which runtimes compute in integers: weights by a scale for each channel, and the
// bias by that of the products.
//
// Where a norm alone reads the result, its channels are scaled and shifted to fill
// the bytes that it is rounded to, which the norm undoes.
func (e *encoder) integerConv(i int) string {
	l := e.net.Layers[i]
	op := l.Op.(networks.Conv)
	source := e.source(l.Inputs[0])
	from := e.net.Layers[source].Name
	x := e.node("DequantizeLinear", l.Name+".dequantize", l.Name+".input",
		[]string{e.value(l.Inputs[0], typeByte), from + ".quantum", from + ".zero"})
	quantum, _ := e.o.Ranges.Maps[source].affine()

	weight, bias := e.set.Get(l.Name+".weight").Data, make([]float32, op.Out)
	if !op.NoBias {
		copy(bias, e.set.Get(l.Name+".bias").Data)
	}
	per := len(weight) / op.Out
	integers, sums := make([]int8, len(weight)), make([]int32, op.Out)
	scales, sumScales := make([]float32, op.Out), make([]float32, op.Out)
	gains, shifts := e.equalized(i)
	for c := range op.Out {
		largest := float32(0)
		channel := weight[c*per : (c+1)*per]
		for _, w := range channel {
			largest = max(largest, w, -w)
		}
		step := max(largest/127, math.SmallestNonzeroFloat32*(1<<24))
		for k, w := range channel {
			integers[c*per+k] = int8(min(max(math.RoundToEven(float64(w/step)), -127), 127))
		}
		scales[c] = step * gains[c]
		sumScales[c] = scales[c] * quantum
		sums[c] = int32(min(max(math.RoundToEven(float64((bias[c]-shifts[c])*gains[c])/float64(sumScales[c])), -math.MaxInt32), math.MaxInt32))
	}
	w := e.dequantized(l.Name+".weight", numbers(&e.builder, l.Name+".weight", e.set.Get(l.Name+".weight").Shape, integers), scales)
	b := e.dequantized(l.Name+".bias", numbers(&e.builder, l.Name+".bias", []int{op.Out}, sums), sumScales)
	y := e.node("Conv", l.Name, l.Name+"_output", []string{x, w, b}, convAttributes(op)...)
	if !e.forNormAlone(i) {
		return y
	}
	scale, zero := e.floats(l.Name+".quantum", nil, []float32{1. / 127}), numbers(&e.builder, l.Name+".zero", nil, []uint8{128})
	y = e.node("QuantizeLinear", l.Name+".quantize", y+".bytes", []string{y, scale, zero})
	return e.node("DequantizeLinear", l.Name+".single", y+".single", []string{y, scale, zero})
}

// dequantized appends the floats of constant integers, by a scale for each of
// their first dimension.
func (e *encoder) dequantized(name, integers string, scales []float32) string {
	return e.node("DequantizeLinear", name+".dequantize", name+".single",
		[]string{integers, e.floats(name+".quanta", []int{len(scales)}, scales)}, integer("axis", 0))
}

// equalized says by what the channels of a convolution are shifted and then
// multiplied so that each lies within −1 and 1: by nothing where no norm undoes it.
func (e *encoder) equalized(i int) (gains, shifts []float32) {
	n := e.net.Layers[i].Op.(networks.Conv).Out
	gains, shifts = make([]float32, n), make([]float32, n)
	largest := float32(0)
	if e.forNormAlone(i) {
		for c, r := range e.o.Ranges.Channels[i] {
			gains[c], shifts[c] = (r.High-r.Low)/2, (r.High+r.Low)/2
			largest = max(largest, gains[c])
		}
	}
	for c, g := range gains {
		// A channel that never changes is not made one of noise.
		if g = max(g, largest*1e-4); g == 0 {
			g = 1
		}
		gains[c] = 1 / g
	}
	return gains, shifts
}

// epsilonScale is what the ε of a norm is multiplied by where the values that it
// reads were scaled before. Int8 scales by channels: it is the geometric mean of the
// scales' squares then, since a norm has one ε for all channels.
func (e *encoder) epsilonScale(i int) float32 {
	from := e.net.Layers[i].Inputs[0]
	if from == networks.Input || !e.forNormAlone(from) {
		return 1
	}
	if e.o.Precision != Int8 || !e.inIntegers(from) {
		by := e.halfScale(from)
		return by * by
	}
	gains, _ := e.equalized(from)
	sum := 0.
	for _, g := range gains {
		sum += math.Log(float64(g))
	}
	return float32(math.Exp(2 * sum / float64(len(gains))))
}
