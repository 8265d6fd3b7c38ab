"""Check the stages of a run against its method and its data, before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from i2i_core.checkpoints.fitting import layers_of, listed
from i2i_core.config.run import TrainConfig
from i2i_core.config.stages import Stage, where
from i2i_core.config.training import TrainingConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.stream import Alternating
from i2i_core.errors import ConfigError, nearest
from i2i_core.fields import Needs
from i2i_core.methods import build_from
from i2i_core.methods.base import Method
from i2i_core.registry import entry
from i2i_core.sizes import Size, said, sides
from i2i_core.training.stages import Stages, frozen, moving


def stream_of(config: TrainConfig, sets: Sequence[DataSet], needs: Needs) -> Alternating:
    """Open the stream that a run reads, stage by stage. Raises as `Alternating`."""
    training, stages = config.training, config.stages(needs.frames)
    return Alternating(sets, config.data, config.image_size, training.batch, training.seed, needs, stages)


def stages_of(training: TrainingConfig, stream: Alternating) -> Stages:
    """Place a run's stages on its stream, and find the run's length. Raises as `Stages`."""
    per_epoch = [stream.batches_in(i) * stream.batch for i in range(len(stream.stages))]
    return Stages(training, stream.stages, [0, *(end * stream.batch for end in stream.ends)], per_epoch)


def check_stages(config: TrainConfig) -> None:
    """Refuse sizes and frames that the method cannot take.

    Raises:
        ConfigError: it does, naming the stage.
    """
    method, stages = entry(config.method).method, config.training.parsed_stages
    for number, stage in enumerate(stages):
        at = where(number, len(stages))
        if stage.frames and method.needs.frames == 1:
            expected = f"none: --method {config.method} reads no sequences"
            raise ConfigError(at, f"frames={stage.frames}", expected, "Leave frames out.")
        if stage.load and stage.load < sides(stage.size or config.image_size)[0]:
            found, size = f"load={stage.load}", said(stage.size or config.image_size)
            raise ConfigError(at, found, f"the stage's size, {size}, or more", "Give a larger load, or leave it out.")
        if stage.size and stage.size != config.image_size:
            _check_size(config, stage.size, method.any_size, at)


def _check_size(config: TrainConfig, size: Size, any_size: bool, at: str) -> None:
    found, own = f"size={said(size)}", said(config.image_size)
    if not any_size:
        expected = f"{own}: the networks of --method {config.method} are made for images of one size"
        raise ConfigError(at, found, expected, f"Leave size out, or give --image-size {said(size)}.")
    try:
        other = config.hyper.at_size(size)
    except ConfigError as error:
        fix = error.fix.replace("--image-size ", "size=")
        raise ConfigError(at, f"{found} ({error.where} {error.found})", error.expected, fix) from None
    shapes, here = (_shapes(config.method, hyper) for hyper in (other, config.hyper))
    if shapes != here:
        names = [name for name in here if here[name] != shapes.get(name)] or [*shapes.keys() - here.keys()]
        expected = f"a size of which the networks are those of {own} px; {listed(names)} would be others"
        raise ConfigError(at, found, expected, "Give another size, or fix what follows from the image size.")


def _shapes(name: str, hyper: Any) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {key: tensor.shape for key, tensor in build_from(name, hyper).networks.state_dict().items()}


def check_moves(stage: Stage, method: Method[Any], number: int, of: int) -> None:
    """Refuse players and parts that the method does not have, and players of which nothing is left to move.

    Raises:
        ConfigError: naming the stage.
    """
    at, names = where(number, of), [name for name, _ in method.networks.named_parameters(remove_duplicate=False)]
    for player in stage.players:
        if player not in method.players:
            expected = f"players of this method: {', '.join(method.players)}"
            raise ConfigError(at, f"players={player}", expected, nearest(player, method.players))
    for part in stage.frozen:
        if not any(Stage(frozen=(part,)).freezes(name) for name in names):
            expected = f"a network ({', '.join(method.networks)}), or what parameters' names begin with up to a dot"
            inside = [layer for layer in layers_of(names) if layer.startswith(part.partition(".")[0] + ".")]
            raise ConfigError(at, f"frozen={part}", expected, nearest(part, inside or method.networks))
    still = frozen(stage, method.networks)
    for player in moving(stage, method):
        if still.issuperset(method.parameters_of(player)):
            others = [name for name in moving(stage, method) if name != player]
            fix = f"Give players={','.join(others)} as well." if others else "Freeze less."
            raise ConfigError(at, f"frozen={','.join(stage.frozen)}", f"something of player {player} that moves", fix)
