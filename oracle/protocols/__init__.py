"""
On-chain dialects: pure translation between a contract's bytes and the node's values.
"""

from __future__ import annotations
