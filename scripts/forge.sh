#!/usr/bin/env bash
# Runs forge from the project's root: scripts/forge.sh test, scripts/forge.sh fmt, ...
# It is the native executable of the npm package, not the launcher in .bin: a launcher that is killed
# leaves its child alive. `--where` prints the folder that holds it.
set -euo pipefail

cd -- "$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"

case $(uname -s) in
  Linux) system=linux ;;
  Darwin) system=darwin ;;
  *) system=$(uname -s) ;;
esac
case $(uname -m) in
  x86_64 | amd64) machine=amd64 ;;
  aarch64 | arm64) machine=arm64 ;;
  *) machine=$(uname -m) ;;
esac

folder=$PWD/node_modules/@foundry-rs/forge-$system-$machine/bin
if [[ ! -x $folder/forge ]]; then
  printf 'forge: there is none for %s-%s in node_modules: run scripts/install.sh.\n' "$system" "$machine" >&2
  exit 2
fi
if [[ ${1:-} == --where ]]; then
  printf '%s\n' "$folder"
else
  exec "$folder/forge" "$@"
fi
