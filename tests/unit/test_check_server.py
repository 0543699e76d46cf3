from __future__ import annotations

from dataclasses import replace

import pytest

from oracle.cli.check_node import check_server
from oracle.cli.findings import Findings, Level
from oracle.store.postgres_facts import ServerFacts

pytestmark = pytest.mark.unit

FACTS = ServerFacts(version="18.4", fsync=True, awaits_standbys=False, standbys=0, free=90)


def found(facts: ServerFacts) -> dict[str, tuple[Level, str]]:
    findings = Findings()
    check_server(facts, findings)
    return {
        one.check: (one.level, one.detail if one.advice is None else f"{one.detail}: {one.advice}")
        for one in findings.found
    }


def test_a_sound_server_is_no_warning_and_says_what_it_cannot_erase() -> None:
    said = found(FACTS)
    assert {level for level, _ in said.values()} == {Level.OK}
    assert "only `oracle entropy rotate-key` makes it unreadable" in said["erasure"][1]


@pytest.mark.parametrize(
    ("facts", "check", "sentence"),
    [
        (replace(FACTS, fsync=False), "durability", "a power cut loses what it said"),
        (replace(FACTS, standbys=2), "failover", "set synchronous_standby_names and"),
        (replace(FACTS, free=13), "connections", "raise max_connections"),
    ],
)
def test_what_can_be_lost_is_a_warning(facts: ServerFacts, check: str, sentence: str) -> None:
    level, said = found(facts)[check]
    assert level is Level.WARNING
    assert sentence in said


def test_a_standby_that_commits_wait_for_loses_nothing() -> None:
    level, said = found(replace(FACTS, standbys=1, awaits_standbys=True))["failover"]
    assert (level, said) == (Level.OK, "1 standbys are connected; a commit waits for them")
