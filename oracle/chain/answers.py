"""
What endpoints mean by their errors, and what of their words may be shown.

Nobody agrees on codes: these are the words of geth, Nethermind, Besu, Erigon, Reth, anvil and the
larger providers.
"""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime
from urllib.parse import unquote, urlsplit

from oracle.errors import AnsweredError, EndpointError, PrunedError, ThrottledError
from oracle.log import redact_urls

# No endpoint is left alone for longer than this because it says so.
MOST_PATIENCE = 600.0
# What of a URL's path and query is long enough to be a key.
_KEY_LENGTH = 6
_LONGEST = 400

_THROTTLED = re.compile(
    r"too many requests|rate.?limit|request.?limit|compute units|throttl|capacity (limit|exceeded)"
    r"|daily request count|quota|try again in \d",
    re.IGNORECASE,
)
_PRUNED = re.compile(
    r"missing trie node|pruned|historical state|state (is )?not available|old data not available"
    r"|history (is )?(not|un)available|state histor|no state available|archive"
    r"|state at block|maximum proof window|required historical",
    re.IGNORECASE,
)
# "up to a 2K block range", "limited to 0 - 500 blocks", "maximum block range: 5000".
_BLOCKS = re.compile(
    r"(\d[\d,]*)\s*(k)?[\s-]+block|range[^\d]{0,20}(\d[\d,]*)\s*(k)?", re.IGNORECASE
)
# "Try with this block range [0x10, 0x2f]".
_RANGE = re.compile(r"\[\s*(0x[0-9a-f]+)\s*,\s*(0x[0-9a-f]+)\s*\]", re.IGNORECASE)


def answered_error(name: str, words: str) -> EndpointError:
    """
    Return the error that an endpoint's own words stand for; the words may be shown already.
    """
    if "revert" in words.lower():
        # A contract's own words, which mean nothing of the endpoint.
        return AnsweredError(f"{name}: {words}")
    if _THROTTLED.search(words) and suggested_span(words) is None:
        return ThrottledError(f"{name} wants to be asked less: {words}")
    if _PRUNED.search(words):
        return PrunedError(
            f"{name} keeps no history that old: {words}; use an endpoint with the whole history "
            "(an archive node) until the node has caught up"
        )
    return AnsweredError(f"{name}: {words}")


def suggested_span(words: str) -> int | None:
    """
    Return how many blocks of logs an endpoint says that it gives at once, if it says so.
    """
    if found := _RANGE.search(words):
        first, last = (int(one, 16) for one in found.groups())
        return last - first + 1 if last >= first else None
    most: int | None = None
    for found in _BLOCKS.finditer(words):
        digits, thousand = found[1] or found[3], found[2] or found[4]
        number = int(digits.replace(",", "")) * (1000 if thousand else 1)
        if number:
            most = number if most is None else min(most, number)
    return most


def retry_after(value: str | None) -> float:
    """
    Return the seconds that a `Retry-After` header asks for, as a number or a date; 0 if it is
    neither.
    """
    if value is None:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), MOST_PATIENCE) if seconds == seconds else 0.0  # noqa: PLR0124 - NaN


class Words:
    """
    What may be shown of the words of one endpoint.

    Guarantees: nothing of its URL but scheme, host and port, whether the words quote the whole URL
    or its key alone; no line break, and not more than a few hundred characters.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        pieces = [parts.username or "", parts.password or "", *parts.path.split("/")]
        pieces += re.split(r"[&=]", f"{parts.query}&{parts.fragment}")
        found = {form for piece in pieces for form in (piece, unquote(piece))}
        self._keys = sorted(
            (one for one in found if len(one) >= _KEY_LENGTH), key=len, reverse=True
        )

    def showable(self, words: object) -> str:
        """
        Return the words without what nobody may see.
        """
        text = redact_urls(str(words))
        for key in self._keys:
            text = text.replace(key, "[redacted]")
        text = " ".join(text.split())
        return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
