#!/usr/bin/env bash
# Fifteen minutes of a GPU: what it is asked first, in commands that need nothing but bash and a Python with
# PyTorch and Triton.
#
#   bash benchmarks/gpu_hour.sh smoke    is it right? values of every template, both models trained, sanitizers, the suite,
#                                        every benchmark once; and all that was compiled, packed for the next machine
#   bash benchmarks/gpu_hour.sh suite    the suite alone, for as long as there is time
#   bash benchmarks/gpu_hour.sh bench    how fast is it? the benchmarks alone, a profiler, then the rest of the suite
#
# Everything goes to $OUT (default runs/gpu): at most 8 files. LIMIT is the seconds that a command may take. With TINY=1
# sizes are tiny and a few test files stand for the suite: that shows that all of it runs, on any device (DEVICE).
set -u
cd "$(dirname "$0")/.."
mode=${1:-}
case $mode in smoke) LIMIT=${LIMIT:-300} ;; bench) LIMIT=${LIMIT:-420} ;; suite) LIMIT=${LIMIT:-240} ;; *) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 2 ;; esac
start=$(date +%s)
OUT=$(realpath -m "${OUT:-runs/gpu}"); mkdir -p "$OUT"
DEVICE=${DEVICE:-cuda} TINY=${TINY:-} PYTHON=${PYTHON:-python3}
TESTS=${TESTS:-${TINY:+tests/compiler/test_index.py tests/kernels/test_philox.py tests/compiler/test_counts.py}}
cores=$(nproc)
work=$(mktemp -d)
export PYTHONPATH=. MICROTRAIN_DEVICE=$DEVICE PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
export TRITON_CACHE_DIR=${TRITON_CACHE_DIR:-/tmp/microtrain-cache}
export TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-/tmp/microtrain-inductor}
export XLA_PYTHON_CLIENT_PREALLOCATE=false

left() { echo $((LIMIT - $(date +%s) + start - ${1:-0})); }             # seconds left, less some
say() { printf '\n== %3ds  %s\n' $(($(date +%s) - start)) "$*"; }
within() { local most=$1; shift; local rest; rest=$(left "${RESERVE:-2}"); timeout -k 5 $((most < rest ? most : rest > 1 ? rest : 1)) "$@"; }

versions() {
    say "versions"
    $PYTHON - <<'PY'
import importlib.metadata as m, platform, sys
print("python", platform.python_version(), *(f"{p} {m.version(p)}" for p in
      ("torch", "triton", "numpy", "jax", "pytest") if any(d.name == p for d in m.distributions())))
import torch
if torch.cuda.is_available():
    print(torch.cuda.get_device_properties(0))
from triton.runtime.cache import triton_key
import hashlib
print("triton key", hashlib.sha256(triton_key().encode()).hexdigest()[:16])
PY
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem,temperature.gpu --format=csv,noheader 2>&1
    echo "$cores cores"; free -g 2>/dev/null | sed -n 2p
}

unpack() {          # what was compiled elsewhere, and packages that this machine lacks
    local found
    for found in .gpu/*.tar.xz; do test -e "$found" && { tar -xJf "$found" -C / && echo "unpacked $found"; }; done
    if compgen -G '.gpu/*.whl' >/dev/null; then
        $PYTHON -m pip install -q --no-index --no-deps --no-compile --target "$work/site" .gpu/*.whl && \
            export PYTHONPATH=.:$work/site && echo "installed $(ls .gpu/*.whl)"
    fi
    touch "$work/unpacked"
    echo "kernels at hand: $(find "$TRITON_CACHE_DIR" -name '*.cubin' 2>/dev/null | wc -l)"
}

suite() {           # suite PROCESSES SECONDS: the tests that have not run yet, until the time is up
    local count=$1 seconds=$2 i
    for ((i = 0; i < count; i++)); do
        (
            export MICROTRAIN_SHARD=$i/$count MICROTRAIN_DONE=$OUT/suite/$i.jsonl
            test -e .gpu/first.txt && export MICROTRAIN_FIRST=.gpu/first.txt
            until=$(($(date +%s) + seconds))
            while rest=$((until - $(date +%s))); ((rest > 2)); do
                timeout -k 5 $rest $PYTHON -m pytest -q -p no:cacheprovider --continue-on-collection-errors --tb=short -m "not budgets" $TESTS \
                    >>"$work/suite.$i" 2>&1
                status=$?
                ((status >= 6)) && ((status != 124)) && ((status != 137)) || break      # else the GPU was lost: go on
            done
        ) &
    done
}

tally() {           # of the suite: counts, then a line for each failure
    $PYTHON - "$OUT/suite" <<'PY'
import collections, glob, json, sys
entries = [json.loads(line) for path in glob.glob(sys.argv[1] + "/*.jsonl") for line in open(path) if line.strip()]
last = {e["test"]: e for e in entries}
print("suite:", dict(collections.Counter(e["outcome"] for e in last.values())), "of", len(last), "run,",
      round(sum(e["seconds"] or 0 for e in last.values())), "s of tests")
for e in last.values():
    if e["outcome"] not in ("passed", "skipped", "xfailed"):
        print(f"  {e['outcome']} {e['test']}: {e['error']}"[:330])
PY
}

sanitized() {       # sanitized TOOL: one small launch of each template under compute-sanitizer
    command -v compute-sanitizer >/dev/null || { echo "no compute-sanitizer here" >"$work/sanitizer-$1.txt"; return; }
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 within 170 compute-sanitizer --tool "$1" --error-exitcode 9 --print-limit 20 \
        $PYTHON -m benchmarks.one_of_each >"$work/sanitizer-$1.txt" 2>&1
    echo "exit status $?" >>"$work/sanitizer-$1.txt"
}

packed() {          # all that was compiled here and not brought along, in parts that may be carried
    (cd / && find "${TRITON_CACHE_DIR#/}" "${TORCHINDUCTOR_CACHE_DIR#/}" -type f -newer "$work/unpacked" -print0 | \
        tar -cf - --null -T - 2>/dev/null) | xz -T0 -3 | \
        split -b 15M -d - "$OUT/compiled.tar.xz."
    ls -l "$OUT"/compiled* | awk '{print $5, $9}'
}

finish() {
    wait
    (cd "$OUT" && tar -cJf results.tar.xz --remove-files -C "$OUT" $(cd "$OUT" && ls -d suite bench 2>/dev/null) \
        -C "$work" . 2>/dev/null)
    say "done"
}

{
versions
say "unpacking"; unpack
mkdir -p "$OUT/suite" "$OUT/bench"
if [ "$mode" = smoke ]; then
    say "one launch of each template"
    within 90 $PYTHON -m benchmarks.one_of_each --device "$DEVICE" 2>&1 | tee "$work/one.txt" | tail -50
    grep -q "right$" "$work/one.txt" || { say "nothing is right: the rest would tell no more"; finish; exit 1; }

    say "training"
    for model in perceptron linear-regression; do
        within 40 $PYTHON -m microtrain train $model --plot "$work/$model.png" --save "$work/$model.npz" 2>&1 | \
            tr '\r' '\n' | tail -6
    done

    say "the suite, the sanitizers and every benchmark once, all at the same time"
    RESERVE=42 rest=$(left 42)
    { sanitized memcheck; sanitized racecheck; } &
    [ "$DEVICE" = cuda ] && [ -z "$TINY" ] && for families in step,launch map,update row,loss matmul; do
        TORCHINDUCTOR_COMPILE_THREADS=2 within $rest $PYTHON -m benchmarks --device cuda --once --seconds $((rest - 15)) \
            --workloads $families --peers "torch,torch CUDA graph,torch.compile" \
            --output "$OUT/bench/$families" >"$work/once-$families.txt" 2>&1 &
    done
    [ -n "$TINY" ] && { within 100 $PYTHON -m benchmarks --device "$DEVICE" --tiny --seconds 80 --peers torch \
        --output "$OUT/bench" >"$work/tiny.txt" 2>&1 & }
    [ "$DEVICE" = cuda ] && [ -z "$TINY" ] && { within $rest $PYTHON -m benchmarks.profiled --warm;
        within $rest $PYTHON -m benchmarks.tiles --compile; } >"$work/tiles-compile.txt" 2>&1 &
    suite $((cores > 6 ? cores - 5 : cores)) $rest
    wait
    RESERVE=2
    say "what the suite says"; tally
    for log in "$work"/once-*.txt "$work"/tiny.txt; do [ -e "$log" ] && { echo "-- $log"; grep -E \
        'wrong|cannot run|failed|Error|no time' "$log" | cut -c1-300 | head -40; tail -2 "$log" | cut -c1-300; }; done
    for log in "$work"/sanitizer-*; do echo "-- $log"; tail -4 "$log"; done
    say "packing what was compiled"; packed
elif [ "$mode" = suite ]; then
    RESERVE=25 rest=$(left 25)
    [ "$DEVICE" = cuda ] && [ -z "$TINY" ] && { within $rest $PYTHON -m benchmarks.tiles --compile \
        >"$work/tiles-compile.txt" 2>&1; } &
    say "the suite, $rest s"
    suite "$cores" $rest
    wait
    say "what the suite says"; tally
    say "packing what was compiled"; packed
else
    # Nothing else runs beside the benchmarks: the host's time counts as well.
    seconds=${BENCH_SECONDS:-250}
    say "benchmarks, $seconds s"
    within $((seconds + 30)) $PYTHON -m benchmarks --device "$DEVICE" --seconds $seconds ${TINY:+--tiny} \
        ${PEERS:+--peers "$PEERS"} --output "$OUT/bench" >"$work/bench.txt" 2>&1
    say "benchmarks end with $?"
    if command -v ncu >/dev/null && [ -z "$TINY" ]; then
        say "profiler"
        within 75 ncu --profile-from-start off --clock-control none --csv --metrics gpu__time_duration.sum,\
dram__bytes.sum,smsp__inst_executed.sum,smsp__inst_issued.sum,sm__warps_active.avg.pct_of_peak_sustained_active,\
launch__registers_per_thread,launch__occupancy_limit_registers,\
sm__inst_executed_pipe_xu.sum,smsp__cycles_active.avg,l1tex__data_bank_conflicts_pipe_lsu.sum \
            $PYTHON -m benchmarks.profiled >"$work/ncu.csv" 2>&1
        echo "ends with $?, $(wc -l <"$work/ncu.csv") lines"
    fi
    if [ "$DEVICE" = cuda ] && [ -z "$TINY" ]; then
        say "experiments"
        within 30 $PYTHON -m benchmarks.hardware 2>&1 | tee "$work/hardware.txt" | cut -c1-200
        within 60 $PYTHON -m benchmarks.loops_by_hand 2>&1 | tee "$work/loops.txt"
        within 60 $PYTHON -m benchmarks.tiles --output "$work/tiles.json" >"$work/tiles.txt" 2>&1; echo "tiles: $?"
    fi
    rest=$(left 15)
    say "the rest of the suite, $rest s"
    suite $((cores > 2 ? cores - 1 : cores)) $rest
    wait
    say "what the suite says"; tally
    say "what the benchmarks say"; tail -c 9000 "$work/bench.txt"
fi
finish
} 2>&1 | tee "$OUT/log.txt"
