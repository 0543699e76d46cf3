#!/usr/bin/env bash
# Runs the tests: forge's and, beside them, pytest's, whose summary is the last line. Those that kill
# real processes, or measure, for minutes are left to
#   scripts/test.sh --long
# Two processes share pytest's files, in their order: the longer tests come first.
# With other arguments it is pytest alone that runs, in one process, with those (paths count from the
# project's root). To look deeper:
#   ORACLE_MACHINE_EXAMPLES=200 scripts/test.sh tests/store/test_machine.py
#   FOUNDRY_PROFILE=deep scripts/forge.sh test
set -euo pipefail

cd -- "$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"

long=(tests/chaos/test_run.py tests/e2e/test_{kill,kill_airnode,nodes}.py tests/e2e/test_bench_*.py)

scripts/install.sh dev
if [[ $* == --long ]]; then
  exec .venv/bin/python -m pytest "${long[@]}"
fi
if [[ $# -gt 0 ]]; then
  exec .venv/bin/python -m pytest "$@"
fi

folder=$(mktemp -d)
scripts/forge.sh test >"$folder/forge" 2>&1 &
forge=$!
trap 'kill "$forge" 2>/dev/null || true; rm -rf "$folder"' EXIT
status=0
.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
  "${long[@]/#/--ignore=}" | tee "$folder/pytest" ||
  status=$?
wait "$forge" || status=1
cat "$folder/forge"
tail -n 1 "$folder/pytest"
exit "$status"
