"""What a study, or runs made elsewhere, show: how much runs differ, as tables and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping

from nondet.analysis.independence import copies_words
from nondet.analysis.results import Results
from nondet.measures.measured import Measures
from nondet.measures.shape import about, few_runs
from nondet.reporting import crossing, prose, table
from nondet.reporting.finding import Finding, Part, brackets, capital, share
from nondet.running import until
from nondet.stats.estimate import Estimate

CLASSES_ALONE = "Predicted classes alone give accuracy and disagreement; the other measures need logits."

_VARIES = {"bit": "one bit of one weight varies", "all": "every source but bit varies"}


def finding(found: Results) -> Finding | None:
    """Say what a study's conditions show, or its crossed design if there is nothing else."""
    return of_study(found) or (crossing.finding(found.crossing) if found.crossing else None)


def parts(found: Results) -> list[Part]:
    """Return the table of the conditions, and that of a crossed design."""
    said = of_study(found)
    below = [
        prose.failures(found),
        *prose.dead_words(found),
        *((said.text, said.caution) if said else ()),
        *prose.unreached_words(found),
        until.words(found.study.until, found.dead),
    ]
    head, rows, above = table.head(found.kind.figures), table.rows(found), prose.control_words(found)
    first = Part(head, rows, below, above, intervals=table.rows(found, intervals=True), short=table.SHORT)
    c = found.crossing
    return [first, *([Part(crossing.head(c), crossing.rows(c), crossing.words(c))] if c else [])]


def cautions(results: Results) -> list[str]:
    """Return what makes the numbers of a study less sure than they look, one sentence each."""
    sound = {c.condition.name: c.runs - len(c.failures) for c in results.conditions if not c.dead}
    noted = [about(c.condition.name, note) for c in results.conditions if c.effect for note in c.effect.notes]
    probable = [c.condition.name for c in results.conditions if c.effect and c.effect.probabilities]
    return [*(f"{name}: {prose.PROBABILITIES}" for name in probable), *filter(None, [few_runs(sound)]), *noted]


def measured_parts(found: Measures) -> list[Part]:
    """Return the table of outputs made elsewhere."""
    pairs, said = found.sampled_pairs, of_measures(found)
    below = [
        said.text,
        said.caution,
        CLASSES_ALONE if found.classes_alone else "",
        f"The ensembles are those of {pairs} sampled pairs, not of all." if pairs else "",
    ]
    skew = table.lopsided(found.figures, [found])
    rows, intervals = [table.measured_row(found)], [table.measured_row(found, skew)]
    return [Part(table.head(found.figures), rows, below, intervals=intervals)]


def measured_cautions(found: Measures) -> list[str]:
    """Return what makes the numbers of outputs made elsewhere less sure than they look."""
    copied = [capital(words) for words in copies_words(found.name, found.copies, found.near)]
    probable = prose.PROBABILITIES if found.probabilities else ""
    return [probable, *copied, few_runs({"outputs": found.runs}), *found.notes]


def of_study(results: Results) -> Finding | None:
    """Say how much runs disagree by source, what one bit does and how the score spreads; None if there is only a
    crossed design."""
    if results.crossing and not results.conditions:
        return None
    differing = [c for c in results.conditions if not c.reach.past and c.reach.distinct != 1]
    measured = {c.condition.name: c.effect for c in differing if c.effect}
    if not measured and any(c.measures for c in results.conditions):
        return Finding("No condition has runs that differ from the reference run, so there is nothing to compare.")
    if not measured:
        return Finding("No condition has two runs that did not fail, so there is nothing to compare yet.")
    sources = {c.condition.name: len(c.condition.vary) for c in differing}
    first = "all" if "all" in measured else ""  # or the one in which most sources vary, and of several the widest
    name = first or max(measured, key=lambda name: (sources[name], _width(measured[name])))
    what = f"{results.kind.example}s"
    varies = _VARIES.get(name, f"{name.replace('+', ' and ')} {'vary' if '+' in name else 'varies'}")
    when = f" when {varies}" + (
        "" if results.control.identical is not False else ", along with something that no source names"
    )
    shown = {n: m["disagreement"] for n, m in measured.items() if "disagreement" in m.estimates}
    if len(shown) > 1 and not any(e.value for e in shown.values()):
        return Finding(f"No two of these runs disagree on any test {what[:-1]}, whatever varies.")
    compared = name in shown and len(shown) > 1
    least, *_, most = sorted(shown, key=lambda name: shown[name].value) if compared else ("", "")
    more: list[str] = []
    if compared:
        more.append(
            f"Source by source, it ranges from {share(shown[least])} ({least}) to {share(shown[most])} ({most})."
        )
        if results.control.identical and "bit" in shown and "all" in shown and shown["all"].value > 0:
            more.append(f"One bit of one weight alone {_bit(measured['bit'], shown['all'])}.")
    found = _of(measured[name], what, when, results.drawn)
    caveats = [*([_apart(shown, least, most)] if compared else []), *found.caveats]
    estimates = [*shown.values(), _score(measured[name])]
    return Finding(found.headline, (*more, *found.sentences), (*filter(None, caveats), *brackets(0.05, estimates)))


def of_measures(measures: Measures) -> Finding:
    """Report the same for runs that were made elsewhere."""
    what = "examples" if "accuracy.mean" in measures or "perplexity.mean" not in measures else "tokens"
    found = _of(measures, what, f", over these {measures.runs} runs", measures.drawn)
    estimates = [measures.get("disagreement"), _score(measures)]
    return Finding(found.headline, found.sentences, (*found.caveats, *brackets(0.05, estimates)))


def _of(m: Measures, what: str, when: str, drawn: bool) -> Finding:
    """Say how often two runs disagree, or how the score spreads if there are no classes, and the test set's part."""
    part, spread = m.get("disagreement"), _spread(m)
    limit, caveats = _split(m, drawn)
    if math.isnan(part.value):
        mean = next(iter(m))
        return Finding(f"{spread} from run to run{when}.", (f"Its mean is {m[mean].value:.4g}.",), caveats)
    next_word = ", in their most probable next word," if what == "tokens" else ""
    headline = f"Two runs disagree on {share(part)} of the test {what}{next_word}{when}."
    return Finding(headline, (f"{spread}{limit}.",), caveats)


def _width(m: Measures) -> float:
    """Return how much runs differ, by which a study's conditions are ranked."""
    part = m.get("disagreement").value
    return _score(m).value if math.isnan(part) else part


def _score(m: Measures) -> Estimate:
    return m[list(m)[1]]


def _spread(m: Measures) -> str:
    """Say how far a score spreads."""
    first = next(iter(m))
    figures = {figure.name: figure for figure in m.figures}
    name, sd = first.split(".")[0], _score(m)
    unit = figures[f"{name}.sd"].unit
    within = f" [{_points(sd.low)}, {_points(sd.high)}]" if sd.known else ""
    return f"{name[:1].upper()}{name[1:]} has an SD of {_points(sd.value)}{f' {unit}' if unit else ''}{within}"


def _split(m: Measures, drawn: bool) -> tuple[str, tuple[str, ...]]:
    """Return what the SD would be on an infinitely large test set, to end a sentence, and the caveats about that.

    drawn: whether intervals also hold for other test examples; if not, a caveat says so.
    """
    total, part, rest = (m.get(f"accuracy_variance.{name}") for name in ("total", "test_set", "training"))
    if not total.value > 0 or math.isnan(rest.value) or math.isnan(rest.low):
        return "", ()
    caused = f"{part.value:.2g} of the {total.value:.2g} squared points of accuracy's variance"
    high = _points(math.sqrt(max(rest.high, 0.0)))
    alone = () if drawn else ("These intervals allow for other runs, but not for other test examples.",)
    if rest.low > 0:
        text = f"{_points(math.sqrt(rest.value))} points [{_points(math.sqrt(rest.low))}, {high}]"
        return f"; on an infinitely large test set it would be {text}", alone
    limit = f"; on an infinitely large test set it would be at most {high} points"
    if rest.value <= 0:
        return limit, ("The finite test set alone explains accuracy's variance.", *alone)
    return limit, (f"The finite test set causes {caused}; the rest is not clearly above zero.", *alone)


def _points(value: float) -> str:
    """Format with two decimals, or with two significant digits for a smaller number."""
    return f"{value:.2f}" if value == 0 or value >= 0.1 else f"{value:.2g}"


def _apart(shown: Mapping[str, Estimate], low: str, high: str) -> str:
    """Say whether the intervals of the smallest and the largest overlap, and what that shows."""
    below, above = shown[low], shown[high]
    if not below.known or not above.known:  # there are only two runs, or all answer the same
        return ""
    if below.high >= above.low:
        return f"The intervals of {low} and {high} overlap, so these runs do not show that the two differ."
    if len(shown) > 2:
        return (
            f"The intervals of {low} and {high} do not overlap, but the extremes of {len(shown)} conditions can be "
            "that far apart by chance."
        )
    return ""


def _bit(bit: Measures, every: Estimate) -> str:
    """Say what one bit does, and its share of what all sources do, with an interval if there is one."""
    own = bit["disagreement"]
    if own.value == 0:
        return f"changed no answer in these {bit.sound} runs"
    part, low, high = ratio(own, every)
    if high < 0.1:
        return f"gives {own.value:.2g} %: this training hardly amplifies it"
    interval = "" if math.isnan(low) else f" [{100 * low:.0f}, {100 * high:.0f}]"
    return f"gives {own.value:.2g} %, which is {100 * part:.0f} %{interval} of what all sources give"


def ratio(a: Estimate, b: Estimate) -> tuple[float, float, float]:
    """Return the ratio of two positive estimates and its 95 % interval, combined on the logarithmic scale."""
    part = a.value / b.value
    if math.isnan(a.low) or math.isnan(b.low):
        return part, math.nan, math.nan
    down = math.hypot(math.log(a.value / a.low), math.log(b.high / b.value))
    up = math.hypot(math.log(a.high / a.value), math.log(b.value / b.low))
    return part, part * math.exp(-down), part * math.exp(up)
