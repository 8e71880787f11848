"""Count how many planted causes are named with the right line, and how many clean scripts are accused.

    python benchmarks/planted.py [NAME ...] [--workers 2] [--kept planted.jsonl] [--scripts tests/planted]

Each script in tests/planted says in its first line which command finds what, and on which line ("HERE"); next to it is
the same script, fixed. The bar: 22 named with the right cause and line, and no clean one accused.

With `--kept`, answers are stored in that file, and the next call tries again only what has changed since: the script,
or any file of nondet.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import nondet as nd

PLANTED = Path(__file__).parents[1] / "tests" / "planted"
BAR = 22
WORDS = ("--steps", "{steps}", "{resume}")


def expected(path: Path) -> tuple[str, str, int]:
    """Return the command that finds it, the cause and the line."""
    lines = path.read_text().splitlines()
    command, _, cause = lines[0].removeprefix("# ").partition(": ")
    return command, cause, next((n for n, line in enumerate(lines, 1) if line.endswith("# HERE")), 0)


def found(command: str, path: Path) -> list[tuple[str | None, int | None]]:
    """Return the causes and lines that a command names."""
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


def tried(path: Path) -> tuple[list[Any], float]:
    """Return what is said about a script, in a separate folder, and after how many seconds."""
    command = expected(path.with_name(path.name.replace("_clean.py", ".py")))[0]
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        Path(path.name).write_text(path.read_text())
        try:
            said: list[Any] = [list(one) for one in found(command, Path(path.name))]
        except nd.BadInput as error:
            said = [[str(error), None]]
        os.chdir("/")
    return said, time.perf_counter() - began


def version(path: Path) -> str:
    """Return a digest of nondet's own files and of a script."""
    files = sorted(Path(nd.__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in [*files, path])).hexdigest()[:16]


def answers(paths: list[Path], workers: int, kept: Path | None) -> Iterator[tuple[Path, list[Any], float]]:
    """Return what is said about each script, as stored or tried now."""
    lines = kept.read_text().splitlines() if kept and kept.exists() else []
    known: dict[tuple[str, str], Any] = {(one["script"], one["version"]): one for one in map(json.loads, lines)}
    versions = {path: version(path) for path in paths}
    waiting: list[Path] = []
    for path in paths:
        one = known.get((path.stem, versions[path]))
        if one:
            yield path, one["said"], one["seconds"]
        else:
            waiting.append(path)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        jobs = {pool.submit(tried, path): path for path in waiting}
        for job in as_completed(jobs):
            path, (said, seconds) = jobs[job], job.result()
            if kept:
                row = {"script": path.stem, "version": versions[path], "said": said, "seconds": seconds}
                with kept.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            yield path, said, seconds


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kept", type=Path)
    parser.add_argument("--scripts", type=Path, default=PLANTED)
    options = parser.parse_args()
    names = [stem for name in options.names for stem in (name, f"{name}_clean")]
    paths = [p.resolve() for p in sorted(options.scripts.glob("*.py")) if not names or p.stem in names]
    right, accused, planted, clean = 0, 0, 0, 0
    for path, said, took in answers(paths, options.workers, options.kept):
        is_clean = path.stem.endswith("_clean")
        command, cause, line = expected(path)
        fine = not said if is_clean else [cause, line] in said
        planted, clean = planted + (not is_clean), clean + is_clean
        right, accused = right + (fine and not is_clean), accused + (is_clean and not fine)
        what = "clean" if is_clean else f"{command}: {cause}, line {line}"
        print(f"{'ok' if fine else 'NO'} {took:4.0f} s  {path.stem:34} {what}; said: {said}", flush=True)
    print(f"{right} of {planted} causes named with their line, {accused} of {clean} clean scripts accused.")
    return 0 if not accused and right >= min(BAR, planted) else 1


if __name__ == "__main__":
    sys.exit(main())
