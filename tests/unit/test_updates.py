"""Two updates of each method against a plain transcription of the paper's algorithm, which shares no code with
the library but the networks: losses and weights to 1e-10 in float64.

    pytest tests/unit/test_updates.py
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from i2i_core.data.batch import Batch
from i2i_core.methods.base import Progress
from i2i_core.training.config import TrainingConfig
from i2i_core.training.step import Step

from ..distributed.harness import ALONE, Case, batches, small, whole_batch

BATCH, UPDATES = 5, 2
Losses = list[float]


def stargan(networks: nn.ModuleDict, k: Any, feed: list[Batch]) -> Losses:
    """Choi et al. 2018, Eq. 4 to 8, and the order of the authors' training."""
    G, D = networks["G"], networks["D"]
    g_adam = torch.optim.Adam(G.parameters(), k.g_lr, (k.beta1, k.beta2))
    d_adam = torch.optim.Adam(D.parameters(), k.d_lr, (k.beta1, k.beta2))
    losses = []
    for i, batch in enumerate(feed):
        x, c = batch["image"], batch.whole["labels"].double()
        target = c[batch.permutation("target")]
        alpha = batch.draw("alpha", 1, 1, 1, kind="uniform")

        real, logits = D(x)
        fake = G(x, target).detach()
        x_hat = (alpha * x + (1 - alpha) * fake).requires_grad_(True)
        slope = torch.autograd.grad(D(x_hat)[0].sum(), x_hat, create_graph=True)[0]
        penalty = (((slope**2).sum(dim=(1, 2, 3)).sqrt() - 1) ** 2).mean()
        p = 1 / (1 + torch.exp(-logits))
        classes = -(c * p.log() + (1 - c) * (1 - p).log()).sum() / BATCH
        d_loss = -real.mean() + D(fake)[0].mean() + k.lambda_gp * penalty + k.lambda_cls * classes
        d_adam.zero_grad()
        d_loss.backward()
        d_adam.step()
        losses.append(d_loss.item())

        if (i + 1) % k.n_critic == 0:
            made = G(x, target)
            judged, logits = D(made)
            p = 1 / (1 + torch.exp(-logits))
            classes = -(target * p.log() + (1 - target) * (1 - p).log()).sum() / BATCH
            back = (x - G(made, c)).abs().mean()
            g_loss = -judged.mean() + k.lambda_cls * classes + k.lambda_rec * back
            g_loss = g_loss + k.lambda_id * (G(x, c) - x).abs().mean()
            g_adam.zero_grad()
            g_loss.backward()
            g_adam.step()
            losses.append(g_loss.item())
    return losses


def pix2pix(networks: nn.ModuleDict, k: Any, feed: list[Batch]) -> Losses:
    """Isola et al. 2017, Eq. 1 to 4: one fake; D on it, halved; then G by the log D trick."""
    G, D = networks["G"], networks["D"]
    g_adam = torch.optim.Adam(G.parameters(), k.lr, (k.beta1, k.beta2))
    d_adam = torch.optim.Adam(D.parameters(), k.lr, (k.beta1, k.beta2))
    losses = []
    for batch in feed:
        a, b = batch["a"], batch["b"]
        conditional = "cGAN" in k.objective

        def judge(image: Tensor, a: Tensor = a, conditional: bool = conditional) -> Tensor:
            return 1 / (1 + torch.exp(-D(torch.cat([a, image], 1) if conditional else image)))

        fake = G(a)
        d_loss = -(judge(b).log().mean() + (1 - judge(fake.detach())).log().mean()) / 2
        d_adam.zero_grad()
        d_loss.backward()
        d_adam.step()
        g_loss = -judge(fake).log().mean()
        if "L1" in k.objective:
            g_loss = g_loss + k.lambda_l1 * (b - fake).abs().mean()
        g_adam.zero_grad()
        g_loss.backward()
        g_adam.step()
        losses += [d_loss.item(), g_loss.item()]
    return losses


CASES = {
    "stargan": (stargan, Case("stargan", batch=BATCH, hyper={"n_critic": 2, "lambda_cls": 0.7, "lambda_gp": 3.0})),
    "stargan with an identity term": (stargan, Case("stargan", batch=BATCH, hyper={"lambda_id": 4.0})),
    "pix2pix": (pix2pix, Case("pix2pix", batch=BATCH, hyper={"norm": "batch", "lambda_l1": 7.0})),
    "pix2pix, L1+GAN": (pix2pix, Case("pix2pix", batch=BATCH, hyper={"objective": "L1+GAN", "receptive_field": 1})),
    "pix2pix, cGAN": (
        pix2pix,
        Case("pix2pix", batch=BATCH, hyper={"objective": "cGAN", "generator": "encoder_decoder"}),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_updates_equal_the_paper_s(name: str) -> None:
    plain, case = CASES[name]
    method = small(case)
    networks = copy.deepcopy(method.networks)
    critic = getattr(method.config, "n_critic", 1)
    feed = [whole_batch(method, BATCH, t) for t in range(UPDATES * critic)]
    expected = plain(networks, method.config, feed)

    step, progress, found = Step(method, TrainingConfig(), ALONE, lambda images: 1.0), Progress(), []
    update = method.update

    def noted(*args: Any) -> Any:
        for player, loss, terms in update(*args):
            found.append(loss.item())
            yield player, loss, terms

    method.update = noted  # type: ignore[method-assign]
    ours = batches(method, case, ALONE)
    for _ in range(UPDATES):
        step(ours, progress)

    assert found == pytest.approx(expected, rel=1e-10, abs=1e-10)
    for key, weight in networks.state_dict().items():
        if weight.is_floating_point():
            error = (method.networks.state_dict()[key] - weight).abs().max().item()
            assert error <= 1e-10 * max(1.0, weight.abs().max().item()), f"{key}: {error}"


@pytest.mark.parametrize("name", CASES)
def test_a_move_gives_gradient_to_its_player_and_to_no_other(name: str) -> None:
    method = small(CASES[name][1])
    part = (batch for batch in [whole_batch(method, BATCH, t) for t in range(4)])
    for player, loss, _ in method.update(part, Progress()):
        method.zero_grad(set_to_none=True)
        loss.backward()  # into everything that asks for a gradient, unlike the step's
        mine = set(method.parameters_of(player))
        without = [
            n for n, p in method.networks.named_parameters() if p in mine and (p.grad is None or not p.grad.any())
        ]
        assert not [n for n in without if not silent(n, name)], f"{player} got no gradient"
        others = [n for n, p in method.networks.named_parameters() if p not in mine and p.grad is not None]
        assert not others, f"{player}'s loss reached {others}"


def silent(parameter: str, case: str) -> bool:
    """A bias before an instance norm has no effect; its gradient is 0 up to rounding."""
    return case.startswith("pix2pix") and parameter.endswith("bias")


def test_an_l1_run_has_no_discriminator() -> None:
    method = small(Case("pix2pix", hyper={"objective": "L1"}))
    assert set(method.networks) == set(method.players) == {"G"}
    moves = list(method.update(iter([whole_batch(method, BATCH, 0)]), Progress()))
    assert [player for player, _, _ in moves] == ["G"]


def test_class_labels_are_one_of_several() -> None:
    """RaFD: cross entropy over classes, by hand for one row."""
    method = small(Case("stargan", hyper={"labels": "classes"}))
    logits = torch.tensor([[2.0, -1.0, 0.5]], dtype=torch.float64)
    e = logits.exp()
    found = method.classification(logits, torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64))
    assert found.item() == pytest.approx(-(e[0, 2] / e.sum()).log().item(), abs=1e-12)


def test_a_non_square_and_larger_image_goes_through_a_trained_generator() -> None:
    method = small(Case("pix2pix"))
    with method.translating():
        assert method.networks["G"](torch.zeros(1, 3, 32, 48, dtype=torch.float64)).shape == (1, 3, 32, 48)
    assert method.translate(torch.zeros(2, 3, 32, 48, dtype=torch.float64)).shape == (2, 3, 32, 48)


def test_the_averaged_generator_forgets_half_in_its_half_life() -> None:
    """By hand: mean <- keep * mean + (1 - keep) * weight, keep = 2^-(images / half-life), after every update."""
    case = Case("pix2pix", batch=BATCH)
    method = small(case)
    step, progress = Step(method, TrainingConfig(ema_halflife=15), ALONE, lambda i: 1.0), Progress()
    feed = batches(method, case, ALONE)
    expected = {k: v.clone() for k, v in method.networks["G"].state_dict().items()}
    for _ in range(3):
        step(feed, progress)
        now = method.networks["G"].state_dict()
        keep = 0.5 ** (BATCH / 15)
        expected = {k: keep * v + (1 - keep) * now[k] for k, v in expected.items()}
    assert step.ema is not None
    for key, mean in step.ema["G"].state_dict().items():
        torch.testing.assert_close(mean, expected[key], rtol=1e-12, atol=1e-12)
        assert not torch.equal(mean, method.networks["G"].state_dict()[key]) or not mean.any(), key
