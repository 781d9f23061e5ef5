"""JupyterLab and the half of the widgets that lives in the browser."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

from course.doctor.line import Found, check, install, shown_python
from course.doctor.software import version

PACKAGES = (
    "jupyterlab",
    "ipywidgets",
    "jupyterlab_widgets",
    "widgetsnbextension",
    "anywidget",
)
MANAGER = "@jupyter-widgets/jupyterlab-manager"
FRONT_ENDS = {MANAGER: "jupyterlab_widgets", "anywidget": "anywidget"}  # by package


@check("software.widgets", "JupyterLab and widgets")
def versions() -> Found:
    """Look whether the widgets' two halves are versions that understand each other.

    ipywidgets says itself which jupyterlab_widgets and widgetsnbextension it needs.
    """
    from packaging.requirements import Requirement

    now = {name: version(name) for name in PACKAGES}
    missing = [name for name, number in now.items() if not number]
    if missing:
        text = f"{', '.join(missing)} not installed"
        return Found(False, text, install(*missing), now)
    asked = [Requirement(text) for text in metadata.requires("ipywidgets") or []]
    wrong = [
        one
        for one in asked
        if one.name in now and not one.specifier.contains(now[one.name])
    ]
    if wrong:
        texts = [f"{r.name}{r.specifier}, not {now[r.name]}" for r in wrong]
        text = f"ipywidgets {now['ipywidgets']} goes with {', '.join(texts)}"
        names = ("ipywidgets", *(r.name for r in wrong))
        return Found(False, text, install("--upgrade", *names), now)
    shown = [f"{name} {now[name]}" for name in ("ipywidgets", "anywidget")]
    text = f"{now['jupyterlab']}; {', '.join(shown)}, with what belongs to them"
    return Found(True, text, "", now)


@check("software.front_end", "widgets' front end")
def front_end(
    folders: Sequence[str] | None = None, settings: Path | None = None
) -> Found:
    """Look whether JupyterLab will load what draws the widgets in the browser.

    Args:
        folders: with labextensions, the first one wins; None for JupyterLab's own.
        settings: JupyterLab's folder of settings; None for its own.
    """
    from jupyter_core.paths import jupyter_path
    from jupyterlab_server.config import get_federated_extensions, get_page_config

    folders = jupyter_path("labextensions") if folders is None else list(folders)
    present = get_federated_extensions(folders)
    facts = {name: present.get(name, {}).get("version", "") for name in FRONT_ENDS}
    missing = [name for name in FRONT_ENDS if not _whole(present.get(name))]
    if missing:
        packages = [FRONT_ENDS[name] for name in missing]
        remedy = install("--force-reinstall", "--no-deps", *packages)
        text = f"JupyterLab lacks {' and '.join(missing)}: widgets would stay empty"
        return Found(False, text, remedy, facts)
    page = get_page_config(folders, str(settings or _settings()))
    off = _disabled(page["disabledExtensions"])
    if off:
        text = f"{' and '.join(off)} disabled in JupyterLab: widgets would stay empty"
        return Found(False, text, _enabling(off[0]), facts)
    if facts["anywidget"] != version("anywidget"):
        place = present["anywidget"]["ext_path"]
        text = f"anywidget {facts['anywidget']} in {place} is not the installed version"
        return Found(False, text, f"Delete {place}; it is an older one.", facts)
    text = ", ".join(f"{name} {number}" for name, number in facts.items())
    return Found(True, f"{text}, enabled", "", facts)


def _whole(extension: dict | None) -> bool:
    """Say whether an extension's first script is there, not only its description."""
    if not extension:
        return False
    load = extension["jupyterlab"].get("_build", {}).get("load", "")
    return bool(load) and (Path(extension["ext_path"]) / load).is_file()


def _settings() -> Path:
    from jupyterlab.commands import get_app_dir

    return Path(get_app_dir()) / "settings"


def _disabled(every: Iterable[str]) -> list[str]:
    """Return the disabled front ends and plugins of them, such as ``name:plugin``."""
    return [entry for entry in every if entry.partition(":")[0] in FRONT_ENDS]


def _enabling(entry: str) -> str:
    """Return the command that enables what one of three levels of settings disables."""
    from jupyterlab_server.config import get_static_page_config

    for level in ("user", "sys_prefix", "system"):
        here = get_static_page_config(level=level).get("disabledExtensions", {})
        if here.get(entry):
            command = f"{shown_python()} -m jupyter labextension enable"
            return f"{command} --level={level} {entry}"
    return f"Remove {entry} from disabledExtensions in JupyterLab's page_config.json."
