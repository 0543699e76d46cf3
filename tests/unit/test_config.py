from __future__ import annotations

import os
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from oracle.config import GatewaySettings, Settings
from oracle.database_url import DatabaseUrl
from oracle.errors import ConfigError
from oracle.given import (
    checked_address,
    checked_endpoint,
    checked_websocket,
    read_secret_file,
    secret,
    variable_of,
)
from oracle.source_settings import KINDS

pytestmark = pytest.mark.unit

ADDRESS = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
MISTYPED = "0x5FbDB2315678afecb367f032d93F642f64180aA3"
KEY = "ab" * 32
WRONG_CHECKSUM = "the address has a wrong checksum: a digit or its case is mistyped"

SECOND_CHAIN = f"""
[chains.second]
chain_id = 1
endpoints = ["http://127.0.0.1:8546"]
coordinator = "{ADDRESS}"

[chains.second.wallet]

"""

GOOD = f"""
database = "data/oracle.db"

[pool]
key_file = "keys/pool.key"

[chains.main]
chain_id = 1
endpoints = ["http://127.0.0.1:8545"]
coordinator = "{ADDRESS}"
trusted = true

[chains.main.wallet]
keystore = "keys/operator.json"
password_file = "/run/secrets/password"

[sources.anu]
kind = "anu-quantum-numbers"
key_file = "keys/anu.key"
"""

Load = Callable[[str], Settings]
Refused = Callable[[str], str]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("ORACLE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str) -> Settings:
        path = tmp_path / "oracle.toml"
        path.write_text(text)
        return Settings.load(path)

    return load


@pytest.fixture
def refused(load: Load, tmp_path: Path) -> Refused:
    """
    Load what must be refused and return the sentence, without the file's name.
    """

    def refused(text: str) -> str:
        with pytest.raises(ConfigError) as caught:
            load(text)
        sentence = str(caught.value)
        assert "\n" not in sentence
        assert str(tmp_path / "oracle.toml") in sentence
        return sentence.removeprefix(f"{tmp_path / 'oracle.toml'}: ")

    return refused


def secret_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_text(text)
    path.chmod(mode)
    return path


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


@pytest.mark.parametrize(
    ("after", "name", "variable"),
    [
        ("[pool]\n", "pool.key", "ORACLE_POOL__KEY"),
        ("[chains.main.wallet]\n", "chains.main.wallet.key", "ORACLE_CHAINS__MAIN__WALLET__KEY"),
        (
            "[chains.main.wallet]\n",
            "chains.main.wallet.password",
            "ORACLE_CHAINS__MAIN__WALLET__PASSWORD",
        ),
        ("[sources.anu]\n", "sources.anu.key", "ORACLE_SOURCES__ANU__KEY"),
    ],
)
def test_secret_in_the_file_is_refused_and_not_repeated(
    refused: Refused, after: str, name: str, variable: str
) -> None:
    field = name.rpartition(".")[2]
    sentence = refused(GOOD.replace(after, f'{after}{field} = "{KEY}"\n'))
    assert sentence == (
        f"{name} is a secret and does not belong into this file: use {name}_file, or the "
        f"variable {variable}"
    )


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


@pytest.mark.parametrize(
    "place",
    [
        ("pool", "key"),
        ("chains", "main", "wallet", "key"),
        ("chains", "main", "wallet", "password"),
        ("sources", "anu", "key"),
        ("sources", "open", "token"),
    ],
)
def test_environment_gives_every_secret_by_value_and_by_file(
    load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: tuple[str, ...]
) -> None:
    *sections, field = place

    text = GOOD
    if "open" in place:
        text += '[sources.open]\nkind = "qrng-open-api"\nurl = "https://q.example/v1"\n'
    if place == ("chains", "main", "wallet", "key"):
        # A key instead of a keystore.
        text = text.replace('keystore = "keys/operator.json"\n', "")

    def found(name: str) -> object:
        at: object = load(text)
        for section in sections:
            at = at[section] if isinstance(at, dict) else getattr(at, section)
        return getattr(at, name)

    variable = variable_of(*place)
    monkeypatch.setenv(f"{variable}_FILE", str(tmp_path / "given"))
    assert found(f"{field}_file") == tmp_path / "given"
    monkeypatch.delenv(f"{variable}_FILE")
    monkeypatch.setenv(variable, KEY)
    value = found(field)
    assert KEY not in repr(value)
    assert KEY not in repr(load(text))
    assert secret(value, None, what="key", variable=variable) == KEY  # type: ignore[arg-type]


def test_environment_does_not_let_an_unknown_name_pass(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORACLE_POOL__KYE", KEY)
    assert refused(GOOD) == "pool.kye is no setting: did you mean key?"


def test_secret_comes_from_its_value_before_its_file(load: Load, tmp_path: Path) -> None:
    settings = load(GOOD)
    path = secret_file(tmp_path, f"\n{KEY}\n")
    assert secret(None, path, what="pool key", variable="X") == KEY
    value = type(settings.chains["main"].endpoints[0])("  other ")
    assert secret(value, path, what="pool key", variable="X") == "other"


def test_missing_secret_names_both_ways_to_give_it() -> None:
    with pytest.raises(ConfigError) as caught:
        secret(None, None, what="pool key", variable="ORACLE_POOL__KEY")
    assert str(caught.value) == (
        "there is no pool key: set ORACLE_POOL__KEY, or ORACLE_POOL__KEY_FILE to a file that "
        "holds it"
    )


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o666])
def test_secret_file_that_is_open_to_everybody_is_refused(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, KEY, mode)
    with pytest.raises(ConfigError) as caught:
        read_secret_file(path)
    sentence = f"the secret file {path} is open to everybody: run `chmod 600 {path}`"
    assert str(caught.value) == sentence


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_secret_file_of_owner_and_group_is_read(tmp_path: Path, mode: int) -> None:
    assert read_secret_file(secret_file(tmp_path, f" {KEY}\n", mode)) == KEY


def test_missing_secret_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere"
    with pytest.raises(ConfigError) as caught:
        read_secret_file(path)
    assert str(caught.value) == f"the secret file {path} does not exist"


@pytest.mark.parametrize("text", ["", "\n", "  \n\t"])
def test_empty_secret_file_is_refused(tmp_path: Path, text: str) -> None:
    path = secret_file(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_secret_file(path)
    assert str(caught.value) == f"the secret file {path} is empty"


def test_secret_file_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: check its owner and mode"):
        read_secret_file(tmp_path)


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


SERVER = "postgresql+psycopg://oracle@db.internal/oracle"
OPEN_SERVER = "postgresql+psycopg://oracle:right-horse@db.internal/oracle"


def on_a_server(url: str) -> str:
    return GOOD.replace('database = "data/oracle.db"', f'database = "{url}"')


def test_a_database_on_a_server_is_read(load: Load) -> None:
    assert load(on_a_server(SERVER)).database == DatabaseUrl.parse(SERVER)


def test_a_password_in_the_file_is_refused_and_not_repeated(refused: Refused) -> None:
    for url in (OPEN_SERVER, f"{SERVER}?password=right-horse"):
        sentence = refused(on_a_server(url))
        assert "the URL of database holds a password" in sentence
        assert "use database_file, or the variable ORACLE_DATABASE" in sentence
        assert "horse" not in sentence


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgres://oracle:right-horse@db/oracle", "write postgresql+psycopg:// instead"),
        ("postgresql+psycopg://oracle:right-horse@db", "names no database"),
        ("mongodb://oracle:right-horse@db/oracle", "which is not known"),
    ],
)
def test_a_url_that_cannot_be_used_says_how_to_write_it(
    refused: Refused, load: Load, monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    sentence = refused(on_a_server(url))
    assert sentence.startswith("database: ")
    assert said in sentence
    assert "horse" not in sentence
    monkeypatch.setenv("ORACLE_DATABASE", url)
    sentence = refused(on_a_server(SERVER))
    assert said in sentence
    assert "horse" not in sentence


def test_the_environment_gives_a_url_with_its_password_by_value_and_by_file(
    load: Load, refused: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ORACLE_DATABASE", OPEN_SERVER)
    settings = load(GOOD)
    assert settings.database == DatabaseUrl.parse(OPEN_SERVER)
    assert "horse" not in repr(settings)
    monkeypatch.delenv("ORACLE_DATABASE")
    file = secret_file(tmp_path, f"{OPEN_SERVER}\n")
    without = GOOD.replace('database = "data/oracle.db"', "")
    monkeypatch.setenv("ORACLE_DATABASE_FILE", str(file))
    settings = load(without)
    assert settings.database == DatabaseUrl.parse(OPEN_SERVER)
    assert "horse" not in repr(settings)
    assert "database and database_file exclude each other" in refused(GOOD)
    file.write_text("postgresql://oracle:right-horse@db/oracle")
    with pytest.raises(ConfigError, match=r"the URL in .*secret begins with postgresql://: write"):
        load(without)
    file.write_text(OPEN_SERVER)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="is open to everybody"):
        load(without)


def test_a_gateway_may_have_its_database_on_a_server(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(f'database = "{SERVER}"\n[sources.anu]\nkind = "anu-quantum-numbers"\n')
    assert GatewaySettings.load(path).database == DatabaseUrl.parse(SERVER)
    path.write_text('[sources.anu]\nkind = "anu-quantum-numbers"\n')
    assert GatewaySettings.load(path).database == tmp_path / "gateway.db"
