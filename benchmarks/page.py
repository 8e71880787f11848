"""docs/benchmarks.md from the results of `make bench`: python benchmarks/page.py RESULTS.json > docs/benchmarks.md"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

WHAT = {
    "test_stack_against_plain_loop": (
        "A stack against a plain PyTorch loop",
        "One round trains a stack of digits runs for two epochs on one thread. In the same breath, before each round, "
        "a plain PyTorch loop trains three such runs one at a time, on one thread and on all cores. A study trains one "
        "stack on each core, so its time for a run-epoch is the stack's over the number of cores.",
    ),
    "test_study_against_plain_loop": (
        "The whole command against a plain loop",
        "`nondet run digits --runs=38 --vary=all --set=epochs=12` with all that belongs to it: start, trial steps, "
        "helper processes, control, store, measures and table. Beside it the plain loop, on its default threads.",
    ),
    "test_store": (
        "Writing and hashing",
        "One round writes the outcomes of a stack of 20 digits runs: blobs and records, hashed and synced to disk.",
    ),
    "test_measure_100x10000x10": (
        "All measures of 100 x 10,000 x 10 logits",
        "Accuracy, cross-entropy, disagreement, both correlations, both ensemble differences and the bootstrap of "
        "10,000 resamples. The bounds that it must keep are 10 s and 1 GB.",
    ),
}


def main(path: Path) -> str:
    results: dict[str, Any] = json.loads(path.read_text())
    machine, commit = results["machine_info"], results["commit_info"]
    changed = " with uncommitted changes" if commit.get("dirty") else ""
    versions = ", ".join(f"{name} {version(name)}" for name in ("nondet", "torch", "numpy"))
    lines = [
        "# Benchmarks",
        "",
        "`make bench` runs these and writes this page. Other work on a machine makes single times noisy: read the "
        "medians and, first of all, the ratios, whose two sides are timed in one run.",
        "",
        f"- machine: {machine['cpu']['brand_raw']}, {machine['cpu']['count']} cores, {machine['system']}",
        f"- versions: Python {machine['python_version']}, {versions}",
        f"- commit: {commit['id'][:10]}{changed}",
        f"- date: {results['datetime'][:10]}",
    ]
    for benchmark in sorted(results["benchmarks"], key=lambda b: [*WHAT, b["name"]].index(b["name"])):
        stats = benchmark["stats"]
        title, text = WHAT.get(benchmark["name"], (benchmark["name"].removeprefix("test_").replace("_", " "), ""))
        lines += ["", f"## {title}", "", *([text, ""] if text else []), "| figure | value |", "|---|---:|"]
        lines.append(f"| median of n = {stats['rounds']} rounds | {_seconds(stats['median'])} |")
        lines.append(f"| fastest, slowest round | {_seconds(stats['min'])}, {_seconds(stats['max'])} |")
        lines += [f"| {name} | {value} |" for name, value in benchmark["extra_info"].items()]
    return "\n".join(lines)


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.1f} ms"


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
