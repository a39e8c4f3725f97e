package tensorflow

import (
	"encoding/json"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"stylenet/internal/formats/floats"
	"stylenet/internal/weights"
)

// MaxManifest bounds the bytes of a manifest.
const MaxManifest = 1 << 20

// DecodeDump reads variables that lie beside each other as files of little-endian
// float32, as the checkpoint dumper of deeplearn.js wrote them. The manifest is
// an object of JSON: to the name of each variable its "filename" and its "shape".
// open opens a file of the same folder. The tensors come in the order of their
// names.
func DecodeDump(manifest []byte, open func(name string) (io.ReadCloser, int64, error)) (*weights.Set, error) {
	var listed map[string]struct {
		Filename *string `json:"filename"`
		Shape    []int   `json:"shape"`
	}
	if len(manifest) > MaxManifest {
		return nil, invalid("", "the manifest has %d bytes, the limit is %d", len(manifest), MaxManifest)
	}
	if err := json.Unmarshal(manifest, &listed); err != nil {
		return nil, invalid("", "the manifest is broken: %.200v", err)
	}
	if len(listed) == 0 || len(listed) > maxTensors {
		return nil, invalid("", "the manifest lists %d variables", len(listed))
	}
	set := &weights.Set{}
	taken := map[string]bool{} // a small folder must not become large in memory
	for _, name := range slices.Sorted(maps.Keys(listed)) {
		v := listed[name]
		if v.Filename == nil {
			return nil, invalid(name, "the manifest names no file")
		}
		file := *v.Filename
		if file == "" || file == "." || file == ".." || file != path.Base(file) || strings.ContainsAny(file, `\:`) || len(file) > maxName {
			return nil, invalid(name, "the manifest names the file %.200q, which does not lie beside it", file)
		}
		if taken[file] {
			return nil, invalid(name, "the manifest names the file %.200q twice", file)
		}
		taken[file] = true
		if len(v.Shape) > maxRank || slices.ContainsFunc(v.Shape, func(d int) bool { return d < 0 }) {
			return nil, invalid(name, "the manifest gives it the shape %v", v.Shape[:min(len(v.Shape), maxRank)])
		}
		values, err := readDumped(name, file, v.Shape, open)
		if err != nil {
			return nil, err
		}
		if err := set.Add(name, v.Shape, values); err != nil {
			return nil, invalid("", "%v", err)
		}
	}
	return set, nil
}

func readDumped(name, file string, shape []int, open func(string) (io.ReadCloser, int64, error)) ([]float32, error) {
	r, size, err := open(file)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	n, err := elements(name, shape, size)
	if err != nil {
		return nil, err
	}
	if int64(n)*4 != size {
		return nil, invalid(name, "shape %v needs %d bytes, but %s has %d", shape, 4*n, file, size)
	}
	values := make([]float32, n)
	if err := floats.F32.Read(r, values); err != nil {
		return nil, readError(name, "reading "+file, err)
	}
	return values, nil
}
