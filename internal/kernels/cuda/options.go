//go:build cudnn || cudahost

package cuda

import (
	"fmt"

	"stylenet/internal/kernels"
)

// Options choose how a device computes.
type Options struct {
	Index int // which GPU of the machine, from 0
	// Exact multiplies in float32, where tensor cores would round to TF32.
	Exact bool
	// Deterministic takes only algorithms that always sum in one order: a run
	// gives the same bits each time.
	Deterministic bool
	// Precision is kernels.Float32, which "" means too, or kernels.BF16.
	Precision string
}

// element is what maps of more than kernels.PlainChannels channels are made of.
func (o Options) element() element {
	if o.Precision == kernels.BF16 {
		return bfloat16Element
	}
	return float32Element
}

func (o Options) check() error {
	switch {
	case o.Index < 0:
		return fmt.Errorf("cuda: device %d", o.Index)
	case o.Precision != "" && o.Precision != kernels.Float32 && o.Precision != kernels.BF16:
		return fmt.Errorf("cuda: unknown precision %q: use float32 or bf16", o.Precision)
	}
	return nil
}

// memoryError is a driver's refusal to hand out memory.
type memoryError struct {
	bytes int
	cause string // in the words of the driver
}

func (e *memoryError) Error() string {
	return fmt.Sprintf("no %d MiB of memory: %s", e.bytes>>20, e.cause)
}
