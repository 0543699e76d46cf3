"""
What API3 published of its QRNG and of AirnodeRrpV0: where the contract is, whom requesters named,
and how deep requests had to be. Pure.

Nobody but those providers can sign as their Airnodes. Their endpoint ids are names only, which any
Airnode may serve.
"""

from __future__ import annotations

from typing import NamedTuple


class Provider(NamedTuple):
    """
    An Airnode of API3 QRNG and its two endpoints.
    """

    name: str
    airnode: str
    uint256: bytes
    uint256_array: bytes


PROVIDERS = (
    Provider(
        "ANU",
        "0x9d3C147cA16DB954873A498e0af5852AB39139f2",
        bytes.fromhex("fb6d017bb87991b7495f563db3c8cf59ff87b09781947bb1e417006ad7f55a78"),
        bytes.fromhex("27cc2713e7f968e4e86ed274a051a5c8aaee9cca66946f23af6f29ecea9704c3"),
    ),
    Provider(
        "Quintessence Labs",
        "0x224e030f03Cd3440D88BD78C9BF5Ed36458A1A25",
        bytes.fromhex("ffd1bbe880e7b2c662f6c8511b15ff22d12a4a35d5c8c17202893a5f10e25284"),
        bytes.fromhex("4554e958a68d68de6a4f6365ff868836780e84ac3cba75ce3f4c78a85faa8047"),
    ),
    Provider(
        "Quantum Blockchains",
        "0x07D7F4EcaC8aDf3f0412ab058a051fD8b8507348",
        bytes.fromhex("8cf0e7205eff59b8695db96b34ffe7a5a125a3ed263afa3353aef6c3d82debf9"),
        bytes.fromhex("09fd3663fdc0ab359a5ebcba098571122ddb2a80b00a503960b32e67491f52d7"),
    ),
    Provider(
        "Testnet Random Numbers",
        "0x6238772544f029ecaBfDED4300f13A3c4FE84E1D",
        bytes.fromhex("94555f83f1addda23fdaa7c74f27ce2b764ed5cc430c66f5ff1bcf39d583da36"),
        bytes.fromhex("9877ec98695c139310480b4323b9d474d48ec4595560348a2341218670f7fbc2"),
    ),
)

UINT256_ENDPOINTS = tuple(provider.uint256 for provider in PROVIDERS)
UINT256_ARRAY_ENDPOINTS = tuple(provider.uint256_array for provider in PROVIDERS)

# Confirmations by chain id, as ANU's Airnode waited for them when it ended. Testnets: 1.
CONFIRMATIONS = {
    1: 6,  # Ethereum
    10: 25,  # Optimism
    30: 3,  # RSK
    56: 25,  # BNB Smart Chain
    100: 15,  # Gnosis
    137: 20,  # Polygon
    250: 80,  # Fantom
    1088: 12,  # Metis
    1284: 6,  # Moonbeam
    1285: 3,  # Moonriver
    2001: 20,  # Milkomeda
    42161: 25,  # Arbitrum
    43114: 25,  # Avalanche
}

# On most chains.
COMMON_RRP = "0xa0AD79D995DdeeB18a14eAef56A549A04e3Aa1Bd"
_COMMON_CHAINS = frozenset(
    {
        *(1, 10, 30, 31, 42, 56, 97, 100, 111, 137, 195, 196, 204, 223, 250, 252, 255, 919, 1101),
        *(1115, 1116, 1123, 1284, 1285, 1287, 1329, 1890, 2001, 2221, 2222, 2358, 2424, 2522),
        *(2525, 3776, 4002, 4200, 4201, 5000, 5003, 5611, 8453, 10200, 34443, 59141, 59144),
        *(59902, 60808, 71401, 81457, 84532, 167000, 167009, 200101, 421614, 686868, 713715),
        *(6038361, 11155420, 1313161555, 1380012617, 1918988905),
    }
)
_OTHER_RRP = {
    288: "0x1d4F592E0723e03bed2Ff6d78F3CEe6750f08B38",
    416: "0xE338f63170c42bA0d2a888f18F6185369779009c",
    647: "0x20C9e9610d4e719a39F82893b3f42e2730F42778",
    1088: "0xC02Ea0f403d5f3D45a4F1d0d817e7A2601346c9E",
    2442: "0x9499A917cF8ca139C0E06F9728E1C6A0f7a1f5F2",
    42161: "0xb015ACeEdD478fc497A798Ab45fcED8BdEd08924",
    42170: "0xd864A45334C7a632cA9149993682354D7f967F28",
    43113: "0x7f5AF7a37a33898544717AAa6c35c111dCe95b28",
    43114: "0xC02Ea0f403d5f3D45a4F1d0d817e7A2601346c9E",
    56288: "0x20C9e9610d4e719a39F82893b3f42e2730F42778",
    71402: "0xb3070A0F2f84765Ee19EfADf91dfE50690a9eEa1",
    11155111: "0x2ab9f26E18B64848cd349582ca3B55c2d06f507d",
    168587773: "0xD223DfDCb888CA1539bb3459a83c543A1608F038",
    1313161554: "0xE338f63170c42bA0d2a888f18F6185369779009c",
}
RRP_CHAINS = _COMMON_CHAINS | _OTHER_RRP.keys()


def rrp_address(chain_id: int) -> str | None:
    """
    Return where AirnodeRrpV0 is on a chain; nothing where API3 published none.
    """
    return COMMON_RRP if chain_id in _COMMON_CHAINS else _OTHER_RRP.get(chain_id)


def provider_of(airnode: str | None) -> Provider | None:
    """
    Return which Airnode of API3 QRNG this was.
    """
    return next((known for known in PROVIDERS if known.airnode == airnode), None)
