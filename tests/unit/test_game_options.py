"""The game's options work with every method, do what their equations say, and are refused where they have no meaning.

pytest tests/unit/test_game_options.py
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.config.methods.game import OF_DISCRIMINATORS, GameConfig
from i2i_core.config.training import TrainingConfig
from i2i_core.errors import ConfigError
from i2i_core.losses.adversarial import ADVERSARIAL
from i2i_core.methods import METHODS
from i2i_core.methods.base import INPUT_NOISE, Extras, Method, Progress
from i2i_core.methods.game import Game
from i2i_core.methods.options import noise_after
from i2i_core.networks.dcgan import DCGANDiscriminator
from i2i_core.networks.minibatch import MinibatchDiscrimination, nearness, with_minibatch_discrimination
from i2i_core.networks.patchgan import two_scales
from i2i_core.randomness import seed_from
from i2i_core.training.layers import Layers, Masks
from i2i_core.training.step import Step

from ..support.methods import ALONE, Case, assert_same, batches, run, run_on, small
from ..support.runs import config_of
from ..support.table import TABLE

ALL: dict[str, Any] = {
    "real_target": 0.8,
    "real_target_to": 1.2,
    "fake_target_to": 0.2,
    "label_flip": 0.2,
    "input_noise": 0.3,
    "input_noise_until": 21,
    "layer_noise": 0.1,
    "minibatch_features": 3,
    "d_optimiser": "sgd",
    "d_lr_factor": 3.0,
    "adversarial": "lsgan",
}
PIX2PIX = Case("pix2pix", batch=5, updates=3)


def made(name: str, **hyper: Any) -> Method[Any]:
    return small(Case(name, hyper={**TABLE[name].quick, **hyper}))


# ---------------------------------------------------------------- with every method


@pytest.mark.parametrize("name", METHODS)
def test_options_together_train_every_method(name: str) -> None:
    """Two updates: finite, every player moves all that is its own, D by its own optimiser."""
    method = made(name, **ALL, **({"warmup_r": 1, "warmup_d": 1} if name == "simgan" else {}))
    before = {n: w.clone() for n, w in method.networks.named_parameters()}
    step, progress = Step(method, TrainingConfig(), ALONE, lambda images: 1.0), Progress()
    feed = batches(method, Case(name, batch=3), ALONE)
    while min((progress.moves.get(player, 0) for player in method.players), default=0) < 2:
        step(feed, progress)
        assert progress.images < 100
    step.watch.settle()
    assert step.read_terms()[1].isfinite().all()
    for n, weight in method.networks.named_parameters():
        assert weight.isfinite().all(), n
        assert n.endswith("bias") or not torch.equal(weight, before[n]), n
    judges = {one for one in method.networks if one in TABLE[name].critics}
    for player in method.players.values():
        plain = next(p for p in made(name).players.values() if p.networks == player.networks).optimiser
        ours = judges.issuperset(player.networks)
        assert player.optimiser.kind == ("sgd" if ours else plain.kind)
        assert player.optimiser.lr == pytest.approx(plain.lr * (3.0 if ours else 1.0))
    assert {*method.extras.noisy_inputs} == {method.networks[one] for one in judges}
    assert len(method.extras.comparing) >= len(judges)
    assert len(method.extras.noisy_layers) > 0


@pytest.mark.parametrize("name", METHODS)
def test_options_that_are_off_add_nothing(name: str) -> None:
    method = made(name)
    assert (method.extras, method.couples, INPUT_NOISE in method.schedule) == (Extras(), False, False)
    assert method.game.targets is None
    assert not any(isinstance(module, MinibatchDiscrimination) for module in method.modules())


def test_options_that_are_off_are_the_defaults_of_every_method() -> None:
    for name, entry in METHODS.items():
        for preset in entry.presets:
            values = entry.presets[preset].section("hyper")
            assert not {*OF_DISCRIMINATORS, "layer_noise", "input_noise_until"} & {*values}, f"{name} {preset}"
    assert {field: getattr(GameConfig(), field) for field in OF_DISCRIMINATORS} == OF_DISCRIMINATORS


def test_layer_noise_leaves_weights_and_images_of_a_built_method_alone() -> None:
    plain, noisy = made("cyclegan"), made("cyclegan", layer_noise=0.5, input_noise=0.5)
    for name, weight in plain.networks.state_dict().items():
        assert torch.equal(noisy.networks.state_dict()[name], weight), name
    x = torch.rand(2, 3, 16, 16, dtype=torch.float64) * 2 - 1
    assert torch.equal(noisy.image_from(x), plain.image_from(x))


# ---------------------------------------------------------------- a whole update by hand


def own(batch: Batch, past: int, made_moves: int, *what: object) -> torch.Generator:
    """The generator of one layer's draw: by seed, images before the update and moves in it."""
    return torch.Generator().manual_seed(seed_from("layers", 0, 0, batch.images - past, 0, made_moves, "noise", *what))


def test_options_move_pix2pix_as_plain_torch_does() -> None:
    """Two updates with targets, flips, noise on D's inputs, in G, and SGD for D, written out: to 1e-10."""
    hyper = {**{k: v for k, v in ALL.items() if k != "minibatch_features"}, "input_noise_until": 8}
    case = Case("pix2pix", batch=5, hyper={**hyper, "optimiser": "adam", "lambda_l1": 7.0})
    method = small(case)
    networks, k = copy.deepcopy(method.networks), method.config
    G, D = networks["G"], networks["D"]
    relus = [(f"G.{n}", m) for n, m in G.named_modules() if isinstance(m, nn.ReLU | nn.LeakyReLU)]
    adam = torch.optim.Adam(G.parameters(), k.lr, (k.beta1, k.beta2), fused=False, foreach=False)
    momentum = [torch.zeros_like(p) for p in D.parameters()]
    feed = batches(method, case, ALONE)
    taken = [next(feed) for _ in range(2)]
    losses = []
    for batch in taken:
        sigma = 0.3 * max(0.0, 1 - batch.images / 8)

        def noisy(move: int, nth: int, x: Tensor, batch: Batch = batch, sigma: float = sigma) -> Tensor:
            drawn = torch.randn(x.shape, dtype=x.dtype, generator=own(batch, 0, move, "D", nth))
            return x + torch.tensor(sigma, dtype=torch.float32) * drawn

        def target(kind: str, nth: int, batch: Batch = batch) -> Tensor:
            place, coin = torch.rand(5, 2, dtype=torch.float64, generator=own(batch, 0, 0, "targets", nth)).T
            real, fake = 0.8 + 0.4 * place, 0.2 * place
            return torch.where((coin < 0.2) == (kind == "real"), fake, real)[:, None, None, None]

        hooks = [
            module.register_forward_hook(
                lambda m, _, y, n=name, b=batch: (
                    y + 0.1 * torch.randn(y.shape, dtype=y.dtype, generator=own(b, 0, 0, n, 0))
                )
            )
            for name, module in relus
        ]
        a, b = batch["a"], batch["b"]
        fake = G(a)
        for hook in hooks:
            hook.remove()
        l_real = ((D(noisy(0, 0, torch.cat([a, b], 1))) - target("real", 0)) ** 2).mean()
        l_fake = ((D(noisy(0, 1, torch.cat([a, fake.detach()], 1))) - target("fake", 1)) ** 2).mean()
        d_loss = (l_real + l_fake) / 2
        for i, (p, g) in enumerate(zip(D.parameters(), torch.autograd.grad(d_loss, [*D.parameters()]), strict=True)):
            momentum[i] = k.beta1 * momentum[i] + g
            p.data = p.data - 3.0 * k.lr * momentum[i]
        g_loss = ((D(noisy(1, 0, torch.cat([a, fake], 1))) - 1) ** 2).mean() + 7.0 * (fake - b).abs().mean()
        for p, g in zip(G.parameters(), torch.autograd.grad(g_loss, [*G.parameters()]), strict=True):
            p.grad = g
        adam.step()
        losses += [d_loss.item(), g_loss.item()]

    found, update = [], method.update

    def noted(*args: Any) -> Any:
        for player, loss, *rest in update(*args):
            found.append(loss.item())
            yield player, loss, *rest

    method.update = noted  # type: ignore[method-assign]
    step, progress = Step(method, TrainingConfig(), ALONE, lambda images: 1.0), Progress()
    for batch in taken:
        step(iter([batch]), progress)
    assert found == pytest.approx(losses, rel=1e-10, abs=1e-10)
    for name, weight in networks.state_dict().items():
        torch.testing.assert_close(method.networks.state_dict()[name], weight, rtol=1e-10, atol=1e-10)


# ---------------------------------------------------------------- targets


def drawn(game: Game, kind: str, n: int = 4000) -> Tensor:
    """Targets of many images, as a step draws them."""
    assert game.targets is not None
    layers = Layers(nn.ModuleDict(), None, autocast=False, extras=Extras(targets=game.targets))
    with layers.running(Batch({}, n, 0, n, 0, 0), 3):
        return game.targets(kind, torch.zeros(n, 1, 2, 2))


def test_targets_are_even_over_their_interval_and_cut_for_a_cross_entropy() -> None:
    game = Game(GameConfig(adversarial="lsgan", real_target=0.7, real_target_to=1.2, fake_target_to=0.3))
    real, fake = drawn(game, "real"), drawn(game, "fake")
    for t, (start, end) in ((real, (0.7, 1.2)), (fake, (0.0, 0.3))):
        assert start <= t.min() < start + 0.01
        assert end - 0.01 < t.max() < end
        assert abs(t.mean() - (start + end) / 2) < 0.01
        assert abs(t.std() - (end - start) / math.sqrt(12)) < 0.005
    cut = drawn(Game(GameConfig(real_target=0.7, real_target_to=1.2)), "real")
    assert torch.equal(cut, real.clamp(max=1))
    assert abs((cut == 1).float().mean() - 0.4) < 0.03


def test_targets_flip_in_both_kinds() -> None:
    game = Game(GameConfig(real_target=0.9, fake_target=0.1, label_flip=0.05))
    real, fake = drawn(game, "real"), drawn(game, "fake")
    assert {round(t, 6) for t in torch.cat([real, fake]).tolist()} == {0.9, 0.1}
    assert abs((real < 0.5).float().mean() - 0.05) < 0.015
    assert abs((fake > 0.5).float().mean() - 0.05) < 0.015


@pytest.mark.parametrize("terms", ["nonsaturating", "minimax", "lsgan"])
def test_targets_enter_d_s_loss_by_hand_and_not_g_s(terms: str) -> None:
    """Two scales of two images: all positions and scales of an image have its target."""
    game = Game(GameConfig(adversarial=terms, real_target=0.7, real_target_to=0.9, fake_target=0.2))  # type: ignore[arg-type]
    plain = Game(GameConfig(adversarial=terms))  # type: ignore[arg-type]
    maps = [torch.tensor([[0.3, -1.0], [2.0, 0.1]], dtype=torch.float64)[:, None, None], torch.tensor([[0.5], [-0.2]])]
    maps[1] = maps[1].double()
    assert game.targets is not None
    layers = Layers(nn.ModuleDict(), None, autocast=False, extras=Extras(targets=game.targets))
    with layers.running(Batch({}, 2, 0, 2, 0, 0), 3):
        found = game.real(maps).item(), game.fake(maps).item()
    with layers.running(Batch({}, 2, 0, 2, 0, 0), 3):
        t = game.targets("real", maps[1])
    expected = [0.0, 0.0]
    for one in maps:
        for i, kind in enumerate(("real", "fake")):
            paid = []
            for sample in range(2):
                goal = float(t[sample]) if kind == "real" else 0.2
                for v in one[sample].flatten().tolist():
                    p = 1 / (1 + math.exp(-v))
                    entropy = -goal * math.log(p) - (1 - goal) * math.log(1 - p)
                    paid.append((v - goal) ** 2 if terms == "lsgan" else entropy)
            expected[i] += sum(paid) / len(paid)
    assert found == pytest.approx(expected, rel=1e-12)
    assert game.generator(maps).item() == plain.generator(maps).item()


def test_targets_outside_a_step_are_refused() -> None:
    with pytest.raises(ValueError, match="targets that are drawn, outside a step"):
        Game(GameConfig(label_flip=0.1)).real(torch.zeros(2, 1))
    for name in ("wgan", "wgan-gp", "hinge"):
        with pytest.raises(ValueError, match="which has none"):
            ADVERSARIAL[name].towards(torch.zeros(1), 0.5)


# ---------------------------------------------------------------- noise


def test_input_noise_falls_to_nothing_on_a_straight_line() -> None:
    falling, steady = GameConfig(input_noise=0.2, input_noise_until=1000), GameConfig(input_noise=0.2)
    assert [noise_after(falling, n) for n in (0, 250, 1000, 5000)] == pytest.approx([0.2, 0.15, 0.0, 0.0])
    assert noise_after(steady, 10**9) == 0.2


def test_input_noise_that_has_fallen_changes_no_bit() -> None:
    hyper = {"input_noise": 0.3, "input_noise_until": 1}
    method = small(replace(PIX2PIX, hyper=hyper))
    plain = small(PIX2PIX)
    for one in (method, plain):
        step, feed = Step(one, TrainingConfig(), ALONE, lambda images: 1.0), batches(one, PIX2PIX, ALONE, 1)
        step(feed, Progress(5))
    for name, weight in plain.networks.state_dict().items():
        assert torch.equal(method.networks.state_dict()[name], weight), name


def test_input_noise_has_its_deviation_and_a_penalty_is_taken_at_noisy_points() -> None:
    """D is the sum of its pixels squared: its gradient is twice what it sees."""

    class Square(nn.Module):
        seen: Tensor

        def forward(self, x: Tensor) -> Tensor:
            self.seen = x.detach()
            return x.square().flatten(1).sum(1, keepdim=True)

    D, game = Square(), Game(GameConfig(adversarial="wgan-gp"))
    x, n = torch.zeros(300, 1, 8, 8), 300
    values = {INPUT_NOISE: torch.tensor(0.5)}
    layers = Layers(nn.ModuleDict({"D": D}), None, autocast=False, extras=Extras((D,)), values=values)
    with layers.running(Batch({}, n, 0, n, 0, 0), 3):
        found = game.penalty(D, x, x, torch.zeros(n, 1, 1, 1))
    assert abs(D.seen.std() - 0.5) < 0.01
    assert abs(D.seen.mean()) < 0.01
    assert found.item() == pytest.approx(((2 * D.seen).flatten(1).norm(dim=1) - 1).square().mean().item(), rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_layer_noise_follows_hidden_nonlinearities_in_training_alone(training: bool) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 200), nn.Tanh()).train(training)
    layers = Layers(nn.ModuleDict({"G": net}), None, autocast=False, extras=Extras((), (net[1],), 0.7))
    x = torch.randn(5000, 3)
    hidden = net[0](x).relu()
    seen: list[Tensor] = []
    net[2].register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    with layers.running(Batch({}, 5000, 0, 5000, 0, 0), 3):
        net(x)
    assert abs((seen[0] - hidden).std() - (0.7 if training else 0)) < 0.02


# ---------------------------------------------------------------- draws by slot


def masks(start: int, stop: int, size: int = 7, images: int = 14) -> Masks:
    return Masks(Batch({}, size, start, stop, images, 0), (3, lambda batch: batch.images))


def test_noise_of_parts_is_that_of_the_whole_batch() -> None:
    """Once and twice over; each call of each layer has its own; other draws do not matter."""
    x = torch.zeros(7, 2, 3)
    whole, parts = masks(0, 7), [masks(0, 4), masks(4, 7)]
    parts[1].apply("dropout", nn.Dropout(0.5), x[:3])
    for times in (1, 2):
        expected = whole.noise("D", x.repeat(times, 1, 1)).unflatten(0, (times, 7))
        found = [one.noise("D", x[: one.part.stop - one.part.start].repeat(times, 1, 1)) for one in parts]
        together = torch.cat([f.unflatten(0, (times, -1)) for f in found], 1)
        assert torch.equal(together, expected)
    assert torch.equal(torch.cat([one.uniform(x[: one.part.stop - one.part.start], 2) for one in parts], 1),
                       whole.uniform(x, 2))  # fmt: skip
    seen = [
        masks(0, 7).noise("D", x),
        whole.noise("D", x),
        masks(0, 7).noise("E", x),
        masks(0, 7, images=21).noise("D", x),
    ]
    assert not any(torch.equal(a, b) for a, b in pairwise(seen))
    with pytest.raises(ValueError, match=r"noise of D for values \(5, 2, 3\), in a part of 4 samples"):
        masks(0, 4).noise("D", x[:5])


def test_noise_is_the_same_after_a_copy() -> None:
    one, x = masks(0, 7), torch.zeros(7, 2)
    one.noise("D", x)
    copied = one.copy()
    assert torch.equal(one.noise("D", x), copied.noise("D", x))


EVERY = {
    "pix2pix": Case("pix2pix", hyper=ALL),
    "dropout and recomputing": Case(
        "pix2pix",
        hyper={**ALL, "dropout": 0.5, "image_size": 32},
        training={"checkpoint_activations": True},
    ),
    "unit": Case("unit", hyper=ALL, updates=2),
    "dcgan": Case("dcgan", hyper=ALL),
}


@pytest.mark.parametrize("name", EVERY)
def test_options_go_on_from_a_saved_state_bit_for_bit(name: str, tmp_path: Any) -> None:
    file, case = str(tmp_path / "state.pt"), EVERY[name]
    whole = run(replace(case, updates=4))
    run(replace(case, updates=2, save=file))
    resumed = run(replace(case, updates=2, resume=file))
    assert whole.keys() == resumed.keys()
    assert not [key for key in whole if not torch.equal(whole[key], resumed[key])]


@pytest.mark.parametrize("name", EVERY)
def test_options_give_the_same_by_every_fast_way_and_recomputed(name: str) -> None:
    """Joined passes are left apart where a layer draws; recomputed blocks draw what they drew."""
    case = EVERY[name]
    whole = run(case)
    other = {"checkpoint_activations": not case.training}
    for changed in (replace(case, training=other), replace(case, fast=("channels_last", "passes"))):
        found = run(changed)
        for key, value in whole.items():
            assert torch.allclose(found[key], value, rtol=1e-6, atol=1e-8), key


def test_options_without_a_mean_over_the_batch_take_micro_batches() -> None:
    case = Case("cyclegan", hyper={**ALL, "minibatch_features": 0})
    whole = run(case)
    parted = run(replace(case, training={"micro_batch": 2}))
    for key, value in whole.items():
        assert torch.allclose(parted[key], value, rtol=1e-5, atol=1e-8), key


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("size", [2, 3])
def test_options_move_several_workers_as_one(size: int) -> None:
    cases = [case for name, case in EVERY.items() if name != "dropout and recomputing"]
    alone = [run(case) for case in cases]
    for results in run_on(size, cases):
        for one, together in zip(alone, results, strict=True):
            assert_same(one, together)


@pytest.mark.parametrize("name", ["pix2pix", "dcgan", "stargan"])
def test_options_in_bf16_stay_finite(name: str) -> None:
    found = run(Case(name, hyper={**ALL, "d_optimiser": "same"}, fast=("bf16",), dtype=torch.float32, updates=10))
    assert all(value.isfinite().all() for value in found.values())


# ---------------------------------------------------------------- minibatch discrimination


def test_minibatch_nearness_is_the_article_s_over_the_others() -> None:
    """o(x_i)_b = mean over j != i of exp(-|M_i,b - M_j,b|_1), in plain numbers."""
    M = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    numbers = M.tolist()
    for i in range(4):
        for b in range(3):
            near = [
                math.exp(-sum(abs(p - q) for p, q in zip(numbers[i][b], numbers[j][b], strict=True)))
                for j in range(4)
                if j != i
            ]
            assert nearness(M[i : i + 1], M)[0, b].item() == pytest.approx(sum(near) / 3, rel=1e-12)


@pytest.mark.parametrize("form", ["map", "vector"])
def test_minibatch_layer_reads_features_beside_nearness(form: str) -> None:
    generator = torch.Generator().manual_seed(0)
    last: Any = nn.Conv2d(6, 1, 2, bias=False) if form == "map" else nn.Linear(6, 1)
    layer = MinibatchDiscrimination(last, 4, generator).double()
    h = torch.randn(5, 6, *((3, 3) if form == "map" else ()), dtype=torch.float64)
    f = h.mean((2, 3)) if form == "map" else h
    o = nearness((f @ layer.T).view(5, 4, 5), (f @ layer.T).view(5, 4, 5))
    weight = layer.last.weight
    assert torch.equal(weight[:, :6], last.weight.double())
    if form == "map":
        by_hand = last.double()(h) + (weight[:, 6:].sum((2, 3)) * o).sum(1)[:, None, None, None]
    else:
        by_hand = last.double()(h) + (weight[:, 6:] * o).sum(1, keepdim=True)
    torch.testing.assert_close(layer(h), by_hand, rtol=1e-12, atol=1e-12)
    assert 0.01 < weight[:, 6:].std() < 0.04


def test_minibatch_layer_takes_the_place_of_the_logits_of_every_scale() -> None:
    D, plain = two_scales(3, 8, 1), two_scales(3, 8, 1)
    D.load_state_dict(plain.state_dict())
    with_minibatch_discrimination(D, 7, torch.Generator())
    assert [type(scale.net[-1]) for scale in D.scales] == [MinibatchDiscrimination] * 2
    assert [one.shape for one in D(torch.zeros(2, 3, 16, 16))] == [
        one.shape for one in plain(torch.zeros(2, 3, 16, 16))
    ]
    judge = DCGANDiscriminator(16, 1, 4, norm="none")
    before = sum(p.numel() for p in judge.parameters())
    with_minibatch_discrimination(judge, 10, torch.Generator())
    assert sum(p.numel() for p in judge.parameters()) - before == 8 * 10 * 5 + 10 * 16  # T, and 4x4 of the last layer
    with pytest.raises(TypeError, match="a last layer of type Conv1d"):
        MinibatchDiscrimination(nn.Conv1d(1, 1, 1), 3, torch.Generator())


def test_minibatch_layer_sees_images_that_are_all_alike() -> None:
    layer = MinibatchDiscrimination(nn.Linear(6, 1), 4, torch.Generator().manual_seed(0))
    alike, apart = torch.randn(1, 6).expand(8, 6), 5 * torch.randn(8, 6)
    near = [nearness(M, M).mean().item() for M in ((h @ layer.T).view(8, 4, 5) for h in (alike, apart))]
    assert near[0] == pytest.approx(1)
    assert near[1] < 0.1


def test_minibatch_discrimination_is_refused_to_a_micro_batch() -> None:
    with pytest.raises(ValueError, match="all of 7 samples, of which this part has"):
        run(Case("pix2pix", hyper={"minibatch_features": 3}, training={"micro_batch": 4}))


def test_batch_gathers_its_parts_in_order() -> None:
    x = torch.arange(14.0).view(7, 2)
    batch = Batch({}, 7, 0, 7, 0, 0)
    assert torch.equal(batch.gathered(x), x)
    rows = [replace(part, summed=lambda row: row).gathered(x[part.start : part.stop]) for part in batch.split(3)]
    assert torch.equal(torch.stack(rows).sum(0), x)


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"real_target_to": 0.9}, r"--real-target-to: found 0.9; expected a number above --real-target, 1.0"),
        ({"real_target": 0.9, "real_target_to": 3.0}, "--real-target-to: found 3.0; expected a number of at most 2"),
        ({"fake_target": 0.3, "fake_target_to": 0.2}, "--fake-target-to: found 0.2; expected a number above"),
        ({"fake_target": 0.5}, "--fake-target: found 0.5"),
        ({"label_flip": 0.5}, "--label-flip: found 0.5"),
        ({"label_flip": -0.1}, "--label-flip: found -0.1"),
        ({"input_noise": -1.0}, "--input-noise: found -1.0"),
        ({"input_noise": math.inf}, "--input-noise: found inf"),
        ({"input_noise_until": 5}, "--input-noise-until: found 5, with --input-noise 0"),
        ({"layer_noise": math.nan}, "--layer-noise: found nan"),
        ({"minibatch_features": 1001}, "--minibatch-features: found 1001"),
        (
            {"minibatch_features": 3, "adversarial": "wgan-gp"},
            "--minibatch-features: found 3, with --adversarial wgan-",
        ),
        ({"d_optimiser": "adamw"}, "--d-optimiser: found 'adamw'"),
        ({"d_lr_factor": 0.0}, "--d-lr-factor: found 0.0"),
    ],
)
def test_options_that_cannot_be_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GameConfig(**values)


@pytest.mark.parametrize("terms", ["wgan", "wgan-gp", "hinge"])
@pytest.mark.parametrize("option", ["real_target_to", "fake_target", "fake_target_to", "label_flip"])
def test_options_on_targets_are_refused_to_terms_without_a_target(option: str, terms: str) -> None:
    value = 1.2 if option == "real_target_to" else 0.1
    message = f"--{option.replace('_', '-')}: found {value} with --adversarial {terms}; expected 0"
    with pytest.raises(ConfigError, match=message):
        GameConfig(adversarial=terms, **{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("option", OF_DISCRIMINATORS)
def test_options_are_refused_without_a_discriminator(option: str) -> None:
    value = {"d_optimiser": "sgd", "minibatch_features": 3, "real_target_to": 1.2, "d_lr_factor": 2.0}.get(option, 0.1)
    for name, alone in (("pix2pix", {"objective": "L1"}), ("cyclegan", {"lambda_gan": 0.0})):
        with pytest.raises(ConfigError, match=f"--{option.replace('_', '-')}: found .*{name} as it is set up has no d"):
            made(name, **alone, **{option: value})
        made(name, **{option: value})


def test_prepare_refuses_to_compare_a_batch_of_one(paired: str, storage: str) -> None:
    hyper = {"hyper__minibatch_features": 3}
    config_of("pix2pix", paired, storage, training__batch=2, **hyper)
    with pytest.raises(ConfigError, match="--batch: found 1, with --minibatch-features"):
        config_of("pix2pix", paired, storage, training__batch=1, **hyper)
    with pytest.raises(ConfigError, match="--micro-batch: found 2; expected none: an objective of pix2pix is of the"):
        config_of("pix2pix", paired, storage, training__batch=4, training__micro_batch=2, **hyper)
