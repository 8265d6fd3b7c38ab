"""Which parameters a player moves, found without walking modules, after whatever happens to networks.

pytest tests/unit/test_parameters.py
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from i2i_core.config.training import TrainingConfig
from i2i_core.methods import build_method
from i2i_core.methods.base import Method, moves
from i2i_core.training.step import Step

from ..support.methods import ALONE, SMALL


def method_of(name: str = "cyclegan") -> Method[Any]:
    method: Method[Any] = build_method(name, seed=1, **SMALL[name])
    assert_right(method)  # they are known from now on
    return method


def walked(method: Method[Any], player: str) -> list[nn.Parameter]:
    return list(method.networks_of(player).parameters())


def same(a: list[nn.Parameter], b: list[nn.Parameter]) -> bool:
    return [id(p) for p in a] == [id(p) for p in b]


def assert_right(method: Method[Any]) -> None:
    """Of every player, the parameters found are those a walk finds; and its objectives freeze all others."""
    for player in method.players:
        mine = walked(method, player)
        assert same(method.parameters_of(player), mine)
        free = moves(player)(lambda self: [p for p in self.networks.parameters() if p.requires_grad])(method)
        assert {id(p) for p in free} == {id(p) for p in mine}
    assert all(p.requires_grad for p in method.networks.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_parameters_of_are_those_of_the_networks(name: str) -> None:
    method_of(name)


def test_parameters_of_follow_loading_with_assign_and_from_meta() -> None:
    method = method_of()
    old = method.parameters_of("generators")
    fresh = {name: tensor.clone() for name, tensor in method.networks.state_dict().items()}
    method.networks.load_state_dict(fresh, assign=True)
    assert not same(old, method.parameters_of("generators"))
    assert_right(method)
    method.networks.to("meta").to_empty(device="cpu")
    assert_right(method)


def test_parameters_of_follow_dtype_and_copies() -> None:
    method = method_of()
    other = copy.deepcopy(method)
    assert_right(other)
    assert not {id(p) for p in method.networks.parameters()} & {id(p) for p in other.parameters_of("generators")}
    assert method.to(torch.float64).parameters_of("generators")[0].dtype == torch.float64
    assert_right(method)


def test_parameters_of_follow_averaged_generators_and_back() -> None:
    method = method_of()
    step = Step(method, TrainingConfig(ema_halflife=10), ALONE, lambda images: 1.0)
    trained = method.parameters_of("generators")
    assert step.ema is not None
    with step.averaged():
        held = {id(p) for p in method.parameters_of("generators")}
        assert held == {id(p) for p in step.ema.parameters()}
    assert same(method.parameters_of("generators"), trained)
    assert_right(method)


def test_parameters_of_name_a_tied_parameter_once() -> None:
    method = method_of()
    one, other = (next(method.networks[name].parameters()) for name in method.generators)
    for module in method.networks[method.generators[1]].modules():
        for name, p in module._parameters.items():
            if p is other:
                setattr(module, name, one)
    assert other is not one
    assert [id(p) for p in method.parameters_of("generators")].count(id(one)) == 1
    assert_right(method)


def test_moves_leaves_frozen_what_was_frozen() -> None:
    method = method_of()
    frozen = next(method.networks["D_Y" if "D_Y" in method.networks else [*method.networks][-1]].parameters())
    frozen.requires_grad_(False)
    moves("generators")(lambda self: None)(method)
    assert not frozen.requires_grad
