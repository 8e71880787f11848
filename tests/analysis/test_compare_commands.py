"""`nondet compare` and `nondet plan` from the outside: what they print, refuse and decide."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from nondet.analysis.arm import Arm
from nondet.analysis.compare import compare
from nondet.analysis.independence import pairs, separated, without_copies
from nondet.analysis.plan import plan_from
from nondet.analysis.runs import Runs
from nondet.errors import BadInput
from nondet.io.files import sealed
from nondet.kinds import CLASSIFICATION

Nondet = Callable[..., Any]

KEYS = ["difference", "p_value", "superiority", "sd_ratio", "churn", "verdict", "more_runs"]
CLASSES = 4


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of outputs: a, alike to it, better, worse (10 or 12 runs, 200 examples); y.npy holds the labels."""
    folder = tmp_path_factory.mktemp("arrays")
    rng = np.random.Generator(np.random.Philox(5))
    labels = rng.integers(CLASSES, size=200)
    shared = rng.normal(size=(200, CLASSES)) + 1.5 * np.eye(CLASSES)[labels]

    def write(name: str, runs: int, boost: float = 0.0) -> None:
        outputs = shared + boost * np.eye(CLASSES)[labels] + rng.normal(size=(runs, 200, CLASSES))
        np.save(folder / f"{name}.npy", outputs.astype(np.float32))

    write("a", 10)
    write("alike", 12)
    write("better", 12, 0.5)
    write("worse", 10, -0.5)
    np.save(folder / "y.npy", labels)
    return folder


@pytest.fixture
def give(nondet: Nondet, arrays: Path, monkeypatch: pytest.MonkeyPatch) -> Nondet:
    """`nondet compare A B … --labels y.npy` in the folder of the arrays."""
    monkeypatch.chdir(arrays)

    def command(*words: object) -> Any:
        return nondet("compare", *words, "--labels", "y.npy")

    return command


def arm(values: list[float], name: str = "arm", seeds: list[int] | None = None, seed: int = 0) -> Arm:
    """An arm of runs with these accuracies, predictions drawn at random, and seeds of `init`."""
    rng = np.random.Generator(np.random.Philox(seed))
    answers = rng.integers(0, 3, size=(len(values), 50))
    digests = tuple(f"{name} {place}" for place in range(len(values)))
    return Arm(
        name=name,
        runs=Runs(name, CLASSIFICATION, np.zeros(50, dtype=np.int64), {"outputs": np.eye(3, dtype="f")[answers]}),
        metric=CLASSIFICATION.scores[0],
        values=np.array(values, dtype=float),
        numbers=tuple(range(1, len(values) + 1)),
        digests=digests,
        seeds=None if seeds is None else tuple({"init": s} for s in seeds),
    )


def with_digests(given: Arm, digests: str) -> Arm:
    return replace(given, digests=tuple(digests))


# --- the command -------------------------------------------------------------------------------------------------


def test_json_has_the_keys_of_the_contract(give: Nondet) -> None:
    """One comparison is one object with the keys that scripts rely on, and no NaN."""
    ran = give("a.npy", "better.npy", "--json")
    assert (ran.code, ran.err) == (0, "")
    found = ran.json
    assert set(KEYS) <= set(found)
    assert list(found["difference"]) == ["estimate", "low", "high"] == list(found["sd_ratio"])
    assert list(found["churn"])[:4] == ["between", "within_a", "within_b", "excess"]
    assert found["runs"] == {"a": 10, "b": 12}
    assert (found["verdict"], found["more_runs"]) == ("better", None)


def test_figures_are_those_of_scipy(give: Nondet, arrays: Path) -> None:
    """The difference, its interval and its p-value are Welch's, in points of accuracy, B - A."""
    found = give("a.npy", "worse.npy", "--json", "--level", 0.01).json
    labels = np.load(arrays / "y.npy")
    a, b = (100 * (np.load(arrays / f"{x}.npy").argmax(-1) == labels).mean(1) for x in ("a", "worse"))
    theirs = stats.ttest_ind(b, a, equal_var=False)
    low, high = theirs.confidence_interval(0.99)
    assert found["p_value"] == pytest.approx(theirs.pvalue)
    assert list(found["difference"].values()) == pytest.approx([b.mean() - a.mean(), low, high])
    assert found["superiority"] == pytest.approx(np.mean((b > a[:, None]) + (b == a[:, None]) / 2))
    assert found["sd_ratio"]["estimate"] == pytest.approx(b.std(ddof=1) / a.std(ddof=1))
    assert found["verdict"] == "worse"


def test_lower_cross_entropy_is_better(give: Nondet) -> None:
    """With a metric that is better when lower, a negative difference is `better`, and superiority is high."""
    found = give("a.npy", "better.npy", "--json", "--metric", "cross_entropy").json
    assert found["difference"]["high"] < 0
    assert found["verdict"] == "better"
    assert found["superiority"] > 0.9


def test_a_margin_makes_arms_alike(give: Nondet) -> None:
    """Within a margin that is wide enough the verdict is `alike`, even if the difference is there."""
    assert give("a.npy", "alike.npy", "--json").json["verdict"] == "undecided"
    assert give("a.npy", "alike.npy", "--json", "--margin", 20).json["verdict"] == "alike"
    assert give("a.npy", "better.npy", "--json", "--margin", 30).json["verdict"] == "alike"
    assert give("a.npy", "better.npy", "--json", "--margin", 0.5).json["verdict"] == "better"


def test_several_comparisons_are_adjusted(give: Nondet) -> None:
    """Each further arm is compared with the first, and p_holm is Holm's."""
    found = give("a.npy", "better.npy", "alike.npy", "worse.npy", "--json").json["comparisons"]
    assert [c["b"] for c in found] == ["better.npy", "alike.npy", "worse.npy"]
    p = [c["p_value"] for c in found]
    order = np.argsort(p)
    adjusted = np.minimum(1, np.maximum.accumulate(np.array(p)[order] * [3, 2, 1]))
    assert [found[i]["p_holm"] for i in order] == pytest.approx(adjusted)
    assert all(set(KEYS) <= set(c) for c in found)
    assert [c["verdict"] for c in found] == ["better", "undecided", "worse"]


def test_the_terminal_ends_with_the_verdict(give: Nondet) -> None:
    """The verdict is followed by the interval; one that is not decided says how many more runs."""
    out = " ".join(give("a.npy", "better.npy").out.split())
    assert "better.npy is better than a.npy: mean accuracy is " in out
    assert "on this test set, but not for other test examples. Brackets show 95 % intervals." in out
    out = " ".join(give("a.npy", "alike.npy").out.split())
    assert "It is undecided whether alike.npy is better or worse than a.npy" in out
    assert "would decide with a chance of 80 %" in out


def test_names_cannot_move_the_cursor(nondet: Nondet, arrays: Path, tmp_path: Path) -> None:
    """Control characters in a file's name are not printed."""
    evil = tmp_path / "\x1b[2J[bold]b.npy"
    evil.write_bytes((arrays / "better.npy").read_bytes())
    ran = nondet("compare", arrays / "a.npy", evil, "--labels", arrays / "y.npy")
    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert "[bold]b.npy" in "".join(ran.out.split())


def test_the_order_of_runs_does_not_matter(give: Nondet, arrays: Path, tmp_path: Path) -> None:
    """The same runs in another order give the same figures."""
    rng = np.random.Generator(np.random.Philox(1))
    np.save(tmp_path / "again.npy", rng.permutation(np.load(arrays / "better.npy"), axis=0))
    first, again = (give("a.npy", b, "--json").json for b in ("better.npy", tmp_path / "again.npy"))
    for figure in ("difference", "p_value", "p_permutation", "superiority", "sd_ratio"):
        assert again[figure] == pytest.approx(first[figure])
    assert again["churn"]["excess"] == pytest.approx(first["churn"]["excess"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("a.npy", "better.npy", "--margin", "0"), "margin must be above 0 (got 0.0)"),
        (("a.npy", "better.npy", "--margin", "nan"), "margin must be above 0 (got nan)"),
        (("a.npy", "better.npy", "--level", "1"), "level must be above 0 and below 0.5 (got 1.0)"),
        (("a.npy", "better.npy", "--metric", "perplexity"), "is a classifier and has no perplexity"),
        (("a.npy", "nowhere"), "nowhere must be a study, STUDY:condition, or outputs"),
        (("a.npy", "nowhere:all"), "nowhere:all must be a study, STUDY:condition, or outputs"),
        (("a.npy", "a.npy:all"), "is not a study but a file"),
        (("a.npy", "a.npy"), "are the same 10 runs"),
        (("a.npy", "one.npy"), "one.npy: runs must be at least 2"),
        (("a.npy", "copies.npy"), "runs must be at least 2 that differ (all 3 of copies.npy have equal outputs"),
        (("a.npy", "part.npy"), "which leaves 1"),
        (
            ("a.npy", "short.npy"),
            "short.npy: there must be as many labels as examples (got 200 labels for 100 examples)",
        ),
        (("a.npy", "nan.npy"), "nan.npy: outputs must be finite"),
        (("a.npy", "floats.npy"), "floats.npy: outputs must have three axes"),
        (("classes.npy", "a.npy"), "are the same 10 runs: their answers are all equal"),
        (("better.npy", "classes.npy", "--metric", "cross_entropy"), "is predicted classes and has no cross_entropy"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    give: Nondet, nondet: Nondet, arrays: Path, words: tuple[str, ...], sentence: str
) -> None:
    """Exit status 2, and one sentence with the rule, the value and the way out."""
    a = np.load(arrays / "a.npy")
    broken = a.copy()
    broken[1, 2, 3] = np.nan
    made = {
        "one": a[:1],
        "copies": a[[0, 0, 0]],
        "part": a[:9],
        "short": a[:, :100],
        "nan": broken,
        "floats": a[:, :, 0],
        "classes": a.argmax(-1),
    }
    for name, array in made.items():
        np.save(arrays / f"{name}.npy", array)
    ran = give(*words)
    assert (ran.code, ran.out) == (2, "")
    assert sentence in ran.err
    assert len(ran.err.splitlines()) == 1


def test_outputs_need_labels(nondet: Nondet, arrays: Path) -> None:
    """Without --labels a file that holds outputs alone is refused; one that holds labels beside them is not."""
    ran = nondet("compare", arrays / "a.npy", arrays / "better.npy")
    assert ran.code == 2
    assert "add --labels FILE" in ran.err
    for name in ("a", "better"):
        np.savez(arrays / f"{name}.npz", outputs=np.load(arrays / f"{name}.npy"), labels=np.load(arrays / "y.npy"))
    assert nondet("compare", arrays / "a.npz", arrays / "better.npz").code == 0


def test_other_labels_are_another_test_set(nondet: Nondet, arrays: Path) -> None:
    """Outputs that come with other labels are not compared."""
    labels = np.load(arrays / "y.npy")
    for name, truth in (("a", labels), ("better", np.roll(labels, 1))):
        np.savez(arrays / f"{name}.rolled.npz", outputs=np.load(arrays / f"{name}.npy"), labels=truth)
    ran = nondet("compare", arrays / "a.rolled.npz", arrays / "better.rolled.npz")
    assert ran.code == 2
    assert "have different labels at" in ran.err


def test_probabilities_are_warned_of(give: Nondet, arrays: Path) -> None:
    """Outputs that look like probabilities are compared, with a warning on standard error."""
    powers = np.exp(np.load(arrays / "better.npy").astype(float))
    np.save(arrays / "probabilities.npy", powers / powers.sum(-1, keepdims=True))
    ran = give("a.npy", "probabilities.npy", "--json")
    assert ran.code == 0
    assert "warning: probabilities.npy: the outputs look like probabilities" in ran.err
    assert ran.json["verdict"] == "better"


def test_classes_alone_can_be_compared(give: Nondet, arrays: Path) -> None:
    """Predicted classes give what logits give, in any integer type."""
    for name in ("a", "better"):
        np.save(arrays / f"{name}.only.npy", np.load(arrays / f"{name}.npy").argmax(-1).astype(np.uint8))
    logits, classes = (give(f"a{x}.npy", f"better{x}.npy", "--json").json for x in ("", ".only"))
    assert {k: classes[k] for k in KEYS} == {k: logits[k] for k in KEYS}


# --- runs that are not independent -------------------------------------------------------------------------------


def test_copies_count_once(give: Nondet, arrays: Path) -> None:
    """Runs with equal outputs inside an arm count as one, in whatever precision they come, and a note names them."""
    better = np.load(arrays / "better.npy")
    np.save(arrays / "doubled.npy", better[[*range(12), 3, 0]].astype(np.float64))
    once, doubled = (give("a.npy", b, "--json").json for b in ("better.npy", "doubled.npy"))
    assert {k: doubled[k] for k in KEYS} == {k: once[k] for k in KEYS}
    assert doubled["copies"] == {"a": [], "b": [{"run": 13, "equal_to": 4}, {"run": 14, "equal_to": 1}]}
    assert doubled["notes"][0] == (
        "runs 13 (equal to 4), 14 (equal to 1) of doubled.npy have exactly the outputs of an earlier run, and count "
        "once with it."
    )


def test_shared_runs_count_in_one_arm() -> None:
    """A run that both arms have is left out of the one with more runs, of B where both have as many."""
    a, b = with_digests(arm([1, 2, 3], "a"), "xyz"), with_digests(arm([1, 4, 5, 6], "b"), "xuvw")
    left, right = separated(a, b)
    assert (left, right.numbers) == (a, (2, 3, 4))
    assert right.notes == ("run 1 of b is also in a, and counts only there.",)
    left, right = separated(b, a)
    assert (left.numbers, right) == ((2, 3, 4), a)
    assert separated(a, with_digests(arm([1, 4, 5], "b"), "xuv"))[1].numbers == (2, 3)
    with pytest.raises(BadInput, match="leaves 1"):
        separated(a, with_digests(arm([1, 2, 4], "b"), "xyu"))
    assert without_copies(with_digests(b, "xuux")).numbers == (1, 2)


def test_runs_with_equal_seeds_are_pairs() -> None:
    """Pairs are the runs whose seeds are equal in every source that varies in both arms; without one, none."""
    a, b = arm([1, 2, 3], seeds=[1, 2, 3]), arm([1, 2, 3], seeds=[3, 4, 1])
    assert pairs(a, b) == [(2, 0), (0, 2)]
    assert pairs(a, arm([1, 2, 3])) == []
    other = replace(b, seeds=tuple({"shuffle": s} for s in (1, 2, 3)))
    assert pairs(a, other) == []


def test_correlated_pairs_are_compared_as_pairs() -> None:
    """Where runs with equal seeds go up and down together, their differences decide, as in scipy.stats.ttest_rel."""
    rng = np.random.Generator(np.random.Philox(3))
    values = 90 + 2 * rng.normal(size=12)
    better = values + 0.4 + 0.3 * rng.normal(size=12)
    seeds = list(range(1, 13))
    found = compare([arm(list(values), "a", seeds), arm(list(better), "b", seeds, 1)])[0]
    assert (found.pairs, found.verdict) == (12, "better")
    assert found.p_value == pytest.approx(stats.ttest_rel(better, values).pvalue)
    apart = compare([arm(list(values), "a"), arm(list(better), "b", None, 1)])[0]
    assert (apart.pairs, apart.correlation, apart.verdict) == (0, None, "undecided")


# --- the decision ------------------------------------------------------------------------------------------------


def test_more_runs_would_decide() -> None:
    """As many more runs as it says, with the SDs seen, find the difference seen in about 80 % of studies."""
    rng = np.random.Generator(np.random.Philox(8))
    a, b = stats.zscore(rng.normal(size=8), ddof=1), 2 * stats.zscore(rng.normal(size=12), ddof=1) + 0.7
    found = compare([arm(list(a), "a"), arm(list(b), "b", None, 1)])[0]
    assert (found.verdict, found.more_runs_aim) == ("undecided", "difference")
    n, m = 8 + (found.more_runs or 0), 12 + (found.more_runs or 0)
    p = stats.ttest_ind(rng.normal(size=(3000, n)), 0.7 + 2 * rng.normal(size=(3000, m)), axis=1, equal_var=False)
    assert np.mean(p.pvalue < 0.05) == pytest.approx(0.8, abs=0.03)


def test_more_runs_show_alike_if_that_takes_fewer() -> None:
    """With a margin and a small difference, the number is that of the equivalence test; it is capped without one."""
    a, b = arm([1.0, 2.0, 3.0, 4.0], "a"), arm([1.0, 2.0, 3.0, 4.001], "b", None, 1)
    without, beside = compare([a, b])[0], compare([a, b], margin=1.0)[0]
    assert (without.more_runs, without.more_runs_aim) == (10_000, "")
    assert beside.more_runs_aim == "alike"
    assert 10 < (beside.more_runs or 0) < 60


def test_false_verdicts_are_rare() -> None:
    """Of two arms that are the same, 5 % at the most are called better or worse, as of three arms beside one."""
    rng = np.random.Generator(np.random.Philox(21))
    for others, scale in ((1, 3.0), (3, 1.0)):
        false = 0
        for _ in range(300):
            arms = [arm(list(90 + rng.normal(size=5)), "a")]
            arms += [arm(list(90 + scale * rng.normal(size=5)), f"b{i}", None, i) for i in range(others)]
            false += any(c.verdict != "undecided" for c in compare(arms))
        assert false / 300 <= 0.085


def test_runs_that_do_not_vary_have_no_interval() -> None:
    """Equal values in each arm: no interval; the permutation test decides, and equal arms are alike within a margin."""
    found = compare([arm([90.0] * 6, "a"), arm([91.0] * 6, "b", None, 1)], margin=5)[0]
    assert (found.difference.known, found.p_value, found.verdict) == (False, pytest.approx(2 / 924), "better")
    equal = compare([arm([90.0] * 3, "a"), arm([90.0] * 3, "b", None, 1)], margin=5)[0]
    assert (equal.verdict, equal.more_runs, equal.more_runs_aim, equal.superiority) == ("undecided", 2, "alike", 0.5)
    enough = compare([arm([100.0] * 5, "a"), arm([100.0] * 8, "b", None, 1)], margin=0.3)[0]
    assert (enough.verdict, enough.p_alike, enough.inner) == ("alike", 0.5**5, None)
    assert "the usual run" in enough.notes[-1]
    unasked = compare([arm([100.0] * 5, "a"), arm([100.0] * 8, "b", None, 1)])[0]
    assert (unasked.verdict, unasked.more_runs) == ("undecided", None)
    json.dumps([found.to_dict(), equal.to_dict()], allow_nan=False)


# --- studies -----------------------------------------------------------------------------------------------------


def test_conditions_of_a_study_share_their_reference_run(nondet: Nondet, finished: Path) -> None:
    """The run that all conditions have counts in one arm; a folder alone means its condition `all`."""
    ran = nondet("compare", finished, f"{finished}:init", "--json")
    assert ran.code == 0
    found = ran.json
    assert (found["a"], found["b"]) == (f"{finished}:all", f"{finished}:init")
    assert found["runs"] == {"a": 3, "b": 2}
    assert f"run 1 of {finished}:init is also in {finished}:all, and counts only there." in found["notes"]
    assert f"{finished}:init keeps one seed of shuffle, order, so results apply to that seed only." in ran.out


def test_a_study_beside_itself_is_refused(nondet: Nondet, finished: Path, study: Path) -> None:
    """A study and its copy are the same runs."""
    ran = nondet("compare", finished, study)
    assert ran.code == 2
    assert "are the same 3 runs: their outputs are equal to the last bit" in ran.err


def test_a_study_and_a_file_can_be_compared(nondet: Nondet, finished: Path, tmp_path: Path) -> None:
    """A study's labels serve for both; other labels are refused."""
    rng = np.random.Generator(np.random.Philox(2))
    np.save(tmp_path / "outputs.npy", rng.normal(size=(4, 20, 3)))
    labels = json.loads((finished / "study.json").read_text())["labels"]
    np.save(tmp_path / "y.npy", np.array(labels))
    np.save(tmp_path / "other.npy", 1 - np.array(labels))
    give = ("compare", finished, tmp_path / "outputs.npy", "--json", "--labels")
    assert nondet(*give, tmp_path / "y.npy").json["runs"] == {"a": 3, "b": 4}
    ran = nondet(*give, tmp_path / "other.npy")
    assert ran.code == 2
    assert "labels must be those of the study's own test set" in ran.err


def rewrite(study: Path, **changes: Any) -> None:
    """Change fields of study.json, as a study of another design would have them."""
    fields = json.loads((study / "study.json").read_text())
    del fields["sha256"]
    (study / "study.json").write_bytes(sealed({**fields, **changes}))


def test_members_of_one_trunk_are_refused(nondet: Nondet, study: Path) -> None:
    """Runs that share a training until a late onset are not independent."""
    rewrite(study, conditions=[{"name": "bit@1", "vary": ["bit"], "runs": 3, "onset": 1}])
    ran = nondet("compare", study, study)
    assert ran.code == 2
    assert "share one trunk until epoch" in ran.err


def test_conditions_are_listed(nondet: Nondet, study: Path) -> None:
    """Without a condition `all`, or with a name that is none, the sentence lists the conditions there are."""
    ran = nondet("compare", study, f"{study}:nope")
    assert ran.code == 2
    assert "choose one of init, shuffle, order, bit, all, such as" in ran.err
    several = [{"name": n, "vary": n.split("+"), "runs": 3, "onset": 0} for n in ("init", "init+shuffle")]
    rewrite(study, conditions=several)
    ran = nondet("compare", study, study)
    assert ran.code == 2
    assert "has several conditions, and none is called all; choose one of init, init+shuffle" in ran.err
    rewrite(study, conditions=[], format=2, crossed={"vary": ["init", "shuffle"], "levels": 2})
    assert "must have a condition (got none: the runs of a crossed design" in nondet("compare", study, study).err


def test_unfinished_conditions_say_so(nondet: Nondet, study: Path) -> None:
    """What is there is compared, and a note says what is missing; fewer than two runs are refused."""
    fields = json.loads((study / "study.json").read_text())
    more = [{**c, "runs": 7 if c["name"] == "init" else c["runs"]} for c in fields["conditions"]]
    rewrite(study, conditions=[*more, {"name": "shuffle+order", "vary": ["shuffle", "order"], "runs": 4, "onset": 0}])
    ran = nondet("compare", f"{study}:init", f"{study}:all", "--json")
    assert ran.code == 0
    assert f"{study}:init is not finished: 4 runs are still to train." in ran.json["notes"]
    ran = nondet("compare", f"{study}:shuffle+order", study)
    assert ran.code == 2
    assert "has 1 that are finished and sound" in ran.err


def test_a_damaged_run_exits_1(nondet: Nondet, study: Path) -> None:
    """A run whose bytes are not what was written is named, and nothing is compared."""
    for blob in (study / "runs").glob("*.safetensors"):
        blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    ran = nondet("compare", study, f"{study}:init")
    assert (ran.code, ran.out) == (1, "")
    assert "it belongs to the run with seeds" in ran.err


def test_a_control_that_is_not_zero_exits_3(nondet: Nondet, study: Path) -> None:
    """The comparison is printed all the same, with the warning, and exit status 3; so is a plan."""
    from nondet.study.record import load
    from nondet.study.store import Store

    repeat = list(load(study).control_specs())[1]
    stored = Store(study).get(repeat)
    arrays = dict(stored.arrays)
    Store(study).set_aside(repeat)
    record = {k: v for k, v in stored.record.items() if k not in ("format", "key", "blob")}
    Store(study).put(repeat, arrays | {"outputs": arrays["outputs"] + 1}, record)
    for words in (("compare", study, f"{study}:init"), ("plan", "--effect", 1, "--study", study)):
        ran = nondet(*words, "--json")
        assert ran.code == 3
        assert "THE CONTROL IS NOT ZERO" in ran.err
        assert ran.json["sentence"]


# --- plan --------------------------------------------------------------------------------------------------------


def test_plan_from_an_sd(nondet: Nondet) -> None:
    """The smallest number of runs whose two-sided t-test has the power; the number of statsmodels' TTestIndPower."""
    ran = nondet("plan", "--effect", 0.2, "--sd", 0.23, "--json")
    assert (ran.code, ran.err) == (0, "")
    found = ran.json
    assert [found[k] for k in ("runs_per_arm", "effect", "sd", "power", "level")] == [22, 0.2, 0.23, 0.8, 0.05]
    assert (found["runs_to_train"], found["seconds"], found["pilot"]) == (44, None, None)
    assert nondet("plan", "--effect", 0.2, "--sd", 0.23).out.startswith("Each arm needs 22 runs. They find")


def test_plan_from_a_pilot(nondet: Nondet, finished: Path, arrays: Path) -> None:
    """A pilot gives its SD, the range that the SD's interval leaves, and the time that its runs took."""
    found = nondet("plan", "--effect", 3, "--study", finished, "--json").json
    figures = nondet("compare", finished, f"{finished}:init", "--json").json
    assert found["sd"] == pytest.approx(figures["sd"]["a"])
    assert found["sd_interval"]["low"] < found["sd"] < found["sd_interval"]["high"]
    assert found["runs_per_arm_low"] <= found["runs_per_arm"] <= found["runs_per_arm_high"]
    assert found["pilot"] == {"name": f"{finished}:all", "metric": "accuracy", "runs": 3}
    assert found["runs_to_train"] == 2 * found["runs_per_arm"] - 3
    records = [json.loads(path.read_text()) for path in (finished / "runs").glob("*.json")]
    least, most = (end(r["seconds"] for r in records) for end in (min, max))
    assert least - 1e-12 <= found["seconds_per_run"] <= most + 1e-12  # a mean of equal numbers may round
    assert found["seconds"] == pytest.approx(found["seconds_per_run"] * found["runs_to_train"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--effect", "0", "--sd", "1"), "effect must be above 0 (got 0.0)"),
        (("--effect", "nan", "--sd", "1"), "effect must be above 0 (got nan)"),
        (("--effect", "1", "--sd", "-1"), "sd must be above 0 (got -1.0)"),
        (("--effect", "1", "--sd", "inf"), "sd must be above 0 (got inf)"),
        (("--effect", "1", "--sd", "1", "--power", "1"), "power must be above 0 and below 1 (got 1.0)"),
        (("--effect", "1", "--sd", "1", "--level", "0"), "level must be above 0 and below 1 (got 0.0)"),
        (("--effect", "1e-9", "--sd", "1"), "at most 1,000,000 for each arm"),
        (("--effect", "1"), "plan needs either --sd or --study (got none)"),
        (("--effect", "1", "--sd", "1", "--study", "x"), "plan needs either --sd or --study (got both)"),
        (("--effect", "1", "--study", "nowhere"), "nothing is at nowhere"),
    ],
)
def test_plans_that_cannot_be_are_refused(nondet: Nondet, words: tuple[str, ...], sentence: str) -> None:
    """Exit status 2, and one sentence."""
    ran = nondet("plan", *words)
    assert (ran.code, ran.out) == (2, "")
    assert sentence in ran.err


def test_a_pilot_must_vary() -> None:
    """A pilot all of whose runs have the same accuracy gives no plan."""
    with pytest.raises(BadInput, match="all 3 runs of arm have the same accuracy"):
        plan_from(arm([90.0, 90.0, 90.0]), 1.0)
