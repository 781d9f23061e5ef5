"""How the shipped backbones were pretrained, so that anybody can do it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from course import data, models, parallel, shelf
from course.arguments import kinds_checked
from course.data import glyphs, shapes
from course.errors import CourseError, unknown
from course.training import (
    Batch,
    History,
    Objective,
    Recipe,
    Row,
    Trainer,
    augmented,
    classification,
    evaluate,
    train_on,
)

CHUNK = 2048  # fresh images drawn at once
REUSE = 2  # epochs that each chunk serves: drawing costs a third of a step
SAVE_EVERY = 100  # steps between two checkpoints
TEXT = ("words-transformer",)  # made by `course.language`, and not from images


@dataclass(frozen=True)
class Pretraining:
    """A source task and the recipe that makes a backbone of it (chapter 01).

    Args:
        task: the source task whose images are drawn, as `data.task` names it.
        sentence: what the backbone learns, for its card.
        recipe: of the profile ``"full"``, which made the shipped weights.
        contrastive: learn from two views of each image and not from labels.
    """

    task: str
    sentence: str
    recipe: Recipe
    contrastive: bool = False

    def at(self, profile: str) -> Recipe:
        """Return the recipe of a profile: the same, with fewer steps."""
        if profile == "full":
            return self.recipe
        shorter = {"smoke": 4, "quick": 300}
        if profile not in shorter:
            raise unknown("profile", profile, ["full", *shorter])
        return replace(self.recipe, steps=min(shorter[profile], self.recipe.steps))


_SHAPES = Recipe(steps=3000, batch=128, rate=4e-3, augment="shift+flip")
RECIPES = {
    "resnet10-shapes": Pretraining("shapes", "names the shape of an object", _SHAPES),
    "resnet10-glyphs": Pretraining(
        "glyphs",
        "names a letter",
        replace(_SHAPES, steps=1500, augment="shift"),
    ),
    "resnet10-colours": Pretraining(
        "colours", "names the colour of an object", replace(_SHAPES, steps=500)
    ),
    "resnet10-fills": Pretraining(
        "fills", "names the fill of an object", replace(_SHAPES, steps=1500)
    ),
    "resnet10-simclr": Pretraining(
        "shapes",
        "tells two views of one image from views of others, without labels",
        replace(_SHAPES, steps=1000, batch=256, augment="none"),
        contrastive=True,
    ),
}


@kinds_checked
def nt_xent(embeddings: Tensor, temperature: float = 0.2) -> tuple[Tensor, Tensor]:
    """Return the contrastive loss of pairs of views, and how often the pair is nearest.

    The loss of SimCLR (Chen et al. 2020, arXiv 2002.05709); chapter 01 derives it.

    Args:
        embeddings: (2N, D); row i and row i + N are two views of one image.
        temperature: divides the cosine similarities.
    """
    unit = F.normalize(embeddings.float(), dim=1)
    similarity = unit @ unit.T / temperature
    similarity.fill_diagonal_(float("-inf"))  # nothing is its own partner
    count = len(unit)
    partner = (torch.arange(count, device=unit.device) + count // 2) % count
    accuracy = (similarity.detach().argmax(dim=1) == partner).float().mean()
    return F.cross_entropy(similarity, partner), accuracy


def two_views(images: Tensor, generator: np.random.Generator) -> Tensor:
    """Return two random views of each image, stacked: (2N, 3, H, W), uint8.

    A view is a crop of 36 to 100 % of the area, mirrored half of the time, with its
    colour channels permuted and its brightness and contrast changed. What the views
    share is what the backbone will keep; what they change it learns to ignore.

    Args:
        images: uint8 (N, 3, H, W).
        generator: where the chance comes from.
    """
    return torch.cat([_view(images, generator), _view(images, generator)])


def _view(images: Tensor, generator: np.random.Generator) -> Tensor:
    count = len(images)
    scale = generator.uniform(0.6, 1.0, count)
    shift = generator.uniform(-1, 1, (2, count)) * (1 - scale)
    mirror = generator.choice([-1.0, 1.0], count)
    affine = np.zeros((count, 2, 3), np.float32)
    affine[:, 0, 0], affine[:, 1, 1] = scale * mirror, scale
    affine[:, 0, 2], affine[:, 1, 2] = shift
    grid = F.affine_grid(torch.from_numpy(affine), list(images.shape), False)
    cropped = F.grid_sample(
        images.float(), grid, padding_mode="reflection", align_corners=False
    )
    return _recoloured(cropped, generator)


def _recoloured(images: Tensor, generator: np.random.Generator) -> Tensor:
    count = len(images)
    order = torch.from_numpy(
        generator.permuted(np.tile(np.arange(3), (count, 1)), axis=1)
    )
    mixed = images[torch.arange(count)[:, None], order]
    contrast = torch.from_numpy(generator.uniform(0.6, 1.4, (count, 1, 1, 1))).float()
    bright = torch.from_numpy(generator.uniform(-40, 40, (count, 1, 1, 1))).float()
    return ((mixed - 128) * contrast + 128 + bright).clamp(0, 255).to(torch.uint8)


def contrastive(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    team: parallel.Team = parallel.ALONE,
) -> tuple[Tensor, Tensor]:
    """Return `nt_xent` of a batch that `two_views` made; the labels are not used.

    With several processes, `images` are this one's slice, and are compared with all.
    """
    del labels
    return nt_xent(team.gathered(network(images)))


@dataclass(frozen=True, eq=False)
class Stream:
    """Fresh images of a source task, as many as wanted, each batch known from its step.

    Args:
        source: what is drawn.
        recipe: gives batch size and augmentation.
        seed: of everything.
    """

    source: Pretraining
    recipe: Recipe
    seed: int
    _drawn: dict[int, Batch] = field(default_factory=dict)

    def batch(self, step: int) -> Batch:
        """Return the uint8 images and labels of a step."""
        each = CHUNK // self.recipe.batch
        chunk, place = divmod(step, each * REUSE)
        images, labels = self._chunk(chunk)
        epoch, place = divmod(place, each)
        order = np.random.default_rng([self.seed, chunk, epoch]).permutation(CHUNK)
        begin = place * self.recipe.batch
        chosen = torch.from_numpy(order[begin : begin + self.recipe.batch])
        generator = np.random.default_rng([self.seed, step, 1])
        if self.source.contrastive:
            half = chosen[: len(chosen) // 2]
            return two_views(images[half], generator), labels[chosen]
        return augmented(images[chosen], self.recipe.augment, generator), labels[chosen]

    def _chunk(self, number: int) -> Batch:
        if number not in self._drawn:
            self._drawn.clear()
            seed = 1_000_003 * (self.seed + 1) + number
            self._drawn[number] = _draw(self.source.task, seed)
        return self._drawn[number]


def _draw(task: str, seed: int) -> Batch:
    if task == "glyphs":
        return glyphs.draw(CHUNK, seed)[:2]
    drawn = shapes.draw(CHUNK, seed)
    factor = {"shapes": "shape", "fills": "fill", "colours": "colour"}[task]
    return drawn.images, shapes.label_of(drawn, factor)[0]


@cache
def source_task(name: str) -> data.Task:
    """Return a source task for its fixed validation and test parts alone."""
    return data.task(name, train=64)


@kinds_checked
def start(name: str, seed: int = 0) -> models.Model:
    """Return the model that a pretraining begins with: random weights, its own head.

    Args:
        name: one of `RECIPES`.
        seed: of the weights.
    """
    source = _recipe(name)
    if not source.contrastive:
        return models.fresh(source_task(source.task).class_names, seed)
    model = models.fresh((), seed)
    width = model.network.fc.in_features
    with models.seeded(seed):
        model.network.fc = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 64)
        )
    return model


def _recipe(name: str) -> Pretraining:
    if name not in RECIPES:
        raise unknown("backbone", name, [*RECIPES, *TEXT])
    return RECIPES[name]


def objective_of(
    source: Pretraining, team: parallel.Team = parallel.ALONE
) -> Objective:
    """Return the loss that a source is pretrained with."""
    return partial(contrastive, team=team) if source.contrastive else classification


@kinds_checked
def pretrain(
    name: str,
    *,
    profile: str = "full",
    out: Path = Path(),
    resume: bool = False,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
    after_step: Callable[[Row], None] | None = None,
) -> Path:
    """Pretrain a backbone and leave ``NAME.safetensors`` and its card in a folder.

    The work is saved every hundred steps; killed at any moment and resumed, it ends
    with the same bytes on the same machine as if it had not been killed.

    Started by `torchrun`, each process sees its slice of every batch, and the first one
    writes; an unfinished run may go on with another number of processes.

    Args:
        name: one of `RECIPES`; those of `TEXT` are made by `language.make`.
        profile: ``"smoke"``, ``"quick"`` or ``"full"`` (what the shipped weights had).
        out: the folder.
        resume: go on with what an earlier, unfinished call left there.
        seed: of weights, images and order.
        device: where to compute.
        progress: show a bar.
        after_step: called with each row of the history, in the first process.

    Returns:
        The path of the weights.

    Raises:
        CourseError: the name is unknown, or what is in the folder is of another run.
        OSError: the folder cannot be made or written.
    """
    path = out / f"{name}.safetensors"
    with parallel.joined(device) as team, ExitStack() as stack:
        source = _recipe(name)
        recipe = source.at(profile)
        if team.leads:
            out.mkdir(parents=True, exist_ok=True)  # now, and not after minutes
            stack.enter_context(shelf.in_use(out))
        model = start(name, seed)
        trainer = _trainer(model, source, recipe, team)
        partly = out / f".{name}.partial.safetensors"
        state = State(partly, _key(name, recipe, seed), team)
        stream = Stream(source, recipe, seed)
        history = resumably(
            trainer,
            lambda step: _prepared(model, stream.batch(step)),
            state,
            resume=resume,
            progress=progress and team.leads,
            after_step=after_step if team.leads else None,
        )
        if team.leads:
            card = _card(name, source, recipe)
            model.card = {**card, "seed": seed, "profile": profile}
            _finish(model, source, history, path)
            state.path.unlink(missing_ok=True)
        team.summed(0.0)  # nobody returns before the weights are written
    return path


def _trainer(
    model: models.Model, source: Pretraining, recipe: Recipe, team: parallel.Team
) -> Trainer:
    return parallel.trainer(
        model.network,
        recipe,
        team,
        objective=objective_of(source, team),
        divisible=not source.contrastive,  # contrasts are with all others of the batch
    )


def resumably(
    trainer: Trainer,
    batch_at: Callable[[int], Batch],
    state: State,
    *,
    resume: bool,
    progress: bool = True,
    after_step: Callable[[Row], None] | None = None,
) -> History:
    """Train to the recipe's last step, and save the work every hundred steps.

    Args:
        trainer: what is trained.
        batch_at: see `training.train_on`.
        state: where unfinished work is kept; it stays, until its caller has finished.
        resume: go on with what is kept there.
        progress: show a bar.
        after_step: called with each row of the history.

    Raises:
        CourseError: what is kept there is damaged or of another run.
    """
    history = state.restore(trainer) if resume else History()

    def keep(row: Row) -> None:
        if row["step"] % SAVE_EVERY == 0:
            state.save(trainer, history)
        if after_step:
            after_step(row)

    return train_on(
        trainer, batch_at, progress=progress, after_step=keep, history=history
    )


def _prepared(model: models.Model, batch: Batch) -> Batch:
    images, labels = batch
    return model.preprocess(images), labels


def _card(name: str, source: Pretraining, recipe: Recipe) -> dict[str, Any]:
    return {
        "name": name,
        "data": f"images that course.data draws ({source.task}), {CHUNK} fresh ones "
        f"every {REUSE * (CHUNK // recipe.batch)} steps",
        "task": source.sentence,
        "recipe": asdict(recipe),
        "steps": recipe.steps,
        "licence": "MIT",
        "torch": torch.__version__.partition("+")[0],
    }


def _finish(
    model: models.Model, source: Pretraining, history: History, path: Path
) -> None:
    model.card["seconds"] = round(history.seconds, 1)
    model.card["curve"] = curve(history)
    if source.contrastive:
        model.network.fc = models.resnet10(0).fc
    else:
        score = evaluate(model, source_task(source.task).test)
        model.card["accuracy"] = {"test": round(score.accuracy, 4), "n": score.n}
    models.save(model, path)


def curve(history: History, every: int = 50) -> list[dict[str, float]]:
    """Return loss and accuracy of a training, each the mean over `every` steps."""
    means = []
    for end in range(every, len(history.rows) + 1, every):
        rows = history.rows[end - every : end]
        row = {k: sum(r[k] for r in rows) / every for k in ("loss", "accuracy")}
        means.append({"step": end, **{k: round(v, 4) for k, v in row.items()}})
    return means


def _key(name: str, recipe: Recipe, seed: int) -> str:
    text = json.dumps([name, asdict(recipe), seed], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class State:
    """The unfinished work of a pretraining, in one file that is whole or not there.

    Args:
        path: the file.
        key: a hash of name, recipe and seed; a file with another key is refused.
        team: the processes that do the work; the first writes the file, all read it.
    """

    path: Path
    key: str
    team: parallel.Team = parallel.ALONE

    def save(self, trainer: Trainer, history: History) -> None:
        """Write weights, optimiser and history."""
        if not self.team.leads:
            return
        tensors = {f"network/{k}": v for k, v in trainer.network.state_dict().items()}
        for index, values in trainer.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{index}/{k}": v for k, v in values.items()}
        plain = {k: value.detach().cpu().contiguous() for k, value in tensors.items()}
        about = {
            "key": self.key,
            "done": str(trainer.done),
            "history": json.dumps(history.rows),
        }
        models.write_whole(
            self.path, lambda place: save_file(plain, place, metadata=about)
        )

    def restore(self, trainer: Trainer) -> History:
        """Put a trainer where the file left off; without a file, leave it as it is.

        Raises:
            CourseError: the file is damaged or belongs to another run.
        """
        history = self._read_into(trainer)
        self.team.agree_on(trainer.done)
        return history

    def _read_into(self, trainer: Trainer) -> History:
        if not self.path.is_file():
            return History()
        try:
            with safe_open(self.path, framework="pt") as file:
                about = file.metadata() or {}
                tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise self._refusal("is damaged") from error
        if about.get("key") != self.key:
            raise self._refusal("belongs to another recipe or seed")
        try:
            rows, done = json.loads(about["history"]), int(about["done"])
            if len(rows) != done or not rows or not float(rows[-1]["seconds"]) >= 0:
                raise ValueError("the history is not that of the steps")
            _fill(trainer, tensors)
        except (LookupError, ValueError, TypeError, RuntimeError) as error:
            raise self._refusal("is damaged") from error
        trainer.done = done
        return History(rows=rows)

    def _refusal(self, why: str) -> CourseError:
        return CourseError(
            f"{self.path.name} {why} and cannot be resumed; remove it, or run without "
            "--resume."
        )


def _fill(trainer: Trainer, tensors: dict[str, Tensor]) -> None:
    weights = {k[8:]: v for k, v in tensors.items() if k.startswith("network/")}
    trainer.network.load_state_dict(weights)
    parameters = [p for g in trainer.optimiser.param_groups for p in g["params"]]
    for key, value in tensors.items():
        if key.startswith("optimiser/"):
            _, index, name = key.split("/")
            owner = parameters[int(index)]
            # The fused step walks parameter and moments in one memory order.
            kept = value.clone()
            if value.shape == owner.shape:
                kept = torch.empty_like(owner).copy_(value)
            trainer.optimiser.state[owner][name] = kept
