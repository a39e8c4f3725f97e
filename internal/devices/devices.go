// Package devices opens the backends of package kernels that this build and
// this machine have.
//
// It owns their names and the choice of the best. It refuses everything that
// happens after a device is open.
package devices

import (
	"errors"
	"fmt"
	"strings"

	"stylenet/internal/kernels"
	"stylenet/internal/kernels/reference"
)

// Options choose how a device computes.
type Options struct {
	Threads int  // 0: one for each processor
	Exact   bool // no approximate kernels
	// Precision is kernels.Float32, which "" means too, or kernels.BF16, which
	// not all backends and processors have and Exact excludes.
	Precision string
}

// backend is one way to compute.
type backend struct {
	name string
	open func(Options) (kernels.Device, error)
}

// Names lists the backends of this build, the best first.
func Names() []string {
	var names []string
	for _, b := range backends() {
		names = append(names, b.name)
	}
	return names
}

// Open opens the device of that name: "auto" or "cpu" is the best one for the
// processor.
func Open(name string, o Options) (kernels.Device, error) {
	if o.Threads < 0 {
		return nil, fmt.Errorf("device: %d threads; use 0 for one for each processor", o.Threads)
	}
	if o.Exact && o.Precision == kernels.BF16 {
		return nil, errors.New("device: exact kernels compute in float32, not in bf16")
	}
	all := backends()
	if name == "auto" || name == "cpu" || name == "" {
		return all[0].open(o)
	}
	for _, b := range all {
		if b.name == name {
			return b.open(o)
		}
	}
	return nil, fmt.Errorf("device %q is not in this build: it has auto, cpu, %s", name, strings.Join(Names(), ", "))
}

func openReference(o Options) (kernels.Device, error) {
	if o.Precision != "" && o.Precision != kernels.Float32 {
		return nil, fmt.Errorf("device reference computes in float32 alone, not in %s", o.Precision)
	}
	return reference.New(o.Threads), nil
}
