// Command stylenet trains style-transfer networks and runs them on pictures.
//
// It owns flags, messages and exit codes: 0 for success, 1 for a failure, 2 for
// wrong usage. It refuses work of its own; each subcommand is a thin layer over
// a package.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"stylenet/internal/devices"
)

func main() {
	devices.SettleOpenMP()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	os.Exit(report(os.Stderr, newRootCmd().ExecuteContext(ctx)))
}
