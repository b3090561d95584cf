# SPDX-License-Identifier: GPL-2.0-or-later
"""The charts of a report: horizontal bars, by matplotlib, as SVG that stands
inside HTML and takes its colours from there (report.css)."""

import io
import re
from dataclasses import dataclass

from x64k import ui

# As CSS draws a pixel: at its own width a chart's text is as large as the page's.
WIDTH, BAR, MARGIN = 380, 16, 46
DPI = 72
# Stand for what the page's style sheet says.
INK, PAPER = "#010101", "#fefefe"
SERIES = [f"#0101{number:02x}" for number in range(16, 24)]


@dataclass(frozen=True)
class Bar:
    label: str
    parts: tuple[float, ...]    # one for each series
    text: str                   # at its end


@dataclass(frozen=True)
class Chart:
    title: str
    axis: str
    series: tuple[str, ...]
    groups: tuple[tuple[str, tuple[Bar, ...]], ...]

    def used(self) -> list[int]:
        """The series that have something to show."""
        return [number for number in range(len(self.series))
                if any(bar.parts[number] for _, bars in self.groups
                       for bar in bars)]


def library():
    try:
        import matplotlib
        matplotlib.use("svg")
        from matplotlib import pyplot
    except ImportError as error:
        raise ui.X64kError(
            f"no charts without matplotlib ({error}); on Debian: apt-get "
            "install python3-matplotlib; for another Python: the package "
            "matplotlib") from error
    return pyplot


def colours(svg: str) -> str:
    """Placeholders become the page's variables."""
    svg = svg.replace(INK, "currentColor").replace(PAPER, "var(--paper)")
    for number, colour in enumerate(SERIES):
        svg = svg.replace(colour, f"var(--series-{number})")
    return svg


def inline(svg: str, name: str) -> str:
    """An <svg> that HTML may hold: no prolog, no names of others."""
    svg = svg[svg.index("<svg"):]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg, count=2)
    # The caption says what it shows; what it says is in the tables.
    svg = re.sub(r"<svg [^>]*?viewBox=\"([^\"]*)\"[^>]*>",
                 rf'<svg viewBox="\1" role="img" aria-labelledby="{name}">',
                 svg, count=1)
    svg = re.sub(r"font: (\d+ )?([\d.]+px)[^;\"]*", lambda font:
                 f"font-size: {font[2]}" + (f"; font-weight: {font[1].strip()}"
                                            if font[1] else ""), svg)
    svg = re.sub(r"<defs>.*?</defs>|\s(?:id|clip-path)=\"[^\"]*\"", "", svg,
                 flags=re.DOTALL)
    return colours(svg)


def draw(chart: Chart, name: str) -> str:
    """CHART as SVG whose caption has the id NAME."""
    pyplot = library()
    lines = sum(len(bars) + 1.4 for _, bars in chart.groups)
    height = lines * BAR + MARGIN
    with pyplot.rc_context({
            "svg.fonttype": "none", "svg.hashsalt": name, "font.size": 12,
            "font.family": "sans-serif", "text.color": INK,
            "axes.edgecolor": INK, "axes.labelcolor": INK,
            "xtick.color": INK, "ytick.color": INK, "hatch.linewidth": 0.7,
            "text.parse_math": False}):
        figure = pyplot.figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI)
        axes = figure.add_axes((74 / WIDTH, 38 / height, 1 - 138 / WIDTH,
                                1 - 40 / height))
        place, ticks, labels = 0.0, [], []
        longest = max([100.0, *(sum(bar.parts) for _, bars in chart.groups
                                for bar in bars)])
        for title, bars in chart.groups:
            place += 0.9
            axes.text(-72 / (WIDTH - 138) * longest, place, title,
                      fontweight="bold", va="center", clip_on=False)
            for bar in bars:
                place += 1
                begin = 0.0
                for number in chart.used():
                    axes.barh(place, bar.parts[number], 0.74, begin,
                              color=SERIES[number], edgecolor=PAPER,
                              linewidth=0.4)
                    begin += bar.parts[number]
                axes.text(begin + longest * 0.015, place, bar.text,
                          va="center", clip_on=False)
                ticks.append(place)
                labels.append(bar.label)
            place += 0.5
        axes.set_ylim(place + 0.2, 0)
        axes.set_xlim(0, longest)
        axes.set_yticks(ticks, labels)
        axes.set_xlabel(chart.axis)
        axes.tick_params(length=0)
        axes.axvline(100, color=INK, linewidth=0.6, alpha=0.5, zorder=0)
        for side in ("top", "right", "bottom", "left"):
            axes.spines[side].set_visible(False)
        axes.xaxis.grid(True, color=INK, alpha=0.15, linewidth=0.6)
        axes.set_axisbelow(True)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True)
        pyplot.close(figure)
    return inline(out.getvalue(), name)
