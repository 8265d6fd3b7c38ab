"""The report of two runs in a real Chromium: its slider, in light and dark and on a phone, with a hostile name.

pytest tests/integration/test_report_page.py --basetemp=FOLDER keeps pictures there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from i2i_core.reporting.facts import RunFacts
from i2i_core.reporting.page import page
from i2i_core.runs import attempts

from ..support.browser import chromium, complaints
from ..support.runs import config_of, loop_of

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.processes]

NASTY = "x<img src=x onerror='window.hacked=1'>"
SHOWN = """
const box = document.querySelector(".grids"), images = [...box.querySelectorAll("img")];
return [images.filter((image) => !image.hidden).map((image) => images.indexOf(image)),
        images.length, box.querySelector("output").textContent, images.every((image) => image.complete)];
"""
SLIDE = """
const slider = document.querySelector(".grids input");
slider.value = arguments[0];
slider.dispatchEvent(new Event("input"));
"""


@pytest.fixture
def report(paired: str, tmp_path: Path) -> Path:
    """Write the page of two short runs of different weights of L1, of which one has a name that tries to be code."""
    over = {"monitoring__grid_every": 12, "monitoring__log_every": 12, "monitoring__evaluate_every": 24}
    runs = []
    for name, weight in (("plain", 100.0), (NASTY, 7.0)):
        values = {**over, "hyper__lambda_l1": weight, "training__images": 48}
        loop = loop_of(config_of("pix2pix", paired, str(tmp_path / "runs"), **values))
        attempts.claim(loop.run, name, since=0.0)
        loop.run.write(loop.run.CONFIG, loop.config.dumps().encode())  # as a launch does
        loop.train()
        place = tmp_path / "runs" / name
        Path(loop.run.root).rename(place)
        runs.append(RunFacts.of(str(place)))
    file = tmp_path / "report.html"
    file.write_text(page(runs))
    return file


def looked_at(browser: Any, file: Path, picture: str) -> None:
    """Open the page, move its slider from end to end, and picture it."""
    browser.get(file.as_uri())
    for number in (0, 2, 1):
        browser.execute_script(SLIDE, number)
        visible, count, said, complete = browser.execute_script(SHOWN)
        assert (visible, complete) == ([number], True)
        assert count > 2
        assert said
    assert browser.execute_script("return document.querySelectorAll('svg polyline').length") > 4, "curves"
    text = browser.execute_script("return document.body.innerText")
    assert all(word in text for word in ("lambda_l1", "plain", NASTY, "Where the time went"))
    assert browser.execute_script("return window.hacked") is None
    assert complaints(browser) == []
    browser.save_screenshot(str(file.with_name(picture)))


def test_report_page_slides_through_grids_and_runs_no_name(report: Path, tmp_path: Path) -> None:
    with chromium(tmp_path / "wide") as browser:
        looked_at(browser, report, "report.png")
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
        looked_at(browser, report, "report-dark.png")
        assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(24, 26, 28)"
    with chromium(tmp_path / "phone", 390, 844, touch=True) as browser:
        looked_at(browser, report, "report-phone.png")
        wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert browser.execute_script(wide) <= 0, "only tables scroll sideways"
