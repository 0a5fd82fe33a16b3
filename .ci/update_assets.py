# noqa: INP001 a script, not a module of the package
"""Fetch the third-party files that a map carries in itself, and lock them by checksum.

Run it by hand after changing a version below; it needs npm and a connection to its registry.
"""

import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[1] / "survey" / "outputs" / "assets"
PACKAGE, VERSION, LICENCE = "leaflet", "1.9.4", "BSD-2-Clause"
CDN = "https://cdn.jsdelivr.net/npm/leaflet"
FILES = {
    "leaflet.js": "package/dist/leaflet.js",
    "leaflet.css": "package/dist/leaflet.css",
    "layers.png": "package/dist/images/layers.png",
    "layers-2x.png": "package/dist/images/layers-2x.png",
    "marker-icon.png": "package/dist/images/marker-icon.png",
    "LICENSE-leaflet.txt": "package/LICENSE",
}
REPLACES = {
    # folium 0.20 asks for 1.9.3, which has the same interface.
    name: [f"{CDN}@{version}/dist/{name}" for version in (VERSION, "1.9.3")]
    for name in ("leaflet.js", "leaflet.css")
}


def main() -> None:
    """Write the files and their manifest."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", f"{PACKAGE}@{VERSION}", "--silent"]
        subprocess.run(command, cwd=folder, check=True)  # noqa: S603 the command is fixed above
        with tarfile.open(Path(folder, f"{PACKAGE}-{VERSION}.tgz")) as archive:
            contents = {name: _read(archive, member) for name, member in FILES.items()}
    for name, content in contents.items():
        (ASSETS / name).write_bytes(content)
    manifest = [
        {
            "file": name,
            "package": PACKAGE,
            "version": VERSION,
            "licence": LICENCE,
            "sha256": hashlib.sha256(content).hexdigest(),
            "replaces": REPLACES.get(name, []),
        }
        for name, content in contents.items()
    ]
    text = json.dumps(manifest, indent=2) + "\n"
    (ASSETS / "manifest.json").write_text(text, encoding="utf-8")


def _read(archive: tarfile.TarFile, member: str) -> bytes:
    content = archive.extractfile(member)
    if content is None:
        raise SystemExit(f"{member} is not a file of {PACKAGE} {VERSION}")
    return content.read()


if __name__ == "__main__":
    main()
