# SPDX-License-Identifier: GPL-2.0-or-later
"""A plot of lines on two logarithmic axes, as SVG.

One kind of plot does not need a library of plots."""

import math
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 130, 40, 60
# Distinct also to those who do not see red and green apart (Okabe, Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
           "#000000")


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    low: float              # of y: the ends of a bar
    high: float


def ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each decade, inside or at the ends."""
    found = [digit * 10.0 ** power
             for power in range(math.floor(math.log10(low)),
                                math.ceil(math.log10(high)) + 1)
             for digit in (1, 2, 5)]
    return [tick for tick in found if low * 0.999 <= tick <= high * 1.001]


class Axis:
    def __init__(self, values: list[float], begin: float, end: float):
        # Room beside the outermost values, and never an axis of one point.
        self.low, self.high = min(values) / 1.15, max(values) * 1.15
        self.begin, self.end = begin, end

    def __call__(self, value: float) -> float:
        part = math.log(value / self.low) / math.log(self.high / self.low)
        return round(self.begin + part * (self.end - self.begin), 1)


def log_log(title: str, x_title: str, y_title: str,
            lines: dict[str, list[Point]]) -> str:
    points = [point for line in lines.values() for point in line]
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
           f'height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
           'font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>']
    if points:
        x = Axis([point.x for point in points], LEFT, WIDTH - RIGHT)
        y = Axis([value for point in points
                  for value in (point.low, point.high)] + [1.0],
                 HEIGHT - BOTTOM, TOP)
        for tick in ticks(x.low, x.high):
            out.append(f'<path d="M{x(tick)} {TOP}V{HEIGHT - BOTTOM}" '
                       'stroke="#ddd"/>'
                       f'<text x="{x(tick)}" y="{HEIGHT - BOTTOM + 16}" '
                       f'text-anchor="middle">{tick:g}</text>')
        for tick in ticks(y.low, y.high):
            out.append(f'<path d="M{LEFT} {y(tick)}H{WIDTH - RIGHT}" '
                       f'stroke="{"#888" if tick == 1 else "#ddd"}"/>'
                       f'<text x="{LEFT - 6}" y="{y(tick) + 4}" '
                       f'text-anchor="end">{tick:g}</text>')
        for number, (name, line) in enumerate(lines.items()):
            colour = COLOURS[number % len(COLOURS)]
            path = "L".join(f"{x(point.x)} {y(point.y)}" for point in line)
            out.append(f'<path d="M{path}" fill="none" stroke="{colour}" '
                       'stroke-width="1.5"/>')
            for point in line:
                out.append(f'<path d="M{x(point.x)} {y(point.low)}'
                           f'V{y(point.high)}" stroke="{colour}"/>'
                           f'<circle cx="{x(point.x)}" cy="{y(point.y)}" '
                           f'r="3" fill="{colour}"/>')
            place = TOP + 14 + 18 * number
            out.append(f'<circle cx="{WIDTH - RIGHT + 16}" cy="{place - 4}" '
                       f'r="4" fill="{colour}"/>'
                       f'<text x="{WIDTH - RIGHT + 26}" y="{place}">'
                       f'{escape(name)}</text>')
    out += [f'<text x="{(LEFT + WIDTH - RIGHT) / 2:g}" y="{HEIGHT - 16}" '
            f'text-anchor="middle">{escape(x_title)}</text>',
            f'<text transform="translate(18 {(TOP + HEIGHT - BOTTOM) / 2:g}) '
            f'rotate(-90)" text-anchor="middle">{escape(y_title)}</text>',
            "</svg>"]
    return "\n".join(out) + "\n"
