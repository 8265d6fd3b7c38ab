"""Videos are read upright, in their colours and at their times, or refused by name; and written so.

pytest tests/unit/test_video.py
"""

from __future__ import annotations

import io
import random
import struct
import sys
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from i2i_core.images import containers, video, video_writer
from i2i_core.images.codec import encode
from i2i_core.images.video import Clip, Frame, Times
from i2i_core.images.video_writer import Writer

from ..support.films import CONTAINERS, LOSSLESS, film, picture, psnr, seen

UPRIGHT = (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


def read(path: Path, **options: Any) -> list[Frame]:
    with closing(Clip(str(path))) as clip:
        return list(clip.frames(**options))


def copy(source: Path, out: Path, size: tuple[int, int] | None = None, most: int = 0) -> Writer:
    """Write a clip's own frames, with its sound."""
    with closing(Clip(str(source))) as clip:
        writer = Writer(str(out), size or clip.size, clip)
        for frame in clip.frames(most, writer.sound):
            writer.add(frame.pixels, frame.pts, frame.duration)
        writer.close()
    return writer


def refusal(path: Path) -> str:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - its words are looked at
        read(path)
    return str(refused.value)


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("ending", CONTAINERS)
def test_clip_gives_all_frames_at_their_times(ending: str, tmp_path: Path) -> None:
    path = film(tmp_path / f"c.{ending}", size=(144, 176))
    found, expected = read(path), seen(path)
    with closing(Clip(str(path))) as clip:
        base = clip.base
    assert len(found) == 12 == len(expected.frames)
    assert [frame.pts * base for frame in found] == expected.times
    for i, frame in enumerate(found):
        assert frame.pixels.shape == (144, 176, 3)
        assert psnr(frame.pixels, picture(i, 144, 176)) > 26


@pytest.mark.parametrize(
    ("turned", "shown"),
    [
        ((1, 0, 0, 1), lambda x: x),
        ((0, 1, -1, 0), lambda x: np.rot90(x, -1)),
        ((-1, 0, 0, -1), lambda x: np.rot90(x, 2)),
        ((0, -1, 1, 0), lambda x: np.rot90(x, 1)),
        ((-1, 0, 0, 1), lambda x: x[:, ::-1]),
        ((1, 0, 0, -1), lambda x: x[::-1]),
        ((0, 1, 1, 0), lambda x: x.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda x: np.rot90(x, 2).transpose(1, 0, 2)),
    ],
)
def test_clip_shows_frames_upright(turned: tuple[int, ...], shown: Any, tmp_path: Path) -> None:
    a, b, c, d = (n << 16 for n in turned)
    matrix = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    still = read(film(tmp_path / "still.mp4", 3, pixels="yuv444p", options=LOSSLESS))
    path = film(tmp_path / "turned.mp4", 3, pixels="yuv444p", options=LOSSLESS, matrix=matrix)
    for before, after in zip(still, read(path), strict=True):
        assert np.array_equal(after.pixels, shown(before.pixels))
    with closing(Clip(str(path))) as clip:
        assert clip.size == shown(still[0].pixels).shape[:2]


@pytest.mark.parametrize("codec", ["libx264", "ffv1"])
@pytest.mark.parametrize("full", [1, 2])
@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_clip_reads_colours_as_it_says(matrix: int, full: int, codec: str, tmp_path: Path) -> None:
    """The colours are converted here by H.273's own numbers, not by FFmpeg."""
    shown = picture(3)
    kr, kb = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}[matrix]
    red, green, blue = np.moveaxis(shown / 255, 2, 0)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = [(blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)]
    scale = (255, 255, 0) if full == 2 else (219, 224, 16)
    planes = [luma * scale[0] + scale[2], *(c * scale[1] + 128 for c in chroma)]
    path = tmp_path / "c.mkv"
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(codec, rate=25, options=LOSSLESS if codec == "libx264" else {})
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, full
        frame = av.VideoFrame.from_ndarray(np.clip(np.rint(planes), 0, 255).astype(np.uint8), format="yuv444p")
        frame.colorspace, frame.color_range = matrix, full
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    (found,) = read(path)
    assert np.abs(found.pixels.astype(int) - shown).max() <= 2


def test_clip_takes_grey_and_deep_videos(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "grey.mkv"), "w") as out:
        stream: Any = out.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "gray"
        out.mux(stream.encode(av.VideoFrame.from_ndarray(picture(0)[..., 0].copy(), format="gray")))
        out.mux(stream.encode(None))
    (grey,) = read(tmp_path / "grey.mkv")
    assert np.array_equal(grey.pixels, np.repeat(picture(0)[..., :1], 3, axis=2))
    path = film(tmp_path / "deep.mkv", 3, codec="ffv1", pixels="yuv420p10le", sound="", options={})
    assert psnr(read(path)[1].pixels, picture(1)) > 30
    with closing(Clip(str(path))) as clip:
        assert list(clip.notes) == ["its values of more than 8 bits become 8"]


def test_clip_counts_times_from_its_beginning(tmp_path: Path) -> None:
    """One that begins after 10 seconds, as a part of a broadcast does."""
    path = film(tmp_path / "late.mkv", times=[10_000 + 40 * i for i in range(12)], base=Fraction(1, 1000), sound="")
    assert [frame.pts for frame in read(path)] == [40 * i for i in range(12)]


def test_clip_takes_the_first_frames_alone(tmp_path: Path) -> None:
    path = film(tmp_path / "c.mp4", 50)
    assert [frame.pts for frame in read(path, most=5)] == [frame.pts for frame in read(path)[:5]]


def test_clip_passes_over_a_picture_that_is_attached(tmp_path: Path) -> None:
    """Music with a cover is no film."""
    path = tmp_path / "c.mp4"
    with av.open(str(path), "w") as out:
        sound, cover = out.add_stream("aac", rate=44_100), out.add_stream("mjpeg", rate=25)
        cover.height, cover.width, cover.pix_fmt = 32, 48, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
        frame.sample_rate = 44_100
        out.mux([*sound.encode(frame), *sound.encode(None)])
        out.mux(cover.encode(av.VideoFrame.from_ndarray(picture(0), format="rgb24")))
        out.mux(cover.encode(None))
    with av.open(str(path)) as file:
        assert len(file.streams.video) == 1
    assert refusal(path) == "a file of sound alone, without a video"


def test_times_are_given_where_they_lack_or_go_back() -> None:
    times = Times(step=10)
    given = [times.next(pts, 0)[0] for pts in (None, 10, 20, None, 25, 60)]
    assert given == [0, 10, 20, 30, 31, 60]
    assert (times.mended, times.count, times.variable) == (3, 6, True)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("kept", [0.3, 0.97])
@pytest.mark.parametrize(
    ("ending", "muxer"),
    [
        ("mp4", {}),
        ("mp4", {"movflags": "faststart"}),
        ("mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("mov", {}),
        ("mkv", {}),
        ("webm", {}),
        ("avi", {}),
    ],
)
def test_clip_that_is_cut_off_is_refused(ending: str, muxer: dict[str, str], kept: float, tmp_path: Path) -> None:
    path = film(tmp_path / f"c.{ending}", 40, muxer=muxer, codec="libx264" if muxer else "")
    assert len(read(path)) == 40
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    assert "it is cut off" in refusal(path)


def test_clip_with_fewer_frames_than_it_lists_is_refused_with_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path / "c.mp4", 40, muxer={"movflags": "faststart"}, sound="")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(0.8 * len(whole))])
    monkeypatch.setattr(video, "check_container", lambda file: None)
    with closing(Clip(str(path))) as clip, pytest.raises(ValueError, match="only ") as refused:
        for _ in clip.frames():
            pass
    assert 0 < clip.times.count < 40
    assert str(refused.value) == f"only {clip.times.count} of its 40 frames could be read"


def spoilt(path: Path, number: int, length: int) -> Path:
    """The same file with bytes of a packet overwritten."""
    with av.open(str(path)) as file:
        packet = bytes([p for p in file.demux(video=0) if p.size][number])
    data = bytearray(path.read_bytes())
    at = data.index(packet[:60])
    data[at : at + length] = b"\xff" * length
    path.write_bytes(data)
    return path


def flaws_of(path: Path, frames: int) -> list[str]:
    with closing(Clip(str(path))) as clip:
        assert len(list(clip.frames())) == frames
        return list(clip.flaws)


def test_clip_that_cannot_be_decoded_is_refused_with_what_was_read(tmp_path: Path) -> None:
    path = film(tmp_path / "c.mkv", codec="ffv1", pixels="yuv444p", sound="", options={})
    assert refusal(spoilt(path, 5, 200)).startswith("it cannot be decoded after 5 frames")


def test_clip_counts_frames_that_the_decoder_gives_nothing_of(tmp_path: Path) -> None:
    path = film(tmp_path / "c.avi", codec="mpeg2video", sound="", options={}, size=(144, 176))
    assert flaws_of(path, 12) == []
    assert flaws_of(spoilt(path, 5, 60), 11) == ["1 frame damaged in the source"]


def test_clip_tells_that_it_ends_before_its_file_says(tmp_path: Path) -> None:
    path = film(tmp_path / "c.webm", 40, codec="libvpx", sound="", options={})
    assert flaws_of(path, 40) == []
    data = path.read_bytes()
    with av.open(str(path)) as file:
        late = bytes([p for p in file.demux(video=0) if p.size][20])
    at = data.index(late)
    path.write_bytes(data[:at] + bytes(len(data) - at))
    (flaw,) = flaws_of(path, 20)
    assert flaw == "it ends at 0.80 s, where its file states 1.60 s"


def test_clip_counts_frames_that_the_decoder_filled_in(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (20, 64, 64, 3), dtype=np.uint8)
    path = film(tmp_path / "c.mp4", list(noise), sound="", muxer={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    rng = random.Random(1)
    for _ in range(30):
        data[rng.randrange(len(data) // 3, len(data) - 500)] ^= 0x55
    path.write_bytes(data)
    with closing(Clip(str(path))) as clip:
        assert len(list(clip.frames())) == 20
        assert 0 < clip.damaged <= 20


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", "cannot identify"),
        (b"ffconcat version 1.0\nfile other.mp4\n", "cannot identify it as a video"),
        (encode(picture(0), "png"), "an image (PNG); videos in MP4"),
        (b"<!doctype html><html>404</html>", "it looks like a web page"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "the list of its frames (moov) is missing"),
        (b"\x1a\x45\xdf\xa3" + b"\0" * 40, "a damaged Matroska"),
        (b"\x1a\x45\xdf\xa3\x80" + b"nothing of a film", "it cannot be opened as a video"),
        (b"RIFF\x10\0\0\0AVI LIST\0\0\0\0", "it is cut off: 20 bytes of the 24"),
    ],
)
def test_file_that_is_no_video_is_refused(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "c.mp4").write_bytes(content)
    assert says in refusal(tmp_path / "c.mp4")


def test_file_of_sound_alone_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "c.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=44_100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
        frame.sample_rate = 44_100
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert refusal(tmp_path / "c.mp4") == "a file of sound alone, without a video"


def test_video_without_frames_is_refused(tmp_path: Path) -> None:
    path = film(tmp_path / "c.mp4", 12, sound="", muxer={"movflags": "frag_keyframe+empty_moov"})
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moof") - 4])
    assert refusal(path) == "a video without frames"


def test_video_in_an_unknown_codec_is_refused(tmp_path: Path) -> None:
    path = film(tmp_path / "c.mp4")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"avc1", b"zzzz"))
    assert "a codec that this build of FFmpeg does not have" in refusal(path)


@pytest.mark.parametrize(("side", "says"), [(16_000, "over the limit of 89478485"), (65_535, "that FFmpeg refuses")])
def test_video_that_is_too_large_is_refused_before_it_is_decoded(side: int, says: str, tmp_path: Path) -> None:
    path = film(tmp_path / "c.avi", 2, codec="rawvideo", pixels="yuv420p", sound="", options={})
    data, sides = path.read_bytes(), struct.pack("<ii", 48, 32)
    assert sides in data
    path.write_bytes(data.replace(sides, struct.pack("<ii", side, side)))
    assert says in refusal(path)


def test_video_that_is_larger_than_its_container_says_is_refused_by_its_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "check_size", lambda *size: None)
    monkeypatch.setattr(video, "MAX_PIXELS", 1000)
    assert refusal(film(tmp_path / "d.mp4", 2)).startswith("it cannot be decoded after 0 frames")


def test_video_of_too_many_frames_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = film(tmp_path / "c.mp4", 12)
    monkeypatch.setattr(video, "MOST_FRAMES", 10)
    assert refusal(path) == "12 frames, over the limit of 10; cut it into several clips first"
    monkeypatch.setattr(video, "MOST_FRAMES", 11)
    with closing(Clip(str(film(tmp_path / "c.mkv", 12)))) as clip, pytest.raises(ValueError, match="more than 11"):
        list(clip.frames())
    assert len(read(path, most=5)) == 5


def test_video_that_states_more_samples_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = film(tmp_path / "c.mp4", muxer={"movflags": "faststart"}, sound="")
    data = bytearray(path.read_bytes())
    at = data.index(b"stsz") + 8
    data[at : at + 8] = struct.pack(">II", 1, 10**9)
    path.write_bytes(data)
    assert "it states 1,000,000,000 samples of 1 bytes in a file of" in refusal(path)


def test_video_names_the_package_that_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = film(tmp_path / "c.mp4", 2)
    monkeypatch.setitem(sys.modules, "av", None)
    assert refusal(path) == "a video, which takes a package to read: pip install av"


def test_video_of_two_sizes_is_refused(tmp_path: Path) -> None:
    """Two films of VP9, whose frames say their own size, one behind the other."""
    path = tmp_path / "two.webm"
    with (
        av.open(str(film(tmp_path / "a.webm", 3))) as first,
        av.open(str(film(tmp_path / "b.webm", 3, size=(48, 32)))) as second,
        av.open(str(path), "w", format="webm") as out,
    ):
        stream = out.add_stream_from_template(first.streams.video[0])
        for late, part in ((0, first), (200, second)):
            for packet in part.demux(video=0):
                if packet.dts is not None:
                    packet.pts, packet.dts, packet.stream = packet.pts + late, packet.dts + late, stream
                    out.mux(packet)
    assert refusal(path).startswith("frame 4 has 32 x 48 pixels (width x height), the first 48 x 32")


# ---------------------------------------------------------------- writing


@pytest.fixture(params=["libx264", "mpeg4"])
def coder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each encoder, as if the build of FFmpeg had none before it."""
    kept = {"absent": {}, request.param: video_writer.ENCODERS[request.param]}
    monkeypatch.setattr(video_writer, "ENCODERS", kept)
    return str(request.param)


def test_writer_keeps_uneven_times_and_durations(coder: str, tmp_path: Path) -> None:
    times, base = [0, 3000, 6000, 12000, 12001, 50000, 90000, 93333], Fraction(1, 90_000)
    path = film(tmp_path / "c.mp4", 8, times=times, base=base, sound="")
    copy(path, tmp_path / "out.mp4")
    made = seen(tmp_path / "out.mp4")
    assert made.times == [t * base for t in times] == seen(path).times
    assert abs(made.seconds - seen(path).seconds) < 0.001


@pytest.mark.parametrize("size", [(32, 48), (33, 48), (32, 47), (33, 47), (1, 3)])
def test_writer_keeps_the_size_odd_ones_too(coder: str, size: tuple[int, int], tmp_path: Path) -> None:
    shown = [np.full((*size, 3), 60 + 20 * i, np.uint8) for i in range(5)]
    path = film(tmp_path / "c.mkv", shown, codec="ffv1", pixels="yuv444p", sound="", options={})
    writer = copy(path, tmp_path / "out.mp4")
    made = seen(tmp_path / "out.mp4")
    odd = bool(size[0] % 2 or size[1] % 2) and coder == "libx264"
    assert (writer.pixels, made.pixels) == ("yuv444p" if odd else "yuv420p",) * 2
    assert {x.shape for x in made.frames} == {(*size, 3)}
    assert made.codec == {"libx264": "h264", "mpeg4": "mpeg4"}[coder]
    for i, x in enumerate(made.frames):
        assert np.abs(x.astype(int) - shown[i]).max() <= 6


def test_writer_loses_little(coder: str, tmp_path: Path) -> None:
    path = film(tmp_path / "c.mkv", 10, codec="ffv1", pixels="yuv444p", sound="", options={})
    copy(path, tmp_path / "out.mp4")
    for before, after in zip(read(path), read(tmp_path / "out.mp4"), strict=True):
        assert psnr(before.pixels, after.pixels) > 32


@pytest.mark.parametrize(("matrix", "primaries", "transfer"), [(1, 1, 1), (6, 6, 6), (9, 9, 14)])
def test_writer_says_the_colours_that_it_writes(matrix: int, primaries: int, transfer: int, tmp_path: Path) -> None:
    tags = {"colorspace": matrix, "color_range": 2, "color_primaries": primaries, "color_trc": transfer}
    path = film(tmp_path / "c.mp4", 4, pixels="yuv444p", options=LOSSLESS, tags=tags, sound="")
    copy(path, tmp_path / "out.mp4")
    assert seen(tmp_path / "out.mp4").tags == (matrix, 1, primaries, transfer)
    for before, after in zip(read(path), read(tmp_path / "out.mp4"), strict=True):
        assert psnr(before.pixels, after.pixels) > 30
        assert np.abs(before.pixels.mean((0, 1)) - after.pixels.mean((0, 1))).max() < 4


@pytest.mark.parametrize(("height", "matrix"), [(32, 6), (720, 1)])
def test_writer_says_of_colours_that_nothing_is_said_of_what_players_take(
    height: int, matrix: int, tmp_path: Path
) -> None:
    copy(film(tmp_path / "c.mp4", 1, size=(height, 48), sound=""), tmp_path / "out.mp4")
    assert seen(tmp_path / "out.mp4").tags == (matrix, 1, matrix, matrix)


def test_writer_keeps_the_proportions_of_pixels_and_turns_them_with_the_frames(tmp_path: Path) -> None:
    matrix = (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    for name, more, aspect in (("a", {}, Fraction(4, 3)), ("b", {"matrix": matrix}, Fraction(3, 4))):
        path = tmp_path / f"{name}.mp4"
        film(path, 2, tags={"sample_aspect_ratio": Fraction(4, 3)}, sound="", **more)  # type: ignore[arg-type]
        copy(path, tmp_path / "out.mp4")
        assert seen(tmp_path / "out.mp4").aspect == aspect
    made = seen(tmp_path / "out.mp4")
    assert made.frames[0].shape == (48, 32, 3)
    assert [data for frame in read(tmp_path / "out.mp4") for data in frame.pixels.shape[:2]] == [48, 32] * 2


@pytest.mark.parametrize(
    ("ending", "codec"), [("mp4", "aac"), ("mov", "pcm_s16le"), ("mkv", "flac"), ("avi", "libmp3lame")]
)
def test_writer_copies_sound_packet_by_packet(ending: str, codec: str, tmp_path: Path) -> None:
    path = film(tmp_path / f"c.{ending}", 25, sound=codec)
    writer = copy(path, tmp_path / "out.mp4")
    before, after = seen(path), seen(tmp_path / "out.mp4")
    assert len(before.sound) >= 25 if codec != "flac" else len(before.sound) >= 10
    assert b"".join(data for _, data in after.sound) == b"".join(data for _, data in before.sound)
    assert len(writer.copied) == 1
    assert writer.dropped == []
    if ending != "mov":
        assert len(after.sound) == len(before.sound)
        for (t, _), (u, _) in zip(before.sound, after.sound, strict=True):
            assert abs(t - u) < Fraction(1, 900)


def test_writer_copies_every_stream_of_sound_or_says_which_it_cannot(tmp_path: Path) -> None:
    writer = copy(film(tmp_path / "c.avi", 12, sound="adpcm_ms"), tmp_path / "out.mp4")
    assert (writer.copied, writer.dropped) == ([], ["adpcm_ms"])
    assert seen(tmp_path / "out.mp4").sound == []
    assert len(seen(tmp_path / "out.mp4").frames) == 12


@pytest.mark.parametrize("late", [False, True])
def test_writer_ends_the_sound_with_the_frames(late: bool, tmp_path: Path) -> None:
    path = film(tmp_path / "c.mp4", 100, late=late)
    copy(path, tmp_path / "out.mp4", most=25)
    made = seen(tmp_path / "out.mp4")
    assert len(made.frames) == 25
    assert 0.95 < made.sound[-1][0] < 1.5
    assert [data for _, data in made.sound] == [data for _, data in seen(path).sound[: len(made.sound)]]


def test_writer_writes_the_same_bytes_again_and_on_any_machine(tmp_path: Path) -> None:
    path = film(tmp_path / "c.mp4", 3, size=(512, 512), sound="")
    for name in "ab":
        copy(path, tmp_path / f"{name}.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert b"threads=4 " in (tmp_path / "a.mp4").read_bytes(), "x264's own note: otherwise as many as there are CPUs"


def test_writer_refuses_what_its_encoder_does_not_take(tmp_path: Path) -> None:
    path = film(tmp_path / "c.mp4", 2)
    with pytest.raises(ValueError, match=r"no libx264 of 40000 x 40000 pixels .* can be written"):
        copy(path, tmp_path / "out.mp4", size=(40_000, 40_000))


def test_containers_go_by_the_end_of_the_name() -> None:
    assert [containers.is_video(name) for name in ("a.mp4", "a/B.MOV", "mp4", "a.mp4/b", "a.png", "a.mp4.txt")] == [
        *(True, True, False, False, False, False)
    ]


def test_container_of_boxes_in_one_another_is_no_deeper_than_a_film_is() -> None:
    """Each box holds the next one: 100,000 of them."""
    depth = 100_000
    boxes = b"".join(struct.pack(">I4s", 8 * (depth - i), b"moov") for i in range(depth))
    containers.check_container(io.BytesIO(b"\0\0\0\x08ftyp" + boxes))
