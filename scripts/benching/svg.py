"""Small charts as SVG, written by hand: readable on light and dark pages, with labels beside data.

A chart brings its own background, for a page cannot tell a picture which theme it has; the colours
follow the reader's system.
"""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Final, NamedTuple

WIDTH: Final = 640

_MARGIN: Final = 24
_FIRST_LINE: Final = 34
_SUBTITLE: Final = 54
_PLOT_TOP: Final = 84
_FOOT: Final = 20
_HEIGHT: Final = 220
"""Of the lines' plot."""
_HEADING: Final = 14
_BAR_STEP: Final = 28
_BAR: Final = 18
_BETWEEN: Final = 26
_WIDTH_OF_A_LETTER: Final = 7.0
"""Of the labels' font, about: only the room for them depends on it."""

_STYLE: Final = """
text { font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #57606a }
.title { font-size: 16px; font-weight: 600; fill: #1f2328 }
.label { fill: #1f2328 }
.strong { font-weight: 600; fill: #1f2328 }
.card { fill: #ffffff; stroke: #d0d7de }
.grid { stroke: #d8dee4; stroke-width: 1 }
.axis { stroke: #8c959f; stroke-width: 1 }
.goal { stroke: #8c959f; stroke-width: 1.5; stroke-dasharray: 4 3 }
.relay { fill: #8c959f; stroke: #8c959f }
.afternoon { fill: #d4a72c; stroke: #d4a72c }
.hub { fill: #0969da; stroke: #0969da }
.bar { stroke: none }
.line { fill: none; stroke-width: 2.5; stroke-linejoin: round; stroke-linecap: round }
@media (prefers-color-scheme: dark) {
  text { fill: #9198a1 }
  .title, .label, .strong { fill: #f0f6fc }
  .card { fill: #0d1117; stroke: #3d444d }
  .grid { stroke: #262c36 }
  .relay { fill: #7d8590; stroke: #7d8590 }
  .afternoon { fill: #e3b341; stroke: #e3b341 }
  .hub { fill: #4493f8; stroke: #4493f8 }
  .line { fill: none }
}
"""


class Frame(NamedTuple):
    """What every chart has: a title, a line under it that says what is measured, and a foot."""

    title: str
    subtitle: str
    foot: str


class Bar(NamedTuple):
    """One bar; `kind` names its colour."""

    label: str
    value: float
    kind: str
    note: str = ""


class Group(NamedTuple):
    """Bars of one unit, with a heading, and perhaps a goal drawn across them."""

    heading: str
    bars: Sequence[Bar]
    goal: float | None = None
    goal_words: str = ""


class Series(NamedTuple):
    """One line; the points are in units of the axes, from left to right."""

    label: str
    kind: str
    points: Sequence[tuple[float, float]]


class Axis(NamedTuple):
    """Ticks with their words, and how a value becomes a share of the axis from 0 to 1."""

    title: str
    ticks: Sequence[tuple[float, str]]
    share: Callable[[float], float]


def bar_chart(frame: Frame, groups: Sequence[Group], words: Callable[[float], str]) -> str:
    """Return horizontal bars from zero, each with its value beside it."""
    left = _MARGIN + _room(bar.label for group in groups for bar in group.bars) + 10
    right = WIDTH - _MARGIN - _room(words(b.value) + b.note for g in groups for b in g.bars) - 14
    parts: list[str] = []
    top = _PLOT_TOP
    for group in groups:
        parts += _group(group, left, right, top, words)
        top += _HEADING + len(group.bars) * _BAR_STEP + _BETWEEN
    return _card(frame, parts, top + _FOOT)


def _group(
    group: Group, left: float, right: float, top: float, words: Callable[[float], str]
) -> list[str]:
    most = max([bar.value for bar in group.bars] + [group.goal or 0.0]) or 1.0
    bottom = top + _HEADING + len(group.bars) * _BAR_STEP - 4
    parts = [_text(_MARGIN, top, group.heading, "strong")]
    for number, bar in enumerate(group.bars):
        y = top + _HEADING + number * _BAR_STEP
        end = left + (right - left) * bar.value / most
        middle = y + _BAR / 2 + 4
        parts += [
            _text(left - 10, middle, bar.label, "label", "end"),
            _box(f"bar {bar.kind}", (left, y), (max(end - left, 1), _BAR), 2),
            _text(end + 8, middle, words(bar.value), "strong", more=_note(bar.note)),
        ]
    parts.append(_line("axis", (left, top + _HEADING - 5), (left, bottom)))
    if group.goal is not None:
        x = left + (right - left) * group.goal / most
        parts.append(_line("goal", (x, top + _HEADING - 5), (x, bottom)))
        parts.append(_text(x, bottom + 13, group.goal_words, anchor="middle"))
    return parts


def line_chart(frame: Frame, series: Sequence[Series], x: Axis, y: Axis) -> str:
    """Return lines with a dot at each point, each line's name at its right end."""
    left = _MARGIN + _room(words for _, words in y.ticks) + 8
    right = WIDTH - _MARGIN - _room(each.label for each in series) - 12
    bottom = _PLOT_TOP + 8 + _HEIGHT

    def place(point: tuple[float, float]) -> tuple[float, float]:
        return left + (right - left) * x.share(point[0]), bottom - _HEIGHT * y.share(point[1])

    parts = [_text(_MARGIN, _PLOT_TOP - 8, y.title)]
    for value, words in y.ticks:
        height = bottom - _HEIGHT * y.share(value)
        parts.append(_line("grid", (left, height), (right, height)))
        parts.append(_text(left - 8, height + 4, words, anchor="end"))
    for value, words in x.ticks:
        across = left + (right - left) * x.share(value)
        parts.append(_line("axis", (across, bottom), (across, bottom + 4)))
        parts.append(_text(across, bottom + 18, words, anchor="middle"))
    parts.append(_line("axis", (left, bottom), (right, bottom)))
    parts.append(_text((left + right) / 2, bottom + 38, x.title, anchor="middle"))
    for each in series:
        parts += _drawn(each, [place(point) for point in each.points])
    parts += _names(series, [place(each.points[-1])[1] for each in series], right + 10)
    return _card(frame, parts, bottom + 56 + _FOOT)


def _drawn(series: Series, places: Sequence[tuple[float, float]]) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = [f'<circle class="{series.kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in places]
    return [f'<polyline class="{series.kind} line" points="{path}"/>', *dots]


def _names(series: Sequence[Series], heights: Sequence[float], x: float) -> list[str]:
    """Return the lines' names, from the top, each at least a line below the one before."""
    parts = []
    free = float("-inf")
    for height, each in sorted(zip(heights, series, strict=True), key=lambda pair: pair[0]):
        free = max(height + 4, free + 16)
        parts.append(_text(x, free, each.label, "strong"))
    return parts


def _card(frame: Frame, parts: Sequence[str], height: float) -> str:
    size = f'viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(frame.title)}: {escape(frame.subtitle)}</title>",
        f"<style>{_STYLE}</style>",
        _box("card", (0.5, 0.5), (WIDTH - 1, height - 1), 6),
        _text(_MARGIN, _FIRST_LINE, frame.title, "title"),
        _text(_MARGIN, _SUBTITLE, frame.subtitle),
        *parts,
        _text(_MARGIN, height - 14, frame.foot),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _text(
    x: float, y: float, words: str, kind: str = "", anchor: str = "start", more: str = ""
) -> str:
    style = f' class="{kind}"' if kind else ""
    turn = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{style}{turn}>{escape(words)}{more}</text>'


def _box(kind: str, corner: tuple[float, float], size: tuple[float, float], rounded: int) -> str:
    (x, y), (width, height) = corner, size
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{kind}" {place} rx="{rounded}"/>'


def _note(words: str) -> str:
    return f'<tspan dx="6" font-weight="400">{escape(words)}</tspan>' if words else ""


def _line(kind: str, start: tuple[float, float], end: tuple[float, float]) -> str:
    (x1, y1), (x2, y2) = start, end
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _room(words: Iterable[str]) -> float:
    return max(map(len, words), default=0) * _WIDTH_OF_A_LETTER
