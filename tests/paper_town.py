"""A small Chinese town on paper, with a draw, an audit, odds and distances."""

from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pandas as pd
from shapely.geometry import LineString, MultiLineString, MultiPolygon, Point, box

from survey.sources.area import Area
from survey.tables import make

CRS = "EPSG:32650"
WEST, SOUTH = 667_000, 3_546_000
HOSTILE = (
    '{}<img src=x onerror="window.__pwned=1;alert(1)">\'"`${{window.__pwned=2}}{{{{ 7*7 }}}}'
    "{{% if %}}{{# #}}</script><script>window.__pwned=3</script><!--\u2028\u2029"
    "http://evil.example/ //evil.example\\u003c &lt;b&gt; ]]> @import url(http://evil.example)"
)


def at(x, y):
    return Point(WEST + x, SOUTH + y)


def line(*places):
    return LineString([(WEST + x, SOUTH + y) for x, y in places])


def area(x, y, width, height):
    return MultiPolygon([box(WEST + x, SOUTH + y, WEST + x + width, SOUTH + y + height)])


def town_streets(text):
    """Make a grid of ten by ten streets, 120 m apart, 1,100 m long."""
    rows = []
    for n in range(10):
        highway = ("primary", "residential", "tertiary", "footway", "living_street")[n % 5]
        at_m = 10 + 120 * n
        for way, shape in (
            (f"way/{100 + n}", line((0, at_m), (550, at_m + 8), (1100, at_m))),
            (f"way/{200 + n}", line((at_m, 0), (at_m - 5, 500), (at_m, 1100))),
        ):
            rows.append(
                (f"{way}:0", f"{way}-a", f"{way}-b", way, f"中山{way[4:]}路", highway, shape)
            )
    columns = dict(
        zip(
            ("edge_id", "u", "v", "way_id", "name", "highway", "geometry"),
            zip(*rows, strict=True),
            strict=True,
        )
    )
    edges = {
        name: [text(cell) for cell in cells] if name not in ("geometry", "highway") else list(cells)
        for name, cells in columns.items()
    }
    flags = dict.fromkeys(("walkable", "public", "inside"), [True] * len(rows))
    missing = dict.fromkeys(("level", "alley_id"), [None] * len(rows))
    lengths = [round(shape.length, 3) for shape in edges["geometry"]]
    return make("edges", edges | flags | missing | {"length_m": lengths}, crs=CRS)


def make_town(text=str):
    """Make the frame; `text` is applied to every text that comes from outside."""
    kinds = ("market", "mall", "school", "hospital", "station", "community")
    names = ("夫子庙农贸市场", "新街口百货", "南京市第五中学", "鼓楼医院", "三山街站", "评事街社区")
    shapes = [
        at(130, 250),
        at(620, 140),
        area(380, 640, 150, 90),
        at(860, 860),
        at(500, 380),
        at(980, 500),
    ]
    points = {
        "point_id": [text(f"node/{n}") for n in range(6)],
        "name": [text(name) for name in names],
        "name_en": [text("Fuzimiao Market"), *[None] * 5],
        "kind": kinds,
        "subdistrict_id": [text("relation/1"), text("relation/2")] * 3,
        "source": [text("osm")] * 6,
        "data_edge_m": [900.0] * 6,
        "geometry": shapes,
    }
    alleys = {
        "alley_id": [text("alley/201"), text("alley/206"), text("alley/104")],
        "name": [text("评事街"), text("绫庄巷"), None],
        "name_en": [None, text("Lingzhuang Alley"), None],
        "highway": [text("residential"), text("living_street"), None],
        "length_m": [400.25, 300.0, 250.0],
        "subdistrict_id": [text("relation/1"), None, text("relation/9")],
        "source": [text("osm")] * 3,
        "reason": [text("residential, 巷")] * 3,
        "geometry": [
            MultiLineString([line((130, 10), (126, 410))]),
            MultiLineString([line((727, 250), (727, 400)), line((727, 420), (727, 570))]),
            MultiLineString([line((500, 498), (750, 496))]),
        ],
    }
    compounds = {
        "compound_id": [text("way/900"), text("way/901")],
        "name": [text("金陵小区"), None],
        "name_en": [None, None],
        "area_m2": [8000.0, 9000.0],
        "subdistrict_id": [text("relation/1"), None],
        "source": [text("osm"), text("derived")],
        "reason": [text("landuse=residential")] * 2,
        "geometry": [area(150, 270, 80, 100), area(870, 630, 90, 100)],
    }
    toilets = {column: [None] * 3 for column in ("access", "fee", "wheelchair", "signed", "level")}
    toilets |= {
        "toilet_id": [text(f"node/{n}") for n in (50, 51, 52)],
        "name": [text("评事街公厕"), None, text("商场内卫生间")],
        "status": ["public", "opened", "closed"],
        "opening_hours": [text("07:00-22:00"), None, None],
        "source": [text("osm")] * 3,
        "inside": [True] * 3,
        "geometry": [at(130, 420), at(600, 260), at(640, 145)],
    }
    candidates = {
        "candidate_id": [text("way/70")],
        "name": [text("街道办事处")],
        "kind": [text("townhall")],
        "source": [text("osm")],
        "geometry": [at(300, 900)],
    }
    subdistricts = {
        "subdistrict_id": [text("relation/1"), text("relation/2")],
        "name": [text("秦淮街道"), text("鼓楼街道")],
        "name_en": [None, None],
        "source": [text("osm")] * 2,
        "geometry": [area(0, 0, 555, 1100), area(555, 0, 545, 1100)],
    }
    square = gpd.GeoSeries([area(20, 20, 1060, 1060)], crs=CRS).to_crs(4326).iloc[0]
    quality = {
        "scope": ["city", text("node/4"), text("node/4"), text("way/901"), text("relation/77")],
        "measure": ["area", "few_alleys", "few_compounds", "without_door", "cut_open"],
        "value": [1.1, 1.0, 0.0, np.nan, np.nan],
        "unit": ["km2", None, None, None, None],
        "verdict": ["info", "look", "look", "look", "look"],
        "note": [None, None, None, "compound", text("玄武区 cut open at the edge")],
    }
    return SimpleNamespace(
        area=Area(square, text("老城南")),
        source={"osm": {"path": text("town.osm"), "osm_date": "2026-01-02T03:04:05Z"}},
        quality=make("quality", quality),
        name="",
        streets=SimpleNamespace(edges=town_streets(text)),
        points=make("points", points, crs=CRS),
        alleys=make("alleys", alleys, crs=CRS),
        compounds=make("compounds", compounds, crs=CRS),
        toilets=make("toilets", toilets, crs=CRS),
        candidates=make("candidates", candidates, crs=CRS),
        subdistricts=make("subdistricts", subdistricts, crs=CRS),
    )


def make_reach(text=str):
    rows = [
        ("node/0", "alley", "alley/201", 3.0, 5.0),
        ("node/1", "alley", "alley/201", 480.0, 733.0),
        ("node/2", "alley", "alley/201", 310.0, np.nan),
        ("node/2", "compound", "way/900", 300.0, 412.0),
    ]
    points, layers, units, euclid, network = zip(*rows, strict=True)
    return make(
        "reach",
        {
            "point_id": [text(point) for point in points],
            "layer": layers,
            "unit_id": [text(unit) for unit in units],
            "euclid_m": euclid,
            "network_m": network,
        },
    )


def make_draw(text=str):
    rounds = {
        "round_id": [text("2026-Q3"), text("2026-Q4")],
        "seed": [text("上月种子"), text("见证人种子")],
        "design": ["{}", "{}"],
        "frame_hash": [text("ab" * 32)] * 2,
    }
    rows = [
        ("2026-Q3", "node/0", "alley", 1, "alley/206", False),
        ("2026-Q4", "node/0", "alley", 1, "alley/201", False),
        ("2026-Q4", "node/1", "alley", 2, "alley/201", True),
        ("2026-Q4", "node/1", "alley", 3, "alley/206", True),
        ("2026-Q4", "node/2", "compound", 1, "way/900", False),
    ]
    names = ("round_id", "point_id", "layer", "slot", "unit_id", "replacement")
    draws = dict(zip(names, zip(*rows, strict=True), strict=True))
    for name in ("round_id", "point_id", "unit_id"):
        draws[name] = [text(cell) for cell in draws[name]]
    draws |= {"ticket": ["00ff"] * 5, "radius_m": [900.0, 1234.5, 800.0, 800.0, 1600.0]}
    return SimpleNamespace(rounds=make("rounds", rounds), draws=make("draws", draws))


def make_audit(text=str):
    summary = {
        "rule_id": [text("walk-500"), text("crow-500")],
        "title": [text("沿路步行 500 米 · 500 m on foot"), text("直线 500 米 · 500 m straight")],
        "metric": ["walk", "crow"],
        "facility": ["toilet"] * 2,
        "on": ["streets"] * 2,
        "limit_m": [500.0, 500.0],
        "checked_m": [22_000.0] * 2,
        "covered_m": [20_000.0, 21_500.0],
        "checked_n": [np.nan] * 2,
        "covered_n": [np.nan] * 2,
        "share": [0.909, 0.977],
        "near_edge_gap_m": [200.0, 0.0],
        "unconnected_gap_m": [100.0, 0.0],
        "share_high": [0.918, 0.977],
        "met": [False, False],
    }
    gaps = {
        "gap_id": [text("walk-500/1"), text("walk-500/2"), text("crow-500/1")],
        "rule_id": [text("walk-500")] * 2 + [text("crow-500")],
        "stretch_id": [text("s1"), text("s2"), text("s3")],
        "edge_id": [text("way/109:0"), text("way/209:0"), text("way/109:0")],
        "toilet_id": [text("node/51"), None, text("node/51")],
        "name": [text("中山109路"), None, text("中山109路")],
        "subdistrict_id": [text("relation/2"), None, None],
        "from_m": [0.0] * 3,
        "to_m": [450.0, 300.0, 250.0],
        "length_m": [450.0, 300.0, 250.0],
        "worst_m": [812.4, np.nan, 640.0],
        "near_edge": [False, True, False],
        "geometry": [
            line((600, 1094), (1050, 1091)),
            line((1088, 100), (1087, 400)),
            line((800, 1094), (1050, 1091)),
        ],
    }
    covered = {
        "rule_id": [text("walk-500"), text("crow-500")],
        "edge_id": [text("way/100:0")] * 2,
        "toilet_id": [text("node/50")] * 2,
        "from_m": [0.0] * 2,
        "to_m": [550.0, 800.0],
        "length_m": [550.0, 800.0],
        "worst_m": [480.0] * 2,
        "geometry": [line((0, 10), (550, 18)), line((0, 10), (550, 18), (800, 14))],
    }
    return SimpleNamespace(
        summary=make("audit", summary),
        gaps=make("gaps", gaps, crs=CRS),
        covered=make("covered", covered, crs=CRS),
        shares=None,
    )


def make_after(text=str):
    """Audit walk-500 once more, with the sites: one gap is left."""
    audit = make_audit(text)
    mine = audit.summary["rule_id"] == text("walk-500")
    summary = audit.summary[mine].assign(covered_m=21_000.0, share=0.955, share_high=0.955)
    gaps = audit.gaps[audit.gaps["gap_id"] == text("walk-500/1")]
    covered = audit.covered[audit.covered["rule_id"] == text("walk-500")]
    return SimpleNamespace(summary=summary, gaps=gaps, covered=covered, shares=None)


def make_sites(text=str):
    """Open the candidate and build one more."""
    sites = {
        "rule_id": [text("walk-500")] * 2,
        "rank": [1, 2],
        "action": ["open", "build"],
        "candidate_id": [text("way/70"), None],
        "gain_m": [800.0, 200.0],
        "total_share": [0.94, 0.955],
        "cost": [1.0, 10.0],
        "compounds": [1, 0],
        "points": [2, 0],
        "geometry": [at(300, 900), at(900, 900)],
    }
    return make("sites", sites, crs=CRS)


def make_mocks(text=str):
    """Make a mock round of a named alley and, in reserve, a compound."""
    mocks = {
        "mock_id": [text("2026-M1")] * 2,
        "layer": ["alley", "compound"],
        "slot": [1, 2],
        "unit_id": [text("alley/206"), text("way/900")],
        "method": ["local_pivotal"] * 2,
        "seed": [text("模拟种子")] * 2,
        "prob": [0.4, 0.4],
        "replacement": [False, True],
    }
    return make("mocks", mocks)


def make_catchments(text=str):
    """Make squares for catchments; on foot half as wide as in a straight line."""
    places = {"node/0": (130, 250), "node/1": (620, 140), "node/2": (455, 685)}
    rows = [
        (text(point), metric, radius, area(x - half, y - half, 2 * half, 2 * half))
        for point, (x, y) in places.items()
        for radius in (500.0, 1000.0, 2000.0)
        for metric, half in (("network", radius / 2), ("euclid", radius))
    ]
    points, metrics, radii, shapes = zip(*rows, strict=True)
    columns = {"point_id": points, "metric": metrics, "radius_m": radii, "geometry": shapes}
    return make("catchments", columns | {"area_m2": [one.area for one in shapes]}, crs=CRS)


def make_priorities(text=str, chosen=()):
    """Rank the three alleys and the named compound; `chosen` holds ranks."""
    rows = [
        (1, "alley", "alley/201", 0.25, 0.4321, 0.25, 0.75, 0.3241, 0.1875, 0.5625, 1200.0),
        (2, "compound", "way/900", 0.4, 0.1, 0.05, 0.2, 0.06, 0.03, 0.12, 12.5),
        (3, "alley", "alley/206", 0.5, 0.0123, 0.0, 0.0456, 0.0062, 0.0, 0.0228, np.nan),
        (4, "alley", "alley/104", 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    ]
    names = "rank layer unit_id condition prob prob_low prob_high risk risk_low risk_high cost"
    table = pd.DataFrame(rows, columns=names.split())
    return table.assign(
        unit_id=table["unit_id"].map(text), near_edge=False, chosen=table["rank"].isin(chosen)
    )


def make_tables(text=str):
    """Make all that a map can show beside the frame."""
    return {
        "draw": make_draw(text),
        "odds": make_odds(text),
        "audit": make_audit(text),
        "reach": make_reach(text),
        "catchments": make_catchments(text),
        "priorities": make_priorities(text),
        "sites": make_sites(text),
        "after": make_after(text),
        "mocks": make_mocks(text),
    }


def make_odds(text=str):
    rows = [
        ("alley", "alley/104", 0.0, 0.0, 0, 0.0, 0.0, False),
        ("alley", "alley/201", 0.4321, 0.5, 2, 0.25, 0.75, True),
        ("alley", "alley/206", 0.0123, 0.0124, 1, 0.0, 0.0456, False),
        ("compound", "way/900", 0.1, 0.1, 1, 0.05, 0.2, False),
        ("compound", "way/901", 0.0, 0.0, 0, 0.0, 0.0, True),
    ]
    names = ("layer", "unit_id", "prob", "expected_visits", "points", "prob_low", "prob_high")
    table = pd.DataFrame(rows, columns=[*names, "near_edge"])
    return table.assign(unit_id=table["unit_id"].map(text))


def hostile(text):
    return HOSTILE.format(text)
