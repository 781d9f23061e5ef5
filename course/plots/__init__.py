"""Every figure of the workbook, in one style, with a description made from its data.

Each function takes plain arrays, lists or images and returns a `Figure`.
"""

from __future__ import annotations

from course.plots.beside import beside
from course.plots.charts import bars, curves, dot_table
from course.plots.detections import boxes, precision_recall, scene
from course.plots.diagnosis import confusion, most_wrong, reliability
from course.plots.differences import differences, kept, matrix
from course.plots.explained import explained
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
from course.plots.pareto import pareto
from course.plots.planes import loss_plane, scatter2d
from course.plots.rungs import rungs
from course.plots.timeline import timeline
from course.plots.tradeoff import tradeoff
from course.plots.words import search_results, similarities, word_map

__all__ = [
    "COLOURS",
    "MARKERS",
    "Figure",
    "bars",
    "beside",
    "boxes",
    "confusion",
    "curves",
    "described",
    "differences",
    "dot_table",
    "explained",
    "filters",
    "heatmaps",
    "image_grid",
    "kept",
    "loss_plane",
    "matrix",
    "most_wrong",
    "neighbours",
    "overlay",
    "pareto",
    "plain",
    "precision_recall",
    "predictions",
    "reliability",
    "rungs",
    "scatter2d",
    "scene",
    "search_results",
    "similarities",
    "stacked",
    "timeline",
    "tradeoff",
    "word_map",
]
