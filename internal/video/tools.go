// Package video reads and writes clips through the programs ffmpeg and ffprobe,
// which it finds on PATH, and runs a function on each frame between.
//
// It owns the pipes, the time of each frame, colour spaces on the way to RGB and
// back, the codecs, and a clip that is written in segments, so that what was
// painted survives a kill. It refuses networks and what is done to a frame. No
// frame is stored uncompressed: pixels travel through pipes.
package video

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// Tools are the programs that read and write clips.
type Tools struct {
	ffmpeg, ffprobe string
	// Version is ffmpeg's, as it states it.
	Version      string
	major, minor int // of it; builds of ffmpeg's newest source have none, and get 99
	encoders     map[string]bool
}

// MissingError says that a program is not on PATH.
type MissingError struct{ Program string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is not on PATH, and videos are read and written through it", e.Program)
}

// Hint says how to install it.
func (e *MissingError) Hint() string {
	return "install ffmpeg, which brings ffprobe along: apt install ffmpeg (Debian, Ubuntu), dnf install ffmpeg-free (Fedora), " +
		"brew install ffmpeg (macOS), winget install ffmpeg (Windows), or https://ffmpeg.org/download.html"
}

// Find looks for ffmpeg and ffprobe on PATH. A program that is not there gives a
// *MissingError.
func Find(ctx context.Context) (*Tools, error) {
	t := &Tools{}
	for _, program := range []struct {
		name string
		path *string
	}{{"ffmpeg", &t.ffmpeg}, {"ffprobe", &t.ffprobe}} {
		var err error
		if *program.path, err = exec.LookPath(program.name); err != nil {
			return nil, &MissingError{program.name}
		}
	}
	out, err := t.output(ctx, t.ffmpeg, "-version")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.ffmpeg, err)
	}
	t.Version, t.major, t.minor = version(string(out))
	if t.major < 4 {
		return nil, fmt.Errorf("%s is version %s, and 4.0 or newer is needed", t.ffmpeg, t.Version)
	}
	if out, err = t.output(ctx, t.ffmpeg, "-hide_banner", "-encoders"); err != nil {
		return nil, fmt.Errorf("%s: %w", t.ffmpeg, err)
	}
	t.encoders = map[string]bool{}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[0], "V") {
			t.encoders[f[1]] = true
		}
	}
	return t, nil
}

// version reads the first line of ffmpeg -version.
func version(out string) (text string, major, minor int) {
	f := strings.Fields(out)
	if len(f) < 3 {
		return "unknown", 99, 0
	}
	text = f[2]
	parts := strings.SplitN(strings.TrimPrefix(text, "n"), ".", 3)
	major, err := strconv.Atoi(parts[0])
	if err != nil || len(parts) < 2 {
		return text, 99, 0
	}
	minor, _ = strconv.Atoi(strings.TrimRightFunc(parts[1], func(r rune) bool { return r < '0' || r > '9' }))
	return text, major, minor
}

// passthrough says that frames keep their times, and none is dropped or repeated.
func (t *Tools) passthrough() []string {
	if t.major > 5 || t.major == 5 && t.minor >= 1 {
		return []string{"-fps_mode", "passthrough"}
	}
	return []string{"-vsync", "passthrough"}
}

// output runs a program to its end and returns what it prints. An error holds
// what it complains of.
func (t *Tools) output(ctx context.Context, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	apart(cmd)
	err := cmd.Run()
	if cause := ctx.Err(); cause != nil {
		return nil, cause
	}
	if err != nil {
		return nil, explain(err, complaints.String())
	}
	return out.Bytes(), nil
}

// explain makes an error of what a program complained of.
func explain(err error, complaints string) error {
	var lines []string
	for line := range strings.Lines(complaints) {
		if line = plain(strings.TrimSpace(line)); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return err
	}
	// The first complaint is the cause, and the others follow from it.
	const most = 3
	return errors.New(strings.Join(lines[:min(len(lines), most)], "; "))
}

// plain takes the sender off a message of ffmpeg, such as "[mov @ 0x55] [error] ".
func plain(line string) string {
	for strings.HasPrefix(line, "[") {
		_, rest, ok := strings.Cut(line, "] ")
		if !ok {
			break
		}
		line = rest
	}
	return line
}

// target is how a path is named to ffmpeg, which takes a colon for the end of a
// protocol's name and a dash for a flag.
func target(path string) string { return "file:" + path }

// regular reports whether a path names a file.
func regular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
