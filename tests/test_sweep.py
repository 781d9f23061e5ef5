"""Sweeps: every run once, in order, kept where it stops; tables that ship."""

import functools
import json
import os
import pickle
import threading
import time

import pytest
import torch

from course import cli, data, engines, extraction, models, sweep, training, transfer
from course.errors import CourseError

CELLS = sweep.grid(kind=("a", "b"), seed=range(3))


def square(kind, seed):
    return {"value": seed**2, "name": kind * 2}


def run(work=square, cells=CELLS, **options):
    return sweep.run(work, cells, progress=False, **options)


def counted(work=square):
    """The work, and the list of cells for which it was done."""
    done = []

    def also(**cell):
        done.append(cell)
        return work(**cell)

    return also, done


def test_a_grid_holds_every_combination_the_last_axis_fastest():
    assert CELLS[:4] == [
        {"kind": "a", "seed": 0},
        {"kind": "a", "seed": 1},
        {"kind": "a", "seed": 2},
        {"kind": "b", "seed": 0},
    ]
    assert len(CELLS) == 6


@pytest.mark.parametrize("workers", [1, 3])
def test_rows_come_in_the_order_of_the_cells(workers):
    barrier = threading.Event()

    def late(kind, seed):
        if workers > 1 and (kind, seed) == ("a", 0):
            barrier.wait(10)  # until a later cell is through
        else:
            barrier.set()
        return square(kind, seed)

    rows = run(late, workers=workers)
    assert rows == [{**cell, **square(**cell)} for cell in CELLS]


def a_training(seed, rate):
    part = data.task("digits", train=20, validation=1, test=1, size=16).train
    model = models.fresh(part.class_names, seed, width=4)
    model.preprocess = models.normalising(16)
    recipe = training.Recipe(3, batch=4, rate=rate)
    history = training.fit(model, part, recipe, seed=seed, progress=False)
    head = transfer.before_head(model, part).values.sum().item()
    return {"loss": history.rows[-1]["loss"], "features": head}


def test_trainings_side_by_side_are_those_one_after_the_other():
    cells = sweep.grid(seed=range(4), rate=(1e-3, 1e-2))
    extraction.forget()
    alone = run(a_training, cells, workers=1)
    extraction.forget()
    assert run(a_training, cells, workers=4) == alone
    assert len({row["loss"] for row in alone}) == len(cells)


def test_torch_has_its_threads_and_its_random_numbers_back():
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(lambda **cell: {"threads": torch.get_num_threads(), **a_training(**cell)},
        sweep.grid(seed=(0, 1), rate=(1e-3,)))  # fmt: skip
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_a_worker_computes_with_one_core():
    rows = run(lambda seed: {"threads": torch.get_num_threads()}, sweep.grid(seed=[1]))
    assert rows[0]["threads"] == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_networks_are_not_traced_side_by_side(workers):
    model = models.fresh(("a", "b"), 0, width=4)
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    with pytest.raises(CourseError, match="before_head"):
        run(
            lambda seed: {"n": len(transfer.features(model, images))},
            sweep.grid(seed=[1]),
            workers=workers,
        )
    assert len(transfer.features(model, images)) == 2  # here, nobody is disturbed


def test_workers_that_share_a_network_hear_their_own_images_alone():
    model = models.fresh(("a", "b"), 0, width=4)
    model.preprocess = models.normalising(16)
    model.network.eval()
    generator = torch.Generator().manual_seed(0)
    many = torch.randint(0, 256, (40, 3, 16, 16), generator=generator).byte()

    def heard(seed):
        given = transfer.before_head(model, many[: 8 + seed % 7].roll(seed, 0))
        return {"n": len(given), "sum": given.values.double().sum().item()}

    cells = sweep.grid(seed=range(40))
    extraction.forget()
    alone = run(heard, cells, workers=1)
    extraction.forget()
    assert run(heard, cells, workers=4) == alone


def test_what_several_workers_need_is_computed_once():
    asked = []

    @sweep.once
    def slow(name):
        asked.append(name)
        time.sleep(0.05)
        return name * 2

    cells = sweep.grid(kind=("a", "b"), seed=range(4))
    rows = run(lambda kind, seed: {"twice": slow(kind)}, cells, workers=4)
    assert [row["twice"] for row in rows] == ["aa"] * 4 + ["bb"] * 4
    assert sorted(asked) == ["a", "b"]


# Stopped and resumed ------------------------------------------------------------------


def test_what_was_finished_is_not_done_again(tmp_path):
    def breaks(kind, seed):
        if (kind, seed) == ("b", 1):
            raise KeyboardInterrupt
        return square(kind, seed)

    with pytest.raises(KeyboardInterrupt):
        run(breaks, folder=tmp_path, workers=1)
    work, done = counted()
    rows = run(work, folder=tmp_path, workers=1)
    assert rows == run()
    assert done == [{"kind": "b", "seed": 1}, {"kind": "b", "seed": 2}]


def test_an_error_stops_the_sweep_and_is_the_readers_to_see():
    work, done = counted()

    def breaks(kind, seed):
        work(kind=kind, seed=seed)
        raise CourseError("Once is enough.")

    with pytest.raises(CourseError, match="Once is enough"):
        run(breaks, workers=1)
    assert len(done) == 1


def test_another_key_or_cell_is_another_run(tmp_path):
    work, done = counted()
    for key in ("one recipe", "another", "another"):
        run(work, folder=tmp_path, key=key)
    assert len(done) == 2 * len(CELLS)
    run(work, [*CELLS, {"kind": "a", "seed": 9}], folder=tmp_path, key="another")
    assert done[-1] == {"kind": "a", "seed": 9} and len(done) == 2 * len(CELLS) + 1


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"kind": "a"'])
def test_a_damaged_run_is_made_anew(tmp_path, content):
    run(folder=tmp_path)
    broken = sorted(tmp_path.iterdir())[2]
    broken.write_text(content)
    work, done = counted()
    assert run(work, folder=tmp_path) == run()
    assert len(done) == 1


def test_nothing_half_written_is_left(tmp_path):
    run(folder=tmp_path)
    names = [path.name for path in tmp_path.iterdir()]
    assert len(names) == len(CELLS)
    assert all(name.endswith(".json") and name[0] != "." for name in names)


def test_without_a_folder_everything_is_computed_where_it_stands():
    work, done = counted()
    run(work)
    run(work)
    assert len(done) == 2 * len(CELLS)


@pytest.mark.parametrize(
    ("work", "cells", "words"),
    [
        (square, [CELLS[0], CELLS[0]], "twice; expected once"),
        (square, [{"kind": torch.zeros(1), "seed": 0}], "of type Tensor"),
        (lambda **cell: None, CELLS, "expected a dict of what it measured"),
        (lambda **cell: {}, CELLS, "expected a dict of what it measured"),
        (lambda **cell: {"seed": 1}, CELLS, "already the name"),
        (lambda **cell: {"values": [1, 2]}, CELLS, "cannot keep 'values' of type list"),
    ],
)
def test_what_cannot_be_swept_is_said_in_one_sentence(work, cells, words):
    with pytest.raises(CourseError, match=words):
        run(work, cells)


# Beside this process ------------------------------------------------------------------


def noted(folder, kind, seed, breaks=False):
    """A training that leaves a file with the process and its threads; the last fails.

    It fails when all others began, and waits for them as long as a minute.
    """
    if breaks and (kind, seed) == ("b", 2):
        end = time.monotonic() + 60
        while len(list(folder.iterdir())) < len(CELLS) - 1:
            assert time.monotonic() < end
            time.sleep(0.01)
        raise CourseError("Once is enough.")
    told = f"{os.getpid()} {torch.get_num_threads()}"
    (folder / f"{kind}{seed}").write_text(told)
    return a_training(seed, 1e-3 if kind == "a" else 1e-2)


@pytest.mark.parametrize("backend", ["threads", "processes", "dask"])
def test_runs_elsewhere_are_kept_and_equal_those_here(backend, tmp_path):
    kept, there, here, alone = (tmp_path / name for name in ("kept", *"tha"))
    for folder in (there, here, alone):
        folder.mkdir()
    work = functools.partial(noted, there, breaks=True)
    with pytest.raises(CourseError, match="Once is enough"):
        run(work, folder=kept, workers=2, backend=backend)
    pids, threads = zip(*(p.read_text().split() for p in there.iterdir()), strict=True)
    assert (str(os.getpid()) in pids) == (backend == "threads")
    assert set(threads) == {"1"} and len(pids) == len(list(kept.iterdir())) == 5
    rows = run(functools.partial(noted, here), folder=kept)
    assert [path.name for path in here.iterdir()] == ["b2"]
    extraction.forget()
    assert rows == run(functools.partial(noted, alone))


def test_work_that_only_this_process_knows_stays_in_it():
    with pytest.raises(CourseError, match="cannot be sent to another process"):
        run(lambda kind, seed: {"one": 1}, backend="processes", workers=2)


def test_a_plan_travels_as_its_name():
    sent = pickle.dumps(functools.partial(sweep._planned, "few-labels", "key"))
    assert len(sent) < 200 and b"course.sweep" in sent and b"few-labels" in sent


def test_a_worker_with_other_code_does_none_of_the_work():
    with pytest.raises(CourseError, match="has another version of this workbook"):
        sweep._planned("few-labels", "the key of older code", target="digits")


def test_an_unknown_backend_is_said_on_the_command_line(tmp_path, capsys):
    out = ["--profile", "smoke", "--out", str(tmp_path)]
    assert cli.main(["sweep", "few-labels", "--backend", "daks", *out]) == 2
    assert "Unknown backend 'daks'. Did you mean 'dask'" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.json"))


# Tables -------------------------------------------------------------------------------

ROWS = [
    {"strategy": "full", "labels": 5, "accuracy": 0.9123456, "held": True, "C": None},
    {"strategy": "probe, é", "labels": 20, "accuracy": 1, "held": False, "C": 0.1},
]


def saved(folder, rows=ROWS):
    return sweep.save(sweep.Table("mine", rows, {"what": "two runs"}), folder)


def test_a_table_comes_back_as_it_was_written(tmp_path):
    table = sweep.load(saved(tmp_path))
    assert table.rows == [
        {**ROWS[0], "accuracy": 0.912346},
        {**ROWS[1], "accuracy": 1.0},
    ]
    assert [type(v) for v in table.rows[1].values()] == [str, int, float, bool, float]
    assert table.card["what"] == "two runs" and table.name == "mine"


def test_the_same_rows_give_the_same_bytes(tmp_path):
    first = saved(tmp_path / "a").read_bytes()
    assert saved(tmp_path / "b").read_bytes() == first


def test_rows_are_found_by_what_they_say(tmp_path):
    table = sweep.load(saved(tmp_path))
    assert [row["C"] for row in table.where(labels=20)] == [0.1]
    with pytest.raises(CourseError, match="no row with labels=7"):
        table.where(labels=7)
    with pytest.raises(CourseError, match="Did you mean 'labels'"):
        table.where(label=5)


@pytest.mark.parametrize("part", ["csv", "json"])
@pytest.mark.parametrize("how", ["missing", "changed", "empty"])
def test_a_table_that_was_tampered_with_is_refused(tmp_path, part, how):
    path = saved(tmp_path)
    broken = path.with_suffix(f".{part}")
    text = broken.read_text("utf-8")
    if how == "missing":
        broken.unlink()
    else:
        broken.write_text("" if how == "empty" else text.replace("f", "g"), "utf-8")
    with pytest.raises(CourseError, match="course sweep mine"):
        sweep.load(path)


@pytest.mark.parametrize("find", [sweep.load, sweep.plan])
def test_an_unknown_table_is_named_with_the_nearest(find):
    with pytest.raises(CourseError, match="Did you mean 'few-labels'"):
        find("few-label")


@pytest.mark.parametrize("name", sweep.SHIPPED)
def test_a_shipped_table_is_what_its_plan_makes(name):
    table, plan = sweep.load(name), sweep.plan(name)
    cells = plan.cells("quick")
    assert plan.name == table.name == name
    axes = list(cells[0])
    found = [{axis: row[axis] for axis in axes} for row in table.rows]
    assert found == cells
    assert table.card["runs"] == len(cells)
    assert table.card["made_by"] == f"course sweep {name} --profile quick"
    assert json.dumps(table.card)


@pytest.mark.parametrize("name", sweep.SHIPPED)
def test_a_plan_is_smaller_in_the_smoke_profile(name):
    plan = sweep.plan(name)
    assert 0 < len(plan.cells("smoke")) < len(plan.cells("quick"))


def test_making_a_table_twice_computes_it_once(tmp_path, monkeypatch):
    work, done = counted()
    mine = sweep.Plan("few-labels", "squares", lambda profile: CELLS, work)
    monkeypatch.setattr(sweep, "plan", lambda name: mine)
    first = sweep.make("few-labels", out=tmp_path, progress=False)
    rows = sweep.load(first).rows
    assert (
        sweep.load(sweep.make("few-labels", out=tmp_path, progress=False)).rows == rows
    )
    assert rows == run() and len(done) == len(CELLS)


def test_a_card_names_the_backend_and_not_its_address(tmp_path, monkeypatch):
    mine = sweep.Plan("few-labels", "squares", lambda profile: CELLS, square)
    monkeypatch.setattr(sweep, "plan", lambda name: mine)
    threads = engines.open("threads", 1)
    monkeypatch.setattr(engines, "open", lambda *_: threads)
    made = sweep.make(
        "few-labels", out=tmp_path, backend="dask:tcp://10.0.0.7:8786", progress=False
    )
    told = sweep.load(made).card["made_by"]
    assert told == "course sweep few-labels --profile quick --backend dask"
