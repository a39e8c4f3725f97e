//go:build !linux

package main

import "runtime"

// peakBytes is the memory that Go has taken from the operating system, which
// it hands back late: close to the peak, C libraries left out.
func peakBytes() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}
