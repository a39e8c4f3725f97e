//go:build unix

package video

import (
	"os/exec"
	"syscall"
)

// apart puts a program in a group of its own, so that Ctrl-C at the terminal
// reaches this process alone, which then ends the program in order.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
