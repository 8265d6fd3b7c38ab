"""Run networks as they make images: choose batch norm's statistics, and dropout on or off.

x_BCHW images or features.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, dropout, dropout2d
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils.parametrizations import _SpectralNorm

from i2i_core.config.evaluation import AtTestOptions
from i2i_core.errors import ConfigError
from i2i_core.randomness import seed_from
from i2i_core.tensors import instance_norm

SETTLED = 44
"""Batches after which 0.9^n is below 1/100: batch norm's running statistics keep nine tenths of themselves at each."""


@dataclass(frozen=True)
class AtTest:
    """Hold how batch norm and dropout run when images are made.

    Attributes:
        norm: statistics of batch norm: each image's own, or the running ones of training.
        dropout: true if dropout is on.
    """

    norm: Literal["image", "running"]
    dropout: bool

    @contextmanager
    def applied(self, modules: Iterable[nn.Module], keys: Sequence[object] | None) -> Iterator[None]:
        """Run the modules in this way inside the block; then restore their modes. Running statistics do not change.

        No image's result depends on the other images of its batch.

        Args:
            modules: every module of the networks, containers included.
            keys: the images' names, which seed dropout's masks; None: their numbers in the batch.
        """
        modules = list(modules)
        modes = [(module, module.training) for module in modules]
        masks = Masks(keys)
        replaced: list[tuple[nn.Module, partial[Tensor]]] = []
        for module in modules:
            module.training = False
            if self.norm == "image" and isinstance(module, _BatchNorm):
                replaced.append((module, partial(normalised_alone, module)))
            elif self.dropout and isinstance(module, _DropoutNd):
                replaced.append((module, partial(masks.apply, module)))
        try:
            with run_by(replaced):
                yield
        finally:
            for module, mode in modes:
                module.training = mode


@contextmanager
def run_by(forwards: Iterable[tuple[nn.Module, Callable[..., Tensor]]]) -> Iterator[None]:
    """Replace modules' `forward` inside the block, and restore it afterwards."""
    before: list[tuple[nn.Module, Any]] = []
    try:
        for module, forward in forwards:
            before.append((module, vars(module).get("forward")))
            module.forward = forward
        yield
    finally:
        for module, own in reversed(before):
            if own is None:
                del module.forward  # the class's own again
            else:
                module.forward = own


def fixed(network: nn.Module, at_test: AtTest) -> nn.Module:
    """Copy a network so that the copy always runs as `at_test` says.

    Dropout that is on draws from torch's global random state: there are no keys.
    """
    copied = copy.deepcopy(network).requires_grad_(False).eval()
    for parent in list(copied.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, _BatchNorm):
                setattr(parent, name, FixedNorm(module, at_test.norm == "image"))
            elif isinstance(module, _DropoutNd):
                setattr(parent, name, FixedDropout(module) if at_test.dropout else nn.Identity())
    return copied


class FixedNorm(nn.Module):
    """Normalise by each image's own statistics, or by the running ones of a batch norm.

    Args:
        norm: the batch norm with the running statistics, scale and shift.
        alone: true: use each image's own statistics.
    """

    def __init__(self, norm: _BatchNorm, alone: bool) -> None:
        super().__init__()
        self.norm, self.alone = norm, alone

    def forward(self, x_BCHW: Tensor) -> Tensor:
        n = self.norm
        if self.alone:
            return normalised_alone(n, x_BCHW)
        return batch_norm(x_BCHW, n.running_mean, n.running_var, n.weight, n.bias, False, 0.0, n.eps)


class FixedDropout(nn.Module):
    """Drop values in training and in evaluation mode; in place of `nn.Dropout2d` and its like, drop channels."""

    def __init__(self, dropout: _DropoutNd) -> None:
        super().__init__()
        self.p, self.of_channels = dropout.p, not isinstance(dropout, nn.Dropout)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        drop = dropout2d if self.of_channels else dropout
        return drop(x_BCHW, self.p, True)


def normalised_alone(norm: _BatchNorm, x_BCHW: Tensor) -> Tensor:
    """Normalise each image by its own statistics, as batch norm in training does for a batch of one image.

    Raises:
        ValueError: an image has one value a channel; batch norm in training raises it too.
    """
    return instance_norm(x_BCHW, norm.weight, norm.bias, norm.eps)


class Masks:
    """Draw dropout's masks for each image from a generator of its own, seeded by the image's key.

    Masks are drawn on the host, layer after layer, so that they are the same on every device and in every batch.
    """

    def __init__(self, keys: Sequence[object] | None) -> None:
        self.keys = keys
        self.generators: list[torch.Generator] = []

    def apply(self, dropout: _DropoutNd, x_BCHW: Tensor) -> Tensor:
        """Drop values of each image (for `nn.Dropout2d` and its like: channels); scale the others by 1 / (1 - p)."""
        if not self.generators:
            keys = range(len(x_BCHW)) if self.keys is None else self.keys
            self.generators = [torch.Generator().manual_seed(seed_from("noise", key)) for key in keys]
        keep, (channels, *sides) = 1 - dropout.p, x_BCHW.shape[1:]
        shape = (channels, *(side if isinstance(dropout, nn.Dropout) else 1 for side in sides))
        drawn = [torch.empty(shape).bernoulli_(keep, generator=generator) for generator in self.generators]
        return x_BCHW * torch.stack(drawn).div_(keep or 1).to(x_BCHW)


def has_batch_norm(networks: Iterable[nn.Module]) -> bool:
    """Tell if any of the networks has batch norm."""
    return any(isinstance(module, _BatchNorm) for network in networks for module in network.modules())


def counts_calls(network: nn.Module) -> bool:
    """Tell if a network's output for two batches differs between one call and two calls.

    Batch norm's statistics, dropout's draws and spectral norm's iterations make it differ.
    """
    return any(isinstance(module, (_BatchNorm, _DropoutNd, _SpectralNorm)) for module in network.modules())


def has_dropout(networks: Iterable[nn.Module]) -> bool:
    """Tell if any of the networks has dropout."""
    return any(isinstance(module, _DropoutNd) for network in networks for module in network.modules())


def chosen(
    makers: Sequence[nn.Module],
    dropout_is_noise: bool,
    norm_batches: Mapping[int, int],
    asked: AtTestOptions,
    saved: AtTestOptions | None = None,
) -> AtTest:
    """Choose how networks make images: as asked, else as saved with the run, else by how the run trained.

    Args:
        makers: the networks that make images.
        dropout_is_noise: true if the method's noise is dropout.
        norm_batches: images that the run trained on, by how many of them shared a normalisation.
        asked: options of this command; options without effect on these networks are refused.
        saved: options of the run.

    Raises:
        ConfigError: statistics asked for and no batch norm, or dropout asked for and none.
    """
    if asked.test_norm != "auto" and not has_batch_norm(makers):
        raise _without_effect("--test-norm", asked.test_norm, "batch norm")
    if asked.test_dropout != "auto" and not has_dropout(makers):
        raise _without_effect("--test-dropout", asked.test_dropout, "dropout")
    alone = 2 * norm_batches.get(1, 0) >= sum(norm_batches.values())
    norm: Literal["image", "running"] = "image" if alone else "running"
    dropout = dropout_is_noise
    for options in (saved, asked):
        if options and options.test_norm != "auto":
            norm = options.test_norm
        if options and options.test_dropout != "auto":
            dropout = options.test_dropout == "on"
    return AtTest(norm, dropout)


def _without_effect(flag: str, value: str, what: str) -> ConfigError:
    expected = f"nothing: the networks that make images have no {what}"
    return ConfigError(flag, value, expected, f"Leave {flag} out, or give {flag} auto.")


def batches_to_settle(makers: Sequence[nn.Module], at_test: AtTest) -> int:
    """Count the training batches after which made images are meaningful.

    With running statistics these are as many as it takes until less than a hundredth of their initial values is left;
    else one.
    """
    return SETTLED if at_test.norm == "running" and has_batch_norm(makers) else 1


def facts(makers: Sequence[nn.Module], at_test: AtTest) -> dict[str, str | None]:
    """Describe how the networks make images, for a file; None for what they do not have."""
    return {
        "test_norm": at_test.norm if has_batch_norm(makers) else None,
        "test_dropout": ("on" if at_test.dropout else "off") if has_dropout(makers) else None,
    }


def words(makers: Sequence[nn.Module], at_test: AtTest) -> str:
    """Describe in words how the networks make images: `batch norm by running statistics, dropout on`.

    Empty where they have neither.
    """
    found = facts(makers, at_test)
    statistics = {"image": "each image's own statistics", "running": "running statistics", None: ""}
    parts = [
        f"batch norm by {statistics[found['test_norm']]}" if found["test_norm"] else "",
        f"dropout {found['test_dropout']}" if found["test_dropout"] else "",
    ]
    return ", ".join(filter(None, parts))
