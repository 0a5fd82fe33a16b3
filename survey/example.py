r"""A small town drawn by hand, whose every answer can be worked out on paper.

The area is 1,200 m wide and 1,000 m high; streets run on beyond it, to the edge of the data at
-400 and 1,500 m east, -500 and 1,500 m north. North is up, lengths are metres, ``:`` is the
area's boundary::

    north        :    motorway, not walkable
    950  - - - - : - - - - - - - - - - - - - - - - - - - - - - - - - - : - - - - -
                 :                     q                               :
                 :                    100 driveway, not public         :
    800          :         h----300----j----300----k                   :    北街
                 :         |           |\          |                   :
                 :        300        300 500      300                  :
                 :         |           |/          |                   :
    500  a--400--:---300---c----300----d----300----e--------300--------:--300--g  中山路
                 :         |                       |                   :
    300          :        300                     300   o----200----p  :    新村巷
                 :         |                       |                   :
    200          :    +----i---200---n             m                   :    柳叶弄
                 :    |    |                                           :
    100          :    +-400+                                           :
    east -400    0        300         600         900  950     1,150 1,200   1,500

- 解放路 (h-c-i) is one-way southwards, which means nothing on foot.
- 桂花巷 is two parallel edges from d to j, 300 and 500 m long: one alley.
- An alley without a name is a loop of 400 m at i; 柳叶弄 is a dead end.
- 新村巷 is joined to nothing.
- 中山路 is cut by the area's boundary at both ends and ends where the data end.
- Toilets: ``node/101`` public, mid-block, 100 m east of c and 10 m off the street;
  ``node/102`` opened by an institution, in the margin 250 m east of the boundary and 100 m
  off the street; ``node/103`` closed, beside k; ``node/104`` public, on the street 100 m
  west of the boundary.
- Fixed points: a school (an area with a gate), a market, a station, a hospital, a community.
- Compounds: one with a gate, one whose outline 柳叶弄 crosses, one beside 东风路.
- Two subdistricts, west and east of 550 m.
"""

from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import pandas as pd
import pyproj
import shapely
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from survey import tables
from survey.frame.doors import find_doors
from survey.frame.frame import Frame
from survey.frame.streets import Streets
from survey.sources.area import WGS84, Area

_CRS = pyproj.CRS.from_epsg(32650)
# On the middle meridian of the zone, so that the town's north is the globe's.
_EAST, _NORTH = 500_000, 3_550_000

_EDGES = """
way/1:0  a          cut/1:0    secondary     中山路   -400,500 0,500
way/1:1  cut/1:0    c          secondary     中山路   0,500 300,500
way/1:2  c          d          secondary     中山路   300,500 600,500
way/1:3  d          e          secondary     中山路   600,500 900,500
way/1:4  e          cut/1:1    secondary     中山路   900,500 1200,500
way/1:5  cut/1:1    g          secondary     中山路   1200,500 1500,500
way/2:0  h          c          tertiary      解放路   300,800 300,500
way/2:1  c          i          tertiary      解放路   300,500 300,200
way/3:0  h          j          unclassified  北街     300,800 600,800
way/3:1  j          k          unclassified  北街     600,800 900,800
way/4:0  e          k          tertiary      东风路   900,500 900,800
way/4:1  e          m          tertiary      东风路   900,500 900,200
way/5:0  d          j          living_street 桂花巷   600,500 600,800
way/6:0  d          j          living_street 桂花巷   600,500 800,650 600,800
way/7:0  i          n          pedestrian    柳叶弄   300,200 500,200
way/8:0  i          i          residential   -        300,200 300,100 200,100 200,200 300,200
way/9:0  o          p          residential   新村巷   950,300 1150,300
way/10:0 j          q          service       -        600,800 600,900
way/11:0 r          cut/11:0   motorway      绕城高速 -400,950 0,950
way/11:1 cut/11:0   cut/11:1   motorway      绕城高速 0,950 1200,950
way/11:2 cut/11:1   s          motorway      绕城高速 1200,950 1500,950
"""
"""edge_id, u, v, highway, name (``-``: none), vertices in metres from the town's corner."""

_ALLEY_OF_WAY = {
    "way/3": "alley/3",
    "way/5": "alley/5",
    "way/6": "alley/5",
    "way/7": "alley/7",
    "way/8": "alley/8",
    "way/9": "alley/9",
}


def example_town() -> Frame:
    """Make a small town with all that makes streets awkward, whose audit fits on paper.

    Its plan stands at the head of this module.

    Returns
    -------
    Frame
        The town, in EPSG:32650.

    Examples
    --------
    Of 4,600 m of street 2,580 m have a toilet within a walk of 500 m; the longest gaps:

    >>> from survey.coverage.audit import audit_coverage
    >>> town = example_town()
    >>> audit = audit_coverage(town, rules=["walk-500"])
    >>> audit.summary[["checked_m", "covered_m", "unconnected_gap_m"]].iloc[0].to_list()
    [4600.0, 2580.0, 200.0]
    >>> audit.gaps.groupby("name")["length_m"].sum().nlargest(3).to_dict()
    {'东风路': 600.0, '北街': 510.0, '桂花巷': 220.0}
    """
    nodes, edges = _draw_streets()
    streets = Streets(nodes, edges)
    points, toilets, candidates = _draw_points(), _draw_toilets(), _draw_candidates()
    compounds = _draw_compounds()
    gates = shapely.points([_at(700, 480), _at(590, 650)])
    doors = [
        find_doors(streets, points, layer="point", gates=gates),
        find_doors(streets, compounds, layer="compound", gates=gates),
        find_doors(streets, toilets, layer="toilet"),
        find_doors(streets, candidates, layer="candidate"),
    ]
    return Frame(
        area=Area(_on_globe(_box(0, 0, 1_200, 1_000)), "Example town"),
        streets=streets,
        points=points,
        alleys=_draw_alleys(edges),
        compounds=compounds,
        toilets=toilets,
        candidates=candidates,
        doors=pd.concat(doors, ignore_index=True),
        subdistricts=_draw_subdistricts(),
        quality=tables.empty("quality"),
        data_edge=_box(-400, -500, 1_500, 1_500),
        source={"osm": {"path": "example_town", "sha256": "", "osm_date": ""}, "layers": {}},
    )


def _draw_streets() -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    rows: list[dict[str, Any]] = []
    places: dict[str, BaseGeometry] = {}
    for text in _EDGES.strip().splitlines():
        edge_id, u, v, highway, name, *vertices = text.split()
        line = shapely.LineString([_at(*map(int, place.split(","))) for place in vertices])
        places |= {u: shapely.get_point(line, 0), v: shapely.get_point(line, -1)}
        way_id = edge_id.split(":")[0]
        walkable = highway != "motorway"
        rows.append(
            {
                "edge_id": edge_id,
                "u": _node(u),
                "v": _node(v),
                "way_id": way_id,
                "name": None if name == "-" else name,
                "highway": highway,
                "alley_id": _ALLEY_OF_WAY.get(way_id),
                "length_m": line.length,
                "walkable": walkable,
                "public": walkable and highway != "service",
                "inside": _EAST < line.centroid.x < _EAST + 1_200,
                "geometry": line,
            }
        )
    edges = _make("edges", rows)
    nodes = [{"node_id": _node(name), "geometry": place} for name, place in places.items()]
    return _make("nodes", nodes), edges


def _draw_alleys(edges: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    names = {
        "alley/3": "North Street",
        "alley/5": "Osmanthus Lane",
        "alley/7": "Willow Leaf Lane",
        "alley/9": "New Village Lane",
    }
    west = {"alley/7", "alley/8"}
    return _make(
        "alleys",
        [
            {
                "alley_id": alley,
                "name": rows["name"].iloc[0],
                "name_en": names.get(str(alley)),
                "highway": rows["highway"].iloc[0],
                "subdistrict_id": "relation/501" if alley in west else "relation/502",
                "source": "osm",
                "reason": "drawn by hand",
                "length_m": rows["length_m"].sum(),
                "geometry": shapely.MultiLineString(list(rows.geometry)),
            }
            for alley, rows in edges.groupby("alley_id")
        ],
    )


def _draw_points() -> gpd.GeoDataFrame:
    school = _area(620, 350, 780, 480)
    rows: list[tuple[str, str, str, str, str, int, BaseGeometry]] = [
        ("node/302", "城西菜市场", "West Market", "market", "501", 720, _point(320, 600)),
        ("node/303", "汽车东站", "East Bus Station", "station", "502", 400, _point(1_100, 490)),
        ("node/304", "人民医院", "People's Hospital", "hospital", "502", 620, _point(880, 350)),
        ("node/305", "北街社区", "North Street", "community", "501", 690, _point(500, 810)),
        ("way/301", "实验小学", "Experimental School", "school", "502", 720, school),
    ]
    names = ["point_id", "name", "name_en", "kind", "subdistrict_id", "data_edge_m", "geometry"]
    table = pd.DataFrame(rows, columns=names).assign(source="osm")
    table["subdistrict_id"] = "relation/" + table["subdistrict_id"]
    return _make("points", table)


def _draw_compounds() -> gpd.GeoDataFrame:
    corner = shapely.Polygon([_at(920, 650), _at(1_100, 600), _at(1_100, 720)])
    rows: list[tuple[str, str, str, str, BaseGeometry]] = [
        ("way/201", "桂花苑", "Osmanthus Court", "501", _area(330, 540, 590, 760)),
        ("way/202", "柳岸小区", "Willow Bank", "501", _area(450, 120, 560, 260)),
        ("way/203", "东苑", "East Court", "502", shapely.MultiPolygon([corner])),
    ]
    names = ["compound_id", "name", "name_en", "subdistrict_id", "geometry"]
    table = pd.DataFrame(rows, columns=names).assign(source="osm", reason="drawn by hand")
    table["subdistrict_id"] = "relation/" + table["subdistrict_id"]
    return _make("compounds", table.assign(area_m2=[shape.area for shape in table["geometry"]]))


def _draw_toilets() -> gpd.GeoDataFrame:
    rows: list[tuple[str, str, bool, BaseGeometry]] = [
        ("node/101", "public", True, _point(400, 510)),
        ("node/102", "opened", False, _point(1_450, 600)),
        ("node/103", "closed", True, _point(880, 810)),
        ("node/104", "public", False, _point(-100, 500)),
    ]
    table = pd.DataFrame(rows, columns=["toilet_id", "status", "inside", "geometry"])
    return _make("toilets", table.assign(source="osm"))


def _draw_candidates() -> gpd.GeoDataFrame:
    rows: list[tuple[str, str, str, BaseGeometry]] = [
        ("node/401", "东风路邮局", "post_office", _point(910, 700)),
        ("node/402", "柳叶弄图书馆", "library", _point(340, 190)),
    ]
    table = pd.DataFrame(rows, columns=["candidate_id", "name", "kind", "geometry"])
    return _make("candidates", table.assign(source="osm"))


def _draw_subdistricts() -> gpd.GeoDataFrame:
    rows: list[tuple[str, str, str, BaseGeometry]] = [
        ("relation/501", "城西街道", "West", _area(0, 0, 550, 1_000)),
        ("relation/502", "城东街道", "East", _area(550, 0, 1_200, 1_000)),
    ]
    table = pd.DataFrame(rows, columns=["subdistrict_id", "name", "name_en", "geometry"])
    return _make("subdistricts", table.assign(source="osm"))


def _make(name: str, rows: Sequence[dict[str, Any]] | pd.DataFrame) -> gpd.GeoDataFrame:
    """Make a table in which what is not given is missing."""
    columns = [*tables.TABLES[name].columns, "geometry"]
    table = pd.DataFrame(rows).reindex(columns=columns)
    return tables.make(name, {column: table[column] for column in columns}, crs=_CRS)


def _node(name: str) -> str:
    return name if name.startswith("cut/") else f"node/{name}"


def _at(x: float, y: float) -> tuple[float, float]:
    return _EAST + x, _NORTH + y


def _point(x: float, y: float) -> BaseGeometry:
    return shapely.Point(_at(x, y))


def _box(west: float, south: float, east: float, north: float) -> BaseGeometry:
    return translate(shapely.box(west, south, east, north), _EAST, _NORTH)


def _area(west: float, south: float, east: float, north: float) -> BaseGeometry:
    return shapely.MultiPolygon([_box(west, south, east, north)])


def _on_globe(shape: BaseGeometry) -> BaseGeometry:
    # A straight side in metres is bent in degrees: over 100 m by less than a millimetre.
    return gpd.GeoSeries([shape.segmentize(100)], crs=_CRS).to_crs(WGS84).iloc[0]
