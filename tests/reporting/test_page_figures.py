"""The figures: as files, and what they hold."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from nondet.reporting.plots.curves import bands, drift
from nondet.reporting.plots.designs import layers
from nondet.reporting.plots.pairs import disagreements, heat, side_by_side
from nondet.reporting.plots.spreads import forest, strip
from nondet.reporting.plots.style import COLOURS, SMALLEST, WIDTH, colours_of, content, line_plot, power, short, styled
from nondet.reporting.plots.svg import inline

Nondet = Callable[..., Any]

HOSTILE = "$x^2$ <b>&amp;</b> \x00\n中"


@pytest.mark.slow
def test_each_figure_is_a_file(nondet: Nondet, rich: Path, tmp_path: Path) -> None:
    """`nondet figures` writes each figure under its own fixed name."""
    ran = nondet("figures", rich, "--format", "svg", "--out", tmp_path / "a")
    assert ran.code == 0
    assert ran.err == ""
    names = {path.stem for path in (tmp_path / "a").iterdir()}
    assert names == {
        "accuracy", "accuracy-sd", "cross-entropy-sd", "disagreement", "correlation", "ensemble-gain", "pairs",
        "training-loss", "training-accuracy", "drift", "parameter-distance", "cka", "onset-disagreement",
        "onset-accuracy-sd", "training-variance",
    }  # fmt: skip


def test_figures_are_fit_for_print() -> None:
    """Each is one column wide; a PDF has its fonts in it as TrueType, a PNG 300 dots an inch, and none has a date."""
    for figure in _all_figures("a"):
        pdf, svg, png = (content(figure, format) for format in ("pdf", "svg", "png"))
        assert f"/MediaBox [ 0 0 {72 * WIDTH:g} ".encode() in pdf
        assert b"/Subtype /TrueType" in pdf or b"/Subtype /CIDFontType2" in pdf
        assert b"/FontFile2" in pdf
        assert b"/Type3" not in pdf
        assert b"Date" not in pdf
        assert ElementTree.fromstring(svg).attrib["width"] == f"{72 * WIDTH:g}pt"
        assert b"date" not in svg
        with Image.open(BytesIO(png)) as image:
            assert image.width == 300 * WIDTH
            assert image.info == {"dpi": pytest.approx((300, 300), abs=0.1)}


def test_figures_go_to_the_study(nondet: Nondet, study: Path) -> None:
    """Without --out they are in the study's folder, as PDF, the same bytes each time, and the study stays sound."""
    ran = nondet("figures", study)
    files = sorted((study / "figures").iterdir())
    assert ran.code == 0
    assert sorted(ran.out.splitlines()[:-1]) == [str(file) for file in files]
    assert ran.out.splitlines()[-1] == f"Wrote {len(files)} figures to {study / 'figures'}."
    before = [file.read_bytes() for file in files]
    listed = nondet("figures", study, "--json").json
    assert sorted(item["file"] for item in listed) == [str(file) for file in files]
    assert all(len(re.findall(r"\d", item["shows"])) > 3 for item in listed)
    assert [file.read_bytes() for file in files] == before  # the same study, the same bytes
    assert nondet("verify", study).code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--format", "gif"), "--format must be one of pdf, svg, png (got 'gif')"), (("--out", __file__), ", a file)")],
)
def test_figures_refuse_what_they_cannot_use(
    nondet: Nondet, finished: Path, options: tuple[str, ...], said: str
) -> None:
    """Bad input is one sentence and exit code 2."""
    ran = nondet("figures", finished, *options)
    assert ran.code == 2
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1


def _all_figures(name: str) -> list[Any]:
    rng = np.random.Generator(np.random.Philox(1))
    curves = np.exp(rng.normal(size=(4, 5)))
    with styled():
        return [
            strip({name: rng.normal(size=9), "b": np.ones(3)}, {name: (0.0, 1.0)}, name),
            forest({name: 1.0, "b": 2.0}, {name: (0.5, 1.5)}, name),
            heat(np.zeros((3, 3)), [(name, 2), ("b", 1)], name),
            bands({name: curves, "b": curves, "c": curves}, name, log=True),
            drift(curves, {name: curves[0]}, name),
            line_plot({name: {0: 1.0, 3: 2.0}, "b": {0: 0.1}}, {name: {0: (0.5, 2.0)}}, name, name, log=True),
            layers({name: np.full((2, 2), 0.4)}, [name, "b"], [0, 3], name),
        ]


def test_hostile_names_are_drawn_as_text() -> None:
    """Dollar signs, backslashes, markup, control characters and signs that the font lacks raise and warn nothing.

    Mathematics in a name is not set, even where the user's own matplotlib settings say so; and these settings are what
    they were again afterwards.
    """
    import matplotlib
    from matplotlib import _pylab_helpers

    with matplotlib.rc_context({"text.usetex": True, "figure.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        for figure in _all_figures(HOSTILE):
            assert re.search(rb"<!-- \$x\^2\$ ", content(figure, "svg"))
            for format in ("pdf", "png"):
                assert len(content(figure, format)) > 1000
        assert dict(matplotlib.rcParams) == before
    assert _pylab_helpers.Gcf.figs == {}


def test_inline_svg_is_shapes_alone() -> None:
    """Metadata, comments and styles are gone, ids begin with the figure's name, and text is escaped."""
    for number, figure in enumerate(_all_figures("a")):
        svg = inline(content(figure, "svg"), f"f{number}", "<b>title</b>", "a & b")
        root = ElementTree.fromstring(svg)
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert tags <= {"svg", "g", "defs", "path", "use", "clipPath", "rect", "image", "title", "desc"}
        attributes = [(key, value) for element in root.iter() for key, value in element.attrib.items()]
        assert not [key for key, _ in attributes if key == "style" or key.startswith("on")]
        assert all(value.startswith(f"f{number}-") for key, value in attributes if key == "id")
        assert all(value.startswith((f"#f{number}-", "data:image/png;")) for key, value in attributes if key == "href")
        assert root.attrib["viewBox"]
        assert "width" not in root.attrib
        assert "&lt;b&gt;title&lt;/b&gt;" in svg
        assert "<!--" not in svg


def test_inline_svg_drops_what_is_no_shape() -> None:
    """Whatever an SVG may hold besides shapes does not reach the page, and no reference leads out of it."""
    hostile = (
        b'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 1 1">'
        b'<script>alert(1)</script><foreignObject/><g><style>*{}</style><a xlink:href="http://x"><rect/></a>'
        b'<image xlink:href="http://x/y.png"/><use xlink:href="#p" style="fill: url(#q)"/><path id="p"/></g></svg>'
    )
    svg = inline(hostile, "f", "t", "d")
    assert "script" not in svg
    assert "http://x" not in svg
    assert '<use fill="url(#f-q)" href="#f-p"' in svg
    assert '<path id="f-p"' in svg


def test_disagreements_are_those_of_a_plain_loop() -> None:
    """The heat map holds, for every two runs, the percent of examples that they answer differently."""
    rng = np.random.Generator(np.random.Philox(2))
    answers = rng.integers(3, size=(5, 40)).astype(np.int32)
    matrix = disagreements(list(answers))
    for a in range(5):
        for b in range(5):
            assert matrix[a, b] == pytest.approx(100 * sum(answers[a] != answers[b]) / 40)


def test_colours_are_told_apart_by_colour_blind_readers() -> None:
    """With each colour blindness (Machado et al. 2009, severity 1) every two colours stay well apart in CIELAB."""
    blind = {
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    }
    srgb = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in COLOURS]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    for kind, matrix in blind.items():
        seen = _lab(np.clip(linear @ np.array(matrix).T, 0, 1))
        apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1)[np.triu_indices(len(COLOURS), 1)]
        assert apart.min() > 10, kind  # 2.3 is just noticeable


def test_a_condition_has_one_colour_in_all_figures() -> None:
    """Whichever of a study's conditions a figure shows, and in whatever order."""
    study = ["init", "bit", "all", "bit@2"]
    whole = colours_of(study)
    assert len({whole[name] for name in study}) == 3
    for some in (["all"], ["bit@2", "all"], ["bit", "init"]):
        assert colours_of(some, study) == {name: whole[name] for name in some}
    with styled():
        curves = np.ones((2, 3))
        figures = {
            "strip": strip({"all": np.arange(3.0)}, {}, "", study),
            "forest": forest({"all": 1.0}, {}, "", study),
            "bands": bands({"all": curves}, "", among=study),
            "drift": drift(curves, {"all": curves[0]}, "", study),
            "line": line_plot({"all": {0: 1.0}}, {}, "", "", among=study),
        }
    for name, figure in figures.items():
        drawn = {line.get_color() for axes in figure.axes for line in axes.get_lines()}
        assert whole["all"] in drawn, name
        assert (whole["bit"] in drawn) == (name == "drift"), name


def test_names_of_one_colour_are_told_apart() -> None:
    """A condition and its late onsets share a colour, and differ in their dashes and in marks filled or not."""
    with styled():
        figure = line_plot({name: {1: 1.0, 2: 2.0} for name in ("bit", "bit@2", "bit@4")}, {}, "", "")
    lines = figure.axes[0].get_lines()
    assert len({line.get_color() for line in lines}) == 1
    assert len({line.get_linestyle() for line in lines}) == 3
    assert [line.get_markerfacecolor() == line.get_color() for line in lines] == [True, False, False]


def _lab(linear: np.ndarray) -> np.ndarray:
    xyz = linear @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    f = xyz / [0.9505, 1.0, 1.089]
    f = np.where(f > 0.008856, np.cbrt(f), 7.787 * f + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def test_labels_are_short_and_plain() -> None:
    """A name is one line of limited length; a power of ten needs no markup."""
    assert short("a\nb\x00\u202e") == r"a\nb\x00\u202e"
    assert len(short("x" * 99)) == 26
    assert [power(v) for v in (1.0, 100.0, 0.5, 1e-3, 2e-8, 1e5)] == ["1", "100", "0.5", "10⁻³", "2·10⁻⁸", "10⁵"]
    within_one_power = [2e-8, 2.5e-8, 3e-8, 3.5e-8, 1.25e-5, 123450.0]
    assert [power(v) for v in within_one_power] == [
        "2·10⁻⁸", "2.5·10⁻⁸", "3·10⁻⁸", "3.5·10⁻⁸", "1.25·10⁻⁵", "1.2345·10⁵",
    ]  # fmt: skip


def test_the_dots_of_few_runs_are_seen() -> None:
    """They are larger than those of many, and above the line of the interval."""
    few, many = (strip({"a": np.arange(float(n))}, {"a": (0.0, 2.0)}, "accuracy").axes[0].lines for n in (3, 40))
    dots, line = few[0], few[1]
    assert dots.get_markersize() > many[0].get_markersize()
    assert dots.get_zorder() > line.get_zorder()


def test_no_text_is_small() -> None:
    """On a phone of 390 pixels, whose margins leave a figure 350, every text is at least 11 pixels high."""
    from matplotlib.text import Text

    for figure in _all_figures("a"):
        content(figure, "svg")  # which makes the ticks
        sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text()]
        assert sizes
        assert min(sizes) * 350 / (72 * WIDTH) >= 11
        assert min(sizes) >= SMALLEST


def test_each_pair_of_runs_stands_once() -> None:
    """The heat map is the triangle below the diagonal, and its colours span the pairs, not what lies below them."""
    matrix = np.array([[0.0, 5.0, 6.0], [5.0, 0.0, 7.0], [6.0, 7.0, 0.0]])
    with styled():
        shown: Any = heat(matrix, [("a", 2), ("b", 1)], "").axes[0].images[0]
    drawn = np.ma.filled(shown.get_array(), np.nan)
    assert np.isnan(drawn[np.triu_indices(3)]).all()
    assert drawn[np.tril_indices(3, -1)].tolist() == [5.0, 6.0, 7.0]
    assert 5.0 <= shown.norm.vmin < 5.1
    assert 6.9 < shown.norm.vmax <= 7.0


def test_alike_runs_stand_side_by_side() -> None:
    """Runs of two clusters that come mixed are sorted apart, and none is lost."""
    rng = np.random.Generator(np.random.Philox(3))
    centres = rng.integers(5, size=(2, 60))
    runs = []
    for number in range(10):
        run = centres[number % 2].copy()
        run[rng.choice(60, 3, replace=False)] = 9
        runs.append(run)
    order = [next(n for n, run in enumerate(runs) if run is placed) for placed in side_by_side(runs)]
    assert sorted(order) == list(range(10))
    assert len({n % 2 for n in order[:5]}) == len({n % 2 for n in order[5:]}) == 1


@pytest.mark.parametrize(
    ("values", "known", "anchor", "scale", "side", "end"),
    [
        ({"a": 3.0, "b": 4.0}, {"a": (2.0, 5.0)}, 0.0, "linear", 0, 0.0),
        ({"a": 0.8, "b": 0.9}, {"a": (0.7, 0.95)}, 1.0, "linear", 1, 1.0),
        ({"a": 3.0, "b": 4.0, "c": 90.0}, {"b": (2.0, 5.0)}, 0.0, "log", 0, None),
        ({"a": 0.0, "b": 4.0, "c": 90.0}, {}, 0.0, "linear", 0, 0.0),
        ({"a": 0.0, "b": 0.0}, {}, 0.0, "linear", 0, 0.0),
    ],
)
def test_an_axis_begins_where_runs_are_alike(
    values: Any, known: Any, anchor: float, scale: str, side: int, end: float | None
) -> None:
    """At 0, or ends at 1 for correlations; it is logarithmic where one value would leave the others no room."""
    with styled():
        axes: Any = forest(values, known, "", anchor=anchor).axes[0]
    assert axes.get_xscale() == scale
    low, high = (float(end) for end in np.array(axes.get_xlim()))
    assert low < high
    if end is not None:
        assert axes.get_xlim()[side] == end
    inside = [*values.values(), *(x for interval in known.values() for x in interval)]
    assert all(low <= x <= high for x in inside)
