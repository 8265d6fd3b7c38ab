"""Programs answer at once where there is nothing to do: help and wrong flags load nothing heavy.

pytest tests/integration/test_start_up.py
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "torchvision", "ray", "webdataset", "optuna", "scipy", "pandas", "matplotlib", "pyarrow", "s3fs")
RUN = f"""
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("heavy:", [name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""
ANSWERS = {
    "train.py --help": (0, "stargan: paper, reference, demo"),
    "train.py --method stargan --preset demo --help": (0, "--lambda-rec FLOAT"),
    "train.py --help-all": (0, "--cache-gb FLOAT"),
    "train.py --method stargan --lambda-rce 1": (2, "--lambda-rec"),
    "train.py --method stargan --lambda-rec -1": (2, "--lambda-rec: found -1.0"),
    "train.py --method stragan": (2, "Did you mean stargan"),
    "train.py": (2, "--method: found nothing"),
    "tune.py --help": (0, "--samples INT"),
    "tune.py --help-all": (0, "--reduction FLOAT"),
    "tune.py --method unit --help-all": (0, "--lambda-kl FLOAT"),
    "tune.py --method unit --sampels 3": (2, "--samples"),
    "shard.py --help": (0, "--layout {none,ab,"),
    "shard.py --size 1": (2, "--size: found 1"),
    "translate.py --help": (0, "--test-norm {auto,image,running}"),
    "translate.py": (2, "checkpoint: found nothing"),
    "evaluate.py --help-all": (0, "--kid-subsets INT"),
    "evaluate.py runs/x": (2, "--data: found nothing"),
    "generate.py --help": (0, "--walk {none,line,circle}"),
    "generate.py": (2, "checkpoint: found nothing"),
    "generate.py runs/x --out x.png --columns 1 --walk line": (2, "--columns: found 1"),
    "export.py --help": (0, "--to {onnx,torch}"),
    "export.py": (2, "checkpoint: found nothing"),
    "report.py --help": (0, "--out"),
    "report.py": (2, "RUN: found nothing"),
    "share.py": (2, "share.py: found nothing"),
    "share.py --help": (0, "share.py pull"),
    "share.py push": (2, "CHECKPOINT: found nothing"),
    "share.py push --help": (0, "--licence STR"),
    "share.py push runs/x": (2, "REPO: found nothing"),
    "share.py pull": (2, "REPO: found nothing"),
    "share.py pull --help": (0, "--revision STR"),
    "study.py": (2, "study.py: found nothing"),
    "study.py --help": (0, "study.py read"),
    "study.py make": (2, "RUN: found nothing"),
    "study.py make --help": (0, "--mode {real,preference}"),
    "study.py make runs/x --out x.html --trials 0": (2, "--trials: found 0"),
    "study.py read": (2, "FILE: found nothing"),
    "study.py read --help": (0, "--late-ms FLOAT"),
    "serve.py --help": (0, "--most-pixels INT"),
    "serve.py": (2, "RUN: found nothing"),
    "serve.py runs/x --host example.org": (2, "--host: found 'example.org'"),
    "serve.py runs/x --most-held-mib 1": (2, "--most-held-mib: found 1"),
    "runs.py --help": (0, "--sort {name,"),
    "runs.py nowhere": (2, "STORAGE: found nowhere, which is empty or not there"),
    "runs.py prune": (2, "STORAGE: found nothing"),
    "runs.py prune --help": (0, "--keep-last INT"),
    "runs.py prune runs --keep-last 0": (2, "--keep-last: found 0"),
}


@pytest.mark.processes
@pytest.mark.parametrize("command", ANSWERS)
def test_program_answers_without_loading_what_is_heavy(command: str) -> None:
    code, said = ANSWERS[command]
    program = [sys.executable, "-c", RUN, *shlex.split(f"{ROOT}/pipelines/{command}")]
    done = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "heavy: []" in done.stderr


@pytest.mark.processes
@pytest.mark.parametrize("program", sorted({command.split(".")[0] for command in ANSWERS} | {"demo"}))
def test_program_names_the_missing_environment(program: str) -> None:
    """`-S -E` is a Python without the project's packages, as another than that of `make setup` is."""
    command = [sys.executable, "-S", "-E", f"{ROOT}/pipelines/{program}.py", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: No module named ")
    assert "source .venv/bin/activate" in done.stderr
