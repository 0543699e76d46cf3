from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from oracle import explain, faults
from oracle.request import TRANSITIONS, State

pytestmark = pytest.mark.unit

PACKAGE = Path(faults.__file__).parent
TEXT = (PACKAGE.parent / "docs" / "requests.md").read_text(encoding="utf-8")


def rows_of(header: str) -> list[list[str]]:
    """
    Return the cells of the table that begins with this header.
    """
    table = TEXT.partition(f"\n{header}\n")[2].partition("\n\n")[0]
    assert table, header
    return [re.split(r" *\| *", line.strip("| ")) for line in table.splitlines()[1:]]


def words(text: str) -> list[str]:
    return re.findall(r"`([\w-]+)`", text)


STATES = rows_of(
    "| state | what it means | in the store before it | killed right there | goes on to |"
)
CODES = rows_of("| code | in | why | what to do |")


def test_every_state_has_its_row_in_order() -> None:
    assert [words(row[0]) for row in STATES] == [[str(state)] for state in State]
    assert all(len(row) == 5 and all(row) for row in STATES)


def test_a_state_goes_on_only_where_there_is_an_edge() -> None:
    for row in STATES:
        state = State(words(row[0])[0])
        assert {State(word) for word in words(row[4])} <= TRANSITIONS[state], state


def test_every_code_of_an_explanation_has_its_row() -> None:
    codes = {
        *explain._WAITS,
        *(code for code, _ in explain._REFUSALS.values()),
        *(code for _, code in explain._ENDS),
    }
    for node in ast.walk(ast.parse(Path(explain.__file__).read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id="Reason"), args=[ast.Constant(value=str(code)), *_]):
                codes.add(code)
    assert {"waiting_confirmations", "in_mempool", "callback_failed"} <= codes
    assert sorted(word for row in CODES for word in words(row[0])) == sorted(codes)


def test_an_end_is_in_the_row_of_its_state() -> None:
    rows = {(words(row[0])[0], words(row[1])[0]) for row in CODES if words(row[1])}
    ends = {(code, str(state)) for state, code in explain._ENDS}
    assert ends <= rows
    exits = {
        words(state)[0]: how + can
        for state, how, can in rows_of("| state | how that comes | what the requester can do |")
    }
    assert set(exits) == {str(state) for state, _ in explain._ENDS}
    for code, state in ends:
        assert code in exits[state], code


def test_every_fault_point_of_the_steps_is_named() -> None:
    named = {word for row in rows_of("| fault point | dies after |") for word in words(row[0])}
    points = {
        point
        for step in ("watch", "draw", "sign", "send", "settle")
        for point in re.findall(
            r'fault_point\("([\w-]+)"\)',
            (PACKAGE / "steps" / f"{step}.py").read_text(encoding="utf-8"),
        )
    }
    assert points
    assert named == points
