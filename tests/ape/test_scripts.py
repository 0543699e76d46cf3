from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def ape_run(*words):
    """
    Return what `ape run` prints on standard output.
    """
    command = [Path(sys.executable).with_name("ape"), "run", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_scripts_are_deploy_and_request_alone():
    listed = ape_run("--help").split("Commands:\n")[1]
    assert [line.split()[0] for line in listed.splitlines()] == ["deploy", "request"]


def test_deploy_takes_the_longest_window_of_the_chain():
    said = ape_run("deploy", "--network", "ethereum:local:test", "--account", "TEST::0")
    assert re.search(r"^coordinator: 0x[0-9a-fA-F]{40}$", said, re.MULTILINE)
    assert "window: 256\n" in said
    said = ape_run("deploy", "--network", "ethereum:local:foundry", "--account", "TEST::0")
    assert "window: 8191\n" in said
