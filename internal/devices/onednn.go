//go:build onednn && cgo

package devices

import (
	"stylenet/internal/kernels"
	"stylenet/internal/kernels/onednn"
)

func backends() []backend {
	return []backend{
		{"onednn", func(o Options) (kernels.Device, error) {
			return onednn.Open(onednn.Options{Threads: o.Threads, Exact: o.Exact, Precision: o.Precision})
		}},
		{"reference", openReference},
	}
}
