"""
The durable truth: requests, pool, transactions and cursors in one database.
"""

from __future__ import annotations
