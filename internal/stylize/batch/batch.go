// Package batch does one thing to each of many pictures: it finds them, says
// where the results go, goes on where an earlier run stopped, and overlaps
// reading, computing and writing.
//
// It owns what the arguments of a command stand for, the names of results and
// the promise that no two are the same and none is an input, the journal of what
// is done, and the order of work. All of it takes the same memory for a million
// pictures as for ten. It refuses to know what is done to a picture.
package batch

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"stylenet/data"
)

// Stdin is the argument and the path that stand for standard input.
const Stdin = "-"

// ErrStdinTwice reports arguments of which two are Stdin.
var ErrStdinTwice = errors.New("standard input (-) is named twice")

// stdinName names what comes from standard input in a folder of results.
const stdinName = "stdin"

// Picture is one picture to read.
type Picture struct {
	Path string // Stdin is standard input
	Name string // in a folder of results: slash-separated, without ".."
}

// Inputs are the pictures that the arguments of a command stand for.
type Inputs struct {
	// Other, unless nil, is told of each file in a folder that is no picture and so
	// is passed over, whenever the pictures are ranged over.
	Other func(path string)

	args []argument
}

// argument is a file, which may be missing, a folder, or the names in a folder
// that match a pattern.
type argument struct {
	text   string
	kind   kind
	dir    string // of a folder and a match: what is read
	real   string // dir's absolute path without links
	match  string // of names in dir
	folder []argument
}

type kind int

const (
	file kind = iota
	folder
	match
)

// Open looks at arguments: files, folders, patterns of filepath.Match, and
// Stdin. A file that is missing is one that fails later, beside the others.
func Open(args []string) (*Inputs, error) {
	in := &Inputs{}
	stdin := false
	for _, text := range args {
		if text == Stdin && stdin {
			return nil, ErrStdinTwice
		}
		stdin = stdin || text == Stdin
		found, err := parse(text)
		if err != nil {
			return nil, err
		}
		in.args = append(in.args, found...)
	}
	return in, nil
}

func parse(text string) ([]argument, error) {
	if text == Stdin {
		return []argument{{text: text}}, nil
	}
	info, err := os.Stat(text)
	switch {
	case err == nil && info.IsDir():
		a, err := openFolder(text)
		return []argument{a}, err
	case err == nil || !strings.ContainsAny(text, "*?["):
		return []argument{{text: text}}, nil
	}
	return parsePattern(text)
}

func openFolder(dir string) (argument, error) {
	real, err := RealPath(dir)
	return argument{text: dir, kind: folder, dir: dir, real: real}, err
}

// parsePattern finds the folders that a pattern matches, and those in which it
// matches files. Files are not listed: there may be many.
func parsePattern(text string) ([]argument, error) {
	dir, base := filepath.Split(text)
	if _, err := filepath.Match(base, ""); err != nil {
		return nil, fmt.Errorf("%s: %w", text, err)
	}
	dirs, err := filepath.Glob(filepath.Clean(dir))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text, err)
	}
	var all []argument
	for _, d := range dirs {
		if info, err := os.Stat(d); err != nil || !info.IsDir() {
			continue
		}
		a, err := openFolder(d)
		if err != nil {
			return nil, err
		}
		a.text, a.kind, a.match = text, match, base
		matches := false
		for n, err := range data.Names(d) {
			if err != nil {
				return nil, err
			}
			if ok, err := filepath.Match(base, n.Name); err != nil || !ok {
				continue
			}
			matches = true
			if n.Mode.IsDir() {
				inner, err := openFolder(filepath.Join(d, n.Name))
				if err != nil {
					return nil, err
				}
				a.folder = append(a.folder, inner)
			}
		}
		if matches {
			all = append(all, a)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s matches no file", text)
	}
	return all, nil
}

// Many says that a folder or a pattern is among the arguments, so that there
// may be any number of pictures.
func (in *Inputs) Many() bool {
	return len(in.args) > 1 || in.args[0].kind != file
}

// folders yields the folders among the arguments, and those that patterns match.
func (in *Inputs) folders() iter.Seq[argument] {
	return func(yield func(argument) bool) {
		for _, a := range in.args {
			if a.kind == folder && !yield(a) {
				return
			}
			for _, f := range a.folder {
				if !yield(f) {
					return
				}
			}
		}
	}
}

// Pictures yields the pictures in the order of the arguments. What lies in the
// folder at except, an absolute path without links or "", is passed over where
// that lies in a folder among the arguments. It can be ranged over again, and
// an argument that holds no picture is an error.
func (in *Inputs) Pictures(except string) iter.Seq2[Picture, error] {
	return func(yield func(Picture, error) bool) {
		for _, a := range in.args {
			found := false
			for p, err := range a.pictures(except, in.Other) {
				found = true
				if !yield(p, err) || err != nil {
					return
				}
			}
			if !found {
				yield(Picture{}, fmt.Errorf("%s holds no pictures", a.text))
				return
			}
		}
	}
}

func (a argument) pictures(except string, other func(string)) iter.Seq2[Picture, error] {
	switch a.kind {
	case folder:
		return a.inFolder(except, other)
	case match:
		return a.matches(except, other)
	}
	return func(yield func(Picture, error) bool) {
		if a.text == Stdin {
			yield(Picture{Stdin, stdinName}, nil)
			return
		}
		yield(Picture{a.text, filepath.Base(a.text)}, nil)
	}
}

func (a argument) inFolder(except string, other func(string)) iter.Seq2[Picture, error] {
	path := func(name string) string { return filepath.Join(a.dir, filepath.FromSlash(name)) }
	named := func(name string) {
		if other != nil {
			other(path(name))
		}
	}
	return func(yield func(Picture, error) bool) {
		for name, err := range data.Walk(a.dir, func(real string) bool { return real == except }, named) {
			if !yield(Picture{path(name), name}, err) {
				return
			}
		}
	}
}

func (a argument) matches(except string, other func(string)) iter.Seq2[Picture, error] {
	return func(yield func(Picture, error) bool) {
		for n, err := range data.Names(a.dir) {
			if err != nil {
				yield(Picture{}, err)
				return
			}
			if ok, err := filepath.Match(a.match, n.Name); err != nil || !ok {
				continue
			}
			path := filepath.Join(a.dir, n.Name)
			if !n.Mode.IsDir() {
				if !yield(Picture{path, n.Name}, nil) {
					return
				}
				continue
			}
			inner, err := openFolder(path)
			if err != nil {
				yield(Picture{}, err)
				return
			}
			if inner.real == except {
				continue
			}
			for p, err := range inner.inFolder(except, other) {
				if !yield(p, err) {
					return
				}
			}
		}
	}
}

// RealPath is the absolute path of a file or folder without links, of which the
// end need not exist.
func RealPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for rest := ""; ; {
		real, err := filepath.EvalSymlinks(abs)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		parent := filepath.Dir(abs)
		if parent == abs {
			return "", err
		}
		abs, rest = parent, filepath.Join(filepath.Base(abs), rest)
	}
}

// Inside says that a path is dir or below it; both are absolute, without links.
func Inside(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}
