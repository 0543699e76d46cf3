"""
When a chain's head is asked for again: at intervals, and at once when a new one is announced.
"""

from __future__ import annotations

import asyncio

# Without an announcement, while all that came before it were in step.
CALM_SECONDS = 2.0


class Pace:
    """
    The pauses between two looks at one chain's head.

    Guarantees: an announcement is only ever a reason to look; announced or not, a head is found
    after the poll interval, or after two seconds where the one before it was announced; whoever
    announces heads that are not there is not listened to before the next one that is.
    """

    def __init__(self, poll_seconds: float, stop: asyncio.Event) -> None:
        """
        Ask every `poll_seconds` unless told more; `stop` ends every pause, with `hasten`.
        """
        self._poll = poll_seconds
        self._calm = max(poll_seconds, CALM_SECONDS)
        self._stop = stop
        self._wake = asyncio.Event()
        self._known: bytes | None = None
        self._announced: bytes | None = None
        # Whether an announcement led to this look, and what has come since.
        self._led, self._called, self._hastened = False, False, False
        self._deaf = False

    def announce(self, head: bytes) -> None:
        """
        Look at once, unless this head is known.
        """
        self._announced = head
        if head != self._known:
            self._called = True
            self._wake.set()

    def hasten(self) -> None:
        """
        Look at once, and then at the poll interval until a head is announced again.
        """
        self._announced = None
        self._hastened = True
        self._wake.set()

    async def wait(self, head: bytes) -> None:
        """
        Pause after a look that found this head.
        """
        self._deaf = head == self._known and (self._deaf or self._led)
        self._known = head
        in_step = head == self._announced
        if in_step:
            # It was announced while it was being read.
            self._called = False
            if not self._hastened:
                self._wake.clear()
        event = self._stop if self._deaf else self._wake
        try:
            async with asyncio.timeout(self._calm if in_step and not self._deaf else self._poll):
                await event.wait()
        except TimeoutError:
            pass
        self._led = self._called and not self._deaf
        self._called, self._hastened = False, False
        self._wake.clear()
