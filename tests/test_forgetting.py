"""Forgetting: the old head, a new probe, and what holds on to the old task."""

import copy

import pytest
import torch
from torch import nn

from course import data, forgetting, models, transfer
from course.errors import CourseError, HeldOutError
from course.training import Recipe, evaluate

OLD = ("dark", "light")
NEW = ("left", "right", "neither")
RECIPE = Recipe(steps=6, batch=8, rate=1e-2)


def part_of(kind, names, seed, n=24):
    """Flat grey images, whose brightness (old) or bright side (new) is the label."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % len(names)
    images = torch.randint(60, 90, (n, 3, 16, 16), generator=generator)
    if names == OLD:
        images = images + 120 * labels[:, None, None, None]
    else:
        images[labels == 0, :, :, :8] += 120
        images[labels == 1, :, :, 8:] += 120
    return kind(images.to(torch.uint8), labels, names)


def small(names, seed=0):
    with models.seeded(seed):
        network = models.resnet10(len(names), width=4)
    return models.Model(network.eval(), models.normalising(16), names)


@pytest.fixture(scope="module")
def source():
    model = small(OLD)
    with models.seeded(3):
        for module in model.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return model


@pytest.fixture(scope="module")
def tuned(source):
    return forgetting.adapt(source, part_of(data.TrainPart, NEW, 0), RECIPE, 0)


def moved(source, model):
    start = forgetting.backbone_of(source)
    return sum(
        (value - start[name]).square().sum().item()
        for name, value in model.network.named_parameters()
        if name in start
    )


def old_loss(source, model):
    back = forgetting.with_old_head(source, model)
    return evaluate(back, part_of(data.TestPart, OLD, 9)).loss


def test_a_backbone_has_statistics_and_no_head(source):
    names = forgetting.backbone_of(source)
    assert "bn1.running_mean" in names and "conv1.weight" in names
    assert not [name for name in names if name.startswith("fc.")]


def test_fine_tuning_leaves_the_source_as_it_was(source):
    before = transfer.fingerprint(source.network)
    model = forgetting.adapt(source, part_of(data.TrainPart, NEW, 0), RECIPE, 0)
    assert transfer.fingerprint(source.network) == before
    assert model.class_names == NEW and not model.network.training
    assert moved(source, model) > 0


def test_without_anything_that_holds_on_it_is_the_strategy_full(source, tuned):
    task = data.Task(
        "sides",
        part_of(data.TrainPart, NEW, 0),
        part_of(data.ValidationPart, NEW, 1),
        part_of(data.TestPart, NEW, 2),
    )
    run = transfer.run("full", source, task, RECIPE, 0, progress=False)
    for name, value in run.model.network.state_dict().items():
        assert torch.equal(value, tuned.network.state_dict()[name]), name


def test_with_the_old_head_the_backbone_is_new_and_the_head_old(source, tuned):
    back = forgetting.with_old_head(source, tuned)
    assert back.class_names == OLD
    assert torch.equal(back.network.fc.weight, source.network.fc.weight)
    assert torch.equal(back.network.conv1.weight, tuned.network.conv1.weight)
    assert torch.equal(back.network.bn1.running_mean, tuned.network.bn1.running_mean)
    back.network.fc.weight.data.zero_()  # a copy: nothing else may change
    assert source.network.fc.weight.abs().sum() > 0
    assert tuned.class_names == NEW


def test_a_stale_head_is_not_lost_knowledge(source):
    train, test = (part_of(kind, OLD, 5) for kind in (data.TrainPart, data.TestPart))
    good = forgetting.adapt(source, train, Recipe(12, batch=8, rate=1e-2), 0)
    stale = good.copy()
    stale.network.fc.weight.data.neg_()  # every answer is the other one now
    stale.network.fc.bias.data.neg_()
    right = evaluate(good, test).accuracy
    assert right > 0.9 and evaluate(stale, test).accuracy < 0.1
    assert forgetting.reprobed(stale, train, test) > 0.9


def test_a_probe_of_the_old_task_is_not_fitted_on_test_images(source):
    test = part_of(data.TestPart, OLD, 5)
    with pytest.raises(HeldOutError):
        forgetting.reprobed(source, test, test)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_mix_lies_between_its_ends_statistics_included(source, tuned, share):
    before, after = (forgetting.backbone_of(model) for model in (source, tuned))
    mixed = forgetting.interpolate(before, after, share)
    assert mixed.keys() == after.keys()
    for name in ("conv1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"):
        wanted = (1 - share) * before[name] + share * after[name]
        assert torch.allclose(mixed[name], wanted, atol=1e-6), name
    count = "bn1.num_batches_tracked"
    assert mixed[count].dtype == torch.int64 and mixed[count] == after[count]


def test_mixing_changes_neither_end(source, tuned):
    before, after = (forgetting.backbone_of(model) for model in (source, tuned))
    copies = copy.deepcopy((before, after))
    for value in forgetting.interpolate(before, after, 0.5).values():
        value.zero_()
    for state, kept in zip((before, after), copies, strict=True):
        assert all(torch.equal(state[name], kept[name]) for name in state)


def test_networks_that_do_not_fit_are_not_mixed(source, tuned):
    whole = source.network.state_dict(), tuned.network.state_dict()
    with pytest.raises(CourseError, match=r"differ in fc\.bias"):
        forgetting.interpolate(*whole, 0.5)
    few = {"conv1.weight": torch.zeros(1)}
    with pytest.raises(CourseError, match="cannot be mixed"):
        forgetting.interpolate(few, forgetting.backbone_of(tuned), 0.5)


def test_the_penalty_is_the_squared_distance_without_the_head(source):
    model = source.copy()
    penalty = forgetting.l2_sp(forgetting.backbone_of(source), 2.0)
    assert penalty(model.network).item() == 0
    with torch.no_grad():
        model.network.conv1.weight += 0.5
        model.network.fc.weight += 9
    count = model.network.conv1.weight.numel()
    assert penalty(model.network).item() == pytest.approx(2 * 0.25 * count, rel=1e-4)
    penalty(model.network).backward()
    pull = model.network.conv1.weight.grad
    assert torch.allclose(pull, torch.full_like(pull, 2.0), atol=1e-4)
    assert model.network.fc.weight.grad is None


def test_the_start_of_the_penalty_does_not_move_with_the_network(source):
    model = source.copy()
    penalty = forgetting.l2_sp(forgetting.backbone_of(model), 1.0)
    with torch.no_grad():
        model.network.conv1.weight += 0.5
    assert penalty(model.network).item() > 0


def test_a_strong_pull_keeps_the_weights_near(source, tuned):
    penalty = forgetting.l2_sp(forgetting.backbone_of(source), 100.0)
    train = part_of(data.TrainPart, NEW, 0)
    held = forgetting.adapt(source, train, RECIPE, 0, penalty=penalty)
    assert moved(source, held) < 0.8 * moved(source, tuned)


def test_replayed_images_are_remembered(source):
    train, old = part_of(data.TrainPart, NEW, 0), part_of(data.TrainPart, OLD, 4)
    recipe = Recipe(steps=20, batch=8, rate=1e-2)
    plain = forgetting.adapt(source, train, recipe, 0)
    replayed = forgetting.adapt(source, train, recipe, 0, replay=old, share=0.5)
    assert old_loss(source, replayed) < old_loss(source, plain)
    assert replayed.class_names == NEW and isinstance(replayed.network.fc, nn.Linear)
    assert replayed.network.fc.out_features == len(NEW)


def test_with_replay_each_image_is_judged_by_its_own_head_alone(source):
    goal = forgetting._Goal(new=3, penalty=None, two_heads=True)
    logits = torch.tensor([[1.0, 0, 0, 50, 50], [50, 50, 50, 0, 1.0]])
    loss, accuracy = goal(lambda images: logits, logits, torch.tensor([0, 4]))
    wanted = nn.functional.cross_entropy(logits[:1, :3], torch.tensor([0]))
    wanted += nn.functional.cross_entropy(logits[1:, 3:], torch.tensor([1]))
    assert loss.item() == pytest.approx(wanted.item() / 2, rel=1e-5)
    assert accuracy == 1


def test_replay_of_a_test_part_or_of_other_classes_is_refused(source):
    train = part_of(data.TrainPart, NEW, 0)
    with pytest.raises(HeldOutError, match="fine-tuning"):
        old = part_of(data.TestPart, OLD, 4)
        forgetting.adapt(source, train, RECIPE, 0, replay=old)
    with pytest.raises(CourseError, match="expected its own"):
        forgetting.adapt(source, train, RECIPE, 0, replay=train)


OFF = {
    "replay": lambda source: {"replay": part_of(data.TrainPart, OLD, 4), "share": 0.0},
    "L2-SP": lambda source: {
        "penalty": forgetting.l2_sp(forgetting.backbone_of(source), 0.0)
    },
}


@pytest.mark.parametrize("remedy", OFF)
def test_a_remedy_that_is_switched_off_gains_nothing(source, tuned, remedy):
    """Chapter 06 claims that they keep more: broken, the difference is exactly zero."""
    train, options = part_of(data.TrainPart, NEW, 0), OFF[remedy](source)
    model = forgetting.adapt(source, train, RECIPE, 0, **options)
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, tuned.network.state_dict()[name]), name


def test_a_mix_without_the_statistics_is_another_network(source, tuned):
    before, after = (forgetting.backbone_of(model) for model in (source, tuned))
    whole, broken = tuned.copy(), tuned.copy()
    mixed = forgetting.interpolate(before, after, 0.0)
    whole.network.load_state_dict(mixed, strict=False)
    weights = {n: v for n, v in mixed.items() if "running" not in n}
    broken.network.load_state_dict(weights, strict=False)
    images = part_of(data.TestPart, OLD, 9).images
    wanted = source.logits(images)
    back = forgetting.with_old_head(source, whole)
    assert torch.allclose(back.logits(images), wanted, atol=1e-4)
    back = forgetting.with_old_head(source, broken)
    assert not torch.allclose(back.logits(images), wanted, atol=1e-2)
