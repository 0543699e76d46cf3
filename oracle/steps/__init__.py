"""
The arrows of a request's life and the three keepers beside them, one file each. They meet only in
the store.

    watch → draw → sign → send → settle        refill: sources → pool        commit: pool → root on
    chain        prune: what was finished long ago → its tombstone
"""

from __future__ import annotations
