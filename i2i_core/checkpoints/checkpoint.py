"""Write and read checkpoints: everything a run needs to go on, and everything `translate` needs to make images.

config.json           the run's configuration: rebuilds the method
networks.safetensors  networks as `G.*`, averaged generators as `ema.G.*`; a tensor that several names share is stored
                      once, and the header's `aliases` lists the other names. For networks with batch norm, the header's
                      `norm_batches` says how many images shared a normalisation in training. `stage` is the stage of
                      the last update, where that is not the first
state.pt              optimisers, histories and progress (read with weights_only=True)
metrics.json          the last measured metrics
i2i.json              of a generator that share.py wrote, which has no state.pt and fewer networks: where it comes
                      from
checksums.json        sha256 of the others, written last: without it a folder is not a checkpoint
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from i2i_core import strict
from i2i_core.checkpoints.fitting import compare
from i2i_core.checkpoints.host_memory import HostMemory
from i2i_core.checkpoints.norm_batches import NormBatches, norm_batches_of_a_run
from i2i_core.config.run import TrainConfig
from i2i_core.errors import CheckpointError, ConfigError
from i2i_core.methods import at_test
from i2i_core.methods.base import Method
from i2i_core.runs.folder import CheckpointFolder as Names
from i2i_core.runs.folder import RunFolder, images_of, name_at
from i2i_core.settings import MOST_SHOWN
from i2i_core.storage.folder import Folder
from i2i_core.storage.paths import sha256
from i2i_core.tensors import loaded, tensors_of

logger = logging.getLogger(__name__)

ANOTHER = "Use another checkpoint of the run."
AGAIN = "Pull it again, or use another."
MOST_ABOUT = 1 << 20
"""Bytes of i2i.json."""
COPY = " Or put the config.json of the run's last checkpoint in its place, and run the same command again."
MOST_CHECKSUMS = 1 << 16
"""Bytes of a checkpoint's list of checksums."""
PUT_BACK = (
    "it was removed, replaced or unmounted. Put it back, and run the same command to go on from its last checkpoint"
)


@dataclass(frozen=True)
class Snapshot:
    """Hold a run's state at one moment, copied to the host: nothing in it changes while it is being written.

    Attributes:
        memory: host memory that holds the tensors; copies from a GPU may still be under way in it. None: all tensors
            are whole.
    """

    images: int
    config: TrainConfig
    tensors: dict[str, Tensor]
    aliases: dict[str, str]
    state: dict[str, Any]
    metrics: dict[str, float]
    norm_batches: NormBatches = field(default_factory=dict)
    stage: int = 0
    memory: HostMemory | None = None

    @property
    def name(self) -> str:
        """Name the checkpoint that is written of this snapshot."""
        return name_at(self.images)


def named_tensors(
    networks: nn.ModuleDict, ema: nn.ModuleDict | None, memory: HostMemory | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Copy every parameter and buffer to the host, by name; return also `other name -> name` of shared tensors.

    Args:
        memory: host memory to copy into; None: a new one.
    """
    memory = memory or HostMemory()
    named = dict(networks.state_dict(keep_vars=True))
    named |= {f"ema.{name}": tensor for name, tensor in ema.state_dict(keep_vars=True).items()} if ema else {}
    first: dict[int, str] = {}
    tensors, aliases = {}, {}
    for name, tensor in named.items():
        owner = first.setdefault(id(tensor), name)
        if owner == name:
            tensors[name] = memory.copy(tensor, f"networks/{name}", contiguous=True)
        else:
            aliases[name] = owner
    return tensors, aliases


def networks_bytes(snapshot: Snapshot) -> bytes:
    """Write the networks of a snapshot as safetensors; the same networks always give the same bytes."""
    metadata = {"aliases": json.dumps(snapshot.aliases)}
    if snapshot.norm_batches:
        metadata["norm_batches"] = json.dumps(snapshot.norm_batches)
    if snapshot.stage:
        metadata["stage"] = json.dumps(snapshot.stage)
    return _with_sorted_metadata(safetensors_bytes(snapshot.tensors, metadata))


def _with_sorted_metadata(data: bytes) -> bytes:
    """Sort the metadata of a safetensors file, which the library writes in an order that differs each time."""
    header = _header(data)
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the tensors behind it begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + data[8 + int.from_bytes(data[:8], "little") :]


def _header(data: bytes) -> dict[str, Any]:
    """Read the header of a safetensors file: its length, JSON, then the tensors."""
    return dict(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]))


def metrics_bytes(snapshot: Snapshot) -> bytes:
    """Write the metrics of a snapshot as JSON."""
    return (json.dumps(snapshot.metrics, indent=1) + "\n").encode()


def shared_networks(method: Method[Any]) -> nn.ModuleDict:
    """Choose the networks that images are made with, or codes read: those that move together with a generator."""
    players = [player.networks for player in method.players.values() if {*player.networks} & {*method.generators}]
    names = {*method.generators, *(name for networks in players for name in networks)}
    return nn.ModuleDict({name: network for name, network in method.networks.items() if name in names})


def write(run: RunFolder, snapshot: Snapshot, check: Callable[[], None] = lambda: None) -> None:
    """Write a checkpoint; its checksums come last, and make it valid.

    Args:
        check: called before the checksums are written; may raise to prevent that.
    """
    if snapshot.memory:
        snapshot.memory.wait()
    run.remove_checkpoint(snapshot.name)  # a damaged checkpoint, or a half one, which this one replaces
    state = io.BytesIO()
    torch.save(snapshot.state, state)
    files = {
        Names.CONFIG: snapshot.config.dumps().encode(),
        Names.NETWORKS: networks_bytes(snapshot),
        Names.STATE: state.getvalue(),
        Names.METRICS: metrics_bytes(snapshot),
    }
    for file, data in files.items():
        run.write(run.in_checkpoint(snapshot.name, file), data)
    check()
    sums = {file: sha256(data) for file, data in files.items()}
    run.write_json(run.in_checkpoint(snapshot.name, Names.CHECKSUMS), sums)


@dataclass(frozen=True)
class Origin:
    """Name weights that a run began with, which others trained, and their licence; empty: it is not known."""

    name: str
    licence: str = ""


@dataclass(frozen=True)
class About:
    """Say where a shared generator comes from.

    Attributes:
        format: version of the file.
        program: program that wrote it.
        trained_by: program that trained the generator last; empty where its run does not say.
        method, preset, run: what was trained.
        images: that the run had seen.
        checkpoint: checksum of the checkpoint that it was taken from.
        licence: of its weights; empty where nobody stated one.
        began_with: weights of others that the run began with.
    """

    format: int
    program: str
    trained_by: str
    method: str
    preset: str
    run: str
    images: int
    checkpoint: str
    licence: str = ""
    began_with: tuple[Origin, ...] = ()


ABOUT_FORMAT = 1


@dataclass(frozen=True)
class Saved:
    """Hold a checkpoint's files in memory, verified against their checksums; storage is not read again.

    Attributes:
        url: the checkpoint's folder.
        files: the bytes of each file.
        identity: checksum of the whole checkpoint.
    """

    url: str
    files: Mapping[str, bytes]
    identity: str

    @property
    def name(self) -> str:
        """Name of the checkpoint in the run's folder."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def images(self) -> int:
        """Images that the run had seen when it was saved."""
        return about.images if (about := self.about) else images_of(self.url)

    @property
    def about(self) -> About | None:
        """Read where a shared generator comes from; None for a checkpoint of a run. Raises CheckpointError."""
        if Names.ABOUT not in self.files:
            return None
        data, where = self.files[Names.ABOUT], self.at(Names.ABOUT)
        about: About = strict.read(data, About, where, AGAIN, CheckpointError, most=MOST_ABOUT)
        if about.format != ABOUT_FORMAT or about.images < 0:
            found = f"format {about.format}, after {about.images:,} images"
            raise CheckpointError(where, found, f"format {ABOUT_FORMAT}, after 0 images or more", AGAIN)
        return about

    def at(self, name: str) -> str:
        """Name a file by its full URL, for messages."""
        return f"{self.url}/{name}"

    def config(self) -> TrainConfig:
        """Parse the run's configuration. Raises CheckpointError when it cannot be used."""
        return _parse_config(self.files[Names.CONFIG], self.at(Names.CONFIG))

    @property
    def stage(self) -> int:
        """Number of the stage of the run's last update, from 0 on; assumes that `networks` could read the file."""
        stage: int = _read_header(self.files[Names.NETWORKS], self.at(Names.NETWORKS), "stage", int) or 0
        if not 0 <= stage < len(self.config().training.parsed_stages or (None,)):
            raise CheckpointError(self.at(Names.NETWORKS), f"stage {stage}", "a stage of its configuration", ANOTHER)
        return stage

    def metrics(self) -> dict[str, float]:
        """Parse the last measured metrics. Raises CheckpointError when they cannot be read."""
        metrics: dict[str, float] = strict.read(
            self.files[Names.METRICS], dict[str, float], self.at(Names.METRICS), ANOTHER, CheckpointError, finite=False
        )
        return metrics

    def state(self) -> dict[str, Any]:
        """Parse state.pt without executing anything in it. Raises CheckpointError when that fails."""
        where, expected = self.at(Names.STATE), "the state of a run"
        if Names.STATE not in self.files:
            fix = "Start a new run from it: train.py --init-from."
            raise CheckpointError(self.url, "a generator that was shared", "a checkpoint that a run goes on from", fix)
        try:
            state = loaded(self.files[Names.STATE])
        except ValueError as error:
            raise CheckpointError(where, str(error), expected, ANOTHER) from None
        if not isinstance(state, dict):
            raise CheckpointError(where, f"a {type(state).__name__}", expected, ANOTHER)
        return state

    def networks(self) -> tuple[dict[str, Tensor], dict[str, Tensor], NormBatches | None]:
        """Parse the networks' tensors by name, the averaged generators' tensors by the same names, and how many images
        shared a normalisation (None: the checkpoint does not say).

        Raises:
            CheckpointError: they cannot be read.
        """
        data, where = self.files[Names.NETWORKS], self.at(Names.NETWORKS)
        tensors = _read_tensors(data, where)
        trained = {name: tensor for name, tensor in tensors.items() if not name.startswith("ema.")}
        moving = {name.removeprefix("ema."): tensor for name, tensor in tensors.items() if name.startswith("ema.")}
        return trained, moving, _read_norm_batches(data, where)

    def fill(self, method: Method[Any], ema: nn.ModuleDict | None, *, averaged: bool = False) -> NormBatches:
        """Fill the method's networks and, where given, the averaged generators.

        Args:
            averaged: fill the method's generators from the averaged ones, where the checkpoint has them.

        Returns:
            How many images shared a normalisation. An earlier version of this program did not save it: then the
            value follows from the configuration with the fewest workers that it allows. Empty for networks without
            batch norm.

        Raises:
            CheckpointError: names or shapes are not this method's.
        """
        path = self.at(Names.NETWORKS)
        trained, moving, together = self.networks()
        networks = method.networks if Names.STATE in self.files else shared_networks(method)
        _fill(networks, {**trained, **moving} if averaged else trained, path)
        if ema is not None:
            names = ema.state_dict()
            _fill(ema, moving or {name: tensor for name, tensor in trained.items() if name in names}, path)
        if together is not None or not at_test.has_batch_norm(method.makers):
            return together or {}
        config = self.config()
        return norm_batches_of_a_run(config, self.images, config.launch.worker_range[0])


def read(folder: Folder) -> Saved:
    """Read a checkpoint, each file once, and verify its checksums.

    Raises:
        CheckpointError: a file is missing, or differs from what was written.
    """
    try:
        data = folder.read(Names.CHECKSUMS)
    except FileNotFoundError:
        found, instead = f"no {Names.CHECKSUMS}", "Name a checkpoint folder, or a run."
        raise CheckpointError(folder.url, found, "a whole checkpoint", instead) from None
    where = folder.at(Names.CHECKSUMS)
    sums = strict.read(data, dict[str, str], where, ANOTHER, CheckpointError, most=MOST_CHECKSUMS)
    names = Names.SHARED if Names.ABOUT in sums else Names.FILES
    if not sums.keys() >= set(names):
        expected = f"the checksums of {', '.join(names)}"
        raise CheckpointError(where, "something else than was written", expected, ANOTHER)
    files = {}
    for name in names:  # a name in the checksums opens no other file
        try:
            files[name] = folder.read(name)
        except FileNotFoundError:
            raise CheckpointError(folder.at(name), "no such file", "the file it was saved with", ANOTHER) from None
        if sha256(files[name]) != sums[name]:
            what = "other bytes than were written"
            raise CheckpointError(folder.at(name), what, "the file it was saved with", ANOTHER)
    return Saved(folder.url, files, sha256(data))


def latest(run: RunFolder) -> Saved | None:
    """Read the newest valid checkpoint, with a warning for each newer damaged one; None where none is valid."""
    for name in reversed(run.whole_checkpoints()):
        try:
            return read(run.checkpoint(name))
        except CheckpointError as error:
            logger.warning(f"{error}\n  Going back to the checkpoint before it.")
    return None


def _read_header(data: bytes, where: str, key: str, hint: Any) -> Any:
    """Read a JSON value from the safetensors header of a file that `tensors_of` could read; None where the key is not
    there."""
    text = _header(data).get("__metadata__", {}).get(key)
    return None if text is None else strict.read(text, hint, f"{where}: {key}", ANOTHER, CheckpointError)


def _read_tensors(data: bytes, where: str) -> dict[str, Tensor]:
    expected = "the networks of a checkpoint"
    try:
        tensors = tensors_of(data)
    except ValueError as error:
        raise CheckpointError(where, str(error), expected, "Name another checkpoint.") from None
    aliases: dict[str, str] = _read_header(data, where, "aliases", dict[str, str]) or {}
    if lost := [owner for owner in aliases.values() if owner not in tensors]:
        raise CheckpointError(where, f"no tensor {lost[0][:MOST_SHOWN]!r}", expected, "Name another checkpoint.")
    tensors |= {name: tensors[owner] for name, owner in aliases.items()}
    return dict(sorted(tensors.items()))  # safetensors gives them in another order each time


def _read_norm_batches(data: bytes, where: str) -> NormBatches | None:
    found: dict[str, int] | None = _read_header(data, where, "norm_batches", dict[str, int])
    if found is None:
        return None
    if not all(size.isdecimal() and int(size) > 0 < images for size, images in found.items()):
        expected = "how many images shared a normalisation, by number"
        raise CheckpointError(where, f"norm_batches {str(found)[:MOST_SHOWN]}", expected, "Name another checkpoint.")
    return {int(size): images for size, images in found.items()}


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
    """Read the configuration of a run. Raises CheckpointError when it cannot be used."""
    instead = "" if isinstance(folder, Names) else COPY
    return _parse_config(folder.read(RunFolder.CONFIG), folder.at(RunFolder.CONFIG), instead)


def _parse_config(data: bytes, path: str, instead: str = "") -> TrainConfig:
    try:
        return TrainConfig.loads(data, path)
    except ConfigError as error:
        raise CheckpointError(error.where, error.found, error.expected, error.fix + instead) from None
