//go:build !onednn || !cgo || !unix

package devices

// SettleOpenMP does nothing in a build without OpenMP.
func SettleOpenMP() {}
