"""
Handing signed bytes to an endpoint.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from oracle.errors import AnsweredError, EndpointError
from oracle.evm import keccak

if TYPE_CHECKING:
    from oracle.chain.reader import Web3Reader


class Verdict(StrEnum):
    """
    What an endpoint said to signed bytes.
    """

    ACCEPTED = "accepted"  #: it has them now
    KNOWN = "known"  #: it had them before
    STALE = "stale"  #: the nonce is used already
    UNDERPRICED = "underpriced"  #: the fee is too low, or too close to the one it would replace
    UNFUNDED = "unfunded"  #: the wallet cannot pay
    REFUSED = "refused"  #: anything else
    UNANSWERED = "unanswered"  #: it may have them or not


#: The endpoint has the bytes.
TAKEN = (Verdict.ACCEPTED, Verdict.KNOWN)

# Endpoints agree on no codes: these are the words of geth, Nethermind, Besu, Erigon, Reth and
# anvil.
_WORDS = (
    (
        Verdict.KNOWN,
        ("already known", "already imported", "known transaction", "alreadyknown", "same hash"),
    ),
    (
        Verdict.STALE,
        ("nonce too low", "nonce is too low", "nonce has already been used", "oldnonce"),
    ),
    (
        Verdict.UNFUNDED,
        ("insufficient funds", "insufficientfunds", "insufficient balance", "upfront cost"),
    ),
    (
        Verdict.UNDERPRICED,
        (
            "underpriced",
            "fee too low",
            "feetoolow",
            "less than block base fee",
            "replacementnotallowed",
            "could not replace",
            "below configured minimum",
        ),
    ),
)


class Broadcaster(Protocol):
    """
    Whoever takes signed bytes to the network.
    """

    async def broadcast(self, signed: bytes) -> tuple[Verdict, str]:
        """
        Send signed bytes; return the verdict and the endpoint's words.
        """
        ...


class Web3Sender:
    """
    A `Broadcaster` over one endpoint.

    Guarantees: the bytes reach nobody but this endpoint.

    Does not: build, sign or repeat a transaction.
    """

    def __init__(self, reader: Web3Reader) -> None:
        self._reader = reader

    async def broadcast(self, signed: bytes) -> tuple[Verdict, str]:  # noqa: D102 - Broadcaster
        try:
            answer = await self._reader.rpc("eth_sendRawTransaction", "0x" + signed.hex())
        except AnsweredError as error:
            return classify(str(error)), str(error)
        except EndpointError as error:
            return Verdict.UNANSWERED, str(error)
        if answer != "0x" + keccak(signed).hex():
            return Verdict.UNANSWERED, "the endpoint answered with something else than the hash"
        return Verdict.ACCEPTED, ""


def classify(message: str) -> Verdict:
    """
    Tell from an endpoint's words what became of the bytes.
    """
    lowered = message.lower()
    for verdict, phrases in _WORDS:
        if any(phrase in lowered for phrase in phrases):
            return verdict
    return Verdict.REFUSED
