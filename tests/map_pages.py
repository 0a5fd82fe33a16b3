"""What tests ask of the page of a map: its layers, popups, legend, and where its texts stand."""

import geopandas as gpd

from paper_town import CRS

MAP = "Object.values(window).find((value) => value instanceof L.Map)"
# Look and how many features of every layer of ours that is on.
SHOWN = f"""(() => {{
    const looks = {{}};
    {MAP}.eachLayer((layer) => {{
        if (!layer.survey) return;
        const lines = layer.survey.lines;
        looks[layer.survey.look] = lines ? lines[layer.option].length : layer.paths.size;
    }});
    return looks;
}})()"""
# Texts that stand over one another, or that are cut by what holds them or by the window.
BAD_TEXTS = """() => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = [], bad = [], wrong = (how, node) => bad.push(`${how}: ${node.data}`);
    while (walker.nextNode()) {
        const node = walker.currentNode, holder = node.parentElement;
        if (!node.data.trim() || holder.closest("script, style, option, svg")) continue;
        if (getComputedStyle(holder).visibility === "hidden") continue;
        const range = document.createRange();
        range.selectNodeContents(node);
        for (const rect of range.getClientRects()) {
            if (rect.width < 1 || rect.height < 1) continue;
            let {left, top, right, bottom} = rect, gone = false;
            for (let box = holder; box && box !== document.body; box = box.parentElement) {
                const style = getComputedStyle(box);
                if (style.overflowX === "visible" && style.overflowY === "visible") continue;
                const edge = box.getBoundingClientRect();
                // What a reader can scroll to is not lost.
                const rolls = /auto|scroll/.test(style.overflowY);
                if (rolls && (bottom > edge.bottom || top < edge.top)) gone = true;
                else if (right > edge.right + 1 || left < edge.left - 1
                    || bottom > edge.bottom + 2 || top < edge.top - 2) wrong("cut", node);
            }
            if (gone) continue;
            if (left < -1 || right > innerWidth + 1 || top < -1 || bottom > innerHeight + 1)
                wrong("outside", node);
            found.push({left, top: top + 2, right, bottom: bottom - 2, node});
        }
    }
    for (const [i, a] of found.entries()) for (const b of found.slice(i + 1)) {
        if (a.node === b.node) continue;
        if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom && b.top < a.bottom)
            bad.push(`over: ${a.node.data} | ${b.node.data}`);
    }
    return [found.length, bad];
}"""


def click_at(page, place):
    """Click where the map shows a position."""
    degrees = gpd.GeoSeries([place], crs=CRS).to_crs(4326).iloc[0]
    x, y = page.evaluate(
        f"""([lat, lon]) => {{
            const map = {MAP}, box = map.getContainer().getBoundingClientRect();
            const at = map.latLngToContainerPoint([lat, lon]);
            return [box.x + at.x, box.y + at.y];
        }}""",
        [degrees.y, degrees.x],
    )
    page.mouse.move(x, y)
    page.mouse.click(x, y)


def list_legend(page):
    """List the entries of the legend, and whether they are on."""
    entries = page.locator(".survey-entry > label")
    return {one.inner_text().strip(): one.locator("input").is_checked() for one in entries.all()}


def tick(page, label):
    """Click the box of the legend whose label begins so."""
    page.locator(".survey-entry > label", has_text=label).first.click()


def read_popup(page):
    """Read the open popup: its title, its facts, the rows of its table, what to check."""
    box = page.locator(".leaflet-popup").last
    box.wait_for()
    terms, texts = box.locator("dt").all_inner_texts(), box.locator("dd").all_inner_texts()
    rows = [row.split("\t") for row in box.locator("tr").all_inner_texts()]
    return box.locator("h2").inner_text(), dict(zip(terms, texts, strict=True)), rows[1:]


def open_popup(page, style, word):
    """Open the popup of the first feature of a style that has a line with this text."""
    page.evaluate(
        f"""([style, word]) => {{
            const found = [];
            {MAP}.eachLayer((layer) => {{
                const fact = layer.feature && layer.feature.properties;
                if (fact && layer.getPopup() && fact.style === style && fact.values.includes(word))
                    found.push(layer);
            }});
            found[0].openPopup();
        }}""",
        [style, word],
    )
    return read_popup(page)
