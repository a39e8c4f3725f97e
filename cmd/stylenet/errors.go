package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"stylenet/configs"
	"stylenet/internal/stylize"
)

// usageError is a command line that means nothing; it exits with 2.
type usageError struct {
	err  error
	hint string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }
func (e *usageError) Hint() string  { return e.hint }

// usagef makes a usage error of cmd, with its help as the hint.
func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...), fmt.Sprintf("see %s --help", cmd.CommandPath())}
}

// hinted adds advice to an error.
type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }
func (e *hinted) Hint() string  { return e.hint }

// hintOf is the advice that an error carries, or "".
func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	var size *stylize.SizeError
	if !errors.As(err, &size) {
		return ""
	}
	more := "allow more with --memory"
	if size.Full {
		more = "end other programs or raise the container's limit"
	}
	if size.Rows > 1 {
		return "give a smaller --tile, or " + more
	}
	return fmt.Sprintf("%s, or shrink the picture first with --max-size %d", more, max(size.W, size.H)/2)
}

// complain writes an error and its hint.
func complain(w io.Writer, err error) {
	fmt.Fprintf(w, "error: %s\n", strings.ReplaceAll(err.Error(), context.Canceled.Error(), "interrupted"))
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(w, "hint: %s\n", hint)
	}
}

// flagFaults makes a configuration's faults those of the flags that set its keys:
// flagOf knows them, and sets are the values of --set. What is wrong with the
// command line alone is wrong usage.
func flagFaults(cmd *cobra.Command, err error, sets []string, flagOf func(key string) (flag string, ok bool)) error {
	var faults configs.Faults
	if !errors.As(err, &faults) {
		return err
	}
	usage := true
	for i, f := range faults {
		flag, ok := flagOf(f.Key)
		switch {
		case f.File != "" && f.File != "--set":
			usage = false
		case slices.Contains(sets, f.Key): // it has no value
		case ok && (f.File == "" || cmd.Flags().Changed(flag)):
			_, layer, _ := strings.Cut(f.Key, ".layers.")
			faults[i].File, faults[i].Key = "", strings.TrimSpace("--"+flag+" "+layer)
		}
	}
	if usage {
		return usagef(cmd, "%w", faults)
	}
	return faults
}

// flagsOf makes a table of the flags of keys what flagFaults takes.
func flagsOf(flags map[string]string) func(key string) (string, bool) {
	return func(key string) (string, bool) {
		flag, ok := flags[key]
		return flag, ok
	}
}

// report writes the error that ended the program, and returns the exit code.
func report(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	complain(w, err)
	var usage *usageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

// args lets a command have so many arguments; any other number, an argument
// that is none of its ValidArgs, and missing flags are usage errors. Every command
// has its check of arguments from here.
func args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef(cmd, "an argument is missing: %s", usageLine(cmd))
		case len(args) > most:
			return usagef(cmd, "%q is an argument too many: %s", args[most], usageLine(cmd))
		}
		for _, err := range []error{cobra.OnlyValidArgs(cmd, args), cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups()} {
			if err != nil {
				return usagef(cmd, "%w", err)
			}
		}
		return nil
	}
}

// usageLine is how cmd is called, as its help says it.
func usageLine(cmd *cobra.Command) string {
	return strings.TrimSuffix(cmd.UseLine(), " [flags]")
}

// group makes cmd a command that only holds others: alone it shows its help,
// and a name that none of them has is a usage error.
func group(cmd *cobra.Command, commands ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(commands...)
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return noCommand(cmd, args[0])
	}
	return cmd
}

// noCommand is the error of a name that none of cmd's commands has.
func noCommand(cmd *cobra.Command, name string) error {
	hint := fmt.Sprintf("see %s --help", cmd.CommandPath())
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return &usageError{fmt.Errorf("%s has no command %q", cmd.CommandPath(), name), hint}
}

// strict makes unknown names usage errors in the two commands that cobra adds.
func strict(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "completion":
			group(cmd)
		case "help":
			cmd.Args = func(_ *cobra.Command, args []string) error {
				found, rest, err := root.Find(args)
				if err == nil && len(rest) > 0 {
					err = noCommand(found, rest[0])
				}
				return err
			}
		}
	}
}
