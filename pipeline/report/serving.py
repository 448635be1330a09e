"""The blind listening test for listeners on a network: a page, and a folder for answers."""

import json
import re
import secrets
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware

from codec.errors import UserError
from codec.files import write_text
from pipeline.results import listening, summary

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PAGE = "listening.html"
LARGEST = 2**20
"""Bytes of one listener's answers."""
PER_MINUTE = 20
"""Answers from one address."""
PER_LISTENER = 20
"""Sessions that are kept of one listener."""
MOST = 10_000
"""Files in the folder of answers."""
_SESSION = re.compile(r"[0-9a-f]{16}")
_LISTENER = re.compile(r"[0-9a-f]{12}")


def serve(reports: Path, answers: Path, host: str, port: int) -> None:
    """Serve the test of ``reports`` until Ctrl-C; answers become files in ``answers``.

    Anybody who can reach a ``host`` that is not this machine alone needs the token of the printed
    link. Raises UserError where there is no test or the address cannot be had.
    """
    token = None if host in LOOPBACK else secrets.token_urlsafe(12)
    app = application(reports, answers, token)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((host, port))
        except OSError as error:
            raise UserError(
                f"{host}:{port}: {error.strerror}; give another --host or --port"
            ) from error
        opened.listen()  # who follows the link at once waits, and is not turned away
        port = opened.getsockname()[1]
        name = socket.gethostname() if host in ("0.0.0.0", "::") else host
        name = f"[{name}]" if ":" in name else name
        print(f"The listening test: http://{name}:{port}/{f'?token={token}' if token else ''}")
        print(f"Answers go to {answers}/; Ctrl-C ends.", flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        server.run(sockets=[opened])


def application(reports: Path, answers: Path, token: str | None = None) -> FastAPI:
    """The server. With a ``token`` nothing is answered without it.

    ``GET /`` leads to the page, ``POST /answers`` takes what the page saves: JSON of the form that
    ``pipeline.results.listening`` counts, of this run's clips.
    """
    page = reports / PAGE
    for path, there in (
        (page, page.is_file()),
        (reports / "assets", (reports / "assets").is_dir()),
    ):
        if not there:
            raise UserError(f"{path}: not there; `rdcodec run` makes it")
    test = summary.read(reports / "summary.json").test.fingerprint
    marked = '<meta name="answers" content="answers">'
    html = page.read_text(encoding="utf-8").replace("<head>", f"<head>{marked}", 1)
    posted: dict[str, deque[float]] = {}
    app = FastAPI(openapi_url=None)

    if token is None:  # a page of another site cannot come here under a name of its own
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"])

    @app.middleware("http")
    async def admit(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        given = request.query_params.get("token") or request.cookies.get("token", "")
        if token is not None and not secrets.compare_digest(given.encode(), token.encode()):
            return PlainTextResponse("This test needs the link that you were given.\n", 403)
        response = await call_next(request)
        if token is not None and request.query_params.get("token"):
            _keep(response, "token", token)
        return response

    @app.get("/")
    def start() -> Response:
        return RedirectResponse(PAGE)

    @app.get(f"/{PAGE}")
    def test_page(request: Request) -> Response:
        response = HTMLResponse(html)
        if not _LISTENER.fullmatch(request.cookies.get("listener", "")):
            _keep(response, "listener", secrets.token_hex(6))
        return response

    @app.post("/answers", status_code=201)
    async def take(request: Request) -> dict[str, str]:
        listener = request.cookies.get("listener", "")
        if not _LISTENER.fullmatch(listener):
            raise HTTPException(403, "open the page first, with cookies")
        _limit(posted, request.client.host if request.client else "")
        tree, session = await _session(request, test)
        kept = list(answers.glob("*.json")) if answers.is_dir() else []
        own = [path for path in kept if path.name.startswith(f"{listener}-")]
        path = answers / f"{listener}-{session.session}.json"
        if path in own:
            raise HTTPException(409, "these answers are here already")
        if len(own) >= PER_LISTENER or len(kept) >= MOST:
            raise HTTPException(429, "no more answers are taken")
        # Two listeners may give one name, and are to be counted as two.
        tree["listener"] = f"{session.listener} {listener[:6]}"
        write_text(path, json.dumps(tree, indent=1) + "\n")
        return {"kept": path.name}

    app.mount("/assets", StaticFiles(directory=reports / "assets"))
    return app


def _keep(response: Response, name: str, value: str) -> None:
    """A cookie that scripts and other sites do not get."""
    response.set_cookie(name, value, httponly=True, samesite="strict")


def _limit(posted: dict[str, deque[float]], address: str) -> None:
    """429 where an address has posted too often within a minute."""
    now = time.monotonic()
    for known, times in list(posted.items()):
        while times and times[0] < now - 60:
            times.popleft()
        if not times:
            del posted[known]
    times = posted.setdefault(address, deque())
    if len(times) >= PER_MINUTE:
        raise HTTPException(429, "too often; wait a minute", {"Retry-After": "60"})
    times.append(now)


async def _session(
    request: Request, test: str
) -> tuple[dict[str, object], listening.Abx | listening.Mushra]:
    """The posted answers as they came and as they are counted."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            raise HTTPException(413, f"over {LARGEST} bytes")
    try:
        tree = json.loads(body)
        session = listening.parse(tree, "the answers")
    except (ValueError, UserError) as error:
        raise HTTPException(422, str(error)) from error
    if not _SESSION.fullmatch(session.session):
        raise HTTPException(422, "session: not 16 hexadecimal digits")
    if session.run.test != test:
        raise HTTPException(409, "these answers are of another run; load the page again")
    return tree, session
