// Package data feeds training with pictures from a folder.
//
// It owns the listing of image folders, their check, a loader of seeded,
// resumable batches of crops, and a cache of decoded photos for it. It refuses
// networks and files that are not pictures, and it writes nothing but that
// cache.
package data

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"stylenet/internal/images"
)

// List returns the picture files under dir, at any depth, as slash-separated
// paths relative to dir in byte order. A file is taken by a known extension,
// or else by its first bytes; whether it is whole, only reading it tells.
//
// Names that begin with a dot are passed over. Links to files and folders are
// followed, but no folder is entered twice. A folder that cannot be read is an
// error: a list without it would silently be another data set.
func List(dir string) ([]string, error) {
	files, _, err := list(dir)
	return files, err
}

// list also counts the regular files that are not pictures.
func list(dir string) (files []string, others int, err error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, 0, err
	}
	if !info.IsDir() {
		return nil, 0, fmt.Errorf("%s is a file, not a folder of pictures", dir)
	}
	entered := make(map[string]bool)
	var walk func(rel string) error
	walk = func(rel string) error {
		at := filepath.Join(dir, filepath.FromSlash(rel))
		real, err := filepath.EvalSymlinks(at)
		if err != nil {
			return err
		}
		if real, err = filepath.Abs(real); err != nil {
			return err
		}
		if entered[real] {
			return nil
		}
		entered[real] = true
		entries, err := os.ReadDir(at)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") {
				continue
			}
			name := path.Join(rel, e.Name())
			mode := e.Type()
			if mode&fs.ModeSymlink != 0 {
				info, err := os.Stat(filepath.Join(at, e.Name()))
				if err != nil {
					continue // a link that leads nowhere names no file
				}
				mode = info.Mode().Type()
			}
			switch {
			case mode.IsDir():
				if err := walk(name); err != nil {
					return err
				}
			case mode.IsRegular():
				if isPicture(filepath.Join(at, e.Name())) {
					files = append(files, name)
				} else {
					others++
				}
			}
		}
		return nil
	}
	if err := walk(""); err != nil {
		return nil, 0, fmt.Errorf("list the pictures of %s: %w", dir, err)
	}
	slices.Sort(files)
	return files, others, nil
}

func isPicture(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff":
		return true // without opening each of a hundred thousand files
	}
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, images.SniffLen)
	n, _ := io.ReadFull(f, head) // of a shorter file, what there is
	return images.Sniff(head[:n]) != ""
}

// fingerprint identifies a list of files by its names.
func fingerprint(files []string) string {
	h := sha256.New()
	for _, name := range files {
		io.WriteString(h, name)
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// reason is what is wrong with a file of a folder, without the folder.
func reason(file string, err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return strings.TrimPrefix(err.Error(), file+": ")
}
