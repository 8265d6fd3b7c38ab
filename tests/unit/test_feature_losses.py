"""Losses on features against arithmetic in numpy, and the features that discriminators give for them.

pytest tests/unit/test_feature_losses.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from i2i_core.losses.feature_matching import feature_matching
from i2i_core.losses.perceptual import perceptual
from i2i_core.networks import vae
from i2i_core.networks.patchgan import MultiScale, PatchGAN, PixelGAN, two_scales, with_features
from i2i_core.networks.stargan import StarGANDiscriminator

WEIGHTS = (0.25, 2.0)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def phi(x: Tensor) -> tuple[Tensor, Tensor]:
    """Two layers that anyone can compute, the second of half the sides."""
    return x.square() + 0.1 * x, (3 * x[:, :2, ::2, ::2]).sin() + 5


def phi_by_hand(x: np.ndarray) -> list[np.ndarray]:
    return [x**2 + 0.1 * x, np.sin(3 * x[:, :2, ::2, ::2]) + 5]


def without_statistics(x: np.ndarray) -> np.ndarray:
    """Every map of a sample less its mean, by its deviation."""
    out = np.zeros_like(x)
    for n, c in np.ndindex(*x.shape[:2]):
        out[n, c] = (x[n, c] - x[n, c].mean()) / np.sqrt(x[n, c].var() + 1e-5)
    return out


# ---------------------------------------------------------------- as a trained network sees images


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_perceptual_by_hand(distance: Literal["l1", "l2"], normalised: bool) -> None:
    x, y = noise(3, 4, 6, 8), noise(3, 4, 6, 8, seed=1)
    expected = 0.0
    for weight, a, b in zip(WEIGHTS, phi_by_hand(x.numpy()), phi_by_hand(y.numpy()), strict=True):
        a, b = (without_statistics(a), without_statistics(b)) if normalised else (a, b)
        expected += weight * np.mean(np.abs(a - b) ** (1 if distance == "l1" else 2))
    found = perceptual(phi, x, y, WEIGHTS, distance=distance, normalised=normalised)
    assert found.shape == ()
    assert found.item() == pytest.approx(expected, rel=1e-10)
    assert perceptual(phi, x, x, WEIGHTS, distance=distance, normalised=normalised).item() == 0


def test_perceptual_gives_gradient_to_the_image_and_none_to_its_target() -> None:
    x, y = noise(2, 4, 6, 8).requires_grad_(), noise(2, 4, 6, 8, seed=1).requires_grad_()
    perceptual(phi, x, y, WEIGHTS, distance="l2").backward()
    assert x.grad is not None
    assert x.grad.any()
    assert y.grad is None


@pytest.mark.parametrize("normalised", [False, True])
def test_perceptual_of_parts_adds_up(normalised: bool) -> None:
    x, y = noise(7, 4, 6, 8), noise(7, 4, 6, 8, seed=1)
    whole = perceptual(phi, x, y, WEIGHTS, normalised=normalised)
    parts = [(slice(0, 3), 3), (slice(3, 4), 1), (slice(4, 7), 3)]
    total = sum(perceptual(phi, x[s], y[s], WEIGHTS, normalised=normalised).item() * n / 7 for s, n in parts)
    assert total == pytest.approx(whole.item(), rel=1e-12)


def test_perceptual_of_half_precision_is_computed_in_float32() -> None:
    x, y = noise(2, 3, 16, 16).bfloat16(), noise(2, 3, 16, 16, seed=1).bfloat16()
    found = perceptual(lambda x: [x], x, y, [1.0], distance="l2")
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx((x.double() - y.double()).square().mean().item(), rel=1e-5)


def test_perceptual_that_cannot_be_is_refused() -> None:
    x = noise(2, 4, 6, 8)
    with pytest.raises(ValueError, match="shapes differ"):
        perceptual(phi, x, x[:1], WEIGHTS)
    with pytest.raises(ValueError, match="shorter"):
        perceptual(phi, x, x, [1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="more than 1"):
        perceptual(lambda x: [x.mean((2, 3), keepdim=True)], x, x, [1.0], normalised=True)


# ---------------------------------------------------------------- as discriminators see them


def layers(seed: int, n: int = 3) -> list[list[Tensor]]:
    """Of two discriminators three layers each."""
    shapes = [[(2, 6, 6), (4, 3, 3), (8, 2, 2)], [(2, 3, 3), (4, 2, 2), (8, 1, 1)]]
    return [[noise(n, *shape, seed=seed + 10 * k + i) for i, shape in enumerate(of)] for k, of in enumerate(shapes)]


@pytest.mark.parametrize("weights", [(), (0.5, 1.0, 3.0)])
def test_feature_matching_by_hand(weights: Sequence[float]) -> None:
    real, fake = layers(0), layers(100)
    expected = 0.0
    for k in range(2):
        for i in range(3):
            a, b = real[k][i].numpy(), fake[k][i].numpy()
            expected += (weights[i] if weights else 1) * np.abs(a - b).reshape(3, -1).sum(1).mean() / a[0].size
    found = feature_matching(real, fake, weights)
    assert found.shape == ()
    assert found.item() == pytest.approx(expected, rel=1e-12)
    assert feature_matching(real, real, weights).item() == 0


def test_feature_matching_gives_gradient_to_fakes_alone() -> None:
    real, fake = layers(0), layers(100)
    of_real, of_fake = ([layer for of in side for layer in of] for side in (real, fake))
    for layer in [*of_real, *of_fake]:
        layer.requires_grad_()
    feature_matching(real, fake).backward()
    assert all(layer.grad is None for layer in of_real)
    assert all(layer.grad is not None and layer.grad.all() for layer in of_fake)


def test_feature_matching_of_parts_adds_up() -> None:
    real, fake = layers(0, 5), layers(100, 5)
    total = 0.0
    for part, n in ((slice(0, 2), 2), (slice(2, 5), 3)):
        cut = [[[layer[part] for layer in of] for of in side] for side in (real, fake)]
        total += feature_matching(*cut).item() * n / 5
    assert total == pytest.approx(feature_matching(real, fake).item(), rel=1e-12)


def test_feature_matching_that_cannot_be_is_refused() -> None:
    real, fake = layers(0), layers(100)
    for wrong in (fake[:1], [fake[0][:2], fake[1]], [[x[:, :1] for x in of] for of in fake]):
        with pytest.raises(ValueError, match=r"shorter|differ"):
            feature_matching(real, wrong)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        feature_matching(real, fake, [1.0, 1.0])
    with pytest.raises(ValueError, match="no layers"):
        feature_matching([[]], [[]])


DISCRIMINATORS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "patch": (lambda: PatchGAN(3, 4, 3, "instance"), 4),
    "batch norm": (lambda: PatchGAN(3, 4, 2, "batch"), 3),
    "pixel": (lambda: PixelGAN(3, 4, "none"), 2),
    "two scales": (lambda: two_scales(3, 8, 2), 3),
    "unit, paper": (lambda: vae.paper_discriminator(3, 4, 4), 4),
    "unit, later": (lambda: vae.later_discriminator(3, 4, 2, 3), 2),
}
"""With how many hidden layers each of their scales has."""


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_features_of_a_discriminator_are_what_its_nonlinearities_give(name: str) -> None:
    make, depth = DISCRIMINATORS[name]
    D, x = make().double(), noise(2, 3, 32, 32)
    heard: list[Tensor] = []
    nonlinearities = [m for m in D.modules() if isinstance(m, nn.LeakyReLU)]
    handles = [m.register_forward_hook(lambda *call: heard.append(call[-1].clone())) for m in nonlinearities]
    said = D(x)
    for handle in handles:
        handle.remove()
    maps, features = with_features(D, x)
    assert type(maps) is type(said)
    for one, other in zip(*((m if isinstance(m, list) else [m]) for m in (maps, said)), strict=True):
        assert torch.equal(one, other)
    assert [len(of) for of in features] == [depth] * (len(D.scales) if isinstance(D, MultiScale) else 1)
    for one, other in zip([layer for of in features for layer in of], heard, strict=True):
        assert torch.equal(one, other)


def test_features_give_gradients_to_the_images() -> None:
    x = noise(2, 3, 32, 32).requires_grad_()
    D = two_scales(3, 8, 2).double().requires_grad_(False)
    feature_matching(with_features(D, noise(2, 3, 32, 32, seed=1))[1], with_features(D, x)[1]).backward()
    assert x.grad is not None
    assert x.grad.any()


def test_features_of_a_network_that_is_no_chain_are_refused() -> None:
    with pytest.raises(TypeError, match="StarGANDiscriminator"):
        with_features(StarGANDiscriminator(16, 3, 2, 4, 2), noise(1, 3, 16, 16))
