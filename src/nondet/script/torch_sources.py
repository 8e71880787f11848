"""Which of torch's random numbers belong to which source, in a script that knows nothing of sources.

init: the outermost constructor of a module, `reset_parameters`, `apply`, `torch.nn.init`. dropout: the outermost
forward in training, by its number. shuffle: samplers. augment: reading an example, by its number and pass, in whatever
process. order: the examples' places inside a training batch. bit: see `bit`.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any

from nondet.script.bit import Start
from nondet.script.streams import FIXED, Cuda, Torch

if TYPE_CHECKING:
    from nondet.script.inside import Inside

_MARK = "_nondet"

SAMPLE = 1024
"""Elements of each tensor of a batch that its digest is of."""


def take_over(here: Inside, torch: Any) -> None:
    """Sort torch's random numbers, as soon as it is imported."""
    here.streams.add(Torch(torch))
    here.streams.add(Cuda(torch))
    _seeding(here, torch)
    _kernels(here, torch)
    depth = [0]  # of training forwards
    _Building(here, depth, _forwards(here, torch, depth)).take_over(torch)
    _compiled(here, torch, depth)
    _samplers(here, torch)
    _one_rank(here, torch)
    _drawing(here, torch)
    _Loading(here, torch).take_over()


def _seeding(here: Inside, torch: Any) -> None:
    plain = torch.manual_seed
    count = iter(range(1 << 62))

    def manual_seed(seed: int) -> Any:
        here.seeded("torch", int(seed))
        here.seeded("cuda", int(seed))
        return torch.default_generator

    def unseeded() -> int:
        number = here.streams.number("other", "torch.seed", next(count)) & (1 << 63) - 1
        manual_seed(number)
        return number

    manual_seed = functools.wraps(plain)(manual_seed)
    torch.manual_seed = torch.random.manual_seed = manual_seed
    torch.seed = torch.random.seed = unseeded
    for name in ("manual_seed", "manual_seed_all"):  # beside torch's own, which seeds these too

        def cuda(seed: int) -> None:
            here.seeded("cuda", int(seed))

        setattr(torch.cuda, name, cuda)
        setattr(torch.cuda.random, name, cuda)


def _kernels(here: Inside, torch: Any) -> None:
    """Deterministic kernels, but where that source varies; a CPU's are, with as many threads."""
    if here.seeds.get("kernels", FIXED) == FIXED and torch.cuda.is_available():
        torch.set_deterministic_debug_mode("warn")
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False


DRAWS = ("rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "bernoulli", "multinomial",
         "normal", "poisson")  # fmt: skip
"""Functions of torch that draw from the global generators, or from one that they are given."""


def _drawing(here: Inside, torch: Any) -> None:
    """The other source: what the script draws outside all sources has a stream for each place."""
    for name in DRAWS:
        plain = getattr(torch, name)
        sited = _sited(here, torch, plain)
        setattr(torch, name, sited)
        torch.jit._builtins._register_builtin(sited, f"aten::{name}")
    torch.get_rng_state = torch.random.get_rng_state = here.looked_at("torch", torch.get_rng_state)


def _sited(here: Inside, torch: Any, draw: Callable[..., Any]) -> Callable[..., Any]:
    compiling, traced = torch.compiler.is_compiling, torch._C._len_torch_dispatch_stack
    names = ("torch", "cuda") if torch.cuda.is_available() else ("torch",)

    @functools.wraps(draw)
    def wrapped(*args: Any, **words: Any) -> Any:
        if compiling() or traced():
            return draw(*args, **words)
        if words.get("generator") is not None:
            if here.streams.inside == "other":
                here.explicit(f"torch.{draw.__name__}(generator=...)")
            return draw(*args, **words)
        place = here.site(sys._getframe(1))  # pyright: ignore[reportPrivateUsage]
        if place is None or "torch" in here.sites.in_order:
            return draw(*args, **words)
        with ExitStack() as stack:
            for library in here.streams.libraries:
                if library.name in names:
                    stack.enter_context(here.sites.in_place(library, place))
            return draw(*args, **words)

    return wrapped


class _Building:
    """The init source: whatever builds a module or sets its parameters anew, outermost.

    steps: makes a training step of a class's own `forward`, for scripts that call that and not the module.
    """

    METHODS = ("__init__", "reset_parameters", "apply", "init_weights", "_init_weights", "_initialize_missing_keys")

    def __init__(self, here: Inside, depth: list[int], steps: Callable[[Callable[..., Any]], Any]) -> None:
        self.here, self.depth, self.inside, self.steps = here, depth, False, steps
        self.tracing: Callable[[], bool] = bool

    def take_over(self, torch: Any) -> None:
        module, building, self.tracing = torch.nn.Module, self, _tracing(torch)
        waiting = [module]
        while waiting:
            one = waiting.pop()
            self.wrap(one)
            waiting += type.__subclasses__(one)

        def init_subclass(cls: type, **words: Any) -> None:
            super(module, cls).__init_subclass__(**words)
            building.wrap(cls)

        module.__init_subclass__ = classmethod(init_subclass)
        for name in dir(torch.nn.init):
            if name.endswith("_") and not name.startswith("_"):
                setattr(torch.nn.init, name, self.builds(getattr(torch.nn.init, name)))

    def wrap(self, cls: type) -> None:
        for name in self.METHODS:
            method = cls.__dict__.get(name)
            if callable(method) and not hasattr(method, _MARK):
                setattr(cls, name, self.builds(method))
        forward = cls.__dict__.get("forward")
        own = not cls.__module__.startswith("torch.") or cls.__name__ == "Sequential"
        if own and isinstance(forward, FunctionType) and not hasattr(forward, _MARK):
            setattr(cls, "forward", self.steps(forward))  # noqa: B010 - a class of which no type is known

    def builds(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def wrapped(*args: Any, **words: Any) -> Any:
            if self.inside or self.depth[0] or self.here.is_worker or self.tracing():
                return method(*args, **words)
            self.inside = True
            try:
                with self.here.streams.source("init"):
                    self.here.ledger["built"] += 1
                    return method(*args, **words)
            finally:
                self.inside = False

        setattr(wrapped, _MARK, True)
        return wrapped


def _forwards(here: Inside, torch: Any, depth: list[int]) -> Callable[[Callable[..., Any]], Any]:
    """The dropout source: the outermost forward of a module with parameters, in training: a step, for short.

    A checkpoint's second forward comes inside a backward pass, where it has the numbers of the first.
    What is returned makes a step of a method.
    """
    module, stubs = torch.nn.Module, torch.jit._recursive
    compiling, tracing = torch.compiler.is_compiling, _tracing(torch)
    in_backward = torch._C._current_graph_task_id
    start = Start(here, torch)

    def steps(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(self: Any, *args: Any, **words: Any) -> Any:
            if (
                compiling()
                or depth[0]
                or not self.training
                or not torch.is_grad_enabled()
                or in_backward() != -1
                or here.is_worker
                or tracing()
                or next(self.parameters(), None) is None
            ):
                return method(self, *args, **words)
            start.step(self)
            step = here.ledger["steps"]
            here.ledger["steps"] += 1
            depth[0] += 1
            try:
                with here.streams.source("dropout", step):
                    return method(self, *args, **words)
            finally:
                depth[0] -= 1

        setattr(call, _MARK, True)
        return call

    module.__call__ = steps(module.__call__)
    stub = stubs.make_stub  # TorchScript reads a method's text, and the names around it
    stubs.make_stub = lambda method, name: stub(_as_written(method), name)
    return steps


def _compiled(here: Inside, torch: Any, depth: list[int]) -> None:
    """The dropout source of a function that is compiled with the model that it calls: its graph calls no module."""
    plain, module, compiling = torch.compile, torch.nn.Module, torch.compiler.is_compiling
    count = iter(range(1 << 62))

    @functools.wraps(plain)
    def compiled(model: Any = None, *args: Any, **words: Any) -> Any:
        if model is None:
            return functools.partial(compiled, *args, **words)
        made = plain(model, *args, **words)
        if isinstance(model, module):
            return made

        @functools.wraps(made)
        def call(*args: Any, **words: Any) -> Any:
            outside = not compiling() and not depth[0] and here.streams.inside == "other" and not here.is_worker
            if not outside or not torch.is_grad_enabled():
                return made(*args, **words)
            with here.streams.source("dropout", "compiled", next(count)):
                return made(*args, **words)

        return call

    torch.compile = compiled


def _tracing(torch: Any) -> Callable[[], bool]:
    """Whether operations are noted for a graph, and not carried out: as a backend compiles, or torch.export does."""
    modes, keys = torch._C._len_torch_dispatch_stack, torch._C._TorchDispatchModeKey
    return lambda: bool(modes()) and any(torch._C._get_dispatch_mode(key) for key in (keys.FAKE, keys.PROXY))


def _as_written(method: Any) -> Any:
    """A method without what nondet has put around it."""
    return method.__wrapped__.__get__(method.__self__) if hasattr(method, _MARK) else method


def _one_rank(here: Inside, torch: Any) -> None:
    """Refuse what trains in several processes that wait for each other."""
    if not torch.distributed.is_available():
        return
    plain = torch.distributed.init_process_group
    parameters = inspect.signature(plain)

    @functools.wraps(plain)
    def begin(*args: Any, **words: Any) -> Any:
        ranks = parameters.bind(*args, **words).arguments.get("world_size", -1)
        here.refuse_ranks(ranks if ranks > 0 else os.environ.get("WORLD_SIZE", "1"))
        return plain(*args, **words)

    torch.distributed.init_process_group = torch.distributed.distributed_c10d.init_process_group = begin


def _samplers(here: Inside, torch: Any) -> None:
    """The shuffle source: what draws the order of examples, whatever generator it was given."""
    sampler, inside = torch.utils.data.sampler, [False]

    def shuffles(draw: Callable[[Any], Iterable[Any]]) -> Callable[[Any], Iterator[Any]]:
        @functools.wraps(draw)
        def wrapped(self: Any) -> Iterator[Any]:
            if inside[0] or here.is_worker:
                return iter(draw(self))
            inside[0] = True
            with here.streams.source("shuffle"):
                given = getattr(self, "generator", None)
                if given is not None:
                    here.explicit(f"{type(self).__name__}(generator=...)")
                    self.generator = None
                try:
                    return iter(list(draw(self)))
                finally:
                    inside[0] = False
                    if given is not None:
                        self.generator = given

        return wrapped

    for cls in (sampler.RandomSampler, sampler.SubsetRandomSampler, sampler.WeightedRandomSampler):
        cls.__iter__ = shuffles(cls.__iter__)
    split = torch.utils.data.random_split

    splits = _sited(here, torch, split)

    def random_split(*args: Any, **words: Any) -> Any:
        generator = args[2] if len(args) > 2 else words.get("generator")
        if generator is not None:
            here.explicit("random_split(generator=...)")
        return splits(*args, **words) if generator is None else split(*args, **words)

    torch.utils.data.random_split = torch.utils.data.dataset.random_split = functools.wraps(split)(random_split)


class Indices(list[Any]):
    """The examples of a batch, and which pass over the loader's data they are of; it travels to worker processes.

    own: what the script has seeded by then, see `Streams`.
    """

    own: Mapping[str, int] = MappingProxyType({})
    again: int = 0
    number: int = 0
    trained: bool = False
    single: bool = False


class _Loading:
    """The augment and order sources: reading examples, in this process or a worker."""

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
            given = loader.generator
            if given is not None:
                self.here.explicit("DataLoader(generator=...)")
            loader.generator = None
            try:
                with self.here.streams.source("loader", it._nondet_again):
                    init(it, loader)
            finally:
                loader.generator = given

        def _reset(it: Any, loader: Any, first_iter: bool = False) -> None:
            if not first_iter:
                self.again(it, loader)
            it._nondet_number = 0
            given, loader.generator = loader.generator, None
            try:
                reset(it, loader, first_iter)
            finally:
                loader.generator = given

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
        worker._worker_loop = self.reading(worker._worker_loop)
        iterator.__init__, iterator._reset = __init__, _reset
        iterator._next_index, iterator.__next__ = _next_index, __next__
        for cls in (self.fetch._MapDatasetFetcher, self.fetch._IterableDatasetFetcher):
            cls.fetch = self.by_example(cls.fetch) if "Map" in cls.__name__ else self.by_batch(cls.fetch)

    def reading(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        """What a loader's process does: until it comes to this, one that was started anew may be there to train."""

        @functools.wraps(plain)
        def loop(*args: Any, **words: Any) -> Any:
            self.here.reads()
            return plain(*args, **words)

        return loop

    def again(self, it: Any, loader: Any) -> None:
        """Count a pass over a loader's data. One that is shuffled is taken to be for training."""
        count = loader.__dict__.get("_nondet_again", 0)
        object.__setattr__(loader, "_nondet_again", count + 1)
        sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
        it._nondet_again, it._nondet_number = count, 0
        it._nondet_trained = "Sequential" not in type(sampler).__name__ and "Infinite" not in type(sampler).__name__
        places = {type(one).__module__.partition(".")[0] for one in (sampler, loader.batch_sampler)}
        it._nondet_own = not places <= {"torch", "builtins"}  # one of the script's own may draw for each batch
        self.here.passes.begin(it, loader)

    def by_example(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        """Each example's random numbers are its own, of this pass over the data, whoever reads it."""
        streams = self.here.streams

        def fetch(fetcher: Any, index: Any) -> Any:
            if not isinstance(index, Indices):
                return plain(fetcher, index)
            streams.own.update(index.own)
            dataset = fetcher.dataset
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
            self.here.worker_drew()
            if index.single:
                return self.collated(fetcher, index, examples[0])
            seed = self.here.seeds.get("order", FIXED)
            if seed != FIXED and index.trained:
                rng = random.Random(streams.number("order", index.again, *map(_plain, index)))
                rng.shuffle(examples)
            return self.collated(fetcher, index, examples)

        return fetch

    def collated(self, fetcher: Any, index: Indices, examples: Any) -> Any:
        """A batch; what the script's own function draws for it is of the batch."""
        collate = fetcher.collate_fn
        if getattr(collate, "__module__", "").startswith("torch.utils.data"):
            return collate(examples)
        with self.here.streams.source("augment", index.again, "collate", index.number):
            batch = collate(examples)
        self.here.worker_drew()
        return batch

    def by_batch(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        """A stream of examples has no numbers: its random numbers are of the pass, the worker and the batch."""

        def fetch(fetcher: Any, index: Any) -> Any:
            if not isinstance(index, Indices):
                return plain(fetcher, index)
            self.here.streams.own.update(index.own)
            info = self.torch.utils.data.get_worker_info()
            with self.here.streams.source("augment", index.again, info.id if info else 0, index.number):
                examples = plain(fetcher, None if index.single else list(index))
            self.here.worker_drew()
            return examples

        return fetch

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
    """An example's number, as the same text in every process."""
    return int(index) if hasattr(index, "__index__") else repr(index)
