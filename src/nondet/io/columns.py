"""Tell from the names of a table's columns which are predicted classes, which are logits, and which are neither.

A column counts as outputs only if its name leaves no doubt: it is a usual name of predictions, belongs to a numbered or
lettered series, or begins with a word such as logit. Everything else is left out, with a message, or refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import ascii_lowercase

from nondet.errors import BadInput
from nondet.io.foreign import LABELS

KEYS = ("run", "example")


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PREDICTIONS = words(
    "pred preds prediction predictions predicted predict y_pred ypred y_hat yhat argmax pred_class pred_label "
    "predicted_class predicted_classes predicted_label prediction_class class_pred label_pred"
)
"""Names that always mean predicted classes."""

PERHAPS = words("class classes answer choice decision guess")
"""Names that mean predicted classes if none of PREDICTIONS is there."""

LOGITS = words("logit logits")
NAMED = LOGITS | words("prob probs proba probability logprob log_prob log_probability softmax")
"""Words that may precede the name or the number of a class."""

NUMBERED = NAMED | words("p c class score scores output outputs out z")
"""Words that may precede the number of a class, but not its name."""

OTHERS = words(
    "seed epoch epochs step steps iteration iter fold split id ids idx index uid correct incorrect right wrong hit "
    "hits error errors err flag mask valid ok acc accuracy conf confidence certainty uncertainty prob probs proba "
    "probability logprob p score scores max min mean std sd var median sum top rank margin entropy loss losses nll ce "
    "brier ece auc temperature weight weights lr time times seconds duration date timestamp batch worker host gpu "
    "device model name path file filename image text group subgroup fraction count n size length true truth target "
    "targets gold gt y label labels actual expected run runs example examples replicate repeat trial version logit "
    "logits"
)
"""Words in the names of columns that accompany outputs but are not outputs."""


EXAMPLES = words(
    "example examples idx index id uid sample sample_id sample_idx example_id example_idx item item_id instance "
    "instance_id image_id question_id query_id doc_id row_id guid"
)
"""Names of the column that tells one test example from another."""

RUNS = ("run", "run_id", "seed", "random_seed", "model_seed", "trial", "replicate", "repeat", "rep", "member", "fold")
"""Names of the column that tells one run from another, the surest first."""

TRUTHS = words("label labels target targets gold y_true true_label label_ids truth ground_truth answer_key")
"""Names of the column of labels."""

_RUN = re.compile(r"(?:.*_)?(?:run|seed|trial|replicate|repeat|rep|member|model)_?(\d{1,6})(?:_pred\w*)?", re.ASCII)
"""The name of a column that contains the classes of one run."""


def is_of_examples(names: Sequence[str]) -> bool:
    """Whether a table with these columns has a row for each test example, unlike a table of scores."""
    if {"run", "example"} <= {*names}:
        return True
    if not {snake(name) for name in names} & EXAMPLES:
        return bool(label_of(names) and runs_of(names))
    rest = [name for name in names if snake(name) not in EXAMPLES]
    return any(snake(name) in TRUTHS | PREDICTIONS for name in rest) or bool(_families(rest))


def key_of(names: Sequence[str], key: str) -> str:
    """Return the column that names runs or examples, trying the surest names first; empty if there is none."""
    if key in names:
        return key
    known: Sequence[str] = RUNS if key == "run" else sorted(EXAMPLES)
    return next((name for word in known for name in names if snake(name) == word), "")


def label_of(names: Sequence[str]) -> str:
    """Return the column of labels; empty if there is none, or if there are several."""
    found = [name for name in names if name in LABELS] or [name for name in names if snake(name) in TRUTHS]
    return found[0] if len(found) == 1 else ""


def runs_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that each contain the classes of one run, in the order of their numbers."""
    found = {int(match[1]): name for name in names if (match := _RUN.fullmatch(snake(name)))}
    return tuple(found[number] for number in sorted(found)) if len(found) > 1 else ()


@dataclass(frozen=True)
class Columns:
    """The columns of a table of outputs.

    values: one column of predicted classes, or one of logits for each class, in the order of the classes.
    beside: a column of predicted classes next to logits, which must agree with them. left_out: the columns not read.
    chosen: whether the table could have been read in another way, so that a message is due.
    run, example: the columns that name them. wide: whether each of `values` contains the classes of one run.
    """

    values: tuple[str, ...]
    beside: str = ""
    left_out: tuple[str, ...] = ()
    chosen: bool = False
    run: str = "run"
    example: str = "example"
    wide: bool = False

    def words(self, path: Path) -> str:
        """Return a line that says which columns were read as what; empty if there was no choice."""
        if not self.chosen:
            return ""
        what = "predicted classes" if len(self.values) == 1 or self.wide else "logits"
        out = f"; left out: {shown(self.left_out)}" if self.left_out else ""
        keys = f", one run each; examples are named by {self.example!a}" if self.wide else ""
        if not self.wide and (self.run, self.example) != KEYS:
            keys = f"; runs are named by {self.run!a}, examples by {self.example!a}"
        return f"{path}: {what} are read from {shown(self.values)}{keys}{out}"


def columns_of(path: Path, is_number: Mapping[str, bool], wanted: Sequence[str] = ()) -> Columns:
    """Tell a table's columns apart.

    Args:
        is_number: the columns' names, and whether they contain numbers as far as is known.
        wanted: the columns of outputs as the user names them, one or several joined by commas in each word. If left
            out, the columns' names decide.

    Raises:
        BadInput: a column is missing, or it is unclear which are the outputs.
    """
    run, example, label = key_of([*is_number], "run"), key_of([*is_number], "example"), label_of([*is_number])
    if wide := _wide(is_number, run, example, label):
        return wide
    if not run or not example:
        raise _missing(path, list(is_number))
    found = _outputs_of(path, is_number, [name for name in is_number if name not in (run, example, label)], wanted)
    named = (run, example) != KEYS
    return replace(found, run=run, example=example, chosen=found.chosen or named)


def _wide(is_number: Mapping[str, bool], run: str, example: str, label: str) -> Columns | None:
    """Return the columns of a table that has one of classes for each run; None for any other table."""
    runs = runs_of([name for name in is_number if name not in (example, label)])
    if (run and run not in runs) or not runs or not (example or label):
        return None
    rest = tuple(name for name in is_number if name not in (*runs, example, label))
    return Columns(runs, left_out=rest, chosen=True, example=example, wide=True)


def _outputs_of(path: Path, is_number: Mapping[str, bool], names: Sequence[str], wanted: Sequence[str]) -> Columns:
    """Return which of these columns are outputs: those asked for, or those whose names say so."""
    if not names:
        raise _missing(path, list(is_number))
    if wanted:
        return _wanted(path, names, wanted)
    families = _families(names)
    logits = [family for word, family in families.items() if _last(word) in LOGITS] or list(families.values())
    columns = dict.fromkeys(name for family in logits for name in family)
    free = [name for name in names if name not in columns]
    sure = [name for name in free if snake(name) in PREDICTIONS]
    predictions = sure or [name for name in free if not logits and snake(name) in PERHAPS]
    if len(logits) > 1 or len(predictions) > 1:
        raise _doubt(path, [*predictions, *columns], predictions or logits[0])
    rest = [name for name in free if name not in predictions]
    others = {name for family in families.values() for name in family}  # such as probabilities next to logits
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
    """Return names in quotes, at most eight of them."""
    return ", ".join(map(ascii, names[:8])) + (", ..." if len(names) > 8 else "") or "no column"


def _wanted(path: Path, names: Sequence[str], wanted: Sequence[str]) -> Columns:
    """Return the columns that these words name; a name may contain a comma itself."""
    parts = [part for word in wanted for part in ([word] if word in names else word.split(","))]
    chosen = tuple(dict.fromkeys(part if part in names else part.strip() for part in parts))
    for name in chosen:
        if name not in names:
            raise BadInput(
                f"<<columns>> must name columns of outputs of {path} (got {name!a}); choose from {shown(names)}"
            )
    return Columns(chosen, "", tuple(name for name in names if name not in chosen), True)


def _families(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the families of two or more columns, one column for each class, by the word that their names share.

    A family is in the order of its numbers, or else in that of the table.
    """
    numbered: dict[str, dict[int, str]] = {}
    lettered: dict[int, str] = {}
    named: dict[str, list[str]] = {}
    for name in names:
        plain = snake(name)
        found = re.fullmatch(r"(.*?)_?(\d{1,6})", plain, re.ASCII)
        word, _, rest = plain.partition("_")
        if plain.startswith(("log_prob_", "log_probability_")):
            word, rest = "_".join(plain.split("_")[:2]), plain.split("_", 2)[2]
        if found and (not found[1] or _last(found[1]) in NUMBERED):
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


def _last(name: str) -> str:
    return name.rpartition("_")[2]


def _words(name: str) -> set[str]:
    """Return the words of a name without the numbers at their ends, and the whole name."""
    return {re.sub(r"\d+$", "", word) for word in snake(name).split("_")} | {snake(name)}


def snake(name: str) -> str:
    """Return a name in lower case, its words joined by `_`."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^0-9a-zA-Z]+", "_", apart).strip("_").lower()


def _missing(path: Path, names: Sequence[str]) -> BadInput:
    return BadInput(
        f"{path} must have columns run, example and one of classes or several of logits (got {shown(names)}); call "
        "the outputs pred, or logit_0, logit_1 and so on, or name them with <<columns>>"
    )


def _doubt(path: Path, names: Sequence[str], likely: Sequence[str]) -> BadInput:
    word = ",".join(likely[:3]) + (",..." if len(likely) > 3 else "")
    return BadInput(
        f"{path} must have one column of predicted classes (pred) or a numbered one of logits for each class (logit_0, "
        f"logit_1, ...), and it is unclear which of {shown(names)} are outputs; rename them, or name the outputs "
        f"with <<columns>>: one of classes, or the logits in the order of the classes, such as <<columns={word!a}>>"
    )
