"""Write frames as a video with the times, colours and sound of another, by FFmpeg in the package PyAV.

Frames are x_HWC, (height, width, 3) or (height, width, 1), uint8, upright.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from i2i_core.images.ffmpeg import CUBIC, FULL, LIMITED, converter, package, worded
from i2i_core.images.video import Clip

ENCODERS: dict[str, dict[str, str]] = {
    "libx264": {"crf": "18", "preset": "medium", "bf": "0"},
    "mpeg4": {"flags": "+qscale", "global_quality": "236"},
}
"""Encoders by preference, and how each is set: to a quality at which the loss is hard to see, without B frames, so that
packets come out in the order of the frames. FFmpeg always has mpeg4, where its build has no libx264."""
THREADS = 4
"""Threads of an encoder: with another number it writes other bytes."""


def encoder() -> str:
    """Choose the first encoder of `ENCODERS` that this build of FFmpeg has."""
    av = package()
    for name in ENCODERS:
        with suppress(ValueError):
            return str(av.Codec(name, "w").name)
    raise ValueError(f"this build of FFmpeg has none of the encoders {', '.join(ENCODERS)}")


class Writer:
    """Write frames as an MP4, with their times, and sound without recoding it.

    Attributes:
        pixels: how the encoder stores a frame: yuv420p, which all players know; yuv444p for a size that is odd, which
            H.264 cannot halve.
        copied: names of the codecs of the sound that is copied. `dropped`: of sound that MP4 cannot hold.
    """

    def __init__(self, path: str, size: tuple[int, int], clip: Clip, square: bool = False) -> None:
        """Begin a file.

        Args:
            path: a local file, which is written anew.
            size: (height, width) of the frames.
            clip: gives the time base, the rate, the colours and the sound.
            square: pixels become square: the frames were stretched.

        Raises:
            ValueError: the encoder does not take frames of that size.
        """
        av = package()
        (height, width), name = size, encoder()
        odd = height % 2 or width % 2
        self.pixels = "yuv444p" if odd and name == "libx264" else "yuv420p"
        self.look = replace(clip.look, aspect=Fraction(0)) if square else clip.look
        self.base, self.count, self._converter = clip.base, 0, converter()
        self.stamps: deque[tuple[int, int]] = deque()
        self.container = av.open(path, "w", format="mp4", options={"movflags": "+faststart"})
        self.copied, self.dropped = list[str](), list[str]()
        try:
            self.video = self.container.add_stream(name, rate=_short(clip.rate), options=dict(ENCODERS[name]))
            self.video.time_base = self.base
            context = self.video.codec_context
            context.width, context.height, context.pix_fmt = width, height, self.pixels
            context.time_base, context.thread_count = Fraction(1, 25), THREADS
            context.colorspace, context.color_range = self.look.matrix, LIMITED
            context.color_primaries, context.color_trc = self.look.primaries, self.look.transfer
            if self.look.aspect:
                context.sample_aspect_ratio = self.look.aspect
            with worded(f"no {name} of {width} x {height} pixels (width x height) can be written"):
                context.open()
            self.sounds = {sound.index: made for sound in clip.sounds if (made := self._like(sound)) is not None}
        except BaseException:
            self.container.close()
            raise

    def _like(self, sound: Any) -> Any:
        """Add a stream of sound like another one; None where MP4 cannot hold it."""
        named = sound.codec_context.codec.canonical_name if sound.codec_context is not None else "an unknown codec"
        try:
            made = self.container.add_stream_from_template(sound)
        except ValueError:
            self.dropped.append(named)
            return None
        self.copied.append(named)
        return made

    def add(self, pixels: np.ndarray, pts: int, duration: int) -> None:
        """Write the next frame, (H, W, 3) or (H, W, 1) of uint8.

        Raises:
            ValueError: the encoder fails.
            OSError: the disk does.
        """
        av = package()
        grey = pixels.shape[2] == 1
        x = np.ascontiguousarray(pixels[..., 0] if grey else pixels)
        rgb = av.VideoFrame.from_ndarray(np.repeat(x[..., None], 3, 2) if grey else x, format="rgb24")
        with worded(lambda: f"frame {self.count + 1} cannot be converted to {self.pixels}"):
            frame = self._converter.reformat(
                rgb,
                format=self.pixels,
                dst_colorspace=self.look.matrix,
                src_color_range=FULL,
                dst_color_range=LIMITED,
                interpolation=CUBIC,
                threads=1,
            )
        frame.colorspace, frame.color_range = self.look.matrix, LIMITED
        frame.color_primaries, frame.color_trc = self.look.primaries, self.look.transfer
        frame.pts, frame.time_base = self.count, Fraction(1, 25)  # numbered; the packets get the times
        self.count += 1
        self.stamps.append((pts, duration))
        with worded(lambda: f"frame {self.count} cannot be written", writes=True):
            self._mux(self.video.encode(frame))

    def _mux(self, packets: Sequence[Any]) -> None:
        for packet in packets:
            pts, packet.duration = self.stamps.popleft()
            packet.pts = packet.dts = pts
            packet.time_base = self.base
            self.container.mux_one(packet)

    def sound(self, stream: int, packet: Any) -> None:
        """Copy a packet of one of the clip's streams; sound that MP4 cannot hold is dropped. Raises as `add`."""
        if (made := self.sounds.get(stream)) is None:
            return
        with worded("its sound cannot be copied", writes=True):
            packet.stream = made
            self.container.mux_one(packet)

    def close(self) -> None:
        """Write what the encoder still holds, and the end of the file. Raises as `add`."""
        with closing(self.container), worded("the end of the file cannot be written", writes=True):
            self._mux(self.video.encode(None))

    def discard(self) -> None:
        """Close the file, which is then no whole one."""
        with suppress(OSError, ValueError, package().FFmpegError):  # it is removed
            self.container.close()


def _short(rate: Fraction) -> Fraction:
    """Round a rate to what encoders take."""
    return min(max(rate, Fraction(1, 1000)), Fraction(1000)).limit_denominator(65_535)
