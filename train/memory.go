package train

import (
	"fmt"
	"strings"

	"stylenet/internal/kernels"
	"stylenet/internal/networks"
	"stylenet/internal/stylize"
)

// checkMemory warns of a step that takes more of a processor's memory than is
// free, and refuses one that takes many times as much, before the system ends the
// process for it. A GPU says itself what it lacks. net is the whole network of the
// model.
func (r *Run) checkMemory(net *networks.Network, free int64, known bool) error {
	if !known || strings.HasPrefix(r.dev.Info().Backend, "cuda") {
		return nil
	}
	need, err := r.leastBytes(net)
	if err != nil || need <= float64(free) {
		return nil // what does not run at that size, the graph names
	}
	t := r.config.Train
	err = fmt.Errorf("a step of train.batch %d at data.size %d takes %.1f GiB of memory at least, and %.1f GiB are free: lower one of them",
		t.Batch, r.config.Data.Size, need/(1<<30), float64(free)/(1<<30))
	if need <= stylize.RefusedMemory*float64(free) {
		r.warn(err)
		return nil
	}
	return err
}

// leastBytes is less than what a step takes: the maps that its gradients need, of
// the trained part of the network and of VGG-19. Another photo in the batch was
// measured to take 1.2 times these maps (convolutions alone) to 3.8 times (adain),
// with what gradients and kernels need; weights come on top.
func (r *Run) leastBytes(net *networks.Network) (float64, error) {
	size := r.config.Data.Size
	pictures := float64(r.config.Train.Batch)
	if r.config.Kind == "video" {
		pictures *= 2 // a pair of each photo
	}
	var values float64
	for _, n := range []*networks.Network{net, r.lossNet} {
		sizes, err := n.Sizes(size, size)
		if err != nil {
			return 0, err
		}
		first := 0
		if i, err := n.Find(networks.AdaINNorm); err == nil {
			first = i + 1 // nothing is differentiated through an encoder
		}
		for i := first; i < len(n.Layers); i++ {
			switch n.Layers[i].Op.(type) {
			case networks.Conv, networks.ConvTranspose, networks.Norm, networks.StyleNorm:
				values += float64(sizes[i].C) * float64(sizes[i].H) * float64(sizes[i].W)
			}
		}
	}
	width := 4.0
	if r.config.Train.Precision == kernels.BF16 {
		width = 2
	}
	return pictures * values * width, nil
}
