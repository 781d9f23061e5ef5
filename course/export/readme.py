"""A model card in the form of Hugging Face: metadata in YAML, then words.

The fields are those of their specification (huggingface/hub-docs, modelcard.md).
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

import yaml

from course.export.rebuild import TEXTS

# The commonest of the identifiers that the Hub knows.
LICENCES = [
    "agpl-3.0",
    "apache-2.0",
    "bsd-2-clause",
    "bsd-3-clause",
    "cc-by-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "cc-by-sa-4.0",
    "cc0-1.0",
    "gpl-3.0",
    "lgpl-3.0",
    "mit",
    "mpl-2.0",
    "openrail",
    "unknown",
    "unlicense",
]
METRICS = ("accuracy", "f1", "precision", "recall", "roc_auc", "brier_score")
MOST = 100  # classes that are listed
_UNSAID = "Whoever exported this model did not say."
_SPECIAL = re.compile(r"([\\`*_\[\]|~#$])")
_OPENING = re.compile(r"^([-+=:]|\d+(?=[.)]))")


def text(card: Mapping[str, Any], files: Sequence[str]) -> str:
    """Return README.md.

    Args:
        card: of `course.export.write`, but for the hashes.
        files: names of what is in the folder.
    """
    head = yaml.safe_dump(
        metadata(card, files), sort_keys=False, allow_unicode=True, width=float("inf")
    )
    made, sizes = card["architecture"], card["preprocessing"]
    body = Template((TEXTS / "README.txt").read_text("utf-8")).substitute(
        title=words(card["title"]),
        classes=_classes(card["class_names"]),
        network=words(f"{made['name']} ({made['library']})"),
        source=_source(card),
        resize=sizes["resize"],
        crop=sizes["crop"],
        intended_use=paragraphs(card["intended_use"]) or _UNSAID,
        data=paragraphs(card["data"]) or _UNSAID,
        evaluation=_table(card["metrics"]),
        probabilities=_probabilities(card["temperature"]),
        limits=paragraphs(card["limits"]) or _UNSAID,
        cost=f"\n## Cost\n\n{cost}\n" if (cost := paragraphs(card["cost"])) else "",
        onnx=_ONNX if "model.onnx" in files else "",
    )
    return f"---\n{head}---\n\n{body}"


_ONNX = (
    "- `model.onnx` is the network for onnxruntime: input `images`, output `logits`.\n"
)


def metadata(card: Mapping[str, Any], files: Sequence[str]) -> dict[str, Any]:
    """Return the front matter: licence, library, task, tags, data, results."""
    kinds = {name: metric_type(name) for name in card["metrics"]}
    tags = ["image-classification", "pytorch", "safetensors"]
    return {
        **licence(card["licence"]),
        "library_name": "pytorch",
        "pipeline_tag": "image-classification",
        "tags": [*tags, *(["onnx"] if "model.onnx" in files else [])],
        "datasets": [card["dataset"]],
        "metrics": list(dict.fromkeys(kinds.values())),
        "model-index": [{"name": one_line(card["title"]), "results": _results(card)}],
    }


def _results(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not card["metrics"]:
        return []
    rows = [
        {"type": metric_type(name), "name": one_line(name), "value": row["value"]}
        for name, row in card["metrics"].items()
    ]
    about = one_line(card["data"])
    data = {"type": card["dataset"], "name": about[:80] or card["dataset"]}
    task = {"type": "image-classification", "name": "Image Classification"}
    return [{"task": task, "dataset": data, "metrics": rows}]


def licence(stated: str | None) -> dict[str, str]:
    """Return the fields of a licence: an identifier of the Hub, or a name and a link.

    Args:
        stated: ``"MIT"``, ``"CC BY 4.0"``, an address, or None.
    """
    known = re.sub(r"\s+", "-", (stated or "unknown").strip().lower())
    if known in LICENCES:
        return {"license": known}
    address = re.match(r"https?://\S+$", known) is not None
    fields = {"license": "other", "license_name": "see-link" if address else ""}
    if address:
        return {**fields, "license_link": stated.strip()}
    return {**fields, "license_name": re.sub(r"[^a-z0-9.]+", "-", known).strip("-")}


def metric_type(name: str) -> str:
    """Return the metric's identifier on the Hub, or the name in that form."""
    form = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return next((kind for kind in METRICS if kind in form), form or "metric")


def is_repository(name: str) -> bool:
    """Tell whether a name has the form of one on the Hub: ``name``, ``owner/name``."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", name, re.ASCII) is not None


def _classes(names: Sequence[str]) -> str:
    rows = [f"- {words(name)}" for name in names[:MOST]]
    if len(names) > MOST:
        rows.append(f"- and {len(names) - MOST} more, which are in `card.json`")
    return "\n".join(rows)


def _source(card: Mapping[str, Any]) -> str:
    name = card["source"].get("name")
    stated = card["source"].get("licence") or card["source"].get("license")
    said = f"their licence: {words(stated)}" if stated else "no licence was stated"
    return (
        f"the weights {words(name)}; {said}" if name else f"weights of no name; {said}"
    )


def _probabilities(temperature: float) -> str:
    if temperature == 1:
        return "The probabilities are a softmax of the logits, as they are."
    return (
        "The probabilities are a softmax of the logits divided by a temperature of "
        f"{temperature:.3g}."
    )


def _table(metrics: Mapping[str, Mapping[str, float | None]]) -> str:
    if not metrics:
        return "Nothing was measured."
    rows = [
        f"| {words(name)} | {row['value']:.4g} | {_spread(row['spread'])} |"
        for name, row in metrics.items()
    ]
    return "\n".join(["| measured | value | spread |", "|---|---|---|", *rows])


def _spread(value: float | None) -> str:
    return "not stated" if value is None else f"± {value:.2g}"


def one_line(value: str) -> str:
    """Return a text with every white space, line ends too, as one space."""
    return " ".join(str(value).split())


def words(value: str) -> str:
    """Return a text that Markdown shows as it is: no tag, no table, no link of it."""
    escaped = html.escape(one_line(value), quote=False)
    return _OPENING.sub(r"\\\1", _SPECIAL.sub(r"\\\1", escaped))


def paragraphs(value: str) -> str:
    """Return a longer text likewise, its paragraphs kept."""
    parts = re.split(r"\n\s*\n", value.strip())
    return "\n\n".join(words(part) for part in parts if part.strip())
