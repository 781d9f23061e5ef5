"""A small language model: it learns by guessing words, and is tuned (chapter 09)."""

from __future__ import annotations

import copy
import hashlib
import json
import platform
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from course import models, pretraining, shelf
from course.arguments import kinds_checked
from course.bag_of_words import as_texts
from course.data import docstrings
from course.data.texts import TextPart, forbid_test
from course.encoder import LONGEST, Classifier, Encoder, mean_of_words
from course.errors import CourseError, TrainingDiverged
from course.masking import Guesses, Masked, guesses, masked_words, padded, pieces
from course.models import Prediction
from course.sentences import balanced_accuracy
from course.training import (
    History,
    Recipe,
    Row,
    Shuffled,
    Trainer,
    classification,
    train_on,
)
from course.words import (
    MASK,
    MASKED,
    SPECIAL,
    UNK,
    Vocabulary,
    WordVectors,
    pmi_vectors,
)

SHIPPED = pretraining.TEXT
BATCH = 128  # texts at once without gradients
LIVE = Recipe(steps=400, batch=64, rate=2e-3, weight_decay=0.1, warmup=0.05)
SOURCE = pretraining.Pretraining(
    "docstrings", "guesses hidden words", replace(LIVE, steps=3000)
)


@dataclass(eq=False)
class LanguageModel:
    """An encoder of words with all that is needed to use it (chapter 09).

    Args:
        network: ids of words in, a vector for each word out.
        vocabulary: the words that it knows.
        card: what is known of the weights.
        name: what tables and menus call it.
    """

    network: Encoder
    vocabulary: Vocabulary
    card: dict[str, Any] = field(default_factory=dict)
    name: str = "small transformer"

    @property
    def device(self) -> torch.device:
        """The device that the weights are on."""
        return next(self.network.parameters()).device

    def copy(self) -> LanguageModel:
        """Return a model whose weights can be changed without touching this one's."""
        network, card = copy.deepcopy(self.network), copy.deepcopy(self.card)
        return replace(self, network=network, card=card)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return a vector for each text, float32 (N, d): the mean over its words.

        Of a long text only the first `LONGEST` words are read. A text without a word
        that is known gives zeros.
        """
        rows = [ids_of(text, self.vocabulary) for text in as_texts(texts)]
        values = in_portions(self._pooled, rows, self.network.width)
        known = torch.tensor([any(i >= len(SPECIAL) for i in row) for row in rows])
        return values * known.reshape(-1, 1)

    def _pooled(self, ids: Tensor) -> Tensor:
        ids = ids.to(self.device)
        return mean_of_words(self.network(ids), ids)

    def guess(self, seen: Tensor, asked: Tensor) -> Tensor:
        """Return logits (asked, V) for the places asked for: see `masking.guesses`."""
        self.network.eval()
        with torch.no_grad():
            hidden = self.network(seen.to(self.device)).cpu()[asked]
            return self.network.words(hidden.to(self.device)).float().cpu()

    def fill(self, text: str, k: int = 5) -> list[Prediction]:
        """Return the k likeliest words for the one ``[MASK]`` in a text, best first.

        Of a long text the `LONGEST` words around it are read.

        Raises:
            CourseError: there is no ``[MASK]`` in the text, or more than one; or `k` is
                below 1.
        """
        if k < 1:
            raise CourseError(f"{k} words were asked for; expected 1 or more.")
        ids = self.vocabulary.ids(as_texts([text])[0])
        if ids.count(MASK) != 1:
            raise CourseError(
                f"The text has {ids.count(MASK)} hidden words; expected one, written "
                f"{MASKED}, as in 'close the {MASKED} when done'."
            )
        first = max(0, min(ids.index(MASK) - LONGEST // 2, len(ids) - LONGEST))
        seen = torch.tensor([ids[first : first + LONGEST]])
        logits = self.guess(seen, seen == MASK)[0]
        logits[: len(SPECIAL)] = float("-inf")
        best = logits.softmax(dim=0).topk(min(k, self.vocabulary.size - len(SPECIAL)))
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [Prediction(self.vocabulary.words[i], value) for i, value in pairs]


def ids_of(text: str, vocabulary: Vocabulary) -> list[int]:
    """Return the ids of the first `LONGEST` words, or of one unknown word if none."""
    return vocabulary.ids(text)[:LONGEST] or [UNK]


def in_portions(
    function: Callable[[Tensor], Tensor], rows: Sequence[list[int]], width: int
) -> Tensor:
    """Return what a function says of lists of ids, float32 (N, width), on the CPU.

    Lists of like length go together, since what is padded is computed in vain.
    """
    result = torch.zeros(len(rows), width)
    order = torch.tensor([len(row) for row in rows]).argsort(stable=True)
    with torch.no_grad():
        for places in order.split(BATCH) if rows else ():
            ids = padded([rows[at] for at in places.tolist()])
            result[places] = function(ids).float().cpu()
    return result


@kinds_checked
def fresh(
    vocabulary: Vocabulary, seed: int, vectors: WordVectors | None = None
) -> LanguageModel:
    """Return a language model that has read nothing yet (chapter 09).

    Args:
        vocabulary: the words that it is to know.
        seed: of its random weights.
        vectors: what its words start from, such as `words.pmi_vectors`; None for random
            numbers.

    Raises:
        CourseError: the vectors are not of these words, or of another width.
    """
    with models.seeded(seed):
        network = Encoder(vocabulary.size)
    if vectors is not None:
        expected = (vocabulary.words, network.width)
        if (vectors.words, vectors.dimension) != expected:
            raise CourseError(
                f"Vectors of {len(vectors.words):,} words with {vectors.dimension} "
                f"numbers each do not fit; expected the {vocabulary.size:,} words of "
                f"the vocabulary in its order, and {network.width} numbers."
            )
        with torch.no_grad():
            network.embedding.weight.copy_(vectors.values)
    card = {"name": "small transformer (not pretrained)", "seed": seed}
    return LanguageModel(network.eval(), vocabulary, card)


# Pretraining --------------------------------------------------------------------------


@lru_cache(maxsize=1)
def library_texts() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the library's texts to learn from, and those of the task's test files.

    What is tested later is not read before, not even without its label: a file whose
    docstrings are in the test part of `docstrings.topics_task` is left out whole.

    Returns:
        Texts to pretrain on, and texts that are held out.
    """
    test = docstrings.topics_task().test
    wanted = set(zip(test.names, test.texts, strict=True))
    corpus = docstrings.corpus()
    files = {one.file for one in corpus if (one.name, docstrings.masked(one)) in wanted}
    learned = tuple(one.text for one in corpus if one.file not in files)
    return learned, tuple(one.text for one in corpus if one.file in files)


@kinds_checked
def pretrain(
    model: LanguageModel,
    texts: Sequence[str],
    recipe: Recipe = LIVE,
    *,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
    stop: threading.Event | None = None,
    after_step: Callable[[Row], None] | None = None,
) -> History:
    """Let a model guess hidden words of texts, in place (chapter 09).

    Args:
        model: see `fresh`; it goes on from the weights that it has.
        texts: what it reads, without any label.
        recipe: steps, rate and batch: as many words as that many long texts have.
        seed: of the order and of what is hidden.
        device: see `training.device_of`.
        progress: see `training.train_on`.
        stop: see `training.train_on`.
        after_step: see `training.train_on`.

    Raises:
        TrainingDiverged: the loss stopped being a finite number.
        CourseError: no text has enough words.
    """
    trainer, stream = _ready(model, texts, recipe, seed, device)
    return train_on(
        trainer, stream.batch, progress=progress, stop=stop, after_step=after_step
    )


def _ready(
    model: LanguageModel, texts: Sequence[str], recipe: Recipe, seed: int, device: str
) -> tuple[Trainer, Masked]:
    rows = pieces(as_texts(texts), model.vocabulary)
    trainer = Trainer(model.network, recipe, objective=masked_words, device=device)
    return trainer, Masked(rows, model.vocabulary.size, recipe, seed)


@kinds_checked
def make(
    name: str = "words-transformer",
    *,
    profile: str = "full",
    out: Path = Path(),
    resume: bool = False,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
    after_step: Callable[[Row], None] | None = None,
) -> Path:
    """Pretrain the shipped language model: see `pretraining.pretrain`.

    Its text, and so its vocabulary, is the standard library of the running Python.
    """
    recipe = SOURCE.at(profile)
    out.mkdir(parents=True, exist_ok=True)
    texts, held_out = library_texts()
    vocabulary = Vocabulary.build(texts)
    model = fresh(vocabulary, seed, pmi_vectors(texts, vocabulary, seed=seed))
    trainer, stream = _ready(model, texts, recipe, seed, device)
    state = pretraining.State(
        out / f".{name}.partial.safetensors", _key(name, recipe, seed, texts)
    )
    with shelf.in_use(out):
        history = pretraining.resumably(
            trainer,
            stream.batch,
            state,
            resume=resume,
            progress=progress,
            after_step=after_step,
        )
        card = _card(name, recipe, len(texts), history)
        model.card = {**card, "seed": seed, "profile": profile}
        model.card["held_out"] = asdict(held_out_guesses(model, held_out))
        path = out / f"{name}.safetensors"
        save(model, path)
        state.path.unlink(missing_ok=True)
    return path


def held_out_guesses(model: LanguageModel, texts: Sequence[str]) -> Guesses:
    """Return how many hidden words of texts a model guesses: see `masking.guesses`."""
    rows = pieces(as_texts(texts), model.vocabulary)
    return guesses(model.guess, rows, model.vocabulary.size)


def _key(name: str, recipe: Recipe, seed: int, texts: Sequence[str]) -> str:
    """Return a hash of all that decides the weights: another Python has other texts."""
    about = json.dumps([name, asdict(recipe), seed, list(texts)], sort_keys=True)
    return hashlib.sha256(about.encode()).hexdigest()[:16]


def _card(name: str, recipe: Recipe, texts: int, history: History) -> dict[str, Any]:
    python = platform.python_version()
    return {
        "name": name,
        "data": f"{texts} docstrings and pages of help of Python {python}'s standard "
        "library, without the files that the topics task tests on",
        "task": SOURCE.sentence,
        "recipe": asdict(recipe),
        "steps": recipe.steps,
        "licence": "MIT; the texts that it read: PSF-2.0",
        "torch": torch.__version__.partition("+")[0],
        "seconds": round(history.seconds, 1),
        "curve": pretraining.curve(history),
    }


# Fine-tuning --------------------------------------------------------------------------


@dataclass(eq=False)
class TextClassifier:
    """A language model with a head for the classes of a task (chapter 09).

    Args:
        network: ids of words in, logits out.
        vocabulary: the words that it knows.
        class_names: the name behind each logit.
        history: of its training.
    """

    network: Classifier
    vocabulary: Vocabulary
    class_names: tuple[str, ...]
    history: History

    def logits(self, texts: Sequence[str]) -> Tensor:
        """Return logits, float32 (N, classes), on the CPU."""
        rows = [ids_of(text, self.vocabulary) for text in as_texts(texts)]
        device = next(self.network.parameters()).device
        self.network.eval()
        classes = len(self.class_names)
        return in_portions(lambda ids: self.network(ids.to(device)), rows, classes)

    def predict(self, texts: Sequence[str]) -> Tensor:
        """Return the likeliest class of each text, int64 (N,)."""
        return self.logits(texts).argmax(dim=1)

    def score(self, part: TextPart) -> float:
        """Return the balanced accuracy on a part, from 0 to 1."""
        return balanced_accuracy(self.predict(part.texts), part.labels)


@kinds_checked
def fine_tune(
    model: LanguageModel,
    train: TextPart,
    recipe: Recipe,
    *,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
    stop: threading.Event | None = None,
    after_step: Callable[[Row], None] | None = None,
) -> TextClassifier:
    """Train a copy of a model, with a new head, on labelled texts (chapter 09).

    Args:
        model: pretrained or fresh; it stays as it is.
        train: labelled texts; a test part is refused.
        recipe: steps, batch and rate.
        seed: of the head and of the order.
        device: see `training.device_of`.
        progress: see `training.train_on`.
        stop: see `training.train_on`.
        after_step: see `training.train_on`.

    Raises:
        HeldOutError: `train` is a test part.
        TrainingDiverged: the loss stopped being a finite number.
        CourseError: the part is empty.
    """
    forbid_test(train, "fine_tune")
    if not len(train):
        raise CourseError("The train part is empty; expected at least one text.")
    with models.seeded(seed):
        network = Classifier(copy.deepcopy(model.network), len(train.class_names))
    rows = [ids_of(text, model.vocabulary) for text in train.texts]
    order = Shuffled(train, recipe, seed)

    def batch_at(step: int) -> tuple[Tensor, Tensor]:
        places = order.places(step)
        return padded([rows[at] for at in places.tolist()]), train.labels[places]

    history = train_on(
        Trainer(network, recipe, objective=classification, device=device),
        batch_at,
        progress=progress,
        stop=stop,
        after_step=after_step,
    )
    return TextClassifier(network, model.vocabulary, train.class_names, history)


@kinds_checked
def choose_rate(
    model: LanguageModel,
    train: TextPart,
    validation: TextPart,
    recipe: Recipe,
    rates: Sequence[float],
    seed: int,
    *,
    device: str = "auto",
) -> list[tuple[float, float]]:
    """Try each learning rate once and return the best first (chapter 09).

    The rule of `transfer.choose_rate`, with balanced accuracy: of equals the smaller
    rate, and a training that diverged counts as 0.

    Returns:
        Pairs (rate, balanced accuracy on validation), the chosen one first.

    Raises:
        HeldOutError: a test part was given.
    """
    for part in (train, validation):
        forbid_test(part, "the choice of a learning rate")
    trials = []
    for rate in sorted(rates):
        at_rate = replace(recipe, rate=rate)
        options = {"seed": seed, "device": device, "progress": False}
        try:
            tuned = fine_tune(model, train, at_rate, **options)
            trials.append((rate, tuned.score(validation)))
        except TrainingDiverged:
            trials.append((rate, 0.0))
    return sorted(trials, key=lambda trial: (-trial[1], trial[0]))


# Weights in a file --------------------------------------------------------------------


def save(model: LanguageModel, path: Path) -> str:
    """Write a model as half-precision safetensors with its card; return the hash.

    The words stand in the file too, in order, so it needs no other: corpora differ
    between versions of Python.

    Args:
        model: its card becomes the card of the file.
        path: ends in ``.safetensors``.
    """
    about = {"architecture": "words", "words": json.dumps(model.vocabulary.words)}
    return models.write_weights(model.network, about, model.card, path)


@kinds_checked
def load(name: str | Path = "words-transformer") -> LanguageModel:
    """Load a language model by its name or its file (chapter 09).

    Args:
        name: one of `SHIPPED`, or a path.

    Raises:
        CourseError: the name is unknown, or the file is missing, damaged or foreign.
    """
    shipped = str(name) in SHIPPED
    path = models.WEIGHTS / f"{name}.safetensors" if shipped else Path(name)
    card = models.verified_card(path, SHIPPED)
    try:
        with safe_open(path, framework="pt") as file:
            vocabulary = Vocabulary(models.texts_of(file.metadata()["words"]))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        with models.seeded(0):
            network = Encoder(vocabulary.size)
        network.load_state_dict(models.fitting(tensors, network))
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise CourseError(
            f"{path.name} does not hold a language model of this course; expected a "
            "file written by `course pretrain words-transformer`."
        ) from error
    return LanguageModel(network.eval(), vocabulary, card, path.stem)
