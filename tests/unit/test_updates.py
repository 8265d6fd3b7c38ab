"""Updates of each method against a plain transcription of the paper's algorithm, which shares no code with the library
but the networks (and the seeded noise): losses and weights to 1e-10 in float64.

    pytest tests/unit/test_updates.py
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.config.training import TrainingConfig
from i2i_core.methods import METHODS, build_method
from i2i_core.methods.base import Method, Progress
from i2i_core.pretrained.backbones import read_efficientnet
from i2i_core.randomness import seed_from
from i2i_core.training.step import Step

from ..support.histories import PlainHistory, PlainPool
from ..support.methods import ALONE, Case, batches, small, whole_batch

BATCH, UPDATES = 5, 2
Losses = list[float]
Feed = Iterator[Batch]


# ---------------------------------------------------------------- what the papers' algorithms are made of


def probability(logit: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-logit))


class Rules:
    """The adversarial terms in the papers' symbols, of one map of logits or of a list of maps, which are summed."""

    def __init__(self, k: Any) -> None:
        self.kind, self.t, self.k = k.adversarial, k.real_target, k

    def _sum(self, maps: Tensor | list[Tensor], term: Callable[[Tensor], Tensor]) -> Tensor:
        return sum(term(v).mean() for v in (maps if isinstance(maps, list) else [maps]))  # type: ignore[return-value]

    def real(self, maps: Tensor | list[Tensor]) -> Tensor:
        """What D pays for real images."""
        t = self.t
        entropy = lambda v: -(t * probability(v).log() + (1 - t) * (1 - probability(v)).log())  # noqa: E731
        terms = {"lsgan": lambda v: (v - t) ** 2, "wgan": lambda v: -v, "wgan-gp": lambda v: -v}
        terms |= {"hinge": lambda v: torch.clamp(1 - v, min=0), "minimax": entropy, "nonsaturating": entropy}
        return self._sum(maps, terms[self.kind])

    def fake(self, maps: Tensor | list[Tensor]) -> Tensor:
        """What D pays for made ones."""
        entropy = lambda v: -(1 - probability(v)).log()  # noqa: E731
        terms = {"lsgan": lambda v: v**2, "wgan": lambda v: v, "wgan-gp": lambda v: v}
        terms |= {"hinge": lambda v: torch.clamp(1 + v, min=0), "minimax": entropy, "nonsaturating": entropy}
        return self._sum(maps, terms[self.kind])

    def made(self, maps: Tensor | list[Tensor]) -> Tensor:
        """What G pays."""
        terms = {"lsgan": lambda v: (v - 1) ** 2, "wgan": lambda v: -v, "wgan-gp": lambda v: -v, "hinge": lambda v: -v}
        terms |= {"minimax": lambda v: (1 - probability(v)).log(), "nonsaturating": lambda v: -probability(v).log()}
        return self._sum(maps, terms[self.kind])

    def penalty(self, critic: Callable[[Tensor], Any], real: Tensor, fake: Tensor, batch: Batch) -> Tensor | float:
        """lambda_gp (|gradient between real and made| - 1)^2, the mean over samples (Gulrajani et al. 2017)."""
        if self.kind != "wgan-gp":
            return 0.0
        alpha = batch.draw("alpha", 1, 1, 1, kind="uniform")
        between = (alpha * real + (1 - alpha) * fake.detach()).requires_grad_(True)
        maps = critic(between)
        total = sum(one.sum() for one in (maps if isinstance(maps, list) else [maps]))
        (slope,) = torch.autograd.grad(total, between, create_graph=True)
        return self.k.lambda_gp * (((slope**2).sum(dim=(1, 2, 3)).sqrt() - 1) ** 2).mean()

    def clip(self, *critics: nn.Module) -> None:
        """Arjovsky et al. 2017, Alg. 1, line 7."""
        for critic in critics if self.kind == "wgan" else ():
            for weight in critic.parameters():
                weight.data = weight.data.clamp(-self.k.clip, self.k.clip)


class PlainSGD:
    """v <- momentum v + gradient; w <- w - rate v."""

    def __init__(self, weights: list[Any], lr: float, momentum: float) -> None:
        self.weights, self.lr, self.momentum = weights, lr, momentum
        self.v = [torch.zeros_like(weight) for weight in weights]

    def step(self) -> None:
        for i, weight in enumerate(self.weights):
            self.v[i] = self.momentum * self.v[i] + weight.grad
            weight.data = weight.data - self.lr * self.v[i]


class Optimiser:
    """One optimiser over networks; a weight that two of them share is one weight."""

    def __init__(self, k: Any, lr: float, *networks: nn.Module, weight_decay: float = 0.0, kept: bool = False) -> None:
        weights: Any = list({id(p): p for network in networks for p in network.parameters()}.values())
        self.weights = weights
        if kept:  # biases, norms and slopes do not decay
            decays = {"params": [p for p in weights if p.dim() > 1]}
            weights = [decays, {"params": [p for p in weights if p.dim() == 1], "weight_decay": 0.0}]
        if k.optimiser == "adam":
            self.inner: Any = torch.optim.Adam(
                weights, lr, (k.beta1, k.beta2), weight_decay=weight_decay, fused=False, foreach=False
            )
        elif k.optimiser == "sgd":
            self.inner = PlainSGD(weights, lr, k.beta1)
        else:
            self.inner = torch.optim.RMSprop(weights, lr, weight_decay=weight_decay, foreach=False)

    def move(self, loss: Tensor) -> float:
        gradients = torch.autograd.grad(loss, self.weights, retain_graph=True)
        return self.move_by(loss, gradients)

    def move_by(self, loss: Tensor, gradients: Sequence[Tensor]) -> float:
        for weight, gradient in zip(self.weights, gradients, strict=True):
            weight.grad = gradient
        self.inner.step()
        return loss.item()


def distance(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().mean()


# ---------------------------------------------------------------- the papers' algorithms


def stargan(networks: nn.ModuleDict, k: Any, feed: Feed, updates: int) -> Losses:
    """Choi et al. 2018, Eq. 4 to 8, and the order of the authors' training."""
    G, D, rules = networks["G"], networks["D"], Rules(k)
    g_moves, d_moves = Optimiser(k, k.g_lr, G), Optimiser(k, k.d_lr, D)
    losses = []
    for i in range(updates * k.n_critic):
        batch = next(feed)
        x, c = batch["image"], batch.whole["labels"].double()
        target = c[batch.permutation("target")]

        real, logits = D(x)
        fake = G(x, target).detach()
        p = probability(logits)
        classes = -(c * p.log() + (1 - c) * (1 - p).log()).sum() / BATCH
        d_loss = rules.real(real) + rules.fake(D(fake)[0]) + k.lambda_cls * classes
        d_loss = d_loss + rules.penalty(lambda image: D(image)[0], x, fake, batch)
        losses.append(d_moves.move(d_loss))
        rules.clip(D)

        if (i + 1) % k.n_critic == 0:
            made = G(x, target)
            judged, logits = D(made)
            p = probability(logits)
            classes = -(target * p.log() + (1 - target) * (1 - p).log()).sum() / BATCH
            g_loss = rules.made(judged) + k.lambda_cls * classes + k.lambda_rec * distance(x, G(made, c))
            g_loss = g_loss + k.lambda_id * distance(G(x, c), x)
            losses.append(g_moves.move(g_loss))
    return losses


def pix2pix(networks: nn.ModuleDict, k: Any, feed: Feed, updates: int) -> Losses:
    """Isola et al. 2017, Eq. 1 to 4: one fake; D on it, halved; then G by the log D trick. With matching-aware pairs,
    Reed et al. 2016, Alg. 1: the made pair and the wrong pair count half each."""
    G, rules = networks["G"], Rules(k)
    conditional = "cGAN" in k.objective

    def judge(a: Tensor, image: Tensor) -> Tensor:
        return networks["D"](torch.cat([a, image], 1) if conditional else image)

    g_moves, d_moves = Optimiser(k, k.lr, G), Optimiser(k, k.lr, networks["D"])
    losses = []
    for _ in range(updates):
        for _ in range(k.n_critic):
            batch = next(feed)
            a, b = batch["a"], batch["b"]
            fake = G(a)
            l_real, paid = rules.real(judge(a, b)), rules.fake(judge(a, fake.detach()))
            if k.matching_aware:
                paid = (paid + rules.fake(judge(next(feed)["a"], b))) / 2
            d_loss = (l_real + paid) / 2
            seen, seen_fake = (torch.cat([a, b], 1), torch.cat([a, fake], 1)) if conditional else (b, fake)
            d_loss = d_loss + rules.penalty(networks["D"], seen, seen_fake, batch) / 2
            losses.append(d_moves.move(d_loss))
            rules.clip(networks["D"])
        g_loss = rules.made(judge(a, fake))
        if "L1" in k.objective:
            g_loss = g_loss + k.lambda_l1 * distance(b, fake)
        losses.append(g_moves.move(g_loss))
    return losses


def cyclegan(networks: nn.ModuleDict, k: Any, feed: Feed, updates: int) -> Losses:
    """Zhu et al. 2017, Eq. 1 to 3, the identity term of sec. 5.2 and the training of sec. 4: both generators, then both
    discriminators, halved, on what the pools of earlier fakes give."""
    G, F, rules = networks["G"], networks["F"], Rules(k)
    g_moves = Optimiser(k, k.lr, G, F)
    if k.lambda_gan:
        D_X, D_Y = networks["D_X"], networks["D_Y"]
        d_moves = Optimiser(k, k.lr, D_X, D_Y)
    pool_x, pool_y = PlainPool("pool_x", k.pool_size), PlainPool("pool_y", k.pool_size)
    losses = []
    for _ in range(updates):
        batch = next(feed)
        x, y = batch["a"], batch["b"]
        fake_y, fake_x = G(x), F(y)
        loss = torch.zeros((), dtype=torch.float64)
        if k.lambda_gan:
            loss = loss + k.lambda_gan * (rules.made(D_Y(fake_y)) + rules.made(D_X(fake_x)))
        if k.cycles in ("both", "forward"):
            loss = loss + k.lambda_cyc * distance(F(fake_y), x)
        if k.cycles in ("both", "backward"):
            loss = loss + k.lambda_cyc * distance(G(fake_x), y)
        if k.lambda_id:
            loss = loss + k.lambda_cyc * k.lambda_id * (distance(G(y), y) + distance(F(x), x))
        losses.append(g_moves.move(loss))
        for move in range(k.n_critic if k.lambda_gan else 0):
            if move > 0:
                batch = next(feed)
                x, y = batch["a"], batch["b"]
                fake_y, fake_x = G(x), F(y)
            old_y, old_x = pool_y(fake_y, batch), pool_x(fake_x, batch)
            loss_x = (rules.real(D_X(x)) + rules.fake(D_X(old_x)) + rules.penalty(D_X, x, old_x, batch)) / 2
            loss_y = (rules.real(D_Y(y)) + rules.fake(D_Y(old_y)) + rules.penalty(D_Y, y, old_y, batch)) / 2
            losses.append(d_moves.move(loss_x + loss_y))
            rules.clip(D_X, D_Y)
    assert updates < 4 or not k.lambda_gan or not k.pool_size or (pool_x.swaps and pool_y.swaps)
    return losses


def bigan(networks: nn.ModuleDict, k: Any, feed: Feed, updates: int) -> Losses:
    """D on pairs (a, G(a)), which it should call real, and (E(b), b), fake, from a pool of each; then G and E, which
    want the opposite, each judged by D as it now is."""
    G, E, D, rules = networks["G"], networks["E"], networks["D"], Rules(k)
    d_moves, g_moves, e_moves = Optimiser(k, k.lr, D), Optimiser(k, k.lr, G), Optimiser(k, k.lr, E)
    pool_G, pool_E = PlainPool("pairs of G", k.pool_size), PlainPool("pairs of E", k.pool_size)
    turned = {"lsgan": lambda v: v**2, "wgan": lambda v: v, "wgan-gp": lambda v: v, "hinge": lambda v: v}
    turned |= {"nonsaturating": lambda v: -(1 - probability(v)).log(), "minimax": lambda v: probability(v).log()}
    losses = []
    for _ in range(updates):
        for _ in range(k.n_critic):
            batch = next(feed)
            a, b = batch["a"], batch["b"]
            made_b, made_a = G(a), E(b)
            old_G, old_E = pool_G(torch.cat([a, made_b], 1), batch), pool_E(torch.cat([made_a, b], 1), batch)
            loss = rules.real(D(old_G)) + rules.fake(D(old_E)) + rules.penalty(D, old_G, old_E, batch)
            losses.append(d_moves.move(loss / 2 if k.halve_d else loss))
            rules.clip(D)
        losses.append(g_moves.move(turned[k.adversarial](D(torch.cat([a, made_b], 1))).mean()))
        losses.append(e_moves.move(rules.made(D(torch.cat([made_a, b], 1)))))
    assert updates < 4 or not k.pool_size or (pool_G.swaps and pool_E.swaps)
    return losses


def one_way(kept: Callable[[Tensor, Tensor], Tensor], networks: nn.ModuleDict, k: Any, feed: Feed, n: int) -> Losses:
    """D on true images and pooled fakes; then G on the last batch, by its adversarial term and what it must keep."""
    G, D, rules, pool = networks["G"], networks["D"], Rules(k), PlainPool("fake", k.pool_size)
    d_moves, g_moves, losses = Optimiser(k, k.lr, D), Optimiser(k, k.lr, G), []
    for _ in range(n):
        for _ in range(k.n_critic):
            batch = next(feed)
            a, b = batch["a"], batch["b"]
            fake = G(a)
            old = pool(fake, batch)
            loss = rules.real(D(b)) + rules.fake(D(old)) + rules.penalty(D, b, old, batch)
            losses.append(d_moves.move(loss / 2 if k.halve_d else loss))
            rules.clip(D)
        losses.append(g_moves.move(rules.made(D(fake)) + kept(fake, a)))
    assert n < 4 or not k.pool_size or pool.swaps
    return losses


def pixel_gan(networks: nn.ModuleDict, k: Any, feed: Feed, updates: int) -> Losses:
    """Zhu et al. 2017, sec. 5.1.2: the adversarial term, and |G(a) - a|."""
    return one_way(lambda fake, a: k.lambda_l1 * distance(fake, a) if k.lambda_l1 else 0.0, networks, k, feed, updates)


def feature_gan(networks: nn.ModuleDict, k: Any, feed: Feed, updates: int) -> Losses:
    """Zhu et al. 2017, sec. 5.1.2: the adversarial term, and |phi(G(a)) - phi(a)|."""
    eye = Eye(4) if k.lambda_perceptual else None

    def kept(fake: Tensor, a: Tensor) -> Any:
        if eye is None:
            return 0.0
        return k.lambda_perceptual * distance(eye.seen(fake, k.perceptual_size), eye.seen(a, k.perceptual_size))

    return one_way(kept, networks, k, feed, updates)


def cogan(networks: nn.ModuleDict, k: Any, feed: Feed, updates: int) -> Losses:
    """Liu & Tuzel 2016, Eq. 1 to 3, and the authors' program: D on a pair and on a made one, then G on another made
    one; two-way cross entropies of real and made, means over both domains' images. Decay of weights, not of biases."""
    nets = {name: networks[name] for name in ("G1", "G2", "D1", "D2")}
    rules, shared = Rules(k), nets["G1"].shared
    d_moves, g_moves = (
        Optimiser(k, k.lr, *(nets[name] for name in names), weight_decay=k.weight_decay, kept=True)
        for names in (("D1", "D2"), ("G1", "G2"))
    )

    def pair(batch: Batch, name: str) -> tuple[Tensor, Tensor]:
        z = batch.draw(name, k.z_dim, kind=k.prior)
        h = shared(2 * z - 1 if k.prior == "uniform" else z)
        return nets["G1"].own(h), nets["G2"].own(h)

    def judged(D: str, x: Tensor) -> Tensor:
        """The logit of real against made, of a softmax over two outputs."""
        e = torch.exp(nets[D].shared(nets[D].own(x)))
        return (e[:, 1] / e[:, 0]).log()[:, None]

    def both(x: Tensor, fake: Tensor, D: str) -> tuple[Tensor, Tensor]:
        if k.d_batch == "mixed":
            logits = judged(D, torch.cat([x, fake]))
            return logits[: len(x)], logits[len(x) :]
        return judged(D, x), judged(D, fake)

    losses = []
    for _ in range(updates):
        for _ in range(k.n_critic):
            batch = next(feed)
            fakes = [fake.detach() for fake in pair(batch, "z")]
            loss = torch.zeros((), dtype=torch.float64)
            for D, x, fake in zip(("D1", "D2"), (batch["a"], batch["b"]), fakes, strict=True):
                real, made = both(x, fake, D)
                loss = loss + (rules.real(real) + rules.fake(made)) / 2
                loss = loss + rules.penalty(lambda image, D=D: judged(D, image), x, fake, batch) / 2
            losses.append(d_moves.move(loss))
            rules.clip(nets["D1"], nets["D2"])
        made1, made2 = pair(batch, "z_G")
        losses.append(g_moves.move((rules.made(judged("D1", made1)) + rules.made(judged("D2", made2))) / 2))
    return losses


def simgan(networks: nn.ModuleDict, k: Any, feed: Feed, updates: int) -> Losses:
    """Shrivastava et al. 2017, Alg. 1 and sec. 3.1. D's last layer has two channels, refined and real, whose softmax
    is a probability per patch; both players pay cross entropies, summed over patches."""
    R, D = networks["R"], networks["D"]
    r_moves, d_moves, history = Optimiser(k, k.lr, R), Optimiser(k, k.lr, D), PlainHistory("refined", k.history_size)
    refined, real = 0, 1

    def entropy(images: Tensor, truth: int) -> Tensor:
        e = torch.exp(D.net(images))
        return -(e[:, truth] / (e[:, 0] + e[:, 1])).log().sum() / BATCH

    def kept(made: Tensor, x: Tensor) -> Tensor:
        change = made - x
        if k.psi == "mean":
            change = change.sum(dim=1) / k.channels
        if k.psi == "gradient":
            right, down = change[..., 1:] - change[..., :-1], change[..., 1:, :] - change[..., :-1, :]
            return k.lambda_reg * (right.abs().sum() + down.abs().sum()) / BATCH
        return k.lambda_reg * change.abs().sum() / BATCH

    def discriminator() -> None:
        batch = next(feed)
        seen = history(R(batch["a"]), batch)
        losses.append(d_moves.move(entropy(seen, refined) + entropy(batch["b"], real)))

    losses: Losses = []
    for update in range(updates):
        if update < k.warmup_r:
            x = next(feed)["a"]
            losses.append(r_moves.move(kept(R(x), x)))
        elif update < k.warmup_r + k.warmup_d:
            discriminator()
        else:
            for _ in range(k.k_g):
                x = next(feed)["a"]
                made = R(x)
                losses.append(r_moves.move(entropy(made, real) + kept(made, x)))
            for _ in range(k.k_d):
                discriminator()
    assert not k.history_size or history.swaps
    return losses


def simgan_with_other_terms(networks: nn.ModuleDict, k: Any, feed: Feed, updates: int) -> Losses:
    """One game with any adversarial terms on the difference of the two channels: Alg. 1 without warm-up or history."""
    R, D, rules = networks["R"], networks["D"], Rules(k)
    r_moves, d_moves, losses = Optimiser(k, k.lr, R), Optimiser(k, k.lr, D), []

    def logit(images: Tensor) -> Tensor:
        both = D.net(images)
        return both[:, 1] - both[:, 0]

    for _ in range(updates):
        for _ in range(k.k_g):
            x = next(feed)["a"]
            made = R(x)
            patches = logit(made).numel() // BATCH
            reg = k.lambda_reg * (made - x).abs().sum() / BATCH
            losses.append(r_moves.move(patches * rules.made(logit(made)) + reg))
        for _ in range(k.k_d):
            batch = next(feed)
            made, y = R(batch["a"]), batch["b"]
            loss = patches * (rules.fake(logit(made)) + rules.real(logit(y))) + rules.penalty(logit, y, made, batch)
            losses.append(d_moves.move(loss))
            rules.clip(D)
    return losses


class Eye:
    """EfficientNet-lite0 up to one of its blocks."""

    def __init__(self, block: int) -> None:
        self.network, self.block = read_efficientnet("", "")[0].double(), block

    def tells(self, x: Tensor, y: Tensor) -> Tensor:
        """The mean square between maps, each of a sample without its mean, by its deviation."""
        return ((self._alike(self.seen(x)) - self._alike(self.seen(y))) ** 2).mean()

    def seen(self, x: Tensor, side: int = 0) -> Tensor:
        net = self.network
        x = enlarged(x, side) if side else x
        x = net._conv_stem(x.expand(-1, 3, -1, -1))
        x = (x - _by_channel(net._bn0.running_mean)) / (_by_channel(net._bn0.running_var) + net._bn0.eps).sqrt()
        x = (x * _by_channel(net._bn0.weight) + _by_channel(net._bn0.bias)).clamp(0, 6)
        for block in list(net._blocks)[: self.block + 1]:
            x = block(x)
        return x

    def _alike(self, x: Tensor) -> Tensor:
        centred = x - x.mean(dim=(2, 3), keepdim=True)
        return centred / ((centred**2).mean(dim=(2, 3), keepdim=True) + 1e-5).sqrt()


def enlarged(x: Tensor, side: int) -> Tensor:
    """Bilinear, pixels as areas: a new one takes from the two nearest of the old ones, in either direction."""
    for dim in (2, 3):
        size = x.shape[dim]
        at = ((torch.arange(side, dtype=torch.float64) + 0.5) * size / side - 0.5).clamp(0, size - 1)
        low = at.long()
        high, share = (low + 1).clamp(max=size - 1), (at - low).reshape(-1, *[1] * (3 - dim))
        x = (1 - share) * x.index_select(dim, low) + share * x.index_select(dim, high)
    return x


def _by_channel(x: Tensor) -> Tensor:
    return x[:, None, None]


def unit(networks: nn.ModuleDict, k: Any, feed: Feed, updates: int) -> Losses:
    """Liu et al. 2017, Eq. 2 to 5, KL terms as means over the code: D, then E and G, on the same codes; or, as in the
    authors' later program, on codes with new noise. The first program's KL squares codes with their noise."""
    E1, E2, G1, G2, D1, D2 = (networks[name] for name in ("E1", "E2", "G1", "G2", "D1", "D2"))
    if k.architecture == "paper":
        assert E1.shared is E2.shared
        assert G1.shared is G2.shared
        assert list(E1.shared.parameters())
        assert list(G1.shared.parameters())
    rules, losses, codes = Rules(k), [], ("x1", "x2", "x12", "x21")
    eye = Eye(10) if k.lambda_perceptual else None
    g_moves = Optimiser(k, k.lr, E1, E2, G1, G2, weight_decay=k.weight_decay)
    d_moves = Optimiser(k, k.lr, D1, D2, weight_decay=k.weight_decay)
    for _ in range(updates):
        for _ in range(k.n_critic):
            batch = next(feed)
            x1, x2 = batch["a"], batch["b"]
            shape = (4 * k.g_base, k.image_size // 4, k.image_size // 4)
            n1, n2, n12, n21 = (batch.draw(f"z_{name}", *shape) for name in codes)
            mu1, mu2 = E1(x1), E2(x2)
            z1, z2 = mu1 + n1, mu2 + n2
            x11, x12, x21, x22 = G1(z1), G2(z1), G1(z2), G2(z2)
            d_loss = k.lambda_gan * (rules.real(D1(x1)) + rules.fake(D1(x21.detach())))
            d_loss = d_loss + k.lambda_gan * (rules.real(D2(x2)) + rules.fake(D2(x12.detach())))
            d_loss = d_loss + k.lambda_gan * (rules.penalty(D1, x1, x21, batch) + rules.penalty(D2, x2, x12, batch))
            losses.append(d_moves.move(d_loss))
            rules.clip(D1, D2)
        if k.g_noise == "own":
            n1, n2, n12, n21 = (batch.draw(f"generators_z_{name}", *shape) for name in codes)
            z1, z2 = mu1 + n1, mu2 + n2
            x11, x12, x21, x22 = G1(z1), G2(z1), G1(z2), G2(z2)
        mu12, mu21 = E2(x12), E1(x21)
        x121, x212 = G1(mu12 + n12), G2(mu21 + n21)
        g_loss = k.lambda_gan * (rules.made(D1(x21)) + rules.made(D2(x12)))
        g_loss = g_loss + k.lambda_rec * (distance(x11, x1) + distance(x22, x2))
        c1, c2, c12, c21 = (z1, z2, mu12 + n12, mu21 + n21) if k.kl_of == "code" else (mu1, mu2, mu12, mu21)
        g_loss = g_loss + k.lambda_kl * ((c1**2).mean() + (c2**2).mean())
        g_loss = g_loss + k.lambda_cyc * (distance(x121, x1) + distance(x212, x2))
        g_loss = g_loss + k.lambda_cyc_kl * ((c12**2).mean() + (c21**2).mean())
        if eye:
            g_loss = g_loss + k.lambda_perceptual * (eye.tells(x12, x1) + eye.tells(x21, x2))
        losses.append(g_moves.move(g_loss))
    return losses


class LayerNoise:
    """Dropout as the step seeds it: by the update's first image, and by the moves made before. (G's move is first, and
    D's first is on what G drew for it.)"""

    def __init__(self, k: Any) -> None:
        self.k, self.began = k, 0

    def __call__(self, batch: Batch, move: int) -> None:
        self.began = self.began if move else batch.images
        if self.k.dropout:
            torch.manual_seed(seed_from("layers", 0, 0, self.began, 0, move + 1 if move else 0))


class Judge:
    """One of BicycleGAN's discriminators and what it pays (not halved): it sees outputs, or outputs beside inputs."""

    def __init__(self, D: nn.Module, k: Any) -> None:
        self.D, self.k, self.rules = D, k, Rules(k)

    def seen(self, a: Tensor, image: Tensor) -> Tensor:
        return torch.cat([a, image], 1) if self.k.conditional_d else image

    def made(self, a: Tensor, fake: Tensor) -> Tensor:
        return self.rules.made(self.D(self.seen(a, fake)))

    def pays(self, a: Tensor, b: Tensor, of: Tensor, fake: Tensor, batch: Batch, wrong: Tensor | None = None) -> Tensor:
        """For the true output b of a, the made one of `of`, and (matching-aware) b beside a wrong input."""
        real, made = self.seen(a, b), self.seen(of, fake.detach())
        l_real, paid = self.rules.real(self.D(real)), self.rules.fake(self.D(made))
        if wrong is not None:
            paid = (paid + self.rules.fake(self.D(torch.cat([wrong, b], 1)))) / 2
        return l_real + paid + self.rules.penalty(self.D, real, made, batch)


def pix2pix_noise(networks: nn.ModuleDict, k: Any, feed: Feed, updates: int) -> Losses:
    """Zhu et al. (NIPS) 2017, Eq. 1 to 3."""
    G, D = networks["G"], Judge(networks["D"], k)
    g_moves, d_moves, losses = Optimiser(k, k.lr, G), Optimiser(k, k.lr, D.D), []
    drops = LayerNoise(k)
    for _ in range(updates):
        for move in range(k.n_critic):
            batch = next(feed)
            a, b, z = batch["a"], batch["b"], batch.draw("z", k.z_dim)
            wrong = next(feed)["a"] if k.matching_aware else None
            drops(batch, move)
            fake = G(a, z)
            if move == 0:
                losses.append(g_moves.move(D.made(a, fake) + k.lambda_l1 * distance(b, fake)))
            losses.append(d_moves.move(D.pays(a, b, a, fake, batch, wrong)))
            D.rules.clip(D.D)
    return losses


def cvae_gan(networks: nn.ModuleDict, k: Any, feed: Feed, updates: int) -> Losses:
    """Zhu et al. (NIPS) 2017, Eq. 4 to 7, the KL term summed over the batch as in the authors' program."""
    G, E, D = networks["G"], networks["E"], Judge(networks["D"], k)
    g_moves, d_moves, losses = Optimiser(k, k.lr, G, E), Optimiser(k, k.lr, D.D), []
    drops = LayerNoise(k)
    for _ in range(updates):
        for move in range(k.n_critic):
            batch = next(feed)
            a, b = batch["a"], batch["b"]
            mu, log_variance = E(b)
            z = mu + batch.draw("eps", k.z_dim) * torch.exp(0.5 * log_variance)
            wrong = next(feed)["a"] if k.matching_aware else None
            drops(batch, move)
            fake = G(a, z)
            if move == 0:
                kl = -0.5 * (1 + log_variance - mu**2 - log_variance.exp()).sum()
                loss = D.made(a, fake) + k.lambda_l1 * distance(b, fake) + k.lambda_kl * kl
                losses.append(g_moves.move(loss))
            losses.append(d_moves.move(D.pays(a, b, a, fake, batch, wrong)))
            D.rules.clip(D.D)
    return losses


def clr_gan(networks: nn.ModuleDict, k: Any, feed: Feed, updates: int) -> Losses:
    """Zhu et al. (NIPS) 2017, Eq. 8 and 9: E gives a point estimate, and learns from it."""
    G, E, D = networks["G"], networks["E"], Judge(networks["D"], k)
    g_moves, d_moves, losses = Optimiser(k, k.lr, G, E), Optimiser(k, k.lr, D.D), []
    drops = LayerNoise(k)
    for _ in range(updates):
        for move in range(k.n_critic):
            batch = next(feed)
            a, b, z = batch["a"], batch["b"], batch.draw("z", k.z_dim)
            wrong = next(feed)["a"] if k.matching_aware else None
            drops(batch, move)
            fake = G(a, z)
            if move == 0:
                losses.append(g_moves.move(D.made(a, fake) + k.lambda_latent * distance(E(fake)[0], z)))
            losses.append(d_moves.move(D.pays(a, b, a, fake, batch, wrong)))
            D.rules.clip(D.D)
    return losses


def bicyclegan(networks: nn.ModuleDict, k: Any, feed: Feed, updates: int) -> Losses:
    """Zhu et al. (NIPS) 2017, Eq. 10, in the authors' order: G and E by all terms but the latent one, and with it G
    alone; then D and D2. The first half of the data is encoded; the second half's outputs are what D2 sees as real."""
    G, E, D, D2 = networks["G"], networks["E"], Judge(networks["D"], k), Judge(networks["D2"], k)
    g_moves, e_moves = Optimiser(k, k.lr, G), Optimiser(k, k.lr, E)
    d_moves, losses = Optimiser(k, k.lr, D.D, D2.D), []
    drops = LayerNoise(k)
    for _ in range(updates):
        for move in range(k.n_critic):
            first, second = next(feed), next(feed)
            a, b, z = first["a"], first["b"], first.draw("z", k.z_dim)
            mu, log_variance = E(b)
            encoded = mu + first.draw("eps", k.z_dim) * torch.exp(0.5 * log_variance)
            drops(first, move)
            fake, fake_random = G(a, encoded), G(a, z)
            if move == 0:
                kl = -0.5 * (1 + log_variance - mu**2 - log_variance.exp()).sum()
                both = D.made(a, fake) + D2.made(a, fake_random) + k.lambda_l1 * distance(b, fake) + k.lambda_kl * kl
                alone = k.lambda_latent * distance(E(fake_random)[0], z)
                to_G = torch.autograd.grad(both + alone, g_moves.weights, retain_graph=True)
                to_E = torch.autograd.grad(both, e_moves.weights, retain_graph=True)
                g_moves.move_by(both, to_G)
                e_moves.move_by(both, to_E)
                losses.append((both + alone).item())
            wrong, wrong_2 = (second["a"], a) if k.matching_aware else (None, None)
            loss = D.pays(a, b, a, fake, first, wrong)
            loss = loss + D2.pays(second["a"], second["b"], a, fake_random, first, wrong_2)
            losses.append(d_moves.move(loss))
            D.rules.clip(D.D, D2.D)
    return losses


def gan(networks: nn.ModuleDict, k: Any, feed: Feed, updates: int) -> Losses:
    """The same by linear layers."""
    return dcgan(networks, k, feed, updates)


def cgan(networks: nn.ModuleDict, k: Any, feed: Feed, updates: int) -> Losses:
    """Mirza & Osindero 2014, Eq. 2: G and D are told the labels of the batch's real images."""
    G, D, rules = networks["G"], networks["D"], Rules(k)
    g_moves, d_moves, losses = Optimiser(k, k.lr, G), Optimiser(k, k.lr, D), []
    for _ in range(updates):
        for _ in range(k.n_critic):
            batch = next(feed)
            x, y = batch["image"], batch.whole["labels"].double()
            fake = G(y, batch.draw("z", k.z_dim, kind="uniform") * 2 - 1)
            d_loss = rules.real(D(x, y)) + rules.fake(D(fake.detach(), y))
            d_loss = d_loss + rules.penalty(lambda image, y=y: D(image, y), x, fake, batch)
            losses.append(d_moves.move(d_loss))
            rules.clip(D)
        if k.g_noise == "own":
            fake = G(y, batch.draw("z_G", k.z_dim, kind="uniform") * 2 - 1)
        losses.append(g_moves.move(rules.made(D(fake, y))))
    return losses


def dcgan(networks: nn.ModuleDict, k: Any, feed: Feed, updates: int) -> Losses:
    """Goodfellow et al. 2014, Alg. 1, as the PyTorch examples have it: D on real images and on fakes, added; G on the
    same fakes. Arjovsky et al. 2017, Alg. 1: n_critic moves, each with its own codes, then G with others; and as their
    program counts the critic's moves, and when it clips."""
    G, D, rules = networks["G"], networks["D"], Rules(k)
    g_moves, d_moves, losses = Optimiser(k, k.lr, G), Optimiser(k, k.lr, D), []

    def noise(batch: Batch, name: str) -> Tensor:
        drawn = batch.draw(name, k.z_dim, kind=k.prior)
        return drawn if k.prior == "normal" else drawn * 2 - 1

    for update in range(updates):
        often = k.burst and (update < k.burst_until or update % k.burst_every == 0)
        for _ in range(k.burst if often else k.n_critic):
            if k.clip_at == "before":
                rules.clip(D)
            batch = next(feed)
            x, fake = batch["image"], G(noise(batch, "z"))
            d_loss = rules.real(D(x)) + rules.fake(D(fake.detach())) + rules.penalty(D, x, fake, batch)
            losses.append(d_moves.move(d_loss))
            if k.clip_at == "after":
                rules.clip(D)
        if k.g_noise == "own":
            fake = G(noise(batch, "z_G"))
        losses.append(g_moves.move(rules.made(D(fake))))
    if k.clip_at == "before":
        rules.clip(D)  # ours are clipped for the next move already
    return losses


# ---------------------------------------------------------------- ours against theirs

WGAN = {"adversarial": "wgan", "optimiser": "rmsprop", "lr": 5e-5, "n_critic": 2}
GP = {"adversarial": "wgan-gp", "lambda_gp": 3.0}
CRITIC = {"g_noise": "own", "burst": 3, "burst_until": 2, "burst_every": 4}
BESIDE = {"conditional_d": True, "matching_aware": True}
LATER = {
    "g_noise": "own",
    "architecture": "later",
    "d_layers": 1,
    "blocks": 1,
    "adversarial": "lsgan",
    "lambda_gan": 1.0,
}
LITE = {"perceptual": "efficientnet_lite0"}
COLOUR = {"channels": 3}
DROPOUT = {"dropout": 0.5, "image_size": 64}
"""A U-Net that is deep enough for one up-block with dropout."""


def case(plain: Any, name: str = "", updates: int = UPDATES, **hyper: Any) -> tuple[Any, Case]:
    name = name or plain.__name__
    hyper = {"k_g": 2, **hyper} if name == "simgan" else hyper
    return plain, Case(name, batch=BATCH, updates=updates, hyper=hyper)


CASES: dict[str, tuple[Any, Case]] = {
    "stargan": case(stargan, n_critic=2, lambda_cls=0.7, lambda_gp=3.0),
    "stargan with an identity term": case(stargan, lambda_id=4.0),
    "stargan, hinge": case(stargan, adversarial="hinge"),
    "stargan, wgan": case(stargan, adversarial="wgan", optimiser="rmsprop", g_lr=5e-5, d_lr=5e-5, clip=0.1),
    "pix2pix": case(pix2pix, norm="batch", lambda_l1=7.0),
    "pix2pix, L1+GAN": case(pix2pix, objective="L1+GAN", receptive_field=1),
    "pix2pix, cGAN": case(pix2pix, objective="cGAN", generator="encoder_decoder"),
    "pix2pix, n_critic": case(pix2pix, n_critic=3, adversarial="lsgan"),
    "pix2pix, smooth, matching-aware": case(pix2pix, n_critic=2, real_target=0.9, matching_aware=True),
    "pix2pix, wgan-gp": case(pix2pix, n_critic=2, **GP),
    "pix2pix, wgan-gp, GAN": case(pix2pix, objective="GAN", **GP),
    "cyclegan": case(cyclegan, updates=5, pool_size=7, lambda_cyc=3.0, lambda_gan=0.6),
    "cyclegan, no pool, no identity": case(cyclegan, pool_size=0, lambda_id=0.0),
    "cyclegan, n_critic, smooth": case(cyclegan, updates=4, pool_size=4, n_critic=3, real_target=0.9),
    "cyclegan, grey and colour": case(cyclegan, updates=4, pool_size=4, in_channels=1, out_channels=3, lambda_id=0.0),
    "cyclegan, forward": case(cyclegan, cycles="forward"),
    "cyclegan, backward": case(cyclegan, cycles="backward"),
    "cyclegan, GAN alone": case(cyclegan, lambda_cyc=0.0),
    "cyclegan, cycle alone": case(cyclegan, lambda_gan=0.0),
    "cyclegan, wgan": case(cyclegan, updates=4, pool_size=5, **WGAN),
    "cyclegan, wgan-gp": case(cyclegan, pool_size=5, **GP),
    "bigan": case(bigan, updates=5, pool_size=7),
    "bigan, as the authors'": case(bigan, halve_d=False, pool_size=0),
    "bigan, n_critic, smooth": case(bigan, updates=4, pool_size=4, n_critic=3, real_target=0.9),
    "bigan, grey and colour": case(bigan, in_channels=1, out_channels=3),
    "bigan, nonsaturating": case(bigan, adversarial="nonsaturating"),
    "bigan, minimax": case(bigan, adversarial="minimax"),
    "bigan, hinge": case(bigan, adversarial="hinge"),
    "bigan, wgan": case(bigan, updates=4, pool_size=5, **WGAN),
    "bigan, wgan-gp": case(bigan, pool_size=5, **GP),
    "pixel_gan": case(pixel_gan, updates=5, pool_size=7, lambda_l1=3.0),
    "pixel_gan, as the authors', n_critic": case(pixel_gan, updates=4, pool_size=4, n_critic=2, halve_d=False),
    "pixel_gan, grey to colour": case(pixel_gan, lambda_l1=0.0, in_channels=1, out_channels=3),
    "pixel_gan, wgan": case(pixel_gan, pool_size=5, **WGAN),
    "pixel_gan, wgan-gp": case(pixel_gan, pool_size=0, **GP),
    "feature_gan": case(feature_gan, updates=4, pool_size=7, lambda_perceptual=3.0, perceptual_size=24, **LITE),
    "feature_gan, images as they are": case(feature_gan, perceptual_size=0, lambda_perceptual=3.0, **LITE),
    "feature_gan, as the authors'": case(feature_gan, halve_d=False, perceptual_size=24, lambda_perceptual=1.0, **LITE),
    "feature_gan, GAN alone": case(feature_gan, n_critic=2, real_target=0.9),
    "cogan": case(cogan, updates=3, weight_decay=0.01),
    "cogan, batch norm, n_critic": case(cogan, n_critic=2, g_norm="batch", d_norm="batch", prior="normal"),
    "cogan, as the authors'": case(cogan, g_norm="batch", d_norm="batch", d_batch="mixed"),
    "cogan, grey and colour, 32 px": case(cogan, image_size=32, in_channels=1, out_channels=3),
    "cogan, digits": case(
        cogan, updates=1, architecture="digits", image_size=28, z_dim=100, in_channels=1, out_channels=1
    ),
    "cogan, wgan": case(cogan, **WGAN),
    "cogan, wgan-gp": case(cogan, **GP),
    "simgan": case(simgan, updates=6, warmup_r=2, warmup_d=1, k_d=2, history_size=7, lambda_reg=0.01),
    "simgan, K_g": case(simgan, updates=3, warmup_r=0, warmup_d=0, k_g=3, k_d=2, history_size=4, **COLOUR),
    "simgan, no history": case(simgan, updates=4, history_size=0),
    "simgan, mean": case(simgan, updates=4, psi="mean", k_d=3, history_size=5, lambda_reg=0.1, **COLOUR),
    "simgan, gradient": case(simgan, updates=4, psi="gradient", k_d=3, history_size=5, lambda_reg=0.1, **COLOUR),
    "simgan, hands": case(simgan, updates=4, form="hands", first_kernel=7, k_d=3, history_size=5),
    "simgan, wgan-gp": case(simgan_with_other_terms, "simgan", history_size=0, warmup_r=0, warmup_d=0, k_d=2, **GP),
    "simgan, lsgan": case(
        simgan_with_other_terms, "simgan", history_size=0, warmup_r=0, warmup_d=0, adversarial="lsgan", real_target=0.8
    ),
    "unit": case(unit, lambda_gan=2.0, lambda_rec=9.0, lambda_kl=0.3, lambda_cyc=7.0, lambda_cyc_kl=0.2),
    "unit, n_critic, minimax": case(unit, n_critic=2, adversarial="minimax", weight_decay=0.01),
    "unit, later": case(unit, lambda_rec=9.0, lambda_kl=0.3, lambda_cyc=7.0, lambda_cyc_kl=0.2, **LATER),
    "unit, later, wgan": case(unit, **{**LATER, **WGAN}),
    "unit, wgan-gp": case(unit, **GP),
    "unit, perceptual": case(unit, lambda_perceptual=5.0, perceptual="efficientnet_lite0", image_size=32),
    "unit, KL of codes with noise": case(unit, kl_of="code", lambda_kl=0.3, lambda_cyc_kl=0.2),
    "unit, noise anew, n_critic": case(unit, g_noise="own", kl_of="code", n_critic=2, **GP),
    "pix2pix_noise": case(pix2pix_noise, lambda_l1=3.0),
    "pix2pix_noise, n_critic, z at the input": case(pix2pix_noise, n_critic=3, z_at="input"),
    "pix2pix_noise, matching-aware, wgan-gp": case(pix2pix_noise, n_critic=2, **BESIDE, **GP),
    "cvae_gan": case(cvae_gan, lambda_l1=3.0, lambda_kl=0.5),
    "cvae_gan, n_critic, hinge": case(cvae_gan, n_critic=2, adversarial="hinge", conditional_d=True),
    "cvae_gan, matching-aware, smooth": case(cvae_gan, real_target=0.9, **BESIDE),
    "clr_gan": case(clr_gan, lambda_latent=2.0),
    "clr_gan, n_critic, minimax": case(clr_gan, n_critic=2, adversarial="minimax"),
    "clr_gan, matching-aware": case(clr_gan, n_critic=2, adversarial="nonsaturating", **BESIDE),
    "bicyclegan": case(bicyclegan, lambda_l1=3.0, lambda_latent=2.0, lambda_kl=0.5),
    "bicyclegan, n_critic": case(bicyclegan, n_critic=3),
    "bicyclegan, matching-aware": case(bicyclegan, n_critic=2, **BESIDE),
    "bicyclegan, wgan": case(bicyclegan, **WGAN),
    "bicyclegan, dropout": case(bicyclegan, n_critic=2, **DROPOUT),
    "cvae_gan, dropout": case(cvae_gan, **DROPOUT),
    "clr_gan, dropout": case(clr_gan, n_critic=3, **DROPOUT),
    "pix2pix_noise, dropout": case(pix2pix_noise, **DROPOUT),
    "bicyclegan, wgan-gp": case(bicyclegan, conditional_d=True, **GP),
    "dcgan": case(dcgan, updates=3, g_norm="batch", d_norm="batch"),
    "dcgan, the article's networks": case(dcgan, kernel=5, prior="uniform", g_norm="batch", d_norm="batch"),
    "dcgan, smooth, lsgan": case(dcgan, adversarial="lsgan", real_target=0.9, n_critic=2, d_norm="none"),
    "dcgan, wgan": case(dcgan, updates=7, **CRITIC, **WGAN),
    "dcgan, wgan's program": case(dcgan, updates=7, clip_at="before", d_norm="batch", **CRITIC, **WGAN),
    "dcgan, wgan, MLP": case(dcgan, generator="mlp", discriminator="mlp", **WGAN),
    "dcgan, wgan-gp": case(dcgan, n_critic=2, g_noise="own", g_norm="batch", biases=True, **GP),
    "gan": case(gan, updates=3),
    "gan, normal codes for both": case(gan, prior="normal", g_noise="shared", n_critic=2, optimiser="adam"),
    "cgan": case(cgan, updates=3),
    "cgan, wgan-gp": case(cgan, g_noise="shared", n_critic=2, optimiser="adam", **GP),
    "bicyclegan, batch norm": case(bicyclegan, norm="batch", adversarial="nonsaturating", real_target=0.9),
}


def test_update_of_every_method_is_compared() -> None:
    assert {made.method for _, made in CASES.values()} == set(METHODS)


@pytest.mark.parametrize("name", CASES)
def test_update_equals_the_papers(name: str) -> None:
    plain, case = CASES[name]
    method = small(case)
    networks = copy.deepcopy(method.networks)
    taken: list[Batch] = []

    def feed() -> Feed:
        while True:
            taken.append(whole_batch(method, BATCH, len(taken)))
            yield taken[-1]

    expected = plain(networks, method.config, feed(), case.updates)

    step, progress, found = Step(method, TrainingConfig(), ALONE, lambda images: 1.0), Progress(), []
    update = method.update

    def noted(*args: Any) -> Any:
        for player, loss, terms, *scores in update(*args):
            found.append(loss.item())
            yield player, loss, terms, *scores

    method.update = noted  # type: ignore[method-assign]
    ours = batches(method, case, ALONE)
    for _ in range(case.updates):
        step(ours, progress)

    assert found == pytest.approx(expected, rel=1e-10, abs=1e-10)
    assert progress.images == BATCH * len(taken)
    idle = without_effect(method)
    ours_now = method.networks.state_dict(keep_vars=True)
    for key, weight in networks.state_dict().items():
        if weight.is_floating_point() and id(ours_now[key]) not in idle:
            error = (ours_now[key].detach() - weight).abs().max().item()
            assert error <= 1e-10 * max(1.0, weight.abs().max().item()), f"{key}: {error}"


STAGES = [(name, {}) for name in CASES]
STAGES += [(name, {"R": 2, "D": moves}) for name in CASES for moves in (0, 1) if name.startswith("simgan")]


@pytest.mark.parametrize(("name", "moves"), STAGES)
def test_update_move_gives_gradient_to_its_player_and_to_no_other(name: str, moves: dict[str, int]) -> None:
    method = small(CASES[name][1])
    names = {id(p): n for n, p in method.networks.named_parameters()}
    without = without_effect(method)
    feed = (whole_batch(method, BATCH, t) for t in range(20))
    for player, loss, *_ in method.update(feed, Progress(moves=moves)):
        method.zero_grad(set_to_none=True)
        loss.backward()  # into everything that asks for a gradient, unlike the step's
        mine = {id(p) for p in method.parameters_of(player)}
        parameters = list(method.networks.parameters())
        still = {id(p) for p in parameters if p.grad is None or not p.grad.any()}
        assert not [names[i] for i in mine & still - without], f"{player} got no gradient"
        others = [names[id(p)] for p in parameters if id(p) not in mine and p.grad is not None]
        assert not others, f"{player}'s loss reached {others}"
        assert all(p.requires_grad for p in parameters)  # frozen for the move alone


def without_effect(method: Method[Any]) -> set[int]:
    """Biases whose gradient is 0 up to rounding: those before an instance norm, which takes the mean away again; and
    where D's loss is a difference of means, the last one of a discriminator, which is in both."""
    ids = set()
    for module in method.networks.modules():
        if isinstance(module, nn.Sequential):
            for layer, norm in pairwise(module):
                if isinstance(norm, nn.InstanceNorm2d) and getattr(layer, "bias", None) is not None:
                    ids.add(id(layer.bias))
    if method.config.adversarial in ("wgan", "wgan-gp", "hinge"):  # hinge: while all logits are within the margin
        for name in method.networks:
            if name.startswith("D"):
                ids |= {id(last_of(one).bias) for one in scales_of(method.networks[name])}
    return ids


def scales_of(D: nn.Module) -> list[nn.Module]:
    return list(getattr(D, "scales", [D]))


def last_of(D: nn.Module) -> nn.Module:
    return [m for m in D.modules() if isinstance(m, nn.Conv2d | nn.Linear)][-1]


def test_pix2pix_with_l1_alone_has_no_discriminator() -> None:
    method = small(Case("pix2pix", hyper={"objective": "L1"}))
    assert set(method.networks) == set(method.players) == {"G"}
    moves = list(method.update(iter([whole_batch(method, BATCH, 0)]), Progress()))
    assert [player for player, *_ in moves] == ["G"]


def test_stargan_class_labels_are_one_of_several() -> None:
    """RaFD: cross entropy over classes, by hand for one row."""
    method = small(Case("stargan", hyper={"labels": "classes"}))
    logits = torch.tensor([[2.0, -1.0, 0.5]], dtype=torch.float64)
    e = logits.exp()
    found = method.classification(logits, torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64))
    assert found.item() == pytest.approx(-(e[0, 2] / e.sum()).log().item(), abs=1e-12)


def test_generator_takes_a_non_square_and_larger_image() -> None:
    method = small(Case("pix2pix"))
    with method.translating():
        assert method.networks["G"](torch.zeros(1, 3, 32, 48, dtype=torch.float64)).shape == (1, 3, 32, 48)
    assert method.image_from(torch.zeros(2, 3, 32, 48, dtype=torch.float64)).shape == (2, 3, 32, 48)


@pytest.mark.parametrize("method", ["pix2pix_noise", "cvae_gan", "clr_gan", "bicyclegan"])
def test_multimodal_dropout_is_for_training_alone(method: str) -> None:
    """The authors' test program puts G into evaluation mode."""
    made = small(Case(method, hyper=DROPOUT))
    G, x = made.networks["G"], torch.zeros(1, 3, 64, 64, dtype=torch.float64)
    z = torch.ones(1, made.config.z_dim, dtype=torch.float64)
    assert not torch.equal(G(x, z), G(x, z))
    assert torch.equal(made.image_from(x, z=z), made.image_from(x, z=z))
    assert G.training


def test_multimodal_dropout_follows_the_three_ups_after_the_innermost() -> None:
    for preset, expected in (("paper", []), ("reference", [1, 2, 3])):
        with torch.device("meta"):
            ups = build_method("bicyclegan", preset).networks["G"].ups
        assert [i for i, up in enumerate(ups) if any(isinstance(m, nn.Dropout) for m in up)] == expected


def test_averaged_generator_forgets_half_in_its_half_life() -> None:
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
