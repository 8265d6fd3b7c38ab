"""Each method's demo learns: it beats doing nothing on characters that training never saw, in the measure that fits it.

pytest -m slow tests/integration/test_learning.py                        three methods: 8 minutes
METHODS=all pytest -m slow tests/integration/test_learning.py            every method: 40 minutes
METHODS_OUTPUT=methods-output METHODS=all pytest ...                      what `make methods-table` left, judged again
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from i2i_core.methods import METHODS
from pipelines.demo import EXAMPLES
from pipelines.methods_table import measured

KEPT = os.environ.get("METHODS_OUTPUT", "")
"""A folder of `make methods-table`, whose results are judged in place of new ones."""
Found = dict[str, float]


def goes_to_the_target_and_back(found: Found) -> None:
    """Neither a generator that changes nothing nor one that ignores its input can pass."""
    for way in ("there", "back"):
        assert found[f"in_target_nothing/{way}"] < 0.2
        assert found[f"in_target/{way}"] > 0.7
    assert found["cycle"] < 0.04
    assert found["twin"] < 0.8 * found["twin_nothing"]


def refines(found: Found) -> None:
    assert found["in_target_nothing/there"] < 0.1
    assert found["in_target/there"] > 0.7
    assert found["twin"] < 0.2 * found["twin_nothing"], "the refined glyph is not its own scan"


def makes_the_truth_among_many(found: Found) -> None:
    assert found["diversity"] > 0.08
    assert found["l1_best"] < 0.35 * found["l1_nothing"]
    assert found["ssim"] > found["ssim_nothing"] + 0.2


def encodes(found: Found) -> None:
    makes_the_truth_among_many(found)
    assert found["l1_encoded"] < 0.2 * found["l1_nothing"]


def collapses(found: Found) -> None:
    """What the paper reports of pix2pix+noise: close to the truth on average, and one output whatever the code."""
    assert found["l1"] < 0.5 * found["l1_nothing"]
    assert found["diversity"] < 0.03


def restores(found: Found) -> None:
    assert found["l1"] < 0.6 * found["l1_nothing"]
    assert found["ssim"] > found["ssim_nothing"]


def takes_on_attributes(found: Found) -> None:
    assert found["accuracy/bold"] > found["accuracy_nothing/bold"] + 0.5
    assert found["accuracy"] > found["accuracy_nothing"] + 0.2
    assert found["there_and_back"] < 0.06


JUDGES: dict[str, Callable[[Found], None]] = {
    "stargan": takes_on_attributes,
    "pix2pix": restores,
    "cyclegan": goes_to_the_target_and_back,
    "unit": goes_to_the_target_and_back,
    "simgan": refines,
    "bicyclegan": encodes,
    "cvae_gan": encodes,
    "clr_gan": makes_the_truth_among_many,
    "pix2pix_noise": collapses,
}


SHOWN = ("cvae_gan", "unit", "simgan")
"""What `make test-all` trains; `make demo` trains StarGAN."""


def test_every_method_has_a_demo_and_a_judge() -> None:
    assert JUDGES.keys() == EXAMPLES.keys() == METHODS.keys()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("method", JUDGES if os.environ.get("METHODS") == "all" else SHOWN)
def test_the_demo_learns(method: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    out = Path(KEPT) if KEPT else tmp_path_factory.getbasetemp() / "methods"
    out.mkdir(exist_ok=True)
    JUDGES[method](measured(method, out.resolve()).metrics)
