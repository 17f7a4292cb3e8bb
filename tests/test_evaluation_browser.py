"""The page of ``avcc.evaluation`` in a real browser: it loads, plays in step, and keeps choices."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avcc.evaluation.bench import Row
from avcc.evaluation.films import Films
from avcc.evaluation.folder import FILMS
from avcc.evaluation.page import Told, write_page
from avcc.evaluation.run import Outcome

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = os.environ.get("AVCC_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
HOSTILE = "<img src=x onerror=alert(1)>&\"'</script>"
SECONDS = 1.6
PATIENCE = 120_000  # ms: a machine that does much else starts a browser slowly
FILMS_OF_STAGE = "[...document.querySelectorAll('#stage video')]"
TIMES = f"{FILMS_OF_STAGE}.map(v => v.currentTime)"


def page_with_films(folder: Path) -> Path:
    """Two clips, two coders at two rates, real films of a moving bar and a tone."""
    films, outcome = Films(folder / FILMS), Outcome(notes=[HOSTILE])
    count = round(SECONDS * 25)
    frames = np.full((count, 256, 256, 3), 40, np.uint8)
    for i in range(count):
        frames[i, :, 6 * i : 6 * i + 20] = (200, 120, 40)
    tone = np.sin(np.arange(count * 640) / 16_000 * 2 * np.pi * 300).astype(np.float32) / 4
    shown = films.keep("shown", frames, tone, synthetic=True)
    for clip in ("talk", HOSTILE):
        outcome.sources[clip] = shown
        for coder in ("avcc", "x265"):
            for rate in (2000.0, 4000.0):
                values = {"kbps": rate / 1000, "lpips": 200 / rate, "landmark": 2.0}
                row = Row(clip, coder, rate, SECONDS, 400, values, setting=HOSTILE, film=shown)
                outcome.rows.append(row)
    write_page(folder, outcome, Told("Report", f"python -m avcc.evaluation '{HOSTILE}'"))
    return folder / "index.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The page in a browser, ``page.told`` with all that it had to complain about."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is absent (pip install 'avcc[browser]')"
    )
    if BROWSER is None:
        pytest.skip("no Chromium is on the path (AVCC_BROWSER names one)")
    index = page_with_films(tmp_path_factory.mktemp("page"))
    with playwright.sync_playwright() as driver:
        how = {"executable_path": BROWSER, "args": list(QUIET), "timeout": PATIENCE}
        browser = driver.chromium.launch(**how)
        page = browser.new_page(viewport={"width": 1200, "height": 1400})
        page.set_default_timeout(PATIENCE)
        page.told = []
        page.on("console", lambda said: page.told.append(said.text))
        page.on("pageerror", lambda error: page.told.append(str(error)))
        page.on("requestfailed", lambda asked: page.told.append(f"failed: {asked.url}"))
        page.on("dialog", lambda box: page.told.append(f"dialog: {box.message}"))
        page.asked = []
        page.on("request", lambda asked: page.asked.append(asked.url))
        page.goto(index.as_uri())
        yield page
        browser.close()


def wait(page: Any, true: str) -> None:
    """Until an expression is true. Playwright's own waiting wants what the page forbids."""
    end = time.monotonic() + 60
    while not page.evaluate(true):
        assert time.monotonic() < end, f"this never came: {true}"
        page.wait_for_timeout(20)


def settled(page: Any) -> None:
    """Waits until every film of the players has data at the place where it stands."""
    wait(page, f"{FILMS_OF_STAGE}.every(v => v.readyState > 1 && !v.seeking)")


def test_it_loads_without_a_complaint_and_without_a_network(page: Any) -> None:
    settled(page)
    assert page.title() == "Report"
    assert page.locator("#stage video").count() == 5, "the source and four versions"
    assert page.locator("#curves svg[role=img]").count() == 2
    assert page.locator("#rows tbody tr").count() == 8
    assert page.locator("#rows tbody th", has_text=HOSTILE).count() == 4, "shown, not obeyed"
    assert all(url.startswith(("file:", "data:", "blob:")) for url in page.asked)
    assert page.told == []


def test_films_play_pause_and_seek_together(page: Any) -> None:
    settled(page)
    page.click("#play")
    wait(page, f"Math.min(...{TIMES}) > 0.4")
    page.click("#play")
    assert page.inner_text("#play") == "Play"
    wait(page, f"{FILMS_OF_STAGE}.every(v => v.paused)")
    times = page.evaluate(TIMES)
    assert max(times) - min(times) < 0.2, "in step but for what a busy machine drops"
    page.locator("#seek").fill("0.8")
    settled(page)
    assert page.evaluate(TIMES) == pytest.approx([0.8] * 5, abs=1e-3)
    assert page.told == []


def test_all_by_keyboard(page: Any) -> None:
    page.locator("#seek").fill("0.2")
    page.focus("#stage")
    page.keyboard.press("ArrowRight")
    settled(page)
    assert page.evaluate(TIMES) == pytest.approx([1.2] * 5, abs=1e-3)
    page.keyboard.press(",")
    settled(page)
    assert page.evaluate(TIMES) == pytest.approx([1.16] * 5, abs=1e-3)
    heard = f"{FILMS_OF_STAGE}.map(v => !v.muted)"
    assert page.evaluate(heard) == [True, False, False, False, False]
    page.keyboard.press("3")
    assert page.evaluate(heard) == [False, False, True, False, False]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press(" ")
    wait(page, f"Math.min(...{TIMES}) > 0.3")
    page.keyboard.press(" ")
    assert page.inner_text("#play") == "Play"
    page.keyboard.press("1")
    assert page.told == []


def test_a_clip_and_versions_that_are_chosen(page: Any) -> None:
    page.get_by_label("x265 2 kbps", exact=True).first.uncheck()
    assert page.locator("#stage video").count() == 4
    page.select_option("#clip", index=1)
    assert page.locator("#stage video").count() == 4, "what was chosen holds for other clips"
    assert page.locator("#clip option").nth(1).inner_text() == HOSTILE
    page.locator("#shown input").nth(3).check()
    page.select_option("#clip", index=0)
    settled(page)
    assert page.locator("#stage video").count() == 5 and page.told == []


def test_blind_choices_become_a_file(page: Any, tmp_path: Path) -> None:
    assert page.is_disabled("#save") and not page.is_visible("#trial")
    page.click("#begin")
    names = page.locator("#pair .name").all_inner_texts()
    assert names == ["Source", "A", "B"]
    assert "x265" not in page.inner_text("#trial") and "avcc" not in page.inner_text("#trial")
    page.keyboard.press("a")
    page.click("[data-choice=b]")
    page.focus("#pair")
    page.keyboard.press("n")
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(tmp_path / "choices.json")
    kept = json.loads((tmp_path / "choices.json").read_text())
    found = kept["choices"]
    assert [one["choice"] for one in found] == ["a", "b", "same"]
    assert found[0]["better"] == found[0]["a"] and found[1]["better"] == found[1]["b"]
    assert found[2]["better"] is None
    for one in found:
        assert {one["a"]["coder"], one["b"]["coder"]} == {"avcc", "x265"}
        assert one["a"]["asked_kbps"] == one["b"]["asked_kbps"] and one["clip"] in ("talk", HOSTILE)
    page.focus("#pair")
    page.keyboard.press("b")
    assert not page.is_visible("#trial") and "4 choices" in page.inner_text("#told")
    assert page.told == []


def test_strips_that_are_opened(page: Any) -> None:
    assert page.locator("#strips details").count() == 2
    assert not page.locator("#strips img").first.is_visible(), "until they are asked for"
    page.locator("#strips summary").first.click()
    shown = "[...document.querySelectorAll('#strips details[open] img')]"
    wait(page, f"{shown}.every(i => i.complete && i.naturalWidth === 640)")
    assert page.evaluate(f"{shown}.length") == 6, "the source and two coders at either rate"
    assert page.told == []
