//go:build unix

package video

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A pipe is left to who reads it: it is not opened, which would wait for a
// writer and then take what it writes.
func TestIsClipLeavesPipes(t *testing.T) {
	for _, name := range []string{"pipe", "pipe.mp4"} {
		path := filepath.Join(t.TempDir(), name)
		must(t, syscall.Mkfifo(path, 0o666))
		answer := make(chan bool, 1)
		go func() { answer <- IsClip(path) }()
		select {
		case got := <-answer:
			if got {
				t.Errorf("%s is a clip", name)
			}
		case <-time.After(5 * time.Second):
			// Both ends: what waits for either goes on.
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			must(t, err)
			defer f.Close()
			t.Fatalf("%s was opened", name)
		}
		// Nor is it taken from its writer.
		go func() { _ = os.WriteFile(path, []byte("\xff\xd8\xff"), 0o666) }()
		f, err := os.Open(path)
		must(t, err)
		b, err := io.ReadAll(f)
		must(t, err)
		must(t, f.Close())
		if string(b) != "\xff\xd8\xff" {
			t.Errorf("%s: read %q", name, b)
		}
	}
}
