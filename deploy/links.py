"""Print the links that open a published copy of the workbook elsewhere.

    python deploy/links.py --repo https://github.com/NAME/REPOSITORY [--branch main]
        [--hub https://hub.example.org]

The workbook does not know where it is published; you do.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from urllib.parse import quote, urlencode, urlsplit

FIRST = "notebooks/00_first_prediction.ipynb"
COLAB = "deploy/colab/start.ipynb"


class NoAddress(ValueError):
    """An address that no link can be made of; the message says what was expected."""


def address(text: str) -> str:
    """Return an address without a slash or ``.git`` at its end.

    Raises:
        NoAddress: it is none that a browser could open.
    """
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise NoAddress(
            f"{text!r} is no address; expected one such as https://github.com/NAME/"
            "REPOSITORY."
        )
    return re.sub(r"(\.git)?/*$", "", text.strip())


def github(repo: str) -> str:
    """Return NAME/REPOSITORY of an address on GitHub, "" of any other."""
    parts = urlsplit(repo)
    names = [name for name in parts.path.split("/") if name]
    return "/".join(names) if parts.netloc == "github.com" and len(names) == 2 else ""


def binder(repo: str, branch: str) -> str:
    """Return the link that builds the repository on Binder and opens chapter 00."""
    name = github(repo)
    place = f"gh/{name}/{quote(branch, '')}"
    if not name:
        place = f"git/{quote(repo, '')}/{quote(branch, '')}"
    wish = urlencode({"urlpath": f"lab/tree/{FIRST}"})
    return f"https://mybinder.org/v2/{place}?{wish}"


def colab(repo: str, branch: str) -> str:
    """Return the link that opens the start page in Colab; "" outside GitHub."""
    name = github(repo)
    if not name:
        return ""
    return (
        f"https://colab.research.google.com/github/{name}/blob/{quote(branch)}/{COLAB}"
    )


def badge(link: str) -> str:
    """Return Colab's badge with a link, as Markdown."""
    image = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"[![Open in Colab]({image})]({link})"


def nbgitpuller(repo: str, branch: str, hub: str) -> str:
    """Return the link that gives each learner of a hub a copy, and opens chapter 00."""
    folder = repo.rpartition("/")[2]
    path = f"lab/tree/{folder}/{FIRST}"
    wish = urlencode({"repo": repo, "branch": branch, "urlpath": path})
    return f"{hub}/hub/user-redirect/git-pull?{wish}"


def links(repo: str, branch: str, hub: str) -> list[tuple[str, str]]:
    """Return name and link of all that can be made of the addresses.

    Args:
        repo: of the published workbook, or of a student copy.
        branch: its branch.
        hub: of a JupyterHub; "" for none.
    """
    made = [("Binder", binder(repo, branch)), ("Colab", colab(repo, branch))]
    if made[1][1]:
        made.append(("Colab's badge", badge(made[1][1])))
    if hub:
        made.append(("nbgitpuller", nbgitpuller(repo, branch, hub)))
    return [(name, link) for name, link in made if link]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the links; the exit status is 2 where an address is none.

    Args:
        arguments: as on the command line; None for those of this process.
    """
    command = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command.add_argument("--repo", required=True, help="address of the repository")
    command.add_argument("--branch", default="main", help="default: %(default)s")
    command.add_argument("--hub", default="", help="address of a JupyterHub")
    options = command.parse_args(arguments)
    try:
        repo = address(options.repo)
        hub = address(options.hub) if options.hub else ""
    except NoAddress as error:
        print(f"links: {error}", file=sys.stderr)
        return 2
    for name, link in links(repo, options.branch, hub):
        print(f"{name}\n  {link}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
