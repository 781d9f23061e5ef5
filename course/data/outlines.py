"""The outlines of the shapes corpus, as signed distance functions.

A signed distance is negative inside an outline and positive outside; joining two
outlines is a minimum, cutting one out of another a maximum (Quilez, "2D distance
functions"). Each outline is evaluated once, on a grid; `course.data.shapes` draws from
the grid.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Field = NDArray[np.float64]
Outline = Callable[[Field, Field], Field]

REACH = 1.6  # the grid spans [-REACH, REACH] in both directions
CELLS = 160


def disc(radius: float, x: float = 0.0, y: float = 0.0) -> Outline:
    """Return a disc around (x, y)."""
    return lambda px, py: np.hypot(px - x, py - y) - radius


def polygon(points: list[tuple[float, float]]) -> Outline:
    """Return a simple polygon, its corners in order."""
    corners = np.array(points, float)

    def distance(px: Field, py: Field) -> Field:
        nearest = np.full(px.shape, np.inf)
        inside = np.zeros(px.shape, bool)
        for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, 0), strict=True):
            ex, ey, wx, wy = bx - ax, by - ay, px - ax, py - ay
            along = np.clip((wx * ex + wy * ey) / (ex * ex + ey * ey), 0, 1)
            nearest = np.minimum(nearest, np.hypot(wx - ex * along, wy - ey * along))
            if ey:
                crosses = ((ay <= py) != (by <= py)) & (wx < wy * ex / ey)
                inside ^= crosses
        return np.where(inside, -nearest, nearest)

    return distance


def box(width: float, height: float, x: float = 0.0, y: float = 0.0) -> Outline:
    """Return a rectangle around (x, y), given its half width and half height."""
    return polygon(
        [
            (x - width, y - height),
            (x + width, y - height),
            (x + width, y + height),
            (x - width, y + height),
        ]
    )


def union(*outlines: Outline) -> Outline:
    """Return what lies in any of the outlines."""
    return lambda px, py: np.minimum.reduce([o(px, py) for o in outlines])


def cut(outline: Outline, *holes: Outline) -> Outline:
    """Return an outline without its holes."""
    return lambda px, py: np.maximum.reduce(
        [outline(px, py), *(-hole(px, py) for hole in holes)]
    )


def both(*outlines: Outline) -> Outline:
    """Return what lies in all of the outlines."""
    return lambda px, py: np.maximum.reduce([o(px, py) for o in outlines])


def turned(outline: Outline, degrees: float) -> Outline:
    """Return an outline turned about the origin."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return lambda px, py: outline(c * px + s * py, c * py - s * px)


def rounded(outline: Outline, radius: float) -> Outline:
    """Return an outline grown by a radius, which rounds its corners."""
    return lambda px, py: outline(px, py) - radius


def regular(corners: int, radius: float = 1.0, phase: float = 0.0) -> Outline:
    """Return a regular polygon, one corner upwards."""
    return star(corners, radius, None, phase)


def star(points: int, outer: float, inner: float | None, phase: float = 0.0) -> Outline:
    """Return a star, or the regular polygon of its points if `inner` is None."""
    radii = [outer] if inner is None else [outer, inner]
    steps = points * len(radii)
    angles = np.radians(phase - 90) + 2 * np.pi * np.arange(steps) / steps
    ring = [radii[i % len(radii)] for i in range(steps)]
    return polygon(
        [(r * np.cos(a), r * np.sin(a)) for r, a in zip(ring, angles, strict=True)]
    )


def petals(count: int, distance: float, radius: float) -> Outline:
    """Return discs around the centre, joined in the middle."""
    angles = 2 * np.pi * np.arange(count) / count - np.pi / 2
    leaves = [disc(radius, distance * np.cos(a), distance * np.sin(a)) for a in angles]
    return union(disc(distance * 0.75), *leaves)


def gear(teeth: int) -> Outline:
    """Return a toothed wheel with a hole."""
    bars = [turned(box(0.17, 1.0), 180 * k / (teeth // 2)) for k in range(teeth // 2)]
    return cut(union(disc(0.74), *bars), disc(0.32))


def heart() -> Outline:
    """Return a heart, its point downwards."""
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    x = 16 * np.sin(angles) ** 3
    y = -(
        13 * np.cos(angles)
        - 5 * np.cos(2 * angles)
        - 2 * np.cos(3 * angles)
        - np.cos(4 * angles)
    )
    return polygon(list(zip(x / 17, (y - 2.5) / 17, strict=True)))


def drop() -> Outline:
    """Return a drop, its point upwards."""
    return union(
        disc(0.62, 0, 0.36), polygon([(0, -1.05), (0.575, 0.13), (-0.575, 0.13)])
    )


def pin() -> Outline:
    """Return the pin of a map."""
    body = union(
        disc(0.62, 0, -0.38), polygon([(0, 1.05), (0.56, -0.1), (-0.56, -0.1)])
    )
    return cut(body, disc(0.26, 0, -0.38))


def horseshoe() -> Outline:
    """Return a U."""
    legs = union(box(0.82, 0.5, 0, -0.45), disc(0.82, 0, 0.05))
    return cut(legs, union(box(0.4, 0.7, 0, -0.65), disc(0.4, 0, 0.05)))


def fish() -> Outline:
    """Return a fish that swims to the right."""
    body = both(disc(0.95, 0.2, 0.55), disc(0.95, 0.2, -0.55))
    return union(body, polygon([(-0.35, 0), (-1.05, -0.5), (-0.85, 0), (-1.05, 0.5)]))


def key() -> Outline:
    """Return a key, its ring upwards."""
    head = cut(disc(0.42, 0, -0.6), disc(0.19, 0, -0.6))
    shaft = box(0.12, 0.62, 0, 0.4)
    teeth = union(box(0.2, 0.1, 0.3, 0.9), box(0.15, 0.1, 0.25, 0.5))
    return union(head, shaft, teeth)


def mushroom() -> Outline:
    """Return a mushroom."""
    cap = both(disc(0.95, 0, 0.12), box(1.2, 0.6, 0, -0.48))
    return union(cap, rounded(box(0.18, 0.4, 0, 0.42), 0.1))


def crown() -> Outline:
    """Return a crown with three points."""
    return polygon(
        [
            (-0.9, 0.7),
            (-0.95, -0.65),
            (-0.42, 0.0),
            (0, -0.85),
            (0.42, 0.0),
            (0.95, -0.65),
            (0.9, 0.7),
        ]
    )


def comb() -> Outline:
    """Return three teeth on a bar, a letter E."""
    teeth = [box(0.48, 0.17, 0.2, y) for y in (-0.73, 0, 0.73)]
    return union(box(0.2, 0.9, -0.5, 0), *teeth)


def bolt() -> Outline:
    """Return a flash of lightning."""
    return polygon(
        [
            (0.25, -1.05),
            (-0.6, 0.15),
            (-0.08, 0.15),
            (-0.3, 1.05),
            (0.6, -0.25),
            (0.05, -0.25),
        ]
    )


def arrow() -> Outline:
    """Return an arrow that points upwards."""
    return union(
        polygon([(0, -1.0), (0.75, -0.1), (-0.75, -0.1)]), box(0.26, 0.6, 0, 0.4)
    )


def chevron() -> Outline:
    """Return a broad angle that points upwards."""
    return polygon(
        [(0, -0.8), (0.9, 0.2), (0.9, 0.85), (0, -0.1), (-0.9, 0.85), (-0.9, 0.2)]
    )


def zigzag() -> Outline:
    """Return a step, a letter Z of right angles."""
    return polygon(
        [
            (-0.85, -0.8),
            (0.22, -0.8),
            (0.22, 0.35),
            (0.85, 0.35),
            (0.85, 0.8),
            (-0.22, 0.8),
            (-0.22, -0.35),
            (-0.85, -0.35),
        ]
    )


def house() -> Outline:
    """Return a house with a roof and a door."""
    walls = polygon([(-0.7, 0.9), (-0.7, -0.1), (0.7, -0.1), (0.7, 0.9)])
    roof = polygon([(-0.98, -0.05), (0, -1.0), (0.98, -0.05)])
    return cut(union(walls, roof), box(0.19, 0.34, 0, 0.6))


def ellipse() -> Outline:
    """Return a long ellipse (as a polygon of many corners)."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return polygon(list(zip(1.02 * np.cos(angles), 0.5 * np.sin(angles), strict=True)))


SOURCE: dict[str, Outline] = {
    "disc": disc(0.88),
    "ring": cut(disc(0.95), disc(0.52)),
    "square": box(0.76, 0.76),
    "frame": cut(box(0.84, 0.84), box(0.46, 0.46)),
    "bar": box(1.0, 0.34),
    "ellipse": ellipse(),
    "triangle": regular(3, 1.05),
    "hexagon": regular(6, 0.95),
    "star4": star(4, 1.08, 0.42),
    "star5": star(5, 1.08, 0.46),
    "burst": star(12, 1.0, 0.7),
    "plus": union(box(0.95, 0.31), box(0.31, 0.95)),
    "crescent": cut(disc(0.95), disc(0.8, 0.5, 0)),
    "half_disc": both(disc(1.0, 0, 0.4), box(1.2, 0.7, 0, -0.3)),
    "heart": heart(),
    "arrow": arrow(),
    "chevron": chevron(),
    "ell": union(box(0.26, 0.9, -0.5, 0), box(0.75, 0.26, 0.0, 0.64)),
    "tee": union(box(0.85, 0.26, 0, -0.62), box(0.26, 0.85, 0, 0.05)),
    "horseshoe": horseshoe(),
    "zigzag": zigzag(),
    "drop": drop(),
    "pac": cut(disc(0.95), polygon([(0, 0), (1.4, -1.0), (1.4, 1.0)])),
    "gear": gear(8),
    "clover": petals(4, 0.52, 0.42),
    "house": house(),
    "bolt": bolt(),
    "bow_tie": polygon(
        [(-0.95, -0.7), (0, -0.14), (0.95, -0.7), (0.95, 0.7), (0, 0.14), (-0.95, 0.7)]
    ),
    "dumbbell": union(disc(0.42, -0.62, 0), disc(0.42, 0.62, 0), box(0.6, 0.14)),
    "fish": fish(),
}

HELD_OUT: dict[str, Outline] = {
    "trefoil": petals(3, 0.52, 0.44),
    "star6": star(6, 1.05, 0.58),
    "key": key(),
    "mushroom": mushroom(),
    "tri_ring": cut(regular(3, 1.1), regular(3, 0.52)),
    "aitch": union(box(0.22, 0.85, -0.55, 0), box(0.22, 0.85, 0.55, 0), box(0.5, 0.2)),
    "pin": pin(),
    "lens": both(disc(1.15, 0, 0.68), disc(1.15, 0, -0.68)),
    "comb": comb(),
    "crown": crown(),
}


@cache
def atlas() -> Tensor:
    """Return the distance of every outline on a grid: float32 (outlines, CELLS, CELLS).

    Row and column i stand for the coordinate ``(i + 0.5) / CELLS * 2 - 1`` times REACH.
    """
    line = ((np.arange(CELLS) + 0.5) / CELLS * 2 - 1) * REACH
    px, py = np.meshgrid(line, line)
    fields = [outline(px, py) for outline in (SOURCE | HELD_OUT).values()]
    return torch.from_numpy(np.stack(fields).astype(np.float32))
