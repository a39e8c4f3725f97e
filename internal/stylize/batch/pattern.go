package batch

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Patterns of the names of results, of one model and of several.
const (
	OneModel      = "{dir}/{name}.{ext}"
	SeveralModels = "{dir}/{name}-{model}.{ext}"
)

// Pattern names results in a folder. Its words, in braces, are those of Words.
type Pattern struct {
	parts []part
}

// part is some text as it stands, or a word.
type part struct {
	text string
	word bool
}

// Words lists the words of patterns: the picture's folder below its argument,
// its name without the extension, the extension of the result's format, and
// the name of the model.
func Words() []string { return []string{"dir", "name", "ext", "model"} }

// ParsePattern reads a pattern such as OneModel: a path with slashes that stays
// in its folder.
func ParsePattern(text string) (Pattern, error) {
	var p Pattern
	for rest := text; rest != ""; {
		literal, after, opens := strings.Cut(rest, "{")
		if strings.Contains(literal, "}") {
			return p, fmt.Errorf("%q: a } without its {", text)
		}
		if literal != "" {
			p.parts = append(p.parts, part{literal, false})
		}
		if !opens {
			break
		}
		word, behind, closes := strings.Cut(after, "}")
		switch {
		case !closes:
			return p, fmt.Errorf("%q: a { without its }", text)
		case !slices.Contains(Words(), word):
			return p, fmt.Errorf("%q: {%s} is none of {%s}", text, word, strings.Join(Words(), "}, {"))
		}
		p.parts = append(p.parts, part{word, true})
		rest = behind
	}
	switch {
	case text == "":
		return p, errors.New("it is empty")
	case strings.HasSuffix(text, "/"):
		return p, fmt.Errorf("%q names a folder: end it with a file, as in %s", text, OneModel)
	case strings.HasPrefix(text, "/") || slices.Contains(strings.Split(text, "/"), ".."):
		return p, fmt.Errorf("%q leads out of the folder of results", text)
	}
	return p, nil
}

// Has says that a word is in the pattern.
func (p Pattern) Has(word string) bool { return slices.Contains(p.parts, part{word, true}) }

// name fills in the words: name is a Picture's, ext without its dot.
func (p Pattern) name(name, ext, model string) string {
	dir, base := path.Split(name)
	values := map[string]string{
		"dir": strings.TrimSuffix(dir, "/"), "name": strings.TrimSuffix(base, path.Ext(base)), "ext": ext, "model": model,
	}
	var b strings.Builder
	for _, part := range p.parts {
		if part.word {
			b.WriteString(values[part.text])
		} else {
			b.WriteString(part.text)
		}
	}
	// Of a picture in no folder, {dir}/ is nothing.
	return path.Clean(strings.TrimPrefix(b.String(), "/"))
}
