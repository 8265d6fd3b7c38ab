"""A newcomer copies the template, adds one line, and has a method: it trains, resumes, translates and is measured.

pytest tests/integration/test_template.py
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import json, sys, torch
from i2i_core.config.run import TrainConfig
from i2i_core.training.preparing import prepare
from i2i_core.checkpoints.trained import load_trained
from i2i_core.training.loop import Loop
from i2i_core.training.sync import World
from i2i_core import logs

torch.set_num_threads(1)
data, storage = sys.argv[1:]
values = {"data.uri": data, "launch.storage": storage, "launch.name": "run", "training.images": 64,
          "hyper.image_size": 16, "hyper.base": 4, "hyper.blocks": 1, "hyper.d_layers": 1}
config = prepare(TrainConfig.of("mygan", "demo", values))
logs.show()
metrics = Loop(config, World(), torch.device("cpu")).train()
Loop(config, World(), torch.device("cpu"))
method = load_trained(f"{storage}/run", torch.device("cpu")).method
shape = list(method.image_from(torch.zeros(2, 3, 16, 16)).shape)
print(json.dumps({"metrics": metrics, "shape": shape, "made_by": type(method).__name__}))
"""


@pytest.mark.slow
@pytest.mark.processes
def test_template_copied_with_one_line_is_a_method(paired: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "i2i_core", tree / "i2i_core", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "pipelines", tree / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    configs = tree / "i2i_core" / "config" / "methods"
    for folder in (configs, tree / "i2i_core" / "methods"):  # what the guide's sed does
        text = (folder / "template.py").read_text()
        (folder / "mygan.py").write_text(text.replace("template", "mygan").replace("Template", "MyGAN"))
        (folder / "template.py").unlink()
    init = configs / "__init__.py"
    before = init.read_text()
    init.write_text(before.replace("    pix2pix,\n", "    mygan,\n    pix2pix,\n", 1))
    assert init.read_text() != before

    python = [sys.executable]
    env = {**os.environ, "PYTHONPATH": str(tree)}
    helped = subprocess.run(
        [*python, "pipelines/train.py", "--method", "mygan", "--help"],
        cwd=tree,
        env=env,
        capture_output=True,
        text=True,
    )
    assert helped.returncode == 0, helped.stderr
    assert "--lambda-l1" in helped.stdout
    done = subprocess.run(
        [*python, "-c", SCRIPT, paired, str(tmp_path / "runs")], cwd=tree, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["shape"] == [2, 3, 16, 16]
    assert found["metrics"]["l1"] > 0
    assert found["made_by"] == "MyGAN"
    assert "resumed from" in done.stdout


def rows_by_method(path: Path) -> bool:
    """Whether a file has a table with a row for every method: by its name, or by its name and a preset's."""
    from i2i_core.methods import METHODS

    for node in ast.walk(ast.parse(path.read_text())):
        keys = [key.elts[0] if isinstance(key, ast.Tuple) else key for key in getattr(node, "keys", [])]
        if METHODS.keys() <= {key.value for key in keys if isinstance(key, ast.Constant)}:
            return True
    return False


def test_guide_names_every_file_that_has_a_row_for_each_method() -> None:
    guide = (ROOT / "docs" / "adding_a_method.md").read_text()
    found = [p for place in ("i2i_core", "pipelines", "tests", "tune_spaces") for p in (ROOT / place).rglob("*.py")]
    tables = {str(path.relative_to(ROOT)) for path in found if rows_by_method(path)}
    assert {"pipelines/demo.py", "tests/support/table.py"} <= tables
    assert [path for path in sorted(tables) if f"`{path}`" not in guide] == []


def test_template_is_no_method_of_the_project() -> None:
    from i2i_core.methods import METHODS

    assert "template" not in METHODS
