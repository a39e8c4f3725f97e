#!/usr/bin/env bash
# Tests the built binary from photos to pictures: trains a tiny network, stops
# runs by Ctrl-C, SIGTERM and kill -9, resumes them, compares them with one that
# never stopped, exports, and stylizes.
#
# usage: scripts/e2e.sh [BINARY]
set -euo pipefail
cd "$(dirname "$0")/.."
set -m # jobs get their own signals: else the shell makes background jobs deaf to SIGINT

stylenet=$(realpath "${1:-bin/stylenet}")
work=$(mktemp -d)
pid=
cleanup() {
	[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
	rm -rf "$work"
}
trap cleanup EXIT

fail() {
	echo "e2e: FAIL: $*" >&2
	exit 1
}
step() { echo "e2e: $*"; }

# quietly runs a command and shows what it said only if it fails.
quietly() {
	local code=0
	"$@" >"$work/log" 2>&1 </dev/null || code=$?
	[ "$code" = 0 ] || {
		cat "$work/log" >&2
		fail "exit code $code: $*"
	}
}

# refuses runs a command that must fail with a message that has this text.
refuses() {
	local text=$1 code=0
	shift
	"$@" >"$work/log" 2>&1 </dev/null || code=$?
	[ "$code" != 0 ] || fail "succeeded: $*"
	grep -qF -- "$text" "$work/log" || {
		cat "$work/log" >&2
		fail "does not say \"$text\": $*"
	}
}

# size prints WxH of a PNG file, from its first chunk.
size() {
	[ "$(head -c 8 "$1" | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ] || fail "$1 is no PNG"
	od -An -tu1 -j16 -N8 "$1" | awk '{ print $1*16777216+$2*65536+$3*256+$4 "x" $5*16777216+$6*65536+$7*256+$8 }'
}

# losses prints what a run logged, without its speed.
losses() { grep -oE '"(step|loss|content|style|tv)": ?[^,}]*' "$1/metrics.jsonl"; }

lines() { if [ -f "$1" ]; then wc -l <"$1"; else echo 0; fi; }

steps=40
train=("$stylenet" train preview
	--set "data.dir=$work/photos" --set data.size=32
	--set "style.image=$work/style.png" --set style.size=48
	--set vgg.random=true
	--set 'network.architecture=c9s1-16,d16,R16,u16,c9s1-3'
	--set 'loss.content.layers={relu2_2: 1}' --set 'loss.style.layers={relu1_2: 1, relu2_2: 1}'
	--set "train.steps=$steps" --set train.batch=2 --set train.seed=7
	--set train.checkpoint_every=7 --set train.preview_every=0)

# interrupted trains, sends a signal once the log has so many lines, and resumes.
interrupted() {
	local run=$work/runs/$1 signal=$1 after=$2 tries=0 code=0
	"${train[@]}" --out "$run" >"$work/log" 2>&1 </dev/null &
	pid=$!
	while [ "$(lines "$run/metrics.jsonl")" -lt "$after" ]; do
		kill -0 "$pid" 2>/dev/null || {
			cat "$work/log" >&2
			fail "the run ended before step $after"
		}
		tries=$((tries + 1))
		[ "$tries" -lt 12000 ] || fail "no step $after within 2 minutes"
		sleep 0.01
	done
	kill -s "$signal" "$pid"
	wait "$pid" || code=$?
	pid=
	[ "$(lines "$run/metrics.jsonl")" -lt "$steps" ] || fail "SIG$signal came too late: the run was at its end"
	step "SIG$signal ended the run after $(lines "$run/metrics.jsonl") steps with exit code $code"
	quietly "$stylenet" train --resume "$run"
	same "$run" "SIG$signal"
}

# same compares a run with the one that never stopped, byte for byte.
same() {
	cmp <(losses "$work/runs/whole") <(losses "$1") || fail "$2: the losses differ from those of a run that never stopped"
	quietly "$stylenet" export "$1" -o "$1.safetensors"
	cmp "$work/whole.safetensors" "$1.safetensors" || fail "$2: the model differs from that of a run that never stopped"
}

step 'version, devices, init'
quietly "$stylenet" version
quietly "$stylenet" devices
(cd "$work" && quietly "$stylenet" init)

step 'pictures'
quietly "$stylenet" demo --data-only -o "$work"
head -c 1000 "$work/photos/003.jpg" >"$work/photos/broken.jpg"
mkdir "$work/few"
cp "$work"/photos/00[0-4].jpg "$work/photos/broken.jpg" "$work/few"
cp internal/images/testdata/resize/source-37x9.png "$work/odd.png"

step "train $steps steps"
quietly "${train[@]}" --out "$work/runs/whole"
[ "$(lines "$work/runs/whole/metrics.jsonl")" = "$steps" ] || fail "metrics.jsonl has no line for each step"
for key in step loss content style tv images_per_second; do
	[ "$(grep -c "\"$key\":" "$work/runs/whole/metrics.jsonl")" = "$steps" ] || fail "metrics.jsonl lacks $key"
done
[ -s "$work/runs/whole/config.yaml" ] || fail 'the run has no config.yaml'
[ -n "$(ls "$work/runs/whole/checkpoints")" ] || fail 'the run has no checkpoints'
quietly "$stylenet" export "$work/runs/whole" -o "$work/whole.safetensors"

interrupted INT 5
interrupted TERM 12
interrupted KILL 18

step 'damage the newest checkpoint and resume'
cp -R "$work/runs/whole" "$work/runs/damaged"
newest=$(find "$work/runs/damaged/checkpoints" -mindepth 1 -maxdepth 1 -type d | sort | tail -n 1)
damaged=$(find "$newest" -name '*.safetensors' | head -n 1)
printf 'damaged' | dd of="$damaged" bs=1 seek=$(($(wc -c <"$damaged") - 7)) conv=notrunc status=none
quietly "$stylenet" train --resume "$work/runs/damaged"
grep -qF "$(basename "$newest")" "$work/log" || fail 'no warning names the damaged checkpoint'
same "$work/runs/damaged" 'a damaged checkpoint'

step 'export ONNX'
quietly "$stylenet" export "$work/runs/whole" --format onnx -o "$work/whole.onnx"
for op in Conv InstanceNormalization; do
	grep -qaF "$op" "$work/whole.onnx" || fail "the ONNX file has no $op"
done

step 'stylize'
model=$work/whole.safetensors
quietly "$stylenet" stylize --model "$model" "$work/odd.png" -o "$work/out.png"
[ "$(size "$work/out.png")" = 37x9 ] || fail "a picture of 37x9 came out as $(size "$work/out.png")"
! cmp -s "$work/odd.png" "$work/out.png" || fail 'stylize changed nothing'
quietly "$stylenet" stylize --model "$model" --max-size 20 "$work/odd.png" -o "$work/small.png"
[ "$(size "$work/small.png")" = 20x5 ] || fail "--max-size 20 made $(size "$work/small.png") of 37x9"
cp "$work/odd.png" "$work/kept.png"
"$stylenet" stylize --model "$model" "$work/odd.png" -o "$work/odd.png" >/dev/null 2>&1 </dev/null || true
cmp "$work/odd.png" "$work/kept.png" || fail 'stylize overwrote its input'
refuses broken.jpg "$stylenet" stylize --model "$model" "$work/few" -o "$work/many"
[ "$(find "$work/many" -type f ! -name '.*' | wc -l)" = 5 ] || fail 'one broken picture kept others from being stylized'
refuses odd.png "$stylenet" stylize --model "$work/odd.png" "$work/odd.png" -o "$work/none.png"

step 'passed'
