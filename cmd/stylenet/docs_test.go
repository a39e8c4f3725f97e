package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"stylenet/configs"
)

// TestDocumentedCommands holds the commands that README, docs/ and the examples
// of --help show to the flags and keys that there are.
func TestDocumentedCommands(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, page := range append(pages, filepath.Join("..", "..", "README.md")) {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for i, part := range strings.Split(string(b), "```") {
			if i%2 == 0 { // outside of fences
				part = strings.Join(regexp.MustCompile("`stylenet [^`]*`").FindAllString(part, -1), "\n")
				part = strings.ReplaceAll(part, "`", "")
			}
			checked += checkCommands(t, filepath.Base(page), part)
		}
	}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		checked += checkCommands(t, cmd.CommandPath()+" --help", cmd.Example)
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newRootCmd())
	if checked < 150 {
		t.Errorf("%d commands were found: are the pages read?", checked)
	}
}

// checkCommands checks the commands of a text, a line each, and counts them.
func checkCommands(t *testing.T, where, text string) int {
	n := 0
	text = regexp.MustCompile(`\\\n\s*`).ReplaceAllString(text, "")
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, " #")
		for _, command := range strings.Split(line, "|") { // of a pipe
			words := strings.Fields(strings.TrimPrefix(strings.TrimSpace(command), "$ "))
			if len(words) < 2 || words[0] != "stylenet" {
				continue
			}
			n++
			if err := checkCommand(words[1:]); err != nil {
				t.Errorf("%s: %s: %v", where, strings.TrimSpace(command), err)
			}
		}
	}
	return n
}

func checkCommand(words []string) error {
	cmd, rest, err := newRootCmd().Find(words)
	if err != nil {
		return err
	}
	if cmd.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return fmt.Errorf("%s has no command %q", cmd.CommandPath(), rest[0])
	}
	cmd.InitDefaultHelpFlag()
	for i, word := range rest {
		if word == "-" || !strings.HasPrefix(word, "-") {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
		flag := cmd.Flag(name)
		if !strings.HasPrefix(word, "--") {
			flag = cmd.Flags().ShorthandLookup(name)
		}
		if flag == nil {
			return fmt.Errorf("there is no flag %s", word)
		}
		if name == "set" && i+1 < len(rest) && cmd.Name() != "optimize" {
			key, _, _ := strings.Cut(strings.Trim(rest[i+1], `'"`), "=")
			if !slices.ContainsFunc(configs.Keys(), func(k string) bool { return key == k || strings.HasPrefix(key, k+".") }) {
				return fmt.Errorf("there is no key %s", key)
			}
		}
	}
	return nil
}
