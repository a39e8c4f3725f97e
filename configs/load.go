package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxFileSize bounds a config file: far above any config, far below the model
// that someone names by mistake.
const maxFileSize = 1 << 20

// Load reads a config file and applies overrides to it: defaults, then the
// file, then sets in order. Every set is "key=value" with a dotted key, such as
// "train.batch=8" or "loss.style.layers={relu1_2: 5, relu2_2: 1}". A value is
// YAML; the value of a text key is taken as it stands unless it begins with a
// quote, so that paths need no quoting.
//
// Of two keys that exclude each other (train.steps and train.epochs,
// style.image and style.images, vgg.weights and vgg.random) the file wins over
// the defaults and the overrides win over the file.
//
// Where path does not exist but is a preset's name, "NAME.yaml" or
// "configs/NAME.yaml", the preset is read instead; a file on disk comes first.
//
// The error is a Faults with everything that is wrong, unless the file cannot
// be read.
func Load(path string, sets []string) (*Config, error) {
	b, err := readFile(path)
	if errors.Is(err, os.ErrNotExist) || isDir(path) {
		if name, ok := presetName(path); ok {
			return LoadPreset(name, sets)
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read config: %w, and no preset has that name (presets: %s)", err, strings.Join(presetNames(), ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	return load(path, b, sets)
}

// Says reports whether the config file at path, or one of sets, gives the dotted
// key a value, rather than that its default holds.
func Says(path, key string, sets []string) (bool, error) {
	for _, s := range sets {
		if name, _, _ := strings.Cut(s, "="); name == key || strings.HasPrefix(key, name+".") {
			return true, nil
		}
	}
	b, err := readFile(path)
	if err != nil {
		return false, fmt.Errorf("read config: %w", err)
	}
	var at any
	if err := yaml.Unmarshal(b, &at); err != nil {
		return false, fmt.Errorf("read config %s: %w", path, err)
	}
	for _, name := range strings.Split(key, ".") {
		section, _ := at.(map[string]any)
		at = section[name]
	}
	return at != nil, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFileSize {
		return nil, fmt.Errorf("%s is larger than 1 MiB: not a config", path)
	}
	return b, nil
}

// load is Load on the content of a file of that name.
func load(file string, b []byte, sets []string) (*Config, error) {
	c := Default()
	err := read(c, file, b, sets)
	if c.Kind != johnson && slices.Contains(kinds(), c.Kind) { // reading alone tells the kind, and the kind the defaults
		c = defaultOf(c.Kind)
		err = read(c, file, b, sets)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// schema is a config of any kind: a pointer to a structure.
type schema interface {
	// exclude makes the layer that was just read win over those below it where
	// two keys exclude each other.
	exclude(d *decoder)
	check(v *checker)
}

// read fills c, which holds the defaults, from a file of that name and content,
// and from overrides.
func read(c schema, file string, b []byte, sets []string) error {
	root := reflect.ValueOf(c).Elem()
	d := decoder{keys: keysOf(root), places: map[string]place{}, mistyped: map[string]bool{}, meant: map[string]bool{}}

	d.begin(file)
	if n, fault := parse(b); fault != nil {
		fault.File = file
		return Faults{*fault}
	} else if n != nil {
		d.decode(n, root, "")
	}
	c.exclude(&d)

	d.begin(override)
	for _, s := range sets {
		if n, fault := parseOverride(s, root); fault != nil {
			d.faults = append(d.faults, *fault)
		} else {
			d.decode(n, root, "")
		}
	}
	c.exclude(&d)

	v := checker{faults: d.faults, at: func(key string) (place, bool) {
		return d.at(key, file)
	}}
	c.check(&v)
	return v.faults.err()
}

// at says where key was set, else where its section begins, and whether a fault
// of its value is news: it is not where the value was of the wrong type, or is a
// default because the key was misspelt.
func (d *decoder) at(key, file string) (place, bool) {
	_, set := d.places[key]
	found := place{file: file}
	for k := key; ; k = parent(k) {
		if d.mistyped[k] || d.meant[k] && !set {
			return place{}, false
		}
		if p, ok := d.places[k]; ok && found.line == 0 && found.file != override {
			found = p
		}
		if k == "" {
			return found, true
		}
	}
}

// parent returns the key that holds key: "a.b" for "a.b.c" and for "a.b[2]".
func parent(key string) string {
	return key[:max(0, strings.LastIndexAny(key, ".["))]
}

var (
	syntaxError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
	// yaml.v3 counts the lines of these faults, its parser's, from 0, and those
	// of all others, its scanner's, from 1.
	parserError = regexp.MustCompile(`^did not find expected (<|key|node content|'-' indicator|',' or)`)
)

// parse returns the root of a YAML document, or nil for an empty one.
func parse(b []byte) (*yaml.Node, *Fault) {
	broken := func(err error) *Fault {
		f := &Fault{Problem: "not valid YAML: " + err.Error()}
		if m := syntaxError.FindStringSubmatch(err.Error()); m != nil {
			f.Line, _ = strconv.Atoi(m[1]) // 0 where yaml names no line
			if parserError.MatchString(m[2]) {
				f.Line++
			}
			f.Problem = "not valid YAML: " + m[2]
		}
		return f
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, broken(err)
	}
	if err := dec.Decode(&more); err == nil {
		return nil, &Fault{Line: more.Line, Problem: "a second YAML document begins here: a config is one document"}
	} else if !errors.Is(err, io.EOF) {
		return nil, broken(err)
	}
	return doc.Content[0], nil
}

// parseOverride turns "a.b=value" into the mapping {a: {b: value}}, so that
// overrides and files are read by the same code. The mappings it makes have
// line 0.
func parseOverride(set string, root reflect.Value) (*yaml.Node, *Fault) {
	key, value, ok := strings.Cut(set, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if !ok || key == "" {
		example := "steps=500" // of a repainting
		if isKey("train.batch", root) {
			example = "train.batch=8"
		}
		return nil, &Fault{File: override, Key: set, Problem: "must have the form key=value, such as " + example}
	}
	var n *yaml.Node
	if isQuoted := strings.HasPrefix(value, `"`) || strings.HasPrefix(value, "'"); isText(key, root) && !isQuoted {
		n = text(value)
	} else {
		var fault *Fault
		if n, fault = parse([]byte(value)); fault != nil {
			return nil, &Fault{File: override, Key: key, Problem: fmt.Sprintf("has a value that is %s, got %s", fault.Problem, printable(value))}
		}
		if n == nil {
			n = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
		}
	}
	segments := strings.Split(key, ".")
	for i := len(segments) - 1; i >= 0; i-- {
		if segments[i] == "" {
			return nil, &Fault{File: override, Key: key, Problem: "is not a known key"}
		}
		n = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{text(segments[i]), n}}
	}
	return n, nil
}

func text(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}

func isKey(key string, root reflect.Value) bool {
	found := false
	walk(root, "", func(k string, _ reflect.Value) { found = found || k == key })
	return found
}

func isText(key string, root reflect.Value) bool {
	found := false
	walk(root, "", func(k string, v reflect.Value) {
		found = found || k == key && v.Kind() == reflect.String
	})
	return found
}
