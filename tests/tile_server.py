"""A server of mock tiles on 127.0.0.1: their numbers, a grid, and marks at known places."""

import re
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

SIZE = 256
KIND = "image/svg+xml"
GRID = "#afa"  # as much green as white: marks are found by their lack of green
MARK = "#f0f"


@dataclass
class Tiles:
    """What the server paints, where it listens and what it was asked for."""

    marks: list[tuple[float, float]] = field(default_factory=list)
    host: str = ""
    asked: list[str] = field(default_factory=list)
    status: int = 200

    @property
    def address(self):
        """The address of tiles, for a map."""
        return f"http://{self.host}/{{z}}/{{x}}/{{y}}.svg"


def to_pixels(lon, lat, zoom):
    """Web Mercator in pixels from the north-west corner of the world."""
    world = SIZE * 2**zoom
    y = np.log(np.tan(np.pi / 4 + np.radians(lat) / 2))
    return (np.asarray(lon) / 360 + 0.5) * world, (0.5 - y / (2 * np.pi)) * world


def to_degrees(x, y, zoom):
    """Undo `to_pixels`."""
    world = SIZE * 2**zoom
    lat = 2 * np.arctan(np.exp((0.5 - np.asarray(y) / world) * 2 * np.pi)) - np.pi / 2
    return (np.asarray(x) / world - 0.5) * 360, np.degrees(lat)


def paint_tile(zoom, x, y, marks=()):
    """Paint a tile: a grid, its numbers, and a square of 4 pixels around each of the marks."""
    lines = "".join(f"M{at} 0V{SIZE}M0 {at}H{SIZE}" for at in range(0, SIZE, 64))
    squares = ""
    for lon, lat in marks:
        left, top = (float(at) - 2 for at in to_pixels(lon, lat, zoom))
        square = f'x="{left - x * SIZE}" y="{top - y * SIZE}" width="4" height="4"'
        squares += f'<rect {square} fill="{MARK}"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{SIZE}" height="{SIZE}">'
        f'<rect width="{SIZE}" height="{SIZE}" fill="#fff"/><path d="{lines}" stroke="{GRID}"/>'
        f'<text x="70" y="90" fill="#0f0">{zoom}/{x}/{y}</text>{squares}</svg>'
    ).encode()


@contextmanager
def serve_tiles():
    """Serve tiles until the end of the block."""
    tiles = Tiles()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            tiles.asked.append(self.path)
            numbers = re.match(r"/(\d+)/(\d+)/(\d+)\.svg", self.path)
            good = numbers and tiles.status == 200
            body = paint_tile(*map(int, numbers.groups()), tiles.marks) if good else b""
            self.send_response(200 if good else max(tiles.status, 404))
            self.send_header("Content-Type", KIND)
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):  # the page has moved on
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    tiles.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield tiles
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
