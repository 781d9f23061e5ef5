"""Import packages in a process of its own, where one that crashes takes nothing along.

    python -P probe.py torch torchvision …

It prints a line before and one after each: one that never comes back has no second.
"""

import importlib
import sys

MARK = "::probe"  # packages may print when they are imported
NMS = "torchvision.ops.nms"  # the first thing to fail where torch is another version's


def _try(name: str) -> None:
    if name != NMS:
        importlib.import_module(name)
        return
    import torch
    from torchvision.ops import nms

    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.1]])
    if nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist() != [0]:
        raise RuntimeError("it gave a wrong answer")


def main(names: list[str]) -> None:
    """Try each name and print what became of it."""
    for name in names:
        print(MARK, name, sep="\t", flush=True)
        try:
            _try(name)
            outcome = ""
        except BaseException as error:  # some packages call sys.exit
            first = (str(error).strip() or "no message").splitlines()[0]
            outcome = f"{type(error).__name__}: {first}"
        print(MARK, name, outcome, sep="\t", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
