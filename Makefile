# make install   a virtual environment in .venv with avcc in it
# make demo      a real clip to 2 kbps and back (CLIP=talk.mp4 for your own, OUT=folder)
# make test      lint, types and tests (JOBS=2 of them side by side)
# make bench     rate, quality and time on your clips (CLIPS='talks/ talk.mp4')
#                (ARGS='--growth 10,60,600': time and memory over length, beside x264's)
# make data      clips for a report out of your own videos (DIR=folder; LIST=which parts: a CSV, or
#                the lists of HDTF, VFHQ, CelebV-HQ): TO=data-out
# make report    the same beside other coders (DIR=folder of clips), as a page: report-out/index.html
# make man       manual pages in man/: man -l man/avcc.1
# make clean     away with everything that was made here

.DEFAULT_GOAL := install
.DELETE_ON_ERROR:
.PHONY: install demo test bench data report man clean

OUT ?= demo-out
PAGE ?= report-out
JOBS ?= 2
TO ?= data-out
CODERS ?= avcc,frozen,warp,x264,x265,svtav1,aom,vvenc
TORCH ?= torch==2.13.0
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FIT := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.13 python; do \
	$$p -c '$(FIT)' >/dev/null 2>&1 && { echo $$p; break; }; done)
PIP = $(BIN)/python -m pip install -qq --disable-pip-version-check

install: $(STAMP)

# A torch that this Python has already (with CUDA, say) is used; else the CPU build is installed,
# from wherever pip looks, from PyTorch's own index, or in the end whatever PyPI has.
$(STAMP): pyproject.toml
	@$(or $(PYTHON),false) -c '$(FIT)' || { echo "avcc needs Python 3.11 to 3.13 with venv\
	 (Debian: apt install python3-venv); say which with make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "installing into $(VENV) with $(PYTHON); the first time takes some minutes"
	@if $(PYTHON) -c 'import torch; assert torch.__version__ >= (2, 6)' 2>/dev/null; \
	then site=--system-site-packages; else site=; fi; \
	test -x $(BIN)/python || $(PYTHON) -m venv $$site $(VENV)
	@$(BIN)/python -c 'import torch' 2>/dev/null \
	|| $(PIP) '$(TORCH)+cpu' 2>/dev/null \
	|| $(PIP) --index-url $(TORCH_INDEX) '$(TORCH)' 2>/dev/null \
	|| $(PIP) '$(TORCH)'
	@$(PIP) -e '.[test]'
	@touch $@
	@echo "installed: $(BIN)/avcc --help"

demo: install
	$(BIN)/python -m avcc.evaluation.demo $(if $(CLIP),--clip '$(CLIP)') --out '$(OUT)'

# By python -m: what a system's Python has already is not installed again, and has no script here.
test: install
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

# Opus with NoLACE (docs/evaluation.md) is a peer only where Node is there already.
OPUS_ML := @wasm-audio-decoders/opus-ml@0.0.3

# What measures quality is large, and part of it wants a C compiler: only where it's needed.
$(VENV)/.measures: $(STAMP)
	@$(PIP) -e '.[eval]'
	@$(PIP) --no-deps resemblyzer==0.1.4 webrtcvad-wheels # its own webrtcvad needs compiling
	@if command -v npm >/dev/null; then $(PIP) opuslib-next-bundled==0.1.1 \
	&& npm install --silent --no-audit --no-fund --prefix $(VENV)/node $(OPUS_ML) \
	|| echo "Opus with NoLACE can't be had; all else can"; fi
	@touch $@

bench: $(VENV)/.measures
	@test -n '$(CLIPS)' || { echo "which clips? make bench CLIPS='talks/ talk.mp4'"; exit 2; }
	$(BIN)/python -m avcc.evaluation $(CLIPS) $(ARGS)

data: install
	@test -n '$(DIR)' || { echo "which folder of videos? make data DIR=videos LIST=clips.csv"; exit 2; }
	$(BIN)/python -m avcc.evaluation.data '$(DIR)' $(if $(LIST),--list '$(LIST)') --out '$(TO)' $(ARGS)

report: $(VENV)/.measures
	@test -n '$(DIR)' || { echo "which folder of clips? make report DIR=talks"; exit 2; }
	$(BIN)/python -m avcc.evaluation '$(DIR)' --coders '$(CODERS)' --page '$(PAGE)' $(ARGS)

man: $(STAMP)
	@$(PIP) click-man
	$(BIN)/click-man avcc --target man

clean:
	rm -rf $(VENV) build dist demo-out man .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
