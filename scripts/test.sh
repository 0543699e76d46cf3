#!/usr/bin/env bash
# Runs all tests but the short chaos runs: forge's and, beside them, pytest's, whose summary is the
# last line.
# Two processes share pytest's files, in their order: the long tests come first.
# With arguments it is pytest alone that runs, in one process, with those (paths count from the
# project's root). The short chaos runs, which take their time, and to look deeper:
#   scripts/test.sh tests/chaos/test_run.py
#   ORACLE_MACHINE_EXAMPLES=200 scripts/test.sh tests/store/test_machine.py
#   FOUNDRY_PROFILE=deep scripts/forge.sh test
set -euo pipefail

cd -- "$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"

scripts/install.sh dev
if [[ $# -gt 0 ]]; then
  exec .venv/bin/python -m pytest "$@"
fi

folder=$(mktemp -d)
scripts/forge.sh test >"$folder/forge" 2>&1 &
forge=$!
trap 'kill "$forge" 2>/dev/null || true; rm -rf "$folder"' EXIT
status=0
.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
  --ignore tests/chaos/test_run.py | tee "$folder/pytest" ||
  status=$?
wait "$forge" || status=1
cat "$folder/forge"
tail -n 1 "$folder/pytest"
exit "$status"
