"""CoGAN's shared layers are one storage, and its search finds the code of an image, whatever is translated beside it.

pytest tests/unit/test_cogan.py
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from i2i_core.errors import ConfigError
from i2i_core.methods import build_method
from i2i_core.methods.base import Optimiser
from i2i_core.methods.cogan import CoGAN, Search
from i2i_core.methods.lbfgs import minimised
from i2i_core.networks.cogan import coupled_discriminators, coupled_generators
from i2i_core.networks.init import init_glorot
from i2i_core.training.optim import make_optimiser

from ..support.methods import Case, run, small


def rosenbrock(z_R2: Tensor) -> Tensor:
    """(1 - x)^2 + 100 (y - x^2)^2, whose minimum is 0 at (1, 1)."""
    x, y = z_R2.unbind(1)
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


STARTS = torch.tensor([[-1.2, 1.0], [0.0, 0.0], [2.0, -1.5], [1.0, 1.0]], dtype=torch.float64)


def test_minimised_finds_the_minimum_of_every_row() -> None:
    z, value = minimised(rosenbrock, STARTS, 200)
    torch.testing.assert_close(z, torch.ones_like(z), rtol=0, atol=1e-6)
    assert value.max() < 1e-10
    assert torch.equal(z[3], STARTS[3])


def test_minimised_first_step_is_that_by_hand() -> None:
    """f = (x^2 + 4 y^2) / 2 at (1, 1): the gradient is (1, 4), and the first step, 1/5 of it, meets both conditions."""
    f = lambda z: (z[:, 0] ** 2 + 4 * z[:, 1] ** 2) / 2  # noqa: E731
    start = torch.ones(1, 2, dtype=torch.float64)
    z, value = minimised(f, start, 1)
    assert z[0].tolist() == pytest.approx([0.8, 0.2])
    assert value.item() == pytest.approx((0.64 + 4 * 0.04) / 2)
    # Then s = (-0.2, -0.8), y = (-0.2, -3.2): rho = 1 / 2.6, scale = 2.6 / 10.28, gradient (0.8, 0.8).
    s, y, g = (torch.tensor(v, dtype=torch.float64) for v in ([-0.2, -0.8], [-0.2, -3.2], [0.8, 0.8]))
    rho = 1 / (s @ y)
    left = torch.eye(2, dtype=torch.float64) - rho * torch.outer(s, y)
    H = left @ (torch.eye(2, dtype=torch.float64) * (s @ y) / (y @ y)) @ left.T + rho * torch.outer(s, s)
    d = -H @ g
    z, _ = minimised(f, start, 2)
    step = (z[0] - torch.tensor([0.8, 0.2], dtype=torch.float64)) / d
    assert step[0].item() == pytest.approx(step[1].item())
    assert min(abs(step[0].item() - t) for t in (0.25, 0.5, 1.0, 2.0)) < 1e-9


def test_minimised_rows_do_not_see_each_other() -> None:
    together = minimised(rosenbrock, STARTS, 25)
    for i in range(len(STARTS)):
        alone = minimised(rosenbrock, STARTS[i : i + 1], 25)
        torch.testing.assert_close(alone[0][0], together[0][i], rtol=1e-12, atol=1e-12)


def test_minimised_never_ends_above_its_start_and_stops_at_what_is_not_finite() -> None:
    z, value = minimised(lambda z: torch.where(z[:, 0] > 0, -z[:, 0].log() + z[:, 0], torch.nan), STARTS + 0.5, 50)
    assert z[0].tolist() == (STARTS + 0.5)[0].tolist()  # no value there
    torch.testing.assert_close(z[1:, 0], torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-5)
    assert value[1:].isfinite().all()


def test_coupled_layers_are_one_storage_and_the_others_are_not() -> None:
    for one, other in (coupled_generators(32, (1, 3), 5, 4), coupled_discriminators(32, (1, 3), 4)):
        assert one.shared is other.shared
        assert not {*one.own.parameters()} & {*other.own.parameters()}
    G1, G2 = coupled_generators(32, (1, 3), 5, 4)
    assert [m.out_channels for m in G1.own if isinstance(m, nn.ConvTranspose2d)] == [4, 1]
    assert G2(torch.zeros(2, 5)).shape == (2, 3, 32, 32)
    D1, _ = coupled_discriminators(32, (1, 3), 4)
    assert [m.p for m in D1.modules() if isinstance(m, nn.Dropout)] == [0.1, 0.3, 0.5]
    assert [m.out_channels for m in D1.own if isinstance(m, nn.Conv2d)] == [4, 8]


def test_cogan_shared_layers_stay_one_through_updates() -> None:
    found = run(Case("cogan", training={"ema_halflife": 20}))
    for prefix in ("", "ema."):
        ones = [name for name in found if name.startswith(f"{prefix}G1.shared")]
        assert ones
        for name in ones:
            assert torch.equal(found[name], found[name.replace("G1", "G2")])
    assert not torch.equal(found["G1.own.0.weight"], found["G2.own.0.weight"])


def test_cogan_logit_is_the_difference_of_a_two_way_softmax() -> None:
    D, _ = coupled_discriminators(16, (1, 1), 2, "none", dropout=False)
    x = torch.randn(3, 1, 16, 16)
    made, real = D.shared(D.own(x)).softmax(1).unbind(1)
    torch.testing.assert_close(D(x)[:, 0].sigmoid(), real, rtol=1e-5, atol=1e-6)
    assert made.shape == (3,)


def searching(**hyper: object) -> CoGAN:
    method = small(Case("cogan", hyper={"starts": 4, "iterations": 60, **hyper}))
    assert isinstance(method, CoGAN)
    init_glorot(method.networks, torch.Generator().manual_seed(3))  # so that its images differ
    return method


def test_search_finds_the_code_of_a_made_image() -> None:
    method = searching()
    z = torch.rand(2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
    with method.translating():
        x1, x2 = method.pair(z)
    found = method.image_from(x1, keys=["k", "l"])
    assert (found - x2).abs().max() < 1e-3 * x2.abs().max()
    assert (method.image_from(x2, "BtoA", keys=["k", "l"]) - x1).abs().max() < 1e-3 * x1.abs().max()


def test_search_of_an_image_depends_on_its_key_and_on_no_other_image() -> None:
    method = searching(iterations=5)
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
    keys = ["k", "l", "m"]
    together = method.image_from(x, keys=keys)
    for i in (0, 2):
        assert torch.equal(method.image_from(x[i : i + 1], keys=keys[i : i + 1])[0], together[i])
    assert not torch.equal(method.image_from(x[:1], keys=["other"])[0], together[0])
    repeated = method.image_from(x[[0, 0, 1]], keys=["k", "k", "l"])
    assert torch.equal(repeated[0], repeated[1])
    assert torch.equal(repeated[:2].mean(0), together[0])


def test_search_leaves_weights_and_gradients_alone() -> None:
    method = searching(iterations=3, g_norm="batch")
    before = {name: value.clone() for name, value in method.networks.state_dict().items()}
    method.image_from(torch.zeros(1, 3, 16, 16, dtype=torch.float64), keys=["k"])
    assert all(torch.equal(before[name], value) for name, value in method.networks.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in method.networks.parameters())


def test_search_takes_the_best_of_its_starts() -> None:
    """A source with two hollows, of which one is deeper: f = (z^2 - 1)^2 + 0.3 z."""

    class Source(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            f = (z[:, :1] ** 2 - 1) ** 2 + 0.3 * z[:, :1] + 1
            return f.sqrt()[:, :, None, None]

    class Target(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return z[:, :1, None, None]

    search = Search(Source(), Target(), 50, (1, 1))
    starts = torch.tensor([[[0.9], [-0.8], [1.1]]], dtype=torch.float64)
    with torch.no_grad():
        found = search(torch.zeros(1, 1, 1, 1, dtype=torch.float64), starts)
        alone = search(torch.zeros(1, 1, 1, 1, dtype=torch.float64), starts[:, :1])
    assert found.item() == pytest.approx(-1.035, abs=0.01)
    assert alone.item() == pytest.approx(0.96, abs=0.01)


def test_decay_of_weights_alone_leaves_biases_norms_and_slopes() -> None:
    """Two moves of SGD with a gradient of 0: weights shrink by lr * decay, and nothing else changes."""
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.PReLU(3))
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimiser = make_optimiser([*net.parameters()], Optimiser(0.1, (0.0, 0.0), 0.5, "sgd", "weights"))
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimiser.step()
    for name, p in net.named_parameters():
        torch.testing.assert_close(p.detach(), before[name] * (0.95 if name == "0.weight" else 1.0))


def test_cogan_refuses_what_its_networks_cannot_be() -> None:
    for values, message in (
        ({"image_size": 48}, "--image-size: found 48"),
        ({"architecture": "digits"}, "--image-size: found 128; expected 28 with --architecture digits"),
        ({"adversarial": "wgan-gp"}, "--adversarial: found wgan-gp with --d-norm batch"),
        ({"starts": 0}, "--starts: found 0"),
        ({"d_batch": "both"}, "--d-batch|d_batch"),
    ):
        with pytest.raises(ConfigError, match=message):
            build_method("cogan", "paper", **values)
