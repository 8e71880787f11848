"""Runs of a script as it is: a study like any other, from what it prints, writes or records."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripts import FAST, IN_A_PROCESS, PLAIN, RECORD

import nondet as nd
from nondet.runners.script_run import metric_in
from nondet.script.left import as_array

Nondet = Callable[..., Any]
METRICS = ("--metric", "val_acc=([0-9.]+)", "--metric", "val_loss=([0-9.]+)")


def test_scores_that_it_prints(nondet: Nondet, fast: Path) -> None:
    """The last number printed counts; mean and SD of each, by its name; the control is exactly zero."""
    ran = nondet("run", "--study", "s", "--runs", 5, *METRICS, "--", sys.executable, "fast.py")
    assert ran.code == 0, ran.err
    assert "It draws from other (1)." in ran.err
    found = json.loads(nondet("show", "s", "--json").out)
    assert found["control"]["identical"] is True
    (all_of_it,) = found["conditions"]
    assert list(all_of_it["errors"]) == ["val_acc.mean", "val_acc.sd", "val_loss.mean", "val_loss.sd"]
    logs = [(fast.parent / "s" / "logs" / f"other={i}.txt").read_text() for i in range(2, 6)]
    logs.insert(0, (fast.parent / "s" / "logs" / "reference.txt").read_text())
    printed = [float(text.rpartition("val_acc=")[2].split()[0]) for text in logs]
    assert all_of_it["val_acc"]["mean"] == pytest.approx(np.mean(printed), abs=1e-12)
    assert all_of_it["val_acc"]["sd"] == pytest.approx(np.std(printed), abs=1e-12)
    for command in ("verify", "report", "figures"):
        assert nondet(command, "s").code == 0
    assert nondet("stabilize", "s").code == nondet("examples", "s").code == 2


@pytest.mark.parametrize("how", ["record", "files", "a line", "both"])
def test_outputs(nondet: Nondet, fast: Path, how: str) -> None:
    """By expressions in its names, by a file that it writes, by a line in it; beside scores as well."""
    options: dict[str, tuple[str, ...]] = {
        "record": ("--record", "outputs=logits, labels=y"),
        "files": ("--outputs", "out/preds.npy", "--labels", "labels.npy"),
        "a line": (),
        "both": ("--record", "outputs=logits, labels=y", "--metric", "val_loss=([0-9.]+)"),
    }
    if how == "files":
        fast.write_text(FAST + "np.save('out/preds.npy', logits); np.save('labels.npy', y)\n")
        (fast.parent / "out").mkdir()
        (fast.parent / "out" / "preds.npy").write_text("an older one, which stays")
    if how == "a line":
        fast.write_text(FAST + "import nondet\nnondet.record(outputs=logits, labels=y, mean=logits.mean())\n")
    ran = nondet("run", "--study", "s", "--runs", 4, *options[how], "--", sys.executable, "fast.py")
    assert ran.code == 0, ran.err
    study = nd.open("s")
    assert study["all"].outputs.shape == (4, 60, 3)
    expected = nd.measure(study["all"].outputs, study.labels)
    found = json.loads(nondet("show", "s", "--json").out)["conditions"][0]
    assert found["disagreement"] == pytest.approx(expected["disagreement"].value)
    assert ("mean" in found) == (how == "a line")
    assert ("val_loss" in found) == (how == "both")
    assert nondet("compare", "s", "s").code == 2  # with itself
    assert nondet("examples", "s").code == nondet("report", "s").code == 0
    if how == "files":
        assert (fast.parent / "out" / "preds.npy").read_text() == "an older one, which stays"


def test_a_score_of_a_name_that_is_taken(nondet: Nondet, fast: Path) -> None:
    """The accuracy that it prints stands beside the one of its outputs, which comes first."""
    words = ("--metric", "accuracy=val_acc=([0-9.]+)", "--record", "outputs=logits, labels=y", "--", sys.executable)
    ran = nondet("run", "--study", "s", "--runs", 3, *words, "fast.py")
    assert ran.code == 0, ran.err
    found = json.loads(nondet("show", "s", "--json").out)["conditions"][0]
    assert found["accuracy"]["mean"] == pytest.approx(100 * found["recorded_accuracy"]["mean"], abs=0.01)


LAUNCHERS = (
    ("python", "-m", "package.train"),
    ("torchrun", "--standalone", "--nproc_per_node", "1", "net.py"),
    ("accelerate", "launch", "--cpu", "--num_processes", "1", "--num_machines", "1", "--mixed_precision", "no",
     "--dynamo_backend", "no", "net.py"),
    ("net.ipynb",),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("command", LAUNCHERS, ids=lambda command: command[0])
def test_whatever_starts_it(fast: Path, command: tuple[str, ...]) -> None:
    """As a module, by torchrun, by accelerate, as a notebook: the same bits as by Python."""
    packages = {"accelerate": "accelerate", "net.ipynb": "nbconvert"}
    if command[0] in packages:
        pytest.importorskip(packages[command[0]])
    package = fast.with_name("package")
    package.mkdir()
    text = PLAIN.replace("parse_args()", "parse_args([])")
    for path in (fast.with_name("net.py"), package / "train.py"):
        path.write_text(text)
    cell = {"cell_type": "code", "metadata": {}, "source": text, "outputs": [], "execution_count": None}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}}
    notebook = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 4}
    fast.with_name("net.ipynb").write_text(json.dumps(notebook))
    found = [
        nd.run(nd.Script(words, record=RECORD), runs=2, vary="all", folder=f"s{i}", executor="local")["all"].outputs
        for i, words in enumerate((("python", "net.py"), command))
    ]
    assert found[0].tobytes() == found[1].tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("command", [("torchrun", "--nproc_per_node", 2, "net.py"), ("python", "net.py", 2)])
def test_several_ranks_are_refused(nondet: Nondet, fast: Path, command: tuple[object, ...]) -> None:
    """Those that a launcher starts, and those that a script starts and that meet in a group."""
    fast.with_name("net.py").write_text(IN_A_PROCESS)
    ran = nondet("run", "--study", "s", "--record", RECORD, "--", *command)
    assert ran.code == 2
    assert "a run must be trained by one process, but this command starts 2 ranks" in ran.err


def test_predicted_classes(nondet: Nondet, fast: Path) -> None:
    ran = nondet("run", "--study", "s", "--runs", 4, "--record", "outputs=logits.argmax(1), labels=y", "--",
                 sys.executable, "fast.py")  # fmt: skip
    assert ran.code == 0, ran.err
    found = json.loads(nondet("show", "s", "--json").out)["conditions"][0]
    assert found["disagreement"] > 0
    assert found["cross_entropy"]["sd"] is None


@pytest.mark.slow
def test_a_network_in_torch(nondet: Nondet, fast: Path) -> None:
    """What it draws from are its sources; a program's `Script` goes on with the study, and proves itself first."""
    fast.with_name("net.py").write_text(PLAIN)
    words = ("--record", RECORD, "--", sys.executable, "net.py", "--workers", "0")
    ran = nondet("run", "--study", "s", "--runs", 2, "--vary", "all", "--workers", 1, *words)
    assert ran.code == 0, ran.err
    study = nd.open("s")
    assert study.study.sources == ("init", "shuffle", "augment", "dropout", "order", "other", "bit")
    assert json.loads(nondet("show", "s", "--json").out)["control"]["identical"] is True
    script = nd.Script("net.py", ["--workers", "0"], record=RECORD)
    same = nd.run(script, runs=3, vary="all", folder="s", executor="local")
    assert same["all"].outputs[:2].tobytes() == study["all"].outputs.tobytes()
    assert len([*Path("s/work").glob("reference*")]) == 3  # the first, the control's second, and the proof


def test_side_by_side_and_after_a_kill(nondet: Nondet, fast: Path) -> None:
    """Killed in the middle, the same command completes the study; two processes make the bits of one."""
    fast.write_text(FAST + "import time; time.sleep(0.05)\n")
    words = ("run", "--runs", 8, *METRICS, "--study")
    command = ("--", sys.executable, "fast.py")
    assert nondet(*words, "whole", "--workers", 1, *command).code == 0
    given = [sys.executable, "-m", "nondet", *map(str, words), "s", "--workers", "2", *command]
    child = subprocess.Popen(given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    records = Path("s/runs")
    while child.poll() is None and len(list(records.glob("*.json"))) < 3:
        with suppress(subprocess.TimeoutExpired):
            child.wait(0.02)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert 0 < len(list(records.glob("*.json"))) < 10
    assert nondet(*words, "s", "--workers", 2, *command).code == 0
    blobs = [{p.name: p.read_bytes() for p in Path(name, "runs").glob("*.safetensors")} for name in ("whole", "s")]
    assert blobs[0] == blobs[1]
    assert nondet("verify", "s").code == 0


def test_a_run_that_fails(nondet: Nondet, fast: Path) -> None:
    """It is recorded as failed, and the others go on; the words name the log."""
    fast.write_text(FAST + "if weights[0, 0] > 1: raise RuntimeError('it diverged')\n")
    ran = nondet("run", "--study", "s", "--runs", 12, *METRICS, "--", sys.executable, "fast.py")
    assert ran.code == 0, ran.err
    found = json.loads(nondet("show", "s", "--json").out)["conditions"][0]
    assert 0 < found["failed"] < 11
    first = found["failures"][0]
    log = f"s/logs/other={first['run']}.txt"
    assert (first["epoch"], first["failure"], first["log"]) == (None, "exit status 1: RuntimeError: it diverged", log)
    assert first["last"][-1] == "RuntimeError: it diverged"
    assert len(found["failures"]) == found["failed"]
    said = f"all: run {first['run']} (exit status 1: RuntimeError: it diverged; see {log})"
    assert f"Failed, and left out of the numbers: {said}" in " ".join(ran.out.split())
    assert nondet("report", "s").code == 0
    page = Path("s/report.html").read_text()
    assert said in page
    assert f"{first['last'][-2]}\n{first['last'][-1]}\n" in page
    assert nondet("verify", "s").code == 0


@pytest.mark.parametrize(
    ("pattern", "printed", "value"),
    [
        ("acc=([0-9.]+)", "acc=0.5 acc=0.75.", 0.75),
        ("acc=([0-9.]+)", "acc=0.5\nacc=nan\n", math.nan),
        ("acc=([0-9.]+)", "acc=nan\nacc=0.5\n", 0.5),
        (r"(?:val|test) [(]acc\) = (-?[0-9.]+)%", "val (acc) = 3.5%, test (acc) = -inf%", -math.inf),
        ("mine=cost: (?P<value>[0-9.e-]+)", "cost: 1e-3, cost: INF", math.inf),
        ("acc=([0-9.]+)", "accuracy=0.5", None),
        ("acc=([0-9.]+)", "acc=nanny", None),
    ],
)
def test_the_last_number_counts(pattern: str, printed: str, value: float | None) -> None:
    """One that is printed instead of a number, as of a training that diverged, counts as well."""
    assert metric_in(pattern, printed)[1] == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize(
    ("changes", "words", "said"),
    [
        ("raise SystemExit('no data here')", METRICS, "exit status 1: no data here (see s/logs/reference.txt)"),
        ("import os; os.kill(os.getpid(), 9)", METRICS, "signal 9 (SIGKILL)"),
        ("", (), "must leave outputs or scores, but the first one left neither"),
        ("", ("--metric", "f1=([0-9.]+)"), "it printed nothing that matches the metric f1=([0-9.]+) (see s/logs/ref"),
        ("", ("--metric", "f1=([0-9.]+"), "must be a regular expression"),
        ("", ("--metric", "acc"), "must have one group"),
        ("", ("--record", "outputs=logits"), "outputs need labels"),
        ("", ("--record", "logits"), "must be names and expressions"),
        ("", ("--record", "outputs=nothing, labels=y"), "NameError"),
        ("", ("--record", "outputs=logits, labels=y[:3]"), "labels must be whole class numbers, one for each"),
        ("", ("--record", "outputs=logits[0], labels=y[:3]"), "outputs must be logits"),
        ("", ("--record", "outputs=logits * 1j, labels=y"), "an array must contain numbers (got complex"),
        ("y = np.random.randint(0, 3, 60)", ("--record", RECORD.replace("=labels", "=y")), "more than its test labels"),
        ("", ("--outputs", "no.npy", "--labels", "no.npy"), "it left no file no.npy"),
        ("", (*METRICS, "--stack", "4"), "--stack is for a task"),
        ("", (*METRICS, "--onset", "1", "--vary", "other"), "only the source bit can have an onset"),
        ("", (*METRICS, "--vary", "dropout"), "this task has no dropout to vary"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(nondet: Nondet, fast: Path, changes: str, words: tuple[str, ...], said: str) -> None:
    fast.write_text(FAST + changes + "\n")
    ran = nondet("run", "--study", "s", "--runs", 3, *words, "--", sys.executable, "fast.py")
    assert ran.code == 2
    assert said in ran.err
    assert ran.err.splitlines()[-1].startswith("nondet: ")
    assert "Traceback" not in ran.err.splitlines()[-1]


def test_commands_that_are_none(nondet: Nondet, fast: Path) -> None:
    assert "a command must begin with a program" in nondet("run", "--", "no-such-program", "x").err
    assert "put python before it: python fast.py" in nondet("run", "--", "fast.py").err
    assert "the script must be a file" in nondet("run", "--", sys.executable, "none.py").err
    assert "put -- before a command" in nondet("run", "digits", "train.py").err
    assert "which follows --" in nondet("run", "digits", "--metric", "a([0-9])").err
    assert "either a task or a command" in nondet("run", "digits", "--", "python", "fast.py").err
    assert "a command must follow --" in nondet("run", "--").err


@pytest.mark.parametrize("name", ["arguments", "metrics"])
def test_a_text_instead_of_a_list(fast: Path, name: str) -> None:
    """It would be one argument for each of its letters."""
    given: dict[str, Any] = {name: "acc=([0-9.]+)"}
    with pytest.raises(nd.BadInput, match=rf"{name} must be a list of strings \(got the string 'acc="):
        nd.run(nd.Script(fast, **given), runs=2, folder="s")


def test_a_study_keeps_to_one_script(nondet: Nondet, fast: Path) -> None:
    """Changed, itself or a module beside it, it adds no run to the study; put back, it does."""
    fast.with_name("helper.py").write_text("SCALE = 1.0\n")
    fast.with_name("settings.yaml").write_text("rate: 1\n")
    fast.write_text(FAST.replace("exec(word)", "pass") + "import helper\nassert helper.SCALE\n")
    command = ("--vary", "other", "--", sys.executable, "fast.py", "--config=settings.yaml")
    words = ("run", "--study", "s", *METRICS, *command)
    assert nondet(*words[:-6], "--runs", 2, *words[-6:]).code == 0
    for name in ("fast.py", "helper.py", "settings.yaml"):
        path = fast.with_name(name)
        before = path.read_text()
        path.write_text(before + "# another\n")
        ran = nondet(*words[:-6], "--runs", 3, *words[-6:])
        assert (ran.code, name in ran.err) == (2, True), ran.err
        path.write_text(before)
    assert nondet(*words[:-6], "--runs", 3, *words[-6:]).code == 0


def test_seeds_in_its_words(nondet: Nondet, fast: Path) -> None:
    """Any command takes seeds: in its words, or in variables."""
    Path("any.sh").write_text(
        'echo "score=$1.$2" > "$3/score.txt"; cat "$3/score.txt"; test "$NONDET_SEED_INIT" = "$1" || echo "score=0"\n'
    )
    words = ("--metric", "score=([0-9.]+)", "--", "sh", "any.sh", "{init}", "{shuffle}", "{out}")
    ran = nondet("run", "--study", "s", "--runs", 3, *words)
    assert ran.code == 0, ran.err
    study = nd.open("s")
    assert study.conditions == ["init", "shuffle", "all"]
    assert study["all"].scores()["score"].tolist() == [1.1, 2.2, 3.3]
    assert study["init"].scores()["score"].tolist() == [1.1, 2.1, 3.1]
    Path("any.sh").write_text('echo "score=$NONDET_SEED_ROWS.$NONDET_SEED_INIT"\n')
    ran = nondet("run", "--study", "v", "--runs", 3, *words[:2], "--", "sh", "any.sh")
    assert ran.code == 0, ran.err
    assert nd.open("v").conditions == ["init", "rows", "all"]
    assert nd.open("v")["rows"].scores()["score"].tolist() == [1.1, 2.1, 3.1]
    none = nondet("run", "--study", "t", "--metric", "score=([0-9.]+)", "--", "sh", "-c", "echo score=1")
    assert "put {seed} in place of its seed" in none.err


def test_a_file_that_runs_would_share(nondet: Nondet, fast: Path) -> None:
    """A script that writes outside of its folder is the user's business, and runs one at a time, which is said."""
    (fast.parent / "shared").mkdir()
    fast.write_text(FAST + "open('shared/last.txt', 'w').close(); open('own.txt', 'w').close()\n")
    ran = nondet("run", "--study", "s", "--runs", 3, "--workers", 2, *METRICS, "--", sys.executable, "fast.py")
    assert ran.code == 0, ran.err
    assert f"It writes outside its folder ({fast.parent / 'shared' / 'last.txt'})" in ran.err
    assert not (fast.parent / "own.txt").exists()
    assert (fast.parent / "s" / "work" / "other=2" / "own.txt").exists()


WRITERS = """
import os, sqlite3, tempfile, torch
from safetensors.torch import save_file
from safetensors.numpy import save_file as save_arrays
torch.save({"a": 1}, f"{there}/a.pt")
torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), f"{there}/b.pt")
save_file({"a": torch.ones(2)}, f"{there}/c.safetensors")
save_arrays({"a": x}, f"{there}/d.safetensors")
open("own.txt", "w").close()
os.replace("own.txt", f"{there}/e.txt")
sqlite3.connect(f"{there}/f.db").close()
with tempfile.TemporaryDirectory() as place:
    torch.save({}, f"{place}/passing.pt")
torch.save({}, "own.pt")
"""


def test_files_that_are_not_written_by_python(ran: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    """What C++ and Rust write outside of the run's folder is seen, in a temporary folder too; what is passing is not.

    In a process that was started, and in one that was forked with the libraries loaded.
    """
    text = FAST.replace("exec(word)", "there = word").replace("logits =", "labels, logits = y,") + WRITERS
    names = ["a.pt", "b.pt", "c.safetensors", "d.safetensors", "e.txt", "f.db"]
    for started in (True, False):
        ledger = ran(text, {}, str(tmp_path), started=started)
        assert sorted(ledger["outside"]) == [str(tmp_path / name) for name in names]


def test_a_file_that_another_language_writes(nondet: Nondet, fast: Path, tmp_path: Path) -> None:
    """A shell script's files, where the command is given and where its words point to."""
    there = tmp_path / "there"
    for place in (there, Path("shared")):
        place.mkdir()
        (place / "last.txt").touch()
    Path("any.sh").write_text('echo "$1" > shared/last.txt; echo "$1" > "$2"; echo "$1" > own.txt; echo "score=$1"\n')
    words = ("sh", "any.sh", "{seed}", there / "last.txt")
    ran = nondet("run", "--study", "s", "--runs", 3, "--metric", "score=([0-9.]+)", "--", *words)
    assert ran.code == 0, ran.err
    assert f"{Path('shared/last.txt').absolute()}, {there / 'last.txt'} changed while it ran" in ran.err


def test_the_line_does_nothing_elsewhere() -> None:
    """`nondet.record` in a training that nondet does not run."""
    assert nd.record(outputs=[[1.0, 2.0]], labels=[0], accuracy=3) is None


def test_lists_that_are_left() -> None:
    """Batches, of whatever sizes, are put one after the other; single examples as well."""
    logits = np.arange(12.0).reshape(4, 3)
    for given in (logits.tolist(), [*logits], [logits[:3], logits[3:]], (logits[:2], logits[2:])):
        assert as_array(given).tolist() == logits.tolist()
    classes = np.arange(5)
    for given in (classes.tolist(), [*classes], [classes[:3], classes[3:]]):
        assert as_array(given).tolist() == classes.tolist()


@pytest.mark.parametrize("kept", ["--metric", "--record"])
def test_a_script_that_nothing_can_repeat(nondet: Nondet, fast: Path, kept: str) -> None:
    """What it draws from the system is no source: the control is not zero, and that comes first."""
    fast.write_text(FAST + "import os\nlogits = logits + os.urandom(1)[0] + np.eye(3)[os.urandom(60)[0] % 3]\n")
    fast.write_text(fast.read_text() + "print(f'val_acc={logits.sum():.3f}')\n")
    value = {"--metric": "val_acc=([0-9.]+)", "--record": "outputs=logits, labels=y"}[kept]
    ran = nondet("run", "--study", "s", "--runs", 3, kept, value, "--", sys.executable, "fast.py")
    assert ran.code == 3
    assert ran.out.startswith("THE CONTROL IS NOT ZERO: of 2 trainings with equal seeds, 1 differ from the first")
    assert nondet("report", "s").code == 3


def test_data_that_a_run_changes(nondet: Nondet, fast: Path) -> None:
    """The control is not zero, and the file that each run finds as the one before it has left it is named first."""
    Path("data").mkdir()
    np.save("data/x.npy", np.ones((60, 3)))
    fast.write_text(FAST.replace("logits =", "x = np.load('data/x.npy'); np.save('data/x.npy', x + 1)\nlogits ="))
    ran = nondet(
        "run", "--study", "s", "--runs", 2, "--record", "outputs=logits, labels=y", "--", sys.executable, "fast.py"
    )
    assert ran.code == 3
    named = f"a file that one run writes and the next one reads ({Path('data/x.npy').absolute()}); a model"
    assert named in " ".join(ran.out.split())


def test_scores_are_compared(nondet: Nondet, fast: Path) -> None:
    """Two scripts of which scores alone are known: by the first score, or by another where less is better."""
    fast.with_name("other.py").write_text(FAST.replace("logits = (x @ weights)", "logits = 3 * (x @ weights)"))
    for name in ("fast", "other"):
        words = (*METRICS, "--", sys.executable, f"{name}.py")
        assert nondet("run", "--study", name, "--runs", 8, *words).code == 0
    found = nd.compare("fast", "other", metric="val_loss")
    assert (found[0].metric.name, found[0].metric.better, found.verdict) == ("val_loss", -1, "worse")
    assert nd.compare("fast", "other")[0].metric.name == "val_acc"
    assert nondet("plan", "--effect", "0.1", "--sd", "0.05").code == 0


def test_a_crossed_design_and_a_stopping_rule(nondet: Nondet, fast: Path) -> None:
    """They hold for scripts as for tasks."""
    fast.write_text(
        "import sys\nimport numpy as np\nimport nondet\n"
        "a, b = (np.random.default_rng([int(seed), place]) for place, seed in enumerate(sys.argv[1:]))\n"
        "x, y = np.random.default_rng(0).normal(size=(60, 3)), np.random.default_rng(1).integers(0, 3, 60)\n"
        "nondet.record(outputs=x @ (a.normal(size=(3, 3)) + b.normal(size=(3, 3))), labels=y)\n"
    )
    command = ("--", sys.executable, "fast.py", "{init}", "{shuffle}")
    ran = nondet("run", "--study", "c", "--design", "crossed", "--levels", 2, *command)
    assert ran.code == 0, ran.err
    assert "init × shuffle" in ran.out  # noqa: RUF001
    ran = nondet("run", "--study", "u", "--runs", 4, "--until", "accuracy.sd.error<40%", "--vary", "all", *command)
    assert ran.code == 0, ran.err
    assert "Starting with 4 in each condition, runs were added until accuracy.sd.error<40%" in ran.out


CURVES = """
import nondet
rate = abs(weights).mean()
for epoch in range(3 + int(weights[0, 0] > 0)):
    nondet.record(val_loss=float(rate / (epoch + 1)), **{"val/acc": epoch})
    nondet.record(epoch=9 - epoch, backwards=epoch)
nondet.record(once=1.0)
"""


def test_curves_of_what_is_recorded_by_epoch(nondet: Nondet, fast: Path) -> None:
    """Each value of a score is kept, the last one counts; a run with fewer epochs ends in NaN; the page shows them."""
    fast.write_text(FAST + CURVES)
    assert nondet("run", "--study", "s", "--runs", 6, "--workers", 1, "--", sys.executable, "fast.py").code == 0
    runs = nd.open("s")["all"]
    assert {*runs.curves} == {"val_loss", "val/acc", "backwards"}
    long = np.isfinite(runs.curves["val/acc"]).all(axis=1)
    assert 0 < long.sum() < 6
    for curve, is_long, last in zip(runs.curves["val_loss"], long, runs.scores()["val_loss"], strict=True):
        values = curve if is_long else curve[:3]
        assert values == pytest.approx(values[0] / np.arange(1, len(values) + 1))
        assert values[-1] == last
        assert is_long or np.isnan(curve[3])
    assert [row[np.isfinite(row)].tolist() for row in runs.curves["backwards"]] == [
        [3.0, 2.0, 1.0, 0.0] if is_long else [2.0, 1.0, 0.0] for is_long in long
    ]
    assert runs.scores()["once"].tolist() == [1.0] * 6
    found = nondet("show", "s", "--json").out
    assert json.loads(found)["control"]["identical"] is True
    assert nondet("verify", "s").code == nondet("report", "s").code == 0
    page = Path("s/report.html").read_text()
    assert all(f"{name} by epoch" in page for name in ("Val_loss", "Val/acc"))
    assert {"training-val_loss", "training-val-acc"} <= nd.plots(nd.open("s")).keys()
