"""Do a job again and again, each time killed at another point, until it is done.

    python tests/hardness/deaths.py FOLDER SEED JOB KILLS [JOB KILLS ...]

It loads torch once and forks a process for each attempt. A file that has its name is
compared with that of an attempt that nobody killed, after every kill; at the end of
every job all files are, and nothing else may be there.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

import psutil
import torch

from course import data, language, models, pretraining, sweep, training

TIMES = ("seconds", "made_on", "seconds_of_all_runs")
CELLS = sweep.grid(seed=range(4), rate=(1e-3, 1e-2))
DUE = 60  # seconds that processes have to follow the one they serve


# The jobs -----------------------------------------------------------------------------


def images(name, folder):
    pretraining.pretrain(name, out=folder, resume=True, device="cpu", progress=False)


def text(folder):
    language.make(out=folder, resume=True, device="cpu", progress=False)


def a_training(seed, rate):
    part = data.task("digits", train=20, validation=1, test=1, size=16).train
    model = models.fresh(part.class_names, seed, width=4)
    model.preprocess = models.normalising(16)
    recipe = training.Recipe(6, batch=4, rate=rate)
    history = training.fit(model, part, recipe, seed=seed, progress=False)
    return {"loss": history.rows[-1]["loss"]}


def swept(backend, folder):
    rows = sweep.run(
        a_training,
        CELLS,
        folder=folder / "cells",
        workers=2 if backend == "threads" else 1,
        backend=backend,
        progress=False,
    )
    sweep.save(sweep.Table("trainings", rows, {}), folder)


JOBS = {
    "shapes": lambda folder: images("resnet10-shapes", folder),
    "simclr": lambda folder: images("resnet10-simclr", folder),
    "text": text,
    "threads": lambda folder: swept("threads", folder),
    "processes": lambda folder: swept("processes", folder),
}


def make_small():
    """Make the jobs so small that twenty of them can be killed."""
    torch.set_num_threads(1)
    pretraining.CHUNK, pretraining.SAVE_EVERY = 64, 2
    for name in ("resnet10-shapes", "resnet10-simclr"):
        source = pretraining.RECIPES[name]
        recipe = replace(source.recipe, steps=9, batch=16)
        pretraining.RECIPES[name] = replace(source, recipe=recipe)
    words = [
        f"It returns the {n} of a {n * n}, or what it was given." for n in range(99)
    ]
    language.library_texts = lambda: (words[9:], words[:9])
    recipe = replace(language.SOURCE.recipe, steps=9, batch=4)
    language.SOURCE = replace(language.SOURCE, recipe=recipe)


# Attempts -----------------------------------------------------------------------------


def changes(folder, then):
    """Call `then` before each change of a file below a folder."""

    def hear(event, arguments):
        changed = event in ("os.rename", "os.remove", "os.chmod", "os.mkdir")
        if event == "open":
            changed = bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR))
        if changed and str(folder) in str(arguments[0]):
            then()

    sys.addaudithook(hear)


def dies():
    os.kill(os.getpid(), signal.SIGKILL)


def dies_before_change(folder, number):
    left = iter(range(number))
    changes(folder, lambda: dies() if next(left, None) is None else None)


def dies_half_way(number):
    """Die when half of a file's bytes are written."""
    whole, left = models.write_whole, iter(range(number))

    def torn(path, write):
        def half(place):
            write(place)
            if next(left, None) is None:
                os.truncate(place, place.stat().st_size // 2)
                dies()

        whole(path, half)

    models.write_whole = sweep.write_whole = torn


def attempt(job, folder, prepare=lambda: None, seconds=None):
    """Do a job in a process of its own; return how it ended, and after how long."""
    began, pid = time.monotonic(), os.fork()
    if pid == 0:
        code = 1
        try:
            prepare()
            JOBS[job](folder)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    served = []
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        took = time.monotonic() - began
        if seconds is not None and took >= seconds:
            served = psutil.Process(pid).children(recursive=True)
            os.kill(pid, signal.SIGKILL)
            ended = os.waitpid(pid, 0)
            break
        time.sleep(0.001)
    _, alive = psutil.wait_procs(served, timeout=DUE)
    assert not alive, f"{len(alive)} processes outlived the one that they serve"
    return os.waitstatus_to_exitcode(ended[1]), time.monotonic() - began


def facts(folder):
    """Return what each file holds, but for its times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".json":
                kept = json.loads(content)
                known = {k: v for k, v in kept.items() if k not in TIMES}
                content = json.dumps(known).encode()
            digest = hashlib.sha256(content).hexdigest()
            found[str(path.relative_to(folder))] = digest
    return found


def has_a_name(place):
    return not any(part.startswith(".") for part in Path(place).parts)


def reference(job, place):
    """Return what a job leaves, how long it takes, and how often it changes files."""
    notes = place.with_name("changes")
    notes.parent.mkdir()

    def count():
        notes.touch()
        changes(place, lambda: os.write(file, b"."))

    file = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    code, seconds = attempt(job, place, count)
    assert code == 0, "the job failed, and nobody had killed it"
    return facts(place), seconds, notes.stat().st_size


def killed(job, folder, chance, seconds, count):
    """Start a job and kill it somewhere; return how it ended and what was tried."""
    way = chance.choice(("time", "change", "half"))
    if way == "time":
        after = chance.uniform(0, seconds)
        return attempt(job, folder, seconds=after)[0], f"after {after:.3f} s"
    if way == "change":
        at = chance.randrange(count)
        code, _ = attempt(job, folder, lambda: dies_before_change(folder, at))
        return code, f"before change {at}"
    at = chance.randrange(4)
    return attempt(job, folder, lambda: dies_half_way(at))[0], f"half way in file {at}"


def survive(job, folder, kills, seed):
    chance, tried, ended = random.Random(seed), [], 0
    whole, seconds, count = reference(job, folder / "whole")
    place = folder / "killed"
    while True:
        last = len(tried) >= kills
        code, how = (
            (attempt(job, place)[0], "to its end")
            if last
            else killed(job, place, chance, seconds, count)
        )
        story = f"{job}, seed {seed}, {how} (after {', '.join(tried) or 'nothing'})"
        assert code in (0, -signal.SIGKILL), f"{story}: it ended with {code}"
        here = facts(place)
        if code == 0:
            assert here == whole, f"{story}: {here} and not {whole}"
            ended += 1
            shutil.rmtree(place)
            if last:
                return f"{job}: {len(tried)} kills, {ended} jobs came to their end"
            continue
        tried.append(how)
        named = {name: value for name, value in here.items() if has_a_name(name)}
        wrong = {n for n, value in named.items() if whole.get(n) != value}
        assert not wrong, f"{story}: {wrong} are not what they will be"


if __name__ == "__main__":
    make_small()
    folder, seed, *jobs = sys.argv[1:]
    for job, kills in zip(jobs[::2], jobs[1::2], strict=True):
        if job in ("shapes", "simclr"):
            pretraining.source_task("shapes")  # drawn once, for all attempts
        began = time.monotonic()
        print(survive(job, Path(folder) / job, int(kills), int(seed)), end="; ")
        print(f"{time.monotonic() - began:.0f} s", flush=True)
