# Two commands matter: `make serve` and `make test`. Each installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Processes that run tests: two more than there are processors, since tests wait for servers for a third of the time.
WORKERS ?= $(shell expr $$(nproc) + 2)

# Memory, network namespaces, a machine's worth of servers: what must not run beside other tests.
HOST := tests/system/cluster/test_chaos.py tests/system/sites/test_dr_sites.py \
  tests/system/cluster/test_storage.py tests/system/host

# Where `make coverage` keeps the copies of the sources that mark what they reach, and the marks.
MARKS := $(CURDIR)/build/coverage

PORTAL := src/seawall/portal_dist/index.html
PORTAL_SOURCES := $(shell find portal -type f -not -path '*/node_modules/*')

.PHONY: install portal serve test coverage unit fuzz audit lint types test-clients crash chaos soak dr memory screenshots dashboards bench site release-check clean

install: $(STAMP) $(PORTAL)

portal: $(PORTAL)

# The package build makes it too (setup.py); this is for a checkout whose portal sources have changed.
$(PORTAL): $(PORTAL_SOURCES)
	@portal/build.sh

portal/node_modules/.package-lock.json: portal/package-lock.json
	cd portal && npm ci --no-audit --no-fund
	touch $@

# pip 25.1 is the first with --group (PEP 735), so pip is upgraded in the venv first.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade 'pip>=25.1'
	$(BIN)/pip install -q -e '.[all]' --group test --group lint
	touch $(STAMP)

serve: install
	$(BIN)/seawall serve --data-dir ./data

# Debian packages (servers and clients the tests talk to) are installed once, by the script, as root; it says which.
# A test that fails beside others runs once more by itself; one that fails twice has failed. Tests that measure
# the host run last, one after the other, and once more likewise.
test: install
	bash .ci/packages.sh
	$(BIN)/python -m pytest -n $(WORKERS) $(addprefix --ignore=,$(HOST)) || \
	  $(BIN)/python -m pytest --last-failed --last-failed-no-failures none $(addprefix --ignore=,$(HOST))
	$(BIN)/python -m pytest $(HOST) || \
	  $(BIN)/python -m pytest --last-failed --last-failed-no-failures none $(HOST)

# The OCI conformance suite and Go clients, built from pinned sources into ~/.cache/seawall-clients (or
# SEAWALL_CLIENTS_CACHE). Needs Go, and the Go module proxy for what is not in the cache. `.ci/run` runs them
# where it has both.
test-clients: install
	bash .ci/packages.sh
	@$(BIN)/python -m tests.support.foreign
	$(BIN)/python -m pytest tests/clients

# The same with branch coverage of src, in servers and commands too (tests/support/branches.py). Prints what each
# module lacks, the worst last, and fails below 90 %.
coverage: install
	$(BIN)/python -m tests.support.branches prepare $(MARKS)
	PYTHONPYCACHEPREFIX=$(MARKS)/code $(MAKE) test
	$(BIN)/python -m tests.support.branches report $(MARKS)

# No server, no network.
unit: install
	$(BIN)/python -m pytest -n $$(nproc) tests/unit

# New inputs for what reads strangers' bytes, for a minute; those that fail are saved in the corpora, which
# `make unit` replays. FUZZ_SECONDS=3600 for a night, FUZZ_ONLY=tuf,filters for some of them.
FUZZ_SECONDS ?= 60
fuzz: install
	$(BIN)/python -m tests.support.fuzz --seconds $(FUZZ_SECONDS) $(if $(FUZZ_ONLY),--only $(FUZZ_ONLY))

# Known faults of the packages that Seawall is built from, where the databases can be reached; findings that
# were looked at are in .ci/audit-allowed.toml.
audit: install
	$(BIN)/python .ci/audit.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/python .ci/words.py
	@if command -v npm >/dev/null; then $(MAKE) -s portal/node_modules/.package-lock.json && cd portal && npm run -s lint; fi

types: install
	$(BIN)/mypy
	@if command -v npm >/dev/null; then $(MAKE) -s portal/node_modules/.package-lock.json && cd portal && npm run -s types; fi

# The whole crash test: kill -9 at random points of 1,000 pushes.
crash: install
	SEAWALL_CRASH_PUSHES=1000 $(BIN)/python -m pytest tests/system/crashes/test_crash.py -s --timeout=3000

# Push and pull of one blob of 10 GiB with flat memory.
memory: install
	SEAWALL_MEMORY_GIB=10 $(BIN)/python -m pytest tests/system/host/test_memory.py -s --timeout=3000

# The high-availability test-bed with longer faults; needs root (network namespaces). Writes docs/ha-results.md.
chaos: install
	bash .ci/packages.sh
	SEAWALL_CHAOS_SECONDS=25 $(BIN)/python -m pytest tests/system/cluster/test_chaos.py -s
	SEAWALL_IDLE_CONNECTIONS=10000 $(BIN)/python -m pytest tests/component/process/test_connections.py

# An hour (SEAWALL_SOAK_MINUTES) of random faults under load.
soak: install
	bash .ci/packages.sh
	$(BIN)/python -m pytest tests/soak -s

# Two sites: switches, a cut link, an isolated and a killed active; writes docs/dr-results.md.
dr: install
	SEAWALL_DR_SECONDS=10 $(BIN)/python -m pytest tests/system/sites/test_dr_sites.py -s

# Pictures of the portal in docs/images, made by the tests that go through it.
screenshots: install
	bash .ci/packages.sh
	SEAWALL_SCREENSHOTS=1 $(BIN)/python -m pytest tests/system/portal -q

# Pictures of the dashboards in docs/images: three instances under load for two minutes, and Prometheus.
dashboards: install
	bash .ci/packages.sh
	$(BIN)/python -m tests.support.dashboards

# Side by side with others: requests and uploads, then replication beside `skopeo sync`.
bench: install
	bash .ci/packages.sh
	$(BIN)/python -m bench
	$(BIN)/python -m bench.replication

# The documentation as a site, in build/site. A link or an anchor that leads nowhere fails it.
DOCS := $(VENV)/.docs
$(DOCS): $(STAMP)
	$(BIN)/pip install -q --group docs
	touch $@

site: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# A release, rehearsed (docs/release.md): built twice and compared, signed, pushed into a started Seawall, installed
# in clean environments and tried. What it made is in dist/release.
release-check: install
	$(BIN)/pip install -q --group release
	$(BIN)/python -m tests.support.release

clean:
	rm -rf $(VENV) build dist
