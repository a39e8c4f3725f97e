package video

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// IsClip reports whether an argument names a clip: a URL, or a file whose first
// bytes are those of a container of video or, where they say nothing, whose name
// is that of one. Animated pictures are pictures. What is no file, such as a pipe,
// is not opened.
func IsClip(arg string) bool {
	if isURL(arg) {
		return true
	}
	// A pipe that is opened to look takes what its writer wants read once.
	info, err := os.Stat(arg)
	if err != nil {
		return HasClipName(arg)
	}
	if !info.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(arg)
	if err != nil {
		return HasClipName(arg)
	}
	defer f.Close()
	head := make([]byte, 512)
	n, _ := io.ReadFull(f, head)
	return sniff(head[:n]) || HasClipName(arg) && !isPicture(head[:n])
}

// HasClipName reports whether a file's extension is that of a clip.
func HasClipName(path string) bool {
	return slices.Contains([]string{
		".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".flv", ".wmv", ".ogv", ".3gp", ".y4m", ".mxf", ".nut",
	}, strings.ToLower(filepath.Ext(path)))
}

// isURL reports whether an argument has a protocol. C:\ has none.
func isURL(arg string) bool {
	scheme, _, ok := strings.Cut(arg, "://")
	return ok && len(scheme) > 1 && !strings.ContainsAny(scheme, `/\.`)
}

func sniff(b []byte) bool {
	at := func(i int, s string) bool { return len(b) >= i+len(s) && string(b[i:i+len(s)]) == s }
	switch {
	case at(4, "ftyp"): // pictures use this container too
		return !slices.Contains([]string{"avif", "avis", "heic", "heix", "hevc", "mif1", "msf1", "crx "}, string(b[8:min(12, len(b))]))
	case at(4, "moov"), at(4, "mdat"), at(4, "wide"), at(4, "free"):
		return true
	case at(0, "\x1a\x45\xdf\xa3"): // Matroska, WebM
		return true
	case at(0, "RIFF"):
		return at(8, "AVI ")
	case at(0, "FLV"), at(0, "OggS"), at(0, "YUV4MPEG2"), at(0, "nut/multimedia"), at(0, "\x00\x00\x01\xba"), at(0, "\x00\x00\x01\xb3"):
		return true
	case at(0, "\x30\x26\xb2\x75\x8e\x66\xcf\x11"): // ASF
		return true
	case at(0, "\x06\x0e\x2b\x34\x02\x05\x01\x01"): // MXF
		return true
	case at(0, "G") && at(188, "G"), at(4, "G") && at(196, "G"): // MPEG-TS, and as cameras write it
		return true
	}
	return false
}

// isPicture knows the pictures that a wrong name must not make a clip.
func isPicture(b []byte) bool {
	for _, magic := range []string{"\xff\xd8\xff", "\x89PNG", "GIF8", "BM", "II*\x00", "MM\x00*"} {
		if bytes.HasPrefix(b, []byte(magic)) {
			return true
		}
	}
	return false
}
