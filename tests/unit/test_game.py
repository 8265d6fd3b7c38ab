"""Every method plays every adversarial game, and refuses what makes no sense.

pytest tests/unit/test_game.py
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.config.methods.game import GameConfig
from i2i_core.config.training import TrainingConfig
from i2i_core.errors import ConfigError
from i2i_core.losses.adversarial import ADVERSARIAL
from i2i_core.methods import METHODS
from i2i_core.methods.base import Method, Progress
from i2i_core.methods.game import Game
from i2i_core.networks.layers import up_layer
from i2i_core.networks.shapes import UPSAMPLES
from i2i_core.training.step import Step

from ..support.methods import ALONE, Case, batches, small
from ..support.table import TABLE

CRITICS = {name: row.critics for name, row in TABLE.items()}


def fields_of(name: str) -> set[str]:
    return {field.name for field in dataclasses.fields(METHODS[name].config)}


def made(name: str, **hyper: Any) -> Method[Any]:
    return small(Case(name, hyper={**TABLE[name].quick, **hyper}))


def test_game_critics_are_listed() -> None:
    for name in METHODS:
        method = made(name)
        assert set(CRITICS[name]) == {n for n in method.networks if n.startswith("D")}


# ---------------------------------------------------------------- training


@pytest.mark.parametrize("terms", ADVERSARIAL)
@pytest.mark.parametrize("name", METHODS)
def test_game_terms_train_every_method(name: str, terms: str) -> None:
    """Three updates: losses finite, every player's weights moved and finite, penalty reported where there is one."""
    hyper = {"optimiser": "rmsprop"} if terms == "wgan" else {}
    method = made(name, adversarial=terms, **hyper)
    before = {n: w.clone() for n, w in method.networks.named_parameters()}
    step, progress = Step(method, TrainingConfig(), ALONE, lambda images: 1.0), Progress()
    feed = batches(method, Case(name, batch=2), ALONE)
    while min((progress.moves.get(player, 0) for player in method.players), default=0) < 3:
        step(feed, progress)
        assert progress.images < 100
    step.watch.settle()
    names, values = step.read_terms()
    assert values.isfinite().all()
    assert any(n.endswith("/gp") for n in names) == (terms == "wgan-gp")
    for n, weight in method.networks.named_parameters():
        assert weight.isfinite().all(), n
        assert n.endswith("bias") or not torch.equal(weight, before[n]), n


# ---------------------------------------------------------------- clipping


@pytest.mark.parametrize("name", METHODS)
def test_wgan_clips_the_critics_after_each_of_their_moves_and_nothing_else(name: str) -> None:
    method = made(name, adversarial="wgan", optimiser="rmsprop", clip=0.003)
    critic = next(player for player, has in method.players.items() if set(CRITICS[name]) <= set(has.networks))
    largest = {n: max(float(p.detach().abs().max()) for p in method.networks[n].parameters()) for n in method.networks}
    assert min(largest.values()) > 0.003  # or there would be nothing to see
    for player, mover in method.players.items():
        assert (mover.after_move is not None) == (player == critic)

    step, progress = Step(method, TrainingConfig(), ALONE, lambda images: 1.0), Progress()
    feed = batches(method, Case(name, batch=2), ALONE)
    seen, update = [], method.update

    def watched(*args: Any) -> Any:
        last = None
        for move in update(*args):
            if last == critic:
                check()
            yield move
            last = move[0]
        if last == critic:
            check()

    def check() -> None:
        for n, network in method.networks.items():
            weights = torch.cat([p.detach().flatten() for p in network.parameters()]).abs()
            if n in CRITICS[name]:
                seen.append(n)
                assert weights.max() <= torch.tensor(0.003)
                assert (weights == weights.max()).sum() > 1  # several have been clipped
                assert (weights < 0.003).any()
            else:
                assert weights.max() > 0.003

    method.update = watched  # type: ignore[method-assign]
    for _ in range(3):
        step(feed, progress)
    assert set(seen) == set(CRITICS[name])


@pytest.mark.parametrize("terms", [t for t in ADVERSARIAL if t != "wgan"])
def test_game_terms_besides_wgan_clip_nothing(terms: str) -> None:
    assert Game(GameConfig(adversarial=terms)).after_move(nn.Linear(1, 1)) is None


def test_wgan_clips_biases_too_on_both_sides() -> None:
    layer = nn.Linear(2, 2)
    layer.weight.data, layer.bias.data = torch.tensor([[5.0, -5.0], [0.01, -0.01]]), torch.tensor([-3.0, 0.02])
    clip = Game(GameConfig(adversarial="wgan", clip=0.1)).after_move(layer)
    assert clip is not None
    before = layer.weight.clone()
    clip(torch.tensor(1.0))  # the move was suppressed
    assert torch.equal(layer.weight, before)
    clip(torch.tensor(0.0))
    assert torch.equal(layer.weight, torch.tensor([[0.1, -0.1], [0.01, -0.01]]))
    assert torch.equal(layer.bias, torch.tensor([-0.1, 0.02]))


# ---------------------------------------------------------------- refused


WITH_NORM = [name for name in METHODS if "norm" in fields_of(name)]


def test_game_tests_find_methods_with_a_choice_of_norm() -> None:
    assert set(WITH_NORM) >= {"pix2pix", "cyclegan", "pix2pix_noise", "cvae_gan", "clr_gan", "bicyclegan"}


@pytest.mark.parametrize("name", WITH_NORM)
def test_penalty_through_batch_norm_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"--adversarial: found wgan-gp with --norm batch.*\n.*--norm instance"):
        made(name, adversarial="wgan-gp", norm="batch")
    made(name, adversarial="wgan-gp", norm="instance")
    made(name, adversarial="wgan", norm="batch")


def test_penalty_without_a_discriminator_is_not_refused() -> None:
    made("pix2pix", adversarial="wgan-gp", norm="batch", objective="L1")


@pytest.mark.parametrize("terms", ["wgan", "wgan-gp", "hinge"])
@pytest.mark.parametrize("name", METHODS)
def test_smoothing_without_a_target_is_refused(name: str, terms: str) -> None:
    message = rf"--real-target: found 0.9 with --adversarial {terms}; (.|\n)* minimax, nonsaturating, lsgan\."
    with pytest.raises(ConfigError, match=message):
        made(name, adversarial=terms, real_target=0.9)


@pytest.mark.parametrize("terms", ["minimax", "nonsaturating", "lsgan"])
@pytest.mark.parametrize("name", METHODS)
def test_smoothing_reaches_the_real_term_of_every_method(name: str, terms: str) -> None:
    smooth = made(name, adversarial=terms, real_target=0.9).game
    hard, logits = made(name, adversarial=terms).game, torch.tensor([[0.3, -2.0]])
    assert smooth.real(logits) != hard.real(logits)
    assert smooth.fake(logits) == hard.fake(logits)
    assert smooth.generator(logits) == hard.generator(logits)


MATCHING = [name for name in METHODS if "matching_aware" in fields_of(name)]


def test_matching_tests_find_methods_with_matching_aware_discriminators() -> None:
    assert set(MATCHING) >= {"pix2pix", "pix2pix_noise", "cvae_gan", "clr_gan", "bicyclegan"}


@pytest.mark.parametrize("name", MATCHING)
def test_matching_needs_a_discriminator_that_sees_the_condition(name: str) -> None:
    blind = {"objective": "L1+GAN"} if name == "pix2pix" else {"conditional_d": False}
    seeing = {"objective": "cGAN"} if name == "pix2pix" else {"conditional_d": True}
    with pytest.raises(ConfigError, match="--matching-aware: found"):
        made(name, matching_aware=True, **blind)
    made(name, matching_aware=True, **seeing)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("adversarial", "wgangp", "--adversarial: found 'wgangp'"),
        ("adversarial", "lsgann", r"--adversarial: found 'lsgann'.*\n.*Did you mean lsgan"),
        ("optimiser", "adamw", "--optimiser: found 'adamw'"),
        ("clip", 0.0, "--clip: found 0.0"),
        ("lambda_gp", -1.0, "--lambda-gp: found -1.0"),
        ("beta1", 1.5, "--beta1: found 1.5"),
        ("beta2", -0.1, "--beta2: found -0.1"),
        ("real_target", 0.3, "--real-target: found 0.3"),
        ("real_target", 0.5, "--real-target: found 0.5"),
        ("real_target", 1.1, "--real-target: found 1.1"),
        ("real_target", math.nan, "--real-target: found nan"),
    ],
)
def test_game_that_cannot_be_played_is_refused(field: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GameConfig(**{field: value})


@pytest.mark.parametrize("name", METHODS)
def test_game_settings_begin_every_method(name: str) -> None:
    """And says them to its optimisers."""
    assert issubclass(METHODS[name].config, GameConfig)
    assert "n_critic" in fields_of(name) or {"k_g", "k_d"} <= fields_of(name)
    method = made(name, optimiser="rmsprop", beta1=0.3, beta2=0.8)
    for player in method.players.values():
        assert (player.optimiser.kind, player.optimiser.betas) == ("rmsprop", (0.3, 0.8))


# ---------------------------------------------------------------- terms by hand


def test_game_sums_scales_and_averages_positions() -> None:
    """LSGAN of two maps, in numbers; D's mean is over the positions of each scale, so a small map counts as much."""
    maps = [torch.tensor([[[[1.0, 2.0], [3.0, 5.0]]]]), torch.tensor([[[[4.0]]]])]
    game = Game(GameConfig(adversarial="lsgan"))
    assert game.real(maps).item() == pytest.approx((0 + 1 + 4 + 16) / 4 + 9)
    assert game.fake(maps).item() == pytest.approx((1 + 4 + 9 + 25) / 4 + 16)
    assert game.generator(maps).item() == game.real(maps).item()
    assert game.real(maps[0]).item() == pytest.approx(21 / 4)


def test_penalty_of_two_scales_is_that_of_their_sum() -> None:
    """Maps with slopes of 2 in every pixel and of 3 in every pixel: 5 in every pixel, of which there are 4."""
    game = Game(GameConfig(adversarial="wgan-gp"))
    x = torch.zeros(3, 1, 2, 2)
    alpha = torch.full((3, 1, 1, 1), 0.5)
    found = game.penalty(lambda image: [2 * image, 3 * image.sum(dim=(2, 3), keepdim=True)], x, x + 1, alpha)
    assert found.item() == pytest.approx((5 * 2 - 1) ** 2)


def test_penalty_that_is_off_draws_nothing_and_calls_no_critic() -> None:
    game, x = Game(GameConfig(adversarial="wgan")), torch.zeros(2, 1, 2, 2)
    assert game.alpha(Batch({"a": x}, 2, 0, 2, 0, 0)) is None

    def never(image: Tensor) -> Tensor:
        raise AssertionError("asked")

    assert game.penalty(never, x, x, None).item() == 0


def test_alpha_is_uniform_one_per_sample_and_of_the_whole_batch() -> None:
    game, x = Game(GameConfig(adversarial="wgan-gp")), torch.zeros(4000, 1, 1, 1)
    batch = Batch({"a": x}, 4000, 0, 4000, 0, 0)
    alpha = game.alpha(batch)
    assert alpha is not None
    assert alpha.shape == (4000, 1, 1, 1)
    assert alpha.min() >= 0
    assert alpha.max() < 1
    assert abs(alpha.mean().item() - 0.5) < 0.02
    assert abs(alpha.std().item() - 12**-0.5) < 0.02
    part = game.alpha(batch._cut(3, 9))
    assert part is not None
    assert torch.equal(part, alpha[3:9])


# ---------------------------------------------------------------- ways to double an image


@pytest.mark.parametrize("kernel", [3, 4])
@pytest.mark.parametrize("how", UPSAMPLES)
def test_up_layer_doubles_the_image_in_every_way(how: str, kernel: int) -> None:
    layer = up_layer(how, 6, 5, kernel, bias=True)
    assert layer(torch.zeros(2, 6, 4, 7)).shape == (2, 5, 8, 14)
    kinds = [type(m) for m in layer.modules() if not isinstance(m, nn.Sequential)]
    assert kinds == {
        "transposed": [nn.ConvTranspose2d], "resize": [nn.Upsample, nn.Conv2d], "shuffle": [nn.Conv2d, nn.PixelShuffle]
    }[how]  # fmt: skip
    weights = {"transposed": 6 * 5 * kernel**2 + 5, "resize": 6 * 5 * 9 + 5, "shuffle": 4 * (6 * 5 * 9 + 5)}
    assert sum(p.numel() for p in layer.parameters()) == weights[how]
    assert sum(p.numel() for p in up_layer(how, 6, 5, kernel, bias=False).parameters()) < weights[how]


def test_up_layer_resize_has_no_checkerboard_and_transposed_has() -> None:
    """A constant image away from the border: every pixel of `resize` is alike; a stride-2 kernel of 3 overlaps
    unevenly."""
    torch.manual_seed(0)
    image = torch.ones(1, 3, 8, 8)
    resized = up_layer("resize", 3, 2, 3, bias=True)(image)[..., 2:-2, 2:-2]
    torch.testing.assert_close(resized, resized[..., :1, :1].expand_as(resized))
    uneven = up_layer("transposed", 3, 2, 3, bias=True)(image)[..., 2:-2, 2:-2]
    assert uneven.std(dim=(2, 3)).min() > 1e-3


def test_up_layer_refuses_an_unknown_way() -> None:
    with pytest.raises(ValueError, match="upsample 'shuffel', not one of transposed, resize, shuffle"):
        up_layer("shuffel", 1, 1, 3, bias=True)  # type: ignore[arg-type]


DOUBLING = [name for name in METHODS if "upsample" in fields_of(name)]
RESIDUAL = ("unit", "cyclegan", "stargan", "bigan", "pixel_gan", "feature_gan")
"""Methods whose generators halve the image twice."""


@pytest.mark.parametrize(("name", "how"), itertools.product(DOUBLING, UPSAMPLES))
def test_up_layer_of_every_generator_takes_every_way(name: str, how: str) -> None:
    """As many doublings as halvings, none of them of another kind; the image keeps its size and trains."""
    method = made(name, upsample=how)
    for generator in method.generators:
        network = method.networks[generator]
        modules = list(network.modules())
        ups = {
            "transposed": sum(isinstance(m, nn.ConvTranspose2d) for m in modules),
            "resize": sum(isinstance(m, nn.Upsample) for m in modules),
            "shuffle": sum(isinstance(m, nn.PixelShuffle) for m in modules),
        }
        downs = 2 if name in RESIDUAL else 4
        if generator.startswith("E") and name != "bigan":  # whose E is a generator too
            downs = 0
        assert ups == {**dict.fromkeys(UPSAMPLES, 0), how: downs}
    if name == "unit":
        later = made(name, upsample=how, architecture="later", d_layers=1)
        assert later.image_from(torch.zeros(1, 1, 16, 20, dtype=torch.float64)).shape == (1, 1, 16, 20)
    step, progress = Step(method, TrainingConfig(), ALONE, lambda images: 1.0), Progress()
    step(batches(method, Case(name, batch=2), ALONE), progress)
    step.watch.settle()


@pytest.mark.parametrize("name", DOUBLING)
def test_up_layer_that_is_unknown_is_refused_by_every_method(name: str) -> None:
    with pytest.raises(ConfigError, match="upsample"):
        made(name, upsample="nearest")
