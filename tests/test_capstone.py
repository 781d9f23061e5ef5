"""The way of chapter 10 on real photographs, where somebody has put them."""

import time
from pathlib import Path

import pytest

from course import data, extraction, models, probing
from course.errors import CourseError

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "real" / "images" / "hymenoptera"


@pytest.mark.skipif(not REAL.is_dir(), reason="the ants and bees are not here")
def test_a_head_on_mobilenet_tells_ants_from_bees():
    try:
        model = models.load("mobilenet_v2", weights="IMAGENET1K_V1")
    except CourseError as error:
        pytest.skip(str(error))
    began = time.perf_counter()
    found = data.folder(REAL, size=256, duplicates="drop", progress=False)
    task = found.task
    train, validation, test = (
        extraction.before_head(model, part)
        for part in (task.train, task.validation, task.test)
    )
    probe = probing.linear_probe(train)  # C is not chosen by the photographs of `val`
    scores = [probe.score(part) for part in (validation, test)]
    print(f"{scores}, {time.perf_counter() - began:.1f} s\n{found}")
    assert len(validation) > 150 and scores[0] >= 0.92
