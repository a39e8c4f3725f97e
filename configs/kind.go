package configs

import (
	"reflect"
	"slices"
	"strings"
)

// The kinds of training; johnson is that of a config that names none.
const (
	johnson    = "johnson"
	multistyle = "multistyle"
	adain      = "adain"
	video      = "video"
)

// kinds lists the kinds of training: the values of the key kind.
func kinds() []string { return []string{johnson, multistyle, adain, video} }

// kindKeys lists the keys and sections that some kinds alone use, and these
// kinds. All use what is not in it.
func kindKeys() map[string][]string {
	return map[string][]string{
		"style.image":     {johnson, video},
		"style.images":    {johnson, multistyle, video},
		"style.dir":       {adain},
		"style.holdout":   {adain},
		"network":         {johnson, multistyle, video},
		"network.from":    {multistyle},
		"network.encoder": {adain},
		"loss.convention": {johnson, multistyle, video},
		"video":           {video},
	}
}

// uses reports whether a kind of training uses a key or section.
func uses(kind, key string) bool {
	of := kindKeys()
	for k := key; k != ""; k = parent(k) {
		if only, ok := of[k]; ok {
			return slices.Contains(only, kind)
		}
	}
	return true
}

// kind checks the key of that name, and that no key has a value of its own which
// the kind does not use. A resolved config has them all, at their defaults.
func (v *checker) kind(c *Config) {
	if !slices.Contains(kinds(), c.Kind) {
		v.oneOf("kind", c.Kind, kinds()...)
		return
	}
	plain := map[string]any{}
	walk(reflect.ValueOf(defaultOf(c.Kind)).Elem(), "", func(key string, x reflect.Value) { plain[key] = x.Interface() })
	walk(reflect.ValueOf(c).Elem(), "", func(key string, x reflect.Value) {
		if uses(c.Kind, key) || reflect.DeepEqual(x.Interface(), plain[key]) || x.Kind() == reflect.Slice && x.Len() == 0 {
			return
		}
		var by []string
		for _, kind := range kinds() {
			if uses(kind, key) {
				by = append(by, kind)
			}
		}
		v.fail(key, "has no meaning for kind %s: remove it, or set kind to %s", c.Kind, strings.Join(by, " or "))
	})
}
