"""Write the page of a study: one HTML file that works without other files and without a network.

The page's words and looks, and the program that shows the trials, are in `study.html`. The page allows no connection
and no script but its own.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import Any

from i2i_core.errors import ResourceError
from i2i_core.program import program_name
from i2i_core.reporting.html import escaped, png_source
from i2i_core.sizes import said_bytes
from i2i_core.studies.answers import FORMAT
from i2i_core.studies.drawing import Plan, Sheet, Shown

PAGE = Path(__file__).with_name("study.html")
MOST_PAGE = 256 << 20
"""Bytes of a page, which a browser holds in memory."""
TIMES = {"before_ms": 900, "between_ms": 600, "after_ms": 100, "feedback_ms": 2400}
"""Waits before the first image, between the two, before the question, and with feedback, in ms, as the articles' tool
has them."""
SHOWN = 384
"""Pixels of the longer side of an image on the page, as in the articles' tool."""


def page(
    plan: Plan,
    sheets: Sequence[Sheet],
    made: Mapping[str, Mapping[str, bytes]],
    real: Mapping[str, bytes],
    sources: Mapping[str, bytes],
    seconds: float,
) -> str:
    """Write a study as a page.

    Args:
        plan: of the study.
        sheets: as `drawing.draw` gives them.
        made: PNG files by algorithm and key.
        real: PNG files by key.
        sources: PNG files of the inputs by key, which mode `preference` shows.
        seconds: display time of an image, in s.

    Raises:
        ResourceError: the page would have more than MOST_PAGE bytes.
    """
    files = {Shown(name, key): png for name, each in made.items() for key, png in each.items()}
    files |= {Shown(None, key): png for key, png in real.items()}
    used = [*dict.fromkeys(one for sheet in sheets for trial in sheet for one in trial)]
    number = {one: i for i, one in enumerate(used)}
    size = sum(len(files[one]) for one in used) * 4 // 3
    if size > MOST_PAGE:
        fix = "Give fewer images (--most) or smaller ones (--size)."
        raise ResourceError(
            "the study's page", f"{said_bytes(size)} of images", f"at most {said_bytes(MOST_PAGE)}", fix
        )
    shown = {one.key for one in used} if plan.mode == "preference" else set()
    study: dict[str, Any] = {
        "format": FORMAT,
        **asdict(plan),
        **TIMES,
        "display_ms": seconds * 1000 if plan.mode == "real" else 0,
        "side": SHOWN,
        "pictures": [{"by": one.by, "key": one.key, "src": png_source(files[one])} for one in used],
        "sources": {key: png_source(png) for key, png in sources.items() if key in shown},
        "sheets": [[[number[left], number[right]] for left, right in sheet] for sheet in sheets],
    }
    study["study"] = sha256(json.dumps(study, sort_keys=True).encode()).hexdigest()[:16]
    study["program"] = program_name()
    text = PAGE.read_text()
    return Template(text).substitute(
        title="Which one is real?" if plan.mode == "real" else "Which one is better?",
        policy=escaped(policy(text)),
        study=as_data(study),
    )


def as_data(values: Any) -> str:
    """Write plain values as JSON for a script element, whose text no value of them can end."""
    text = json.dumps(values, ensure_ascii=True)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def policy(text: str) -> str:
    """Say what the page may load: images within it, its own style and its own script; and no connection at all."""
    style, script = (_hash(re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)) for tag in ("style", "script"))
    return f"default-src 'none'; img-src data:; style-src {style}; script-src {script}; base-uri 'none'"


def _hash(parts: Sequence[str]) -> str:
    (part,) = parts
    return f"'sha256-{b64encode(sha256(part.encode()).digest()).decode()}'"
