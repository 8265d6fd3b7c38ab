"""Each method's demo learns: it beats doing nothing on characters that training never saw, in the measure that fits it.

pytest -m slow tests/integration/test_learning.py                        three methods: 8 minutes
METHODS=all pytest -m slow tests/integration/test_learning.py            every method: 40 minutes
METHODS_OUTPUT=methods-output METHODS=all pytest ...                      what `make methods-table` left, judged again
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from i2i_core.methods import METHODS
from pipelines.demo import EXAMPLES
from pipelines.methods_table import measured

from ..support.table import TABLE

KEPT = os.environ.get("METHODS_OUTPUT", "")
"""A folder of `make methods-table`, whose results are judged in place of new ones."""
SHOWN = ("cvae_gan", "unit", "simgan")
"""What `make test-all` trains; `make demo` trains StarGAN."""


def test_demo_exists_of_every_method() -> None:
    assert EXAMPLES.keys() == METHODS.keys()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("method", METHODS if os.environ.get("METHODS") == "all" else SHOWN)
def test_demo_learns(method: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    out = Path(KEPT) if KEPT else tmp_path_factory.getbasetemp() / "methods"
    out.mkdir(exist_ok=True)
    TABLE[method].learns(measured(method, out.resolve()).metrics)
