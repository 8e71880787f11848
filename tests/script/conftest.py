"""Scripts as one finds them: they know one seed, and nothing of nondet."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripts import FAST, RECORD

from nondet.runners.process import Process, environment_of
from nondet.runners.script_run import ledger_of

LARGE = ("torch", "transformers", "lightning", "safetensors")
"""Packages that take long to import."""


@pytest.fixture
def fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script without torch, in a folder of its own, in which commands are given."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = tmp_path / "here" / "fast.py"
    path.write_text(FAST)
    return path


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """Run a script once with these seeds; its ledger, with the outputs, once for the same seeds and words.

    started: in a process that is started, as the first run of a study is. Others are forked, for the sake of time.
    """
    known: dict[str, dict[str, Any]] = {}
    processes: dict[tuple[str, ...], Process] = {}  # by what scripts import: after a first one that is started

    def run(
        text: str,
        seeds: Mapping[str, int],
        *words: str,
        record: str = RECORD,
        bit: object = None,
        files: Mapping[str, str] | None = None,
        again: int = 0,
        onset: int = 0,
        started: bool = False,
    ) -> dict[str, Any]:
        name = json.dumps([text, dict(seeds), words, record, bit, again, onset, started])
        if name not in known:
            place = tmp_path_factory.mktemp("run")
            (place / "train.py").write_text(text)
            for file, content in (files or {}).items():
                (place / file).parent.mkdir(exist_ok=True)
                (place / file).write_text(content)
            kept = place / ".nondet"
            kept.mkdir()
            order = {"seeds": dict(seeds), "record": record, "folder": str(kept), "bit": bit, "onset": onset}
            (kept / "order.json").write_text(json.dumps(order))
            command = [sys.executable, "train.py", *words]
            environment = environment_of(seeds, place)
            imports = tuple(name for name in LARGE if name in text)
            process = processes.get(imports)
            if process is None or started:
                process = Process()
                processes.setdefault(imports, process)
            status = process.run(command, place, place / "log.txt", environment)
            assert status == 0, (place / "log.txt").read_text()
            ledger = ledger_of(kept)
            assert ledger["record"] == "", ledger["record"]
            process.learn(ledger)
            with np.load(ledger["file"]) as held:
                known[name] = {**ledger, **{key: held[key] for key in held.files}}
        return known[name]

    return run
