"""Golden losses: every method and preset computes what it computed when its golden was recorded.

pytest tests/unit/test_goldens.py
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from i2i_core.methods import METHODS

from ..support.goldens import FOLDER, UPDATES, cases, path_of, play

TOLERANCE = 1e-9
"""Relative: torch's versions and CPUs differ in the last digits, 20 updates in float64 stay far below this."""


def close(found: float, golden: float) -> bool:
    return abs(found - golden) <= TOLERANCE * max(1.0, abs(golden))


LONG = ("cogan-digits",)
"""Goldens of networks whose sizes are fixed."""


@pytest.mark.parametrize("name", [pytest.param(one, marks=[pytest.mark.slow] * (one in LONG)) for one in cases()])
def test_golden_losses_and_weights_are_unchanged(name: str) -> None:
    """A change that is meant records its preset's golden again and says why in the commit (CONTRIBUTING.md)."""
    golden: dict[str, Any] = json.loads(path_of(name).read_text())
    found = play(*cases()[name])
    assert len(found["losses"]) == len(golden["losses"]) == UPDATES
    for number, (mine, theirs) in enumerate(zip(found["losses"], golden["losses"], strict=True)):
        assert [player for player, _ in mine] == [player for player, _ in theirs], f"moves of update {number}"
        for (player, loss), (_, expected) in zip(mine, theirs, strict=True):
            assert close(loss, expected), f"loss of {player} in update {number}: {loss!r}, golden {expected!r}"
    assert found["networks"].keys() == golden["networks"].keys()
    for network, value in found["networks"].items():
        expected = golden["networks"][network]
        assert close(value, expected), f"weights of {network}: {value!r}, golden {expected!r}"


def test_golden_of_every_method_and_preset_is_there_and_no_other() -> None:
    presets = {f"{method}-{preset}" for method, entry in METHODS.items() for preset in entry.presets}
    assert presets <= set(cases())
    assert {path.stem for path in FOLDER.iterdir()} == set(cases())
