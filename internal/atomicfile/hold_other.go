//go:build !unix

package atomicfile

import (
	"os"
	"time"
)

// hold has nothing to do: an open file cannot be removed.
func hold(*os.File, string) (release func(), lost bool) { return func() {}, false }

// removeDead removes a temporary file that nobody has open. One that is new may
// be about to get its name.
func removeDead(path string) error {
	const settled = time.Minute
	if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > settled {
		_ = os.Remove(path) // somebody has it open
	}
	return nil
}
