"""Sort torch's random numbers by source, in a script that knows nothing of sources.

init: the outermost constructor of a module, `reset_parameters`, `apply`, `torch.nn.init`. dropout: the outermost
forward pass in training, by its number. shuffle: samplers. augment: reading an example, by its number and pass, in any
process. order: the examples' places inside a training batch. bit: see `bit`. The sources in modules are in `models`,
those in loaders in `loading`.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from nondet.script.loading import Loading
from nondet.script.models import Building, compiled, forwards
from nondet.script.streams import FIXED, Cuda, Torch

if TYPE_CHECKING:
    from nondet.script.inside import Inside


def take_over(here: Inside, torch: Any) -> None:
    """Sort torch's random numbers, as soon as it is imported."""
    here.streams.add(Torch(torch))
    here.streams.add(Cuda(torch))
    _seeding(here, torch)
    _kernels(here, torch)
    depth = [0]  # of nested training forward passes
    Building(here, depth, forwards(here, torch, depth)).take_over(torch)
    compiled(here, torch, depth)
    _samplers(here, torch)
    _one_rank(here, torch)
    _drawing(here, torch)
    Loading(here, torch).take_over()


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
    for name in ("manual_seed", "manual_seed_all"):  # besides torch.manual_seed, which seeds these too

        def cuda(seed: int) -> None:
            here.seeded("cuda", int(seed))

        setattr(torch.cuda, name, cuda)
        setattr(torch.cuda.random, name, cuda)


def _kernels(here: Inside, torch: Any) -> None:
    """Use deterministic kernels unless that source varies. A CPU's are, with a fixed number of threads."""
    if here.seeds.get("kernels", FIXED) == FIXED and torch.cuda.is_available():
        torch.set_deterministic_debug_mode("warn")
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False


DRAWS = ("rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "bernoulli", "multinomial",
         "normal", "poisson")  # fmt: skip
"""torch functions that draw from the global generators, or from one that they are given."""


def _drawing(here: Inside, torch: Any) -> None:
    """The other source: each place where the script draws outside all sources has its own stream."""
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


def _one_rank(here: Inside, torch: Any) -> None:
    """Refuse training in several processes that wait for each other."""
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
    """The shuffle source: what draws the order of examples, whichever generator it was given."""
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
