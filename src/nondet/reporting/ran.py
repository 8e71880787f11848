"""How the page's study was made, in a few words: which network, which recipe, when and on what; and how to cite it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

from nondet.errors import BadInput
from nondet.models import MODELS
from nondet.running.advice import printable
from nondet.running.request import Request
from nondet.study.study import RECORDED, Study
from nondet.tasks import BUILT_IN, is_file
from nondet.version import __version__


def ran(study: Study) -> list[tuple[str, str]]:
    """Return what is known, each part with its name; a study may be a stranger's, so none of its code is used."""
    made = [("Runs", "made elsewhere")] if RECORDED in study.identity else _trained(study)
    parts = [*made, ("Trained", _dates(study)), ("On", _machine(study))]
    return [(name, printable(text)) for name, text in parts if text]


def _trained(study: Study) -> list[tuple[str, str]]:
    command = study.request.get("command")
    if isinstance(command, list):
        return [("Command", shlex.join(map(str, command)))]
    try:
        request = Request.of(study.request)
    except BadInput:
        return []
    return [_network(request), ("Recipe", _recipe(request))]


def _network(request: Request) -> tuple[str, str]:
    if request.model is not None:
        return "Network", f"{request.model}: {MODELS[request.model]}" if request.model in MODELS else request.model
    if request.task in BUILT_IN:
        return "Data and network", BUILT_IN[request.task].text
    return "Network", f"the model of {Path(request.task).name}" if is_file(request.task) else "the model of the task"


def _recipe(request: Request) -> str:
    where = Path(request.task).name if is_file(request.task) else request.task
    changes = ", ".join(f"{name} = {value}" for name, value in request.assignments.items())
    return f"{changes}; everything else as in {where}" if changes else f"as in {where}, unchanged"


def _dates(study: Study) -> str:
    """Return the days on which the first run began and the last one ended."""
    days: list[date] = []
    for key in study.planned().keys() & study.store.keys():
        record = study.store.record(key)
        for name in ("started", "ended"):
            try:
                days.append(datetime.fromisoformat(str(record.get(name))).date())
            except ValueError:  # a run that was made elsewhere, or a record that someone else wrote
                continue
    if not days:
        return ""
    first, last = min(days), max(days)
    return _day(first) if first == last else f"{_day(first)} to {_day(last)}"


def _day(day: date) -> str:
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"  # the same in every locale


MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def _machine(study: Study) -> str:
    environment = study.environment
    device = str(environment.get("gpu") or environment.get("processor") or "")
    precision = str(environment.get("precision") or "")
    torch = environment.get("torch")
    return ", ".join(filter(None, [device, precision, f"torch {torch}" if torch else ""]))


PAPER = """@inproceedings{summers2021nondeterminism,
  author = {Summers, Cecilia and Dinneen, Michael J.},
  title = {Nondeterminism and Instability in Neural Network Optimization},
  booktitle = {Proceedings of the 38th International Conference on Machine Learning},
  year = {2021},
}"""


SOFTWARE = f"""@software{{nondet,
  author = {{{{The nondet developers}}}},
  title = {{nondet}},
  version = {{{__version__}}},
}}"""


def cite(facts: str) -> tuple[str, Sequence[Sequence[str]]]:
    """Return the sentence, and the lines of each BibTeX entry. facts: what was run, from the top of the page."""
    text = (
        f"Run-to-run variability was measured with nondet {__version__} ({facts}), following the protocol of Summers "
        "and Dinneen (2021); intervals are 95 % intervals."
    )
    return text, [SOFTWARE.splitlines(), PAPER.splitlines()]
