"""One training in several processes: the same run, resumed by any number of them.

The processes are real: `torchrun` starts this file as a script. Curves are compared in
float64, since in float32 even two orders of one batch part: AdamW's first steps have
the size of the rate wherever a gradient is not exactly zero, and only the sign of its
rounding error.
"""

import itertools
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import nn

from course import cli, models, parallel, pretraining, shelf, training
from course.errors import CourseError

BATCH, STEPS = 15, 6  # 15 images are 7 for one process and 8 for the other
SHAPES, SIMCLR = "resnet10-shapes", "resnet10-simclr"


def small(patch):
    """Shorten the recipes, narrow the networks, and compute in float64."""
    patch.setattr(pretraining, "CHUNK", 64)
    patch.setattr(pretraining, "SAVE_EVERY", 2)
    patch.setattr(training, "pays_bf16", lambda device: False)
    for name, source in pretraining.RECIPES.items():
        recipe = replace(source.recipe, steps=STEPS, batch=BATCH)
        short = replace(source, recipe=recipe)
        patch.setitem(pretraining.RECIPES, name, short)
    patch.setattr(models, "fresh", partial(models.fresh, width=8))
    start, prepared = pretraining.start, pretraining._prepared

    def doubled(name, seed=0):
        model = start(name, seed)
        model.network.double()
        return model

    def ready(model, batch):
        images, labels = prepared(model, batch)
        return images.double(), labels

    score = training.Score(0.5, 1.0, torch.zeros(1), 1)
    patch.setattr(pretraining, "evaluate", lambda model, part: score)
    patch.setattr(pretraining, "start", doubled)
    patch.setattr(pretraining, "_prepared", ready)


def pretrain(name, out, **options):
    """Return the losses that the process which writes has seen."""
    rows = []
    keep = options.pop("after_step", rows.append)
    options = {"device": "cpu", "progress": False, **options}
    pretraining.pretrain(name, out=out, after_step=keep, **options)
    return [row["loss"] for row in rows]


def normalised(team):
    """Return what two passes of BatchNorm make of each process's slice."""
    results = {}
    for norm, values, towards in examples():
        mine = team.slice_of(len(values))
        seen = values[mine].clone().requires_grad_()
        kind = type(norm).__name__
        parallel.share_batchnorm(norm)
        output = norm(seen)
        norm(2 * seen.detach() + 1)
        (output * towards[mine]).sum().backward()
        norm.eval()
        results |= {
            f"{kind}/output": output.detach(),
            f"{kind}/evaluated": norm(seen).detach(),
            f"{kind}/gradient": seen.grad,
            f"{kind}/weight": norm.weight.grad,
            f"{kind}/bias": norm.bias.grad,
            **{f"{kind}/{k}": v for k, v in norm.state_dict().items() if "run" in k},
        }
    return results


def examples():
    generator = torch.Generator().manual_seed(0)
    for norm, shape in (
        (nn.BatchNorm2d(3), (11, 3, 4, 5)),
        (nn.BatchNorm1d(3, momentum=None), (7, 3)),
    ):
        norm.double()
        nn.init.uniform_(norm.weight, 0.5, 2, generator)
        nn.init.uniform_(norm.bias, -1, 1, generator)
        values = torch.randn(shape, dtype=torch.float64, generator=generator)
        towards = torch.randn(shape, dtype=torch.float64, generator=generator)
        yield norm, 3 * values + 5, towards


def compared(team, rows):
    """Return all rows, and the gradient of a loss between all of them for one's own."""
    mine = rows[team.slice_of(len(rows))].clone().requires_grad_()
    everything = team.gathered(mine)
    share = len(mine) / len(rows)
    (share * between(everything)).backward()
    return {"gathered": everything.detach(), "between": mine.grad}


def between(rows):
    return (rows @ rows.T).sin().sum()


ROWS = torch.linspace(-1, 1, 10, dtype=torch.float64).reshape(5, 2)


def all_jobs(folder):
    """Do everything that two processes can do in one start."""
    with parallel.joined("cpu") as team:
        results = {**normalised(team), **compared(team, ROWS)}
        with pytest.raises(CourseError, match="all of them share"):
            team.agree_on(team.rank)
        with pytest.raises(CourseError, match="start at most 2"):
            parallel.trainer(
                nn.Linear(2, 2), training.Recipe(1, batch=2), replace(team, size=3)
            )
    save_file(results, folder / f"units{team.rank}.safetensors")
    for name in (SHAPES, SIMCLR):
        losses = pretrain(name, folder / "two")
        if losses:
            save_file({"loss": torch.tensor(losses)}, folder / f"{name}.losses")
    pretrain(SHAPES, folder / "resumed", resume=True)


def until_stopped(folder):
    """Pretrain and wait in the middle, as long as it takes to be stopped."""

    def wait(row):
        if row["step"] == 5:
            print("five", flush=True)
            signal.pause()

    pretrain(SHAPES, folder / "stopped", after_step=wait)


def two_slips(folder):
    """Misspell a name; then let the second process alone run out of memory."""
    parallel.PATIENCE = 0.0  # nobody ends these processes after the first slip
    try:
        assert command("resnet10-shape", folder / "none") == 2
    except SystemExit as silent:
        assert silent.code == 2
    parallel.PATIENCE = 30.0
    goal = pretraining.objective_of

    def failing(source, team):
        def objective(network, images, labels):
            if team.rank == 1:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return goal(source, team)(network, images, labels)

        return objective

    pretraining.objective_of = failing
    sys.exit(command(SHAPES, folder / "full"))


def command(name, folder):
    return cli.main(["pretrain", name, "--out", str(folder)])


def torchrun(job, folder, logs=None):
    """Start two processes that do a job."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node=2"]
    command += ["--redirects=3", f"--log-dir={logs}"] if logs else []
    return subprocess.Popen(
        [*command, __file__, job.__name__, str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process makes: losses by name, and the folder of the weights."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        losses = {name: pretrain(name, folder) for name in (SHAPES, SIMCLR)}
    return losses, folder


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes leave; an earlier, unfinished run is there to be resumed."""
    folder = tmp_path_factory.mktemp("two")

    def stop(row):
        if row["step"] == 4:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        with pytest.raises(KeyboardInterrupt):
            pretrain(SHAPES, folder / "resumed", after_step=stop)
    with torchrun(all_jobs, folder) as run:
        output = run.communicate(timeout=300)[0]
    assert run.returncode == 0, output
    return folder


def assert_same_weights(first, second):
    one, other = load_file(first), load_file(second)
    assert one.keys() == other.keys()
    for key, value in one.items():
        torch.testing.assert_close(value, other[key], rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("name", [SHAPES, SIMCLR])
def test_two_processes_make_the_curve_and_the_weights_of_one(name, alone, two):
    losses, folder = alone
    found = load_file(two / f"{name}.losses")["loss"]
    assert len(found) == STEPS and found.std() > 0.01
    torch.testing.assert_close(found, torch.tensor(losses[name]), rtol=0, atol=1e-5)
    assert_same_weights(
        folder / f"{name}.safetensors", two / "two" / f"{name}.safetensors"
    )


def test_the_first_process_alone_sees_rows_and_writes_files(two):
    wanted = sorted(
        f"{n}.{e}" for n in (SHAPES, SIMCLR) for e in ("json", "safetensors")
    )
    assert sorted(path.name for path in (two / "two").iterdir()) == wanted


def test_what_one_process_began_two_can_finish(alone, two):
    name = f"{SHAPES}.safetensors"
    assert_same_weights(alone[1] / name, two / "resumed" / name)
    assert len(list((two / "resumed").iterdir())) == 2  # no unfinished work is left


def test_what_two_processes_began_and_a_stop_ended_one_can_finish(
    alone, tmp_path, monkeypatch
):
    with torchrun(until_stopped, tmp_path) as run:
        seen = next((line for line in run.stdout if "five" in line), None)
        run.terminate()
        run.communicate(timeout=60)
    assert seen and run.returncode
    left = [path.name for path in (tmp_path / "stopped").iterdir()]
    left = [name for name in left if not name.startswith(shelf.MARK)]  # of the killed
    assert left == [f".{SHAPES}.partial.safetensors"]
    small(monkeypatch)
    losses = pretrain(SHAPES, tmp_path / "stopped", resume=True)
    expected = alone[0][SHAPES][4:]  # step 4 was the last to be saved
    assert losses == pytest.approx(expected, abs=1e-5)
    name = f"{SHAPES}.safetensors"
    assert_same_weights(alone[1] / name, tmp_path / "stopped" / name)


def test_each_error_is_said_once_and_ends_all_processes(tmp_path):
    with torchrun(two_slips, tmp_path, logs=tmp_path / "logs") as run:
        run.communicate(timeout=120)
    assert run.returncode
    said = {
        path.parent.name: path.read_text("utf-8")
        for path in (tmp_path / "logs").rglob("stderr.log")
    }
    assert sorted(said) == ["0", "1"]
    lines = [line for words in said.values() for line in words.splitlines()]
    lines = [line for line in lines if line.startswith("course: ")]
    assert len(lines) == 2
    assert sum("Did you mean 'resnet10-shapes'" in line for line in lines) == 1
    assert "8 images, the slice of one process, do not fit" in said["1"]
    assert not any("Traceback" in words for words in said.values())
    assert not list(tmp_path.rglob("*.safetensors"))


def test_the_language_model_is_made_by_one_process(tmp_path, monkeypatch, capsys):
    @contextmanager
    def joined():
        yield parallel.Team(0, 2)

    monkeypatch.setattr(parallel, "joined", joined)
    assert command("words-transformer", tmp_path) == 2
    assert "torchrun started 2; start it as: course pretrain" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_shared_batchnorm_is_plain_batchnorm(two):
    found = [load_file(two / f"units{rank}.safetensors") for rank in (0, 1)]
    for norm, values, towards in examples():
        kind = type(norm).__name__
        seen = values.clone().requires_grad_()
        output = norm(seen)
        norm(2 * seen.detach() + 1)
        (output * towards).sum().backward()
        norm.eval()
        close = torch.testing.assert_close
        joined = {k: torch.cat([f[k] for f in found]) for k in found[0] if kind in k}
        close(joined[f"{kind}/output"], output.detach())
        close(joined[f"{kind}/evaluated"], norm(seen).detach())
        close(joined[f"{kind}/gradient"], seen.grad)
        for name in ("weight", "bias"):
            summed = sum(f[f"{kind}/{name}"] for f in found)
            close(summed, getattr(norm, name).grad)
        for name in ("running_mean", "running_var"):
            for one in found:
                close(one[f"{kind}/{name}"], getattr(norm, name))


def test_gathered_rows_keep_their_order_and_their_gradient(two):
    found = [load_file(two / f"units{rank}.safetensors") for rank in (0, 1)]
    rows = ROWS.clone().requires_grad_()
    between(rows).backward()
    for one in found:
        torch.testing.assert_close(one["gathered"], ROWS)
    gradient = torch.cat([one["between"] for one in found])
    torch.testing.assert_close(gradient, rows.grad)


@pytest.mark.parametrize("count", [1, 2, 15, 128])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_slices_cover_a_batch_once_and_are_nearly_equal(count, size):
    batch = list(range(count))
    slices = [batch[parallel.Team(r, size).slice_of(count)] for r in range(size)]
    assert list(itertools.chain(*slices)) == batch
    lengths = [len(one) for one in slices]
    assert max(lengths) - min(lengths) <= 1


def test_without_torchrun_the_trainer_is_the_plain_one():
    with parallel.joined("cpu") as team:
        assert team == parallel.Team(device="cpu") and team.leads
        assert not dist.is_initialized()
        team.must_be_one("anything")
        team.agree_on(3)
        network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        plain = parallel.trainer(network, training.Recipe(1), team)
    assert type(plain) is training.Trainer
    assert "forward" not in vars(network[1])
    assert team.gathered(ROWS) is ROWS and team.summed(2.0) == [2.0]
    assert parallel.leads()


def test_fewer_gpus_than_processes_are_refused(monkeypatch):
    monkeypatch.setattr(parallel, "device_of", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(CourseError, match="--nproc-per-node 2"):
        parallel._place("auto")


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patched:
        small(patched)
        globals()[sys.argv[1]](Path(sys.argv[2]))
