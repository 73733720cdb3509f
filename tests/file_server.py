"""A server on this machine that gives one file, and misbehaves as a test asks for."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONTENT = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Gives CONTENT for every path; `how` is called with (handler, first byte asked for) and may do otherwise."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.how, self.etag, self.content = [], None, '"one"', CONTENT
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.server.asked.append((self.path, start))
        if self.headers.get("If-Range", self.server.etag) != self.server.etag:
            start = 0
        if self.server.how is None or not self.server.how(self, start):
            self.give(start)

    def give(self, start: int, count: int | None = None, status: int | None = None) -> None:
        """The content from `start` on; only `count` bytes of it, though all are announced."""
        content = self.server.content
        if start >= len(content):
            self.answer(416, {"Content-Range": f"bytes */{len(content)}"})
            return
        headers = {"Content-Length": str(len(content) - start)} | (
            {"ETag": self.server.etag} if self.server.etag else {}
        )
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.answer(status or (206 if start else 200), headers)
        self.wfile.write(content[start:][:count])

    def answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in ({"Content-Length": "0"} | headers).items():
            self.send_header(key, value)
        self.end_headers()


@contextmanager
def running() -> Iterator[Server]:
    """The server, answering from a thread of its own until the block ends."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def all_files(folder: Path) -> list[str]:
    """Every file below a folder, by its path within, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
