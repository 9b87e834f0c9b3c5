# make run    set up .venv, then show ten seconds of what this machine is doing
# make test   set up .venv, then run all tests that this machine can run; the rest skip and say why
# make apt    install the system packages that tests and benchmarks use (Debian, Ubuntu; as root)

VENV ?= .venv
READY := $(VENV)/.ready
# The first Python that is new enough.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
APT := bpftool bpftrace busybox-static clang gcc g++ iproute2 libbpf-tools libxdp1 qemu-system-x86 strace \
	systemtap-sdt-dev xdp-tools zstd

.PHONY: setup run test lint bench guest apt clean

setup: $(READY)

$(READY): pyproject.toml scripts/setup_venv.py
	@test -n "$(PYTHON)" || { echo "make setup: no Python 3.11 or newer found (apt-get install python3 python3-venv)" >&2; exit 1; }
	@$(PYTHON) scripts/setup_venv.py $(VENV)
	@touch $@

run: setup
	@sh scripts/live.sh $(VENV)/bin/osmia

test: setup
	$(VENV)/bin/python -m pytest $(ARGS)

# Everything that CI checks before the tests.
lint: setup
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

bench: setup
	@missed=; for b in bench/[!_]*.py; do echo "== $$b"; $(VENV)/bin/python $$b || missed="$$missed $$b"; done; \
	test -z "$$missed" || { echo "goals missed:$$missed"; exit 1; }

# The tests under booted kernels alone; here a machine that cannot run them is an error.
guest: setup
	OSMIA_REQUIRE_GUEST=1 $(VENV)/bin/python -m pytest tests/guest $(ARGS)

# Only what the lists know: Ubuntu, for one, has bpftool in other packages.
apt:
	@known=; for p in $(APT); do if apt-cache show $$p >/dev/null 2>&1; then known="$$known $$p"; \
		else echo "make apt: no package $$p here (apt-get update may help)" >&2; fi; done; \
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$known

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
