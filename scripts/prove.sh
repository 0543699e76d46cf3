#!/usr/bin/env bash
# Proves what tests/contracts/symbolic says, for every value of every argument, with halmos and Z3:
# scripts/prove.sh, and scripts/prove.sh --all with what takes minutes.
# Bounds: proofs and siblings of 8 elements, one word, two requests that share one slot, and, with
# --all, three acts in any order. halmos takes different inputs of Keccak to have different hashes.
set -euo pipefail

cd -- "$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"

skipped='(?!.*moneyAddsUp)'
case ${1:-} in
  --all) skipped='' ;;
  '') ;;
  *)
    printf 'prove: %s is no option: there is --all.\n' "$1" >&2
    exit 2
    ;;
esac

prover=.build/halmos
if [[ ! -x $prover/bin/halmos ]]; then
  "${PYTHON:-python3}" -m venv "$prover"
  "$prover/bin/pip" install --quiet --disable-pip-version-check halmos==0.3.3
fi
PATH=$PWD/$prover/bin:$(scripts/forge.sh --where):$PATH
export PATH FOUNDRY_OUT=.build/symbolic/out FOUNDRY_CACHE_PATH=.build/symbolic/cache
export FOUNDRY_TEST=tests/contracts/symbolic
exec halmos --forge-build-out "$FOUNDRY_OUT" --solver z3 --loop 300 \
  --match-contract 'Proof$' --match-test "^check_$skipped" \
  --array-lengths siblings=8,beside=8,otherBeside=8
