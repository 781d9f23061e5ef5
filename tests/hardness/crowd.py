"""Many processes begin at the same moment with one empty folder of caches.

    python tests/hardness/crowd.py FOLDER COUNT forked|started

Each wants all that the workbook keeps on a disk. What one that was alone got is what
each must get, and what it left is what all leave together: while they work, whatever
has its name is whole.
"""

import gzip
import hashlib
import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import torch
from torchvision import datasets

from course import extraction, models, sweep
from course.data import named

CELLS = sweep.grid(seed=range(6))
LAYERS = ("layer1", "layer3", "avgpool")
LITTLE = 1_000  # bytes: less than the features of all layers


def archives():
    """Return tiny files in place of FashionMNIST's, and tell torchvision so."""
    files = {}
    for part, count in (("train", 12), ("t10k", 6)):
        labels = np.arange(count, dtype=np.uint8) % 3
        images = np.broadcast_to(labels[:, None, None] * 100, (count, 28, 28))
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            sizes = b"".join(n.to_bytes(4, "big") for n in values.shape)
            whole = bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()
            files[f"{part}-{kind}-ubyte.gz"] = gzip.compress(whole, mtime=0)
    datasets.FashionMNIST.resources = [
        (file, hashlib.md5(files[file]).hexdigest())
        for file, _ in datasets.FashionMNIST.resources
    ]
    return files


def a_model():
    model = models.fresh(("a", "b"), seed=0, width=4)
    model.preprocess = models.normalising(16)
    return model


def pictures():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (8, 3, 16, 16), generator=generator).byte()


def features(place):
    """Return the sums of the features of each layer, read from the disk if they can."""
    extraction.forget()
    found = (extraction.features(a_model(), pictures(), n, place) for n in LAYERS)
    return [one.values.double().sum().item() for one in found]


def wish(folder, notes):
    """Ask for everything once, and return what came."""

    def work(seed):
        (notes / f"cell-{seed}-{os.getpid()}").touch()
        return {"value": seed**2}

    got = {"features": features(folder / "features")}
    got["rows"] = sweep.run(
        work, CELLS, folder=folder / "cells", workers=1, progress=False
    )
    task = named.task("fashionmnist", folder / "data", train=6, validation=3, test=6)
    got["images"] = [p.fingerprint() for p in (task.train, task.validation, task.test)]
    got["weights"] = models.save(a_model(), folder / "saved" / "model.safetensors")
    extraction.LIMIT = LITTLE
    got["little"] = [features(folder / "little") for _ in range(2)]
    return got


def begin(folder, notes):
    """Wait for the others, wish, and note what came."""
    (notes / f"ready-{os.getpid()}").touch()
    while not (notes / "go").exists():
        time.sleep(0.002)
    began = time.monotonic()
    got = wish(folder, notes)
    took = time.monotonic() - began
    (notes / f"got-{os.getpid()}").write_text(json.dumps([got, took]))


def forked(folder, notes):
    if pid := os.fork():
        return pid
    code = 1
    try:
        begin(folder, notes)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def started(folder, notes):
    command = [sys.executable, __file__, folder, notes, "one"]
    return subprocess.Popen(command).pid


def lay_out(folder):
    """Make a folder with archives, and nothing that was made of them."""
    (folder / "data").mkdir(parents=True)
    for file, content in archives().items():
        (folder / "data" / f"FashionMNIST-{file}").write_bytes(content)
    notes = folder.with_name(f"{folder.name}-notes")
    notes.mkdir()
    return notes


def named_files(folder):
    """Return the digest of every file that has its name; those that go are left out."""
    found = {}
    for path in folder.rglob("*"):
        place = path.relative_to(folder)
        if not any(part.startswith(".") for part in place.parts) and path.is_file():
            try:
                found[str(place)] = hashlib.sha256(path.read_bytes()).hexdigest()
            except FileNotFoundError:
                continue
    return {name: one for name, one in found.items() if not name.startswith("little")}


def wrong_now(folder, whole):
    here = named_files(folder)
    return [name for name, one in here.items() if whole.get(name) != one]


def crowd(folder, count, start, whole):
    notes = lay_out(folder)
    left = {start(folder, notes) for _ in range(count)}
    while len(list(notes.glob("ready-*"))) < count:
        time.sleep(0.01)
    began = time.monotonic()
    (notes / "go").touch()
    looks = 0
    while left:
        assert not (wrong := wrong_now(folder, whole)), f"not whole: {wrong}"
        looks += 1
        pid, status = os.waitpid(-1, os.WNOHANG)
        assert status == 0, (
            f"one of them ended with {os.waitstatus_to_exitcode(status)}"
        )
        left.discard(pid)
        time.sleep(0.05)
    took = time.monotonic() - began
    return notes, f"{took:.1f} s for {count}, looked at {looks} times"


def judge(folder, notes, expected, whole, count):
    got = [json.loads(path.read_text()) for path in notes.glob("got-*")]
    assert len(got) == count, f"{len(got)} of {count} came to their end"
    for one, _ in got:
        assert one == expected, f"{one} and not {expected}"
    assert named_files(folder) == whole
    hidden = [p for p in folder.rglob(".*") if p.suffix != ".lock"]
    assert not hidden, f"left over: {hidden}"
    little = list((folder / "little").iterdir())
    assert sum(path.stat().st_size for path in little) <= LITTLE or len(little) == 1
    times = sorted(took for _, took in got)
    made = len(list(notes.glob("cell-*"))) / len(CELLS)
    return f"each {times[0]:.1f} to {times[-1]:.1f} s, a cell made {made:.1f} times"


def main(folder, count, how):
    torch.set_num_threads(1)
    alone = folder / "alone"
    notes = lay_out(alone)
    expected = json.loads(json.dumps(wish(alone, notes)))
    extraction.LIMIT = 2 * 10**9
    whole = named_files(alone)
    start = {"forked": forked, "started": started}[how]
    notes, said = crowd(folder / "many", count, start, whole)
    print(f"{how}: {said}; {judge(folder / 'many', notes, expected, whole, count)}")


if __name__ == "__main__":
    place, second, third = sys.argv[1:]
    if third == "one":
        torch.set_num_threads(1)
        archives()
        begin(Path(place), Path(second))
    else:
        main(Path(place), int(second), third)
