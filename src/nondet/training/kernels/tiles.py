"""The sizes of the pieces that one program works on, by kind of product and shape: as measured on a GPU."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from nondet.training.kernels.geometry import Geometry


@dataclass(frozen=True)
class Tile:
    """rows, depth, breadth: of one product. tiles: how many one program sums up, of a gradient of weights; together:
    whether for three taps at once. unroll: whether the loop over taps is written out. warps, stages: as Triton takes
    them."""

    rows: int
    depth: int
    breadth: int
    tiles: int = 1
    together: bool = False
    unroll: bool = False
    warps: int = 4
    stages: int = 2


def power_of_two(n: int) -> int:
    """The smallest that is not below n."""
    return 1 << (n - 1).bit_length()


def fitted(tile: Tile, geometry: Geometry) -> Tile:
    """The tile no larger than the geometry needs; the matrix unit wants 16 at the least."""
    return replace(
        tile,
        depth=max(16, min(tile.depth, power_of_two(geometry.depth))),
        breadth=max(16, min(tile.breadth, power_of_two(geometry.breadth))),
    )


def tile_for(kind: str, geometry: Geometry, dtype: torch.dtype, products: str) -> Tile:
    """The tile of a kind of product ("forward", "back" or "weights") that is fast for such a shape.

    As `benchmarks/tiles.py` found on an H200, for ResNet-14 at batch 512.
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
    """The output pixels of a place in a convolution of stride 1 with so many outputs in a group.

    Two fill the matrix unit where there are few outputs; a quarter of their products is with zeros.
    """
    return 1 if outputs >= (64 if dtype == torch.float32 and products == "tf32x3" else 128) else 2
