package autodiff

import "stylenet/internal/networks"

// step is one kernel of a network that is trained: a layer, with the ReLU that
// follows it where the kernel does both at once.
type step struct {
	layer  networks.Layer
	inputs []int // layers whose results are read, or networks.Input
	output int   // the layer whose result this is: layer's own, or the ReLU's
	relu   bool
}

// steps lists the kernels of a network. A convolution or norm takes in the
// ReLU that alone reads it, unless keep wants its result as well.
func steps(net *networks.Network, keep []int) []step {
	var all []step
	for i := 0; i < len(net.Layers); i++ {
		s := step{layer: net.Layers[i], inputs: net.Layers[i].Inputs, output: i}
		switch s.layer.Op.(type) {
		case networks.Conv, networks.Norm:
			if net.ReLUAlone(i, keep) {
				i++
				s.relu, s.output = true, i
			}
		}
		all = append(all, s)
	}
	return all
}
