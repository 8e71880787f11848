"""Read a task's data in the forms people have: once into tensors, or example by example if reading is random."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler, default_collate

from nondet.errors import BadInput
from nondet.sources import globals_drawn, seeded_globals

LABELS = "labels"
"""The key of the labels in a dictionary, as Hugging Face's models call them."""

Collate = Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Data:
    """A part of a task's data.

    inputs: a tensor (n, ...), a dictionary or tuple of tensors, or an object that is read while training. labels:
    (n, ...), or None. inside: whether the labels are part of the inputs, or there are none; a batch is then the inputs.
    """

    inputs: Any
    labels: Any
    inside: bool = False


def read(name: str, given: Any, collate: Collate | None = None) -> Data:
    """Read a part of a task's data from a pair, a tuple or dictionary of tensors, a tensor alone, a `Dataset`, a
    `DataLoader`, or any other iterable of batches; an `IterableDataset` is an iterable of examples.

    collate: makes a batch from a list of examples; torch's own, or the loader's, if left out.

    Raises:
        BadInput: it is none of these, or a loader that does not give each example once.
    """
    if isinstance(given, IterableDataset):
        return _streamed(name, given, collate)
    if isinstance(given, DataLoader):
        loader: Any = given
        own = None if loader.collate_fn is default_collate else loader.collate_fn
        if isinstance(loader.dataset, IterableDataset):
            if loader.batch_size is not None:
                return _streamed(name, loader.dataset, collate or own)
            return _parts(name, _joined(name, loader.dataset))
        if not isinstance(loader.sampler, SequentialSampler | RandomSampler) or getattr(
            loader.sampler, "replacement", False
        ):
            raise BadInput(
                f"{name} must give each example once per epoch (got a DataLoader with "
                f"{type(loader.sampler).__name__}); give {name}=loader.dataset, and pass its weights to the loss"
            )
        return _examples(name, loader.dataset, collate or own)
    if isinstance(given, Mapping | tuple | Tensor | np.ndarray) or hasattr(given, "prefetch"):
        return _parts(name, given)
    if hasattr(given, "__getitem__") and hasattr(given, "__len__") and not isinstance(given, list):
        return _examples(name, given, collate)
    if isinstance(given, Iterable):
        held: list[Any] = list(given)
        if held and any(np.ndim(part) == 0 for part in tree_leaves(held[0])):
            return _examples(name, held, collate)  # a single number belongs to a single example
        return _parts(name, _joined(name, held))
    raise BadInput(
        f"{name} must be a pair (inputs, labels), a dictionary of tensors, a Dataset or a DataLoader "
        f"(got {type(given).__name__}); give one of these"
    )


def _parts(name: str, batch: Any) -> Data:
    """Separate inputs and labels, in one batch or in all the data."""
    if isinstance(batch, list):
        batch = tuple(batch)
    if isinstance(batch, Mapping):
        tensors = _inputs(name, batch)
        return Data(tensors, tensors.get(LABELS), inside=True)
    if isinstance(batch, tuple):
        if len(batch) == 0:
            raise BadInput(f"{name} must contain inputs (got an empty tuple); give (inputs, labels)")
        if len(batch) == 1:
            return Data(_inputs(name, batch[0]), None, inside=True)
        if len(batch) > 2 and np.ndim(batch[-1]) == 0:
            raise BadInput(
                f"{name} must be a pair (inputs, labels), or inputs and labels in one tuple (got "
                f"{type(batch[-1]).__name__} as the last of {len(batch)}); leave out the rest"
            )
        if _holds(batch[-1]):  # several labels for each example, for a loss that knows them
            return Data(_inputs(name, batch), None, inside=True)
        inputs = batch[0] if len(batch) == 2 else batch[:-1]
        return Data(_inputs(name, inputs), batch[-1])
    return Data(_inputs(name, batch), None, inside=True)


def _inputs(name: str, inputs: Any) -> Any:
    if hasattr(inputs, "prefetch"):
        return inputs
    if isinstance(inputs, Mapping):
        # texts, such as the names of files, are for no model
        plain = {key: value for key, value in inputs.items() if key == LABELS or not _is_text(value)}
        kept = plain if plain.keys() - {LABELS} else inputs
        return {str(key): _part(name, value) for key, value in kept.items()}
    if isinstance(inputs, tuple):
        return tuple(_part(name, value) for value in inputs)
    return inputs


def _part(name: str, value: Any) -> Any:
    """Return a part of the inputs: a tensor, or a dictionary or tuple of them."""
    return _inputs(name, value) if _holds(value) else _tensor(name, value)


def _holds(value: Any) -> bool:
    """Whether this contains tensors by name or in a tuple, rather than being one."""
    arrays = isinstance(value, tuple) and any(isinstance(part, Tensor | np.ndarray | Mapping) for part in value)
    return isinstance(value, Mapping) or (arrays and any(np.ndim(part) or isinstance(part, Mapping) for part in value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, tuple | list) and len(value) > 0 and all(isinstance(part, str) for part in value)
    )


def _tensor(name: str, value: Any) -> Tensor:
    if _is_text(value):
        raise BadInput(
            f"{name} must consist of tensors or arrays (got texts, such as {next(iter(value), '')!r}); convert them "
            "to numbers first, as a tokenizer does"
        )
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadInput(f"{name} must consist of tensors or arrays ({error}); convert it") from error


def _joined(name: str, batches: Iterable[Any]) -> Any:
    """Join the batches of an iterable into one."""
    found = [_plain(batch) for batch in batches]
    if not found:
        raise BadInput(f"{name} must contain a batch (got none); give (inputs, labels)")
    try:
        return tree_map(lambda *parts: torch.cat([torch.as_tensor(part) for part in parts]), *found)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadInput(
            f"{name} must have batches of tensors that differ only in length ({error}); pad them in the data, or "
            "give collate=..."
        ) from error


def _plain(batch: Any) -> Any:
    """Convert a batch to plain tuples and dictionaries."""
    if isinstance(batch, Mapping):
        return {str(key): _plain(value) for key, value in batch.items()}
    return tuple(_plain(part) for part in batch) if isinstance(batch, tuple | list) else batch


def _streamed(name: str, dataset: Any, collate: Collate | None) -> Data:
    """Read the examples of an iterable data set once; they are shuffled in each epoch like any others."""
    with globals_drawn() as drawn:
        examples = list(dataset)
    if drawn():
        raise BadInput(
            f"{name} must give the same examples whenever it is read (got a {type(dataset).__name__} that draws random "
            "numbers); give a Dataset with __getitem__ and __len__, whose examples may draw"
        )
    return _examples(name, examples, collate)


def _examples(name: str, dataset: Any, collate: Collate | None) -> Data:
    """Read a map-style data set: all at once, or each example when it is needed if reading draws random numbers."""
    made = collate or default_collate
    count = len(dataset)
    if not count:
        raise BadInput(f"{name} must contain an example (got none); give another data set")
    with globals_drawn() as drawn, seeded_globals(np.random.default_rng(0)):
        first = _collated(name, dataset, [0], made)
        again = _collated(name, dataset, [0], made)
    with seeded_globals(np.random.default_rng(0)):
        whole = _parts(name, _collated(name, dataset, range(count), made))
    pairs = zip(tree_leaves(first), tree_leaves(again), strict=True)
    if not drawn() and all(torch.equal(one, two) for one, two in pairs if isinstance(one, Tensor)):
        return whole
    content = b"".join(np.ascontiguousarray(t.numpy()).tobytes() for t in tree_leaves(whole.inputs))
    return Data(Items(dataset, made, count, hashlib.sha256(content).hexdigest()), whole.labels)


def _collated(name: str, dataset: Any, index: Sequence[int], made: Collate) -> Any:
    try:
        return _plain(made([dataset[i] for i in index]))
    except Exception as error:
        line = next(iter(str(error).strip().splitlines()), "no message")
        raise BadInput(
            f"{name} cannot be read example by example: {type(error).__name__}: {line}; fix the data set, or give "
            "a collate=... that makes a batch from a list of its examples, for example by padding them to one length"
        ) from error


@dataclass(eq=False)
class Items:
    """The inputs of a data set that draws random numbers when it is read, for example in its transforms.

    Each example is read with the global generators of torch, numpy and Python seeded from the augment source's numbers
    for it; a test example uses the same numbers every time.
    """

    dataset: Any
    collate: Collate
    count: int
    identity: str
    shape: tuple[int, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        self.shape = (self.count, *tree_leaves(self.batch(np.arange(1), None))[0].shape[1:])

    def __len__(self) -> int:
        return self.count

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw a seed for each of n examples: (n, 1)."""
        return rng.integers(2**63, size=(n, 1))

    def batch(self, index: np.ndarray, draws: np.ndarray | None) -> Any:
        """Return the inputs of the examples index (m,), read with their seeds, the rows of draws (m, 1)."""
        seeds = np.zeros((len(index), 1), dtype=np.int64) if draws is None else draws
        examples: list[Any] = []
        for i, seed in zip(index.tolist(), seeds[:, 0].tolist(), strict=True):
            with seeded_globals(np.random.default_rng(seed)):
                examples.append(self.dataset[i])
        return _parts("train", _plain(self.collate(examples))).inputs

    def prefetch(self, index: np.ndarray, draws: np.ndarray | None) -> None:
        """Do nothing: examples are read when they are needed."""

    def close(self) -> None:
        """Do nothing: nothing is open."""


def takes(forward: Callable[..., Any], names: set[str]) -> bool:
    """Return whether a model's forward pass takes all of these by name."""
    try:
        parameters = inspect.signature(forward).parameters
    except (TypeError, ValueError):
        return False
    return names <= parameters.keys() or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
