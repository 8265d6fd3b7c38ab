"""StarGAN trained on several data sets at once (Choi et al. 2018, sec. 3.2): the update, the run, what comes of it.

pytest tests/integration/test_several_sets.py
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.checkpoints.trained import load_trained
from i2i_core.config.methods.stargan import StarGANConfig
from i2i_core.config.run import TrainConfig
from i2i_core.config.training import TrainingConfig
from i2i_core.config.translation import TranslateOptions
from i2i_core.data.folders.layouts import LayoutOptions, find
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.format.shards import ShardOptions, plan
from i2i_core.data.reading.stream import in_order
from i2i_core.data.worlds.glyphs import GlyphOptions
from i2i_core.errors import ConfigError, DataError, UserError
from i2i_core.evaluation.families.attributes import over_sets
from i2i_core.evaluation.judges.classifier import Classifier, ClassifierInfo
from i2i_core.evaluation.samples import Measured
from i2i_core.evaluation.suite import evaluate
from i2i_core.images.codec import ImageOptions
from i2i_core.images.sheet import to_array
from i2i_core.methods import build_method
from i2i_core.methods.base import Progress
from i2i_core.orchestration.sharding import make
from i2i_core.orchestration.translating import translate
from i2i_core.runs.folder import RunFolder
from i2i_core.training.step import Step
from i2i_core.translation.targets import parse_target_of

from ..support.logs import collected
from ..support.methods import ALONE, Case, assert_same, batches, run, small, whole_batch
from ..support.runs import assert_equal, config_of, loop_of, run_until, state_of

CPU = torch.device("cpu")
STYLES = ("serif", "bold", "oblique", "mono")
SHAPES = ("cross", "disc", "square")
TWO = {"c_dim": 5, "sizes": (2, 3), "kinds": ("attributes", "classes")}
THREE = {"c_dim": 6, "sizes": (2, 3, 1), "kinds": ("attributes", "classes", "attributes")}


def drawn(shape: str, seed: int) -> np.ndarray:
    """A grey 16 px image of a shape, at a place and in a tone of its own."""
    rng = np.random.default_rng(seed)
    (top, left), tone = rng.integers(4, 12, 2), int(rng.integers(0, 120))
    y, x = np.mgrid[:16, :16]
    y, x = abs(y - top), abs(x - left)
    inside = {"cross": np.minimum(x, y) < 1, "disc": x**2 + y**2 < 10, "square": np.maximum(x, y) < 4}[shape]
    return np.where(inside & (np.maximum(x, y) < 5), tone, 255).astype(np.uint8)


def draw_classes(folder: Path, names: tuple[str, ...], each: int = 24, channels: int = 1) -> Path:
    """A folder per class."""
    for name in names:
        (folder / name).mkdir(parents=True)
        for i in range(each):
            image = drawn(SHAPES[names.index(name) % 3], i)
            Image.fromarray(image if channels == 1 else np.dstack([image] * channels)).save(folder / name / f"{i}.png")
    return folder


def shard_classes(source: Path, out: Path, split: tuple[float, float, float] = (0.6, 0.2, 0.2)) -> str:
    layout = LayoutOptions(layout="classes", input=str(source), split=split)
    goal = ShardOptions(out=str(out))
    make(plan(find(layout), layout, GlyphOptions(), ImageOptions(), goal), goal, 0)
    return str(out)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A data set of three classes, 16 px, grey."""
    folder = tmp_path_factory.mktemp("shapes")
    return shard_classes(draw_classes(folder / "images", SHAPES), folder / "shapes")


def config_on(labelled: str, shapes: str, storage: str, **values: Any) -> TrainConfig:
    return config_of("stargan", labelled, storage, data__also=(shapes,), **values)


@pytest.fixture(scope="module")
def trained(labelled: str, shapes: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run that has ended, with grids and evaluations on the way."""
    storage = str(tmp_path_factory.mktemp("trained"))
    config = config_on(labelled, shapes, storage, monitoring__evaluate_every=48, monitoring__grid_every=48)
    with collected() as said:
        loop_of(config).train()
    Path(storage, "said").write_text("\n".join(said))
    return f"{storage}/run"


# ---------------------------------------------------------------- the update


def plain(networks: nn.ModuleDict, k: Any, feed: list[Batch]) -> list[tuple[str, float]]:
    """Sec. 3.2, in the order of the authors' program: each iteration takes the sets in turn; on each of them D moves,
    and in every n_critic-th iteration G after it, before the next set."""
    G, D = networks["G"], networks["D"]
    g_adam = torch.optim.Adam(G.parameters(), k.g_lr, (k.beta1, k.beta2))
    d_adam = torch.optim.Adam(D.parameters(), k.d_lr, (k.beta1, k.beta2))
    sets = len(k.sizes)
    before = [sum(k.sizes[:s]) for s in range(sets)]

    def told(c: Tensor, s: int) -> Tensor:
        mask = torch.zeros(len(c), sets, dtype=c.dtype)
        mask[:, s] = 1
        parts = [c if other == s else torch.zeros(len(c), k.sizes[other], dtype=c.dtype) for other in range(sets)]
        return torch.cat([*parts, mask], dim=1)

    def classes(logits: Tensor, c: Tensor, s: int) -> Tensor:
        own = logits[:, before[s] : before[s] + k.sizes[s]]
        if k.kinds[s] == "classes":
            return (own.exp().sum(1).log() - (own * c).sum(1)).mean()
        p = 1 / (1 + torch.exp(-own))
        return -(c * p.log() + (1 - c) * (1 - p).log()).sum() / len(c)

    losses: list[tuple[str, float]] = []
    for t, batch in enumerate(feed):
        s = t % sets
        x, c = batch["image"], batch.whole["labels"].double()
        target = c[batch.permutation("target")]
        alpha = batch.draw("alpha", 1, 1, 1, kind="uniform")
        real, logits = D(x)
        fake = G(x, told(target, s)).detach()
        x_hat = (alpha * x + (1 - alpha) * fake).requires_grad_(True)
        slope = torch.autograd.grad(D(x_hat)[0].sum(), x_hat, create_graph=True)[0]
        penalty = (((slope**2).sum(dim=(1, 2, 3)).sqrt() - 1) ** 2).mean()
        d_loss = -real.mean() + D(fake)[0].mean() + k.lambda_gp * penalty + k.lambda_cls * classes(logits, c, s)
        d_adam.zero_grad()
        d_loss.backward()
        d_adam.step()
        losses.append(("D", d_loss.item()))
        iteration = t // sets + 1
        if iteration % k.n_critic == 0:
            made = G(x, told(target, s))
            judged, logits = D(made)
            back = (x - G(made, told(c, s))).abs().mean()
            g_loss = -judged.mean() + k.lambda_cls * classes(logits, target, s) + k.lambda_rec * back
            g_loss = g_loss + k.lambda_id * (x - G(x, told(c, s))).abs().mean()
            g_adam.zero_grad()
            g_loss.backward()
            g_adam.step()
            losses.append(("G", g_loss.item()))
    return losses


def test_several_sets_update_lets_g_follow_d_on_a_set_before_the_next() -> None:
    """D_A D_B, D_A D_B, D_A G_A D_B G_B, each D on a fresh batch, and G on the one that D moved on last."""
    method, served = small(Case("stargan", hyper={**TWO, "n_critic": 3})), 0

    def feed() -> Iterator[Batch]:
        nonlocal served
        while True:
            yield whole_batch(method, 3, served)
            served += 1

    moves = [f"{player}_{'AB'[served % 2]}" for player, *_ in method.update(feed(), Progress())]
    assert " ".join(moves) == "D_A D_B D_A D_B D_A G_A D_B G_B"
    assert served == 5, "six batches, and none after the last move"


@pytest.mark.parametrize("sets", [TWO, {**THREE, "n_critic": 1, "lambda_id": 3.0}])
def test_several_sets_update_equals_the_papers(sets: dict[str, Any]) -> None:
    case = Case("stargan", batch=5, hyper={"n_critic": 2, "lambda_cls": 0.7, "lambda_gp": 3.0, **sets})
    method = small(case)
    k, networks, updates = method.config, copy.deepcopy(method.networks), 2
    feed = [whole_batch(method, 5, t) for t in range(updates * k.n_critic * len(k.sizes))]
    expected = plain(networks, k, feed)
    step, progress, found = Step(method, TrainingConfig(), ALONE, lambda images: 1.0), Progress(), []
    update = method.update

    def noted(*args: Any) -> Any:
        for player, loss, terms, *scores in update(*args):
            found.append((player, loss.item()))
            yield player, loss, terms, *scores

    method.update = noted  # type: ignore[method-assign]
    ours = batches(method, case, ALONE)
    for _ in range(updates):
        step(ours, progress)
    assert progress.images == len(feed) * 5
    assert [player for player, _ in found] == [player for player, _ in expected]
    assert [loss for _, loss in found] == pytest.approx([loss for _, loss in expected], rel=1e-10, abs=1e-10)
    for key, weight in networks.state_dict().items():
        error = (method.networks.state_dict()[key] - weight).abs().max().item()
        assert error <= 1e-10 * max(1.0, weight.abs().max().item()), f"{key}: {error}"


def test_several_sets_labels_that_a_set_does_not_know_move_nothing() -> None:
    """No gradient reaches D's class head at the other set's labels, nor what G reads of them; G reads the mask."""
    method = small(Case("stargan", hyper=TWO))
    taken: list[int] = []

    def feed() -> Iterator[Batch]:
        for t in range(4):
            batch = whole_batch(method, 7, t)
            taken.append(batch.source)
            yield batch

    for i, (player, loss, *_) in enumerate(method.update(feed(), Progress())):
        method.zero_grad(set_to_none=True)
        loss.backward()
        own = [range(0, 2), range(2, 5)][taken[-1]]
        name = "D.classes.weight" if player == "D" else "G.net.0.weight"
        grad = method.networks.get_parameter(name).grad
        reached = grad if player == "D" else grad[:, 1:].transpose(0, 1)  # G: of what follows the image's one channel
        found = reached.flatten(1).any(1).nonzero().flatten().tolist()
        assert found == ([*own] if player == "D" else [*own, 5 + taken[-1]]), (i, player)


@pytest.mark.parametrize("most", [1, 2, 4])
def test_several_sets_uneven_parts_make_the_same_moves_as_the_whole_batch(most: int) -> None:
    """Parts as workers have them, 7 = 4 + 3: targets are permuted over the whole batch, and shares weigh."""
    alone, parts = (run(Case("stargan", updates=2, hyper=TWO, training=t)) for t in ({}, {"micro_batch": most}))
    assert_same(alone, parts)


def test_several_sets_networks_of_celeba_and_rafd_have_the_papers_size() -> None:
    with torch.device("meta"):
        method = build_method("stargan", image_size=256, c_dim=13, sizes=(5, 8), kinds=("attributes", "classes"))
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in method.networks.items()}
    assert counts == {"G": 8_461_888, "D": 45_147_072}


# ---------------------------------------------------------------- the run


def test_several_sets_run_takes_its_labels_from_all_sets(labelled: str, shapes: str, storage: str) -> None:
    config = config_on(labelled, shapes, storage, launch__name="")
    k = config.hyper
    assert (k.attributes, k.columns) == (STYLES + SHAPES, (0, 1, 2, 3, 0, 1, 2))
    assert (k.c_dim, k.sizes, k.kinds) == (7, (4, 3), ("attributes", "classes"))
    assert config.run_name.startswith("stargan-demo-labelled+shapes-")
    prints = [DataSet(uri).manifest.fingerprint for uri in (labelled, shapes)]
    assert config.data.fingerprint == "+".join(prints)
    assert TrainConfig.loads(config.dumps(), "here") == config
    some = config_on(labelled, shapes, storage, hyper__attributes=("square", "mono", "cross", "bold")).hyper
    assert (some.attributes, some.columns, some.sizes) == (("mono", "bold", "square", "cross"), (3, 1, 2, 0), (2, 2))


def test_several_sets_resume_equals_uninterrupted(labelled: str, shapes: str, storage: str) -> None:
    """Cut off between two checkpoints; an update is four batches here, two of each set."""
    values = {"training__lr_schedule": "linear", "training__images": 120, "monitoring__checkpoint_every": 60}
    whole = loop_of(config_on(labelled, shapes, f"{storage}/whole", **values))
    whole.train()
    config = config_on(labelled, shapes, f"{storage}/cut", **values)
    run_until(config, 96)
    resumed = loop_of(config)
    assert resumed.progress.images == 72
    resumed.train()
    assert_equal(state_of(whole), state_of(resumed))
    assert whole.progress.moves == {"D": 20, "G": 10}


def test_several_sets_with_another_set_are_another_run(labelled: str, shapes: str, storage: str) -> None:
    """The data set alone and beside another: neither goes on with the other's checkpoints."""
    from i2i_core.training.preparing import check_same_run

    config = config_on(labelled, shapes, storage)
    folder = RunFolder(f"{storage}/run")
    folder.write("config.json", config.dumps().encode())
    check_same_run(config_on(labelled, shapes, storage), folder)
    with pytest.raises(ConfigError, match="fingerprint: saved"):
        check_same_run(config_of("stargan", labelled, storage), folder)


def test_several_sets_run_measures_every_set_and_keeps_the_best(trained: str, labelled: str, shapes: str) -> None:
    metrics = RunFolder(trained).read_json("best.json")
    assert metrics["metric"] == "there_and_back"
    last = load_trained(f"{trained}/checkpoints/images-000000000096", CPU)
    found = RunFolder(last.url).read_json("metrics.json")
    assert set(found) == {"there_and_back", "there_and_back/labelled", "there_and_back/shapes"}
    for name, data in (("labelled", labelled), ("shapes", shapes)):
        alone = evaluate(last.method, DataSet(data), "val", image_size=16, most=32)
        assert found[f"there_and_back/{name}"] == pytest.approx(alone["there_and_back"], rel=1e-6)
    counts = [min(32, len(DataSet(uri).rows("val"))) for uri in (labelled, shapes)]
    values = [found["there_and_back/labelled"], found["there_and_back/shapes"]]
    assert found["there_and_back"] == pytest.approx(np.average(values, weights=counts))
    said = Path(trained, "..", "said").read_text()
    assert "attributes serif bold oblique mono" in said
    assert "attributes cross disc square" in said


def test_several_sets_evaluate_no_split_that_one_set_lacks(labelled: str, storage: str, tmp_path: Path) -> None:
    source = draw_classes(tmp_path / "images", ("ring", "star"), each=8)
    other = shard_classes(source, tmp_path / "other", (0.8, 0.0, 0.2))
    assert loop_of(config_of("stargan", labelled, storage)).measuring.split == "val"
    assert loop_of(config_on(labelled, other, storage)).measuring.split == "train"


def test_several_sets_metric_is_the_mean_over_their_images() -> None:
    one, two = {"m": Measured(0.25, 3), "only": Measured(1.0, 1)}, {"m": Measured(0.5, 1)}
    assert over_sets({"a": one}) == {"m": 0.25, "only": 1.0}
    assert over_sets({"a": one, "b": two}) == {"m": 0.3125, "only": 1.0, "m/a": 0.25, "only/a": 1.0, "m/b": 0.5}


def test_several_sets_grid_shows_images_and_attributes_of_every_set(trained: str, labelled: str, shapes: str) -> None:
    """Independent attributes of the image's own set are switched over, all others are set alone."""
    assert {p.name for p in Path(trained, "grids").iterdir()} >= {"images-000000000000.png", "images-000000000096.png"}
    method = load_trained(trained, CPU).method
    told = told_to(method)
    for number, data in enumerate((labelled, shapes)):
        told.clear()
        batch = replace(next(in_order(DataSet(data), "val", 16, most=5, size=5)), source=number)
        assert list(method.preview(batch)) == ["source", *STYLES, *SHAPES]
        own = batch["labels"].float()
        for i, target in enumerate(told):
            labels, mask = target[:, :7], target[:, 7:]
            assert mask.tolist() == [[1, 0] if i < 4 else [0, 1]] * 5
            expected = torch.zeros(5, 7)
            if number == 0 and i < 4:
                expected[:, :4] = own
            expected[:, i] = 1 - expected[:, i]
            assert torch.equal(labels, expected)


def told_to(method: Any) -> list[Tensor]:
    """The targets that it will be given from now on."""
    told: list[Tensor] = []
    inner = method.translate

    def translate(inputs: Any, controls: Any, *way: Any, **more: Any) -> Any:
        told.append(controls["target"])
        return inner(inputs, controls, *way, **more)

    method.translate = translate
    return told


def test_several_sets_evaluation_uses_a_sets_own_labels_and_mask(trained: str, labelled: str, shapes: str) -> None:
    method = load_trained(trained, CPU).method
    told = told_to(method)
    for number, data in enumerate((labelled, shapes)):
        told.clear()
        names = (STYLES, SHAPES)[number]
        judge = Classifier(ClassifierInfo(names, number == 1, 1, 16, "", 0))
        found = evaluate(method, DataSet(data), "val", image_size=16, most=10, classifier=judge)
        assert {name for name in found if name.startswith("accuracy/")} <= {f"accuracy/{name}" for name in names}
        there, back, *switched = told
        own = next(in_order(DataSet(data), "val", 16, most=10))["labels"]
        mine, others = [(slice(0, 4), slice(4, 7)), (slice(4, 7), slice(0, 4))][number]
        assert torch.equal(back[:, mine], own)
        assert (there[:, mine] != own).any(1).all()
        assert len(switched) > 1
        for target in told:
            assert not target[:, others].any()
            assert target[:, 7:].tolist() == [[1 - number, number]] * len(target)


def test_several_sets_evaluation_refuses_a_set_of_neithers_attributes(trained: str, tmp_path: Path) -> None:
    other = shard_classes(draw_classes(tmp_path / "images", ("cross", "ring"), each=8), tmp_path / "other")
    with pytest.raises(DataError, match="serif bold oblique mono; or cross disc square"):
        evaluate(load_trained(trained, CPU).method, DataSet(other), "val", image_size=16)


# ---------------------------------------------------------------- translation


def translated(run: str, source: str, out: Path, target: str) -> dict[str, np.ndarray]:
    translate(run, TranslateOptions(input=source, out=str(out), target=target, most=6))
    made = {str(p.relative_to(out).with_suffix("")): p for p in out.rglob("*.png")}
    return {name: np.asarray(Image.open(p)).astype(int) for name, p in made.items()}


@pytest.mark.parametrize(
    ("target", "vector"),
    [
        ("bold,mono", [0, 1, 0, 1, 0, 0, 0, 1, 0]),
        ("none", [0, 0, 0, 0, 0, 0, 0, 1, 0]),
        ("square", [0, 0, 0, 0, 0, 0, 1, 0, 1]),
    ],
)
@pytest.mark.parametrize("source", ["labelled", "shapes"])
def test_several_sets_translate_images_of_any_set_to_labels_of_any_set(
    trained: str, source: str, target: str, vector: list[int], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    data = request.getfixturevalue(source)
    found = translated(trained, data, tmp_path / "out", target)
    batch = next(in_order(DataSet(data), "test", 16, most=6))
    made = load_trained(trained, CPU).method.image_from(batch["image"], target=torch.tensor([vector] * 6))
    assert set(found) == set(batch.keys)
    for key, image in zip(batch.keys, made, strict=True):
        assert np.abs(found[key] - to_array(image)[..., 0]).max() <= 1, "equal up to another batch size's rounding"


def test_several_sets_target_with_signs_changes_the_label_of_an_image_of_that_set(
    trained: str, labelled: str, shapes: str, tmp_path: Path
) -> None:
    found = translated(trained, labelled, tmp_path / "out", "+bold")
    batch = next(in_order(DataSet(labelled), "test", 16, most=6))
    target = torch.cat([batch["labels"], torch.tensor([[0, 0, 0, 1, 0]] * 6)], 1)
    target[:, 1] = 1
    made = load_trained(trained, CPU).method.image_from(batch["image"], target=target)
    for key, image in zip(batch.keys, made, strict=True):
        assert np.abs(found[key] - to_array(image)[..., 0]).max() <= 1
    with pytest.raises(ConfigError, match="images without these labels"):
        translated(trained, shapes, tmp_path / "out", "+bold")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("bold,square", "names of one data set: serif, bold, oblique, mono; or cross, disc, square"),
        ("+bold,-square", "names of one data set"),
        ("cross,square", "one class"),
        ("+square", "one class"),
        ("sqare", "Did you mean square"),
        ("bald", "Did you mean bold"),
        ("", "For example --target serif"),
    ],
)
def test_several_sets_target_that_cannot_be_is_refused(text: str, says: str) -> None:
    k = StarGANConfig(attributes=STYLES + SHAPES, c_dim=7, sizes=(4, 3), kinds=("attributes", "classes"))
    with pytest.raises(ConfigError, match="--target") as refused:
        parse_target_of(text, k.sets)
    assert says in str(refused.value)


def test_several_sets_target_none_is_refused_where_it_could_be_of_two_sets() -> None:
    names = ("a", "b", "c")
    for kind, found in (("attributes", 2), ("classes", 0)):
        k = StarGANConfig(attributes=names, c_dim=3, sizes=(1, 2), kinds=(kind, kind))  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=f"'none' for {found} data sets of attributes"):
            parse_target_of("none", k.sets)


# ---------------------------------------------------------------- what is refused


def refused(**values: Any) -> str:
    with pytest.raises(UserError) as caught:
        config_of(**values)
    return str(caught.value)


def test_several_sets_that_do_not_go_together_are_refused(
    labelled: str, paired: str, shapes: str, storage: str, tmp_path: Path
) -> None:
    on = {"method": "stargan", "data": labelled, "storage": storage}
    said = refused(method="pix2pix", data=paired, storage=storage, data__also=(paired,))
    assert "--also" in said
    assert "nothing: --method pix2pix takes one data set" in said
    assert "methods that take several: stargan" in said
    assert f"--also {paired}: found paired samples; expected labelled" in refused(**on, data__also=(paired,))
    assert "nothing at that place" in refused(**on, data__also=(f"{tmp_path}/no",))
    said = refused(**on, data__also=(shapes, labelled))
    assert "'serif' in --data and in number 2 of --also" in said
    assert "--attributes" in said
    said = refused(**on, data__also=(shapes,), hyper__attributes=("bold", "mono"))
    assert "--attributes: found none of number 1 of --also" in said
    assert "cross, disc, square" in said
    assert "Did you mean square" in refused(**on, data__also=(shapes,), hyper__attributes=("bold", "sqare"))
    source = draw_classes(tmp_path / "images", ("x", "y"), each=6, channels=3)
    colour = shard_classes(source, tmp_path / "colour")
    said = refused(**on, data__also=(colour,))
    assert "number 1 of --also: found 3 channels; expected 1" in said
    assert "--channels 1" in said


def test_several_sets_may_share_a_name_that_is_not_chosen(labelled: str, storage: str, tmp_path: Path) -> None:
    other = shard_classes(draw_classes(tmp_path / "images", ("bold", "ring", "star"), each=8), tmp_path / "other")
    said = refused(method="stargan", data=labelled, storage=storage, data__also=(other,))
    assert "'bold' in --data and in number 1 of --also" in said
    config = config_on(labelled, other, storage, hyper__attributes=("mono", "ring", "star"))
    assert (config.hyper.sizes, config.hyper.columns) == ((1, 2), (3, 1, 2))


def test_also_without_data_is_refused(shapes: str) -> None:
    with pytest.raises(ConfigError, match="without --data"):
        TrainConfig.of("stargan", "demo", {"data.also": (shapes,)})


def test_also_takes_several_sets(
    labelled: str, shapes: str, storage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipelines import train

    small = ["--method", "stargan", "--preset", "demo", "--image-size", "16", "--d-layers", "3"]
    flags = [*small, "--data", labelled, "--also", shapes, "--storage", storage, "--dry-run"]
    monkeypatch.setattr("sys.argv", ["train.py", *flags])
    assert train.run() == 0
    said = capsys.readouterr().out
    values = json.loads(said[said.index("{") :])
    assert values["data"]["also"] == [shapes]
    assert values["hyper"]["sizes"] == [4, 3]


def test_several_sets_sizes_that_do_not_add_up_are_refused() -> None:
    for values in ({"c_dim": 4}, {"kinds": ("classes",)}, {"sizes": (5,), "kinds": ("classes",)}):
        with pytest.raises(ConfigError, match="sizes that sum to c_dim"):
            StarGANConfig(**{**TWO, **values})  # type: ignore[arg-type]
    assert [s.start for s in StarGANConfig(**THREE).sets] == [0, 2, 5]  # type: ignore[arg-type]
    assert list(islice((s.titles for s in StarGANConfig(**THREE).sets), 2, 3)) == [("5",)]  # type: ignore[arg-type]
