"""Plan a street: what stands where, as a function of (seed, clip) and of how far along the street one looks.

A street goes on for ever, in blocks of BLOCK metres that are planned one by one, so that a frame needs no frame before
it. Cars and people that move come round again out of sight.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from i2i_core.data.worlds.streets.camera import Pose
from i2i_core.data.worlds.streets.exactly import Draws, sine

BLOCK = 40.0
CROSSING = 8.0
"""Metres of a block that a street across takes, where there is one."""
SECONDS = 0.08
"""Seconds from one frame to the next."""
AHEAD = 4
"""Blocks that are drawn."""
BEHIND = 14.0
"""Metres behind the camera where what moves comes round."""
ROUND, WALK = 200.0, 84.0
"""Metres after which cars and walkers come round."""

Colour = tuple[float, float, float]


def linear(*rgb: int) -> Colour:
    """Turn a colour as screens have it, 0 to 255, into one that light can be multiplied with."""
    r, g, b = ((c / 255) * (c / 255) for c in rgb)
    return r, g, b


WALLS = tuple(
    linear(*c)
    for c in (
        *((170, 92, 70), (196, 142, 104), (214, 198, 168), (226, 214, 196), (150, 142, 134), (182, 104, 84)),
        *((206, 178, 128), (168, 178, 176), (222, 184, 168), (190, 198, 176), (128, 84, 70), (236, 230, 220)),
    )
)
ROOFS = tuple(linear(*c) for c in ((120, 60, 46), (92, 84, 84), (140, 78, 58), (74, 72, 78)))
PAINTS = tuple(
    linear(*c)
    for c in (
        *((178, 24, 28), (236, 236, 234), (36, 38, 44), (150, 154, 160), (32, 66, 138), (196, 200, 204)),
        *((24, 84, 64), (214, 160, 36), (92, 96, 102), (98, 28, 34)),
    )
)
CLOTHES = tuple(
    linear(*c)
    for c in (
        *((190, 40, 44), (36, 44, 72), (222, 214, 198), (58, 106, 72), (216, 150, 40), (84, 74, 120)),
        *((44, 44, 46), (120, 160, 196), (150, 84, 110)),
    )
)
TROUSERS = tuple(linear(*c) for c in ((40, 46, 66), (34, 34, 36), (92, 78, 62), (70, 86, 110)))
SKINS = tuple(linear(*c) for c in ((236, 194, 166), (204, 152, 116), (150, 100, 70), (96, 62, 46)))
HAIRS = tuple(linear(*c) for c in ((36, 26, 22), (90, 58, 34), (176, 136, 80), (110, 108, 106)))


@dataclass(frozen=True)
class House:
    """Plan a house: its side (-1 left, 1 right), its extent along the street, its front and its look."""

    side: int
    start: float
    end: float
    front: float
    height: float
    floor: float
    bay: float
    wall: Colour
    brick: bool
    shop: bool
    roof: Colour | None
    """None: a flat roof."""
    look: int


@dataclass(frozen=True)
class Tree:
    """Plan a tree."""

    x: float
    z: float
    height: float
    radius: float
    green: Colour
    look: int


@dataclass(frozen=True)
class Car:
    """Plan a car. `heading` 1: it shows its rear to the camera; -1: its front."""

    number: int
    x: float
    z: float
    heading: int
    speed: float
    """Metres a second, in its own direction."""
    paint: Colour
    van: bool
    length: float


@dataclass(frozen=True)
class Person:
    """Plan a person who walks along the street, or stands and dances."""

    number: int
    x: float
    z: float
    heading: int
    speed: float
    height: float
    phase: float
    dancing: bool
    shirt: Colour
    trousers: Colour
    skin: Colour
    hair: Colour


@dataclass(frozen=True)
class Post:
    """Plan what stands on a pole: a lamp, a sign, or a traffic light."""

    number: int
    what: str
    x: float
    z: float
    look: int


@dataclass(frozen=True)
class Fence:
    """Plan a fence or a hedge along the street."""

    x: float
    start: float
    end: float
    height: float
    hedge: bool


@dataclass(frozen=True)
class Block:
    """Hold all that stands in one block."""

    start: float
    crossing: bool
    houses: tuple[House, ...]
    trees: tuple[Tree, ...]
    cars: tuple[Car, ...]
    posts: tuple[Post, ...]
    fences: tuple[Fence, ...]


@dataclass(frozen=True)
class Street:
    """Hold what is the same in every frame of a clip."""

    seed: int
    clip: int
    stage: bool
    """True where the camera keeps before one person, a dancer or a walker."""
    half: float
    """Half the width of the road, in metres."""
    pavement: float
    back: tuple[float, float]
    """Metres from the pavement to the houses, on the left and on the right."""
    city: bool
    speed: float
    start: float
    lane: float
    eye: float
    yaw: float
    horizon: float
    sun: float
    """Turns from straight ahead to the sun, to the right."""
    cars: tuple[Car, ...]
    people: tuple[Person, ...]

    def pose(self, frame: int) -> Pose:
        """Place the camera of a frame."""
        swing = frame / 97.0 + self.sun
        still = 0.25 if self.stage else 1.0
        return Pose(
            self.lane + 0.12 * still * sine(swing * 0.7),
            self.eye + 0.015 * still * sine(swing * 2.3),
            self.start + self.speed * SECONDS * frame,
            self.yaw + 0.006 * still * sine(swing),
            self.horizon + 0.004 * still * sine(swing * 1.6),
        )

    def place(self, car: Car, frame: int) -> float:
        """Give where along the street a car is that drives."""
        return self._round(car.z, car.speed * car.heading, ROUND, frame)

    def stand(self, person: Person, frame: int) -> float:
        """Give where along the street a person is."""
        if self.stage and person.number == self.people[0].number:
            return self.start + person.z + person.speed * person.heading * SECONDS * frame
        return self._round(person.z, person.speed * person.heading, WALK, frame)

    def _round(self, z: float, speed: float, length: float, frame: int) -> float:
        moved = z + (speed - self.speed) * SECONDS * frame
        return self.start + self.speed * SECONDS * frame - BEHIND + (moved - length * float(moved // length))

    def blocks(self, z: float) -> list[Block]:
        """List the blocks that are in sight from a place."""
        first = int(z // BLOCK)
        return [block(self.seed, self.clip, self.stage, first + i) for i in range(AHEAD)]


@lru_cache(maxsize=32)
def street(seed: int, clip: int, stage: bool = False) -> Street:
    """Plan the street of a clip; `stage` for one person before the camera, who dances, or walks as the camera goes."""
    d = Draws("street", seed, clip, stage)
    half, pavement = d.between("half", 4.9, 5.6), d.between("pavement", 2.4, 3.6)
    lane = 0.0 if stage else d.between("lane", 1.3, 1.9)
    cars = (*_driving(d.of("ahead"), 1, half, 1), *_driving(d.of("oncoming"), -1, half, 100)) if not stage else ()
    city = d.unit("city") < 0.5
    back = (0.0, 0.0) if city else (d.between("left", 0.0, 3.0), d.between("right", 0.0, 3.0))
    people = _people(d.of("people"), half, pavement, stage, lane + half * 0.5)
    return Street(
        seed, clip, stage, half, pavement, back, city,
        speed=people[0].speed * people[0].heading if stage else d.between("speed", 6.0, 11.0),
        start=d.between("start", 0.0, 4000.0),
        lane=lane + (half * 0.5 if stage else 0.0),
        eye=d.between("eye", 1.35, 1.55) if stage else d.between("eye", 1.5, 2.1),
        yaw=d.between("yaw", -0.012, 0.012),
        horizon=d.between("horizon", 0.45, 0.52),
        sun=d.between("sun", -0.5, 0.5),
        cars=cars,
        people=people,
    )  # fmt: skip


def _driving(d: Draws, heading: int, half: float, number: int) -> tuple[Car, ...]:
    """Plan the cars of a lane, with room between them; all of a lane are equally fast."""
    cars: list[Car] = []
    speed, z = d.between("speed", 6.0, 10.0), BEHIND + d.between("first", 9.0, 26.0)
    while z < ROUND - 8.0 and len(cars) < 9:
        of = d.of(len(cars))
        cars.append(car(of, number + len(cars), heading * (half - 2.3) * 0.52, z, heading, speed))
        z += of.between("gap", 11.0, 45.0)
    return tuple(cars)


def car(d: Draws, number: int, x: float, z: float, heading: int, speed: float) -> Car:
    """Plan a car at a place."""
    van = d.unit("van") < 0.2
    length = d.between("length", 4.9, 5.6) if van else d.between("length", 3.9, 4.7)
    return Car(number, x, z, heading, speed, PAINTS[d.whole("paint", len(PAINTS))], van, length)


def _people(d: Draws, half: float, pavement: float, stage: bool, middle: float) -> tuple[Person, ...]:
    """Plan those who walk on the pavements, each with a lane and a pace; of a stage, first whom the camera looks at."""
    people = []
    if stage:
        dancing = d.unit("dances") < 0.6
        place = (middle + d.between("place", -0.5, 0.5), d.between("far", 4.3, 5.6))
        people.append(_person(d.of("first"), 200, place[0], place[1], 0.0 if dancing else 0.9, dancing))
    for i in range(5 + d.whole("number", 9)):
        of = d.of(i)
        side = 1 if of.unit("side") < 0.5 else -1
        x = side * (half + of.between("x", 0.7, pavement - 0.3))
        people.append(_person(of, 201 + i, x, of.between("z", 0.0, WALK), of.between("speed", 0.8, 1.7), False))
    return tuple(people)


def _person(d: Draws, number: int, x: float, z: float, speed: float, dancing: bool) -> Person:
    return Person(
        number, x, z, 1 if d.unit("heading") < 0.5 else -1, speed, d.between("height", 1.55, 1.9), d.unit("phase"),
        dancing, CLOTHES[d.whole("shirt", len(CLOTHES))], TROUSERS[d.whole("trousers", len(TROUSERS))],
        SKINS[d.whole("skin", len(SKINS))], HAIRS[d.whole("hair", len(HAIRS))],
    )  # fmt: skip


# ---- what stands ----


@lru_cache(maxsize=256)
def block(seed: int, clip: int, stage: bool, number: int) -> Block:
    """Plan a block of a street."""
    of = street(seed, clip, stage)
    d = Draws("block", seed, clip, stage, number)
    start, crossing = number * BLOCK, d.unit("crossing") < 0.42
    first = start + (CROSSING if crossing else 0.0)
    houses: list[House] = []
    fences: list[Fence] = []
    trees: list[Tree] = []
    for side in (-1, 1):
        built, open_ = _houses(d.of("side", side), of, side, first, start + BLOCK)
        houses += built
        for a, b in open_:
            front = of.half + of.pavement + 0.2
            hedge = d.unit(("hedge", a, side)) < 0.5
            fences.append(Fence(side * front, a, b, d.between(("tall", a, side), 0.8, 1.5), hedge))
            trees.append(_tree(d.of("garden", a, side), side * (front + 3.0), (a + b) / 2))
    trees += _along_the_kerb(d.of("trees"), of, first, start + BLOCK)
    base = 1000 + number % 1600 * 40  # ids of objects fit 16 bits; those of four neighbours differ
    return Block(
        start, crossing, tuple(houses), tuple(trees),
        tuple(_parked(d.of("parked"), of, base, first + 5.0, start + BLOCK - 5.0)),
        tuple(_posts(d.of("posts"), of, base + 20, start, crossing)), tuple(fences),
    )  # fmt: skip


def _houses(d: Draws, of: Street, side: int, start: float, end: float) -> tuple[list[House], list[tuple[float, float]]]:
    """Fill a side with houses; give them, and the gaps that are left open."""
    houses: list[House] = []
    gaps: list[tuple[float, float]] = []
    z, i = start, 0
    while end - z > 5.0:
        one = d.of(i)
        wide = min(one.between("wide", 7.0, 15.0), end - z)
        wide = end - z if end - z - wide < 6.0 else wide
        if one.unit("gap") < (0.12 if of.city else 0.3) and wide > 4.0 and i:
            wide = min(wide, 6.0)
            gaps.append((z, z + wide))
        else:
            houses.append(_house(one, of, side, z, z + wide, of.half + of.pavement + of.back[side > 0]))
        z, i = z + wide, i + 1
    return houses, gaps


def _house(d: Draws, of: Street, side: int, start: float, end: float, front: float) -> House:
    floor = d.between("floor", 2.9, 3.5)
    floors = 3 + d.whole("floors", 4) if of.city else 2 + d.whole("floors", 2)
    pitched = d.unit("roof") < (0.3 if of.city else 0.85)
    bays = max(2, round((end - start) / d.between("bay", 2.3, 3.4)))
    return House(
        side, start, end, front, floors * floor + 0.4, floor,
        (end - start) / bays, WALLS[d.whole("wall", len(WALLS))], d.unit("brick") < 0.55,
        of.city and d.unit("shop") < 0.6, ROOFS[d.whole("tiles", len(ROOFS))] if pitched else None,
        d.whole("look", 1 << 20),
    )  # fmt: skip


def _tree(d: Draws, x: float, z: float) -> Tree:
    height = d.between("height", 4.6, 8.2)
    green = linear(int(d.between("r", 58, 112)), int(d.between("g", 96, 132)), int(d.between("b", 30, 56)))
    return Tree(x, z, height, d.between("radius", 1.3, 2.3), green, d.whole("look", 1 << 20))


def _along_the_kerb(d: Draws, of: Street, start: float, end: float) -> list[Tree]:
    density = d.between("density", 0.0, 0.8)
    places = [(side, start + 5.0 + 9.0 * i) for side in (-1, 1) for i in range(4)]
    return [
        _tree(d.of(side, z), side * (of.half + 0.75), z)
        for side, z in places
        if z < end - 2.0 and d.unit((side, z)) < density
    ]


def _parked(d: Draws, of: Street, number: int, start: float, end: float) -> list[Car]:
    density, cars = d.between("density", 0.15, 0.75), list[Car]()
    for side in (-1, 1):
        for i in range(int((end - start) / 6.2)):
            one = d.of(side, i)
            if one.unit("there") < density:
                z = start + 6.2 * i + one.between("z", 0.0, 0.7)
                cars.append(car(one, number + len(cars), side * (of.half - 1.02), z, side, 0.0))
    return cars


def _posts(d: Draws, of: Street, number: int, start: float, crossing: bool) -> list[Post]:
    edge = of.half + 0.4
    posts = [Post(number, "lamp", edge, start + 10.0, 0), Post(number + 1, "lamp", -edge, start + 30.0, 0)]
    for i in range(3):
        if d.unit(i) < 0.5:
            side = 1 if d.unit(("side", i)) < 0.7 else -1
            z = start + d.between(("z", i), 12.0, 38.0)
            posts.append(Post(number + 2 + i, "sign", side * (edge + 0.1), z, d.whole(("look", i), 1 << 16)))
    if crossing:
        posts += [Post(number + 6 + i, "light", s * (edge - 0.1), start - 0.6, i) for i, s in enumerate((-1, 1))]
    return posts
