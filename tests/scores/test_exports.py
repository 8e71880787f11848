"""Scores in what trackers and trainers leave: each run's last value, its arm and its seed from where they stand."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nondet.io.exports import gathered

Nondet = Callable[..., Any]

RUNS = {(arm, seed): 0.9 + 0.02 * (arm == "aug") + 0.001 * seed**2 for arm in ("base", "aug") for seed in range(4)}
EXPECTED = {arm: np.mean([v for (a, _), v in RUNS.items() if a == arm]) for arm in ("base", "aug")}


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def reports(folder: Path) -> list[Path]:
    """A tree in JSON for each run, which names its arm and its seed inside too."""
    for (arm, seed), v in RUNS.items():
        tree = {"config": {"seed": seed}, "metrics": {"test": {"score": v, "loss": 1 - v}, "val": {"score": 0}}, "n": 5}
        put(folder / "runs" / arm / str(seed) / "report.json", json.dumps(tree))
    return sorted((folder / "runs").rglob("report.json"))


def trainer(folder: Path) -> Path:
    """Hugging Face's state after training, and that of an earlier checkpoint in the same folder."""
    for (arm, seed), v in RUNS.items():
        log = [{"step": 10, "eval_score": 0.1}, {"step": 20, "loss": 1.0}, {"step": 20, "eval_score": v}]
        run = folder / "hf" / f"{arm}-{seed}"
        put(run / "trainer_state.json", json.dumps({"best_metric": None, "log_history": log}))
        put(run / "checkpoint-10" / "trainer_state.json", json.dumps({"log_history": log[:1]}))
    return folder / "hf"


def lightning(folder: Path) -> Path:
    """A CSV of curves for each run, in which each row holds some of the metrics."""
    for (arm, seed), v in RUNS.items():
        rows = "epoch,step,train_loss,score\n0,9,1.1,\n0,9,,0.1\n1,19,0.9,\n1,19,,{}\n1,20,0.8,\n"
        put(folder / "logs" / arm / f"version_{seed}" / "metrics.csv", rows.format(v))
    return folder / "logs"


def tensorboard(folder: Path) -> Path:
    """TensorBoard's CSV of one scalar of one run."""
    for (arm, seed), v in RUNS.items():
        put(folder / "tb" / f"run-{arm}_{seed}-tag-score.csv", f"Wall time,Step,Value\n1.5,0,0.1\n2.5,10,{v}\n")
    return folder / "tb"


def mlflow(folder: Path) -> Path:
    """MLflow's folder: files of a metric's history, of parameters and of tags for each run; a deleted run."""
    for (arm, seed), v in [*RUNS.items(), (("gone", 0), 5.0)]:
        run = folder / "mlruns" / "1" / f"{arm}{seed}"
        put(run / "metrics" / "score", f"17 0.1 0\n19 {v} 10\n18 0.2 5\n")
        put(run / "params" / "seed", str(seed))
        put(run / "tags" / "mlflow.runName", f"{arm}-{seed}")
        stage = "deleted" if arm == "gone" else "active"
        put(run / "meta.yaml", f"status: 3\nlifecycle_stage: {stage}\nrun_id: 'x'\n")
    put(folder / "mlruns" / "1" / "meta.yaml", "name: mine\n")
    return folder / "mlruns"


def chart(folder: Path) -> Path:
    """W&B's CSV of a chart: for each run a column and two of the range that smoothing hides."""
    columns = [f"{arm}-{seed} - score{side}" for arm, seed in RUNS for side in ("", "__MIN", "__MAX")]
    rows = [[str(v * share) if share else "" for v in RUNS.values() for _ in range(3)] for share in (0.5, 1.0, 0)]
    lines = [",".join(["Step", *columns]), *(",".join([str(step), *row]) for step, row in enumerate(rows))]
    put(folder / "chart.csv", "\n".join(lines))
    return folder / "chart.csv"


def table(folder: Path) -> Path:
    """W&B's CSV of a project's runs."""
    rows = [f'"{a}-{s}","finished","-","me","","2024-02-01T10:00:00.000Z","3605","0.1","{s}","{v}"'
            for (a, s), v in RUNS.items()]  # fmt: skip
    head = '"Name","State","Notes","User","Tags","Created","Runtime","lr","seed","score"'
    put(folder / "table.csv", "\n".join([head, *rows]))
    return folder / "table.csv"


def files(folder: Path) -> Path:
    """A file of one number for each run, its arm and seed in its name."""
    for (arm, seed), v in RUNS.items():
        put(folder / "files" / f"{arm}_seed{seed}.json", json.dumps({"score": v}))
    return folder / "files"


@pytest.mark.parametrize("write", [reports, trainer, lightning, tensorboard, mlflow, chart, table, files])
def test_last_values_of_arms(nondet: Nondet, tmp_path: Path, write: Callable[[Path], Any]) -> None:
    """Each export gives the same arms."""
    given = write(tmp_path)
    metric = {reports: "metrics.test.score", trainer: "eval_score"}.get(write, "score")
    paths = given if isinstance(given, list) else [given]
    ran = nondet("measure", *paths, "--metric", metric, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["metric"] == metric
    assert {arm["name"]: arm["runs"] for arm in ran.json["arms"]} == {"base": 4, "aug": 4}
    assert {arm["name"]: arm["mean"] for arm in ran.json["arms"]} == pytest.approx(EXPECTED)
    found = nondet("compare", *paths, "--metric", metric, "--of", "base", "--with", "aug", "--json")
    assert found.code == 0, found.err
    assert found.json["difference"]["estimate"] == pytest.approx(0.02)


def test_patterns(nondet: Nondet, tmp_path: Path) -> None:
    """A quoted pattern is an arm, and so are two in one folder."""
    reports(tmp_path)
    words = ("--metric", "metrics.test.score", "--json")
    a, b = (tmp_path / "runs" / arm / "*" / "report.json" for arm in ("base", "aug"))
    assert nondet("compare", a, b, *words).json["difference"]["estimate"] == pytest.approx(0.02)
    files(tmp_path)
    a, b = (tmp_path / "files" / f"{arm}_*.json" for arm in ("base", "aug"))
    assert nondet("compare", a, b, "--json").json["difference"]["estimate"] == pytest.approx(0.02)
    ran = nondet("measure", tmp_path / "nothing" / "*.json")
    assert ran.code == 2
    assert "nothing is there" in ran.err


def test_a_crashed_run(nondet: Nondet, tmp_path: Path) -> None:
    """What W&B calls crashed has failed, also where it left a number; a word of its name names an arm."""
    path = tmp_path / "t.csv"
    path.write_text(
        '"Name","State","Runtime","seed","test/acc","test/loss"\n'
        '"vit-aug-0","finished","3605","0","0.9132","0.311"\n"vit-aug-1","finished","3598","1","0.9087","0.325"\n'
        '"vit-aug-2","finished","3611","2","0.9150","0.302"\n"vit-base-0","finished","3603","0","0.9051","0.331"\n'
        '"vit-base-1","finished","3600","1","0.9063","0.329"\n"vit-base-2","crashed","120","2","",""\n'
        '"vit-base-3","crashed","120","3","0.1","9"\n'
    )
    ran = nondet("measure", path, "--metric", "test/acc", "--json")
    aug, base = ran.json["arms"]
    assert (aug["name"], aug["runs"], aug["mean"], aug["sd"]) == (
        "vit-aug", 3, pytest.approx(0.9123), pytest.approx(0.003245, rel=1e-3))  # fmt: skip
    assert (base["name"], base["runs"], base["failed"], base["mean"]) == ("vit-base", 4, 2, pytest.approx(0.9057))
    assert "2 failed runs of vit-base (vit-base-2, vit-base-3)" in ran.err
    found = nondet("compare", path, "--metric", "test/acc", "--of", "base", "--with", "aug", "--json").json
    assert (found["a"], found["b"], found["runs"]) == ("vit-base", "vit-aug", {"a": 2, "b": 3})
    assert found["notes"][0] == "vit-base: 2 failed runs are left out, so only runs that did not fail are compared."
    assert (found["failed"], found["verdicts"]["all"]) == ({"a": 2, "b": 0}, "undecided")


def test_curves_of_several_runs_in_one_table(nondet: Nondet, tmp_path: Path) -> None:
    """Of each run the row of the last step counts, wherever it stands."""
    path = tmp_path / "t.csv"
    rows = [f"{m},{s},{step},{step / 10 + s + (m == 'b')}" for step in (3, 1, 2) for m in "ab" for s in range(2)]
    path.write_text("\n".join(["method,seed,epoch,acc", *rows]))
    ran = nondet("measure", path, "--json")
    assert {arm["name"]: arm["runs"] for arm in ran.json["arms"]} == {"a": 2, "b": 2}
    assert {arm["name"]: arm["mean"] for arm in ran.json["arms"]} == pytest.approx({"a": 0.8, "b": 1.8})


def test_event_files_need_tensorboard(nondet: Nondet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, the way out is its export."""
    put(tmp_path / "run" / "events.out.tfevents.1.host", "")
    monkeypatch.setitem(__import__("sys").modules, "tensorboard", None)
    ran = nondet("measure", tmp_path / "run")
    assert ran.code == 2
    assert "install tensorboard, or give the CSV files that it exports" in ran.err


def test_a_folder_of_nothing(nondet: Nondet, tmp_path: Path) -> None:
    put(tmp_path / "run" / "readme.md", "nothing")
    ran = nondet("measure", tmp_path / "run")
    assert ran.code == 2
    assert "must contain scores" in ran.err


def test_event_files_of_tensorboard(tmp_path: Path) -> None:
    """Scalars as PyTorch writes them, and as TensorFlow 2 does: the last step's; words are no score."""
    writer = pytest.importorskip("tensorboard.summary.writer.event_file_writer")
    from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2  # pyright: ignore[reportMissingImports]

    file = writer.EventFileWriter(str(tmp_path / "run"))
    for step, x in enumerate((0.25, 0.5)):
        tensors = {"list": {"float_val": [x]}, "bytes": {"tensor_content": struct.pack("<f", x)}}
        values = [summary_pb2.Summary.Value(tag="torch", simple_value=x)]
        for tag, held in tensors.items():
            tensor = tensor_pb2.TensorProto(dtype=1, **held)
            values.append(summary_pb2.Summary.Value(tag=tag, tensor=tensor))
        words = tensor_pb2.TensorProto(dtype=7, string_val=[b"words"])
        values.append(summary_pb2.Summary.Value(tag="words", tensor=words))
        file.add_event(event_pb2.Event(step=step, wall_time=1.0 + step, summary=summary_pb2.Summary(value=values)))
    file.close()
    found = gathered([tmp_path / "run"]).columns
    assert [found[tag] for tag in ("torch", "list", "bytes")] == [[0.5]] * 3
    assert "words" not in found


def test_parts_of_a_run_in_event_files(nondet: Nondet, tmp_path: Path) -> None:
    """What PyTorch's add_hparams and add_scalars and what Keras write into a run's folder belongs to that run."""
    writer = pytest.importorskip("tensorboard.summary.writer.event_file_writer")
    from tensorboard.compat.proto import event_pb2, summary_pb2  # pyright: ignore[reportMissingImports]

    def write(place: str, tag: str, x: float) -> None:
        file = writer.EventFileWriter(str(tmp_path / "tb" / place))
        summary = summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, simple_value=x)])
        file.add_event(event_pb2.Event(step=1, wall_time=1.0, summary=summary))
        file.close()

    for (arm, seed), value in RUNS.items():
        write(f"{arm}/seed_{seed}", "score", value)
        write(f"{arm}/seed_{seed}/1795801073.3061712", "hparam", 2 * value)
        write(f"{arm}/seed_{seed}/loss_train", "loss", 3 * value)
        write(f"{arm}/seed_{seed}/validation", "score", 4 * value)
    ran = nondet("measure", tmp_path / "tb", "--json")
    assert ran.code == 0, ran.err
    found = {one["metric"]: {arm["name"]: arm["mean"] for arm in one["arms"]} for one in ran.json["metrics"]}
    times = {"score": 1, "hparam": 2, "loss_train/loss": 3, "validation/score": 4}
    assert found == {
        name: pytest.approx({arm: by * mean for arm, mean in EXPECTED.items()}, rel=1e-6) for name, by in times.items()
    }
