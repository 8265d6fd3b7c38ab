"""The page of a study in a real Chromium: timed, answered by keys, buttons and touch, loaded again, and read.

pytest tests/integration/test_study_page.py --basetemp=FOLDER keeps pictures and answers there.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from i2i_core.studies.answers import Limits, counting, read_session
from pipelines import study

from ..support.browser import chromium, complaints, until
from ..support.studies import folder_of, study_in

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.processes]

NASTY = '"></script><script>Object.assign(window, {hacked: 1})</script>'
"""A name without an equals sign, which would end it in --against NAME=FOLDER."""
KEYS = [f"{n:02d} \"><img src=x onerror='window.hacked=1'>" for n in range(24)]
WATCH = """
window.seen = [];
const shown = {};
(function look(time) {
  for (const side of ["left", "right"]) {
    const there = document.getElementById(side).classList.contains("seen");
    const asked = ["left", "right"].includes(document.body.dataset.state);
    if (there && asked && shown[side] === undefined) shown[side] = time;
    if (!there && shown[side] !== undefined) { window.seen.push(time - shown[side]); delete shown[side]; }
  }
  requestAnimationFrame(look);
})(performance.now());
"""
"""Watches from outside the page's program how long each image is in sight."""
GUESS = """
const random = (seed) => () => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648;
const draw = random(arguments[0]);
new MutationObserver(() => {
  if (document.body.dataset.state === "asking")
    setTimeout(() => document.getElementById(draw() < 0.5 ? "choose-left" : "choose-right").click(), 250);
}).observe(document.body, {attributes: true});
document.getElementById("start").click();
"""
"""Answers at random, by the buttons."""
STATE = "return document.body.dataset.state"


@pytest.fixture
def made(tmp_path: Path, told: Callable[..., str]) -> Callable[..., Path]:
    """Make the page of a study of pictures whose names try to be code."""

    def make(*flags: object) -> Path:
        for seed, name in enumerate(("real", "one", "two")):
            folder_of(tmp_path / name, KEYS, side=64, seed=seed)
        page = tmp_path / "study.html"
        of = ["--against", f"{NASTY}={tmp_path}/one", f"two={tmp_path}/two", "--real", tmp_path / "real"]
        told("make", *of, *flags, "--out", page, code=0, pipeline=study)
        return page

    return make


def answers_in(browser: Any) -> dict[str, Any]:
    """The answers that the page offers at its end."""
    found: dict[str, Any] = json.loads(browser.execute_script("return document.getElementById('text').value"))
    return found


def saved_in(folder: Path, browser: Any) -> Path:
    """The file that the page has saved."""
    name = browser.execute_script("return document.getElementById('file').textContent")
    for _ in range(200):
        if (folder / name).exists():
            return folder / name
        browser.execute_async_script("setTimeout(arguments[0], 50)")
    raise AssertionError(f"no {name} in {folder}")


def test_study_page_shows_images_for_their_second_and_saves_answers(tmp_path: Path, made: Any, told: Any) -> None:
    """A person who guesses, with the protocol's times: 16 trials of 3.9 s."""
    page = made("--practice", 2, "--trials", 14, "--sheets", 4)
    with chromium(tmp_path) as browser:
        browser.set_script_timeout(300)
        browser.get(f"{page.as_uri()}#sheet=1")
        assert until(browser, STATE) == "welcome"
        browser.save_screenshot(str(tmp_path / "welcome.png"))
        browser.execute_script(WATCH)
        browser.execute_script(GUESS, 7)
        until(browser, "return document.body.dataset.state === 'left'")
        browser.save_screenshot(str(tmp_path / "left.png"))
        until(browser, "return document.body.dataset.state === 'feedback'")
        browser.save_screenshot(str(tmp_path / "feedback.png"))
        for _ in range(5):
            if browser.execute_script(STATE) != "done":
                browser.execute_async_script(
                    "const back = arguments[0], end = Date.now() + 55000;"
                    "(function look() { document.body.dataset.state === 'done' || Date.now() > end"
                    " ? back() : setTimeout(look, 100); })()"
                )
        assert browser.execute_script(STATE) == "done"
        browser.save_screenshot(str(tmp_path / "end.png"))
        file, watched = saved_in(tmp_path, browser), browser.execute_script("return window.seen")
        assert browser.execute_script("return window.hacked") is None
        assert complaints(browser) == []
    session = read_session(file.read_bytes(), file.name)
    drawn, pictures = study_in(page)["sheets"][1], study_in(page)["pictures"]
    assert session.sheet == 1
    for answer, (left, right) in zip(session.answers, drawn, strict=True):
        assert (answer.left.by, answer.left.key) == (pictures[left]["by"], pictures[left]["key"])
        assert (answer.right.by, answer.right.key) == (pictures[right]["by"], pictures[right]["key"])
    times = [ms for answer in session.answers for ms in answer.shown_ms]
    frame = session.frame_ms
    assert 5 < frame < 100
    assert len(times) == 32
    assert statistics.median(times) == pytest.approx(1000, abs=frame)
    assert statistics.median(watched) == pytest.approx(1000, abs=frame)
    close = [abs(a - b) <= 2 * frame + 1 for a, b in zip(times, watched, strict=True)]
    assert sum(close) > len(close) / 2, (times, watched)  # on a busy machine single frames come late
    assert all(answer.answer_ms >= 200 for answer in session.answers)
    assert {answer.chosen for answer in session.answers} == {"left", "right"}
    counted = counting([session], Limits(display_ms=1000))
    assert counted.left_out["practice"] == 2
    said = told("read", file, "--late-ms", 1000, code=0, pipeline=study)
    assert "1 file, 1 person" in said


def test_study_page_takes_arrow_keys_and_goes_on_after_a_reload(tmp_path: Path, made: Any) -> None:
    """The trial that was being shown is shown again, and the answers say so."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page = made("--practice", 0, "--trials", 3, "--seconds", 0.2, "--question", "real")
    with chromium(tmp_path) as browser:
        browser.get(page.as_uri())
        ActionChains(browser).send_keys(Keys.TAB, Keys.ENTER).perform()
        until(browser, "return document.body.dataset.state === 'left'")
        ActionChains(browser).send_keys(Keys.ARROW_LEFT).perform()  # too early: it is no answer
        until(browser, "return document.body.dataset.state === 'asking'")
        question = browser.execute_script("return document.getElementById('question').textContent")
        assert question == "Which picture is real?"
        ActionChains(browser).send_keys(Keys.ARROW_RIGHT).perform()
        until(browser, "return document.body.dataset.state === 'left'")
        browser.refresh()
        assert until(browser, "return document.getElementById('start').textContent") == "Go on with 2 of 3"
        browser.find_element("id", "start").click()
        for _ in range(2):
            until(browser, "return document.body.dataset.state === 'asking'")
            ActionChains(browser).send_keys(Keys.ARROW_LEFT).perform()
            until(browser, "return document.body.dataset.state !== 'asking'")
        until(browser, "return document.body.dataset.state === 'done'")
        session = read_session(saved_in(tmp_path, browser).read_bytes(), "x")
        assert answers_in(browser)["person"] == session.person
        browser.refresh()
        assert until(browser, STATE) == "done"
        assert answers_in(browser)["person"] == session.person, "a reload loses no answer"
        assert complaints(browser) == []
    assert [answer.chosen for answer in session.answers] == ["right", "left", "left"]
    assert [answer.times_shown for answer in session.answers] == [1, 2, 1]


def test_study_page_of_preferences_is_touched_on_a_phone(tmp_path: Path, made: Any) -> None:
    page = made("--mode", "preference", "--trials", 4, "--input", tmp_path / "real")
    with chromium(tmp_path, 390, 780, touch=True) as browser:
        browser.get(page.as_uri())
        browser.find_element("id", "start").click()
        for number in range(4):
            until(browser, "return document.body.dataset.state === 'asking'")
            assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
            sides = "return [...document.querySelectorAll('.frame.seen img')].map((one) => one.naturalWidth)"
            assert browser.execute_script(sides) == [64, 64, 64]
            browser.save_screenshot(str(tmp_path / "preference.png"))
            browser.find_element("id", "right").click()
            until(browser, f"return session.answers.length > {number}")
        until(browser, "return document.body.dataset.state === 'done'")
        session = read_session(saved_in(tmp_path, browser).read_bytes(), "x")
        assert complaints(browser) == []
    assert [answer.chosen for answer in session.answers] == ["right"] * 4
    assert all({answer.left.by, answer.right.by} == {NASTY, "two"} for answer in session.answers)
    assert all(answer.shown_ms == () for answer in session.answers)
