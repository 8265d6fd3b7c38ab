"""Draw surfaces into a buffer of depths: which surface each sample of the picture shows.

Only the depth and the number of the surface are kept for each sample. All else (its colour, class, object, movement)
stands in a row of a table for each surface, and places on the surface follow from the depth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from i2i_core.data.worlds.streets.camera import FAR, NEAR, View
from i2i_core.data.worlds.streets.exactly import noise

Profile = Callable[[np.ndarray], np.ndarray]
"""Heights above some places along a surface, both in metres."""

SKY, HILLS, ROAD, PAVEMENT, GRASS = range(5)
"""Numbers of the surfaces that every street has."""


@dataclass(frozen=True)
class Surface:
    """Describe a surface: the texture that it has, and what it belongs to."""

    kind: int
    """Texture, of `kinds.Kind`."""
    label: int
    """Class, of `classes.CLASSES`."""
    colour: tuple[float, float, float]
    """Linear red, green, blue."""
    instance: int = 0
    normal: tuple[float, float, float] = (0.0, 1.0, 0.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Place that textures count from, in metres."""
    motion: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Metres that it moves until the next frame."""
    more: tuple[float, ...] = ()
    """Up to ten further numbers that its texture takes."""


MORE = 10


@dataclass
class Canvas:
    """Hold what is drawn so far."""

    view: View
    surfaces: list[Surface] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.depth = np.full(self.view.shape, FAR, np.float32)
        self.part = np.zeros(self.view.shape, np.int32)
        self._up, self._rows = self.view.up[:, None], self.view.rows.astype(np.float32)[:, None]
        self._columns = self.view.columns.astype(np.float32)

    def add(self, surface: Surface) -> int:
        """Add a row to the table of surfaces, and give its number."""
        self.surfaces.append(surface)
        return len(self.surfaces) - 1

    # ---- level ground ----

    def ground(self, choose: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        """Draw the ground; `choose` gives the surface of each place (x, z)."""
        k, first = self.view, int(np.searchsorted(-self.view.up, np.float32(0.001)))
        if first == len(k.up):
            return
        t = np.float32(k.pose.y) / -k.up[first:, None]
        near = t < np.float32(FAR * 0.5)
        x, z = np.float32(k.pose.x) + t * k.across, np.float32(k.pose.z) + t * k.along
        self.depth[first:] = np.where(near, t, np.float32(FAR))
        self.part[first:] = np.where(near, choose(x, z), HILLS)

    def hills(self, height: Profile) -> None:
        """Draw what closes the street at the horizon: `height` gives its rows above it for columns, in pixels."""
        tall = height(self.view.across / self.view.along)
        above = np.float32(self.view.horizon) - self._rows
        self.part[(above < tall) & (self.depth >= np.float32(FAR))] = HILLS

    # ---- upright surfaces ----

    def along_street(
        self, x: float, z: tuple[float, float], y: tuple[float, float], surface: Surface, top: Profile | None = None,
        bottom: Profile | None = None,
    ) -> None:  # fmt: skip
        """Draw a wall at one x, from z to z and y to y; `top` and `bottom` may give heights for places along z."""
        k = self.view
        z = (max(z[0], k.pose.z + NEAR), z[1])
        if z[0] < z[1]:
            c0, c1 = self._columns_of((x, z[0]), (x, z[1]))
            t = self._beside(x, c0, c1)
            self._upright(c0, t, np.float32(k.pose.z) + t * k.along[c0:c1], z, y, surface, top, bottom)

    def across_street(
        self, z: float, x: tuple[float, float], y: tuple[float, float], surface: Surface, top: Profile | None = None,
        bottom: Profile | None = None,
    ) -> None:  # fmt: skip
        """Draw a wall at one z, from x to x and y to y."""
        k = self.view
        if z - k.pose.z < NEAR:
            return
        c0, c1 = self._columns_of((x[0], z), (x[1], z))
        t = np.float32(z - k.pose.z) / k.along[c0:c1]
        self._upright(c0, t, np.float32(k.pose.x) + t * k.across[c0:c1], x, y, surface, top, bottom)

    def row(
        self, x: float, starts: np.ndarray, ends: np.ndarray, low: np.ndarray, high: np.ndarray, parts: np.ndarray
    ) -> None:
        """Draw walls beside each other at one x, each with a part of z, two heights and a surface of its own."""
        if not len(starts):
            return
        k, n = self.view, self.view.shape[1]
        t = self._beside(x, 0, n)
        z = np.float32(k.pose.z) + t * k.along
        i = np.clip(np.searchsorted(starts, z, "right") - 1, 0, len(starts) - 1)
        there = (z >= starts[i]) & (z < ends[i]) & (t > np.float32(NEAR)) & (t < np.float32(FAR))
        at = there.nonzero()[0]
        if len(at):
            c0, c1 = int(at[0]), int(at[-1]) + 1
            i, there = i[c0:c1], there[c0:c1]
            self._fill(
                c0, np.where(there, t[c0:c1], np.float32(FAR)), high[i], np.where(there, low[i], high[i]), parts[i]
            )

    def _beside(self, x: float, c0: int, c1: int) -> np.ndarray:
        """Give the depth of a wall at one x for some columns; 2 FAR where there is none before the camera."""
        away = x - self.view.pose.x
        across = self.view.across[c0:c1] * np.float32(1.0 if away > 0 else -1.0)
        out: np.ndarray = np.where(
            across > np.float32(1e-4), np.float32(abs(away)) / np.maximum(across, np.float32(1e-4)), np.float32(2 * FAR)
        )
        return out

    def _columns_of(self, a: tuple[float, float], b: tuple[float, float]) -> tuple[int, int]:
        """Give the samples in which something between two places (x, z) can be: all of them, where one is beside the
        camera."""
        k = self.view
        if k.depth_of(*a) < NEAR or k.depth_of(*b) < NEAR:
            return 0, k.shape[1]
        ends = sorted((k.pixel_of(a[0], 0.0, a[1])[0], k.pixel_of(b[0], 0.0, b[1])[0]))
        return k.span(ends[0], ends[1], k.shape[1])

    def _upright(
        self, c0: int, t: np.ndarray, at: np.ndarray, ends: tuple[float, float], y: tuple[float, float],
        surface: Surface, top: Profile | None, bottom: Profile | None,
    ) -> None:  # fmt: skip
        if not len(at):
            return
        inside = ((at >= np.float32(ends[0])) & (at < np.float32(ends[1])) & (t > np.float32(NEAR))).nonzero()[0]
        if len(inside):
            a, b = int(inside[0]), int(inside[-1]) + 1
            high = top(at[a:b]) if top else np.float32(y[1])
            low = bottom(at[a:b]) if bottom else np.float32(y[0])
            self._fill(c0 + a, t[a:b], high, low, surface)

    def _fill(
        self, c0: int, t: np.ndarray, high: np.ndarray | np.float32, low: np.ndarray | np.float32,
        of: Surface | np.ndarray,
    ) -> None:  # fmt: skip
        """Draw some columns from height to height, each in its depth."""
        k, c1 = self.view, c0 + len(t)
        scale = np.float32(k.focal) / t
        first = np.float32(k.horizon) - (high - np.float32(k.pose.y)) * scale
        last = np.float32(k.horizon) - (low - np.float32(k.pose.y)) * scale
        r0, r1 = k.span(float(first.min()), float(last.max()), k.shape[0])
        if r0 >= r1:
            return
        rows = self._rows[r0:r1]
        depth = self.depth[r0:r1, c0:c1]
        seen = rows >= first
        seen &= rows < last
        seen &= t < depth
        if seen.any():
            self._put(seen, t, depth, self.part[r0:r1, c0:c1], of)

    def _put(
        self,
        seen: np.ndarray,
        t: np.ndarray | np.float32,
        depth: np.ndarray,
        part: np.ndarray,
        of: Surface | np.ndarray,
    ) -> None:
        np.copyto(depth, t, where=seen)
        np.copyto(part, np.int32(self.add(of)) if isinstance(of, Surface) else of, where=seen)

    # ---- sloping surfaces ----

    def sloping(
        self, axis: str, start: tuple[float, float], end: tuple[float, float], ends: tuple[float, float],
        surface: Surface, trim: tuple[float, float] = (0.0, 0.0),
    ) -> None:  # fmt: skip
        """Draw a plane that rises along an axis, from (place, height) to (place, height), between two places of the
        other axis; `trim` takes as much from its sides at its start and its end."""
        k, on_z = self.view, axis == "z"
        (p1, y1), (p2, y2) = start, end
        rise, run = y2 - y1, p2 - p1
        corners = [(p, y, q) for p, y in (start, end) for q in ends]
        places = [(q, y, p) if on_z else (p, y, q) for p, y, q in corners]
        depths = [k.depth_of(x, z) for x, _, z in places]
        if max(depths) < NEAR:
            return
        if min(depths) < NEAR * 2:  # partly behind the camera: look everywhere
            r0, r1, c0, c1 = 0, k.shape[0], 0, k.shape[1]
        else:
            r0, r1, c0, c1 = k.window([k.pixel_of(*place) for place in places])
        if r0 >= r1 or c0 >= c1:
            return
        mine, other = (k.along, k.across) if on_z else (k.across, k.along)
        mine, other = mine[c0:c1], other[c0:c1]
        here, there = (k.pose.z, k.pose.x) if on_z else (k.pose.x, k.pose.z)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.float32((here - p1) * rise - (k.pose.y - y1) * run) / (
                self._up[r0:r1] * np.float32(run) - mine * np.float32(rise)
            )
            along, side = np.float32(here) + t * mine, np.float32(there) + t * other
            share = (along - np.float32(p1)) * np.float32(1 / run)
            cut = np.float32(trim[0]) + share * np.float32(trim[1] - trim[0]) if any(trim) else np.float32(0)
            depth = self.depth[r0:r1, c0:c1]
            seen = (t > np.float32(NEAR)) & (t < depth) & (share >= 0) & (share < 1)
            seen &= (side >= np.float32(ends[0]) + cut) & (side < np.float32(ends[1]) - cut)
        if seen.any():
            self._put(seen, t, depth, self.part[r0:r1, c0:c1], surface)

    # ---- round things ----

    def blob(
        self, centre: tuple[float, float, float], size: tuple[float, float], surface: Surface, rough: float
    ) -> None:
        """Draw an ellipse that faces along the street, with an edge that noise eats."""
        k, (x, y, z) = self.view, centre
        if z - k.pose.z < NEAR * 2 or k.depth_of(x, z) < NEAR * 2:
            return
        a, b = size[0] * (1 + rough), size[1] * (1 + rough)
        r0, r1, c0, c1 = k.window([k.pixel_of(x + i * a, y + j * b, z) for i in (-1, 1) for j in (-1, 1)])
        if r0 >= r1 or c0 >= c1:
            return
        t = np.float32(z - k.pose.z) / k.along[c0:c1]
        across = np.float32(k.pose.x - x) + t * k.across[c0:c1]
        high = np.float32(k.pose.y - y) + self._up[r0:r1] * t
        u, v = across * np.float32(1 / size[0]), high * np.float32(1 / size[1])
        round_ = u * u + v * v
        if rough:
            scale = np.float32(13)
            texels = t * np.float32(13.0 / k.focal)
            round_ = round_ + np.float32(rough) * noise(
                (across + np.float32(x + z)) * scale, (high + np.float32(y)) * scale, texels
            )
        depth = self.depth[r0:r1, c0:c1]
        seen = (round_ < 1) & (t < depth)
        if seen.any():
            self._put(seen, t, depth, self.part[r0:r1, c0:c1], surface)

    def limb(
        self, a: tuple[float, float], b: tuple[float, float], radius: tuple[float, float], t: float, surface: Surface
    ) -> None:
        """Draw a thick line between two places in pixels, in one depth; `radius` at its ends, in pixels."""
        k, most = self.view, max(radius)
        r0, r1, c0, c1 = k.window([(p[0] + i * most, p[1] + i * most) for p in (a, b) for i in (-1, 1)])
        if r0 >= r1 or c0 >= c1 or t < NEAR:
            return
        dx, dy = b[0] - a[0], b[1] - a[1]
        x, y = self._columns[c0:c1] - np.float32(a[0]), self._rows[r0:r1] - np.float32(a[1])
        share = (x * np.float32(dx) + y * np.float32(dy)) * np.float32(1 / (dx * dx + dy * dy + 1e-6))
        share = np.minimum(np.maximum(share, np.float32(0)), np.float32(1))
        x, y = x - share * np.float32(dx), y - share * np.float32(dy)
        wide = np.float32(radius[0]) + share * np.float32(radius[1] - radius[0])
        depth = self.depth[r0:r1, c0:c1]
        seen = (x * x + y * y < wide * wide) & (np.float32(t) < depth)
        if seen.any():
            self._put(seen, np.float32(t), depth, self.part[r0:r1, c0:c1], surface)
