// Command pictures draws the pictures of the end-to-end test: photos, a style,
// and one photo of odd size.
//
//	go run ./scripts/pictures DIR
package main

import (
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"

	"stylenet/internal/atomicfile"
	"stylenet/internal/scenes"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: pictures DIR")
	}
	pictures := map[string]image.Image{
		"style.png": scenes.Painting(1, 96, 80),
		"odd.png":   scenes.Photo(100, 37, 53),
	}
	for i := range uint64(9) {
		pictures[fmt.Sprintf("photos/%d.png", i)] = scenes.Photo(i, 96, 72)
	}
	if err := os.MkdirAll(filepath.Join(args[0], "photos"), 0o777); err != nil {
		return err
	}
	for name, m := range pictures {
		err := atomicfile.Write(filepath.Join(args[0], name), 0o666, func(w io.Writer) error { return png.Encode(w, m) })
		if err != nil {
			return err
		}
	}
	return nil
}
