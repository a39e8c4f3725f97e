package inference

import (
	"slices"

	"stylenet/internal/networks"
)

// Fused is one kernel of a network that runs forward alone: it reads earlier
// results through norms, ReLUs, upsamplings and borders, which therefore are
// never written to memory.
type Fused struct {
	// Layer is what the kernel computes: a convolution, whose padding is among
	// the Reads then, an Add, or any layer that cannot read through others. A
	// step without an Op writes down what it reads, for the sake of such a
	// layer or of the caller.
	Layer networks.Layer
	Reads []Read
	// ReLU is a convolution's ReLU of its own.
	ReLU bool
	// Stats is the instance or group norm that wants the result's statistics, or nil.
	Stats *networks.Layer
	// Output is the layer whose result this is. It names the result in Reads.
	Output int
}

// Read is how a step reads an earlier result: normalised, then through ReLU,
// then enlarged, then with a border.
type Read struct {
	From     int             // the result of that layer, or networks.Input
	Norm     *networks.Layer // nil: none
	ReLU     bool
	Upsample int // 0 and 1: none
	Mode     networks.PadMode
	Pad      networks.Padding // negative amounts crop
}

// plain says that the result is read as it is.
func (r Read) plain() bool { return r.unbordered() && r.Upsample <= 1 && !r.ReLU && r.Norm == nil }

func (r Read) unbordered() bool { return r.Pad == networks.Padding{} }

// Fuse lists the kernels of a network. keep lists the layers whose results the
// caller wants.
func Fuse(net *networks.Network, keep ...int) []Fused {
	f := &fuser{net: net, keep: keep, views: map[int]Read{}, made: map[int]int{}}
	f.views[networks.Input] = Read{From: networks.Input}
	for i := 0; i < len(net.Layers); i++ {
		i = f.layer(i)
		if v := f.views[i]; slices.Contains(keep, i) && v.From != i {
			f.copy(i, v)
		}
	}
	return f.steps
}

type fuser struct {
	net   *networks.Network
	keep  []int
	steps []Fused
	views map[int]Read // how to read each layer's result
	made  map[int]int  // the step of each result
}

// layer adds the i-th layer and returns the last layer that this took in.
func (f *fuser) layer(i int) int {
	l := &f.net.Layers[i]
	v := f.views[l.Inputs[0]]
	switch op := l.Op.(type) {
	case networks.Conv:
		if op.Pad != (networks.Padding{}) {
			if !v.unbordered() {
				v = f.write(l.Inputs[0])
			}
			v.Mode, v.Pad, op.Pad = networks.PadZero, op.Pad, networks.Padding{}
		}
		step := Fused{Layer: networks.Layer{Name: l.Name, Op: op, Inputs: l.Inputs}, Reads: []Read{v}, Output: i}
		if f.net.ReLUAlone(i, f.keep) {
			step.ReLU, step.Output = true, i+1
		}
		f.add(step)
		return step.Output
	case networks.Norm, networks.GroupNorm:
		v = f.write(l.Inputs[0])
		made, ok := f.made[v.From]
		switch {
		case batchNorm(l): // with running statistics
		case ok && f.steps[made].Stats == nil:
			f.steps[made].Stats = l
		default:
			// Of the input, or the second norm of one result.
			f.add(Fused{Layer: *l, Reads: []Read{v}, Output: i})
			return i
		}
		v.Norm = l
		f.views[i] = v
	case networks.ReLU:
		v.ReLU = true // it may go before upsampling and any border
		f.views[i] = v
	case networks.Upsample:
		if !v.unbordered() {
			v = f.write(l.Inputs[0])
		}
		v.Upsample = max(v.Upsample, 1) * op.Factor
		f.views[i] = v
	case networks.Pad:
		if !v.unbordered() {
			v = f.write(l.Inputs[0])
		}
		v.Mode, v.Pad = op.Mode, op.Padding
		f.views[i] = v
	case networks.Add:
		f.add(Fused{Layer: *l, Reads: []Read{v, f.views[l.Inputs[1]]}, Output: i})
	default:
		step := Fused{Layer: *l, Output: i}
		for _, j := range l.Inputs {
			step.Reads = append(step.Reads, f.write(j))
		}
		f.add(step)
	}
	return i
}

func batchNorm(l *networks.Layer) bool {
	op, ok := l.Op.(networks.Norm)
	return ok && op.Batch
}

func (f *fuser) add(s Fused) {
	f.made[s.Output] = len(f.steps)
	f.steps = append(f.steps, s)
	f.views[s.Output] = Read{From: s.Output}
}

// write makes a layer's result one that can be read as it is.
func (f *fuser) write(layer int) Read {
	if v := f.views[layer]; !v.plain() {
		f.copy(layer, v)
	}
	return f.views[layer]
}

// copy adds a step that writes down what is read.
func (f *fuser) copy(layer int, v Read) {
	f.add(Fused{Layer: networks.Layer{Name: f.net.Layers[layer].Name}, Reads: []Read{v}, Output: layer})
}
