package export

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"stylenet/internal/atomicfile"
)

// TritonOptions say how a model is written for NVIDIA Triton. The zero value is
// the default of all.
type TritonOptions struct {
	// ONNXOptions are those of the model within. ImageIO "" is Uint8NHWC here:
	// clients then send and get the bytes of pictures.
	ONNXOptions
	// MaxBatch is how many pictures of one size the server may compute at once; 0
	// is 8.
	MaxBatch int
}

// Triton writes a model of a model repository of NVIDIA's Triton Inference
// Server, which runs it by its ONNX Runtime backend: the folder dir, whose name is
// the model's, with config.pbtxt and, in a folder named by its version,
// model.onnx. It returns the version. The repository is the folder that dir lies
// in, which must exist.
//
// A network of many styles is refused: Triton batches all inputs together, and
// those of a batch have one mix. Write what Model.Mix returns.
//
// Where dir holds such a model already, with the same config.pbtxt, the next
// version is added. A server takes the newest one. Any other dir that exists is an
// error.
//
// The folder, or the version's, appears whole or not at all. Errors name dir.
func Triton(dir string, m *Model, o TritonOptions) (version int, err error) {
	if version, err = writeTriton(dir, m, o); err != nil {
		return 0, fmt.Errorf("write %s: %w", dir, err)
	}
	return version, nil
}

func writeTriton(dir string, m *Model, o TritonOptions) (version int, err error) {
	if o.ImageIO == "" {
		o.ImageIO = Uint8NHWC
	}
	if o.MaxBatch == 0 {
		o.MaxBatch = 8
	}
	if o.MaxBatch < 0 {
		return 0, fmt.Errorf("batches of up to %d pictures: give 1 or more", o.MaxBatch)
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return 0, err
	}
	name := filepath.Base(dir)
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" || strings.HasPrefix(name, ".") {
		return 0, fmt.Errorf("%q is no name for a model, which goes into URLs: use letters, digits, dot, hyphen and underscore", name)
	}
	if styles := m.Styles(); styles != nil {
		return 0, fmt.Errorf("a network of %d styles takes their mix besides a picture, and Triton joins pictures to batches: mix the styles before", len(styles))
	}
	if _, ok := m.AnyStyle(); ok {
		return 0, errors.New("a model of any style takes a picture of it besides the content, and Triton joins pictures to batches of one size: give it a style before")
	}
	config := tritonConfig(name, m, o)

	// What is written lies beside its place, on the same file system, until it is
	// whole.
	parent, into := filepath.Dir(dir), dir
	version = 1
	old, err := os.ReadFile(filepath.Join(dir, "config.pbtxt"))
	switch {
	case err == nil && string(old) != config:
		return 0, errors.New("holds a model with another config.pbtxt: choose another name, or remove the folder")
	case err == nil:
		if version, err = nextVersion(dir); err != nil {
			return 0, err
		}
		parent, into = dir, filepath.Join(dir, strconv.Itoa(version))
	case !errors.Is(err, fs.ErrNotExist):
		return 0, err
	default:
		if _, err := os.Lstat(dir); err == nil {
			return 0, errors.New("exists, and is no model of Triton: choose another name, or remove it")
		}
	}
	// Triton passes over folders whose names begin with a dot.
	temp, err := os.MkdirTemp(parent, ".stylenet-tmp-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	// MkdirTemp's folders are for their owner alone; a server often is another user.
	if err := os.Chmod(temp, 0o755); err != nil {
		return 0, err
	}
	folder := temp
	if into == dir {
		folder = filepath.Join(temp, strconv.Itoa(version))
		if err := os.Mkdir(folder, 0o755); err != nil {
			return 0, err
		}
		path := filepath.Join(temp, "config.pbtxt")
		if err := atomicfile.Write(path, 0o644, func(w io.Writer) error { _, err := io.WriteString(w, config); return err }); err != nil {
			return 0, err
		}
	}
	if err := ONNXWith(filepath.Join(folder, "model.onnx"), m, o.ONNXOptions); err != nil {
		return 0, err
	}
	if err := os.Rename(temp, into); err != nil {
		return 0, err
	}
	return version, atomicfile.SyncDir(parent)
}

// nextVersion is the number after the largest folder of a version.
func nextVersion(dir string) (int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	newest := 0
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && e.IsDir() {
			newest = max(newest, n)
		}
	}
	return newest + 1, nil
}

// tritonConfig is a ModelConfig in protobuf's text format
// (https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto).
// The batch is not among the dimensions.
func tritonConfig(name string, m *Model, o TritonOptions) string {
	h, w := -1, -1
	if o.Width > 0 {
		h, w = o.Height, o.Width
	}
	dtype, dims := "TYPE_UINT8", fmt.Sprintf("[ %d, %d, 3 ]", h, w)
	if o.ImageIO == FloatNCHW {
		dtype, dims = "TYPE_FP32", fmt.Sprintf("[ 3, %d, %d ]", h, w)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: RGB, %s in and out.\n", m.Network, o.ImageIO)
	fmt.Fprintf(&b, "name: %s\nbackend: \"onnxruntime\"\nmax_batch_size: %d\n", protoText(name), o.MaxBatch)
	for _, side := range []string{"input", "output"} {
		fmt.Fprintf(&b, "%s [\n  {\n    name: %q\n    data_type: %s\n    dims: %s\n  }\n]\n", side, side, dtype, dims)
	}
	b.WriteString("# Requests with pictures of one size are computed together.\ndynamic_batching { }\n")
	for _, p := range [][2]string{{"stylenet.style_name", m.StyleName}, {"stylenet.style_licence", m.StyleLicence}} {
		if p[1] != "" {
			fmt.Fprintf(&b, "parameters {\n  key: %s\n  value { string_value: %s }\n}\n", protoText(p[0]), protoText(p[1]))
		}
	}
	return b.String()
}

// protoText quotes a string for protobuf's text format.
func protoText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + `"`
}
