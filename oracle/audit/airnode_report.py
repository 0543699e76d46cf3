"""
What the audit of an Airnode says: counts, lists and findings.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from oracle.audit.findings import Findings, Listing


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """
    A request or withdrawal that the chain has open, since a block and so many seconds.
    """

    id: bytes
    sponsor: str
    block: int
    age_blocks: int
    age_seconds: int
    reason: str


@dataclass(kw_only=True)
class AirnodeReport(Findings):
    """
    An audit of one Airnode on one AirnodeRrpV0, from block `first` to `block`; it is clean without
    a finding.

    `open` are all that the chain has open, and `unserved` those of them that the store has ended;
    `exposed`, `held` and `unfunded` are of the open ones. `before_restore` were answered by the
    store that this one is a backup of.
    """

    airnode: str
    first: int
    requests: int = 0
    fulfilled: int = 0
    failed_callbacks: int = 0
    given_up: int = 0
    #: Settled ones that were made before the audited blocks.
    earlier: int = 0
    duplicates: int = 0
    numbers_reused: int = 0
    not_in_store: int = 0
    withdrawals: int = 0
    withdrawals_paid: int = 0
    open: Listing[Waiting] = field(default_factory=Listing)
    unserved: Listing[Waiting] = field(default_factory=Listing)
    exposed: Listing[Waiting] = field(default_factory=Listing)
    held: Listing[Waiting] = field(default_factory=Listing)
    unfunded: Listing[Waiting] = field(default_factory=Listing)
    withdrawals_late: Listing[Waiting] = field(default_factory=Listing)
    before_restore: Listing[bytes] = field(default_factory=Listing)
