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


@pytest.mark.parametrize("width", [1280, 375])
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
