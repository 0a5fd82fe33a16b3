"""A server on 127.0.0.1 that answers as Overpass and Nominatim do, rightly or in many bad ways.

It runs the queries that it is sent, on the objects of an OpenStreetMap file, and refuses (HTTP 400)
what it does not understand.
"""

import copy
import json
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import osmium
import shapely

DATE = "2023-12-26T21:21:22Z"


class World:
    """The objects of an OpenStreetMap file as JSON elements, and what a query finds among them."""

    def __init__(self, path):
        self.objects = {"node": {}, "way": {}, "rel": {}}
        for item in osmium.FileProcessor(str(path)):
            element = {"id": item.id, "tags": {tag.k: tag.v for tag in item.tags}}
            if item.is_node():
                place = {"lat": item.location.lat, "lon": item.location.lon}
                self.objects["node"][item.id] = {"type": "node", **element, **place}
            elif item.is_way():
                nodes = {"nodes": [node.ref for node in item.nodes]}
                self.objects["way"][item.id] = {"type": "way", **element, **nodes}
            elif item.is_relation():
                kinds = {"n": "node", "w": "way", "r": "relation"}
                members = [
                    {"type": kinds[member.type], "ref": member.ref, "role": member.role}
                    for member in item.members
                ]
                element |= {"type": "relation", "members": members}
                self.objects["rel"][item.id] = element

    def run(self, query):
        """Run a query; gives the elements that it prints."""
        head = re.match(r"((?:\[\w+:[^\]]*\])+);", query)
        settings = dict(re.findall(r"\[(\w+):([^\]]*)\]", head[0]))
        assert settings["out"] == "json"
        assert int(settings["timeout"]) > 0
        assert int(settings["maxsize"]) > 0
        south, west, north, east = map(float, settings["bbox"].split(","))
        run = _Run(self, query[head.end() :], self._inside(shapely.box(west, south, east, north)))
        return run.finish()

    def _inside(self, box):
        """List what lies in a box: nodes, ways that touch it, relations with a member that does."""
        west, south, east, north = box.bounds
        nodes = {
            key
            for key, node in self.objects["node"].items()
            if west <= node["lon"] <= east and south <= node["lat"] <= north
        }
        ways = {key for key in self.objects["way"] if self._touches(key, nodes, box)}
        member = {"node": nodes, "way": ways}
        rels = {
            key
            for key, rel in self.objects["rel"].items()
            if any(part["ref"] in member.get(part["type"], ()) for part in rel["members"])
        }
        return {"node": nodes, "way": ways, "rel": rels}

    def _touches(self, key, nodes, box):
        refs = self.objects["way"][key]["nodes"]
        if not nodes.isdisjoint(refs):
            return True
        found = [self.objects["node"][ref] for ref in refs if ref in self.objects["node"]]
        places = [(node["lon"], node["lat"]) for node in found]
        return len(places) > 1 and shapely.LineString(places).intersects(box)

    def below(self, found):
        """Go down (``>``): the members of relations, the nodes of ways and of member ways."""
        rels = [self.objects["rel"][key] for kind, key in found if kind == "rel"]
        kinds = {"node": "node", "way": "way"}
        members = {
            (kinds[part["type"]], part["ref"])
            for rel in rels
            for part in rel["members"]
            if part["type"] in kinds and part["ref"] in self.objects[kinds[part["type"]]]
        }
        ways = {key for kind, key in found | members if kind == "way"}
        refs = {ref for key in ways for ref in self.objects["way"][key]["nodes"]}
        return members | {("node", ref) for ref in refs if ref in self.objects["node"]}


class _Run:
    """One query that is being run, statement by statement."""

    def __init__(self, world, text, inside):
        self.world, self.text, self.inside = world, text, inside
        self.sets, self.printed = {}, None

    def finish(self):
        while self.text:
            self._statement()
        objects = (self.world.objects[kind][key] for kind, key in self.printed)
        # Not in the order of ids: servers sort by place.
        return sorted(objects, key=lambda item: (item["id"] * 7919 % 10007, item["type"]))

    def _take(self, pattern):
        match = re.match(pattern, self.text)
        if match:
            self.text = self.text[match.end() :]
        return match

    def _statement(self):
        if self._take("out body qt;"):
            self.printed = self.sets["_"]
            return set()
        if self._take(r"\("):
            found = set()
            while not self._take(r"\)"):
                found |= self._statement()
        elif match := self._take(r"\.(\w+)(>?)"):
            found = self.sets[match[1]]
            found = self.world.below(found) if match[2] else found
        else:
            found = self._query()
        name = self._take(r"->\.(\w+)")
        assert self._take(";"), f"not understood: {self.text[:60]}"
        self.sets[name[1] if name else "_"] = found
        return found

    def _query(self):
        kind = self._take("node|way|rel")[0]
        keys = self.inside[kind]
        if match := self._take(r"\.(\w+)"):
            keys = keys & {key for type_, key in self.sets[match[1]] if type_ == kind}
        tests = []
        while match := self._take(r'\["([^"]+)"(?:(!?[=~])"([^"]*)")?\]'):
            tests.append(match.groups())
        if match := self._take(r"\(r\.(\w+)\)"):
            keys = keys & {key for type_, key in self._members(match[1]) if type_ == kind}
        objects = self.world.objects[kind]
        return {(kind, key) for key in keys if _fits(objects[key]["tags"], tests)}

    def _members(self, name):
        return self.world.below({item for item in self.sets[name] if item[0] == "rel"})


def _fits(tags, tests):
    for key, sign, wanted in tests:
        value = tags.get(key)
        if sign is None:
            good = value is not None
        elif sign.endswith("="):
            good = value == wanted
        else:
            good = value is not None and re.search(wanted, value) is not None
        if good == (sign or "").startswith("!"):
            return False
    return True


@dataclass
class Server:
    """The running server.

    `modes` says how the next queries are answered, the last of them for ever; see `_MODES`.
    `places` holds what is answered to names, `asked` what was asked: (path, query, time).
    """

    world: World
    modes: list = field(default_factory=lambda: ["good"])
    status: str = "Rate limit: 2\n2 slots available now.\n"
    places: dict = field(default_factory=dict)
    place_modes: list = field(default_factory=lambda: ["good"])
    asked: list = field(default_factory=list)
    date: str = DATE
    address: str = ""
    closing: threading.Event = field(default_factory=threading.Event)

    def count(self, path="/api/interpreter"):
        """Count what was asked of an address."""
        return sum(asked[0] == path for asked in self.asked)

    def times(self, path="/api/interpreter"):
        """List when an address was asked."""
        return [asked[2] for asked in self.asked if asked[0] == path]


@contextmanager
def serve(world):
    """Run a server until the block ends."""
    server = Server(world)
    handler = type("Handler", (_Handler,), {"server_state": server})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        http.daemon_threads, http.block_on_close = True, False
        server.address = f"http://127.0.0.1:{http.server_port}/api"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            http.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server_state: Server

    def log_message(self, *_):
        pass

    def do_POST(self):
        state = self.server_state
        length = int(self.headers["Content-Length"])
        query = parse_qs(self.rfile.read(length).decode())["data"][0]
        state.asked.append((self.path, query, time.monotonic()))
        mode = state.modes.pop(0) if len(state.modes) > 1 else state.modes[0]
        try:
            elements = state.world.run(query)
        except (AssertionError, TypeError, KeyError) as fault:
            self._send(400, f"<p>Error: {fault}</p>", "text/html")
            return
        self._answer(mode, elements)

    def do_GET(self):
        state = self.server_state
        parts = urlsplit(self.path)
        state.asked.append((parts.path, parts.query, time.monotonic()))
        if parts.path == "/api/status":
            self._send(200, f"Connected as: 1\nCurrent time: now\n{state.status}", "text/plain")
            return
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        assert (parts.path, asked["format"], asked["polygon_geojson"]) == (
            "/api/search",
            "json",
            "1",
        )
        modes = state.place_modes
        mode = modes.pop(0) if len(modes) > 1 else modes[0]
        found = state.places.get(asked["q"], [])
        if mode == "good":
            self._send(200, json.dumps(found))
        else:
            self._answer(mode, found)

    def _answer(self, mode, elements):
        getattr(self, f"_{mode}")(elements)

    def _send(self, code, text, kind="application/json", headers=None):
        body = text.encode()
        try:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass  # whoever asked has gone

    def _dump(self, elements, **more):
        about = {"timestamp_osm_base": self.server_state.date, "copyright": "ODbL"}
        about = {"version": 0.6, "generator": "Overpass API", "osm3s": about}
        return json.dumps(about | {"elements": elements} | more, ensure_ascii=False)

    def _good(self, elements):
        self._send(200, self._dump(elements))

    def _busy(self, _):
        self._send(429, "<html>rate_limited</html>", "text/html")

    def _busy_1s(self, _):
        self._send(429, "", headers={"Retry-After": "1"})

    def _busy_date(self, _):
        then = formatdate(time.time() + 2, usegmt=True)
        self._send(503, "", headers={"Retry-After": then})

    def _busy_1h(self, _):
        self._send(429, "", headers={"Retry-After": "3600"})

    def _gateway(self, _):
        self._send(504, "<html>The server is probably too busy</html>", "text/html")

    def _remark_time(self, elements):
        remark = 'runtime error: Query timed out in "query" at line 1 after 181 seconds.'
        self._send(200, self._dump(elements[::2], remark=remark))

    def _remark_memory(self, elements):
        remark = "runtime error: Query run out of memory using about 512 MB of RAM."
        self._send(200, self._dump(elements[::2], remark=remark))

    def _no_elements(self, _):
        self._send(200, json.dumps({"version": 0.6, "osm3s": {"timestamp_osm_base": DATE}}))

    def _empty(self, _):
        self._send(200, self._dump([]))

    def _empty_undated(self, _):
        self._send(200, json.dumps({"elements": []}))

    def _fault_with_json(self, elements):
        self._send(500, self._dump(elements[:10]))

    def _html(self, _):
        self._send(200, "<html><body>Log in to the wireless network</body></html>", "text/html")

    def _list(self, elements):
        self._send(200, json.dumps(elements))

    def _no_nodes(self, elements):
        self._send(200, self._dump([item for item in elements if item["type"] != "node"]))

    def _lost_nodes(self, elements):
        """Leave out every other node, as if the server's data were damaged."""
        nodes = [item for item in elements if item["type"] == "node"]
        self._send(200, self._dump([item for item in elements if item not in nodes[::2]]))

    def _far_away(self, elements):
        """Answer another question, as a proxy does that keeps answers under the wrong key."""
        moved = [item | {"lon": item["lon"] + 1} if "lon" in item else item for item in elements]
        self._send(200, self._dump(moved))

    def _odd_id(self, elements):
        self._send(200, self._dump([*elements, {"type": "node", "id": 2**70, "lat": 0, "lon": 0}]))

    def _deep(self, _):
        self._send(200, "[" * 100_000)

    def _moved(self, _):
        self._send(301, "", headers={"Location": "/api/status"})

    def _no_gzip(self, _):
        self._send(200, "plain", headers={"Content-Encoding": "gzip"})

    def _broken_element(self, elements):
        self._send(200, self._dump([*elements, {"type": "node", "id": 1, "lat": "north"}]))

    def _half_json(self, elements):
        self._send(200, self._dump(elements)[:-100])

    def _cut(self, elements):
        body = self._dump(elements).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.close_connection = True

    def _hang(self, _):
        self.server_state.closing.wait(30)

    def _drip(self, elements):
        body = self._dump(elements).encode()
        self._drop(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), 0)
        self._drop(body)

    def _drip_head(self, _):
        self._drop(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10_000)

    def _drop(self, text, pause_s=0.02):
        try:
            for byte in text:
                self.wfile.write(bytes([byte]))
                if self.server_state.closing.wait(pause_s):
                    return
        except OSError:
            pass  # whoever asked has gone


def copy_settings(settings):
    """Copy the settings of osmnx, to be compared."""
    held = {name: value for name, value in vars(settings).items() if name != "__builtins__"}
    kinds = dict, list
    return {k: copy.deepcopy(v) if isinstance(v, kinds) else v for k, v in held.items()}
