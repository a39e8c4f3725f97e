package configs

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// place is where a key was set: file is override for a --set, line is 0 where
// no line holds the key.
type place struct {
	file string
	line int
}

// decoder fills a Config from YAML nodes. It does what yaml.v3's own decoder
// does not: it goes on after a fault, says where every key was set, and never
// rounds 2.5 to a whole number.
type decoder struct {
	keys     []string // of the whole schema
	file     string
	places   map[string]place // by key, over all layers: the last to set a key
	set      map[string]bool  // keys set by this layer: the file, or the overrides
	mistyped map[string]bool  // keys whose value is already reported
	meant    map[string]bool  // keys that an unknown key was probably meant to be
	faults   Faults
}

// begin starts a new layer.
func (d *decoder) begin(file string) {
	d.file, d.set = file, map[string]bool{}
}

func (d *decoder) fail(n *yaml.Node, key, format string, args ...any) {
	d.faults = append(d.faults, Fault{File: d.file, Line: d.line(n), Key: key, Problem: fmt.Sprintf(format, args...)})
}

func (d *decoder) line(n *yaml.Node) int {
	if d.file == override {
		return 0 // the line within a flag's value says nothing
	}
	return n.Line
}

// decode reads n into v, the field that key names; the root has an empty key.
func (d *decoder) decode(n *yaml.Node, v reflect.Value, key string) {
	mistyped := func(problem string, args ...any) {
		d.mistyped[key] = true
		d.fail(n, key, problem, args...)
	}
	null := n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
	switch {
	case n.Kind == yaml.AliasNode:
		mistyped("is a YAML alias: write the value out")
	case v.Kind() == reflect.Struct && null: // a section whose keys are all commented out
	case v.Kind() == reflect.String && null:
		v.SetString("")
	case null:
		mistyped("has no value: give it one, or remove the key for its default")
	case !d.read(n, v, key):
		mistyped("must be %s, got %s", typeName(v.Type()), describe(n))
	}
}

// read reports whether n has the type of v. Faults further down are recorded,
// not returned.
func (d *decoder) read(n *yaml.Node, v reflect.Value, key string) bool {
	switch v.Kind() {
	case reflect.Struct:
		if path := v.FieldByName("Path"); n.Kind == yaml.ScalarNode && path.IsValid() {
			path.SetString(n.Value) // an image alone
			return true
		}
		return d.section(n, v, key)
	case reflect.Map:
		return d.layers(n, v, key)
	case reflect.Slice:
		return d.images(n, v, key)
	}
	return n.Kind == yaml.ScalarNode && scalar(n, v)
}

// entries calls f on every key of a mapping and its value, but for keys that
// are set twice. It reports whether n is a mapping.
func (d *decoder) entries(n *yaml.Node, path string, f func(k, value *yaml.Node)) bool {
	if n.Kind != yaml.MappingNode {
		return false
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, value := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode || k.Value == "" {
			d.fail(k, path, "has %s as a key: keys are plain words", describe(k))
			continue
		}
		key := join(path, k.Value)
		if line, ok := first[k.Value]; ok {
			if d.file == override {
				d.fail(k, key, "is set twice in one value")
			} else {
				d.fail(k, key, "is set twice, first on line %d", line)
			}
			continue
		}
		first[k.Value] = k.Line
		f(k, value)
	}
	return true
}

// mark remembers where a key was set; what was wrong with its value before no
// longer hides what is wrong with the new one.
func (d *decoder) mark(k *yaml.Node, key string) {
	delete(d.mistyped, key)
	d.set[key] = true
	d.places[key] = place{d.file, d.line(k)}
}

func (d *decoder) section(n *yaml.Node, v reflect.Value, path string) bool {
	return d.entries(n, path, func(k, value *yaml.Node) {
		key := join(path, k.Value)
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("yaml") != k.Value {
				continue
			}
			// An override's enclosing sections stay where the file has them.
			if field := v.Field(i); field.Kind() != reflect.Struct || value.Line != 0 {
				d.mark(k, key)
			}
			d.decode(value, v.Field(i), key)
			return
		}
		d.unknown(k, key, v)
	})
}

// unknown reports a key that the section v does not have.
func (d *decoder) unknown(k *yaml.Node, key string, v reflect.Value) {
	if k.Value == "<<" {
		d.fail(k, key, "is not a known key: write the keys out that it stands for")
		return
	}
	var siblings []string
	for i := range v.NumField() {
		siblings = append(siblings, join(parent(key), v.Type().Field(i).Tag.Get("yaml")))
	}
	leaf := func(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }
	var leaves []string
	for _, full := range d.keys {
		if full == key { // a dotted key, which only --set splits
			d.meant[full] = true
			d.fail(k, key, "is not a known key: in a file, write %s under %s", leaf(full), parent(full))
			return
		}
		leaves = append(leaves, leaf(full))
	}
	meant := nearest(key, siblings)
	if meant == "" { // right word, wrong section
		if i := slices.Index(leaves, nearest(k.Value, leaves)); i >= 0 {
			meant = d.keys[i]
		}
	}
	if meant != "" {
		d.meant[meant] = true
	}
	d.fail(k, key, "is not a known key%s", didYouMean(meant))
}

func (d *decoder) layers(n *yaml.Node, v reflect.Value, path string) bool {
	// A mapping replaces the default's layers; an override of one layer, which
	// has no line, leaves the others.
	layers := Layers{}
	if n.Line == 0 {
		layers = v.Interface().(Layers)
	}
	ok := d.entries(n, path, func(k, value *yaml.Node) {
		key := join(path, k.Value)
		d.mark(k, key)
		weight := reflect.New(v.Type().Elem()).Elem()
		weight.SetFloat(math.NaN()) // no valid weight, should value not be one
		d.decode(value, weight, key)
		layers[k.Value] = weight.Float()
	})
	if ok {
		v.Set(reflect.ValueOf(layers))
	}
	return ok
}

func (d *decoder) images(n *yaml.Node, v reflect.Value, path string) bool {
	if n.Kind != yaml.SequenceNode {
		return false
	}
	// A list replaces that of the layer below, with all of its places.
	maps.DeleteFunc(d.places, func(key string, _ place) bool { return strings.HasPrefix(key, path+"[") })
	images := reflect.Zero(v.Type())
	for i, item := range n.Content {
		key := fmt.Sprintf("%s[%d]", path, i)
		d.mark(item, key)
		image := reflect.New(v.Type().Elem()).Elem()
		image.FieldByName("Weight").SetFloat(1)
		d.decode(item, image, key)
		images = reflect.Append(images, image)
	}
	v.Set(images)
	return true
}

// scalar stores a scalar node in v and reports whether it is of v's type.
func scalar(n *yaml.Node, v reflect.Value) bool {
	if v.Kind() == reflect.String {
		return n.Decode(v.Addr().Interface()) == nil
	}
	var x any
	if err := n.Decode(&x); err != nil {
		return false
	}
	f, isFloat := x.(float64)
	switch v.Kind() {
	case reflect.Bool:
		b, ok := x.(bool)
		v.SetBool(b)
		return ok
	case reflect.Float64:
		switch i := reflect.ValueOf(x); {
		case isFloat:
		case i.CanInt():
			f = float64(i.Int())
		case i.CanUint():
			f = float64(i.Uint())
		default:
			return false
		}
		v.SetFloat(f)
		return true
	}
	// What is left are whole numbers; 4e4 is one too, as far as a float64
	// counts exactly.
	if isFloat && f == math.Trunc(f) && math.Abs(f) <= 1<<53 {
		x = int64(f)
	}
	i := reflect.ValueOf(x)
	if v.CanInt() {
		if !i.CanInt() || v.OverflowInt(i.Int()) {
			return false
		}
		v.SetInt(i.Int())
		return true
	}
	switch {
	case i.CanUint():
		v.SetUint(i.Uint())
	case i.CanInt() && i.Int() >= 0:
		v.SetUint(uint64(i.Int()))
	default:
		return false
	}
	return true
}

// only reports whether the layer that was just read sets one of two keys alone.
func (d *decoder) only(key, other string) bool { return d.set[key] && !d.set[other] }

func (c *Config) exclude(d *decoder) {
	only := d.only
	if c.Train.Precision == "fp32" { // as versions before bf16 wrote it
		c.Train.Precision = "float32"
	}
	if only("train.epochs", "train.steps") && c.Train.Epochs != 0 {
		c.Train.Steps = 0
	}
	if only("train.steps", "train.epochs") && c.Train.Steps != 0 {
		c.Train.Epochs = 0
	}
	if only("style.images", "style.image") && len(c.Style.Images) != 0 {
		c.Style.Image = ""
	}
	if only("style.image", "style.images") && c.Style.Image != "" {
		c.Style.Images = nil
	}
	c.VGG.exclude(only)
}

func (g *VGG) exclude(only func(key, other string) bool) {
	if only("vgg.random", "vgg.weights") && g.Random {
		g.Weights = ""
	}
	if only("vgg.weights", "vgg.random") && g.Weights != "" {
		g.Random = false
	}
}

// typeName says what a key of type t accepts.
func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Uint64:
		return "a whole number of at least 0"
	case reflect.Float64:
		return "a number"
	case reflect.String:
		return "text"
	case reflect.Map:
		return "a mapping of layers to weights"
	case reflect.Slice:
		var keys []string
		for i := range t.Elem().NumField() {
			keys = append(keys, t.Elem().Field(i).Tag.Get("yaml"))
		}
		return "a list of {" + strings.Join(keys, ", ") + "}"
	}
	return "a mapping of keys to values"
}

// describe says what a node is, for "got …".
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	if n.ShortTag() == "!!str" {
		return quoted(n.Value)
	}
	if n.Value == "" {
		return "nothing"
	}
	return printable(n.Value)
}
