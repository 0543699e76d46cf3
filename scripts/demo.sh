#!/usr/bin/env bash
# Installs what is missing, then runs `oracle demo` with the arguments given.
set -euo pipefail

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)

"$root/scripts/install.sh" runtime
exec "$root/.venv/bin/oracle" demo "$@"
