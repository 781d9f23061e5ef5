"""References of the exercises on boxes and text, against those who define them."""

import pytest
import torch
import torchvision
from answers.meaning_of_text import ppmi_by_loops
from torch.nn import functional as F
from torchvision.models.detection._utils import BoxLinearCoder

from course.exercises import meaning_of_text, object_detection
from course.exercises.base import seeded


def cases(exercise):
    return [
        pytest.param(case, id=f"{n}-{case.part}")
        for n, case in enumerate(exercise.all_cases())
    ]


@pytest.mark.parametrize("case", cases(object_detection.iou))
def test_iou_is_that_of_torchvision(case):
    expected = torchvision.ops.box_iou(*case.arguments).nan_to_num(0.0)
    found = object_detection.iou_reference(*case.arguments)
    assert torch.allclose(found, expected)


@pytest.mark.parametrize("case", cases(object_detection.decode))
def test_decoding_is_that_of_torchvisions_fcos(case):
    points, distances, sides, size = case.arguments
    half = sides[:, None] / 2
    anchors = torch.cat([points - half, points + half], dim=1)
    boxes = BoxLinearCoder(normalize_by_size=True).decode(distances, anchors)
    expected = torchvision.ops.clip_boxes_to_image(boxes, size)
    found = object_detection.decode_reference(*case.arguments)
    assert torch.allclose(found, expected, atol=1e-4)


def test_each_bug_of_decode_is_silent_on_one_level_of_a_square_picture():
    handed_out, reference = object_detection.decode.given, object_detection.decode
    for case in object_detection.decode.all_cases():
        found = handed_out(*case.arguments)
        same = torch.equal(found, reference.reference(*case.arguments))
        assert same == (case.part not in ("points of several levels", OBLONG)), case


OBLONG = "a picture that is not square"


@pytest.mark.parametrize("case", cases(object_detection.suppress))
def test_suppression_is_that_of_torchvision(case):
    expected = torchvision.ops.nms(*case.arguments)
    found = object_detection.suppress_reference(*case.arguments)
    assert found.tolist() == expected.tolist()


def pictured(scores, right, positives):
    """Return detections and true boxes in which just the right ones are right."""
    places = torch.arange(positives)
    corner = torch.stack([places % 4, places // 4], dim=1) * 30.0
    truth = torch.cat([corner, corner + 20], dim=1)
    boxes = torch.tensor([[300.0, 300.0, 320.0, 320.0]]).repeat(len(scores), 1)
    # A true box for each right one, and 4 of 20 pixels off: an IoU of 2/3.
    boxes[right] = truth[: int(right.sum())] + torch.tensor([4.0, 0.0, 4.0, 0.0])
    labels = torch.zeros(len(scores), dtype=torch.int64)
    found = {"boxes": boxes, "scores": scores.float(), "labels": labels}
    return found, {"boxes": truth, "labels": torch.zeros(positives, dtype=torch.int64)}


@pytest.mark.parametrize("case", cases(object_detection.average_precision))
def test_average_precision_is_that_of_coco_through_actual_boxes(case):
    metrics = pytest.importorskip("torchmetrics.detection")
    pytest.importorskip("faster_coco_eval")
    metric = metrics.MeanAveragePrecision(
        iou_thresholds=[0.5], backend="faster_coco_eval"
    )
    found, truth = pictured(*case.arguments)
    metric.update([found], [truth])
    expected = metric.compute()["map_50"].item()
    value = object_detection.average_precision_reference(*case.arguments)
    assert value == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("case", cases(meaning_of_text.ppmi))
def test_ppmi_is_its_definition(case):
    found = meaning_of_text.ppmi_reference(*case.arguments)
    assert torch.allclose(found, ppmi_by_loops(*case.arguments), atol=1e-5)
    assert found.isfinite().all() and (found >= 0).all()


def test_of_many_words_a_seventh_is_masked_by_the_shares_of_bert():
    size, generator = (200, 500), seeded(0)
    ids, others = torch.randint(3, 9000, (2, *size), generator=generator)
    ids[:, 400:] = 0
    chance, fate = torch.rand((2, *size), generator=generator)
    arguments = (ids, chance, fate, others, 2, (0, 2))
    shown, labels = meaning_of_text.mask_words_reference(*arguments)
    told = labels != -100
    assert not told[:, 400:].any() and torch.equal(labels[told], ids[told])
    assert torch.equal(shown[~told], ids[~told])
    assert told[:, :400].double().mean().item() == pytest.approx(0.15, abs=0.01)
    masked, kept = shown[told] == 2, shown[told] == ids[told]
    assert masked.double().mean().item() == pytest.approx(0.8, abs=0.02)
    assert kept.double().mean().item() == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("case", cases(meaning_of_text.mean_pool))
def test_the_mean_is_that_of_an_embedding_bag(case):
    hidden, ids, pad = case.arguments
    places = torch.arange(ids.numel()).reshape(ids.shape)
    rows = [row[words != pad] for row, words in zip(places, ids, strict=True)]
    starts = torch.tensor([0, *(len(row) for row in rows[:-1])]).cumsum(dim=0)
    table = hidden.reshape(-1, hidden.shape[-1])
    expected = F.embedding_bag(torch.cat(rows), table, starts, mode="mean")
    found = meaning_of_text.mean_pool_reference(hidden, ids, pad)
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("case", cases(meaning_of_text.search))
def test_the_cosines_are_those_of_torch(case):
    query, vectors, k = case.arguments
    expected = F.cosine_similarity(query[None], vectors)
    pairs = meaning_of_text.search_reference(query, vectors, k)
    assert len(pairs) == min(k, len(vectors))
    found = torch.tensor([cosine for _, cosine in pairs])
    assert torch.allclose(found, expected.sort(descending=True).values[:k], atol=1e-5)
    assert torch.allclose(found, expected[[place for place, _ in pairs]], atol=1e-5)
