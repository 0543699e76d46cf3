"""
The page of `oracle entropy report`: one file that asks for nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from oracle.cli import sample_charts as charts
from oracle.cli.words import counted
from oracle.entropy.figures import LAGS, odd
from oracle.entropy.health import PROPORTION_CUTOFF, REPETITION_CUTOFF, WINDOW

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from oracle.entropy.figures import Figures

_STYLE = """
:root { color-scheme: light dark; --page: #f6f7fb; --card: #fff; --ink: #171c2c; --soft: #5a6378;
  --line: #dfe3ee; --bar: #3b5bdb; --band: #3b5bdb1c; --out: #c2410c; --good: #0b7a4b;
  --good-back: #0b7a4b17; --bad: #b42318; --bad-back: #b4231817; --note: #8a5a00;
  --note-back: #d9970024; }
@media (prefers-color-scheme: dark) { :root { --page: #0c1020; --card: #151a2e; --ink: #e8ebf5;
  --soft: #9ba5c0; --line: #2a3150; --bar: #8ba6ff; --band: #8ba6ff24; --out: #ff9c5b;
  --good: #4fd39a; --good-back: #4fd39a1c; --bad: #ff8a80; --bad-back: #ff8a801f;
  --note: #ffcf6b; --note-back: #ffcf6b1c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 3rem 1.25rem 4rem; }
h1 { margin: 0 0 .4rem; font-size: clamp(1.7rem, 4vw, 2.5rem); line-height: 1.15;
  letter-spacing: -.02em; }
h2 { margin: 0; font-size: 1.5rem; letter-spacing: -.01em; overflow-wrap: anywhere; }
h3 { margin: 0 0 .15rem; font-size: 1rem; }
p { margin: 0; } .soft { color: var(--soft); } header p { max-width: 46rem; }
section { margin-top: 2.5rem; padding: clamp(1rem, 3vw, 2rem); background: var(--card);
  border: 1px solid var(--line); border-radius: 18px; }
.title { display: flex; flex-wrap: wrap; gap: .6rem; align-items: center; }
.badge { padding: .15rem .7rem; border-radius: 99px; font-size: .85rem; font-weight: 600; }
.good { color: var(--good); background: var(--good-back); }
.bad { color: var(--bad); background: var(--bad-back); }
.note { color: var(--note); background: var(--note-back); }
.warning { margin-top: 1rem; padding: .8rem 1rem; border-radius: 10px; font-weight: 500; }
dl { display: flex; flex-wrap: wrap; gap: 1px; margin: 1.4rem 0; background: var(--line);
  border: 1px solid var(--line); border-radius: 12px; overflow: hidden; }
dl div { flex: 1 1 150px; padding: .8rem 1rem; background: var(--card); }
dt { color: var(--soft); font-size: .82rem; }
dd { margin: 0; font-size: 1.45rem; font-weight: 650; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; }
dd + dd { font-size: .8rem; font-weight: 400; color: var(--soft); letter-spacing: 0; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: .88rem; color: var(--soft); }
.bits { display: block; width: 100%; max-width: 1024px; height: auto; margin: 0 auto .7rem;
  border-radius: 10px; image-rendering: pixelated; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr));
  gap: 2rem 2.2rem; margin-top: 2rem; }
svg { display: block; width: 100%; height: auto; margin: .5rem 0 .3rem; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
.bar { fill: var(--bar); stroke: var(--bar); stroke-width: 0; }
.out { fill: var(--out); stroke: var(--out); stroke-width: 0; }
.stem { stroke-width: 1.2; } .band { fill: var(--band); }
.rule { stroke: var(--line); stroke-width: 1; fill: none; }
.expected { stroke: var(--ink); stroke-width: 1.6; fill: none; }
.cut { fill: var(--bad-back); } svg .cut-text { fill: var(--bad); font-weight: 600; }
details { margin-top: 1.6rem; } summary { cursor: pointer; color: var(--soft); }
.scroll { overflow-x: auto; }
table { margin-top: .8rem; border-collapse: collapse; font-size: .78rem;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { padding: .12rem .5rem; text-align: right; } th { color: var(--soft); font-weight: 500; }
footer { margin-top: 2.5rem; font-size: .88rem; color: var(--soft); max-width: 46rem; }
footer p + p { margin-top: .6rem; }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""
# Nothing is loaded, from anywhere, whatever stands in the page.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """
    What one source gave for the page, or why it gave nothing.
    """

    name: str
    kind: str
    vendor: str
    calls: int = 0
    seconds: float = 0.0
    simulated: bool = False
    error: str | None = None
    figures: Figures | None = None
    bits: tuple[int, int, str] | None = None  #: width, height and data URI of the bit map

    @property
    def passed(self) -> bool:
        """
        Whether there is a sample, the health tests let it through, and nothing about it is odd.
        """
        return (
            self.figures is not None and self.figures.health == "passed" and not odd(self.figures)
        )


def page(samples: Sequence[Sampled], at: datetime) -> str:
    """
    Return the page as HTML.
    """
    good = sum(one.passed for one in samples)
    stamp = at.strftime("%-d %B %Y, %H:%M UTC")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>Entropy report, {stamp}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<header>
<h1>What the entropy looks like</h1>
<p class="soft">{_sources(len(samples))} sampled on
<time datetime="{at.isoformat()}">{stamp}</time>.
{good} of {len(samples)} pass{"es" if good == 1 else ""} every test on this page.</p>
</header>
{"".join(_section(one) for one in samples)}
<footer>
<p>The bytes shown here were drawn for this page alone. They were never in the pool, no random
number is made of them, and they exist nowhere but in the pictures above.</p>
<p>Statistics find sources that are stuck, biased or repetitive. They cannot show that bytes are
quantum, nor that nobody else knows them: a good pseudo-random generator passes too.</p>
</footer>
</main>
</body>
</html>
"""


def _sources(count: int) -> str:
    return "One source was" if count == 1 else f"{count} sources were"


def _section(one: Sampled) -> str:
    if one.figures is None or one.bits is None:
        return (
            f"<section>{_title(one, 'no sample', 'bad')}"
            f'<p class="warning bad">{escape(one.error or "")}</p></section>'
        )
    figures = one.figures
    failed = figures.health != "passed"
    strange = odd(figures)
    verdict = "health tests passed"
    if failed:
        verdict = f"health test failed: {figures.health}"
    elif strange:
        verdict = f"odd: {', '.join(strange)}"
    width, height, uri = one.bits
    ones = f"{100 * figures.ones / figures.n_bits:.3f}"
    simulated = (
        '<p class="warning note">Simulated: the source says that a generator made these bytes, '
        "not a quantum device. Never for money.</p>"
        if one.simulated
        else ""
    )
    return f"""
<section>
{_title(one, verdict, "bad" if failed or strange else "good")}
{simulated}
{_tiles(figures)}
<figure>
<img class="bits" src="{uri}" width="{width}" height="{height}"
alt="The {figures.n_bits:,} bits of the sample, one pixel each, {width} in a row: {ones} % are
light.">
<figcaption>Every bit of the sample, one pixel each, {width} in a row; ones are light. Stripes,
blocks or a texture would be a flaw; this should look like nothing at all.</figcaption>
</figure>
<div class="charts">
{_chart("Byte values", charts.histogram(figures), _histogram_text(figures))}
{_chart("Correlation by distance", charts.correlation(figures), _correlation_text(figures))}
{_chart("Repetition count test", charts.runs(figures), _runs_text(figures))}
{_chart("Adaptive proportion test", charts.proportions(figures), _proportions_text(figures))}
</div>
{_tables(figures)}
</section>
"""


def _title(one: Sampled, verdict: str, style: str) -> str:
    simulated = '<span class="badge note">simulated</span>' if one.simulated else ""
    calls = f" · {counted(one.calls, 'call')} in {one.seconds:.1f} s"
    return (
        f'<div class="title"><h2>{escape(one.name)}</h2>'
        f'<span class="badge {style}">{escape(verdict)}</span>{simulated}</div>'
        f'<p class="soft">vendor {escape(one.vendor)} · kind {escape(one.kind)}'
        f"{calls if one.calls else ''}</p>"
    )


def _tiles(figures: Figures) -> str:
    tiles = [
        ("Sample", f"{figures.n_bytes / 1024:,.4g} KiB", f"{figures.n_bits:,} bits"),
        (
            "Min-entropy estimate",
            f"{figures.min_entropy:.3f}",
            f"bits a byte; perfect: about {figures.min_entropy_expected:.3f}",
        ),
        (
            "Ones",
            f"{100 * figures.ones / figures.n_bits:.3f} %",
            f"monobit z = {_signed(figures.monobit_z, 2)}, p = {figures.monobit_p:.3f}",
        ),
        (
            "Longest run",
            f"{figures.longest_run} <small>of {REPETITION_CUTOFF}</small>",
            "equal bytes in a row; fails at the second number",
        ),
        (
            "Fullest window",
            f"{figures.most_matches} <small>of {PROPORTION_CUTOFF}</small>",
            f"times its first byte in {WINDOW}; fails at the second number",
        ),
    ]
    return (
        "<dl>"
        + "".join(
            f"<div><dt>{name}</dt><dd>{value}</dd><dd>{told}</dd></div>"
            for name, value, told in tiles
        )
        + "</dl>"
    )


def _chart(title: str, svg: str, text: str) -> str:
    return f"<figure><h3>{title}</h3>{svg}<figcaption>{text}</figcaption></figure>"


def _histogram_text(figures: Figures) -> str:
    return (
        f"How often each value from 0 to 255 came. The band is three standard deviations wide on "
        f"each side; {_outside(figures.counts_outside)}, a perfect source has 0.7 on average."
    )


def _correlation_text(figures: Figures) -> str:
    return (
        f"Whether a bit says something about the bit 1 to {LAGS} places later. "
        f"{_outside(figures.correlations_outside).capitalize()} of the band of three standard "
        "deviations, a perfect source has 0.35 on average."
    )


def _outside(count: int) -> str:
    return f"{count} {'is' if count == 1 else 'are'} outside"


def _runs_text(figures: Figures) -> str:
    return (
        f"How many runs of equal bytes there are, by length (logarithmic); the short lines say "
        f"what is expected. The longest has {figures.longest_run}; at {REPETITION_CUTOFF} the "
        "source is quarantined."
    )


def _proportions_text(figures: Figures) -> str:
    return (
        f"In how many of {len(figures.matches)} windows of {WINDOW} bytes the first byte came so "
        f"often (logarithmic). At most {figures.most_matches} times; at {PROPORTION_CUTOFF} the "
        "source is quarantined."
    )


def _tables(figures: Figures) -> str:
    heads = "".join(f"<th scope='col'>_{low:X}</th>" for low in range(16))
    counts = "".join(
        f"<tr><th scope='row'>{high:X}_</th>"
        + "".join(f"<td>{figures.counts[16 * high + low]:,}</td>" for low in range(16))
        + "</tr>"
        for high in range(16)
    )
    columns = "".join(f"<th scope='col'>+{lag}</th>" for lag in range(8))
    lags = "".join(
        f"<tr><th scope='row'>{first}</th>"
        + "".join(
            f"<td>{_signed(one, 5)}</td>" for one in figures.correlations[first - 1 : first + 7]
        )
        + "</tr>"
        for first in range(1, LAGS + 1, 8)
    )
    return f"""<details><summary>All numbers</summary>
<div class="scroll"><table><caption>How often each byte value came</caption>
<thead><tr><td></td>{heads}</tr></thead><tbody>{counts}</tbody></table></div>
<div class="scroll"><table><caption>Correlation of bits, by distance</caption>
<thead><tr><td></td>{columns}</tr></thead><tbody>{lags}</tbody></table></div>
</details>"""


def _signed(number: float, digits: int) -> str:
    return f"{number:+.{digits}f}".replace("-", "&minus;")
