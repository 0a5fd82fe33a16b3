// The quiet background of a map: packed shapes painted on canvas tiles, and names on one canvas
// above them, none over another and none cut. Names are drawn as text, never written as HTML.
//
//   var background = surveyBackground(packed).addTo(map);
//   background.setLanguage("en");       // names in English where there are any; "zh": as on site
//   background.setObstacles(ask);       // ask() lists boxes [left, top, right, bottom] in pixels
//                                       // of the map's container where no name may stand
//   background.placeNames();            // after obstacles moved; views do it by themselves
//   background.labels();                // the names that stand: text, x, y, width, height, angle
//   background.on("names", tell);       // fired whenever names were placed
var surveyBackground = (function () {
  "use strict";

  var LAND = "#f5f4f0";
  var HALO = "rgba(250, 249, 246, 0.9)";
  var FONT = '"PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "Source Han Sans SC", sans-serif';
  var SCALE = 1e5;
  var FRAME_MS = 9;       // of the 16 between two frames
  var FIRST_MS = 400;     // before anything can be seen nothing can stall
  var HAN = /^[\u3400-\u9fff\uf900-\ufaff]+$/;
  var STEEP = Math.PI / 180 * 55;
  var PRINT_RATIO = 3;    // pixels of a canvas to one of the page, on paper

  // Below its zoom `from` a kind is not painted. Widths are in pixels by zoom, with straight lines
  // between; from `casing` on a street is a white band with an edge, before that one grey line.
  var SHAPES = {
    green: {from: 9, fill: "#e0e9d5"},
    water: {from: 8, fill: "#c8dce6"},
    compound: {from: 14, fill: "rgba(214, 200, 168, 0.16)", stroke: "#d8ccb2", width: [[14, 0.5], [17, 1]]},
    building: {from: 15, fill: "#e4e0d7", stroke: "#d1ccbf", strokeFrom: 16, width: [[16, 0.4], [18, 0.8]]},
    side: {from: 17, color: "#dcd8ce", width: [[17, 0.8], [19, 1.6]]},
    path: {from: 15, color: "#d6d2c7", width: [[15, 0.6], [17, 1.2], [19, 2.4]]},
    service: {from: 15, color: "#d6d2c8", width: [[15, 0.9], [16, 2], [17, 3.2], [19, 7]], casing: 16},
    minor: {from: 12, color: "#d3cfc5", width: [[12, 0.4], [14, 1.2], [15, 2.4], [16, 3.8], [17, 5.6], [19, 13]], casing: 15},
    tertiary: {from: 11, color: "#ccc8bc", width: [[11, 0.6], [14, 2.2], [15, 3.2], [16, 4.8], [17, 7], [19, 16]], casing: 14},
    primary: {from: 9, color: "#c6c1b4", width: [[9, 0.6], [12, 1.4], [14, 2.8], [15, 4], [16, 6], [17, 9], [19, 20]], casing: 14},
    trunk: {from: 7, color: "#c0bbad", width: [[7, 0.6], [11, 1.6], [14, 3.4], [15, 4.6], [17, 10], [19, 22]], casing: 13},
  };
  var BAND = "#ffffff";
  var EDGE = "#c9c4b7";

  // Names stand from zoom `from` to below `to`; `apart`: pixels to the next of the same name;
  // `fit`: only where the street or area is as long as the name.
  var street = function (from, size, rest) {
    return Object.assign({from: from, to: 30, size: size, color: "#77736a", apart: 320, fit: 1}, rest);
  };
  var LABELS = {
    city: {from: 8, to: 13, size: 15, color: "#55524b", weight: 600, apart: 500},
    suburb: {from: 11, to: 16, size: 13, color: "#7d7769", weight: 600, apart: 400, spaced: true},
    quarter: {from: 14, to: 17, size: 12, color: "#8d8778", apart: 400, spaced: true},
    "trunk-far": street(11, 11, {to: 15}),
    "primary-far": street(12.5, 11, {to: 15}),
    "tertiary-far": street(13.5, 11, {to: 15}),
    "minor-far": street(14.5, 10.5, {to: 15}),
    trunk: street(15, 12),
    primary: street(15, 12),
    tertiary: street(15, 11.5),
    minor: street(15, 11),
    service: street(16.5, 10.5),
    path: street(16.5, 10.5, {color: "#8a867c"}),
    water: {from: 12, to: 30, size: 11.5, color: "#6f93a6", apart: 500, fit: 1},
    green: {from: 14, to: 30, size: 11, color: "#7b926a", apart: 400, fit: 1},
    compound: {from: 16, to: 30, size: 11, color: "#93876a", apart: 300, fit: 0.8},
  };

  // Straight between the steps of a table [[zoom, value], ...], level beyond its ends.
  function at(steps, zoom) {
    if (zoom <= steps[0][0]) return steps[0][1];
    for (var i = 1; i < steps.length; i++) {
      var low = steps[i - 1], high = steps[i];
      if (zoom <= high[0]) return low[1] + (high[1] - low[1]) * (zoom - low[0]) / (high[0] - low[0]);
    }
    return steps[steps.length - 1][1];
  }

  // Web Mercator's square, from 0 to 1 each way.
  function worldX(x) { return x / SCALE / 360 + 0.5; }
  function worldY(y) {
    return 0.5 - Math.log(Math.tan(Math.PI / 4 + y / SCALE * Math.PI / 360)) / (2 * Math.PI);
  }

  function Reader(bytes, start) {
    this.bytes = bytes;
    this.at = start;
  }
  Reader.prototype.next = function () {
    var value = 0, shift = 0, byte;
    do {
      byte = this.bytes[this.at++];
      value += (byte & 127) * Math.pow(2, shift);
      shift += 7;
    } while (byte & 128);
    return value % 2 ? -(value + 1) / 2 : value / 2;
  };

  function toBytes(text) {
    var plain = atob(text), bytes = new Uint8Array(plain.length);
    for (var i = 0; i < plain.length; i++) bytes[i] = plain.charCodeAt(i);
    return bytes;
  }

  // A stream of chunks; the items of a group are read when they are first needed.
  function Store(packed, facts) {
    this.kinds = packed.kinds;
    this.facts = facts;
    this.data = toBytes(packed.data);
    this.chunks = [];
    var index = new Reader(toBytes(packed.index), 0), west = 0, south = 0, start = 0;
    while (index.at < index.bytes.length) {
      west += index.next();
      south += index.next();
      var east = west + index.next(), north = south + index.next(), groups = {};
      for (var many = index.next(); many > 0; many--) {
        var kind = this.kinds[index.next()], size = index.next();
        groups[kind] = {start: start, end: start + size, west: west, south: south, items: null};
        start += size;
      }
      this.chunks.push({left: worldX(west), right: worldX(east), top: worldY(north), bottom: worldY(south),
        west: west, south: south, east: east, north: north, groups: groups});
    }
  }
  Store.prototype.hit = function (left, top, right, bottom) {
    return this.chunks.filter(function (one) {
      return one.left <= right && one.right >= left && one.top <= bottom && one.bottom >= top;
    });
  };
  Store.prototype.read = function (group) {
    if (group.items) return group.items;
    var reader = new Reader(this.data, group.start), x = group.west, y = group.south;
    var places = [], ends = [], facts = [];
    while (reader.at < group.end) {
      var count = reader.next();
      for (var f = 0; f < this.facts; f++) facts.push(reader.next());
      for (; count > 0; count--) {
        x += reader.next();
        y += reader.next();
        places.push(worldX(x), worldY(y));
      }
      ends.push(places.length);
    }
    group.items = {places: new Float64Array(places), ends: ends, facts: facts};
    return group.items;
  };

  // One path of all items; places within half a pixel of the last one are passed over.
  function trace(path, items, scale, left, top, close) {
    var places = items.places, start = 0;
    for (var i = 0; i < items.ends.length; i++) {
      var end = items.ends[i], lastX = NaN, lastY = NaN;
      for (var k = start; k < end; k += 2) {
        var x = places[k] * scale - left, y = places[k + 1] * scale - top;
        if (k === start) path.moveTo(x, y);
        else if (k < end - 2 && Math.abs(x - lastX) + Math.abs(y - lastY) < 0.6) continue;
        else path.lineTo(x, y);
        lastX = x;
        lastY = y;
      }
      if (close) path.closePath();
      start = end;
    }
  }

  function paintTile(context, store, zoom, left, top, size) {
    var scale = 256 * Math.pow(2, zoom), margin = 16;
    var chunks = store.hit((left - margin) / scale, (top - margin) / scale,
      (left + size + margin) / scale, (top + size + margin) / scale);
    var paths = {};
    store.kinds.forEach(function (kind) {
      var look = SHAPES[kind];
      if (zoom < look.from) return;
      chunks.forEach(function (chunk) {
        if (!chunk.groups[kind]) return;
        paths[kind] = paths[kind] || new Path2D();
        trace(paths[kind], store.read(chunk.groups[kind]), scale, left, top, Boolean(look.fill));
      });
    });
    context.fillStyle = LAND;
    context.fillRect(0, 0, size, size);
    context.lineJoin = context.lineCap = "round";
    var shown = store.kinds.filter(function (kind) { return paths[kind]; });
    var stroke = function (kind, color, width) {
      context.strokeStyle = color;
      context.lineWidth = width;
      context.stroke(paths[kind]);
    };
    shown.forEach(function (kind) {
      var look = SHAPES[kind];
      if (!look.fill) return;
      context.fillStyle = look.fill;
      context.fill(paths[kind]);
      if (look.stroke && zoom >= (look.strokeFrom || 0)) stroke(kind, look.stroke, at(look.width, zoom));
    });
    var streets = shown.filter(function (kind) { return !SHAPES[kind].fill; });
    var banded = function (kind) { return zoom >= (SHAPES[kind].casing || 99); };
    // All edges before all bands, so that crossings are open.
    streets.forEach(function (kind) {
      var look = SHAPES[kind], width = at(look.width, zoom);
      if (banded(kind)) stroke(kind, EDGE, width + 1.4);
      else stroke(kind, look.color, width);
    });
    streets.filter(banded).forEach(function (kind) { stroke(kind, BAND, at(SHAPES[kind].width, zoom)); });
  }

  function corners(box) {
    var cos = Math.cos(box.angle), sin = Math.sin(box.angle), w = box.width / 2, h = box.height / 2;
    return [[-w, -h], [w, -h], [w, h], [-w, h]].map(function (one) {
      return [box.x + one[0] * cos - one[1] * sin, box.y + one[0] * sin + one[1] * cos];
    });
  }

  // Two boxes are apart if they are along one of their four sides.
  function overlap(a, b) {
    var reach = a.reach + b.reach, dx = a.x - b.x, dy = a.y - b.y;
    if (dx * dx + dy * dy > reach * reach) return false;
    return ![a.angle, a.angle + Math.PI / 2, b.angle, b.angle + Math.PI / 2].some(function (angle) {
      var cos = Math.cos(angle), sin = Math.sin(angle);
      var spans = [a, b].map(function (box) {
        var along = box.corners.map(function (one) { return one[0] * cos + one[1] * sin; });
        return [Math.min.apply(null, along), Math.max.apply(null, along)];
      });
      return spans[0][1] <= spans[1][0] || spans[1][1] <= spans[0][0];
    });
  }

  function makeBox(x, y, width, height, angle) {
    var box = {x: x, y: y, width: width, height: height, angle: angle, reach: Math.hypot(width, height) / 2};
    box.corners = corners(box);
    return box;
  }

  // Chinese on a steep street stands upright, one character below the other.
  function write(context, one, how) {
    if (!one.stacked) return context[how](one.drawn, 0, 1);
    one.drawn.split("").forEach(function (sign, i, all) {
      context[how](sign, 0, 1 + (i - (all.length - 1) / 2) * one.stacked);
    });
  }

  // The canvas of names; it moves and scales with the map as any renderer of Leaflet does.
  var Names = L.Renderer.extend({
    options: {padding: 0.2, pane: "surveyNames"},

    initialize: function (owner) {
      L.Renderer.prototype.initialize.call(this, {});
      this._owner = owner;
      this._widths = {};
      this.placed = [];
    },
    _initContainer: function () {
      this._container = document.createElement("canvas");
      this._container.setAttribute("aria-hidden", "true");
    },
    _destroyContainer: function () {
      this._container.remove();
      this._container = null;
    },
    _updatePaths: function () {},
    _update: function () {
      if (this._map._animatingZoom && this._bounds) return;
      L.Renderer.prototype._update.call(this);
      var canvas = this._container, size = this._bounds.getSize(), ratio = this._owner._ratio();
      L.DomUtil.setPosition(canvas, this._bounds.min);
      // This also clears it; clearRect would be a white sheet on paper.
      canvas.width = size.x * ratio;
      canvas.height = size.y * ratio;
      canvas.style.width = size.x + "px";
      canvas.style.height = size.y + "px";
      this.draw();
    },

    draw: function () {
      var context = this._container.getContext("2d"), ratio = this._owner._ratio();
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      var edge = this._map.containerPointToLayerPoint([0, 0]).subtract(this._bounds.min);
      this.placed = this._place(context, edge);
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.lineJoin = "round";
      this.placed.forEach(function (one) {
        context.save();
        context.translate(one.x, one.y);
        context.rotate(one.angle);
        context.font = one.font;
        context.strokeStyle = HALO;
        context.lineWidth = 3;
        write(context, one, "strokeText");
        context.fillStyle = one.color;
        write(context, one, "fillText");
        context.restore();
      });
      this._edge = edge;
      this._owner.fire("names");
    },

    _width: function (context, font, text) {
      var key = font + text;
      if (!(key in this._widths)) {
        context.font = font;
        this._widths[key] = context.measureText(text).width;
      }
      return this._widths[key];
    },

    // Names by weight, the longest stretches first; who comes first stands.
    _place: function (context, edge) {
      var self = this, map = this._map, size = map.getSize(), zoom = map.getZoom();
      var placed = [], said = {};
      var taken = this._owner._obstacles().map(function (one) {
        return makeBox((one[0] + one[2]) / 2 + edge.x, (one[1] + one[3]) / 2 + edge.y, one[2] - one[0], one[3] - one[1], 0);
      });
      // The rim of the view, where a name would be cut.
      var rim = [0, size.x].map(function (x) { return makeBox(x + edge.x, size.y / 2 + edge.y, 1, size.y, 0); })
        .concat([0, size.y].map(function (y) { return makeBox(size.x / 2 + edge.x, y + edge.y, size.x, 1, 0); }));
      this._candidates(zoom).forEach(function (one) {
        var look = one.look, font = (look.weight || 400) + " " + look.size + "px " + FONT;
        var text = look.spaced ? Array.from(one.text).join("\u200a") : one.text;
        var steep = Math.abs(one.angle) > STEEP && HAN.test(text), stacked = steep ? look.size * 1.12 : 0;
        var width = steep ? text.length * stacked : self._width(context, font, text);
        if (look.fit && one.run < width * look.fit) return;
        var near = said[one.text] || [];
        if (near.some(function (at) { return Math.hypot(at.x - one.x, at.y - one.y) < look.apart; })) return;
        var box = steep
          ? makeBox(one.x, one.y, look.size + 5, width + 6, one.angle - Math.sign(one.angle) * Math.PI / 2)
          : makeBox(one.x, one.y, width + 6, look.size + 5, one.angle);
        var hits = function (other) { return overlap(box, other); };
        if (placed.some(hits) || taken.some(hits) || rim.some(hits)) return;
        said[one.text] = near.concat([one]);
        box.text = one.text;
        box.drawn = text;
        box.stacked = stacked;
        box.font = font;
        box.color = look.color;
        placed.push(box);
      });
      return placed;
    },

    // The names in the canvas, in its pixels.
    _candidates: function (zoom) {
      var owner = this._owner, store = owner._labels, words = owner._words, map = this._map;
      var scale = 256 * Math.pow(2, zoom), origin = map.getPixelOrigin().add(this._bounds.min);
      var size = this._bounds.getSize(), found = [];
      var metres = 40075016.7 * Math.cos(map.getCenter().lat * Math.PI / 180) / scale;
      var chunks = store.hit(origin.x / scale, origin.y / scale, (origin.x + size.x) / scale, (origin.y + size.y) / scale);
      store.kinds.forEach(function (kind) {
        var look = LABELS[kind], some = [];
        if (zoom < look.from || zoom >= look.to) return;
        chunks.forEach(function (chunk) {
          if (!chunk.groups[kind]) return;
          var items = store.read(chunk.groups[kind]), facts = items.facts;
          for (var i = 0; i < items.ends.length; i++) {
            var x = items.places[2 * i] * scale - origin.x, y = items.places[2 * i + 1] * scale - origin.y;
            if (x < 0 || y < 0 || x > size.x || y > size.y) continue;
            some.push({x: x, y: y, look: look, angle: -facts[4 * i] * Math.PI / 180,
              run: facts[4 * i + 1] / metres, text: words[facts[4 * i + (owner._english ? 3 : 2)]]});
          }
        });
        found = found.concat(some.sort(function (a, b) { return b.run - a.run; }));
      });
      return found;
    },
  });

  var Background = L.GridLayer.extend({
    options: {keepBuffer: 3, updateWhenZooming: false},

    initialize: function (packed) {
      L.GridLayer.prototype.initialize.call(this, {});
      this._shapes = new Store(packed.shapes, 0);
      this._labels = new Store(packed.labels, 4);
      this._words = packed.words;
      this._waiting = [];
      this._obstacles = function () { return []; };
      var box = L.latLngBounds([]);
      this._shapes.chunks.forEach(function (one) {
        box.extend([one.south / SCALE, one.west / SCALE]).extend([one.north / SCALE, one.east / SCALE]);
      });
      if (box.isValid()) this.options.bounds = box;
      this._toPaper = this._setPrinting.bind(this, true);
      this._toScreen = this._setPrinting.bind(this, false);
    },

    onAdd: function (map) {
      if (!map.getPane("surveyNames")) {
        var pane = map.createPane("surveyNames");
        pane.style.zIndex = 350;
        pane.style.pointerEvents = "none";
      }
      map.getContainer().style.background = LAND;
      L.GridLayer.prototype.onAdd.call(this, map);
      this._names = new Names(this).addTo(map);
      window.addEventListener("beforeprint", this._toPaper);
      window.addEventListener("afterprint", this._toScreen);
    },
    onRemove: function (map) {
      window.removeEventListener("beforeprint", this._toPaper);
      window.removeEventListener("afterprint", this._toScreen);
      this._names.remove();
      this._names = null;
      L.GridLayer.prototype.onRemove.call(this, map);
    },

    setLanguage: function (language) {
      this._english = language === "en";
      return this.placeNames();
    },
    setObstacles: function (ask) {
      this._obstacles = ask;
      return this.placeNames();
    },
    placeNames: function () {
      if (this._names) this._names._update();
      return this;
    },
    // In pixels of the map's container; angles in radians, with the clock.
    labels: function () {
      var edge = this._names._edge;
      return this._names.placed.map(function (one) {
        return {text: one.text, x: one.x - edge.x, y: one.y - edge.y, width: one.width, height: one.height, angle: one.angle};
      });
    },

    createTile: function (coords, done) {
      var tile = document.createElement("canvas"), job = {tile: tile, coords: coords, done: done};
      if (this._printing) {
        // Paper does not wait for the next frame.
        this._paint(job);
        L.DomUtil.addClass(tile, "leaflet-tile-loaded");
      }
      if (!this._waiting.length) L.Util.requestAnimFrame(this._work, this);
      this._waiting.push(job);
      return tile;
    },
    // Paints what waits, as much as one frame has time for.
    _work: function () {
      var end = performance.now() + (this._begun ? FRAME_MS : FIRST_MS);
      this._begun = true;
      while (this._waiting.length && performance.now() < end) {
        var job = this._waiting.shift();
        if (!job.tile.isConnected) continue; // the view has gone on
        if (!job.painted) this._paint(job);
        job.done(null, job.tile);
      }
      if (this._waiting.length) L.Util.requestAnimFrame(this._work, this);
    },
    _paint: function (job) {
      var size = this.getTileSize(), ratio = this._ratio();
      job.tile.width = size.x * ratio;
      job.tile.height = size.y * ratio;
      var context = job.tile.getContext("2d");
      context.scale(ratio, ratio);
      paintTile(context, this._shapes, job.coords.z, job.coords.x * size.x, job.coords.y * size.y, size.x);
      job.painted = true;
    },

    _ratio: function () {
      return this._printing ? PRINT_RATIO : Math.min(window.devicePixelRatio || 1, 2);
    },
    _setPrinting: function (printing) {
      this._printing = printing;
      // A tile that fades in would be printed before it can be seen.
      if (printing) this._fades = this._map._fadeAnimated;
      this._map._fadeAnimated = printing ? false : this._fades;
      this.redraw();
      this.placeNames();
    },
  });

  return function (packed) { return new Background(packed); };
})();
