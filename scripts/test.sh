#!/usr/bin/env bash
# Runs all tests: forge's, then pytest's, whose summary is the last line.
# Two processes share pytest's files, in their order: the long tests come first.
# With arguments it is pytest alone that runs, in one process, with those (paths count from the
# project's root).
set -euo pipefail

cd -- "$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"

scripts/install.sh dev
if [[ $# -eq 0 ]]; then
  scripts/forge.sh test
  set -- -n 2 --dist loadfile --no-loadscope-reorder
fi
exec .venv/bin/python -m pytest "$@"
