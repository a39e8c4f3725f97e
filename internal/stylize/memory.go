package stylize

import (
	"bufio"
	"fmt"
	"os"

	"stylenet/internal/inference"
	"stylenet/internal/networks"
)

// fits refuses a size whose feature maps alone exceed the free memory. The
// operating system would promise that memory and then kill the process for
// using it.
func (s *Stylizer) fits(h, w int) error {
	need, err := s.mapBytes(h, w)
	if err != nil {
		return err
	}
	if free := freeMemory(); free > 0 && need > free {
		return fmt.Errorf("it needs %d MiB at least, and %d MiB are free", need>>20, free>>20)
	}
	return nil
}

// mapBytes is the most memory that the feature maps take at once: a lower
// bound of what a plan needs.
func (s *Stylizer) mapBytes(h, w int) (int64, error) {
	sizes, err := s.net.Sizes(h, w)
	if err != nil {
		return 0, err
	}
	bytes := func(size networks.Size) int64 { return 4 * int64(size.C) * int64(size.H) * int64(size.W) }
	steps := inference.Steps(s.net, len(s.net.Layers)-1)
	last := map[int]int{} // the last step that reads a map
	for i, step := range steps {
		for _, j := range step.Inputs {
			last[j] = i
		}
	}
	held := bytes(networks.Size{C: s.net.Channels, H: h, W: w}) // the input stays
	most := held
	for i, step := range steps {
		held += bytes(sizes[step.Output])
		most = max(most, held)
		for j, at := range last {
			if at == i && j != networks.Input {
				held -= bytes(sizes[j])
			}
		}
	}
	return most, nil
}

// freeMemory is what Linux can give to a process without swapping, in bytes,
// or 0 where that is not known.
func freeMemory() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kib int64
		if _, err := fmt.Sscanf(lines.Text(), "MemAvailable: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	return 0
}
