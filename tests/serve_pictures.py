"""Picture the page of serve.py for docs/serving.md: on a desk, and dark on a phone.

python -m tests.serve_pictures --input letter.png runs/letters runs/shoes
"""

from __future__ import annotations

import argparse
import base64
import tempfile
from pathlib import Path
from typing import Any

from i2i_core.config.serving import LimitOptions
from i2i_core.serving.naming import names_of
from i2i_core.serving.served import Served
from i2i_core.translation.model import load

from .support.browser import chromium, until
from .support.data import ROOT
from .support.serving import listening, server_of

OUT = ROOT / "docs/images"
OPEN = """
const [data] = arguments;
const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], 'x.png', {type: 'image/png'}));
document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: transfer, bubbles: true, cancelable: true}));
"""


def used(browser: Any, url: str, data: bytes, samples: int) -> None:
    """Open the page, give it an image, choose all models, and make outputs."""
    browser.get(url)
    until(browser, "return document.querySelectorAll('#model-list input').length")
    browser.execute_script(OPEN, encoded(data))
    until(browser, "return document.getElementById('status').textContent.startsWith('An image of')")
    browser.execute_script(
        "for (const one of document.querySelectorAll('#model-list input:not(:checked)')) one.click()"
    )
    browser.execute_script(f"for (const one of document.querySelectorAll('[name=count]')) one.value = {samples}")
    browser.execute_script("document.getElementById('make').click()")
    until(browser, "return document.getElementById('status').textContent === 'Done.'")


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--input", required=True, type=Path)
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("runs", nargs="+")
    given = parser.parse_args()
    models = [Served(n, load(run), 1 << 20) for n, run in zip(names_of(given.runs), given.runs, strict=True)]
    data = given.input.read_bytes()
    sizes = {"serve-page": (1280, 1700, False), "serve-phone": (360, 1000, True)}
    with listening(server_of(*models, limits=LimitOptions())) as url:
        for name, (width, height, phone) in sizes.items():
            with tempfile.TemporaryDirectory() as folder, chromium(Path(folder), width, height, touch=phone) as browser:
                dark = [{"name": "prefers-color-scheme", "value": "dark" if phone else "light"}]
                browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
                used(browser, url, data, given.samples)
                browser.execute_script("window.scrollTo(0, 0)")
                browser.save_screenshot(str(OUT / f"{name}.png"))


if __name__ == "__main__":
    main()
