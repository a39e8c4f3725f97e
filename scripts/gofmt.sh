#!/usr/bin/env bash
# Fails where a Go file of the repository is not formatted.
set -euo pipefail
cd "$(dirname "$0")/.."

# Go's own list of the packages leaves out other people's code in dot-folders.
mapfile -t dirs < <("${GO:-go}" list -e -f '{{.Dir}}' ./...)
unformatted=$(for dir in "${dirs[@]}"; do gofmt -l "$dir"/*.go; done)
if [ -n "$unformatted" ]; then
	echo "not formatted; run gofmt -w on" "$unformatted" >&2
	exit 1
fi
