"""Make a recorded list of operations faster, with equal bits: fewer views, less memory, no wrappers in Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx.graph import CodeGen

_names = "alias", "detach", "expand", "permute", "select", "slice", "squeeze", "t", "transpose", "unsqueeze", "view"
_VIEWS = frozenset(getattr(torch.ops.aten, name) for name in _names)
"""Operations whose result is another view of the memory of their first argument."""


class _Place(NamedTuple):
    """Where a tensor lies in memory. Two are equal if the tensors are the same view of the same memory."""

    memory: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int


class _Placed(torch.fx.Interpreter):
    """Runs a list, and notes where the result of each operation lies; it frees no memory, which others would get."""

    def __init__(self, graph: torch.fx.GraphModule) -> None:
        super().__init__(graph, garbage_collect_values=False)
        self.places: dict[torch.fx.Node, _Place] = {}

    def run_node(self, n: torch.fx.Node) -> Any:
        t = super().run_node(n)
        if isinstance(t, Tensor):
            self.places[n] = _Place(memory_of(t), t.dtype, tuple(t.shape), t.stride(), int(t.storage_offset()))
        return t


def memory_of(t: Tensor) -> int:
    """Return where the memory begins that a tensor is a view of."""
    return t.untyped_storage().data_ptr()


def short(graph: torch.fx.GraphModule, *inputs: Any) -> Callable[..., Any]:
    """Return the list as a function of inputs like these: others may have other numbers, and lie elsewhere in memory.

    It returns the results in a list. Operations that nothing uses are left out, and a view is at most one operation.
    Sums are added in place where nothing else uses the memory of their first term, and some tensors are read ahead.
    """
    placed = _Placed(graph)
    with torch.no_grad():
        placed.run(*inputs)
    bases: dict[torch.fx.Node, torch.fx.Node] = {}
    for node in graph.graph.nodes:
        if getattr(node.target, "overloadpacket", None) in _VIEWS:
            _one_view(node, placed.places, bases)
    graph.graph.eliminate_dead_code()
    _in_place(graph.graph, placed.places)
    _read_ahead(graph.graph)
    return _written(graph)


def _one_view(
    node: torch.fx.Node, places: Mapping[torch.fx.Node, _Place], bases: dict[torch.fx.Node, torch.fx.Node]
) -> None:
    """Let a view be one of the tensor that owns its memory, or that tensor itself if they are the same.

    bases: the tensor that each view so far is one of. The memory of an input may begin elsewhere at the next step.
    """
    first: Any = node.args[0]
    base: Any = bases.get(first, first)
    place, whole = places[node], places[base]
    if place.dtype != whole.dtype or (base.op == "placeholder" and place.offset != whole.offset):
        return
    bases[node] = base
    if place == whole:
        node.replace_all_uses_with(base)
    elif first is not base or base.op == "placeholder":
        start = () if place.offset == whole.offset else (place.offset,)
        node.target, node.kwargs = torch.ops.aten.as_strided.default, {}
        node.args = (base, place.shape, place.strides, *start)


def _in_place(graph: torch.fx.Graph, places: Mapping[torch.fx.Node, _Place]) -> None:
    """Add to the first term of a sum where it lies, if it has the sum's shape and nothing uses its memory later."""
    last: dict[int, torch.fx.Node] = {}
    for node in graph.nodes:
        for used in node.all_input_nodes:
            if used in places:
                last[places[used].memory] = node
    given = {places[node].memory for node in graph.nodes if node.op != "call_function" and node in places}
    for node in graph.nodes:
        if node.target is not torch.ops.aten.add.Tensor:
            continue
        terms = [places.get(term) for term in node.args]
        if not isinstance(terms[0], _Place) or terms[0]._replace(memory=places[node].memory) != places[node]:
            continue
        memory = terms[0].memory
        if last[memory] is node and memory not in given and all(t is None or t.memory != memory for t in terms[1:]):
            node.target = torch.ops.aten.add_.Tensor


def _read_ahead(graph: torch.fx.Graph) -> None:
    """Read what the gradients of a grouped convolution need from first to last, so that it lies in the core's cache.

    They take one group after another: with the channels last, a few numbers of each row, which is slow otherwise.
    """
    for node in graph.nodes:
        if node.target is torch.ops.aten.convolution_backward.default and node.args[9] > 1:
            with graph.inserting_before(node):
                for t in (node.args[1], node.args[0]):
                    graph.call_function(torch.ops.aten.sum.default, (t,))


def _written(module: torch.fx.GraphModule) -> Callable[..., Any]:
    """Return the list as a function of tensors, which calls torch's operations without their wrappers in Python."""
    module.graph.set_codegen(CodeGen())
    written = module.graph.python_code("self")
    source, names = written.src, dict(written.globals)
    operations = dict.fromkeys(node.target for node in module.graph.nodes if isinstance(node.target, OpOverload))
    for number, operation in enumerate(operations):
        source = source.replace(f"torch.ops.{operation}(", f"operation_{number}(")
        names[f"operation_{number}"] = getattr(operation, "_op", operation)
    exec(source, names)
    return partial(names["forward"], module)
