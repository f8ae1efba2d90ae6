"""What a notebook shows of scores and selections."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from augury import Scores, by_points, rank, show
from augury.data import Examples
from augury.errors import InputError
from conftest import Array

HOSTILE = '<script>alert("x")</script>'


class Page(HTMLParser):
    """Cells, and the attributes of every element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.text, self.finished = "", False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "img":
            self.images.append(dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self.finished = True

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.rows and self.rows[-1] and not self.finished:
            self.rows[-1][-1] += data


def scores(classes: tuple[str, ...] = ("cat", "dog"), points: int = 20) -> Scores:
    values = np.random.default_rng(0).random(points)
    origin = np.array([f"photos/{i}.png" for i in range(points)])
    return Scores(values, np.arange(points) % 2, values * 2, np.exp(-values), "influence", classes, origin)


def images(channels: int = 1) -> Array:
    return np.random.default_rng(1).integers(0, 256, (20, channels, 9, 6)).astype(np.uint8)


def drawn(image: dict[str, str | None]) -> Array:
    source = image["src"] or ""
    assert source.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))))


def test_scores_are_shown_with_the_highest_first() -> None:
    found = scores()
    page = Page(found._repr_html_())
    assert page.rows[0] == list(found.to_frame().columns)
    best = np.argsort(-found.values)[:8]
    assert [int(row[0]) for row in page.rows[1:]] == best.tolist()
    assert [float(row[3]) for row in page.rows[1:]] == pytest.approx(found.values[best], rel=1e-3)
    assert "Scores of 20 points, method influence" in page.text
    assert "and 12 more" in page.text
    assert page.images == []


def test_orderings_are_shown_in_their_order_with_their_policy() -> None:
    chosen = rank(scores(), seed=3).within(5)
    page = Page(chosen._repr_html_())
    assert [int(row[1]) for row in page.rows[1:]] == chosen.indices[:8].tolist()
    assert [row[-1] for row in page.rows[1:]] == ["True"] * 5 + ["False"] * 3
    assert "Ordering of 20 points, preference proportional, order sampled, seed 3, budget 5" in page.text
    copies = Page(by_points(chosen, 3)._repr_html_())
    assert "CopyOrdering of 60 copies, budget 15" in copies.text
    assert [int(row[2]) for row in copies.rows[1:]] == np.repeat(chosen.indices, 3)[:8].tolist()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("floats", [False, True])
def test_thumbnails_show_each_rows_own_pixels(channels: int, floats: bool) -> None:  # noqa: FBT001
    chosen, pixels = rank(scores(), order="ranked"), images(channels)
    page = Page(show(chosen, (pixels / 255).astype(np.float32) if floats else pixels, rows=4).html)
    assert page.rows[0][0] == "image"
    for element, index in zip(page.images, chosen.indices[:4], strict=True):
        shown = drawn(element)
        np.testing.assert_array_equal(shown if channels == 1 else shown.transpose(2, 0, 1), pixels[index].squeeze())
        assert (element["width"], element["height"]) == ("32", "48")
        assert element["alt"] == ("cat", "dog")[index % 2]


def test_examples_give_thumbnails_and_all_copies_give_those_of_the_copies() -> None:
    chosen = rank(scores())
    examples = Examples(images(), np.arange(20) % 2, ("cat", "dog"), np.arange(20).astype(str))
    np.testing.assert_array_equal(drawn(Page(show(chosen, examples).html).images[0]), images()[chosen.indices[0], 0])
    copies = np.stack([images(), 255 - images()], axis=1)
    page = Page(show(by_points(chosen, 2), copies, rows=2).html)
    np.testing.assert_array_equal(drawn(page.images[1]), 255 - images()[chosen.indices[0], 0])


def test_large_images_are_reduced() -> None:
    pixels = np.zeros((20, 3, 400, 600), np.uint8)
    html = show(scores(), pixels).html
    assert drawn(Page(html).images[0]).shape == (64, 96, 3)
    assert len(html) < 10_000


def test_hostile_names_are_shown_as_text() -> None:
    found = scores((HOSTILE, '"><img src=x onerror=alert(1)>'))
    html = show(found, images()).html
    page = Page(html)
    assert "script" not in page.tags
    assert HOSTILE in page.text
    assert len(page.images) == 8
    assert all(set(image) == {"alt", "width", "height", "style", "src"} for image in page.images)
    assert "http" not in html


def test_what_is_shown_is_text_where_there_is_no_notebook() -> None:
    text = str(show(rank(scores()), rows=3))
    assert text.startswith("Ordering of 20 points")
    assert len(text.splitlines()) == 5


@pytest.mark.usefixtures("without_type_checks")
def test_what_cannot_be_shown_is_refused() -> None:
    with pytest.raises(InputError, match=r"result: got list; expected augury\.Scores"):
        show([1, 2])  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"images: shape \(20, 9, 6\); expected \(points, channels, height, width\)"):
        show(scores(), images()[:, 0])
    with pytest.raises(InputError, match="images: 5, and the points go up to number 19; expected one for each point"):
        show(scores(), images()[:5])
