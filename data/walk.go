package data

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Walk yields the picture files under dir that List returns, as List names
// them, folder by folder: the names of a folder in byte order, and what lies in
// a folder in its place among them. It holds a bounded number of names at a
// time, however many files there are.
//
// Links to folders are followed where they lead out of dir, and no folder is
// entered in itself. skip, unless nil, is asked about each folder below dir by
// its absolute path without links, and true leaves it out; other, unless nil, is
// told of each file that is no picture. An error ends the walk.
func Walk(dir string, skip func(real string) bool, other func(name string)) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		root, err := realFolder(dir)
		if err != nil {
			yield("", err)
			return
		}
		w := &walker{root: dir, window: nameWindow}
		w.enter = func(real string, link bool) bool {
			if link && (listed(root, real) || slices.Contains(w.above, real)) {
				return false
			}
			return skip == nil || real == root || !skip(real)
		}
		w.file = func(name string) error {
			if isPicture(filepath.Join(dir, filepath.FromSlash(name))) {
				if !yield(name, nil) {
					return errStop
				}
			} else if other != nil {
				other(name)
			}
			return nil
		}
		if err := w.walk("", root, false); err != nil && !errors.Is(err, errStop) {
			yield("", fmt.Errorf("list the pictures of %s: %w", dir, err))
		}
	}
}

// Names yields what one folder holds, in byte order, without names that begin
// with a dot; links are followed, and those that lead nowhere left out. It holds
// a bounded number of names at a time.
func Names(dir string) iter.Seq2[Name, error] {
	return func(yield func(Name, error) bool) {
		err := eachName(dir, nameWindow, func(n Name) error {
			if !yield(n, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(Name{}, err)
		}
	}
}

// Name is a file or folder in a folder.
type Name struct {
	Name string
	Mode fs.FileMode // the type of what it leads to
	link bool
}

// errStop ends a walk that nobody reads on.
var errStop = errors.New("stop")

// nameWindow is how many names of a folder are held at a time. A larger folder
// is read again for each so many, which takes seconds for a million names.
const nameWindow = 1 << 16

// walker visits the regular files below a folder.
type walker struct {
	root   string
	window int      // names of a folder that are held at a time
	above  []string // the folders around the one at hand, by their absolute paths without links

	enter func(real string, link bool) bool // whether to enter a folder
	file  func(name string) error
}

// walk visits the folder at rel, slash-separated, whose absolute path without
// links is real.
func (w *walker) walk(rel, real string, link bool) error {
	if !w.enter(real, link) {
		return nil
	}
	w.above = append(w.above, real)
	defer func() { w.above = w.above[:len(w.above)-1] }()
	at := filepath.Join(w.root, filepath.FromSlash(rel))
	return eachName(at, w.window, func(n Name) error {
		switch name := path.Join(rel, n.Name); {
		case n.Mode.IsRegular():
			return w.file(name)
		case !n.Mode.IsDir():
			return nil
		case n.link:
			real, err := realPath(filepath.Join(at, n.Name))
			if err != nil {
				return err
			}
			return w.walk(name, real, true)
		default:
			return w.walk(name, filepath.Join(real, n.Name), false)
		}
	})
}

// eachName calls visit with the names of a folder in byte order, of which it
// holds twice the window at most.
func eachName(dir string, window int, visit func(Name) error) error {
	after := ""
	for {
		names, more, err := nextNames(dir, after, window)
		if err != nil {
			return err
		}
		for _, n := range names {
			if n.link {
				info, err := os.Stat(filepath.Join(dir, n.Name))
				if err != nil {
					continue // a link that leads nowhere names no file
				}
				n.Mode = info.Mode().Type()
			}
			if err := visit(n); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		after = names[len(names)-1].Name
	}
}

// nextNames returns the first names of a folder, in byte order, behind one, and
// whether there are more than that.
func nextNames(dir, after string, window int) (names []Name, more bool, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	trim := func() {
		slices.SortFunc(names, func(a, b Name) int { return cmp.Compare(a.Name, b.Name) })
		if len(names) > window {
			names, more = names[:window], true
		}
	}
	for {
		entries, err := f.ReadDir(1024)
		for _, e := range entries {
			if name := e.Name(); name > after && !strings.HasPrefix(name, ".") {
				names = append(names, Name{name, e.Type(), e.Type()&fs.ModeSymlink != 0})
			}
		}
		if len(names) >= 2*window {
			trim()
		}
		if errors.Is(err, io.EOF) {
			trim()
			return names, more, nil
		}
		if err != nil {
			return nil, false, err
		}
	}
}

// realFolder is the absolute path of a folder without links.
func realFolder(dir string) (string, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s is a file, not a folder of pictures", dir)
	}
	return realPath(dir)
}

func realPath(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(real)
}

// listed says that a folder lies in root and that a walk of root comes to it
// without links, because no name on the way begins with a dot.
func listed(root, real string) bool {
	rel, err := filepath.Rel(root, real)
	if err != nil || !filepath.IsLocal(rel) {
		return false
	}
	for name := range strings.SplitSeq(filepath.ToSlash(rel), "/") {
		if rel != "." && strings.HasPrefix(name, ".") {
			return false
		}
	}
	return true
}
