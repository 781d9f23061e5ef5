"""A network for other runtimes: torch.export's program, and ONNX."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

ONNX = ("onnx", "onnxruntime", "onnxscript")  # the packages of the extra


def traced(network: nn.Module, batch: Tensor) -> ExportedProgram:
    """Return a network as a program for batches of every size.

    Args:
        network: in evaluation mode, on the CPU.
        batch: float32 (N, 3, S, S), N at least 2: torch takes 1 for a constant.
    """
    with _quiet():
        return torch.export.export(
            network, (batch,), dynamic_shapes=({0: Dim("batch")},)
        )


def write_pt2(program: ExportedProgram, batch: Tensor, path: Path) -> Tensor:
    """Write a program; return the logits (N, classes) of the file, opened again.

    Opened by torch.export.load, which can run code that a file holds: do it with files
    of your own, as here, and not with those of strangers.
    """
    with _quiet():
        torch.export.save(program, path)
        with torch.no_grad():
            return torch.export.load(path).module()(batch)


def write_onnx(program: ExportedProgram, batch: Tensor, path: Path) -> Tensor:
    """Write an ONNX file; return the logits (N, classes) that onnxruntime gives."""
    import onnxruntime

    with _quiet():
        torch.onnx.export(
            program,
            (batch,),
            path,
            input_names=["images"],
            output_names=["logits"],
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": batch.numpy()})
    return torch.from_numpy(logits)


def missing() -> list[str]:
    """Return the packages of the extra ``onnx`` that are not installed."""
    return [name for name in ONNX if find_spec(name) is None]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' notes to their makers away from the reader."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(before)
