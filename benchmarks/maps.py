"""Opening and moving a map of a big city in a browser, beside a plain folium map of its streets."""

import shutil
import tempfile
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

WANTED = 100_000
MONACO = Path(__file__).resolve().parents[1] / "data" / "monaco.osm.pbf"
SHIFT_M = 40
BROWSER_START_MS = 2000  # a browser that has just been started is busy with itself
ARGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")

# The first view is painted once the script has run, two frames have passed and no tile waits.
READY = """() => new Promise((done) => {
  const layers = [];
  Object.values(window).forEach((one) => { if (one instanceof L.GridLayer) layers.push(one); });
  const look = (n) => requestAnimationFrame(() =>
    n > 1 && !layers.some((one) => one.isLoading()) ? done(performance.now()) : look(n + 1));
  look(0);
})"""
WATCH = """(zoom) => {
  const map = Object.values(window).find((one) => one instanceof L.Map);
  if (zoom) map.setZoom(zoom, {animate: false});
  window.times = [];
  window.watching = true;
  const look = (now) => {
    window.times.push(now);
    if (window.watching) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}"""
TOLD = """() => {
  window.watching = false;
  return window.times.slice(1).map((now, i) => now - window.times[i]);
}"""


def make_city() -> tuple[Any, Any]:
    """Lay copies of Monaco side by side until there are enough streets and buildings."""
    import geopandas as gpd
    import pandas as pd

    import survey
    from survey.outputs.ground import find_ground

    osm = survey.read_extract(MONACO, survey.find_area(extract=MONACO))
    frame = survey.build_frame(osm)
    edges, ground = frame.streets.edges, find_ground(osm.features)
    buildings = ground[ground["kind"] == "building"]
    west, south, east, north = frame.area.shape.bounds
    copies = -(-WANTED // len(edges))
    columns = int(copies**0.5)

    def lay(table: Any, layers: int) -> Any:
        shifts = [
            ((n % columns) * (east - west) + k * SHIFT_M, n // columns * (north - south))
            for k in range(layers)
            for n in range(copies)
        ]
        tables = [table.assign(geometry=table.geometry.translate(*shift)) for shift in shifts]
        return gpd.GeoDataFrame(pd.concat(tables, ignore_index=True), crs=table.crs)

    # There are fewer buildings than streets here: they stand several times on the same ground.
    many = lay(buildings, -(-WANTED // (copies * len(buildings)))).head(WANTED)
    rest = lay(ground[ground["kind"] != "building"], 1)
    streets = SimpleNamespace(edges=lay(edges, 1).head(WANTED))
    city = SimpleNamespace(
        streets=streets, alleys=frame.alleys, compounds=lay(frame.compounds, 1), area=frame.area
    )
    return city, gpd.GeoDataFrame(pd.concat([many, rest], ignore_index=True), crs=edges.crs)


def write_pages(folder: Path) -> dict[str, Path]:
    """Write the map of the city, and a plain folium map of the same streets."""
    import folium

    from survey.outputs.background import make_background
    from survey.outputs.offline import save_offline

    city, ground = make_city()
    streets = city.streets.edges.to_crs(4326)
    centre = streets.total_bounds.reshape(2, 2).mean(axis=0)[::-1].tolist()
    layers = {
        "survey": make_background(city, ground=ground),
        "folium.GeoJson": folium.GeoJson(streets),
    }
    pages = {}
    for name, layer in layers.items():
        page = folium.Map(centre, zoom_start=13, tiles=None)
        layer.add_to(page)
        pages[name] = save_offline(page, folder / f"{name}.html")
    return pages


def measure_page(path: Path, *, zooms: tuple[int, ...]) -> tuple[float, dict[int, list[float]]]:
    """Open a page; answer the seconds until it is ready, and the frames while it is dragged."""
    from playwright.sync_api import sync_playwright

    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=browser,
            args=ARGS,
            offline=True,
            viewport={"width": 1280, "height": 800},
        )
        page = context.new_page()
        page.set_default_timeout(600_000)
        page.wait_for_timeout(BROWSER_START_MS)
        page.goto(path.as_uri(), timeout=600_000)
        ready_s = page.evaluate(READY) / 1000
        frames = {}
        for zoom in zooms:
            page.evaluate(WATCH, zoom)
            page.evaluate(READY)
            for _ in range(3):
                page.mouse.move(1000, 600)
                page.mouse.down()
                page.mouse.move(300, 200, steps=60)
                page.mouse.up()
            frames[zoom] = page.evaluate(TOLD)
        context.close()
    return ready_s, frames


def bench_maps(runs: int) -> list[str]:
    """Open and drag the map of a city of 100,000 streets and 100,000 buildings."""
    with tempfile.TemporaryDirectory() as name:
        pages = write_pages(Path(name))
        size = {side: path.stat().st_size / 1e6 for side, path in pages.items()}
        ready: dict[str, list[float]] = {side: [] for side in pages}
        frames: dict[int, list[float]] = {13: [], 15: [], 17: []}
        for _ in range(runs):
            for side, path in pages.items():
                zooms = tuple(frames) if side == "survey" else ()
                seconds, seen = measure_page(path, zooms=zooms)
                ready[side].append(seconds)
                for zoom, times in seen.items():
                    frames[zoom] += times
    said = f"{WANTED:,} streets (copies of Monaco side by side), ours with {WANTED:,} buildings too"
    lines = [
        f"{said}; medians of {runs} run(s).\n",
        "| page | MB | opened to painted, s | ratio |\n|---|--:|--:|--:|",
    ]
    ours = median(ready["survey"])
    for side, seconds in ready.items():
        middle = median(seconds)
        lines.append(f"| {side} | {size[side]:.1f} | {middle:.2f} | {middle / ours:.1f} |")
    lines += [
        "\nFrames while ours is dragged with the mouse, in milliseconds (16.7 is 60 a second):\n",
        "| zoom | frames | median | 95 of 100 below | longest |\n|--:|--:|--:|--:|--:|",
    ]
    for zoom, times in frames.items():
        ordered = sorted(times)
        high = ordered[int(0.95 * len(ordered))]
        cells = (median(ordered), high, ordered[-1])
        lines.append(f"| {zoom} | {len(times)} | " + " | ".join(f"{ms:.1f}" for ms in cells) + " |")
    return lines
