// Online tiles, switched off until someone asks for them. Tiles in GCJ-02 are put where they
// belong; what lies above them is never moved.
//
//   var tiles = surveyTiles(spec);   // a layer group, with `survey` for the legend of the page
//   surveyTiles.toGcj(lon, lat);     // the same formulas as Python's
//   surveyTiles.fromGcj(lon, lat);
var surveyTiles = (function () {
  "use strict";

  var AXIS_M = 6378245;
  var ECCENTRICITY2 = 0.00669342162296594323;
  var SPARE_PX = 4;       // the offset is no straight function between the corners of a view
  var NAMES = "surveyNames";
  var SAID = {
    ask: ["这个底图需要您的密钥；它只留在内存中，不写入文件",
      "These tiles need your token; it stays in memory and is not written anywhere"],
    disk: ["这个瓦片服务不接受从磁盘打开的页面：请把文件放到网站上，或换一个来源",
      "These tile servers refuse pages that were opened from disk: put the file on a web server, or use another source"],
    failed: ["瓦片没有取到：请检查网络、密钥和服务条款", "No tile came: check the network, the token and the service's terms"],
    token: ["密钥", "Token"],
    use: ["使用", "Use"],
  };

  // -- the datum ------------------------------------------------------------------------------

  function inBox(place) {
    return place[0] >= 72.004 && place[0] <= 137.8347 && place[1] >= 0.8293 && place[1] <= 55.8271;
  }

  function offset(lon, lat) {
    var x = lon - 105, y = lat - 35, pi = Math.PI, sin = Math.sin;
    var waves = (20 * sin(6 * pi * x) + 20 * sin(2 * pi * x)) * 2 / 3;
    var root = Math.sqrt(Math.abs(x));
    var east = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root + waves;
    east += (20 * sin(pi * x) + 40 * sin(pi * x / 3)) * 2 / 3;
    east += (150 * sin(pi * x / 12) + 300 * sin(pi * x / 30)) * 2 / 3;
    var north = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root + waves;
    north += (20 * sin(pi * y) + 40 * sin(pi * y / 3)) * 2 / 3;
    north += (160 * sin(pi * y / 12) + 320 * sin(pi * y / 30)) * 2 / 3;
    var phi = lat * pi / 180;
    var w2 = 1 - ECCENTRICITY2 * sin(phi) * sin(phi);
    var parallel = AXIS_M / Math.sqrt(w2) * Math.cos(phi);
    var meridian = AXIS_M * (1 - ECCENTRICITY2) / Math.pow(w2, 1.5);
    return [lon + east / parallel * 180 / pi, lat + north / meridian * 180 / pi];
  }

  function undo(lon, lat) {
    var found = [lon, lat];
    for (var i = 0; i < 20; i++) {
      var there = offset(found[0], found[1]), x = lon - there[0], y = lat - there[1];
      found = [found[0] + x, found[1] + y];
      if (Math.abs(x) < 1e-12 && Math.abs(y) < 1e-12) break;
    }
    return found;
  }

  function toGcj(lon, lat) {
    return inBox([lon, lat]) ? offset(lon, lat) : [lon, lat];
  }

  function fromGcj(lon, lat) {
    var found = undo(lon, lat);
    return inBox(found) ? found : [lon, lat];
  }

  // Each tile is moved by itself: the offset grows by up to 6 in 1000, several pixels on a screen.
  // Its edges are those of its neighbours, so that no seam opens.
  var Moved = L.TileLayer.extend({
    _placeTile: function (coords) {
      var map = this._map, size = this.getTileSize(), zoom = coords.z;
      var at = function (x, y) { return map.unproject(L.point(x, y).scaleBy(size), zoom); };
      var middle = at(coords.x + 0.5, coords.y + 0.5);
      if (!inBox(undo(middle.lng, middle.lat))) {
        return L.bounds(coords.scaleBy(size), coords.add([1, 1]).scaleBy(size));
      }
      var corner = function (x, y) {
        var gcj = at(coords.x + x, coords.y + y), place = undo(gcj.lng, gcj.lat);
        return map.project([place[1], place[0]], zoom);
      };
      var nw = corner(0, 0), ne = corner(1, 0), sw = corner(0, 1), se = corner(1, 1);
      return L.bounds(
        L.point((nw.x + sw.x) / 2, (nw.y + ne.y) / 2).round(),
        L.point((ne.x + se.x) / 2, (sw.y + se.y) / 2).round()
      );
    },
    _getTilePos: function (coords) {
      return this._placeTile(coords).min.subtract(this._level.origin);
    },
    _addTile: function (coords, container) {
      L.TileLayer.prototype._addTile.call(this, coords, container);
      var tile = this._tiles[this._tileCoordsToKey(coords)].el, size = this._placeTile(coords).getSize();
      tile.style.width = size.x + "px";
      tile.style.height = size.y + "px";
    },
    _getTiledPixelBounds: function (center) {
      var view = L.TileLayer.prototype._getTiledPixelBounds.call(this, center);
      var map = this._map, zoom = this._tileZoom;
      var corners = [view.min, view.max, view.getBottomLeft(), view.getTopRight()].map(function (corner) {
        var place = map.unproject(corner, zoom), gcj = toGcj(place.lng, place.lat);
        return map.project([gcj[1], gcj[0]], zoom);
      });
      var moved = L.bounds(corners);
      return L.bounds(moved.min.subtract([SPARE_PX, SPARE_PX]), moved.max.add([SPARE_PX, SPARE_PX]));
    },
  });

  // -- the page -------------------------------------------------------------------------------

  function make(tag, className, text) {
    var node = document.createElement(tag);
    if (className) node.className = className;
    if (text) node.textContent = text;
    return node;
  }

  // In a page of two languages the style sheet shows one; elsewhere both stand there.
  function say(tag, pair) {
    var node = make(tag), zh = make("span", "zh", pair[0]), en = make("span", "en", pair[1]);
    zh.lang = "zh-CN";
    en.lang = "en";
    node.append(zh, " ", en);
    return node;
  }

  var Tiles = L.LayerGroup.extend({
    initialize: function (spec) {
      L.LayerGroup.prototype.initialize.call(this, []);
      this.survey = {label: spec.label, show: false};
      this._spec = spec;
      this._token = spec.token;
    },

    onAdd: function (map) {
      L.LayerGroup.prototype.onAdd.call(this, map);
      if (this._spec.referer && location.protocol === "file:") this._tell(SAID.disk, false);
      else if (this._spec.asks && !this._token) this._tell(SAID.ask, true);
      else this._start();
    },

    onRemove: function (map) {
      this._quiet();
      this._credit(map, false);
      this._hideNames(map, false);
      L.LayerGroup.prototype.onRemove.call(this, map);
      this.clearLayers();
    },

    _start: function () {
      var group = this, spec = this._spec, token = encodeURIComponent(this._token || "");
      var came = 0;
      this._quiet();
      spec.addresses.forEach(function (address, n) {
        var Kind = spec.datum === "gcj02" ? Moved : L.TileLayer;
        var options = {maxZoom: 20, maxNativeZoom: spec.zoom, zIndex: 2 + n, token: token,
          referrerPolicy: "strict-origin-when-cross-origin"};
        var tiles = new Kind(address, options);
        tiles.on("tileload", function () {
          if (came++) return;
          group._quiet();
          group._hideNames(group._map, true);
        });
        tiles.on("tileerror", function () {
          if (!came) group._tell(SAID.failed, spec.asks);
        });
        group.addLayer(tiles);
      });
      this._credit(this._map, true);
    },

    // The names of the background, as long as there are those of the tiles.
    _hideNames: function (map, hide) {
      if (map.getPane(NAMES)) map.getPane(NAMES).style.display = hide ? "none" : "";
    },

    _credit: function (map, on) {
      if (!this._credited) {
        this._credited = make("span", "survey-tiles-credit");
        var link = make(this._spec.link ? "a" : "span", "", this._spec.credit);
        if (this._spec.link) link.href = this._spec.link;
        this._credited.append(link);
      }
      var foot = document.querySelector(".survey-foot");
      if (foot && on) foot.append(this._credited);
      else if (foot) this._credited.remove();
      else if (map.attributionControl) {
        map.attributionControl[on ? "addAttribution" : "removeAttribution"](this._credited.innerHTML);
      }
    },

    _quiet: function () {
      if (this._told) this._told.remove();
      this._told = null;
    },

    _tell: function (words, asks) {
      if (this._told) return;
      var box = make("div", "survey-tiles");
      box.setAttribute("role", "status");
      box.style.cssText = "max-width: 260px; padding: 6px 10px; background: #fff; border-radius: 4px;"
        + " box-shadow: 0 1px 4px rgba(0, 0, 0, .4); font-size: 13px";
      box.append(say("div", words));
      if (asks) box.append(this._asking());
      L.DomEvent.disableClickPropagation(box);
      L.DomEvent.on(box, "keydown", L.DomEvent.stopPropagation);
      this._told = L.control({position: "bottomright"});
      this._told.onAdd = function () { return box; };
      this._told.addTo(this._map);
    },

    _asking: function () {
      var group = this, label = say("label", SAID.token), input = make("input"), use = say("button", SAID.use);
      var go = function () {
        if (!input.value.trim()) return;
        group._token = input.value.trim();
        group.clearLayers();
        group._start();
      };
      input.type = "password";
      input.autocomplete = "off";
      input.style.cssText = "display: block; width: 100%; box-sizing: border-box; margin: 2px 0 6px";
      label.append(input);
      use.type = "button";
      use.addEventListener("click", go);
      input.addEventListener("keydown", function (event) { if (event.key === "Enter") go(); });
      var part = make("div");
      part.append(label, use);
      return part;
    },
  });

  return Object.assign(function (spec) { return new Tiles(spec); }, {toGcj: toGcj, fromGcj: fromGcj});
})();
