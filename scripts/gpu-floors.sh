#!/usr/bin/env bash
# Computes, on the processor, the least time that a GPU of given peak rates could
# take for the work whose targets docs/cuda.md has: for each kernel its arithmetic
# at the rate of its tensor cores, or its bytes at the bandwidth of its memory,
# whichever takes longer, as `stylenet bench roofline` counts them. Prints a table
# in Markdown. Nothing is measured but what the processor's run needs.
#
# usage: scripts/gpu-floors.sh [STYLENET [TFLOPS [TB/s]]]
#
# STYLENET is the program, bin/stylenet without it. The rates are those that
# NVIDIA states for an H100 SXM: 989 TFLOP/s in bf16, dense, and 3.35 TB/s.
set -euo pipefail

stylenet=${1:-bin/stylenet}
tflops=${2:-989}
tbytes=${3:-3.35}
[ $# -le 3 ] || {
	echo "usage: scripts/gpu-floors.sh [STYLENET [TFLOPS [TB/s]]]" >&2
	exit 2
}
command -v jq >/dev/null || {
	echo "gpu-floors: jq is not installed (Debian: apt-get install jq)" >&2
	exit 1
}

echo "| work | operations | bytes | floor of the arithmetic | floor of the bytes | floor, kernel by kernel |"
echo "|---|---|---|---|---|---|"
# row prints one: what the work is, its steps, and how roofline runs one of them.
row() {
	local work=$1 times=$2
	shift 2
	"$stylenet" bench roofline "$@" --device cpu --precision bf16 --runs 1 --json |
		jq -r --arg work "$work" --argjson times "$times" --argjson flops "$tflops" --argjson bytes "$tbytes" '
			def scaled(u): if . >= 1e6 then "\(. / 1e4 | round / 100) P\(u)" elif . >= 1000 then "\(. / 10 | round / 100) T\(u)" else "\(. * 100 | round / 100) G\(u)" end;
			def time: if . >= 1000 then "\(. / 10 | round / 100) s" else "\(. * 100 | round / 100) ms" end;
			(($times * 1e-12) / $flops * 1e3) as $f | (($times * 1e-12) / $bytes * 1e3) as $b |
			[.stages[].flops] as $flop | [.stages[].bytes] as $byte |
			"| \($work) | \($flop | add * $times / 1e9 | scaled("FLOP")) | \($byte | add * $times / 1e9 | scaled("B")) | \($flop | add * $f | time) | \($byte | add * $b | time) | \([.stages[] | [.flops * $f, .bytes * $b] | max] | add | time) |"'
}
row "training step, batch 4, 256²" 1 train --batch 4
row "training step, batch 16, 256²" 1 train --batch 16
row "40,000 steps, batch 4, 256²" 40000 train --batch 4
row "a frame of 1920×1080" 1 stylize --size 1920x1080
