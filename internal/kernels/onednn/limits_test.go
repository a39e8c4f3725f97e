//go:build onednn && cgo

package onednn

import "testing"

// The limits are of this machine: only their order is known.
func TestLimits(t *testing.T) {
	d, err := Open(Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	peak, err := d.PeakFLOPS()
	if err != nil || peak < 1e8 || peak > 1e13 {
		t.Errorf("%v FLOP/s: %v", peak, err)
	}
	for _, bytes := range []int{0, 1 << 16, 1 << 26} {
		b, err := d.Bandwidth(bytes)
		if err != nil || b < 1e7 || b > 1e13 {
			t.Errorf("%d bytes: %v bytes/s: %v", bytes, b, err)
		}
		t.Logf("peak %.0f GFLOP/s, %d bytes: %.1f GB/s", peak/1e9, bytes, b/1e9)
	}
}
