#!/usr/bin/env bash
# Installs what is missing, then lets requests be served while everything fails: `--help` tells how.
set -euo pipefail

cd -- "$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"

scripts/install.sh dev
exec .venv/bin/python -m tests.chaos "$@"
