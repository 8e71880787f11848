"""Read pickles of arrays, lists and dictionaries so that nothing in them can run.

The file may name numpy's functions, but never reaches them: stand-ins receive the arguments and check them.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from nondet.data import file_size
from nondet.errors import BadInput
from nondet.io.files import read_file

_OPCODES = (
    "PROTO FRAME STOP MARK MEMOIZE BINPUT LONG_BINPUT BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD "
    "NONE NEWFALSE NEWTRUE BININT BININT1 BININT2 LONG1 BINSTRING SHORT_BINSTRING BINUNICODE SHORT_BINUNICODE "
    "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS "
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3"
)
OPCODES = frozenset(_OPCODES.split())
"""The opcodes needed for arrays, strings, whole numbers, lists and dictionaries, from protocol 2 on."""
TUPLES = 16
"""An array needs six. Many nested tuples as a dictionary key would keep Python busy for years."""


def read_pickle(path: Path, at_most: int) -> dict[Any, Any]:
    """Read the dictionary in a pickle of at most `at_most` bytes. Arrays contain bytes; Python 2 strings become bytes.

    BadInput, with one sentence, if the file contains or asks for anything else.
    """
    size = file_size(path)
    if size > at_most:
        raise _refused(path, f"it has {size:,} bytes, but at most {at_most:,} are expected")
    content = read_file(path, at_most)
    try:
        _check_opcodes(content)
        found = _Restricted(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a pickle can fail in any way
        raise _refused(path, " ".join(str(error).split())[:200] or type(error).__name__) from error
    if not isinstance(found, dict):
        raise _refused(path, f"it contains a {type(found).__name__}, but a dictionary is expected")
    return {key: value.values if isinstance(value, _Array) else value for key, value in found.items()}


def _refused(path: Path, reason: str) -> BadInput:
    return BadInput(
        f"{str(path)!r} must be an official pickle of arrays, lists and strings (got: {reason!r}); "
        "fetch the official file again"
    )


def _check_opcodes(content: bytes) -> None:
    """Refuse anything that could take more memory or time than a pickle of this size needs."""
    tuples = 0
    memo: dict[int, bool] = {}  # number -> whether text is stored under it
    last = before = False  # whether the value pushed last, and the one before it, are text
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        name = opcode.name
        if name not in OPCODES:
            raise pickle.UnpicklingError(f"it uses {name}, which no array, list or string needs")
        if "BINPUT" in name and int(argument or 0) > count:  # Python would make a table as long as the number says
            raise pickle.UnpicklingError(f"it stores a value under the number {argument}")
        if "BINPUT" in name or name == "MEMOIZE":
            memo[len(memo) if argument is None else argument] = last
            continue
        # Python 3 writes bytes for Python 2 as a call with a pair of texts: they do not nest, so any number is fine.
        tuples += name.startswith("TUPLE") and not (name == "TUPLE2" and before and last)
        before, last = last, "UNICODE" in name or ("BINGET" in name and memo.get(argument or 0, False))
    if tuples > TUPLES:
        raise pickle.UnpicklingError(f"it contains {tuples} tuples, but at most {TUPLES} are expected")


class _Standin:
    """Stands in for something of numpy's. A pickle cannot set attributes of it or of its class."""

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it changes something that is not an array")


class _Latin1(_Standin):
    """Stands in for `_codecs.encode`, with which Python 3 writes bytes for Python 2."""

    def __new__(cls, text: str, encoding: str) -> bytes:  # pyright: ignore[reportInconsistentConstructor]
        return text.encode("latin1")


class _Bytes(_Standin):
    """Stands in for numpy's `dtype` of bytes."""

    def __init__(self, code: str | bytes, *_: object) -> None:
        if code not in ("u1", b"u1"):
            raise pickle.UnpicklingError("its arrays must contain bytes, type u1, but one has another type")

    def __setstate__(self, state: object) -> None:
        """Ignore the byte order and the like, which single bytes do not have."""


class _Array(_Standin):
    """Stands in for an array, whose shape and content come as its state."""

    def __init__(self, *_: object) -> None:
        self.values = np.empty(0, dtype=np.uint8)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, by_columns, content = state
        known = isinstance(kind, _Bytes) and isinstance(content, bytes | bytearray) and isinstance(shape, tuple)
        if not known or any(type(length) is not int for length in shape) or math.prod(shape) != len(content):
            raise pickle.UnpicklingError("an array must have as many bytes as its shape says, but one does not")
        flat = np.frombuffer(bytes(content), dtype=np.uint8)
        self.values = np.array(flat.reshape(shape, order="F" if by_columns else "C"), order="C")


class _Buffer(_Array):
    """Stands in for numpy's `_frombuffer`, with which protocol 5 writes an array."""

    def __init__(self, content: bytes, kind: _Bytes, shape: tuple[int, ...], order: str) -> None:
        super().__init__()
        self.__setstate__((1, shape, kind, order == "F", content))


_ALLOWED: dict[tuple[str, str], type] = {
    ("_codecs", "encode"): _Latin1,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Bytes,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Buffer for core in ("core", "_core")},
}


class _Restricted(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> type:
        if (module_name, global_name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}, which no array needs")
        return _ALLOWED[module_name, global_name]

    def persistent_load(self, pid: object, /) -> NoReturn:
        raise pickle.UnpicklingError("it refers to something outside itself")
