"""Pretraining: the same bytes, killed or not, and losses that are right."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from course import models, pretraining, training
from course.errors import CourseError
from course.pretraining import pretrain

RUN = """
import sys, torch
from dataclasses import replace
from pathlib import Path
from course import models, pretraining
torch.set_num_threads(1)
pretraining.CHUNK, pretraining.SAVE_EVERY = 64, 2
name, out, resume = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "resume"
source = pretraining.RECIPES[name]
recipe = replace(source.recipe, steps=14, batch=16)
pretraining.RECIPES[name] = replace(source, recipe=recipe)
pretraining.pretrain(name, out=out, resume=resume, device="cpu", progress=False,
                     after_step=lambda row: print(int(row["step"]), flush=True))
"""


def run(name, out, resume=False, kill_after=None):
    """Pretrain in a process of its own; kill it once it has printed that step."""
    command = [sys.executable, "-c", RUN, name, str(out), "resume" if resume else "new"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if kill_after is not None and int(line) == kill_after:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    return process.returncode


@pytest.mark.parametrize("name", ["resnet10-shapes", "resnet10-simclr"])
def test_killed_and_resumed_ends_with_the_same_bytes(name, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(name, whole) == 0
    assert run(name, broken, kill_after=5) == -signal.SIGKILL
    assert not (broken / f"{name}.safetensors").exists()
    assert run(name, broken, resume=True, kill_after=11) == -signal.SIGKILL
    assert run(name, broken, resume=True) == 0
    first = (whole / f"{name}.safetensors").read_bytes()
    assert first == (broken / f"{name}.safetensors").read_bytes()
    left = sorted(p.name for p in broken.iterdir() if ".tmp" not in p.name)
    assert left == [f"{name}.json", f"{name}.safetensors"]


def test_a_smoke_pretraining_leaves_weights_that_load(tmp_path):
    path = pretrain("resnet10-colours", profile="smoke", out=tmp_path, progress=False)
    model = models.load(path)
    assert model.card["steps"] == 4 and len(model.class_names) >= 8
    assert 0 <= model.card["accuracy"]["test"] <= 1
    assert json.loads(path.with_suffix(".json").read_text())["seed"] == 0


def test_unfinished_work_of_another_run_is_refused(tmp_path):
    partial = tmp_path / ".resnet10-shapes.partial.safetensors"
    model = models.fresh(("a", "b"), seed=0, width=4)
    trainer = training.Trainer(model.network, training.Recipe(3), device="cpu")
    pretraining.State(partial, "other").save(trainer, training.History())
    with pytest.raises(CourseError, match="another recipe or seed"):
        pretrain("resnet10-shapes", profile="smoke", out=tmp_path, resume=True)
    partial.write_bytes(partial.read_bytes()[:100])
    with pytest.raises(CourseError, match="is damaged"):
        pretrain("resnet10-shapes", profile="smoke", out=tmp_path, resume=True)


def test_unknown_names_and_profiles_suggest_the_nearest(tmp_path):
    with pytest.raises(CourseError, match="'resnet10-shapes'"):
        pretrain("resnet10-shape", out=tmp_path)
    with pytest.raises(CourseError, match="'quick'"):
        pretrain("resnet10-shapes", profile="quik", out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nt_xent_equals_the_loop_over_pairs():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(8, 5, generator=generator)
    total = 0.0
    for i in range(8):
        partner = (i + 4) % 8
        scores = [F.cosine_similarity(z[i], z[k], dim=0) / 0.5 for k in range(8)]
        others = torch.stack([s for k, s in enumerate(scores) if k != i])
        total += others.logsumexp(0) - scores[partner]
    loss, _ = pretraining.nt_xent(z, temperature=0.5)
    assert loss.item() == pytest.approx(total.item() / 8, rel=1e-5)


def test_nt_xent_is_small_and_right_when_the_views_agree():
    z = torch.eye(4).repeat(2, 1)
    loss, accuracy = pretraining.nt_xent(z, temperature=0.05)
    assert loss.item() < 1e-4 and accuracy.item() == 1.0
    loss, accuracy = pretraining.nt_xent(
        torch.cat([torch.eye(4), torch.eye(4).flip(0)])
    )
    assert loss.item() > 1 and accuracy.item() == 0.0


def test_two_views_differ_from_each_other_and_stay_images():
    images = torch.randint(0, 255, (6, 3, 32, 32), dtype=torch.uint8)
    views = pretraining.two_views(images, np.random.default_rng(0))
    assert views.shape == (12, 3, 32, 32) and views.dtype == torch.uint8
    assert not torch.equal(views[:6], views[6:])
    again = pretraining.two_views(images, np.random.default_rng(0))
    assert torch.equal(views, again)


def test_a_stream_repeats_nothing_but_its_epochs(monkeypatch):
    monkeypatch.setattr(pretraining, "CHUNK", 32)
    source = pretraining.RECIPES["resnet10-glyphs"]
    recipe = training.Recipe(8, batch=16, augment="none")
    stream = pretraining.Stream(source, recipe, seed=0)
    batches = [stream.batch(step)[0].flatten(1).float().sum(1) for step in range(8)]
    chunks = [sorted(torch.cat(batches[i : i + 2]).tolist()) for i in range(0, 8, 2)]
    assert chunks[0] == chunks[1] and chunks[2] == chunks[3]
    assert chunks[0] != chunks[2]
    assert torch.equal(stream.batch(5)[0].flatten(1).float().sum(1), batches[5])


@pytest.mark.parametrize("name", sorted(pretraining.RECIPES))
def test_every_shipped_backbone_can_be_made_again(name):
    assert name in models.SHIPPED
    card = models.load(name).card
    assert card["steps"] == pretraining.RECIPES[name].recipe.steps
    stored = dict(card["recipe"].items())
    assert stored == json.loads(json.dumps(vars(pretraining.RECIPES[name].recipe)))
