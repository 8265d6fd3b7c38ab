"""Layers that look beyond one sample: what a forward advances, batch norm over workers, dropout by slot.

pytest tests/distributed/test_layers.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm, spectral_norm

from i2i_core import registry
from i2i_core.batch import Batch
from i2i_core.checkpoints.norm_batches import norm_batches_of_a_batch, norm_batches_of_a_run
from i2i_core.checkpoints.trained import load_trained
from i2i_core.config.methods.pix2pix import Pix2PixConfig
from i2i_core.config.run import TrainConfig
from i2i_core.config.training import TrainingConfig
from i2i_core.data.reading.lanes import slots_of
from i2i_core.errors import ConfigError
from i2i_core.methods.base import Progress
from i2i_core.methods.pix2pix import Pix2Pix
from i2i_core.randomness import seed_from
from i2i_core.settings import differences
from i2i_core.training.buffers import measured
from i2i_core.training.layers import Layers, Masks, normalised_by_all
from i2i_core.training.loop import Loop
from i2i_core.training.sync import World

from ..support.layered import Layered, Made, parts, state_after, step_of, whole
from ..support.methods import ALONE
from ..support.runs import config_of, loop_of
from ..support.workers import on_workers

GLOBAL = {"batch_norm": "global"}
SPECTRAL = Made(spectral=True, penalty=True, training={"ema_halflife": 20})
DROPPED = Made(dropout=0.3, both=True, spectral=True)
PARTED = [
    replace(made, training={**made.training, "micro_batch": most}) for made in (SPECTRAL, DROPPED) for most in (2, 4)
]
NORMED = [
    Made(batch=5, g_norm=True, spectral=True, training=GLOBAL),
    Made(batch=7, g_norm=True, d_norm=True, penalty=True, training=GLOBAL),
    Made(batch=7, g_norm=True, d_norm=True, both=True, dropout=0.3, penalty=True, training=GLOBAL),
]
CASES = [SPECTRAL, DROPPED, *PARTED, *NORMED]
Found = list[tuple[list[dict[str, Tensor]], dict[str, Any]]]
"""By worker: weights and buffers after each case, and what norms of every kind gave."""


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-11) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


def in_one_pass(made: Made) -> dict[str, Tensor]:
    """By one process, with torch's own batch norm."""
    return state_after(replace(made, training={**made.training, "micro_batch": 0, "batch_norm": "worker"}))


# ---------------------------------------------------------------- any number of parts


def all_cases(world: World) -> tuple[list[dict[str, Tensor]], dict[str, Any]]:
    return [state_after(made, world) for made in CASES], normalised(world)


@pytest.fixture(scope="module", params=[2, 3])
def found(request: pytest.FixtureRequest) -> Found:
    return on_workers(request.param, all_cases)


@pytest.mark.processes
@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda i: str(CASES[i]).removeprefix("Made"))
def test_layers_of_several_workers_end_with_the_weights_and_buffers_of_one(found: Found, case: int) -> None:
    """Uneven parts; weights and every buffer, vectors of spectral norm and counts of batches among them."""
    alone = in_one_pass(CASES[case])
    for results, _ in found:
        assert_close(results[case], alone)
        for name, value in results[case].items():
            assert torch.equal(value, found[0][0][case][name]), f"{name} differs between workers"


@pytest.mark.parametrize("made", PARTED, ids=str)
def test_layers_in_micro_batches_end_with_the_weights_and_buffers_of_the_whole_batch(made: Made) -> None:
    before, after = Layered(made).networks["D"][0].parametrizations.weight[0], state_after(made)
    assert_close(after, in_one_pass(made))
    assert not torch.equal(after["D.0.parametrizations.weight.0._u"], before._u)


def test_passes_average_running_statistics_over_micro_batches_by_their_share() -> None:
    """Batch norm of the data themselves, which no weight changes: parts of 3, 3 and 1 samples of 7."""
    made = Made(g_norm=True, training={"micro_batch": 3}, updates=2)
    method = Layered(made)
    norm = nn.BatchNorm2d(3).double()
    method.networks["G"].insert(0, norm)
    expected = [nn.BatchNorm2d(3).double() for _ in range(3)]
    step, progress, feed = step_of(made, method=method), Progress(), parts(made, ALONE)
    for _ in range(made.updates):
        step(feed, progress)
    one = nn.BatchNorm2d(3).double()
    for t in range(2 * made.updates):
        one(whole(made, t)["a"])
        for part, own in zip(whole(made, t).split(3), expected, strict=True):
            own(part["a"])
    torch.testing.assert_close(norm.running_mean, one.running_mean, rtol=1e-12, atol=1e-12)
    variance = sum(w / 7 * own.running_var for w, own in zip((3, 3, 1), expected, strict=True))
    torch.testing.assert_close(norm.running_var, variance, rtol=1e-12, atol=1e-12)
    assert norm.num_batches_tracked == 2 * made.updates


def test_passes_leave_a_buffer_that_no_forward_advances_bit_for_bit() -> None:
    made = Made(training={"micro_batch": 3})
    method = Layered(made)
    kernel = torch.rand(11, dtype=torch.float64)
    method.networks["G"].register_buffer("kernel", kernel.clone())
    step, progress, feed = step_of(made, method=method), Progress(), parts(made, ALONE)
    for _ in range(3):
        step(feed, progress)
    assert torch.equal(method.networks["G"].kernel, kernel)


@pytest.mark.parametrize("norm", ["image", "running"])
def test_buffers_do_not_advance_while_images_are_made(norm: Any) -> None:
    made = Made(g_norm=True, spectral=True, dropout=0.3)
    step = step_of(made)
    step(parts(made, ALONE), Progress())
    method = step.method
    before = {name: tensor.clone() for name, tensor in method.networks.state_dict().items()}
    method.at_test = replace(method.at_test, norm=norm)
    with method.translating("D"):
        method.networks["D"](method.networks["G"](whole(made, 0)["a"]))
    for name, tensor in method.networks.state_dict().items():
        assert torch.equal(tensor, before[name]), name


# ---------------------------------------------------------------- spectral norm


def test_spectral_norm_divides_by_the_norm_and_its_weights_are_found() -> None:
    step = step_of(SPECTRAL)
    feed, progress = parts(SPECTRAL, ALONE), Progress()
    for _ in range(20):
        step(feed, progress)
    first, last = step.method.networks["D"][0], step.method.networks["D"][-1]
    mine = step.method.parameters_of("D")
    for layer in (first, last):
        assert any(p is layer.parametrizations.weight.original for p in mine)
        weight = layer.eval().weight.flatten(1)
        assert abs(torch.linalg.matrix_norm(weight, 2) - 1) < 0.1
        assert abs(torch.linalg.matrix_norm(layer.parametrizations.weight.original.flatten(1), 2) - 1) > 0.1


def test_spectral_norm_goes_on_from_a_saved_state_bit_for_bit(tmp_path: Any) -> None:
    made = replace(SPECTRAL, g_norm=True, dropout=0.3)
    first, whole_run = step_of(made), state_after(replace(made, updates=4))
    feed, progress = parts(made, ALONE), Progress()
    for _ in range(2):
        first(feed, progress)
    saved = {"networks": first.method.networks.state_dict(), "ema": first.ema and first.ema.state_dict()}
    torch.save({**saved, "moves": first.state_dict()}, tmp_path / "state.pt")
    loaded = torch.load(tmp_path / "state.pt", weights_only=True)
    second = step_of(made)
    second.method.networks.load_state_dict(loaded["networks"])
    assert second.ema is not None
    second.ema.load_state_dict(loaded["ema"])
    second.load_state_dict(loaded["moves"])
    for _ in range(2):
        second(feed, progress)
    ended = {**second.method.networks.state_dict(), **{f"ema.{k}": v for k, v in second.ema.state_dict().items()}}
    for name, value in whole_run.items():
        assert torch.equal(ended[name], value), name


def test_ema_takes_generators_with_spectral_norm() -> None:
    made = Made(training={"ema_halflife": 20})
    method = Layered(made)
    method.networks["G"][0] = spectral_norm(method.networks["G"][0])
    step, progress, feed = step_of(made, method=method), Progress(), parts(made, ALONE)
    for _ in range(3):
        step(feed, progress)
    assert step.ema is not None
    trained, averaged = method.networks["G"], step.ema["G"]
    assert not torch.equal(trained[0].parametrizations.weight.original, averaged[0].parametrizations.weight.original)
    assert torch.equal(trained[0].parametrizations.weight[0]._u, averaged[0].parametrizations.weight[0]._u)
    with step.averaged(), method.translating():
        assert method.networks["G"] is averaged
        assert torch.isfinite(averaged(whole(made, 0)["a"])).all()


def test_spectral_norm_vectors_are_not_averaged_over_workers() -> None:
    """Workers have the same, bit for bit; running statistics are averaged, where they are of a worker's part."""
    method = Layered(Made(g_norm=True, spectral=True))
    names = {id(buffer): name for name, buffer in method.networks.named_buffers()}
    assert [names[id(b)] for b in measured(method.networks)] == ["G.1.running_mean", "G.1.running_var"]
    together = Layers(method.networks, World(0, 2), autocast=False)
    assert measured(method.networks, together.alike) == []


def test_spectral_norm_is_found_outside_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """(The CPU's autocast leaves its products alone; a GPU's does not: tests/gpu.)"""
    layer, seen, right = spectral_norm(nn.Linear(40, 30)), [], _SpectralNorm.forward

    def noted(self: _SpectralNorm, weight: Tensor) -> Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        return right(self, weight)

    monkeypatch.setattr(_SpectralNorm, "forward", noted)
    for autocast in (True, False):
        with (
            Layers(layer, None, autocast=autocast).running(Batch({}, 2, 0, 2, 0, 0)),
            torch.autocast("cpu", torch.bfloat16),
        ):
            assert layer(torch.randn(2, 40)).dtype == torch.bfloat16
    assert seen == [False, True]


# ---------------------------------------------------------------- batch norm over all workers


class Norms:
    """Norms of every kind, and inputs that they take: of 7 samples, far from zero."""

    KINDS: ClassVar[dict[str, Callable[[], nn.Module]]] = {
        "plain": lambda: nn.BatchNorm2d(4),
        "cumulative": lambda: nn.BatchNorm2d(4, momentum=None),
        "bare": lambda: nn.BatchNorm2d(4, affine=False),
        "untracked": lambda: nn.BatchNorm2d(4, track_running_stats=False),
        "flat": lambda: nn.BatchNorm1d(4),
        "evaluated": lambda: nn.BatchNorm2d(4).eval(),
    }

    @staticmethod
    def norm(kind: str) -> Any:
        norm = Norms.KINDS[kind]().double()
        with torch.no_grad():
            for number, p in enumerate(norm.parameters()):
                p.copy_(torch.linspace(0.5, 2 + number, 4))
        return norm

    @staticmethod
    def x(kind: str, t: int) -> Tensor:
        shape = (7, 4) if kind == "flat" else (7, 4, 3, 2)
        return 100 + torch.randn(shape, generator=torch.Generator().manual_seed(t), dtype=torch.float64)


def looked_at(norm: Any, forward: Callable[[Tensor], Tensor], x: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Output, gradient, gradient of a gradient, of two passes."""
    x = x.clone().requires_grad_()
    y = forward(x)
    loss = (weights * y.sin()).sum()
    (first,) = torch.autograd.grad(loss, x, create_graph=True)
    parameters = list(norm.parameters())
    second = torch.autograd.grad((first**2).sum(), [x, *parameters], allow_unused=True)
    found = {"y": y, "first": first, "second": second[0]}
    return {name: value.detach() for name, value in found.items()} | {
        f"of {name}": value
        for (name, _), value in zip(norm.named_parameters(), second[1:], strict=True)
        if value is not None
    }


def normalised(world: World) -> dict[str, Any]:
    """Each kind of norm on this worker's part: what is seen, and its buffers."""
    world, found = world.apart(), {}
    for kind in Norms.KINDS:
        norm = Norms.norm(kind)
        for t in range(2):
            x, weights = Norms.x(kind, t), Norms.x(kind, 10 + t)
            start, stop = slots_of(7, world.rank, world.size)
            forward = norm if world.size == 1 else lambda x, n=norm: normalised_by_all(n, world, x)
            found[f"{kind} {t}"] = looked_at(norm, forward, x[start:stop], weights[start:stop])
        found[kind] = dict(norm.named_buffers())
    return found


@pytest.mark.processes
@pytest.mark.parametrize("kind", Norms.KINDS)
def test_batch_norm_over_workers_is_torch_s_over_the_whole_batch(found: Found, kind: str) -> None:
    """Outputs, gradients, gradients of gradients and running statistics, of values a hundred deviations from 0."""
    alone = normalised(ALONE)
    for t in range(2):
        each = [other[f"{kind} {t}"] for _, other in found]
        for name, value in alone[f"{kind} {t}"].items():
            of_all = [one[name] for one in each]
            together = torch.cat(of_all) if name in ("y", "first", "second") else torch.stack(of_all).sum(0)
            scale = float(value.abs().max())
            torch.testing.assert_close(
                together, value, rtol=0, atol=1e-11 * max(1.0, scale), msg=lambda m, n=name: f"{n}: {m}"
            )
    for _, other in found:
        assert_close(other[kind], alone[kind], 1e-12)


def test_batch_norm_of_one_worker_is_torch_s_own() -> None:
    made = Made(g_norm=True, training=GLOBAL)
    assert step_of(made).layers.norms == []
    for name, value in in_one_pass(made).items():
        assert torch.equal(state_after(made)[name], value), name


def test_batch_norm_takes_statistics_in_full_precision_under_autocast() -> None:
    norm = nn.BatchNorm2d(4)
    x = (100 + torch.randn(6, 4, 3, 2)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y = normalised_by_all(norm, ALONE, x)
    assert y.dtype == torch.bfloat16
    expected = nn.BatchNorm2d(4)
    torch.testing.assert_close(y, expected(x.float()).bfloat16())
    torch.testing.assert_close(norm.running_var, expected.running_var)


def test_batch_norm_global_refuses_micro_batches() -> None:
    with pytest.raises(ValueError, match="batch norm over the whole batch, which a micro-batch of it cannot know"):
        step_of(Made(g_norm=True, training={**GLOBAL, "micro_batch": 2}))
    step_of(Made(training={**GLOBAL, "micro_batch": 2}))


# ---------------------------------------------------------------- dropout by slot


def of_slots(start: int, stop: int, size: int = 7) -> Masks:
    return Masks(Batch({}, size, start, stop, 0, 0), (3, 0, 14))


SEED = seed_from("layers", 3, 0, 14)
LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "values": (nn.Dropout(0.3), (5, 4, 4)),
    "vectors": (nn.Dropout(0.8), (9,)),
    "channels": (nn.Dropout2d(0.5), (5, 4, 4)),
    "channels of sequences": (nn.Dropout1d(0.5), (5, 4)),
    "channels of volumes": (nn.Dropout3d(0.5), (5, 4, 2, 2)),
    "all": (nn.Dropout(1.0), (5, 4, 4)),
    "none": (nn.Dropout(0.0), (5, 4, 4)),
    "in evaluation": (nn.Dropout(0.5).eval(), (5, 4, 4)),
    "in place": (nn.Dropout(0.5, inplace=True), (5, 4, 4)),
    "all in place": (nn.Dropout(1.0, inplace=True), (5, 4, 4)),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", LAYERS)
def test_masks_of_the_whole_batch_are_torch_s_own(kind: str, dtype: torch.dtype) -> None:
    """Two layers one after another, so that the draws come in order; and no other random state moves."""
    layer, shape = LAYERS[kind]
    x = torch.randn(7, *shape).to(dtype)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        expected = [layer(x.clone()), F.dropout(x, 0.4)]
    before, masks = torch.get_rng_state(), of_slots(0, 7)
    given = x.clone()
    first = masks.apply("G.0", layer, given)
    assert torch.equal(first, expected[0])
    assert torch.equal(masks.apply("G.1", nn.Dropout(0.4), x), expected[1])
    assert torch.equal(torch.get_rng_state(), before)
    assert (first is given) == (layer.inplace or not layer.training or layer.p == 0)


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("kind", ["values", "channels"])
def test_masks_of_parts_are_cut_from_those_of_the_batch(kind: str, times: int) -> None:
    """Of batches that go through one after another in one tensor, too."""
    layer, shape = LAYERS[kind]
    x = torch.randn(times, 7, *shape)
    expected = of_slots(0, 7).apply("G.0", layer, x.flatten(0, 1)).unflatten(0, (times, 7))
    for cuts in ([(0, 4), (4, 7)], [(0, 3), (3, 5), (5, 7)]):
        for start, stop in cuts:
            found = of_slots(start, stop).apply("G.0", layer, x[:, start:stop].flatten(0, 1))
            assert torch.equal(found.unflatten(0, (times, -1)), expected[:, start:stop])


@pytest.mark.parametrize("shape", [(5, 4), (2, 4), (), (0, 4)])
def test_masks_refuse_other_samples_than_the_part_s(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"Dropout G\.0 of an input .*, in a part of 3 samples; expected \(3, \.\.\.\)"
    ):
        of_slots(0, 3).apply("G.0", nn.Dropout(0.5), torch.randn(shape))


def test_masks_refuse_a_sample_without_a_batch() -> None:
    with pytest.raises(ValueError, match=r"Dropout1d G\.0 of an input \(3, 4\)"):
        of_slots(0, 3).apply("G.0", nn.Dropout1d(0.5), torch.randn(3, 4))


def test_layers_refuse_a_dropout_without_masks_by_slot() -> None:
    networks = nn.ModuleDict({"G": nn.Sequential(nn.AlphaDropout(0.1))})
    with pytest.raises(ValueError, match=r"G\.0 is AlphaDropout, which has no masks by slot; expected Dropout, "):
        Layers(networks, None, autocast=False)


def test_step_neither_reads_nor_moves_global_random_state() -> None:
    results = []
    for state in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(state)
            before = torch.get_rng_state()
            results.append(state_after(DROPPED))
            assert torch.equal(torch.get_rng_state(), before)
    for name, value in results[0].items():
        assert torch.equal(results[1][name], value), name


def test_masks_change_from_move_to_move() -> None:
    made = Made(dropout=0.5)
    step, seen = step_of(made), []
    right = Masks.apply

    def noted(self: Masks, name: str, layer: Any, x: Tensor) -> Tensor:
        y = right(self, name, layer, x)
        seen.append((name, tuple(((y == 0) & (x != 0)).flatten().tolist())))
        return y

    Masks.apply = noted  # type: ignore[method-assign]
    try:
        step(parts(made, ALONE), Progress())
        step(parts(made, ALONE, 2), Progress(2 * made.batch))
    finally:
        Masks.apply = right  # type: ignore[method-assign]
    assert {name for name, _ in seen} == {"G.2", "G.3", "D.2"}
    assert len(set(seen)) == len(seen) > 6


# ---------------------------------------------------------------- only in the step's segments


def test_layers_run_as_ever_outside_of_a_segment() -> None:
    networks = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(4), spectral_norm(nn.Linear(3, 3)))
    layers = Layers(networks, World(0, 2), autocast=True)
    with pytest.raises(KeyError), layers.running(Batch({}, 7, 0, 7, 0, 0)):
        assert sum("forward" in vars(module) for module in networks.modules()) == 3
        raise KeyError
    assert not any("forward" in vars(module) for module in networks.modules())


# ---------------------------------------------------------------- in a run

SMALL_RUN: dict[str, Any] = {"training__batch_norm": "global", "hyper__norm": "batch", "training__batch": 5}


def test_batch_norm_of_the_whole_batch_is_refused_where_it_cannot_be(paired: str, storage: str) -> None:
    config_of("pix2pix", paired, storage, **SMALL_RUN)
    with pytest.raises(ConfigError, match="--micro-batch: found 2; expected none: --batch-norm global is of the whole"):
        config_of("pix2pix", paired, storage, **SMALL_RUN, training__micro_batch=2)
    with pytest.raises(
        ConfigError, match="--batch-norm: found global; expected worker: the networks have no batch norm"
    ):
        config_of("pix2pix", paired, storage, **{**SMALL_RUN, "hyper__norm": "instance"}, training__micro_batch=2)
    with pytest.raises(ConfigError, match="--batch-norm"):
        TrainingConfig(batch_norm="all")  # type: ignore[arg-type]


def test_batch_norm_must_match_on_resume_and_counts_the_images_of_the_whole_batch() -> None:
    of = {which: TrainConfig.of("pix2pix", "demo", {"training.batch_norm": which}) for which in ("worker", "global")}
    assert differences(of["worker"], of["global"]) == ["training.batch_norm: saved 'worker', now 'global'"]
    together = of["global"].with_section("training", batch=5)
    assert norm_batches_of_a_batch(together, 2) == {5: 5}
    assert norm_batches_of_a_run(together, 20, 5) == {5: 20}


class Spectral(Pix2Pix):
    """pix2pix whose D has spectral norm, put on after its first weights are drawn."""

    def __init__(self, config: Pix2PixConfig, generator: torch.Generator) -> None:
        super().__init__(config, generator)
        for layer in [m for m in self.networks.modules() if isinstance(m, nn.Conv2d)]:
            spectral_norm(layer)


def test_spectral_norm_run_is_saved_read_and_gone_on_with(
    paired: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve images, and six and then six: bit for bit, vectors too; and neither hangs on global random state."""
    monkeypatch.setitem(registry._CLASSES, "pix2pix", Spectral)
    states = []
    for number, lengths in enumerate([(12,), (6, 12)]):
        storage = str(tmp_path / str(number))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(number)
            for length in lengths:
                loop_of(config_of("pix2pix", paired, storage, training__images=length)).train()
        loaded = load_trained(f"{storage}/run", torch.device("cpu"))
        states.append(loaded.method.networks.state_dict())
    assert any(name.startswith("G.") and name.endswith("_u") for name in states[0])
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value), name


def ended(world: World, config: TrainConfig) -> dict[str, Tensor]:
    """Weights and buffers of a run by the real loop, in float64."""
    loop = Loop(config, world, torch.device("cpu"))
    loop.method.double()
    loop.train()
    return {name: tensor.clone() for name, tensor in loop.method.networks.state_dict().items()}


@pytest.mark.processes
def test_loop_of_two_workers_ends_with_the_weights_of_one(paired: str, tmp_path: Any) -> None:
    """pix2pix with its batch norm and dropout, 3 + 2 samples, from the data to the last checkpoint."""
    values = {**SMALL_RUN, "hyper__image_size": 32, "hyper__dropout": 0.5, "training__images": 20}
    alone, two = (
        config_of("pix2pix", paired, str(tmp_path / name), **values, training__ema_halflife=0)
        for name in ("one", "two")
    )
    expected = ended(ALONE, alone)
    assert any("running" in name for name in expected)
    for found_there in on_workers(2, ended, two):
        assert_close(found_there, expected, 1e-9)
    saved = load_trained(f"{tmp_path}/two/run", torch.device("cpu"))
    assert saved.norm_batches == {5: 20}
