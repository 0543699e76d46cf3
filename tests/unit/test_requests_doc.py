from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from oracle import explain, explain_airnode, explain_withdrawal, faults
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
AIRNODE_CODES = rows_of("| code | in | why an Airnode's request is there | what to do |")


def test_every_state_has_its_row_in_order() -> None:
    assert [words(row[0]) for row in STATES] == [[str(state)] for state in State]
    assert all(len(row) == 5 and all(row) for row in STATES)


def test_a_state_goes_on_only_where_there_is_an_edge() -> None:
    for row in STATES:
        state = State(words(row[0])[0])
        assert {State(word) for word in words(row[4])} <= TRANSITIONS[state], state


def test_every_code_of_an_explanation_has_its_row() -> None:
    codes = {
        *explain.WAITS,
        *(code for code, _ in explain._REFUSALS.values()),
        *(code for _, code in explain._ENDS),
    }
    for node in ast.walk(ast.parse(Path(explain.__file__).read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id="Reason"), args=[ast.Constant(value=str(code)), *_]):
                codes.add(code)
    assert {"waiting_confirmations", "in_mempool", "callback_failed"} <= codes
    assert sorted(word for row in CODES for word in words(row[0])) == sorted(codes)


def named_codes(path: str, functions: set[str] | None = None) -> set[str]:
    """
    Return the codes that a module, or some of its functions, give by name.
    """
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    parts = [
        node
        for node in tree.body
        if functions is None or (isinstance(node, ast.FunctionDef) and node.name in functions)
    ]
    return {
        code
        for part in parts
        for node in ast.walk(part)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Reason"
        and isinstance(node.args[0], ast.Constant)
        and isinstance(code := node.args[0].value, str)
    }


def test_every_code_of_an_airnode_request_has_its_row_and_its_states() -> None:
    shared = {"explain_earlier", "explain_sent", "explain_mined"}
    codes = {
        *named_codes(explain.__file__, shared),
        *named_codes(explain_airnode.__file__),
        *(code for code, _ in explain._REFUSALS.values()),
        *explain_airnode.CONFIRMED_WAITS,
        *explain_airnode.DRAWN_WAITS,
        *explain_airnode.CALLBACKS,
        *(code for _, code in explain_airnode.ENDS),
    }
    assert {"wallet_unfunded", "in_mempool", "failed_on_chain"} <= codes
    assert sorted(word for row in AIRNODE_CODES for word in words(row[0])) == sorted(codes)
    states = {code: words(row[1]) for row in AIRNODE_CODES for code in words(row[0])}
    for state, code in explain_airnode.ENDS:
        assert states[code] == [str(state)]
    for code in explain_airnode.CONFIRMED_WAITS:
        assert states[code][0] == "confirmed"
    for code in (*explain_airnode.DRAWN_WAITS, *explain_airnode.CALLBACKS):
        assert "drawn" in states[code]


def test_every_code_of_a_withdrawal_has_its_row() -> None:
    codes = {
        *named_codes(explain.__file__, {"explain_earlier", "explain_sent"}),
        *named_codes(explain_withdrawal.__file__),
        *(code for code, _ in explain._REFUSALS.values()),
        *explain_withdrawal.REFUSALS,
    }
    rows = rows_of("| code | in | why a withdrawal is there | what to do |")
    assert sorted(word for row in rows for word in words(row[0])) == sorted(codes)


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
