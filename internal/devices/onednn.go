//go:build onednn && cgo

package devices

import (
	"stylenet/internal/kernels"
	"stylenet/internal/kernels/onednn"
)

func backends() []backend {
	return []backend{
		{"onednn", func(o Options) (kernels.Device, error) {
			d, err := onednn.Open(onednn.Options{Threads: o.Threads, Exact: o.Exact, Precision: o.Precision})
			if err != nil {
				return nil, err // and not a nil of a type, which is no nil
			}
			return d, nil
		}},
		{"reference", openReference},
	}
}
