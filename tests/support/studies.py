"""Studies without people: pictures of one colour each, and answers as a page saves them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from i2i_core.studies.drawing import Plan, Sheet, Trial

from .translating import save

Chooser = Callable[[Trial, np.random.Generator], str]
"""Chooses `left` or `right` of a trial."""


def folder_of(place: Path, names: Sequence[str], side: int = 16, seed: int = 0) -> Path:
    """Pictures of these names, each of one colour."""
    colours = np.random.default_rng(seed).integers(0, 255, (len(names), 3), dtype=np.uint8)
    for name, colour in zip(names, colours, strict=True):
        save(place / f"{name}.png", np.tile(colour, (side, side, 1)))
    return place


def study_in(page: Path) -> dict[str, Any]:
    """What a page holds of its study."""
    text = page.read_text().partition('id="study">')[2].partition("</script>")[0]
    found: dict[str, Any] = json.loads(text)
    return found


def session_of(plan: Plan, sheet: Sheet, number: int, person: str, choose: Chooser, **over: Any) -> dict[str, Any]:
    """Answers of one person to a sheet, as a page saves them."""
    rng = np.random.default_rng([number, *person.encode()])
    timed = plan.mode == "real"
    answers = [
        {
            "trial": n,
            "practice": n < plan.practice,
            "left": vars(trial[0]),
            "right": vars(trial[1]),
            "chosen": choose(trial, rng),
            "shown_ms": [1000.0, 1000.0] if timed else [],
            "answer_ms": 700.0,
            "times_shown": 1,
        }
        for n, trial in enumerate(sheet)
    ]
    return {
        "format": 1,
        "study": "0123456789abcdef",
        "mode": plan.mode,
        "question": plan.question,
        "seed": plan.seed,
        "sheet": number,
        "person": person,
        "program": "i2i",
        "practice": plan.practice,
        "trials": plan.trials,
        "display_ms": 1000 if timed else 0,
        "frame_ms": 16.667,
        "begun": "2026-11-29T12:00:00.000Z",
        "answers": answers,
        **over,
    }


def at_random(trial: Trial, rng: np.random.Generator) -> str:
    return ("left", "right")[int(rng.integers(2))]


def at_left(trial: Trial, rng: np.random.Generator) -> str:
    return "left"


def never_fooled(trial: Trial, rng: np.random.Generator) -> str:
    """Sees every made image for what it is, where the question is for it."""
    return "left" if trial[0].by is not None else "right"
