"""A figure of another package, in one file: in the table, the JSON, LaTeX, the page, the plots and `--until`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nondet as nd

Nondet = Callable[..., Any]

MODULE = """
import numpy as np

import nondet as nd
from nondet.stats.intervals import mean_estimate

MARGIN = nd.Figure(
    "margin.mean",
    lambda answers: mean_estimate(np.ptp(answers.outputs, axis=2).mean(axis=1)),
    label="spread of a run's logits",
    words="the margin",
    title="margin",
    plot="margin",
    bounds=(0.0, float("inf")),
    logits=True,
    kinds=("classification",),
)
"""


@pytest.fixture
def added(install: Any) -> None:
    install("margins", MODULE, ("nondet.figures", "margin", "MARGIN"))


@pytest.mark.usefixtures("added")
def test_it_is_seen_everywhere(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """A study made before or after it was installed shows it, with its error and interval."""
    folder = tmp_path / "s"
    rule = ("--until", "margin.mean.error<50%", "--limit", 20)
    ran = nondet("run", tiny, "--runs", 4, "--vary", "init", *rule, "--study", folder)
    assert ran.code == 0, ran.err
    assert "margin" in ran.out.splitlines()[2].split()
    assert "until margin.mean.error<50% in all of them" in " ".join(ran.out.split())
    (condition,) = json.loads(nondet("show", folder, "--json").out)["conditions"]
    low, high = condition["intervals"]["margin.mean"]
    assert low < condition["margin"]["mean"] < high
    assert condition["errors"]["margin.mean"] > 0
    assert "& margin" in nondet("show", folder, "--latex").out
    assert "| margin |" in nondet("show", folder, "--markdown").out
    assert nondet("report", folder).code == 0
    page = (folder / "report.html").read_text()
    assert ">margin</a></th>" in page
    assert ">Spread of a run's logits, by condition</title>" in page
    assert {p.stem for p in map(Path, nondet("figures", folder, "--format", "svg").out.split())} >= {"margin"}


@pytest.mark.usefixtures("added")
def test_it_is_in_the_api(sample: Any) -> None:
    """`nondet.measure` has it, and of predicted classes alone it is not known."""
    outputs, labels = sample()
    found = nd.measure(outputs, labels)
    assert found["margin.mean"].value == pytest.approx(np.ptp(outputs, axis=2).mean())
    assert np.isnan(nd.measure(outputs.argmax(2), labels)["margin.mean"].value)


def test_without_it_nothing_knows_it(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    ran = nondet("run", tiny, "--runs", 3, "--until", "margin.mean.error<5%", "--study", tmp_path / "s")
    assert ran.code == 2
    assert "--until knows no measure 'margin.mean' of this task" in ran.err
