//go:build linux || darwin

package inference

import "syscall"

// freeSpace is what can be written to a folder, in bytes, or -1 where that is
// not known.
func freeSpace(dir string) int64 {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return -1
	}
	return int64(s.Bavail) * int64(s.Bsize)
}
