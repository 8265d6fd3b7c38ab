"""Fit a built method with the options of the game: one place for all methods.

Noise, minibatch discrimination and an optimiser of their own need to know which networks judge, and nothing else of a
method: `Game.after_move` was told. Drawn targets are in methods/game.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from i2i_core.config.methods.game import OF_DISCRIMINATORS, GameConfig
from i2i_core.errors import ConfigError
from i2i_core.methods.base import INPUT_NOISE, Extras, Method, Player
from i2i_core.methods.game import Game
from i2i_core.networks.minibatch import MinibatchDiscrimination, with_minibatch_discrimination
from i2i_core.settings import flag

NONLINEARITIES = (nn.ReLU, nn.LeakyReLU, nn.PReLU)
"""Hidden nonlinearities of generators, behind which `layer_noise` adds noise."""


def with_options(method: Method[Any], name: str, generator: torch.Generator) -> None:
    """Add to a built method what the options of its game ask for. Without any, the method stays as it is.

    Args:
        name: the method's, for messages.
        generator: draws the first weights of what is added.

    Raises:
        ConfigError: an option has no meaning for this method.
    """
    k = method.config
    if not isinstance(k, GameConfig):
        return
    game = getattr(method, "game", None)
    critics = game.critics if isinstance(game, Game) else ()
    judges = {network for network, module in method.networks.items() if module in critics}
    if not judges:
        _refuse_without_discriminator(k, name)
    method.players = {one: _with_optimiser(k, player, judges) for one, player in method.players.items()}
    if k.minibatch_features:
        _compare(method, judges, name, generator)
    if k.input_noise:
        method.schedule = {**method.schedule, INPUT_NOISE: lambda images: noise_after(k, images)}
    noisy = dict.fromkeys(module for made in method.makers for module in _hidden(made)) if k.layer_noise else {}
    if k.layer_noise and not noisy:
        expected = f"0: the generators of {name} have no nonlinearity that noise could follow"
        raise ConfigError("--layer-noise", repr(k.layer_noise), expected, "Leave --layer-noise out.")
    method.extras = Extras(
        noisy_inputs=tuple(method.networks[one] for one in method.networks if one in judges) if k.input_noise else (),
        noisy_layers=tuple(noisy),
        layer_noise=k.layer_noise,
        targets=game.targets if isinstance(game, Game) else None,
        comparing=tuple(one for one in method.networks.modules() if isinstance(one, MinibatchDiscrimination)),
    )


def noise_after(k: GameConfig, images: int) -> float:
    """Give the standard deviation of the noise on what discriminators see: it falls on a straight line to 0."""
    return k.input_noise * (max(0.0, 1 - images / k.input_noise_until) if k.input_noise_until else 1.0)


def _hidden(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the nonlinearities of a network."""
    return (module for module in network.modules() if isinstance(module, NONLINEARITIES))


def _with_optimiser(k: GameConfig, player: Player, judges: set[str]) -> Player:
    """Give a player of discriminators alone the optimiser that the configuration has for them."""
    if not judges.issuperset(player.networks) or (k.d_optimiser == "same" and k.d_lr_factor == 1.0):
        return player
    was = player.optimiser
    kind = was.kind if k.d_optimiser == "same" else k.d_optimiser
    return replace(player, optimiser=replace(was, kind=kind, lr=was.lr * k.d_lr_factor))


def _compare(method: Method[Any], judges: set[str], name: str, generator: torch.Generator) -> None:
    """Put minibatch discrimination into every discriminator."""
    for one in sorted(judges):
        try:
            with_minibatch_discrimination(method.networks[one], method.config.minibatch_features, generator)
        except TypeError as error:
            found, expected = str(method.config.minibatch_features), f"0: {one} of {name} has {error}"
            raise ConfigError("--minibatch-features", found, expected, "Leave --minibatch-features out.") from None
    method.couples = True


def _refuse_without_discriminator(k: GameConfig, name: str) -> None:
    """Raise ConfigError for the first option that has no meaning without a discriminator."""
    for field, off in OF_DISCRIMINATORS.items():
        if (value := getattr(k, field)) != off:
            expected = f"{off!r}: {name} as it is set up has no discriminator"
            raise ConfigError(flag(field), repr(value), expected, f"Leave {flag(field)} out.")
