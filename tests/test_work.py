"""Workers that take what is free and leave, how far a study is, and the engines that start workers elsewhere."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nondet as nd
from nondet.running.executors.ray import on_ray
from nondet.running.executors.slurm import on_slurm
from nondet.study import claims
from nondet.study import record as studies
from nondet.study.places import address_of

Nondet = Callable[..., Any]


def stopped(*args: object) -> None:
    raise KeyboardInterrupt


def begun(task: Path, folder: Path, **more: Any) -> Path:
    """A study that was stopped before its first run."""
    with pytest.raises(nd.Stopped):
        nd.run(task, runs=5, vary=["init", "all"], folder=folder, executor=stopped, stack=3, **more)
    return folder


def blobs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "runs").glob("*.safetensors")}


@pytest.fixture(scope="module")
def right(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process makes of the same study."""
    folder = tmp_path_factory.mktemp("right") / "s"
    nd.run(tiny, runs=5, vary=["init", "all"], folder=folder, executor="local", stack=3)
    return blobs(folder)


def test_a_worker_makes_what_is_missing_and_leaves(
    tiny: Path, tmp_path: Path, nondet: Nondet, right: dict[str, bytes]
) -> None:
    folder = begun(tiny, tmp_path / "s")
    first = nondet("work", folder, "--run-task", "--stacks", 1)
    assert first.code == 0, first.err
    assert first.out == "Made 3 runs here; 3 of 10 are there, and 0 in others' hands.\n"
    found = json.loads(nondet("status", folder, "--json").out)
    assert {name: found[name] for name in ("planned", "done", "failed", "in_hand", "missing")} == {
        "planned": 10, "done": 3, "failed": 0, "in_hand": 0, "missing": 7,
    }  # fmt: skip
    assert sum(found["hosts"].values()) == 3
    assert [(row["name"], row["runs"]) for row in found["conditions"]] == [("control", 2), ("init", 5), ("all", 5)]
    assert nd.work(folder, run_task=True) == 7
    assert blobs(folder) == right
    assert not (folder / "partial").exists()
    assert nd.status(folder).done == 10
    assert "all" in repr(nd.status(folder))
    assert nd.work(folder, run_task=True) == 0


def test_what_others_hold_is_left_to_them(tiny: Path, tmp_path: Path) -> None:
    """A worker that finds all in others' hands leaves, and `status` says how many they are."""
    folder = begun(tiny, tmp_path / "s")
    study = studies.load(folder)
    asked, told = os.pipe(), os.pipe()
    other = os.fork()
    if other == 0:  # locks are a process's own
        with claims.claiming(folder) as take:
            good = all(take(key) for key in study.planned())
            os.write(told[1], b"y" if good else b"n")
            os.read(asked[0], 1)
        os._exit(0)
    assert os.read(told[0], 1) == b"y"
    assert nd.status(folder).in_hand == len(study.planned())
    assert nd.work(folder, run_task=True) == 0
    os.write(asked[1], b"x")
    os.waitpid(other, 0)
    assert nd.status(folder).in_hand == 0


def test_a_stranger_s_file_is_not_run(tiny: Path, tmp_path: Path, nondet: Nondet) -> None:
    folder = begun(tiny, tmp_path / "s")
    ran = nondet("work", folder)
    assert ran.code == 2
    assert "which is code and was not run; if you trust it, add --run-task" in ran.err
    assert nd.status(folder).done == 0
    wrong = nondet("work", folder, "--stacks", 0)
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)


def test_another_environment_is_refused(
    tiny: Path, tmp_path: Path, nondet: Nondet, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begun(tiny, tmp_path / "s")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    ran = nondet("work", folder, "--run-task")
    assert ran.code == 2
    assert "ONEDNN_MAX_CPU_ISA" in ran.err
    assert nd.status(folder).done == 0


def test_another_task_is_refused(task_file: Any, tmp_path: Path, nondet: Nondet) -> None:
    """A worker trains with the code that the study was begun with."""
    folder = begun(task_file(), tmp_path / "s")
    task_file(("epochs=2,", "epochs=3,"))
    ran = nondet("work", folder, "--run-task")
    assert ran.code == 2
    assert "another recipe" in ran.err


FAKE = {
    "sbatch": '#!/bin/bash\necho "$@" >> {at}/asked\ncat > {at}/script\n'
    "SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=0 bash {at}/script > {at}/log 2>&1 &\necho 7\n",
    "squeue": "#!/bin/bash\npgrep -f {at}/script > /dev/null && echo RUNNING\nexit 0\n",
    "scancel": '#!/bin/bash\necho "$@" >> {at}/cancelled\npkill -f {at}/script\nexit 0\n',
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with programs of Slurm's names, which run one job of an array at once."""
    at = tmp_path / "bin"
    at.mkdir()
    for name, text in FAKE.items():
        (at / name).write_text(text.format(at=at))
        (at / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{at}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    return at


def test_slurm_is_told_to_work(
    slurm: Path, tiny: Path, tmp_path: Path, nondet: Nondet, right: dict[str, bytes]
) -> None:
    words = ("run", tiny, "--runs", 5, "--vary", "init", "--vary", "all", "--stack", 3, "--study", tmp_path / "s")
    ran = nondet(*words, "--on", "slurm:partition=main,time=10,workers=2")
    assert ran.code == 0, ran.err
    asked = (slurm / "asked").read_text()
    assert "--array=0-1 --requeue" in asked
    assert "--partition=main --time=10" in asked
    assert blobs(tmp_path / "s") == right


def test_jobs_that_end_without_their_runs_are_told_of(
    slurm: Path, tiny: Path, tmp_path: Path, nondet: Nondet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nondet.running.executors.slurm.LOOK_SECONDS", 0.2)
    (slurm / "sbatch").write_text("#!/bin/bash\ncat > /dev/null\necho 7\n")
    ran = nondet("run", tiny, "--runs", 2, "--vary", "init", "--study", tmp_path / "s", "--on", "slurm")
    assert ran.code == 2
    assert "they ended after 0 of 3" in ran.err
    (slurm / "sbatch").write_text("#!/bin/bash\necho 'invalid partition specified: none' >&2\nexit 1\n")
    ran = nondet("run", tiny, "--runs", 2, "--vary", "init", "--study", tmp_path / "s", "--on", "slurm:partition=none")
    assert ran.code == 2
    assert "invalid partition specified: none" in ran.err


@pytest.mark.parametrize("options", ["partition", "partition=", "workers=0", "Partition=a", "--x=1", "a;b=c"])
def test_options_of_slurm(options: str, tiny: Path, tmp_path: Path, nondet: Nondet) -> None:
    ran = nondet("run", tiny, "--runs", 2, "--vary", "init", "--study", tmp_path / "s", "--on", f"slurm:{options}")
    assert ran.code == 2
    assert "try slurm:partition=main,time=60,workers=8" in ran.err


def test_ray_that_is_not_there(tiny: Path, tmp_path: Path, nondet: Nondet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    ran = nondet("run", tiny, "--runs", 2, "--vary", "init", "--study", tmp_path / "s", "--on", "ray")
    assert ran.code == 2
    assert "pip install 'nondet[ray]'" in ran.err


ROOT = Path(__file__).parents[1]


def from_the_docs(name: str) -> Any:
    """An example's manifest, which is the one of the docs."""
    yaml = pytest.importorskip("yaml")
    text = (ROOT / "examples" / name).read_text()
    assert f"```yaml\n{text}```" in (ROOT / "docs" / "cluster-kubernetes.md").read_text()
    return yaml.safe_load(text)


def the_container(spec: Any) -> Any:
    """The only container of a Job's pods, once the Job is one of workers that may each fail."""
    assert set(spec) == {"completionMode", "completions", "parallelism", "backoffLimitPerIndex", "template"}
    assert spec["completionMode"] == "Indexed"  # which a limit of failures for each index needs
    assert spec["completions"] == spec["parallelism"]
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    assert {m["name"] for m in container.get("volumeMounts", [])} == {v["name"] for v in pod.get("volumes", [])}
    return container


def test_the_job_for_kubernetes(nondet: Nondet) -> None:
    """Its volumes are those it mounts, and its command is one of nondet."""
    job = from_the_docs("kubernetes_job.yaml")
    assert (job["apiVersion"], job["kind"], set(job)) == ("batch/v1", "Job", {"apiVersion", "kind", "metadata", "spec"})
    container = the_container(job["spec"])
    program, *words = container["command"]
    assert program == "nondet"
    assert words[1].startswith(container["volumeMounts"][0]["mountPath"] + "/")
    ran = nondet(*words)
    assert ran.code == 2
    assert "/studies/big" in ran.err


def test_the_jobset_for_kubernetes() -> None:
    """Its one template is a Job of workers on a bucket, whose credentials are a Secret's and stand nowhere else."""
    found = from_the_docs("kubernetes_jobset.yaml")
    assert (found["apiVersion"], found["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert set(found["spec"]) == {"replicatedJobs"}
    (replicated,) = found["spec"]["replicatedJobs"]
    assert set(replicated) == {"name", "replicas", "template"}
    container = the_container(replicated["template"]["spec"])
    assert container["command"][:2] == ["nondet", "work"]
    assert address_of(container["command"][2]) == container["command"][2]
    assert container["envFrom"] == [{"secretRef": {"name": "bucket-credentials"}}]
    assert "env" not in container


def on_examples() -> list[str]:
    """What stands after `--on` in the docs."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return sorted({on for page in pages for on in re.findall(r"--on ([a-z]+[^\s`…]*)", page.read_text())})


@pytest.mark.parametrize("on", on_examples())
def test_every_example_of_on_is_understood(on: str) -> None:
    """Each names an engine, with options or an address that it takes."""
    kind, _, rest = on.partition(":")
    executor = {"ray": on_ray, "slurm": on_slurm}[kind](rest)
    assert callable(executor)
    assert re.fullmatch(r"ray(:ADDRESS|:[0-9.]+:[0-9]+)?|slurm(:[a-z-]+=[^,]+(,[a-z-]+=[^,]+)*)?", on)


def test_there_are_examples_of_on() -> None:
    assert {on.partition(":")[0] for on in on_examples()} == {"ray", "slurm"}
