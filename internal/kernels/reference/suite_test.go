package reference_test

import (
	"testing"

	"stylenet/internal/kernels"
	"stylenet/internal/kernels/kerneltest"
	"stylenet/internal/kernels/reference"
)

func TestConformance(t *testing.T) {
	for name, threads := range map[string]int{"one thread": 1, "three threads": 3} {
		t.Run(name, func(t *testing.T) {
			kerneltest.Run(t, func(*testing.T) kernels.Device { return reference.New(threads) },
				kerneltest.Tolerance{Conv: 2e-7, Rest: 1e-6})
		})
	}
}
