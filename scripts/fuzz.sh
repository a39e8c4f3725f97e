#!/usr/bin/env bash
# Runs every fuzz target for FUZZTIME (default 10s). Inputs that fail are kept
# in the package's testdata/fuzz.
#
# usage: scripts/fuzz.sh [build flags]
set -euo pipefail
cd "$(dirname "$0")/.."

go=${GO:-go}
format='{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}'
found=0
while read -r package dir; do
	# Listing a package's targets builds its tests: only where there may be one.
	grep -qs '^func Fuzz' "$dir"/*_test.go || continue
	for target in $("$go" test "$@" -list '^Fuzz' "$package" | grep '^Fuzz'); do
		echo "fuzz $package $target for ${FUZZTIME:=10s}"
		"$go" test "$@" -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 5x "$package" </dev/null
		found=$((found + 1))
	done
done < <("$go" list "$@" -f "$format" ./...)
[ "$found" -gt 0 ] || {
	echo "no fuzz target was found" >&2
	exit 1
}
echo "$found fuzz targets passed"
