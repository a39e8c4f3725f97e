package data

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

func walkAll(t *testing.T, dir string, skip func(string) bool) []string {
	t.Helper()
	var got []string
	for name, err := range Walk(dir, skip, nil) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, name)
	}
	return got
}

func TestWalk(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	for _, name := range []string{"b.png", "a/2.png", "a-1.png", "a/1.png", "a/c/x.png", "z.png", ".hidden/h.png", "notes.txt"} {
		write(t, dir, name, []byte("x"))
	}
	write(t, other, "o.png", nil)
	want := []string{"a/1.png", "a/2.png", "a/c/x.png", "a-1.png", "b.png", "z.png"}
	if got := walkAll(t, dir, nil); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	real, err := realPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	without := walkAll(t, dir, func(folder string) bool { return folder == filepath.Join(real, "a", "c") })
	if want := slices.DeleteFunc(slices.Clone(want), func(name string) bool { return name == "a/c/x.png" }); !slices.Equal(without, want) {
		t.Errorf("got %q, want %q", without, want)
	}
	for range Walk(dir, nil, nil) {
		break // ends the walk
	}
	for name, err := range Walk(filepath.Join(dir, "none"), nil, nil) {
		if err == nil {
			t.Errorf("a folder that is not there holds %s", name)
		}
	}
	if runtime.GOOS == "windows" {
		return // links need a privilege there
	}
	// b is in the folder under its own name; up leads around in circles; the
	// others lead out of what is walked.
	for link, target := range map[string]string{"b": "a", "a/up": "..", "a/self": "../a/self", "c": ".hidden", "d": other, "dead.png": "nowhere"} {
		if err := os.Symlink(target, filepath.Join(dir, filepath.FromSlash(link))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(dir, filepath.Join(other, "back")); err != nil {
		t.Fatal(err)
	}
	want = []string{"a/1.png", "a/2.png", "a/c/x.png", "a-1.png", "b.png", "c/h.png", "d/o.png", "z.png"}
	if got := walkAll(t, dir, nil); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// However few names are held, all come, once and in order.
func TestEachNameInWindows(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for i := range 100 {
		name := fmt.Sprintf("%03d.png", i*37%100)
		write(t, dir, name, nil)
		want = append(want, name)
	}
	slices.Sort(want)
	for _, window := range []int{1, 7, 50, 99, 100, 1000} {
		var got []string
		if err := eachName(dir, window, func(n Name) error { got = append(got, n.Name); return nil }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("in windows of %d: %q", window, got)
		}
	}
}
