"""What counted words and pretrained vectors know of sentiment: SST-2, measured.

    python benchmarks/sentiment.py SST2_FOLDER GLOVE [FOLDER_OF_A_SENTENCE_ENCODER]

SST2_FOLDER holds train.tsv, dev.tsv and test.tsv; GLOVE is a file of word vectors.
Every method's C is chosen on the dev part by one rule; the test part is for the figures
alone. Vectors have seen the train part's texts at most, and no label. Writes
`course/tables/sentiment.json`, which chapter 09 shows, named as recorded.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from course import language, sentences, words
from course.data import docstrings, reviews
from course.data.texts import TextTask
from course.errors import CourseError

LABELS = (10, 20, 50, 100, 250, 500)  # a class; then all there are
SEEDS = range(5)
Measure = Callable[[TextTask], float]


class Remembering:
    """An encoder that encodes no text twice.

    Args:
        encoder: whose vectors are kept.
    """

    def __init__(self, encoder: sentences.Encoder) -> None:
        self.name, self.encoder = encoder.name, encoder
        self.kept: dict[str, Tensor] = {}

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return float32 (N, d)."""
        new = [text for text in dict.fromkeys(texts) if text not in self.kept]
        if new:
            self.kept.update(zip(new, self.encoder.encode(new), strict=True))
        return torch.stack([self.kept[text] for text in texts])


def counted(task: TextTask) -> float:
    """Return the test accuracy of the bag of words."""
    return sentences.bag_of_words(task.train, task.validation).score(task.test)


def probed(encoder: sentences.Encoder) -> Measure:
    """Return what measures the test accuracy of a probe on an encoder's vectors."""

    def measure(task: TextTask) -> float:
        probe = sentences.probe(encoder, task.train, task.validation)
        return probe.score(sentences.features(encoder, task.test))

    return measure


def encoders(task: TextTask, glove: str, folder: str | None) -> list[sentences.Encoder]:
    """Return every encoder that is at hand."""
    own = list(task.train.texts)
    library = [entry.text for entry in docstrings.corpus()]
    sources = {
        "PMI of the standard library": pmi(library),
        "PMI of the reviews": pmi(own),
        "GloVe": words.glove(glove),
    }
    found: list[sentences.Encoder] = []
    for name, vectors in sources.items():
        found.append(sentences.mean(vectors, f"{name}, mean"))
        found.append(sentences.sif(vectors, own, name=f"{name}, SIF"))
    try:
        found.append(language.load("words-transformer"))
    except CourseError as error:
        print(f"Without the small transformer: {error}")
    return found + ([sentences.load(folder=folder)] if folder else [])


def pmi(texts: Sequence[str]) -> words.WordVectors:
    """Return word vectors that were counted in some texts."""
    return words.pmi_vectors(texts, words.Vocabulary.build(texts))


def main(folder: str, glove: str, encoder: str | None = None) -> None:
    """Measure every method at every number of labels and write the table."""
    whole = reviews.sst2(folder)
    ways: dict[str, Measure] = {sentences.TfIdf.name: counted}
    for one in encoders(whole, glove, encoder):
        ways[one.name] = probed(Remembering(one))
    rows = []
    for count in tqdm([*LABELS, None]):
        drawn = [whole.few_shot(count, seed) for seed in SEEDS] if count else [whole]
        for name, measure in ways.items():
            accuracies = [round(measure(task), 4) for task in drawn]
            row = {"method": name, "labels_a_class": count or "all"}
            rows.append({**row, "accuracies": accuracies})
            print(rows[-1], flush=True)
    parts = (whole.train, whole.validation, whole.test)
    about = {
        "what": "accuracy on the test sentences of SST-2, positive or negative; one "
        "value a seed of the labels that were drawn",
        "made_by": "python benchmarks/sentiment.py SST2_FOLDER GLOVE [ENCODER]",
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "glove": Path(glove).name,
        "sentences": {part.kind: len(part) for part in parts},
        "rows": rows,
    }
    sentences.SENTIMENT.write_text(json.dumps(about, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
