"""Every loss against arithmetic done by hand, in plain numbers.

Run: python -m pytest tests/unit/test_losses.py
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from i2i_core.losses.adversarial import ADVERSARIAL, adversarial
from i2i_core.losses.classification import attribute_bce, class_cross_entropy
from i2i_core.losses.kl import kl_normal, kl_unit_variance
from i2i_core.losses.penalties import gradient_penalty
from i2i_core.losses.reconstruction import l1
from i2i_core.networks.patchgan import PatchGAN
from i2i_core.networks.stargan import StarGANDiscriminator

PARTS = ("real", "fake", "generator")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def sigmoid(v: float) -> float:
    return 1 / (1 + math.exp(-v))


# ---------------------------------------------------------------- adversarial terms

# Per logit v, straight from the papers' equations; t is the real target.
BY_HAND: dict[str, dict[str, Callable[[float, float], float]]] = {
    "minimax": {
        "real": lambda v, t: -t * math.log(sigmoid(v)) - (1 - t) * math.log(1 - sigmoid(v)),
        "fake": lambda v, t: -math.log(1 - sigmoid(v)),
        "generator": lambda v, t: math.log(1 - sigmoid(v)),
    },
    "nonsaturating": {
        "real": lambda v, t: -t * math.log(sigmoid(v)) - (1 - t) * math.log(1 - sigmoid(v)),
        "fake": lambda v, t: -math.log(1 - sigmoid(v)),
        "generator": lambda v, t: -math.log(sigmoid(v)),
    },
    "lsgan": {
        "real": lambda v, t: (v - t) ** 2,
        "fake": lambda v, t: v**2,
        "generator": lambda v, t: (v - 1) ** 2,
    },
    "wgan": {"real": lambda v, t: -v, "fake": lambda v, t: v, "generator": lambda v, t: -v},
    "wgan-gp": {"real": lambda v, t: -v, "fake": lambda v, t: v, "generator": lambda v, t: -v},
    "hinge": {
        "real": lambda v, t: max(0.0, 1 - v),
        "fake": lambda v, t: max(0.0, 1 + v),
        "generator": lambda v, t: -v,
    },
}


def test_adversarial_table_checks_every_registered_term() -> None:
    assert set(BY_HAND) == set(ADVERSARIAL)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("name", "target"), [*((n, 1.0) for n in BY_HAND), *((n, 0.9) for n in ("minimax", "nonsaturating", "lsgan"))]
)
def test_adversarial_by_hand(name: str, target: float, part: str) -> None:
    logits = 2 * noise(3, 1, 4, 5)
    expected = np.mean([BY_HAND[name][part](v, target) for v in logits.flatten().tolist()])
    found = getattr(adversarial(name, target), part)(logits)
    assert found.shape == ()
    assert found.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("name", "real", "fake", "generator"),
    [
        ("minimax", math.log(2), math.log(2), -math.log(2)),
        ("nonsaturating", math.log(2), math.log(2), math.log(2)),
        ("lsgan", 1.0, 0.0, 1.0),
        ("wgan", 0.0, 0.0, 0.0),
        ("hinge", 1.0, 1.0, 0.0),
    ],
)
def test_adversarial_of_an_undecided_discriminator(name: str, real: float, fake: float, generator: float) -> None:
    adv, zero = adversarial(name), torch.zeros(2, 1, 3, 3)
    assert adv.real(zero).item() == pytest.approx(real, abs=1e-6)
    assert adv.fake(zero).item() == pytest.approx(fake, abs=1e-6)
    assert adv.generator(zero).item() == pytest.approx(generator, abs=1e-6)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", sorted(ADVERSARIAL))
def test_adversarial_gradients_are_finite_at_large_logits(name: str, part: str) -> None:
    logits = torch.tensor([-1e4, -90.0, 0.5, 90.0, 1e4], requires_grad=True)
    loss = getattr(ADVERSARIAL[name], part)(logits)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_adversarial_generator_that_saturates() -> None:
    """At a fake that D is sure of, minimax gives no gradient, and the log D trick its full one."""
    for name, slope in (("minimax", 0.0), ("nonsaturating", -1.0)):
        logit = torch.tensor([-50.0], requires_grad=True)
        adversarial(name).generator(logit).backward()
        assert logit.grad is not None
        assert logit.grad.item() == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize("name", ["minimax", "nonsaturating", "lsgan"])
def test_adversarial_smoothing_is_one_sided(name: str) -> None:
    logits, plain, smooth = noise(4, 1), adversarial(name), adversarial(name, 0.9)
    assert smooth.fake(logits) == plain.fake(logits)
    assert smooth.generator(logits) == plain.generator(logits)
    assert smooth.real(logits) != plain.real(logits)
    best = torch.tensor(math.log(0.9 / 0.1) if name != "lsgan" else 0.9, requires_grad=True)
    smooth.real(best).backward()
    assert best.grad is not None
    assert abs(best.grad.item()) < 1e-6  # D is content at D(x) = 0.9


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        ("lsgann", 1.0, "adversarial terms 'lsgann', not one of minimax, nonsaturating, lsgan"),
        ("wgan", 0.9, "a real_target of 0.9 with wgan,"),
        ("wgan-gp", 0.9, "a real_target of 0.9 with wgan-gp,"),
        ("hinge", 0.9, "a real_target of 0.9 with hinge,"),
        ("lsgan", 1.1, "a real_target of 1.1"),
        ("lsgan", 0.5, "a real_target of 0.5"),
        ("lsgan", math.nan, "a real_target of nan"),
    ],
)
def test_adversarial_refuses(name: str, target: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        adversarial(name, target)


# ---------------------------------------------------------------- reconstruction, classification


def test_l1_by_hand() -> None:
    a, b = noise(2, 3, 4, 4), noise(2, 3, 4, 4, seed=1)
    assert l1(a, b).item() == pytest.approx(float(np.abs(a.numpy() - b.numpy()).mean()), rel=1e-12)
    assert l1(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 1.0]])).item() == 1.75


def test_attribute_bce_by_hand() -> None:
    logits, labels = 2 * noise(4, 5), (noise(4, 5, seed=1) > 0).double()
    expected = 0.0
    for v, y in zip(logits.flatten().tolist(), labels.flatten().tolist(), strict=True):
        expected -= math.log(sigmoid(v)) if y else math.log(1 - sigmoid(v))
    assert attribute_bce(logits, labels).item() == pytest.approx(expected / 4, rel=1e-10)
    assert attribute_bce(logits.float(), labels.long()).item() == pytest.approx(expected / 4, rel=1e-5)


def test_class_cross_entropy_by_hand() -> None:
    logits, classes = 2 * noise(4, 8), [3, 0, 7, 3]
    rows = logits.tolist()
    expected = np.mean([-math.log(math.exp(r[k]) / sum(map(math.exp, r))) for r, k in zip(rows, classes, strict=True)])
    assert class_cross_entropy(logits, torch.eye(8)[classes]).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("loss", [attribute_bce, class_cross_entropy])
def test_classification_losses_are_finite_at_large_logits(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    logits = torch.tensor([[-1e4, 1e4, 0.0], [1e4, -1e4, 1e4]], requires_grad=True)
    value = loss(logits, torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    value.backward()
    assert value.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("loss", [l1, attribute_bce, class_cross_entropy, kl_normal])
def test_losses_refuse_shapes_that_would_broadcast(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        loss(torch.zeros(4, 3), torch.zeros(4, 1))


# ---------------------------------------------------------------- distances of codes from N(0, 1)


def test_kl_normal_by_hand() -> None:
    """The closed form, summed over the code and a mean over samples, in plain numbers."""
    mean, log_variance = noise(4, 3), noise(4, 3, seed=1)
    expected = 0.0
    for m, v in zip(mean.flatten().tolist(), log_variance.flatten().tolist(), strict=True):
        expected += 0.5 * (m**2 + math.exp(v) - 1 - v)
    assert kl_normal(mean, log_variance).item() == pytest.approx(expected / 4, rel=1e-12)


def test_kl_normal_is_the_integral() -> None:
    """E_q[log q - log p], by a fine sum, for one code."""
    m, v = 0.7, 0.3
    x = np.linspace(-12, 12, 200_001)
    q = np.exp(-((x - m) ** 2) / (2 * math.exp(v))) / math.sqrt(2 * math.pi * math.exp(v))
    log_ratio = -((x - m) ** 2) / (2 * math.exp(v)) - v / 2 + x**2 / 2
    expected = float((q * log_ratio).sum() * (x[1] - x[0]))
    assert kl_normal(torch.tensor([[m]]).double(), torch.tensor([[v]]).double()).item() == pytest.approx(expected, 1e-6)


def test_kl_normal_of_the_standard_normal_is_zero_and_least_there() -> None:
    mean, log_variance = torch.zeros(2, 5, requires_grad=True), torch.zeros(2, 5, requires_grad=True)
    loss = kl_normal(mean, log_variance)
    loss.backward()
    assert loss.item() == 0
    assert mean.grad is not None
    assert log_variance.grad is not None
    assert not mean.grad.any()
    assert not log_variance.grad.any()


def test_kl_unit_variance_by_hand() -> None:
    """The mean of mu^2 over samples, channels and positions: no half, no sum over the code."""
    mu = noise(2, 3, 4, 4)
    assert kl_unit_variance(mu).item() == pytest.approx(sum(v * v for v in mu.flatten().tolist()) / 96, rel=1e-12)
    assert kl_unit_variance(torch.tensor([[1.0, -3.0]])).item() == 5


# ---------------------------------------------------------------- gradient penalty


def uniform(batch: int) -> Tensor:
    return torch.rand(batch, 1, 1, 1, generator=Generator().manual_seed(3), dtype=torch.float64)


def test_gradient_penalty_of_a_linear_critic() -> None:
    """The gradient of w . x is w wherever it is taken, so the penalty is (||w|| - 1)^2."""
    w = noise(3, 4, 4).requires_grad_()
    penalty = gradient_penalty(lambda x: (x * w).sum(dim=(1, 2, 3)), noise(5, 3, 4, 4), noise(5, 3, 4, 4), uniform(5))
    length = math.sqrt(sum(v * v for v in w.flatten().tolist()))
    assert penalty.item() == pytest.approx((length - 1) ** 2, rel=1e-10)
    (gradient,) = torch.autograd.grad(penalty, w)  # 2 (||w|| - 1) w / ||w||
    np.testing.assert_allclose(gradient.numpy(), 2 * (length - 1) * w.detach().numpy() / length, rtol=1e-9)


def test_gradient_penalty_is_taken_between_the_images_one_norm_per_sample() -> None:
    """sum(x^2) / 2 has the gradient x itself, so the penalty shows x_hat."""
    real, fake, alpha = noise(3, 2, 2, 2), noise(3, 2, 2, 2, seed=1), uniform(3)
    x_hat = alpha.numpy() * real.numpy() + (1 - alpha.numpy()) * fake.numpy()
    expected = np.mean([(math.sqrt((x**2).sum()) - 1) ** 2 for x in x_hat])
    penalty = gradient_penalty(lambda x: x.square().sum() / 2, real, fake, alpha)
    # No weights here: the critic's graph is x_hat's own.
    assert penalty.item() == pytest.approx(expected, rel=1e-10)


def small_critic() -> nn.Sequential:
    layers = (nn.Conv2d(2, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(12, 1), nn.Softplus())
    critic = nn.Sequential(*layers).double()
    for i, parameter in enumerate(critic.parameters()):
        parameter.data = noise(*parameter.shape, seed=10 + i)
    return critic


def penalty_by_differences(critic: nn.Module, x_hat: Tensor, step: float = 1e-5) -> float:
    total = 0.0
    for sample in x_hat:
        squares = 0.0
        for i in range(sample.numel()):
            nudge = torch.zeros(sample.numel(), dtype=torch.float64)
            nudge[i] = step
            nudge = nudge.view_as(sample)
            with torch.no_grad():
                slope = (critic((sample + nudge)[None]) - critic((sample - nudge)[None])).item() / (2 * step)
            squares += slope**2
        total += (math.sqrt(squares) - 1) ** 2
    return total / len(x_hat)


def test_gradient_penalty_against_finite_differences() -> None:
    critic, real, fake, alpha = small_critic(), noise(4, 2, 3, 3), noise(4, 2, 3, 3, seed=1), uniform(4)
    penalty = gradient_penalty(critic, real, fake, alpha)
    x_hat = alpha * real + (1 - alpha) * fake
    assert penalty.item() == pytest.approx(penalty_by_differences(critic, x_hat), rel=1e-7)

    # Its gradient for the critic's weights, the second derivative, by differences of the penalty.
    penalty.backward()
    weight = critic[0].weight
    found = weight.grad.flatten()
    for i in range(0, weight.numel(), 5):
        values = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                weight.view(-1)[i] += step
            values.append(gradient_penalty(critic, real, fake, alpha).item())
            with torch.no_grad():
                weight.view(-1)[i] -= step
        assert found[i].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5, abs=1e-8)


def test_gradient_penalty_sums_a_map_of_logits() -> None:
    def critic(x: Tensor) -> Tensor:
        return 2 * x[:, :1]  # every position has the gradient 2 to its own pixel

    x = noise(3, 2, 4, 4)
    assert gradient_penalty(critic, x, x, uniform(3)).item() == pytest.approx((2 * 4 - 1) ** 2)

    def mean_critic(x: Tensor) -> Tensor:
        return critic(x).mean(dim=(1, 2, 3))

    assert gradient_penalty(mean_critic, x, x, uniform(3)).item() == pytest.approx((2 * 4 / 16 - 1) ** 2)


def test_gradient_penalty_of_a_flat_critic_is_one_and_differentiable() -> None:
    w = torch.zeros(3, 4, 4, dtype=torch.float64, requires_grad=True)
    x = noise(2, 3, 4, 4)
    penalty = gradient_penalty(lambda x: (x * w).sum(dim=(1, 2, 3)), x, x, uniform(2))
    penalty.backward()
    assert penalty.item() == 1
    assert w.grad is not None
    assert w.grad.isfinite().all()


def test_gradient_penalty_leaves_the_images_alone() -> None:
    real, fake = noise(2, 2, 3, 3).requires_grad_(), noise(2, 2, 3, 3).requires_grad_()
    critic = small_critic()
    gradient_penalty(critic, real, fake, uniform(2)).backward()
    assert real.grad is None
    assert fake.grad is None
    assert all(p.grad is not None for p in critic[:4].parameters() if p is not critic[3].bias)


@pytest.mark.parametrize(
    "critic", [lambda: StarGANDiscriminator(64, base=2), lambda: PatchGAN(3, base=2, norm="instance")], ids=["s", "p"]
)
def test_gradient_penalty_through_the_projects_critics(critic: Callable[[], nn.Module]) -> None:
    net = critic()

    def source(x: Tensor) -> Tensor:
        logits = net(x)
        return logits[0] if isinstance(logits, tuple) else logits

    x = noise(2, 3, 64, 64).float()
    penalty = gradient_penalty(source, x, x.flip(0), uniform(2).float())
    penalty.backward()
    moved = [p.grad for p in net.parameters() if p.grad is not None and p.grad.any()]
    assert len(moved) >= 4
    assert all(g.isfinite().all() for g in moved)


def test_gradient_penalty_refuses_shapes() -> None:
    x, critic = noise(2, 2, 3, 3), small_critic()
    with pytest.raises(ValueError, match="shapes differ"):
        gradient_penalty(critic, x, x[:1], uniform(2))
    with pytest.raises(ValueError, match="alpha has shape"):
        gradient_penalty(critic, x, x, uniform(2)[:1])


# ---------------------------------------------------------------- what every loss keeps

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    **{f"{n}.{p}": (lambda a, _b, n=n, p=p: getattr(ADVERSARIAL[n], p)(a)) for n in ADVERSARIAL for p in PARTS},
    "l1": l1,
    "attribute_bce": lambda a, b: attribute_bce(a.flatten(1), b.flatten(1).sigmoid()),
    "class_cross_entropy": lambda a, b: class_cross_entropy(a.flatten(1), b.flatten(1).softmax(1)),
    "kl_normal": lambda a, b: kl_normal(a.flatten(1), b.flatten(1)),
    "kl_unit_variance": lambda a, _b: kl_unit_variance(a),
    "gradient_penalty": lambda a, b: gradient_penalty(
        lambda x: x.pow(3).flatten(1).sum(1), a, b, torch.full((len(a), 1, 1, 1), 0.3, dtype=a.dtype)
    ),
}


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_losses_of_weighted_parts_make_the_whole(name: str) -> None:
    """n/B-weighted losses of any split equal the loss of the batch: what makes N workers equal to one."""
    a, b = noise(6, 1, 4, 4), noise(6, 1, 4, 4, seed=1)
    loss = LOSSES[name]
    for cuts in ([3, 3], [1, 2, 3]):
        parts = zip(a.split(cuts), b.split(cuts), cuts, strict=True)
        assert sum(n / 6 * loss(x, y).item() for x, y, n in parts) == pytest.approx(loss(a, b).item(), rel=1e-10)


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_compute_half_precision_in_float32(name: str, dtype: torch.dtype) -> None:
    a, b = noise(8, 1, 16, 16).to(dtype), noise(8, 1, 16, 16, seed=1).to(dtype)
    found = LOSSES[name](a, b)
    assert found.dtype == torch.float32
    if name not in ("gradient_penalty", "attribute_bce", "class_cross_entropy"):  # these round an input of their own
        assert found.item() == pytest.approx(LOSSES[name](a.double(), b.double()).item(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_losses_keep_double_precision(name: str) -> None:
    assert LOSSES[name](noise(2, 1, 4, 4), noise(2, 1, 4, 4, seed=1)).dtype == torch.float64


def test_gradient_penalty_norm_does_not_overflow_in_half() -> None:
    x = torch.zeros(1, 3, 32, 32, dtype=torch.float16)
    penalty = gradient_penalty(lambda x: 300 * x, x, x, torch.zeros(1, 1, 1, 1))  # 300^2 is above float16's range
    assert penalty.item() == pytest.approx((300 * math.sqrt(3 * 32 * 32) - 1) ** 2, rel=1e-5)
