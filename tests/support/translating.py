"""Checkpoints of untrained networks, and images through them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from i2i_core.checkpoints import checkpoint
from i2i_core.checkpoints.checkpoint import Snapshot, named_tensors
from i2i_core.config.translation import TranslateOptions
from i2i_core.methods import build_from
from i2i_core.orchestration.translating import Translated, translate
from i2i_core.runs.folder import RunFolder

from .runs import config_of


def untrained(method: str, data: str, folder: Path, gain: float = 1, **values: object) -> str:
    """A checkpoint of networks as they begin, their weights times `gain`."""
    config = config_of(method, data, str(folder), **values)
    networks = build_from(method, config.hyper, seed=3).networks
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter.mul_(gain)
    tensors, aliases = named_tensors(networks, None)
    checkpoint.write(RunFolder(f"{folder}/run"), Snapshot(36, config, tensors, aliases, {}, {}))
    return f"{folder}/run"


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(array).save(path)


def noise(*shape: int, seed: int = 0, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def go(run: str, input: Path | str, out: Path | str, **options: object) -> Translated:
    return translate(run, TranslateOptions(input=str(input), out=str(out), **options))  # type: ignore[arg-type]


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))
