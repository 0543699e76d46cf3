"""
Whose an endpoint is, as far as its name tells.
"""

from __future__ import annotations

import pytest

from oracle.chain_settings import EndpointSettings
from oracle.cli.check_chains import check_opinions, provider_of
from oracle.cli.findings import Findings

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("host", "owner"),
    [
        ("eth-mainnet.g.rpc.example.com", "example.com"),
        ("RPC.Example.com.", "example.com"),
        ("example.org", "example.org"),
        ("a.provider.co.uk", "provider.co.uk"),
        ("127.0.0.1", "127.0.0.1"),
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("node", "node"),
        ("node.internal", "node.internal"),
    ],
)
def test_the_owner_of_a_host_is_told_by_its_name(host: str, owner: str) -> None:
    assert provider_of(host) == owner


@pytest.mark.parametrize("trusted", [True, False])
def test_two_endpoints_of_one_provider_are_warned_of_without_their_keys(trusted: object) -> None:
    urls = [
        "https://mainnet.one.example/v2/k3y-0f-0n3",
        "https://backup.one.example/v2/k3y-0f-0n3",
        "https://rpc.other.example",
    ]
    chain = EndpointSettings(chain_id=1, endpoints=urls, trusted=trusted)
    findings = Findings()
    check_opinions("chains.one", chain, urls, findings)
    warned = [one for one in findings.found if one.level == "warning"]
    assert [one.check for one in warned] == ["opinions"]
    assert "both of one.example" in warned[0].detail
    assert "k3y" not in str(findings.found)
