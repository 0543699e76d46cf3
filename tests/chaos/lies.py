"""
What an endpoint that answers can get wrong: pure rewriting of JSON-RPC calls and replies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oracle.evm import keccak

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    Message = dict[str, Any]

BROADCAST = "eth_sendRawTransaction"
# Where a call says which block it is about.
_BLOCK_AT = {
    "eth_getBlockByNumber": 0,
    "eth_getTransactionCount": 1,
    "eth_getBalance": 1,
    "eth_getCode": 1,
    "eth_call": 1,
    "eth_getStorageAt": 2,
}


class Lie:
    """
    One way to be wrong. Without anything changed it is the truth.
    """

    #: The methods whose calls are answered wrong.
    methods: frozenset[str] = frozenset()
    #: Whether the endpoint is asked at all.
    asks = True
    #: Ticks after which a broadcast is handed on, if it is not at once.
    delays: int | None = None
    needs_head = False

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.arguments = arguments

    def concerns(self, call: Message) -> bool:
        """
        Return whether this call is answered wrong.
        """
        return call["method"] in self.methods

    def asked(self, call: Message, head: int) -> Message:
        """
        Return what is asked instead.
        """
        del head
        return call

    def told(self, call: Message, reply: Message, head: int, rng: random.Random) -> Message | None:
        """
        Return what is answered instead; nothing when the connection drops.
        """
        del call, head, rng
        return reply


class StaleHead(Lie):
    """
    The endpoint is some blocks behind, in all that it says.
    """

    methods = frozenset({*_BLOCK_AT, "eth_blockNumber", "eth_getTransactionReceipt"})
    needs_head = True

    def _seen(self, head: int) -> int:
        return max(0, head - int(self.arguments["behind"]))

    def asked(self, call: Message, head: int) -> Message:
        place = _BLOCK_AT.get(call["method"])
        params = list(call["params"])
        if place is None or len(params) <= place or params[place] not in ("latest", "pending"):
            return call
        params[place] = hex(self._seen(head))
        return {**call, "params": params}

    def told(self, call: Message, reply: Message, head: int, rng: random.Random) -> Message | None:
        result = reply.get("result")
        if call["method"] == "eth_blockNumber":
            return {**reply, "result": hex(self._seen(head))}
        if isinstance(result, dict):
            number = result.get("blockNumber") or result.get("number")
            if number is not None and int(number, 16) > self._seen(head):
                return {**reply, "result": None}
        return reply


class MissingLogs(Lie):
    """
    Some logs are missing.
    """

    methods = frozenset({"eth_getLogs"})

    def told(self, call: Message, reply: Message, head: int, rng: random.Random) -> Message | None:
        logs = reply.get("result") or []
        kept = [log for log in logs if rng.random() >= self.arguments["rate"]]
        return {**reply, "result": kept}


class DuplicateLogs(Lie):
    """
    Every log is there twice.
    """

    methods = frozenset({"eth_getLogs"})

    def told(self, call: Message, reply: Message, head: int, rng: random.Random) -> Message | None:
        return {**reply, "result": [log for log in reply.get("result") or [] for _ in range(2)]}


class NullReceipts(Lie):
    """
    No receipt is known.
    """

    methods = frozenset({"eth_getTransactionReceipt"})
    asks = False

    def told(self, call: Message, reply: Message, head: int, rng: random.Random) -> Message | None:
        return {**reply, "result": None}


class StaleNonce(Lie):
    """
    Fewer transactions are counted than there are.
    """

    methods = frozenset({"eth_getTransactionCount"})

    def told(self, call: Message, reply: Message, head: int, rng: random.Random) -> Message | None:
        counted = int(reply["result"], 16)
        return {**reply, "result": hex(max(0, counted - self.arguments["behind"]))}


class OfBroadcast(Lie):
    """
    Something is wrong with a broadcast.
    """

    methods = frozenset({BROADCAST})


class Swallowed(OfBroadcast):
    """
    A broadcast is taken, and forgotten or handed on much later.
    """

    asks = False

    def told(self, call: Message, reply: Message, head: int, rng: random.Random) -> Message | None:
        return {**reply, "result": hash_of(call)}


class Delayed(Swallowed):
    """
    A broadcast is handed on later.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        super().__init__(arguments)
        self.delays = int(arguments["by"])


class Unanswered(OfBroadcast):
    """
    A broadcast is handed on, and nobody hears of it.
    """

    def told(self, call: Message, reply: Message, head: int, rng: random.Random) -> Message | None:
        return None


class Refused(OfBroadcast):
    """
    A broadcast is answered with an error, whether it is handed on or not.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        super().__init__(arguments)
        self.asks = bool(arguments["done"])

    def told(self, call: Message, reply: Message, head: int, rng: random.Random) -> Message | None:
        error = {"code": -32000, "message": self.arguments["words"]}
        return {"jsonrpc": "2.0", "id": call["id"], "error": error}


def hash_of(call: Message) -> str:
    """
    Return the hash of a broadcast's transaction, as its endpoint answers it.
    """
    return "0x" + keccak(bytes.fromhex(call["params"][0].removeprefix("0x"))).hex()


LIES: dict[str, Callable[[dict[str, Any]], Lie]] = {
    "stale-head": StaleHead,
    "missing-logs": MissingLogs,
    "duplicate-logs": DuplicateLogs,
    "null-receipts": NullReceipts,
    "stale-nonce": StaleNonce,
    "broadcast-lost": Swallowed,
    "broadcast-delayed": Delayed,
    "broadcast-unanswered": Unanswered,
    "broadcast-refused": Refused,
}
