"""Write a study's numbers to trackers: MLflow, Weights & Biases, TensorBoard.

Each condition becomes one run of the tracker. The condition's description becomes the run's parameters, and its row of
the tidy table becomes the run's metrics, such as `accuracy.sd`, with `accuracy.sd.error`, `.low` and `.high` where
known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nondet.errors import BadInput

if TYPE_CHECKING:
    from nondet.analysis.opened import OpenStudy
    from nondet.analysis.results import Results

    Given = str | Path | OpenStudy | Results

CONTROL = "deterministic"


@dataclass(frozen=True)
class Tracked:
    """What a tracker gets for a condition. metrics: the known ones, by dotted name."""

    name: str
    params: Mapping[str, str | int | float | bool]
    metrics: Mapping[str, float]


def to_mlflow(study: Given, experiment: str = "", uri: str | None = None) -> list[str]:
    """Write an MLflow run for each condition of a study, and return their ids.

    Args:
        study: an open study, its folder, or what `nondet.show` returned.
        experiment: the name of MLflow's experiment; the task's name if empty.
        uri: MLflow's tracking URI, such as `sqlite:///mlflow.db`; MLflow's own choice if left out.
    """
    client: Any = _package("mlflow", "mlflow").MlflowClient(tracking_uri=uri)
    task, found = _tracked(study)
    name = experiment or task
    known = client.get_experiment_by_name(name)
    place = known.experiment_id if known else client.create_experiment(name)
    ids: list[str] = []
    for one in found:
        run = client.create_run(place, run_name=one.name)
        for key, value in one.params.items():
            client.log_param(run.info.run_id, _allowed(key), value)
        for key, value in one.metrics.items():
            client.log_metric(run.info.run_id, _allowed(key), value)
        client.set_terminated(run.info.run_id)
        ids.append(run.info.run_id)
    return ids


def to_wandb(
    study: Given,
    project: str = "nondet",
    folder: str | Path | None = None,
    mode: Literal["offline", "online"] = "offline",
) -> list[str]:
    """Write a Weights & Biases run for each condition of a study, and return their ids.

    Args:
        study: as for `to_mlflow`.
        folder: where to put the folder `wandb` with the runs' files; the current folder if left out.
        mode: "offline" sends nothing; `wandb sync` sends it later.
    """
    wandb = _package("wandb", "wandb")
    task, found = _tracked(study)
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
    place = None if folder is None else str(folder)
    ids: list[str] = []
    about = {"project": project, "group": task, "dir": place, "mode": mode, "reinit": "create_new"}
    for one in found:
        settings = wandb.Settings(silent=True)
        run = wandb.init(name=one.name, config=dict(one.params), settings=settings, **about)
        run.summary.update(dict(one.metrics))
        run.finish(exit_code=0)
        ids.append(run.id)
    return ids


def to_tensorboard(study: Given, folder: str | Path = "runs") -> list[Path]:
    """Write each condition of a study for TensorBoard's hyperparameters tab, and return the folders.

    Args:
        study: as for `to_mlflow`.
        folder: the folder for `tensorboard --logdir`; each condition has its own folder in it.
    """
    _package("tensorboard", "tensorboard")
    _, found = _tracked(study)
    writer = import_module("torch.utils.tensorboard").SummaryWriter
    places: list[Path] = []
    for one in found:
        place = Path(folder) / _allowed(one.name)
        with writer(str(place)) as to:
            to.add_hparams(dict(one.params), dict(one.metrics), run_name=".")
        places.append(place)
    return places


def _tracked(study: Given) -> tuple[str, list[Tracked]]:
    """Return the task's name, and what a tracker gets for each condition, the control first."""
    results = _results(study)
    identity, environment = results.study.identity, results.study.environment
    own = {f"recipe.{name}": _plain(value) for name, value in identity["recipe"].items()}
    own |= {name: _plain(environment[name]) for name in ("nondet", "torch", "device") if name in environment}
    about: dict[str, dict[str, str | int | float | bool]] = {CONTROL: {"vary": "nothing", "onset": 0}}
    for c in results.conditions:
        about[c.condition.name] = {"vary": "+".join(c.condition.vary), "onset": c.condition.onset}
    table = results.tidy()
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    found: list[Tracked] = []
    for name, facts in about.items():
        metrics: dict[str, float] = {}
        mine = [row for row in rows if row["condition"] == name]
        for row in mine:
            sides = {"": row["value"], ".error": row["error"], ".low": row["low"], ".high": row["high"]}
            metrics |= {f"{row['figure']}{side}": float(x) for side, x in sides.items() if x is not None}
        if mine:
            params = {"task": str(identity["name"]), "condition": name, **facts, "runs": mine[0]["runs"], **own}
            found.append(Tracked(name, params, metrics))
    if not found:
        raise BadInput(
            f"a tracker needs a condition with two runs that did not fail, and {results.study.folder} has none "
            "yet; continue the study, or fix its training"
        )
    return str(identity["name"]), found


def _results(study: Given) -> Results:
    from nondet.analysis.opened import OpenStudy, open_study
    from nondet.analysis.results import Results, read_results

    if isinstance(study, Results):
        return study
    return read_results((study if isinstance(study, OpenStudy) else open_study(study)).study)


def _package(name: str, install: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise BadInput(
            f"{name} must be installed to write to it (got no such package); run pip install {install}"
        ) from None


def _allowed(name: str) -> str:
    """Replace the characters of a name that some tracker does not accept."""
    return re.sub(r"[^\w .-]", "_", name)


def _plain(value: object) -> str | int | float | bool:
    return value if isinstance(value, str | int | float | bool) else str(value)
