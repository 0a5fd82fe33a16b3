# noqa: INP001 a script, not a module of the package
"""Fetch the third-party files that a map carries in itself, and lock them by checksum.

``python .ci/update_assets.py [TARBALL ...]``: run it by hand after changing a version below. The
packages come from `npm pack`, or from tarballs of these names; each must have the integrity that
is written here. What folium asks for is listed too: its addresses change with its version.
"""

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[1] / "survey" / "outputs" / "assets"
CDN = "https://cdn.jsdelivr.net/npm"
FOLIUM = "https://cdn.jsdelivr.net/gh/python-visualization/folium/folium/templates"
CLOUD = "https://cdnjs.cloudflare.com/ajax/libs"


@dataclass(frozen=True)
class Package:
    """One package: what is taken out of it, and which addresses of a page that replaces."""

    name: str
    version: str
    licence: str
    integrity: str
    files: dict[str, str]
    replaces: dict[str, list[str]]
    needed_by: list[str] = field(default_factory=list)

    @property
    def short(self) -> str:
        """The name without the scope."""
        return self.name.rpartition("/")[2]

    @property
    def tarball(self) -> str:
        """The file that `npm pack` writes."""
        return f"{self.name.lstrip('@').replace('/', '-')}-{self.version}.tgz"


PACKAGES = (
    Package(
        "leaflet",
        "1.9.4",
        "BSD-2-Clause",
        "sha512-nxS1ynzJOmOlHp+iL3FyWqK89GtNL8U8rvlMOsQdTTssxZwCXh8N2NB3GDQOL+YR3XnWyZAxwQixURb+FA74PA==",
        {
            "leaflet.js": "dist/leaflet.js",
            "leaflet.css": "dist/leaflet.css",
            "layers.png": "dist/images/layers.png",
            "layers-2x.png": "dist/images/layers-2x.png",
            "marker-icon.png": "dist/images/marker-icon.png",
            "marker-icon-2x.png": "dist/images/marker-icon-2x.png",
            "marker-shadow.png": "dist/images/marker-shadow.png",
            "LICENSE-leaflet.txt": "LICENSE",
        },
        {
            # folium 0.20 asks for 1.9.3, which has the same interface.
            name: [f"{CDN}/leaflet@{version}/dist/{name}" for version in ("1.9.4", "1.9.3")]
            for name in ("leaflet.js", "leaflet.css")
        },
    ),
    Package(
        "jquery",
        "3.7.1",
        "MIT",
        "sha512-m4avr8yL8kmFN8psrbFFFmB/If14iN5o9nw/NgnnM+kybDJpRsAynV2BsfpTYrTRysYUdADVD7CkUUizgkpLfg==",
        {"jquery.slim.min.js": "dist/jquery.slim.min.js", "LICENSE-jquery.txt": "LICENSE.txt"},
        {"jquery.slim.min.js": ["https://code.jquery.com/jquery-3.7.1.min.js"]},
        ["$(", "jQuery"],  # folium's popups
    ),
    Package(
        "leaflet.awesome-markers",
        "2.0.5",
        "MIT",
        "sha512-Ne/xDjkGyaujwNVVkv2tyXQUV0ZW7gZ0Mo0FuQY4jp2qWrvXi0hwDBvmZyF/8YOvybyMabTMM/mFWCTd1jZIQA==",
        {
            "leaflet.awesome-markers.js": "dist/leaflet.awesome-markers.min.js",
            "leaflet.awesome-markers.css": "dist/leaflet.awesome-markers.css",
            "markers-soft.png": "dist/images/markers-soft.png",
            "markers-shadow.png": "dist/images/markers-shadow.png",
            "LICENSE-leaflet.awesome-markers.txt": "LICENSE",
        },
        {
            name: [f"{CLOUD}/Leaflet.awesome-markers/2.0.2/{name}"]
            for name in ("leaflet.awesome-markers.js", "leaflet.awesome-markers.css")
        },
        ["AwesomeMarkers"],
    ),
    Package(
        "bootstrap",
        "3.4.1",
        "MIT",
        "sha512-yN5oZVmRCwe5aKwzRj6736nSmKDX7pLYwsXiCj/EYmo16hODaBiT4En5btW/jhBF/seV+XMx3aYwukYC3A49DA==",
        {
            "glyphicons.css": "dist/css/bootstrap.css",
            "glyphicons-halflings-regular.woff2": "dist/fonts/glyphicons-halflings-regular.woff2",
            "LICENSE-bootstrap.txt": "LICENSE",
        },
        {
            "glyphicons.css": [
                "https://netdna.bootstrapcdn.com/bootstrap/3.0.0/css/bootstrap-glyphicons.css"
            ]
        },
        ["glyphicon"],
    ),
    Package(
        "@fortawesome/fontawesome-free",
        "6.2.0",
        "MIT AND CC-BY-4.0 AND OFL-1.1",
        "sha512-CNR7qRIfCwWHNN7FnKUniva94edPdyQzil/zCwk3v6k4R6rR2Fr8i4s3PM7n/lyfPA6Zfko9z5WDzFxG9SW1uQ==",
        {
            "fontawesome.min.css": "css/fontawesome.min.css",
            "solid.min.css": "css/solid.min.css",
            "fa-solid-900.woff2": "webfonts/fa-solid-900.woff2",
            "LICENSE-fontawesome-free.txt": "LICENSE.txt",
        },
        {
            name: [f"{CDN}/@fortawesome/fontawesome-free@6.2.0/css/all.min.css"]
            for name in ("fontawesome.min.css", "solid.min.css")
        },
        ['"prefix": "fa', "fa fa-", "fas fa-", "fa-solid"],
    ),
    Package(
        "d3",
        "3.5.17",
        "BSD-3-Clause",
        "sha512-yFk/2idb8OHPKkbAL8QaOaqENNoMhIaSHZerk3oQsECwkObkCpJyjYwCe+OHiq6UEdhe1m8ZGARRRO3ljFjlKg==",
        {"d3.min.js": "d3.min.js", "LICENSE-d3.txt": "LICENSE"},
        {"d3.min.js": [f"{CLOUD}/d3/3.5.5/d3.min.js"]},
        ["d3."],  # the legend of a scale of colours
    ),
)

# What folium links and its own layers do without.
LEFT_OUT = [
    f"{CDN}/bootstrap@5.2.2/dist/js/bootstrap.bundle.min.js",
    f"{CDN}/bootstrap@5.2.2/dist/css/bootstrap.min.css",
    f"{FOLIUM}/leaflet.awesome.rotate.min.css",
]


def main() -> None:
    """Write the files and their manifest."""
    given = {Path(name).name: Path(name) for name in sys.argv[1:]}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for package in PACKAGES:
            tarball = given.get(package.tarball) or _pack(package, Path(folder))
            for name, content in _take(package, tarball).items():
                (ASSETS / name).write_bytes(content)
                rows.append(
                    {
                        "file": name,
                        "package": package.short,
                        "version": package.version,
                        "licence": package.licence,
                        "sha256": hashlib.sha256(content).hexdigest(),
                        "replaces": package.replaces.get(name, []),
                        "needed_by": package.needed_by,
                    }
                )
    manifest = {"assets": rows, "left_out": LEFT_OUT}
    text = json.dumps(manifest, indent=2) + "\n"
    (ASSETS / "manifest.json").write_text(text, encoding="utf-8")


def _pack(package: Package, folder: Path) -> Path:
    command = ["npm", "pack", f"{package.name}@{package.version}", "--silent"]
    subprocess.run(command, cwd=folder, check=True)  # noqa: S603 the command is fixed above
    return folder / package.tarball


def _take(package: Package, tarball: Path) -> dict[str, bytes]:
    found = "sha512-" + b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    if found != package.integrity:
        raise SystemExit(f"{tarball.name} has the integrity {found}, not {package.integrity}")
    taken = {}
    with tarfile.open(tarball) as archive:
        for name, member in package.files.items():
            content = archive.extractfile(f"package/{member}")
            if content is None:
                raise SystemExit(f"{member} is not a file of {package.name} {package.version}")
            taken[name] = _trim(name, content.read())
    return taken


def _trim(name: str, content: bytes) -> bytes:
    """Leave out of a style sheet what would ask for files that are not carried."""
    if not name.endswith(".css"):
        return content
    text = content.decode()
    if name == "glyphicons.css":
        kept = re.finditer(r"^(?:@font-face|\.glyphicon)[^{]*\{[^}]*\}\n", text, re.MULTILINE)
        text = "".join(found[0] for found in kept)
    text = re.sub(r"@font-face\s*\{[^}]*\}", _keep_woff2, text)
    # The sharper pictures for dense screens weigh three times as much.
    return re.sub(r"/\* Retina displays \*/.*?\n\}\n", "", text, flags=re.DOTALL).encode()


def _keep_woff2(face: re.Match[str]) -> str:
    kept = re.search(r"""url\(["']?[^"')]*\.woff2["']?\) format\("woff2"\)""", face[0])
    if kept is None:
        raise SystemExit(f"no woff2 in {face[0]}")
    return re.sub(r"src:[^;}]*;?", "", face[0])[:-1].rstrip("; \n") + f";src:{kept[0]}}}"


if __name__ == "__main__":
    main()
