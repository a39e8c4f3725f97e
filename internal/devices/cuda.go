//go:build cudnn

package devices

import (
	"fmt"
	"path/filepath"

	"stylenet/internal/kernels"
	"stylenet/internal/kernels/cuda"
)

// cudaNames lists a GPU at least, so that opening it can say what it lacks. To
// count them by their files in /dev starts no driver, which takes long.
func cudaNames() []string {
	files, _ := filepath.Glob("/dev/nvidia[0-9]*") // the pattern is well formed
	var names []string
	for i := range max(len(files), 1) {
		names = append(names, fmt.Sprintf("cuda:%d", i))
	}
	return names
}

func openCUDA(index int, o Options) (kernels.Device, error) {
	d, err := cuda.Open(cuda.Options{Index: index, Exact: o.Exact, Deterministic: o.Deterministic, Precision: o.Precision})
	if err != nil {
		return nil, err // and not a nil of a type, which is no nil
	}
	return d, nil
}
