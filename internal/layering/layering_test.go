package layering

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rule says what a package may import of this module. Its tests are free to
// import all of it that Go allows and only does not forbid.
type rule struct {
	of     string
	may    []string // a pattern that ends in /... also matches what lies below
	reason string   // why nothing else
}

var rules = []rule{
	{"internal/weights", nil, "named tensors are the currency of all others, and depend on none"},
	{"internal/atomicfile", nil, "it replaces files whole, whatever is in them"},
	{"internal/scenes", nil, "it draws from a seed; its users decide what the pictures are for"},
	{"internal/testassets", nil, "it finds files for tests of any layer"},
	{"internal/layering", nil, "it looks at source text alone"},
	{"configs", nil, "the schema can be read and checked without what it configures"},
	{"internal/images", []string{"internal/atomicfile", "internal/images/codecs", "internal/images/metadata"}, "pictures know nothing of networks"},
	{"internal/images/codecs", nil, "a codec turns pixels into bytes and back, and gives them no meaning"},
	{"internal/images/metadata", nil, "what stands beside pixels is read and written without them"},
	{"internal/flow", nil, "motion is measured between planes of numbers, wherever they come from"},
	{"internal/motion", []string{"internal/flow", "internal/images", "internal/scenes"}, "clips are rendered for whoever judges by them"},
	{"internal/video", []string{"internal/atomicfile", "internal/images"}, "clips are read and written whatever is done to their frames"},
	{"internal/stabilize", []string{"internal/flow", "internal/images"}, "flicker is taken out of frames, whatever painted them"},
	{"internal/clips", []string{"internal/atomicfile", "internal/flow", "internal/images", "internal/video"}, "pairs are cut from clips, whatever learns from them"},
	{"internal/views", nil, "pairs are made of numbers, wherever photos come from and whatever learns from them"},
	{"internal/networks", []string{"internal/weights"}, "a network is data: training, inference and export read it, and it knows none of them"},

	{"internal/kernels", nil, "the contract knows no network and no backend"},
	{"internal/kernels/reference", []string{"internal/kernels"}, "a backend knows the contract alone, so that any other can take its place"},
	{"internal/kernels/onednn", []string{"internal/kernels"}, "a backend knows the contract alone, so that any other can take its place"},
	{"internal/kernels/cuda", []string{"internal/atomicfile", "internal/kernels"}, "a backend knows the contract alone, so that any other can take its place; this one also keeps a file, of the algorithms that it measured"},
	{"internal/kernels/profile", []string{"internal/kernels"}, "it measures any device, and knows none"},
	{"internal/kernels/kerneltest", []string{"internal/kernels", "internal/kernels/reference"}, "the suite compares any device with the reference, and knows no other"},
	{"internal/devices", []string{"internal/kernels/..."}, "the one place that names backends knows nothing of what runs on them"},

	{"internal/inference", []string{"internal/kernels", "internal/networks", "internal/weights"}, "a network runs on any device, and no file or picture is part of that"},
	{"internal/inference/inferencetest", []string{"internal/inference", "internal/kernels", "internal/networks", "internal/weights"}, "a test runs a network on the device that it brings"},
	{"internal/autodiff", []string{"internal/inference", "internal/kernels", "internal/networks", "internal/weights"}, "gradients need a network and a device, and no file, picture or config"},
	{"losses", []string{"internal/autodiff", "internal/inference", "internal/kernels", "internal/networks"}, "a loss is made of features on a device, wherever photos, paintings and weights come from"},
	{"data", []string{"internal/atomicfile", "internal/images"}, "photos become batches of floats before anything learns from them"},

	{"internal/formats", []string{"internal/formats/...", "internal/networks", "internal/weights"}, "a file of ONNX holds a network, which is handed on; nothing is built or run to open a file"},
	{"internal/formats/floats", nil, "half and brain floats are numbers, and know no file"},
	{"internal/formats/safetensors", []string{"internal/formats/floats", "internal/weights"}, "a codec turns bytes into named tensors, and gives them no meaning"},
	{"internal/formats/pth", []string{"internal/formats/floats", "internal/weights"}, "a codec turns bytes into named tensors, and gives them no meaning"},
	{"internal/formats/tensorflow", []string{"internal/formats/floats", "internal/weights"}, "a codec turns bytes into named tensors, and gives them no meaning"},
	{"internal/formats/onnx", []string{"internal/formats/floats", "internal/formats/onnx/onnxpb", "internal/networks", "internal/weights"}, "ONNX holds layers too, and so this codec alone reads networks"},
	{"internal/formats/onnx/onnxpb", nil, "generated messages"},

	{"internal/model", []string{"internal/atomicfile", "internal/formats/...", "internal/networks", "internal/weights"}, "a model file is read and written without running it"},
	{"internal/vgg", []string{"internal/atomicfile", "internal/formats/...", "internal/inference", "internal/kernels", "internal/networks", "internal/scenes", "internal/weights"}, "VGG-19's weights serve training, and know no style network"},
	{"internal/checkpoint", []string{"internal/atomicfile", "internal/formats/safetensors", "internal/weights"}, "a snapshot is stored without knowing what its tensors mean"},
	{"internal/calibrate", []string{"internal/formats/onnx", "internal/images", "internal/inference", "internal/kernels", "internal/networks", "internal/weights"}, "a network's ranges are found without a choice of device and without files"},
	{"internal/stylize", []string{"internal/images", "internal/inference", "internal/kernels", "internal/model", "internal/networks", "internal/weights"}, "a picture is stylized without training code and without a choice of device"},
	{"internal/stylize/batch", []string{"data", "internal/images"}, "which pictures there are and where results go does not depend on what is done to them"},
	{"internal/sanity", []string{"internal/images", "internal/inference", "internal/kernels", "internal/model", "internal/networks", "internal/scenes"}, "a model is judged by what it makes of two pictures, wherever it and the device come from"},
	{"internal/coco", nil, "annotations are text, whatever is done to the pictures"},
	{"internal/evaluate", []string{"losses", "internal/images", "internal/inference", "internal/kernels", "internal/networks", "internal/vgg"}, "pictures are measured whoever painted them, and on whatever device"},
	{"internal/optimize", []string{
		"losses", "internal/autodiff", "internal/images", "internal/inference", "internal/kernels", "internal/networks", "internal/vgg", "internal/weights",
	}, "a picture is optimised without training code, without a choice of device and wherever its state is kept"},
	{"train", []string{
		"configs", "data", "losses", "internal/atomicfile", "internal/autodiff", "internal/checkpoint", "internal/clips", "internal/devices", "internal/formats/...",
		"internal/images", "internal/inference", "internal/kernels", "internal/model", "internal/networks", "internal/stylize", "internal/vgg", "internal/views", "internal/weights",
	}, "training ends in a checkpoint, and what is made of it later is export's"},
	{"export", []string{
		"internal/atomicfile", "internal/calibrate", "internal/checkpoint", "internal/devices", "internal/formats/...", "internal/images", "internal/kernels",
		"internal/model", "internal/networks", "internal/stylize", "internal/weights",
	}, "Go programs that stylize do not carry the training with them"},
	{"cmd/stylenet", []string{"configs", "data", "export", "losses", "train", "internal/..."}, "the commands stand on top of all"},
}

// only lists packages that few may import.
var only = []struct {
	pattern string
	by      []string
	tests   bool // whether any test may, too
	reason  string
}{
	{"stylenet/cmd/...", nil, false, "commands are the top"},
	{"stylenet/configs", []string{"cmd/stylenet", "train"}, false, "a config is turned into each package's own options in one place"},
	{"stylenet/internal/kernels/reference", []string{"internal/devices", "internal/kernels/kerneltest"}, true, "backends are chosen by name, in package devices"},
	{"stylenet/internal/kernels/onednn", []string{"internal/devices"}, true, "backends are chosen by name, in package devices"},
	{"stylenet/internal/kernels/cuda", []string{"internal/devices"}, true, "backends are chosen by name, in package devices"},
	{"stylenet/internal/kernels/kerneltest", nil, true, "it is for tests of backends"},
	{"stylenet/internal/inference/inferencetest", nil, true, "it is for tests of what networks give"},
	{"stylenet/internal/testassets", nil, true, "the product needs no development assets"},
	{"C", []string{"internal/kernels/onednn", "internal/kernels/cuda"}, false, "everything else builds without a C compiler"},
	{"gorgonia.org/...", []string{"internal/autodiff", "internal/kernels/cuda"}, false, "Gorgonia's graph is an implementation of autodiff, and no other's vocabulary"},
	{"gopkg.in/yaml.v3", []string{"configs"}, true, "YAML has one reader, the strict one"},
	{"github.com/spf13/...", []string{"cmd/stylenet"}, false, "libraries parse no command lines"},
	{"github.com/schollz/progressbar/v3", []string{"cmd/stylenet"}, false, "libraries report progress, and commands draw it"},
	{"github.com/tetratelabs/wazero/...", []string{"internal/images/codecs"}, false, "WebAssembly is how codecs come along, and nothing else's business"},
	{"google.golang.org/protobuf/...", []string{"internal/formats/onnx", "internal/formats/onnx/onnxpb", "internal/formats/tensorflow"}, true, "protobuf is ONNX's and TensorFlow's"},
	{"github.com/nlpodyssey/gopickle/...", []string{"internal/formats/pth"}, false, "pickles are read where they are restricted"},
	{"testing", []string{"internal/inference/inferencetest", "internal/testassets", "internal/kernels/kerneltest"}, true, "it would add its flags to the product"},
}

// mutable lists the package variables that are set after their declaration.
var mutable = map[string]string{
	"cmd/stylenet.version": "the linker sets it",
}

func TestImports(t *testing.T) {
	for dir, files := range module(t) {
		i := slices.IndexFunc(rules, func(r rule) bool { return r.of == dir })
		if i < 0 {
			t.Errorf("package %s has no rule: say in rules what it may import, and why nothing else", dir)
			continue
		}
		for _, f := range files {
			for _, spec := range f.Imports {
				imp, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if reason := rules[i].ban(imp, f.test); reason != "" {
					t.Errorf("%s imports %q: %s", f.path, imp, reason)
				}
			}
		}
	}
}

// ban gives the reason why a file of the package may not import imp, or "".
func (r rule) ban(imp string, test bool) string {
	inner, ours := strings.CutPrefix(imp, "stylenet/")
	if inner == r.of {
		return "" // a test of a package beside it
	}
	for _, o := range only {
		if match(o.pattern, imp) && !slices.Contains(o.by, r.of) && !(o.tests && test) {
			return o.reason
		}
	}
	if !ours || test || slices.ContainsFunc(r.may, func(p string) bool { return match(p, inner) }) {
		return ""
	}
	return r.reason
}

func TestBan(t *testing.T) {
	images := rules[slices.IndexFunc(rules, func(r rule) bool { return r.of == "internal/images" })]
	for _, c := range []struct {
		imp          string
		banned, test bool // banned everywhere, banned in tests
	}{
		{"fmt", false, false},
		{"golang.org/x/image/webp", false, false},
		{"stylenet/internal/atomicfile", false, false},
		{"stylenet/internal/networks", true, false},
		{"stylenet/internal/testassets", true, false},
		{"stylenet/configs", true, true},
		{"stylenet/cmd/stylenet", true, true},
		{"gorgonia.org/tensor", true, true},
		{"C", true, true},
	} {
		if banned, test := images.ban(c.imp, false) != "", images.ban(c.imp, true) != ""; banned != c.banned || test != c.test {
			t.Errorf("%s: banned %v, in tests %v; want %v, %v", c.imp, banned, test, c.banned, c.test)
		}
	}
}

// match reports whether a pattern is name or, where it ends in /..., name
// lies below.
func match(pattern, name string) bool {
	if parent, ok := strings.CutSuffix(pattern, "/..."); ok {
		return name == parent || strings.HasPrefix(name, parent+"/")
	}
	return name == pattern
}

// goFile is a parsed file.
type goFile struct {
	*ast.File
	path string
	test bool
}

// module parses all Go files of the module, whatever their build tags, by the
// slash-separated path of their package.
func module(t *testing.T) map[string][]goFile {
	t.Helper()
	root := os.DirFS(filepath.Join("..", ".."))
	packages := map[string][]goFile{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") || d.Name() == "testdata"):
			return fs.SkipDir // as Go does
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		source, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ParseComments)
		if err != nil {
			return err
		}
		packages[path.Dir(name)] = append(packages[path.Dir(name)], goFile{f, name, strings.HasSuffix(name, "_test.go")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(packages["internal/layering"]) == 0 {
		t.Fatal("the module's files were not found")
	}
	return packages
}

// Every package says what it is.
func TestPackageComments(t *testing.T) {
	for dir, files := range module(t) {
		var comments []string
		for _, f := range files {
			if f.Doc != nil && !f.test {
				comments = append(comments, f.path)
				want := "Package " + f.Name.Name + " "
				if f.Name.Name == "main" {
					want = "Command " + path.Base(dir) + " "
				}
				if !strings.HasPrefix(f.Doc.Text(), want) {
					t.Errorf("%s: the package comment does not begin with %q", f.path, want)
				}
			}
		}
		if len(comments) != 1 {
			t.Errorf("package %s has %d package comments, want one: %v", dir, len(comments), comments)
		}
	}
}

// No package has state: its variables are set where they are declared, and
// are values that cannot change or tables that nothing writes to.
func TestNoPackageState(t *testing.T) {
	for dir, files := range module(t) {
		tables := map[string]bool{}
		for _, f := range files {
			if f.test || ast.IsGenerated(f.File) {
				continue
			}
			for _, decl := range f.Decls {
				g, ok := decl.(*ast.GenDecl)
				if !ok || g.Tok != token.VAR {
					continue
				}
				for _, spec := range g.Specs {
					v := spec.(*ast.ValueSpec)
					for i, name := range v.Names {
						switch {
						case name.Name == "_", embedded(g, v), mutable[dir+"."+name.Name] != "":
						case i < len(v.Values) && fixed(v.Values[i]):
							tables[name.Name] = true
						default:
							t.Errorf("%s: the package variable %s can change: make it a constant, a function's result or a field", f.path, name)
						}
					}
				}
			}
		}
		for _, f := range files {
			for _, name := range written(f.File) {
				if tables[name] && !f.test {
					t.Errorf("%s: the package variable %s is written to after its declaration", f.path, name)
				}
			}
		}
	}
}

func embedded(g *ast.GenDecl, v *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{g.Doc, v.Doc} {
		if doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") }) {
			return true
		}
	}
	return false
}

// fixed reports whether an initial value is an error, a regular expression, what
// is made once when it is first asked for, or a literal.
func fixed(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.CompositeLit:
		return true
	case *ast.CallExpr:
		f, ok := e.Fun.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		pkg, ok := f.X.(*ast.Ident)
		return ok && slices.Contains([]string{"errors.New", "regexp.MustCompile", "sync.OnceValues"}, pkg.Name+"."+f.Sel.Name)
	}
	return false
}

// written lists the variables of the package, those that no function of the
// file declares, that a file assigns to, in whole or in part, or takes the
// address of.
func written(f *ast.File) []string {
	var names []string
	note := func(e ast.Expr) {
		for {
			switch x := e.(type) {
			case *ast.IndexExpr:
				e = x.X
				continue
			case *ast.SelectorExpr:
				e = x.X
				continue
			case *ast.ParenExpr:
				e = x.X
				continue
			case *ast.Ident:
				if x.Obj == nil || f.Scope.Lookup(x.Name) == x.Obj {
					names = append(names, x.Name)
				}
			}
			return
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, e := range n.Lhs {
					note(e)
				}
			}
		case *ast.IncDecStmt:
			note(n.X)
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				note(n.X)
			}
		}
		return true
	})
	return names
}

func TestWritten(t *testing.T) {
	const source = `package p
var a, b, c, d, e = []int{1}, []int{1}, 1, 1, 1
func f() { a[0] = 1; b := a; b[0] = 2; c++; var d int; d = 3; g(&e, d, b) }
func g(e *int, c int, b []int) { *e = 3; c = 1; other.x = 1 }`
	f, err := parser.ParseFile(token.NewFileSet(), "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(written(f)); got != "[a c e other]" {
		t.Errorf("written %s, want [a c e other]", got)
	}
}
