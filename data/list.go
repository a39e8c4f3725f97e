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
	root, err := realFolder(dir)
	if err != nil {
		return nil, 0, err
	}
	entered := make(map[string]bool)
	w := &walker{root: dir, window: nameWindow}
	w.enter = func(real string, _ bool) bool {
		first := !entered[real]
		entered[real] = true
		return first
	}
	w.file = func(name string) error {
		if isPicture(filepath.Join(dir, filepath.FromSlash(name))) {
			files = append(files, name)
		} else {
			others++
		}
		return nil
	}
	if err := w.walk("", root, false); err != nil {
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
