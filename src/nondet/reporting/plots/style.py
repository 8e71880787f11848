"""How figures look and become files: one column wide, in colours that colour-blind readers can tell apart."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

from nondet.io.plain import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 3.5
"""Inches: one column of most journals, and a phone's screen."""

SMALLEST = 8.0
"""Points: no text is smaller. On a phone, where a figure is 350 pixels wide, that is at least 11 pixels."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The palette of Okabe and Ito (2008), without its yellow, which is too light for lines on white."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")

INK, GREY, PALE = "#22262b", "#6b737c", "#d9dde2"

LONGEST = 26
"""The longest name in a figure, in characters."""

FORMATS = ("pdf", "svg", "png")

_WIDTHS = {"major.width": 0.6, "major.size": 2.5, "minor.size": 1.5}
_TICKS = {"color": GREY, "labelcolor": INK, "labelsize": SMALLEST, **_WIDTHS}
_LOOK: dict[str, Any] = {
    "text.parse_math": False,  # a name with two dollar signs is a name
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.6,
    "axes.labelsize": SMALLEST,
    "axes.titlesize": SMALLEST,
    "axes.titlelocation": "left",
    "axes.titlepad": 3.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": PALE,
    "grid.linewidth": 0.5,
    "font.family": "DejaVu Sans",  # the font that comes with matplotlib: the same file everywhere
    "font.size": SMALLEST,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "legend.fontsize": SMALLEST,
    "legend.handlelength": 2.2,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # TrueType, which journals take and editors can search
    "svg.fonttype": "path",
    "svg.hashsalt": "nondet",
    **{f"{axis}tick.{name}": value for axis in "xy" for name, value in _TICKS.items()},
}


@contextmanager
def styled() -> Generator[None]:
    """Give matplotlib this style inside the block, whatever the user's own settings are."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_LOOK)  # pyright: ignore[reportCallIssue, reportArgumentType]
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")  # names may be in any script
        yield


def new(height: float, **grid: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure one column wide and `height` inches high, with its axes row by row."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, list(np.ravel(figure.subplots(**grid, squeeze=False)))


def content(figure: Figure, format: str) -> bytes:
    """Return a figure as a file's bytes; the same figure always gives the same bytes."""
    dates: dict[str, dict[str, Any]] = {
        "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
        "svg": {"Date": None, "Creator": None},
        "png": {"Software": None},
    }
    to = BytesIO()
    with styled():
        figure.savefig(to, format=format, metadata=dates[format], facecolor="white" if format == "png" else "none")
    return to.getvalue()


def short(name: str) -> str:
    """Shorten a name for a label: one line, not too long, with characters that no font draws escaped."""
    line = plain(name)
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"


def colours_of(names: Sequence[str], among: Sequence[str] = ()) -> dict[str, str]:
    """Return a colour for each condition; conditions that differ only in their onset, such as bit and bit@4, share one.

    With all of a study's conditions as `among`, a condition has the same colour in every figure.
    """
    bases = list(dict.fromkeys(name.partition("@")[0] for name in (*among, *names)))
    return {name: COLOURS[bases.index(name.partition("@")[0]) % len(COLOURS)] for name in names}


def power(value: float, _: object = None) -> str:
    """Format a tick of a logarithmic axis, without the markup that matplotlib would use."""
    if 0.1 <= value < 1e4:
        return f"{value:g}"
    mantissa, exponent = f"{value:.5e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}" if mantissa == "1" else f"{mantissa}·10{raised}"


def log_axis(axes: Axes, which: Literal["x", "y"] = "y") -> None:
    """Make the vertical or the horizontal axis logarithmic, with ticks without markup."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set(**{f"{which}scale": "log"})
    axis = axes.yaxis if which == "y" else axes.xaxis
    low, high = sorted(axis.get_view_interval())
    few = high < 30 * low  # hardly more than one power of ten
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=6))
    axis.set_major_formatter(FuncFormatter(power))
    axis.set_minor_formatter(NullFormatter())


def epochs(axes: Axes, last: int) -> None:
    """Make the horizontal axis show epochs, from 1 to the last."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(1, max(last, 2))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def line_plot(
    series: Mapping[str, Mapping[int, float]],
    intervals: Mapping[str, Mapping[int, tuple[float, float]]],
    across: str,
    label: str,
    log: bool = False,
    among: Sequence[str] = (),
) -> Figure:
    """Draw values at whole numbers, such as epochs: a line with marks for each name, and any 95 % intervals.

    Names that share a colour (see `colours_of`, also for `among`) have different dashes, and filled or empty marks.
    """
    from matplotlib.ticker import MaxNLocator

    figure, (axes,) = new(2.3)
    colours = colours_of(list(series), among)
    drawn: list[str] = []
    for name, points in series.items():
        colour = colours[name]
        alike = drawn.count(colour)
        drawn.append(colour)
        axes.plot(
            list(points),
            list(points.values()),
            marker=MARKERS[COLOURS.index(colour)],
            ms=4,
            mew=0.8,
            mfc="white" if alike else colour,
            color=colour,
            ls=DASHES[alike % len(DASHES)],
            label=short(name),
        )
        for at, interval in intervals.get(name, {}).items():
            axes.plot([at, at], interval, color=colour, lw=0.9)
    if log:
        log_axis(axes)
    axes.set_xlabel(across)
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if len(series) > 1:
        figure.legend(loc="outside upper left", ncols=3)
    return figure
