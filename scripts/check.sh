#!/usr/bin/env bash
# Everything that is checked without running the product. All checks run, whichever fails; a failed
# one shows what it said. Exit codes: 0 all ok, 1 one or more failed, 2 not installed.
set -euo pipefail

cd -- "$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"

scripts/install.sh dev
PATH=$PWD/.venv/bin:$(scripts/forge.sh --where):$PATH
export PATH

said=$(mktemp)
trap 'rm -f "$said"' EXIT
failed=0

check() {
  local name=$1
  shift
  if "$@" >"$said" 2>&1; then
    printf '%-14s ok\n' "$name"
  else
    printf '%-14s failed\n' "$name"
    sed 's/^/    /' "$said"
    failed=1
  fi
}

check "ruff" ruff check
check "ruff format" ruff format --check
check "mypy" mypy
check "lint-imports" lint-imports
check "forge fmt" forge fmt --check contracts tests benchmarks devnet
check "artifacts" python scripts/_compile.py --check
# Slither clears forge's folders before it builds: these are its own.
export FOUNDRY_OUT=.build/slither FOUNDRY_CACHE_PATH=.build/slither-cache
check "slither" slither . --config-file slither.config.json
exit "$failed"
