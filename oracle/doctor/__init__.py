"""
What a deployed consumer of API3 QRNG says of itself, and how it moves to another Airnode.
"""

from __future__ import annotations
