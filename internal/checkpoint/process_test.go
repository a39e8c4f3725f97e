//go:build unix

package checkpoint

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"stylenet/internal/weights"
)

// The tests below run this test binary again as another process: childEnv
// names what it does, dirEnv where.
const (
	childEnv = "STYLENET_CHECKPOINT_CHILD"
	dirEnv   = "STYLENET_CHECKPOINT_DIR"
)

func TestMain(m *testing.M) {
	children := map[string]func(dir string) error{
		"loop":   childLoop,
		"limit":  childLimit,
		"full":   childFull,
		"locker": childLocker,
	}
	child := children[os.Getenv(childEnv)]
	if child == nil {
		// In memory the hundreds of syncs cost nothing, however busy the disk is.
		const memory = "/dev/shm"
		if os.Getenv("TMPDIR") == "" {
			if dir, err := os.MkdirTemp(memory, "probe"); err == nil {
				os.Remove(dir)
				os.Setenv("TMPDIR", memory)
			}
		}
		os.Exit(m.Run())
	}
	if err := child(os.Getenv(dirEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func childCommand(t *testing.T, child, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"="+child, dirEnv+"="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

// big returns a snapshot with a model of n values.
func big(step, n int) *Snapshot {
	s := &Snapshot{Step: step, Model: &weights.Set{}, Optimizer: &weights.Set{}}
	data := make([]float32, n)
	for i := range data {
		data[i] = float32(step) + float32(i%7)
	}
	for _, set := range []*weights.Set{s.Model, s.Optimizer} {
		if err := set.Add("w", []int{n}, data); err != nil {
			panic(err) // a new set takes any name
		}
	}
	return s
}

// childLoop goes on from the latest checkpoint, writes every other one twice
// and prints each step that is safe.
func childLoop(dir string) error {
	s, _, err := Latest(dir)
	if errors.Is(err, ErrNone) {
		s, err = big(0, 1), nil
	}
	for step := s.Step + 1; err == nil; step++ {
		for range 1 + step%2 {
			err = errors.Join(err, Write(dir, big(step, 1<<14), 2))
		}
		fmt.Println(step)
	}
	return err
}

// TestKill kills a process that writes, again and again, at random moments.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 2 seconds")
	}
	dir := filepath.Join(t.TempDir(), "checkpoints")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	safe, partial := 0, 0
	for round, end := 0, time.Now().Add(2*time.Second); time.Now().Before(end); round++ {
		cmd := childCommand(t, "loop", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		killLater := func() {
			time.AfterFunc(time.Duration(random.IntN(60e6)), func() { _ = cmd.Process.Kill() })
		}
		if round%2 == 0 {
			killLater() // maybe before it writes at all
		}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if safe, err = strconv.Atoi(lines.Text()); err != nil {
				t.Fatal(err)
			}
			if round%2 == 1 {
				killLater() // so that every other round gets on
			}
		}
		_ = cmd.Wait() // it was killed
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
			t.Fatalf("the child ended by itself: %v", cmd.ProcessState)
		}

		s, warnings, err := Latest(dir)
		if errors.Is(err, ErrNone) && safe == 0 {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(warnings) > 0 {
			t.Errorf("warnings %v", warnings)
		}
		if s.Step < safe || s.Step > safe+1 {
			t.Errorf("latest is of step %d, %d was written", s.Step, safe)
		}
		safe = s.Step // maybe never printed, and the next child goes on from it
		if d := diff(big(s.Step, 1<<14), s); d != "" {
			t.Errorf("step %d is not whole", s.Step)
		}
		for _, name := range names(t, dir) {
			_, suffix, ok := parseName(name)
			if ok && suffix == "" {
				if _, err := Read(filepath.Join(dir, name)); err != nil {
					t.Error(err)
				}
			} else if name != latestFile {
				partial++
			}
		}
	}
	t.Logf("%d steps, %d leftovers of killed writes", safe, partial)
	if safe == 0 {
		t.Error("no step was written")
	}
}

// refused checks that a write of a snapshot that does not fit failed with want
// and left the checkpoint of step 1 alone.
func refused(dir string, err, want error) error {
	path := filepath.Join(dir, "step-00000002.partial", modelFile)
	if !errors.Is(err, want) || !strings.Contains(err.Error(), path+": "+want.Error()) {
		return fmt.Errorf("the error is %w, want %w on %s", err, want, path)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, []string{"latest", "step-00000001"}) {
		return fmt.Errorf("the directory holds %v", got)
	}
	s, warnings, err := Latest(dir)
	if err != nil {
		return err
	}
	if d := diff(big(1, 100), s); d != "" || len(warnings) > 0 {
		return fmt.Errorf("step 1 is not whole: %v\n%s", warnings, d)
	}
	return Write(dir, big(3, 100), 1) // what fits goes on
}

// childLimit writes under a limit on the size of files.
func childLimit(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	if err := Write(dir, big(1, 100), 1); err != nil {
		return err
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 16, Max: 1 << 16}); err != nil {
		return err
	}
	return refused(dir, Write(dir, big(2, 1<<16), 1), syscall.EFBIG)
}

func TestFileSizeLimit(t *testing.T) {
	if err := childCommand(t, "limit", filepath.Join(t.TempDir(), "checkpoints")).Run(); err != nil {
		t.Fatal(err)
	}
}

// childFull writes to a file system of 256 KiB until it is full.
func childFull(dir string) error {
	if err := Write(dir, big(1, 100), 1); err != nil {
		return err
	}
	return refused(dir, Write(dir, big(2, 1<<17), 1), syscall.ENOSPC)
}

func TestDiskFull(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs tmpfs and mount namespaces")
	}
	dir := t.TempDir()
	const mount = `mount -t tmpfs -o size=256k tmpfs "$` + dirEnv + `"`
	for _, flags := range []string{"-m", "-rm"} { // as root, or in a user namespace
		probe := exec.Command("unshare", flags, "sh", "-c", mount)
		probe.Env = append(os.Environ(), dirEnv+"="+dir)
		if probe.Run() != nil {
			continue
		}
		cmd := childCommand(t, "full", dir)
		args := []string{"unshare", flags, "sh", "-c", mount + ` && exec "$0"`, cmd.Path}
		path, err := exec.LookPath(args[0])
		if err != nil {
			t.Fatal(err)
		}
		cmd.Path, cmd.Args = path, args
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Skip("cannot mount a small tmpfs here")
}

// childLocker takes the lock, says so and waits to be killed.
func childLocker(dir string) error {
	if _, err := Lock(dir); err != nil {
		return err
	}
	fmt.Println("locked")
	time.Sleep(time.Minute)
	return errors.New("nobody came to kill")
}

func TestLockOfKilledProcess(t *testing.T) {
	dir := t.TempDir()
	cmd := childCommand(t, "locker", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "locked\n" {
		t.Fatalf("child said %q, %v", line, err)
	}

	_, err = Lock(dir)
	locked, ok := errors.AsType[*LockedError](err)
	if !ok || locked.PID != cmd.Process.Pid || locked.Dir != dir {
		t.Fatalf("got %v, want it held by process %d", err, cmd.Process.Pid)
	}
	want := fmt.Sprintf("run directory %s is in use by process %d: wait for it, stop it, or choose another directory", dir, cmd.Process.Pid)
	if err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	unlock, err := Lock(dir)
	if err != nil {
		t.Fatalf("after kill -9: %v", err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
}
