"""
What an operator, and the developer of a requester, is told of Airnode requests: from the store.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result
from eth_abi.abi import encode

from oracle.airnode_request import AirnodeRequest, Place, Template
from oracle.airnode_settings import UINT256, UINT256_ARRAY
from oracle.chain.mnemonics import seal
from oracle.chain.sponsor_wallets import AirnodeKeys
from oracle.cli.main import cli
from oracle.cli.requests import requests as verbs
from oracle.config import GatewaySettings, Settings, load_pool_settings
from oracle.errors import ConfigError, EndpointError
from oracle.evm import checksum_address
from oracle.request import RequestKey, State
from oracle.store import airnode
from oracle.store import requests as native
from oracle.store.airnode import BOOK, WAITING_AFTER_RESTORE, Shortage, airnode_purpose
from oracle.store.engine import Access, Database
from oracle.store.pool import Pool
from oracle.store.seal import EpochFile, PoolKey
from tests.airnode import MNEMONIC
from tests.factories import hash32, make_block, make_request
from tests.migrated import lay_database

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

pytestmark = pytest.mark.store

RRP = "0xa0AD79D995DdeeB18a14eAef56A549A04e3Aa1Bd"
KEYS = AirnodeKeys(MNEMONIC)
CONFIG = f"""
[airnode]
mnemonic_file = "mnemonic.json"

[airnode.chains.main]
chain_id = 1
endpoints = ["http://127.0.0.1:1"]
trusted = true
rrp = "{RRP}"

[sources.lfd]
kind = "lfd"
"""


def account(name: str) -> str:
    return checksum_address("0x" + hash32(name)[:20].hex())


def asked(name: str, **more: Any) -> AirnodeRequest:
    sponsor = account("sponsor")
    values = {
        "key": RequestKey(chain_id=1, contract=RRP, request_id=hash32(name)),
        "airnode": KEYS.address,
        "requester": account("requester"),
        "requester_count": 1,
        "endpoint_id": bytes.fromhex(UINT256[0][2:]),
        "sponsor": sponsor,
        "sponsor_wallet": KEYS.xpub.sponsor_wallet(sponsor),
        "fulfill_address": account("consumer"),
        "fulfill_function_id": b"\1\2\3\4",
        "parameters": b"",
        "place": Place(
            block_number=100,
            block_hash=hash32("block"),
            transaction_hash=hash32("transaction", name),
            log_index=0,
        ),
    }
    return AirnodeRequest(**{**values, **more})


@dataclass
class Desk:
    """
    An operator's folder, and the verbs.
    """

    folder: Path

    def write(self, change: Callable[[AsyncConnection], Awaitable[None]]) -> None:
        async def run() -> None:
            database = await Database.open(self.folder / "oracle.db", Access.NODE)
            try:
                async with database.write() as tx:
                    await change(tx)
            finally:
                await database.close()

        asyncio.run(run())

    def put(self, request: AirnodeRequest, *states: State, reason: str | None = None) -> None:
        """
        Store a request that has gone through states, the last of them with a reason.
        """

        async def change(tx: AsyncConnection) -> None:
            await BOOK.observe(tx, request)
            before = State.OBSERVED
            for after in states:
                why = reason if after is states[-1] else None
                await BOOK.advance(tx, request.key, before, after, reason=why)
                before = after

        self.write(change)

    def note(self, request: AirnodeRequest, reason: str) -> None:
        async def change(tx: AsyncConnection) -> None:
            tracked = await BOOK.get(tx, request.key)
            assert tracked is not None
            await BOOK.note(tx, tracked, reason)

        self.write(change)

    def run(self, *arguments: str, **more: Any) -> Result:
        verb, *rest = arguments
        config = str(self.folder / "oracle.toml")
        return CliRunner().invoke(verbs, [verb, "--config", config, *rest], env={}, **more)

    def document(self, *arguments: str) -> dict[str, Any]:
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        # What is said before a question is on the same tape.
        document: dict[str, Any] = json.loads(result.output[result.output.index("{") :])
        return document

    def show(self, request: AirnodeRequest) -> dict[str, Any]:
        return self.document("show", "0x" + request.key.request_id.hex())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "oracle.toml").write_text(CONFIG, encoding="utf-8")
    lay_database(tmp_path / "oracle.db")
    sealed = tmp_path / "mnemonic.json"
    sealed.touch(mode=0o600)
    sealed.write_text(seal(MNEMONIC, KEYS.xpub, "never asked for"), encoding="utf-8")
    return Desk(tmp_path)


def test_both_protocols_are_listed_by_time_and_each_alone(desk: Desk) -> None:
    first, second = asked("first"), asked("second")
    desk.put(first)

    async def change(tx: AsyncConnection) -> None:
        await native.observe(tx, make_request(7))

    desk.write(change)
    desk.put(second, State.CONFIRMED, State.REJECTED, reason="unknown_endpoint")
    listed = desk.document("list")
    assert [one["protocol"] for one in listed["requests"]] == ["airnode", "native", "airnode"]
    assert listed["counts"] == {"observed": 2, "rejected": 1}
    newest = desk.document("list", "--limit", "1")["requests"]
    assert [one["reason"] for one in newest] == ["unknown_endpoint"]
    for protocol, count in (("airnode", 2), ("native", 1)):
        alone = desk.document("list", "--protocol", protocol)
        assert {one["protocol"] for one in alone["requests"]} == {protocol}
        assert sum(alone["counts"].values()) == count
    text = desk.run("list").stdout
    assert "protocol" in text
    assert "unknown_endpoint" in text


def test_everything_about_a_template_request_is_shown(desk: Desk) -> None:
    template = Template(
        airnode=KEYS.address,
        endpoint_id=bytes.fromhex(UINT256_ARRAY[0][2:]),
        parameters=encode(["bytes32", "bytes32", "uint256"], [b"1u", b"size", 5]),
    )
    wish = encode(["bytes32", "bytes32", "bytes32"], [b"1s", b"_minConfirmations", b"40"])
    request = asked("it", endpoint_id=None, template_id=template.id, parameters=wish)
    desk.put(request, State.CONFIRMED)

    async def change(tx: AsyncConnection) -> None:
        await airnode.add_templates(tx, [template])

    desk.write(change)
    shown = desk.show(request)
    assert (shown["protocol"], shown["kind"]) == ("airnode", "template")
    assert shown["endpointId"] == UINT256_ARRAY[0]
    assert shown["templateId"] == "0x" + template.id.hex()
    assert shown["parametersSay"] == {"size": "5", "_minConfirmations": "40"}
    assert (shown["numWords"], shown["array"], shown["minConfirmations"]) == (5, True, 40)
    assert shown["sponsorWallet"] == KEYS.xpub.sponsor_wallet(account("sponsor"))
    assert [one["to"] for one in shown["history"]] == ["observed", "confirmed"]
    assert shown["entropy"] is None
    text = desk.run("show", "0x" + request.key.request_id.hex()[:8]).stdout
    assert 'parametersSay: {"size": "5", "_minConfirmations": "40"}' in text


def test_sources_that_were_really_used_are_named(desk: Desk) -> None:
    request = asked("it")
    desk.put(request, State.CONFIRMED, State.DRAWN, reason="callback_fails")

    async def draw() -> None:
        database = await Database.open(desk.folder / "oracle.db", Access.NODE)
        pool = Pool(PoolKey(bytes(range(32))), EpochFile(desk.folder / "pool.epoch"))
        try:
            async with database.write() as tx:
                await pool.add(tx, [make_block(1)])
            await pool.bind_purposes(database, [airnode_purpose(request.key)])
            async with database.write() as tx:
                await airnode.put(
                    tx, [request.key], num_words=1, array=False, drawn_at=1000, held_since=2000
                )
        finally:
            await database.close()

    asyncio.run(draw())
    shown = desk.show(request)
    assert shown["entropy"]["sources"] == list(make_block(1).sources)
    assert shown["drawnAt"] == "1970-01-01T00:00:01.000+00:00"
    assert shown["heldSince"] == "1970-01-01T00:00:02.000+00:00"
    assert shown["data"] is None
    assert "until 1970-01-01T01:00:02+00:00" in shown["explanation"]


def test_right_sponsor_wallet_is_named_without_the_password(desk: Desk) -> None:
    request = asked("it", sponsor_wallet=account("another"))
    desk.put(request, State.CONFIRMED, State.REJECTED, reason="wrong_sponsor_wallet")
    shown = desk.show(request)
    assert KEYS.xpub.sponsor_wallet(account("sponsor")) in shown["explanation"]
    assert account("another") in shown["explanation"]


def test_what_is_wrong_with_parameters_is_said_in_words(desk: Desk) -> None:
    request = asked("it", parameters=b"9" + bytes(31))
    desk.put(request, State.CONFIRMED, State.REJECTED, reason="parameters_version")
    shown = desk.show(request)
    assert shown["parametersError"] == "the parameters are not of version 1 of Airnode ABI"
    assert shown["explanation"].startswith(shown["parametersError"])
    assert shown["parametersSay"] is None


def test_shortage_is_shown_to_the_wei(desk: Desk) -> None:
    request = asked("it")
    desk.put(request, State.CONFIRMED, State.DRAWN, reason="wallet_unfunded")
    shortage = Shortage(gas=300_000, needed=10**18 + 1, had=10**17)

    async def change(tx: AsyncConnection) -> None:
        await airnode.put_shortage(tx, [request.key], shortage)

    desk.write(change)
    shown = desk.show(request)
    assert (shown["neededWei"], shown["balanceWei"]) == (10**18 + 1, 10**17)
    assert shown["missingWei"] == 9 * 10**17 + 1
    assert "send it 0.900000000000000001 ether" in shown["explanation"]


def test_only_what_waits_after_a_restore_is_released(desk: Desk) -> None:
    first, second, other = asked("first"), asked("second"), asked("other")
    desk.put(other, State.CONFIRMED)
    refused = desk.run("release", "--all", "--yes")
    assert "there is nothing to release" in str(refused.exception)
    for request in (first, second):
        desk.put(request, State.CONFIRMED)
        desk.note(request, WAITING_AFTER_RESTORE)
    assert desk.show(first)["reason"] == "waiting_after_restore"
    id_ = "0x" + first.key.request_id.hex()
    unasked = desk.run("release", id_)
    assert "add --yes" in str(unasked.exception)
    refused = desk.run("release", "0x" + other.key.request_id.hex(), "--yes")
    assert "waits for the operator's word" in str(refused.exception)
    assert [desk.show(one)["releasedAt"] for one in (first, second, other)] == [None] * 3
    assert desk.document("release", id_[:12], "--yes") == {"released": [id_]}
    shown = desk.show(first)
    assert shown["releasedAt"] is not None
    assert shown["reason"] == "waiting_for_number"
    assert desk.show(second)["releasedAt"] is None
    rest = desk.document("release", "--all", "--yes")
    assert rest == {"released": ["0x" + second.key.request_id.hex()]}
    assert desk.show(other)["releasedAt"] is None


def test_requests_are_released_beside_a_running_node(desk: Desk) -> None:
    request = asked("it")
    desk.put(request, State.CONFIRMED)
    desk.note(request, WAITING_AFTER_RESTORE)

    async def while_held() -> Result:
        database = await Database.open(desk.folder / "oracle.db", Access.NODE)
        try:
            return await asyncio.to_thread(desk.run, "release", "--all", "--yes")
        finally:
            await database.close()

    assert asyncio.run(while_held()).exit_code == 0
    assert desk.show(request)["releasedAt"] is not None


def test_ids_and_all_exclude_each_other(desk: Desk) -> None:
    for arguments in ((), ("0x12", "--all")):
        assert "say which requests" in str(desk.run("release", *arguments).exception)


@pytest.mark.parametrize(
    "arguments",
    [
        ("coordinator", "show"),
        ("coordinator", "earnings"),
        ("coordinator", "set-operator", account("another"), "--yes"),
        ("commit", "--yes"),
        ("wallet", "sweep", "--to", account("another"), "--yes"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_verb_for_coordinators_says_that_there_is_none(
    desk: Desk, arguments: tuple[str, ...]
) -> None:
    config = str(desk.folder / "oracle.toml")
    result = CliRunner().invoke(cli, [*arguments, "--config", config], env={})
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).startswith(f"there is no coordinator in {config}")


def test_pool_of_an_airnode_alone_is_a_nodes(desk: Desk) -> None:
    settings = load_pool_settings(desk.folder / "oracle.toml")
    assert type(settings) is Settings
    assert settings.database == desk.folder / "oracle.db"
    with pytest.raises(ConfigError, match="a gateway knows none"):
        GatewaySettings.load(desk.folder / "oracle.toml")


def test_pool_is_filled_for_a_devnet_only_once_that_is_proven(desk: Desk) -> None:
    for name in ("pool.key", "mnemonic.password"):
        (desk.folder / name).touch(mode=0o600)
    (desk.folder / "pool.key").write_text(PoolKey.generate(), encoding="utf-8")
    (desk.folder / "mnemonic.password").write_text("never asked for", encoding="utf-8")
    text = CONFIG.replace("trusted = true", "devnet = true")
    text = text.replace("[airnode]\n", '[pool]\nkey_file = "pool.key"\n\n[airnode]\n')
    text = text.replace('.json"\n', '.json"\npassword_file = "mnemonic.password"\n')
    (desk.folder / "oracle.toml").write_text(text, encoding="utf-8")
    config = str(desk.folder / "oracle.toml")
    result = CliRunner().invoke(cli, ["entropy", "draw", "--config", config], env={})
    # Nobody answers there, so nobody says that it is a devnet.
    assert isinstance(result.exception, EndpointError)
