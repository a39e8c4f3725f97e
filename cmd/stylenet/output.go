package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"stylenet/internal/atomicfile"
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

// makeFolder makes the folder that an output is to lie in.
func makeFolder(output string) error { return os.MkdirAll(filepath.Dir(output), 0o777) }

// inFolder writes an output, whose folder it makes; where that fails, the folder
// goes again.
func inFolder(output string, write func() error) error {
	undo, err := atomicfile.MkdirAll(filepath.Dir(output))
	if err != nil {
		return err
	}
	if err = write(); err != nil {
		undo()
	}
	return err
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// newProgress makes a bar on stderr that vanishes when it is full; where
// stdout or stderr is no terminal, or with --json, nothing is shown.
func newProgress(cmd *cobra.Command, total int, what string) *progressbar.ProgressBar {
	return newBar(cmd, total, what, progressbar.OptionShowCount())
}

func newBar(cmd *cobra.Command, total int, what string, more ...progressbar.Option) *progressbar.ProgressBar {
	w := cmd.ErrOrStderr()
	json := cmd.Flag("json")
	visible := isTerminal(w) && isTerminal(cmd.OutOrStdout()) && (json == nil || json.Value.String() != "true")
	return progressbar.NewOptions(total, append([]progressbar.Option{
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetVisibility(visible),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionFullWidth(),
		progressbar.OptionClearOnFinish(),
	}, more...)...)
}

// shares is the progress of items of which each one takes long.
type shares struct {
	*progressbar.ProgressBar
	items int
	what  string
}

// itemShares is how many steps of the bar an item is.
const itemShares = 1000

func newShares(cmd *cobra.Command, items int, what string) *shares {
	s := &shares{newBar(cmd, items*itemShares, what), items, what}
	s.at(0, 0)
	return s
}

// at shows that a share, 0 to 1, of item i is done, the first being 0. A
// terminal that is gone does not matter.
func (s *shares) at(i int, share float64) {
	if s.items > 1 {
		s.Describe(fmt.Sprintf("%s %d of %d", s.what, min(i+1, s.items), s.items))
	}
	_ = s.Set(i*itemShares + int(itemShares*share))
}
