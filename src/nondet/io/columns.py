"""What each column of a table of outputs is, by its name: predicted classes, the logits of a class, or neither.

A column is taken for outputs only where its name leaves no doubt: a name of predictions, or its place in a numbered or
lettered series, or behind a word such as logit. Everything else is left out, which is said, or refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase

from nondet.errors import BadInput
from nondet.io.foreign import LABELS

KEYS = ("run", "example")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


PREDICTIONS = _set(
    "pred preds prediction predictions predicted predict y_pred ypred y_hat yhat argmax pred_class pred_label "
    "predicted_class predicted_classes predicted_label prediction_class class_pred label_pred"
)
"""Names of predicted classes, whatever else is there."""

PERHAPS = _set("class classes answer choice decision guess")
"""Names of predicted classes where none of those is there."""

LOGITS = _set("logit logits")
NAMED = LOGITS | _set("prob probs proba probability logprob log_prob log_probability softmax")
"""Words before the name or the number of a class."""

NUMBERED = NAMED | _set("p c class score scores output outputs out z")
"""Words before the number of a class alone."""

OTHERS = _set(
    "seed epoch epochs step steps iteration iter fold split id ids idx index uid correct incorrect right wrong hit "
    "hits error errors err flag mask valid ok acc accuracy conf confidence certainty uncertainty prob probs proba "
    "probability logprob p score scores max min mean std sd var median sum top rank margin entropy loss losses nll ce "
    "brier ece auc temperature weight weights lr time times seconds duration date timestamp batch worker host gpu "
    "device model name path file filename image text group subgroup fraction count n size length true truth target "
    "targets gold gt y label labels actual expected run runs example examples replicate repeat trial version logit "
    "logits"
)
"""Words in the names of columns that go with outputs and are none."""


EXAMPLES = _set(
    "example examples idx index id uid sample sample_id sample_idx example_id example_idx item item_id instance "
    "instance_id image_id question_id query_id doc_id row_id guid"
)
"""Names of the column that tells one test example from another."""

RUNS = _set("run run_id seed trial replicate repeat repetition rep model_seed random_seed member fold")
"""Names of the column that tells one run from another."""


def is_of_examples(names: Sequence[str]) -> bool:
    """Whether a table with these columns has a row for each test example: a score of a run has none."""
    if {"run", "example"} <= {*names}:
        return True
    if not {snake(name) for name in names} & EXAMPLES:
        return False
    rest = [name for name in names if snake(name) not in EXAMPLES]
    return any(name.lower() in LABELS or snake(name) in PREDICTIONS for name in rest) or bool(_families(rest))


@dataclass(frozen=True)
class Columns:
    """The columns of a table of outputs.

    values: one of predicted classes, or a class's logits each, in the order of the classes. beside: a column of
        predicted classes beside logits, which must say the same. left_out: what is read as nothing.
    chosen: whether another reading would have been possible, so that this one is worth a line.
    """

    values: tuple[str, ...]
    beside: str = ""
    left_out: tuple[str, ...] = ()
    chosen: bool = False

    def words(self, path: Path) -> str:
        """What was read as what, in a line; empty where there was no choice."""
        if not self.chosen:
            return ""
        what = "predicted classes" if len(self.values) == 1 else "logits"
        out = f"; left out: {shown(self.left_out)}" if self.left_out else ""
        return f"{path}: {what} are read from {shown(self.values)}{out}"


def columns_of(path: Path, is_number: Mapping[str, bool], wanted: Sequence[str] = ()) -> Columns:
    """Tell a table's columns apart.

    Args:
        is_number: the columns' names, and whether they hold numbers as far as is known.
        wanted: the columns of outputs, as the user names them, one or several joined by commas in each word; without,
            their names decide.

    Raises:
        BadInput: a column is missing, or it is in doubt which are the outputs.
    """
    names = [name for name in is_number if name not in (*KEYS, *LABELS)]
    if not set(KEYS) <= set(is_number) or not names:
        raise _missing(path, list(is_number))
    if wanted:
        return _wanted(path, names, wanted)
    families = _families(names)
    logits = [family for word, family in families.items() if _ends_in(word, LOGITS)] or list(families.values())
    sure = _called(names, PREDICTIONS, logits)
    predictions = sure or ([] if logits else _called(names, PERHAPS, logits))
    if len(logits) > 1 or len(predictions) > 1:
        raise _doubt(path, [*predictions, *(name for family in logits for name in family)], predictions or logits[0])
    used = {*predictions, *(name for family in logits for name in family)}
    rest = [name for name in names if name not in used]
    others = {name for family in families.values() for name in family}  # of probabilities beside logits
    unknown = [name for name in rest if is_number[name] and name not in others and not _words(name) & OTHERS]
    if logits:
        if unknown:
            raise _doubt(path, [*logits[0], *unknown], logits[0])
        return Columns(logits[0], next(iter(predictions), ""), tuple(rest), bool(rest or predictions))
    if predictions:
        if unknown and not sure:
            raise _doubt(path, [*predictions, *unknown], predictions)
        return Columns(tuple(predictions), "", tuple(rest), bool(rest))
    if not unknown:
        raise _missing(path, list(is_number))
    if len(rest) > 1:
        raise _doubt(path, unknown, unknown)
    return Columns(tuple(unknown), chosen=True)


def shown(names: Sequence[str]) -> str:
    """Names in quotes, not more than eight."""
    return ", ".join(map(ascii, names[:8])) + (", ..." if len(names) > 8 else "") or "no column"


def _wanted(path: Path, names: Sequence[str], wanted: Sequence[str]) -> Columns:
    """The columns that these words name; a name may itself hold a comma."""
    parts = [part for word in wanted for part in ([word] if word in names else word.split(","))]
    chosen = tuple(dict.fromkeys(part if part in names else part.strip() for part in parts))
    for name in chosen:
        if name not in names:
            raise BadInput(
                f"<<columns>> must name columns of {path} that hold outputs (got {name!a}); choose from {shown(names)}"
            )
    return Columns(chosen, "", tuple(name for name in names if name not in chosen), True)


def _called(names: Sequence[str], known: frozenset[str], families: Sequence[Sequence[str]]) -> list[str]:
    """The columns with one of these names that are in no family."""
    taken = {name for family in families for name in family}
    return [name for name in names if snake(name) in known and name not in taken]


def _families(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The sets of two or more columns whose names make them a class each, by the word they share; each in the order
    of its numbers, or else as it stands."""
    numbered: dict[str, dict[int, str]] = {}
    lettered: dict[int, str] = {}
    named: dict[str, list[str]] = {}
    for name in names:
        plain = snake(name)
        found = re.fullmatch(r"(.*?)_?(\d{1,6})", plain, re.ASCII)
        word, _, rest = plain.partition("_")
        if plain.startswith(("log_prob_", "log_probability_")):
            word, rest = "_".join(plain.split("_")[:2]), plain.split("_", 2)[2]
        if found and (not found[1] or _ends_in(found[1], NUMBERED)):
            numbered.setdefault(found[1], {})[int(found[2])] = name
        elif len(plain) == 1 and plain in ascii_lowercase:
            lettered[ascii_lowercase.index(plain)] = name
        elif word in NAMED and rest and not _words(rest) & OTHERS:
            named.setdefault(word, []).append(name)
    whole = {word: tuple(found[k] for k in sorted(found)) for word, found in numbered.items() if _is_series(found)}
    whole |= {word: tuple(found) for word, found in named.items() if len(found) > 1}
    if _is_series(lettered) and list(lettered) == sorted(lettered):
        whole["a"] = tuple(lettered.values())
    return whole


def _is_series(found: Mapping[int, str]) -> bool:
    """Whether two or more numbers count up from 0 or 1 without a gap."""
    numbers = sorted(found)
    return len(numbers) > 1 and numbers[0] in (0, 1) and numbers[-1] - numbers[0] == len(numbers) - 1


def _ends_in(name: str, words: frozenset[str]) -> bool:
    return name.rpartition("_")[2] in words


def _words(name: str) -> set[str]:
    """The words of a name, numbers at their ends left out."""
    return {re.sub(r"\d+$", "", word) for word in snake(name).split("_")} | {snake(name)}


def snake(name: str) -> str:
    """A name in lower case, its words joined by `_`."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^0-9a-zA-Z]+", "_", apart).strip("_").lower()


def _missing(path: Path, names: Sequence[str]) -> BadInput:
    return BadInput(
        f"{path} must have columns run, example and one of classes or several of logits (got {shown(names)}); call "
        "them pred, or logit_0, logit_1 and so on, or name them with <<columns>>"
    )


def _doubt(path: Path, names: Sequence[str], likely: Sequence[str]) -> BadInput:
    word = ",".join(likely[:3]) + (",..." if len(likely) > 3 else "")
    return BadInput(
        f"{path} must have one column of predicted classes (pred) or a numbered one of logits for each class (logit_0, "
        f"logit_1, ...), and of {shown(names)} it cannot be told which are outputs; rename them, or name those that "
        f"are with <<columns>>: one of classes, or the logits in the order of the classes, such as <<columns={word!a}>>"
    )
