"""The page in a real Chromium: nothing is asked for, nothing is complained of, everything is seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

BOXES = """
[...document.querySelectorAll('figure > svg, article, table, h2, .found')].map(e => {
  const box = e.getBoundingClientRect();
  return [e.tagName, box.left, box.right, box.width, box.height];
})
"""

DRAWN = """
[...document.querySelectorAll('figure > svg')].map(e => {
  const box = e.getBBox();
  return [e.viewBox.baseVal.width, box.width, box.height];
})
"""


@pytest.fixture(scope="module")
def page(rich: Path, tmp_path_factory: pytest.TempPathFactory, process: Callable[..., Any]) -> Path:
    """The page with everything in it: tracked, onsets, pictures, hostile names."""
    file = tmp_path_factory.mktemp("page") / "page.html"
    assert process("report", rich, "--run-task", "--out", file).code == 0
    return file


@pytest.mark.parametrize("width", [1280, 390, 375])
def test_a_page_is_quiet_and_seen(browser: Any, page: Path, width: int) -> None:
    """On a desk and on a phone: no request but for the file itself, no console message, and no figure without a box.

    Nothing is wider than the window: tables scroll inside their own box.
    """
    browser.open(page, width)
    assert browser.requests[0] == page.as_uri()
    assert [r for r in browser.requests[1:] if not r.startswith("data:image/png;base64,")] == []
    assert browser.noises == []
    assert browser.value("document.title").startswith("<img src=x onerror=alert(1)>")
    boxes = browser.value(BOXES)
    assert sum(tag == "svg" for tag, *_ in boxes) == page.read_text().count("<figure ") > 12
    assert all(w > 100 and h > 10 for _, _, _, w, h in boxes)
    assert all(right <= width for tag, _, right, *_ in boxes if tag != "TABLE")
    assert browser.value("document.scrollingElement.scrollWidth") <= width
    assert browser.value("[...document.querySelectorAll('pre')].every(e => e.scrollWidth <= e.clientWidth)")
    beyond = browser.value("(e => e.scrollWidth - e.clientWidth)(document.querySelector('#table .scroll'))")
    assert beyond == 0 if width > 1000 else beyond > 0  # a desk shows the whole table; a phone scrolls it,
    first = browser.value("document.querySelector('#table th').getBoundingClientRect().width")
    assert 100 < first < 0.45 * width  # names stay in sight, and whole words stay whole
    for whole, drawn, height in browser.value(DRAWN):  # shapes fill their figure: nothing is lost on the way
        assert 0.8 * whole < drawn
        assert height > 30
    pictures = "[...document.images].map(i => i.complete && i.naturalWidth)"
    assert all(browser.value(pictures))
    assert len(browser.value(pictures)) > 3


def test_a_script_in_the_page_would_not_run(browser: Any, page: Path, tmp_path: Path) -> None:
    """The policy holds: a script, a style and a picture from elsewhere that somebody adds are blocked, and reported."""
    evil = (
        "</body><script>document.title='owned'</script><img src='http://127.0.0.1:9/x.png'>"
        "<p id='evil' style='color: red'>x</p>"
    )
    (tmp_path / "evil.html").write_text(page.read_text().replace("</body>", evil))
    browser.open(tmp_path / "evil.html")
    assert browser.value("document.title") != "owned"
    assert browser.value("getComputedStyle(document.getElementById('evil')).color") != "rgb(255, 0, 0)"
    assert len(browser.noises) >= 3


def test_a_page_prints(browser: Any, page: Path) -> None:
    """On paper no figure is cut: none spans two pages, and none is wider than the paper."""
    browser.open(page, 1280)
    browser.ask("Emulation.setEmulatedMedia", media="print")
    assert browser.value("getComputedStyle(document.querySelector('figure')).breakInside") == "avoid"
    assert browser.value("getComputedStyle(document.querySelector('nav')).display") == "none"
    pdf = browser.pdf()
    assert pdf.startswith(b"%PDF")
    assert 3 <= pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") <= 12


SMALL = """
[...document.querySelectorAll('body *')].filter(e =>
  [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && !e.closest('svg')
).map(e => [e.tagName, parseFloat(getComputedStyle(e).fontSize)]).filter(([, size]) => size < 11)
"""

CONTRAST = """
[...document.querySelectorAll('h1, h2, p, td, th, dd, dt, li, figcaption, code')].map(e => {
  const parse = text => text.match(/[0-9.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  let ground = e;
  while (parse(getComputedStyle(ground).backgroundColor)[3] === 0) ground = ground.parentElement;
  const pair = [getComputedStyle(e).color, getComputedStyle(ground).backgroundColor].map(c => light(parse(c))).sort();
  return [e.textContent.slice(0, 30), (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05)];
}).filter(([, ratio]) => ratio < 4.5)
"""


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory, process: Callable[..., Any]) -> Path:
    """The page of a table of scores."""
    folder = tmp_path_factory.mktemp("scores")
    rows = [
        f"{arm},{seed},{mean + (seed * 7 % 5) / 4}" for arm, mean in (("base", 91), ("new", 92)) for seed in range(8)
    ]
    (folder / "scores.csv").write_text("\n".join(["method,seed,accuracy", *rows]))
    ran = process("report", folder / "scores.csv", "--arm", "method", "--seed", "seed", "--out", folder / "page.html")
    assert ran.code == 0, ran.err
    return folder / "page.html"


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("which", ["page", "scores"])
def test_a_page_begins_with_a_number_and_its_picture(
    browser: Any, request: pytest.FixtureRequest, which: str, width: int
) -> None:
    """Both are seen without scrolling on a desk; nothing is wider than the window and no text below 11 pixels."""
    browser.open(request.getfixturevalue(which), width)
    assert browser.value("document.scrollingElement.scrollWidth") <= width
    assert browser.value(SMALL) == []
    number, picture = (
        browser.value(f"(e => [e.top, e.bottom, e.height])(document.querySelector('{e}').getBoundingClientRect())")
        for e in ("#found .number strong", "#found figure svg")
    )
    assert number[2] > 40
    assert picture[2] > 60
    if width == 1280 and which == "scores":
        assert picture[1] < 800


def test_pairs_are_a_triangle(browser: Any, page: Path) -> None:
    """Above the diagonal of the heat map there is paper."""
    browser.open(page, 1280)
    empty = """
    (async () => {
      const image = new Image();
      image.src = document.querySelector('#figure-pairs image').getAttribute('href');
      await image.decode();
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [image.width, image.height];
      const to = canvas.getContext('2d');
      to.drawImage(image, 0, 0);
      const at = (x, y) => to.getImageData(x * image.width, y * image.height, 1, 1).data[3];
      return [at(0.9, 0.1), at(0.6, 0.3), at(0.1, 0.9), at(0.3, 0.6)];
    })()
    """
    found = browser.ask("Runtime.evaluate", expression=empty, returnByValue=True, awaitPromise=True)
    assert found["result"]["value"] == [0, 0, 255, 255]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["page", "scores"])
def test_a_page_is_legible_by_day_and_by_night(
    browser: Any, request: pytest.FixtureRequest, which: str, scheme: str
) -> None:
    """In the colours that the reader's system asks for, every text has a contrast of 4.5 or more, in figures too."""
    browser.open(request.getfixturevalue(which), 1280)
    browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    ground = browser.value("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 24, 28)")
    assert browser.value(CONTRAST) == []
    ink = browser.value("getComputedStyle(document.querySelector('#found figure [fill=\"#22262b\"]')).fill")
    assert ink == ("rgb(29, 33, 38)" if scheme == "light" else "rgb(230, 233, 237)")


def test_a_page_prints_its_words_and_no_night(browser: Any, page: Path) -> None:
    """On paper it is black on white whatever the screen, and the words are explained there too."""
    browser.open(page, 1280)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.ask("Emulation.setEmulatedMedia", media="print", features=dark)
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    shown = "(e => e.offsetHeight > 100 && e.innerText.includes('seeds'))(document.querySelector('#words'))"
    assert browser.value(shown)
