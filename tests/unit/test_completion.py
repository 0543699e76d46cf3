from __future__ import annotations

import pytest

from oracle.cli.main import main

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_a_script(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    main(["completion", shell])
    script = capsys.readouterr().out
    assert f"_ORACLE_COMPLETE={shell}_complete" in script


@pytest.mark.parametrize(
    ("words", "found", "absent"),
    [
        ("oracle wal", "wallet", "run"),
        ("oracle wallet ", "sweep", "wallet"),
        ("oracle coordinator withdraw --", "--amount-ether", "--up-to"),
        ("oracle completion ", "fish", "wallet"),
        ("oracle no-verb ", None, "sweep"),
    ],
)
def test_words_are_completed(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    found: str | None,
    absent: str,
) -> None:
    monkeypatch.setenv("_ORACLE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    with pytest.raises(SystemExit):
        main([])
    said = capsys.readouterr()
    values = [line.partition(",")[2] for line in said.out.splitlines()]
    assert found is None or found in values
    assert absent not in values
    assert said.err == ""
