"""`everlearn serve`: the server."""

from __future__ import annotations

import importlib.util
import ipaddress
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from everlearn.cli.opening import Choice, choice_of, open_parts, settings_of
from everlearn.cli.screen import err
from everlearn.errors import SettingsError

if TYPE_CHECKING:
    import uvicorn

    from everlearn.server.room import Room, ServerSettings

Ready = Callable[[str], None]

_LISTENING = 128


def serve(
    ctx: typer.Context,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Listen here; beyond loopback with keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="Listen here; 0 = any.")] = 8000,
    max_waiting: Annotated[
        int,
        typer.Option("--max-waiting", metavar="N", min=1, help="Answers that may wait; more are told to come back."),
    ] = 64,
    deadline: Annotated[
        float, typer.Option("--deadline", metavar="SECONDS", min=1.0, help="An answer that takes longer is given up.")
    ] = 600.0,
    give_way: Annotated[
        float,
        typer.Option(
            "--give-way", metavar="SHARE", min=0.01, max=1.0, help="Of the time that learning takes while answers run."
        ),
    ] = 0.1,
    max_body: Annotated[int, typer.Option("--max-body", metavar="BYTES", min=1024, help="Of a request.")] = 20_000_000,
    keep_turns: Annotated[
        bool, typer.Option("--keep-turns/--no-keep-turns", help="Keep question and answer with each receipt.")
    ] = True,
    teach_in_chat: Annotated[
        bool, typer.Option("--teach-in-chat/--no-teach-in-chat", help='"Remember: ..." and "No, it is ..." teach.')
    ] = True,
    requests_per_minute: Annotated[
        int, typer.Option("--requests-per-minute", metavar="N", min=0, help="Of a key; 0 = no limit.")
    ] = 0,
    tokens_per_minute: Annotated[
        int, typer.Option("--tokens-per-minute", metavar="N", min=0, help="Of a key; 0 = no limit.")
    ] = 0,
    lessons_per_minute: Annotated[
        int, typer.Option("--lessons-per-minute", metavar="N", min=0, help="Of a key; 0 = no limit.")
    ] = 0,
    cors: Annotated[list[str] | None, typer.Option("--cors", metavar="ORIGIN", help="Pages that may call it.")] = None,
    studio: Annotated[
        bool, typer.Option("--studio/--no-studio", help="The web studio at /studio, where it is installed.")
    ] = True,
    answer_cache: Annotated[
        int,
        typer.Option("--answer-cache", metavar="N", min=0, help="Give so many answers again to the very same request."),
    ] = 0,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="NAME=ACTION", help="What tenants without a policy filter, as in pii=redact."),
    ] = None,
    traces: Annotated[
        bool, typer.Option("--traces", help="Send spans to the OpenTelemetry collector of OTEL_EXPORTER_OTLP_ENDPOINT.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log every request; never what was said.")] = False,
) -> None:
    """Serve the OpenAI API, and teaching beside it, until it is stopped.

    Without a key it answers everybody on this machine; to listen beyond it, make a key first (`everlearn keys create`).
    Nothing is filtered unless it is asked for: --filter pii=redact, hate=block ... (docs/safety.md).
    Several tenants are walled off from each other: the key says which one is asked and taught.
    """
    from everlearn.safety.policy import policy_of_words
    from everlearn.server.limits import Rates
    from everlearn.server.room import ServerSettings

    rates = Rates(requests_per_minute, tokens_per_minute, lessons_per_minute)
    how = ServerSettings(
        host=host,
        port=port,
        most_bytes=max_body,
        most_waiting=max_waiting,
        deadline=deadline,
        give_way=give_way,
        answer_cache=answer_cache,
        keep_turns=keep_turns,
        teach_in_chat=teach_in_chat,
        cors=tuple(cors or ()),
        rates=rates,
        policy=policy_of_words(filters or ()),
        traces=traces,
    )
    start(choice_of(ctx), how, studio=studio and is_installed(), verbose=verbose)


def is_installed() -> bool:
    """Whether the studio can be served: it is an extra of the package."""
    return importlib.util.find_spec("gradio") is not None


def start(
    choice: Choice, how: ServerSettings, *, studio: bool, verbose: bool = False, ready: Ready | None = None
) -> None:
    """Serve until it is stopped.

    Args:
        choice: home and model.
        how: address and limits; without any key only loopback is listened on.
        studio: mount the studio too.
        verbose: log every request.
        ready: called with the server's address once it answers.
    """
    from everlearn.wiring import server_room

    settings = settings_of(choice)
    listening = _socket(how.host, how.port)
    try:
        room = server_room(settings, open_parts(settings), how)
        _check_keys(room, how.host)
        _run(room, listening, studio=studio, verbose=verbose, ready=ready)
    finally:
        listening.close()


def _check_keys(room: Room, host: str) -> None:
    if not _is_loopback(host) and not room.keys.all():
        raise SettingsError(
            f"Listening on {host} without any API key would let everybody teach.",
            hint="Make one first: everlearn keys create",
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _socket(host: str, port: int) -> socket.socket:
    """Listen before the weights are read, so that a port that is taken is told at once."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=_LISTENING
        )
    except OSError as cause:
        raise SettingsError(
            f"Nobody can listen on {host}:{port}: {cause.strerror}.", hint="Choose another --port."
        ) from cause


def _run(room: Room, listening: socket.socket, *, studio: bool, verbose: bool, ready: Ready | None) -> None:
    import uvicorn

    from everlearn.server.app import create_app
    from everlearn.server.impatient import ImpatientProtocol
    from everlearn.wiring import with_studio

    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    host, port = listening.getsockname()[:2]
    address = f"http://{_within(host)}:{port}"
    api = create_app(room)
    app = with_studio(api, address) if studio else api
    config = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=10,
        server_header=False,
    )
    shown = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    more = f", studio at {shown}/studio" if studio else ""
    err().print(
        Text.assemble(("everlearn ", "bold"), f"listens on {shown}/v1{more}", (" (Ctrl-C stops it)", "dim")),
        soft_wrap=True,
    )
    server = uvicorn.Server(config)
    api.state.ending = lambda: server.should_exit
    if ready is not None:
        threading.Thread(target=_once_ready, args=(server, address, ready), daemon=True).start()
    server.run(sockets=[listening])


def _within(host: str) -> str:
    """The address by which this machine reaches itself, where all of its addresses are listened on."""
    own = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
    return f"[{own}]" if ":" in own and not own.startswith("[") else own


def _once_ready(server: uvicorn.Server, address: str, ready: Ready) -> None:
    while not server.should_exit:
        if server.started:
            ready(address)
            return
        time.sleep(0.1)
