"""Draw the blocks of a street into a canvas, surface by surface."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from i2i_core.data.worlds.streets import people
from i2i_core.data.worlds.streets.camera import View
from i2i_core.data.worlds.streets.canvas import GRASS, PAVEMENT, ROAD, Canvas, Surface
from i2i_core.data.worlds.streets.classes import ID
from i2i_core.data.worlds.streets.exactly import chance
from i2i_core.data.worlds.streets.kinds import Kind
from i2i_core.data.worlds.streets.plan import (
    BLOCK,
    CROSSING,
    SECONDS,
    Block,
    Car,
    Fence,
    House,
    Post,
    Street,
    Tree,
    linear,
)

LABELS = (ID["sky"], ID["vegetation"], ID["road"], ID["sidewalk"], ID["terrain"])
GREY = linear(120, 122, 124)
GRASSY, STONE, TAR, HEDGE = linear(96, 122, 62), linear(150, 146, 140), linear(88, 88, 92), linear(56, 92, 44)
SMALL = 2.0
"""Pixels of height below which a thing is not drawn."""
TOO_FAR = 55.0
"""Metres beyond which people are not drawn."""
DEEP, RISE, EAVE = 9.0, 3.4, 0.35
"""Metres that a house is deep, that its roof rises, and that the edge of the roof stands out."""


def drawn(street: Street, frame: int, view: View) -> Canvas:
    """Draw a frame: which surface each sample of the view shows, and how far it is."""
    canvas = Canvas(view)
    kinds = (Kind.SKY, Kind.HILLS, Kind.ROAD, Kind.PAVEMENT, Kind.GRASS)
    colours = ((0.0, 0.0, 0.0), linear(86, 104, 84), TAR, STONE, GRASSY)
    for kind, label, colour in zip(kinds, LABELS, colours, strict=True):
        canvas.add(Surface(kind, label, colour))
    blocks = street.blocks(view.pose.z)
    canvas.ground(_ground(street, blocks))
    canvas.hills(lambda heading: _hills(street, heading, view))
    for side in (-1, 1):
        _houses(canvas, side, [house for block in blocks for house in block.houses if house.side == side])
    for block in blocks:
        for fence in block.fences:
            _fence(canvas, fence)
        for tree in block.trees:
            _tree(canvas, tree)
        for post in block.posts:
            _post(canvas, post)
        for car in block.cars:
            _car(canvas, car, car.z)
    for car in street.cars:
        _car(canvas, car, street.place(car, frame))
    for person in street.people:
        if view.depth_of(person.x, street.stand(person, frame)) < TOO_FAR:
            people.draw(canvas, street, person, frame)
    return canvas


def _ground(street: Street, blocks: list[Block]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    start = blocks[0].start
    crosses = np.array([block.crossing for block in (*blocks, blocks[-1])])
    kerb = np.float32(street.half + street.pavement)

    def choose(x: np.ndarray, z: np.ndarray) -> np.ndarray:
        along = z - np.float32(start)
        number = np.clip((along * np.float32(1 / BLOCK)).astype(np.int32), 0, len(blocks))
        aside = np.abs(x)
        out = np.where(aside < kerb, np.int32(PAVEMENT), np.int32(GRASS))
        across = crosses[number] & (along - number * np.float32(BLOCK) < np.float32(CROSSING))
        out[(aside < np.float32(street.half)) | across] = ROAD
        return out

    return choose


def _hills(street: Street, heading: np.ndarray, view: View) -> np.ndarray:
    """Give how many pixels the hills and trees at the street's end stand above the horizon."""
    at = (heading + np.float32(4)) * np.float32(24)
    whole = at.astype(np.int32)
    share = at - whole
    a, b = (chance(whole + i, street.seed, street.clip) for i in (0, 1))
    fine = chance((at * np.float32(16)).astype(np.int32), 5, street.clip)
    rise = np.float32(0.012) + np.float32(0.05) * (a + (b - a) * share) + np.float32(0.006) * fine
    return rise * np.float32(view.focal)


def _seen(canvas: Canvas, x: float, z: float, height: float) -> bool:
    """Tell whether a thing of a height, in metres, is in sight and more than a speck."""
    view = canvas.view
    t = view.depth_of(x, z)
    if t <= 0 or view.focal * height / t <= SMALL:
        return False
    column, _ = view.pixel_of(x, 0.0, z)
    reach = view.focal * 7.0 / t
    return -reach < column < view.width + reach


# ---- houses ----


def _houses(canvas: Canvas, side: int, houses: list[House]) -> None:
    """Draw the houses of a side, whose fronts are in one line."""
    houses = [house for house in houses if house.end > canvas.view.pose.z]
    if not houses:
        return
    starts, ends, tall = (
        np.array([getattr(house, name) for house in houses], np.float32) for name in ("start", "end", "height")
    )
    fronts = np.array([canvas.add(_front(house)) for house in houses], np.int32)
    x = side * houses[0].front
    canvas.row(x, starts, ends, np.zeros_like(tall), tall, fronts)
    eaves = np.array([canvas.add(_eave(house)) for house in houses], np.int32)
    canvas.row(x - side * EAVE, starts, ends, tall - np.float32(0.42), tall - np.float32(0.12), eaves)
    before: House | None = None
    for house in houses:
        if canvas.view.focal * house.height / canvas.view.depth_of(x, house.end) < 6 * SMALL:
            break
        if house.start > canvas.view.pose.z and (before is None or _taller(house, before)):
            _end(canvas, house, x)
        if house.roof:
            _roof(canvas, house, x)
        before = house


def _taller(house: House, before: House) -> bool:
    """Tell whether the end of a house is seen past the one before it."""
    return before.end < house.start or (before.height, bool(before.roof)) < (house.height, bool(house.roof))


def _front(of: House) -> Surface:
    return Surface(
        Kind.FACADE, ID["building"], of.wall, 0, (-float(of.side), 0.0, 0.0), (0.0, 0.0, of.start),
        more=(of.bay, of.floor, of.height, float(of.brick), float(of.shop), float(of.look % 4093),
              of.end - of.start, float(of.look >> 12)),
    )  # fmt: skip


def _eave(of: House) -> Surface:
    """Give the edge of a roof: of wood, or of the wall's stone."""
    colour = linear(96, 88, 80) if of.roof else (of.wall[0] * 0.8, of.wall[1] * 0.8, of.wall[2] * 0.8)
    return Surface(Kind.WALL, ID["building"], colour, 0, (-float(of.side), 0.0, 0.0), more=(0.0, 1.0, 99.0))


def _end(canvas: Canvas, of: House, x: float) -> None:
    """Draw the wall of a house that faces the camera."""
    surface = Surface(
        Kind.WALL, ID["building"], of.wall, 0, (0.0, 0.0, -1.0), (x, 0.0, 0.0),
        more=(float(of.brick), float(of.look % 4093), of.height),
    )  # fmt: skip
    ends = (x, x + DEEP) if of.side > 0 else (x - DEEP, x)

    def gable(at: np.ndarray) -> np.ndarray:
        off = np.abs(at - np.float32((ends[0] + ends[1]) / 2))
        return np.float32(of.height + RISE) - off * np.float32(2 * RISE / DEEP)

    canvas.across_street(of.start, ends, (0.0, of.height), surface, gable if of.roof else None)


def _roof(canvas: Canvas, of: House, x: float) -> None:
    assert of.roof
    tiles = Surface(
        Kind.ROOF, ID["building"], of.roof, 0, (-of.side * 0.6, 0.8, 0.0), (x, of.height, of.start),
        more=(float(of.look % 4093),),
    )  # fmt: skip
    low, high = (x - of.side * EAVE, of.height - 0.12), (x + of.side * DEEP / 2, of.height + RISE)
    canvas.sloping("x", low, high, (of.start, of.end), tiles)


def _fence(canvas: Canvas, of: Fence) -> None:
    if of.end < canvas.view.pose.z:
        return
    side = 1.0 if of.x > 0 else -1.0
    kind, label, colour = (
        (Kind.HEDGE, ID["vegetation"], HEDGE) if of.hedge else (Kind.FENCE, ID["fence"], linear(150, 138, 120))
    )
    surface = Surface(kind, label, colour, 0, (-side, 0.0, 0.0), (of.x, 0.0, of.start), more=(of.height,))
    canvas.along_street(of.x, (of.start, of.end), (0.0, of.height), surface)


# ---- trees and posts ----


def _tree(canvas: Canvas, of: Tree) -> None:
    if not _seen(canvas, of.x, of.z, of.height):
        return
    trunk = Surface(Kind.BARK, ID["vegetation"], linear(92, 74, 58), 0, (0.0, 0.0, -1.0), (of.x, 0.0, of.z))
    crown = of.height - of.radius * 1.3
    canvas.across_street(of.z, (of.x - 0.14, of.x + 0.14), (0.0, crown), trunk)
    far = canvas.view.focal * of.height / canvas.view.depth_of(of.x, of.z) < 30
    for i in range(1 if far else 4):
        out, up, size = (0.0, 0.0, 1.0) if i == 0 else (0.62 * (i - 2), 0.3 if i == 2 else -0.25, 0.62)
        r = of.radius * size
        centre = (of.x + out * of.radius, crown + up * of.radius, of.z - 0.25 * i)
        tone = 1.0 + 0.12 * ((of.look >> i) % 3 - 1)
        green = (of.green[0] * tone, of.green[1] * tone, of.green[2] * tone)
        leaves = Surface(
            Kind.LEAVES, ID["vegetation"], green, 0, (0.0, 0.35, -0.7), centre, more=(r, r * 1.15, float(of.look % 997))
        )
        canvas.blob(centre, (r, r * 1.15), leaves, 0.42)


def _post(canvas: Canvas, of: Post) -> None:
    tall = {"lamp": 5.6, "sign": 2.7, "light": 3.4}[of.what]
    if not _seen(canvas, of.x, of.z, tall) or of.z < canvas.view.pose.z:
        return
    pole = Surface(Kind.POLE, ID["pole"], GREY, 0, (0.0, 0.0, -1.0), (of.x, 0.0, of.z))
    canvas.across_street(of.z, (of.x - 0.055, of.x + 0.055), (0.0, tall), pole)
    if of.what == "lamp":
        inward = -1.0 if of.x > 0 else 1.0
        a, b = sorted((of.x, of.x + inward * 1.3))
        canvas.across_street(of.z, (a, b), (tall, tall + 0.09), pole)
        a, b = sorted((of.x + inward * 0.7, of.x + inward * 1.45))
        lamp = Surface(Kind.LAMP, ID["pole"], linear(226, 224, 214), 0, (0.0, 0.0, -1.0), (of.x, tall, of.z))
        canvas.across_street(of.z, (a, b), (tall - 0.12, tall + 0.02), lamp)
    elif of.what == "sign":
        _sign(canvas, of, tall)
    else:
        box = Surface(
            Kind.LIGHT, ID["traffic light"], linear(30, 32, 32), of.number, (0.0, 0.0, -1.0), (of.x, tall - 0.95, of.z),
            more=(float(of.number),),
        )  # fmt: skip
        canvas.across_street(of.z - 0.02, (of.x - 0.17, of.x + 0.17), (tall - 0.95, tall), box)


def _sign(canvas: Canvas, of: Post, tall: float) -> None:
    shape = of.look % 3
    centre = (of.x, tall - 0.1, of.z - 0.03)
    surface = Surface(
        Kind.SIGN, ID["traffic sign"], linear(236, 236, 236), of.number, (0.0, 0.0, -1.0), centre,
        more=(float(shape), float(of.look % 7)),
    )  # fmt: skip
    if shape == 0:
        canvas.blob(centre, (0.34, 0.34), surface, 0.0)
    elif shape == 1:

        def point(at: np.ndarray) -> np.ndarray:
            return np.float32(centre[1] + 0.38) - np.abs(at - np.float32(of.x)) * np.float32(0.66 / 0.38)

        canvas.across_street(centre[2], (of.x - 0.38, of.x + 0.38), (centre[1] - 0.28, 0.0), surface, point)
    else:
        canvas.across_street(centre[2], (of.x - 0.32, of.x + 0.32), (centre[1] - 0.32, centre[1] + 0.32), surface)


# ---- cars ----

WHEEL = 0.33
FEW_BELOW = 19
"""Pixels of height below which a car is a flank and an end with a window."""
CAR = ((0.0, 0.92), (0.12, 0.98), (0.50, 1.02), (1.05, 1.42), (2.35, 1.46), (3.05, 1.02), (3.85, 0.84), (4.10, 0.62))
VAN = ((0.0, 1.05), (0.02, 1.95), (0.20, 2.05), (3.70, 2.08), (4.00, 1.98), (4.55, 1.20), (5.05, 1.00), (5.20, 0.62))
"""Outline of a car, from the rear: (place along it, height), in metres."""
HALF = 0.87


def outline(of: Car) -> list[tuple[float, float]]:
    """Give the outline of a car, from its rear, stretched to its length."""
    points = VAN if of.van else CAR
    scale = of.length / points[-1][0]
    return [(s * scale, y) for s, y in points]


def _car(canvas: Canvas, of: Car, z: float) -> None:
    view = canvas.view
    if not _seen(canvas, of.x, z, 1.5) or z + of.length / 2 < view.pose.z:
        return
    line, rear = outline(of), z - of.heading * of.length / 2
    motion = (0.0, 0.0, of.heading * of.speed * SECONDS)

    def surface(
        kind: Kind, normal: tuple[float, float, float], colour: tuple[float, float, float], *more: float
    ) -> Surface:
        return Surface(
            kind, ID["car"], colour, of.number, normal, (of.x, 0.0, rear), motion, (float(of.heading), *more)
        )

    near, side = z - of.length / 2, -1.0 if of.x > view.pose.x else 1.0
    places = np.array([s for s, _ in line], np.float32)
    heights = np.array([y for _, y in line], np.float32)
    wheels = (0.19 * of.length, 0.80 * of.length)

    def top(at: np.ndarray) -> np.ndarray:
        return _between((at - np.float32(rear)) * np.float32(of.heading), places, heights)

    def bottom(at: np.ndarray) -> np.ndarray:
        along = (at - np.float32(rear)) * np.float32(of.heading)
        low = np.full(len(at), 0.24, np.float32)
        for wheel in wheels:
            square = np.float32(WHEEL * WHEEL) - (along - np.float32(wheel)) * (along - np.float32(wheel))
            arch = np.float32(WHEEL) - np.sqrt(np.maximum(square, 0))
            low = np.where(square > 0, np.minimum(low, arch), low)
        return low

    flank = surface(Kind.CAR_SIDE, (side, 0.1, 0.0), of.paint, *wheels, of.length, float(of.van))
    ends = sorted((rear, rear + of.heading * of.length))
    canvas.along_street(of.x + side * HALF, (ends[0], ends[1]), (0.0, 2.0), flank, top, bottom)
    shown = line if of.heading > 0 else line[::-1]
    few = view.focal * 1.45 / view.depth_of(of.x, z) < FEW_BELOW
    high = max(y for _, y in line) if few else shown[0][1]

    def under(at: np.ndarray) -> np.ndarray:
        tyre = np.abs(at - np.float32(of.x)) > np.float32(HALF - 0.22)
        return np.where(tyre, np.float32(0), np.float32(0.25))

    def cabin(at: np.ndarray) -> np.ndarray:
        return np.where(np.abs(at - np.float32(of.x)) > np.float32(HALF - 0.16), np.float32(0.96), np.float32(high))

    face = surface(Kind.CAR_END, (0.0, 0.1, -1.0), of.paint, float(few), float(of.van))
    canvas.across_street(
        near, (of.x - HALF, of.x + HALF), (0.0, high), face, cabin if few and not of.van else None, under
    )
    if few:
        return
    for start, end in pairwise(shown):
        _strip(canvas, of, rear, start, end, surface)


def _strip(
    canvas: Canvas, of: Car, rear: float, start: tuple[float, float], end: tuple[float, float],
    surface: Callable[..., Surface],
) -> None:  # fmt: skip
    """Draw a part of a car between its flanks: glass where it is steep, else paint."""
    run, rise = abs(end[0] - start[0]), end[1] - start[1]
    steep = rise > 0.25
    length = math.sqrt(run * run + rise * rise)
    normal = (0.0, run / length, -rise / length)
    if rise < 0 and (canvas.view.pose.y - start[1]) * run < -rise * 0.5:  # falls away from the camera
        return
    if steep and run < 0.05 * of.length and not of.van:
        run = 0.05
    z1, z2 = rear + of.heading * start[0], rear + of.heading * end[0]
    if abs(z2 - z1) < 1e-6:
        return
    ends = (of.x - HALF, of.x + HALF)
    canvas.sloping("z", (z1, start[1]), (z2, end[1]), ends, surface(Kind.PAINT, normal, of.paint, 0.0))
    if steep and not (of.van and run < 0.3):
        glass = surface(Kind.GLASS, normal, linear(40, 46, 52), 0.0)
        canvas.sloping("z", (z1, start[1] + 0.005), (z2, end[1] + 0.005), (ends[0] + 0.1, ends[1] - 0.1), glass)


def _between(at: np.ndarray, places: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Look up a line through points."""
    i = np.clip(np.searchsorted(places, at) - 1, 0, len(places) - 2)
    slope = (heights[1:] - heights[:-1]) / (places[1:] - places[:-1])
    out: np.ndarray = heights[i] + (at - places[i]) * slope[i]
    return out
