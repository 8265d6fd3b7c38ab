"""A method that reads fields of several roles trains on them: on any number of workers, and resumed as if it had never
stopped.

pytest tests/integration/test_scenes.py
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from i2i_core.batch import Batch
from i2i_core.checkpoints.trained import load_trained
from i2i_core.config.evaluation import EvaluationConfig
from i2i_core.config.run import TrainConfig
from i2i_core.config.translation import TranslateOptions
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.stream import in_order
from i2i_core.errors import ConfigError, DataError
from i2i_core.evaluation import extremes
from i2i_core.images.sheet import to_array
from i2i_core.networks.shapes import check_multiple
from i2i_core.orchestration.evaluating import EvaluationJob
from i2i_core.orchestration.translating import translate
from i2i_core.pretrained import segmentation
from i2i_core.training.loop import Loop
from i2i_core.training.preparing import check_clips, prepare
from i2i_core.training.sync import World

from ..support import data
from ..support.runs import assert_equal, loop_of, run_until, state_of
from ..support.scene_data import CLIPS, COLOURS, shard, write_scenes
from ..support.scenes import Both, Conditional, Generated, Scenes, Styles, Tinted, Videos, registered
from ..support.workers import on_workers

CPU = torch.device("cpu")
KINDS = {kind.__name__.lower(): kind for kind in (Scenes, Videos, Styles, Generated, Conditional, Both, Tinted)}
SHORT = ("scenes", "both")
KINDS_IN_TURN = [kind if kind in SHORT else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
"""Each, the others than `SHORT` in `make test-all` alone."""
MEASURED = {
    "scenes": {"l1", "psnr", "ssim"},
    "videos": {"l1", "psnr", "ssim"},
    "styles": set(),
    "generated": {"diversity"},
    "conditional": {"diversity"},
    "both": {"diversity"},
    "tinted": {"change", "cycle", "diversity", "latent"},
}
Made = dict[str, str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return write_scenes(tmp_path_factory.mktemp("scenes"))


def config_on(uri: str, storage: str, **values: Any) -> TrainConfig:
    given = {
        "data.uri": uri,
        "data.load_size": 20,
        "launch.storage": storage,
        "launch.name": "run",
        "monitoring.checkpoint_every": 16,
        "monitoring.keep_last": 9,
        "monitoring.grid_every": 24,
        "monitoring.evaluate_every": 32,
        "monitoring.log_every": 8,
    }
    return prepare(TrainConfig.of("scenes", "demo", {**given, **{k.replace("__", "."): v for k, v in values.items()}}))


def loss_of(loop: Loop, batch: Batch) -> float:
    with torch.no_grad():
        return float(loop.method.loss(batch, loop.method.told(batch))[0])


@pytest.mark.parametrize("kind", KINDS_IN_TURN)
def test_scene_method_learns_and_shows_what_it_makes(kind: str, made: Made, tmp_path: Path) -> None:
    with registered(KINDS[kind]):
        loop = loop_of(config_on(made[kind], str(tmp_path), training__images=240))
        batch = loop.step.place(loop.stream.read(0, 0, 4))
        first = loss_of(loop, batch)
        loop.train()
        assert loss_of(loop, batch) < (0.9 if kind in ("generated", "conditional", "both") else 0.5) * first
        assert loop.run.exists(loop.run.grid(240))
        found = [set(entry["metrics"]) for entry in loop.run.evaluations()]
        assert all(metrics == MEASURED[kind] for metrics in found), found
        assert bool(found) == bool(MEASURED[kind])


@pytest.mark.parametrize("kind", KINDS_IN_TURN)
def test_scene_run_resumes_as_if_it_had_never_stopped(kind: str, made: Made, tmp_path: Path) -> None:
    with registered(KINDS[kind]):
        whole = loop_of(config_on(made[kind], str(tmp_path / "whole")))
        whole.train()
        run_until(config_on(made[kind], str(tmp_path / "cut")), 24)
        resumed = loop_of(config_on(made[kind], str(tmp_path / "cut")))
        assert resumed.progress.images == 16
        resumed.train()
        assert_equal(state_of(whole), state_of(resumed))


def trained(world: World, kind: str, uri: str, storage: str) -> dict[str, Any]:
    with registered(KINDS[kind]):
        loop = Loop(config_on(uri, storage, monitoring__grid_every=0), world, CPU)
        loop.train()
        return {name: p.detach() for name, p in loop.method.named_parameters()}


@pytest.mark.processes
@pytest.mark.parametrize("kind", KINDS_IN_TURN)
def test_scene_run_of_several_workers_equals_one_process(kind: str, made: Made, tmp_path: Path) -> None:
    alone = trained(World(), kind, made[kind], str(tmp_path / "one"))
    first, second = on_workers(2, trained, kind, made[kind], str(tmp_path / "two"))
    for name, p in alone.items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], p, rtol=1e-4, atol=1e-6)


def test_method_begins_its_memory_anew_with_each_sequence(made: Made, tmp_path: Path) -> None:
    """The loss of a sequence does not depend on what came before it."""
    with registered(Videos):
        loop = loop_of(config_on(made["videos"], str(tmp_path)))
        batch = loop.step.place(loop.stream.read(3, 0, 4))
        before = loss_of(loop, batch)
        loss_of(loop, loop.step.place(loop.stream.read(0, 0, 4)))
        assert loss_of(loop, batch) == before
        assert batch["image"].shape == (4, 3, 3, 16, 16)


def test_run_counts_sequences_and_logs_frames_beside(made: Made, tmp_path: Path, said: list[str]) -> None:
    with registered(Videos):
        loop_of(config_on(made["videos"], str(tmp_path))).train()
    assert any("of 48 sequences of 3 frames, 32 an epoch" in line for line in said)
    found = [
        re.search(r"48 / 48 sequences of 3 frames \| ([\d,]+) sequences/s, ([\d,]+) frames/s", line) for line in said
    ]
    (last,) = filter(None, found)
    sequences, frames = (int(number.replace(",", "")) for number in last.groups())
    assert frames == pytest.approx(3 * sequences, abs=3)


def test_scene_method_names_the_fields_that_data_lacks_before_a_run(made: Made, labelled: str, tmp_path: Path) -> None:
    with (
        registered(),
        pytest.raises(DataError, match=r"found no field labels, but image \(image\).*a field labels of role classes"),
    ):
        config_on(labelled, str(tmp_path))
    with registered(Styles), pytest.raises(ConfigError, match="--best-metric: found 'l1'; expected nothing"):
        config_on(made["styles"], str(tmp_path), monitoring__best_metric="l1")
    with registered(Videos), pytest.raises(DataError, match="found single samples; expected clips, of which 3 frames"):
        config_on(made["scenes"], str(tmp_path))
    with registered(Styles), pytest.raises(DataError, match="mono; expected a class for each"):
        config_on(labelled, str(tmp_path))


# ---------------------------------------------------------------- what their checkpoints make


def run_of(kind: str, made: Made, storage: Path) -> str:
    loop = loop_of(config_on(made[kind], str(storage), training__images=16, monitoring__grid_every=0))
    loop.train()
    return loop.run.url


def go(run: str, out: Path, **options: Any) -> dict[str, np.ndarray]:
    """What is written, by name."""
    translate(run, TranslateOptions(out=str(out), cpu=True, **options))
    found = {str(path.relative_to(out))[:-4]: path for path in sorted(out.rglob("*.png"))}
    return {name: np.asarray(Image.open(path)) for name, path in found.items()}


def as_bytes(x: Tensor) -> np.ndarray:
    return to_array(x)


def test_load_makes_an_image_of_a_label_map_by_the_network_alone(made: Made, tmp_path: Path) -> None:
    with registered():
        run = run_of("scenes", made, tmp_path)
        found = go(run, tmp_path / "out", input=made["scenes"], split="train")
        assert np.asarray(Image.open(tmp_path / "out-sheet.png")).ndim == 3
        assert len(found) == 40
        module = load_trained(run, CPU).method.module().eval()
        (batch,) = in_order(DataSet(made["scenes"]), "train", 0, size=40)
        with torch.no_grad():
            expected = module(batch["labels"])
        for key, image in zip(batch.keys, expected, strict=True):
            assert np.abs(found[key].astype(int) - as_bytes(image)).max() <= 1
        larger = go(run, tmp_path / "larger", input=made["scenes"], split="train", size=32, most=1)
        assert larger[batch.keys[0]].shape == (32, 32, 3)


def test_translate_makes_frames_of_a_clip_each_of_the_one_before(made: Made, tmp_path: Path) -> None:
    with registered(Videos):
        run = run_of("videos", made, tmp_path)
        found = go(run, tmp_path / "out", input=made["videos"], split="train")
        method = load_trained(run, CPU).method
        (batch,) = in_order(DataSet(made["videos"]), "train", 0, size=48)
        frames = dict(zip(batch.keys, batch["labels"], strict=True))
        assert len(frames) == len(found) == 48
        for clip in range(8):
            before = torch.zeros(1, 3, 16, 16)
            for t in range(6):
                with torch.no_grad():
                    before, _ = method.module()(frames[f"c{clip}/{t}"][None], before)
                assert np.abs(found[f"c{clip}/{t}"].astype(int) - as_bytes(before[0])).max() <= 1
        first = go(run, tmp_path / "first", input=made["videos"], split="train", most=9, batch=1)
        assert len(first) == 9
        assert all(np.array_equal(first[name], found[name]) for name in first if name in found)


@pytest.mark.parametrize("overlap", [0, 2])
def test_translate_makes_a_clip_that_was_cut_as_a_whole(overlap: int, made: Made, tmp_path: Path) -> None:
    with registered(Videos):
        run = run_of("videos", made, tmp_path)
        whole = go(run, tmp_path / "whole", input=made["videos"], split="train")
        cut = shard(Path(made["videos"]).parent, CLIPS, 4, f"cut{overlap}", classes=("labels=3",), clip_overlap=overlap)
        found = go(run, tmp_path / "cut", input=cut, split="train")
        assert found.keys() == whole.keys()
        assert all(np.array_equal(found[name], whole[name]) for name in whole)


def test_translate_pads_the_frames_of_a_clip_and_their_memory(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The networks take multiples of 4, and join what was made before to the frame before they look at its sides."""
    inner = Scenes.make

    def strict(self: Scenes, labels: Tensor, before: Tensor, told: Tensor) -> Tensor:
        check_multiple(torch.cat([labels, before], dim=1).shape[-1], 4, "G")
        return inner(self, labels, before, told)

    monkeypatch.setattr(Scenes, "make", strict)
    rng = np.random.default_rng(1)
    for folder, pad in (("odd", 0), ("even", 2)):
        for frame in range(3):
            for name in ("labels", "image"):
                (tmp_path / folder / f"{name}/c").mkdir(parents=True, exist_ok=True)
            ids = np.pad(rng.integers(0, 3, (18, 18), dtype=np.uint8), ((0, pad),) * 2, mode="reflect")
            Image.fromarray(ids).save(tmp_path / folder / f"labels/c/{frame}.png")
            Image.fromarray(COLOURS[ids]).save(tmp_path / folder / f"image/c/{frame}.png")
        rng = np.random.default_rng(1)
    with registered(Videos):
        run = run_of("videos", made, tmp_path / "run")
        sets = {name: shard(tmp_path / name, CLIPS, classes=("labels=3",)) for name in ("odd", "even")}
        odd, even = (go(run, tmp_path / f"{name}-out", input=uri, split="train") for name, uri in sets.items())
    assert len(odd) == 3
    assert all(np.array_equal(image, even[name][:18, :18]) for name, image in odd.items())


def test_translate_refuses_frames_of_two_sizes_by_one_message(made: Made, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for frame in range(3):
        for name in ("labels", "image"):
            (tmp_path / f"{name}/c").mkdir(parents=True, exist_ok=True)
        ids = rng.integers(0, 3, (16 if frame < 2 else 24,) * 2, dtype=np.uint8)
        Image.fromarray(ids).save(tmp_path / f"labels/c/{frame}.png")
        Image.fromarray(COLOURS[ids]).save(tmp_path / f"image/c/{frame}.png")
    odd = shard(tmp_path, CLIPS, classes=("labels=3",))
    with registered(Videos):
        run = run_of("videos", made, tmp_path / "run")
        with pytest.raises(DataError, match=r"frame c/2: found \(1, 24, 24\); expected \(1, 16, 16\), as the first"):
            go(run, tmp_path / "none", input=odd, split="train")
        assert len(go(run, tmp_path / "same", input=odd, split="train", size=16)) == 3
        config = config_on(made["videos"], str(tmp_path / "long"), training__stages=("images=8 frames=2", "frames=4"))
        with pytest.raises(DataError, match=r"split 'train' of .*: found 1 clips, all shorter than 4 rows"):
            check_clips(config, [DataSet(odd)], Videos.needs)


def test_translate_takes_label_maps_without_photos(made: Made, tmp_path: Path) -> None:
    folder = Path(made["scenes"]).parent
    bare = shard(folder, ("labels:classes=labels/{key}.png",), out="bare", classes=("labels=3",))
    with registered():
        run = run_of("scenes", made, tmp_path)
        whole = go(run, tmp_path / "whole", input=made["scenes"], split="train")
        found = go(run, tmp_path / "out", input=bare, split="train")
        assert all(np.array_equal(found[name], whole[name]) for name in whole)


def test_evaluation_of_codes_alone_makes_more_images_than_it_varies(made: Made, tmp_path: Path) -> None:
    """Diversity is of the first hundred."""
    rng = np.random.default_rng(0)
    for i in range(130):
        data.put(tmp_path / f"many/train/a/{i}.png", rng.integers(0, 255, (16, 16, 3), np.uint8))
    data.shard("classes", tmp_path / "many", tmp_path / "many/out")
    with registered(Generated):
        trained = load_trained(run_of("generated", made, tmp_path), CPU)
        suite = EvaluationJob(trained.url, str(tmp_path / "many/out"), "train", EvaluationConfig()).suite(trained)
        found = suite.result(suite.parts())
        assert found.metrics["diversity"].count == len(found.ranked) == 100


def test_data_set_of_other_examples_is_another_one(made: Made, tmp_path: Path) -> None:
    with registered(Styles):
        run = run_of("styles", made, tmp_path)
        how: dict[str, Any] = {"input": made["styles"], "split": "train", "shards": True}
        places = [str(Path(made["styles"]).parent / f"train/{name}/0.png") for name in "ab"]
        translate(run, TranslateOptions(out=str(tmp_path / "out"), cpu=True, like=places[0], **how))
        with pytest.raises(DataError, match="found a data set made from another input or with other options"):
            translate(run, TranslateOptions(out=str(tmp_path / "out"), cpu=True, like=places[1], **how))


def test_translate_refuses_flags_that_codes_alone_have_no_use_for(made: Made, tmp_path: Path) -> None:
    with registered(Generated):
        run = run_of("generated", made, tmp_path)
        for flag, value in {"size": 64, "shards_at": ("/nowhere",), "shards": True}.items():
            with pytest.raises(ConfigError, match=f"--{flag.replace('_', '-')}: found .*; expected nothing: images of"):
                go(run, tmp_path / "none", count=2, **{flag: value})


def test_evaluation_measures_sequences_at_the_stride_of_their_training(made: Made, tmp_path: Path) -> None:
    with registered(Videos):
        loop = loop_of(config_on(made["videos"], str(tmp_path), training__images=8, data__frame_stride=2))
        loop.train()
        trained = load_trained(loop.run.url, CPU)
        suite = EvaluationJob(trained.url, made["videos"], "train", EvaluationConfig()).suite(trained)
        (batch,) = in_order(DataSet(made["videos"]), "train", 16, needs=Videos.needs, frame_stride=2)
        assert len(batch.keys) == 8, "one of three frames at 0, 2, 4 in each clip of six"
        with torch.no_grad():
            made_of = trained.method.along({"labels": batch["labels"]})["image"]
        l1 = (made_of - batch["image"]).abs().mean().item() / 2
        assert suite.result(suite.parts()).values["l1"] == pytest.approx(l1, rel=1e-5)


def test_translate_makes_outputs_like_all_examples_together(made: Made, tmp_path: Path) -> None:
    with registered(Styles):
        run = run_of("styles", made, tmp_path)
        (batch,) = in_order(DataSet(made["styles"]), "train", 0, size=48)
        for i in range(3):
            Image.fromarray(as_bytes(batch["image"][i])).save(tmp_path / f"{i}.png")
        like = ",".join(str(tmp_path / f"{i}.png") for i in range(3))
        found = go(run, tmp_path / "out", input=made["styles"], split="train", like=like, most=4)
        method = load_trained(run, CPU).method
        told = {"like": batch["image"][None, :3].expand(4, -1, -1, -1, -1)}
        expected = method.coloured(batch["image"][:4], told["like"]).detach()
        for key, image in zip(batch.keys, expected, strict=False):
            assert np.abs(found[key].astype(int) - as_bytes(image)).max() <= 1
        with pytest.raises(ConfigError, match="--like: found nothing; expected images that the outputs are to be like"):
            go(run, tmp_path / "none", input=made["styles"], split="train")


def test_translate_counts_images_of_codes_alone(made: Made, tmp_path: Path) -> None:
    with registered(Generated):
        run = run_of("generated", made, tmp_path)
        found = go(run, tmp_path / "out", count=12)
        assert set(found) == {*(f"{i:02d}" for i in range(12))}
        method = load_trained(run, CPU).method
        codes = method.draw_codes([f"{i:02d}" for i in range(12)])
        assert codes.abs().max() <= 1
        assert codes.min() < -0.5
        for i, image in enumerate(method.module()(codes)):
            assert np.abs(found[f"{i:02d}"].astype(int) - as_bytes(image)).max() <= 1
        several = go(run, tmp_path / "several", count=2, samples=3)
        assert set(several) == {*(f"{i}-{k}" for i in range(2) for k in range(3))}
        with pytest.raises(ConfigError, match="--count: found 0; expected how many images are to be made"):
            go(run, tmp_path / "none")
        with pytest.raises(ConfigError, match=r"--input: found .*; expected nothing: this method makes images of no"):
            go(run, tmp_path / "none", input=made["styles"], count=3)
    with registered():
        run = run_of("scenes", made, tmp_path / "scenes")
        with pytest.raises(ConfigError, match="--count: found 3; expected none: this method makes an image of each"):
            go(run, tmp_path / "none", input=made["scenes"], count=3)
        with pytest.raises(DataError, match=r"found no data set; expected one with labels \(classes\)"):
            go(run, tmp_path / "none", input=str(tmp_path / "out"))


def test_translate_makes_images_of_a_class_and_a_code_show_that_class(made: Made, tmp_path: Path) -> None:
    with registered(Conditional):
        run = run_of("conditional", made, tmp_path)
        found = go(run, tmp_path / "out", count=3, target="b")
        method = load_trained(run, CPU).method
        label = torch.tensor([[0.0, 1, 0]]).expand(3, -1)
        for i, image in enumerate(method.module()(label, method.draw_codes(["0", "1", "2"]))):
            assert np.abs(found[str(i)].astype(int) - as_bytes(image)).max() <= 1
        with pytest.raises(ConfigError, match="--target: found nothing; expected names"):
            go(run, tmp_path / "none", count=3)


def test_translate_writes_several_outputs_to_a_file_each(made: Made, tmp_path: Path) -> None:
    with registered(Both):
        run = run_of("both", made, tmp_path)
        found = go(run, tmp_path / "out", count=3)
        method = load_trained(run, CPU).method
        codes = method.draw_codes(["0", "1", "2"])
        assert set(found) == {*(f"{i}-{side}" for i in range(3) for side in "ab")}
        for side, code in (("a", codes), ("b", -codes)):
            for i, image in enumerate(method.networks["G"](code)):
                assert np.abs(found[f"{i}-{side}"].astype(int) - as_bytes(image)).max() <= 1


def test_translate_goes_back_with_a_code(made: Made, tmp_path: Path) -> None:
    """Drawn, or read off an image of A: of the side that is made."""
    with registered(Tinted):
        run = run_of("tinted", made, tmp_path)
        data, method = DataSet(made["tinted"]), load_trained(run, CPU).method
        (batch,) = in_order(data, "train", 0, size=32, side="b")
        found = go(run, tmp_path / "out", input=made["tinted"], split="train", back=True, samples=2)
        keys = list(batch.keys)
        for k in range(2):
            expected = method.tinted("F", batch["b"], method.draw_codes(keys, k)).detach()
            for key, image in zip(keys, expected, strict=True):
                assert np.abs(found[f"{key}-{k}"].astype(int) - as_bytes(image)).max() <= 1
        red = torch.tensor([1.0, -1, -1])[:, None, None].expand(3, 16, 16)
        Image.fromarray(as_bytes(red)).save(tmp_path / "red.png")
        found = go(
            run, tmp_path / "like", input=made["tinted"], split="train", back=True, like=str(tmp_path / "red.png")
        )
        code = (red.mean((1, 2)) + 1).expand(len(keys), -1)  # as it is read of A
        expected = method.tinted("F", batch["b"], code).detach()
        for key, image in zip(keys, expected, strict=True):
            assert np.abs(found[key].astype(int) - as_bytes(image)).max() <= 1


@pytest.mark.parametrize("kind", KINDS_IN_TURN)
def test_basis_follows_from_what_a_method_declares(kind: str, made: Made, tmp_path: Path) -> None:
    """By several workers as by one."""
    with registered(KINDS[kind]):
        trained = load_trained(run_of(kind, made, tmp_path), CPU)
        judging = EvaluationConfig(metrics=("efficientnet_frechet",))
        suite = EvaluationJob(trained.url, made[kind], "train", judging).suite(trained)
        parts = suite.parts()
        found = suite.result(parts)
        assert MEASURED[kind] | {"efficientnet_frechet"} <= set(found.values)
        split = [part for rank in range(2) for part in suite.parts(rank, 2)]
        assert suite.result(split).values == found.values
        if suite.basic.ranking:
            ranked = extremes.chosen(found.ranked, "lower", 1)
            assert extremes.sheet(suite, ranked).size[0] > 100


def test_fcn_takes_a_label_map_for_the_truth_of_a_photo(made: Made, tmp_path: Path) -> None:
    network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
    torch.save(network.state_dict(), tmp_path / "net.pth")
    with registered():
        trained = load_trained(run_of("scenes", made, tmp_path), CPU)
        judging = EvaluationConfig(metrics=("fcn",), segmentation=str(tmp_path / "net.pth"))
        suite = EvaluationJob(trained.url, made["scenes"], "train", judging).suite(trained)
        found = suite.result(suite.parts()).values
        (batch,) = in_order(DataSet(made["scenes"]), "train", 16, size=40)
        photo = (batch["image"] + 1) / 2
        mean, std = (torch.tensor(x)[:, None, None] for x in (segmentation.MEAN, segmentation.STD))
        with torch.no_grad():
            seen = network.eval()((photo - mean) / std)["out"].argmax(1)
        true = batch["labels"][:, 0]
        assert found["fcn_pixels"] == true.numel()
        assert found["fcn_real/pixel_accuracy"] == pytest.approx((seen == true).double().mean().item(), abs=1e-3)
        torch.save(
            lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4).state_dict(),
            tmp_path / "four.pth",
        )
        judging = EvaluationConfig(metrics=("fcn",), segmentation=str(tmp_path / "four.pth"))
        with pytest.raises(ConfigError, match="found a network of 4 classes; expected 3, as the label map has"):
            EvaluationJob(trained.url, made["scenes"], "train", judging).suite(trained)


def test_evaluation_of_a_method_without_metrics_says_so(made: Made, tmp_path: Path) -> None:
    with registered(Styles):
        trained = load_trained(run_of("styles", made, tmp_path), CPU)
        job = EvaluationJob(trained.url, made["styles"], "train", EvaluationConfig())
        with pytest.raises(DataError, match=r"metrics: found a method that reads image \(image\); expected one whose"):
            job.suite(trained)
