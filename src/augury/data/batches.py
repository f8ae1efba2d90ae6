"""An interpreter of the few pickle instructions that CIFAR-10's batches consist of: it builds, and never calls what a file names.

A pickle is a program. This one may push numbers, texts, lists and dictionaries with texts as keys, and ask for the names with which numpy
writes an array, all of which stand for objects made here. Every other instruction, and every other name, ends the reading; so a file can
neither run code, nor change an object of this process, nor make it hash or allocate without end.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from augury.errors import InputError

BYTES = ("u1", "uint8")  # numpy's two names of the type


class PickledType:
    """An array's type, by the name that the file gives it."""

    def __init__(self, name: object, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        """The order of bytes and the like, which bytes do not have."""


class PickledArray:
    """An array as numpy pickles it: `pixels` are its values, if they are bytes."""

    def __init__(self, *_: object) -> None:
        self.pixels: npt.NDArray[np.uint8] | None = None

    def __setstate__(self, state: tuple[int, tuple[int, ...], PickledType, bool, str | bytes]) -> None:
        _, shape, kind, by_columns, content = state
        if kind.name in BYTES:
            values = bytearray(content.encode("latin-1") if isinstance(content, str) else content)
            self.pixels = np.frombuffer(values, dtype=np.uint8).reshape(shape, order="F" if by_columns else "C")


def encoded(text: str, encoding: str) -> bytes:
    """How Python 2's pickles, and Python 3's in their format, write bytes; any other codec is refused."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin-1")


NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): PickledArray,
    ("numpy._core.multiarray", "_reconstruct"): PickledArray,
    ("numpy", "ndarray"): PickledArray,
    ("numpy", "dtype"): PickledType,
    ("_codecs", "encode"): encoded,
}
INSTRUCTIONS = (
    *("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "NONE", "NEWTRUE", "NEWFALSE", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "EMPTY_LIST", "LIST", "APPEND", "APPENDS"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS"),
    *("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"),
)


def unpickled(content: bytes) -> object:
    """What the pickle builds, arrays of bytes as arrays; a damaged one may raise any kind of exception.

    Raises
    ------
    InputError
        If it asks for a name that no batch needs.
    """
    found = _Interpreter(io.BytesIO(content), encoding="latin1").load()
    if isinstance(found, dict):
        return {name: value.pixels if isinstance(value, PickledArray) else value for name, value in found.items()}
    return found


class _Interpreter(pickle._Unpickler):  # noqa: SLF001  (from the one in C no instruction can be taken out; joblib builds on this one, too)
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in NAMES:
            asked = ascii(f"{module}.{name}")[1:-1]
            raise InputError(f"asks for {asked}, which no CIFAR-10 batch needs and which could run code; delete this file")
        return NAMES[module, name]


def _build(machine: Any) -> None:  # noqa: ANN401  (the interpreter, whose stack the standard library does not type)
    """Only what has been made here takes a state: a function's or a class's attributes are not for a file to set."""
    state, built = machine.stack.pop(), machine.stack[-1]
    if not isinstance(built, PickledArray | PickledType):
        raise TypeError(f"a state for a {type(built).__name__}")
    built.__setstate__(state)


def _dict(machine: Any) -> None:  # noqa: ANN401  (as above)
    items = machine.pop_mark()
    machine.append(_texts(items))


def _set_item(machine: Any) -> None:  # noqa: ANN401  (as above)
    value, name = machine.stack.pop(), machine.stack.pop()
    machine.stack[-1].update(_texts([name, value]))


def _set_items(machine: Any) -> None:  # noqa: ANN401  (as above)
    items = machine.pop_mark()
    machine.stack[-1].update(_texts(items))


def _texts(items: list[Any]) -> dict[str | bytes, Any]:
    """Names and values in turn, as a dictionary: other keys are refused, since tuples of tuples may take for ever to hash."""
    if not all(isinstance(name, str | bytes) for name in items[::2]):
        raise TypeError("a dictionary whose keys are not texts")
    return dict(zip(items[::2], items[1::2], strict=True))


_ALL = pickle._Unpickler.dispatch  # noqa: SLF001  (as above)
_Interpreter.dispatch = {code: _ALL[code] for code in (ord(getattr(pickle, name)) for name in INSTRUCTIONS)} | {
    ord(pickle.BUILD): _build,
    ord(pickle.DICT): _dict,
    ord(pickle.SETITEM): _set_item,
    ord(pickle.SETITEMS): _set_items,
}
