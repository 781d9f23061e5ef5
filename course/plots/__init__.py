"""Every figure of the workbook, in one style, with a description made from its data.

Each function takes plain arrays, lists or images and returns a `Figure`.
"""

from __future__ import annotations

from course.plots.charts import bars, curves, dot_table
from course.plots.figure import COLOURS, MARKERS, Figure, described
from course.plots.heat import heatmaps, overlay
from course.plots.images import (
    filters,
    image_grid,
    neighbours,
    plain,
    predictions,
    stacked,
)
from course.plots.planes import loss_plane, scatter2d

__all__ = [
    "COLOURS",
    "MARKERS",
    "Figure",
    "bars",
    "curves",
    "described",
    "dot_table",
    "filters",
    "heatmaps",
    "image_grid",
    "loss_plane",
    "neighbours",
    "overlay",
    "plain",
    "predictions",
    "scatter2d",
    "stacked",
]
