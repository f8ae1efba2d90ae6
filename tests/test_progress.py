from __future__ import annotations

import io
import multiprocessing
import re
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest
from rich.console import Console

from augury import progress
from augury.progress import say, silenced, track


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a person at a terminal would be shown."""
    screen = io.StringIO()
    monkeypatch.setattr(progress, "_console", Console(file=screen, force_terminal=True, width=120))
    return screen


def test_a_terminal_shows_what_is_done_and_how_much_of_it(terminal: io.StringIO) -> None:
    assert list(track("abc", "reading images")) == ["a", "b", "c"]
    assert "reading images" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()


def test_the_total_of_items_without_a_length_can_be_given(terminal: io.StringIO) -> None:
    assert list(track(iter("abc"), "reading", total=3)) == ["a", "b", "c"]
    assert "3/3" in terminal.getvalue()


def test_a_terminal_shows_how_long_it_has_taken_and_how_long_it_takes_still(terminal: io.StringIO) -> None:
    for item in track(range(3), "reading images"):
        time.sleep(0.12 if item else 0.02)  # the bar is drawn ten times a second
    assert re.search(r"reading images .*[12]/3.* 0:00:00 \S*(-:--:--|0:00:0\d)", re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", terminal.getvalue()))


def _told_in_a_worker() -> list[str]:
    screen = io.StringIO()
    progress._console = Console(file=screen, force_terminal=True)
    say("stage")
    return [*track("ab", "reading"), screen.getvalue()]


def test_processes_that_share_the_work_say_and_draw_nothing() -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(_told_in_a_worker).result() == ["a", "b", ""]


def test_where_there_is_no_terminal_no_bar_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track("abc", "reading")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_silence_is_kept_inside_the_block_alone_and_also_after_an_error(terminal: io.StringIO) -> None:
    def work() -> None:
        say("stage")
        assert list(track("abc", "reading")) == ["a", "b", "c"]
        assert terminal.getvalue() == ""
        raise RuntimeError

    with pytest.raises(RuntimeError), silenced():
        work()
    say("next stage")
    assert "next stage" in terminal.getvalue()


def test_silence_can_be_switched_by_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with silenced(silent=False):
        say("told")
    with silenced(silent=True):
        say("kept back")
        with silenced(silent=False):
            say("told again")
    assert capsys.readouterr() == ("", "told\ntold again\n")


@pytest.mark.parametrize("message", ["data: " + "very " * 60 + "long", "[bold]no markup[/bold] [/]", ":tada: C:\\[a]", "Größe 1/3 'x' 4.5"])
def test_a_stage_is_told_in_one_plain_line_as_it_is_written(capsys: pytest.CaptureFixture[str], message: str) -> None:
    say(message)
    assert capsys.readouterr() == ("", message + "\n")


@pytest.mark.usefixtures("terminal")
def test_items_are_asked_for_one_by_one() -> None:
    asked = []

    def items() -> Iterator[int]:
        for i in range(5):
            asked.append(i)
            yield i

    tracked = track(items(), "reading", total=5)
    next(tracked)
    next(tracked)
    assert asked == [0, 1]


@pytest.mark.usefixtures("terminal")
def test_a_bar_given_up_half_way_or_by_an_error_makes_room_for_the_next() -> None:
    for item in track(range(5), "given up"):
        if item == 2:
            break
    with pytest.raises(ZeroDivisionError):
        list(track((1 // i for i in range(5)), "failed", total=5))
    assert list(track(range(2), "next")) == [0, 1]


def test_a_bar_inside_a_bar_is_drawn(terminal: io.StringIO) -> None:
    pairs = [(i, j) for i in track(range(2), "outer") for j in track(range(2), "inner")]
    assert pairs == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert "outer" in terminal.getvalue()
