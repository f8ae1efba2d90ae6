"""Small files on any file system that fsspec knows: a folder on this machine, or a place such as `s3://bucket/folder`."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import fsspec  # type: ignore[import-untyped]  # it ships no types
import pyarrow as pa

from augury.errors import InputError
from augury.files import PARTIAL, write_atomic


def local_path(url: str) -> Path | None:
    """The path, if the place is on this machine."""
    system, path = _system(url)
    return Path(path) if "file" in system.protocol else None


def join(folder: str, name: str) -> str:
    """A file of a folder."""
    return f"{folder.rstrip('/')}/{name}"


def listed(url: str, endings: tuple[str, ...]) -> list[str]:
    """The files below a folder with one of these endings, sorted, none of them hidden or partly written; of a file, itself."""
    system, path = _system(url)
    if system.isfile(path):
        return [canonical(url)]
    found = (name for name in system.find(path) if name.endswith(endings))
    seen = (name for name in found if not any(part.startswith(".") for part in name.removeprefix(path).split("/")))
    return sorted(_named(system, name) for name in seen)


def canonical(url: str) -> str:
    """The one way to write this place: an absolute path, or a URL with its protocol."""
    return _named(*_system(url))


def exists(url: str) -> bool:
    """Whether there is such a file or folder."""
    system, path = _system(url)
    return bool(system.exists(path))


def version(url: str) -> str:
    """What changes when a file's content does, as far as its file system tells without reading it."""
    system, path = _system(url)
    return str(system.ukey(path))


@contextlib.contextmanager
def opened(url: str) -> Iterator[Any]:
    """A file as pyarrow reads it: mapped into memory on this machine, by ranges of bytes elsewhere."""
    system, path = _system(url)
    try:
        with pa.memory_map(path) if "file" in system.protocol else pa.PythonFile(system.open(path, "rb"), mode="r") as source:
            yield source
    except FileNotFoundError:
        raise InputError(f"{url}: no such file") from None


def read(url: str) -> bytes:
    """A whole file."""
    with opened(url) as source:
        content: bytes = source.read()
    return content


def write(url: str, content: bytes | memoryview) -> None:
    """Put a file in place whole or not at all: under another name first, then moved, which file systems do in one step."""
    path = local_path(url)
    if path is not None:
        write_atomic(path, lambda stream: _put(stream, content))
        return
    system, place = _system(url)
    folder, name = place.rsplit("/", 1)
    partial = f"{folder}/.{name}.{secrets.token_hex(4)}{PARTIAL}"
    try:
        system.makedirs(folder, exist_ok=True)
        system.pipe_file(partial, bytes(content))
        system.mv(partial, place)
    except OSError as error:
        raise InputError(f"{url}: cannot be written ({error}); choose another place, or see to its rights and room") from error


def _put(stream: IO[bytes], content: bytes | memoryview) -> None:
    stream.write(content)


def _named(system: Any, path: str) -> str:  # noqa: ANN401  (fsspec ships no types)
    return path if "file" in system.protocol else str(system.unstrip_protocol(path))


def _system(url: str) -> tuple[Any, str]:
    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InputError(f"{url}: no such place ({error}); expected a path, or a URL that an installed fsspec package knows") from None
    return system, path
