"""The page: one file that needs nothing else, whatever the study is and whatever its names are."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from nondet.analysis.results import read_results
from nondet.reporting.finding import Finding
from nondet.reporting.page import hero, page, policy
from nondet.reporting.unstable import cards
from nondet.running.advice import go_on
from nondet.study import record as studies

Nondet = Callable[..., Any]

HALF_DIVERGE = (
    "def model():\n",
    "def model():\n    return Sometimes()\n\n\nclass Sometimes(nn.Module):\n    def __init__(self):\n"
    "        super().__init__()\n        self.line = nn.Linear(6, 3)\n"
    "        self.register_buffer('bad', (torch.rand(()) < 0.5).float())\n\n"
    "    def forward(self, x):\n        return self.line(x) * torch.where(self.bad > 0, torch.inf, 1.0)\n\n\n"
    "def unused():\n",
)
"""About half the init seeds fail."""

COUNTER = (
    "\n\ndef model():\n    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))\n",
    "\n\nclass Net(nn.Linear):\n    made = 0\n\n    def __init__(self):\n        super().__init__(6, 3)\n"
    "        Net.made += 1\n        with torch.no_grad():\n            self.weight.mul_(1 + Net.made / 8)\n\n"
    "model = Net\n",
)
"""A model that carries something from one construction to the next: the control cannot be zero."""


@dataclass
class Parsed(HTMLParser):
    """A page taken apart: its elements with their attributes, its ids, its visible text."""

    source: str
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data.replace("\N{NO-BREAK SPACE}", " ")

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page_of() -> Callable[..., Parsed]:
    """The page of a study, made once."""
    made: dict[Path, Parsed] = {}

    def give(study: Path) -> Parsed:
        if study not in made:
            made[study] = Parsed(page(read_results(studies.load(study))))
        return made[study]

    return give


PAGES = pytest.mark.parametrize("name", ["finished", "rich"])


@PAGES
def test_a_page_needs_nothing_else(page_of: Any, request: pytest.FixtureRequest, name: str) -> None:
    """No script, no frame, no address but those inside the page and data of its own; no style but the page's own."""
    made = page_of(request.getfixturevalue(name))
    tags = {tag for tag, _ in made.elements}
    assert not tags & {"script", "iframe", "object", "embed", "base", "form", "foreignobject", "audio", "video"}
    assert not re.search(r"@import|url\((?!#)", made.source)
    assert not re.search(r"<!DOCTYPE svg|<!ENTITY|<\?xml", made.source)
    addresses = [
        (tag, value)
        for tag, attributes in made.elements
        for attribute, value in attributes.items()
        if attribute.split(":")[-1] in ("href", "src", "srcset", "data", "action", "poster", "background")
    ]
    assert [a for a in addresses if not a[1].startswith(("#", "data:image/png;base64,")) and a[1] != "data:,"] == []
    assert not any(attribute.startswith("on") or attribute == "style" for _, a in made.elements for attribute in a)
    values = {value for _, a in made.elements for value in a.values() if not value.startswith("data:image/png;base64,")}
    outside = {value for value in values if "//" in value and "onerror" not in value}
    assert outside <= {"http://www.w3.org/2000/svg"}  # a name, which nothing fetches


@PAGES
def test_the_policy_allows_the_pages_own_style_alone(page_of: Any, request: pytest.FixtureRequest, name: str) -> None:
    """The content security policy comes before all else that could load, and its hash is that of the one style."""
    made = page_of(request.getfixturevalue(name))
    given = [a["content"] for a in made.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    (css,) = re.findall(r"<style>(.*?)</style>", made.source, re.DOTALL)
    assert given == [policy(css)]
    assert given[0].startswith("default-src 'none'; style-src 'sha256-")
    assert "script-src" not in given[0]
    assert "unsafe" not in given[0]
    order = [tag for tag, _ in made.elements if tag in ("meta", "link", "style")]
    assert order[:2] == ["meta", "meta"]


@PAGES
def test_every_figure_says_what_is_to_be_seen(page_of: Any, request: pytest.FixtureRequest, name: str) -> None:
    """Each figure is an image with a name and a description that has numbers in it; each picture has an alternative."""
    made = page_of(request.getfixturevalue(name))
    figures = [a for a in made.all("svg") if a.get("role") == "img"]
    assert len(figures) == len(made.all("figure")) > 8
    for figure in figures:
        title, description = figure["aria-labelledby"].split()
        (text,) = re.findall(rf'<desc id="{description}">(.*?)</desc>', made.source)
        assert len(re.findall(r"\d", text)) > 3, text
        assert re.search(rf'<title id="{title}">[^<]+</title>', made.source)
    assert all(len(picture["alt"]) > 20 for picture in made.all("img"))


@PAGES
def test_no_two_things_on_a_page_have_the_same_id(page_of: Any, request: pytest.FixtureRequest, name: str) -> None:
    """Ids are unique across all figures, and each reference inside the page finds its own."""
    made = page_of(request.getfixturevalue(name))
    ids = [attributes["id"] for _, attributes in made.elements if "id" in attributes]
    assert len(ids) == len({*ids})
    targets = {a["href"][1:] for _, a in made.elements if a.get("href", "").startswith("#")}
    targets |= {*re.findall(r'url\(#([^")]+)\)', made.source)}
    assert targets <= {*ids}


def test_the_sections_stand_in_order(page_of: Any, finished: Path, rich: Path) -> None:
    """What was found comes first, then the table, the figures, how it was made; what was not measured is left out."""
    assert [a["id"] for a in page_of(finished).all("section")] == [
        "found", "table", "runs", "intervals", "pairs", "training", "drift", "examples", "made", "cite", "words",
    ]  # fmt: skip
    assert [a["id"] for a in page_of(rich).all("section")] == [
        "found", "table", "runs", "intervals", "pairs", "training", "drift", "representations", "onset", "examples",
        "made", "cite", "words",
    ]  # fmt: skip


def test_the_page_says_what_show_says(page_of: Any, nondet: Nondet, finished: Path) -> None:
    """The sentences, every cell of the table, the environment, the recipe and the command are on the page as text."""
    text = " ".join(page_of(finished).text.split())
    shown = nondet("show", finished)
    found = nondet("show", finished, "--json").json["finding"]
    control = shown.out.split("\n\n")[0]
    assert control.startswith("Control: ")
    for words in (control, found["headline"], *found["sentences"], *found["caveats"]):
        assert " ".join(words.split()) in text
    for line in shown.out.splitlines():
        if line.startswith("init "):
            assert all(cell in text for cell in re.split(r"\s{2,}", line))
    study = studies.load(finished)
    assert go_on(study) in page_of(finished).text
    for name, value in {**study.environment, **study.identity["recipe"]}.items():
        assert name in text
        for part in value.values() if isinstance(value, dict) else [value]:
            assert isinstance(part, dict) or str(part) in text


def test_every_command_is_named(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """A study that several commands made, none of which would make it alone, names them all, in order."""
    grown = tmp_path / "grown"
    for conditions in (("--vary", "init"), ("--vary", "bit", "--onset", 1)):
        ran = nondet("run", tiny, "--runs", 2, *conditions, "--workers", 1, "--study", grown)
        assert ran.code == 0, ran.err
    made = Parsed(page(read_results(studies.load(grown))))
    assert len(made.all("pre")) == 4  # the commands, and two entries of a bibliography
    assert made.text.index("--vary=init") < made.text.index("--vary=bit")
    assert "The commands" in made.text
    assert all(c.condition.name in ("init", "bit@1") for c in read_results(studies.load(grown)).conditions)


def test_hostile_names_stay_text(page_of: Any, rich: Path) -> None:
    """Markup in the name of a task, a layer, a file or a folder is shown as it is, and makes no element."""
    made, name = page_of(rich), studies.load(rich).identity["name"]
    assert name.startswith("<img src=x onerror")
    assert name in made.text
    assert not any(a.get("src") == "x" for a in made.all("img"))
    assert {"b", "i", "script"}.isdisjoint(tag for tag, _ in made.elements)
    assert made.source.count("<title>") == 1
    assert "$1$" in made.text
    assert "layer <img src=x" in made.text


def test_a_task_file_runs_only_if_it_may(page_of: Any, rich: Path) -> None:
    """A study names its task's file, and that file is code: it runs with --run-task alone, and gives pictures."""
    assert page_of(rich).all("img") == []
    assert "is code and was not run" in page_of(rich).text
    found = cards(read_results(studies.load(rich)), run_task=True)
    assert found is not None
    assert len(found.cards) > 3
    for card in found.cards:
        assert card.picture.startswith("data:image/png;base64,")
        assert re.match(r"Example \d+, label [01]\. Answers: [012]: \d runs?", card.alternative)


def test_a_page_is_the_same_byte_for_byte(page_of: Any, process: Nondet, rich: Path, tmp_path: Path) -> None:
    """No date and no random name is in it: the command in another process gives the same bytes, and no warning."""
    ran = process("report", rich, "--out", tmp_path / "new" / "page.html")
    assert ran.code == 0
    assert ran.err == ""
    assert (tmp_path / "new" / "page.html").read_bytes() == page_of(rich).source.encode()


def test_report_says_where_and_what(nondet: Nondet, study: Path) -> None:
    """The page goes into the study's folder, which stays a study; the command names it and ends with a finding."""
    ran = nondet("report", study, "--condition", "init")
    assert ran.code == 0
    assert ran.out.splitlines()[0] == f"Wrote {study / 'report.html'}."
    assert "Two runs disagree on" in ran.out
    assert "all 3 runs agree (condition init; " in (study / "report.html").read_text()
    assert nondet("verify", study).code == 0
    (study / "study.json").unlink()
    command = ("run", "tiny.py", "--study", study)
    assert "contains other files" not in nondet(*command).err  # a lost study.json is made anew beside a page


def test_the_page_warns_as_show_does(page_of: Any, nondet: Nondet, finished: Path) -> None:
    """Who only sees the page must know how sure its numbers are."""
    warned = [line.removeprefix("warning: ") for line in nondet("show", finished).err.splitlines()]
    assert any("Intervals of fewer than 20 runs are rough" in line for line in warned)
    text = " ".join(page_of(finished).text.replace("\N{NO-BREAK SPACE}", " ").split())
    assert [line for line in warned if line not in text] == []


def test_the_examples_are_those_of_all_sources(page_of: Any, finished: Path) -> None:
    """Without --condition the examples are those of `all`."""
    assert "all 3 runs agree (condition all; " in page_of(finished).text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--condition", "nobody"), "has no condition 'nobody'"),
        (("--out", "."), "--out must name a file"),
    ],
)
def test_report_refuses_what_it_cannot_use(nondet: Nondet, finished: Path, options: tuple[str, ...], said: str) -> None:
    """Bad input is one sentence and exit code 2; nothing is written."""
    ran = nondet("report", finished, *options)
    assert ran.code == 2
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not (finished / "report.html").exists()


def test_a_control_that_is_not_zero_comes_first(nondet: Nondet, task_file: Nondet, tmp_path: Path) -> None:
    """The page and the command say it before anything else, and the exit status is 3."""
    folder, file = tmp_path / "s", tmp_path / "page.html"
    nondet("run", task_file(COUNTER), "--runs", 3, "--vary", "shuffle", "--study", folder)
    ran = nondet("report", folder, "--out", file)
    assert ran.code == 3
    assert "THE CONTROL IS NOT ZERO" in ran.err
    made = Parsed(file.read_text())
    assert made.text.index("THE CONTROL IS NOT ZERO") < made.text.index("two runs disagree")
    assert nondet("figures", folder, "--out", tmp_path / "f").code == 3


def test_failed_runs_are_named_and_left_out(nondet: Nondet, task_file: Nondet, tmp_path: Path) -> None:
    """A study some of whose runs failed has a page; so has one in which all failed, with what is left of it."""
    folder, file = tmp_path / "s", tmp_path / "page.html"
    assert nondet("run", task_file(HALF_DIVERGE), "--runs", 6, "--vary", "init", "--study", folder).code == 0
    assert nondet("report", folder, "--out", file).code == 0
    made = Parsed(file.read_text())
    assert "Failed, and left out of the numbers: init: run" in made.text
    failed = nondet("show", folder, "--json").json["conditions"][0]["failed"]
    assert 0 < failed < 6
    assert f"init: {6 - failed} runs from" in made.source

    nondet("run", task_file(name="all"), "--runs", 2, "--set", "lr=1e30", "--study", tmp_path / "t")
    assert nondet("report", tmp_path / "t", "--out", file).code == 0
    assert [a["id"] for a in Parsed(file.read_text()).all("section")] == ["found", "table", "made", "cite", "words"]


def test_an_unfinished_study_has_a_page(nondet: Nondet, study: Path, tmp_path: Path) -> None:
    """What is there is shown, and the page says how to go on; with no run at all it has no figure."""
    opened = replace(studies.load(study), finished=frozenset())
    studies._save(opened)
    for key in [*opened.planned()][4:]:
        opened.store.record_path(key).unlink()
    ran = nondet("report", study, "--out", tmp_path / "some.html")
    assert ran.code == 0
    assert "Not finished" in ran.err
    made = Parsed((tmp_path / "some.html").read_text())
    assert f"Go on with: {go_on(opened)}" in made.text
    assert [a for a in made.all("svg") if a.get("role")]

    shutil.rmtree(study / "runs")
    (study / "runs").mkdir()
    assert nondet("report", study, "--out", tmp_path / "none.html").code == 0
    none = Parsed((tmp_path / "none.html").read_text())
    assert [a["id"] for a in none.all("section")] == ["found", "table", "made", "cite", "words"]


def test_a_crossed_design_has_a_page(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """A study that has a crossed design and no condition: its finding, its runs, its components as a table."""
    folder = tmp_path / "s"
    crossed = ("--design", "crossed", "--levels", 2, "--vary", "init", "--vary", "shuffle")
    assert nondet("run", tiny, *crossed, "--study", folder).code == 0
    ran = nondet("report", folder)
    assert ran.code == 0
    made = Parsed((folder / "report.html").read_text())
    assert [a["id"] for a in made.all("section")] == [
        "found", "table", "crossed", "pairs", "training", "made", "cite", "words",
    ]  # fmt: skip
    assert ran.out.splitlines()[1] in made.text
    shown = [
        line for line in nondet("show", folder).out.splitlines() if line.startswith("init \N{MULTIPLICATION SIGN}")
    ]
    assert all(cell in made.text for cell in re.split(r"\s{2,}", shown[0]))


def test_intervals_are_those_of_the_json(page_of: Any, nondet: Nondet, finished: Path) -> None:
    """The figures draw, and their texts say, the intervals that `show --json` has."""
    (text,) = re.findall(r'<desc id="disagreement-desc">(.*?)</desc>', page_of(finished).source)
    shown = {c["name"]: c for c in nondet("show", finished, "--json").json["conditions"]}
    assert shown["init"]["intervals"]["disagreement"]
    for name, c in shown.items():
        ends = c["intervals"]["disagreement"]  # none of `bit`, whose runs answer alike though they differ
        interval = " ({:.3g} to {:.3g})".format(*ends) if ends else ""
        said = re.escape(f"{name} {c['disagreement']:.3g}{interval}")
        assert re.search(rf"\b{said}[;.]", text)


def test_one_condition_of_two_runs_has_a_page(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """The smallest study there is."""
    folder = tmp_path / "s"
    assert nondet("run", tiny, "--runs", 2, "--vary", "init", "--study", folder).code == 0
    ran = nondet("report", folder, "--json")
    assert ran.code == 0
    assert ran.err == ""
    assert ran.json["file"] == str(folder / "report.html")
    assert ran.json["bytes"] == (folder / "report.html").stat().st_size < 2**20
    assert ran.json["found"].startswith("Two runs disagree")
    made = Parsed((folder / "report.html").read_text())
    assert {"figure-accuracy", "figure-pairs", "figure-training-loss"} <= {a["id"] for a in made.all("figure")}


def test_a_page_begins_with_its_number(page_of: Any, nondet: Nondet, finished: Path) -> None:
    """The headline's number and its interval stand apart and large, with their picture; what was run is above them."""
    made = page_of(finished)
    found = nondet("show", finished, "--json").json["finding"]
    number, low, high = re.findall(r"on ([\d.]+ %) \[([\d.]+), ([\d.]+)\]", found["headline"])[0]
    begin = made.source[made.source.index('id="found"') : made.source.index("<nav")].replace("\N{NO-BREAK SPACE}", " ")
    assert f"<strong>{number}</strong>" in begin
    assert f"{low} to {high}" in begin
    assert 'id="figure-disagreement"' in begin
    assert begin.count("<li>") >= len(found["caveats"]) > 1
    said = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", made.source[: made.source.index("<main")]))
    assert said["Network"] == "the model of tiny.py"
    assert said["Recipe"].endswith("in tiny.py, unchanged")
    assert re.fullmatch(r"\d+ [A-Z][a-z]+ 20\d\d( to \d+ [A-Z][a-z]+ 20\d\d)?", said["Trained"])
    assert "torch" in said["On"]


@pytest.mark.parametrize(
    ("headline", "expected"),
    [
        ("Two runs disagree on 3.3 % [2.8, 4.0] of the test examples when init varies.", ("3.3 %", "2.8", "4.0")),
        ("Two runs disagree on 25.2 % of the test examples.", ("25.2 %", "", "")),
        ("RMSE has an SD of 0.12 [0.08, 0.31] from run to run.", ("0.12", "0.08", "0.31")),
        ("Perplexity has an SD of 1.2e-05 from run to run.", ("", "", "")),
        ("Accuracy has an SD of 0.66 points from run to run.", ("0.66 points", "", "")),
        ("Top 5 accuracy has an SD of 0.6 points [0.2, 2.8] from run to run.", ("0.6 points", "0.2", "2.8")),
        ("No two of these runs disagree on any test example, whatever varies.", ("", "", "")),
    ],
)
def test_the_number_of_a_headline(headline: str, expected: tuple[str, str, str]) -> None:
    """It is told from other numbers by its place, its unit or its interval; a headline may have none."""
    found = hero(Finding(headline))
    assert (found.number, found.low, found.high) == expected


def test_words_are_explained(page_of: Any, finished: Path) -> None:
    """Every column and every condition of the table leads to its explanation, which its title says too."""
    made = page_of(finished)
    (head,) = re.findall(r"<thead>.*?</thead>", made.source[made.source.index('<section id="table"') :], re.DOTALL)[:1]
    terms = [a for tag, a in made.elements if tag == "a" and a.get("class") == "term"]
    assert head.count('class="term"') == head.count("<th ") > 5
    ids = {a["id"] for _, a in made.elements if a.get("id", "").startswith("word-")}
    assert {a["href"][1:] for a in terms} <= ids
    assert all(len(a["title"]) > 20 for a in terms)
    for condition in studies.load(finished).conditions:
        assert re.search(rf'title="[^"]+ var[^"]+">{condition.name}</a>', made.source)


def test_how_to_cite_is_what_the_citation_file_says(page_of: Any, finished: Path) -> None:
    """The page, made without that file, names its authors, titles and version."""
    file = (Path(__file__).parents[2] / "CITATION.cff").read_text()
    text = page_of(finished).text
    given = re.findall(r'^[ -]*(?:title|name|version|family-names|given-names): "?([^"\n]+)"?', file, re.MULTILINE)
    assert len(given) >= 8
    for value in given:
        assert value in text


def test_a_column_has_one_precision(page_of: Any, finished: Path) -> None:
    """Each number of a column has as many decimals as the next, also one that they leave nothing of."""
    made = page_of(finished).source
    table = made[made.index('<section id="table"') :].partition("</table>")[0]
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in table.split("<tr>")[2:]]
    for column in list(zip(*rows, strict=True))[1:]:
        decimals = {len(part) for cell in column for part in re.findall(r"\.(\d+)", cell)}
        assert len(decimals) <= 1, column
    assert not re.search(r"\de[+-]\d", table)
