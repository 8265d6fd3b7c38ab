"""Checkpoints: everything a run needs to go on, and everything `translate` needs to make images.

config.json           the run's configuration: rebuilds the method
networks.safetensors  networks as `G.*`, averaged generators as `ema.G.*`; a tensor that several names
                      share is stored once, with the other names in the header's `aliases`; of networks with batch
                      norm, the header's `norm_batches` says how many images shared a normalisation in training
state.pt              optimisers, histories and progress (read with weights_only=True)
metrics.json          the last measured metrics
checksums.json        sha256 of the others, written last: without it a folder is not a checkpoint
"""

from __future__ import annotations

import io
import json
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as safetensors_load
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from i2i_core.checkpoints.fitting import compare
from i2i_core.checkpoints.norm_batches import NormBatches, norm_batches_of_a_run
from i2i_core.config.run import TrainConfig
from i2i_core.errors import CheckpointError, ConfigError
from i2i_core.methods import at_test
from i2i_core.methods.base import Method
from i2i_core.storage.folder import Folder
from i2i_core.storage.paths import sha256
from i2i_core.tensors import host_copy

CHECKPOINTS = "checkpoints"
CHECKSUMS = "checksums.json"
BEST = "best.json"
FILES = ("config.json", "networks.safetensors", "state.pt", "metrics.json")
PUT_BACK = (
    "it was removed, replaced or unmounted. Put it back, and run the same command to go on from its last checkpoint"
)


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment, on the host: nothing in it changes while it is being written."""

    images: int
    config: TrainConfig
    tensors: dict[str, Tensor]
    aliases: dict[str, str]
    state: dict[str, Any]
    metrics: dict[str, float]
    norm_batches: NormBatches = field(default_factory=dict)


def name_at(images: int) -> str:
    return f"images-{images:012d}"


def images_of(name: str) -> int:
    return int(name.rsplit("-", 1)[-1])


def named_tensors(networks: nn.ModuleDict, ema: nn.ModuleDict | None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Host copies of every parameter and buffer by name, and `other name -> name` for shared storage."""
    named = dict(networks.state_dict(keep_vars=True))
    named |= {f"ema.{name}": tensor for name, tensor in ema.state_dict(keep_vars=True).items()} if ema else {}
    first: dict[int, str] = {}
    tensors, aliases = {}, {}
    for name, tensor in named.items():
        owner = first.setdefault(id(tensor), name)
        if owner == name:
            tensors[name] = host_copy(tensor).contiguous()
        else:
            aliases[name] = owner
    return tensors, aliases


def write(run: Folder, snapshot: Snapshot, check: Callable[[], None] = lambda: None) -> None:
    """Writes a checkpoint; it counts from the moment its checksums are there.

    Args:
        check: called before they are; raises if they are not to be.
    """
    folder = f"{CHECKPOINTS}/{name_at(snapshot.images)}"
    run.remove(folder)  # a damaged checkpoint, or a half one, which this one replaces
    state = io.BytesIO()
    torch.save(snapshot.state, state)
    metadata = {"aliases": json.dumps(snapshot.aliases)}
    if snapshot.norm_batches:
        metadata["norm_batches"] = json.dumps(snapshot.norm_batches)
    files = {
        "config.json": snapshot.config.dumps().encode(),
        "networks.safetensors": safetensors_bytes(snapshot.tensors, metadata),
        "state.pt": state.getvalue(),
        "metrics.json": (json.dumps(snapshot.metrics, indent=1) + "\n").encode(),
    }
    for name, data in files.items():
        run.write(f"{folder}/{name}", data)
    check()
    run.write_json(f"{folder}/{CHECKSUMS}", {name: sha256(data) for name, data in files.items()})


def names(run: Folder) -> list[str]:
    """Of everything in a run that is a checkpoint or was meant to become one, oldest first."""
    return [name for name in run.names(CHECKPOINTS) if re.fullmatch(r"images-\d+", name)]


def is_whole(run: Folder, name: str) -> bool:
    """Whether everything of a checkpoint was written. What became of it since, `verify` says."""
    return run.exists(f"{CHECKPOINTS}/{name}/{CHECKSUMS}")


def complete(run: Folder) -> list[str]:
    """Names of a run's whole checkpoints, oldest first."""
    return [name for name in names(run) if is_whole(run, name)]


def read_best(run: Folder) -> dict[str, Any] | None:
    """Which of the run's checkpoints is best, by which metric; None where that is not known, or it is not there."""
    try:
        best = run.read_json(BEST)
        return best if best and is_whole(run, best["checkpoint"]) else None
    except (ValueError, TypeError, KeyError):  # not what we wrote
        return None


def discard_after(run: Folder, images: int, check: Callable[[], None] = lambda: None) -> None:
    """Removes what is later than where a run goes on from: damaged checkpoints, and halves of some.

    Args:
        check: called before each; raises if nothing is to be removed.
    """
    for name in names(run):
        if images_of(name) > images:
            check()
            run.remove(f"{CHECKPOINTS}/{name}")


def verify(folder: Folder) -> None:
    """Raises CheckpointError naming a file that is missing or other than it was written."""
    try:
        sums = folder.read_json(CHECKSUMS)
    except ValueError:
        sums = ()
    if sums is None:
        raise CheckpointError(
            folder.url, f"no {CHECKSUMS}", "a whole checkpoint", "Name a checkpoint folder, or a run."
        )
    fix = "Use another checkpoint of the run."
    if not isinstance(sums, dict) or not sums.keys() >= set(FILES):
        expected = f"the checksums of {', '.join(FILES)}"
        raise CheckpointError(folder.at(CHECKSUMS), "something else than was written", expected, fix)
    for name, expected in sums.items():
        try:
            found = sha256(folder.read(name))
        except FileNotFoundError:
            found = "no such file"
        if found != expected:
            what = found if found.startswith("no ") else "other bytes than were written"
            raise CheckpointError(folder.at(name), what, "the file it was saved with", fix)


def latest(run: Folder, say: Callable[[str], None] = print) -> str | None:
    """The newest checkpoint that is whole and unaltered; older ones are tried when it is not, aloud."""
    for name in reversed(complete(run)):
        try:
            verify(run.sub(f"{CHECKPOINTS}/{name}"))
        except CheckpointError as error:
            say(f"WARNING: {error}\n  Going back to the checkpoint before it.")
        else:
            return name
    return None


def load_networks(
    folder: Folder, method: Method[Any], ema: nn.ModuleDict | None, *, averaged: bool = False
) -> NormBatches | None:
    """Fills the method's networks and, where given, the averaged generators.

    Args:
        averaged: fill the method's generators from the averaged ones, where the checkpoint has them.

    Returns:
        How many images shared a normalisation; None: the checkpoint does not say (older ones, no batch norm).

    Raises:
        CheckpointError: names or shapes are not this method's.
    """
    path = folder.at("networks.safetensors")
    trained, moving, together = read_networks(folder)
    _fill(method.networks, {**trained, **moving} if averaged else trained, path)
    if ema is not None:
        names = ema.state_dict()
        _fill(ema, moving or {name: tensor for name, tensor in trained.items() if name in names}, path)
    return together


def read_networks(folder: Folder) -> tuple[dict[str, Tensor], dict[str, Tensor], NormBatches | None]:
    """Read the tensors of the networks by name, those of the averaged generators by the same names, and how many
    images shared a normalisation (None: the checkpoint does not say).

    Raises:
        CheckpointError: they cannot be read.
    """
    path = folder.at("networks.safetensors")
    try:
        data = folder.read("networks.safetensors")
        tensors = _read_tensors(data)
    except (FileNotFoundError, ValueError, SafetensorError) as error:
        raise CheckpointError(path, str(error), "the networks of a checkpoint", "Name another checkpoint.") from None
    trained = {name: tensor for name, tensor in tensors.items() if not name.startswith("ema.")}
    moving = {name.removeprefix("ema."): tensor for name, tensor in tensors.items() if name.startswith("ema.")}
    return trained, moving, _read_norm_batches(data)


def load_state(folder: Folder) -> dict[str, Any]:
    """What `state.pt` holds: optimisers, histories, images seen, moves made. Nothing in the file is executed.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(folder.read("state.pt")), map_location="cpu", weights_only=True)
    except (FileNotFoundError, RuntimeError, pickle.UnpicklingError) as error:
        fix = "Use another checkpoint of the run."
        raise CheckpointError(folder.at("state.pt"), str(error), "the state of a run", fix) from None
    return state


def _read_header(data: bytes, key: str) -> Any:
    """Read what a checkpoint's writer put into the header as JSON; None: nothing."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])  # safetensors: length, JSON header, tensors
    text = header.get("__metadata__", {}).get(key)
    return None if text is None else json.loads(text)


def _read_tensors(data: bytes) -> dict[str, Tensor]:
    aliases = _read_header(data, "aliases") or {}
    tensors: dict[str, Tensor] = safetensors_load(data)
    tensors |= {name: tensors[owner] for name, owner in aliases.items()}
    return dict(sorted(tensors.items()))  # safetensors gives them in another order each time


def _read_norm_batches(data: bytes) -> NormBatches | None:
    found = _read_header(data, "norm_batches")
    return None if found is None else {int(size): int(images) for size, images in found.items()}


def norm_batches_in(folder: Folder, method: Method[Any], saved: NormBatches | None, images: int) -> NormBatches:
    """Give how many images shared a normalisation: as the checkpoint says or, of one by an earlier program, as its
    configuration has it with the fewest workers that it allows; nothing for networks without batch norm."""
    if saved is not None or not at_test.has_batch_norm(method.makers):
        return saved or {}
    config = read_config(folder)
    return norm_batches_of_a_run(config, images, config.launch.worker_range[0])


def _fill(module: nn.Module, tensors: dict[str, Tensor], path: str) -> None:
    try:
        # A method built without memory (the driver's check) takes the tensors as they are.
        module.load_state_dict(tensors, assign=any(p.is_meta for p in module.parameters()))
    except RuntimeError:
        here, saved = (
            [*dict.fromkeys(name.partition(".")[0] for name in each)] for each in (module.state_dict(), tensors)
        )
        found = "networks that are not this run's:" + "".join(
            f"\n    {line}" for line in compare(tensors, module).lines(here, saved)
        )
        fix = "Use a checkpoint of the same method, sizes and channels."
        raise CheckpointError(path, found, "the networks of this method and configuration", fix) from None


def read_config(folder: Folder) -> TrainConfig:
    """The configuration in a run or checkpoint. Raises CheckpointError when it cannot be used."""
    try:
        return TrainConfig.loads(folder.read("config.json").decode(), folder.at("config.json"))
    except ConfigError as error:
        raise CheckpointError(error.where, error.found, error.expected, error.fix) from None
