"""The hub that `simulate.py` starts: `workbook_config.py` on one machine's loopback.

Everything that it writes lies in the folder that $SIMULATION names. Not for a real hub:
every name may log in, and a kernel's traffic is protected by nothing but the machine.
"""

import json
import os
import sys
from pathlib import Path

from jupyterhub.spawner import SimpleLocalProcessSpawner

ROOM = json.loads(os.environ["SIMULATION"])
FOLDER = Path(ROOM["folder"])
FIRST_USER_ID = 60_000  # above a distribution's own, below "nobody"


class OwnUserSpawner(SimpleLocalProcessSpawner):
    """Every learner under a Unix user of its own, as The Littlest JupyterHub does it.

    Needs root. The users have a number and no name; nothing of the system is changed.
    """

    def make_preexec_fn(self, name):  # noqa: ANN001, ANN201 (JupyterHub's signature)
        """Return what the learner's process does first: give up all rights but its own.

        Args:
            name: of the learner.
        """
        number, home = FIRST_USER_ID + self.user.id, self.home_dir
        os.makedirs(home, 0o700, exist_ok=True)
        os.chown(home, number, number)

        def become() -> None:
            os.setgroups([])
            os.setgid(number)
            os.setuid(number)
            os.chdir(home)

        return become


c = get_config()  # noqa: F821
load_subconfig(str(Path(__file__).with_name("workbook_config.py")))  # noqa: F821

c.JupyterHub.bind_url = f"http://127.0.0.1:{ROOM['ports'][0]}"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{ROOM['ports'][1]}"
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{ROOM['ports'][2]}"
c.ConfigurableHTTPProxy.command = [ROOM["proxy"]]
c.ConfigurableHTTPProxy.pid_file = str(FOLDER / "hub" / "proxy.pid")
c.JupyterHub.db_url = f"sqlite:///{FOLDER / 'hub' / 'hub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(FOLDER / "hub" / "cookie_secret")
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.DummyAuthenticator.password = ROOM["password"]

c.JupyterHub.spawner_class = (
    OwnUserSpawner if ROOM["own_users"] else SimpleLocalProcessSpawner
)
c.SimpleLocalProcessSpawner.home_dir_template = str(FOLDER / "homes" / "{username}")
c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
c.Spawner.env_keep = ["PATH", "LANG", "LC_ALL"]
c.Spawner.environment = {
    **c.Spawner.environment,
    "COURSE_PROFILE": ROOM["profile"],
    "JUPYTER_PATH": str(FOLDER / "jupyter"),
    "GIT_CONFIG_GLOBAL": str(FOLDER / "gitconfig"),
}
if os.geteuid() == 0 and not ROOM["own_users"]:
    c.Spawner.args = [*c.Spawner.args, "--allow-root"]
