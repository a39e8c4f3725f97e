//go:build !linux && !darwin

package inference

// freeSpace would be what can be written to a folder; it is not known here.
func freeSpace(string) int64 { return -1 }
