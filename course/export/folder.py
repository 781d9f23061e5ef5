"""An exported model as a folder: written whole or not at all, read only unaltered."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as from_safetensors
from torch import Tensor, nn
from torch.export import ExportedProgram

import course
from course import models
from course.arguments import kinds_checked
from course.errors import CourseError
from course.export import formats, readme, rebuild

CARD, WEIGHTS, README = "card.json", "model.safetensors", "README.md"
PT2, ONNX = "model.pt2", "model.onnx"
PROGRAM = ("predict.py", "network.py", "requirements.txt")
FILES = (CARD, WEIGHTS, README, PT2, ONNX, *PROGRAM)
REQUIREMENTS = ("numpy", "pillow", "safetensors", "torch", "torchvision")
EXAMPLES = 8  # on which the copies are compared with the model
CLOSE = {WEIGHTS: 1e-5, PT2: 1e-5, ONNX: 1e-4}  # how far logits may be apart
FORMAT = 1  # of the card
# What running and looking leave behind in a folder.
_TRACES = ("__pycache__", ".DS_Store", ".ipynb_checkpoints")
_NO_ONNX = (
    "model.onnx was not written, for want of {}; pip install -e '.[onnx]' in the "
    "folder of the workbook brings what it needs, then export again."
)
_FAILED_ONNX = (
    "model.onnx was not written, since the exporter failed ({}: {}); pip install -U "
    "'.[onnx]' in the folder of the workbook brings packages that fit together."
)
_NO_LICENCE = (
    "Nobody stated a licence of the weights that this model started from: ask whoever "
    "made them before you pass it on."
)


@dataclass(frozen=True)
class Export:
    """What was written, and how well it was seen to hold.

    Args:
        folder: where it lies.
        files: bytes by name.
        differences: of each copy of the network, how far its logits on the examples
            were from the model's at most.
        notes: what could not be written, or what to know before passing it on.
    """

    folder: Path
    files: Mapping[str, int]
    differences: Mapping[str, float]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        rows = []
        for name, size in self.files.items():
            held = ""
            if (apart := self.differences.get(name)) is not None:
                held = f"  logits apart by {apart:.0e} at most" if apart else "  exact"
            rows.append(f"{name:18}{size / 1e6:8.2f} MB{held}")
        return "\n".join([*rows, *self.notes])


@kinds_checked
def write(
    model: models.Model,
    folder: str | Path,
    *,
    title: str,
    metrics: Mapping[str, float | tuple[float, float]],
    data: str,
    examples: Tensor,
    intended_use: str = "",
    limits: str = "",
    cost: str = "",
    licence: str | None = None,
    dataset: str = "imagefolder",
    temperature: float = 1.0,
    force: bool = False,
) -> Export:
    """Write a folder from which a model can be used without the workbook (chapter 10).

    It holds the weights (safetensors), a card, torch.export's program, ONNX where the
    extra is installed, `predict.py` with its requirements, and a model card. Every copy
    of the network is opened again and compared with the model; where one differs, or
    anything else goes wrong, nothing is left behind.

    Args:
        model: a resnet10 or a classifier of torchvision, with a head.
        folder: new or empty; it is made beside its place and moved.
        title: what the model is called.
        metrics: what was measured, by name: a value, or a value and its spread.
        data: what it was trained and tested on, in words.
        examples: uint8 (N, 3, H, W): some images such as the model is made for.
        intended_use: what it is for, in words.
        limits: what it cannot do, in words.
        cost: what the training took, in words.
        licence: of this model, such as ``"mit"``; by default that of its source.
        dataset: the name that the data have on Hugging Face, if they are there.
        temperature: what logits are divided by before the softmax.
        force: replace an earlier export.

    Raises:
        CourseError: the folder holds something, the model cannot be built outside the
            workbook, or a copy does not give its logits.
    """
    place = _free(Path(folder), force)
    _check(model, title, temperature, dataset)
    licence = licence or model.card.get("licence") or model.card.get("license")
    card = {
        "format": FORMAT,
        "title": title,
        "architecture": rebuild.architecture(model),
        "class_names": list(model.class_names),
        "preprocessing": rebuild.preprocessing(model.preprocess),
        "temperature": float(temperature),
        "metrics": {name: _metric(name, value) for name, value in metrics.items()},
        "data": data,
        "dataset": dataset,
        "intended_use": intended_use,
        "limits": limits,
        "cost": cost,
        "licence": licence,
        "source": plain(model.card),
        "versions": _versions(),
    }
    notes = () if licence else (_NO_LICENCE,)
    with _beside(place) as draft:
        apart, more = _networks(model, card, models.as_batch(examples), draft)
        _program(card, draft)
        card["differences"] = apart
        text = readme.text(card, sorted(path.name for path in draft.iterdir()))
        (draft / README).write_text(text, "utf-8")
        _seal(card, draft)
        sizes = {path.name: path.stat().st_size for path in sorted(draft.iterdir())}
    return Export(Path(folder), sizes, apart, (*more, *notes))


def _networks(
    model: models.Model, card: Mapping[str, Any], examples: Tensor, draft: Path
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Write the network in every form; return how far each is off, and notes."""
    content = rebuild.weights(model.network)
    (draft / WEIGHTS).write_bytes(content)
    classes = len(model.class_names)
    network = rebuild.build(card["architecture"], from_safetensors(content), classes)
    few = examples[:EXAMPLES]
    few = few if len(few) > 1 else few.repeat(2, 1, 1, 1)
    wanted = model.logits(few)
    batch = rebuild.prepare(card["preprocessing"])(few)
    apart = {WEIGHTS: _apart(WEIGHTS, _logits(network, batch), wanted)}
    traced = formats.traced(network, batch)
    again = formats.write_pt2(traced, batch, draft / PT2)
    apart[PT2] = _apart(PT2, again, wanted)
    more, notes = _onnx(traced, batch, wanted, draft)
    return apart | more, notes


def _onnx(
    traced: ExportedProgram, batch: Tensor, wanted: Tensor, draft: Path
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Write model.onnx; return how far it is off, or a note why there is none."""
    if missing := formats.missing():
        return {}, (_NO_ONNX.format(", ".join(missing)),)
    try:
        again = formats.write_onnx(traced, batch, draft / ONNX)
    except Exception as error:  # packages that do not fit together raise anything
        (draft / ONNX).unlink(missing_ok=True)
        return {}, (_FAILED_ONNX.format(type(error).__name__, error),)
    return {ONNX: _apart(ONNX, again, wanted)}, ()


def _logits(network: nn.Module, batch: Tensor) -> Tensor:
    with torch.no_grad():
        return network(batch)


def _apart(name: str, logits: Tensor, wanted: Tensor) -> float:
    """Return the largest difference of two (N, classes), if it is small enough."""
    difference = (logits - wanted).abs().max().item()
    bound = CLOSE[name] * max(1.0, wanted.abs().max().item())
    if not difference <= bound:  # NaN is not small either
        raise CourseError(
            f"{name} gave logits that are {difference:.1g} from the model's (expected "
            f"{bound:.0e} at most), so nothing was exported; a network with changes "
            "that its class does not show cannot be."
        )
    return difference


def _program(card: Mapping[str, Any], draft: Path) -> None:
    """Write predict.py, network.py and requirements.txt."""
    predict = (rebuild.TEXTS / "predict.txt").read_text("utf-8")
    network = rebuild.program(card["architecture"], card["preprocessing"])
    pins = "".join(f"{name}=={card['versions'][name]}\n" for name in REQUIREMENTS)
    for name, text in zip(PROGRAM, (predict, network, pins), strict=True):
        (draft / name).write_text(text, "utf-8")


def _versions() -> dict[str, str]:
    # A build of one machine (2.14.1+cpu) is not what others can install.
    public = {name: version(name).partition("+")[0] for name in REQUIREMENTS}
    return {"python": platform.python_version(), "course": course.__version__, **public}


def _check(model: models.Model, title: str, temperature: float, dataset: str) -> None:
    if not model.class_names:
        raise CourseError(
            "A model without classes cannot be exported; give it a head first: "
            "models.replace_head(model, class_names)."
        )
    if any("\ud800" <= c <= "\udfff" for c in title + "".join(model.class_names)):
        raise CourseError(
            "A class name or the title holds bytes that are no text, and cannot be "
            "written; rename the class (its folder may have come from an old archive)."
        )
    if not title.strip():
        raise CourseError("The export has no title; expected a name for the model.")
    if not (math.isfinite(temperature) and temperature > 0):
        raise CourseError(
            f"A temperature of {temperature} cannot be used; expected a number above 0."
        )
    if not readme.is_repository(dataset):
        raise CourseError(
            f"{dataset!r} is no name of a data set on Hugging Face; expected one such "
            "as 'imagefolder' or 'owner/name'. Describe your data in `data`."
        )


def _metric(name: str, value: Any) -> dict[str, float | None]:
    """Return value and spread as a card holds them; a spread of NaN is none."""
    mean, spread = value if isinstance(value, tuple | list) else (value, None)
    if not math.isfinite(mean):
        raise CourseError(f"The metric {name!r} is {mean}; expected a finite number.")
    known = spread is not None and math.isfinite(spread)
    return {"value": float(mean), "spread": float(spread) if known else None}


def plain(value: Any) -> Any:
    """Return what JSON can hold of a value: NaN as null, what it does not know as text.

    Args:
        value: mappings, sequences, numbers, texts, tensors.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(inner) for inner in value]
    if hasattr(value, "tolist"):  # numbers and arrays of numpy and torch
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | None) else str(value)


def _free(folder: Path, force: bool) -> Path:
    """Return the absolute place of a folder that may be written.

    Raises:
        CourseError: it is a file, or holds something that may not be replaced.
    """
    place = folder.expanduser().resolve()
    if place.exists() and not place.is_dir():
        raise CourseError(
            f"{folder} is a file; expected a folder that is new or empty."
        )
    inside = {path.name for path in place.iterdir()} if place.is_dir() else set()
    if foreign := sorted(inside - {*FILES, *_TRACES}):
        raise CourseError(
            f"{folder} holds {foreign[0]!r}, which no export wrote, and stays as it "
            "is; name a folder that is new or empty."
        )
    if inside and not force:
        raise CourseError(
            f"{folder} holds an export already; name another folder, or replace it "
            "with force=True."
        )
    return place


@contextmanager
def _beside(place: Path) -> Iterator[Path]:
    """Give a new folder that is moved to its place at the end, or removed."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}."))
    except OSError as error:
        raise CourseError(
            f"No folder can be made in {place.parent}: {error.strerror}; name a place "
            "that you may write to."
        ) from error
    draft, old = room / "new", room / "old"
    try:
        draft.mkdir()
        yield draft
        if place.exists():
            os.replace(place, old)
        try:
            os.replace(draft, place)
        except OSError:
            if old.exists():
                os.replace(old, place)
            raise
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _seal(card: dict[str, Any], draft: Path) -> None:
    """Write the card, with the hash of every file and of itself."""
    card["files"] = {path.name: _hash(path) for path in sorted(draft.iterdir())}
    card["sha256"] = _own_hash(card)
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    (draft / CARD).write_text(text, "utf-8")


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _own_hash(card: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in card.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


@kinds_checked
def read(folder: str | Path) -> models.Model:
    """Return the model of an exported folder (chapter 10).

    It has the logits, the classes and the card of the model that was exported, and its
    temperature in the card. `README.md` is made to be edited; every other file must be
    as it was written.

    Raises:
        CourseError: there is no export, or a file is missing or altered.
    """
    place = Path(folder).expanduser()
    card = _card(place, folder)
    for name, expected in card["files"].items():
        if name == README:
            continue
        if not (place / name).is_file():
            raise CourseError(
                f"{name} is missing in {folder}, so the export is not whole; export "
                "the model again, or copy the whole folder."
            )
        if _hash(place / name) != expected:
            raise CourseError(
                f"{name} in {folder} is not the file that was exported: it was altered "
                "or copied in part. Copy it again, or export the model again."
            )
    tensors = from_safetensors((place / WEIGHTS).read_bytes())
    names = tuple(card["class_names"])
    network = rebuild.build(card["architecture"], tensors, len(names))
    about = {**card["source"], "temperature": card["temperature"]}
    ready = rebuild.prepare(card["preprocessing"])
    start = None  # strategies.started_anew knows a resnet10 of ours
    if card["architecture"]["library"] != "course":
        start = partial(rebuild.untrained, card["architecture"], len(names))
    return models.Model(network, ready, names, about, start)


def _card(place: Path, said: str | Path) -> dict[str, Any]:
    try:
        card = json.loads((place / CARD).read_text("utf-8"))
        expected, version_of_card = card["sha256"], card["format"]
    except OSError as error:
        raise CourseError(
            f"There is no card.json in {said}; expected a folder of export.write."
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CourseError(
            f"card.json in {said} is not that of an export; expected a folder of "
            "export.write."
        ) from error
    if version_of_card != FORMAT or _own_hash(card) != expected:
        raise CourseError(
            f"card.json in {said} was altered after the export, or is of another "
            "version of the workbook; export the model again."
        )
    return card
