"""Mistakes that a maintainer could make in `course/`, and what has to notice each.

A mutant is an edit of the source of a copy of the package. It raises nothing by itself
and gives plausible numbers; the chapter that teaches with that machinery has to turn
red. `test_mutants.py` plants each, and `table.py` writes what came of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mutant:
    """One mistake, as an exact edit of one file.

    Args:
        name: a few words; of the test, too.
        chapter: the one whose run has to turn red.
        file: below `course/`.
        function: where in it.
        slip: what somebody did, in words.
        old: source text that stands in the file once.
        new: what stands there instead.
        catch: words of the claim that fails, or of the statement that a guard stops.
        guard: the type of the error with which a guard stops it; "" for a claim.
        skip: cells whose statements change nothing that the claim looks at.
        hard: whether its claim takes too long for every day, and why; "" if not.
    """

    name: str
    chapter: str
    file: str
    function: str
    slip: str
    old: str
    new: str
    catch: str
    guard: str = ""
    skip: tuple[str, ...] = ()
    hard: str = ""

    @property
    def place(self) -> str:
        """Where it is planted, as the table says it."""
        return f"{self.file}: {self.function}"


@contextmanager
def package(mutant: Mutant | None = None) -> Iterator[Path]:
    """Give a folder with a copy of the package, in which a mutant is planted.

    Raises:
        LookupError: the text that is to be replaced is not there once.
    """
    with TemporaryDirectory(prefix="mutant-") as folder:
        home = Path(folder).resolve()
        shutil.copytree(ROOT / "course", home / "course")
        if mutant is not None:
            file = home / "course" / mutant.file
            file.write_text(edited(mutant, file.read_text("utf-8")), "utf-8")
        yield home


def edited(mutant: Mutant, text: str) -> str:
    """Return a file's text with the mutant in it.

    Raises:
        LookupError: the text that is to be replaced is not there once.
    """
    if text.count(mutant.old) != 1:
        raise LookupError(
            f"{mutant.name}: its old text stands {text.count(mutant.old)} times in "
            f"course/{mutant.file}, and has to be there once; plant it anew."
        )
    return text.replace(mutant.old, mutant.new)


MUTANTS = (
    Mutant(
        "wrong normalisation",
        chapter="00_first_prediction",
        file="models.py",
        function="normalising",
        slip="gave our backbones ImageNet's mean and deviation",
        old="v2.Normalize(MEAN, STD)",
        new="v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))",
        catch="names the shape of an image it never saw",
    ),
    Mutant(
        "head initialised like a convolution",
        chapter="01_pretraining",
        file="models.py",
        function="resnet10",
        slip="let He's initialisation, which is for convolutions, have the head too",
        old="""        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_""",
        new="""        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_""",
        catch="starts near the logarithm of the number of classes",
    ),
    Mutant(
        "scaling half undone",
        chapter="02_feature_extraction",
        file="probing.py",
        function="_fitted",
        slip="folded the spread of the features into the probe, and forgot their mean",
        old="bias - weight @ mean",
        new="bias",
        catch="ten labels a class are enough",
    ),
    Mutant(
        "BatchNorm left in training mode",
        chapter="03_fine_tuning",
        file="training.py",
        function="Trainer.set_modes",
        slip="froze BatchNorm first and set the network to training mode after that",
        old="""        self.network.train()
        if self.batchnorm == "freeze":
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
""",
        new="""        if self.batchnorm == "freeze":
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        self.network.train()
""",
        catch="moving statistics alone spoil the old task",
    ),
    Mutant(
        "head swapped after the optimiser",
        chapter="03_fine_tuning",
        file="training.py",
        function="fit",
        slip="gave the network its new head once the optimiser had the parameters",
        old="""    order = Shuffled(part, recipe, seed)
    return train_on(""",
        new="""    from course.models import head_of

    name, old = head_of(model.network)
    head = nn.Linear(old.in_features, len(part.class_names)).to(trainer.device)
    model.network.set_submodule(name, head)
    order = Shuffled(part, recipe, seed)
    return train_on(""",
        catch="and the new one as well",
    ),
    Mutant(
        "LoRA not merged",
        chapter="03_fine_tuning",
        file="lora.py",
        function="LoRAConv2d.merged",
        slip="returned the frozen convolution without its update",
        old="        conv.weight = nn.Parameter(self.weight().detach().clone())\n",
        new="",
        catch="the package's merging does not",
    ),
    Mutant(
        "rates chosen on the test part",
        chapter="03_fine_tuning",
        file="transfer.py",
        function="compare",
        slip="chose the learning rates where the accuracy is reported",
        old="strategy, source, train, task.validation, *knobs, device=device",
        new="strategy, source, train, task.test, *knobs, device=device",
        catch="compared = transfer.compare(",
        guard="HeldOutError",
    ),
    Mutant(
        "one stage behind",
        chapter="04_looking_inside",
        file="faithfulness.py",
        function="randomised",
        slip="handed the network out before the stage became random: one layer off",
        old="""        changing = {id(parameter) for parameter in parameters}
        for name, module in mixed.network.named_modules():
            own = module.parameters(recurse=False)
            if any(id(parameter) in changing for parameter in own):
                module.load_state_dict(fresh[name].state_dict())
        yield stage, mixed.copy()
""",
        new="""        yield stage, mixed.copy()
        changing = {id(parameter) for parameter in parameters}
        for name, module in mixed.network.named_modules():
            own = module.parameters(recurse=False)
            if any(id(parameter) in changing for parameter in own):
                module.load_state_dict(fresh[name].state_dict())
""",
        catch="Grad-CAM falls apart with the head alone",
    ),
    Mutant(
        "weights of maps averaged over the batch",
        chapter="04_looking_inside",
        file="explain.py",
        function="grad_cam",
        slip="took Grad-CAM's weights from all images of a batch; one alone is right",
        old="weights = gradients.mean(dim=(2, 3), keepdim=True)",
        new="weights = gradients.mean(dim=(0, 2, 3), keepdim=True)",
        catch="layer4 goes to the object that was asked for",
    ),
    Mutant(
        "trained on the part that is reported",
        chapter="05_when_pretraining_pays",
        file="transfer.py",
        function="run",
        slip="learned from the part on which the accuracy is measured",
        old="Start(task.train, seed, C, device)",
        new="Start(getattr(task, part or 'train'), seed, C, device)",
        catch="result = one_run(",
        guard="HeldOutError",
    ),
    Mutant(
        "zero in the wrong place",
        chapter="06_when_it_hurts",
        file="compress.py",
        function="_grid",
        slip="took it that nothing below zero comes into a convolution of int8",
        old="    return step, round(-low / step)",
        new="    return step, 0",
        catch="computing in int8 costs little accuracy",
        skip=("ch06-97", *(f"ch06-{n}" for n in range(100, 111))),
    ),
    Mutant(
        "test leak",
        chapter="07_choosing",
        file="data/digits.py",
        function="_split",
        slip="drew the test scans from all scans, so that many were learned from",
        old="return dict(zip(SIZES, order.split(list(SIZES.values())), strict=True))",
        new="""anew = generator.permutation(len(order))[: SIZES["test"]]
    dealt = order.split(list(SIZES.values()))
    return {**dict(zip(SIZES, dealt, strict=True)), "test": order[anew]}""",
        catch="hardly a clean image is accused",
    ),
    Mutant(
        "a pixel too wide",
        chapter="08_object_detection",
        file="exercises/object_detection.py",
        function="iou_reference",
        slip="counted the last pixel of a box in, as older libraries do",
        old="""(end - start).clamp(min=0).prod(dim=2)  # boxes apart share nothing
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(dim=2) for""",
        new="""(end - start + 1).clamp(min=0).prod(dim=2)
    areas = [(boxes[..., 2:] - boxes[..., :2] + 1).prod(dim=2) for""",
        catch="both losses by hand are torchvision's",
    ),
    Mutant(
        "frequent contexts count as much as rare ones",
        chapter="09_meaning_of_text",
        file="words.py",
        function="positive_pmi",
        slip="forgot to divide by how frequent the context is",
        old="(word[row] * context[column])",
        new="word[row]",
        catch="a word's nearest among these is of its own field",
    ),
    Mutant(
        "word vectors copied into a copy",
        chapter="09_meaning_of_text",
        file="language.py",
        function="fresh",
        slip="let the transformer begin with random words instead of counted ones",
        old="network.embedding.weight.copy_(vectors.values)",
        new="network.embedding.weight.clone().copy_(vectors.values)",
        catch="fine-tuned from the pretraining is ahead of from scratch",
        hard="every claim of the chapter needs its half minute of pretraining",
    ),
    Mutant(
        "sisters of test images learned from",
        chapter="10_capstone",
        file="exercises/capstone.py",
        function="split_reference",
        slip="held out one image of a group and left its sisters in the training part",
        old="            held_out |= members",
        new="            held_out[members.nonzero()[0]] = True",
        catch="shots of one object on both sides flatter the model",
    ),
    Mutant(
        "another megabyte",
        chapter="11_tools_and_outlook",
        file="zoo.py",
        function="MB",
        slip="counted a million bytes a megabyte, where torchvision counts 2**20",
        old="MB = 2**20",
        new="MB = 10**6",
        catch="a file has four bytes a parameter",
    ),
    Mutant(
        "seed ignored",
        chapter="12_gpu_lab",
        file="ladder.py",
        function="Loop.batches",
        slip="drew the batches from a generator that nobody seeded",
        old="np.random.default_rng([seed, 12])",
        new="np.random.default_rng()",
        catch="largest difference, twice the same",
    ),
)

# Planted, run, and seen by nothing: blind spots, until a chapter looks there.
SURVIVORS: tuple[Mutant, ...] = ()
