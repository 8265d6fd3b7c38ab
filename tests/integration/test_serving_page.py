"""The pages of serve.py in a real Chromium: opened, drawn on, used by mouse, keyboard and on a phone, and pictured.

pytest tests/integration/test_serving_page.py --basetemp=FOLDER keeps the pictures there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from i2i_core.config.serving import LimitOptions
from i2i_core.serving.app import Server
from i2i_core.serving.served import Answer, Ask, Served
from i2i_core.translation.model import load

from ..support.browser import chromium, complaints, until
from ..support.films import run_of
from ..support.scene_data import write_scenes
from ..support.scenes import Scenes, registered
from ..support.serving import InProcess, image_of, listening, png, server_of

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.processes]

EVIL = '"><img src=x onerror="window.hacked=1"><svg onload="window.hacked=1"><script>window.hacked=1'
TOKEN = "0123456789abcdef"
DONE = "return ['Done.'].includes(document.getElementById('status').textContent)"
PIXELS = (
    "const c = document.getElementById('board'); const d = c.getContext('2d').getImageData(0, 0, c.width, c.height);"
)
COUNT = "let n = 0; for (let i = 0; i < d.data.length; i += 4) n += d.data[i] + d.data[i + 1] < 510; return n"


class Noted(InProcess):
    """Remembers what was asked."""

    def __init__(self, models: list[Served]) -> None:
        super().__init__(models)
        self.asked: list[tuple[int, Ask]] = []

    async def ask(self, number: int, ask: Ask) -> Answer:
        self.asked.append((number, ask))
        return await super().ask(number, ask)


@pytest.fixture(scope="module")
def models(stargan: str, bicyclegan: str, cyclegan: str) -> list[Served]:
    """The second has a name that tries to be code."""
    named = {"letters": stargan, EVIL: bicyclegan, "both-ways": cyclegan}
    return [Served(name, load(run), 1 << 20) for name, run in named.items()]


@pytest.fixture
def noted(models: list[Served]) -> Noted:
    return Noted(models)


@pytest.fixture
def url(models: list[Served], noted: Noted) -> Iterator[str]:
    with listening(server_of(*models, backend=noted)) as place:
        yield place


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    with chromium(tmp_path) as one:
        yield one


def ready(browser: Any, url: str) -> None:
    browser.get(url)
    until(browser, "return document.querySelectorAll('#model-list input').length")


def click(browser: Any, selector: str) -> None:
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def press(browser: Any, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def stroke(browser: Any, *moves: tuple[int, int]) -> None:
    """A line on the board by mouse: moves from its middle."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    board = browser.find_element(By.ID, "board")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", board)
    chain = ActionChains(browser, duration=20).move_to_element(board).click_and_hold()
    for dx, dy in moves:
        chain.move_by_offset(dx, dy)
    chain.release().perform()


def inked(browser: Any) -> int:
    """Pixels of the board that are not white."""
    return int(browser.execute_script(f"{PIXELS} {COUNT}"))


def test_page_draws_and_makes_by_mouse(browser: Any, url: str, noted: Noted, tmp_path: Path) -> None:
    ready(browser, url)
    assert browser.execute_script("return document.getElementById('board').width") == 16
    stroke(browser, (40, 40), (-80, 10))
    drawn = inked(browser)
    assert drawn > 3
    click(browser, "[value=fill]")
    stroke(browser)
    assert inked(browser) >= drawn
    click(browser, "#undo")
    assert inked(browser) == drawn
    click(browser, "#undo")
    assert inked(browser) == 0
    click(browser, "#redo")
    assert inked(browser) == drawn
    click(browser, "[value=eraser]")
    stroke(browser, (40, 40), (-80, 10))
    assert inked(browser) < drawn
    click(browser, "#undo")
    click(browser, "#make")
    until(browser, DONE)
    ((number, asked),) = noted.asked
    assert (number, asked.fields["target"]) == (0, f'"{noted.models[0].method.label_sets[0].titles[0]}"')
    assert asked.image
    sent = image_of(asked.image)
    assert (sent[..., :3].min(axis=2) < 255).sum() == drawn, "what is drawn is what is sent"
    shown = browser.execute_script("return [...document.querySelectorAll('.pair img')].map(i => i.naturalWidth)")
    assert shown == [16, 16]
    browser.execute_script(
        "const s = document.querySelector('figure input'); s.value = 20; s.dispatchEvent(new Event('input'))"
    )
    assert browser.execute_script("return document.querySelector('.pair').style.getPropertyValue('--cut')") == "20%"
    click(browser, "figure a[download]")
    saved = tmp_path / browser.execute_script("return document.querySelector('figure a').download")
    until(browser, "return true")
    for _ in range(200):
        if saved.exists():
            break
        browser.execute_async_script("setTimeout(arguments[0], 20)")
    assert image_of(saved.read_bytes()).shape == (16, 16)
    browser.save_screenshot(str(tmp_path / "page.png"))
    assert complaints(browser) == []


def test_page_compares_models_and_runs_no_name(browser: Any, url: str, noted: Noted, tmp_path: Path) -> None:
    """One model's name is code, as its labels or a server's error may be: it shows as it is."""
    ready(browser, url)
    for number in (1, 2):
        click(browser, f"#model-list label:nth-child({number + 1}) input")
    browser.execute_script("for (const one of document.querySelectorAll('[name=count]')) one.value = 3")
    click(browser, "#make")
    until(browser, DONE)
    assert sorted(number for number, _ in noted.asked) == [0, 1, 1, 1, 2]
    assert {asked.fields["sample"] for number, asked in noted.asked if number == 1} == {"0", "1", "2"}
    captions = browser.execute_script("return [...document.querySelectorAll('figcaption')].map(c => c.textContent)")
    assert sum(EVIL in caption for caption in captions) == 3
    browser.save_screenshot(str(tmp_path / "compare.png"))
    browser.get(f"{url}docs")
    until(browser, "return document.querySelectorAll('section').length == 6")
    assert EVIL in browser.execute_script("return document.body.innerText")
    browser.save_screenshot(str(tmp_path / "docs.png"))
    assert browser.execute_script("return window.hacked") is None
    assert browser.execute_script("return document.querySelectorAll('img[src=x], script:not([src])').length") == 0
    assert complaints(browser) == []


def test_page_takes_dropped_and_pasted_images(browser: Any, url: str, noted: Noted) -> None:
    ready(browser, url)
    data = png(24, 32, 3)
    come = """
        const [bytes, kind] = arguments;
        const blob = new File([new Uint8Array(bytes)], 'x', {type: 'image/png'});
        const transfer = new DataTransfer(); transfer.items.add(blob);
        document.body.dispatchEvent(kind === 'drop'
            ? new DragEvent('drop', {dataTransfer: transfer, bubbles: true, cancelable: true})
            : new ClipboardEvent('paste', {clipboardData: transfer, bubbles: true}));
    """
    for kind in ("drop", "paste"):
        browser.execute_script("document.getElementById('status').textContent = ''")
        browser.execute_script(come, list(data), kind)
        until(browser, "return document.getElementById('status').textContent.includes('32 x 24')")
        click(browser, "#make")
        until(browser, DONE)
        assert noted.asked[-1][1].image == data, "an image that is not drawn on is sent as it came"
    browser.execute_script(come, list(b"no image"), "drop")
    until(browser, "return document.getElementById('status').className == 'error'")
    assert complaints(browser) == []


def test_page_is_used_by_keyboard_alone(browser: Any, url: str, noted: Noted) -> None:
    from selenium.webdriver.common.keys import Keys

    ready(browser, url)
    for _ in range(30):
        if browser.execute_script("return document.activeElement.id") == "board":
            break
        press(browser, Keys.TAB)
    assert browser.execute_script("return document.activeElement.id") == "board"
    press(browser, " ", *[Keys.ARROW_RIGHT] * 5, " ", *[Keys.ARROW_DOWN] * 3)
    drawn = inked(browser)
    assert drawn >= 5
    browser.execute_script("window.before = arguments[0]", drawn)
    for _ in range(40):
        if browser.execute_script("return document.activeElement.id") == "make":
            break
        press(browser, Keys.TAB)
    press(browser, Keys.ENTER)
    until(browser, DONE)
    assert len(noted.asked) == 1
    unnamed = """
        return [...document.querySelectorAll('input, button, select, canvas, img, a')].filter(
            (e) => !(e.labels?.length || e.textContent.trim() || e.ariaLabel || e.alt || e.id === 'board')
        ).map((e) => e.outerHTML)
    """
    assert browser.execute_script(unnamed) == [], "every control has a name for a screen reader"


def test_page_fits_a_phone_in_light_and_dark(url: str, tmp_path: Path) -> None:
    with chromium(tmp_path, 360, 740, touch=True) as phone:
        for scheme in ("light", "dark"):
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            phone.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            ready(phone, url)
            click(phone, "#make")
            until(phone, DONE)
            assert phone.execute_script("return document.documentElement.scrollWidth") <= 360
            paper = phone.execute_script("return getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, paper[4:-1].split(","))) > 380) == (scheme == "light")
            small = phone.execute_script(
                "return [...document.querySelectorAll('button, .button, select')].filter(e => e.offsetHeight && "
                "e.offsetHeight < 36).map(e => e.outerHTML)"
            )
            assert small == [], "a finger meets every button"
            phone.save_screenshot(str(tmp_path / f"phone-{scheme}.png"))
        assert complaints(phone) == []


def test_page_draws_label_maps_in_their_colours(browser: Any, tmp_path: Path) -> None:
    """No pixel has a colour between two classes: the server would refuse the map."""
    data = write_scenes(tmp_path / "data")["scenes"]
    with_palette(Path(data))
    with registered(Scenes):
        model = Served("streets", load(run_of(data, tmp_path / "runs")), 1 << 20)
        noted = Noted([model])
        with listening(server_of(model, backend=noted)) as url:
            ready(browser, url)
            names = browser.execute_script(
                "return [...document.querySelectorAll('#palette label')].map(l => l.innerText)"
            )
            assert names == ["road", "wall", "sky"]
            click(browser, "#palette label:nth-child(3) input")
            browser.execute_script("const w = document.getElementById('width'); w.value = 5;"
                                   "w.dispatchEvent(new Event('input'))")  # fmt: skip
            stroke(browser, (60, 25), (-90, 30))
            click(browser, "#make")
            until(browser, DONE)
            browser.save_screenshot(str(tmp_path / "labels.png"))
    sent = image_of(noted.asked[0][1].image or b"")[..., :3].reshape(-1, 3)
    assert {tuple(map(int, colour)) for colour in np.unique(sent, axis=0)} == {(128, 64, 128), (70, 130, 180)}


def with_palette(data: Path) -> None:
    """Give the classes of a data set names and colours."""
    manifest = json.loads((data / "manifest.json").read_text())
    colours = [[128, 64, 128], [102, 102, 156], [70, 130, 180]]
    manifest["fields"]["labels"] |= {"names": ["road", "wall", "sky"], "palette": colours}
    (data / "manifest.json").write_text(json.dumps(manifest))


def test_page_asks_for_the_token(browser: Any, models: list[Served]) -> None:
    """By the form, or by what the address holds behind its #, which does not stay there."""
    with listening(server_of(*models, token=TOKEN)) as url:
        browser.get(url)
        until(browser, "return !document.getElementById('token').hidden")
        browser.execute_script("document.querySelector('[name=token]').value = arguments[0]", TOKEN)
        click(browser, "#token button")
        until(browser, "return document.querySelectorAll('#model-list input').length")
        browser.execute_script("sessionStorage.clear()")
        browser.get("about:blank")
        ready(browser, f"{url}#{TOKEN}")
        assert browser.current_url == url


def test_page_shows_what_a_server_says(browser: Any, models: list[Served]) -> None:
    server: Server = server_of(models[0], limits=LimitOptions(most_seconds=1e-6))
    with listening(server) as url:
        ready(browser, url)
        click(browser, "#make")
        until(browser, "return document.querySelector('figure .error')")
        said = browser.execute_script("return document.querySelector('figure .error').textContent")
        assert said == "body: found no end of it after 1e-06 s; expected all of it. Send it faster."
