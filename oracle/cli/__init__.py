"""
The command line: the composition root, one module per group of verbs.
"""

from __future__ import annotations
