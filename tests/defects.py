"""Defects made by hand in key lines, which the tests beside each must catch: python tests/defects.py [NUMBER ...].

Each is made in a copy of the package in a temporary folder, where the tests named run until the first that fails. Exit
status 1 if all pass with a defect in place.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DEFECTS: tuple[tuple[str, str, str, str], ...] = (
    # file, line, what takes its place, tests
    ("sources.py", "spawn_key=(number, *place)", "spawn_key=(number,)", "training/test_streams.py"),
    ("stats/jackknife.py", "(len(without) - 1) * (without", "len(without) * (without", "stats/test_jackknife.py"),
    ("stats/jackknife.py", "/ total) / degrees", "/ total) * degrees", "stats/test_jackknife.py"),
    ("stats/spread.py", "ddof=1", "ddof=0", "stats/test_compare_statistics.py"),
    ("stats/means.py", "mean_b - mean_a", "mean_a - mean_b", "stats/test_compare_statistics.py"),
    ("measures/diversity.py", "runs * square + square.sum()", "runs * square", "measures/test_measures_diversity.py"),
    ("measures/ensemble.py", "(partners * count)", "(runs * count)", "measures/test_measures_ensemble.py"),
    ("measures/figure.py", "elif e.low == e.high:", "elif e.low > e.high:", "measures/test_measures_summary.py"),
    (
        "io/files.py",
        "            _sync(handle)\n            if replace",
        "            if replace",
        "faults/test_disk.py",
    ),
    ("io/files.py", "return path.samefile(temporary)", "return True", "test_store.py"),
    ("io/files.py", "seal == hashlib.sha256(body", "seal != hashlib.sha256(body", "test_store.py"),
    ("study/blob.py", "if found.hexdigest() != sha256:", "if False:", "test_store.py"),
    ("study/spec.py", '{"onset": self.onset, "repeat"', '{"onset": 0, "repeat"', "test_experiments.py"),
    ("study/checks.py", "shape[:1] != study.labels.shape[:1]", "False", "test_strangers_files.py"),
    ("training/perturb.py", "torch.nextafter(before, goal)", "before", "training/test_streams.py"),
    ("training/stack.py", "losses.sum()", "losses.mean()", "training/test_stack.py"),
    (
        "training/dropout.py",
        "self.uniforms(shape, input.dtype) >= p",
        "self.uniforms(shape, input.dtype) < p",
        "training",
    ),
    ("training/lists.py", "memory not in given and", "", "training/test_lists.py"),
    ("training/recorded.py", " or memory_of(gradient) in taken", "", "training/test_recorded.py"),
    ("running/scheduler.py", "take, 1)", "take, 2)", "test_protocol.py"),
    ("analysis/reader.py", "stacked[name][sound] =", "stacked[name][0] =", "test_program.py"),
    ("analysis/results.py", "made.file != every[0].file", "made.file == every[0].file", "test_cli.py"),
    ("errors.py", "_spelling[-1](", "_spelling[0](", "test_spelling.py"),
    ("kinds/dense.py", 'sampled = ("sample.logits",)', "sampled = ()", "test_text_tasks.py"),
)


def caught(number: int, folder: Path) -> bool:
    """Whether the tests beside a defect fail with it."""
    file, line, other, tests = DEFECTS[number]
    copy = folder / str(number)
    for name in ("src", "tests", "examples", "benchmarks", "docs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (*ROOT.glob("*.md"), *ROOT.glob("*.toml"), *ROOT.glob("*.yml"), ROOT / "Makefile"):
        shutil.copy(path, copy)
    source = copy / "src" / "nondet" / file
    text = source.read_text()
    if line not in text:
        raise SystemExit(
            f"{file} no longer has the line of defect {number} ({line!r}); name another in tests/defects.py"
        )
    source.write_text(text.replace(line, other))
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:benchmark",
        "-p",
        "no:cacheprovider",
        f"tests/{tests}",
    ]
    where = {**os.environ, "PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(words, cwd=copy, env=where, capture_output=True, text=True, check=False)
    last = next(
        (word for word in reversed(done.stdout.splitlines()) if word.startswith(("FAILED", "ERROR"))), ""
    ).split(" - ")[0]
    cells = (
        str(number),
        f"`{file}`",
        f"`{line.split(chr(10))[0].strip()}`",
        last.partition(" tests/")[2] or "NOTHING",
    )
    print(f"| {' | '.join(cells)} |", flush=True)
    shutil.rmtree(copy)
    return done.returncode == 1 and bool(last)


def main() -> int:
    chosen = [int(word) for word in sys.argv[1:]] or range(len(DEFECTS))
    print("| | file | line | caught by |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        found = [caught(number, Path(folder)) for number in chosen]  # all of them, whatever the first is
        return int(not all(found))


if __name__ == "__main__":
    sys.exit(main())
