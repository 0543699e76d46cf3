"""
A server that speaks the HTTP dialects of QRNG vendors; it knows nothing of chains.
"""

from __future__ import annotations
