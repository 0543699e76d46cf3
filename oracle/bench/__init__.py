"""
Measurements that a user can repeat: what the protocol costs, beside what others cost.
"""

from __future__ import annotations
