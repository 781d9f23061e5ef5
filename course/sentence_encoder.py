"""Sentence encoders of other people, such as all-MiniLM-L6-v2, by name (chapter 09).

They are published in the folder layout of the library sentence-transformers: a
transformer, how its words are pooled, and whether the result is brought to length 1.
That is read here from its JSON files, and nothing else: no class that a file names is
imported, and no pickle is opened. Hence transformers is enough.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course.bag_of_words import as_texts
from course.errors import CourseError
from course.models import seeded

if TYPE_CHECKING:
    from tokenizers import Tokenizer

EXAMPLE = "sentence-transformers/all-MiniLM-L6-v2"
BATCH = 32  # texts at a time, the longest with the longest
WEIGHTS, PICKLED = "model.safetensors", "pytorch_model.bin"
STEPS = ("Transformer", "Pooling", "Normalize")
MEANWHILE = "meanwhile word vectors (sentences.sif) need no download"


@dataclass(frozen=True, eq=False)
class SentenceEncoder:
    """A transformer that was trained to put texts of like meaning close together.

    Trained on pairs of sentences (Reimers & Gurevych 2019, arXiv 1908.10084); the mean
    of its words' vectors is the sentence's (chapter 09).

    Args:
        name: as on the hub.
        network: from ids (N, L) and attention (N, L) to `last_hidden_state` (N, L, d).
        tokenizer: from texts to ids.
        limit: words and parts of words that are read of a text; the rest is cut.
        pooling: ``"mean"`` of all words, or ``"cls"``, the first one's vector.
        normalise: whether vectors have length 1.
        card: where it is from.
    """

    name: str
    network: nn.Module = field(repr=False)
    tokenizer: Tokenizer = field(repr=False)
    limit: int
    pooling: str
    normalise: bool
    card: Mapping[str, Any]

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return float32 (N, d), on the CPU."""
        given = as_texts(texts)
        rows = [one.ids for one in self.tokenizer.encode_batch(given)]
        order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
        result = torch.zeros(len(rows), self.network.config.hidden_size)
        with torch.no_grad():
            for start in range(0, len(order), BATCH):
                places = order[start : start + BATCH]
                result[places] = self._pooled([rows[place] for place in places])
        return F.normalize(result, dim=1) if self.normalise else result

    def _pooled(self, rows: Sequence[Sequence[int]]) -> Tensor:
        longest = max(1, *map(len, rows))
        padding = self.network.config.pad_token_id or 0
        ids = torch.full((len(rows), longest), padding)
        mask = torch.zeros(len(rows), longest, dtype=torch.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row, dtype=torch.int64)
            mask[place, : len(row)] = 1
        hidden = self.network(input_ids=ids, attention_mask=mask).last_hidden_state
        if self.pooling == "cls":
            return hidden[:, 0].float()
        weights = mask[..., None].float()
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def load(
    name: str = EXAMPLE, download: bool = False, folder: str | Path | None = None
) -> SentenceEncoder:
    """Load a sentence encoder from a folder, the hub's cache or the hub (chapter 09).

    Args:
        name: as on the hub: ``"sentence-transformers/all-MiniLM-L6-v2"``.
        download: fetch its files once (91 MB for that one) if they are not here.
        folder: holds the files of the model's page, if not huggingface_hub's cache.

    Raises:
        CourseError: what it needs is not installed, or a file is missing, damaged, a
            pickle, or asks for something that is not known here.
    """
    if missing := [package for package in _NEEDED if not _installed(package)]:
        raise CourseError(
            f"Sentence encoders need {' and '.join(missing)}; pip install -e '.[text]' "
            f"in the folder of the workbook brings what is missing, and {MEANWHILE}."
        )
    files = _Files(name, download, folder)
    pooling, normalise = _steps(files)
    weights = files.weights()
    tokenizer, limit = _tokenizer(files)
    network = _network(files, weights)
    card = {"name": name, "architecture": network.config.model_type, "source": name}
    return SentenceEncoder(
        name, network, tokenizer, limit, pooling, normalise, {**card, "words": limit}
    )


_NEEDED = ("transformers", "huggingface_hub")


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


@dataclass(frozen=True)
class _Files:
    """The files of a model: in a folder, in the hub's cache, or on the hub."""

    name: str
    download: bool
    folder: str | Path | None

    def path(self, file: str) -> Path:
        """Return where a file is, or say in one sentence that it is not here."""
        found = self.find(file)
        if found is not None:
            return found
        if self.folder is not None:
            raise CourseError(
                f"There is no {file} of {self.name} in {self._place!r}; expected the "
                "files of the model's page in that folder."
            )
        how = "could not be fetched" if self.download else "is not on this machine"
        raise CourseError(
            f'{file} of {self.name} {how}; sentences.load("{self.name}", '
            "download=True) fetches it once, where there is a network, and folder= "
            f"reads it from a folder; {MEANWHILE}."
        )

    def find(self, file: str) -> Path | None:
        """Return where a file is, or None."""
        if self.folder is not None:
            path = Path(self.folder).expanduser() / file
            return path if path.is_file() else None
        from huggingface_hub import hf_hub_download

        try:
            near = not self.download
            return Path(hf_hub_download(self.name, file, local_files_only=near))
        except (OSError, ValueError):  # its errors are of these kinds
            return None

    def weights(self) -> Path:
        """Return where the weights are, in the one form that can be trusted."""
        if self.folder is not None and self.find(WEIGHTS) is None:
            pickled = self.find(PICKLED)
            if pickled is not None:
                raise CourseError(
                    f"{self._place!r} holds {PICKLED}, a pickle, which could run any "
                    f"program when it is opened, and no {WEIGHTS}; fetch that file of "
                    f"{self.name} instead."
                )
        return self.path(WEIGHTS)

    def json(self, file: str, needed: bool = True) -> Any:
        """Return what a JSON file says; nothing where one that is not needed lacks."""
        path = self.path(file) if needed else self.find(file)
        if path is None:
            return {}
        try:
            return json.loads(path.read_text("utf-8"))
        except (ValueError, RecursionError) as error:  # neither JSON nor UTF-8
            raise self.damaged(file) from error

    def damaged(self, file: str) -> CourseError:
        """Return the error for a file that is not what it should be."""
        return CourseError(
            f"{file} of {self.name} is damaged or of another model; remove it and "
            "fetch it again."
        )

    @property
    def _place(self) -> str:
        return Path(self.folder or "").name


def _steps(files: _Files) -> tuple[str, bool]:
    """Return the pooling and whether vectors are brought to length 1."""
    modules = files.json("modules.json")
    try:
        kinds = [module["type"].rpartition(".")[2] for module in modules]
        first, second, *_ = modules
        inside, place = first["path"], second["path"]
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise files.damaged("modules.json") from error
    if tuple(kinds) not in (STEPS, STEPS[:2]) or inside:
        raise CourseError(
            f"{files.name} is made of {', '.join(kinds)}; expected a Transformer, its "
            f"Pooling and perhaps Normalize, as in {EXAMPLE}."
        )
    config = files.json(f"{place}/config.json")
    pooling = config.get("pooling_mode") or [
        kind for kind in ("cls", "mean") if config.get(_OLD_POOLING[kind])
    ]
    asked = [pooling] if isinstance(pooling, str) else pooling
    if asked not in (["mean"], ["cls"]):
        raise CourseError(
            f"{files.name} pools its words by {' and '.join(asked) or 'other means'}; "
            "expected mean or cls."
        )
    return asked[0], len(kinds) == len(STEPS)


_OLD_POOLING = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens"}


def _tokenizer(files: _Files) -> tuple[Tokenizer, int]:
    """Return the tokenizer and how many words and parts of words it may read."""
    from tokenizers import Tokenizer

    config = files.json("config.json")
    limits = [
        files.json("sentence_bert_config.json", needed=False).get("max_seq_length"),
        files.json("tokenizer_config.json", needed=False).get("model_max_length"),
        config.get("max_position_embeddings"),
    ]
    limit = min((int(value) for value in limits if value), default=512)
    try:
        tokenizer = Tokenizer.from_file(str(files.path("tokenizer.json")))
    except CourseError:
        raise
    except Exception as error:  # what tokenizers raises has no kind of its own
        raise files.damaged("tokenizer.json") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(limit)
    return tokenizer, limit


def _network(files: _Files, weights: Path) -> nn.Module:
    """Return the transformer, all of its weights from the file and none by chance."""
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModel

    place = weights.parent
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(place, **local)
        with seeded(0):
            network, report = AutoModel.from_pretrained(
                place,
                config=config,
                use_safetensors=True,
                output_loading_info=True,
                **local,
            )
    except (SafetensorError, RuntimeError, OSError, ValueError, KeyError) as error:
        raise files.damaged(WEIGHTS) from error
    lacking = [key for key in report["missing_keys"] if not key.startswith("pooler.")]
    if lacking or report["mismatched_keys"]:
        raise files.damaged(WEIGHTS)
    return network.float().eval()
