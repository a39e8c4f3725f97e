#!/usr/bin/env bash
# Runs go test and ends with the number of tests that ran.
#
# usage: scripts/gotest.sh [go test's flags and packages]
set -euo pipefail
cd "$(dirname "$0")/.."

# Tests' kernels are short: OpenMP's threads would wait for the next one longer
# than they work, and take the processors from whoever prepares it.
export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-1000}"

log=$(mktemp)
trap 'rm -f "$log"' EXIT

echo "go test $*"
status=0
"${GO:-go}" test -v "$@" >"$log" 2>&1 || status=$?

if [ "$status" = 0 ]; then
	grep -aE '^(ok|\?)[[:space:]]' "$log" || true
else
	grep -avE '^[[:space:]]*(=== (RUN|PAUSE|CONT|NAME)|--- (PASS|SKIP))' "$log" || true
fi
count() { grep -acE "^[[:space:]]*--- $1:" "$log" || true; }
skipped=$(count SKIP)
if [ "$skipped" != 0 ]; then
	echo "skipped:"
	grep -aE '^[[:space:]]*--- SKIP:' "$log" | awk '{ print "  " $3 }'
fi
echo "go test $*: $(count PASS) passed, $(count FAIL) failed, $skipped skipped (subtests included)"
exit "$status"
