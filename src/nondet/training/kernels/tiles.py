"""The sizes of the pieces that one program works on, by kind of product and shape, as measured on a GPU."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from nondet.training.kernels.geometry import Geometry


@dataclass(frozen=True)
class Tile:
    """rows, depth, breadth: of one product. tiles: in a gradient of weights, how many one program sums; together:
    whether it does three taps at once. unroll: whether the loop over taps is unrolled. warps, stages: options of
    Triton."""

    rows: int
    depth: int
    breadth: int
    tiles: int = 1
    together: bool = False
    unroll: bool = False
    warps: int = 4
    stages: int = 2


def power_of_two(n: int) -> int:
    """Return the smallest power of two that is at least n."""
    return 1 << (n - 1).bit_length()


def fitted(tile: Tile, geometry: Geometry) -> Tile:
    """Shrink the tile to what the geometry needs; the matrix unit needs at least 16."""
    return replace(
        tile,
        depth=max(16, min(tile.depth, power_of_two(geometry.depth))),
        breadth=max(16, min(tile.breadth, power_of_two(geometry.breadth))),
    )


def tile_for(kind: str, geometry: Geometry, dtype: torch.dtype, products: str) -> Tile:
    """Return a tile that is fast for this kind of product ("forward", "back" or "weights") and this shape.

    They were found by `benchmarks/tiles.py` on an H200, for ResNet-14 at batch 512.
    """
    short, narrow, wide = dtype != torch.float32, geometry.depth <= 16, geometry.breadth
    if kind == "weights" and short:
        tile = Tile(128, 64, 64, tiles=16, stages=3) if narrow else Tile(64, 64, 64, tiles=128, stages=3)
        tile = replace(tile, together=True)
    elif kind == "weights" and (narrow or (geometry.stride == 1 and wide <= 32)):
        high = 64 if narrow == (products == "tf32x3") else 128
        tile = Tile(high, 64, 64, tiles=32, together=True, stages=1)
    elif kind == "weights":
        high = 64 if products != "tf32x3" and geometry.outputs // geometry.groups <= 32 else 32
        tile = Tile(high, 64, 64, tiles=128, together=True, stages=3)
    elif short:
        tile = Tile(256, 32, 32, stages=4) if wide <= 32 else Tile(128, 32 if wide <= 64 else 64, 128, stages=4)
        tile = Tile(128, 16, 32, stages=3) if narrow else tile if wide <= 64 else replace(tile, stages=3)
    elif products == "tf32":
        tile = Tile(128, 32, 128, warps=4 if wide <= 64 else 8, unroll=narrow, stages=3)
    else:
        tile = Tile(128, 16, 64, stages=3)
    return fitted(tile, geometry)


def across_for(outputs: int, dtype: torch.dtype, products: str) -> int:
    """Return the output pixels of a place, in a convolution of stride 1 with this many outputs in a group.

    With few outputs, two pixels are needed to fill the matrix unit; a quarter of their products are with zeros.
    """
    return 1 if outputs >= (64 if dtype == torch.float32 and products == "tf32x3" else 128) else 2
