"""A server as a process of its own: started, waited for, and ended with all that it started."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

SECONDS = 300.0
_ENDING = 10.0
"""Seconds for a server to end by itself."""
_LAST_LINES = 3


class DoesNotStart(Exception):
    """A server that ended, or that does not answer in time: its last words."""


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def running(
    words: Sequence[str],
    *,
    port: int,
    log: Path,
    environment: Mapping[str, str],
    ready: str = "/health",
    seconds: float = SECONDS,
) -> Iterator[str]:
    """The URL of a server that answers at ``ready``.

    Raises DoesNotStart with what it said last.
    """
    url = f"http://127.0.0.1:{port}"
    with log.open("w") as said:
        process = subprocess.Popen(
            words,
            stdout=said,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        try:
            _wait(process, url + ready, seconds, log)
            yield url
        finally:
            _end(process)


def _wait(process: "subprocess.Popen[bytes]", url: str, seconds: float, log: Path) -> None:
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        if process.poll() is not None:
            raise DoesNotStart(_last_words(log))
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.25)
    raise DoesNotStart(f"no answer within {seconds:.0f} s; {_last_words(log)}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends the server and the processes that it started: they are one group."""
    for order in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, order)
        except ProcessLookupError:
            break
        try:
            process.wait(_ENDING)
        except subprocess.TimeoutExpired:
            continue
        time.sleep(0.5)
    process.wait(_ENDING)


def _last_words(log: Path) -> str:
    """The lines of an error, else the last ones."""
    lines = [
        line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()
    ]
    errors = [line for line in lines if "Error" in line and "Traceback" not in line]
    return " / ".join((errors or lines)[-_LAST_LINES:])[-600:] or "it said nothing"
