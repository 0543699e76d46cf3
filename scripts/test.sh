#!/usr/bin/env bash
# Runs all tests: forge's, then pytest's, whose summary is the last line.
# With arguments it is pytest alone that runs, with those (paths count from the project's root).
set -euo pipefail

cd -- "$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"

scripts/install.sh dev
if [[ $# -eq 0 ]]; then scripts/forge.sh test; fi
exec .venv/bin/python -m pytest "$@"
