"""Downloads: whole or not there, whatever breaks; one for many who ask at once."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections import namedtuple
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock

from course import fetch
from course.errors import CourseError
from course.fetch import Remote

CONTENT = bytes(range(256)) + bytes(range(144))  # 400 bytes
SHA = hashlib.sha256(CONTENT).hexdigest()
STEP = 10
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="os.fork is missing")


class Handler(BaseHTTPRequestHandler):
    """Serve `server.content`, and break in the way that the server was told."""

    def do_GET(self):
        server = self.server
        server.asked.append(self.headers.get("Range"))
        server.headers.append(dict(self.headers))
        status = server.statuses.pop(0) if server.statuses else server.status
        if server.elsewhere:
            place, server.elsewhere = server.elsewhere, ""
            self.answer(302, Location=place)
        elif status != 200:
            self.answer(status)
        else:
            self.send_content()

    def answer(self, status, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send_content(self):
        server, content, start = self.server, self.server.content, 0
        asked = self.headers.get("Range")
        same = self.headers.get("If-Range") in (None, server.tag)
        if asked and server.ranges and same:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content) and start:
            self.answer(416, Content_Range=f"bytes */{len(content)}")
            return
        about = {"ETag": server.tag} if server.tag else {}
        if server.says_length:
            about["Content_Length"] = str(len(content) - start)
        if start:
            whole = f"{len(content)}"
            about["Content_Range"] = f"bytes {start}-{len(content) - 1}/{whole}"
        self.answer(206 if start else 200, **about)
        end = server.ends(start)
        self.wfile.write(content[start:end])
        if server.hangs and end < len(content):
            server.outwaited = not server.gate.wait(20)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server on this machine that tests tell how to fail."""
    monkeypatch.setattr(fetch, "PAUSE", 0)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.content, server.tag, server.status, server.statuses = CONTENT, "", 200, []
    server.asked, server.headers, server.elsewhere = [], [], ""
    server.ranges = server.says_length = True
    server.hangs, server.gate, server.outwaited = False, threading.Event(), False
    server.ends = lambda start: len(server.content)
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.gate.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def remote(server):
    digest = f"sha256:{SHA[:8]}"
    return Remote(f"{server.url}/net-1.pth", "net-1.pth", digest, 0.0004, "MIT", "net")


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def refused(remote, folder):
    """Return the sentence with which a download ends."""
    with pytest.raises(CourseError) as caught:
        fetch.download(remote, folder, say=lambda line: None)
    sentence = str(caught.value)
    assert "\n" not in sentence and "Errno" not in sentence
    return sentence


def test_a_file_is_announced_with_size_licence_and_address_before_it_is_asked_for(
    remote, server, tmp_path
):
    said = []
    path = fetch.download(
        remote, tmp_path / "new", lambda line: said.append((line, len(server.asked)))
    )
    assert path == tmp_path / "new" / "net-1.pth"
    assert path.read_bytes() == CONTENT
    ((line, asked),) = said
    assert asked == 0
    assert all(part in line for part in ("net", "MB", "MIT", remote.url))
    assert files(path.parent) == [path.name]
    assert not list(path.parent.glob(".*"))


def test_what_is_not_known_is_said_not_to_be(remote, tmp_path):
    said = []
    fetch.download(replace(remote, megabytes=None, licence=None), tmp_path, said.append)
    assert "size not stated, licence: not stated" in said[0]


def test_a_file_that_is_there_is_neither_asked_for_nor_locked(
    remote, server, tmp_path, monkeypatch
):
    monkeypatch.setattr(fetch, "FileLock", None)  # as in a folder for reading only
    (tmp_path / "net-1.pth").write_bytes(b"there")
    said = []
    assert fetch.download(remote, tmp_path, said.append).read_bytes() == b"there"
    assert not server.asked and not said


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_at_every_tenth_byte_ends_with_the_whole_file(
    remote, server, tmp_path, ranges
):
    server.ranges = ranges
    stops = iter(range(0, len(CONTENT) + 1, STEP))
    server.ends = lambda start: next(stops)
    path = fetch.download(remote, tmp_path)
    assert path.read_bytes() == CONTENT
    assert files(tmp_path) == ["net-1.pth"]
    assert len(server.asked) == len(CONTENT) // STEP + 1
    assert server.asked[2:5] == ["bytes=10-", "bytes=20-", "bytes=30-"]


def test_a_connection_that_breaks_for_good_leaves_a_part_that_is_not_the_file(
    remote, server, tmp_path
):
    for stop in range(STEP, len(CONTENT), STEP):
        server.ends = lambda start, stop=stop: stop
        sentence = refused(remote, tmp_path)
        assert files(tmp_path) == ["net-1.pth.part"]
        assert (tmp_path / "net-1.pth.part").read_bytes() == CONTENT[:stop]
    assert "the same command goes on" in sentence and "net-1.pth.part" in sentence
    server.ends = lambda start: len(CONTENT)
    server.asked.clear()
    assert fetch.download(remote, tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=390-"]


KILLED = """
import json, os, signal, sys, time
from pathlib import Path
from course import fetch
fetch.PAUSE = 0
remote, folder = fetch.Remote(**json.loads(sys.argv[1])), Path(sys.argv[2])
path, part = folder / remote.file, folder / (remote.file + ".part")
for stop in range(0, 400, 10):
    child = os.fork()
    if not child:
        fetch.download(remote, folder)
        os._exit(0)
    while not part.exists() or part.stat().st_size < stop:
        time.sleep(0.001)
    os.kill(child, int(sys.argv[3]))
    os.waitpid(child, 0)
    assert not path.exists() and part.stat().st_size == stop, stop
print(fetch.download(remote, folder))
"""


def python(script, *arguments, **more):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        **more,
    )


@needs_fork
@pytest.mark.parametrize("number", [9, 2], ids=["kill -9", "Ctrl-C"])
def test_a_process_that_ends_at_every_tenth_byte_leaves_a_part_that_is_gone_on_with(
    remote, server, tmp_path, number
):
    server.hangs = True
    stops = iter(range(0, len(CONTENT) + 1, STEP))
    server.ends = lambda start: next(stops)
    process = python(KILLED, json.dumps(remote.__dict__), tmp_path, number)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert out.splitlines()[-1] == str(tmp_path / "net-1.pth")
    assert (tmp_path / "net-1.pth").read_bytes() == CONTENT
    assert files(tmp_path) == ["net-1.pth"]
    assert server.asked[1:4] == [None, "bytes=10-", "bytes=20-"]


TOGETHER = """
import json, os, sys
from pathlib import Path
from course import fetch
remote, folder = fetch.Remote(**json.loads(sys.argv[1])), Path(sys.argv[2])
def say(line):
    os.write(1, (line + chr(10)).encode())
for number in range(int(sys.argv[3])):
    if not os.fork():
        path = fetch.download(remote, folder, say)
        say("found " + str(len(path.read_bytes())))
        os._exit(0)
failed = [os.wait()[1] for number in range(int(sys.argv[3]))]
sys.exit(any(failed))
"""


@needs_fork
@pytest.mark.parametrize("count", [2, 30])
def test_of_many_processes_that_ask_at_once_one_fetches_and_the_others_wait(
    remote, server, tmp_path, count
):
    server.ends, server.hangs = lambda start: 100 if not start else 400, True
    process = python(TOGETHER, json.dumps(remote.__dict__), tmp_path, count)
    said = [process.stdout.readline() for _ in range(count)]
    assert sum(line.startswith("Fetching net") for line in said) == 1
    assert sum("waiting for it" in line for line in said) == count - 1
    server.gate.set()  # only now, when all of them are there
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert rest.splitlines() == ["found 400"] * count
    assert server.asked == [None, "bytes=100-"]
    assert os.listdir(tmp_path) == ["net-1.pth"]


def test_threads_of_one_process_fetch_once_too(remote, server, tmp_path):
    paths = []
    threads = [
        threading.Thread(target=lambda: paths.append(fetch.download(remote, tmp_path)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(paths) == 4 and len(server.asked) == 1


@pytest.mark.parametrize(
    "digest", ["sha256:" + "0" * 64, "sha256:" + SHA[:7] + "zz", "md5:" + "0" * 32]
)
def test_a_file_with_another_digest_is_refused_and_removed(
    remote, server, tmp_path, digest
):
    sentence = refused(replace(remote, digest=digest), tmp_path)
    assert "digest" in sentence
    assert files(tmp_path) == []
    if "z" not in digest:
        assert "removed" in sentence and "400" not in sentence


def test_whole_digests_of_both_kinds_are_accepted(remote, tmp_path):
    for number, digest in enumerate(
        (f"sha256:{SHA.upper()}", f"md5:{hashlib.md5(CONTENT).hexdigest()}")
    ):
        given = replace(remote, digest=digest, file=f"{number}.bin")
        assert fetch.matches(fetch.download(given, tmp_path), digest)
    assert not fetch.matches(tmp_path / "0.bin", "sha256:" + "1" * 8)


def test_a_part_of_another_file_is_dropped_and_the_download_starts_over(
    remote, server, tmp_path
):
    (tmp_path / "net-1.pth.part").write_bytes(b"x" * 100)
    said = []
    assert fetch.download(remote, tmp_path, said.append).read_bytes() == CONTENT
    assert "another file" in said[-1]
    assert server.asked == ["bytes=100-", None]


@pytest.mark.parametrize("extra", [0, 1])
def test_a_part_that_is_whole_or_too_long_is_judged_by_its_digest(
    remote, server, tmp_path, extra
):
    (tmp_path / "net-1.pth.part").write_bytes(CONTENT + b"x" * extra)
    assert fetch.download(remote, tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=400-"] if not extra else ["bytes=401-", None]


@pytest.mark.parametrize("tag", ["", '"one"'])
def test_a_file_that_changes_on_the_server_meanwhile_is_fetched_anew(
    remote, server, tmp_path, tag
):
    """The server says so by its tag; or by the new length, where it knows no tags."""
    server.tag = tag
    server.content = CONTENT[1:] if not tag else b"!" + CONTENT[1:]

    def ends(start):
        if server.content is CONTENT:
            return 400
        server.content, server.tag = CONTENT, tag and '"two"'
        return 50

    server.ends = ends
    assert fetch.download(remote, tmp_path).read_bytes() == CONTENT
    assert server.asked[:2] == [None, "bytes=50-"]
    if tag:
        assert server.headers[1]["If-Range"] == '"one"'


def test_a_server_that_names_no_length_is_judged_by_the_digest(
    remote, server, tmp_path
):
    server.says_length = False
    assert fetch.download(remote, tmp_path).read_bytes() == CONTENT
    server.ends = lambda start: 399
    other = replace(remote, file="other.bin")
    assert "removed" in refused(other, tmp_path)


def test_a_stalled_connection_is_given_up_and_gone_on_with(
    remote, server, tmp_path, monkeypatch
):
    monkeypatch.setattr(fetch, "STALL", 0.2)
    server.hangs, server.ends = True, lambda start: 150 if not start else 400
    assert fetch.download(remote, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=150-"]
    assert not server.outwaited  # it would have closed the connection in the end


@pytest.mark.parametrize(("status", "attempts"), [(404, 1), (403, 1), (503, 4)])
def test_an_answer_that_holds_no_file_is_told_in_one_sentence(
    remote, server, tmp_path, status, attempts
):
    server.status = status
    sentence = refused(remote, tmp_path)
    assert f"answered {status}" in sentence and "127.0.0.1" in sentence
    assert files(tmp_path) == []
    assert len(server.asked) == attempts


def test_a_server_that_sends_nothing_leaves_nothing(remote, server, tmp_path):
    server.ends = lambda start: 0
    assert "broke off" in refused(remote, tmp_path)
    assert files(tmp_path) == []
    assert len(server.asked) == fetch.TRIES


def test_a_server_that_is_busy_for_a_moment_is_asked_again(remote, server, tmp_path):
    server.statuses = [500, 503]
    assert fetch.download(remote, tmp_path).read_bytes() == CONTENT


def test_the_pauses_between_attempts_grow(remote, server, tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr(fetch, "PAUSE", 1)
    monkeypatch.setattr(fetch.time, "sleep", pauses.append)
    server.status = 500
    refused(remote, tmp_path)
    assert pauses == [1, 2, 4]


def test_without_a_network_one_sentence_says_so_at_once(
    remote, server, tmp_path, monkeypatch
):
    monkeypatch.setattr(fetch.time, "sleep", None)  # nothing is tried again
    server.shutdown()
    server.server_close()
    sentence = refused(remote, tmp_path)
    assert "connection refused" in sentence and "online" in sentence
    away = replace(remote, url="http://example.org/net-1.pth")
    assert "blocked in tests" in refused(away, tmp_path)
    assert files(tmp_path) == []


def test_a_full_disk_keeps_what_came(remote, server, tmp_path, monkeypatch):
    class Full:
        def __init__(self, *arguments, **named):
            self.file = open(*arguments, **named)  # noqa: SIM115

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, block):
            if self.file.tell() >= 70:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(block[:70])

    monkeypatch.setattr(fetch, "open", Full, raising=False)
    sentence = refused(remote, tmp_path)
    assert "full" in sentence and "goes on" in sentence
    assert (tmp_path / "net-1.pth.part").read_bytes() == CONTENT[:70]
    assert len(server.asked) == 1
    monkeypatch.undo()
    assert fetch.download(remote, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("stated", [True, False])
def test_a_disk_that_is_too_small_is_found_before_the_first_byte(
    remote, server, tmp_path, monkeypatch, stated
):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda place: usage(9, 9, 300))
    given = remote if stated else replace(remote, megabytes=None)
    sentence = refused(given, tmp_path / "new")
    assert "TORCH_HOME" in sentence and "free" in sentence
    assert files(tmp_path / "new") == []
    assert len(server.asked) == (0 if stated else 1)


def test_a_folder_in_which_nothing_can_be_written_is_named(
    remote, server, tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    assert "file/cache" in refused(remote, tmp_path / "file" / "cache")

    def acquire(self, **_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(FileLock, "acquire", acquire)
    sentence = refused(remote, tmp_path)
    assert "Permission denied" in sentence and "TORCH_HOME" in sentence
    assert not server.asked


def test_a_folder_in_the_place_of_the_file_is_named(remote, tmp_path):
    (tmp_path / "net-1.pth").mkdir()
    assert "something else" in refused(remote, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "../net",
        "a/b",
        "a\\b",
        "",
        ".",
        "..",
        ".net",
        "/x",
        "a\0",
        "a\n",
        "c:x",
        "a.part",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(remote, server, tmp_path, name):
    assert "name" in refused(replace(remote, file=name), tmp_path)
    assert not server.asked and files(tmp_path) == []


@pytest.mark.parametrize(
    "url", ["file:///etc/hosts", "ftp://x/y", "data:,x", "net.pth", "http://", "//x/y"]
)
def test_only_addresses_of_the_web_are_fetched(remote, tmp_path, url):
    assert "https://" in refused(replace(remote, url=url), tmp_path)


@pytest.mark.parametrize(
    ("place", "said"),
    [("file:///etc/hosts", "not allowed"), ("ftp://127.0.0.1/x", "not followed")],
)
def test_a_redirection_out_of_the_web_is_not_followed(
    remote, server, tmp_path, place, said
):
    server.elsewhere = place
    sentence = refused(remote, tmp_path)
    assert place in sentence and said in sentence
    assert files(tmp_path) == [] and len(server.asked) == 1


def test_a_redirection_is_not_followed_from_https_to_http():
    request = urllib.request.Request("https://example.org/x")
    with pytest.raises(CourseError, match="not followed"):
        fetch._OnlyWeb().redirect_request(
            request, None, 302, "Found", {}, "http://example.org/x"
        )


def test_a_redirection_on_the_web_is_followed(remote, server, tmp_path):
    server.elsewhere = f"{server.url}/there"
    assert fetch.download(remote, tmp_path).read_bytes() == CONTENT


def test_the_readers_proxy_is_asked(remote, server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    away = replace(remote, url="http://example.org/net-1.pth")
    assert fetch.download(away, tmp_path).read_bytes() == CONTENT
    assert server.headers[0]["Host"] == "example.org"


def test_the_folders_are_those_of_torch_and_of_the_reader(monkeypatch):
    import torch

    for name, value in (
        ("TORCH_HOME", "~/there"),
        ("XDG_CACHE_HOME", "/cache"),
        ("HOME", "/home/ada"),
    ):
        for other in ("TORCH_HOME", "XDG_CACHE_HOME"):
            monkeypatch.delenv(other, raising=False)
        monkeypatch.setenv(name, value)
        assert fetch.weights_folder() == Path(torch.hub.get_dir()) / "checkpoints"
    monkeypatch.delenv("COURSE_DATA", raising=False)
    assert str(fetch.data_folder()) == "/home/ada/.pretrained-workbook/data"
    monkeypatch.setenv("COURSE_DATA", "~/images")
    assert str(fetch.data_folder()) == "/home/ada/images"


def test_fetching_needs_no_torch():
    code = "import sys; from course import fetch; sys.exit('torch' in sys.modules)"
    assert python(code).wait(60) == 0
