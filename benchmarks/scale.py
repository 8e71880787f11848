"""Seconds and peak memory of `nondet measure` on many runs: python benchmarks/scale.py 1000 [10000].

Outputs of 10,000 examples and 10 classes are written to a temporary folder (2 GB for 10,000 runs of float16), and
measured by the command in a separate process, on all cores that this process may use. They are float16; the first
number of runs is also measured in float32 and with --examples.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from nondet.io.cores import available_cores
from nondet.study.provenance import environment_of_machine

HEADING = """
## Many runs

`python benchmarks/scale.py {runs}`: `nondet measure` on made-up logits, all measures with their errors and intervals.
The limits on 2 cores are 120 s and 3 GB for 1,000 runs, 10 minutes and 6 GB for 10,000.

{processor} ({instructions}), numpy {numpy}.
"""

# In getrusage, a child's peak includes the memory of its parent; in VmHWM it does not.
CHILD = """
import pathlib, re, sys
from nondet.cli.main import main
status = main(sys.argv[1:])
print(re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1], file=sys.stderr)
sys.exit(status)
"""


def write(folder: Path, runs: int, examples: int, classes: int, dtype: str) -> None:
    """Write outputs of runs that share a signal, and labels that it predicts in most examples."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, examples)
    shared = 2 * rng.standard_normal((examples, classes), np.float32)
    shared[np.arange(examples), labels] += 6
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (runs, examples, classes)}
    with (folder / "outputs.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(runs):
            file.write((shared + rng.standard_normal(shared.shape, np.float32)).astype(dtype).tobytes())
    np.save(folder / "labels.npy", labels)


def measured(folder: Path, options: list[str]) -> tuple[float, float, float, dict[str, object]]:
    """Return the seconds, those of all cores together, the peak memory in GB, and the JSON."""
    files = [str(folder / "outputs.npy"), "--labels", str(folder / "labels.npy"), "--json", *options]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", CHILD, "measure", *files], capture_output=True, text=True, check=True)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, busy, int(done.stderr.split()[-1]) * 2**10 / 1e9, json.loads(done.stdout)


def main() -> None:
    """Print a row for each number of runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=int, nargs="+")
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=10)
    given = parser.parse_args()
    print(HEADING.format(runs=" ".join(map(str, given.runs)), **environment_of_machine()))
    print("| runs x examples x classes | cores | seconds | CPU seconds | peak memory (GB) | pairs of the ensembles |")
    print("|---|---:|---:|---:|---:|---:|")
    first = given.runs[0]
    cases = [
        (first, "float32", []),
        (first, "float16", ["--examples"]),
        *((runs, "float16", []) for runs in given.runs),
    ]
    for runs, dtype, options in cases:
        with tempfile.TemporaryDirectory() as name:
            write(Path(name), runs, given.examples, given.classes, dtype)
            seconds, busy, peak, found = measured(Path(name), options)
        sampled = found.get("sampled_pairs")
        pairs = sampled["ensemble_delta.accuracy"] if isinstance(sampled, dict) else runs * (runs - 1) // 2
        size = ", ".join([f"{runs:,} x {given.examples:,} x {given.classes}", dtype, *(f"`{o}`" for o in options)])
        print(f"| {size} | {available_cores()} | {seconds:.0f} | {busy:.0f} | {peak:.2f} | {pairs:,} |", flush=True)


if __name__ == "__main__":
    main()
