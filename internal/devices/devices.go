// Package devices opens the backends of package kernels that this build and
// this machine have.
//
// It owns their names and the choice of the best. It refuses everything that
// happens after a device is open.
package devices

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"stylenet/internal/kernels"
	"stylenet/internal/kernels/reference"
)

// Options choose how a device computes.
type Options struct {
	Threads int  // 0: one for each processor
	Exact   bool // no approximate kernels
	// Deterministic has a GPU give the same bits each time. Processors do anyway.
	Deterministic bool
	// Precision is kernels.Float32, which "" means too, or kernels.BF16, which
	// not all backends and processors have and Exact excludes.
	Precision string
}

// backend is one way to compute on the processor.
type backend struct {
	name string
	open func(Options) (kernels.Device, error)
}

// Names lists the devices of this build, the best first. GPUs that do not work
// are among them: opening one says what is missing.
func Names() []string {
	names := cudaNames()
	for _, b := range backends() {
		names = append(names, b.name)
	}
	return names
}

// Open opens the device of that name: one of Names, "cuda" or "cuda:N" for a GPU
// counted from 0, "cpu" for the best way to use the processor, or "auto", which ""
// means too, for the best that works.
func Open(name string, o Options) (kernels.Device, error) {
	if o.Threads < 0 {
		return nil, fmt.Errorf("device: %d threads; use 0 for one for each processor", o.Threads)
	}
	if o.Exact && o.Precision == kernels.BF16 {
		return nil, errors.New("device: exact kernels compute in float32, not in bf16")
	}
	all := backends()
	if name == "auto" || name == "" {
		for _, gpu := range cudaNames() {
			if d, err := Open(gpu, o); err == nil {
				return d, nil
			}
		}
		name = "cpu"
	}
	if name == "cpu" {
		return all[0].open(o)
	}
	if index, ok := gpuIndex(name); ok {
		return openCUDA(index, o)
	}
	for _, b := range all {
		if b.name == name {
			return b.open(o)
		}
	}
	return nil, fmt.Errorf("device %q is not in this build: it has auto, cpu, %s", name, strings.Join(Names(), ", "))
}

// gpuIndex reads cuda or cuda:N.
func gpuIndex(name string) (int, bool) {
	if name == "cuda" {
		return 0, true
	}
	digits, ok := strings.CutPrefix(name, "cuda:")
	if !ok {
		return 0, false
	}
	index, err := strconv.ParseUint(digits, 10, 16)
	return int(index), err == nil
}

func openReference(o Options) (kernels.Device, error) {
	if o.Precision != "" && o.Precision != kernels.Float32 {
		return nil, fmt.Errorf("device reference computes in float32 alone, not in %s", o.Precision)
	}
	return reference.New(o.Threads), nil
}
