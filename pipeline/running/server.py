"""The Prefect server that a run talks to: one that is up already, or one of the run's own."""

import atexit
import functools
import importlib.util
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

# Before Prefect is imported, which reads them once.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")

import httpx
from prefect import get_run_logger
from prefect.events.clients import PrefectEventsClient
from prefect.events.worker import EventsWorker
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from codec.errors import UserError
from codec.files import write_bytes
from codec.process import die_with_parent

LOOPBACK = ("127.0.0.1", "localhost", "::1")
LOCAL = "http://127.0.0.1:4200/api"
STARTUP_SECONDS = 180.0
GRACE_SECONDS = 30.0
# s, about, for which Prefect keeps trying to tell a server that does not answer what happened. By
# itself it gives up after ten, and then for good: less than a busy machine needs to start one.
EVENTS_SECONDS = 120
RESTARTS = 5
# Why a server has no record of how a run ended.
GONE = "is gone"
REFUSES = "cannot write (is its disk full?)"
# What Prefect's database needs at least, in bytes.
ROOM = 4 << 20
_conclusion = [("stopped; `rdcodec run` goes on from here", 1)]


def spare_loopback() -> None:
    """Have no proxy stand between this process, or its children, and a server on this machine.

    httpx ends where a variable names a SOCKS proxy and the package for those is missing, whether or
    not a connection would use it; such a variable can be of no use to it.
    """
    for name in ("NO_PROXY", "no_proxy"):
        kept = os.environ.get(name) or os.environ.get(name.swapcase(), "")
        hosts = [host.strip() for host in kept.split(",") if host.strip()]
        os.environ[name] = ",".join([*hosts, *(host for host in LOOPBACK if host not in hosts)])
    if importlib.util.find_spec("socksio") is None:
        for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
            for spelling in (name, name.lower()):
                if os.environ.get(spelling, "").lower().startswith("socks"):
                    del os.environ[spelling]


spare_loopback()


@contextmanager
def connected(own: bool = True) -> Iterator[Callable[[], None]]:
    """Talk to the server that PREFECT_API_URL names; unset, to one on this machine's port 4200.

    Else, or if PREFECT_API_URL is set to nothing, to one that is started here and ends with this
    process: its runs stay in Prefect's database, where a later dashboard finds them. With
    ``own=False`` that is a UserError.
    Prefect would start one by itself, but that one outlives a killed process, and is ended before
    it has recorded what it was told last.

    Yields a function that waits until the server answers, for after what needs none.
    """
    url = PREFECT_API_URL.value()
    if url and not answers(url):
        raise UserError(f"PREFECT_API_URL: no Prefect server answers at {url}; start it, or unset")
    started = None
    if not url:
        alone = os.environ.get("PREFECT_API_URL") == ""
        if not alone and answers(LOCAL):
            url = LOCAL
        elif own:
            _check_room()
            started = _Own()
            url = started.url
    if url is None:
        raise UserError(f"no Prefect server at {LOCAL}: start one with `make dashboard`, or set "
                        "PREFECT_API_URL")  # fmt: skip
    EventsWorker.set_client_override(PrefectEventsClient, reconnection_attempts=EVENTS_SECONDS)
    with temporary_settings({PREFECT_API_URL: url}):
        try:
            yield started.wait if started else lambda: None
        except (httpx.TransportError, PrefectHTTPStatusError) as error:
            if not (why := lost_by(error)):
                raise
            leave(why)


def answers(url: str = "", timeout: float = 10.0) -> bool:
    """Whether a server answers at ``url``, by default the one that we talk to."""
    try:
        health = f"{url or _address()}/health"
        return httpx.get(health, timeout=timeout, verify=_authorities()).is_success
    except httpx.HTTPError:
        return False


@functools.cache
def _authorities() -> ssl.SSLContext:
    """Whom a server is believed; read once, since a server that starts is asked many times."""
    return httpx.create_ssl_context()


def gone() -> bool:
    """Whether the server does not answer, and not within a grace period either."""
    late = time.monotonic() + GRACE_SECONDS
    while not answers():
        if time.monotonic() > late:
            return True
        time.sleep(0.5)
    return False


def lost_by(error: httpx.TransportError | PrefectHTTPStatusError) -> str:
    """Why the server is of no use any more, if this error says so."""
    if isinstance(error, httpx.TransportError):
        return GONE if gone() else ""
    return REFUSES if error.response.status_code >= 500 else ""


def conclude(message: str, status: int) -> None:
    """Have a run whose server is lost end in these words and with this exit status."""
    _conclusion[:] = [(message, status)]


def leave(why: str) -> NoReturn:
    """End this process, whose server is of no use: Prefect would try for minutes to tell it."""
    message, status = _conclusion[-1]
    print(message)
    sys.stdout.flush()
    print(f"error: the Prefect server at {_address()} {why}, and has no record of how this run "
          "ended", file=sys.stderr, flush=True)  # fmt: skip
    os._exit(status)


def _address() -> str:
    return str(PREFECT_API_URL.value())


@contextmanager
def optional() -> Iterator[None]:
    """Let work go on where the server cannot be told of it; the log says so."""
    try:
        yield
    except (httpx.TransportError, PrefectHTTPStatusError) as error:
        if isinstance(error, PrefectHTTPStatusError) and not lost_by(error):
            raise
        get_run_logger().warning("The Prefect server was not told: %s", error)


def _check_room() -> None:
    """Raise the system's OSError where Prefect's database cannot be kept or cannot grow."""
    probe = PREFECT_HOME.value() / f"rdcodec-{os.getpid()}.probe"
    write_bytes(probe, bytes(ROOM))
    probe.unlink()


class _Own:
    """A server that lives as long as this process, and is started again where somebody ends it."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.stopping = threading.Event()
        self.process = self._start()
        # At the very end of this process: Prefect's own threads send until then.
        atexit.register(self._stop)
        # It lives as long as the process: to Linux, the parent is the thread that starts a server.
        self.keeper = threading.Thread(target=self._keep, daemon=True)
        self.keeper.start()

    def wait(self) -> None:
        """Until it answers."""
        late = time.monotonic() + STARTUP_SECONDS
        while not answers(self.url):
            if not self.keeper.is_alive():
                raise RuntimeError(
                    "Prefect's server ended at its start; `prefect server start` tells why"
                )
            if time.monotonic() > late:
                raise RuntimeError(f"Prefect's server did not answer within {STARTUP_SECONDS:g} s")
            time.sleep(0.1)

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start",
             "--host", "127.0.0.1", "--port", str(self.port), "--log-level", "ERROR"],
            env={**os.environ, "PREFECT_SERVER_UI_API_URL": self.url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C is for the run, which still has to tell the server of it.
            start_new_session=True,
            preexec_fn=functools.partial(die_with_parent, os.getpid()),
        )  # fmt: skip

    def _keep(self) -> None:
        for _ in range(RESTARTS):
            self.process.wait()
            if self.stopping.wait(1):
                return
            self.process = self._start()
        self.process.wait()

    def _stop(self) -> None:
        self.stopping.set()
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
