from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from oracle.config import Settings
from oracle.errors import ConfigError
from oracle.given import checked_address, checked_endpoint, checked_websocket
from oracle.source_settings import KINDS
from tests.configured import ADDRESS, GOOD, KEY, Load, Refused, load, no_environment, refused

pytestmark = pytest.mark.unit

__all__ = ["load", "no_environment", "refused"]

MISTYPED = "0x5FbDB2315678afecb367f032d93F642f64180aA3"
WRONG_CHECKSUM = "the address has a wrong checksum: a digit or its case is mistyped"

SECOND_CHAIN = f"""
[chains.second]
chain_id = 1
endpoints = ["http://127.0.0.1:8546"]
coordinator = "{ADDRESS}"

[chains.second.wallet]

"""


def test_good_configuration_is_read(load: Load) -> None:
    settings = load(GOOD)
    assert settings.chains["main"].chain_id == 1
    assert settings.chains["main"].coordinator == ADDRESS
    assert settings.chains["main"].endpoints[0].get_secret_value() == "http://127.0.0.1:8545"
    assert settings.sources["anu"].kind == "anu-quantum-numbers"
    assert settings.chains["main"].max_fee_gwei == Decimal(200)


def test_a_websocket_is_shown_nowhere_and_may_come_from_the_environment(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "wss://node.example/hunter2"
    chain = load(GOOD.replace("trusted", f'websocket = "{url}"\ntrusted')).chains["main"]
    assert chain.websocket is not None
    assert chain.websocket.get_secret_value() == url
    assert "hunter2" not in repr(chain) + str(chain)
    monkeypatch.setenv("ORACLE_CHAINS__MAIN__WEBSOCKET", url)
    chain = load(GOOD).chains["main"]
    assert chain.websocket is not None
    assert chain.websocket.get_secret_value() == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://node.example/hunter2", "must begin with ws:// or wss://"),
        ("hunter2", "must begin with ws:// or wss://"),
        ("wss:///hunter2", "must begin with ws:// or wss://"),
        ("wss://node.example:hunter2/", "must begin with ws:// or wss://"),
        ("wss://[::1/hunter2", "must begin with ws:// or wss://"),
        ("ws://node.example/hunter2", "whoever is on the way reads the key"),
        ("ws://8.8.8.8/hunter2", "whoever is on the way reads the key"),
        ("wss://node example/hunter2", "white space"),
        ("wss://node.example/'hunter2", "white space, a quote"),
    ],
)
def test_what_is_no_websocket_is_refused_and_not_repeated(url: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        checked_websocket(url, "chains.main.websocket")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "wss://node.example/v3/key?x=1",
        "ws://127.0.0.1:8546",
        "ws://[::1]:8546/",
        "ws://geth:8546",
        "ws://user:pass@10.0.0.7:8546",
    ],
)
def test_a_websocket_is_used_as_it_is_written(url: str) -> None:
    assert checked_websocket(url, "chains.main.websocket") == url


@pytest.mark.parametrize("end", ["'", '"', " ", "\n", "<", ">"])
def test_an_endpoint_of_which_logs_would_show_a_part_is_refused(end: str) -> None:
    with pytest.raises(ConfigError, match="write it as %20") as caught:
        checked_endpoint(f"https://node.example/{end}hunter2", "chains.main.endpoints")
    assert "hunter2" not in str(caught.value)


def test_depth_is_twelve_blocks_and_none_on_a_devnet(load: Load) -> None:
    assert load(GOOD).chains["main"].depth == 12
    devnet = GOOD.replace("trusted = true", "devnet = true")
    assert load(devnet).chains["main"].depth == 0
    chosen = GOOD.replace("trusted = true", "devnet = true\nconfirmations = 3")
    assert load(chosen).chains["main"].depth == 3


@pytest.mark.parametrize(
    ("good", "bad", "sentence"),
    [
        ("database =", "databse =", "databse is no setting: did you mean database?"),
        (
            "chain_id = 1",
            "chain_id = 1\nconfirmation = 3",
            "chains.main.confirmation is no setting: did you mean confirmations?",
        ),
        (
            "keystore =",
            "key_store =",
            "chains.main.wallet.key_store is no setting: did you mean keystore?",
        ),
        (
            'key_file = "keys/anu.key"',
            'keyfile = "keys/anu.key"',
            "sources.anu.keyfile is no setting: did you mean key_file?",
        ),
        (
            'key_file = "keys/pool.key"',
            'keyfile = "keys/pool.key"',
            "pool.keyfile is no setting: did you mean key_file?",
        ),
        (
            "[pool]",
            "[pool]\nzzz = 1",
            (
                "pool.zzz is no setting: known are epoch_file, fresh, key, key_file, "
                "max_age_hours, sources_per_seed"
            ),
        ),
        ("chain_id = 1\n", "", "chains.main.chain_id is missing"),
        (f'coordinator = "{ADDRESS}"\n', "", "chains.main.coordinator is missing"),
        ('kind = "anu-quantum-numbers"\n', "", "sources.anu.kind is missing"),
        (
            ADDRESS,
            ADDRESS[:-1],
            "chains.main.coordinator: an address is 0x and 40 hexadecimal digits",
        ),
        (
            ADDRESS,
            MISTYPED,
            f"chains.main.coordinator: {WRONG_CHECKSUM}",
        ),
        (
            "[chains.main]",
            f"{SECOND_CHAIN}[chains.main]",
            "chains.second and chains.main are the same coordinator",
        ),
        (
            'kind = "anu-quantum-numbers"',
            'kind = "anu"',
            (
                "sources.anu.kind is none of anu-legacy, anu-quantum-numbers, device, json-http, "
                "lfd, outshift, qci, qrng-open-api, qrypt, quandela"
            ),
        ),
        (
            'kind = "anu-quantum-numbers"',
            'kind = "qrypt"',
            "sources.anu.key_file is no setting: did you mean token_file?",
        ),
        (
            'key_file = "keys/anu.key"',
            "quota = { bit = 7 }",
            "sources.anu.quota.bit is no setting: did you mean bits?",
        ),
        (
            'key_file = "keys/anu.key"',
            'certificate_file = "client.pem"',
            "sources.anu: certificate_file and private_key_file belong together: give both",
        ),
        (
            'kind = "anu-quantum-numbers"\nkey_file = "keys/anu.key"',
            'kind = "json-http"\nurl = "https://q"\ndata = "x"\nencoding = "decimal"',
            "sources.anu: items written as decimal have a width: give item_bytes",
        ),
        (
            'kind = "anu-quantum-numbers"\nkey_file = "keys/anu.key"',
            (
                'kind = "json-http"\nurl = "https://q"\ndata = "x"\nencoding = "hex"\n'
                'headers = { Authorization = "Bearer hunter2" }'
            ),
            "sources.anu: headers holds credentials: use key_header and key_file instead",
        ),
        (
            'kind = "anu-quantum-numbers"\nkey_file = "keys/anu.key"',
            (
                'kind = "json-http"\nurl = "https://q"\ndata = "x"\nencoding = "hex"\n'
                'errors = [{ meaning = "retry" }]'
            ),
            "sources.anu.errors.0: a rule for errors needs a status or a text: give one",
        ),
    ],
)
def test_bad_input_is_refused_in_one_sentence(
    refused: Refused, good: str, bad: str, sentence: str
) -> None:
    assert good in GOOD
    assert refused(GOOD.replace(good, bad)) == sentence


@pytest.mark.parametrize("line", ["chain_id = 0", "chain_id = -1", 'chain_id = "mainnet"'])
def test_bad_chain_id_is_named(refused: Refused, line: str) -> None:
    assert refused(GOOD.replace("chain_id = 1", line)).startswith("chains.main.chain_id: ")


def test_missing_file_says_how_to_name_another(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.toml"
    with pytest.raises(ConfigError, match=r"there is no configuration at .*--config"):
        Settings.load(path)


def test_file_that_is_no_toml_is_refused(refused: Refused) -> None:
    assert "is not valid TOML" in refused("database = = 3")


def test_relative_paths_are_relative_to_the_file(load: Load, tmp_path: Path) -> None:
    settings = load(GOOD)
    wallet = settings.chains["main"].wallet
    assert settings.database == tmp_path / "data/oracle.db"
    assert settings.pool.key_file == tmp_path / "keys/pool.key"
    assert settings.sources["anu"].model_dump()["key_file"] == tmp_path / "keys/anu.key"
    assert wallet.keystore == tmp_path / "keys/operator.json"
    assert wallet.password_file == Path("/run/secrets/password")
    assert settings.pool.epoch_file is None


def test_default_database_lies_beside_the_file(load: Load, tmp_path: Path) -> None:
    assert load(GOOD.replace('database = "data/oracle.db"\n', "")).database == (
        tmp_path / "oracle.db"
    )


def test_environment_does_not_let_an_unknown_name_pass(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORACLE_POOL__KYE", KEY)
    said = "the variable ORACLE_POOL__KYE: pool.kye is no setting: did you mean key?"
    assert refused(GOOD) == said


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("ORACLE_CHIANS__MAIN__RUNWAY", ": did you mean ORACLE_CHAINS__MAIN__RUNWAY?"),
        ("oracle_pol__key", ": did you mean ORACLE_POOL__KEY?"),
        ("ORACLE_HOME__LIB", ""),
    ],
)
def test_a_variable_of_no_section_is_refused(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, name: str, advice: str
) -> None:
    monkeypatch.setenv(name, KEY)
    assert refused(GOOD) == f"the variable {name} is no setting{advice}"


def test_variables_of_other_programs_are_left_alone(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORACLE_HOME", "/opt/oracle")
    assert load(GOOD).poll_seconds


def test_a_value_that_a_variable_gives_is_not_blamed_on_the_file(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORACLE_POLL_SECONDS", "-1")
    assert refused(GOOD).startswith("the variable ORACLE_POLL_SECONDS: poll_seconds: ")


def test_address_of_an_option_is_checked_and_given_its_checksum() -> None:
    assert checked_address(ADDRESS.lower(), "--owner") == ADDRESS
    with pytest.raises(ConfigError, match=f"--owner {MISTYPED}: the address has a wrong checksum"):
        checked_address(MISTYPED, "--owner")


def test_section_variable_that_is_no_json_is_refused(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORACLE_POOL", "abc")
    assert "pool" in refused(GOOD)


@pytest.mark.parametrize(
    ("good", "bad", "sentence"),
    [
        (
            'endpoints = ["http://127.0.0.1:8545"]',
            "endpoints = []",
            "chains.main.endpoints is empty: name at least one",
        ),
        (
            "coordinator =",
            "coordinatr =",
            "chains.main.coordinatr is no setting: did you mean coordinator?",
        ),
    ],
)
def test_sentence_names_what_helps(refused: Refused, good: str, bad: str, sentence: str) -> None:
    assert refused(GOOD.replace(good, bad)).endswith(sentence)


def test_chain_named_like_a_section_gets_its_own_advice(refused: Refused) -> None:
    text = GOOD.replace("chains.main", "chains.pool")
    text = text.replace("chain_id = 1", "chain_id = 1\nconfirmation = 1")
    assert "did you mean confirmations?" in refused(text)


def test_documented_sources_are_all_kinds_and_the_example_loads(load: Load) -> None:
    text = (Path(__file__).parents[2] / "docs" / "sources.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z-]+)` \|", text, flags=re.MULTILINE)) >= set(KINDS)
    [example] = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    acme = load(GOOD + example).sources["acme"]
    assert acme.kind == "json-http"
    assert [rule.meaning for rule in acme.errors] == ["retry", "quota"]


def test_devnets_do_not_share_a_node_with_other_chains(refused: Refused) -> None:
    chain = GOOD[GOOD.index("[chains.main]") : GOOD.index("[sources")]
    devnet = chain.replace("chains.main", "chains.b").replace("chain_id = 1", "chain_id = 2")
    devnet = devnet.replace("trusted", "devnet")
    assert "cannot share a node" in refused(f"{GOOD}\n{devnet}")


def test_runway_of_0_stops_commits(load: Load) -> None:
    stopped = GOOD.replace("trusted = true", "trusted = true\nrunway = 0")
    assert load(stopped).chains["main"].runway == 0
