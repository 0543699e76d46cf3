"""
The section `[airnode]` of the configuration: who answers API3's QRNG consumers, and where.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from oracle.chain_settings import Address, EndpointSettings, Name
from oracle.source_settings import Section

if TYPE_CHECKING:
    from collections.abc import Mapping

# Where API3 has deployed AirnodeRrpV0: on most chains at one address.
_RRP = "0xa0AD79D995DdeeB18a14eAef56A549A04e3Aa1Bd"
_RRP_ELSEWHERE: Mapping[int, str] = {
    11155111: "0x2ab9f26E18B64848cd349582ca3B55c2d06f507d",
    42161: "0xb015ACeEdD478fc497A798Ab45fcED8BdEd08924",
    43114: "0xC02Ea0f403d5f3D45a4F1d0d817e7A2601346c9E",
    1088: "0xC02Ea0f403d5f3D45a4F1d0d817e7A2601346c9E",
}
# What API3's QRNG waited for when it ended.
_CONFIRMATIONS: Mapping[int, int] = {
    1: 6,
    10: 25,
    30: 3,
    56: 25,
    100: 15,
    137: 20,
    250: 80,
    1088: 12,
    1284: 6,
    1285: 3,
    2001: 20,
    42161: 25,
    43114: 25,
}
_UNKNOWN_CHAIN = 25

# The endpoint ids that API3 published: ANU, Quintessence Labs, Quantum Blockchains, and the
# testnets' two generations.
UINT256 = (
    "0xfb6d017bb87991b7495f563db3c8cf59ff87b09781947bb1e417006ad7f55a78",
    "0xffd1bbe880e7b2c662f6c8511b15ff22d12a4a35d5c8c17202893a5f10e25284",
    "0x8cf0e7205eff59b8695db96b34ffe7a5a125a3ed263afa3353aef6c3d82debf9",
    "0x94555f83f1addda23fdaa7c74f27ce2b764ed5cc430c66f5ff1bcf39d583da36",
)
UINT256_ARRAY = (
    "0x27cc2713e7f968e4e86ed274a051a5c8aaee9cca66946f23af6f29ecea9704c3",
    "0x4554e958a68d68de6a4f6365ff868836780e84ac3cba75ce3f4c78a85faa8047",
    "0x09fd3663fdc0ab359a5ebcba098571122ddb2a80b00a503960b32e67491f52d7",
    "0x9877ec98695c139310480b4323b9d474d48ec4595560348a2341218670f7fbc2",
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
        return self.rrp or _RRP_ELSEWHERE.get(self.chain_id, _RRP)

    @property
    def depth(self) -> int:
        """
        Blocks on top of a block before it counts: as API3's QRNG waited, 25 where it was not; 0 on
        a devnet.
        """
        if self.confirmations is not None:
            return self.confirmations
        return 0 if self.devnet else _CONFIRMATIONS.get(self.chain_id, _UNKNOWN_CHAIN)

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
    chains: Annotated[dict[Name, AirnodeChainSettings], Field(min_length=1)]  #: by your own names
