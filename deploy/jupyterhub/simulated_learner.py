"""One simulated learner: logs in, starts a server, pulls a chapter and runs it."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import struct
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlencode

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.websocket import WebSocketClientConnection, websocket_connect

COPY = "workbook"  # the folder in a learner's home that nbgitpuller fills
CELL_SECONDS, START_SECONDS = 300, 180  # of patience
DEAD = ("dead", "restarting")
# One expression, so that nothing is left in the learner's names: this kernel's memory,
# and what its Unix user could do to another's file and to the shared weights.
PROBE = """__import__("json").dumps({{
    "peak": __import__("resource").getrusage(0).ru_maxrss * 1024,
    "memory": open("/proc/self/smaps_rollup").read(),
    "cpu": __import__("time").process_time(),
    "reads_other": __import__("os").access({other!r}, 4) if {other!r} else None,
    "writes_weights": __import__("os").access({weights!r}, 2),
}})"""


class LearnerError(RuntimeError):
    """Something that a learner would have seen go wrong."""


@dataclass
class Visit:
    """What a learner met; seconds count from "start my server".

    Args:
        name: of the learner.
        server: seconds until the server was ready.
        copy: seconds until the own copy of the chapter was there.
        first_figure: seconds until the first picture.
        end: seconds until the last cell had run.
        kernel_cpu: seconds of one core that the kernel took for the chapter.
        cells: how many code cells ran without an error.
        peak_mb: the most resident memory of the kernel.
        pss_mb: its proportional memory at the end: shared pages count in part.
        private_mb: its memory at the end that no other process shares.
        other_over_http: what the hub said when another's file was asked for.
        reads_other: whether this Unix user may read another learner's file; None where
            there was no other yet.
        writes_weights: whether this Unix user may write the shared weights.
        errors: all that went wrong.
    """

    name: str
    server: float | None = None
    copy: float | None = None
    first_figure: float | None = None
    end: float | None = None
    kernel_cpu: float | None = None
    cells: int = 0
    peak_mb: float | None = None
    pss_mb: float | None = None
    private_mb: float | None = None
    other_over_http: int | None = None
    reads_other: bool | None = None
    writes_weights: bool | None = None
    errors: list[str] = field(default_factory=list)


def code_cells(notebook: dict[str, Any]) -> list[str]:
    """Return the sources of a notebook's code cells that hold anything."""
    cells = (c for c in notebook["cells"] if c["cell_type"] == "code")
    sources = ("".join(cell["source"]) for cell in cells)
    return [source for source in sources if source.strip()]


def megabytes(rollup: str, *names: str) -> float:
    """Return the sum of named rows of /proc/PID/smaps_rollup, in MB of 2**20 bytes."""
    rows = dict(re.findall(r"^(\w+): +(\d+) kB$", rollup, re.M))
    return sum(int(rows[name]) for name in names) / 1024


def has_picture(message: dict[str, Any]) -> bool:
    """Say whether a kernel's message shows a picture."""
    return "image/png" in message["content"].get("data", {})


def cookies(reply: HTTPResponse) -> dict[str, str]:
    """Return the cookies that a reply sets, by name."""
    jar = SimpleCookie()
    for header in reply.headers.get_list("Set-Cookie"):
        jar.load(header)
    return {name: morsel.value for name, morsel in jar.items()}


def decode(message: str | bytes) -> dict[str, Any]:
    """Return a kernel's message without its buffers, such as a widget's picture.

    Args:
        message: JSON; or bytes: how many parts, where each begins (as 32-bit integers),
            and the parts, of which the first is JSON.
    """
    if isinstance(message, str):
        return json.loads(message)
    count, begin = struct.unpack_from("!II", message)
    end = struct.unpack_from("!I", message, 8)[0] if count > 1 else len(message)
    return json.loads(message[begin:end])


class Learner:
    """A learner with a browser's rights: a name, a password, and then a token.

    Args:
        name: of the learner.
        hub: the hub's address.
        visit: is filled in on the way.
    """

    def __init__(self, name: str, hub: str, visit: Visit) -> None:
        self.name, self.hub, self.visit = name, hub, visit
        self.server = f"{hub}/user/{quote(name)}"
        self._token, self._began = "", 0.0

    async def ask(
        self, url: str, method: str = "GET", body: object = None, patience: float = 60
    ) -> HTTPResponse:
        """Return the reply to a request with this learner's token, whatever its code.

        Args:
            url: the address.
            method: GET, POST or DELETE.
            body: sent as JSON; None sends nothing.
            patience: in seconds.
        """
        return await AsyncHTTPClient().fetch(
            HTTPRequest(
                url,
                method,
                headers={"Authorization": f"token {self._token}"},
                body=None if method in ("GET", "DELETE") else json.dumps(body or {}),
                request_timeout=patience,
            ),
            raise_error=False,
        )

    async def _must(self, *words: Any, **more: Any) -> Any:
        reply = await self.ask(*words, **more)
        if reply.code >= 400:
            place = reply.request.url.removeprefix(self.hub).partition("?")[0]
            raise LearnerError(f"{place}: {reply.code} {reply.reason}")
        return json.loads(reply.body) if reply.body else None

    async def log_in(self, password: str) -> None:
        """Send the login form, as a browser does, then ask for a token.

        Args:
            password: of this learner.

        Raises:
            LearnerError: the hub refused.
        """
        client, page = AsyncHTTPClient(), f"{self.hub}/hub/login"
        crumbs = cookies(await client.fetch(page))
        secret = {"username": self.name, "password": password}
        reply = await client.fetch(
            page,
            method="POST",
            body=urlencode({**secret, "_xsrf": crumbs["_xsrf"]}),
            headers={"Cookie": "; ".join(f"{k}={v}" for k, v in crumbs.items())},
            follow_redirects=False,
            raise_error=False,
        )
        if reply.code != 302:
            raise LearnerError(f"login: {reply.code} {reply.reason}")
        address = f"{self.hub}/hub/api/users/{quote(self.name)}/tokens"
        self._token = (await self._must(address, "POST", {"auth": secret}))["token"]

    async def start_server(self) -> None:
        """Press "start my server" and wait until it is ready; the clock starts here.

        Raises:
            LearnerError: it was not ready in time.
        """
        self._began = time.perf_counter()
        user = f"{self.hub}/hub/api/users/{quote(self.name)}"
        await self._must(f"{user}/server", "POST", patience=START_SECONDS)
        while self.seconds() < START_SECONDS:
            servers = (await self._must(user))["servers"]
            if servers.get("", {}).get("ready"):
                self.visit.server = self.seconds()
                return
            await asyncio.sleep(0.5)
        raise LearnerError(f"the server was not ready after {START_SECONDS} s")

    def seconds(self) -> float:
        """Return the seconds since "start my server"."""
        return time.perf_counter() - self._began

    async def pull(self, repository: str) -> None:
        """Follow the nbgitpuller link: an own copy of the repository.

        Args:
            repository: its address.

        Raises:
            LearnerError: nbgitpuller did not finish.
        """
        wish = {"repo": repository, "branch": "main", "targetpath": COPY}
        reply = await self.ask(
            f"{self.server}/git-pull/api?{urlencode(wish)}", patience=START_SECONDS
        )
        if b'"finished"' not in reply.body:
            raise LearnerError(f"nbgitpuller: {reply.code} {reply.body[-200:]!r}")
        self.visit.copy = self.seconds()

    def file(self, path: str) -> str:
        """Return the address of a file in the own copy, for `ask`."""
        return f"{self.server}/api/contents/{quote(f'{COPY}/{path}')}"

    async def run(self, chapter: str, probe: Callable[[], str]) -> None:
        """Start a kernel, run the chapter in the own copy cell by cell, and end it.

        Args:
            chapter: path in the repository.
            probe: called at the end; returns an expression for the kernel as `PROBE`.

        Raises:
            LearnerError: a kernel died, a cell took too long.
        """
        notebook = (await self._must(self.file(chapter)))["content"]
        folder = str(PurePosixPath(COPY) / PurePosixPath(chapter).parent)
        wish = {"name": "python3", "path": folder}
        kernel = await self._must(
            f"{self.server}/api/kernels", "POST", wish, patience=START_SECONDS
        )
        address = f"{self.server}/api/kernels/{kernel['id']}"
        try:
            line = await self._connect(f"{address}/channels")
            for source in code_cells(notebook):
                await self._cell(line, source)
            self.visit.end = self.seconds()
            self._note(await self._value(line, probe()))
            line.close()
        finally:
            await self.ask(address, "DELETE")

    async def _connect(self, address: str) -> WebSocketClientConnection:
        request = HTTPRequest(
            address.replace("http", "ws", 1),
            headers={"Authorization": f"token {self._token}"},
            request_timeout=START_SECONDS,
        )
        return await websocket_connect(request, max_message_size=2**27)

    async def _cell(self, line: WebSocketClientConnection, source: str) -> None:
        """Run a cell; an error in it is noted, and the next one runs."""
        reply, shown = await self._execute(line, {"code": source, "silent": False})
        if reply["status"] == "ok":
            self.visit.cells += 1
        else:
            said = f"{reply.get('ename')}: {reply.get('evalue')}"[:300]
            self.visit.errors.append(f"{source.splitlines()[0]!r}: {said}")
        if self.visit.first_figure is None:
            self.visit.first_figure = shown

    async def _value(self, line: WebSocketClientConnection, expression: str) -> Any:
        wish = {"code": "", "silent": True, "user_expressions": {"value": expression}}
        reply, _ = await self._execute(line, wish)
        answer = reply["user_expressions"]["value"]
        if answer["status"] != "ok":
            raise LearnerError(f"the probe: {answer.get('evalue')}")
        return json.loads(ast.literal_eval(answer["data"]["text/plain"]))

    async def _execute(
        self, line: WebSocketClientConnection, content: dict[str, Any]
    ) -> tuple[dict[str, Any], float | None]:
        """Return the kernel's reply, and when its first picture came."""
        request = uuid.uuid4().hex
        header = {"msg_id": request, "msg_type": "execute_request", "version": "5.4"}
        header |= {"session": self.name, "username": self.name, "date": ""}
        message = {"header": header, "parent_header": {}, "metadata": {}}
        message |= {"channel": "shell", "buffers": [], "content": content}
        await line.write_message(json.dumps(message))
        reply, shown, idle = None, None, False
        while reply is None or not idle:
            message = await self._next(line)
            state = message["content"].get("execution_state")
            if state in DEAD:
                raise LearnerError(f"the kernel is {state}: out of memory?")
            if message["parent_header"].get("msg_id") != request:
                continue
            if shown is None and has_picture(message):
                shown = self.seconds()
            if message["msg_type"] == "execute_reply":
                reply = message["content"]
            idle = idle or state == "idle"
        return reply, shown

    async def _next(self, line: WebSocketClientConnection) -> dict[str, Any]:
        try:
            text = await asyncio.wait_for(line.read_message(), CELL_SECONDS)
        except TimeoutError as error:
            raise LearnerError(f"a cell said nothing for {CELL_SECONDS} s") from error
        if text is None:
            raise LearnerError("the connection to the kernel was closed")
        return decode(text)

    def _note(self, found: dict[str, Any]) -> None:
        visit, memory = self.visit, found["memory"]
        visit.peak_mb = found["peak"] / 2**20
        visit.pss_mb = megabytes(memory, "Pss")
        visit.private_mb = megabytes(memory, "Private_Clean", "Private_Dirty")
        visit.kernel_cpu = found["cpu"]
        visit.reads_other = found["reads_other"]
        visit.writes_weights = found["writes_weights"]

    async def stop_server(self) -> None:
        """Press "stop my server", as an idle one is stopped for a learner who left."""
        user = f"{self.hub}/hub/api/users/{quote(self.name)}"
        await self.ask(f"{user}/server", "DELETE")
