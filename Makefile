# The two commands people need are `make demo` and `make check`; both set everything up by themselves.
# Needed: make, python3 (3.11 or newer) with venv. Better with: gcc, python3-dev (the C chunker).

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest -rs
JOBS   ?= 2
INPUTS := pyproject.toml setup.py constraints.txt client/pyproject.toml syncd/format/_cut.c

.PHONY: setup demo check format lint imports types test test-s3 crash scale soak bench clean

setup: $(STAMP)

$(STAMP): $(INPUTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ./client -e '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/python bench/demo.py

check: format lint imports types test

format: $(STAMP)
	$(BIN)/ruff format --check .

lint: $(STAMP)
	$(BIN)/ruff check .

imports: $(STAMP)
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/mypy

test: $(STAMP)
	$(PYTEST) -q -n $(JOBS) --dist loadfile --no-loadscope-reorder -m 'not crash and not scale and not soak and not ceph and not npm'

# Buckets against real servers: Debian's radosgw, unpacked beside the environment, and what npm has. What cannot be had
# is skipped, with the reason.
CEPH ?= .ceph
test-s3: $(STAMP)
	tools/ceph.sh $(CEPH) || echo "no radosgw: its tests are skipped"
	SYNCD_TEST_CEPH=$(abspath $(CEPH)) SYNCD_TEST_STARTS=50 $(PYTEST) -q -m 'ceph or npm or starts'

crash: $(STAMP)
	$(PYTEST) -v -m crash --timeout 7200

scale: $(STAMP)
	$(PYTEST) -v -m scale --timeout 7200

soak: $(STAMP)
	$(PYTEST) -v -s -m soak --timeout 0

bench: $(STAMP)
	$(BIN)/python bench/run.py

clean:
	rm -rf $(VENV) $(CEPH) build client/build *.egg-info client/*.egg-info .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache syncd/format/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
