"""Many outputs of one input, outputs like given images, the way between two codes, and back from B to A.

pytest tests/unit/test_translate_codes.py
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from i2i_core.checkpoints.trained import load_trained
from i2i_core.config.translation import TranslateOptions
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.reader import Reader
from i2i_core.errors import ConfigError, DataError, UserError
from i2i_core.images.sheet import to_array
from i2i_core.orchestration import translating
from i2i_core.orchestration.sharding import shard_glyphs
from i2i_core.translation.codes import Between
from i2i_core.translation.inputs import Split
from i2i_core.translation.loading import own
from i2i_core.translation.translator import MOST_COLUMNS, Translator

from ..support.translating import files, go, noise, pixels, save, untrained

Made = dict[str, bytes]
GAIN = 100
"""Of the weights: outputs that fill the range, and differ by more than a rounding where codes do."""


@pytest.fixture(scope="module")
def unpaired(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = str(tmp_path_factory.mktemp("data") / "unpaired")
    shard_glyphs(out, "unpaired", 16, characters=60)
    return out


@pytest.fixture(scope="module")
def bicycle(paired: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return untrained("bicyclegan", paired, tmp_path_factory.mktemp("bicycle"), GAIN)


@pytest.fixture(scope="module")
def cycle(unpaired: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return untrained("cyclegan", unpaired, tmp_path_factory.mktemp("cycle"))


def made_by(run: str, input: Path | str, out: Path, **options: Any) -> Made:
    """What was written."""
    go(run, input, out, **options)
    return files(out)


def method_of(run: str) -> Any:
    return load_trained(run, torch.device("cpu")).method.eval()


def pairs(uri: str, count: int) -> list[tuple[str, Tensor, Tensor]]:
    """Key, a and b of the first test samples; images (1, C, H, W)."""
    reader = Reader(DataSet(uri), "test", "all")
    a, b = (reader.read(range(count), column) for column in (0, 1))
    return [(reader.key(i), tensor(a[i]), tensor(b[i])) for i in range(count)]


def tensor(data: bytes) -> Tensor:
    return own((data, "png"), "it").x[None]


def assert_shows(data: bytes, made: Tensor) -> None:
    """Equal up to the rounding of another batch size."""
    found = pixels(data)
    expected = to_array(made[0])
    assert np.abs(found.reshape(expected.shape).astype(int) - expected).max() <= 1


# ---------------------------------------------------------------- drawn codes


@pytest.mark.parametrize("name", ["bicyclegan", "cvae_gan", "clr_gan", "pix2pix_noise"])
def test_codes_of_samples_are_seeded_by_the_key_and_their_number(name: str, paired: str, tmp_path: Path) -> None:
    run = untrained(name, paired, tmp_path / "run", GAIN)
    made = made_by(run, paired, tmp_path / "out", samples=3, most=2)
    method = method_of(run)
    assert set(made) == {f"{key}-{k}.png" for key, _, _ in pairs(paired, 2) for k in range(3)}
    for key, a, _ in pairs(paired, 2):
        for k in range(3):
            assert_shows(made[f"{key}-{k}.png"], method.image_from(a, z=method.draw_codes([key], k)))
        first, *others = (pixels(made[f"{key}-{k}.png"]).astype(int) for k in range(3))
        assert all(np.abs(first - other).max() > 10 for other in others), "outputs of different codes are alike"
    plain = made_by(run, paired, tmp_path / "plain", most=2)
    assert plain == {f"{key}.png": made[f"{key}-0.png"] for key, _, _ in pairs(paired, 2)}


def test_codes_of_samples_do_not_depend_on_batch_and_neighbours(bicycle: str, tmp_path: Path) -> None:
    for i in range(10):
        save(tmp_path / "in" / f"{i}.png", noise(16, 16, 3, seed=i))
    (tmp_path / "in/alone.txt").write_text("7.png\n")
    one, all_ = (made_by(bicycle, tmp_path / "in", tmp_path / str(b), samples=2, batch=b) for b in (1, 32))
    alone = made_by(bicycle, tmp_path / "in/alone.txt", tmp_path / "out", samples=2)
    assert one == all_
    assert alone == {name: all_[name] for name in ("7-0.png", "7-1.png")}
    assert len(all_) == 20


def test_codes_of_samples_are_the_same_on_any_worker(bicycle: str, paired: str, tmp_path: Path) -> None:
    """Two of them, each with the job as it arrives at a worker, and chunks dealt in turn."""
    whole = made_by(bicycle, paired, tmp_path / "whole", samples=2, most=9)
    options = TranslateOptions(input=paired, out=str(tmp_path / "out"), samples=2)
    job = translating.prepare_job(bicycle, load_trained(bicycle, torch.device("cpu")), options)
    for worker in range(2):
        arrived = pickle.loads(pickle.dumps(job))
        translator = Translator(arrived, load_trained(arrived.checkpoint, torch.device("cpu")))
        for first in range(3 * worker, 9, 6):
            translator.run(range(first, first + 3))
    assert files(tmp_path / "out") == whole


def test_contact_sheet_of_codes_shows_source_some_outputs_and_truth(
    bicycle: str, paired: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    draw = translating.contact_sheet
    monkeypatch.setattr(translating, "contact_sheet", lambda columns: shown.append(columns) or draw(columns))
    made = made_by(bicycle, paired, tmp_path / "out", samples=11, most=2)
    assert list(shown[0]) == ["source", *(f"sample {k}" for k in (0, 2, 4, 6, 8, 10)), "truth"]
    assert len(shown[0]) == MOST_COLUMNS + 2
    key, _, b = pairs(paired, 1)[0]
    assert np.array_equal(to_array(shown[0]["sample 4"][0]), pixels(made[f"{key}-4.png"]))
    assert torch.equal(shown[0]["truth"][0], b[0])


# ---------------------------------------------------------------- codes read off images


def test_like_truth_is_translating_with_the_truths_own_code(bicycle: str, paired: str, tmp_path: Path) -> None:
    method = method_of(bicycle)
    made = made_by(bicycle, paired, tmp_path / "out", like="truth", most=12)
    for key, a, b in pairs(paired, 12):
        assert_shows(made.pop(f"{key}.png"), method.image_from(a, z=method.encode(b)))
    assert not made


def test_like_a_file_gives_all_outputs_its_code(bicycle: str, paired: str, tmp_path: Path) -> None:
    save(tmp_path / "red.png", noise(20, 16, 3))
    method = method_of(bicycle)
    z = method.encode(tensor((tmp_path / "red.png").read_bytes()))
    made = made_by(bicycle, paired, tmp_path / "out", like=str(tmp_path / "red.png"), most=3)
    for key, a, _ in pairs(paired, 3):
        assert_shows(made.pop(f"{key}.png"), method.image_from(a, z=z))
    assert not made


def test_like_a_folder_or_a_list_gives_an_output_like_each(
    bicycle: str, paired: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i, name in enumerate(("x", "y")):
        save(tmp_path / "like" / f"{name}.png", noise(16, 16, 3, seed=i))
    each = {
        name: made_by(bicycle, paired, tmp_path / name, like=f"{tmp_path}/like/{name}.png", most=2) for name in "xy"
    }
    shown: list[Any] = []
    draw = translating.contact_sheet
    monkeypatch.setattr(translating, "contact_sheet", lambda columns: shown.append(columns) or draw(columns))
    made = made_by(bicycle, paired, tmp_path / "both", like=f"{tmp_path}/like", most=2)
    for key, _, _ in pairs(paired, 2):
        assert [made.pop(f"{key}-{k}.png") for k in (0, 1)] == [each[name][f"{key}.png"] for name in "xy"]
    assert not made
    assert list(shown[0]) == ["source", "0: like x", "1: like y", "truth"]
    listed = made_by(bicycle, paired, tmp_path / "l", like=f"{tmp_path}/like/y.png,{tmp_path}/like/x.png", most=1)
    key = pairs(paired, 1)[0][0]
    assert listed[f"{key}-0.png"] == each["y"][f"{key}.png"]


# ---------------------------------------------------------------- between two codes


def test_codes_between_two_lie_on_the_line_in_equal_steps(bicycle: str) -> None:
    method, keys = method_of(bicycle), ["x", "y"]
    first, last = (method.draw_codes(keys, k) for k in (0, 1))
    for k, z in enumerate(Between(("",) * 5, None).of(method, keys, None)):
        torch.testing.assert_close(z, (1 - k / 4) * first + k / 4 * last)
    given = Between(("",) * 3, ((0.0, 2.0, 1.0), (4.0, 2.0, -1.0))).of(method, keys, None)
    assert [z.tolist() for z in given] == [[z] * 2 for z in ([0, 2, 1], [2, 2, 0], [4, 2, -1])]


def test_interpolate_goes_between_drawn_codes(bicycle: str, paired: str, tmp_path: Path) -> None:
    method = method_of(bicycle)
    made = made_by(bicycle, paired, tmp_path / "out", interpolate=5, most=2)
    ends = made_by(bicycle, paired, tmp_path / "ends", samples=2, most=2)
    for key, a, _ in pairs(paired, 2):
        first, last = (method.draw_codes([key], k) for k in (0, 1))
        assert made[f"{key}-0.png"] == ends[f"{key}-0.png"]
        assert made[f"{key}-4.png"] == ends[f"{key}-1.png"]
        assert_shows(made[f"{key}-1.png"], method.image_from(a, z=0.75 * first + 0.25 * last))


def test_interpolate_goes_between_two_images(bicycle: str, paired: str, tmp_path: Path) -> None:
    for i, name in enumerate(("x", "y")):
        save(tmp_path / f"{name}.png", noise(16, 16, 3, seed=i))
    like = f"{tmp_path}/x.png,{tmp_path}/y.png"
    made = made_by(bicycle, paired, tmp_path / "out", interpolate=3, like=like, most=1)
    ends = made_by(bicycle, paired, tmp_path / "ends", like=like, most=1)
    key, a, _ = pairs(paired, 1)[0]
    assert [made[f"{key}-{k}.png"] for k in (0, 2)] == [ends[f"{key}-{k}.png"] for k in (0, 1)]
    method = method_of(bicycle)
    x, y = (method.encode(tensor((tmp_path / f"{name}.png").read_bytes())) for name in "xy")
    assert_shows(made[f"{key}-1.png"], method.image_from(a, z=(x + y) / 2))


# ---------------------------------------------------------------- back


@pytest.mark.parametrize("name", ["cyclegan", "unit"])
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_translate_back_reads_the_other_domain(name: str, direction: str, unpaired: str, tmp_path: Path) -> None:
    run = untrained(name, unpaired, tmp_path / "run", 8, data__direction=direction)
    made = made_by(run, unpaired, tmp_path / "out", back=True, most=2)
    method = method_of(run)
    split = Split(DataSet(unpaired), "test", method, direction, "BtoA")
    assert split.domain == ("B" if direction == "AtoB" else "A")
    assert set(made) == {f"{key}.png" for key in split.names[:2]}
    for i in range(2):
        y = tensor(split.fetch(i, "b")[0])
        assert_shows(made[f"{split.names[i]}.png"], method.image_from(y, "BtoA"))
        assert not torch.equal(method.image_from(y, "BtoA"), method.image_from(y))
    save(tmp_path / "in/y.png", pixels(split.fetch(0, "b")[0]))
    again = made_by(run, tmp_path / "in", tmp_path / "again", back=True)
    assert again["y.png"] == made[f"{split.names[0]}.png"]


# ---------------------------------------------------------------- what is refused


def refused(run: str, input: Path | str, out: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        go(run, input, out / "out", **options)
    assert isinstance(caught.value, ConfigError | DataError)
    return str(caught.value)


def test_codes_that_the_method_does_not_have_are_refused(
    cycle: str, paired: str, unpaired: str, bicycle: str, tmp_path: Path
) -> None:
    noisy = untrained("pix2pix_noise", paired, tmp_path / "noisy")
    assert "--samples: found 3; expected none: this method has one output" in refused(
        cycle, unpaired, tmp_path, samples=3
    )
    assert "--interpolate: found 3; expected none" in refused(cycle, unpaired, tmp_path, interpolate=3)
    assert "--like: found 'truth'; expected none: this method reads no code" in refused(
        noisy, paired, tmp_path, like="truth"
    )
    assert "--back: found a method that translates one way; expected one that goes back" in refused(
        bicycle, paired, tmp_path, back=True
    )


def test_codes_flags_that_do_not_go_together_are_refused(bicycle: str, paired: str, tmp_path: Path) -> None:
    save(tmp_path / "in/x.png", noise(16, 16, 3))
    x = str(tmp_path / "in/x.png")
    assert "--samples: found --like beside it" in refused(bicycle, paired, tmp_path, samples=2, like=x)
    assert "--samples: found --interpolate beside it" in refused(bicycle, paired, tmp_path, samples=2, interpolate=2)
    assert "--interpolate: found 1" in refused(bicycle, paired, tmp_path, interpolate=1)
    assert "1 images beside --interpolate" in refused(bicycle, paired, tmp_path, interpolate=2, like=x)
    assert "truth beside --interpolate" in refused(bicycle, paired, tmp_path, interpolate=2, like="truth")
    assert "expected a paired data set as --input" in refused(bicycle, tmp_path / "in", tmp_path, like="truth")
    assert "--samples: found -1" in refused(bicycle, paired, tmp_path, samples=-1)
    assert "--like: found ','" in refused(bicycle, paired, tmp_path, like=",")


def test_like_names_images_that_cannot_be_used(bicycle: str, paired: str, tmp_path: Path) -> None:
    save(tmp_path / "five.npy", noise(16, 16, 5))
    save(tmp_path / "tiny.png", noise(2, 2, 3))
    (tmp_path / "bad.png").write_bytes(b"no image")
    (tmp_path / "void").mkdir()
    for name, says in {
        "five.npy": "found 5 channels; expected 3",
        "tiny.png": "found 2 x 2 pixels (width x height); expected at least 4 x 4",
        "bad.png": "cannot identify",
        "none.png": "nothing at that place",
        "void": "without images",
    }.items():
        said = refused(bicycle, paired, tmp_path, like=f"{tmp_path}/{name}", most=1)
        assert said.startswith(f"--like {tmp_path}/{name}: ")
        assert says in said
    grey = tmp_path / "grey.png"
    save(grey, noise(16, 16))
    assert made_by(bicycle, paired, tmp_path / "out", like=str(grey), most=1), "grey images are made RGB"
