//go:build onednn && cgo && unix

package devices

import (
	"os"
	"syscall"
)

// SettleOpenMP starts the program anew, once, with OpenMP's threads told not
// to spin for long at the end of each kernel. By default they spin for
// milliseconds and take the processor from the goroutines that decode photos
// and from other programs; with both cores wanted elsewhere a training step
// then takes several times as long. OpenMP reads the setting before main, from
// the environment alone. Settings that are there already are left as they are.
//
// Where the program cannot be started anew it goes on as it is, slower.
func SettleOpenMP() {
	for _, name := range []string{"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} {
		if os.Getenv(name) != "" {
			return
		}
	}
	if self, err := os.Executable(); err == nil {
		_ = syscall.Exec(self, os.Args, append(os.Environ(), "GOMP_SPINCOUNT=1000"))
	}
}
