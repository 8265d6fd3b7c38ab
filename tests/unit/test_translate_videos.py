"""Videos through a checkpoint: frames, times, sound and size; one code for a clip; what is refused, and what is left.

pytest tests/unit/test_translate_videos.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import fsspec
import numpy as np
import pytest
import torch
from torch import Tensor

from i2i_core.checkpoints.trained import load_trained
from i2i_core.config.translation import TranslateOptions
from i2i_core.errors import ConfigError, DataError, RunError
from i2i_core.images import video_writer
from i2i_core.images.sheet import to_array
from i2i_core.images.video import Clip, Frame
from i2i_core.images.video_writer import Writer
from i2i_core.orchestration.translating import prepare_job
from i2i_core.translation.clips import ClipJob, folder_of, stem_of
from i2i_core.translation.inputs import Clips
from i2i_core.translation.model import load
from i2i_core.translation.translator import GROUP

from ..support.films import Deep, Deeper, Plain, Sketched, Trail, domains, film, picture, psnr, run_of, seen
from ..support.scenes import Scenes, Tinted, registered
from ..support.translating import files, go, save, untrained

Captured = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch
CPU = torch.device("cpu")
Message = Callable[..., str]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return domains(tmp_path_factory.mktemp("domains"))


def method_of(kind: type[Scenes], data: str, folder: Path) -> Iterator[str]:
    with registered(kind):
        yield run_of(data, folder)


@pytest.fixture
def tinted(data: str, tmp_path: Path) -> Iterator[str]:
    """A run of a method with codes, whose network is one layer."""
    yield from method_of(Tinted, data, tmp_path / "run")


@pytest.fixture
def plain(data: str, tmp_path: Path) -> Iterator[str]:
    """A run of a method without codes."""
    yield from method_of(Plain, data, tmp_path / "run")


def frames_of(path: Path) -> list[np.ndarray]:
    with closing(Clip(str(path))) as clip:
        return [frame.pixels for frame in clip.frames()]


def made_of(run: str, path: Path, **options: Any) -> list[list[Tensor]]:
    """What the networks make of a clip's frames, before any encoder."""
    trained = load_trained(run, CPU)
    job = prepare_job(run, trained, TranslateOptions(input=str(path), out=str(path.parent / "x"), **options))
    translator = ClipJob(job).worker(trained)
    with closing(Clip(str(path))) as clip:
        return [made for _, made in translator.made(path.stem, clip.frames())]


def unchanged(path: Path, out: Path, **options: Any) -> None:
    """Times, sound and size of an output are those of its clip."""
    before, after = seen(path), seen(out)
    assert after.times == before.times
    assert [data for _, data in after.sound] == [data for _, data in before.sound]
    assert after.frames[0].shape == before.frames[0].shape
    assert abs(after.seconds - before.seconds) < 0.05


# ---------------------------------------------------------------- what is made


@pytest.mark.parametrize("size", [(32, 48), (33, 47)])
def test_translate_video_is_the_translation_of_its_frames(size: tuple[int, int], plain: str, tmp_path: Path) -> None:
    """Exact before the encoder; behind it, within its loss."""
    even = size == (32, 48)
    shown = [picture(i, *size) for i in range(19)]
    path = film(tmp_path / "in/c.mp4", shown, pixels="yuv420p" if even else "yuv444p")
    outcome = go(plain, path, tmp_path / "made.mp4")
    model = load(plain)
    expected = [to_array(model.translate(x, keys=["c"])) for x in map(to_tensor, frames_of(path))]
    assert all(np.array_equal(to_array(made[0]), x) for made, x in zip(made_of(plain, path), expected, strict=True))
    unchanged(path, tmp_path / "made.mp4")
    found = frames_of(tmp_path / "made.mp4")
    assert len(found) == 19
    assert min(psnr(x, y) for x, y in zip(found, expected, strict=True)) > 30
    apart = [psnr(found[0], expected[i]) for i in (0, 18)]
    assert apart[0] > apart[1] + 6, "frames differ, so that their order shows"
    (one,) = outcome.films
    assert (one.place, one.frames, one.size, round(one.rate, 3)) == (str(tmp_path / "made.mp4"), 19, size, 25)
    assert one.pixels == ("yuv420p" if even else "yuv444p")
    assert one.copied == ("aac",)


def to_tensor(x: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1))).float() / 127.5 - 1


def test_translate_videos_of_a_folder_into_a_folder(plain: str, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mov", "c.webm", "below/d.avi", "e.mkv", "f.M4V"):
        film(tmp_path / "in" / name, 5, sound="" if name[0] in "be" else None)
    outcome = go(plain, tmp_path / "in", tmp_path / "out")
    assert set(files(tmp_path / "out")) == {"a.mp4", "b.mp4", "c.mp4", "below/d.mp4", "e.mp4", "f.mp4"}
    assert (outcome.written, outcome.bad, outcome.sheet) == (6, (), "")
    assert {one.frames for one in outcome.films} == {5}
    for name in ("a.mp4", "c.webm", "f.M4V"):
        unchanged(tmp_path / "in" / name, tmp_path / "out" / f"{name[0]}.mp4")


def test_translate_video_keeps_uneven_times(plain: str, tmp_path: Path) -> None:
    times = [0, 33, 67, 200, 233, 1000, 1033, 1400, 1433, 2000, 2033, 2500]
    path = film(tmp_path / "c.mkv", times=times, base=Fraction(1, 1000), sound="flac")
    (one,) = go(plain, path, tmp_path / "out.mp4").films
    assert seen(tmp_path / "out.mp4").times == [Fraction(t, 1000) for t in times]
    assert one.variable
    assert "fps on average, at times of their own" in one.line


def test_translate_video_shows_a_phones_upright(plain: str, tmp_path: Path) -> None:
    path = film(tmp_path / "c.mp4", 4, matrix=(0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30))
    assert go(plain, path, tmp_path / "out.mp4").films[0].size == (48, 32)
    made = made_of(plain, path)
    with av.open(str(tmp_path / "out.mp4")) as file:
        found = list(file.decode(video=0))
    assert {frame.rotation for frame in found} == {0}
    for frame, (y,) in zip(found, made, strict=True):
        assert psnr(frame.to_ndarray(format="rgb24"), to_array(y)) > 30
    corner = frames_of(path)[0]
    assert corner[2, -3].min() > 200 > corner[2, 2].min(), "the white corner is now at the right"


def test_translate_video_of_a_grey_network_and_a_target(labelled: str, tmp_path: Path) -> None:
    run = untrained("stargan", labelled, tmp_path / "stargan")
    path = film(tmp_path / "c.mp4", 5, size=(16, 20))
    outcome = go(run, path, tmp_path / "out.mp4", target="bold")
    unchanged(path, tmp_path / "out.mp4")
    (made,) = {y.shape for (y,) in made_of(run, path, target="bold")}
    assert made == (1, 16, 20)
    assert np.ptp(seen(tmp_path / "out.mp4").frames[2], axis=2).max() <= 2, "grey has no colour"
    assert outcome.films[0].frames == 5


def test_translate_video_gives_all_frames_one_code_for_each_sample(tinted: str, tmp_path: Path) -> None:
    path = film(tmp_path / "c.mp4", [picture(0)] * 10)
    outcome = go(tinted, path, tmp_path / "out.mp4", samples=3)
    assert set(files(tmp_path)) >= {"out-0.mp4", "out-1.mp4", "out-2.mp4"}
    assert (outcome.written, outcome.each) == (1, 3)
    made = made_of(tinted, path, samples=3)
    first = [to_array(y) for y in made[0]]
    assert all(np.array_equal(to_array(y), first[k]) for frame in made for k, y in enumerate(frame)), "it flickers"
    assert psnr(first[0], first[1]) < 30 > psnr(first[1], first[2])
    for k in range(3):
        found = seen(tmp_path / f"out-{k}.mp4")
        assert psnr(found.frames[5], first[k]) > 28
        assert [data for _, data in found.sound] == [data for _, data in seen(path).sound]
    model = load(tinted)
    z = model.method.draw_codes(["c"], 1)
    with torch.no_grad():
        expected = model.method.image_from(to_tensor(frames_of(path)[0])[None], keys=["c"], z=z)
    assert np.array_equal(to_array(expected[0]), first[1]), "the clip's name seeds it, not the output's"


def test_translate_video_goes_back_and_like_images(tinted: str, tmp_path: Path) -> None:
    path = film(tmp_path / "c.mp4", 3, sound="")
    save(tmp_path / "like.png", picture(7))
    there = made_of(tinted, path, like=str(tmp_path / "like.png"))
    back = made_of(tinted, path, like=str(tmp_path / "like.png"), back=True)
    go(tinted, path, tmp_path / "out.mp4", like=str(tmp_path / "like.png"), back=True)
    found = seen(tmp_path / "out.mp4").frames
    assert psnr(found[1], to_array(back[1][0])) > 28 > psnr(found[1], to_array(there[1][0]))


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"size": "16"}, (16, 24)),
        ({"size": "30x21"}, (21, 30)),
        ({"longer_side": 24}, (16, 24)),
        ({"scale": 0.5}, (16, 24)),
        ({"ab": True}, (32, 24)),
    ],
)
def test_translate_video_resizes_and_takes_halves(
    options: dict[str, Any], size: tuple[int, int], plain: str, tmp_path: Path
) -> None:
    path = film(tmp_path / "c.mp4", 3, tags={"sample_aspect_ratio": Fraction(4, 3)}, sound="")
    (one,) = go(plain, path, tmp_path / "out.mp4", **options).films
    found = seen(tmp_path / "out.mp4")
    assert one.size == size == found.frames[0].shape[:2]
    assert found.aspect == (None if "x" in str(options.get("size")) else Fraction(4, 3))
    made = made_of(plain, path, **options)
    assert psnr(found.frames[1], to_array(made[1][0])) > 28


def test_translate_video_takes_the_first_frames(plain: str, tmp_path: Path) -> None:
    path = film(tmp_path / "c.mp4", 50)
    assert go(plain, path, tmp_path / "out.mp4", most=9).films[0].frames == 9
    assert seen(tmp_path / "out.mp4").times == seen(path).times[:9]
    assert len(seen(tmp_path / "out.mp4").sound) < 40 < len(seen(path).sound)


def test_translate_video_makes_each_frame_with_the_memory_of_the_one_before(data: str, tmp_path: Path) -> None:
    with registered(Trail):
        run = run_of(data, tmp_path / "run")
        path = film(tmp_path / "c.mp4", 11)
        made = made_of(run, path)
        method = load_trained(run, CPU).method.eval()
        z, before = method.draw_codes(["c"]), torch.zeros(1, 3, 32, 48)
        for x, (y,) in zip(frames_of(path), made, strict=True):
            with torch.no_grad():
                before, _ = method.module()(to_tensor(x)[None], z, before)
            torch.testing.assert_close(y, before[0])
        go(run, path, tmp_path / "out.mp4")
    assert min(psnr(x, to_array(y)) for x, (y,) in zip(frames_of(tmp_path / "out.mp4"), made, strict=True)) > 28


@pytest.mark.parametrize(("kind", "ahead"), [(Plain, GROUP), (Trail, 1)])
def test_translate_video_holds_a_few_frames_at_a_time(
    kind: type[Scenes], ahead: int, data: str, tmp_path: Path
) -> None:
    with registered(kind):
        run = run_of(data, tmp_path / "run")
        trained = load_trained(run, CPU)
        film(tmp_path / "c.mp4", 2)
        job = prepare_job(run, trained, TranslateOptions(input=str(tmp_path / "c.mp4"), out=str(tmp_path / "x")))
        taken = []

        def endless() -> Iterator[Frame]:
            while True:
                taken.append(1)
                yield Frame(picture(len(taken)), len(taken), 1)

        for done, _ in enumerate(ClipJob(job).worker(trained).made("c", endless()), 1):
            assert len(taken) - done < ahead
            if done == 50:
                break


def test_translate_video_shows_progress_in_frames(plain: str, tmp_path: Path, capsys: Captured) -> None:
    film(tmp_path / "in/a.mp4", 9)
    film(tmp_path / "in/b.mkv", 5)
    go(plain, tmp_path / "in", tmp_path / "out")
    bar = capsys.readouterr().err
    assert "14/14" in bar
    assert "frames/s" in bar
    assert "00:00<" in bar, "the time that is left"


# ---------------------------------------------------------------- where from, where to


def test_translate_video_reads_and_writes_any_filesystem(plain: str, tmp_path: Path) -> None:
    fs = fsspec.filesystem("memory")
    path = film(tmp_path / "c.mp4", 9)
    fs.pipe_file("/films/c.mp4", path.read_bytes())
    for place in ("memory://films/c.mp4", "memory://films", "memory://films/*.mp4"):
        (one,) = go(plain, place, "memory://made").films
        assert one.place == "memory://made/c.mp4"
    (tmp_path / "back.mp4").write_bytes(fs.cat_file("/made/c.mp4"))
    go(plain, path, tmp_path / "local.mp4")
    assert (tmp_path / "back.mp4").read_bytes() == (tmp_path / "local.mp4").read_bytes()
    unchanged(path, tmp_path / "back.mp4")
    fs.rm("/films", recursive=True)
    fs.rm("/made", recursive=True)


def test_translate_video_reads_and_writes_s3(plain: str, s3: str, tmp_path: Path) -> None:
    path = film(tmp_path / "c.mp4", 9)
    fs = fsspec.filesystem("s3")
    fs.pipe_file(f"{s3}/films/c.mp4", path.read_bytes())
    (one,) = go(plain, f"{s3}/films/c.mp4", f"{s3}/made/x.mp4").films
    assert (one.place, one.frames, one.copied) == (f"{s3}/made/x.mp4", 9, ("aac",))
    (tmp_path / "back.mp4").write_bytes(fs.cat_file(f"{s3}/made/x.mp4"))
    unchanged(path, tmp_path / "back.mp4")


def test_translate_one_video_into_a_folder_and_a_list_of_videos(plain: str, tmp_path: Path) -> None:
    film(tmp_path / "in/a.mp4", 2)
    film(tmp_path / "in/b.mkv", 2)
    go(plain, tmp_path / "in/a.mp4", tmp_path / "out")
    assert set(files(tmp_path / "out")) == {"a.mp4"}
    (tmp_path / "in/list.txt").write_text("a.mp4\nb.mkv\n")
    go(plain, tmp_path / "in/list.txt", tmp_path / "listed")
    assert set(files(tmp_path / "listed")) == {"a.mp4", "b.mp4"}


def test_translate_of_images_leaves_the_videos_among_them_out_and_says_so(
    plain: str, tmp_path: Path, said: list[str]
) -> None:
    save(tmp_path / "in/p.png", picture(0))
    film(tmp_path / "in/c.mp4", 2)
    for name, place in (("folder", tmp_path / "in"), ("pattern", tmp_path / "in" / "*")):
        outcome = go(plain, place, tmp_path / name)
        assert (outcome.written, outcome.films) == (1, ())
        assert set(files(tmp_path / name)) == {"p.png"}
    line = next(line for line in said if "1 video among the images, the first c.mp4" in line)
    assert "*.mp4" in line
    assert any("left out of what --input matches: 1 video among the images" in line for line in said)
    assert not any("formats that are not read" in line for line in said)
    assert set(files(tmp_path / "films")) == set()
    go(plain, tmp_path / "in" / "*.mp4", tmp_path / "films")
    assert set(files(tmp_path / "films")) == {"c.mp4"}


# ---------------------------------------------------------------- what is refused


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.mp4"):
        film(tmp_path / "in" / name, 2)
    return tmp_path / "in"


@pytest.mark.parametrize(
    ("input", "out", "options", "says"),
    [
        ("a.mp4", "out.avi", {}, "by its name .avi; expected a video in MP4"),
        ("a.mp4", "out.png", {}, "the name of an image; expected a folder"),
        ("", "out.mp4", {}, "the name of one video, for 2; expected a folder"),
        ("a.mp4", "in/a.mp4", {}, "where an output would take the place of the input"),
        ("a.mp4", "in", {}, "where an output would take the place of the input"),
        ("", "in", {}, "which is --input"),
        ("a.mp4", "out.mp4", {"keep_alpha": True}, "--keep-alpha: found videos"),
        ("a.mp4", "out.mp4", {"tile": 16}, "--tile: found videos; expected images in files"),
        ("a.mp4", "out.mp4", {"overwrite": True}, "--overwrite: found videos; expected images in files"),
        ("a.mp4", "out.mp4", {"workers": 2}, "--workers: found 2 for one clip"),
        ("a.mp4", "out.mp4", {"samples": 17}, "--samples: found 17 outputs of each clip; expected at most 16"),
        ("a.mp4", "out.mp4", {"interpolate": 17}, "--interpolate: found 17 outputs of each clip; expected at most 16"),
        ("a.mp4", "out.mp4", {"shards": True}, "images that are no data set"),
        ("a.mp4", "out.mp4", {"count": 3}, "--count: found 3"),
        ("a.mp4", "out.mp4", {"target": "bold"}, "--target"),
        ("a.mp4", "out.mp4", {"like": "truth"}, "truth for images without one"),
        ("a.mp4", "out.mp4", {"like": "in/b.mp4"}, "neither an image nor text"),
        ("mixed.txt", "out", {}, "a list of 1 image and 1 video; expected one kind"),
        ("same", "out", {}, "Both would be written as x.mp4"),
    ],
)
def test_translate_video_refuses_by_name(
    input: str, out: str, options: dict[str, Any], says: str, tinted: str, clips: Path, tmp_path: Path
) -> None:
    (clips / "mixed.txt").write_text("a.mp4\nb.png\n")
    for ending in ("mp4", "mkv"):
        film(tmp_path / "same" / f"x.{ending}", 2)
    place = tmp_path / "same" if input == "same" else clips / input
    options = {k: str(tmp_path / v) if str(v).endswith(".mp4") else v for k, v in options.items()}
    before = files(tmp_path)
    with pytest.raises((ConfigError, DataError)) as refused:
        go(tinted, place, tmp_path / out, **options)
    assert says in str(refused.value)
    assert files(tmp_path) == before


def test_translate_of_images_refuses_the_name_of_a_video(tinted: str, tmp_path: Path) -> None:
    save(tmp_path / "in/p.png", picture(0))
    with pytest.raises(ConfigError, match="the name of a video; expected a folder"):
        go(tinted, tmp_path / "in", tmp_path / "out.mp4")


@pytest.mark.parametrize(
    ("kind", "says"),
    [(Deep, "makes images of 5 channels"), (Deeper, "found 3 channels; expected 5"), (Sketched, "found no data set")],
)
def test_translate_video_refuses_methods_of_other_images(
    kind: type[Scenes], says: str, data: str, clips: Path, tmp_path: Path
) -> None:
    with registered(kind):
        run = run_of(data, tmp_path / "run")
        with pytest.raises((ConfigError, DataError), match=says):
            go(run, clips, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_translate_video_says_what_it_is_about_to_do(plain: str, tmp_path: Path, said: list[str]) -> None:
    path = film(tmp_path / "in/c.mp4", 2)
    go(plain, path, tmp_path / "out.mp4")
    assert any("input: 1 video" in line for line in said)
    assert any("the first at 48x32 pixels (width x height); the run trained at 16x16" in line for line in said)
    assert not any("is there already" in line for line in said)
    go(plain, path, tmp_path / "out.mp4")
    assert any(f"{tmp_path / 'out.mp4'} is there already, and is replaced" in line for line in said)


def test_translate_video_names_the_extra_that_it_takes(
    tinted: str, clips: Path, tmp_path: Path, told: Message, monkeypatch: Patch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    line = told(tinted, "--input", clips / "a.mp4", "--out", tmp_path / "out.mp4")
    assert "a video, which takes a package to read; expected that package, PyAV" in line
    assert "pip install av; it is this project's extra `video`" in line


def test_translate_video_names_clips_that_cannot_be_read_and_goes_on(
    tinted: str, clips: Path, tmp_path: Path, told: Message
) -> None:
    whole = (clips / "a.mp4").read_bytes()
    (clips / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (clips / "page.mp4").write_bytes(b"<html>404</html>")
    line = told(tinted, "--input", clips, "--out", tmp_path / "out", code=1)
    assert "2 videos in" in line
    assert "a.mp4: 2 frames, 25 fps, 48x32, 0.08 s, audio copied (aac)" in line
    assert "left out, 2:" in line
    assert "cut: it is cut off: " in line
    assert "page: cannot identify it as a video; it looks like a web page" in line
    assert set(files(tmp_path / "out")) == {"a.mp4", "b.mp4"}
    told(tinted, "--input", clips, "--out", tmp_path / "out", "--bad", "skip", code=0)
    line = told(tinted, "--input", clips / "page.mp4", "--out", tmp_path / "one.mp4", code=1)
    assert "not one video could be translated (page: cannot identify it" in line
    assert not (tmp_path / "one.mp4").exists()


# ---------------------------------------------------------------- what is left


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_translate_video_that_fails_leaves_what_was_there(
    error: type[BaseException], tinted: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    path = film(tmp_path / "in/c.mp4", 30)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/c.mp4").write_bytes(b"of before")
    add = Writer.add

    def failing(self: Writer, *given: Any) -> None:
        if self.count == 20:
            assert len(list((tmp_path / "out").iterdir())) == 3, "the outputs are written beside their places"
            raise error(28, "No space left on device") if error is OSError else error("the 20th")
        add(self, *given)

    monkeypatch.setattr(Writer, "add", failing)
    with pytest.raises(RunError if error is not KeyboardInterrupt else KeyboardInterrupt, match=r"20th|No space left"):
        go(tinted, path, tmp_path / "out", samples=2)
    assert files(tmp_path / "out") == {"c.mp4": b"of before"}


def test_translate_video_removes_what_a_killed_run_left(tinted: str, tmp_path: Path) -> None:
    from i2i_core.storage.folder import machine

    left = tmp_path / "out" / f"0-0.mp4.{machine()}-999999999.writing"
    left.parent.mkdir()
    left.write_bytes(b"half")
    go(tinted, film(tmp_path / "in/c.mp4", 2), tmp_path / "out")
    assert set(files(tmp_path / "out")) == {"c.mp4"}


def test_translate_video_says_which_encoder_stands_in(
    plain: str, tmp_path: Path, monkeypatch: Patch, said: list[str]
) -> None:
    monkeypatch.setattr(video_writer, "ENCODERS", {"absent": {}, "mpeg4": video_writer.ENCODERS["mpeg4"]})
    monkeypatch.setattr("i2i_core.translation.clips.ENCODERS", video_writer.ENCODERS)
    go(plain, film(tmp_path / "in/c.mp4", 3, size=(33, 47), pixels="yuv444p"), tmp_path / "out")
    assert seen(tmp_path / "out/c.mp4").codec == "mpeg4"
    assert seen(tmp_path / "out/c.mp4").frames[0].shape == (33, 47, 3)
    assert any("this build of FFmpeg writes no H.264 (absent): videos are made by mpeg4" in line for line in said)


@pytest.mark.slow
@pytest.mark.ray
def test_translate_videos_gives_workers_whole_clips(labelled: str, tmp_path: Path, ray_here: None) -> None:
    run = untrained("stargan", labelled, tmp_path / "stargan")
    for i in range(3):
        film(tmp_path / "in" / f"{i}.mp4", 3 + i, size=(16, 20))
    outcomes = [go(run, tmp_path / "in", tmp_path / f"by{n}", target="bold", workers=n, cpu=True) for n in (1, 2)]
    assert files(tmp_path / "by1") == files(tmp_path / "by2")
    assert [[replace(f, place="") for f in o.films] for o in outcomes[:1]] == [
        [replace(f, place="") for f in o.films] for o in outcomes[1:]
    ]


@pytest.mark.parametrize(
    ("out", "folder", "stem"),
    [
        ("/a/x.mp4", "/a", "x"),
        ("/a/x", "/a/x", ""),
        ("/x.mp4", "/.", "x"),
        ("s3://b/x.mp4", "s3://b", "x"),
        ("s3://b.mp4", "s3://b.mp4", ""),
    ],
)
def test_clips_go_to_the_folder_or_the_file_that_is_named(out: str, folder: str, stem: str) -> None:
    assert (folder_of(out), stem_of(out)) == (folder, stem)


def test_clips_open_no_device() -> None:
    with pytest.raises(ValueError, match="which is not opened"):
        Clips(fsspec.filesystem("file"), ["/dev/null"], ["null"]).opened(0)
