"""Augmented answers of whole stacks: equal to a plain loop over models and shifts, and refused where bits differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nondet import Crop, Flip
from nondet.analysis.reader import control_is_zero
from nondet.analysis.remedies.kept import Runs, outputs, sound_runs
from nondet.analysis.remedies.tta import View, augmented_outputs, view_sets
from nondet.errors import BadInput, Damaged
from nondet.study.record import load
from nondet.study.study import Study
from nondet.training.problem import Problem

FILL = (-1.0, 0.5, 2.0)
ROWS = {
    "flip": [4],
    "crop25": range(0, 9, 2),
    "crop81": range(9),
    "flip+crop25": range(0, 9, 2),
    "flip+crop81": range(9),
}


@pytest.fixture(scope="module", params=[1, 2], ids=["single", "accelerated"])
def study(
    request: pytest.FixtureRequest,
    problem_like: Callable[..., Problem],
    trained: Callable[..., Study],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Problem, Study]:
    """Five float64 runs in stacks of three: the last stack is filled up; of one model or of two cycles each."""
    problem = problem_like((Crop(4, FILL), Flip()), cycles=request.param)
    return problem, trained(tmp_path_factory.mktemp("tta") / "study", problem, runs=5, width=3)


def shifted(images: torch.Tensor, row: int, column: int) -> torch.Tensor:
    """Images (m, 3, 5, 6) moved up by row - 4 pixels and left by column - 4, pixel by pixel, onto the fill."""
    moved = torch.tensor(FILL, dtype=torch.float64)[None, :, None, None].expand_as(images).clone()
    for y in range(5):
        for x in range(6):
            if 0 <= y + row - 4 < 5 and 0 <= x + column - 4 < 6:
                moved[:, :, y, x] = images[:, :, y + row - 4, x + column - 4]
    return moved


def plain_loop(problem: Problem, runs: Runs) -> dict[str, np.ndarray]:
    """Each kind's mean logits by one model, one shift and one flip at a time: name -> (N, n, c)."""
    images = problem.test[0]
    assert isinstance(images, torch.Tensor)
    copies = {(row, column): shifted(images, row, column) for row in range(9) for column in range(9)}
    found: dict[str, list[torch.Tensor]] = {name: [] for name in ROWS}
    for spec in runs.specs:
        arrays = runs.study.store.get(spec.key).arrays
        logits: list[dict[tuple[int, int, bool], torch.Tensor]] = []
        for prefix in ["weights."] if runs.members == 1 else ["member1.weights.", "member2.weights."]:
            model = problem.task.model().double().eval()
            model.load_state_dict({k: torch.from_numpy(arrays[prefix + k]) for k in model.state_dict()})
            with torch.no_grad():
                plain = {(*place, False): model(copy) for place, copy in copies.items()}
                mirrored = {(*place, True): model(copy[..., [5, 4, 3, 2, 1, 0]]) for place, copy in copies.items()}
            logits.append(plain | mirrored)
        for name, rows in ROWS.items():
            flips = [False, True] if "flip" in name else [False]
            seen = [z[row, column, flip] for z in logits for row in rows for column in rows for flip in flips]
            found[name].append(torch.stack(seen).mean(0))
    return {name: torch.stack(rows).numpy() for name, rows in found.items()}


@pytest.mark.usefixtures("narrow")
def test_every_kind_equals_a_plain_loop(study: tuple[Problem, Study]) -> None:
    """The mean over copies, and over members, is that of a loop over models and shifts."""
    problem, opened = study
    runs = sound_runs(opened)
    found = augmented_outputs(problem, runs, view_sets(problem))
    assert list(found) == list(ROWS)
    for name, expected in plain_loop(problem, runs).items():
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-12)


def test_progress_counts_every_pass_once(study: tuple[Problem, Study]) -> None:
    """Kinds share their copies: 162 of them serve all five, for each stack and each member."""
    problem, opened = study
    runs = sound_runs(opened)
    seen: list[tuple[int, int]] = []
    augmented_outputs(problem, runs, view_sets(problem), lambda done, total: seen.append((done, total)))
    total = 2 * 162 * runs.members
    assert seen == [(done + 1, total) for done in range(total)]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("width", [1, 4])
def test_the_plain_image_gives_the_stored_bits(
    precision: str, width: int, problem_like: Callable[..., Problem], trained: Callable[..., Study], tmp_path: Path
) -> None:
    """Kept weights in stacks of the study's width give its outputs again to the last bit, through the crops too."""
    problem = problem_like((Crop(1),), precision=precision, epochs=2)
    runs = sound_runs(trained(tmp_path / "study", problem, runs=3, width=width))
    found = augmented_outputs(problem, runs, {"same": [View(1, 1)]})["same"]
    stored = outputs(runs, ["outputs"])["outputs"]
    assert found.dtype == stored.dtype
    assert found.tobytes() == stored.tobytes()


@pytest.fixture
def own(problem_like: Callable[..., Problem], trained: Callable[..., Study], tmp_path: Path) -> tuple[Problem, Study]:
    """A small study that a test may harm."""
    problem = problem_like((Crop(1),), epochs=1)
    return problem, trained(tmp_path / "own", problem, runs=3)


def rewrite(study: Study, name: str, change: Callable[[np.ndarray], np.ndarray], key: str) -> None:
    """Keep another result for a run, with hashes that fit."""
    kept = study.store.get(key)
    arrays = dict(kept.arrays)
    study.store.set_aside(key)
    study.store.put(key, arrays | {name: change(arrays[name])}, kept.record)


def test_other_bits_are_refused(own: tuple[Problem, Study], monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that give other outputs than were stored are used for nothing, and the sentence names what differs."""
    problem, study = own
    runs = sound_runs(study)
    rewrite(study, "weights.4.bias", lambda w: np.nextafter(w, np.inf), runs.specs[1].key)
    with pytest.raises(BadInput, match=r"last bit.*in nothing that a study records.*where the study was made"):
        augmented_outputs(problem, runs, view_sets(problem))
    other = {**study.environment, "torch": "1.0"}
    monkeypatch.setattr("nondet.runners.stack.StackRunner.environment", lambda *_: other)
    with pytest.raises(BadInput, match=r"torch is different: study=.*, here=1\.0"):
        augmented_outputs(problem, runs, view_sets(problem))


def test_runs_of_other_kernels_need_only_be_close(own: tuple[Problem, Study]) -> None:
    """What nondeterministic kernels stored, no other pass gives to the last bit; but another model is still refused."""
    problem, study = own
    spec = sound_runs(study).specs[1]
    free = replace(spec, seeds={**spec.seeds, "kernels": 2})
    kept = study.store.get(spec.key)
    study.store.put(free.key, kept.arrays, {**kept.record, "key": free.key, "run": free.as_dict()})
    runs = Runs(study, (free,), 0)
    rewrite(study, "outputs", lambda z: z * (1 + 1e-6), free.key)
    assert np.isfinite(augmented_outputs(problem, runs, view_sets(problem))["crop9"]).all()
    rewrite(study, "outputs", lambda z: z * 2, free.key)
    with pytest.raises(BadInput, match="last bit"):
        augmented_outputs(problem, runs, view_sets(problem))


def test_an_unfinished_study_is_refused(own: tuple[Problem, Study]) -> None:
    """The command that goes on with it is named."""
    _, study = own
    study.store.set_aside(sound_runs(study).specs[2].key)
    with pytest.raises(BadInput, match=r"finished.*1 of 4 runs.*nondet run"):
        sound_runs(study)


def test_a_damaged_run_is_named(own: tuple[Problem, Study]) -> None:
    """A blob that was changed is no run, and the sentence says how to train it again."""
    _, study = own
    runs = sound_runs(study)
    path = study.store.blob_path(runs.specs[0].key)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(Damaged, match="trains it again"):
        outputs(runs, ["outputs"])


def test_failed_runs_are_left_out_and_counted(own: tuple[Problem, Study]) -> None:
    """A run that failed belongs to no group and no mean; fewer than two that did not are refused."""
    _, study = own
    first, second, _ = study.conditions[0].specs(study.identity, study.sources)
    for spec in (second, first):
        kept = study.store.get(spec.key)
        study.store.set_aside(spec.key)
        study.store.put(spec.key, {}, {**kept.record, "failed": 1})
        if spec is second:
            runs = sound_runs(load(study.folder))
            assert (len(runs.specs), runs.failed) == (2, 1)
            assert second.key not in {s.key for s in runs.specs}
    with pytest.raises(BadInput, match="two runs that did not fail"):
        sound_runs(study)


def test_the_control_is_looked_at(own: tuple[Problem, Study]) -> None:
    """Repeats that differ in a bit are seen."""
    _, study = own
    assert control_is_zero(study)
    repeat = list(study.control_specs())[1]
    rewrite(study, "outputs", lambda z: np.nextafter(z, np.inf), repeat)
    assert control_is_zero(study) is False
