"""What holds for every method in the registry: images of any size, finite losses in bf16, layers that stay tied.

pytest tests/unit/test_registry.py
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from i2i_core import registry
from i2i_core.batch import Batch
from i2i_core.checkpoints.checkpoint import Snapshot, named_tensors, read, write
from i2i_core.checkpoints.trained import load_trained
from i2i_core.config.run import TrainConfig
from i2i_core.config.sections import register
from i2i_core.config.training import TrainingConfig
from i2i_core.errors import ConfigError
from i2i_core.methods import METHODS, build_from, build_method
from i2i_core.methods.base import Method, Progress
from i2i_core.runs.folder import RunFolder
from i2i_core.settings import flag, setting
from i2i_core.training.fast import Fast
from i2i_core.training.step import Step

from ..support.methods import ALONE, SMALL, Case, batches, small, whole_batch
from ..support.table import ABILITIES, TABLE

CPU = torch.device("cpu")


def made(name: str, dtype: torch.dtype = torch.float64, **hyper: Any) -> Method[Any]:
    return small(Case(name, hyper={**TABLE[name].quick, **hyper}, dtype=dtype))


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1


def channels_of(method: Method[Any]) -> tuple[int, int]:
    k = method.config
    both = getattr(k, "channels", 0)
    return getattr(k, "in_channels", both), getattr(k, "out_channels", both)


def control_of(method: Method[Any], n: int) -> dict[str, Tensor]:
    return {"target": torch.eye(3, dtype=torch.float64)[torch.arange(n) % 3]} if "c_dim" in vars(method.config) else {}


def images(method: Method[Any], n: int, height: int, width: int) -> Tensor:
    return noise(n, channels_of(method)[0], height, width)


def made_of(method: Method[Any], x: Tensor, direction: Any = "AtoB", *, keys: Any = None, **controls: Tensor) -> Tensor:
    """Images made of the images x, or by a method that takes no images of as many codes."""
    if method.inputs:
        return method.image_from(x, direction, keys=keys, **controls)
    keys = keys or [str(i) for i in range(len(x))]
    return method.translate({}, controls, keys=keys)[next(iter(method.outputs))]


KEYS = ("a", "b", "c")
TAKING = [name for name, entry in METHODS.items() if entry.method.inputs]
"""Methods that make images of images."""


def test_methods_have_a_row_each_in_the_table() -> None:
    assert set(TABLE) == set(METHODS)


# ---------------------------------------------------------------- registering


@pytest.fixture
def registering() -> Iterator[None]:
    """Forget the methods that a test registers."""
    before = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(before)


@dataclass(frozen=True)
class Own:
    """A method's own section."""

    strength: float = setting(1.0)


@dataclass(frozen=True)
class OfAnother(Own):
    """With a field that is another section's too."""

    patience: float = setting(1.0)


@dataclass(frozen=True)
class OfAnothersFlag(Own):
    """With a flag that another section gives to a field of another name."""

    ours: str = setting("", name="data")


@dataclass(frozen=True)
class WithoutFlag(Own):
    """With a field called as another's, which has no flag."""

    batch: int = setting(1, derived=True)


@pytest.mark.usefixtures("registering")
@pytest.mark.parametrize(
    ("config", "both"),
    [
        (OfAnother, "OfAnother.patience has the flag of LaunchConfig.patience, --patience"),
        (OfAnothersFlag, "OfAnothersFlag.ours has the flag of DataConfig.uri, --data"),
    ],
)
def test_register_refuses_a_flag_of_another_section(config: type[Any], both: str) -> None:
    with pytest.raises(ValueError, match=f"{both}: give it another name"):
        register("mygan", config, {})
    assert "mygan" not in METHODS


@pytest.mark.usefixtures("registering")
def test_register_takes_fields_without_a_flag_and_a_name_once() -> None:
    register("mygan", WithoutFlag, {})
    assert METHODS["mygan"].config is WithoutFlag
    with pytest.raises(ValueError, match="two methods are called 'mygan': WithoutFlag and Own"):
        register("mygan", Own, {})


@pytest.mark.parametrize("name", METHODS)
def test_entry_finds_the_class_in_the_methods_file(name: str) -> None:
    found = METHODS[name].method
    assert found.__module__ == f"i2i_core.methods.{name}"
    assert isinstance(made(name), found)


def test_entry_names_a_file_that_marks_no_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_CLASSES", {})
    with pytest.raises(ValueError, match=r'i2i_core/methods/unit.py marks no class with @implements."unit".'):
        _ = METHODS["unit"].method


# ---------------------------------------------------------------- the papers' figures

FIGURES = {(name, preset): figures for name, row in TABLE.items() for preset, figures in row.figures.items()}


@pytest.mark.parametrize(("name", "preset"), FIGURES)
def test_presets_hold_the_papers_figures(name: str, preset: str) -> None:
    hyper, training = FIGURES[name, preset]
    config = TrainConfig.of(name, preset)
    for key, value in hyper.items():
        assert getattr(config.hyper, key) == value, key
    for key, value in training.items():
        assert getattr(config.training if hasattr(config.training, key) else config.data, key) == value, key


def test_presets_include_the_papers_and_the_authors() -> None:
    for name, entry in METHODS.items():
        assert {"paper", "reference", "demo"} <= set(entry.presets)
        assert {(name, "paper"), (name, "reference")} <= set(FIGURES)
        for preset in entry.presets:
            assert TrainConfig.of(name, preset).preset == preset


# ---------------------------------------------------------------- values out of range


def numbers(name: str) -> list[tuple[str, float]]:
    """A value that is out of range for every number of a method's section."""
    least = {"lr": 0.0, "g_lr": 0.0, "d_lr": 0.0, "clip": 0.0, "n_critic": 0, "k_g": 0, "k_d": 0, "z_dim": 0}
    least |= {f"{network}_base": 0 for network in "gder"} | {"image_size": 0, "channels": 0, "c_dim": 0, "d_scales": 0}
    free = {
        "real_target",
        "receptive_field",
        "beta1",
        "beta2",
        "dropout",
        "first_kernel",
        "kernel",
    }  # see the other tests
    found = []
    for field in fields(METHODS[name].config):
        if isinstance(field.default, int | float) and not isinstance(field.default, bool) and field.name not in free:
            found.append((field.name, least.get(field.name, -1)))
    return found


@pytest.mark.parametrize(("name", "field", "value"), [(n, *found) for n in METHODS for found in numbers(n)])
def test_config_refuses_a_number_out_of_range_by_its_flag(name: str, field: str, value: float) -> None:
    with pytest.raises(ConfigError) as refused:
        replace(made(name).config, **{field: value})
    assert refused.value.where == flag(field)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("cyclegan", {"image_size": 18}, "--image-size: found 18"),
    ("cyclegan", {"image_size": 16, "receptive_field": 70}, "--image-size: found 16; expected at least 24"),
    ("cyclegan", {"lambda_gan": 0.0, "lambda_cyc": 0.0}, "--lambda-gan: found 0, with --lambda-cyc 0"),
    ("cyclegan", {"cycles": "none"}, "cycles"),
    ("cyclegan", {"receptive_field": 71}, "receptive_field"),
    ("cyclegan", {"in_channels": 1}, "--lambda-id: found 0.5, with 1 and 3 channels"),
    ("bigan", {"image_size": 18}, "--image-size: found 18"),
    ("bigan", {"image_size": 16, "receptive_field": 70}, "--image-size: found 16; expected at least 24"),
    ("pixel_gan", {"in_channels": 1}, "--lambda-l1: found 10.0, with 1 and 3 channels"),
    ("feature_gan", {"in_channels": 1, "lambda_perceptual": 2.0}, "--lambda-perceptual: found 2.0, with 1 and 3"),
    ("feature_gan", {"in_channels": 2, "out_channels": 2, "lambda_perceptual": 2.0}, "found 2.0, with 2 channels"),
    ("feature_gan", {"perceptual_size": 8, "lambda_perceptual": 2.0}, "--perceptual-size: found 8"),
    ("simgan", {"first_kernel": 4}, "--first-kernel: found 4"),
    ("simgan", {"d_base": 2}, "--d-base: found 2"),
    ("simgan", {"psi": "edges"}, "psi"),
    ("simgan", {"form": "faces"}, "form"),
    ("unit", {"image_size": 18}, "--image-size: found 18"),
    ("unit", {"architecture": "later", "d_layers": 4, "image_size": 32}, "--image-size: found 32"),
    ("unit", {"architecture": "newer"}, "architecture"),
    ("bicyclegan", {"image_size": 24, "downs": 4}, "--image-size: found 24"),
    ("bicyclegan", {"d_layers": 3}, "--image-size: found 16; expected at least 48"),
    ("bicyclegan", {"d_base": 1}, "--d-base: found 1"),
    ("bicyclegan", {"e_blocks": 4}, r"--e-blocks: found 4(.|\n)*--e-blocks 3 or less"),
    ("pix2pix_noise", {"z_at": "middle"}, "z_at"),
    ("cvae_gan", {"norm": "layer"}, "norm"),
    ("dcgan", {"image_size": 24}, "--image-size: found 24; expected a power of two, at least 8"),
    ("dcgan", {"image_size": (16, 30)}, "--image-size: found 30x16; expected a multiple of 4"),
    ("dcgan", {"kernel": 3}, "--kernel: found 3; expected one of 4, 5"),
    ("dcgan", {"clip_at": "before"}, "--clip-at: found before, with --adversarial nonsaturating"),
    ("dcgan", {"d_norm": "batch", "adversarial": "wgan-gp"}, r"wgan-gp with --d-norm batch(.|\n)*--d-norm layer"),
]


@pytest.mark.parametrize(("name", "hyper", "message"), REFUSED)
def test_config_refuses_networks_that_cannot_be(name: str, hyper: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        made(name, **hyper)


def test_encoder_of_the_largest_size_for_an_image_still_trains() -> None:
    method = made("bicyclegan", e_blocks=3)
    for _ in method.update((whole_batch(method, 2, t) for t in range(2)), Progress()):
        pass


# ---------------------------------------------------------------- images


def test_methods_name_the_networks_that_translate() -> None:
    """And go back, and what a preview's columns are."""
    cyclegan, unit, simgan = made("cyclegan"), made("unit"), made("simgan")
    x = images(cyclegan, 2, 16, 16)
    y, grey = x.flip(0), x[:, :1]
    G, F = cyclegan.networks["G"], cyclegan.networks["F"]
    E1, E2, G1, G2 = (unit.networks[n] for n in ("E1", "E2", "G1", "G2"))
    with torch.no_grad():
        expected = [
            (cyclegan.image_from(x), G(x)),
            (cyclegan.image_from(y, "BtoA"), F(y)),
            (unit.image_from(grey), G2(E1(grey))),
            (unit.image_from(grey, "BtoA"), G1(E2(grey))),
            (simgan.image_from(grey), simgan.networks["R"](grey)),
        ]
        columns = cyclegan.preview(batch_of(x, y))
        expected += [(columns["translation G(x)"], G(x)), (columns["back F(G(x))"], F(G(x)))]
        expected += [(columns["translation F(y)"], F(y)), (columns["back G(F(y))"], G(F(y)))]
        columns = unit.preview(batch_of(grey, grey.flip(0)))
        expected += [(columns["translation x12"], G2(E1(grey))), (columns["back x121"], G1(E2(G2(E1(grey)))))]
        back = G1(E2(grey.flip(0)))
        expected += [(columns["translation x21"], back), (columns["back x212"], G2(E1(back)))]
    for found, right in expected:
        torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [name for name, entry in METHODS.items() if not entry.method.optimises])
def test_methods_networks_can_be_exported_as_plain_programs(name: str) -> None:
    """Exported, saved, loaded: without a class of ours it makes the same images."""
    method = made(name)
    for direction in ("AtoB", *(("BtoA",) if method.two_way else ())):
        x, told = images(method, 2, 32, 32), dict(control_of(method, 2))
        if method.codes:
            told["z"] = method.draw_codes(KEYS[:2])
        given = (*([x] if method.inputs else []), *told.values())
        program, file = torch.export.export(method.module(direction).eval(), given), io.BytesIO()
        torch.export.save(program, file)
        file.seek(0)
        plain = torch.export.load(file).module()
        with torch.no_grad():
            alone = plain(*given)
        torch.testing.assert_close(alone, made_of(method, x, direction, **told), rtol=1e-10, atol=1e-12)


def test_translate_names_the_control_that_it_lacks() -> None:
    method = made("stargan")
    x = images(method, 1, 16, 16)
    with pytest.raises(ValueError, match="no control target, among none"):
        method.translate({"image": x})
    with pytest.raises(ValueError, match="no input image, among a"):
        method.translate({"a": x}, control_of(method, 1))
    with pytest.raises(ValueError, match="BtoA, of a method that goes one way"):
        method.translate({"image": x}, control_of(method, 1), "BtoA")


def batch_of(a: Tensor, b: Tensor) -> Batch:
    return Batch({"a": a, "b": b}, len(a), 0, len(a), 0, 0)


@pytest.mark.parametrize("size", [(16, 16), (32, 48), (64, 16)])
@pytest.mark.parametrize("name", TAKING)
def test_images_of_any_size_are_translated(name: str, size: tuple[int, int]) -> None:
    method = made(name)
    x = images(method, 3, *size)
    y = method.image_from(x, keys=KEYS, **control_of(method, 3))
    assert y.shape == (3, channels_of(method)[1], *size)
    assert y.abs().max() <= 1
    assert y.std() > 0
    assert not y.requires_grad
    if method.two_way:
        assert method.image_from(y, "BtoA").shape == x.shape
        assert not torch.equal(method.image_from(x, "BtoA"), method.image_from(x))


OF_OTHER_CHANNELS = {"cyclegan": {"lambda_id": 0.0}, "pixel_gan": {"lambda_l1": 0.0}}
"""Options of methods one of whose terms compares images of both sides."""


@pytest.mark.parametrize("name", [name for name in METHODS if "in_channels" in vars(made(name).config)])
def test_methods_take_other_channels_in_than_out(name: str) -> None:
    method = made(name, in_channels=1, out_channels=2, **OF_OTHER_CHANNELS.get(name, {}))
    y = method.image_from(images(method, 2, 16, 16), keys=KEYS[:2])
    assert y.shape == (2, 2, 16, 16)
    if method.two_way:
        assert method.image_from(y, "BtoA").shape == (2, 1, 16, 16)
    if method.encodes:
        assert method.encode(y).shape == (2, 3)
    for _ in method.update((whole_batch(method, 2, t) for t in range(200)), Progress()):
        pass


@pytest.mark.parametrize("name", METHODS)
def test_translate_depends_on_an_images_key_and_on_no_neighbour(name: str) -> None:
    """And is the same again; and making it leaves gradients, modes and global randomness as they were."""
    method = made(name, **({"norm": "batch", "dropout": 0.5, "image_size": 64} if name == "pix2pix" else {})).train()
    x, control = images(method, 3, *((64, 64) if name == "pix2pix" else (16, 16))), control_of(method, 3)
    modes = [m.training for m in method.modules()]
    before = torch.get_rng_state()
    together = made_of(method, x, keys=KEYS, **control)
    assert torch.equal(torch.get_rng_state(), before)
    assert [m.training for m in method.modules()] == modes
    assert all(p.requires_grad for p in method.networks.parameters())
    torch.testing.assert_close(made_of(method, x, keys=KEYS, **control), together, rtol=0, atol=0)
    for i, key in enumerate(KEYS):
        alone = made_of(method, x[i : i + 1], keys=[key], **{n: c[i : i + 1] for n, c in control.items()})
        torch.testing.assert_close(alone[0], together[i], rtol=1e-8, atol=1e-10)
    renamed = made_of(method, x, keys=("d", "e", "f"), **control)
    varies = method.codes or method.optimises or name == "pix2pix"
    assert torch.equal(renamed, together) != varies


@pytest.mark.parametrize("name", METHODS)
def test_preview_has_one_row_per_sample(name: str) -> None:
    method = made(name)
    batch = replace(whole_batch(method, 3, 0), keys=KEYS)
    columns = {title: batch[x] if isinstance(x, str) else x for title, x in method.preview(batch).items()}
    assert len(columns) >= 3
    words = {title.split()[0] for title in columns}
    assert "source" in words or not method.inputs
    if name != "stargan":  # its other columns are called by the labels that they are made for
        assert words <= {"source", "translation", "back", "truth", "real", "made"}, "the words of contact sheets"
    assert {len(column) for column in columns.values()} == {3}
    assert all(column.isfinite().all() and column.abs().max() <= 1 for column in columns.values())


CODES = [name for name, entry in METHODS.items() if entry.method.codes]


@pytest.mark.parametrize("name", METHODS)
def test_methods_say_what_they_can_do(name: str) -> None:
    found = METHODS[name].method
    assert {ability for ability in ABILITIES if getattr(found, ability)} == set(TABLE[name].abilities)


@pytest.mark.parametrize("name", CODES)
def test_codes_depend_on_key_and_sample_and_change_the_image(name: str) -> None:
    method = made(name)
    codes = method.draw_codes(KEYS)
    assert codes.shape == (3, 3)
    assert torch.equal(codes[1:2], method.draw_codes(["b"]))
    assert not torch.equal(codes, method.draw_codes(KEYS, sample=1))
    many = method.draw_codes([str(i) for i in range(2000)])
    assert abs(many.mean().item()) < 0.05
    spread = 1 if method.prior == "normal" else 3**-0.5
    assert abs(many.std().item() - spread) < 0.05

    x, told = images(method, 3, 16, 16), control_of(method, 3)
    drawn = made_of(method, x, keys=KEYS, **told)
    torch.testing.assert_close(drawn, made_of(method, x, z=codes, **told), rtol=0, atol=0)
    one, other = (made_of(method, x, z=method.draw_codes(KEYS, sample=s), **told) for s in (1, 2))
    assert not torch.equal(one, other)
    if method.encodes:
        code = method.encode(one)
        assert code.shape == (3, 3)
        assert not code.requires_grad
        torch.testing.assert_close(code, method.networks["E"](one)[0].detach())


@pytest.mark.parametrize("name", [name for name in CODES if METHODS[name].method.encodes])
def test_codes_depend_on_no_neighbour_and_reading_them_changes_nothing(name: str) -> None:
    """With batch norm too, whose statistics are those of training."""
    method = made(name, norm="batch").train()
    x = images(method, 3, 16, 16)
    before = {n: w.clone() for n, w in method.networks.state_dict().items()}
    codes = method.encode(x)
    torch.testing.assert_close(method.encode(x[1:2]), codes[1:2], rtol=1e-10, atol=1e-12)
    assert all(torch.equal(w, before[n]) for n, w in method.networks.state_dict().items())
    assert all(m.training for m in method.networks.modules())


# ---------------------------------------------------------------- training


@pytest.fixture
def without_onednn() -> Iterator[None]:
    """Half the time: it costs a millisecond a call, however small the images."""
    with torch.backends.mkldnn.flags(enabled=False):
        yield


@pytest.mark.filterwarnings("ignore:TF32")
@pytest.mark.usefixtures("without_onednn")
@pytest.mark.parametrize("name", METHODS)
def test_updates_in_bf16_stay_finite_for_fifty_batches(name: str) -> None:
    """Autocast in the forward passes; weights, losses, averages and moments stay float32."""
    fewer: dict[str, Any] = {"stargan": {"n_critic": 1}, "cyclegan": {"lambda_id": 0.0}}.get(name, {})
    method = made(name, torch.float32, **fewer, **({"downs": 2} if "g_downs" in dir(METHODS[name].config) else {}))
    config = TrainingConfig(ema_halflife=30)
    step, progress = Step(method, config, ALONE, lambda images: 1.0, fast=Fast.named("bf16")), Progress()
    before = {n: w.clone() for n, w in method.networks.state_dict().items()}
    seen = [whole_batch(method, 1, t).to(CPU) for t in range(4)]
    feed = (seen[t % 4] for t in range(10_000))
    dtypes, update = set(), method.update

    def noted(*args: Any) -> Any:
        for player, loss, terms, *scores in update(*args):
            dtypes.update(term.dtype for term in (loss, *terms.values()))
            yield player, loss, terms, *scores

    method.update = noted  # type: ignore[method-assign]
    for _ in range(50):
        step(feed, progress)
    step.watch.settle()  # raises where a move was not finite
    names, values = step.read_terms()
    assert values.isfinite().all(), dict(zip(names, values.tolist(), strict=True))
    assert dtypes == {torch.float32}
    assert step.ema is not None
    for state in (method.networks.state_dict(), step.ema.state_dict()):
        assert all(w.isfinite().all() for w in state.values())
        assert {w.dtype for w in state.values() if w.is_floating_point()} == {torch.float32}
    for n, weight in method.networks.state_dict().items():
        assert not n.endswith("weight") or not torch.equal(weight, before[n]), f"{n} did not move"


@pytest.mark.parametrize("name", METHODS)
def test_updates_and_first_weights_follow_from_the_seed(name: str) -> None:
    def trained(seed: int) -> dict[str, Tensor]:
        method = build_method(name, seed=seed, **{**SMALL[name], **TABLE[name].quick})
        step = Step(method, TrainingConfig(), ALONE, lambda images: 1.0)
        step(batches(method, Case(name, batch=2, dtype=torch.float32), ALONE), Progress())
        return method.networks.state_dict()

    first, again, other = trained(4), trained(4), trained(5)
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert any(not torch.equal(first[n], other[n]) for n in first)


# ---------------------------------------------------------------- tied layers


TIED = {f"{a}.shared.body.{i}.{kind}" for a in ("E1", "G1") for i in (0, 3) for kind in ("weight", "bias")}


def second(name: str) -> str:
    return name.replace("E1", "E2").replace("G1", "G2")


def shared_names(networks: Any) -> set[str]:
    """Names that share their storage with a name before them, by the one before."""
    first: dict[int, str] = {}
    named = networks.state_dict(keep_vars=True)
    return {first[t.data_ptr()] for n, t in named.items() if first.setdefault(t.data_ptr(), n) != n}


def test_unit_keeps_shared_layers_and_their_averages_one(tmp_path: Path) -> None:
    """The same storage; the average moves once per update, keep * mean + (1 - keep) * weight; and so after a round
    trip, in a checkpoint that holds every tensor once."""
    hyper = {f"hyper.{key}": value for key, value in SMALL["unit"].items()}
    config = TrainConfig.of("unit", "paper", {**hyper, "training.ema_halflife": 9})
    method = build_from("unit", config.hyper, seed=1)
    step, progress = Step(method, config.training, ALONE, lambda images: 1.0), Progress()
    assert step.ema is not None
    feed = batches(method, Case("unit", batch=3, dtype=torch.float32), ALONE)
    mean = {n: w.clone().double() for n, w in step.ema.state_dict().items()}
    for _ in range(4):
        step(feed, progress)
        now = method.networks.state_dict()
        keep = 2 ** (-3 / 9)
        mean = {n: keep * mean[n] + (1 - keep) * now[n] for n in mean}

    assert shared_names(method.networks) == TIED
    assert shared_names(step.ema) == TIED
    for n, average in step.ema.state_dict().items():
        torch.testing.assert_close(average.double(), mean[n], rtol=1e-5, atol=1e-6)
        assert not torch.equal(average, method.networks.state_dict()[n])
    moved = method.parameters_of("generators")
    assert len({id(p) for p in moved}) == len(moved)
    assert sum(id(method.networks["E1"].shared.body[0].weight) == id(p) for p in moved) == 1

    tensors, aliases = named_tensors(method.networks, step.ema)
    assert aliases == {second(n): n for n in TIED} | {f"ema.{second(n)}": f"ema.{n}" for n in TIED}
    assert not set(tensors) & set(aliases)
    write(RunFolder(str(tmp_path)), Snapshot(12, config, tensors, aliases, {"images": 12}, {}))

    saved = read(RunFolder(str(tmp_path)).checkpoint("images-000000000012"))
    fresh = build_from("unit", config.hyper, seed=2)
    ema = Step(fresh, config.training, ALONE, lambda images: 1.0).ema
    assert ema is not None
    saved.fill(fresh, ema)
    for loaded, kept in ((fresh.networks, method.networks), (ema, step.ema)):
        assert shared_names(loaded) == TIED
        for n, weight in kept.state_dict().items():
            assert torch.equal(loaded.state_dict()[n], weight), n

    trained = load_trained(str(tmp_path), CPU).method
    assert shared_names(trained.networks) == TIED
    for n, average in step.ema.state_dict().items():
        assert torch.equal(trained.networks.state_dict()[n], average), n

    with torch.no_grad():
        trained.networks["E1"].shared.body[0].weight.add_(1)
    assert torch.equal(trained.networks["E2"].shared.body[0].weight, trained.networks["E1"].shared.body[0].weight)


@pytest.mark.parametrize("name", METHODS)
def test_methods_tie_the_layers_that_their_papers_do_and_no_others(name: str) -> None:
    networks = made(name).networks
    coupled = (
        {n for n in networks.state_dict() if n.startswith(("G1.shared", "D1.shared"))} if name == "cogan" else set()
    )
    assert shared_names(networks) == (TIED if name == "unit" else coupled)
    assert shared_names(made("unit", architecture="later", d_layers=1).networks) == set()


@pytest.mark.parametrize("name", METHODS)
def test_checkpoint_gives_the_images_back(name: str, tmp_path: Path) -> None:
    """What was written translates as what was trained, with and without averaged generators."""
    hyper = {f"hyper.{key}": value for key, value in {**SMALL[name], **TABLE[name].quick}.items()}
    config = TrainConfig.of(name, "reference", {**hyper, "training.ema_halflife": 5})
    method = build_from(name, config.hyper, seed=1)
    step, progress = Step(method, config.training, ALONE, lambda images: 1.0), Progress()
    step(batches(method, Case(name, batch=2, dtype=torch.float32), ALONE), progress)
    x, control = images(method, 2, 16, 16).float(), control_of(method, 2)
    plain = made_of(method, x, keys=KEYS[:2], **control)
    with step.averaged():
        averaged = made_of(method, x, keys=KEYS[:2], **control)
    assert not torch.equal(plain, averaged)
    for images_seen, ema, expected in ((2, None, plain), (4, step.ema, averaged)):
        tensors, aliases = named_tensors(method.networks, ema)
        write(RunFolder(str(tmp_path)), Snapshot(images_seen, config, tensors, aliases, {}, {}))
        trained = load_trained(str(tmp_path), CPU).method
        torch.testing.assert_close(made_of(trained, x, keys=KEYS[:2], **control), expected, rtol=0, atol=0)
