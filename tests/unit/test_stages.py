"""Stages: how they are written, when they begin, what moves in them and how fast; and values that change with progress.

pytest tests/unit/test_stages.py
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from i2i_core import cli
from i2i_core.batch import Batch
from i2i_core.config.run import TrainConfig
from i2i_core.config.stages import Stage, filled, parsed
from i2i_core.config.training import TrainingConfig
from i2i_core.errors import ConfigError, RunError
from i2i_core.methods import build_method
from i2i_core.methods.base import Progress
from i2i_core.training.stages import Stages, frozen
from i2i_core.training.state import Position
from i2i_core.training.step import Step

from ..support.methods import ALONE
from ..support.staged import CoarseConfig, CoarseToFine

LAST = "lr=1"


def test_stage_is_one_text() -> None:
    found = parsed(
        ("epochs=1.5 size=256 load=286", "images=20000 frames=8 players=G,D frozen=G.trunk,E", "fresh lr=.5")
    )
    assert found == (
        Stage(epochs=1.5, size=256, load=286),
        Stage(images=20000, frames=8, players=("G", "D"), frozen=("G.trunk", "E")),
        Stage(lr=0.5, fresh=True),
    )
    assert parsed(("images=1 size=55x35", "size=32x32")) == (Stage(images=1, size=(35, 55)), Stage(size=32))
    assert parsed(("images=1", "")) == (Stage(images=1), Stage())


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown": (("epochs=1 sise=2", LAST), r"stage 1 of 2: found 'sise=2'; expected KEY=VALUE.*Did you mean size\?"),
    "no value": (("epochs", LAST), r"stage 1 of 2: found 'epochs'; expected a number above 0.*Write epochs=60"),
    "fresh=1": (("images=1", "fresh=1"), r"stage 2 of 2: found 'fresh=1'.*Write fresh\."),
    "twice": (("images=1 lr=1 lr=2", LAST), "lr twice in"),
    "two lengths": (("images=1 epochs=1", LAST), "stage 1 of 2: found epochs=1 and images=1; expected one length"),
    "none": (("epochs=1", "size=8", LAST), r"stage 2 of 3: found no length in 'size=8'.*Add epochs=E or images=N"),
    "of the last": (("images=1", "images=2"), "stage 2 of 2: found a length in 'images=2'; expected none"),
    "no number": (("images=1e3", LAST), "found 'images=1e3'; expected a whole number from 1 to 1,000,000,000,000"),
    "nothing": (("images=0", LAST), "expected a whole number from 1 to 1,000,000,000,000"),
    "negative": (("epochs=-1", LAST), "expected a number above 0"),
    "infinite": (("images=1", "lr=inf"), "expected a number above 0"),
    "nan": (("images=1", "lr=nan"), "expected a number above 0"),
    "size": (("images=1 size=8x8x8", LAST), r"found 'size=8x8x8'; expected pixels of a square's side, or WIDTHxHEIGHT"),
    "no size": (("images=1 size=0", LAST), "expected pixels"),
    "one frame": (("images=1 frames=1", LAST), "expected a whole number from 2 to 10,000"),
    "names": (("images=1 players=G,,D", LAST), "expected names with commas between them"),
    "space": (("images=1 players=G, D", LAST), "found 'players=G,'"),
    "same": (("images=1 frozen=G,G", LAST), "each once"),
}


@pytest.mark.parametrize("case", WRONG)
def test_stage_error_names_the_stages_number(case: str) -> None:
    texts, said = WRONG[case]
    with pytest.raises(ConfigError, match=f"(?s){said}") as caught:
        TrainingConfig(images=10, stages=texts)
    assert caught.value.where.startswith("--stages: stage ")
    assert caught.value.fix


def test_stage_takes_what_it_leaves_out_from_the_run() -> None:
    found = filled(parsed(("images=1 size=8", "images=1 size=64 load=70", "images=1 frames=4", "")), 16, 18, 3)
    assert [(stage.size, stage.load, stage.frames) for stage in found] == [
        (8, 9, 3), (64, 70, 3), (16, 18, 4), (16, 18, 3)
    ]  # fmt: skip
    assert filled((), (35, 55), 0, 1) == (Stage(size=(35, 55), load=0, frames=1),)
    assert filled(parsed(("size=110x70",)), (35, 55), 40, 1)[0].load == 80


def test_stages_of_none_keep_a_runs_name() -> None:
    config = TrainConfig.of("pix2pix", "demo")
    assert "stages" not in config.name_of_version_1
    staged = config.with_section("training", stages=("images=8", "fresh"))
    assert config.run_name != staged.run_name
    assert config.name_of_version_1 == staged.name_of_version_1, "programs of version 1 knew no stages"
    before = config.dumps().replace('  "stages": [],\n', "")
    assert before != config.dumps()
    assert TrainConfig.loads(before, "config.json") == config
    assert TrainConfig.loads(staged.dumps(), "config.json") == staged


def test_stages_of_none_keep_a_checkpoint_as_it_was() -> None:
    position = Position(images=6, moves={"G": 1})
    assert position.state_dict() == {"images": 6, "moves": {"G": 1}}
    position.load_state_dict({"images": 12, "moves": {"G": 2}})
    assert (position.images, position.stage) == (12, 0)


def test_stages_come_from_the_command_line_and_from_files() -> None:
    flags = ["--stages", "epochs=1 size=128", "images=8 players=G", "", "--images", "900"]
    asked = cli.parse(TrainConfig.of("pix2pix", "demo"), "train.py", flags)
    assert asked.training.stages == ("epochs=1 size=128", "images=8 players=G", "")
    text = 'method: pix2pix\npreset: demo\ntraining: {images: 900, stages: ["epochs=1 size=128", fresh]}\n'
    assert TrainConfig.filled(text, "x.yaml").training.stages == ("epochs=1 size=128", "fresh")
    with pytest.raises(ConfigError, match=r"x\.yaml: --stages: stage 1 of 1: found 'frsh'"):
        TrainConfig.filled(text.replace('["epochs=1 size=128", fresh]', "[frsh]"), "x.yaml")


def stages_of(texts: tuple[str, ...], images: int = 100, per_epoch: tuple[int, ...] = (), **training: Any) -> Stages:
    """Stages of a run with batches of one image."""
    config = TrainingConfig(**{"images": images, **training}, stages=texts)
    stages, begins = filled(config.parsed_stages, 16, 0, 1), [0]
    for stage in stages[:-1]:
        begins.append(begins[-1] + stage.images)
    return Stages(config, stages, begins, per_epoch or (10,) * len(stages))


def test_stage_begins_at_its_first_image() -> None:
    stages = stages_of(("images=20", "images=30", ""))
    assert [stages.at(images) for images in (0, 19, 20, 21, 49, 50, 99, 200)] == [0, 0, 1, 1, 1, 2, 2, 2]


def test_learning_rate_by_hand() -> None:
    """A run of 100 images whose rate falls from the middle on; its second stage has a fall of its own, to 0, and half
    the rate; its third has what is left of the run's."""
    stages = stages_of(("images=20", "images=20 fresh lr=0.5", "lr=2"), lr_schedule="linear", lr_decay_from=0.5)
    rates = {0: 1, 19: 1, 20: 0.5, 30: 0.5, 35: 0.25, 39: 0.05, 40: 2, 50: 2, 60: 1.6, 99: 0.04}
    assert {images: stages.lr(images, stages.at(images)) for images in rates} == pytest.approx(rates)
    assert stages.lr(41, 1) == 0, "an update that goes on past the end of its stage is still of that stage"


def test_learning_rate_of_a_last_stage_runs_to_the_end_of_the_run() -> None:
    stages = stages_of(("images=20 fresh", "fresh lr=4"), lr_schedule="linear", lr_decay_from=0.0, lr_final=0.5)
    rates = {0: 1, 10: 0.75, 19: 0.525, 20: 4, 60: 3, 99: 2.025}
    assert {images: stages.lr(images, stages.at(images)) for images in rates} == pytest.approx(rates)


def test_learning_rate_epoch_by_epoch_and_in_steps_begins_anew() -> None:
    """1 + 1 epochs of 10 images, then 2 + 2 of 20: 1 - max(0, epoch + 1 - n) / (n_decay + 1)."""
    stages = stages_of(("images=20", "fresh"), lr_schedule="epochs", lr_decay_from=0.5, per_epoch=(10, 20))
    found = [stages.lr(images, 1) for images in (20, 39, 40, 60, 80, 99)]
    assert found == pytest.approx([1, 1, 1, 2 / 3, 1 / 3, 1 / 3])
    stages = stages_of(("images=20", "fresh"), lr_schedule="steps", lr_step=15, lr_step_factor=0.1)
    assert [stages.lr(images, stages.at(images)) for images in (0, 15, 19, 20, 34, 35)] == pytest.approx(
        [1, 0.1, 0.1, 1, 1, 0.1]
    )


def test_learning_rate_without_stages_is_as_it_was() -> None:
    stages = stages_of((), lr_schedule="linear", lr_decay_from=0.5)
    assert [stages.lr(images, 0) for images in (0, 50, 75, 100)] == pytest.approx([1, 1, 0.5, 0])
    assert (len(stages), stages.length, stages.at(1000)) == (1, 100, 0)


def test_stage_length_in_epochs_goes_by_its_own_epochs() -> None:
    """Two epochs of 10 images and half a one of 40; 1.5 of 40 are left of 4."""
    stages = stages_of(("images=20", "images=20", ""), images=0, epochs=4, per_epoch=(10, 40, 40))
    assert stages.length == 40 + 60
    assert stages_of(("images=25", ""), images=0, epochs=4).length == 40


@pytest.mark.parametrize("length", [{"images": 40}, {"images": 0, "epochs": 4}])
def test_stages_longer_than_the_run_are_refused(length: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"stage 2 of 2: found 40 images in the stages before.*fewer than.*40 \(--"):
        stages_of(("images=40", ""), **length)


# ---------------------------------------------------------------- what moves


def batch_at(t: int, size: int) -> Batch:
    """Global batch t of 4."""
    generator = torch.Generator().manual_seed(t)
    a, b = (torch.rand(4, 1, size, size, generator=generator, dtype=torch.float64) * 2 - 1 for _ in "ab")
    return Batch({"a": a, "b": b}, 4, 0, 4, t * 4, 5)


def batches(sizes: tuple[int, ...]) -> Iterator[Batch]:
    return (batch_at(t, size) for t, size in enumerate(sizes))


def method_of(**hyper: Any) -> CoarseToFine:
    config = CoarseConfig(channels=1, pool=0, **hyper)
    return CoarseToFine(config, torch.Generator().manual_seed(1)).double()


def step_of(method: Any, texts: tuple[str, ...], images: int = 100, **training: Any) -> Step:
    config = TrainingConfig(**{"images": images, **training}, stages=texts)
    stages, begins = filled(config.parsed_stages, 16, 0, 1), [0]
    for stage in stages[:-1]:
        begins.append(begins[-1] + stage.images)
    found = Stages(config, stages, begins, [40] * len(stages))
    return Step(method, config, ALONE, lambda images: found.lr(images, method.stage), found)


class PlainAdam:
    """Adam with L2 weight decay, by its formula (Kingma and Ba 2015, Alg. 1)."""

    def __init__(self, parameters: list[Tensor], decay: float) -> None:
        self.parameters, self.decay = parameters, decay
        self.m, self.v, self.t = ([torch.zeros_like(p) for p in parameters] for _ in "mvt")

    def move(self, loss: Tensor, lr: float, still: tuple[Tensor, ...] = ()) -> None:
        moving = [i for i, p in enumerate(self.parameters) if not any(p is other for other in still)]
        gradients = torch.autograd.grad(loss, [self.parameters[i] for i in moving], allow_unused=True)
        with torch.no_grad():
            for i, gradient in zip(moving, gradients, strict=True):
                p, m, v, t = self.parameters[i], self.m[i], self.v[i], self.t[i]
                g = (torch.zeros_like(p) if gradient is None else gradient) + self.decay * p
                t += 1
                m.mul_(0.5).add_(0.5 * g)
                v.mul_(0.999).add_(0.001 * g**2)
                p -= lr * (m / (1 - 0.5**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)


def test_stages_equal_a_plain_transcription() -> None:
    """Three stages: G1 and D; then G2 alone, with G1 as it is and everything anew, at half the rate; then all go on
    with what they remember, G1 having none of it."""
    method = method_of()
    G1, G2, D = (copy.deepcopy(method.networks[name]) for name in ("G1", "G2", "D"))
    texts = ("images=8 frozen=G2", "images=12 frozen=G1 lr=0.5 fresh", "players=G")
    step, progress = step_of(method, texts, lr_schedule="linear", lr_decay_from=0.0), Progress()
    feed = batches((8, 8, 16, 16, 16, 24, 24))
    for _ in range(7):
        step(feed, progress)

    def optimisers() -> tuple[PlainAdam, PlainAdam]:
        return PlainAdam([*G1.parameters(), *G2.parameters()], 0.0), PlainAdam([*D.parameters()], 1e-3)

    of_g, of_d = optimisers()
    fixed = [p.clone() for p in G1.parameters()]
    for t, size in enumerate((8, 8, 16, 16, 16, 24, 24)):
        batch, images = batch_at(t, size), 4 * t
        stage = 0 if images < 8 else 1 if images < 20 else 2
        if images == 8:
            of_g, of_d = optimisers()
            fixed = [p.clone() for p in G1.parameters()]
        lr = 1e-2 * (0.5 * (1 - (images - 8) / 12) if stage == 1 else 1 - images / 100)
        noise = 0.5 * (1 - images / 48)
        a = batch["a"] + torch.tensor(noise, dtype=torch.float32) * batch.draw("noise", 1, size, size)
        coarse = torch.tanh(G1(a)) if stage == 0 else torch.tanh(G1(nn.AvgPool2d(2)(a)))
        fake = coarse
        if stage:
            fake = torch.tanh(G2(torch.cat([a, coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)], 1)))
        if stage < 2:
            judged = nn.Softplus()(-D(batch["b"])).mean() + nn.Softplus()(D(fake.detach())).mean()
            of_d.move(judged, lr)
        loss = nn.Softplus()(-D(fake)).mean() + 10 * (fake - batch["b"]).abs().mean()
        of_g.move(loss, lr, still=(tuple(G2.parameters()), tuple(G1.parameters()), ())[stage])
        if stage == 1:
            assert all(torch.equal(p, q) for p, q in zip(G1.parameters(), fixed, strict=True))
    for name, mine in (("G1", G1), ("G2", G2), ("D", D)):
        for p, q in zip(method.networks[name].parameters(), mine.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-7, atol=1e-9)
    assert progress.moves == {"D": 5, "G": 7}


def test_stage_keeps_the_state_of_what_it_freezes() -> None:
    """Weights, and what the optimiser remembers of them, decay included; of networks and of parts of them."""
    method = method_of()
    step, progress = step_of(method, ("images=8", "images=8 frozen=G1,D.weight", "")), Progress()
    feed = batches((16,) * 8)
    still = {name for name, _ in method.networks.named_parameters() if name.startswith("G1.") or name == "D.weight"}

    def held() -> dict[str, list[Tensor]]:
        states = {id(p): state for mover in step.movers.values() for p, state in mover.optimiser.state.items()}
        named = method.networks.named_parameters()
        return {name: [p.detach().clone(), *(x.clone() for x in states[id(p)].values())] for name, p in named}

    def changed(before: dict[str, list[Tensor]], now: dict[str, list[Tensor]]) -> set[str]:
        return {n for n in now if not all(torch.equal(a, b) for a, b in zip(before[n], now[n], strict=True))}

    for _ in range(2):
        step(feed, progress)
    before = held()
    for _ in range(2):
        step(feed, progress)
    assert changed(before, held()) == before.keys() - still
    assert progress.stage == method.stage == 1
    learns = {name for name, p in method.networks.named_parameters() if p.requires_grad}
    assert learns == before.keys() - still, "no gradient of what is frozen is ever built"
    before = held()
    step(feed, progress)
    assert changed(before, held()) == before.keys(), "they move again afterwards"
    assert all(p.requires_grad for p in method.networks.parameters())


def test_stage_freezes_a_tied_parameter_by_any_of_its_names() -> None:
    method = build_method("unit", "demo", image_size=16)
    tied = [*method.networks["E2"].parameters()]
    shared = {*method.networks["E1"].parameters()} & {*tied}
    assert shared
    assert frozen(Stage(frozen=("E2",)), method.networks) == {*tied}


def test_stage_leaves_out_moves_of_other_players() -> None:
    method = method_of()
    method.update = two_players.__get__(method)  # type: ignore[method-assign]
    step, progress = step_of(method, ("images=4 players=G", "images=4 players=D", "")), Progress()
    feed = batches((16,) * 4)
    counts = []
    for _ in range(3):
        step(feed, progress)
        counts.append((progress.players, dict(progress.moves)))
    assert counts == [(("G",), {"G": 1}), (("D",), {"G": 1, "D": 1}), (("G", "D"), {"G": 2, "D": 2})]


def two_players(self: CoarseToFine, batches: Iterator[Batch], progress: Progress) -> Iterator[Any]:
    """Moves both, whoever's turn it is."""
    batch = next(batches)
    fake = self.make(batch["a"], 1)
    yield "D", *self.d_loss(batch["b"], fake.detach())
    yield "G", *self.g_loss(batch["b"], fake)


def test_stage_whose_update_moves_nobody_ends_the_run() -> None:
    method = method_of()
    right = method.update
    method.update = lambda b, p: (move for move in right(b, p) if move[0] == "G")  # type: ignore[method-assign]
    step = step_of(method, ("images=4 players=D", ""))
    with pytest.raises(RunError, match="stage 1: an update made no move of D"):
        step(batches((16,) * 4), Progress())


def test_stage_whose_loss_moves_nothing_ends_the_run() -> None:
    """G2 is left to move, and G1 alone makes images of stage 0."""
    step = step_of(method_of(), ("images=4 frozen=G1", ""))
    with pytest.raises(RunError, match="stage 1: the loss of G depends on nothing of it that moves"):
        step(batches((16,) * 4), Progress())


def test_stage_of_an_update_that_takes_several_batches_is_that_of_its_first() -> None:
    """Updates of 3 batches of 4 images; stage 1 begins at image 16, in the middle of the second one."""
    method, met = method_of(), []

    def update(batches: Iterator[Batch], progress: Progress) -> Iterator[Any]:
        for _ in range(3):
            batch = next(batches)
            met.append((batch.images, progress.stage))
            yield "G", *method.g_loss(batch["b"], method.make(batch["a"], 1))

    method.update = update  # type: ignore[method-assign]
    step, progress, rates = step_of(method, ("images=16", "lr=0.5")), Progress(), []
    feed = batches((16,) * 9)
    for _ in range(3):
        step(feed, progress)
        rates.append(step.learning_rates()["G"])
    assert met == [(4 * t, int(t >= 6)) for t in range(9)]
    assert rates == pytest.approx([1e-2, 1e-2, 5e-3])


# ---------------------------------------------------------------- values


def test_schedule_values_change_in_place() -> None:
    """By hand over updates, each time the same tensor, and before the update's first line."""
    method, seen = method_of(), []
    right = method.update

    def noted(batches: Iterator[Batch], progress: Progress) -> Iterator[Any]:
        for name in ("noise", "weight"):
            value = progress.value(name)
            seen.append((name, id(value), float(value)))
            assert (value.dtype, value.shape) == (torch.float32, ())
        yield from right(batches, progress)

    method.update = noted  # type: ignore[method-assign]
    step, progress = step_of(method, ()), Progress()
    feed = batches((16,) * 14)
    for _ in range(14):
        step(feed, progress)
    by_name = {name: [value for other, _, value in seen if other == name] for name in ("noise", "weight")}
    assert by_name["weight"] == [1 + 4 * t for t in range(14)]
    assert by_name["noise"] == pytest.approx([max(0, 0.5 - t / 24) for t in range(14)])
    assert len({(name, identity) for name, identity, _ in seen}) == 2


def test_schedule_names_an_unknown_value_beside_those_that_there_are() -> None:
    progress = Progress(values={"noise": torch.zeros(()), "weight": torch.zeros(())})
    with pytest.raises(KeyError, match="no value 'nois' in the method's schedule: noise, weight"):
        progress.value("nois")
    with pytest.raises(KeyError, match="it is empty"):
        Progress().value("noise")
