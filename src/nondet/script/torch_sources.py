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
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from nondet.script.inside import Inside
from nondet.script.instead import instead_of, without_generator
from nondet.script.loading import Loading
from nondet.script.models import Building, compiled, forwards
from nondet.script.streams import FIXED, cuda_of, torch_of


def take_over(here: Inside, torch: Any) -> None:
    """Sort torch's random numbers, as soon as it is imported."""
    here.streams.add(torch_of(torch))
    here.streams.add(cuda_of(torch))
    _seeding(here, torch)
    _kernels(here, torch)
    depth = [0]  # of nested training forward passes
    Building(here, torch, depth, forwards(here, torch, depth))
    compiled(here, torch, depth)
    _samplers(here, torch)
    _one_rank(here, torch)
    _drawing(here, torch)
    Loading(here, torch).take_over()


def _seeding(here: Inside, torch: Any) -> None:
    count = iter(range(1 << 62))

    @instead_of(torch, "manual_seed", torch.random)
    def manual_seed(seed: int) -> Any:
        here.seeded("torch", int(seed))
        here.seeded("cuda", int(seed))
        return torch.default_generator

    @instead_of(torch, "seed", torch.random)
    def unseeded() -> int:
        number = here.streams.number("other", "torch.seed", next(count)) & (1 << 63) - 1
        manual_seed(number)
        return number

    for name in ("manual_seed", "manual_seed_all"):  # besides torch.manual_seed, which seeds these too

        @instead_of(torch.cuda, name, torch.cuda.random)
        def cuda(seed: int) -> None:
            here.seeded("cuda", int(seed))


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
        sited = _sited(here, torch, getattr(torch, name))
        setattr(torch, name, sited)
        torch.jit._builtins._register_builtin(sited, f"aten::{name}")
    here.looked_at("torch", torch, "get_rng_state", torch.random)


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
            for name in names:
                stack.enter_context(here.sites.in_place(here.streams.libraries[name], place))
            return draw(*args, **words)

    return wrapped


def _one_rank(here: Inside, torch: Any) -> None:
    """Refuse training in several processes that wait for each other."""
    if not torch.distributed.is_available():
        return
    plain = torch.distributed.init_process_group
    parameters = inspect.signature(plain)

    @instead_of(torch.distributed, "init_process_group", torch.distributed.distributed_c10d)
    def begin(*args: Any, **words: Any) -> Any:
        ranks = parameters.bind(*args, **words).arguments.get("world_size", -1)
        here.refuse_ranks(ranks if ranks > 0 else os.environ.get("WORLD_SIZE", "1"))
        return plain(*args, **words)


def _samplers(here: Inside, torch: Any) -> None:
    """The shuffle source: what draws the order of examples, whichever generator it was given."""
    sampler, inside = torch.utils.data.sampler, [False]

    def shuffles(kind: Any) -> None:
        draw = kind.__iter__

        @instead_of(kind, "__iter__")
        def drawing(self: Any) -> Iterator[Any]:
            if inside[0] or here.is_worker:
                return iter(draw(self))
            inside[0] = True
            try:
                with here.streams.source("shuffle"), without_generator(self) as given:
                    if given is not None:
                        here.explicit(f"{type(self).__name__}(generator=...)")
                    return iter(list(draw(self)))
            finally:
                inside[0] = False

    for cls in (sampler.RandomSampler, sampler.SubsetRandomSampler, sampler.WeightedRandomSampler):
        shuffles(cls)
    split = torch.utils.data.random_split
    splits = _sited(here, torch, split)

    @instead_of(torch.utils.data, "random_split", torch.utils.data.dataset)
    def random_split(*args: Any, **words: Any) -> Any:
        generator = args[2] if len(args) > 2 else words.get("generator")
        if generator is not None:
            here.explicit("random_split(generator=...)")
        return splits(*args, **words) if generator is None else split(*args, **words)
