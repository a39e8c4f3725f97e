package configs

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// NamedStyle is a style of kind "multistyle": one image or several, whose weights
// add up to 1.
type NamedStyle struct {
	Name   string
	Images []StyleImage
}

// Named returns the styles of kind "multistyle", in the order in which their names
// first appear. Images of one name make a style together.
func (s Style) Named() []NamedStyle {
	var styles []NamedStyle
	for _, im := range s.Images {
		name := im.StyleName()
		i := slices.IndexFunc(styles, func(n NamedStyle) bool { return n.Name == name })
		if i < 0 {
			i, styles = len(styles), append(styles, NamedStyle{Name: name})
		}
		styles[i].Images = append(styles[i].Images, im)
	}
	for i, style := range styles {
		styles[i].Images = Style{Images: style.Images}.Targets()
	}
	return styles
}

// StyleName is the image's Name or, where it has none, the name of its file
// without the extension, in which "-" stands for whatever a name cannot have.
func (im StyleImage) StyleName() string {
	if im.Name != "" {
		return im.Name
	}
	name := filepath.Base(filepath.FromSlash(im.Path))
	name = strings.TrimSuffix(name, filepath.Ext(name))
	return strings.Join(strings.FieldsFunc(name, func(r rune) bool { return !inName(r) }), "-")
}

// inName and maxName are those of package networks.
func inName(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd) || r == '-' || r == '_'
}

const maxName = 64

// styles checks the styles of kind "multistyle".
func (v *checker) styles(s Style) {
	if len(s.Images) == 0 {
		v.fail("style.images", "is missing: list the styles, such as [{name: starry, path: starry.jpg}, {name: scream, path: scream.jpg}]")
	}
	for i, im := range s.Images {
		key, name := fmt.Sprintf("style.images[%d]", i), im.StyleName()
		if im.Path == "" {
			continue // reported already
		}
		if name == "" || utf8.RuneCountInString(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return !inName(r) }) {
			v.fail(key+".name", "must be 1 to %d letters, digits, - and _, got %s", maxName, quoted(name))
			continue
		}
		if j := slices.IndexFunc(s.Images[:i], func(o StyleImage) bool { return o.StyleName() == name }); j >= 0 && (im.Name == "" || s.Images[j].Name == "") {
			v.fail(key+".name", "is missing: by its file it would be called %s, as style.images[%d] is: name both, alike where they make one style", name, j)
		}
	}
}
