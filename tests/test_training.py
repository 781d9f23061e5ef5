"""The training loop: what moves, what stays, what it refuses, and its seeds."""

import itertools
import math
import threading

import numpy as np
import pytest
import torch
from torch import nn

from course import models, training
from course.data.tasks import TestPart, TrainPart, ValidationPart
from course.errors import CourseError, HeldOutError, TrainingDiverged
from course.training import Recipe, fit

NAMES = ("dark", "light")


def a_part(kind=TrainPart, count=24, size=16, seed=0):
    """Images whose class is their brightness: learnt in a few steps."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    noise = torch.randint(0, 100, (count, 3, size, size), generator=generator)
    return kind((noise + 150 * labels[:, None, None, None]).byte(), labels, NAMES)


def a_model(seed=0):
    model = models.fresh(NAMES, seed=seed, width=4)
    model.preprocess = models.normalising(16)
    return model


def weights(model):
    return {k: v.clone() for k, v in model.network.state_dict().items()}


def train(model, part=None, recipe=None, **options):
    part = a_part() if part is None else part
    recipe = recipe or Recipe(4, batch=8)
    return fit(model, part, recipe, progress=False, device="cpu", **options)


def test_training_learns_what_can_be_learnt():
    model = a_model()
    before = training.evaluate(model, a_part(TestPart, seed=1), device="cpu")
    history = train(model, recipe=Recipe(30, batch=8, rate=1e-2))
    after = training.evaluate(model, a_part(TestPart, seed=1), device="cpu")
    assert after.accuracy > 0.9 and after.loss < before.loss
    assert len(history.rows) == 30
    assert set(history.rows[0]) == {"step", "loss", "accuracy", "rate", "seconds"}
    assert history.column("step") == list(range(1, 31))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    runs = []
    for seed in (1, 1, 2):
        model = a_model()
        train(model, recipe=Recipe(3, batch=8, augment="shift+flip"), seed=seed)
        runs.append(weights(model))
    assert all(torch.equal(runs[0][key], runs[1][key]) for key in runs[0])
    assert any(not torch.equal(runs[0][key], runs[2][key]) for key in runs[0])


def test_a_test_part_is_refused_before_anything_moves():
    model = a_model()
    before = weights(model)
    with pytest.raises(HeldOutError, match=r"task\.train"):
        train(model, a_part(TestPart))
    assert all(torch.equal(before[k], v) for k, v in weights(model).items())


def test_frozen_parameters_stay_and_the_rest_moves():
    model = a_model()
    model.network.requires_grad_(False)
    model.network.fc.requires_grad_(True)
    before = weights(model)
    train(model, batchnorm="freeze")
    moved = {k for k, v in weights(model).items() if not torch.equal(before[k], v)}
    assert moved == {"fc.weight", "fc.bias"}


def test_batchnorm_statistics_move_unless_the_policy_freezes_them():
    for policy, expected in (("update", True), ("freeze", False)):
        model = a_model()
        model.network.requires_grad_(False)
        model.network.fc.requires_grad_(True)
        before = weights(model)
        train(model, batchnorm=policy)
        moved = {k for k, v in weights(model).items() if not torch.equal(before[k], v)}
        assert ("bn1.running_mean" in moved) is expected


def test_groups_scale_the_learning_rate():
    model = a_model()
    before = weights(model)

    def only_the_head(network):
        return [
            {"params": network.layer4.parameters(), "scale": 0.0},
            {"params": network.fc.parameters(), "scale": 1.0},
        ]

    train(model, groups=only_the_head, batchnorm="freeze")
    moved = {k for k, v in weights(model).items() if not torch.equal(before[k], v)}
    assert moved == {"fc.weight", "fc.bias"}


def test_the_rate_warms_up_and_falls_to_nearly_nothing():
    recipe = Recipe(100, rate=1.0, warmup=0.1)
    rates = [recipe.rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == 1.0
    assert np.argmax(rates) in (9, 10)
    assert all(a <= b for a, b in itertools.pairwise(rates[:10]))
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] < 0.01


def test_a_stop_ends_the_training_and_leaves_a_usable_model():
    model, stop = a_model(), threading.Event()

    def after(row):
        if row["step"] == 3:
            stop.set()

    history = train(model, recipe=Recipe(50, batch=8), stop=stop, after_step=after)
    assert history.stopped and len(history.rows) == 3
    assert not model.network.training
    score = training.evaluate(model, a_part(ValidationPart), device="cpu")
    assert math.isfinite(score.loss)


def test_callbacks_see_every_step_in_order():
    seen = []
    train(
        a_model(),
        before_step=lambda step, network: seen.append(("before", step)),
        after_step=lambda row: seen.append(("after", row["step"])),
    )
    assert seen[:4] == [("before", 0), ("after", 1), ("before", 1), ("after", 2)]


def test_a_loss_that_is_not_finite_stops_with_step_and_rate():
    model = a_model()
    with torch.no_grad():
        model.network.fc.bias.fill_(float("nan"))
    with pytest.raises(TrainingDiverged, match=r"nan at step 0 with learning rate"):
        train(model)
    assert not model.network.training


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda: Recipe(0), "at least 1 step"),
        (lambda: Recipe(5, batch=1), "at least 2 images"),
        (lambda: Recipe(5, rate=-1.0), "rate above 0"),
        (lambda: Recipe(5, rate=float("nan")), "rate above 0"),
        (lambda: Recipe(5, augment="shfit"), "Did you mean 'shift'"),
        (lambda: train(a_model(), batchnorm="frozen"), "'freeze'"),
        (lambda: train(a_model(), a_part().take(torch.tensor([], dtype=int))), "empty"),
        (lambda: train(models.fresh(("a",), 0, width=4)), "replace_head"),
        (lambda: training.device_of("gpu"), "Unknown device"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(broken, message):
    with pytest.raises(CourseError, match=message):
        broken()


@pytest.mark.parametrize("present", ["cpu", "cuda", "mps", "xpu"])
def test_auto_is_the_accelerator_that_torch_finds(monkeypatch, present):
    found = None if present == "cpu" else torch.device(present)
    monkeypatch.setattr(
        torch.accelerator, "current_accelerator", lambda check_available: found
    )
    assert training.device_of().type == present
    assert training.device_of("cpu").type == "cpu"
    absent = {"cuda": "xpu"}.get(present, "cuda")
    with pytest.raises(CourseError, match="this machine has none"):
        training.device_of(f"{absent}:0")


def test_every_epoch_shows_every_image_once_in_a_new_order():
    part = a_part(count=10)
    order = training.Shuffled(part, Recipe(10, batch=4), seed=0)
    names = part.images.flatten(1).float().sum(1)
    shown = torch.cat([order.batch(s)[0].flatten(1).float().sum(1) for s in range(5)])
    assert sorted(shown[:10].tolist()) == sorted(names.tolist())
    assert sorted(shown[10:].tolist()) == sorted(names.tolist())
    assert shown[:10].tolist() != shown[10:].tolist()


def test_a_shift_moves_the_image_and_a_flip_mirrors_it():
    ramp = (
        torch.arange(16, dtype=torch.uint8).repeat(3, 16, 1)[None].repeat(64, 1, 1, 1)
    )
    generator = np.random.default_rng(0)
    shifted = training.augmented(ramp, "shift", generator)
    starts = shifted[:, 0, 8, 7].tolist()
    assert set(starts) == {6, 7, 8}
    flipped = training.augmented(ramp, "shift+flip", generator)
    rising = (flipped[:, 0, 8, 10] > flipped[:, 0, 8, 5]).float().mean().item()
    assert 0.2 < rising < 0.8
    assert training.augmented(ramp, "none", generator) is ramp


def test_evaluation_is_of_the_part_and_moves_nothing():
    model, part = a_model(), a_part(TestPart, count=10)
    before = weights(model)
    score = training.evaluate(model, part, device="cpu", batch=3)
    assert score.n == 10 and score.predictions.shape == (10,)
    right = (score.predictions == part.labels).float().mean().item()
    assert score.accuracy == pytest.approx(right)
    assert all(torch.equal(before[k], v) for k, v in weights(model).items())


def test_the_loop_equals_a_hand_written_one(monkeypatch):
    monkeypatch.setattr(training, "pays_bf16", lambda device: False)
    part, recipe = a_part(), Recipe(3, batch=8, rate=1e-2, clip=None)
    ours, theirs = a_model(), a_model()
    train(ours, part, recipe)
    optimiser = torch.optim.AdamW(theirs.network.parameters(), weight_decay=1e-2)
    batches = training.Shuffled(part, recipe, 0)
    theirs.network.train()
    for step in range(3):
        images, labels = batches.batch(step)
        optimiser.param_groups[0]["lr"] = recipe.rate_at(step)
        logits = theirs.network(theirs.preprocess(images))
        loss = nn.functional.cross_entropy(logits, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for key, value in theirs.network.state_dict().items():
        assert torch.allclose(value.float(), weights(ours)[key].float(), atol=1e-3), key


# A batch that does not fit into memory ------------------------------------------------


class Narrow(nn.Module):
    """A network that fits only so many images into memory; it has no BatchNorm."""

    def __init__(self, room, error=None):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
        self.room, self.seen = room, []
        self.error = error or torch.OutOfMemoryError("no room")

    def forward(self, images):
        if len(images) > self.room:
            raise self.error
        self.seen.append(len(images))
        return self.layers(images)


def two_steps(network, count=8, **options):
    trainer = training.Trainer(network, Recipe(5, batch=8), device="cpu", **options)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, 2, 2, generator=generator)
    labels = torch.arange(count) % 2
    return [trainer.step(images, labels) for _ in range(2)]


def test_a_batch_that_does_not_fit_is_seen_in_pieces_and_the_step_is_the_same(capsys):
    whole, narrow = Narrow(100), Narrow(3)
    expected, rows = two_steps(whole, 9), two_steps(narrow, 9)
    assert whole.seen == [9, 9] and narrow.seen == [3, 2, 2, 2] * 2
    for row, other in zip(rows, expected, strict=True):
        assert row["loss"] == pytest.approx(other["loss"], abs=1e-3)
        assert row["accuracy"] == pytest.approx(other["accuracy"])
    for one, other in zip(narrow.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-3)
    told = capsys.readouterr().out
    assert told.count("does not fit into the memory of this CPU") == 2
    assert "seen in 4 pieces, whose gradients add up to one step" in told


@pytest.mark.parametrize(
    "text",
    [
        "MPS backend out of memory",
        "DefaultCPUAllocator: can't allocate memory: 9 bytes",
    ],
)
def test_devices_without_a_class_for_it_say_so_in_words(text):
    narrow = Narrow(4, RuntimeError(text))
    two_steps(narrow)
    assert narrow.seen == [4] * 4


def test_a_batch_that_fits_in_no_pieces_is_refused_in_a_sentence():
    with pytest.raises(CourseError, match="take a smaller batch"):
        two_steps(Narrow(1))
    with pytest.raises(CourseError, match="cannot be seen in smaller pieces"):
        two_steps(Narrow(4), divisible=False)


def test_other_errors_are_not_taken_for_a_want_of_memory():
    with pytest.raises(RuntimeError, match="shapes"):
        two_steps(Narrow(4, RuntimeError("shapes cannot be multiplied")))
