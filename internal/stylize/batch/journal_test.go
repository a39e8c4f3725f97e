package batch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func entry(i int) Entry {
	return Entry{Output: fmt.Sprintf("out/%d.png", i), OutputBytes: int64(i), Input: fmt.Sprintf("/in/%d.jpg", i), InputBytes: 7, Modified: time.Unix(1e9, int64(i)), Settings: "s"}
}

func reopen(t *testing.T, dir string, run int) *Journal {
	t.Helper()
	j, err := openJournal(dir, run)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func has(t *testing.T, j *Journal, e Entry) bool {
	t.Helper()
	ok, err := j.Has(e)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// An index of one run and one of many know the same.
func TestJournal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	j := reopen(t, dir, 10)
	if has(t, j, entry(1)) {
		t.Error("an empty journal knows an entry")
	}
	var all sync.WaitGroup
	for i := range 95 {
		all.Go(func() {
			if err := j.Add(entry(i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, run := range []int{1, 10, 94, 95, 1000} {
		j := reopen(t, dir, run)
		for i := range 95 {
			if !has(t, j, entry(i)) {
				t.Errorf("in runs of %d entry %d is missing", run, i)
			}
		}
		if has(t, j, entry(95)) {
			t.Error("it knows what was never added")
		}
		for name, change := range map[string]func(*Entry){
			"output": func(e *Entry) { e.Output = "out/4.png" }, "size": func(e *Entry) { e.OutputBytes++ },
			"input": func(e *Entry) { e.Input = "/in/4.jpg" }, "input's size": func(e *Entry) { e.InputBytes++ },
			"time": func(e *Entry) { e.Modified = e.Modified.Add(1) }, "settings": func(e *Entry) { e.Settings = "t" },
		} {
			e := entry(3)
			if change(&e); has(t, j, e) {
				t.Errorf("an entry with another %s is taken for the same", name)
			}
		}
		zone := entry(5)
		zone.Modified = zone.Modified.In(time.FixedZone("there", 3600))
		if !has(t, j, zone) {
			t.Error("the time zone decides")
		}
	}
}

// Whatever end of a journal is missing, what stands before it is known, and
// what is added later too.
func TestJournalIsCutOff(t *testing.T) {
	dir := t.TempDir()
	j := reopen(t, dir, 10)
	for i := range 3 {
		if err := j.Add(entry(i)); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, JournalName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line := len(whole) / 3
	for cut := range line {
		if err := os.WriteFile(path, whole[:len(whole)-cut], 0o666); err != nil {
			t.Fatal(err)
		}
		if err := reopen(t, dir, 10).Add(entry(7)); err != nil {
			t.Fatal(err)
		}
		j := reopen(t, dir, 10)
		for i, want := range []bool{true, true, cut < 2, false, false, false, false, true} {
			// Without its last byte, the line's end, an entry is whole again
			// when the end is made up for.
			if got := has(t, j, entry(i)); got != want {
				t.Errorf("with %d bytes cut off, entry %d: %v, want %v", cut, i, got, want)
			}
		}
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("x", maxLine+1)), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(dir); err == nil || !strings.Contains(err.Error(), "is no journal of stylenet") {
		t.Errorf("got %v", err)
	}
}

func TestDescribe(t *testing.T) {
	dir := tree(t, "in.jpg", "out/a/b.png")
	if err := os.WriteFile(filepath.Join(dir, "out/a/b.png"), []byte("12345"), 0o666); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1234567890, 123456789)
	if err := os.Chtimes(filepath.Join(dir, "in.jpg"), at, at); err != nil {
		t.Fatal(err)
	}
	in, out := filepath.Join(dir, "in.jpg"), filepath.Join(dir, "out")
	before, err := Describe(in, "x")
	if err != nil {
		t.Fatal(err)
	}
	e, err := before.Of(out, filepath.Join(out, "a/b.png"))
	if err != nil || e.Output != "a/b.png" || e.OutputBytes != 5 || e.Input != in || e.InputBytes != 0 || !e.Modified.Equal(at) || e.Settings != "x" {
		t.Errorf("got %+v, %v", e, err)
	}
	for _, name := range []string{"none.png", "none/a.png"} {
		if _, err := before.Of(out, filepath.Join(out, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := Describe(filepath.Join(dir, "none.jpg"), "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}

	// An input that changes after it was described is another one.
	if err := os.WriteFile(in, []byte("new"), 0o666); err != nil {
		t.Fatal(err)
	}
	j := reopen(t, out, runPlaces)
	if err := j.Add(e); err != nil {
		t.Fatal(err)
	}
	j = reopen(t, out, runPlaces)
	now, err := Describe(in, "x")
	if err != nil {
		t.Fatal(err)
	}
	if now, err = now.Of(out, filepath.Join(out, "a/b.png")); err != nil {
		t.Fatal(err)
	}
	if has(t, j, now) || !has(t, j, e) {
		t.Error("the journal takes a changed input for the one that the result was made of")
	}
}
