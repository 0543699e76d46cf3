"""
A whole service on one machine: anvil, contracts, gateway and node, each a process of its own.
"""

from __future__ import annotations
