"""Is `fit` as fast as other libraries' training loops? Each in turns with `fit`.

    make bench        # the whole table; this file alone:
    make bench-peers && .bench-env/bin/python benchmarks/peers.py

It runs in an environment of its own that sees the workbook's torch. Everybody trains
the same network on the same images, in the same precision, for as many steps of the
same batch and schedule, with a fused AdamW (Keras has its own) and clipped gradients;
nobody validates, saves, logs or draws a bar. Images lie in memory, and a batch is
prepared at once: what somebody who knows the library would do. Once, on colours, which
are learnt in an epoch, the work is compared: where steps, images or the fall of the
loss are not the same, the row says so and does not count.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from speed import CPU, RECIPE, bare_steps, fit_once
from timing import PAIRS, Row, alternately, row, unmeasured
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset

from course import data, models
from course.data.tasks import Part
from course.models import Model
from course.training import autocast, evaluate, pays_bf16, placed

Batch = tuple[Tensor, Tensor]
Peer = Callable[[Model, Part], None]
WHAT = "`fit`, one epoch"
GOAL = "at most 0.90, or both at the floor"
FUSED = partial(
    torch.optim.AdamW, lr=RECIPE.rate, weight_decay=RECIPE.weight_decay, fused=True
)


class Images(Dataset):
    """Images in memory; a whole batch is taken out and prepared at once."""

    def __init__(self, model: Model, part: Part) -> None:
        self.model, self.part = model, part

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, place: int) -> Batch:
        images, labels = self.__getitems__([place])
        return images[0], labels[0]

    def __getitems__(self, places: list[int]) -> Batch:
        images = self.model.preprocess(self.part.images[places])
        return placed(images, CPU), self.part.labels[places]


class InBf16(nn.Module):
    """A network that computes in our precision, for libraries that leave it to us."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes) of a preprocessed batch."""
        with autocast(CPU):
            return self.network(images).float()


def as_it_is(batch: Batch) -> Batch:
    """Return a batch that is one already."""
    return batch


def loader(model: Model, part: Part) -> DataLoader:
    """Return the shuffled batches of a part, and the network in the same order."""
    model.network.to(memory_format=torch.channels_last).train()
    return DataLoader(
        Images(model, part), RECIPE.batch, shuffle=True, collate_fn=as_it_is
    )


def share(step: int) -> float:
    """Return the rate of a step as a share of the highest."""
    return RECIPE.rate_at(step) / RECIPE.rate


# The peers ----------------------------------------------------------------------------


def accelerate(model: Model, part: Part) -> None:
    """One epoch with Accelerate: a loop of one's own on what it prepared."""
    from accelerate import Accelerator

    helper = Accelerator(cpu=True, mixed_precision="bf16" if pays_bf16(CPU) else "no")
    network, optimiser, batches = helper.prepare(
        model.network, FUSED(model.network.parameters()), loader(model, part)
    )
    for step, (images, labels) in enumerate(batches):
        for group in optimiser.param_groups:
            group["lr"] = RECIPE.rate_at(step)
        loss = F.cross_entropy(network(images), labels)
        optimiser.zero_grad(set_to_none=True)
        helper.backward(loss)
        helper.clip_grad_norm_(network.parameters(), RECIPE.clip)
        optimiser.step()


def fastai(model: Model, part: Part) -> None:
    """One epoch with fastai's Learner; its own mixed precision knows CUDA alone."""
    from fastai.callback.core import Callback, CancelValidException
    from fastai.callback.schedule import ParamScheduler
    from fastai.callback.training import GradientClip
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper

    class NoValidation(Callback):
        def before_validate(self) -> None:
            raise CancelValidException

    def rate(done: float) -> float:
        return RECIPE.rate_at(round(done * RECIPE.steps))

    batches = loader(model, part)
    learner = Learner(
        DataLoaders(batches, batches, device=CPU),
        InBf16(model.network),
        loss_func=F.cross_entropy,
        opt_func=partial(OptimWrapper, opt=partial(torch.optim.AdamW, fused=True)),
        cbs=[NoValidation(), GradientClip(RECIPE.clip), ParamScheduler({"lr": rate})],
    )
    with learner.no_bar(), learner.no_logging():
        learner.fit(1, RECIPE.rate, wd=RECIPE.weight_decay)


def keras(model: Model, part: Part) -> None:
    """One epoch with Keras on torch: our network in its wrapper, its own AdamW."""
    os.environ["KERAS_BACKEND"] = "torch"
    from keras import Sequential, losses, optimizers
    from keras.layers import TorchModuleWrapper

    class Schedule(optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> float:
            return RECIPE.rate_at(int(step))

    batches = loader(model, part)
    wrapped = Sequential([TorchModuleWrapper(InBf16(model.network))])
    wrapped.compile(
        optimizers.AdamW(
            Schedule(),
            weight_decay=RECIPE.weight_decay,
            epsilon=1e-8,
            global_clipnorm=RECIPE.clip,
        ),
        losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    wrapped.fit(batches, epochs=1, verbose=0)


def lightning(model: Model, part: Part) -> None:
    """One epoch with Lightning's Trainer, with all that is not training left out."""
    import lightning as library

    class Module(library.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = model.network

        def training_step(self, batch: Batch, _: int) -> Tensor:
            return F.cross_entropy(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> dict[str, Any]:
            optimiser = FUSED(self.parameters())
            rates = {"scheduler": LambdaLR(optimiser, share), "interval": "step"}
            return {"optimizer": optimiser, "lr_scheduler": rates}

        def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
            # By hand: Lightning refuses to clip what a fused optimiser steps on.
            nn.utils.clip_grad_norm_(self.parameters(), RECIPE.clip)

    library.Trainer(
        max_epochs=1,
        accelerator="cpu",
        precision="bf16-mixed" if pays_bf16(CPU) else "32-true",
        barebones=True,
    ).fit(Module(), loader(model, part))


def skorch(model: Model, part: Part) -> None:
    """One epoch with skorch, without its measuring callbacks."""
    from skorch import NeuralNet
    from skorch.callbacks import GradientNormClipping, LRScheduler

    loader(model, part)
    NeuralNet(
        InBf16(model.network),
        nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        optimizer__fused=True,
        optimizer__weight_decay=RECIPE.weight_decay,
        lr=RECIPE.rate,
        max_epochs=1,
        batch_size=RECIPE.batch,
        iterator_train__shuffle=True,
        iterator_train__collate_fn=as_it_is,
        train_split=None,
        verbose=0,
        callbacks=[
            GradientNormClipping(RECIPE.clip),
            LRScheduler(LambdaLR, lr_lambda=share, step_every="batch"),
        ],
        callbacks__train_loss=None,
        callbacks__valid_loss=None,
        callbacks__epoch_timer=None,
        callbacks__print_log=None,
    ).fit(Images(model, part), None)


class WithLoss(nn.Module):
    """A network that returns its loss, as the Trainer of transformers asks for."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the mean cross-entropy of a preprocessed batch."""
        return {"loss": F.cross_entropy(self.network(images), labels)}


def transformers(model: Model, part: Part) -> None:
    """One epoch with the Trainer of transformers."""
    from transformers import Trainer, TrainingArguments

    loader(model, part)
    with tempfile.TemporaryDirectory() as folder:
        Trainer(
            WithLoss(model.network),
            TrainingArguments(
                folder,
                use_cpu=True,
                bf16=pays_bf16(CPU),
                num_train_epochs=1,
                per_device_train_batch_size=RECIPE.batch,
                optim="adamw_torch_fused",
                learning_rate=RECIPE.rate,
                weight_decay=RECIPE.weight_decay,
                max_grad_norm=RECIPE.clip,
                lr_scheduler_type="cosine",
                warmup_steps=round(RECIPE.warmup * RECIPE.steps),
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
                dataloader_pin_memory=False,
                remove_unused_columns=False,
            ),
            data_collator=lambda batch: dict(
                zip(("images", "labels"), batch, strict=True)
            ),
            train_dataset=Images(model, part),
        ).train()


PEERS: tuple[tuple[str, Peer], ...] = (
    ("accelerate", accelerate),
    ("fastai", fastai),
    ("keras", keras),
    ("lightning", lightning),
    ("skorch", skorch),
    ("transformers", transformers),
)


# Equal work ---------------------------------------------------------------------------


@dataclass
class Work:
    """What an epoch consisted of, and the loss on its images before and afterwards.

    A step is counted where the gradient of the last layer is finished.
    """

    before: float
    steps: int = 0
    images: int = 0
    loss: float = float("nan")

    def equals(self, other: Work) -> bool:
        """Say whether another epoch took as many steps and images, and learnt as well.

        Orders differ, so the loss may fall by a fifth less or a quarter more.
        """
        counts = (self.steps, self.images) == (other.steps, other.images)
        fall, others = self.before - self.loss, other.before - other.loss
        return counts and 0 < 0.8 * fall <= others <= 1.25 * fall


def work_of(train: Peer, part: Part) -> Work:
    """Train for an epoch; count the steps, and the images that a gradient came from."""
    model = models.fresh(part.class_names, 0)
    work = Work(evaluate(model, part, device="cpu").loss)

    def seen(_: nn.Module, given: tuple[Tensor, ...], __: Tensor) -> None:
        work.images += len(given[0]) * torch.is_grad_enabled()

    def stepped(_: Tensor) -> None:
        work.steps += 1

    hooks = [
        model.network.register_forward_hook(seen),
        model.network.fc.bias.register_post_accumulate_grad_hook(stepped),
    ]
    train(model, part)
    for hook in hooks:
        hook.remove()
    work.loss = evaluate(model, part, device="cpu").loss
    return work


# The rows -----------------------------------------------------------------------------


def measured(
    name: str, peer: Peer, part: Part, easy: Part, ours: Work, pairs: int
) -> Row:
    """Return the row of one library, and whether its work was the same as ours."""
    title = f"{name} {metadata.version(name)}"
    theirs = work_of(peer, easy)
    fitting, other = alternately(
        lambda: fit_once(part),
        lambda: peer(models.fresh(part.class_names, 0), part),
        pairs,
    )
    ratios = [a / b for a, b in zip(fitting, other, strict=True)]
    one = row(WHAT, title, "no goal", ratios, "×")
    one["note"] = (
        f"loss on colours from {ours.before:.2f} to {ours.loss:.2f} "
        f"and to {theirs.loss:.2f}"
    )
    one["counts"] = ours.equals(theirs)
    if not one["counts"]:
        one["note"] += (
            f"; UNEQUAL: {ours.steps} steps on {ours.images} images against "
            f"{theirs.steps} on {theirs.images}"
        )
    return one


def attempted(name: str, peer: Peer, *how: Any) -> Row:
    """Return the row of `measured`, or one that says why there is no figure."""
    try:
        return measured(name, peer, *how)
    except Exception as error:  # of a library that we do not know from within
        why = str(error).strip().partition("\n")[0]
        return unmeasured(WHAT, name, "no goal", f"{type(error).__name__}: {why}")


def against_the_floor(name: str, peer: Peer, part: Part, pairs: int) -> Row:
    """Time the fastest library and the steps without which nothing is trained."""
    names = part.class_names
    theirs, floor = alternately(
        lambda: peer(models.fresh(names, 0), part),
        lambda: bare_steps(models.fresh(names, 0), part),
        pairs,
    )
    ratios = [a / b for a, b in zip(theirs, floor, strict=True)]
    what = f"{name}, the fastest of them, one epoch"
    return row(what, "the floor", "no goal", ratios, "×")


def rows(part: Part, easy: Part, pairs: int = PAIRS) -> list[Row]:
    """Return a row for each library, and where the fastest stands over the floor.

    Args:
        part: what is trained on in turns.
        easy: what an epoch suffices for, to see that the work is the same.
        pairs: turns that count.
    """
    ours = work_of(lambda model, part: fit_once(part, model), easy)
    how = part, easy, ours, pairs
    lines = [attempted(name, peer, *how) for name, peer in PEERS]
    fair = [one for one in zip(lines, PEERS, strict=True) if one[0].get("counts")]
    if fair:
        fastest, (name, peer) = max(fair, key=lambda one: one[0]["median"])
        fastest["goal"] = GOAL
        lines.append(against_the_floor(name, peer, part, pairs))
    return [{k: v for k, v in one.items() if k != "counts"} for one in lines]


def main() -> None:
    """Write the rows into the file named on the command line, or print them."""
    warnings.filterwarnings("ignore")
    count = RECIPE.steps * RECIPE.batch
    shapes, colours = (data.task(name, train=count) for name in ("shapes", "colours"))
    lines = rows(shapes.train, colours.train)
    text = json.dumps(lines, indent=1, ensure_ascii=False)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text, "utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
