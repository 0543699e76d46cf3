from __future__ import annotations

import pytest

from oracle.airnode_settings import AirnodeChainSettings
from oracle.chain.airnode_xpub import AirnodeXpub
from oracle.protocols.airnode_published import (
    PROVIDERS,
    RRP_CHAINS,
    UINT256_ARRAY_ENDPOINTS,
    UINT256_ENDPOINTS,
    provider_of,
    rrp_address,
)
from tests.javascript import AirnodePeer

pytestmark = pytest.mark.unit

# The one that ANU's Airnode announced.
XPUB = (
    "xpub6DXSDTZBd4aPVXnv6Q3SmnGUweFv6j24SK77W4qrSFuhGgi666awUiXakjXruUSCDQhhctVG7AQt67gMdaRAs"
    "DnDXv23bBRKsMWvRzo6kbf"
)


def test_contract_is_where_its_package_says() -> None:
    with AirnodePeer() as peer:
        published = {int(chain): address for chain, address in peer.ask("addresses").items()}
    assert {chain: rrp_address(chain) for chain in RRP_CHAINS} == published
    assert rrp_address(31337) is None


def test_every_endpoint_id_is_once_in_the_table() -> None:
    ids = {*UINT256_ENDPOINTS, *UINT256_ARRAY_ENDPOINTS}
    assert len(ids) == 2 * len(PROVIDERS) == 8
    assert all(len(id_) == 32 for id_ in ids)


def test_provider_is_known_by_its_airnode() -> None:
    provider = provider_of(AirnodeXpub.from_text(XPUB).airnode)
    assert provider is not None
    assert provider.name == "ANU"
    assert provider_of(None) is None


@pytest.mark.parametrize(("chain_id", "depth"), [(288, 25), (43114, 25), (1, 6), (250, 80)])
def test_node_reads_the_table(chain_id: int, depth: int) -> None:
    settings = AirnodeChainSettings.model_validate(
        {"chain_id": chain_id, "endpoints": ["http://127.0.0.1:8545"]}
    )
    assert settings.contract == rrp_address(chain_id)
    assert settings.depth == depth
