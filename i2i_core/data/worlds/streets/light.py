"""Light a painted frame as it looks by day, at dusk, at night, and in rain: the same street, to the pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np

from i2i_core.data.worlds.streets.camera import View
from i2i_core.data.worlds.streets.exactly import chance, cosine, noise, one_chance, scrambled, sine
from i2i_core.data.worlds.streets.kinds import Kind
from i2i_core.data.worlds.streets.paint import Paint, Samples
from i2i_core.data.worlds.streets.plan import AHEAD, BLOCK, Street

F = np.float32
Condition = Literal["day", "dusk", "night", "rain"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)
Colour = tuple[float, float, float]
SHADED = 50.0
"""Metres up to which things darken the ground below them."""


@dataclass(frozen=True)
class Light:
    """Describe the light of a condition, all colours linear."""

    high: Colour
    """Sky overhead."""
    low: Colour
    """Sky at the horizon."""
    ambient: Colour
    sun: Colour
    bright: Colour
    """What shines round the sun or the moon in the sky."""
    clouds: float
    haze: float
    """Metres after which half of what is seen is haze."""
    fog: Colour
    indoors: float
    """How strongly windows and lamps shine."""
    lamps: float
    grain: float
    exposure: float
    wet: float = 0.0


LIGHTS: dict[Condition, Light] = {
    "day": Light(
        (0.10, 0.27, 0.66), (0.52, 0.70, 0.90), (0.36, 0.43, 0.54), (1.55, 1.38, 1.10), (1.0, 0.95, 0.8), 0.75, 420.0,
        (0.58, 0.68, 0.80), 0.06, 0.0, 0.007, 1.25,
    ),
    "dusk": Light(
        (0.10, 0.10, 0.28), (1.05, 0.46, 0.20), (0.21, 0.18, 0.25), (0.85, 0.40, 0.16), (1.8, 0.8, 0.25), 0.65, 190.0,
        (0.52, 0.29, 0.22), 0.9, 0.25, 0.009, 1.3,
    ),
    "night": Light(
        (0.006, 0.010, 0.028), (0.035, 0.035, 0.055), (0.022, 0.027, 0.048), (0.012, 0.014, 0.022),
        (0.9, 0.9, 0.82), 0.18, 300.0, (0.022, 0.024, 0.036), 1.0, 1.0, 0.015, 1.7,
    ),
    "rain": Light(
        (0.22, 0.25, 0.29), (0.42, 0.45, 0.48), (0.26, 0.28, 0.31), (0.02, 0.02, 0.02), (0.0, 0.0, 0.0), 0.32, 85.0,
        (0.36, 0.39, 0.42), 0.5, 0.12, 0.008, 1.35, wet=1.0,
    ),
}  # fmt: skip


def sun_of(street: Street, condition: Condition) -> Colour:
    """Give the direction to the sun, or to the moon."""
    turn, high = {
        "day": (street.sun, 0.115),
        "dusk": (street.sun * 0.08, 0.010),
        "night": (0.045 - street.sun * 0.12, 0.036),
        "rain": (street.sun, 0.2),
    }[condition]
    flat = cosine(high)
    return sine(turn) * flat, sine(high), cosine(turn) * flat


class Lit:
    """Prepare what the conditions of a frame share, and light the frame in each.

    Args:
        view: the samples.
        street: of the clip.
        frame: number of the frame, for what changes from frame to frame (grain, rain).
        paint: of the samples.
        samples: where they are.
    """

    def __init__(self, view: View, street: Street, frame: int, paint: Paint, samples: Samples) -> None:
        self.view, self.street, self.frame, self.paint, self.of = view, street, frame, paint, samples
        self.sky = np.flatnonzero(samples.kind == Kind.SKY)
        self.ground = np.flatnonzero((samples.kind >= Kind.ROAD) & (samples.kind <= Kind.GRASS))
        self.shade = paint.shade.copy()
        self._contacts()

    def image(self, condition: Condition) -> np.ndarray:
        """Light the frame: (height, width, 3) uint8."""
        k = LIGHTS[condition]
        sun = sun_of(self.street, condition)
        colour = self._lighted(k, sun, condition)
        sky = self._sky(k, sun, condition)
        self._mirrors(colour, k)
        self._haze(colour, k)
        colour[:, self.sky] = sky
        shines = self._shining(colour, k)
        if k.wet:
            self._wet(colour, k)
        plane = colour.reshape(3, *self.view.shape)
        if condition != "day":
            self._bloom(plane, shines)
        if k.wet:
            self._rain(plane)
        return self._developed(plane, k, condition)

    # ---- light ----

    def _lighted(self, k: Light, sun: Colour, condition: Condition) -> np.ndarray:
        of, normals = self.of, self.of.normals
        facing = normals[:, 0] * F(sun[0]) + normals[:, 1] * F(sun[1]) + normals[:, 2] * F(sun[2])
        open_ = (F(0.62) + F(0.38) * normals[:, 1])[of.part] * self.shade
        direct: np.ndarray | None = None
        if condition in ("day", "dusk"):
            direct = np.maximum(facing, 0)[of.part] * self._sunlit(sun) * np.sqrt(self.shade)
        lamps = self._lamps(k) if k.lamps else None
        out = np.empty_like(self.paint.colour)
        for i in range(3):
            light = open_ * F(k.ambient[i])
            if direct is not None:
                light += direct * F(k.sun[i])
            if lamps is not None:
                light += lamps[0] * F((1.0, 0.72, 0.40)[i])
                light += lamps[1] * F((0.92, 0.96, 1.0)[i])
            np.multiply(self.paint.colour[i], light, out=out[i])
        return out

    def _sunlit(self, sun: Colour) -> np.ndarray:
        """Tell how much of the sun each sample sees past the houses of the side where it stands, with soft edges."""
        of, street = self.of, self.street
        side = 1 if sun[0] > 0 else -1
        front = side * (street.half + street.pavement + street.back[side > 0])
        slant = side * max(abs(sun[0]), 0.02)
        far = np.maximum((F(front) - of.x) * F(1 / slant), 0)
        y, z = of.y + far * F(sun[1]), of.z + far * F(sun[2])
        first, line = self._skyline(side)
        at = np.clip(((z - F(first)) * F(2)).astype(np.int32), 0, len(line) - 1)
        soft = F(0.25) + far * F(0.05)
        out: np.ndarray = np.clip((y - line[at]) / soft + F(0.5), 0, 1)
        return out

    def _skyline(self, side: int) -> tuple[float, np.ndarray]:
        blocks = self.street.blocks(self.view.pose.z)
        first = blocks[0].start
        line = np.zeros(int(AHEAD * BLOCK) * 2, np.float32)
        for block in blocks:
            for house in block.houses:
                if house.side == side:
                    a, b = int((house.start - first) * 2), int((house.end - first) * 2)
                    line[a:b] = house.height + (1.8 if house.roof else 0.1)
        return first, line

    def _lamps(self, k: Light) -> tuple[np.ndarray, np.ndarray]:
        """Give the light of the street's lamps, and that of one's own headlights."""
        of, edge = self.of, self.street.half - 0.7
        total = np.zeros(len(of.part), np.float32)
        high = F(5.4) - of.y
        high = high * high
        for x, z in ((edge, 10.0), (-edge, 30.0)):
            along = (of.z - F(z)) * F(1 / BLOCK)
            along = (along - np.rint(along)) * F(BLOCK)
            aside = of.x - F(x)
            distance = aside * aside + along * along + high
            total += F(26.0) / (distance + F(6.0)) * (F(1) - np.minimum(distance * F(1 / 900), F(1)))
        total *= F(k.lamps * 0.42)
        total *= np.clip(F(2.9) - of.y * F(0.4), F(0.06), F(1))
        t = of.depth
        aside = np.abs(of.x - F(self.view.pose.x))
        own = np.clip(F(1.25) - aside / (F(1.4) + F(0.26) * t), 0, 1) * np.clip(F(1.9) - of.y, 0, 1)
        own = own * (F(9.0) / (F(14.0) + t * t * F(0.11))) * F(k.lamps)
        return total * (F(0.4) + F(0.6) * self.shade), own

    def _mirrors(self, colour: np.ndarray, k: Light) -> None:
        at = np.flatnonzero(self.paint.mirror)
        share = self.paint.mirror[at]
        up = np.clip(self.of.y[at] * F(0.10), 0, 1)
        wave = noise(self.of.x[at] * F(3) + self.of.z[at] * F(5), self.of.y[at] * F(6), self.of.size[at] * F(6))
        share = share * (F(1) + F(0.5) * wave)
        for i in range(3):
            sky = F(k.low[i]) + up * F(k.high[i] - k.low[i])
            colour[i, at] += share * (sky - colour[i, at])

    def _haze(self, colour: np.ndarray, k: Light) -> None:
        clear = F(k.haze) / (F(k.haze) + np.minimum(self.of.depth, F(260)))
        for i in range(3):
            colour[i] = F(k.fog[i]) + (colour[i] - F(k.fog[i])) * clear

    def _shining(self, colour: np.ndarray, k: Light) -> np.ndarray:
        shines = np.zeros_like(colour)
        for shine in self.paint.shines:
            strength = shine.strength * (F(1.0) if shine.always else F(k.indoors))
            for i in range(3):
                own = F(0.35) + F(1.6) * self.paint.colour[i, shine.at]
                shines[i, shine.at] = strength * F(shine.colour[i]) * (own if shine.tinted else F(1))
        colour += shines
        return shines

    # ---- sky ----

    def _sky(self, k: Light, sun: Colour, condition: Condition) -> np.ndarray:
        view, columns = self.view, self.view.shape[1]
        row, column = self.sky // columns, self.sky % columns
        across, along, up = view.across[column], view.along[column], view.up[row]
        flat = F(1) / (np.maximum(up, 0) + F(0.14))
        size = flat * F(9 / view.focal)
        drift = F(self.frame * 0.02)
        u, v = across * flat * F(9) + F(512) + drift, along * flat * F(9) + F(512 + self.street.clip % 97)
        puffs = noise(u * F(1.3), v * F(1.3), size) + F(0.6) * noise(u * F(5), v * F(5), size * F(4))
        cloud = np.clip(puffs * F(1.5) + F(0.15 if condition != "rain" else 0.5), 0, 1) * F(k.clouds)
        share = np.clip(up * F(2.6), 0, 1)
        length = np.sqrt(across * across + along * along + up * up)
        near = np.maximum((across * F(sun[0]) + up * F(sun[1]) + along * F(sun[2])) / length, 0)
        glow = near * near
        for _ in range(4):
            glow = glow * glow
        white = {"day": (0.92, 0.94, 0.97), "dusk": (0.62, 0.28, 0.20), "night": (0.03, 0.03, 0.04)}
        over = white.get(condition, (0.55, 0.57, 0.60))
        out = np.empty((3, len(self.sky)), np.float32)
        for i in range(3):
            out[i] = F(k.low[i]) + share * F(k.high[i] - k.low[i])
            out[i] += cloud * (F(over[i]) * (F(0.72) + F(0.28) * puffs) - out[i])
            out[i] += glow * F(k.bright[i] * (0.5 if condition != "night" else 0.12))
        if condition in ("day", "dusk", "night"):
            self._disc(out, near, k, condition, u, v)
        return out

    def _disc(
        self, out: np.ndarray, near: np.ndarray, k: Light, condition: Condition, u: np.ndarray, v: np.ndarray
    ) -> None:
        """Draw the sun or the moon, and by night the stars."""
        radius = {"day": 0.00045, "dusk": 0.0011, "night": 0.0007}[condition]
        disc = np.clip((near - F(1 - radius)) * F(8 / radius), 0, 1)
        spots = F(1) + F(0.35) * noise(u * F(90), v * F(90), np.ones(len(u), np.float32)) * F(condition == "night")
        for i in range(3):
            out[i] += disc * (F(k.bright[i] * (3.0 if condition != "night" else 1.0)) * spots - out[i])
        if condition == "night":
            stars = chance(np.floor(u * F(12)), np.floor(v * F(12)), 3)
            out += np.where(stars > F(0.9955), (stars - F(0.995)) * F(60), F(0))

    # ---- shadows on the ground ----

    def _contacts(self) -> None:
        """Darken the ground below cars, trees and people."""
        shade = self.shade.reshape(self.view.shape)
        ground = (self.of.kind.reshape(self.view.shape) >= Kind.ROAD) & (
            self.of.kind.reshape(self.view.shape) <= Kind.GRASS
        )
        x, z = self.of.x.reshape(self.view.shape), self.of.z.reshape(self.view.shape)
        for cx, cz, wide, long, soft, dark in self._standing():
            if self.view.depth_of(cx, cz + long) < 1.0 or self.view.depth_of(cx, cz) > SHADED:
                continue
            near = max(self.view.pose.z + 1.5, cz - long - soft)
            corners = [
                self.view.pixel_of(cx + i * (wide + soft), 0.0, at) for i in (-1, 1) for at in (near, cz + long + soft)
            ]
            r0, r1, c0, c1 = self.view.window(corners)
            if r0 >= r1 or c0 >= c1:
                continue
            dx = np.maximum(np.abs(x[r0:r1, c0:c1] - F(cx)) - F(wide), 0)
            dz = np.maximum(np.abs(z[r0:r1, c0:c1] - F(cz)) - F(long), 0)
            fall = np.minimum((dx * dx + dz * dz) * F(1 / (soft * soft)), F(1))
            keep = F(1 - dark) + F(dark) * fall
            shade[r0:r1, c0:c1] *= np.where(ground[r0:r1, c0:c1], keep, F(1))

    def _standing(self) -> Iterator[tuple[float, float, float, float, float, float]]:
        """Give (x, z, half the width, half the length, softness, darkness) of what throws shade on the ground."""
        street, sun = self.street, sun_of(self.street, "day")
        lean, push = -sun[0] / sun[1], -sun[2] / sun[1]
        for block in street.blocks(self.view.pose.z):
            for car in block.cars:
                yield car.x, car.z, 0.72, car.length / 2 - 0.15, 0.55, 0.86
            for tree in block.trees:
                yield tree.x + lean * tree.radius, tree.z + push * tree.radius, 0.2, 0.2, tree.radius * 1.25, 0.62
        for car in street.cars:
            yield car.x, street.place(car, self.frame), 0.72, car.length / 2 - 0.15, 0.55, 0.86
        for person in street.people:
            z = street.stand(person, self.frame)
            yield person.x + lean * 0.25, z + push * 0.25, 0.08, 0.08, 0.5, 0.6

    # ---- weather, lens, film ----

    def _wet(self, colour: np.ndarray, k: Light) -> None:
        """Mirror what stands above the horizon in the wet ground below it."""
        columns, at = self.view.shape[1], self.ground
        row, column = at // columns, at % columns
        x, z, size = self.of.x[at], self.of.z[at], self.of.size[at]
        puddles = np.clip(noise(x * F(1.6), z * F(1.6), size * F(1.6)) * F(2.2) + F(0.45), 0, 1)
        wave = noise(x * F(18), z * F(18), size * F(18))
        horizon = self.view.horizon - 0.5
        stretch = F(0.35 * self.view.shape[0] / 16)
        other = F(2 * horizon) - row + wave * stretch
        there: np.ndarray = np.clip(other.astype(np.int32), 0, self.view.shape[0] - 1)
        share = (F(0.20) + F(0.46) * puddles) * np.clip(self.of.depth[at] * F(0.09), F(0.25), F(1))
        mirrored = np.take(colour, there * columns + column, axis=1)
        colour[:, at] = colour[:, at] * F(0.66) * (F(1) - share) + mirrored * share

    def _rain(self, plane: np.ndarray) -> None:
        drops = _streaks()
        h, w = self.view.shape
        i = int(one_chance(self.frame, 17, self.street.clip) * 256), int(one_chance(self.frame, 23) * 256)
        rows, columns = (np.arange(h) + i[0]) & 255, (np.arange(w) + i[1]) & 255
        plane += drops[rows[:, None], columns] * F(0.2)

    def _bloom(self, plane: np.ndarray, shines: np.ndarray) -> None:
        """Let what shines spill over: a quarter of the size, blurred, and laid over."""
        h, w = (n // 4 for n in self.view.shape)
        light = np.minimum(shines, F(2.5)).reshape(plane.shape)
        small: np.ndarray = np.zeros((3, h, w), np.float32)
        for i in range(0, 4, 2):
            for j in range(0, 4, 2):
                small += light[:, i : 4 * h : 4, j : 4 * w : 4]
        near = _blurred(small, (1,))
        wide = _blurred(near, (2, 4))
        small = near * F(0.035) + wide * F(0.075)
        big = np.repeat(np.repeat(small, 4, axis=1), 4, axis=2)
        big = _blurred(big, (2, 1))
        plane[:, : 4 * h, : 4 * w] += big

    def _developed(self, plane: np.ndarray, k: Light, condition: Condition) -> np.ndarray:
        tone = plane * F(k.exposure)
        tone = np.maximum(tone * (F(1) + tone * F(0.22)) / (F(1) + tone), 0)
        out = np.sqrt(_softened(tone))
        start = int(one_chance(self.frame, self.street.clip, CONDITIONS.index(condition)) * 100_000)
        out += (_film(out[0].size + 100_000)[start : start + out[0].size] * F(k.grain)).reshape(out[0].shape)
        out = np.clip(out * F(255) + F(0.5), 0, F(255.4)).astype(np.uint8)
        return np.ascontiguousarray(out.transpose(1, 2, 0))


def _blurred(x: np.ndarray, steps: tuple[int, ...]) -> np.ndarray:
    """Blur by (1, 2, 1) with taps so far apart, over rows and columns; the edge is repeated."""
    for step in steps:
        for axis in (1, 2):
            n = x.shape[axis]
            low = np.take(x, np.maximum(np.arange(n) - step, 0), axis=axis)
            high = np.take(x, np.minimum(np.arange(n) + step, n - 1), axis=axis)
            x = x * F(0.5) + (low + high) * F(0.25)
    return x


def _softened(x: np.ndarray) -> np.ndarray:
    """Blur by (1, 6, 1) over rows and columns, as a lens does."""
    y = x.copy()
    y[:, 1:-1] = x[:, 1:-1] * F(0.76) + (x[:, :-2] + x[:, 2:]) * F(0.12)
    z = y.copy()
    z[:, :, 1:-1] = y[:, :, 1:-1] * F(0.76) + (y[:, :, :-2] + y[:, :, 2:]) * F(0.12)
    return z


@cache
def _film(count: int) -> np.ndarray:
    """Draw the grain of a film: about normal, float32."""
    total = np.zeros(count, np.float32)
    for i in range(3):
        total += (scrambled(np.arange(count) + i * 0x9E3779) >> np.uint32(8)).astype(np.float32) / F(1 << 23) - F(1)
    return total


@cache
def _streaks() -> np.ndarray:
    """Draw a tile of falling rain, (256, 256) float32 from 0 to 1."""
    tile = np.zeros((256, 256), np.float32)
    for i in range(420):
        x, y = int(one_chance(i, 1) * 256), int(one_chance(i, 2) * 256)
        length, strength = 6 + int(one_chance(i, 3) * 16), F(0.25) + F(0.75 * one_chance(i, 4))
        for step in range(length):
            tile[(y + step) & 255, (x - step // 5) & 255] += strength * F(step / length)
    return np.minimum(tile, F(1))
