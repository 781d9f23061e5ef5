"""The network is blocked in this process and in those that tests start."""

import socket
import subprocess
import sys
import urllib.request

import pytest

TRY = """
import socket, urllib.request
for attempt in (
    lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
    lambda: urllib.request.urlopen("http://example.org", timeout=1),
):
    try:
        attempt()
    except OSError as error:
        assert "blocked in tests" in str(error), error
    else:
        raise SystemExit("reached the network")
print("blocked")
"""


def test_nothing_outside_is_reached():
    with pytest.raises(OSError, match="blocked in tests"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with pytest.raises(OSError, match="blocked in tests"):
        urllib.request.urlopen("http://example.org", timeout=1)


def test_processes_of_tests_are_blocked_too():
    done = subprocess.run([sys.executable, "-c", TRY], capture_output=True, text=True)
    assert done.stdout.strip() == "blocked", done.stderr


def test_loopback_stays_open():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=5) as client,
    ):
        assert client.getpeername() == server.getsockname()
