"""A shortened list computes what it computed before, to the last bit, and changes nothing that is used elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves

from nondet.sources import stream
from nondet.training import lists
from nondet.training.snapshots import same_bits


def drawn(*shape: int) -> Tensor:
    return torch.from_numpy(stream("shuffle", 1).standard_normal(shape, dtype=np.float32))


def short(function: Callable[[Tensor], Any], x: Tensor) -> tuple[Callable[..., Any], list[str]]:
    """The function as a shortened list, and the names of its operations."""
    graph = make_fx(function)(x)
    run = lists.short(graph, x)
    return run, [str(node.target).removeprefix("aten.") for node in graph.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize(
    ("view", "left"),
    [
        (lambda x: x.permute(2, 0, 1).unsqueeze(0).select(2, 0), ["as_strided.default"]),
        (lambda x: x[1].t().unsqueeze(0), ["select.int", "as_strided.default"]),
        (lambda x: x.cos()[1].t(), ["cos.default", "as_strided.default"]),
    ],
)
def test_a_view_of_a_view_is_one_operation(view: Callable[[Tensor], Tensor], left: list[str]) -> None:
    """Wherever in memory the input begins at the next step."""
    run, names = short(lambda x: view(x).cos(), drawn(2, 2, 3))
    assert names == [*left, "cos.default"]
    for x in drawn(3, 2, 2, 3):
        assert torch.equal(run(x), view(x).cos())


def test_a_view_that_changes_nothing_is_left_out() -> None:
    run, names = short(lambda x: x.view(3, 4).permute(0, 1).expand(3, 4).cos(), drawn(3, 4))
    assert names == ["cos.default"]
    assert torch.equal(run(x := drawn(3, 4)), x.cos())


def test_a_view_as_another_type_stays() -> None:
    run, _ = short(lambda x: x.cos().view(torch.int32) + 1, drawn(3, 4))
    assert torch.equal(run(x := drawn(3, 4)), x.cos().view(torch.int32) + 1)


ONES = torch.ones(4, 4)
SUMS: dict[str, tuple[Callable[[Tensor], Any], int]] = {
    "used no more": (lambda x: x.cos() + x, 1),
    "a view of it is used no more": (lambda x: x.cos().t() + x.t(), 1),
    "an input": (lambda x: x + x.cos(), 0),
    "a constant": (lambda x: ONES + x, 0),
    "a view of an input": (lambda x: x.t() + x.cos().t(), 0),
    "used later": (lambda x: (lambda y: (y + x) * y)(x.cos()), 0),
    "a view is used later": (lambda x: (lambda y: (y + x).sum() * y[0])(x.cos()), 0),
    "returned": (lambda x: (lambda y: (y, y + x))(x.cos()), 0),
    "both terms are one": (lambda x: (lambda y: y + y.t())(x.cos()), 0),
    "of another shape": (lambda x: x.cos()[:1] + x, 0),
    "of another type": (lambda x: (x.cos() > 0) + x, 0),
    "a number": (lambda x: x.cos() + 1, 1),
    "scaled": (lambda x: torch.add(x.cos(), x, alpha=3), 1),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_are_added_in_place_only_where_nothing_else_is_lost(name: str) -> None:
    function, places = SUMS[name]
    x = drawn(4, 4)
    given, expected = x.clone(), tree_leaves(function(x))
    run, names = short(function, x)
    assert names.count("add_.Tensor") == places
    for _ in range(2):
        assert all(map(same_bits, tree_leaves(run(x)), expected))
        assert torch.equal(x, given)


@pytest.mark.parametrize("groups", [1, 2])
def test_tensors_of_a_grouped_convolution_are_read_ahead(groups: int) -> None:
    def gradients(x: Tensor) -> Any:
        w = x[:4, : 4 // groups].detach().requires_grad_()
        return torch.autograd.grad(F.conv2d(x, w, groups=groups).square().sum(), w)

    run, names = short(gradients, x := drawn(4, 4, 3, 3))
    at = names.index("convolution_backward.default")
    assert (names[at - 2 : at] == ["sum.default"] * 2) == (groups > 1)
    assert same_bits(run(x)[0], gradients(x)[0])
