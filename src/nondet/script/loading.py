"""The augment and order sources of torch's DataLoaders: reading examples, in the training process or in another."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from nondet.script.inside import Inside
from nondet.script.instead import instead_of, without_generator
from nondet.script.streams import FIXED

SAMPLE = 1024
"""How many elements of each tensor in a batch go into its digest."""


class Indices(list[Any]):
    """The examples of a batch, and the pass over the loader's data that they belong to; sent to worker processes.

    own: what the script has seeded so far, see `Streams`.
    """

    own: Mapping[str, int] = MappingProxyType({})
    again: int = 0
    number: int = 0
    trained: bool = False
    single: bool = False


class Loading:
    """Watches how a loader's examples are read, and in which pass."""

    def __init__(self, here: Inside, torch: Any) -> None:
        self.here, self.torch = here, torch
        self.loader: Any = torch.utils.data.dataloader
        self.fetch: Any = torch.utils.data._utils.fetch
        self.digest = hashlib.sha256()

    def take_over(self) -> None:
        iterator = self.loader._BaseDataLoaderIter
        init, reset = iterator.__init__, iterator._reset
        next_index, next_batch = iterator._next_index, iterator.__next__

        def __init__(it: Any, loader: Any) -> None:
            self.again(it, loader)
            with without_generator(loader) as given:
                if given is not None:
                    self.here.explicit("DataLoader(generator=...)")
                with self.here.streams.source("loader", it._nondet_again):
                    init(it, loader)

        def _reset(it: Any, loader: Any, first_iter: bool = False) -> None:
            if not first_iter:
                self.again(it, loader)
            it._nondet_number = 0
            with without_generator(loader):
                reset(it, loader, first_iter)

        def _next_index(it: Any) -> Any:
            if it._nondet_own:
                with self.here.streams.source("shuffle", "own", it._nondet_again, it._nondet_number):
                    index = next_index(it)
            else:
                index = next_index(it)
            single = not isinstance(index, list | tuple)
            indices = Indices([index] if single else index)
            indices.again, indices.number = it._nondet_again, it._nondet_number
            indices.trained, indices.single = it._nondet_trained, single
            indices.own = dict(self.here.streams.own)
            it._nondet_number += 1
            self.here.ledger["shuffled"] += indices.trained
            return indices

        def __next__(it: Any) -> Any:
            try:
                batch = next_batch(it)
            except StopIteration:
                self.here.passes.end(it)
                raise
            self.here.passes.gave(it)
            self.note(batch)
            return batch

        worker = self.torch.utils.data._utils.worker
        loop = worker._worker_loop

        @instead_of(worker, "_worker_loop")
        def reading(*args: Any, **words: Any) -> Any:
            self.here.reads()  # until a spawned process gets here, it may be one that trains
            return loop(*args, **words)

        iterator.__init__, iterator._reset = __init__, _reset
        iterator._next_index, iterator.__next__ = _next_index, __next__
        self.fetches(self.fetch._MapDatasetFetcher, self.by_example)
        self.fetches(self.fetch._IterableDatasetFetcher, self.by_batch)

    def fetches(self, kind: Any, read: Callable[..., Any]) -> None:
        """Have the examples of a batch read with random numbers of their own."""
        plain = kind.fetch

        @instead_of(kind, "fetch")
        def fetch(fetcher: Any, index: Any) -> Any:
            if not isinstance(index, Indices):
                return plain(fetcher, index)
            self.here.streams.own.update(index.own)
            batch = read(fetcher, index, plain)
            if self.here.is_worker and self.here.streams.draws["augment"]:
                self.here.tell("augmented")
            return batch

    def again(self, it: Any, loader: Any) -> None:
        """Count a pass over a loader's data. A shuffled pass is taken to be for training."""
        count = loader.__dict__.get("_nondet_again", 0)
        object.__setattr__(loader, "_nondet_again", count + 1)
        sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
        it._nondet_again, it._nondet_number = count, 0
        it._nondet_trained = "Sequential" not in type(sampler).__name__ and "Infinite" not in type(sampler).__name__
        places = {type(one).__module__.partition(".")[0] for one in (sampler, loader.batch_sampler)}
        it._nondet_own = not places <= {"torch", "builtins"}  # a sampler of the script's own may draw for each batch
        self.here.passes.begin(it, loader)

    def by_example(self, fetcher: Any, index: Indices, plain: Callable[..., Any]) -> Any:
        """Give each example its own random numbers in this pass over the data, whichever process reads it."""
        streams, dataset = self.here.streams, fetcher.dataset
        together = getattr(dataset, "__getitems__", None)
        subset = self.torch.utils.data.Subset
        by_itself = type(dataset) is subset and not hasattr(dataset.dataset, "__getitems__")
        if fetcher.auto_collation and together and not by_itself:
            with streams.source("augment", index.again, *map(_plain, index)):
                examples = together(list(index))
        else:
            with streams.source("augment", index.again, "batch", index.number):
                examples = []
                for one in index:
                    streams.move(index.again, _plain(one))
                    examples.append(dataset[one])
        if index.single:
            return self.collated(fetcher, index, examples[0])
        seed = self.here.seeds.get("order", FIXED)
        if seed != FIXED and index.trained:
            rng = random.Random(streams.number("order", index.again, *map(_plain, index)))
            rng.shuffle(examples)
        return self.collated(fetcher, index, examples)

    def collated(self, fetcher: Any, index: Indices, examples: Any) -> Any:
        """Collate a batch; what the script's own function draws for it belongs to the batch."""
        collate = fetcher.collate_fn
        if getattr(collate, "__module__", "").startswith("torch.utils.data"):
            return collate(examples)
        with self.here.streams.source("augment", index.again, "collate", index.number):
            return collate(examples)

    def by_batch(self, fetcher: Any, index: Indices, plain: Callable[..., Any]) -> Any:
        """Tie random numbers to the pass, the worker and the batch: examples of a stream are not numbered."""
        info = self.torch.utils.data.get_worker_info()
        with self.here.streams.source("augment", index.again, info.id if info else 0, index.number):
            return plain(fetcher, None if index.single else list(index))

    def note(self, batch: Any) -> None:
        """Add a batch to the ledger's digest: a sample of each of its tensors."""
        self.here.ledger["batches"] += 1
        leaves = self.torch.utils._pytree.tree_leaves(dict(batch) if hasattr(batch, "keys") else batch)
        for leaf in leaves:
            if isinstance(leaf, self.torch.Tensor) and leaf.device.type == "cpu" and leaf.numel():
                flat = leaf.detach().reshape(-1)
                some = flat[:: max(1, flat.numel() // SAMPLE)]
                self.digest.update(some.double().numpy().tobytes() if not some.is_complex() else b"")
        self.here.ledger["data"] = self.digest.hexdigest()[:16]


def _plain(index: Any) -> Any:
    """Return an example's number, or a text that is the same in every process."""
    return int(index) if hasattr(index, "__index__") else repr(index)
