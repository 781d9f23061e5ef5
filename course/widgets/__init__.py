"""Every widget of the workbook, one module each; none of them computes anything.

A widget is given finished pictures, or a function from its state to a picture. It can
be driven without a browser, and leaves a still picture for a page without a kernel.
"""

from __future__ import annotations

from course.widgets.corpus import CorpusExplorer
from course.widgets.course_map import CourseMap
from course.widgets.detector_dials import DetectorDials
from course.widgets.doc_search import DocSearch
from course.widgets.exercise_panel import ExercisePanel
from course.widgets.feature_map import FeatureMap
from course.widgets.filters_forming import FiltersForming
from course.widgets.floor_dial import FloorDial
from course.widgets.image_classifier import ImageClassifier
from course.widgets.labeller import Labeller
from course.widgets.layer_slider import LayerSlider
from course.widgets.learning_rate import LearningRateDial
from course.widgets.mix_slider import MixSlider
from course.widgets.model_chooser import ModelChooser
from course.widgets.monitor import LossMonitor
from course.widgets.poll import Poll
from course.widgets.results_table import ResultsTable
from course.widgets.scene_builder import SceneBuilder
from course.widgets.strategy_lab import StrategyLab
from course.widgets.target_dial import TargetDial
from course.widgets.winner import PredictTheWinner

__all__ = [
    "CorpusExplorer",
    "CourseMap",
    "DetectorDials",
    "DocSearch",
    "ExercisePanel",
    "FeatureMap",
    "FiltersForming",
    "FloorDial",
    "ImageClassifier",
    "Labeller",
    "LayerSlider",
    "LearningRateDial",
    "LossMonitor",
    "MixSlider",
    "ModelChooser",
    "Poll",
    "PredictTheWinner",
    "ResultsTable",
    "SceneBuilder",
    "StrategyLab",
    "TargetDial",
]
