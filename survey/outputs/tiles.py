"""Online tiles as an option below a map: OpenStreetMap, Tianditu, or an address of the user's.

A page with tiles asks for none until someone switches them on; ``assets/tiles.js`` puts tiles that
are in GCJ-02 where they belong. Without them a page asks for nothing at all.
"""

import re
from dataclasses import dataclass, replace
from html import escape
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

import folium
from folium.map import Layer

from survey.errors import DatumError, OutputError
from survey.outputs.offline import Raw, read_asset, to_script
from survey.outputs.page import Opening
from survey.outputs.texts import Pair

_TIANDITU = (
    "https://t0.tianditu.gov.cn/{0}_w/wmts?SERVICE=WMTS&REQUEST=GetTile&VERSION=1.0.0&LAYER={0}"
    "&STYLE=default&TILEMATRIXSET=w&FORMAT=tiles&TILEMATRIX={{z}}&TILEROW={{y}}&TILECOL={{x}}"
    "&tk={{token}}"
)
_ADDRESS = re.compile(r"https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?/\S*", re.IGNORECASE)
_NEEDED = {"x", "y", "z"}
_KEYS = {"tk", "key", "ak", "token", "access_token", "apikey", "api_key"}


def _check_address(address: str) -> None:
    if not _ADDRESS.fullmatch(address):
        raise OutputError(
            f"the tiles {address!r} are unknown: give osm, tianditu or an address such as"
            " https://tiles.example.cn/{z}/{x}/{y}.png"
        )
    places = set(re.findall(r"\{(.*?)\}", address))
    wrong = [f"lacks {{{name}}}" for name in sorted(_NEEDED - places)]
    wrong += [f"has {{{name}}}" for name in sorted(places - _NEEDED - {"token"})]
    wrong += [
        f"has a token in {name}=; write {{token}} in its place"
        for name, value in parse_qsl(urlsplit(address).query)
        if name.lower() in _KEYS and value != "{token}"
    ]
    if wrong:
        raise OutputError(
            f"the address of tiles {', '.join(wrong)}; it needs {{x}}, {{y}} and {{z}}, and may"
            " have {token}"
        )


@dataclass(frozen=True)
class TileSource:
    """Where tiles come from; `choose_tiles` makes it.

    Parameters
    ----------
    label
        The name in the legend.
    addresses
        Addresses of the layers from the lowest, with ``{x}``, ``{y}``, ``{z}`` and, if wanted,
        ``{token}`` in the place of numbers: Web Mercator, counted from the north-west.
    credit
        Who made the tiles; it stands in the page's foot while they are on.
    credit_link
        Where their terms are told.
    datum
        wgs84 or gcj02.
    max_zoom
        The last zoom that the server has; beyond it tiles are magnified.
    token
        The user's token. It stands in the page, for everyone to read; if absent, and an address
        has ``{token}``, the page asks for it and keeps it in memory.
    needs_referer
        Whether the server refuses pages that were opened from disk.

    Raises
    ------
    OutputError
        If an address is none, lacks ``{x}``, ``{y}`` or ``{z}`` or has something else in braces,
        has a literal token, or a token is given and no address takes one.
    DatumError
        If the datum is neither wgs84 nor gcj02.
    """

    label: Pair
    addresses: tuple[str, ...]
    credit: str
    credit_link: str = ""
    datum: str = "wgs84"
    max_zoom: int = 18
    token: str | None = None
    needs_referer: bool = False

    def __post_init__(self) -> None:
        """Check what is given."""
        for address in self.addresses:
            _check_address(address)
        if self.token is not None and not self.takes_token:
            raise OutputError(
                f"{self.label.en} takes no token; leave it out, or write {{token}} in the address"
                " where it belongs"
            )
        if self.datum not in {"wgs84", "gcj02"}:
            raise DatumError(
                f"tiles in {self.datum!r} cannot be shown: only wgs84 and gcj02 can (BD-09 tiles"
                " are cut in another way)"
            )

    @property
    def takes_token(self) -> bool:
        """Whether an address has a place for a token."""
        return any("{token}" in address for address in self.addresses)

    @property
    def hosts(self) -> list[str]:
        """The scheme, host and port of each server."""
        parts = map(urlsplit, self.addresses)
        return sorted({f"{part.scheme}://{part.netloc}".lower() for part in parts})


_KNOWN = {
    "osm": TileSource(
        Pair("在线底图 OpenStreetMap", "Online tiles OpenStreetMap"),
        ("https://tile.openstreetmap.org/{z}/{x}/{y}.png",),
        "© OpenStreetMap contributors",
        "https://www.openstreetmap.org/copyright",
        max_zoom=19,
        needs_referer=True,
    ),
    "tianditu": TileSource(
        Pair("在线底图 天地图", "Online tiles Tianditu"),
        (_TIANDITU.format("vec"), _TIANDITU.format("cva")),
        "天地图 · 国家地理信息公共服务平台",
        "https://www.tianditu.gov.cn/",
    ),
}


def choose_tiles(
    tiles: str,
    *,
    datum: str = "wgs84",
    credit: str | None = None,
    token: str | None = None,
) -> TileSource:
    """Find a source of tiles by its name or its address.

    Parameters
    ----------
    tiles
        osm, tianditu, or an address such as ``https://tiles.example.cn/{z}/{x}/{y}.png``.
    datum
        The datum of the tiles at an address: wgs84 or gcj02.
    credit
        Who made the tiles at an address, in the words that the maker asks for; its host if absent.
    token
        The user's token, which will stand in the page for everyone to read. If it is absent, the
        page asks for it.

    Returns
    -------
    TileSource

    Raises
    ------
    OutputError
        If the name or the address is not right, or the source takes no token.
    DatumError
        If the datum is unknown, or is given for tiles whose datum is known.

    Examples
    --------
    >>> choose_tiles("https://tiles.example.cn/{z}/{x}/{y}.png", datum="gcj02").hosts
    ['https://tiles.example.cn']
    """
    if tiles in _KNOWN:
        source = _KNOWN[tiles]
        if datum != source.datum:
            raise DatumError(f"the tiles of {tiles} are in {source.datum}, not in {datum}")
        return replace(source, token=token, credit=credit or source.credit)
    _check_address(tiles)
    host = urlsplit(tiles).netloc
    label = Pair(f"在线底图 {host}", f"Online tiles {host}")
    return TileSource(label, (tiles,), credit or host, datum=datum, token=token)


def add_tiles(page: folium.Map, source: TileSource) -> folium.Map:
    """Add online tiles to a map, switched off; the legend of the page switches them.

    Parameters
    ----------
    page
        Any map of folium; of a map of `draw_map` the legend lists them last, of others a
        ``folium.LayerControl`` does. It is changed.
    source
        Where the tiles come from.

    Returns
    -------
    folium.Map
        The same map. Written by `save_offline`, it may ask the hosts of `source` for images and
        nobody for anything else.
    """
    layer = _Tiles(source)
    parts = page._children  # noqa: SLF001 branca has no other way to see what a map holds
    opening = next((part for part in parts.values() if isinstance(part, Opening)), None)
    layer.add_to(page)
    if opening is not None:
        opening.layers.append(cast("Any", layer))
        parts.move_to_end(opening.get_name())  # it names the layers, so it comes after them
    return page


class _Tiles(Layer):
    """The layer group that ``tiles.js`` makes."""

    def __init__(self, source: TileSource) -> None:
        name = escape(" · ".join(dict.fromkeys(source.label)))
        super().__init__(name=name, overlay=True, control=True, show=False)
        self._name = "Tiles"
        self.image_hosts = source.hosts
        self.value = to_script(
            {
                "label": source.label,
                "addresses": source.addresses,
                "credit": source.credit,
                "link": source.credit_link,
                "datum": source.datum,
                "zoom": source.max_zoom,
                "token": source.token,
                "asks": source.takes_token,
                "referer": source.needs_referer,
            }
        )

    def render(self, **kwargs: Any) -> Any:
        script = cast("Any", self.get_root()).script
        script.add_child(Raw(read_asset("tiles.js").decode()), name="survey_tiles")
        code = f"var {self.get_name()} = surveyTiles({self.value});\n"
        script.add_child(Raw(code), name=self.get_name())
        super().render(**kwargs)  # type: ignore[no-untyped-call]  # folium's is untyped
