"""Write a generator as a folder that holds data alone: safetensors, JSON, a model card and pictures.

README.md             the model card
config.json           the run's configuration, without places of the machine
networks.safetensors  the networks that make images, averaged where the run averages them
metrics.json          the last measured metrics
i2i.json              where the generator comes from, and its licence
checksums.json        sha256 of the four before it
grid.png              the run's last grid up to the checkpoint
samples.png           the best, median and worst samples of the run's last evaluation
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import torch

from i2i_core.checkpoints import authors
from i2i_core.checkpoints.checkpoint import (
    ABOUT_FORMAT,
    About,
    Origin,
    Saved,
    Snapshot,
    metrics_bytes,
    named_tensors,
    networks_bytes,
    read,
    shared_networks,
)
from i2i_core.checkpoints.trained import Trained, find, of_saved
from i2i_core.config.evaluation import EvaluationConfig
from i2i_core.config.launch import LaunchConfig
from i2i_core.config.monitoring import MonitoringConfig
from i2i_core.config.run import TrainConfig
from i2i_core.errors import CheckpointError, ConfigError, UserError
from i2i_core.images.sheet import png_bytes
from i2i_core.program import program_name
from i2i_core.reporting.facts import LastEvaluation
from i2i_core.reporting.html import picture
from i2i_core.runs.folder import CheckpointFolder, RunFolder
from i2i_core.settings import MOST_SHOWN
from i2i_core.sharing.card import Measured, card
from i2i_core.storage.folder import Folder
from i2i_core.storage.paths import absolute, sha256
from i2i_core.storage.retry import StorageError

logger = logging.getLogger(__name__)

CARD, GRID, SAMPLES = "README.md", "grid.png", "samples.png"
FILES = (*CheckpointFolder.SHARED_WHOLE, CARD, GRID, SAMPLES)
"""Every file that a shared folder can have; no other is read."""
MOST_ASIDE = 16 << 20
"""Bytes of a file beside the checkpoint's own: the card, a picture."""
MOST_BEFORE = 16
"""Runs that a run began with, one with another, that are looked at."""


@dataclass(frozen=True)
class Generator:
    """Hold a generator that is to be shared.

    Attributes:
        files: by name, as they are written.
        about: where it comes from.
        parameters: numbers in its networks.
    """

    files: Mapping[str, bytes]
    about: About
    parameters: int


def generator(place: str, licence: str = "", pictures: bool = True) -> Generator:
    """Take the generator of a run's best checkpoint, else its last, or of one checkpoint.

    Args:
        place: the run, a checkpoint, or a folder that was shared.
        licence: of the weights; empty: as before, or none stated.
        pictures: put the run's pictures on the card, which show images of its data set.

    Raises:
        CheckpointError: no checkpoint is there, or it is damaged.
        ConfigError: the run began with weights of others, and nobody says under which licence; or the licence of what
            was shared before would be changed.
    """
    saved = read(find(place))
    trained = of_saved(saved, torch.device("cpu"))
    about = _about(saved, trained, licence)
    networks = shared_networks(trained.method)
    tensors, aliases = named_tensors(networks, None)
    config = without_places(trained.config)
    metrics, stage = saved.metrics(), trained.method.stage
    snapshot = Snapshot(trained.images, config, tensors, aliases, {}, metrics, trained.norm_batches, stage)
    files = {
        CheckpointFolder.CONFIG: config.dumps().encode(),
        CheckpointFolder.NETWORKS: networks_bytes(snapshot),
        CheckpointFolder.METRICS: metrics_bytes(snapshot),
        CheckpointFolder.ABOUT: (json.dumps(asdict(about), indent=1) + "\n").encode(),
    }
    sums = {name: sha256(data) for name, data in files.items()}
    files[CheckpointFolder.CHECKSUMS] = (json.dumps(sums, indent=1) + "\n").encode()
    run = _run_of(saved.url)
    shown = _pictures(run, trained.images) if run and pictures else {}
    parameters = sum(tensor.numel() for tensor in tensors.values())
    text = card(about, config, _measured(run, saved, trained.images), shown, parameters, trained.method)
    files |= {name: data for name, (data, _) in shown.items()} | {CARD: text.encode()}
    return Generator(files, about, parameters)


def _about(saved: Saved, trained: Trained, licence: str) -> About:
    """Say where a generator comes from. Raises ConfigError."""
    if (before := saved.about) is not None:
        if licence and before.licence and licence != before.licence:
            fix = "Leave --licence out: it is kept."
            raise ConfigError("--licence", licence, f"{before.licence}, as it was shared with", fix)
        return replace(before, licence=before.licence or licence)
    began = origins(trained.config)
    if not licence and (unknown := [one.name for one in began if not one.licence]):
        found = f"nothing, and a run that began with {', '.join(unknown)[:MOST_SHOWN]}"
        fix = "Give --licence with the licence that the authors of those weights state."
        raise ConfigError("--licence", found, "the licence of the weights", fix)
    stated = [one.licence for one in began if one.licence]
    config = trained.config
    return About(
        ABOUT_FORMAT,
        program_name(),
        trained.program,
        config.method,
        config.preset,
        config.run_name,
        trained.images,
        trained.identity,
        licence or (stated[0] if stated else ""),
        tuple(began),
    )


def origins(config: TrainConfig) -> list[Origin]:
    """List the weights of others that a run began with, through the runs that it began with itself."""
    found: list[Origin] = []
    for _ in range(MOST_BEFORE):
        place = config.training.init_from
        if not place:
            return found
        if authors.named(place):
            names = [one.rpartition("=")[2] for one in place.removeprefix(authors.PREFIX).split(",")]
            return [*found, *(Origin(f"the authors' {name.strip().rpartition('/')[2]}") for name in names)]
        try:
            saved = read(find(absolute(place, "--init-from")))
            about, config = saved.about, saved.config()
        except (UserError, StorageError, OSError):
            return [*found, Origin(f"{place.rstrip('/').rpartition('/')[2]}, which cannot be read any more")]
        if about is not None:
            return [*found, Origin(about.run, about.licence), *about.began_with]
    return found


def without_places(config: TrainConfig) -> TrainConfig:
    """Leave out of a configuration what belongs to the machine: folders, addresses, files, and where it ran."""

    def last(place: str) -> str:
        return place.rstrip("/").rpartition("/")[2]

    data, training = config.data, config.training
    begun = "" if authors.named(training.init_from) else last(training.init_from)
    return replace(
        config,
        data=replace(data, uri=last(data.uri), also=tuple(map(last, data.also)), shards_at=()),
        training=replace(training, init_from=begun, init_parts=training.init_parts if begun else ()),
        monitoring=MonitoringConfig(),
        evaluation=EvaluationConfig(),
        launch=LaunchConfig(name=last(config.run_name)),
    )


def _run_of(url: str) -> RunFolder | None:
    """Find the run that a checkpoint lies in; None for one that lies alone."""
    run, slash, _ = url.rpartition(f"/{RunFolder.CHECKPOINTS}/")
    return RunFolder(run) if slash else None


def _measured(run: RunFolder | None, saved: Saved, images: int) -> list[Measured]:
    """List the metrics of a checkpoint, with their definitions where the run's last evaluation was of it."""
    last: Mapping[str, LastEvaluation] = {}
    if run:
        last = run.noted(run.LAST_EVALUATION, dict[str, LastEvaluation]) or {}
    found = [
        Measured(name, m["value"], m["images"], m["better"], m["definition"], one.get("split", of))
        for of, one in last.items()
        for name, m in one.get("metrics", {}).items()
        if one.get("images") == images
    ]
    return found or [Measured(name, value) for name, value in sorted(saved.metrics().items())]


def _pictures(run: RunFolder, images: int) -> dict[str, tuple[bytes, str]]:
    """Read the run's pictures: by name, the file and what it shows. One that cannot be read is left out."""
    wanted = {}
    if before := [n for n in run.grids() if n <= images]:
        wanted[GRID] = run.grids()[before[-1]], f"fixed samples after {before[-1]:,} images"
    if run.exists(RunFolder.SAMPLES):
        wanted[SAMPLES] = RunFolder.SAMPLES, "the best, median and worst samples at the end of the run"
    found = {}
    for name, (path, words) in wanted.items():
        try:
            found[name] = png_bytes(picture(run.read(path))), words
        except (OSError, StorageError, ValueError) as error:
            logger.warning(f"{run.at(path)} is left out: {error}")
    return found


def write(folder: Folder, files: Mapping[str, bytes], overwrite: bool, flag: str) -> None:
    """Write a generator's files into a folder.

    Raises:
        ConfigError: the folder holds something already.
    """
    there = folder.names()
    if there and not overwrite:
        fix = "Name a new folder, or give --overwrite."
        raise ConfigError(flag, f"{folder.url}, which holds {there[0][:MOST_SHOWN]}", "an empty folder", fix)
    for name in (CheckpointFolder.CHECKSUMS, GRID, SAMPLES):
        if name in there:
            folder.remove(name)
    last = CheckpointFolder.CHECKSUMS
    for name in (*(name for name in files if name != last), last):
        folder.write(name, files[name])


def fetched(folder: Folder) -> dict[str, bytes]:
    """Read the files of a shared folder, and check them: names that are known, checksums, configuration, tensors.

    Raises:
        CheckpointError: there is no generator, or it is damaged.
    """
    if not folder.exists(CheckpointFolder.CHECKSUMS) or not folder.exists(CheckpointFolder.ABOUT):
        fix = "Name what share.py push wrote."
        raise CheckpointError(folder.url, "no generator of this program", "a shared one", fix)
    saved = read(folder)
    if saved.about is None:
        fix = "Share it first: share.py push."
        raise CheckpointError(folder.url, "a checkpoint of a run", "a shared generator", fix)
    of_saved(saved, torch.device("cpu"))
    files = {**saved.files, CheckpointFolder.CHECKSUMS: folder.read(CheckpointFolder.CHECKSUMS)}
    for name in (CARD, GRID, SAMPLES):
        if 0 <= folder.size(name) <= MOST_ASIDE:
            files[name] = folder.read(name)
    return files
