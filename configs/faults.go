package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// override stands in Fault.File for a --set flag.
const override = "--set"

// Fault is one thing that is wrong with a config.
type Fault struct {
	// File is the config's name, "--set" where an override is at fault, or
	// empty for a Config that was not loaded.
	File string
	// Line counts from 1; 0 where no line of the file holds the key.
	Line int
	// Key is dotted, such as train.batch; empty for the file as a whole.
	Key string
	// Problem completes a sentence that begins with the key.
	Problem string
}

// Error returns one line, such as
// "johnson.yaml:12: train.batch must be at least 1, got 0" or
// "--set train.batch must be at least 1, got 0".
func (f Fault) Error() string {
	text := f.Problem
	if f.Key != "" {
		text = printable(f.Key) + " " + text
	}
	switch {
	case f.File == "":
		return text
	case f.File == override:
		return override + " " + text
	case f.Line == 0:
		return f.File + ": " + text
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, text)
}

// Faults is every fault of a config: those with a line by line, then those of
// absent keys, then those of overrides. It is never empty as an error.
type Faults []Fault

// Error returns one fault a line.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// err returns the sorted faults as an error, or nil where there are none.
func (fs Faults) err() error {
	if len(fs) == 0 {
		return nil
	}
	rank := func(f Fault) int {
		switch {
		case f.File == override:
			return 2
		case f.Line == 0:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(fs, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Line, b.Line))
	})
	return fs
}

// quoted shortens text from a config and quotes it.
func quoted(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return strconv.Quote(s)
}

// printable is quoted, without the quotes where the text needs none.
func printable(s string) string {
	q := quoted(s)
	if inner := q[1 : len(q)-1]; !strings.Contains(inner, `\`) {
		return inner
	}
	return q
}

// didYouMean ends a fault with a suggestion, where there is one.
func didYouMean(option string) string {
	if option == "" {
		return ""
	}
	return "; did you mean " + option + "?"
}

// nearest returns the option that a person who typed word most likely meant, or
// "". Case, "_" and "-" do not count; a third of the letters may differ, or one
// word may begin the other (batch_size for batch).
func nearest(word string, options []string) string {
	fold := strings.NewReplacer("_", "", "-", "")
	w := fold.Replace(strings.ToLower(word))
	best, distance := "", max(1, len(w)/3)+1
	for _, o := range options {
		f := fold.Replace(o)
		if d := editDistance(w, f); d < distance {
			best, distance = o, d
		}
	}
	if best != "" {
		return best
	}
	for _, o := range options {
		f := fold.Replace(o)
		if min(len(w), len(f)) >= 3 && (strings.HasPrefix(w, f) || strings.HasPrefix(f, w)) {
			return o
		}
	}
	return ""
}

// editDistance is Levenshtein's, with a swap of neighbours as one edit. Words
// longer than any key are infinitely far, which also bounds the work.
func editDistance(a, b string) int {
	if len(a) > 40 || len(b) > 40 {
		return len(a) + len(b)
	}
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
