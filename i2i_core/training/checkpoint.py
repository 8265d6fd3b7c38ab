"""Checkpoints: everything a run needs to go on, and everything `translate` needs to make images.

config.json           the run's configuration: rebuilds the method
networks.safetensors  networks as `G.*`, averaged generators as `ema.G.*`; a tensor that several names
                      share is stored once, with the other names in the header's `aliases`
state.pt              optimisers, histories and progress (read with weights_only=True)
metrics.json          the last measured metrics
checksums.json        sha256 of the others, written last: without it a folder is not a checkpoint
"""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import dataclass
from threading import Thread
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as safetensors_load
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from i2i_core.config import TrainConfig
from i2i_core.data.manifest import sha256
from i2i_core.errors import CheckpointError, ConfigError
from i2i_core.methods import build_from
from i2i_core.methods.base import Method
from i2i_core.storage import Folder
from i2i_core.training.sync import host_copy

CHECKPOINTS = "checkpoints"
CHECKSUMS = "checksums.json"
BEST = "best.json"


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment, on the host: nothing in it changes while it is being written."""

    images: int
    config: TrainConfig
    tensors: dict[str, Tensor]
    aliases: dict[str, str]
    state: dict[str, Any]
    metrics: dict[str, float]


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


def write(run: Folder, snapshot: Snapshot) -> None:
    """Writes a checkpoint; it counts from the moment its checksums are there."""
    folder = f"{CHECKPOINTS}/{name_at(snapshot.images)}"
    state = io.BytesIO()
    torch.save(snapshot.state, state)
    metadata = {"aliases": json.dumps(snapshot.aliases)}
    files = {
        "config.json": snapshot.config.dumps().encode(),
        "networks.safetensors": safetensors_bytes(snapshot.tensors, metadata),
        "state.pt": state.getvalue(),
        "metrics.json": (json.dumps(snapshot.metrics, indent=1) + "\n").encode(),
    }
    for name, data in files.items():
        run.write(f"{folder}/{name}", data)
    run.write_json(f"{folder}/{CHECKSUMS}", {name: sha256(data) for name, data in files.items()})


class Writer:
    """Writes checkpoints in a thread, one at a time, and prunes what is no longer kept."""

    def __init__(self, run: Folder, keep_last: int) -> None:
        self.run, self.keep_last = run, keep_last
        self.thread: Thread | None = None
        self.error: BaseException | None = None

    def put(self, snapshot: Snapshot, best: dict[str, Any] | None) -> None:
        """Starts writing; waits first for the checkpoint before. `best` is written with it."""
        self.wait()
        self.thread = Thread(target=self._write, args=(snapshot, best), name="checkpoint")
        self.thread.start()

    def _write(self, snapshot: Snapshot, best: dict[str, Any] | None) -> None:
        try:
            write(self.run, snapshot)
            if best:
                self.run.write_json(BEST, best)
            self._prune()
        except BaseException as error:  # raised in the training thread by wait()
            self.error = error

    def _prune(self) -> None:
        best = self.run.read_json(BEST)
        keep = {best["checkpoint"]} if best else set()
        whole = complete(self.run)
        keep |= set(whole[-self.keep_last :])
        for name in self.run.names(CHECKPOINTS):
            if name not in keep and (name in whole or images_of(name) < images_of(whole[-1])):
                self.run.remove(f"{CHECKPOINTS}/{name}")

    def wait(self) -> None:
        """Until what was put is written. Raises what went wrong while it was."""
        if self.thread:
            self.thread.join()
            self.thread = None
        if self.error:
            error, self.error = self.error, None
            raise error


def complete(run: Folder) -> list[str]:
    """Names of a run's whole checkpoints, oldest first."""
    names = [n for n in run.names(CHECKPOINTS) if n.startswith("images-")]
    return [n for n in names if run.exists(f"{CHECKPOINTS}/{n}/{CHECKSUMS}")]


def verify(folder: Folder) -> None:
    """Raises CheckpointError naming a file that is missing or other than it was written."""
    sums = folder.read_json(CHECKSUMS)
    if sums is None:
        raise CheckpointError(
            folder.url, f"no {CHECKSUMS}", "a whole checkpoint", "Name a checkpoint folder, or a run."
        )
    for name, expected in sums.items():
        try:
            found = sha256(folder.read(name))
        except FileNotFoundError:
            found = "no such file"
        if found != expected:
            what = found if found.startswith("no ") else "other bytes than were written"
            raise CheckpointError(
                folder.at(name), what, "the file it was saved with", "Use another checkpoint of the run."
            )


def latest(run: Folder) -> str | None:
    """The newest checkpoint that is whole and unaltered; older ones are tried when it is not, aloud."""
    for name in reversed(complete(run)):
        try:
            verify(run.sub(f"{CHECKPOINTS}/{name}"))
        except CheckpointError as error:
            print(f"WARNING: {error}\n  Going back to the checkpoint before it.", flush=True)
        else:
            return name
    return None


def load_networks(folder: Folder, method: Method[Any], ema: nn.ModuleDict | None, *, averaged: bool = False) -> None:
    """Fills the method's networks and, where given, the averaged generators.

    Args:
        averaged: fill the method's generators from the averaged ones, where the checkpoint has them.

    Raises:
        CheckpointError: names or shapes are not this method's.
    """
    path = folder.at("networks.safetensors")
    try:
        tensors = _read_tensors(folder.read("networks.safetensors"))
    except (FileNotFoundError, ValueError, SafetensorError) as error:
        raise CheckpointError(path, str(error), "the networks of a checkpoint", "Name another checkpoint.") from None
    trained = {name: tensor for name, tensor in tensors.items() if not name.startswith("ema.")}
    moving = {name.removeprefix("ema."): tensor for name, tensor in tensors.items() if name.startswith("ema.")}
    _fill(method.networks, {**trained, **moving} if averaged else trained, path)
    if ema is not None:
        names = ema.state_dict()
        _fill(ema, moving or {name: tensor for name, tensor in trained.items() if name in names}, path)


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


def _read_tensors(data: bytes) -> dict[str, Tensor]:
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])  # safetensors: length, JSON header, tensors
    aliases = json.loads(header.get("__metadata__", {}).get("aliases", "{}"))
    tensors: dict[str, Tensor] = safetensors_load(data)
    return tensors | {name: tensors[owner] for name, owner in aliases.items()}


def _fill(module: nn.Module, tensors: dict[str, Tensor], path: str) -> None:
    try:
        # A method built without memory (the driver's check) takes the tensors as they are.
        module.load_state_dict(tensors, assign=any(p.is_meta for p in module.parameters()))
    except RuntimeError as error:
        raise CheckpointError(
            path,
            str(error).split("\n", 2)[1].strip(),
            "the networks of this method and configuration",
            "Use a checkpoint of the same method, sizes and channels.",
        ) from None


@dataclass(frozen=True)
class Trained:
    """A method as a checkpoint left it, ready to make images: averaged generators where it has them."""

    method: Method[Any]
    config: TrainConfig
    images: int
    url: str


def find(uri: str) -> Folder:
    """The checkpoint that a user means: the folder itself, or a run's best, else its latest.

    Raises:
        CheckpointError: there is none.
    """
    folder = Folder(uri)
    if folder.exists(CHECKSUMS):
        return folder
    best, whole = folder.read_json(BEST), complete(folder)
    if not whole:
        found = "a folder without checkpoints" if folder.exists("") else "nothing at that place"
        raise CheckpointError(uri, found, "a run, or one of its checkpoints", "Name a folder that train.py printed.")
    name = best["checkpoint"] if best and best["checkpoint"] in whole else whole[-1]
    return folder.sub(f"{CHECKPOINTS}/{name}")


def load_trained(uri: str, device: torch.device) -> Trained:
    """A checkpoint, verified, as a method on the device.

    Raises:
        CheckpointError: none there, or damaged.
    """
    folder = find(uri)
    verify(folder)
    config = read_config(folder)
    method = build_from(config.method, config.hyper)
    load_networks(folder, method, None, averaged=True)
    return Trained(method.to(device), config, images_of(folder.url), folder.url)


def read_config(folder: Folder) -> TrainConfig:
    """The configuration in a run or checkpoint. Raises CheckpointError when it cannot be used."""
    try:
        return TrainConfig.loads(folder.read("config.json").decode(), folder.at("config.json"))
    except ConfigError as error:
        raise CheckpointError(error.where, error.found, error.expected, error.fix) from None
