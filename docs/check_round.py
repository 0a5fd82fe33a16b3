"""Derive the rounds of a folder of exported CSVs again: exit 0 accepted, 1 first difference."""

import csv, hashlib, itertools, json, math, pathlib, sys


def read(name, *columns):
    with pathlib.Path(sys.argv[1], name + ".csv").open(encoding="utf-8-sig", newline="") as file:
        return [tuple(row[column] for column in columns) for row in csv.DictReader(file)]


def metres(text):
    return f"{float(text):.3f}" if text else ""


def ticket(*fields):
    return hashlib.sha256("\x1f".join(fields).encode()).hexdigest()


def chance(*fields):
    return int(ticket(*fields)[:16], 16) / 2**64


def radius_for(law, low, high, u):
    if law == "uniform":
        return round(low + (high - low) * u, 3)
    rows = [row.split("=") for row in law.partition(":")[2].split(",")]
    sums = itertools.accumulate(float(row[-1]) for row in rows[:-1])
    return float(next((row[0] for row, total in zip(rows, sums) if u < total), rows[-1][0]))


tables = {
    "points": read("points", "point_id", "kind"),
    "alleys": read("alleys", "alley_id"),
    "compounds": read("compounds", "compound_id"),
    "reach": [
        (*row[:3], *map(metres, row[3:]))
        for row in read("reach", "point_id", "layer", "unit_id", "euclid_m", "network_m")
    ],
}
rows = sorted("\x1f".join((name, *row)).encode() for name in tables for row in tables[name])
near = {}
for point, layer, unit, *distances in tables["reach"]:
    near.setdefault((point, layer), []).append((unit, *distances))
frame_hash, derived, stored = hashlib.sha256(b"\n".join(rows)).hexdigest(), [], []
for seed, name, text, claimed in read("rounds", "seed", "round_id", "design", "frame_hash"):
    design, derived, stored = (
        json.loads(text),
        [*derived, (name, frame_hash)],
        [*stored, (name, claimed)],
    )
    (low, high), law, lead = design["within_m"], design["radius"], (seed, name)
    for kind in {kind for _, kind in tables["points"]}:
        order = sorted(
            (ticket(*lead, "points", kind, p), p) for p, k in tables["points"] if k == kind
        )
        for (_, p), layer in itertools.product(
            order[: design.get("points", {}).get(kind)], ("alley", "compound")
        ):
            radius = radius_for(law, low, high, chance(*lead, p, "radius"))
            least, most = design[layer + "s"]
            count = min(
                most, least + math.floor((most - least + 1) * chance(*lead, p, layer, "count"))
            )
            far = [
                (unit, d[design["metric"] == "network"]) for unit, *d in near.get((p, layer), ())
            ]
            won = sorted(
                (ticket(*lead, p, layer, u), u)
                for u, d in far
                if d and design["min_m"] <= float(d) <= radius
            )
            derived += [
                (name, p, layer, str(slot), u, t, metres(str(radius)), str(slot > count))
                for slot, (t, u) in enumerate(won[: count and count + 5], 1)
            ]
stored += [
    (*row[:6], metres(row[6]), row[7])
    for row in read(
        "draws",
        "round_id",
        "point_id",
        "layer",
        "slot",
        "unit_id",
        "ticket",
        "radius_m",
        "replacement",
    )
]
wrong = sorted(set(stored) ^ set(derived)) or ["rows twice"] * (len(stored) != len(derived))
print(f"refused: {wrong[0]} does not follow from the tables" if wrong else "accepted")
sys.exit(bool(wrong))
