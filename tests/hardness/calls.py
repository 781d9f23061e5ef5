"""Functions that a reader calls, each with arguments that are right, and a check.

A case exchanges one argument for anything at all. What comes back is then held to
`right`, which knows nothing of the argument: it says what is true of every answer.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from course import (
    boxes,
    calibration,
    choose,
    compress,
    cost,
    curves,
    data,
    diagnosis,
    evidence,
    explain,
    extraction,
    faithfulness,
    lora,
    models,
    plots,
    probing,
    search,
    sentences,
    shortlist,
    sweep,
    training,
    transfer,
    words,
)


@dataclass
class Call:
    """A function, its arguments, and what is true of whatever it returns."""

    function: Callable[..., Any]
    right: Callable[[Any], bool]
    arguments: dict[str, Any] = field(default_factory=dict)
    # These are the work itself: a large number of them takes its time, rightly.
    patient: tuple[str, ...] = ()


def share(value):
    return math.isnan(value) or -1e-6 <= value <= 1 + 1e-6


def number(value):
    return isinstance(value, float | int)


def picture(figure):
    return figure.png.startswith(b"\x89PNG") and bool(figure.alt)


def nothing(value):
    return value is None


def three_parts(task):
    parts = (task.train, task.validation, task.test)
    return all(len(part) == len(part.images) == len(part.labels) for part in parts)


def logits_of(model):
    return len(model.logits(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))[0]) >= 0


def copied(function, *names):
    """Let a function that trains in place do so with copies."""

    def called(**arguments):
        for name in names:
            if isinstance(arguments[name], models.Model):
                arguments[name] = arguments[name].copy()
        return function(**arguments)

    called.__name__ = function.__name__
    return called


def every():
    """Return all calls by name."""
    task = data.task("shapes", train=60, validation=20, test=10, size=16, style="plain")
    model = models.fresh(task.class_names, 0, width=4)
    images = task.validation.images[:2]
    logits = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    likely = logits.softmax(dim=1)
    train = extraction.before_head(model, task.train)
    other = extraction.before_head(model, task.validation)
    recipe = training.Recipe(steps=1, batch=2)
    texts = ["one two three four five six seven", "two three four one five"]
    vocabulary = words.Vocabulary.build(texts, 12)
    vectors = words.pmi_vectors(texts * 2, vocabulary, dimension=3)
    encoder = sentences.mean(vectors)
    library = search.index(encoder, texts)
    found = boxes.Found(
        torch.tensor([[1.0, 1, 5, 5]]), torch.tensor([0.9]), torch.tensor([0]), ("a",)
    )
    small = {"train": 4, "validation": 2, "test": 2, "size": 16}
    labels = task.validation.labels
    two = torch.eye(2, dtype=torch.int64)
    return {
        "data.task": Call(
            data.task,
            three_parts,
            {"name": "shapes", "seed": 0, "style": "plain", **small},
        ),
        "data.task of digits": Call(
            data.task, three_parts, {"name": "digits", "seed": 0, **small}
        ),
        "data.folder": Call(
            data.folder,
            lambda found: three_parts(found.task),
            {
                "path": "nowhere",
                "size": 8,
                "validation": 0.2,
                "test": 0.2,
                "seed": 0,
                "per_class": 3,
                "duplicates": "say",
                "progress": False,
            },
        ),
        "data.named.task": Call(
            data.named.task,
            three_parts,
            {"name": "mnist", "root": "nowhere", "seed": 0, **small},
        ),
        "data.shapes.draw": Call(
            data.shapes.draw,
            lambda drawn: drawn.images.dtype == torch.uint8,
            {"n": 2, "seed": 0, "size": 16},
        ),
        "data.glyphs.draw": Call(
            data.glyphs.draw,
            lambda drawn: drawn.images.dtype == torch.uint8,
            {"n": 2, "seed": 0, "size": 16},
        ),
        "data.scenes.task": Call(
            data.scenes.task,
            lambda task: len(task.train) >= 1,
            {"train": 2, "validation": 2, "test": 2, "seed": 0},
        ),
        "Task.few_shot": Call(
            task.few_shot,
            lambda few: len(few.train) == 30 * int(few.train.labels.bincount()[0]),
            {"per_class": 1, "seed": 0},
        ),
        "models.load": Call(
            models.load,
            logits_of,
            {"name": "vgg11", "weights": "IMAGENET1K_V1", "folder": "nowhere"},
        ),
        "models.fresh": Call(
            models.fresh,
            logits_of,
            {"class_names": ("a", "b"), "seed": 0, "width": 4},
        ),
        "models.replace_head": Call(
            models.replace_head,
            lambda new: new.logits(images).shape == (2, len(new.class_names)),
            {"model": model, "class_names": ("a", "b"), "seed": 0},
        ),
        "models.as_batch": Call(
            models.as_batch, lambda batch: batch.ndim == 4, {"image": images[0]}
        ),
        "Model.predict": Call(
            model.predict,
            lambda rows: all(share(row.probability) for row in rows),
            {"image": images[0], "top": 2},
        ),
        "training.Recipe": Call(
            training.Recipe,
            lambda recipe: recipe.rate_at(0) > 0,
            {
                "steps": 2,
                "batch": 4,
                "rate": 1e-3,
                "weight_decay": 0.01,
                "warmup": 0.1,
                "clip": 1.0,
                "augment": "none",
            },
        ),
        "training.fit": Call(
            copied(training.fit, "model"),
            lambda history: len(history.rows) == 1,
            {
                "model": model,
                "part": task.train,
                "recipe": recipe,
                "seed": 0,
                "batchnorm": "update",
                "device": "cpu",
                "progress": False,
            },
        ),
        "training.evaluate": Call(
            training.evaluate,
            lambda score: share(score.accuracy),
            {"model": model, "part": task.validation, "device": "cpu", "batch": 8},
        ),
        "training.device_of": Call(
            training.device_of, lambda device: device.type == "cpu", {"name": "cpu"}
        ),
        "transfer.run": Call(
            transfer.run,
            lambda run: share(run.accuracy or 0.0),
            {
                "strategy": "probe",
                "source": model,
                "task": task,
                "recipe": recipe,
                "seed": 0,
                "part": "validation",
                "C": 1.0,
                "device": "cpu",
            },
        ),
        "transfer.compare": Call(
            transfer.compare,
            lambda table: bool(table.rows),
            {
                "source": model,
                "task": task,
                "strategies": ("probe",),
                "labels": (1,),
                "seeds": (0,),
                "recipe": recipe,
                "progress": False,
            },
        ),
        "extraction.features": Call(
            extraction.features,
            lambda features: len(features) >= 1,
            {"model": model, "part": images, "layer": "layer1", "device": "cpu"},
        ),
        "probing.linear_probe": Call(
            probing.linear_probe,
            lambda probe: probe.C > 0,
            {"train": train, "validation": other, "Cs": (0.1,)},
        ),
        "probing.knn_accuracy": Call(
            probing.knn_accuracy, share, {"train": train, "other": other, "k": 2}
        ),
        "probing.neighbours": Call(
            probing.neighbours,
            lambda pair: pair[0].shape == pair[1].shape,
            {"bank": train, "query": other, "k": 2},
        ),
        "evidence.begin": Call(
            evidence.begin, lambda run: run.seed >= 0, {"profile": "quick", "seed": 0}
        ),
        "evidence.interval": Call(
            evidence.interval,
            lambda span: not span.low > span.high,
            {"values": [1.0, 2.0], "level": 0.9},
        ),
        "evidence.record": Call(
            evidence.record, nothing, {"name": "x", "value": 1.0, "unit": "s"}
        ),
        "evidence.claim": Call(
            evidence.claim, nothing, {"text": "x", "value": 1.0, "at_least": 0.5}
        ),
        "evidence.claim between": Call(
            evidence.claim, nothing, {"text": "x", "value": 1.0, "between": (0.5, 2)}
        ),
        "evidence.sentence": Call(
            evidence.sentence, nothing, {"template": "It is {x:.2f}.", "x": 1.0}
        ),
        "evidence.table": Call(
            evidence.table,
            nothing,
            {"rows": [{"a": 1}], "columns": ["a"], "caption": "c"},
        ),
        "sweep.grid": Call(
            sweep.grid,
            lambda cells: all(set(cell) == {"a", "b"} for cell in cells),
            {"a": [1, 2], "b": ["x"]},
        ),
        "sweep.run": Call(
            sweep.run,
            lambda rows: all(isinstance(row, dict) for row in rows),
            {
                "work": lambda a: {"twice": 2 * a},
                "cells": [{"a": 1}],
                "key": "k",
                "backend": "threads",
                "progress": False,
            },
        ),
        "sweep.load": Call(sweep.load, lambda table: table.rows, {"name": "zoo"}),
        "Table.where": Call(
            sweep.load("zoo").where,
            lambda rows: all(row["model"] == "resnet18" for row in rows),
            {"model": "resnet18"},
        ),
        "boxes.keep": Call(
            boxes.keep,
            lambda left: len(left) <= 1,
            {"found": found, "score": 0.5, "nms": 0.5},
        ),
        "boxes.matched": Call(
            boxes.matched,
            lambda right: right.dtype == torch.bool,
            {
                "found": found,
                "boxes": torch.zeros(1, 4),
                "labels": torch.tensor([0]),
                "iou": 0.5,
            },
        ),
        "calibration.temperature": Call(
            calibration.temperature,
            lambda t: t > 0,
            {"logits": logits, "labels": task.validation},
        ),
        "calibration.calibrated": Call(
            calibration.calibrated,
            lambda p: bool((p.sum(dim=1) - 1).abs().max() < 1e-4),
            {"logits": logits, "temperature": 1.0},
        ),
        "calibration.reliability": Call(
            calibration.reliability,
            lambda found: int(found.counts.sum()) == 20,
            {"probabilities": likely, "labels": task.validation, "bins": 5},
            patient=("bins",),
        ),
        "calibration.brier": Call(
            calibration.brier,
            lambda value: 0 <= value <= 2,
            {"probabilities": likely, "labels": task.validation},
        ),
        "choose.score": Call(
            choose.score,
            lambda scores: bool(scores),
            {"model": model, "part": task.train},
        ),
        "choose.agreement": Call(
            choose.agreement,
            lambda found: found.sources == 3,
            {
                "scores": [[1.0, 2, 3]],
                "truths": [[1.0, 2, 3], [1, 2, 4]],
                "draws": 5,
                "seed": 0,
            },
            patient=("draws",),
        ),
        "choose.decided": Call(
            choose.decided,
            lambda pairs: all(a != b for a, b in pairs),
            {"truths": [[1.0, 2, 3], [1, 2, 4]]},
        ),
        "choose.knn": Call(choose.knn, share, {"features": train, "k": 2}),
        "choose.leep": Call(
            choose.leep, lambda value: value <= 0, {"beliefs": likely, "labels": labels}
        ),
        "choose.near_duplicates": Call(
            choose.near_duplicates,
            lambda found: len(found.nearest) == len(found.similarity),
            {"album": train, "suspects": other, "clean": other, "alarms": 0.1},
        ),
        "compress.prune": Call(
            compress.prune,
            logits_of,
            {"model": model, "share": 0.2, "criterion": "batchnorm", "seed": 0},
        ),
        "compress.int8_weights": Call(
            compress.int8_weights, logits_of, {"model": model}
        ),
        "compress.distil": Call(
            copied(compress.distil, "student"),
            lambda history: len(history.rows) == 1,
            {
                "student": model,
                "teacher": model,
                "part": task.train,
                "recipe": recipe,
                "temperature": 1.0,
                "seed": 0,
                "progress": False,
            },
        ),
        "cost.latency": Call(
            lambda repeats, warmup: cost.latency(
                model.network, torch.zeros(1, 3, 16, 16), repeats, warmup
            ),
            lambda spent: spent.median >= 0,
            {"repeats": 1, "warmup": 0},
            patient=("repeats", "warmup"),
        ),
        "cost.measure": Call(
            lambda images, batches: cost.measure(
                model.network, images, batches=batches, repeats=1
            ),
            lambda spent: spent.parameters > 0,
            {"images": torch.zeros(1, 3, 16, 16), "batches": (1,)},
            patient=("batches",),
        ),
        "cost.parameters": Call(
            cost.parameters, lambda count: count > 0, {"network": model.network}
        ),
        "Vocabulary.build": Call(
            words.Vocabulary.build,
            lambda built: built.size >= 3,
            {"texts": ["a b"], "size": 10},
        ),
        "words.pmi_vectors": Call(
            words.pmi_vectors,
            lambda made: len(made.words) == len(made.values),
            {
                "texts": texts,
                "vocabulary": vocabulary,
                "dimension": 2,
                "window": 2,
                "seed": 0,
            },
            patient=("window",),
        ),
        "words.glove": Call(words.glove, lambda made: made.words, {"path": "nowhere"}),
        "WordVectors.neighbours": Call(
            vectors.neighbours,
            lambda rows: all(-1.001 <= cosine <= 1.001 for _, cosine in rows),
            {"word": "one", "k": 2, "among": 5},
        ),
        "WordVectors.analogy": Call(
            vectors.analogy,
            lambda rows: all(-1.001 <= cosine <= 1.001 for _, cosine in rows),
            {"a": "one", "b": "two", "c": "three", "k": 2},
        ),
        "search.index": Call(
            search.index,
            lambda made: len(made) >= 1,
            {"encoder": encoder, "texts": texts},
        ),
        "Index.search": Call(
            library.search,
            lambda hits: all(0 <= hit.place < 2 for hit in hits),
            {"query": "one", "k": 2},
        ),
        "search.clusters": Call(
            search.clusters,
            lambda groups: len(groups.labels) == 2,
            {
                "texts": texts,
                "vectors": encoder.encode(texts),
                "count": 2,
                "seed": 0,
            },
        ),
        "search.sign_test": Call(
            search.sign_test, share, {"first": [True], "second": [False]}
        ),
        "sentences.sif": Call(
            sentences.sif,
            lambda made: made.encode(["one"]).shape[0] == 1,
            {"vectors": vectors, "texts": texts, "a": 1e-3},
        ),
        "curves.reaches": Call(
            curves.reaches,
            lambda place: place is None or 1 <= place <= 2,
            {"x": [1, 2], "y": [0.1, 0.5], "level": 0.3},
        ),
        "curves.crossing": Call(
            curves.crossing,
            lambda found: share(found.share),
            {
                "x": [1, 2],
                "first": [[1, 2], [1, 2.0]],
                "second": [[2, 1], [2, 1.0]],
                "seed": 0,
            },
        ),
        "diagnosis.share": Call(
            diagnosis.share,
            lambda found: 0 <= found.low <= found.high <= 1,
            {"right": 1, "n": 2, "level": 0.9},
        ),
        "diagnosis.confusion": Call(
            diagnosis.confusion,
            lambda matrix: int(matrix.sum()) == 2,
            {"labels": [0, 1], "predicted": [0, 1], "count": 2},
            patient=("count",),
        ),
        "diagnosis.in_words": Call(
            diagnosis.in_words,
            lambda text: text.endswith("."),
            {"matrix": two, "names": ("a", "b"), "most": 2},
        ),
        "diagnosis.most_wrong": Call(
            diagnosis.most_wrong,
            lambda rows: all(row.true != row.predicted for row in rows),
            {"probabilities": likely, "labels": labels, "most": 3},
        ),
        "explain.grad_cam": Call(
            explain.grad_cam,
            lambda maps: maps.shape[0] == 2,
            {"model": model, "images": images, "classes": 0, "layer": "layer4"},
        ),
        "faithfulness.energy_inside": Call(
            faithfulness.energy_inside,
            lambda values: values.ndim == 1,
            {
                "maps": torch.ones(2, 16, 16),
                "masks": torch.ones(2, 16, 16, dtype=torch.bool),
            },
        ),
        "faithfulness.centred": Call(
            faithfulness.centred,
            lambda maps: bool(maps.isfinite().all()),
            {"size": 16, "spread": 0.2},
            patient=("size",),
        ),
        "lora.add_lora": Call(
            lambda network, rank, seed: lora.add_lora(
                model.copy().network
                if isinstance(network, torch.nn.Module)
                else network,
                rank,
                seed,
            ),
            lambda _: True,
            {"network": model.network, "rank": 2, "seed": 0},
        ),
        "shortlist.Needs": Call(
            shortlist.Needs,
            lambda needs: needs.labels >= 1,
            {
                "labels": 20,
                "classes": 10,
                "likeness": "other",
                "file_mb": 50.0,
                "gmacs": 1.0,
                "ms": 5.0,
                "save_on": "gmacs",
            },
        ),
        **figures(images, likely),
    }


def figures(images, likely):
    """Return the calls that draw."""
    rows = [[("a", 0.5), ("b", 0.2)]] * 2
    return {
        "plots.bars": Call(
            plots.bars,
            picture,
            {"names": ["a"], "values": [1.0], "xlabel": "x", "title": "t"},
        ),
        "plots.curves": Call(
            plots.curves,
            picture,
            {"series": {"a": ([1, 2], [1, 2])}, "xlabel": "x", "ylim": (0, 1)},
        ),
        "plots.image_grid": Call(
            plots.image_grid,
            picture,
            {"images": images, "titles": ["a", "b"], "columns": 2, "caption": "c"},
        ),
        "plots.confusion": Call(
            plots.confusion,
            picture,
            {"matrix": torch.eye(2, dtype=torch.int64), "names": ("a", "b")},
        ),
        "plots.scatter2d": Call(
            plots.scatter2d,
            picture,
            {
                "panels": torch.eye(2),
                "labels": [0, 1],
                "class_names": ("a", "b"),
                "highlight": 1,
            },
        ),
        "plots.dot_table": Call(
            plots.dot_table, picture, {"names": ["a"], "values": [[1.0, 2.0]]}
        ),
        "plots.predictions": Call(
            plots.predictions,
            picture,
            {"images": images, "predicted": rows, "titles": ["a", "b"], "top": 2},
        ),
        "plots.boxes": Call(
            plots.boxes,
            picture,
            {
                "images": images,
                "boxes": [[[1.0, 1, 5, 5]]] * 2,
                "labels": [[0]] * 2,
                "class_names": ("a",),
                "columns": 1,
            },
        ),
    }


__all__ = ["Call", "every"]
