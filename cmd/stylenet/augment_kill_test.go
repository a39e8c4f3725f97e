//go:build unix

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"stylenet/internal/model"
	"stylenet/internal/scenes"
	"stylenet/internal/stylize/batch"
)

// A data set whose painting is killed and interrupted ends as one that is not.
func TestAugmentSurvivesKill(t *testing.T) {
	t.Chdir(t.TempDir())
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	m, err := exchange()
	must(err)
	must(model.Save("m.safetensors", m))
	must(model.Save("n.safetensors", m))
	must(os.Mkdir("photos", 0o777))
	const pictures = 12
	var images, notes []string
	for i := range pictures {
		must(writeImage(fmt.Sprintf("photos/%d.png", i), scenes.Photo(uint64(i), 40, 30), png.Encode))
		images = append(images, fmt.Sprintf(`{"id":%d,"file_name":"%[1]d.png","width":40,"height":30}`, i))
		notes = append(notes, fmt.Sprintf(`{"id":%d,"image_id":%[1]d,"bbox":[1,2,3,4]}`, i))
	}
	must(os.WriteFile("set.json", []byte(`{"images":[`+strings.Join(images, ",")+`],"annotations":[`+strings.Join(notes, ",")+`]}`), 0o666))
	args := []string{"augment", "--coco", "set.json", "--images", "photos", "-m", "m.safetensors", "-m", "n.safetensors", "--variants", "2", "--json", "-o"}
	mustRun(t, append(args, "straight")...)
	stopped := 0
	for round := 0; ; round++ {
		if round == 30 {
			t.Fatal("no end")
		}
		cmd, stderr := program(append(args, "out", "--jobs", "2")...)
		out, err := cmd.StdoutPipe()
		must(err)
		must(cmd.Start())
		n := 0
		for lines := bufio.NewScanner(out); lines.Scan(); n++ {
			if n == 3 {
				_ = cmd.Process.Signal([]os.Signal{os.Kill, syscall.SIGTERM}[round%2])
			}
		}
		_ = cmd.Wait()
		if cmd.ProcessState.Success() {
			break
		}
		if cmd.ProcessState.ExitCode() > 0 && !strings.Contains(stderr.String(), fmt.Sprintf(" of %d pictures are done: ", 2*pictures)) {
			t.Fatalf("interrupted, it printed\n%s", stderr)
		}
		if _, err := os.Stat("out/set.json"); err == nil {
			if done, err := filepath.Glob("out/*.png"); err != nil || len(done) < 2*pictures {
				t.Fatalf("there are annotations, and %d pictures of %d (%v)", len(done), 2*pictures, err)
			}
		}
		stopped++
	}
	if stopped < 2 {
		t.Errorf("stopped %d times", stopped)
	}
	files, err := filepath.Glob("straight/*")
	must(err)
	files = slices.DeleteFunc(files, func(f string) bool { return filepath.Base(f) == batch.JournalName })
	if len(files) != 2*pictures+1 {
		t.Errorf("%d files", len(files))
	}
	for _, file := range files {
		want, err := os.ReadFile(file)
		must(err)
		got, err := os.ReadFile(filepath.Join("out", filepath.Base(file)))
		must(err)
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs", filepath.Base(file))
		}
	}
}
