"""
Quantum entropy sources, one module per vendor's API, and the pure parts beside them.
"""

from __future__ import annotations
