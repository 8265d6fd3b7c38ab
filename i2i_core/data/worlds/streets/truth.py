"""Tell what moves where, and where objects and their joints are: flow, boxes and key points of a frame."""

from __future__ import annotations

import numpy as np

from i2i_core.data.worlds.streets import people
from i2i_core.data.worlds.streets.camera import View
from i2i_core.data.worlds.streets.classes import ID
from i2i_core.data.worlds.streets.frames import Frame
from i2i_core.data.worlds.streets.kinds import Kind
from i2i_core.data.worlds.streets.plan import SECONDS, Person

F = np.float32


def boxes(labels: np.ndarray, instances: np.ndarray) -> np.ndarray:
    """List the boxes of all objects, (N, 5) float32, in the order of their ids: left, top, right, bottom in pixels, and
    class. They are the extents of what the instance map shows of each."""
    rows, columns = np.nonzero(instances)
    ids = instances[rows, columns]
    found = np.unique(ids)
    at = np.searchsorted(found, ids)
    out = np.zeros((len(found), 5), np.int64)
    out[:, :2] = instances.size
    np.minimum.at(out[:, 0], at, columns)
    np.minimum.at(out[:, 1], at, rows)
    np.maximum.at(out[:, 2], at, columns + 1)
    np.maximum.at(out[:, 3], at, rows + 1)
    out[at, 4] = labels[rows, columns]
    return out.astype(np.float32)


def flow(frame: Frame) -> np.ndarray:
    """Give how far each pixel's surface moves until the next frame, (height, width, 2) float32: pixels to the right and
    down.

    It holds for surfaces that the next frame hides, too. The sky and the hills are so far that they only turn.
    """
    view, surfaces, part = frame.view, frame.canvas.surfaces, frame.part
    depth = frame.canvas.depth
    across, along, up = view.across, view.along, view.up[:, None]
    motion = np.array([s.motion for s in surfaces], np.float32)[part]
    x = F(view.pose.x) + depth * across + motion[..., 0]
    y = F(view.pose.y) + depth * up + motion[..., 1]
    z = F(view.pose.z) + depth * along + motion[..., 2]
    after = View(frame.street.pose(frame.number + 1), view.height, view.width)
    columns, rows, _ = after.pixels_of(x, y, z)
    here = np.stack(np.broadcast_arrays(after.columns.astype(np.float32), after.rows.astype(np.float32)[:, None]), -1)
    out = np.stack([columns, rows], -1) - here
    _limbs(frame, after, here, out)
    return out


def _limbs(frame: Frame, after: View, here: np.ndarray, out: np.ndarray) -> None:
    """Move what belongs to a limb along with the limb."""
    surfaces = frame.canvas.surfaces
    of_limbs = np.array([s.kind == Kind.CLOTH for s in surfaces])
    at = of_limbs[frame.part]
    if not at.any():
        return
    table = np.zeros((len(surfaces), 9), np.float32)
    by_number = {person.number: person for person in frame.street.people}
    places = {}
    for i, surface in enumerate(surfaces):
        if surface.kind == Kind.CLOTH:
            number = int(surface.more[5])
            if number not in places:
                person = by_number[number]
                places[number] = people.joints(person, frame.number + 1, _next_place(frame, person))
            limb = people.LIMBS[int(surface.more[4])]
            a, b = people.ends(after, places[number], limb)
            nearer = frame.view.depth_of(surface.origin[0], surface.origin[2]) / max(
                after.depth_of(places[number][people.PELVIS][0], places[number][people.PELVIS][2]), 0.1
            )
            table[i] = (*surface.more[:4], *a, *b, nearer)
    ax, ay, bx, by, cx, cy, dx, dy, nearer_ = table[frame.part[at]].T
    px, py = here[at].T
    ex, ey = bx - ax, by - ay
    share = np.clip(((px - ax) * ex + (py - ay) * ey) / (ex * ex + ey * ey + F(1e-3)), 0, 1)
    qx, qy = ax + share * ex, ay + share * ey
    moved_x = cx + share * (dx - cx) + (px - qx) * nearer_
    moved_y = cy + share * (dy - cy) + (py - qy) * nearer_
    out[at] = np.stack([moved_x - px, moved_y - py], -1)


def _next_place(frame: Frame, person: Person) -> float:
    return frame.street.stand(person, frame.number) + person.speed * person.heading * SECONDS


def key_points(frame: Frame) -> np.ndarray:
    """Give the 17 key points of the person before the camera of a stage, (17, 3) float32: column, row, and 1 where it
    is in the picture, else 0."""
    person = frame.street.people[0]
    z = frame.street.stand(person, frame.number)
    return np.array(people.key_points(frame.view, person, frame.number, z), np.float32)


def counts(frame: Frame) -> dict[str, int]:
    """Count the objects of each class that is counted, by the instance map."""
    found: dict[str, int] = {}
    listed = boxes(frame.labels, frame.instances)
    for name in ("car", "person", "traffic light", "traffic sign"):
        found[name] = int(np.count_nonzero(listed[:, 4] == ID[name]))
    return found
