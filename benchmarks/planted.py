"""How many planted causes are named, with their line, and how many clean scripts are accused.

    python benchmarks/planted.py [NAME ...]

Each script in tests/planted says in its first line which command finds what, and on which line ("HERE"); beside it
stands the same script, mended. The bar: 22 named with the right cause and line, and no clean one accused.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nondet as nd

PLANTED = Path(__file__).parents[1] / "tests" / "planted"
BAR = 22
WORDS = ("--steps", "{steps}", "{resume}")


def expected(path: Path) -> tuple[str, str, int]:
    """The command that finds it, the cause and the line."""
    lines = path.read_text().splitlines()
    command, _, cause = lines[0].removeprefix("# ").partition(": ")
    return command, cause, next((n for n, line in enumerate(lines, 1) if line.endswith("# HERE")), 0)


def found(command: str, path: Path) -> list[tuple[str | None, int | None]]:
    """Causes and lines that a command names."""
    words = [sys.executable, path.name]
    if command == "resume-check":
        checked = nd.resume_check([*words, *WORDS], resume="--resume")
        return [(one["state"], one["line"]) for one in checked.to_dict()["differences"]]
    if command == "diverge":
        diverged = nd.diverge(words).to_dict()
        return [(one["cause"], one["line"]) for one in diverged["origins"]]
    audited: dict[str, Any] = nd.audit(words).to_dict()
    unexplained = [audited["unexplained"]] if audited["unexplained"] else []
    accused = [
        (f"{s['name']} {s['verdict']}", None) for s in audited["sources"] if s["verdict"] in ("dead", "leaks", "failed")
    ]
    return [*((one["cause"], one["line"]) for one in [*audited["findings"], *unexplained]), *accused]


def main(names: list[str]) -> int:
    paths = [p for p in sorted(PLANTED.glob("*.py")) if not p.stem.endswith("_clean")]
    right, accused, number = 0, 0, 0
    for path in paths:
        if names and path.stem not in names:
            continue
        command, cause, line = expected(path)
        for script in (path, path.with_name(f"{path.stem}_clean.py")):
            began = time.perf_counter()
            with tempfile.TemporaryDirectory() as place:
                os.chdir(place)
                (Path(place) / script.name).write_text(script.read_text())
                try:
                    said = found(command, Path(script.name))
                except nd.BadInput as error:
                    said = [(str(error), None)]
                os.chdir("/")
            clean = script is not path
            fine = not said if clean else (cause, line) in said
            number += not clean
            right, accused = right + (fine and not clean), accused + (clean and not fine)
            took = time.perf_counter() - began
            what = "clean" if clean else f"{cause}, line {line}"
            print(f"{'ok' if fine else 'NO':2} {took:5.0f} s  {command:12} {script.stem:32} {what}: {said}", flush=True)
    print(f"{right} of {number} causes named with their line, {accused} of {number} clean scripts accused.")
    return 0 if not accused and right >= min(BAR, number) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
