"""Where data comes from: areas, OpenStreetMap, the user's own files, datums."""
