//go:build !cudnn

package devices

import (
	"fmt"

	"stylenet/internal/kernels"
)

func cudaNames() []string { return nil }

func openCUDA(index int, _ Options) (kernels.Device, error) {
	return nil, fmt.Errorf("device cuda:%d: this build has no CUDA; make build CUDA=1 has it, on Linux (docs/cuda.md)", index)
}
