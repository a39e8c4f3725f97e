package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// copyOf copies a directory of checkpoints, so that a test may damage it.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	c := t.TempDir()
	if err := os.CopyFS(c, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestEachByte flips bits of each byte of each file, and cuts it at each
// length. Read must refuse each and name a file of the checkpoint.
func TestEachByte(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, dir, sample(t, 1, "a"), 1)
	step := filepath.Join(dir, dirName(1))
	for _, name := range []string{modelFile, optimizerFile, stateFile, manifestFile} {
		path := filepath.Join(step, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		try := func(what string, b []byte) {
			t.Helper()
			if err := os.WriteFile(path, b, 0o666); err != nil {
				t.Fatal(err)
			}
			_, err := Read(step)
			if err == nil {
				t.Fatalf("%s, %s: no error", name, what)
			}
			if name == manifestFile { // a wrong sum shows in the file that it is of
				if !strings.HasPrefix(err.Error(), step+string(filepath.Separator)) {
					t.Fatalf("%s, %s: error names no file: %v", name, what, err)
				}
			} else if !strings.HasPrefix(err.Error(), path+": it is damaged: ") {
				t.Fatalf("%s, %s: %v", name, what, err)
			}
		}
		for i := range whole {
			for _, mask := range []byte{0x01, 0x20, 0x80} { // 0x20 is the case of a letter
				b := bytes.Clone(whole)
				b[i] ^= mask
				try(fmt.Sprintf("byte %d ^ %#x", i, mask), b)
			}
			try(fmt.Sprintf("cut at %d", i), whole[:i])
		}
		try("a byte more", append(bytes.Clone(whole), ' '))
		if err := os.WriteFile(path, whole, 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(step); err != nil {
			t.Fatalf("after repair: %v", err)
		}
	}
}

// TestFallBack damages the newest of three checkpoints in many ways. Latest
// must return the one before, and say which file is at fault and how.
func TestFallBack(t *testing.T) {
	good := t.TempDir()
	for step := 1; step <= 3; step++ {
		mustWrite(t, good, sample(t, step, "a"), 3)
	}
	sum := strings.Repeat("0", 64)
	tests := []struct {
		name   string
		damage func(newest string) error
		want   string // the warning, up to its variable part
	}{
		{"model flipped", func(d string) error {
			return edit(d, modelFile, func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
		}, "step-00000003/model.safetensors: it is damaged: its SHA-256 is "},
		{"state cut", func(d string) error {
			return edit(d, stateFile, func(b []byte) []byte { return b[:10] })
		}, "step-00000003/state.json: it is damaged: it has 10 bytes, MANIFEST.json says "},
		{"optimizer deleted", func(d string) error {
			return os.Remove(filepath.Join(d, optimizerFile))
		}, "step-00000003/optimizer.safetensors: no such file or directory"},
		{"manifest deleted", func(d string) error {
			return os.Remove(filepath.Join(d, manifestFile))
		}, "step-00000003/MANIFEST.json: no such file or directory"},
		{"manifest emptied", func(d string) error {
			return os.Truncate(filepath.Join(d, manifestFile), 0)
		}, "step-00000003/MANIFEST.json: it is damaged: unexpected end of JSON input"},
		{"manifest huge", func(d string) error {
			return os.Truncate(filepath.Join(d, manifestFile), 1<<40)
		}, "step-00000003/MANIFEST.json: it is damaged: it has 1099511627776 bytes, more than 65536"},
		{"manifest of the future", func(d string) error {
			return os.WriteFile(filepath.Join(d, manifestFile), []byte(`{"format": 2}`), 0o666)
		}, "step-00000003/MANIFEST.json: its format is 2, this stylenet reads 1: read it with the stylenet that wrote it"},
		{"manifest points elsewhere", func(d string) error {
			return edit(d, manifestFile, func(b []byte) []byte {
				return bytes.Replace(b, []byte("model.safetensors"), []byte("../../etc/passwd"), 1)
			})
		}, `step-00000003/MANIFEST.json: it is damaged: it lists "../../etc/passwd" in place of model.safetensors`},
		{"manifest lists nothing", func(d string) error {
			return os.WriteFile(filepath.Join(d, manifestFile), []byte("{\n  \"format\": 1,\n  \"files\": []\n}\n"), 0o666)
		}, "step-00000003/MANIFEST.json: it is damaged: it differs from what stylenet writes"},
		{"wrong sum", func(d string) error {
			return edit(d, manifestFile, func(b []byte) []byte {
				i := bytes.Index(b, []byte(`"sha256": "`)) + len(`"sha256": "`)
				copy(b[i:], sum)
				return b
			})
		}, "step-00000003/model.safetensors: it is damaged: its SHA-256 is "},
		{"files swapped", func(d string) error {
			return errors.Join(os.Rename(filepath.Join(d, modelFile), filepath.Join(d, "x")),
				os.Rename(filepath.Join(d, optimizerFile), filepath.Join(d, modelFile)),
				os.Rename(filepath.Join(d, "x"), filepath.Join(d, optimizerFile)))
		}, "step-00000003/model.safetensors: it is damaged: it has "},
		{"model of another step", func(d string) error {
			b, err := os.ReadFile(filepath.Join(d, "..", dirName(2), modelFile))
			return errors.Join(err, os.WriteFile(filepath.Join(d, modelFile), b, 0o666))
		}, "step-00000003/model.safetensors: it is damaged: its SHA-256 is "},
		{"another step whole", func(d string) error {
			return errors.Join(os.RemoveAll(d), os.CopyFS(d, os.DirFS(filepath.Join(d, "..", dirName(1)))))
		}, "step-00000003/state.json: it is of step 1, not of the step in the directory's name"},
		{"a directory as model", func(d string) error {
			return errors.Join(os.Remove(filepath.Join(d, modelFile)), os.Mkdir(filepath.Join(d, modelFile), 0o777))
		}, "step-00000003/model.safetensors: it is not a regular file"},
		{"a file as checkpoint", func(d string) error {
			return errors.Join(os.RemoveAll(d), os.WriteFile(d, nil, 0o666))
		}, "step-00000003/MANIFEST.json: not a directory"},
		{"emptied", func(d string) error {
			return errors.Join(os.RemoveAll(d), os.Mkdir(d, 0o777))
		}, "step-00000003/MANIFEST.json: no such file or directory"},
		{"deleted", os.RemoveAll, "latest: it names step-00000003, which does not exist"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := copyOf(t, good)
			newest := filepath.Join(dir, dirName(3))
			if err := tt.damage(newest); err != nil {
				t.Fatal(err)
			}
			got, warnings, err := Latest(dir)
			if err != nil {
				t.Fatal(err)
			}
			if d := diff(sample(t, 2, "a"), got); d != "" {
				t.Errorf("not the one before (-want +got):\n%s", d)
			}
			if len(warnings) != 1 || !strings.HasPrefix(warnings[0].String(), dir+string(filepath.Separator)+tt.want) {
				t.Errorf("warnings %q, want %q", warnings, tt.want)
			}

			// The run goes on from 2 to 3 again, over what is damaged there.
			mustWrite(t, dir, sample(t, 3, "again"), 2)
			mustLatest(t, dir, sample(t, 3, "again"))
		})
	}
}

func edit(dir, name string, change func([]byte) []byte) error {
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, change(b), 0o666)
}

func TestDamagedLatestFile(t *testing.T) {
	good := t.TempDir()
	for step := 1; step <= 2; step++ {
		mustWrite(t, good, sample(t, step, "a"), 2)
	}
	for content, warning := range map[string]string{
		"":                         `latest: it holds "", not the name of a checkpoint`,
		"step-00000002.partial\n":  `latest: it holds "step-00000002.partial\n", not the name of a checkpoint`,
		"../secrets":               `latest: it holds "../secrets", not the name of a checkpoint`,
		"step-00000009\n":          "latest: it names step-00000009, which does not exist",
		strings.Repeat("\x00", 12): `latest: it holds "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", not the name of a checkpoint`,
		strings.Repeat("x", 1000):  "latest: it is damaged: it has 1000 bytes, more than 256",
	} {
		dir := copyOf(t, good)
		if err := os.WriteFile(filepath.Join(dir, latestFile), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		mustLatest(t, dir, sample(t, 2, "a"), warning)
		mustWrite(t, dir, sample(t, 3, "a"), 2)
		mustLatest(t, dir, sample(t, 3, "a"))
	}
	dir := copyOf(t, good)
	if err := os.Remove(filepath.Join(dir, latestFile)); err != nil {
		t.Fatal(err)
	}
	mustLatest(t, dir, sample(t, 2, "a"))
}

func TestAllDamaged(t *testing.T) {
	dir := t.TempDir()
	for step := 1; step <= 2; step++ {
		mustWrite(t, dir, sample(t, step, "a"), 2)
		if err := os.Truncate(filepath.Join(dir, dirName(step), modelFile), 9); err != nil {
			t.Fatal(err)
		}
	}
	_, warnings, err := Latest(dir)
	want := "no usable checkpoint in " + dir + ": each of the 2 there is damaged, the newest in " +
		filepath.Join(dir, "step-00000002", "model.safetensors") + ": it is damaged: it has 9 bytes, MANIFEST.json says "
	if err == nil || errors.Is(err, ErrNone) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v\nwant %s…", err, want)
	}
	if len(warnings) != 2 {
		t.Errorf("warnings %v", warnings)
	}
}

func TestReadCopyUnderAnotherName(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, dir, sample(t, 1, "a"), 1)
	best := filepath.Join(dir, "best")
	if err := os.CopyFS(best, os.DirFS(filepath.Join(dir, dirName(1)))); err != nil {
		t.Fatal(err)
	}
	s, err := Read(best)
	if err != nil {
		t.Fatal(err)
	}
	if d := diff(sample(t, 1, "a"), s); d != "" {
		t.Error(d)
	}
}

// FuzzManifest: what is accepted lists the three files and nothing else, and
// is spelled in one way only.
func FuzzManifest(f *testing.F) {
	m := manifest{Format: 1}
	for _, name := range dataFiles {
		m.Files = append(m.Files, fileSum{name, 1, hexSum(nil)})
	}
	b, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"format":1,"Files":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		files, err := parseManifest(b)
		if err != nil {
			return
		}
		again, err := manifest{1, files}.encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("accepted %q, writes %q, %v", b, again, err)
		}
		for i, file := range files {
			if file.Name != dataFiles[i] {
				t.Errorf("accepted a file %q", file.Name)
			}
		}
	})
}
