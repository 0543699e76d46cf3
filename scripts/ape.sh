#!/usr/bin/env bash
# Installs what is missing, then runs Ape from the project's root: scripts/ape.sh compile,
# scripts/ape.sh run deploy --network ..., scripts/ape.sh test tests/ape, ...
# Ape finds here npm's compiler and anvil, and keeps its accounts in ~/.ape as it always does.
set -euo pipefail

cd -- "$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"

scripts/install.sh ape
forge=$(scripts/forge.sh --where)
export SOLCX_BINARY_PATH=$PWD/.build PATH=${forge%/forge-*}/anvil-${forge##*/forge-}:$PWD/.venv/bin:$PATH
exec .venv/bin/ape "$@"
