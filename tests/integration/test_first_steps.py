"""The notebook docs/first_steps.ipynb: it runs from beginning to end, offline and on a CPU.

pytest -m slow tests/integration/test_first_steps.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "first_steps.ipynb"


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_first_steps_run_and_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Jupyter runs them, in an empty folder; what is trained is nearer to the truth than the input is."""
    import nbclient
    import nbformat

    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))  # a kernel's own folder is not the project's
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3", resources=resources).execute()
    found = json.loads((tmp_path / "first-steps" / "measured.json").read_text())["metrics"]
    assert found["l1"]["value"] < 0.8 * found["l1_nothing"]["value"]
    pictures = [out for cell in notebook.cells for out in cell.get("outputs", []) if "image/png" in out.get("data", {})]
    assert len(pictures) == 3


def test_first_steps_hold_small_outputs_without_this_machines_paths() -> None:
    text = NOTEBOOK.read_text()
    assert len(text) < 200_000
    outputs = json.dumps([cell.get("outputs", []) for cell in json.loads(text)["cells"]])
    assert not [place for place in ("/tmp/", "/home/", "/root/", "/work/") if place in outputs]
