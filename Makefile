# make train   trains both models on real data: progress, held-out scores, two pictures in runs/
# make test    ruff, mypy, the suite on cpu, and what of it asks for values in Triton's interpreter
# make interpret  the operator database, random programs and their like in Triton's interpreter
# make gpu     the suite on cuda, then the benchmarks, in nine minutes (on a machine with a GPU);
#              with DEVICE=interpret TINY=1 a small part of both, anywhere, to see that it runs
# make virtual the suite on a cuda device without a GPU: first with NumPy in place of the processors, then a part of it
#              with an emulator that runs the compiled kernels, for sm_80 and sm_90
# make gpu-cache  kernels of suite and benchmarks compiled for an H100 and packed into .gpu/, in 30 minutes; a machine that
#              has one unpacks them and need not compile
# make budgets every kernel of a sample of 200 compiled for four GPUs: spills, registers, shared memory, access widths
# make peers   the benchmarks' commands, and their peers (PyTorch, JAX, numba) beside ours
# make long    random programs, interrupts, threads, and what other processes find: caches, packs, clones, examples
# make loops   compiled and looped steps of all set-ups, interpreted and in the emulator of a GPU
# make stress  what random members of a kind show, each a target of its own: fuzz (FUZZ=20000 programs beside PyTorch on
#              cpu, a twentieth in Triton's interpreter and on a virtual GPU), threads (4 at once, bit for bit, ROUNDS=20),
#              interrupts (at INTERRUPTS=3000 points, and as often by a timer), kills (KILLS=100 while saving and while
#              training) and calls (every EVERY=1st wrong call, and text planted in every argument); an hour in all
# make lint    ruff and mypy alone
# make clean   removes .venv, .gpu, runs and caches
#
# Each makes the virtual environment it needs. On a machine whose Python already has torch with CUDA that torch is used.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
PIP    := $(PY) -m pip install --quiet --disable-pip-version-check

# Without a GPU the suite needs torch only as an oracle, on the CPU, in exactly these versions.
TORCH_CPU := torch==2.13.0 triton==3.7.1 'numpy>=2.4,<2.5'

# Tests of values on every device; they run once more in Triton's interpreter. The long ones have a target of their own.
named = $(wildcard $(addprefix tests/*/test_,$(addsuffix .py,$(1))))
INTERPRET_LONG  ?= $(call named,device_math emit split_k parity check_parity planted_faults planted_kernels fuzz higher_order seeds threads \
    threads_memory)
INTERPRET_TESTS ?= $(call named,kernels tiles philox emit_dtypes matmul_precision index custom_kernel anomaly heirs \
    operators ordering autograd nn losses optim fusion torch_only_memory donation memory function function_memory gradients \
    graph_memory numbers edges random shared_memory interrupts loop_kernel)

# On a GPU most of the suite's time is compiling, one kernel a core.
SHARDS ?= $(shell nproc 2>/dev/null || echo 4)

.DEFAULT_GOAL := help
.PHONY: help train test interpret budgets peers loops long stress fuzz threads interrupts kills calls gpu gpu-cache virtual lint clean \
	suite-cpu suite-interpret suite-others interpret-tests

help:
	@sed -n '/^$$/q; s/^# \{0,1\}//p' Makefile

train: $(VENV)/train.stamp
	@mkdir -p runs
	$(PY) -m microtrain train perceptron --plot runs/perceptron.png --save runs/perceptron.npz
	$(PY) -m microtrain train linear-regression --plot runs/linear-regression.png --save runs/linear-regression.npz

# Two processes at once, as a process interprets Triton's kernels or compiles them, never both; a thread of products in
# each. The second one's output, with lint's before it, follows the first one's. Some tests that could be the first one's
# are the second's, which is done sooner.
test: $(VENV)/test.stamp
	@export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1; log=$$(mktemp); \
	{ $(MAKE) --no-print-directory lint && $(MAKE) --no-print-directory suite-interpret && \
	  $(MAKE) --no-print-directory suite-others; } >$$log 2>&1 & interpret=$$!; \
	$(MAKE) --no-print-directory suite-cpu; cpu=$$?; \
	wait $$interpret; status=$$?; cat $$log; rm -f $$log; exit $$((cpu + status))

lint: $(VENV)/test.stamp
	$(PY) -m ruff check .
	$(PY) -m mypy

OTHERS    := $(addprefix tests/,cli compiled emulator train viz)
PEERS     := $(addprefix tests/bench/test_,whole_steps.py bench.py bench_command.py bench_host.py)
LONG      := tests/fuzz $(addprefix tests/,$(addsuffix .py,calls/test_wrong_calls cli/test_outputs engine/test_interrupts \
    engine/test_threads house/test_examples house/test_gpu_cache house/test_progress runtime/test_compile_cache \
    runtime/test_virtual_train testing/test_parity_report testing/test_plugin))

suite-cpu: $(VENV)/test.stamp
	MICROTRAIN_DEVICE=cpu $(PY) -m pytest -q -m "not budgets and not emulated" \
	    $(addprefix --ignore=,$(OTHERS) $(PEERS) $(LONG))

suite-others: $(VENV)/test.stamp
	MICROTRAIN_DEVICE=cpu $(PY) -m pytest -q -m "not budgets and not emulated" $(addprefix --ignore=,$(LONG)) $(OTHERS)

peers: $(VENV)/test.stamp
	MICROTRAIN_DEVICE=cpu OMP_NUM_THREADS=1 $(PY) -m pytest -q -m "not budgets and not emulated" $(PEERS)

long: $(VENV)/test.stamp
	MICROTRAIN_DEVICE=cpu OMP_NUM_THREADS=1 $(PY) -m pytest -q -m "not budgets and not emulated" $(LONG)

# A process for each device; what is skipped is said, and why. LOOPS="-k test_looped" is a third of it.
LOOPS ?=

loops: $(VENV)/test.stamp
	@export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1; \
	$(call at-once,interpret cuda,env MICROTRAIN_DEVICE=$$i $$(test $$i = cuda && echo MICROTRAIN_VIRTUAL_GPU=sm_90 || \
	    echo MICROTRAIN_POISON=1) $(PY) -m pytest -q -rs $(LOOPS) tests/compiled/test_setups.py)

# Fresh memory is poisoned.
suite-interpret: $(VENV)/test.stamp
	MICROTRAIN_DEVICE=interpret MICROTRAIN_POISON=1 $(PY) -m pytest -q $(INTERPRET_TESTS)

interpret: $(VENV)/test.stamp
	MICROTRAIN_DEVICE=interpret MICROTRAIN_POISON=1 OMP_NUM_THREADS=1 $(PY) -m pytest -q $(INTERPRET_LONG)

interpret-tests:
	@echo $(INTERPRET_TESTS) $(INTERPRET_LONG)

# Each differing program is printed, made small, and counts as a failure.
FUZZ ?= 20000
SEED ?= 0
FUZZER := $(PY) -m tests.fuzz --seed $(SEED) --programs

fuzz: $(VENV)/test.stamp
	@status=0; \
	MICROTRAIN_DEVICE=cpu $(FUZZER) $(FUZZ) || status=1; \
	MICROTRAIN_DEVICE=interpret $(FUZZER) $$(($(FUZZ) / 20)) || status=1; \
	MICROTRAIN_DEVICE=cuda MICROTRAIN_VIRTUAL_GPU=sm_90=reference $(FUZZER) $$(($(FUZZ) / 20)) || status=1; \
	exit $$status

# A few minutes of compiling, on all cores; what was compiled before is found in Triton's cache.
budgets: $(VENV)/test.stamp
	MICROTRAIN_DEVICE=cpu $(PY) -m pytest -q -m budgets tests/kernels tests/emulator
	$(PY) -m tests.budgets --all --sample 200

stress: fuzz threads interrupts kills calls

KILLS ?= 100

kills: $(VENV)/test.stamp
	PYTHONPATH=. $(PY) -m tests.stress.files --saving $(KILLS) --training $(KILLS)

ROUNDS ?= 20

threads: $(VENV)/test.stamp
	PYTHONPATH=. $(PY) -m tests.stress.threads --rounds $(ROUNDS)

INTERRUPTS ?= 3000

interrupts: $(VENV)/test.stamp
	PYTHONPATH=. $(PY) -m tests.stress.interrupts --count $(INTERRUPTS)
	PYTHONPATH=. $(PY) -m tests.stress.interrupts --count $(INTERRUPTS) --signals

EVERY ?= 1

calls: $(VENV)/test.stamp
	PYTHONPATH=. MICROTRAIN_DEVICE=cpu $(PY) -m tests.calls.wrong_calls --every $(EVERY)
	PYTHONPATH=. MICROTRAIN_DEVICE=cpu $(PY) -m tests.calls.planted --every $(EVERY)

# Half of the suite in each of two processes; the emulator's part has one for each GPU, which has all of it, or with
# SHARED=1 half of it.
SHARED ?=

virtual: $(VENV)/test.stamp
	@echo "the suite on a virtual GPU, computed by NumPy"; \
	$(call at-once,0 1,MICROTRAIN_VIRTUAL_GPU=sm_90=reference MICROTRAIN_SHARD=$$i/2 $(PY) -m pytest -q \
	    -m "not budgets and not emulated" $(VIRTUAL_TESTS))
	@echo "compiled kernels in the emulator"; \
	$(call at-once,sm_80 sm_90,env MICROTRAIN_VIRTUAL_GPU=$$i \
	    $(if $(SHARED),MICROTRAIN_SHARD=$$(test $$i = sm_80; echo $$?)/2) $(PY) -m pytest -q -m emulated $(EMULATED_TESTS))

# A command for each of some words $$i, all at once on cuda; their output in order, and failure if one fails.
at-once = logs=$$(mktemp -d); for i in $(1); do { MICROTRAIN_DEVICE=cuda $(2) >$$logs/$$i 2>&1 || touch $$logs/failed; } & \
	done; wait; for i in $(1); do cat $$logs/$$i; done; test ! -e $$logs/failed

# Where the machine's own Python has all that is needed, nothing is installed: such machines are often offline.
# TINY=1 runs a few test files and every benchmark once at a tiny size, which shows only that all of it works: with
# DEVICE=interpret it does so on a machine without a GPU.
DEVICE ?= cuda
TINY   ?=
# The benchmarks have what the suite leaves of so many seconds: the whole ends within nine minutes.
IN_ALL ?= 530
RESULTS ?= $(if $(TINY),runs/bench,benchmarks/results)
TINY_TESTS := tests/compiler/test_index.py tests/kernels/test_philox.py tests/operators/test_seeds.py
GPU_TESTS  ?= $(if $(TINY),$(TINY_TESTS))

gpu:
	@set -e; export PYTHONPATH=.; python=$(PYTHON); start=$$(date +%s); \
	$$python -c 'import pytest, sys, torch, triton; sys.exit("$(DEVICE)" == "cuda" and not torch.cuda.is_available())' \
	    2>/dev/null || { $(MAKE) --no-print-directory $(VENV)/test.stamp; python=$(PY); }; \
	test $(DEVICE) != cuda || $$python -c 'import microtrain as mt, sys; \
	    sys.exit(None if mt.cuda.is_available() else "make gpu needs a CUDA device; DEVICE=interpret TINY=1 needs none")'; \
	echo "the suite on $(DEVICE), in $(SHARDS) processes"; \
	logs=runs/gpu; rm -rf $$logs; mkdir -p $$logs; status=0; shards=$$(seq 0 $$(($(SHARDS) - 1))); \
	for i in $$shards; do \
	    { MICROTRAIN_DEVICE=$(DEVICE) MICROTRAIN_SHARD=$$i/$(SHARDS) $$python -m pytest -q $(GPU_TESTS) >$$logs/$$i 2>&1 || \
	      touch $$logs/failed; } & done; wait; \
	for i in $$shards; do grep -v '^[.s]* *\[.*\]$$' $$logs/$$i || true; done; test ! -e $$logs/failed || status=1; \
	left=$$(($(IN_ALL) - $$(date +%s) + start)); \
	$$python -m benchmarks --device $(DEVICE) --seconds $$((left > 60 ? left : 60)) $(if $(TINY),--tiny) \
	    --output $(RESULTS) || status=1; exit $$status

# With the Python, the Triton and the PyTorch of the machine that will unpack it.
GPU_VENV    ?= .gpu/venv
GPU_PYTHON  ?= $(GPU_VENV)/bin/python
GPU_PINS    ?= torch==2.11.0 triton==3.6.0 numpy==2.5.2
GPU_SECONDS ?= 1500

gpu-cache: $(if $(filter $(GPU_VENV)/%,$(GPU_PYTHON)),$(GPU_VENV)/stamp)
	PYTHONPATH=. $(GPU_PYTHON) -m benchmarks.gpu_cache --seconds $(GPU_SECONDS) $(GPU_TESTS)

$(GPU_VENV)/stamp: pyproject.toml
	python3.12 -m venv $(GPU_VENV)
	$(GPU_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e .[test] $(GPU_PINS)
	@touch $@

clean:
	rm -rf $(VENV) .gpu runs build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment: on top of the machine's packages where those have torch with CUDA, bare elsewhere.
$(VENV)/venv.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'microtrain needs Python 3.11 or later: make PYTHON=python3.12 ...' >&2; exit 1; }
	@rm -rf $(VENV)
	@if $(PYTHON) -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then \
	    echo "using this Python's torch"; $(PYTHON) -m venv --system-site-packages $(VENV); \
	else $(PYTHON) -m venv $(VENV); fi
	@touch $@

# Training on a CPU needs neither torch nor Triton; a GPU needs both.
$(VENV)/train.stamp: $(VENV)/venv.stamp pyproject.toml
	@if $(PY) -c 'import torch' 2>/dev/null; then extras=plot,progress; \
	elif nvidia-smi >/dev/null 2>&1; then extras=plot,progress,gpu; \
	else extras=plot,progress; fi; \
	echo "installing microtrain[$$extras]"; $(PIP) -e ".[$$extras]"
	@touch $@

$(VENV)/test.stamp: $(VENV)/venv.stamp pyproject.toml
	@if $(PY) -c 'import torch' 2>/dev/null; then needed="-e .[test]"; \
	elif nvidia-smi >/dev/null 2>&1; then needed="-e .[test,gpu]"; \
	else needed="-e .[test] $(subst ',,$(TORCH_CPU))"; fi; \
	echo "installing $$needed"; $(PIP) $$needed
	@touch $@ $(VENV)/train.stamp
