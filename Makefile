# Everything here needs Python 3.11 or 3.12 and Java 17 or newer, and installs the rest in $(VENV).

SECONDS = 240
DEMO_OPTIONS =
TEST_OPTIONS =
export VENV ?= .venv

.PHONY: help demo test check bench-scoring bench-fitting bench-drift bench-detection bench-serving bench-aggregator fuzz-wire clean

help:
	@echo "make demo [SECONDS=240]   the whole system on this machine, on real data with a known drift"
	@echo "                          (DEMO_OPTIONS='--rate 100 --transformer-port 8080': see tidegauge demo --help)"
	@echo "make test                 all tests that need Python and Java alone (TEST_OPTIONS='-k transformer')"
	@echo "make check                ruff, mypy --strict, import rules"
	@echo "make bench-scoring        what scoring costs, beside the usual detectors; figures in build/bench/scoring.json"
	@echo "make bench-fitting        what fitting 10 million rows takes; figures in build/bench/fitting.json"
	@echo "make bench-drift          false alarms, power, delay and cost of drift verdicts; figures in build/bench/drift.json"
	@echo "make bench-detection      how well outliers are found, beside PyOD; figures in build/bench/detection.json"
	@echo "make bench-serving        what the transformer adds to a request, beside nginx and KServe's own; needs nginx and wrk"
	@echo "make bench-aggregator     records a second, beside a query that only counts them; figures in build/bench/aggregator.json"
	@echo "make fuzz-wire            10 minutes of requests made up at random, through the transformer and to the predictor"
	@echo "make clean                removes what was installed and built here; caches in ~/.cache stay"

demo:
	@scripts/demo --seconds $(SECONDS) $(DEMO_OPTIONS)

test:
	@scripts/test $(TEST_OPTIONS)

check:
	@scripts/check

bench-scoring:
	@scripts/bench scoring

bench-fitting:
	@scripts/bench fitting

bench-drift:
	@scripts/bench drift

bench-detection:
	@scripts/bench detection

bench-serving:
	@scripts/bench serving

bench-aggregator:
	@scripts/bench aggregator

fuzz-wire:
	@scripts/bench wire_fuzz

clean:
	@scripts/clean
