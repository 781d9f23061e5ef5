"""Exports: whole or not there, equal to the model, and of use without the workbook."""

import ast
import json
import os
import re
import runpy
import subprocess
import sys
import venv
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image, ImageOps
from safetensors.torch import load_file
from torchvision import models as zoo

from course import export, lora, models, pretrained
from course.data import pictures
from course.errors import CourseError
from course.export import formats, readme, rebuild

OFFLINE = Path(__file__).parent / "offline"
NAMES = ('an "ant"', "bee: <b>black</b>\n---\nbee", "| wasp *_`", "größer 🐝")
ABOUT = {
    "title": 'Insects: "ants" # and\n--- <i>bees</i>',
    "metrics": {
        "test accuracy": (0.9312, 0.0123),
        "expected calibration error": (0.02, float("nan")),
        "seconds": 12,
    },
    "data": "Photographs of <script>insects</script>.\n\nTaken by me: 100 | class.",
    "intended_use": "To sort my own album.",
    "limits": "# Not for\nallergies",
    "cost": "12 s on two cores.",
    "temperature": 1.7,
}
NO_ONNX = [name for name in formats.ONNX if find_spec(name) is None]


def noise(count=5, height=80, width=100):
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(count, 3, 5, 5, generator=generator) * 255
    size = (height, width)
    return torch.nn.functional.interpolate(small, size, mode="bilinear").byte()


def tiny(names=NAMES, width=4):
    return models.fresh(names, seed=0, width=width)


def without_onnx(patch):
    patch.setattr(formats, "missing", lambda: list(formats.ONNX))


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    model = models.replace_head(models.load("resnet10-shapes"), NAMES)
    folder = tmp_path_factory.mktemp("ours") / "insects"
    return model, export.write(model, folder, examples=noise(), **ABOUT)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A torchvision network with random weights."""
    ready = models.Preprocess(zoo.SqueezeNet1_1_Weights.IMAGENET1K_V1.transforms())
    with models.seeded(0):
        model = models.Model(zoo.squeezenet1_1(), ready, ())
    model = models.replace_head(model, NAMES[:2])
    _, head = models.head_of(model.network)
    with torch.no_grad():
        head.weight.mul_(6)  # or every answer would be near one half
    folder = tmp_path_factory.mktemp("theirs") / "insects"
    about = {"title": "t", "data": "d", "metrics": {}}
    with pytest.MonkeyPatch.context() as patch:
        without_onnx(patch)
        return model, export.write(model, folder, examples=noise(1), **about)


# What is in the folder ----------------------------------------------------------------


def test_the_weights_are_the_models_own_and_every_copy_gives_its_logits(ours):
    model, done = ours
    written = load_file(done.folder / "model.safetensors")
    state = model.network.state_dict()
    assert written.keys() == state.keys()
    assert all(torch.equal(written[key], state[key]) for key in state)
    assert done.differences["model.safetensors"] <= 1e-5
    assert done.differences["model.pt2"] <= 1e-5


@pytest.mark.parametrize("which", ["ours", "theirs"])
def test_the_program_takes_batches_of_every_size(which, request):
    model, done = request.getfixturevalue(which)
    program = torch.export.load(done.folder / "model.pt2").module()
    for count in (1, 3):
        images = noise(count)
        with torch.no_grad():
            logits = program(model.preprocess(images))
        torch.testing.assert_close(logits, model.logits(images), atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(bool(NO_ONNX), reason=f"not installed: {', '.join(NO_ONNX)}")
def test_onnxruntime_gives_the_same_logits_for_batches_of_every_size(ours):
    import onnxruntime

    model, done = ours
    session = onnxruntime.InferenceSession(done.folder / "model.onnx")
    for count in (1, 2, 5):
        images = noise(count)
        (logits,) = session.run(None, {"images": model.preprocess(images).numpy()})
        wanted = model.logits(images).numpy()
        np.testing.assert_allclose(logits, wanted, atol=1e-4, rtol=0)
    assert done.differences["model.onnx"] <= 1e-4


def test_without_the_extra_one_sentence_says_what_to_install(theirs):
    _, done = theirs
    assert not (done.folder / "model.onnx").exists()
    assert "onnx" not in (done.folder / "README.md").read_text("utf-8")
    note = done.notes[0]
    assert "pip install -e '.[onnx]'" in note and "onnxruntime" in note
    assert note in str(done)


def test_an_exporter_that_fails_is_said_and_the_rest_is_written(tmp_path, monkeypatch):
    def fail(_, __, path):
        path.write_text("half")
        raise ModuleNotFoundError("no torch_2_99")

    monkeypatch.setattr(formats, "missing", list)
    monkeypatch.setattr(formats, "write_onnx", fail)
    done = write(tmp_path / "new")
    assert "no torch_2_99" in done.notes[0]
    assert "model.onnx" not in done.files
    assert export.read(tmp_path / "new").class_names == NAMES


def test_the_card_says_how_to_build_it_and_what_it_came_from(ours):
    model, done = ours
    card = json.loads((done.folder / "card.json").read_text("utf-8"))
    assert card["architecture"]["name"] == "resnet10"
    assert card["class_names"] == list(NAMES)
    assert card["preprocessing"]["mean"] == [0.5, 0.5, 0.5]
    assert card["temperature"] == 1.7
    assert card["metrics"]["test accuracy"] == {"value": 0.9312, "spread": 0.0123}
    assert card["metrics"]["expected calibration error"]["spread"] is None
    assert card["source"]["name"] == "resnet10-shapes" and card["licence"] == "MIT"
    assert set(card["files"]) == set(done.files) - {"card.json"}
    assert "NaN" not in (done.folder / "card.json").read_text("utf-8")
    assert model.card == card["source"]


def test_weights_without_a_licence_are_said_to_have_none(theirs):
    _, done = theirs
    assert "licence" in done.notes[-1]
    assert front(done.folder)["license"] == "unknown"


# The model card -----------------------------------------------------------------------


def front(folder):
    text = (folder / "README.md").read_text("utf-8")
    _, head, body = re.split(r"^---$", text, maxsplit=2, flags=re.M)
    assert body.startswith("\n\n# ")
    return yaml.safe_load(head)


def test_the_model_card_has_the_fields_of_hugging_faces_specification(ours):
    _, done = ours
    head = front(done.folder)
    assert head["license"] == "mit"
    assert head["library_name"] == "pytorch"
    assert head["pipeline_tag"] == "image-classification"
    assert head["datasets"] == ["imagefolder"]
    assert head["metrics"] == ["accuracy", "expected_calibration_error", "seconds"]
    assert all(isinstance(tag, str) for tag in head["tags"])
    (index,) = head["model-index"]
    assert index["name"] == " ".join(ABOUT["title"].split())
    (result,) = index["results"]
    assert result["task"]["type"] == "image-classification"
    assert set(result["dataset"]) == {"type", "name"}
    rows = result["metrics"]
    assert [row["name"] for row in rows] == list(ABOUT["metrics"])
    assert all(isinstance(row["value"], float) and row["type"] for row in rows)


def test_no_text_becomes_markup_in_the_model_card(ours):
    _, done = ours
    text = (done.folder / "README.md").read_text("utf-8")
    body = text.split("\n---\n", 1)[1]
    assert "<" not in body
    assert r"- \| wasp \*\_\`" in body
    titles = re.findall(r"^#+ (.*)$", body, re.M)
    assert titles[1:] == [
        "Description",
        "Intended use",
        "How to use",
        "Training data",
        "Evaluation",
        "Limits",
        "Bias and risks",
        "Cost",
    ]
    assert "| test accuracy | 0.9312 | ± 0.012 |" in body
    assert "---" not in re.sub(r"^\|---.*$|--- ", "", body, flags=re.M)


@pytest.mark.parametrize(
    "title",
    [
        "a: b",
        "- a",
        "yes",
        "1.0",
        "'a' \"b\"",
        "# a",
        "{a}",
        "&a *b",
        "a\u2028b\x85c",
        "@",
    ],
)
def test_every_title_comes_back_from_yaml_as_it_was(ours, title):
    _, done = ours
    card = json.loads((done.folder / "card.json").read_text("utf-8"))
    text = readme.text({**card, "title": title}, ["model.safetensors"])
    head = yaml.safe_load(text.split("\n---\n")[0])
    assert head["model-index"][0]["name"] == " ".join(title.split())


def test_what_nobody_said_is_not_made_up(theirs):
    _, done = theirs
    text = (done.folder / "README.md").read_text("utf-8")
    assert text.count("did not say") == 2 and "Nothing was measured" in text
    assert "## Cost" not in text and "temperature" not in text


def test_a_thousand_classes_are_not_all_listed(ours):
    _, done = ours
    card = json.loads((done.folder / "card.json").read_text("utf-8"))
    names = [f"class {n}" for n in range(1000)]
    text = readme.text({**card, "class_names": names}, [])
    assert "- class 99\n- and 900 more" in text


@pytest.mark.parametrize(
    ("stated", "fields"),
    [
        (None, {"license": "unknown"}),
        ("MIT", {"license": "mit"}),
        ("Apache 2.0", {"license": "apache-2.0"}),
        (
            "https://example.org/LICENSE",
            {
                "license": "other",
                "license_name": "see-link",
                "license_link": "https://example.org/LICENSE",
            },
        ),
        (
            "For my class only!",
            {"license": "other", "license_name": "for-my-class-only"},
        ),
    ],
)
def test_a_licence_takes_the_form_that_the_hub_knows(stated, fields):
    assert readme.licence(stated) == fields


# Outside the workbook -----------------------------------------------------------------


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Return what runs a program in an environment that knows no `course`."""
    place = tmp_path_factory.mktemp("elsewhere")
    builder = venv.EnvBuilder(with_pip=False)
    builder.create(place / "env")
    python = builder.ensure_directories(place / "env").env_exe
    ask = [python, "-c", "import site; print(site.getsitepackages()[0])"]
    packages = subprocess.run(ask, capture_output=True, text=True, check=True)
    homes = {
        str(Path(find_spec(n).origin).parents[1]) for n in ("torch", "PIL", "numpy")
    }
    text = "\n".join([*homes, ""])
    (Path(packages.stdout.strip()) / "present.pth").write_text(text, "utf-8")

    def run(*arguments):
        return subprocess.run(
            [python, *map(str, arguments)],
            cwd=place,
            env={**os.environ, "PYTHONPATH": str(OFFLINE)},
            capture_output=True,
            text=True,
            encoding="utf-8",
        )

    absent = run("-c", "import course")
    assert "No module named 'course'" in absent.stderr
    return run


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    picture = Image.fromarray(noise(1, 90, 130)[0].permute(1, 2, 0).numpy())
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(folder / "plain.jpg")
    picture.save(folder / "turned.jpg", exif=turned)
    picture.convert("CMYK").save(folder / "print.jpg")
    glass = picture.convert("RGBA")
    glass.putalpha(picture.convert("L"))
    glass.save(folder / "glass.png")
    picture.convert("P").save(folder / "palette.gif", transparency=3)
    deep = np.asarray(picture.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "deep.png")
    picture.resize((20, 9)).save(folder / "small.png")
    return sorted(folder.iterdir())


def expected(model, path, temperature):
    picture = pictures.flat(ImageOps.exif_transpose(Image.open(path)))
    chances = (model.logits(picture)[0] / temperature).softmax(dim=0)
    return {
        " ".join(name.split()): chance
        for name, chance in zip(model.class_names, chances.tolist(), strict=True)
    }


def answers(text):
    """Return, for each photograph, its classes with their probabilities, in order."""
    found = {}
    for line in text.splitlines():
        if match := re.match(r" *(\d+\.\d\d)%  (.*)$", line):
            found[list(found)[-1]].append((match[2], float(match[1]) / 100))
        else:
            found[line] = []
    return found


def agree(said, chances):
    wanted = sorted(chances.values(), reverse=True)[:3]
    assert [chance for _, chance in said] == pytest.approx(wanted, abs=1e-4)
    assert all(chances[name] == pytest.approx(p, abs=1e-4) for name, p in said)


def test_predict_says_what_the_model_says_of_pictures_of_every_kind(
    ours, elsewhere, photographs
):
    model, done = ours
    run = elsewhere(done.folder / "predict.py", *photographs)
    assert (run.stderr, run.returncode) == ("", 0)
    said = answers(run.stdout)
    assert list(said) == [str(path) for path in photographs]
    for path in photographs:
        agree(said[str(path)], expected(model, path, 1.7))


def test_predict_does_so_for_a_network_of_torchvision(theirs, elsewhere, photographs):
    model, done = theirs
    run = elsewhere(done.folder / "predict.py", *photographs)
    assert (run.stderr, run.returncode) == ("", 0)
    for path, said in answers(run.stdout).items():
        agree(said, expected(model, path, 1.0))


@pytest.mark.parametrize("which", ["ours", "theirs"])
def test_a_photograph_is_made_ready_to_the_bit_as_in_the_workbook(
    which, request, photographs
):
    model, done = request.getfixturevalue(which)
    outside = runpy.run_path(str(done.folder / "network.py"))
    for path in photographs:
        picture = pictures.flat(ImageOps.exif_transpose(Image.open(path)))
        assert torch.equal(outside["prepare"](path), model.preprocess(picture)), path


@pytest.fixture
def called(small, monkeypatch, capsys):
    """Call predict.py in this process: much faster, where the answer matters less."""
    monkeypatch.syspath_prepend(small)

    def run(*arguments):
        monkeypatch.delitem(sys.modules, "network", raising=False)
        monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(small / "predict.py"), run_name="__main__")
        return end.value.code, *capsys.readouterr()

    return run


def test_predict_says_a_sentence_of_what_is_no_picture_and_goes_on(
    called, photographs, tmp_path
):
    (tmp_path / "text.jpg").write_text("no picture")
    content = photographs[0].read_bytes()
    (tmp_path / "half.png").write_bytes(content[: len(content) // 2])
    Image.new("F", (9, 9)).save(tmp_path / "float.tif")
    bad = [*sorted(tmp_path.iterdir()), tmp_path / "missing.jpg", tmp_path]
    status, out, err = called(*bad, photographs[-1])
    assert status == 2
    lines = err.splitlines()
    assert len(lines) == len(bad)
    for path, line in zip(bad, lines, strict=True):
        assert line.startswith(f"{path} is no image that can be read: ")
    assert list(answers(out)) == [str(photographs[-1])]


def test_predict_without_a_photograph_says_how_to_call_it(called):
    status, out, err = called()
    assert status == 2 and out == ""
    assert err.count("python predict.py photo.jpg") == 1


@pytest.mark.parametrize("which", ["ours", "theirs"])
def test_the_program_is_short_and_pins_everything_that_it_imports(which, request):
    _, done = request.getfixturevalue(which)
    predict = (done.folder / "predict.py").read_text("utf-8")
    network = (done.folder / "network.py").read_text("utf-8")
    assert len(predict.splitlines()) <= 30
    trees = [ast.parse(predict), ast.parse(network)]
    modules = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module.partition(".")[0])
    others = {n.replace("PIL", "pillow") for n in modules - sys.stdlib_module_names}
    lines = (done.folder / "requirements.txt").read_text("utf-8").splitlines()
    assert {line.partition("==")[0] for line in lines} == others - {"network"}
    assert all(re.fullmatch(r"\w+==[\d.]+(\w+)?", line) for line in lines)


# Back again ---------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["ours", "theirs"])
def test_read_gives_the_model_that_was_exported(which, request):
    model, done = request.getfixturevalue(which)
    again = export.read(done.folder)
    assert torch.equal(again.logits(noise()), model.logits(noise()))
    assert again.class_names == model.class_names
    temperature = again.card.pop("temperature")
    assert temperature == (1.7 if which == "ours" else 1.0)
    assert again.card == model.card
    assert not again.network.training


def test_what_was_read_can_be_exported_again(small, tmp_path, monkeypatch):
    without_onnx(monkeypatch)
    write(tmp_path / "again", export.read(small))
    content = (tmp_path / "again" / "model.safetensors").read_bytes()
    assert content == (small / "model.safetensors").read_bytes()


@pytest.mark.parametrize("which", ["ours", "theirs"])
def test_a_preprocessing_that_was_read_can_be_written_down_again(which, request):
    model, done = request.getfixturevalue(which)
    constants = rebuild.preprocessing(model.preprocess)
    again = export.read(done.folder).preprocess
    assert rebuild.preprocessing(again) == constants
    assert torch.equal(again(noise()), model.preprocess(noise()))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "export"
    with pytest.MonkeyPatch.context() as patch:
        without_onnx(patch)
        export.write(tiny(), folder, examples=noise(), **ABOUT)
    return folder


@pytest.fixture
def copied(small, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in small.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("name", ["model.safetensors", "network.py", "model.pt2"])
def test_an_altered_file_is_refused_by_its_name(copied, name):
    content = bytearray((copied / name).read_bytes())
    content[-9] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(CourseError, match=f"{name} in .* is not the file"):
        export.read(copied)


def test_a_missing_file_is_named(copied):
    (copied / "predict.py").unlink()
    with pytest.raises(CourseError, match=r"predict\.py is missing"):
        export.read(copied)


def test_an_altered_card_is_refused(copied):
    path = copied / "card.json"
    path.write_text(path.read_text("utf-8").replace("wasp", "moth"), "utf-8")
    with pytest.raises(CourseError, match=r"card\.json in .* was altered"):
        export.read(copied)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null"])
def test_a_card_of_something_else_is_refused(copied, text):
    (copied / "card.json").write_text(text)
    with pytest.raises(CourseError, match="not that of an export"):
        export.read(copied)


def test_a_folder_without_a_card_is_refused(tmp_path):
    with pytest.raises(CourseError, match=r"no card\.json"):
        export.read(tmp_path / "nowhere")


def test_the_model_card_may_be_edited_and_the_program_may_have_run(copied):
    (copied / "README.md").write_text("mine")
    (copied / "__pycache__").mkdir()
    assert export.read(copied).class_names == NAMES


# Whole or not at all ------------------------------------------------------------------


def write(folder, model=None, **more):
    about = {**ABOUT, "examples": noise(), **more}
    return export.write(model or tiny(), folder, **about)


def test_an_export_is_replaced_only_when_told_to(copied, monkeypatch):
    without_onnx(monkeypatch)
    with pytest.raises(CourseError, match="force=True"):
        write(copied)
    write(copied, tiny(NAMES[:2]), force=True)
    assert export.read(copied).class_names == NAMES[:2]
    assert [path.name for path in copied.parent.iterdir()] == ["copy"]


def test_a_folder_with_something_else_is_never_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(CourseError, match=r"thesis\.txt"):
            write(tmp_path, force=force)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_is_not_taken_for_a_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(CourseError):
            write(place)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("step", ["write_pt2", "traced"])
def test_a_step_that_fails_leaves_what_was_there(copied, monkeypatch, step):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(formats, step, fail)
    with pytest.raises(KeyboardInterrupt):
        write(copied, force=True)
    assert export.read(copied).class_names == NAMES
    assert [path.name for path in copied.parent.iterdir()] == ["copy"]


def test_a_copy_with_other_logits_is_not_exported(tmp_path, monkeypatch):
    monkeypatch.setattr(
        formats, "write_pt2", lambda *_: torch.full((5, len(NAMES)), float("nan"))
    )
    with pytest.raises(CourseError, match=r"model\.pt2 gave logits"):
        write(tmp_path / "new")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"title": " "}, "no title"),
        ({"title": "a\udc80"}, "no text"),
        ({"temperature": 0.0}, "temperature of 0"),
        ({"temperature": float("inf")}, "temperature of inf"),
        ({"metrics": {"accuracy": float("nan")}}, "'accuracy' is nan"),
        ({"dataset": "my data!"}, "Hugging Face"),
        ({"examples": torch.zeros(2, 3, 8, 8)}, "uint8"),
    ],
)
def test_what_cannot_be_written_down_is_said_before_anything_is_made(
    tmp_path, more, match
):
    with pytest.raises(CourseError, match=match):
        write(tmp_path / "new", **more)
    assert not list(tmp_path.iterdir())


def with_lora():
    model = tiny()
    lora.add_lora(model.network)
    return model


def with_other_preprocessing():
    model = tiny()
    model.preprocess = models.Preprocess(torch.nn.Identity())
    return model


def of_nobody():
    model = tiny()
    body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64 * 64, 4))
    return models.Model(body, model.preprocess, NAMES)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (with_lora, "without LoRA"),
        (with_other_preprocessing, "preprocessing"),
        (of_nobody, "classifier of torchvision"),
        (lambda: tiny(()), "head first"),
    ],
)
def test_a_network_that_nobody_could_build_again_is_refused(tmp_path, make, match):
    with pytest.raises(CourseError, match=match):
        write(tmp_path / "new", make())
    assert not list(tmp_path.iterdir())


# Which network ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["densenet121", "squeezenet1_1", "swin_t", "vgg11_bn", "wide_resnet50_2"]
)
def test_torchvisions_name_is_found_where_no_card_says_it(name):
    with torch.device("meta"):
        model = models.Model(zoo.get_model(name, num_classes=3), None, NAMES)
    made = {"library": "torchvision", "name": name, "arguments": {}}
    assert rebuild.architecture(model) == made


@pytest.mark.parametrize("name", ["googlenet", "maxvit_t", "mnasnet0_5"])
def test_a_family_with_ways_of_its_own_is_built_again_without_the_workbook(
    name, tmp_path
):
    ready = pretrained.prepared(224, 224, (0.5,) * 3, (0.25,) * 3)
    model = models.Model(pretrained.build(name).eval(), ready, NAMES)
    model = models.replace_head(model, NAMES)
    made = rebuild.architecture(model)
    constants = rebuild.preprocessing(model.preprocess)
    (tmp_path / "network.py").write_text(rebuild.program(made, constants))
    (tmp_path / "model.safetensors").write_bytes(rebuild.weights(model.network))
    outside = runpy.run_path(str(tmp_path / "network.py"))
    network = outside["load"](tmp_path / "model.safetensors", len(NAMES))
    with torch.no_grad():
        logits = network(model.preprocess(noise(1)))
    assert torch.equal(logits, model.logits(noise(1)))
    tensors = load_file(tmp_path / "model.safetensors")
    with torch.no_grad():
        again = rebuild.build(made, tensors, len(NAMES))(model.preprocess(noise(1)))
    assert torch.equal(again, logits)


def test_what_a_builder_must_be_told_is_in_the_architecture():
    with torch.device("meta"):
        vit = zoo.vit_b_16(image_size=384)
        inception = zoo.inception_v3(transform_input=True, init_weights=False)
    made = rebuild.architecture(models.Model(vit, None, NAMES))
    assert made["arguments"] == {"image_size": 384}
    card = {"name": "inception_v3 IMAGENET1K_V1"}
    made = rebuild.architecture(models.Model(inception, None, NAMES, card))
    assert made["arguments"]["transform_input"] is True
    assert made["arguments"]["aux_logits"] is False
