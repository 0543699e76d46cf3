"""
Everything that talks to an EVM endpoint; the only place that imports web3 and eth_account.
"""

from __future__ import annotations
