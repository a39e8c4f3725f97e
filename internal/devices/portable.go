//go:build !onednn || !cgo

package devices

func backends() []backend {
	return []backend{
		{"reference", openReference},
	}
}
