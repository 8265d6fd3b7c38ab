"""Draw people: 17 key points that walk or dance, in the order of COCO, and limbs of cloth and skin around them."""

from __future__ import annotations

from dataclasses import dataclass

from i2i_core.data.worlds.streets.camera import NEAR, View
from i2i_core.data.worlds.streets.canvas import Canvas, Surface
from i2i_core.data.worlds.streets.classes import ID
from i2i_core.data.worlds.streets.exactly import Draws, cosine, sine
from i2i_core.data.worlds.streets.kinds import Kind
from i2i_core.data.worlds.streets.plan import SECONDS, Colour, Person, Street, linear

POINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
MIRRORED = tuple((i, i + 1) for i in range(1, 17, 2))
"""Pairs of points that swap in the mirror."""
Place = tuple[float, float, float]
SHOES = linear(38, 34, 32)


@dataclass(frozen=True)
class Limb:
    """Name the ends of a limb, among key points and `_further` points, their radii in heads, and its stuff."""

    a: int
    b: int
    radius: tuple[float, float]
    stuff: str


NECK, PELVIS, CROWN, LEFT_TOE, RIGHT_TOE, CHIN = range(17, 23)
LIMBS = (
    Limb(13, 15, (0.30, 0.19), "trousers"),
    Limb(14, 16, (0.30, 0.19), "trousers"),
    Limb(11, 13, (0.40, 0.30), "trousers"),
    Limb(12, 14, (0.40, 0.30), "trousers"),
    Limb(15, LEFT_TOE, (0.20, 0.15), "shoes"),
    Limb(16, RIGHT_TOE, (0.20, 0.15), "shoes"),
    Limb(9, 9, (0.20, 0.20), "skin"),
    Limb(10, 10, (0.20, 0.20), "skin"),
    Limb(7, 9, (0.22, 0.17), "shirt"),
    Limb(8, 10, (0.22, 0.17), "shirt"),
    Limb(5, 7, (0.27, 0.22), "shirt"),
    Limb(6, 8, (0.27, 0.22), "shirt"),
    Limb(5, 11, (0.36, 0.38), "shirt"),
    Limb(6, 12, (0.36, 0.38), "shirt"),
    Limb(NECK, PELVIS, (0.36, 0.42), "shirt"),
    Limb(NECK, CHIN, (0.24, 0.24), "skin"),
    Limb(CHIN, CROWN, (0.36, 0.44), "skin"),
    Limb(CROWN, CROWN, (0.50, 0.50), "hair"),
)
FEW = (0, 1, 2, 3, 8, 9, 10, 11, 14, 16)
"""Limbs of people who are far away."""
FEWEST = (2, 3, 14, 16)
FEW_BELOW, FEWEST_BELOW = 26, 11
"""Pixels of height below which a person has few limbs."""


def joints(person: Person, frame: int, z: float) -> list[Place]:
    """Place the 17 key points, then neck, pelvis, crown, toes and chin, in metres."""
    body = _dance(person, frame) if person.dancing else _walk(person, frame)
    if person.dancing:  # faces the camera
        return [(person.x - a, b, z - c) for a, b, c in body]
    return [(person.x + a * person.heading, b, z + c * person.heading) for a, b, c in body]


def _head(h: float, neck: Place) -> list[Place]:
    x, y, z = neck
    nose, eye, ear = y + 0.085 * h, y + 0.105 * h, y + 0.095 * h
    return [
        (x, nose, z + 0.055 * h), (x - 0.018 * h, eye, z + 0.05 * h), (x + 0.018 * h, eye, z + 0.05 * h),
        (x - 0.042 * h, ear, z), (x + 0.042 * h, ear, z),
    ]  # fmt: skip


def _walk(person: Person, frame: int) -> list[Place]:
    """Place the points of a walker about the place between the feet: (to the right, up, forward), metres."""
    h, rate = person.height, 0.55 + 0.35 * person.speed
    p = person.phase + frame * SECONDS * rate
    swing = sine(p)
    bob = 0.012 * h * cosine(2 * p)
    hip, shoulder = 0.52 * h + bob, 0.82 * h + bob
    legs = [_leg(h, hip, side, s, lifted) for side, s, lifted in ((-1, swing, cosine(p)), (1, -swing, -cosine(p)))]
    arms = [_arm(h, shoulder, side, -s * 0.8) for side, s in ((-1, swing), (1, -swing))]
    return _body(h, shoulder, hip, (0.0, 0.0), arms, legs)


def _leg(h: float, hip: float, side: int, swing: float, lifted: float) -> list[Place]:
    """Place hip, knee, ankle and toe."""
    thigh = 0.075 * swing
    bend = 0.02 + 0.085 * max(lifted, 0.0)
    knee = (side * 0.055 * h, hip - 0.245 * h * cosine(thigh), 0.245 * h * sine(thigh))
    shin = thigh - bend
    ankle = (knee[0], knee[1] - 0.245 * h * cosine(shin), knee[2] + 0.245 * h * sine(shin))
    return [(side * 0.055 * h, hip, 0.0), knee, ankle, (ankle[0], max(ankle[1] - 0.02 * h, 0.0), ankle[2] + 0.08 * h)]


def _arm(h: float, shoulder: float, side: int, swing: float) -> list[Place]:
    """Place shoulder, elbow and wrist."""
    upper, lower = 0.07 * swing, 0.07 * swing + 0.05
    x = side * 0.115 * h
    elbow = (x + side * 0.012 * h, shoulder - 0.17 * h * cosine(upper), 0.17 * h * sine(upper))
    return [
        (x, shoulder, 0.0),
        elbow,
        (elbow[0], elbow[1] - 0.155 * h * cosine(lower), elbow[2] + 0.155 * h * sine(lower)),
    ]


def _dance(person: Person, frame: int) -> list[Place]:
    """Place the points of a dancer: arms and hips that follow a beat, different for each person."""
    h, beat = person.height, frame * SECONDS * 0.55 + person.phase
    d = Draws("dance", person.number, person.phase)
    sway = 0.05 * h * sine(beat)
    dip = 0.045 * h * (1 + sine(2 * beat))
    hip, shoulder = 0.52 * h - dip, 0.82 * h - dip
    arms, legs = [], []
    for side in (-1, 1):
        up = 0.22 + 0.2 * sine(beat * (1 + d.whole(("rate", side), 2)) + d.unit(("arm", side)))
        fold = 0.12 * sine(beat * 2 + d.unit(("fold", side)))
        x = side * 0.115 * h + sway * 1.3
        elbow = (x + side * 0.17 * h * sine(up), shoulder - 0.17 * h * cosine(up), 0.02 * h)
        out = up + fold + 0.05
        wrist = (elbow[0] + side * 0.155 * h * sine(out), elbow[1] - 0.155 * h * cosine(out), 0.05 * h)
        arms.append([(x, shoulder, 0.0), elbow, wrist])
        step = max(0.0, sine(beat + (0.0 if side < 0 else 0.5)))
        foot = (side * 0.1 * h + side * 0.06 * h * step, 0.035 * h + 0.06 * h * step, 0.03 * h)
        hips = (side * 0.055 * h + sway, hip, 0.0)
        knee = ((hips[0] + foot[0]) / 2 + side * (0.03 * h + dip * 0.5), (hip + foot[1]) / 2, 0.06 * h)
        legs.append([hips, knee, foot, (foot[0] + side * 0.02 * h, foot[1] - 0.03 * h, 0.1 * h)])
    return _body(h, shoulder, hip, (sway * 1.3, sway), arms, legs)


def _body(
    h: float, shoulder: float, hip: float, lean: tuple[float, float], arms: list[list[Place]], legs: list[list[Place]]
) -> list[Place]:
    neck = (lean[0], shoulder + 0.03 * h, 0.0)
    pairs = [[part[i] for part in parts] for parts, n in ((arms, 3), (legs, 3)) for i in range(n)]
    return [
        *_head(h, neck), *(place for pair in pairs for place in pair),
        neck, (lean[1], hip, 0.0), (neck[0], neck[1] + 0.105 * h, -0.01 * h), legs[0][3], legs[1][3],
        (neck[0], neck[1] + 0.045 * h, 0.02 * h),
    ]  # fmt: skip


def key_points(view: View, person: Person, frame: int, z: float) -> list[tuple[float, float, float]]:
    """Give the 17 key points in pixels, each with 1 where it is in the picture, else 0. Others may stand before it."""
    found = []
    for x, y, at in joints(person, frame, z)[:17]:
        column, row = view.pixel_of(x, y, at)
        inside = view.depth_of(x, at) > NEAR and 0 <= column < view.width and 0 <= row < view.height
        found.append((column, row, float(inside)))
    return found


def ends(view: View, places: list[Place], limb: Limb) -> tuple[tuple[float, float], tuple[float, float]]:
    """Give the ends of a limb in pixels."""
    return view.pixel_of(*places[limb.a]), view.pixel_of(*places[limb.b])


def draw(canvas: Canvas, street: Street, person: Person, frame: int) -> None:
    """Draw a person, limb by limb, each in the depth of its middle."""
    view, z = canvas.view, street.stand(person, frame)
    places = joints(person, frame, z)
    if min(view.depth_of(x, at) for x, _, at in places) < NEAR * 2:
        return
    head = 0.125 * person.height
    tall = view.focal * person.height / view.depth_of(person.x, z)
    column, _ = view.pixel_of(person.x, 0.0, z)
    reach = view.focal * 1.1 / view.depth_of(person.x, z)
    if not -reach < column < view.width + reach or tall < 2:
        return
    for i in range(len(LIMBS)) if tall >= FEW_BELOW else FEW if tall >= FEWEST_BELOW else FEWEST:
        limb = LIMBS[i]
        a, b = ends(view, places, limb)
        middle = [(p + q) / 2 for p, q in zip(places[limb.a], places[limb.b], strict=True)]
        t = view.depth_of(middle[0], middle[2])
        scale = view.focal * head / t
        surface = Surface(
            Kind.CLOTH, ID["person"], _colour(person, limb.stuff), person.number, (0.0, 0.2, -0.9),
            (person.x, 0.0, z), more=(*a, *b, float(i), float(person.number), scale * max(limb.radius)),
        )  # fmt: skip
        canvas.limb(a, b, (limb.radius[0] * scale, limb.radius[1] * scale), t, surface)


def _colour(person: Person, stuff: str) -> Colour:
    return SHOES if stuff == "shoes" else getattr(person, stuff)
