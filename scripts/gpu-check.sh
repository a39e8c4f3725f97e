#!/usr/bin/env bash
# Checks and measures stylenet on a machine with an NVIDIA GPU, from what
# scripts/gpu-pack.sh packed: no Go, compiler or network. Where python3 has PyTorch,
# it is measured beside. Takes 8 minutes at the most.
#
# usage: gpu-check/gpu-check.sh [STAGE...]; all stages, or those of
# conformance parity run train stylize classic losses sanitizer
# Leaves results/gpu-check.md and .json beside itself, with a .json and a .log for
# each stage. The exit status is 1 if conformance, parity or the losses fail.
set -uo pipefail
cd "$(dirname "$0")" || exit 2
if [ ! -x stylenet ] || [ ! -f work ]; then
	echo 'gpu-check: run the one that make gpu-pack packs' >&2
	exit 2
fi
# shellcheck source=/dev/null
. ./work
export LC_ALL=C
device=cuda:0
# To look at all GPUs of a large machine would take a minute.
CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES-0}
export CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES%%,*}
wanted=" device pytorch ${*:-conformance parity run train stylize classic losses sanitizer} "
gpu='' torch=
stages=()
failed=
deadline=$((SECONDS + 470))

rm -rf results
mkdir results
# The algorithms that were measured before are of other settings, perhaps.
export XDG_CACHE_HOME=$PWD/results/cache

say() { echo "gpu-check: $*"; }

# stage runs a function in at most so many seconds. The function runs programs with
# "within" and ends with pass, fail or skip; what it notes is its JSON's and what it
# shows the table's. A stage that must not fail decides the exit status.
stage() {
	local name=$1 limit=$2 must=$3 start=$SECONDS
	[[ $wanted == *" $name "* ]] || return
	state=failed why='it ended early' facts='' log=$PWD/results/$name.log
	ends=$((SECONDS + limit))
	[ $ends -le $deadline ] || ends=$deadline
	say "$name (at most $((ends > SECONDS ? ends - SECONDS : 0)) s)"
	: >"$log"
	if [ $((deadline - SECONDS)) -lt 5 ]; then
		skip 'no time was left'
	else
		"$4"
	fi
	printf '{"stage":"%s","status":"%s","why":"%s","seconds":%d%s}\n' "$name" "$state" "$why" $((SECONDS - start)) "$facts" >"results/$name.json"
	stages+=("$name")
	say "$name: $state${why:+: $why}"
	printf '| %s | %s%s | %d s |\n' "$name" "$state" "${why:+: $why}" $((SECONDS - start)) >>results/stages
	if [ "$must" = must ] && [ "$state" = failed ]; then
		failed=yes
	fi
}
pass() { state=passed why=$(clean "${1-}"); }
fail() { state=failed why=$(clean "$1"); }
skip() { state=skipped why=$(clean "$1"); }
note() { facts+=",\"$1\":$2"; }
show() { printf '| %s | %s | %s | %s |\n' "$@" >>results/rows; }

# clean makes a text fit for JSON and a table.
clean() { printf '%s' "$1" | tr '\n\t|' '  /' | tr -d '"\\\000-\037'; }

# within runs a program until the stage's time is up; 124 says that it was.
within() {
	local left=$((ends - SECONDS))
	[ $left -gt 0 ] || return 124
	echo "+ $*" >>"$log"
	timeout -k 5 "$left" "$@" 2>>"$log"
}

# reason says why the last program of a stage ended with an exit status.
reason() {
	if [ "$1" = 124 ] || [ "$1" = 137 ]; then
		echo "the time was up"
	else
		grep -v '^[[:space:]]*$\|^hint:\|^+ ' "$log" | tail -n 1 | grep . || echo "exit status $1"
	fi
}

# value prints a number or text of a line of JSON; calculate a result of awk.
value() { grep -o "\"$1\": *[^,}]*" | head -n 1 | sed 's/^[^:]*: *//; s/"//g'; }
calculate() { awk "BEGIN { printf \"$1\", $2 }"; }
milliseconds() { echo $(($(date +%s%N) / 1000000)); }

# arithmetic prints the settings of a precision: float32 is the exact one.
arithmetic() {
	if [ "$1" = bf16 ]; then
		echo --set train.exact=false --set train.precision=bf16
	else
		echo --set train.exact=true --set train.precision=float32
	fi
}

train() { # folder settings
	local out=$1
	shift
	within ./stylenet train "$@" --device $device --out "$out" >>"$log"
}

# The suites, on the device.

check_device() {
	local code=0 line packages
	{
		uname -srm
		nvidia-smi
	} >>"$log" 2>&1
	line=$(within ./stylenet devices | grep "^$device") || code=$?
	if [ $code != 0 ] || [[ $line == *'not available'* ]]; then
		# PyTorch's own cuDNN and cuBLAS, wherever it is.
		packages=$(within python3 -c 'import torch, os; print(os.path.dirname(os.path.dirname(torch.__file__)))') || packages=
		if [ -n "$packages" ]; then
			LD_LIBRARY_PATH=$(printf '%s:' "$packages"/nvidia/*/lib "$packages/torch/lib")${LD_LIBRARY_PATH-}
			export LD_LIBRARY_PATH
			line=$(within ./stylenet devices | grep "^$device")
		fi
	fi
	echo "$line" >>"$log"
	if [[ $line != "$device "* ]] || [[ $line == *'not available'* ]]; then
		fail "${line:-no line for $device}"
		return
	fi
	gpu=$(clean "${line#"$device"}" | sed 's/^ *//')
	precision=float32 precisions=(float32)
	if within ./stylenet devices | grep -A 1 "^$device" | grep -q 'precision float32, bf16'; then
		precision=bf16 precisions+=(bf16)
	fi
	note gpu "\"$gpu\""
	note processors "$(nproc)"
	note version "\"$(clean "$(cat version)")\""
	pass "$gpu"
}

# suite runs a test program and wants these tests to pass.
suite() {
	local folder=$1 code=0 passed bad
	shift
	(cd "$folder" && within "$@" -test.v >>"$log") || code=$?
	passed=$(grep -c -- '^ *--- PASS' "$log") bad=$(grep -c -- '^ *--- FAIL' "$log")
	note passed_tests "$passed"
	note failed_tests "$bad"
	if [ $code = 0 ] && [ "$bad" = 0 ]; then
		pass "$passed tests, subtests included"
	elif [ "$bad" = 0 ]; then
		fail "$(reason "$code")"
	else
		fail "$(grep -- '^ *--- FAIL' "$log" | tail -n 1 | sed 's/.*FAIL: //')"
	fi
}

# The tests that are left out need compilers and sources, and test no GPU.
check_conformance() {
	suite . ./cuda.test -test.skip '^(TestPTX|TestOpenLibraries|TestPip|TestLibraryNotFound)$' -rapid.checks="$CHECKS"
	if [ "$state" = passed ] && ! grep -q -- '--- PASS: TestConformance/exact' "$log"; then
		fail 'the suite did not run on the GPU'
	fi
}

check_parity() {
	suite train ../train.test -test.run '^TestParityWithPyTorch$/'"$PARITY"
	if [ "$state" = passed ] && ! grep -q -- '--- PASS: TestParityWithPyTorch/cuda,_exact' "$log"; then
		fail 'the GPU was not tested'
	fi
}

# compare prints by how much losses differ from the processor's: of the first step,
# of the mean of ten, of the next 40, and what became of them.
compare() {
	awk -F'"loss":' '{ split($2, v, ","); if (FNR == NR) a[FNR] = v[1]; else { b[FNR] = v[1]; n = FNR } }
		function sum(x, from, to,  i, s) { s = 0; for (i = from; i <= to; i++) s += x[i]; return s }
		function differ(from, to,  d) { d = sum(b, from, to) / sum(a, from, to) - 1; return d < 0 ? -d : d }
		END {
			m = n < 50 ? n : 50
			printf "%.2g %.2g %.2g %.2g %.2g\n", differ(1, 1), differ(1, 10), differ(11, m),
				(sum(b, n - m / 2 + 1, n) / int(m / 2)) / (sum(b, 1, 10) / 10), (sum(a, n - m / 2 + 1, n) / int(m / 2)) / (sum(a, 1, 10) / 10)
		}' cpu.jsonl "$1"
}

# Rounding grows from step to step, and runs part after some 50: two ways to multiply
# in float32 on the processor differ by 0.2% in ten steps, 2% in the next 40, and by
# half after 200, having learnt as much as each other from another point of view. So
# the later losses need fall only.
check_run() {
	local p code row bad='' limits first ten forty falls cpu
	for p in "${precisions[@]}"; do
		code=0
		# shellcheck disable=SC2046 # several words
		train "results/run-$p" "${RUN[@]}" --set train.steps="$RUN_STEPS" $(arithmetic "$p") || code=$?
		if [ $code != 0 ]; then
			fail "$p: $(reason "$code")"
			return
		fi
		read -r first ten forty falls cpu < <(compare "results/run-$p/metrics.jsonl")
		note "$p" "{\"first\":$first,\"ten\":$ten,\"forty\":$forty,\"falls_to\":$falls,\"falls_to_on_cpu\":$cpu}"
		limits='.0001 .02 .08'
		[ "$p" = float32 ] || limits='.005 .04 .15'
		row="$p: step 1 differs by $first, steps 1-10 by $ten, 11-50 by $forty; the last are $falls of the first (CPU $cpu)"
		show "training run of $RUN_STEPS steps beside the CPU's" "$row" '' 'the same losses'
		# shellcheck disable=SC2086 # three numbers
		set -- $limits
		awk "BEGIN { exit !($first <= $1 && $ten <= $2 && $forty <= $3 && $falls < 1) }" || bad+="$row. "
	done
	if [ -n "$bad" ]; then fail "$bad"; else pass; fi
}

# The timings.

# report notes a benchmark of ours and puts its seconds into $ours.
report() {
	local key=$1 code=0 out
	shift
	ours=
	out=$(within ./stylenet bench "$@" --device $device --json) || code=$?
	echo "$out" >>"$log"
	if [ $code != 0 ]; then
		fail "$key: $(reason "$code")"
		return 1
	fi
	out=$(tail -n 1 <<<"$out")
	note "$key" "$out"
	ours=$(value seconds <<<"$out")
}

# peer does so with a script for PyTorch, compiled with CUDA graphs, or else in the
# next best way that works there.
peer() {
	local key=$1 script=$2 code=0 out mode half=()
	shift 2
	theirs='' theirs_mode=''
	[ "$precision" != bf16 ] || half=(--bf16)
	if [ -z "$torch" ]; then
		return
	fi
	for mode in '--compile --graphs' '--compile' ''; do
		[ "$PEER" = cuda ] || mode=
		code=0
		# shellcheck disable=SC2086 # several options
		out=$(within timeout 75 python3 "bench/$script" "$@" --device "$PEER" --channels-last "${half[@]}" $mode) || code=$?
		echo "$out" >>"$log"
		if [ $code = 0 ]; then
			out=$(tail -n 1 <<<"$out")
			theirs=$(value seconds <<<"$out") theirs_mode=${mode:-eager}
			note "$key" "$out"
			note "${key}_mode" "\"$theirs_mode\""
			return
		fi
	done
}

# beside shows a work with its target as a number of times PyTorch's speed.
beside() {
	local what=$1 target=$2 extra=$3
	show "$what" "$(calculate '%.2f ms' "1000 * $ours")$extra" \
		"${theirs:+$(calculate '%.2f ms' "1000 * $theirs") ($theirs_mode): ours is $(calculate '%.2f' "$theirs / $ours") times as fast}" "$target"
}

find_torch() {
	local code=0
	torch=$(within python3 -c "import torch; assert '$PEER' == 'cpu' or torch.cuda.is_available(), 'PyTorch sees no GPU'; print(torch.__version__)") || code=$?
	if [ $code = 0 ]; then
		note torch "\"$(clean "$torch")\""
		pass "PyTorch $torch"
	else
		skip "$(reason "$code")"
	fi
}

time_train() {
	local batch
	for batch in "${BATCHES[@]}"; do
		report "batch_$batch" train --size "$TRAIN_SIZE" --batch "$batch" --steps "$TRAIN_STEPS" --precision "$precision" || return
		peer "torch_batch_$batch" torch_train.py --size "$TRAIN_SIZE" --batch "$batch" --steps "$TRAIN_STEPS"
		beside "training step, batch $batch, $TRAIN_SIZE², $precision" '1.5 times PyTorch' ''
	done
	pass "$([ -n "$theirs" ] || echo 'without PyTorch')"
}

time_stylize() {
	report stylize stylize --size "$STYLIZE_SIZE" --runs "$STYLIZE_RUNS" --precision "$precision" || return
	peer torch_stylize torch_stylize.py --size "$STYLIZE_SIZE" --runs "$STYLIZE_RUNS"
	beside "stylize $STYLIZE_SIZE, $precision" '1.5 times PyTorch, over 200 frames/s' ", $(calculate '%.0f' "1 / $ours") frames/s"
	pass "$([ -n "$theirs" ] || echo 'without PyTorch')"
}

# The classic run has 40,000 steps. Two short ones tell what they take, photos,
# logs and checkpoints included; one before them, which measures cuDNN's
# algorithms, what the start takes besides.
time_classic() {
	local n code start seconds=() total
	for n in $CLASSIC_SHORT $CLASSIC_SHORT $CLASSIC_LONG; do
		start=$(milliseconds) code=0
		train "results/classic-${#seconds[@]}" "${CLASSIC[@]}" --set train.steps="$n" --set train.precision="$precision" || code=$?
		if [ $code != 0 ]; then
			fail "$(reason "$code")"
			return
		fi
		seconds+=("$(calculate '%.3f' "($(milliseconds) - $start) / 1000")")
	done
	total=$(calculate '%.1f' "${seconds[0]} + (${seconds[2]} - ${seconds[1]}) / ($CLASSIC_LONG - $CLASSIC_SHORT) * (40000 - $CLASSIC_SHORT)")
	note run_steps "[$CLASSIC_SHORT,$CLASSIC_SHORT,$CLASSIC_LONG]"
	note run_seconds "[$(IFS=,; echo "${seconds[*]}")]"
	note steps_40000_seconds "$total"
	show "40,000 steps, from runs of $CLASSIC_SHORT and $CLASSIC_LONG, $precision" "$(calculate '%.1f min' "$total / 60")" '' 'under 5 min'
	pass
}

# In bf16 the losses on photos held out must be within the spread between seeds, or
# 0.5% where that is less.
check_losses() {
	local seed p code out losses=() float=() bf=()
	if [ "$precision" != bf16 ]; then
		skip 'this GPU has no bf16'
		return
	fi
	for ((seed = 1; seed <= SEEDS; seed++)); do
		for p in float32 bf16; do
			code=0 out=results/losses-$p-$seed
			# shellcheck disable=SC2046,SC2153 # several words; LOSSES is of the file work
			train "$out" "${LOSSES[@]}" --set train.steps="$LOSSES_STEPS" --set train.checkpoint_every="$LOSSES_EVERY" --set train.seed=$seed \
				$(arithmetic $p) || code=$?
			if [ $code = 124 ] || [ $code = 137 ]; then
				break 2
			elif [ $code != 0 ]; then
				fail "$p, seed $seed: $(reason "$code")"
				return
			fi
			# The mean of the last third.
			losses+=("$(awk -F'"loss":' -v from=$((LOSSES_STEPS * 2 / 3)) '{ split($1, s, /[:,]/); split($2, v, ","); if (s[2] >= from) { sum += v[1]; n++ } } END { print sum / n }' "$out/eval.jsonl")")
		done
	done
	if [ ${#losses[@]} -lt 4 ]; then
		skip "the time was up after ${#losses[@]} runs of $LOSSES_STEPS steps"
		return
	fi
	for ((seed = 0; seed + 1 < ${#losses[@]}; seed += 2)); do
		float+=("${losses[seed]}") bf+=("${losses[seed + 1]}")
	done
	local verdict difference spread
	read -r verdict difference spread < <(printf '%s\n' "${float[*]}" "${bf[*]}" | awk '
		{ for (i = 1; i <= NF; i++) { s[NR] += $i; if (NR == 1) { if (i == 1 || $i < lo) lo = $i; if ($i > hi) hi = $i } } n = NF }
		END { d = (s[2] - s[1]) / n; m = s[1] / n; least = hi - lo > .005 * m ? hi - lo : .005 * m; print((d < 0 ? -d : d) <= least ? "within" : "outside"), sprintf("%+.1f%% %.1f%%", 100 * d / m, 100 * (hi - lo) / m) }')
	note float32 "[$(IFS=,; echo "${float[*]}")]"
	note bf16 "[$(IFS=,; echo "${bf[*]}")]"
	show "losses after $LOSSES_STEPS steps, bf16 beside float32, ${#float[@]} seeds" "$difference" "the seeds spread over $spread" 'within the spread'
	if [ "$verdict" = within ]; then pass; else fail "bf16 differs by $difference from float32, and the seeds by $spread"; fi
}

check_memory() {
	local tool=compute-sanitizer found code=0
	for found in "$(command -v $tool)" "${CUDA_HOME:-/usr/local/cuda}/bin/$tool"; do
		if [ -x "$found" ]; then
			within "$found" --tool memcheck --error-exitcode 9 ./cuda.test -test.run '^TestConformance$/^(exact|bf16)$|^TestRecordedStep$' -rapid.checks=3 >>"$log" || code=$?
			case $code in
			0) pass ;;
			124 | 137) skip "the time was up: $(grep -c -- '--- PASS' "$log") tests had passed" ;;
			*) fail "$(grep -m 1 '=========.*\(Invalid\|Leaked\|ERROR SUMMARY\)' "$log" || reason "$code")" ;;
			esac
			return
		fi
	done
	skip "$tool is not installed"
}

: >results/rows
: >results/stages
stage device 60 must check_device
if [ -z "$failed" ]; then
	stage conformance 120 must check_conformance
	stage parity 60 must check_parity
	stage run 80 must check_run
	stage pytorch 60 may find_torch
	stage train 180 may time_train
	stage stylize 120 may time_stylize
	stage classic 60 may time_classic
	stage losses 150 must check_losses
	stage sanitizer 120 may check_memory
fi

{
	echo '['
	for s in "${stages[@]}"; do
		[ "$s" = "${stages[0]}" ] || echo ,
		cat "results/$s.json"
	done
	echo ']'
} >results/gpu-check.json
{
	echo "${gpu:-no GPU}; stylenet $(cat version); $(date -u +%F)"
	printf '\n| work | stylenet | PyTorch%s | target |\n|---|---|---|---|\n' "${torch:+ $torch}"
	cat results/rows
	printf '\n| stage | result | took |\n|---|---|---|\n'
	cat results/stages
} >results/gpu-check.md
rm -rf results/rows results/stages results/cache
cat results/gpu-check.md
if [ -n "$failed" ]; then
	say 'FAILED'
	exit 1
fi
say passed
