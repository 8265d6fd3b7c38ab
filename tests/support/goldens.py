"""Record and replay golden losses: 20 updates of every method and preset, small, in float64, on made-up batches.

python -m tests.support.goldens                      records those that are missing
python -m tests.support.goldens stargan-reference    records one again, after a change that is meant

A golden is a text file, `tests/goldens/METHOD-PRESET.json`: the loss of every move, and for each network a sum of its
weights times fixed coefficients, so that a weight that moves to another place changes it. No stream and no loop take
part. A preset keeps all that decides its numbers (terms, weights of terms, orders of moves, dropout, norms, schedule,
averaging); only its sizes are cut down.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from i2i_core.batch import Batch
from i2i_core.config.training import TrainingConfig
from i2i_core.methods import METHODS, build_method
from i2i_core.methods.base import Method, Move, Progress
from i2i_core.training.schedule import lr_factor
from i2i_core.training.step import Step
from i2i_core.training.sync import World

from .methods import whole_batch
from .table import TABLE

FOLDER = Path(__file__).parents[1] / "goldens"
UPDATES, BATCH, PER_EPOCH = 20, 5, 20
SIZES = {name: row.golden for name, row in TABLE.items()}
OF_PRESETS: dict[str, dict[str, Any]] = {
    "simgan-paper_hands": {"image_size": 64},
    "dcgan-wgan": {"burst": 7, "burst_until": 2, "burst_every": 9},
    "dcgan-wgan_reference": {"burst": 7, "burst_until": 2, "burst_every": 9},
    "simgan-reference": {"k_g": 5},
    "cogan-digits": {"image_size": 28, "in_channels": 1, "out_channels": 1, "z_dim": 100},
    # a U-Net of fewer downs has no up-block with dropout after the innermost
    **{f"{method}-reference": {"image_size": 64} for method in ("bicyclegan", "cvae_gan", "clr_gan", "pix2pix_noise")},
}
"""Sizes of a preset that needs others than its method's."""
TWO_SETS = {"image_size": 16, "c_dim": 5, "sizes": (2, 3), "kinds": ("attributes", "classes")}


def cases() -> dict[str, tuple[str, str, dict[str, Any]]]:
    """List every golden by name: method, preset, hyper-parameters over the preset's."""
    found = {
        f"{method}-{preset}": (method, preset, {**SIZES[method], **OF_PRESETS.get(f"{method}-{preset}", {})})
        for method, entry in METHODS.items()
        for preset in entry.presets
    }
    for preset in ("paper", "reference"):
        found[f"stargan-{preset}-two_sets"] = ("stargan", preset, {**SIZES["stargan"], **TWO_SETS})
    return found


def play(method: str, preset: str, hyper: dict[str, Any]) -> dict[str, Any]:
    """Make the updates.

    Returns:
        `losses`: a list per update of [player, loss] in the order of the moves; `networks`: name -> sum of weights.
    """
    made = build_method(method, preset, seed=1, **hyper).double()
    made.attach()
    own = {**METHODS[method].presets[preset].section("training"), "batch": BATCH, "images": 12 * PER_EPOCH}
    own.pop("epochs", None)  # one length, not both
    training = TrainingConfig(**{**own, "lr_step": 2 * PER_EPOCH})
    step = Step(made, training, World(), lambda images: lr_factor(training, images, PER_EPOCH))
    losses: list[list[Any]] = []
    made.update = noted(made, losses)  # type: ignore[method-assign]
    progress, feed = Progress(), whole_batches(made)
    updates = []
    for _ in range(UPDATES):
        before = len(losses)
        step(feed, progress)
        updates.append(losses[before:])
    step.watch.settle()
    networks = {name: network.state_dict() for name, network in made.networks.items()}
    networks |= {f"ema.{name}": network.state_dict() for name, network in (step.ema or {}).items()}
    return {"losses": updates, "networks": {name: checksum(state) for name, state in networks.items()}}


def noted(method: Method[Any], losses: list[list[Any]]) -> Any:
    """Give the method's `update`, which also appends each move's player and loss."""
    right = method.update

    def update(batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        for player, loss, terms, *scores in right(batches, progress):
            losses.append([player, loss.item()])
            yield player, loss, terms, *scores

    return update


def whole_batches(method: Method[Any]) -> Iterator[Batch]:
    """Make up global batches, as `support.methods.batches` does, for one worker."""
    t = 0
    while True:
        yield whole_batch(method, BATCH, t).to(torch.device("cpu"), torch.float64)
        t += 1


def checksum(state: dict[str, Tensor]) -> float:
    """Sum all values of a network, each times cos of its place."""
    flat = torch.cat([value.double().flatten() for value in state.values()])
    return float((flat * torch.cos(torch.arange(len(flat), dtype=torch.float64))).sum())


def path_of(name: str) -> Path:
    return FOLDER / f"{name}.json"


def record(name: str) -> None:
    """Write a golden, an update a line."""
    played = play(*cases()[name])
    lines = ",\n  ".join(json.dumps(update) for update in played["losses"])
    networks = json.dumps(played["networks"], indent=1)
    path_of(name).write_text(f'{{"losses": [\n  {lines}],\n"networks": {networks}}}\n')
    print(f"recorded {path_of(name).relative_to(FOLDER.parents[1])}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for asked in sys.argv[1:] or [name for name in cases() if not path_of(name).exists()]:
        record(asked)
