# Two commands do everything: `make demo` shows the main job, `make test` proves it.
# Both first make the virtual environment in .venv; a second run finds it there and starts at once.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# The first interpreter that runs and is new enough.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
TORCH_VERSION := 2.13.0
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu

# Waiting OpenMP threads yield their core; spinning ones make everything several times slower on a busy machine.
export OMP_WAIT_POLICY := PASSIVE

MAKEFLAGS += --no-print-directory

.PHONY: demo test lint types check bench bench-receiver fuzz chaos sbom audit install uninstall wheelhouse clean help

help:
	@echo "make demo   send a phantom study through the daemon, print Dice and the overlay's place"
	@echo "make test   run the tests (no root; tests whose tool is absent say so and skip)"
	@echo "make lint   ruff; make types: mypy --strict; make check: all three gates"
	@echo "make bench      how fast rules, reading, writing and the model are here; make bench-receiver: beside DCMTK, Orthanc, pynetdicom"
	@echo "make fuzz       hostile bytes at the receiver (SEED=0 COUNT=900000) and at all that reads files and requests (INPUTS=100000)"
	@echo "make chaos      kills, broken networks, full disks and damaged files, then a verdict: SEEDS=1:20 STORE=sqlite or postgresql KILLS=30"
	@echo "make sbom       sbom.json (CycloneDX): what the service runs, with versions, licences and the shipped weights"
	@echo "make audit      are vulnerabilities known of the pinned versions? SERVICE=pypi or osv; needs a network, and fails where it has none"
	@echo "sudo make install    as a systemd service, or an upgrade of it; make uninstall keeps configuration and data"
	@echo "make wheelhouse      every package into WHEELHOUSE=FOLDER, for: sudo make install WHEELHOUSE=FOLDER (no network)"

demo: $(INSTALLED)
	$(BIN)/medsam2d demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -q

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

check: lint types test

bench: $(INSTALLED)
	$(BIN)/medsam2d bench rules
	$(BIN)/medsam2d bench reading
	$(BIN)/medsam2d bench segmentation
	$(BIN)/medsam2d bench model --slices 24 --objects 1,3

bench-receiver: $(INSTALLED)
	$(BIN)/medsam2d bench receiver

SEED ?= 0
COUNT ?= 900000
INPUTS ?= 100000
fuzz: $(INSTALLED)
	$(BIN)/python -m tests.fuzz.association --seed $(SEED) --count $(COUNT) --record fuzz.json
	$(BIN)/python -m tests.fuzz --seed $(SEED) --inputs $(INPUTS) --record fuzz-inputs.json

SEEDS ?= 1:20
STORE ?= sqlite
KILLS ?= 30
chaos: $(INSTALLED)
	$(BIN)/python -m tests.chaos.run --seeds $(SEEDS) --store $(STORE) --kills $(KILLS) --record chaos.json

# The tools that look at our dependencies have dependencies of their own: they live apart, so that ours do not grow by them.
SUPPLY_CHAIN := .supply-chain
SERVICE ?= pypi
SBOM_OF ?= $(BIN)/python
sbom: $(INSTALLED) $(SUPPLY_CHAIN)/.installed
	$(SUPPLY_CHAIN)/bin/cyclonedx-py environment --no-validate --pyproject pyproject.toml --spec-version 1.6 \
		--output-file $(SUPPLY_CHAIN)/found.json $(SBOM_OF)
	$(BIN)/python -m tests.supply_chain.bill_of_materials $(SUPPLY_CHAIN)/found.json sbom.json
	@$(SUPPLY_CHAIN)/bin/python -c 'import sys; from cyclonedx.schema import SchemaVersion; \
		from cyclonedx.validation.json import JsonStrictValidator; \
		fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open("sbom.json").read()); \
		sys.exit(f"sbom.json is no CycloneDX 1.6: {fault}" if fault else 0)'

audit: $(INSTALLED) $(SUPPLY_CHAIN)/.installed
	$(BIN)/python -m tests.supply_chain.dependency_audit $(SUPPLY_CHAIN)/bin/pip-audit --service $(SERVICE)

$(SUPPLY_CHAIN)/.installed: tests/supply_chain/requirements.txt
	$(PYTHON) -m venv --clear $(SUPPLY_CHAIN)
	$(SUPPLY_CHAIN)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	touch $@

# The program into /opt/medsam2d, the configuration into /etc/medsam2d, the data into /var/lib/medsam2d; DESTDIR=FOLDER for another root.
install:
	systemd/install.sh install $(if $(WHEELHOUSE),--wheelhouse "$(WHEELHOUSE)")

uninstall:
	systemd/install.sh uninstall

# Into wheelhouse/, or into WHEELHOUSE=FOLDER; the CPU build of torch has an index of its own.
wheelhouse: $(INSTALLED)
	@download="$(BIN)/python -m pip --disable-pip-version-check download --quiet --dest $(or $(WHEELHOUSE),wheelhouse) -c constraints.txt"; \
	torch="torch==$$($(BIN)/python -c 'import torch; print(torch.__version__)')"; set -x; \
	$$download "$$torch" "setuptools>=77" wheel . 2>/dev/null || \
	$$download "$$torch" "setuptools>=77" wheel . --extra-index-url $(TORCH_CPU_INDEX)

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "medsam2d needs Python 3.11 or newer: apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Python lacks its venv module: apt-get install python3-venv" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; then \
		echo "NVIDIA GPU found: installing the CUDA build of torch"; \
		$(BIN)/pip install --quiet "torch==$(TORCH_VERSION)"; \
	else \
		echo "no NVIDIA GPU: installing the CPU build of torch"; \
		$(BIN)/pip install --quiet "torch==$(TORCH_VERSION)+cpu" 2>/dev/null || \
		$(BIN)/pip install --quiet "torch==$(TORCH_VERSION)+cpu" --extra-index-url $(TORCH_CPU_INDEX); \
	fi
	@# setuptools warns every editable install of top-level packages, at length; the names are checked by `medsam2d check`.
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	@for tool in storescu dciodvfy Orthanc; do command -v $$tool >/dev/null 2>&1 || \
		echo "optional: $$tool not found, its tests will skip (apt-get install dcmtk dicom3tools orthanc)"; done
	touch $@

clean:
	rm -rf $(VENV) $(SUPPLY_CHAIN) sbom.json wheelhouse build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache demo-output
