package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"

	"stylenet/internal/images"
	"stylenet/internal/model"
	"stylenet/internal/stylize"
)

func TestReport(t *testing.T) {
	cmd := &cobra.Command{Use: "stylenet"}
	for _, c := range []struct {
		err  error
		code int
		want string
	}{
		{nil, 0, ""},
		{errors.New("a.jpg: broken"), 1, "error: a.jpg: broken\n"},
		{fmt.Errorf("run: %w", &hinted{errors.New("no data"), "give some"}), 1, "error: run: no data\nhint: give some\n"},
		{usagef(cmd, "no model"), 2, "error: no model\nhint: see stylenet --help\n"},
		{fmt.Errorf("a.jpg: %w", &stylize.SizeError{W: 9000, H: 12000, Err: errors.New("out of memory")}), 1,
			"error: a.jpg: a picture of 9000×12000 pixels is too large for the memory: out of memory\nhint: allow more with --memory, or shrink the picture first with --max-size 6000\n"},
		{&stylize.SizeError{W: 9, H: 12, Rows: 8, Err: errors.New("out of memory")}, 1,
			"error: a picture of 9×12 pixels is too large for the memory: out of memory\nhint: give a smaller --tile, or allow more with --memory\n"},
		{&stylize.SizeError{W: 90, H: 12, Full: true, Err: errors.New("out of memory")}, 1,
			"error: a picture of 90×12 pixels is too large for the memory that is free: out of memory\nhint: end other programs or raise the container's limit, or shrink the picture first with --max-size 45\n"},
		{&stylize.SizeError{W: 9, H: 12, Rows: 8, Full: true, Err: errors.New("out of memory")}, 1,
			"error: a picture of 9×12 pixels is too large for the memory that is free: out of memory\nhint: give a smaller --tile, or end other programs or raise the container's limit\n"},
		{fmt.Errorf("3 of 9 pictures are done: %w", context.Canceled), 1, "error: 3 of 9 pictures are done: interrupted\n"},
	} {
		var b bytes.Buffer
		if code := report(&b, c.err); code != c.code || b.String() != c.want {
			t.Errorf("%v: code %d and %q, want %d and %q", c.err, code, b.String(), c.code, c.want)
		}
	}
}

func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	m, err := exchange()
	if err != nil {
		t.Fatal(err)
	}
	file, photo, out := filepath.Join(dir, "m.safetensors"), filepath.Join(dir, "a.png"), filepath.Join(dir, "b.png")
	if err := errors.Join(model.Save(file, m), images.Save(photo, images.New(2, 2), images.SaveOptions{})); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"stylize", "-m", file, photo, "-o", out}, "error: no picture was begun: interrupted\n"},
		{[]string{"bench", "stylize", "-m", file}, "error: interrupted\n"},
		{[]string{"data", "check", dir}, "error: check " + dir + ": interrupted\n"},
	} {
		root := newRootCmd()
		root.SetArgs(c.args)
		var b bytes.Buffer
		if code := report(&b, root.ExecuteContext(ended)); code != 1 || b.String() != c.want {
			t.Errorf("%v: code %d and %q, want %q", c.args, code, b.String(), c.want)
		}
	}
}
