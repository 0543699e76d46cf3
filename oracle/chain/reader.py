"""
Reading a chain through one endpoint.
"""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import aiohttp

from oracle.chain.answers import Words, answered_error, retry_after
from oracle.chain.ranges import Span
from oracle.errors import (
    AnsweredError,
    EndpointError,
    InconsistentChainError,
    OracleError,
    RevertedError,
    ThrottledError,
    UnreachableError,
)
from oracle.evm import TRANSACTION_GAS_CAP, Block, Log, Receipt, Transaction, checksum_address
from oracle.log import redact_urls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from web3 import AsyncWeb3

TIMEOUT = 10.0
_TOO_MANY_REQUESTS = 429
# How endpoints say that a call was tried and failed, not that they could not try it.
_SAYS_REVERTED = re.compile(
    r"revert|invalid opcode|out of gas|gas required exceeds|stack (under|over)flow|bad jump|"
    r"invalid jump|always failing|gas too low|outofgas|vm execution error|evm error",
    re.IGNORECASE,
)


class Web3Reader:
    """
    A `ChainReader` over HTTP; web3.py reads what endpoints say to calls that fail.

    Does not: retry, or fall over to another endpoint.
    """

    def __init__(self, url: str, *, timeout: float | None = None) -> None:
        """
        Speak to a URL; an answer is waited for so many seconds, or as long as for a node.
        """
        self.name = redact_urls(url)
        self._timeout = timeout = TIMEOUT if timeout is None else timeout
        self._words = Words(url)
        self.span = Span()
        self._url = url
        self._asked = 0
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """
        Close the connections.
        """
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def rpc(self, method: str, *params: object) -> Any:
        """
        Call a method by its name and return its raw result.

        Raises `AnsweredError` with the endpoint's own message, its URL cut to the host.
        """
        with self._speaking():
            reply = await self._post(method, params)
            error: Any = reply.get("error")
            if error is None:
                return reply["result"]
        message = error.get("message", "") if isinstance(error, dict) else error
        raise self._answered(message)

    async def chain_id(self) -> int:
        """
        Return the chain id that the endpoint serves.
        """
        with self._speaking():
            return _quantity(await self.rpc("eth_chainId"))

    async def is_devnet(self) -> bool:
        """
        Return whether the endpoint is anvil's or Hardhat's.
        """
        for method in ("anvil_nodeInfo", "hardhat_metadata"):
            try:
                if await self.rpc(method):
                    return True
            except AnsweredError:
                continue
        return False

    async def block(self, number: int | None = None) -> Block:  # noqa: D102 - ChainReader
        wanted = "latest" if number is None else hex(number)
        with self._speaking():
            # Raw, as are logs and receipts: web3's formatters take ten times as long.
            raw = await self.rpc("eth_getBlockByNumber", wanted, False)  # noqa: FBT003 - JSON-RPC
            if raw is None:
                raise InconsistentChainError(f"{self.name} has no block {number}")
            base_fee = raw.get("baseFeePerGas")
            if base_fee is None:
                # From before EIP-1559, and the chains that never had it.
                base_fee = "0x0" if number is not None else await self.rpc("eth_gasPrice")
            return Block(
                number=_bounded(raw["number"], 63),
                hash=_data(raw["hash"]),
                parent_hash=_data(raw["parentHash"]),
                timestamp=_bounded(raw["timestamp"], 63),
                base_fee=_bounded(base_fee, 128),
                gas_limit=_bounded(raw["gasLimit"], 63),
                legacy=raw.get("baseFeePerGas") is None,
            )

    async def logs(  # noqa: D102 - ChainReader
        self, address: str, first: int, last: int, topics: Sequence[bytes | None] = ()
    ) -> list[Log]:
        with self._speaking():
            raw = await self.rpc(
                "eth_getLogs",
                {
                    "address": address,
                    "fromBlock": hex(first),
                    "toBlock": hex(last),
                    "topics": [None if topic is None else "0x" + topic.hex() for topic in topics],
                },
            )
            logs = [_log(item) for item in raw if not item.get("removed", False)]
        for log in logs:
            if (
                not first <= log.block_number <= last
                or log.address != address
                or not _begin_with(log.topics, topics)
            ):
                raise InconsistentChainError(f"{self.name} returned a log that was not asked for")
        return sorted(logs, key=lambda log: (log.block_number, log.index))

    async def receipt(self, transaction_hash: bytes) -> Receipt | None:  # noqa: D102 - ChainReader
        with self._speaking():
            raw = await self.rpc("eth_getTransactionReceipt", "0x" + transaction_hash.hex())
            if raw is None or raw["blockNumber"] is None:
                return None
            return Receipt(
                transaction_hash=_data(raw["transactionHash"]),
                block_number=_bounded(raw["blockNumber"], 63),
                block_hash=_data(raw["blockHash"]),
                ok=_quantity(raw["status"]) == 1,
                gas_used=_bounded(raw["gasUsed"], 63),
                gas_price=_bounded(raw["effectiveGasPrice"], 128),
                logs=tuple(_log(item) for item in raw["logs"]),
                l1_fee=None if raw.get("l1Fee") is None else _bounded(raw["l1Fee"], 128),
            )

    async def nonce(self, address: str, block: int | None = None) -> int:  # noqa: D102 - ChainReader
        with self._speaking():
            at = "latest" if block is None else hex(block)
            return _bounded(await self.rpc("eth_getTransactionCount", address, at), 63)

    async def transaction(self, transaction_hash: bytes) -> Transaction | None:  # noqa: D102 - ChainReader
        with self._speaking():
            raw = await self.rpc("eth_getTransactionByHash", "0x" + transaction_hash.hex())
            if raw is None or raw["blockNumber"] is None:
                return None
            return Transaction(
                hash=_data(raw["hash"]),
                sender=checksum_address(raw["from"]),
                to=checksum_address(raw["to"]) if raw.get("to") else None,
                data=_data(raw["input"]),
                block_number=_bounded(raw["blockNumber"], 63),
            )

    async def balance(self, address: str, block: int | None = None) -> int:  # noqa: D102 - ChainReader
        with self._speaking():
            at = "latest" if block is None else hex(block)
            return _bounded(await self.rpc("eth_getBalance", address, at), 256)

    async def code(self, address: str) -> bytes:  # noqa: D102 - ChainReader
        with self._speaking():
            return _data(await self.rpc("eth_getCode", address, "latest"))

    async def estimate_gas(  # noqa: D102 - GasEstimator
        self, *, sender: str, to: str, data: bytes, value: int = 0
    ) -> int:
        # No gas price: some endpoints would want the sender to have the funds.
        call = {
            "from": sender,
            "to": to,
            "data": "0x" + data.hex(),
            "gas": hex(TRANSACTION_GAS_CAP),
        }
        if value:
            call["value"] = hex(value)
        with self._speaking():
            try:
                return _bounded(await self.rpc("eth_estimateGas", call), 63)
            except AnsweredError as error:
                if _SAYS_REVERTED.search(str(error)):
                    raise RevertedError(str(error)) from None
                raise

    async def call(  # noqa: D102 - ChainReader
        self, to: str, data: bytes, block: int | None = None, *, sender: str | None = None
    ) -> bytes:
        call = {"to": to, "data": "0x" + data.hex()}
        if sender is not None:
            call["from"] = sender
        with self._speaking():
            at = "latest" if block is None else hex(block)
            reply = await self._post("eth_call", [call, at])
            if reply.get("error") is None:
                return _data(reply["result"])
        return await self._call_again(call, at)

    async def _call_again(self, call: Mapping[str, str], at: str) -> bytes:
        """
        Make a call that failed by web3.py, which knows how a dozen clients say that one reverted.
        """
        # It is slow to import and takes four times as long for a call.
        from web3.exceptions import (  # noqa: PLC0415
            ContractLogicError,
            Web3Exception,
            Web3RPCError,
        )

        with self._speaking():
            # It insists on their checksums.
            parts: Any = {
                name: value if name == "data" else checksum_address(value)
                for name, value in call.items()
            }
            try:
                async with self._web3() as web3:
                    return bytes(await web3.eth.call(parts, at))  # type: ignore[arg-type]
            except ContractLogicError as error:
                raise RevertedError(
                    f"{self.name}: the call reverted", data=_revert_data(error.data)
                ) from None
            except Web3RPCError as error:
                raise self._answered(error.message) from None
            except Web3Exception as error:
                raise self._noted(self._silence(error)) from None

    @asynccontextmanager
    async def _web3(self) -> AsyncIterator[AsyncWeb3[Any]]:
        from web3 import AsyncHTTPProvider, AsyncWeb3  # noqa: PLC0415 - as above

        web3 = AsyncWeb3(
            AsyncHTTPProvider(
                self._url,
                request_kwargs={"timeout": aiohttp.ClientTimeout(total=self._timeout)},
                exception_retry_configuration=None,
            ),
            # They resolve names and ask for the chain id before every call.
            middleware=[],
        )
        try:
            yield web3
        finally:
            await web3.provider.disconnect()

    async def storage(self, address: str, slot: int, block: int | None = None) -> bytes:  # noqa: D102 - ChainReader
        with self._speaking():
            at = "latest" if block is None else hex(block)
            return _data(await self.rpc("eth_getStorageAt", address, hex(slot), at))

    async def _post(self, method: str, params: Sequence[object]) -> Any:
        """
        Return an endpoint's reply, which web3.py would take as long to read as all the rest.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession(
                raise_for_status=True, timeout=aiohttp.ClientTimeout(total=self._timeout)
            )
        self._asked += 1
        body = {"jsonrpc": "2.0", "id": self._asked, "method": method, "params": params}
        async with self._session.post(self._url, json=body) as response:
            return json.loads(await response.read())

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """
        Turn whatever an exchange can raise into errors of this package, without the URL's secrets.
        """
        try:
            yield
        except OracleError:
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._noted(self._silence(error)) from None
        except (KeyError, TypeError, AttributeError, ValueError):
            raise self._noted(
                EndpointError(f"{self.name} answered with something malformed")
            ) from None

    def _answered(self, words: object) -> EndpointError:
        error = answered_error(self.name, self._words.showable(words))
        return error if isinstance(error, AnsweredError) else self._noted(error)

    def _silence(self, error: Exception) -> EndpointError:
        """
        Say why there is no answer.
        """
        if isinstance(error, TimeoutError):
            return EndpointError(f"{self.name} does not answer within {self._timeout:.0f} seconds")
        if isinstance(error, aiohttp.ClientResponseError):
            if error.status == _TOO_MANY_REQUESTS:
                asked = error.headers.get("Retry-After") if error.headers else None
                return ThrottledError(
                    f"{self.name} wants to be asked less: status {error.status}",
                    retry_after=retry_after(asked),
                )
            return EndpointError(f"{self.name} does not answer: status {error.status}")
        reason = self._words.showable(error) or type(error).__name__
        if isinstance(error, aiohttp.ClientConnectionError | OSError):
            return UnreachableError(f"{self.name} cannot be reached: {reason}")
        return EndpointError(f"{self.name} does not answer: {reason}")

    def _noted(self, error: EndpointError) -> EndpointError:
        """
        Return the error of an exchange that came to nothing, once somebody has taken note of it.
        """
        return error


def _revert_data(data: object) -> bytes:
    # Hexadecimal digits by custom, whatever an endpoint likes in truth.
    try:
        return bytes.fromhex(data.removeprefix("0x")) if isinstance(data, str) else b""
    except ValueError:
        return b""


def _begin_with(found: Sequence[bytes], asked: Sequence[bytes | None]) -> bool:
    return len(found) >= len(asked) and all(
        wanted in (None, topic) for topic, wanted in zip(found, asked, strict=False)
    )


def _quantity(value: str) -> int:
    if value[:2] != "0x":
        raise ValueError("no quantity")
    return int(value, 16)


def _bounded(value: str, bits: int) -> int:
    # What no chain can mean the store cannot hold.
    if (number := _quantity(value)) >> bits:
        raise ValueError("out of range")
    return number


def _data(value: str) -> bytes:
    if value[:2] != "0x":
        raise ValueError("no hexadecimal digits")
    return bytes.fromhex(value[2:])


def _log(raw: dict[str, Any]) -> Log:
    return Log(
        address=checksum_address(raw["address"]),
        topics=tuple(map(_data, raw["topics"])),
        data=_data(raw["data"]),
        block_number=_bounded(raw["blockNumber"], 63),
        block_hash=_data(raw["blockHash"]),
        transaction_hash=_data(raw["transactionHash"]),
        index=_bounded(raw["logIndex"], 31),
    )
