"""The words of a page, explained: what its short column names and its row names mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nondet.measures.figure import Figure, columns
from nondet.reporting.finding import capital
from nondet.sources import source_called
from nondet.study.design import Condition


@dataclass(frozen=True)
class Word:
    """id: its anchor on the page."""

    id: str
    name: str
    text: str


_FIGURES = {
    "disagreement": "The share of test examples that two runs answer differently; the mean over all pairs.",
    "correlation.pearson": "How similar the outputs of two runs are: 1 if they are the same except for scale, 0 "
    "if they have nothing in common; the mean over all pairs.",
    "ensemble_delta.accuracy": "How many points better two runs are with their predictions averaged than each is "
    "alone; the mean over all pairs.",
    "ensemble_delta.perplexity": "How much averaging the predictions of two runs changes the perplexity of each alone; "
    "the mean over all pairs.",
    "prediction_sd": "The standard deviation of the prediction for an example from run to run; the mean over examples.",
}

_COMMON = {
    "95 % interval": "Of 100 such intervals, each from new runs, about 95 contain the value that infinitely many runs "
    "would give. The two numbers in brackets are its ends.",
    "SD": "Standard deviation: about how far one run is from the mean of the runs.",
    "\N{PLUS-MINUS SIGN}": "The number after it is a standard error: about how far new runs would move the number "
    "before it.",
}

_STUDY = {
    "condition": "A row of the table: the sources in its name vary, with different seeds for each run; everything "
    "else keeps its fixed seed.",
    "deterministic (control)": "Trainings with equal seeds. They must agree to the last bit; if they differ, something "
    "varies that no source names.",
    "reference run": "The run whose seeds are all fixed. All conditions share it: it is the first run of each.",
    "runs": "How many trainings there are, including the reference run.",
}

_OUTSIDE = {
    "arm": "A row of the table: runs of one recipe, made elsewhere.",
    "runs": "How many trainings there are.",
}


def glossary(figures: Sequence[Figure], conditions: Iterable[Condition] | None = None) -> dict[str, Word]:
    """Return the words of a page, by what they explain; without conditions, those of runs made elsewhere."""
    rows = _OUTSIDE if conditions is None else {**_STUDY, **{c.name: _varies(c) for c in conditions}}
    found = {**rows, **{figure.title: _meaning(figure) for figure in columns(figures)}, **_COMMON}
    return {name: Word(f"word-{number}", name, text) for number, (name, text) in enumerate(found.items(), start=1)}


def _meaning(figure: Figure) -> str:
    score, _, what = figure.name.rpartition(".")
    if figure.name in _FIGURES:
        return _FIGURES[figure.name]
    if figure.spread:
        words = figure.words.removeprefix("the ").removesuffix(" SD")
        unit = f", in {figure.unit}" if figure.unit else ""
        return f"The standard deviation of the {words} from run to run{unit}."
    if what == "mean" and score:
        return f"{capital(figure.words)} of the runs on the test set."
    return f"{capital(figure.label)}."


def _varies(condition: Condition) -> str:
    texts = [source_called(name).text or f"the source {name}" for name in condition.vary]
    what = "; ".join(texts)
    late = f", from the end of epoch {condition.onset} on" if condition.onset else ""
    return f"{'These vary' if len(texts) > 1 else 'This varies'}{late}: {what}."
