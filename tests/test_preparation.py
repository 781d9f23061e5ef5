"""The slips in preparing a photograph: each does what it is called, and no more."""

import json

import pytest
import torch
from PIL import Image

from course import models, preparation, pretrained


@pytest.fixture(scope="module")
def photo():
    torch.manual_seed(0)
    small = torch.randint(0, 256, (6, 9, 3), dtype=torch.uint8).numpy()
    return Image.fromarray(small).resize((135, 90), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module", params=["ours", "ImageNet's"])
def model(request):
    if request.param == "ours":
        return models.load("resnet10-shapes")
    ready = pretrained.prepared(80, 80, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return models.Model(pretrained.build("squeezenet1_1").eval(), ready, ())


def plain(batch, model):
    mean, std = preparation.scale_of(model)
    return batch * std + mean


def test_as_trained_is_the_models_own_preprocessing(photo, model):
    found = preparation.as_trained(photo, model)
    assert torch.equal(found, model.preprocess(photo))


def test_not_normalised_leaves_numbers_from_0_to_1(photo, model):
    found = preparation.not_normalised(photo, model)
    right = plain(model.preprocess(photo), model)
    assert found.min() >= -1e-6 and found.max() <= 1 + 1e-6
    assert torch.allclose(found, right)


def test_blue_for_red_turns_the_channels_round_before_the_mean_is_taken(photo, model):
    found = plain(preparation.blue_for_red(photo, model), model)
    assert torch.allclose(
        found, plain(model.preprocess(photo), model).flip(1), atol=1e-6
    )


def test_0_to_255_is_normalised_as_if_it_were_0_to_1(photo, model):
    found = plain(preparation.up_to_255(photo, model), model)
    right = plain(model.preprocess(photo), model)
    assert torch.allclose(found, 255 * right, atol=1e-3)


def test_squeezed_keeps_the_edges_that_the_crop_cuts_off(model):
    wide = Image.new("RGB", (160, 80))
    wide.paste((255, 0, 0), (0, 0, 20, 80))  # a red edge on the left
    kept = plain(preparation.squeezed(wide, model), model)[0, 0]
    cut = plain(model.preprocess(wide), model)[0, 0]
    assert kept[:, 0].mean() > 0.9 and cut.max() < 0.1


def test_half_the_size_is_half_of_each_side(photo, model):
    whole = model.preprocess(photo).shape[-1]
    found = preparation.half_the_size(photo, model)
    assert found.shape == (1, 3, whole // 2, whole // 2)


def test_the_recorded_table_has_every_slip_of_every_model():
    recorded = json.loads(preparation.TABLE.read_text("utf-8"))
    rows = recorded["rows"]
    names = {row["model"] for row in rows}
    assert len(names) >= 2
    for name in names:
        of = [row for row in rows if row["model"] == name]
        assert [row["preparation"] for row in of] == list(preparation.SLIPS)
        assert of[0]["right"] == max(row["right"] for row in of)
        assert all(row["right"] <= row["among_five"] <= row["of"] for row in of)
