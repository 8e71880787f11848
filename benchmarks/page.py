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
        "One round trains a stack of digits runs for 24 epochs on one thread, with the recorded steps of the stack "
        "before (recording takes about a second, once in a process). Just before each round, a plain PyTorch "
        "loop trains three such runs one at a time, on one thread and on all cores. A study trains one stack on each "
        "core, so its time for a run-epoch is the stack's divided by the number of cores.",
    ),
    "test_study_against_plain_loop": (
        "The whole command against a plain loop",
        "`nondet run digits --runs=38 --vary=all --set=epochs=12` as a whole: start, trial steps, helper processes, "
        "control, store, measures and table. The plain loop uses its default threads.",
    ),
    "test_store": (
        "Writing and hashing",
        "One round writes the outcomes of a stack of 20 digits runs: blobs and records, hashed and synced to disk.",
    ),
    "test_measure_100x10000x10": (
        "All measures of 100 x 10,000 x 10 logits",
        "Accuracy, cross-entropy, disagreement, both correlations, both ensemble differences and the bootstrap of "
        "10,000 resamples. The limits are 10 s and 1 GB.",
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
        "`make bench` runs these and writes this page. Other work on a machine makes single times noisy: look at the",
        "medians and, above all, at the ratios, whose two sides are timed in the same run.",
        "",
        f"- machine: {machine['cpu']['brand_raw']}, {machine['cpu']['count']} cores, {machine['system']}",
        f"- versions: Python {machine['python_version']}, {versions}",
        f"- commit: {commit['id'][:10]}{changed}",
        f"- date: {results['datetime'][:10]}",
    ]
    by_name = {b["name"]: b for b in results["benchmarks"]}
    for name, (title, text) in WHAT.items():
        stats = by_name[name]["stats"]
        lines += ["", f"## {title}", "", text, "", "| quantity | value |", "|---|---:|"]
        lines.append(f"| median of n = {stats['rounds']} rounds | {_seconds(stats['median'])} |")
        lines.append(f"| fastest, slowest round | {_seconds(stats['min'])}, {_seconds(stats['max'])} |")
        lines += [f"| {figure} | {value} |" for figure, value in by_name[name]["extra_info"].items()]
    lines += ["", "## Each measure by itself", "", "On the same logits.", ""]
    lines += ["| measure | n | median | peak memory (MB) |", "|---|---:|---:|---:|"]
    for name, benchmark in by_name.items():
        if name not in WHAT:
            measure = name.partition("[")[2].rstrip("]") or name.removeprefix("test_")
            stats, peak = benchmark["stats"], benchmark["extra_info"].get("peak_mb", "not measured")
            lines.append(f"| `{measure}` | {stats['rounds']} | {_seconds(stats['median'])} | {peak} |")
    return "\n".join(lines)


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.1f} ms"


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
