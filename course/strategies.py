"""Fine-tuning strategies: what may move, from where, and when (chapter 03)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn

from course import models
from course.arguments import kinds_checked
from course.data.tasks import TrainPart
from course.errors import CourseError, unknown
from course.extraction import before_head
from course.families import head_of, set_head, stages
from course.lora import add_lora, merge_lora
from course.models import Model
from course.probing import linear_probe
from course.training import BatchNormPolicy

DECAY = 0.5  # of the rate, per stage towards the input, in "discriminative"
QUARTERS = 4  # of the steps, in "gradual"; with each the next stage is unfrozen
RANK = 4  # of the updates, in "lora"


@dataclass(frozen=True)
class Start:
    """What a strategy may look at before the first step: never a test part.

    Args:
        train: the images to learn from.
        seed: of whatever is random.
        C: of the probe, where there is one.
        device: where features are computed.
    """

    train: TrainPart
    seed: int
    C: float = 1.0
    device: str = "auto"


Prepare = Callable[[Model, Start], None]
Groups = Callable[[nn.Module], list[dict[str, Any]]]


def everything_moves(model: Model, start: Start) -> None:
    """Leave every parameter free to move: full fine-tuning."""
    model.network.requires_grad_(True)


@dataclass(frozen=True)
class Strategy:
    """One way from a source model to a target task (chapter 03).

    Args:
        name: as in `STRATEGIES`.
        sentence: what it does.
        start: ``"pretrained"`` weights or from ``"scratch"``.
        batchnorm: whether BatchNorm's statistics move: ``"update"`` or ``"freeze"``.
        affine: whether BatchNorm's scale and shift are trained.
        prepare: given the model, whose new head is random, and a `Start`, decides in
            place what may move.
        groups: maps the network to parameter groups with a scale on the rate, or None.
        before_step: called with step, steps and network, or None.
        finish: maps the trained network to the one that is kept.
        descends: whether gradient steps are made; a probe is solved instead.
    """

    name: str
    sentence: str
    start: Literal["pretrained", "scratch"] = "pretrained"
    batchnorm: BatchNormPolicy = "update"
    affine: bool = True
    prepare: Prepare = everything_moves
    groups: Groups | None = None
    before_step: Callable[[int, int, nn.Module], None] | None = None
    finish: Callable[[nn.Module], nn.Module] | None = None
    descends: bool = True

    @property
    def batchnorm_sentence(self) -> str:
        """What BatchNorm does here, in words."""
        statistics = "move" if self.batchnorm == "update" else "stay as pretrained"
        affine = "are trained" if self.affine else "stay"
        return f"BatchNorm's statistics {statistics}; its scale and shift {affine}."


def begin(strategy: Strategy, source: Model, start: Start) -> Model:
    """Return a copy of the source with a new head, prepared as the strategy says."""
    model = models.replace_head(source, start.train.class_names, start.seed)
    if strategy.start == "scratch":
        model = started_anew(model, start.seed)
    strategy.prepare(model, start)
    if not strategy.affine:
        for module in model.network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.requires_grad_(False)
    return model


def started_anew(model: Model, seed: int) -> Model:
    """Return a model of the same architecture with new random weights.

    As its library would build it, where that is known; a resnet10 of ours is
    initialised in place.
    """
    if model.build is None:
        reinitialise(model.network, seed)
        return model
    with models.seeded(seed):
        network = model.build().to(model.device)
    return models.replace_head(replace(model, network=network), model.class_names, seed)


@kinds_checked
def reinitialise(network: nn.Module, seed: int) -> None:
    """Give every layer new random weights, as `models.resnet10` does, in place.

    Raises:
        CourseError: a parameter belongs to a layer that cannot be started anew, so that
            something pretrained would stay.
    """
    with models.seeded(seed):
        for name, module in network.named_modules():
            own = next(module.parameters(recurse=False), None)
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
            elif own is not None:
                raise CourseError(
                    f"The layer {name or type(network).__name__!r} cannot be started "
                    "from scratch; expected a convolutional network."
                )
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(
                    module.weight, mode="fan_out", nonlinearity="relu"
                )


# What each strategy does, in a few lines each --------------------------------------


def only_head(model: Model, start: Start) -> None:
    """Freeze the backbone; the new head alone may move."""
    model.network.requires_grad_(False)
    head_of(model.network)[1].requires_grad_(True)


def probe_head(model: Model, start: Start) -> None:
    """Let logistic regression on frozen features be the head, and freeze the rest."""
    train = before_head(model, start.train, start.device)
    probe = linear_probe(train, Cs=(start.C,))
    set_head(model.network, probe.as_head())
    only_head(model, start)


def probe_then_everything(model: Model, start: Start) -> None:
    """Start full fine-tuning from the probe's head and not from a random one."""
    probe_head(model, start)
    everything_moves(model, start)


def lora_and_head(model: Model, start: Start) -> None:
    """Freeze the weights; low-rank updates and the head move (see `add_lora`)."""
    add_lora(model.network, RANK, seed=start.seed)
    head_of(model.network)[1].requires_grad_(True)


def slower_towards_the_input(network: nn.Module) -> list[dict[str, Any]]:
    """Return a group a stage, each with half the rate of the stage above it."""
    from_head = reversed(stages(network).values())
    return [
        {"params": parameters, "scale": DECAY**depth}
        for depth, parameters in enumerate(from_head)
    ]


def unfreeze_from_the_head(step: int, steps: int, network: nn.Module) -> None:
    """Open one more stage with each quarter of the steps, and all in the last one."""
    quarter = QUARTERS * step // steps
    from_head = list(reversed(stages(network).values()))
    opened = len(from_head) if quarter == QUARTERS - 1 else quarter + 1
    for depth, parameters in enumerate(from_head):
        for parameter in parameters:
            parameter.requires_grad_(depth < opened)


_ALL = (
    Strategy(
        "scratch",
        "Random weights, all trained: what the labels alone can teach.",
        start="scratch",
    ),
    Strategy(
        "probe",
        "Logistic regression on frozen features; nothing in the backbone moves.",
        batchnorm="freeze",
        affine=False,
        prepare=probe_head,
        descends=False,
    ),
    Strategy(
        "head",
        "A new head, trained by gradient steps on a frozen backbone.",
        batchnorm="freeze",
        affine=False,
        prepare=only_head,
    ),
    Strategy(
        "full",
        "A new head, and every weight trained from where pretraining left it.",
    ),
    Strategy(
        "gradual",
        "The head first, then a stage more with each quarter of the steps "
        "(Howard & Ruder 2018, arXiv 1801.06146).",
        # Statistics that move would change stages which are still frozen.
        batchnorm="freeze",
        before_step=unfreeze_from_the_head,
    ),
    Strategy(
        "discriminative",
        "Every weight trained, with half the learning rate per stage towards the input "
        "(Howard & Ruder 2018, arXiv 1801.06146).",
        groups=slower_towards_the_input,
    ),
    Strategy(
        "lp-ft",
        "A linear probe first, then every weight from there "
        "(Kumar et al. 2022, arXiv 2202.10054).",
        prepare=probe_then_everything,
    ),
    Strategy(
        "lora",
        "The head and a low-rank update of each 3×3 convolution "
        "(Hu et al. 2021, arXiv 2106.09685).",
        batchnorm="freeze",
        affine=False,
        prepare=lora_and_head,
        finish=merge_lora,
    ),
)
STRATEGIES: dict[str, Strategy] = {strategy.name: strategy for strategy in _ALL}


@kinds_checked
def strategy_of(strategy: str | Strategy) -> Strategy:
    """Return the strategy of that name; a strategy of your own is taken as it is.

    Raises:
        CourseError: the name is unknown.
    """
    if isinstance(strategy, Strategy):
        return strategy
    if strategy not in STRATEGIES:
        raise unknown("strategy", strategy, STRATEGIES)
    return STRATEGIES[strategy]
