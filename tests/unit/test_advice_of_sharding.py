"""A job that its input stopped does not hold its place: the advice of its message works in the same --out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from i2i_core.data.format.manifest import DataSet
from i2i_core.data.format.shards import WITHOUT_PARTNER
from i2i_core.errors import DataError, UserError
from i2i_core.images.codec import ImageOptions
from i2i_core.orchestration.sharding import AUTO, chosen_workers

from ..support.data import noise, put, shard

Images = dict[str, Any]
ONE = {"shard_samples": 1}


def wider(folder: Path) -> None:
    put(folder / "2.npy", noise(4, 8, 3, dtype="uint16"))


def broken(folder: Path) -> None:
    (folder / "2.png").write_bytes(b"x")


def mend(folder: Path) -> None:
    put(folder / "2.png", noise(4, 8, 3))


def nothing(folder: Path) -> None:
    """Leave the input as it is."""


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("spoil", "first", "says", "repair", "then", "goal"),
    [
        (wider, {}, "different data sets", without("2.npy"), {}, {}),
        (broken, {}, "--bad skip", nothing, {}, {"bad": "skip"}),
        (broken, {}, "Mend", mend, {}, {}),
        (broken, {}, "remove", without("2.png"), {}, {}),
        (nothing, {"images": ImageOptions(center_crop=9)}, "center-crop 9", nothing, {}, {}),
        (wider, {"images": ImageOptions(encode="jpg")}, "use --encode png", without("2.npy"), {}, {}),
    ],
)
def test_sharding_works_in_the_same_place_once_its_advice_is_followed(
    tmp_path: Path,
    spoil: Callable[[Path], None],
    first: Images,
    says: str,
    repair: Callable[[Path], None],
    then: Images,
    goal: dict[str, Any],
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for i in range(5):
        put(source / f"{i}.png", noise(4, 8, 3))
    if spoil is wider:
        (source / "2.png").unlink()
    spoil(source)
    (out / "notes").mkdir(parents=True)
    (out / "notes/mine.txt").write_text("mine")
    with pytest.raises(UserError, match=says):
        shard("ab", source, out, goal=ONE, split=(1.0, 0.0, 0.0), **first)
    repair(source)
    manifest = shard("ab", source, out, goal={**ONE, **goal}, split=(1.0, 0.0, 0.0), **then)
    shards = manifest.splits["train"]["all"].shards.name
    assert {path.name for path in out.glob("*.tar")} == set(shards), "shards of the job that failed are left"
    assert DataSet(str(out)).manifest == manifest
    assert (out / "notes/mine.txt").read_text() == "mine"
    assert not (out / "_parts").exists()


def test_sharding_that_failed_goes_on_from_its_shards_where_nothing_changed(tmp_path: Path) -> None:
    for i in range(5):
        put(tmp_path / f"in/{i}.png", noise(4, 8, 3))
    (tmp_path / "in/2.png").write_bytes(b"x")
    with pytest.raises(DataError):
        shard("ab", tmp_path / "in", tmp_path / "out", goal=ONE, split=(1.0, 0.0, 0.0))
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.tar")}
    assert times, "no shard was finished before the bad one; choose another seed"
    shard("ab", tmp_path / "in", tmp_path / "out", goal={**ONE, "bad": "skip"}, split=(1.0, 0.0, 0.0))
    assert times.items() <= {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*.tar")}.items()


def test_sharding_keeps_the_place_of_a_job_that_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from i2i_core.data.format import shards

    for i in range(5):
        put(tmp_path / f"in/{i}.png", noise(4, 8, 3))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shards, "write_shard", killed)
        with pytest.raises(KeyboardInterrupt):
            shard("ab", tmp_path / "in", tmp_path / "out")
    with pytest.raises(DataError, match="an unfinished data set"):
        shard("ab", tmp_path / "in", tmp_path / "out", ImageOptions(channels=1))
    shard("ab", tmp_path / "in", tmp_path / "out")


def test_sharding_pairs_lists_images_without_a_partner_when_asked(tmp_path: Path, said: list[str]) -> None:
    for name in ("a/1", "a/2", "a/3", "b/1", "b/3", "b/4"):
        put(tmp_path / f"in/{name}.png", noise(4, 4, 3))
    out = tmp_path / "out"
    with pytest.raises(DataError, match="give --common-only"):
        shard("pairs", tmp_path / "in", out)
    manifest = shard("pairs", tmp_path / "in", out, split=(1.0, 0.0, 0.0), common_only=True)
    assert DataSet(str(out)).rows("train").keys() in (["1", "3"], ["3", "1"])
    assert manifest.made_by["layout"]["common_only"]
    heading, *lines = (out / WITHOUT_PARTNER).read_text().splitlines()
    assert heading.startswith("# images without a partner")
    assert lines == [f"{tmp_path}/in/a/2.png", f"{tmp_path}/in/b/4.png"]
    assert any(f"2 images without a partner are left out: {out / WITHOUT_PARTNER} lists them" in line for line in said)
    for name in ("a/2", "b/4"):
        (tmp_path / f"in/{name}.png").unlink()
    shard("pairs", tmp_path / "in", out, goal={"overwrite": True})
    assert not (out / WITHOUT_PARTNER).exists(), "the list of the data set before is left"


def test_sharding_says_how_many_samples_were_transparent(tmp_path: Path) -> None:
    x = noise(4, 8, 4)
    x[..., 3] = 255
    put(tmp_path / "in/1.png", x)
    assert "transparent" not in shard("ab", tmp_path / "in", tmp_path / "opaque").made_by
    x[0, 0, 3] = 254
    put(tmp_path / "in/2.png", x)
    assert shard("ab", tmp_path / "in", tmp_path / "out").made_by["transparent"] == 1
    assert "transparent" not in shard("ab", tmp_path / "in", tmp_path / "kept", ImageOptions(keep_alpha=True)).made_by


@pytest.mark.parametrize(
    ("units", "samples", "size", "workers"),
    [(1, 10**6, 10**10, 0), (6, 3_786, 24 * 10**6, 0), (12, 12_000, 10**7, -1), (6, 3_000, 10**9, -1)],
)
def test_chosen_workers_starts_ray_for_large_inputs_alone(
    units: int, samples: int, size: int, workers: int, said: list[str]
) -> None:
    assert chosen_workers(units, samples, size) == workers
    (line,) = said
    assert f"--workers {workers}, chosen: {samples:,} samples, {size / 1e6:,.0f} MB" in line


def test_make_without_workers_uses_no_ray_for_a_small_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from i2i_core.orchestration import cluster

    monkeypatch.setattr(cluster, "connect", lambda *_: pytest.fail("Ray was started"))
    put(tmp_path / "in/1.png", np.zeros((4, 8, 3), np.uint8))
    shard("ab", tmp_path / "in", tmp_path / "out", workers=AUTO, split=(1.0, 0.0, 0.0))
