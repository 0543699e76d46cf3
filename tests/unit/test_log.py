from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from oracle import log
from oracle.log import redact_urls

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.unit

words = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=12)
SECRETS = ("seed", "seeds", "secret", "password", "private_key", "api_key", "mnemonic", "token")


@pytest.fixture(autouse=True)
def default_logging() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def logged(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    document: dict[str, object] = json.loads(line)
    return document


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://mainnet.example.org/v3/0123abcd", "https://mainnet.example.org"),
        ("https://user:hunter2@example.org:8545/x?key=1#y", "https://example.org:8545"),
        ("https://hunter2@example.org", "https://example.org"),
        ("wss://example.org/ws/hunter2", "wss://example.org"),
        ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
        ("http://[::1]:8545/hunter2", "http://[::1]:8545"),
        ("https://example.org?key=hunter2", "https://example.org"),
        ("https://example.org#hunter2", "https://example.org"),
    ],
)
def test_url_is_cut_down_to_scheme_host_and_port(url: str, shown: str) -> None:
    assert redact_urls(url) == shown
    assert redact_urls(f"no answer from '{url}', twice: {url} (502)") == (
        f"no answer from '{shown}', twice: {shown} (502)"
    )


@given(words, words, words, st.sampled_from(["http", "https", "ws", "wss"]))
def test_nothing_of_a_url_but_its_host_remains(
    user: str, password: str, path: str, scheme: str
) -> None:
    url = f"{scheme}://U{user}:P{password}@host.example/D{path}?Q{path}#F{path}"
    shown = redact_urls(f"before {url} after")
    assert shown == f"before {scheme}://host.example after"


@given(st.text())
def test_text_without_a_url_is_left_alone(text: str) -> None:
    plain = text.replace("://", "")
    assert redact_urls(plain) == plain


@pytest.mark.parametrize("key", [*SECRETS, "API_KEY", "raw", "raw_transaction", "access_token"])
def test_value_under_a_secret_name_is_never_shown(
    capsys: pytest.CaptureFixture[str], key: str
) -> None:
    log.configure(json=True)
    log.get().info("something_done", **{key: "hunter2", "nonce": 7})
    document = logged(capsys)
    assert document[key] == "[redacted]"
    assert document["nonce"] == 7


def test_url_in_a_value_or_in_the_event_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(json=True)
    url = "https://u:hunter2@example.org/hunter2"
    log.get().warning(f"asked {url}", endpoint=url, error=f"{url} does not answer")
    document = logged(capsys)
    assert document["event"] == "asked https://example.org"
    assert document["endpoint"] == "https://example.org"
    assert document["error"] == "https://example.org does not answer"


def test_url_in_a_traceback_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(json=True)
    try:
        int("https://example.org/hunter2")
    except ValueError:
        log.get().exception("failed")
    document = logged(capsys)
    assert "hunter2" not in str(document["exception"]).splitlines()[-1]
    assert "'https://example.org'" in str(document["exception"]).splitlines()[-1]


@pytest.mark.parametrize("json", [True, False])
def test_log_goes_to_stderr_one_event_a_line(
    capsys: pytest.CaptureFixture[str], *, json: bool
) -> None:
    log.configure(json=json)
    log.get().info("request_confirmed", index=7)
    log.get().debug("not_shown")
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert "request_confirmed" in line


def test_readable_log_is_redacted_too(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("debug")
    log.get().debug("asked", password="hunter2", url="https://hunter2@example.org/hunter2")
    line = capsys.readouterr().err
    assert "hunter2" not in line
    assert "https://example.org" in line


@pytest.mark.parametrize(
    "url", ["https://user:hun@ter2@host.example/x", "HTTPS://user:hunter2@host.example/p"]
)
def test_credentials_never_show_however_they_are_written(url: str) -> None:
    assert "ter2" not in redact_urls(url)
