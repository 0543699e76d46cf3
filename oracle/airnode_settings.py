"""
The section `[airnode]` of the configuration: who answers API3's QRNG consumers, and where.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from oracle.chain_settings import Address, EndpointSettings, Name
from oracle.protocols.airnode_published import (
    COMMON_RRP,
    CONFIRMATIONS,
    UINT256_ARRAY_ENDPOINTS,
    UINT256_ENDPOINTS,
    rrp_address,
)
from oracle.source_settings import Section

# Where API3's QRNG was not.
_UNKNOWN_CHAIN = 25

UINT256, UINT256_ARRAY = (
    tuple(f"0x{id_.hex()}" for id_ in ids) for ids in (UINT256_ENDPOINTS, UINT256_ARRAY_ENDPOINTS)
)


def _check_id(text: str) -> str:
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raw = b""
    if len(raw) != 32:  # noqa: PLR2004 - a word
        raise ValueError("an endpoint id is 0x and 64 hexadecimal digits")
    return f"0x{raw.hex()}"


EndpointId = Annotated[str, AfterValidator(_check_id)]


class AirnodeChainSettings(EndpointSettings):
    """
    One AirnodeRrpV0 on one chain.
    """

    #: depth at which a block counts; default: API3's on that chain, else 25, on a devnet 0
    confirmations: Annotated[int, Field(ge=0)] | None = None
    rrp: Address | None = None  #: the AirnodeRrpV0 contract; default: API3's on that chain
    start_block: Annotated[int, Field(ge=0)] | None = None  #: the first that is read; default: now
    uint256: tuple[EndpointId, ...] = UINT256  #: ids answered with one number
    uint256_array: tuple[EndpointId, ...] = UINT256_ARRAY  #: ids answered with an array
    authorizers: tuple[Address, ...] = ()  #: contracts one of which has to let a request through
    allowed: tuple[Address, ...] = ()  #: the only requesters or sponsors served; empty: everybody
    lower_confirmations: bool = False  #: let `_minConfirmations` lower the depth too
    #: numbers per sponsor in 24 hours; default: 1000, none on a devnet; 0: as many as it wants
    draws_per_sponsor: Annotated[int, Field(ge=0)] | None = None
    #: requests that waited longer are ended; default: never
    max_age_hours: Annotated[float, Field(gt=0)] | None = None
    #: how long a number is kept back from a callback that fails
    hold_minutes: Annotated[float, Field(ge=0)] = 60
    held: Literal["deliver", "fail"] = "deliver"  #: what is done then
    #: a request whose number was public before a reorg included it again
    exposed: Literal["deliver", "fail"] = "deliver"
    gas_floor: Annotated[int, Field(ge=100_000)] = 300_000  #: gas of a fulfillment at least
    #: how long a withdrawal waits for numbers that were broadcast
    withdrawal_wait_minutes: Annotated[float, Field(ge=0)] = 60

    @property
    def contract(self) -> str:
        """
        The AirnodeRrpV0 contract.
        """
        return self.rrp or rrp_address(self.chain_id) or COMMON_RRP

    @property
    def depth(self) -> int:
        """
        Blocks on top of a block before it counts: as API3's QRNG waited, 25 where it was not; 0 on
        a devnet.
        """
        if self.confirmations is not None:
            return self.confirmations
        return 0 if self.devnet else CONFIRMATIONS.get(self.chain_id, _UNKNOWN_CHAIN)

    @property
    def draws_per_day(self) -> int | None:
        """
        Numbers per sponsor in 24 hours, or no limit.
        """
        if self.draws_per_sponsor is None:
            return None if self.devnet else 1000
        return self.draws_per_sponsor or None


class AirnodeSettings(Section):
    """
    An Airnode: one mnemonic, on any number of chains.
    """

    mnemonic_file: Path  #: encrypted, see `oracle wallet create-mnemonic`
    password: SecretStr | None = None  #: of that file
    password_file: Path | None = None  #: a file that holds the password
    #: says which database answers where; default: `mnemonic_file` with .stores behind it
    stores_file: Path | None = None
    chains: Annotated[dict[Name, AirnodeChainSettings], Field(min_length=1)]  #: by your own names
