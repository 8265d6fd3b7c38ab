"""Compute a run's stage, length and learning rate as pure functions of images seen."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from torch import nn

from i2i_core import sizes
from i2i_core.config.stages import Stage, where
from i2i_core.config.training import TrainingConfig
from i2i_core.errors import ConfigError
from i2i_core.methods.base import Method
from i2i_core.training.schedule import lr_factor


class Stages:
    """Divide a run into stages, numbered from 0, and give each its size, frames and learning rate. A run without stages
    has one.

    A stage begins with the first update that starts at or after its first image. An update that takes several batches
    and started before belongs to the stage before, to its end.

    Args:
        training: the run's length and schedule.
        stages: the stages, with sizes and frames filled in.
        begins: images of the run before each stage.
        per_epoch: images in an epoch of each stage.

    Attributes:
        length: the run's length in images. Where it is given in epochs, an epoch of each stage is as long as the
            stage's frames make it.

    Raises:
        ConfigError: the stages are longer than the run.
    """

    def __init__(
        self, training: TrainingConfig, stages: Sequence[Stage], begins: Sequence[int], per_epoch: Sequence[int]
    ) -> None:
        self.training, self.stages = training, tuple(stages)
        self.begins, self.per_epoch = tuple(begins), tuple(per_epoch)
        self.length = self._length()
        if len(self) > 1 and self.begins[-1] >= self.length:
            of = len(self)
            found = f"{self.begins[-1]:,} images in the stages before it"
            given = f"--images {training.images}" if training.images else f"--epochs {training.epochs:g}"
            fix = "Give shorter stages, or a longer run."
            raise ConfigError(where(of - 1, of), found, f"fewer than the run has, {self.length:,} ({given})", fix)

    def __len__(self) -> int:
        return len(self.stages)

    def __getitem__(self, number: int) -> Stage:
        return self.stages[number]

    def _length(self) -> int:
        training = self.training
        if training.images or len({*self.per_epoch}) == 1:
            return training.length(self.per_epoch[0])
        training.check_length()
        spans = zip(pairwise(self.begins), self.per_epoch, strict=False)
        left = training.epochs - sum((end - begin) / per_epoch for (begin, end), per_epoch in spans)
        return self.begins[-1] + round(left * self.per_epoch[-1])

    def at(self, images: int) -> int:
        """Return the number of the stage that the update after `images` belongs to."""
        return bisect_right(self.begins, images) - 1

    def lr(self, images: int, number: int) -> float:
        """Return the factor of the learning rates after `images`, in an update of stage `number`.

        The schedule runs over the whole run, with epochs as long as the first stage's. In a fresh stage it runs over
        that stage alone.
        """
        stage, begin = self[number], self.begins[number]
        if not stage.fresh:
            whole = replace(self.training, images=self.length, epochs=0.0)
            return stage.lr * lr_factor(whole, images, self.per_epoch[0])
        end = self.length if number == len(self) - 1 else self.begins[number + 1]
        own = replace(self.training, images=max(1, end - begin), epochs=0.0)
        return stage.lr * lr_factor(own, images - begin, self.per_epoch[number])

    def entered_anew(self, before: int, now: int) -> bool:
        """Return whether optimisers begin anew between one stage and a later one."""
        return any(stage.fresh for stage in self.stages[before + 1 : now + 1])

    @property
    def changes_size(self) -> bool:
        """Whether images change their size in the course of the run."""
        return len({stage.size for stage in self.stages}) > 1

    def said(self, number: int, method: Method[Any]) -> str:
        """Describe a stage in a line."""
        stage, begin = self[number], self.begins[number]
        end = self.begins[number + 1] if number + 1 < len(self) else self.length
        words = [f"images {begin:,} to {end:,}", f"{sizes.said(stage.size)} px"]
        words += [f"{stage.frames} frames"] if stage.frames > 1 else []
        words += [f"moving {', '.join(moving(stage, method))}"]
        if stage.frozen:
            count = sum(p.numel() for p in frozen(stage, method.networks))
            words += [f"frozen {', '.join(stage.frozen)} ({count:,} parameters)"]
        factor = self.lr(begin, number)
        rates = (f"{player} {factor * method.players[player].optimiser.lr:.3g}" for player in moving(stage, method))
        words += [f"learning rate {', '.join(rates)}"]
        words += ["optimisers and schedule begin anew"] if stage.fresh else []
        return f"stage {number + 1} of {len(self)}: {'; '.join(words)}"


def moving(stage: Stage, method: Method[Any]) -> tuple[str, ...]:
    """List the players that move in a stage."""
    return tuple(player for player in method.players if not stage.players or player in stage.players)


def frozen(stage: Stage, networks: nn.ModuleDict) -> set[nn.Parameter]:
    """Collect the parameters that are frozen in a stage, by any of their names."""
    named = networks.named_parameters(remove_duplicate=False) if stage.frozen else ()
    return {p for name, p in named if stage.freezes(name)}
