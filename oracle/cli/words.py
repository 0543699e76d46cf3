"""
Words that several verbs say.
"""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """
    Return a number with its noun, one or many.
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
