"""The machine as a source: the threads, the instructions, the precision and the versions that a run is made with."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from nondet.errors import BadInput
from nondet.io.cores import available_cores
from nondet.sources import FIXED_SEED, OF_THE_MACHINE

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

_LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
ISA = {
    "avx512": ("avx512", "AVX512_CORE", "AVX512"),
    "avx2": ("avx2", "AVX2", "AVX2"),
    "baseline": ("default", "SSE41", "SSE4_2"),
}
"""The newest instructions that torch, oneDNN and MKL may use, newest first; NumPy's are added by feature name."""

PRECISIONS = ("highest", "high", "medium", "float64")
"""Precisions of float32 products, as torch.set_float32_matmul_precision names them; float64 makes it torch's default
type."""

AS_IS = "as it is"
"""The value that changes nothing."""


@dataclass(frozen=True)
class Machine:
    """What is set for one run.

    variables: of its process. told: what `nondet.script.machine` sets. python: the Python that replaces the command's.
    """

    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    told: Mapping[str, str] = field(default_factory=dict[str, str])
    python: str = ""

    def __or__(self, other: Machine) -> Machine:
        variables = {**self.variables, **other.variables}
        return Machine(variables, {**self.told, **other.told}, other.python or self.python)

    def words(self, words: Sequence[str]) -> list[str]:
        """Return the words of a command with the other Python in place of its own."""
        if not self.python:
            return list(words)
        if not re.fullmatch(r"python[0-9.]*", Path(words[0]).name):
            raise BadInput(
                f"a command must begin with python to run another one (got {words[0]!r}); write python -m {words[0]}"
            )
        return [self.python, *words[1:]]


NO_CHANGE = Machine()


def usual(name: str) -> tuple[str, ...]:
    """Return the values of a source that is declared by its name alone."""
    if name == "threads":
        return tuple(str(n) for n in (1, 2, 4, 8, 16, 32, 64) if n <= max(2, available_cores()))
    if name == "isa":
        return _instructions()
    if name == "versions":
        raise BadInput(
            "versions must name another environment's Python (got none); try <<vary=versions=../other/bin/python>>"
        )
    return PRECISIONS[:3]


def _instructions() -> tuple[str, ...]:
    """Return the instructions in `ISA` that this processor has."""
    words: set[str] = set()
    with suppress(OSError):
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    flags = {"avx512": "avx512f", "avx2": "avx2"}
    return tuple(name for name in ISA if name == "baseline" or flags[name] in words)


def values_of(name: str, values: Sequence[str]) -> tuple[str, ...]:
    """Check and return the declared values, or the usual ones if none is. The first of versions is always `AS_IS`."""
    found = tuple(values) or usual(name)
    for value in found:
        setting(name, value)
    if name == "versions":
        found = (AS_IS, *(str(Path(value).absolute()) for value in found if value != AS_IS))
    odd = next((value for value in found if "," in value or ";" in value), None)
    if odd is not None:
        raise BadInput(
            f"a value of {name} must not contain a comma or a semicolon (got {odd!r}); give a link to that path"
        )
    if len(set(found)) != len(found) or len(found) < 2:
        raise BadInput(
            f"{name} must have at least 2 values, all different (got {', '.join(found)}); try "
            f"<<vary={name}={EXAMPLES[name]}>>"
        )
    return found


EXAMPLES = {
    "threads": "1,2",
    "isa": "avx2,baseline",
    "precision": "highest,medium",
    "versions": "../other/bin/python",
}


def setting(name: str, value: str) -> Machine:
    """Return what one value of a source sets.

    Raises:
        BadInput: there is no such value.
    """
    if value == AS_IS:
        return NO_CHANGE
    if name == "threads":
        if not re.fullmatch(r"[1-9][0-9]{0,3}", value):
            raise BadInput(f"threads must be a whole number of at least 1 (got {value!r}); try 1 and 2")
        return Machine(dict.fromkeys(THREADS, value))
    if name == "isa":
        return Machine(_isa(value))
    if name == "precision":
        if value not in PRECISIONS:
            raise BadInput(f"precision must be one of {', '.join(PRECISIONS)} (got {value!r}); choose one of them")
        return Machine(told={"precision": value})
    program = shutil.which(value)
    if program is None or not re.fullmatch(r"(python|pypy)[0-9.]*(\.exe)?", Path(program).name):
        raise BadInput(
            f"versions must be paths of Pythons (got {value!r}, which is not one); give the path of a bin/python"
        )
    return Machine(python=str(Path(program).absolute()))


def _isa(value: str) -> dict[str, str]:
    if value not in ISA:
        raise BadInput(f"isa must be one of {', '.join(ISA)} (got {value!r}); choose one of them")
    if value not in _instructions():
        raise BadInput(
            f"isa must be instructions that this processor has (got {value!r}); choose {' or '.join(_instructions())}"
        )
    found, off = dict(zip(_LIMITS, ISA[value], strict=True)), _numpy_above(value)
    return found | ({"NPY_DISABLE_CPU_FEATURES": " ".join(off)} if off else {})


def _numpy_above(value: str) -> list[str]:
    """Return the CPU features of this machine that NumPy uses and that are newer than these instructions."""
    numpy: Any = import_module("numpy._core._multiarray_umath")
    here: Mapping[str, bool] = getattr(numpy, "__cpu_features__", {})
    features = [name for name in getattr(numpy, "__cpu_dispatch__", ()) if here.get(name)]
    newest = ("AVX512", "X86_V4")
    old = {"avx512": (), "avx2": newest, "baseline": (*newest, "AVX2", "FMA3", "X86_V3")}[value]
    return [name for name in features if name.startswith(old)] if old else []


MACHINE = "machine"
"""The recipe's field for the machine sources and their values, as `written` formats them."""


def written(values: Mapping[str, Sequence[str]]) -> str:
    """Return sources with their values as one text, which `read_values` reads."""
    return "; ".join(f"{name}={','.join(found)}" for name, found in values.items())


def read_values(text: str) -> dict[str, tuple[str, ...]]:
    """Read what `written` wrote, and check the names: it may come from a stranger."""
    found: dict[str, tuple[str, ...]] = {}
    for part in filter(None, text.split("; ")):
        name, _, values = part.partition("=")
        if name not in OF_THE_MACHINE:
            raise BadInput(
                f"a source of the machine must be one of {', '.join(OF_THE_MACHINE)} (got {name!r}); choose one of them"
            )
        found[name] = tuple(values.split(","))
    return found


def of_seeds(values: Mapping[str, Sequence[str]], seeds: Mapping[str, int]) -> Machine:
    """Return what a run's seeds set on the machine: seed 1 is a source's first value."""
    found = NO_CHANGE
    for name, known in values.items():
        found |= setting(name, known[seeds.get(name, FIXED_SEED) - 1])
    return found


def declared(vary: Sequence[str]) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Return the conditions without values, and the values that were declared for sources of the machine.

    `threads=1,2` is the source threads with these values. A name alone has no values here: the study may know them.
    """
    names: list[str] = []
    found: dict[str, tuple[str, ...]] = {}
    for text in vary:
        parts: list[str] = []
        for part in text.split("+"):
            name, given, values = part.partition("=")
            if name in OF_THE_MACHINE:
                found[name] = tuple(value for value in values.split(",") if value) or found.get(name, ())
            elif given:
                raise BadInput(
                    f"only {', '.join(OF_THE_MACHINE)} can have values (got <<vary={text}>>); give the name alone, as "
                    f"in <<vary={name}>>"
                )
            parts.append(name)
        names.append("+".join(parts))
    return names, found
