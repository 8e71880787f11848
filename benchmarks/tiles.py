"""Which tiles are fast: every convolution of ResNet-14 at batch 512, by kind of product and precision.

    python benchmarks/tiles.py [--precision fp32 TF32 bf16] [--kinds forward back weights] [--wide | --grid]

For each it prints the microseconds per model of the tile that `kernels/tiles.py` names, and of neighbours that are
faster: those with half or twice its rows, depth, breadth or warps, or with other stages (with --wide, pairs of such
changes too; with --grid, all combinations of some rows, warps, stages and taps). Everything is compiled first, in
parallel.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from gpu import DEVICE, median_ms, resnet14
from torch import nn

from nondet.training.kernels import convolution
from nondet.training.kernels.geometry import Geometry, forward, gradient
from nondet.training.kernels.tiles import Tile, across_for, fitted, tile_for

TYPES = {"fp32": (torch.float32, "tf32x3"), "TF32": (torch.float32, "tf32"), "bf16": (torch.bfloat16, "tf32")}
KINDS = ("forward", "back", "weights")


def geometries(precision: str) -> dict[Geometry, int]:
    """The convolutions of the network, and how often each occurs."""
    found: dict[Geometry, int] = {}

    def seen(module: Any, given: Any, output: Any) -> None:
        (h, w), c = given[0].shape[2:], max(4, module.in_channels)
        across = across_for(module.out_channels, *TYPES[precision])
        kernel, padding = module.kernel_size, module.padding
        geometry = forward((h, w), c, module.out_channels, kernel, module.stride[0], padding, 1, across)
        found[geometry] = found.get(geometry, 0) + 1

    model = resnet14()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(seen)
    model(torch.zeros(2, 3, 32, 32))
    return found


def call(kind: str, geometry: Geometry, precision: str, tile: Tile, runs: int, batch: int) -> Callable[[], Any]:
    """The product, ready to be called."""
    dtype, products = TYPES[precision]
    g = gradient(geometry) if kind == "back" else geometry
    x = torch.randn(runs, batch, g.height, g.width, g.channels, device=DEVICE).to(dtype)
    if kind == "weights":
        dy = torch.randn(runs, batch, g.out_height, g.out_width, g.outputs, device=DEVICE).to(dtype)
        return lambda: convolution.weight_gradient(x, dy, g, tile, products)
    w = torch.randn(runs, geometry.outputs, geometry.channels, *geometry.kernel, device=DEVICE)
    prepared = convolution.matrix(w, g, tile, products, dtype)
    sums = kind == "forward"
    return lambda: convolution.products(x, prepared, None, g, tile, products, dtype, statistics=sums)


def neighbours(tile: Tile, kind: str, wide: bool) -> list[Tile]:
    """Tiles that differ from this one in one number, or in two."""
    changes = [{"rows": tile.rows * 2}, {"rows": tile.rows // 2}]
    changes += [{"depth": tile.depth * 2}, {"depth": tile.depth // 2}]
    changes += [{"breadth": tile.breadth * 2}, {"breadth": tile.breadth // 2}]
    changes += [{"warps": warps} for warps in (4, 8) if warps != tile.warps]
    changes += [{"stages": stages} for stages in (1, 2, 3, 4) if stages != tile.stages]
    if kind == "weights":
        changes += [{"tiles": tile.tiles * 2}, {"tiles": max(1, tile.tiles // 2)}, {"together": not tile.together}]
    else:
        changes += [{"unroll": not tile.unroll}]
    pairs = [a | b for a, b in itertools.combinations(changes, 2) if not a.keys() & b.keys()] if wide else []
    return [replace(tile, **change) for change in changes + pairs]


def grid(tile: Tile, kind: str) -> list[Tile]:
    """All combinations of some numbers; the others stay as in this tile."""
    last = [{"together": t} for t in (True, False)] if kind == "weights" else [{"unroll": u} for u in (True, False)]
    return [
        replace(tile, rows=rows, warps=warps, stages=stages, **other)
        for rows, warps, stages, other in itertools.product((32, 64, 128), (4, 8), (1, 2, 3), last)
    ]


def candidates(kind: str, geometry: Geometry, precision: str, wide: bool, whole: bool) -> list[Tile]:
    """The tile in use, and others that fit: at least 16 a side, in the memory of a multiprocessor."""
    g = gradient(geometry) if kind == "back" else geometry
    used = tile_for(kind, g, *TYPES[precision])
    found = [used]
    for tile in grid(used, kind) if whole else neighbours(used, kind, wide):
        tile = fitted(tile, g)
        if 16 <= tile.rows <= 512 and tile.rows * tile.breadth <= 32768 and tile not in found:
            found.append(tile)
    return found


def warm(job: tuple[Any, ...]) -> bool:
    """Compile one, and return whether that worked."""
    try:
        call(*job, runs=2, batch=16)()
        torch.cuda.synchronize()
    except Exception:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", nargs="*", choices=TYPES, default=list(TYPES))
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS)
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--grid", action="store_true")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("benchmarks/tiles.py needs a CUDA device, and none is here; run it on a machine that has one")
    begin = time.monotonic()
    places = [(k, g, p) for p in given.precision for k in given.kinds for g in geometries(p)]
    jobs = [(*place, tile) for place in places for tile in candidates(*place, given.wide, given.grid)]
    with multiprocessing.get_context("spawn").Pool(min(os.cpu_count() or 1, 14)) as pool:
        good = pool.map(warm, jobs, chunksize=1)
    print(f"{len(jobs)} products compiled in {time.monotonic() - begin:.0f} s", flush=True)
    for place in places:
        kind, g, precision = place
        times: list[tuple[float, Tile]] = []
        for job, works in zip(jobs, good, strict=True):
            if works and job[:3] == place:
                times.append((1e3 / given.runs * median_ms(call(*job, given.runs, 512), 7), job[3]))
        used, best = times[0], sorted(times, key=lambda t: t[0])[:3]
        shape = f"{g.channels}>{g.outputs} {g.kernel[0]}x{g.kernel[1]} /{g.stride} at {g.height}"
        print(f"{precision} {kind} {shape} (x{geometries(precision)[g]}): {used[0]:.1f} us {used[1]}", flush=True)
        for microseconds, tile in best:
            if microseconds < 0.97 * used[0]:
                print(f"    {microseconds:.1f} us {tile}", flush=True)


if __name__ == "__main__":
    main()
