"""
The pictures of a sample: a PNG of its bits and SVG charts, as text to be put into a page.

Colors are classes that the page's style sheet gives a light and a dark value.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from typing import TYPE_CHECKING

from oracle.entropy.figures import LAGS, VALUES
from oracle.entropy.health import PROPORTION_CUTOFF, REPETITION_CUTOFF, WINDOW

if TYPE_CHECKING:
    from oracle.entropy.figures import Figures

# Zeros and ones of the bit map, red, green and blue: seen on white and on black.
_PALETTE = bytes((0x14, 0x1B, 0x34, 0xC9, 0xD8, 0xF5))
_WIDTH, _HEIGHT = 520, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 10, 10, 26
_PLOT_WIDTH, _PLOT_HEIGHT = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
# Up to this many bytes a row has 256 bits, up to the next one 512, else 1,024.
_NARROW, _MEDIUM = 8 * 1024, 32 * 1024
_EVERY_PLACE = 20  # so many places are named at most


def bit_map(sample: bytes) -> tuple[int, int, str]:
    """
    Return the width and height of a picture with one pixel a bit, and its data URI.
    """
    width = 256 if len(sample) <= _NARROW else 512 if len(sample) <= _MEDIUM else 1024
    row = width // 8
    height = -(-len(sample) // row)
    padded = sample.ljust(row * height, b"\0")
    lines = b"".join(b"\0" + padded[at : at + row] for at in range(0, len(padded), row))
    png = b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            # One bit a pixel, with a palette.
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)),
            _chunk(b"PLTE", _PALETTE),
            _chunk(b"IDAT", zlib.compress(lines, 1)),
            _chunk(b"IEND", b""),
        ]
    )
    return width, height, "data:image/png;base64," + base64.b64encode(png).decode()


def histogram(figures: Figures) -> str:
    """
    Return the counts of all byte values as dots around the expected one, with its band.
    """
    middle, band = figures.expected_count, figures.count_band
    reach = _reach(1.25 * band, max(abs(one - middle) for one in figures.counts))
    low, high = middle - reach, middle + reach

    def y(count: float) -> float:
        return _TOP + _PLOT_HEIGHT * (high - count) / (high - low)

    step = _PLOT_WIDTH / VALUES
    bars = []
    for value, count in enumerate(figures.counts):
        top, bottom = sorted((y(count), y(middle)))
        marked = "out" if abs(count - middle) > band else "bar"
        bars.append(
            f'<rect class="{marked}" x="{_LEFT + value * step:.2f}" y="{top:.2f}" '
            f'width="{step * 0.8:.2f}" height="{max(0.6, bottom - top):.2f}"/>'
        )
    ticks = [
        (middle + band, "+3&sigma;"),
        (middle, f"{middle:,.0f}"),
        (middle - band, "&minus;3&sigma;"),
    ]
    axis = [(_LEFT + value * step, f"{value}") for value in (0, 64, 128, 192, 255)]
    return _frame(
        f"How often each of the 256 byte values came: between {min(figures.counts):,} and "
        f"{max(figures.counts):,} times, expected {middle:,.0f}; {figures.counts_outside} values "
        "are outside the band of three standard deviations.",
        _band(y(middle + band), y(middle - band)),
        *_rules([(y(at), text) for at, text in ticks]),
        *bars,
        *_axis(axis),
    )


def correlation(figures: Figures) -> str:
    """
    Return the correlation of the bits with those that follow later, by distance, with its band.
    """
    band = figures.correlation_band(1)
    reach = _reach(1.4 * band, max(map(abs, figures.correlations)))

    def y(value: float) -> float:
        return _TOP + _PLOT_HEIGHT * (reach - value) / (2 * reach)

    step = _PLOT_WIDTH / LAGS
    lines = []
    for lag, value in enumerate(figures.correlations, 1):
        x = _LEFT + (lag - 0.5) * step
        marked = "out" if abs(value) > figures.correlation_band(lag) else "bar"
        lines.append(
            f'<path class="stem {marked}" d="M{x:.2f} {y(0):.2f}V{y(value):.2f}"/>'
            f'<circle class="{marked}" cx="{x:.2f}" cy="{y(value):.2f}" r="1.7"/>'
        )
    axis = [(_LEFT + (lag - 0.5) * step, f"{lag}") for lag in (1, *range(16, LAGS + 1, 16))]
    return _frame(
        f"Correlation of the bits at the distances 1 to {LAGS}: at most "
        f"{max(map(abs, figures.correlations)):.5f}, the band of three standard deviations is "
        f"{band:.5f}; {figures.correlations_outside} distances are outside.",
        _band(y(band), y(-band)),
        *_rules([(y(band), "+3&sigma;"), (y(0), "0"), (y(-band), "&minus;3&sigma;")]),
        *lines,
        *_axis(axis),
    )


def runs(figures: Figures) -> str:
    """
    Return how many runs of each length there are, up to the cutoff of the repetition count test.
    """
    expected = [
        figures.n_bytes * (1 - 1 / VALUES) ** 2 / VALUES ** (length - 1)
        for length in range(1, REPETITION_CUTOFF + 1)
    ]
    return _columns(
        list(figures.runs),
        expected,
        cutoff=REPETITION_CUTOFF,
        told=f"Equal bytes in a row: at most {figures.longest_run}; the source would be "
        f"quarantined at {REPETITION_CUTOFF}.",
    )


def proportions(figures: Figures) -> str:
    """
    Return how many windows have their first byte so often, up to the cutoff of the adaptive
    proportion test.
    """
    windows = len(figures.matches)
    found = [figures.matches.count(times) for times in range(1, figures.most_matches + 1)]
    share = 1 / VALUES
    others = WINDOW - 1
    expected = [
        windows
        * math.comb(others, times - 1)
        * share ** (times - 1)
        * (1 - share) ** (others - times + 1)
        for times in range(1, PROPORTION_CUTOFF + 1)
    ]
    return _columns(
        found,
        expected,
        cutoff=PROPORTION_CUTOFF,
        told=f"How often the first byte of a window of {WINDOW} came in it: at most "
        f"{figures.most_matches} times in {windows} windows; the source would be quarantined at "
        f"{PROPORTION_CUTOFF}.",
    )


def _columns(found: list[int], expected: list[float], *, cutoff: int, told: str) -> str:
    """
    Return columns on a logarithmic scale, with what is expected and where the test fails.
    """
    places = max(cutoff, len(found)) + 1
    step = _PLOT_WIDTH / (places - 0.5)
    top = math.log10(1 + max(*found, *expected)) * 1.06

    def y(count: float) -> float:
        return _TOP + _PLOT_HEIGHT * (1 - math.log10(1 + count) / top)

    def x(place: float) -> float:
        return _LEFT + (place - 0.5) * step

    floor = _TOP + _PLOT_HEIGHT
    drawn = [
        (
            f'<rect class="cut" x="{x(cutoff) - 0.5 * step:.2f}" y="{_TOP}" '
            f'width="{_LEFT + _PLOT_WIDTH - x(cutoff) + 0.5 * step:.2f}" '
            f'height="{_PLOT_HEIGHT}"/>'
            f'<text class="cut-text" x="{_LEFT + _PLOT_WIDTH - 6}" y="{_TOP + 16}" '
            'text-anchor="end">fails</text>'
        ),
    ]
    for place, count in enumerate(found, 1):
        if count:
            marked = "out" if place >= cutoff else "bar"
            drawn.append(
                f'<rect class="{marked}" x="{x(place) - 0.32 * step:.2f}" y="{y(count):.2f}" '
                f'width="{0.64 * step:.2f}" height="{floor - y(count):.2f}" rx="1.5"/>'
            )
    drawn += [
        f'<path class="expected" d="M{x(place) - 0.4 * step:.2f} {y(count):.2f}'
        f'h{0.8 * step:.2f}"/>'
        for place, count in enumerate(expected, 1)
        if y(count) < floor - 1
    ]
    decades = [10**power for power in range(int(top) + 1)]
    every = -(-places // _EVERY_PLACE)
    return _frame(
        told,
        *_rules([(floor, "0"), *((y(count), f"{count:,}") for count in decades)]),
        *drawn,
        *_axis([(x(place), str(place)) for place in range(1, places, every)]),
    )


def _frame(told: str, *parts: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{told}">'
        f"<title>{told}</title>{''.join(parts)}</svg>"
    )


def _band(top: float, bottom: float) -> str:
    return (
        f'<rect class="band" x="{_LEFT}" y="{top:.2f}" width="{_PLOT_WIDTH}" '
        f'height="{bottom - top:.2f}"/>'
    )


def _rules(ticks: list[tuple[float, str]]) -> list[str]:
    return [
        f'<path class="rule" d="M{_LEFT} {y:.2f}h{_PLOT_WIDTH}"/>'
        f'<text x="{_LEFT - 6}" y="{y + 4:.2f}" text-anchor="end">{text}</text>'
        for y, text in ticks
    ]


def _axis(ticks: list[tuple[float, str]]) -> list[str]:
    return [
        f'<text x="{x:.2f}" y="{_HEIGHT - 8}" text-anchor="middle">{text}</text>'
        for x, text in ticks
    ]


def _reach(least: float, most: float) -> float:
    """
    Return how far a scale goes from its middle: past the band, and past everything drawn.
    """
    return max(least, 1.1 * most)


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
