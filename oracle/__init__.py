"""
A self-hosted randomness oracle: committed quantum entropy, fulfilled exactly once.
"""

from __future__ import annotations

__version__ = "0.1.0"
