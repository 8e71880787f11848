"""The main experiment on a CUDA machine: python benchmarks/gpu.py --data DIR [--epochs 100] [--runs 25].

ResNet-14 on CIFAR-10 with the conditions shuffle, bit and all, and the control: what `nondet run cifar10` trains, by
parts of the package that import torch, numpy, safetensors and Pillow alone. So it needs no command-line library and no
installation (PYTHONPATH=src). It goes on where it was stopped. Copy the study's folder to any machine with nondet, and
`nondet show` prints its table.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from nondet.analysis.results import read_results
from nondet.running.request import Request
from nondet.running.scheduler import Watcher, make_missing
from nondet.study import record as studies
from nondet.study.design import conditions
from nondet.study.provenance import set_up_process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--study", type=Path, default=Path("studies/cifar10-gpu"))
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument("--stack", type=int, default=26)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tf32", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    given = parser.parse_args()
    set_up_process()
    fields = {"epochs": str(given.epochs)} | dict(pair.split("=", 1) for pair in given.set)
    request = Request("cifar10", fields, given.device, given.data, tf32=given.tf32)
    runner = request.runner()
    width, _ = runner.width(given.stack)
    vary = ["shuffle", "bit", "all"]
    wanted = conditions(vary, runner.sources, given.runs)
    command = ["nondet", "run", "cifar10", f"--runs={given.runs}", *(f"--vary={v}" for v in vary)]
    command += [f"--stack={given.stack}", *request.words()]
    study = studies.open_study(given.study, runner, runner.environment(width), wanted, command, request.as_dict())
    begin = time.monotonic()

    def on_epoch(run_epochs: int) -> None:
        print(f"{time.monotonic() - begin:.0f} s: {run_epochs} run-epochs of this stack", flush=True)

    make_missing(study, runner, Watcher(on_epoch))
    studies.finish(study)
    print(json.dumps(read_results(studies.load(given.study)).to_dict(), indent=2, allow_nan=False))


if __name__ == "__main__":
    main()
