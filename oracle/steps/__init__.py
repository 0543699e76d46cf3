"""
The arrows of a request's life and the keepers beside them. They meet only in
the store.

    watch → draw → sign → send → settle        refill: sources → pool        commit: pool → root on
    chain        erase (in settle.py): seeds that nothing needs → nothing        prune: what was
    finished long ago → its tombstone
"""

from __future__ import annotations
