"""The reports in a real browser: each control is used, and what it does is seen; by pointer and by keyboard, on a desk and on a phone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import augury
from augury.report import write_report
from augury.report.learn_run import write_learn_report
from test_report import HOSTILE, make_run
from test_report_learn import make_learned

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the reports are not tried in a browser")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH: the reports are not tried in a browser")

DESK, PHONE = 1280, 390
RUNS = ("points", "copies")
INKED = """(all) => all.map((canvas) => {
  const bytes = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return bytes.some((byte, i) => i % 4 < 3 && byte > 0);
})"""
NAMES = ("<script>alert(1)<", "b'a\"d & <b>")  # folders: two classes; no slash can be in a name
SETTINGS: dict[str, Any] = {"epochs": 1, "seeds": 2, "copies": "none"}


class Reports(NamedTuple):
    """Pages of small runs that were really done, and that of a learned augmentation, from results that are made up."""

    points: Path
    copies: Path
    learned: Path


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """A run that chose points from an image folder with hostile names, and one that chose copies of digits."""
    folder, pixels = tmp_path_factory.mktemp("browser"), load_digits()
    for number in range(60):
        name = NAMES[int(pixels.target[number] > 4)]
        path = folder / "images" / name / f'it\'s "{number}" <i>.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.uint8(pixels.images[number] * 15)).save(path)
    points = augury.run(data=str(folder / "images"), transform="flip", unit="points", budget="20%", **SETTINGS, out=folder / "points")
    copies = augury.run(data="digits", first=60, transform="rotate:30:5", unit="copies", budget="20", **SETTINGS, out=folder / "copies")
    assert points.report is not None
    assert copies.report is not None
    (folder / "learned").mkdir()
    return Reports(points.report, copies.report, write_learn_report(make_learned(folder / "learned")))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Visit:
    """A page in the browser, and everything that was written on its console."""

    def __init__(self, browser: Browser, report: Path, width: int = DESK, **settings: object) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, reduced_motion="reduce", **settings)
        self.page.set_default_timeout(20_000)
        self.words: list[str] = []
        self.page.on("console", lambda message: self.words.append(message.text))
        self.page.on("pageerror", lambda error: self.words.append(str(error)))
        self.page.on("dialog", lambda dialog: self.words.append(dialog.message))
        self.page.on("request", lambda request: self.words.append(request.url) if not request.url.startswith(("file:", "data:")) else None)
        self.page.goto(report.as_uri())
        self.page.wait_for_function("document.querySelectorAll('.plot svg').length === document.querySelectorAll('.plot').length")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.page.close()
        assert self.words == []

    @property
    def data(self) -> dict[str, Any]:
        """What the gallery's script reads."""
        found: dict[str, Any] = json.loads(self.page.locator("#gallery-data").text_content())
        return found

    @property
    def thumbs(self) -> Locator:
        return self.page.locator("#explorer > .thumbs .thumb")

    @property
    def shown(self) -> list[dict[str, Any]]:
        """The items of the images that the gallery shows, in order."""
        items = self.data["items"]
        return [items[int(number)] for number in self.thumbs.evaluate_all("(thumbs) => thumbs.map((thumb) => thumb.dataset.item)")]

    def choose(self, name: str, value: str) -> None:
        self.page.locator(f"[data-filter={name}]").select_option(value)

    def gallery(self) -> Self:
        self.thumbs.first.wait_for()
        return self


@pytest.fixture(params=[DESK, PHONE])
def width(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


# What every page keeps to


@pytest.mark.parametrize("kind", RUNS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_page_fits_its_width_draws_all_charts_and_pictures_and_writes_nothing_on_the_console(
    browser: Browser, reports: Reports, kind: str, theme: str, width: int
) -> None:
    with Visit(browser, getattr(reports, kind), width, color_scheme=theme).gallery() as visit:
        assert visit.page.evaluate("document.scrollingElement.scrollWidth") <= width
        assert min(visit.page.locator(".plot").evaluate_all("(plots) => plots.map((plot) => plot.querySelectorAll('svg path').length)")) > 5
        wide = visit.page.locator(".plot svg").evaluate_all("(all) => all.map((svg) => svg.getBoundingClientRect().width)")
        assert all(0.3 * width < one <= width for one in wide)
        assert all(visit.page.locator("img").evaluate_all("(all) => all.map((image) => image.naturalWidth > 0)"))
        inked = visit.thumbs.locator("canvas").evaluate_all(INKED)
        assert inked
        assert all(inked)


def test_names_that_are_markup_are_shown_as_text_in_gallery_hint_and_dialog(browser: Browser, reports: Reports) -> None:
    with Visit(browser, reports.points).gallery() as visit:
        assert visit.page.locator("[data-filter=class] option").all_text_contents()[1:] == sorted(NAMES)
        visit.thumbs.first.hover()
        first = visit.shown[0]
        assert visit.page.locator("#hint .label").text_content() == f"{visit.data['classes'][first['label']]}: original"
        assert visit.page.locator("#hint .origin").text_content() == first["origin"]
        assert "<i>" in first["origin"]
        visit.thumbs.first.click()
        assert visit.page.locator("dialog .origin").text_content() == first["origin"]
        assert visit.page.locator("dialog i, dialog b, #explorer script:not([type]), #hint i").count() == 0


def test_hostile_text_wherever_a_user_can_put_it_runs_nothing(browser: Browser, tmp_path: Path, width: int) -> None:
    folder = make_run(tmp_path / "hostile", name=HOSTILE, classes=(f"cat{HOSTILE}", HOSTILE), policy=f"influence{HOSTILE}")
    with Visit(browser, write_report(folder), width).gallery() as visit:
        assert visit.page.evaluate("document.scrollingElement.scrollWidth") <= width
        visit.page.locator("[data-steers=accuracy-chart] input").first.uncheck()
        visit.thumbs.first.click()
        assert HOSTILE in visit.page.locator("#opened").text_content()


def test_an_injected_script_or_style_or_handler_is_stopped_by_the_policy(browser: Browser, reports: Reports) -> None:
    visit = Visit(browser, reports.points).gallery()
    visit.page.evaluate(
        """() => {
          const script = Object.assign(document.createElement("script"), { textContent: "document.title = 'run'" });
          document.body.append(script);
          document.body.insertAdjacentHTML("beforeend", "<p id='styled' style='color: red' onclick=\\"document.title = 'run'\\">x</p>");
          document.getElementById("styled").click();
        }"""
    )
    assert visit.page.title().startswith("Augury report")
    assert len([word for word in visit.words if "Content Security Policy" in word]) == 3
    visit.page.close()


@pytest.mark.parametrize("kind", RUNS)
def test_the_theme_follows_the_system_until_a_reader_chooses_one(browser: Browser, reports: Reports, kind: str) -> None:
    with Visit(browser, getattr(reports, kind), color_scheme="dark") as visit:
        paper = "getComputedStyle(document.documentElement).backgroundColor"
        line = "getComputedStyle(document.querySelector('.plot svg text')).fill"
        dark, on_dark = visit.page.evaluate(paper), visit.page.evaluate(line)
        visit.page.locator("#theme-light").check()
        assert visit.page.evaluate(paper) == "rgb(255, 255, 255)" != dark
        assert visit.page.evaluate(line) != on_dark
        visit.page.emulate_media(color_scheme="light")
        visit.page.locator("#theme-dark").check()
        assert visit.page.evaluate(paper) == dark
        visit.page.locator("#theme-auto").check()
        assert visit.page.evaluate(paper) == "rgb(255, 255, 255)"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_its_paper_as_wcag_asks(browser: Browser, reports: Reports, theme: str) -> None:
    def luminance(colour: str) -> float:
        parts = np.array([float(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]) / 255
        return float(np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])

    with Visit(browser, reports.copies, color_scheme=theme).gallery() as visit:
        paper = luminance(visit.page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
        for selector in ("h1", ".lede", ".overline", ".count", ".controls label", "figcaption", "summary", ".origin", ".controls select"):
            text = luminance(visit.page.locator(selector).first.evaluate("(place) => getComputedStyle(place).color"))
            assert (max(text, paper) + 0.05) / (min(text, paper) + 0.05) >= 4.5, selector


# The gallery's filters and its order


def test_points_are_filtered_by_class_choice_and_transformation(browser: Browser, reports: Reports) -> None:
    with Visit(browser, reports.points).gallery() as visit:
        assert [item["rank"] for item in visit.shown] == list(range(1, 46))
        visit.choose("class", "1")
        assert {item["label"] for item in visit.shown} == {1}
        visit.choose("choice", "yes")
        assert all(item["selected"] and item["label"] == 1 for item in visit.shown)
        visit.choose("class", "")
        assert len(visit.shown) == 9
        visit.choose("choice", "no")
        assert len(visit.shown) == 36
        assert not any(item["selected"] for item in visit.shown)
        visit.choose("choice", "")
        visit.choose("image", "copies")
        assert len(visit.shown) == 9
        assert {item["copy"] for item in visit.shown} == {0}
        visit.choose("image", "")
        assert len(visit.shown) == 54
        visit.choose("image", "0")
        assert len(visit.shown) == 9


def test_the_score_filters_between_its_bounds_and_reset_takes_all_back(browser: Browser, reports: Reports) -> None:
    with Visit(browser, reports.points).gallery() as visit:
        scores = sorted(item["score"] for item in visit.shown)
        visit.page.locator("[data-filter=least]").fill(str(scores[10]))
        visit.page.locator("[data-filter=most]").fill(str(scores[20]))
        assert sorted(item["score"] for item in visit.shown) == scores[10:21]
        assert visit.page.locator(".count").text_content() == "11 of 11 matching images"
        visit.page.locator("[data-filter=most]").fill(str(scores[5]))
        assert visit.thumbs.count() == 0
        assert visit.page.locator(".count").text_content() == "No image matches these filters."
        visit.page.locator(".reset").click()
        assert visit.thumbs.count() == 45
        assert visit.page.locator("[data-filter=least]").input_value() == ""


@pytest.mark.parametrize("kind", RUNS)
def test_every_order_sorts_by_what_it_names(browser: Browser, reports: Reports, kind: str) -> None:
    with Visit(browser, getattr(reports, kind)).gallery() as visit:
        for value in visit.page.locator("[data-filter=order] option").evaluate_all("(all) => all.map((option) => option.value)"):
            visit.choose("order", value)
            values = [item[value[1:]] for item in visit.shown if value[1:] in item]
            if value != "+origin":  # whose numbers are sorted as such
                assert values == sorted(values, reverse=value[0] == "-")


def test_copies_are_filtered_by_transformation_and_by_flags(browser: Browser, reports: Reports) -> None:
    with Visit(browser, reports.copies).gallery() as visit:
        found = visit.data
        assert len(found["items"]) == 60 + 240
        assert visit.thumbs.count() == 96
        visit.page.locator(".more").click()
        assert visit.thumbs.count() == 192
        visit.page.locator(".more").click()
        assert visit.thumbs.count() == 240
        assert not visit.page.locator(".more").is_visible()
        assert [item["rank"] for item in visit.shown] == list(range(1, 241))
        visit.choose("image", "2")
        assert {found["transformations"][item["copy"]] for item in visit.shown} == {found["transformations"][2]}
        visit.choose("image", "copies")
        visit.choose("flags", "yes")
        flagged = [item for item in found["items"] if "reasons" in item]
        assert visit.page.locator(".count").text_content() == f"{min(96, len(flagged))} of {len(flagged)} matching images"
        assert all(item["reasons"] for item in visit.shown)


def test_a_click_on_a_cell_of_the_heat_map_shows_its_copies(browser: Browser, reports: Reports) -> None:
    with Visit(browser, reports.copies).gallery() as visit:
        chart = json.loads(visit.page.locator("#transformations-chart").text_content())
        cells = next(iter(chart["datasets"].values()))
        number = next(i for i, cell in enumerate(cells) if cell["chosen"])
        visit.page.locator("[data-chart=transformations-chart] .mark-rect path").nth(number).click(force=True)
        shown = visit.shown
        assert len(shown) == cells[number]["chosen"]
        assert {visit.data["classes"][item["label"]] for item in shown} == {cells[number]["class"]}
        assert {visit.data["transformations"][item["copy"]] for item in shown} == {cells[number]["transformation"]}


# The gallery's numbers and its dialog


def test_the_numbers_stand_beside_the_image_that_the_pointer_is_on(browser: Browser, reports: Reports) -> None:
    with Visit(browser, reports.points).gallery() as visit:
        visit.thumbs.nth(3).hover()
        item, hint = visit.shown[3], visit.page.locator("#hint")
        told = dict(zip(hint.locator("dt").all_text_contents(), hint.locator("dd").all_text_contents(), strict=True))
        assert told["rank"] == "4"
        assert told["probability"] == f"{100 * item['probability']:.1f} %"
        assert float(told["score"].removesuffix(" nats")) == pytest.approx(item["score"], rel=5e-3)
        assert float(told["loss"].removesuffix(" nats")) == pytest.approx(item["loss"], rel=5e-3)
        assert hint.locator(".badge").text_content() == "chosen"
        visit.page.locator("h1").hover()
        assert not hint.is_visible()


def test_arrow_keys_walk_the_gallery_which_is_one_stop_of_the_tab_key(browser: Browser, reports: Reports, width: int) -> None:
    with Visit(browser, reports.points, width).gallery() as visit:
        keyboard, focused = visit.page.keyboard, "Number(document.activeElement.dataset.item)"
        order = [int(number) for number in visit.thumbs.evaluate_all("(thumbs) => thumbs.map((thumb) => thumb.dataset.item)")]
        tops = visit.thumbs.evaluate_all("(thumbs) => thumbs.map((thumb) => thumb.getBoundingClientRect().top)")
        across = tops.count(tops[0])
        visit.page.locator(".reset").focus()
        keyboard.press("Tab")
        place = 0
        for key, step in (("ArrowRight", 1), ("ArrowDown", across), ("ArrowLeft", -1), ("ArrowUp", -across), ("End", 44), ("Home", -44)):
            keyboard.press(key)
            place = min(44, max(0, place + step))
            assert visit.page.evaluate(focused) == order[place]
            hint = visit.page.locator("#hint").bounding_box()
            assert hint["x"] >= 0
            assert hint["x"] + hint["width"] <= width
        assert visit.page.evaluate("document.activeElement.getAttribute('aria-describedby')") == "hint"
        keyboard.press("Escape")
        assert not visit.page.locator("#hint").is_visible()
        keyboard.press("ArrowRight")
        keyboard.press("Tab")
        assert visit.page.evaluate("document.activeElement.closest('.thumbs')") is None
        keyboard.press("Shift+Tab")
        assert visit.page.evaluate(focused) == order[1]


def test_enter_opens_arrows_turn_and_escape_closes_the_dialog_where_it_was_opened(browser: Browser, reports: Reports) -> None:
    with Visit(browser, reports.copies).gallery() as visit:
        dialog, opened = visit.page.locator("dialog"), visit.page.locator("#opened")
        visit.thumbs.first.focus()
        visit.page.keyboard.press("Enter")
        assert dialog.is_visible()

        def title(item: dict[str, Any]) -> str:
            return f"{visit.data['classes'][item['label']]}: {visit.data['transformations'][item['copy']]}"

        shown = visit.shown
        assert opened.text_content() == title(shown[0])
        visit.page.keyboard.press("ArrowRight")
        assert opened.text_content() == title(shown[1])
        visit.page.locator(".next").click()
        assert dialog.locator(".origin").text_content() == shown[2]["origin"]
        visit.page.keyboard.press("ArrowLeft")
        visit.page.locator(".previous").click()
        visit.page.locator(".previous").click()  # there is none before the first
        assert opened.text_content() == title(shown[0])
        assert dialog.locator(".pair figcaption").all_text_contents() == ["original", title(shown[0]).split(": ")[1]]
        visit.page.keyboard.press("Escape")
        assert not dialog.is_visible()
        assert visit.thumbs.first.evaluate("(thumb) => thumb === document.activeElement")


def test_the_dialog_shows_the_whole_family_and_leads_to_each_of_it(browser: Browser, reports: Reports, width: int) -> None:
    with Visit(browser, reports.copies, width, has_touch=True).gallery() as visit:
        flagged = next(number for number, item in enumerate(visit.shown) if "reasons" in item)
        visit.thumbs.nth(flagged).tap()
        dialog = visit.page.locator("dialog")
        box = dialog.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert dialog.locator(".reason").all_text_contents() == visit.shown[flagged]["reasons"]
        family = dialog.locator(".family .thumb")
        assert family.count() == 1 + len(visit.data["transformations"])
        family.first.click()
        assert visit.page.locator("#opened").text_content().endswith(": original")
        assert dialog.locator("dt").all_text_contents() == ["copies chosen", "point’s own score", "loss", "probability"]
        assert dialog.locator(".pair figure").count() == 1
        dialog.locator(".close").click()
        assert not dialog.is_visible()
        visit.thumbs.first.tap()
        visit.page.mouse.click(3, 3)  # beside it
        assert not dialog.is_visible()


# Charts


@pytest.mark.parametrize("kind", RUNS)
def test_policies_are_switched_off_and_on_in_the_curve(browser: Browser, reports: Reports, kind: str) -> None:
    with Visit(browser, getattr(reports, kind)) as visit:
        marks = visit.page.locator("[data-chart=accuracy-chart] .mark-symbol path")
        boxes = visit.page.locator("[data-steers=accuracy-chart] input")
        before = marks.count()
        for box in boxes.all():
            box.uncheck()
            sync_api.expect(marks).not_to_have_count(before)
            assert 0 < marks.count() < before
            box.check()
            sync_api.expect(marks).to_have_count(before)
        for box in boxes.all():
            box.uncheck()
        sync_api.expect(marks).to_have_count(0)


def test_prediction_and_measurement_are_switched_off_and_on_in_both_forecasts(browser: Browser, reports: Reports) -> None:
    with Visit(browser, reports.copies) as visit:
        for chart in ("loss-forecast-chart", "accuracy-forecast-chart"):
            marks = visit.page.locator(f"[data-chart={chart}] .mark-symbol path")
            both = marks.count()
            for box in visit.page.locator(f"[data-steers~={chart}] input").all():
                box.uncheck()
                sync_api.expect(marks).not_to_have_count(both)
                assert 0 < marks.count() < both
                box.check()
                sync_api.expect(marks).to_have_count(both)


def test_the_heat_map_tells_copies_or_gain(browser: Browser, reports: Reports) -> None:
    with Visit(browser, reports.copies) as visit:
        texts = visit.page.locator("[data-chart=transformations-chart] .mark-text.role-mark text")
        cells = next(iter(json.loads(visit.page.locator("#transformations-chart").text_content())["datasets"].values()))
        assert texts.all_text_contents() == [cell["counted"] for cell in cells]
        visit.page.locator("[value=gain]").check()
        sync_api.expect(texts).to_have_text([cell["gained"] for cell in cells])
        visit.page.locator("[value=chosen]").check()
        sync_api.expect(texts).to_have_text([cell["counted"] for cell in cells])


def test_a_charts_point_tells_its_numbers_to_the_pointer(browser: Browser, reports: Reports) -> None:
    with Visit(browser, reports.points) as visit:
        visit.page.locator("[data-chart=accuracy-chart] .mark-symbol path").first.hover(force=True)
        tooltip = visit.page.locator("#vg-tooltip-element.visible")
        tooltip.wait_for()
        assert "accuracy" in tooltip.text_content()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_of_a_learned_augmentation_fits_draws_and_steers_its_charts(
    browser: Browser, reports: Reports, width: int, theme: str
) -> None:
    with Visit(browser, reports.learned, width, color_scheme=theme) as visit:
        assert visit.page.evaluate("document.scrollingElement.scrollWidth") <= width
        assert visit.page.locator(".plot svg").count() == 5
        assert all(visit.page.locator("img").evaluate_all("(all) => all.map((image) => image.naturalWidth > 0)"))
        marks = visit.page.locator("[data-chart=divergence-chart] .mark-symbol path")
        assert marks.count() == 4
        visit.page.locator("[value='fold 2']").uncheck()
        sync_api.expect(marks).to_have_count(2)
        visit.page.locator("[data-chart=check-chart] .mark-symbol path").nth(15).hover(force=True)
        tooltip = visit.page.locator("#vg-tooltip-element.visible")
        tooltip.wait_for()
        assert {"predicted", "measured"} <= set(tooltip.locator(".key").all_text_contents())
        visit.page.locator("#theme-dark").check()
        assert visit.page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(20, 23, 26)"
