"""Small videos, made by PyAV itself, and small methods of one layer to translate them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
import torch
from torch import Tensor, nn

from i2i_core.checkpoints import checkpoint
from i2i_core.checkpoints.checkpoint import Snapshot, named_tensors
from i2i_core.config.run import TrainConfig
from i2i_core.methods import build_from
from i2i_core.methods.base import Direction, Needs, Values
from i2i_core.runs.folder import RunFolder
from i2i_core.training.preparing import prepare

from . import data
from .scenes import Function, Tinted

SOUND = 44_100
CONTAINERS = {
    "mp4": ("mp4", "libx264", "aac"),
    "m4v": ("mp4", "mpeg4", "aac"),
    "mov": ("mov", "libx264", "pcm_s16le"),
    "3gp": ("3gp", "mpeg4", "aac"),
    "mkv": ("matroska", "libx264", "flac"),
    "webm": ("webm", "libvpx-vp9", ""),
    "avi": ("avi", "mpeg4", "libmp3lame"),
}
"""By the end of a name: FFmpeg's container, and codecs that it often holds."""
LOSSLESS = {"qp": "0", "preset": "ultrafast"}


def picture(i: int, height: int = 32, width: int = 48) -> np.ndarray:
    """A smooth frame: red grows to the right, green downwards, blue with the number; its top left corner is white."""
    y, x = np.mgrid[0:height, 0:width]
    shown = np.stack([x * 200 // width, y * 200 // height, np.full_like(x, (20 + 9 * i) % 200)], axis=2)
    shown[: height // 4, : width // 4] = 235
    return shown.astype(np.uint8)


def film(path: Path | str, frames: int | Sequence[np.ndarray] = 12, *, rate: int = 25, sound: str | None = None,
         codec: str = "", pixels: str = "yuv420p", times: Sequence[int] = (), base: Fraction | None = None,
         matrix: Sequence[int] = (), options: dict[str, str] | None = None, muxer: dict[str, str] | None = None,
         tags: dict[str, int] | None = None, size: tuple[int, int] = (32, 48)) -> Path:  # fmt: skip
    """Write a video with the container and codecs that its name's ending has in `CONTAINERS`.

    Args:
        frames: (H, W, 3) each, or how many of `picture`, of `size`.
        sound: codec of a sine; "": none; None: the container's own.
        times, base: time stamps, in units of the base.
        matrix: of how it is to be shown.
        tags: of colours, by the names of the encoder's attributes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    container, usual, audio = CONTAINERS[path.suffix[1:].lower()]
    shown = [picture(i, *size) for i in range(frames)] if isinstance(frames, int) else list(frames)
    base = base or Fraction(1, rate)
    with av.open(str(path), "w", format=container, options=muxer or {}) as out:
        given = options if options is not None else {"bf": "0"} if (codec or usual) == "libx264" else {}
        stream: Any = out.add_stream(codec or usual, rate=rate, options=given)
        stream.height, stream.width = shown[0].shape[:2]
        stream.pix_fmt, stream.codec_context.time_base, stream.time_base = pixels, base, base
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        if matrix:
            stream.set_display_matrix(matrix)
        sine = _sine(out, audio if sound is None else sound, len(shown) / rate) if (sound or sound is None) else []
        for i, x in enumerate(shown):
            out.mux(stream.encode(_frame(x, pixels, times[i] if times else i, base, tags or {})))
            while sine and sine[0][0] <= (i + 1) / rate:
                out.mux(sine.pop(0)[1])
        out.mux(stream.encode(None))
        for _, packet in sine:
            out.mux(packet)
    return path


def _frame(x: np.ndarray, pixels: str, pts: int, base: Fraction, tags: dict[str, int]) -> Any:
    full = 2 if tags.get("color_range") == 2 else 1
    frame = av.VideoFrame.from_ndarray(x, format="rgb24").reformat(
        format=pixels, dst_colorspace=tags.get("colorspace", 6), src_color_range=2, dst_color_range=full
    )
    for name, value in tags.items():
        if hasattr(frame, name):
            setattr(frame, name, value)
    frame.pts, frame.time_base = pts, base
    return frame


def _sine(out: Any, codec: str, seconds: float) -> list[tuple[float, Any]]:
    """Packets of a tone, with their times."""
    if not codec:
        return []
    stream = out.add_stream(codec, rate=SOUND, layout="mono")
    values = (np.sin(np.arange(int(SOUND * seconds)) * 440 * 2 * np.pi / SOUND) * 9000).astype(np.int16)
    packets = []
    for at in range(0, len(values), 1024):
        frame = av.AudioFrame.from_ndarray(values[None, at : at + 1024], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SOUND, at, Fraction(1, SOUND)
        packets += stream.encode(frame)
    packets += stream.encode(None)
    return [(float((p.pts or 0) * p.time_base), p) for p in packets]


@dataclass
class Seen:
    """What FFmpeg itself finds in a video."""

    frames: list[np.ndarray] = field(default_factory=list)
    times: list[Fraction] = field(default_factory=list)
    """Seconds."""
    sound: list[tuple[Fraction, bytes]] = field(default_factory=list)
    pixels: str = ""
    codec: str = ""
    sound_codecs: tuple[str, ...] = ()
    rate: Fraction = Fraction(0)
    seconds: float = 0
    tags: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Matrix, range, primaries, transfer."""
    aspect: Fraction | None = None


def seen(path: Path | str) -> Seen:
    """Read a video with PyAV alone."""
    found = Seen()
    with av.open(str(path)) as file:
        video: Any = file.streams.video[0]
        found.pixels, found.codec = video.codec_context.pix_fmt, video.codec_context.name
        found.rate, found.seconds = video.average_rate, float(file.duration or 0) / 1e6
        context = video.codec_context
        found.tags = (context.colorspace, context.color_range, context.color_primaries, context.color_trc)
        found.aspect = video.sample_aspect_ratio
        found.sound_codecs = tuple(s.codec_context.name for s in file.streams.audio)
        for packet in file.demux():
            if packet.stream is video:
                for frame in packet.decode():
                    found.frames.append(frame.to_ndarray(format="rgb24"))
                    found.times.append(frame.pts * frame.time_base)
            elif packet.dts is not None:
                found.sound.append((packet.pts * packet.time_base, bytes(packet)))
    return found


def psnr(x: np.ndarray, y: np.ndarray) -> float:
    """Decibels, of 8-bit values."""
    error = float(((x.astype(float) - y) ** 2).mean())
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


class Trail(Tinted):
    """Tints frames, and mixes each with the one before."""

    memory = ("before",)

    def first_memory(self, inputs: Values) -> Values:
        return {"before": torch.zeros_like(inputs["a"])}

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        def make(x: Tensor, z: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
            made = (self.tinted("G", x, z) + before) / 2
            return made, made

        return Function(make)  # type: ignore[arg-type]


class Deep(Tinted):
    """Makes images of five channels."""

    def channels(self) -> dict[str, int]:
        return {"a": self.config.channels, "b": 5}


class Deeper(Tinted):
    """Takes images of five channels."""

    def channels(self) -> dict[str, int]:
        return {"a": 5, "b": self.config.channels}


class Sketched(Tinted):
    """Takes a label map."""

    inputs: ClassVar = {"a": "classes"}


class Plain(Tinted):
    """Tints without a code."""

    needs = Needs({"image": "image"}, domains=2)
    controls: ClassVar = {}

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        network = self.networks["G" if direction == "AtoB" else "F"]
        return Function(lambda x: torch.tanh(network(torch.cat([x, x.flip(1)], dim=1))))


def domains(folder: Path) -> str:
    """A data set of two domains in colour, for `Tinted` and its kind."""
    rng = np.random.default_rng(0)
    for i in range(16):
        data.put(folder / f"train{'AB'[i % 2]}/{i}.png", rng.integers(0, 255, (16, 16, 3), dtype=np.uint8))
    data.shard("unpaired", folder, folder / "out", goal={"shard_samples": 16})
    return str(folder / "out")


def run_of(uri: str, folder: Path) -> str:
    """A checkpoint of the method that is registered, whose weights are large enough to be seen."""
    values = {"data.uri": uri, "data.load_size": 16, "launch.storage": str(folder), "launch.name": "run"}
    config = prepare(TrainConfig.of("scenes", "demo", values))
    networks = build_from("scenes", config.hyper, seed=3).networks
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter.mul_(25)
    tensors, aliases = named_tensors(networks, None)
    checkpoint.write(RunFolder(f"{folder}/run"), Snapshot(16, config, tensors, aliases, {}, {}))
    return f"{folder}/run"
