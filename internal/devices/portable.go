//go:build !onednn || !cgo

package devices

import (
	"stylenet/internal/kernels"
	"stylenet/internal/kernels/reference"
)

func backends() []backend {
	return []backend{
		{"reference", func(o Options) (kernels.Device, error) { return reference.New(o.Threads), nil }},
	}
}
