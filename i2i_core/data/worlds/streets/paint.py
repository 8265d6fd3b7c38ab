"""Paint surfaces: the colour of each sample under white light, what mirrors, and what shines by itself.

Nothing here knows the weather or the hour: all conditions of a frame are lit from the same paint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from i2i_core.data.worlds.streets.canvas import MORE, Canvas
from i2i_core.data.worlds.streets.exactly import chance, noise
from i2i_core.data.worlds.streets.kinds import Kind
from i2i_core.data.worlds.streets.plan import BLOCK, CROSSING, Street, block, linear

F = np.float32
RED, WHITE, BLUE, DARK = linear(196, 24, 28), linear(238, 238, 234), linear(28, 70, 160), linear(24, 25, 27)
TYRE, PLATE, LENS = linear(30, 30, 31), linear(226, 222, 190), linear(214, 216, 214)
WINDOW, FRAME, DOOR = linear(44, 52, 60), linear(226, 224, 218), linear(74, 48, 36)
AWNINGS = tuple(linear(*c) for c in ((150, 34, 38), (34, 74, 58), (38, 52, 96), (186, 140, 62), (58, 54, 52)))
WARM, COLD, SHOP = (1.0, 0.68, 0.30), (0.75, 0.85, 1.0), (1.0, 0.84, 0.56)
SIGNALS = ((1.0, 0.08, 0.05), (1.0, 0.6, 0.05), (0.1, 0.95, 0.45))


@dataclass(frozen=True)
class Shine:
    """Hold samples that shine: where, how strongly, and whether they do by day too."""

    at: np.ndarray
    colour: tuple[float, float, float]
    strength: np.ndarray | float
    always: bool = False
    tinted: bool = False
    """True where light falls through what is painted: curtains, goods in a shop's window."""


@dataclass
class Paint:
    """Hold what was painted, for the samples of a canvas in one row."""

    colour: np.ndarray
    """(3, N) linear."""
    mirror: np.ndarray
    """(N,) share of the sky that is mirrored."""
    shade: np.ndarray
    """(N,) how much of the light a sample gets that comes from all sides."""
    shines: list[Shine] = field(default_factory=list)


class Samples:
    """Look up what the surfaces' table says of samples, and where in the world they are."""

    def __init__(self, canvas: Canvas, street: Street, frame: int) -> None:
        k, surfaces = canvas.view, canvas.surfaces
        self.street, self.frame = street, frame
        self.depth, self.part = canvas.depth.reshape(-1), canvas.part.reshape(-1)
        t = canvas.depth
        self.x = (F(k.pose.x) + t * k.across).reshape(-1)
        self.y = (F(k.pose.y) + t * k.up[:, None]).reshape(-1)
        self.z = (F(k.pose.z) + t * k.along).reshape(-1)
        self.size = self.depth * F(1 / k.focal)
        """Metres that a sample covers."""
        self.kind = np.array([s.kind for s in surfaces], np.uint8)[self.part]
        self.colours = np.array([s.colour for s in surfaces], np.float32)
        self.origins = np.array([s.origin for s in surfaces], np.float32)
        self.normals = np.array([s.normal for s in surfaces], np.float32)
        self.more = np.array([(*s.more, *(0.0,) * (MORE - len(s.more))) for s in surfaces], np.float32)
        self.moves = np.array([s.motion[2] != 0 for s in surfaces])
        self.columns = np.broadcast_to(k.columns.astype(np.float32), canvas.part.shape).reshape(-1)
        self.rows = np.broadcast_to(k.rows.astype(np.float32)[:, None], canvas.part.shape).reshape(-1)


class Patch:
    """Select the samples of one texture."""

    def __init__(self, of: Samples, at: np.ndarray) -> None:
        self.of, self.at, self.part = of, at, of.part[at]
        self.x, self.y, self.z, self.size = of.x[at], of.y[at], of.z[at], of.size[at]

    def more(self, i: int) -> np.ndarray:
        """Give a further number of each sample's surface."""
        out: np.ndarray = self.of.more[self.part, i]
        return out

    def origin(self, axis: int) -> np.ndarray:
        """Give a coordinate of the place that each sample's texture counts from."""
        out: np.ndarray = self.of.origins[self.part, axis]
        return out

    def grain(self, u: np.ndarray, v: np.ndarray, texels: float) -> np.ndarray:
        """Give noise with so many texels a metre."""
        return noise(u * F(texels) + F(4096), v * F(texels) + F(4096), self.size * F(texels))

    def fine(self, metres: float) -> np.ndarray:
        """Tell how well detail of a size, in metres, can be seen: 1 well, 0 not at all."""
        out: np.ndarray = np.clip(F(1.5) - self.size * F(1.5 / metres), F(0), F(1))
        return out


def painted(canvas: Canvas, street: Street, frame: int) -> tuple[Paint, Samples]:
    """Paint what a canvas shows."""
    of = Samples(canvas, street, frame)
    n = len(of.part)
    out = Paint(np.take(of.colours.T, of.part, axis=1), np.zeros(n, np.float32), np.ones(n, np.float32))
    for kind, paint in _PAINTS.items():
        at = np.flatnonzero(of.kind == kind)
        if len(at):
            paint(out, Patch(of, at))
    return out, of


def _scale(out: Paint, p: Patch, factor: np.ndarray) -> None:
    out.colour[:, p.at] *= factor


def _mix(out: Paint, p: Patch, where: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    """Colour some samples of a patch; give which."""
    at: np.ndarray = p.at[where]
    out.colour[:, at] = np.array(colour, np.float32)[:, None]
    return at


def _within(x: np.ndarray, low: float, high: float) -> np.ndarray:
    return (x >= F(low)) & (x < F(high))


# ---- the ground ----


def _road(out: Paint, p: Patch) -> None:
    street = p.of.street
    rough = p.grain(p.x, p.z, 22.0)
    patches = p.grain(p.x, p.z, 1.3)
    aside = np.abs(p.x)
    lane = np.abs(np.abs(aside - F((street.half - 2.3) * 0.52)) - F(0.72))
    tracks = np.clip(F(1) - lane * F(2.4), 0, 1)
    tone = F(1) + F(0.36) * rough + F(0.30) * patches - F(0.14) * tracks
    crack = np.abs(p.grain(p.x + F(31), p.z, 2.1)) < F(0.035)
    tone = np.where(crack, tone - F(0.34) * p.fine(0.1), tone)
    _scale(out, p, np.maximum(tone, F(0.25)))
    where = np.floor(p.z * F(1 / BLOCK))
    along = p.z - where * F(BLOCK)
    number = where.astype(np.int32)
    low = int(number.min())
    crosses = np.array(
        [block(street.seed, street.clip, street.stage, low + i).crossing for i in range(int(number.max()) - low + 2)]
    )
    here, next_ = crosses[number - low], crosses[number - low + 1]
    open_ = ~(here & (along < F(CROSSING + 4.2))) & ~(next_ & (along > F(BLOCK - 4.2)))
    dashes = (aside < F(0.09)) & (along - F(6) * np.floor(along * F(1 / 6)) < F(3))
    edges = _within(aside, street.half - 2.16, street.half - 2.04)
    stripes = np.abs(p.x * F(1.0) - np.floor(p.x)) < F(0.52)
    zebra = (
        stripes
        & ((here & _within(along, CROSSING + 0.7, CROSSING + 3.6)) | (next_ & _within(along, BLOCK - 3.6, BLOCK - 0.7)))
        & (aside < F(street.half))
    )
    paint = ((dashes | edges) & open_) | zebra
    worn = p.grain(p.x, p.z, 9.0) > F(0.52)
    at = p.at[paint & ~worn]
    out.colour[:, at] = np.array(linear(206, 206, 200), np.float32)[:, None] * (F(1) + F(0.3) * rough[paint & ~worn])
    cell = np.floor(p.z * F(1 / 17.0))
    dx, dz = p.x - F(1.1) - F(0.6) * chance(cell, 3, street.clip), p.z - cell * F(17.0) - F(8)
    lid = dx * dx + dz * dz
    out.colour[:, p.at[lid < F(0.13)]] *= F(0.45)
    out.colour[:, p.at[lid < F(0.085)]] *= F(1.5)
    gutter = _within(aside, street.half - 0.3, street.half) & open_
    out.colour[:, p.at[gutter]] *= F(0.78)


def _pavement(out: Paint, p: Patch) -> None:
    half = p.of.street.half
    u, v = p.x * F(1.65), p.z * F(1.65)
    iu, iv = np.floor(u), np.floor(v)
    slab = chance(iu, iv, 11) - F(0.5)
    joint = (np.minimum(u - iu, v - iv) < F(0.06)) * p.fine(0.12)
    tone = F(1) + F(0.22) * slab * p.fine(0.9) + F(0.26) * p.grain(p.x, p.z, 19.0) + F(0.16) * p.grain(p.x, p.z, 1.1)
    kerb = np.abs(p.x) < F(half + 0.22)
    tone = np.where(kerb, F(1.22) + F(0.2) * p.grain(p.z, p.x, 12.0), tone - F(0.42) * joint)
    tone = np.where(np.abs(p.x) < F(half + 0.04), F(0.5), tone)
    _scale(out, p, tone)


def _grass(out: Paint, p: Patch) -> None:
    _scale(out, p, np.maximum(F(1) + F(0.65) * p.grain(p.x, p.z, 26.0) + F(0.4) * p.grain(p.x, p.z, 2.0), F(0.2)))


def _hills(out: Paint, p: Patch) -> None:
    at = p.of.columns[p.at] * F(3), p.of.rows[p.at] * F(3)
    _scale(out, p, F(1) + F(0.25) * noise(*at, np.ones(len(p.at), np.float32)))


# ---- houses ----


def _bricks(p: Patch, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Give the tone of bricks, and of mortar between them; 0 where they are too far to be seen."""
    row = np.floor(v * F(9.0))
    across = u * F(3.6) + F(0.5) * (row - F(2) * np.floor(row * F(0.5)))
    column = np.floor(across)
    each = (chance(column, row, 5) - F(0.5)) * F(0.42)
    mortar = (v * F(9.0) - row < F(0.16)) | (across - column < F(0.07))
    return np.where(mortar, F(0.30), each) * p.fine(0.16)


def _facade(out: Paint, p: Patch) -> None:
    u, v = p.z - p.origin(2), p.y
    bay, floor, seed = p.more(0), p.more(1), p.more(5)
    across, up = u / bay, v / floor
    column, storey = np.floor(across), np.floor(up)
    a, b = across - column, up - storey
    mid = np.abs(a - F(0.5))
    look = p.more(7)
    wide = F(0.21) + F(0.10) * chance(look, 1)
    ground = storey == 0
    shop = ground & (p.more(4) > 0)
    below_roof = v < p.more(2) - F(0.5)
    side_room = (u > F(0.35)) & (u < p.more(6) - F(0.35))
    tall = F(0.22) + F(0.06) * chance(look, 2)
    window = (mid < wide) & (b > tall) & (b < F(0.80)) & below_roof
    door = ground & ~shop & (chance(column, seed, 9) < F(0.34))
    window &= ~door & ~shop
    panes = shop & (mid < F(0.46)) & (b > F(0.14)) & (b < F(0.74)) & side_room
    doors = door & (mid < F(0.2)) & (b < F(0.70))
    tone = F(1) + F(0.22) * p.grain(u, v, 16.0) + F(0.24) * p.grain(u + seed, v, 0.8)
    tone = tone + np.where(p.more(3) > 0, _bricks(p, u, v), F(0))
    tone = tone - F(0.3) * (b < F(0.035)) + F(0.16) * ground
    tone = tone * np.clip(F(0.72) + v * F(0.16), 0, 1)
    _scale(out, p, np.maximum(tone, F(0.15)))
    sill = (mid < wide + F(0.04)) & _within(b - tall, -0.035, 0.0) & below_roof & ~door & ~shop
    surround = (mid < wide + F(0.045)) & (b > tall) & (b < F(0.83)) & below_roof & ~door & ~shop & ~window
    out.colour[:, p.at[sill | (surround & (chance(look, 3) < F(0.6)))]] *= F(1.35)
    _mix(out, p, doors, DOOR)
    board = shop & (b > F(0.76)) & (b < F(0.95)) & side_room
    awning = np.array(AWNINGS, np.float32)[(look[board].astype(np.int32)) % len(AWNINGS)].T
    letters = (chance(np.floor(u[board] * F(5)), look[board]) < F(0.45)) & _within(b[board], 0.81, 0.9)
    out.colour[:, p.at[board]] = np.where(letters & (p.fine(0.2)[board] > 0), F(0.72), awning)
    _glazed(out, p, window, panes, (a, b, mid, wide, column, storey, seed))


def _glazed(out: Paint, p: Patch, window: np.ndarray, panes: np.ndarray, where: tuple[np.ndarray, ...]) -> None:
    """Paint windows and shop windows: frames, curtains, glass; some have light behind them."""
    a, b, mid, wide, column, storey, seed = where
    bars = window & ((mid > wide - F(0.035)) | (mid < F(0.016)) | (b > F(0.77)) | (np.abs(b - F(0.60)) < F(0.012)))
    _mix(out, p, window, WINDOW)
    inside = chance(column, storey, seed)
    drawn = window & (mid > wide * (F(0.35) + F(0.6) * chance(column, storey, 6))) & (inside < F(0.6))
    _mix(out, p, drawn, linear(150, 142, 130))
    goods = panes & (b < F(0.52)) & (chance(np.floor(a * F(9)), np.floor(b * F(14)), seed) < F(0.5))
    _mix(out, p, panes, linear(58, 58, 60))
    at = p.at[goods]
    hue = chance(np.floor(a[goods] * F(9)), column[goods], 4)
    out.colour[:, at] = np.stack([F(0.12) + F(0.4) * hue, F(0.3) - F(0.2) * hue, F(0.12) + F(0.1) * hue])
    at = p.at[bars]
    out.colour[:, at] = np.array(FRAME, np.float32)[:, None] * (F(0.75) + F(0.25) * chance(seed[bars], 8))
    glass = (window & ~bars & ~drawn) | (panes & ~goods)
    out.mirror[p.at[glass]] = F(0.34) + F(0.3) * chance(column[glass], storey[glass], 2)
    lit = window & ~bars & (chance(column, storey, seed + F(1)) < F(0.36))
    warm = chance(column[lit], storey[lit], 7)
    strength = (F(0.35) + F(0.65) * warm) * (F(0.75) + F(0.5) * b[lit]) * np.where(drawn[lit], F(0.55), F(1))
    out.shines.append(Shine(p.at[lit], WARM, strength * F(1.1), tinted=True))
    out.shines.append(Shine(p.at[panes], SHOP, F(0.35) + F(0.8) * b[panes], tinted=True))


def _wall(out: Paint, p: Patch) -> None:
    tone = F(1) + F(0.22) * p.grain(p.x + p.z, p.y, 15.0) + F(0.22) * p.grain(p.x + p.z, p.y, 0.9)
    tone = tone + np.where(p.more(0) > 0, _bricks(p, p.x, p.y), F(0))
    _scale(out, p, np.maximum(tone * np.clip(F(0.7) + p.y * F(0.2), 0, 1), F(0.2)))


def _roof(out: Paint, p: Patch) -> None:
    rows = p.y * F(4.2)
    row = np.floor(rows)
    across = p.z * F(4.0) + F(0.5) * (row - F(2) * np.floor(row * F(0.5)))
    each = chance(np.floor(across), row, 3) - F(0.5)
    step = (F(0.5) - (rows - row)) * F(0.5)
    tone = F(1) + (F(0.4) * each + step) * p.fine(0.3) + F(0.25) * p.grain(p.z, p.y, 3.0)
    _scale(out, p, np.maximum(tone, F(0.2)))


def _fence(out: Paint, p: Patch) -> None:
    at = p.z * F(7.5)
    slat = np.floor(at)
    gap = at - slat > F(0.72)
    tone = F(1) + F(0.4) * (chance(slat, 2) - F(0.5)) + F(0.3) * p.grain(p.y, p.z, 14.0)
    tone = np.where(gap, F(0.25) + F(0.5) * (F(1) - p.fine(0.12)), tone)
    _scale(out, p, np.where(_within(p.y / p.more(0), 0.72, 0.80), F(1.15), tone))


def _leafy(out: Paint, p: Patch) -> None:
    rough = p.grain(p.x + p.z, p.y, 24.0)
    tufts = p.grain(p.z - p.x, p.y, 5.0)
    _scale(out, p, np.maximum(F(0.85) + F(1.0) * rough + F(0.7) * tufts, F(0.12)))
    out.shade[p.at] = np.clip(F(0.45) + F(0.5) * p.y, F(0.3), F(1))


def _leaves(out: Paint, p: Patch) -> None:
    u, v = (p.x - p.origin(0)) / p.more(0), (p.y - p.origin(1)) / p.more(1)
    rough = p.grain(p.x + p.more(2), p.y, 21.0)
    tufts = p.grain(p.x + p.more(2), p.y + p.more(2), 4.2)
    _scale(out, p, np.maximum(F(0.9) + F(1.0) * rough + F(0.95) * tufts, F(0.10)))
    side = F(1.0) if p.of.street.sun > 0 else F(-1.0)
    out.shade[p.at] = np.clip(F(0.66) + F(0.34) * v + F(0.26) * u * side, F(0.18), F(1.15))


def _bark(out: Paint, p: Patch) -> None:
    u = (p.x - p.origin(0)) * F(1 / 0.14)
    _scale(out, p, (F(1.0) - F(0.45) * u * u) * (F(1) + F(0.5) * p.grain(p.x * F(4), p.y, 11.0)))


# ---- things on poles ----


def _pole(out: Paint, p: Patch) -> None:
    u = (p.x - p.origin(0)) * F(1 / 0.055)
    _scale(out, p, F(1.1) - F(0.5) * np.minimum(u * u, F(1)))


def _lamp(out: Paint, p: Patch) -> None:
    out.shines.append(Shine(p.at, SHOP, 5.0))


def _sign(out: Paint, p: Patch) -> None:
    u, v = p.x - p.origin(0), p.y - p.origin(1)
    shape, look = p.more(0), p.more(1)
    radius = u * u + v * v
    disc, triangle = shape == 0, shape == 1
    stop = disc & (look < 3)
    _mix(out, p, disc & ((radius > F(0.058)) | stop), RED)
    _mix(out, p, stop & (np.abs(v) < F(0.055)) & (np.abs(u) < F(0.24)), WHITE)
    _mix(out, p, disc & ~stop & (np.abs(u) < F(0.03)) & (np.abs(v) < F(0.12)), DARK)
    height = v + F(0.28)
    edge = (height < F(0.08)) | (np.abs(u) > F(0.29) - height * F(0.57))
    _mix(out, p, triangle & edge, RED)
    _mix(out, p, triangle & ~edge & (np.abs(u) < F(0.035)) & (height > F(0.13)), DARK)
    board = shape == 2
    _mix(out, p, board, BLUE)
    _mix(out, p, board & (np.abs(np.maximum(np.abs(u), np.abs(v)) - F(0.27)) < F(0.02)), WHITE)
    _mix(out, p, board & (np.abs(u) < F(0.16)) & (np.abs(v + F(0.35) * np.abs(u)) < F(0.06)), WHITE)


def _light(out: Paint, p: Patch) -> None:
    u, v = p.x - p.origin(0), p.y - p.origin(1)
    phase = (p.more(0).astype(np.int64) // 7 + p.of.frame // 40) % 4
    shown = np.where(phase == 3, 1, np.where(phase == 1, 2, np.where(phase == 2, 2, 0)))
    for i, colour in enumerate(SIGNALS):
        high = v - F(0.79 - 0.31 * i)
        lens = u * u + high * high < F(0.0155)
        _mix(out, p, lens, (0.1 * colour[0], 0.1 * colour[1], 0.1 * colour[2]))
        on = lens & (shown == i)
        out.shines.append(Shine(p.at[on], colour, 1.9, always=True))


# ---- cars ----


def _car_side(out: Paint, p: Patch) -> None:
    s, y = (p.z - p.origin(2)) * p.more(0), p.y
    length, van = p.more(3), p.more(4) > 0
    q = s / length
    _scale(out, p, (F(0.62) + F(0.42) * np.clip(y, 0, 1)) * (F(1) + F(0.06) * p.grain(p.z, y, 6.0)))
    low, high = np.where(van, F(1.25), F(0.94)), np.where(van, F(1.82), F(1.36))
    rise = (y - low) / (high - low)
    a, b = np.where(van, F(0.60), F(0.155) + F(0.10) * rise), np.where(van, F(0.87), F(0.725) - F(0.115) * rise)
    glass = (rise > 0) & (rise < 1) & (q > a) & (q < b)
    pillar = glass & ((np.abs(q - F(0.44)) < F(0.012)) | (np.abs(q - F(0.27)) < F(0.01)) & ~van)
    at = _mix(out, p, glass, WINDOW)
    out.mirror[at] = F(0.42)
    _mix(out, p, pillar, DARK)
    lines = ((np.abs(q - F(0.44)) < F(0.004)) | (np.abs(q - F(0.68)) < F(0.004))) & _within(y, 0.3, 0.94)
    out.colour[:, p.at[lines]] *= F(0.5)
    out.colour[:, p.at[(y < F(0.36))]] *= F(0.45)
    _mix(out, p, _within(q, 0.965, 1.0) & _within(y, 0.5, 0.68), LENS)
    _mix(out, p, _within(q, 0.0, 0.03) & _within(y, 0.62, 0.86), RED)
    for wheel in (p.more(1), p.more(2)):
        d = (s - wheel) * (s - wheel) + (y - F(0.33)) * (y - F(0.33))
        _mix(out, p, d < F(0.145), DARK)
        _mix(out, p, d < F(0.1), TYRE)
        _mix(out, p, d < F(0.044), linear(140, 142, 146))
        _mix(out, p, d < F(0.008), DARK)


def _car_end(out: Paint, p: Patch) -> None:
    u, y = np.abs(p.x - p.origin(0)), p.y
    rear = p.more(0) > 0
    van = p.more(2) > 0
    _scale(out, p, (F(0.7) + F(0.34) * np.clip(y, 0, 1)) * np.clip(F(1.12) - u * F(0.22), 0, 1))
    out.colour[:, p.at[_within(y, 0.36, 0.54)]] *= F(0.55)
    _mix(out, p, y < F(0.36), DARK)
    _mix(out, p, (u > F(0.64)) & (y < F(0.3)), TYRE)
    _mix(out, p, rear & (u < F(0.26)) & _within(y, 0.56, 0.67), PLATE)
    _mix(out, p, ~rear & (u < F(0.26)) & _within(y, 0.40, 0.50), PLATE)
    _mix(out, p, ~rear & (u < F(0.48)) & _within(y, 0.52, 0.60), DARK)
    flat = p.more(1) > 0
    window = (rear | flat) & van & (u < F(0.70)) & (u > F(0.03)) & _within(y, 1.25, 1.75)
    window |= flat & ~van & (u < F(0.64)) & _within(y, 1.0, 1.36)
    at = _mix(out, p, window, WINDOW)
    out.mirror[at] = F(0.35)
    tail = rear & (u > F(0.60)) & (u < F(0.82)) & np.where(van, _within(y, 0.7, 1.15), _within(y, 0.66, 0.86))
    head = ~rear & (u > F(0.50)) & (u < F(0.80)) & _within(y, 0.50, 0.64)
    _mix(out, p, tail, RED)
    _mix(out, p, head, LENS)
    moving = p.of.moves[p.part]
    out.shines.append(Shine(p.at[tail & moving], (1.0, 0.05, 0.03), 1.6))
    out.shines.append(Shine(p.at[head & moving], (1.0, 0.95, 0.82), 6.0))


def _paint(out: Paint, p: Patch) -> None:
    out.mirror[p.at] = F(0.10)
    _scale(out, p, F(1) + F(0.05) * p.grain(p.x, p.z, 5.0))


def _glass(out: Paint, p: Patch) -> None:
    out.mirror[p.at] = F(0.50)
    seats = np.abs(np.abs(p.x - p.origin(0)) - F(0.38)) < F(0.17)
    out.colour[:, p.at[seats]] *= F(0.6)


# ---- people ----


def _cloth(out: Paint, p: Patch) -> None:
    columns, rows = p.of.columns[p.at], p.of.rows[p.at]
    ax, ay, bx, by = (p.more(i) for i in range(4))
    dx, dy = bx - ax, by - ay
    length = np.sqrt(dx * dx + dy * dy) + F(1e-3)
    off = ((columns - ax) * dy - (rows - ay) * dx) / (length * np.maximum(p.more(6), F(0.3)))
    folds = p.grain(p.x, p.y, 26.0)
    _scale(out, p, (F(1.05) - F(0.38) * np.minimum(off * off, F(1))) * (F(1) + F(0.28) * folds))


_PAINTS: dict[Kind, Callable[[Paint, Patch], None]] = {
    Kind.HILLS: _hills,
    Kind.ROAD: _road,
    Kind.PAVEMENT: _pavement,
    Kind.GRASS: _grass,
    Kind.FACADE: _facade,
    Kind.WALL: _wall,
    Kind.ROOF: _roof,
    Kind.FENCE: _fence,
    Kind.HEDGE: _leafy,
    Kind.BARK: _bark,
    Kind.LEAVES: _leaves,
    Kind.POLE: _pole,
    Kind.LAMP: _lamp,
    Kind.SIGN: _sign,
    Kind.LIGHT: _light,
    Kind.CAR_SIDE: _car_side,
    Kind.CAR_END: _car_end,
    Kind.PAINT: _paint,
    Kind.GLASS: _glass,
    Kind.CLOTH: _cloth,
}
