"""A package of somebody else's, installed under a temporary folder: one module, and what it brings by entry points."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a module of this text with these entry points, (group, name, object); for this and other processes."""

    def give(module: str, text: str, *points: tuple[str, str, str]) -> Path:
        folder = tmp_path / "site"
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{module}.py").write_text(text)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        lines = [f"[{group}]\n{name} = {module}:{thing}\n" for group, name, thing in points]
        (info / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("PYTHONPATH", str(folder) + (":" + ":".join(p for p in sys.path if p.endswith("src"))))
        monkeypatch.delitem(sys.modules, module, raising=False)
        return folder

    return give
