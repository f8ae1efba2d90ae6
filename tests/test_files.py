from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.errors import InputError
from augury.files import digest, read_json, read_table, remove_partial, write_atomic, write_json, write_table, write_text

FRAME = pd.DataFrame({"index": [0, 1, 2], "score": [0.1, -0.0, 5e-324], "label": ["a", "", "ß\n"], "selected": [True, False, True]})
METADATA = {"kind": "scores", "method": "loss", "cause": {"C": 1.0, "classes": ["3", "8"], "none": None}}
COLUMNS = ("index", "score", "label", "selected")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)

WRITE_AND_STALL = """
import sys, time
from augury.files import write_atomic
def write(stream):
    stream.write(b"new " * 100_000)
    stream.flush()
    print("half", flush=True)
    time.sleep(60)
write_atomic(sys.argv[1], write)
"""
WRITE_TABLE = """
import sys
from tests.test_files import FRAME, METADATA
from augury.files import digest, write_table
write_table(sys.argv[1], FRAME, METADATA)
print(digest(FRAME["score"].to_numpy(), "a", 1), end="")
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextlib.contextmanager
def without_rights(folder: Path) -> Iterator[None]:
    """A read-only folder, met as a user whom that stops: the administrator may write anywhere."""
    folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o755)


@pytest.mark.parametrize("error", [RuntimeError("half way"), KeyboardInterrupt(), SystemExit(1)])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = write_text(tmp_path / "scores.txt", "old")

    def write(stream: IO[bytes]) -> None:
        stream.write(b"new")
        raise error

    with pytest.raises(type(error)):
        write_atomic(path, write)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["scores.txt"]


def test_a_process_killed_while_it_writes_leaves_the_old_file_and_a_part_that_can_be_removed(tmp_path: Path) -> None:
    path = write_text(tmp_path / "run" / "scores.txt", "old")
    other = write_text(tmp_path / "run" / ".film.part", "another program's download")
    with subprocess.Popen([sys.executable, "-c", WRITE_AND_STALL, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        process.send_signal(signal.SIGKILL)
    (part,) = set(path.parent.iterdir()) - {path, other}
    assert part.stat().st_size == 400_000
    assert path.read_text() == "old"
    remove_partial(tmp_path)
    assert names(path.parent) == [".film.part", "scores.txt"]


def test_removing_parts_of_a_folder_that_is_not_there_does_nothing(tmp_path: Path) -> None:
    remove_partial(tmp_path / "nowhere")
    assert names(tmp_path) == []


def test_writers_of_one_file_at_one_time_leave_one_whole_file(tmp_path: Path) -> None:
    contents = [bytes([i]) * 500_000 for i in range(16)]

    def write(content: bytes) -> None:
        write_atomic(
            tmp_path / "file", lambda stream: [stream.write(content[:250_000]), time.sleep(0.001), stream.write(content[250_000:])]
        )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, contents))
    assert (tmp_path / "file").read_bytes() in contents
    assert names(tmp_path) == ["file"]


def test_a_file_is_on_the_disk_before_it_takes_the_old_ones_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = write_text(tmp_path / "file", "old"), []
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append((os.fstat(descriptor).st_size, path.read_text())))
    write_text(path, "newer")
    assert seen == [(5, "old")]
    assert path.read_text() == "newer"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_a_file_gets_the_rights_that_the_user_has_set_for_new_files(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        path = write_text(tmp_path / "file", "text")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


def test_missing_folders_are_made(tmp_path: Path) -> None:
    assert write_text(tmp_path / "a" / "b" / "file", "ä").read_bytes() == "ä".encode()


def test_a_folder_that_may_not_be_written_to_is_named_with_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    with (
        without_rights(tmp_path),
        pytest.raises(InputError, match=rf"{re.escape(str(path))}: cannot be written \(Permission denied\); choose"),
    ):
        write_table(path, FRAME, METADATA)


def test_a_full_disk_and_places_where_no_file_can_be_are_named(tmp_path: Path) -> None:
    def fill(stream: IO[bytes]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = write_text(tmp_path / "file", "old")
    with pytest.raises(InputError, match=r"file: cannot be written \(No space left on device\); choose another place"):
        write_atomic(file, fill)
    with pytest.raises(InputError, match=r"below: cannot be written \((File exists|Not a directory)\)"):
        write_text(file / "below", "text")
    with pytest.raises(InputError, match=rf"{re.escape(str(tmp_path))}: cannot be written \(Is a directory\)"):
        write_text(tmp_path, "text")
    with pytest.raises(InputError, match=r"cannot be written \(File name too long\)"):
        write_text(tmp_path / ("n" * 300), "text")
    assert file.read_text() == "old"
    assert names(tmp_path) == ["file"]


@given(record=st.dictionaries(st.text(), JSON, max_size=4))
def test_json_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, record: dict[str, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "record.json"
    assert read_json(write_json(path, record)) == record
    assert list(json.loads(path.read_text())) == sorted(record)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", r"not a JSON file \(Expecting"),
        (b"", r"not a JSON file"),
        (b"\xff{}", r"not a JSON file"),
        (b"[1]", "expected a JSON object, got list"),
    ],
)
def test_a_damaged_record_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=rf"config\.json: {message}"):
        read_json(tmp_path / "config.json")


def test_a_record_that_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json: no such file"):
        read_json(tmp_path / "config.json")
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        read_json(tmp_path)
    with pytest.raises(InputError, match=r"cannot be read \(Not a directory\)"):
        read_json(write_text(tmp_path / "file", "text") / "config.json")


@given(metadata=st.dictionaries(st.text(), JSON, max_size=4))
def test_a_table_and_its_metadata_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, metadata: dict[str, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "table.parquet"
    write_table(path, FRAME, metadata | {"kind": "scores"})
    frame, found = read_table(path, "scores", COLUMNS)
    pd.testing.assert_frame_equal(frame, FRAME, check_exact=True)
    assert np.signbit(frame["score"][1])
    assert found == metadata | {"kind": "scores"}


@pytest.mark.parametrize("name", ["C=0.1/t.parquet", "file:t.parquet", "s3:t.parquet", "_t.parquet", ".t", "*?[a].parquet", "ü é.parquet"])
def test_no_name_of_a_file_means_anything_but_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_table(name, FRAME, METADATA)
    assert list(read_table(name, "scores", COLUMNS)[0].columns) == list(COLUMNS)


def test_the_same_content_gives_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    here = write_table(tmp_path / "here", FRAME, METADATA)
    reordered = write_table(tmp_path / "reordered", FRAME, dict(reversed(METADATA.items())))
    root = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    command = [sys.executable, "-c", WRITE_TABLE, str(tmp_path / "there")]
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    assert here.read_bytes() == reordered.read_bytes() == (tmp_path / "there").read_bytes()
    assert printed == digest(FRAME["score"].to_numpy(), "a", 1)


def test_a_damaged_table_is_refused_or_gives_the_right_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"score": rng.normal(size=100), "label": [f"x{i}" for i in range(100)]})
    content = write_table(tmp_path / "whole", frame, {"kind": "scores"}).read_bytes()
    path, refusals = tmp_path / "damaged.parquet", []
    for position in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            found, _ = read_table(path, "scores", ("score", "label"))
        except InputError as error:
            refusals.append(str(error))
        else:
            pd.testing.assert_frame_equal(found, frame, check_exact=True)
    assert len(refusals) > 0.8 * len(content) / 3
    assert all(message.startswith(f"{path}: ") for message in refusals)


def test_a_table_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    content = write_table(tmp_path / "whole", FRAME, METADATA).read_bytes()
    for length in range(0, len(content), 50):
        (tmp_path / "short.parquet").write_bytes(content[:length])
        with pytest.raises(
            InputError, match=r"short\.parquet: not a readable Parquet file \(.+\); expected the scores that an earlier step"
        ):
            read_table(tmp_path / "short.parquet", "scores", COLUMNS)


def test_a_table_that_is_not_the_one_expected_is_told_apart(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.parquet", FRAME, METADATA)
    with pytest.raises(InputError, match=r"t\.parquet: expected curve, found scores; give the file"):
        read_table(path, "curve", ())
    with pytest.raises(InputError, match=r"t\.parquet: the scores lack the column 'probability'; give the file"):
        read_table(path, "scores", (*COLUMNS, "probability"))
    with pytest.raises(InputError, match=r"none\.parquet: no such file; expected the scores"):
        read_table(tmp_path / "none.parquet", "scores", COLUMNS)
    with pytest.raises(InputError, match=r"not a readable Parquet file \(Is a directory\)"):
        read_table(tmp_path, "scores", COLUMNS)


@pytest.mark.parametrize("metadata", [None, {b"augury": b"no JSON"}, {b"augury": b"\xff"}])
def test_a_table_that_another_program_wrote_is_told(tmp_path: Path, metadata: dict[bytes, bytes] | None) -> None:
    pq.write_table(pa.table({"score": [1.0]}).replace_schema_metadata(metadata), tmp_path / "t.parquet")
    with pytest.raises(
        InputError, match=r"t\.parquet: (expected scores, found a table without Augury's record|not a readable Parquet file)"
    ):
        read_table(tmp_path / "t.parquet", "scores", ("score",))


def test_no_two_contents_have_the_same_digest() -> None:
    zeros = np.zeros((2, 3))
    contents: list[tuple[object, ...]] = [
        (zeros,), (zeros.T,), (zeros.ravel(),), (zeros.astype(np.float32),), (zeros.astype(">f8"),), (zeros.astype(np.int64),),
        (np.ones((2, 3)),), (zeros, zeros), (zeros[:0],), (np.zeros(()),), (np.array(["a", "b"]),), (np.array(["ab"]),),
        (np.array(["2026-01-01"], "M8[D]"),), (), ("",), (b"",), ("a",), (b"a",), (b"'a'",), ("a", "b"), (b"a", "b"), (b"a\0'b'",), ("ab",),
        (("a", "b"),), (b"x", b"y"), (b"xbytesy",), (b"xbytes:1:y",), (1,), ("1",), (1.0,), (True,), (zeros.tobytes(),), (repr(zeros),),
    ]  # fmt: skip
    assert len({digest(*parts) for parts in contents}) == len(contents)


def test_the_digest_sees_content_and_not_how_it_lies_in_memory(tmp_path: Path) -> None:
    array = np.arange(24.0).reshape(4, 6)
    np.save(tmp_path / "a.npy", array)
    twins = [np.asfortranarray(array), array.repeat(2, axis=1)[:, ::2], np.load(tmp_path / "a.npy", mmap_mode="r")]
    assert {digest(twin) for twin in twins} == {digest(array)}
    assert re.fullmatch("[0-9a-f]{64}", digest(array))


def test_an_array_of_objects_has_no_digest() -> None:
    with pytest.raises(TypeError):
        digest(np.array(["a", 1], dtype=object))
