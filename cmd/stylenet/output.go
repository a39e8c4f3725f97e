package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// say tells a person what was done. Scripts, which know it from the exit code,
// are spared it.
func say(cmd *cobra.Command, format string, args ...any) {
	if out := cmd.OutOrStdout(); isTerminal(out) {
		fmt.Fprintf(out, format+"\n", args...)
	}
}

// printJSON writes v on one line.
func printJSON(cmd *cobra.Command, v any) error {
	e := json.NewEncoder(cmd.OutOrStdout())
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// warn tells of something that does not stop the command.
func warn(cmd *cobra.Command, format string, args ...any) {
	fmt.Fprintf(cmd.ErrOrStderr(), "warning: "+format+"\n", args...)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// newProgress makes a bar on stderr that vanishes when it is full; where
// stdout or stderr is no terminal, or with --json, nothing is shown.
func newProgress(cmd *cobra.Command, total int, what string) *progressbar.ProgressBar {
	w := cmd.ErrOrStderr()
	json := cmd.Flag("json")
	visible := isTerminal(w) && isTerminal(cmd.OutOrStdout()) && (json == nil || json.Value.String() != "true")
	return progressbar.NewOptions(total,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetVisibility(visible),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionFullWidth(),
		progressbar.OptionClearOnFinish(),
	)
}
