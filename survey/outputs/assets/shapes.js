// How a survey map draws its features on the canvas, and what a click on them tells.
// Every text from outside reaches the page through textContent, never as HTML. A text is a string,
// or a pair [Chinese, English] of which the page shows one.
const survey = (() => {
  "use strict";

  const LETTERS_FROM_ZOOM = 15;

  // The colours of points are Okabe and Ito's, which colour-blind readers can tell apart; shapes
  // and letters say the same in black and white. Red is kept for gaps, purple for what was drawn.
  const point = (tint, letter, rest) => ({
    tint, letter, color: tint, weight: 1.5, fillOpacity: 0.12, badge: 11, ...rest,
  });
  const gap = (label, weight) => ({label, color: "#d0021b", weight, opacity: 0.85});
  const ring = (label, weight, dashArray, fill) => ({
    label, color: "#31485c", weight, dashArray, fillColor: "#56B4E9", fillOpacity: fill, area: true,
  });
  const LOOKS = {
    points: {
      market: point("#E69F00", "市", {label: ["农贸市场", "Market"], sides: 4, turn: 1 / 8, ink: "#222"}),
      mall: point("#CC79A7", "商", {label: ["商场超市", "Mall, supermarket"], sides: 4, badge: 12}),
      school: point("#0072B2", "学", {label: ["学校", "School"], sides: 5}),
      hospital: point("#009E73", "医", {label: ["医院", "Hospital"], sides: 6}),
      station: point("#56B4E9", "站", {label: ["交通场站", "Station"], ink: "#222", badge: 10}),
      community: point("#F0E442", "社", {label: ["城市社区", "Community"], sides: 3, ink: "#222",
        rim: "#5f5800", badge: 15, drop: 2, size: 0.75}),
    },
    chosen: {
      chosen: {label: ["所选点位", "The chosen point"], tint: "rgba(255, 255, 255, 0.5)", rim: "#111", rimWidth: 3,
        color: "#111", weight: 3, fillOpacity: 0, badge: 17},
    },
    draws: {
      drawn: {label: ["抽中（数字为序号）", "Drawn (slot)"], color: "#6a1b9a", tint: "#6a1b9a",
        weight: 4, opacity: 0.8, fillOpacity: 0.18, badge: 8},
    },
    spares: {
      spare: {label: ["备选（数字为序号）", "Replacement (slot)"], color: "#b79ac8", tint: "#b79ac8",
        weight: 3, opacity: 0.8, fillOpacity: 0.12, badge: 7},
    },
    toilets: {
      public: {label: ["公共卫生间", "Public toilet"], tint: "#222", letter: "厕", badge: 8},
      opened: {label: ["单位开放", "Opened by an institution"], tint: "#fff", ink: "#222", rim: "#222",
        letter: "厕", badge: 8},
      closed: {label: ["不对外", "Closed to the public"], tint: "#b5b5b5", letter: "×", badge: 7},
    },
    sites: {
      open: {label: ["补点：开放（数字为次序）", "Site: open (rank)"], tint: "#005f73", color: "#005f73",
        badge: 11, sides: 4},
      build: {label: ["补点：新建（数字为次序）", "Site: build (rank)"], tint: "#fff", ink: "#005f73",
        rim: "#005f73", color: "#005f73", badge: 11, sides: 4},
    },
    candidates: {
      candidate: {label: ["可开放单位", "Could open its toilet"], tint: "#e8e3d6", rim: "#7c7466", badge: 6},
    },
    gaps: {
      short: gap(["空白段，不足 50 米", "Gap below 50 m"], 1.8),
      middle: gap(["空白段，50–200 米", "Gap of 50 to 200 m"], 3.2),
      long: gap(["空白段，200 米以上", "Gap of 200 m and more"], 5),
      edge: {...gap(["近数据边缘，或有区外公厕", "Gap near the data's edge"], 2.5), dashArray: "5 5"},
    },
    covered: {
      covered: {label: ["达标路段", "Street that meets the rule"], color: "#8fb8a8", weight: 2, opacity: 0.8},
    },
    priorities: {
      mend: {label: ["先整治（数字为次序）", "Mend first (rank)"], color: "#7a3d00", tint: "#7a3d00", sides: 4,
        turn: 1 / 8, weight: 4, opacity: 0.85, fillOpacity: 0, badge: 12, size: 0.85, shift: -20},
    },
    alleys: {
      alley: {label: ["背街小巷", "Alley"], color: "#3b7a94", weight: 3, opacity: 0.9},
      thin: {label: ["无名小巷", "Alley without a name"], color: "#3b7a94", weight: 3, opacity: 0.9,
        dashArray: "2 5"},
      edge: {weight: 3, dashArray: "9 3"},
    },
    compounds: {
      compound: {label: ["小区", "Compound"], color: "#9b8a66", fillColor: "#c9b78f", weight: 1, area: true,
        fillOpacity: 0.35},
      thin: {label: ["无名或推断的小区", "Compound unnamed or derived"], color: "#9b8a66",
        fillColor: "#c9b78f", weight: 1.5, dashArray: "2 4", area: true, fillOpacity: 0.12},
      edge: {weight: 2, dashArray: "5 4"},
    },
    catchments: {
      walk500: ring(["步行 500 米", "500 m on foot"], 2.5, null, 0.22),
      walk1000: ring(["步行 1 公里", "1 km on foot"], 2, null, 0.12),
      walk2000: ring(["步行 2 公里", "2 km on foot"], 1.5, null, 0.06),
      crow500: ring(["直线 500 米", "500 m straight"], 2.5, "8 5", 0),
      crow1000: ring(["直线 1 公里", "1 km straight"], 2, "8 5", 0),
      crow2000: ring(["直线 2 公里", "2 km straight"], 1.5, "8 5", 0),
    },
    lacks: {
      lack: {label: ["数据不足处", "Where data are lacking"], tint: "#fff", ink: "#8a3b00", rim: "#8a3b00",
        color: "#8a3b00", weight: 2, letter: "?", badge: 9, shift: -19},
    },
    subdistricts: {
      subdistrict: {label: ["街道办辖区", "Subdistrict"], color: "#8d8470", weight: 1.5, dashArray: "2 5",
        fill: false, interactive: false},
    },
  };

  // Classes of probability, each up to and with its number, in colours that darken evenly: who
  // cannot tell the hues can still tell the order. Grey is what cannot be drawn.
  const ODDS = [
    [0, "#bab6ac"], [0.02, "#8ac77f"], [0.1, "#4fb08f"], [0.25, "#2795a6"], [0.5, "#1e74a6"],
    [0.75, "#234f99"], [1, "#131a5e"],
  ];

  function oddsLook(prob) {
    const [, color] = ODDS.find(([most]) => prob <= most);
    return {color, fillColor: color, fillOpacity: 0.5, opacity: 1, casing: 2};
  }

  // An element with a text in it: both languages, of which the style sheet hides one.
  function make(tag, text, className) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (Array.isArray(text)) {
      text.forEach((words, n) => {
        const part = document.createElement("span");
        part.className = n ? "en" : "zh";
        part.lang = n ? "en" : "zh-CN";
        part.textContent = words;
        node.append(part);
      });
    } else if (text !== undefined && text !== null) {
      node.textContent = text;
    }
    return node;
  }

  // Attributes that hold words follow the language like everything else.
  const worded = [];
  function word(node, attribute, pair) {
    worded.push([node, attribute, pair]);
    return node;
  }

  // A line is [x, y, dx, dy, ...] in units of 1e-5 degree.
  function unpack(line) {
    const places = [];
    let x = 0, y = 0;
    for (let i = 0; i < line.length; i += 2) {
      x += line[i];
      y += line[i + 1];
      places.push([y / 1e5, x / 1e5]);
    }
    return places;
  }

  // Of a point its place, of a line its lines, of an area its polygons' rings.
  function unpackShape(parts) {
    const flip = (line) => unpack(line).map(([lat, lon]) => [lon, lat]);
    if (Array.isArray(parts[0][0])) return {type: "MultiPolygon", coordinates: parts.map((rings) => rings.map(flip))};
    if (parts.length === 1 && parts[0].length === 2) return {type: "Point", coordinates: flip(parts[0])[0]};
    return {type: "MultiLineString", coordinates: parts.map(flip)};
  }

  function drawBadge(context, at, radius, style, letter) {
    const {sides = 0, turn = 0, tint, ink = "#fff", rim = "#fff", rimWidth = 1.5, drop = 1, size = 1.05} = style;
    context.setLineDash([]);
    context.globalAlpha = 1;
    context.beginPath();
    if (sides === 0) context.arc(at.x, at.y, radius, 0, 2 * Math.PI);
    for (let k = 0; k < sides; k++) {
      const angle = 2 * Math.PI * (k / sides + turn) - Math.PI / 2;
      context.lineTo(at.x + radius * Math.cos(angle), at.y + radius * Math.sin(angle));
    }
    context.closePath();
    context.fillStyle = tint;
    context.fill();
    context.lineWidth = rimWidth;
    context.strokeStyle = rim;
    context.stroke();
    if (!letter) return;
    context.fillStyle = ink;
    context.font = `bold ${Math.round(radius * size)}px sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(letter, at.x, at.y + drop);
  }

  // Lines grow with the zoom, so that a whole city is not one blot.
  const project = L.Polyline.prototype._project;
  L.Polyline.include({
    _project() {
      const zoom = this._map.getZoom();
      const share = zoom >= 15 ? 1 : zoom >= 13.5 ? 0.7 : 0.4;
      if (this.options.fullWeight === undefined) this.options.fullWeight = this.options.weight;
      this.options.weight = this.options.fullWeight * share;
      project.call(this);
    },
    // A rim of white parts a line from an area of the same colour below it.
    _updatePath() {
      const {color, weight, casing, _dashArray} = this.options;
      if (casing) {
        Object.assign(this.options, {color: "#fff", weight: weight + casing, _dashArray: null});
        this._renderer._updatePoly(this);
        Object.assign(this.options, {color, weight, _dashArray});
      }
      this._renderer._updatePoly(this);
    },
  });

  // A marker on the canvas: a thousand of them cost less than a hundred elements of the page.
  const Badge = L.CircleMarker.extend({
    _project() {
      const near = this._map.getZoom() >= LETTERS_FROM_ZOOM;
      this._radius = this.options.badge * (near ? 1 : 0.6);
      L.CircleMarker.prototype._project.call(this);
      if (!this.options.shift) return;
      // Beside the badge of a draw that may stand at the same place.
      this._point = this._point.add([0, this.options.shift * (near ? 1 : 0.6)]);
      this._updateBounds();
    },
    _updatePath() {
      if (!this._renderer._drawing || this._empty()) return;
      const near = this._map.getZoom() >= LETTERS_FROM_ZOOM;
      const letter = near ? this.options.letter : "";
      drawBadge(this._renderer._ctx, this._point, this._radius, this.options, letter);
    },
  });

  function factTable(spec, rows) {
    const table = make("table");
    const cells = rows.map((row) => ["td", row.map((word) => spec.words[word])]);
    for (const [tag, row] of [["th", spec.heads], ...cells]) {
      const line = make("tr");
      const parts = row.map((cell) => make(tag, cell));
      if (parts.length === 1) parts[0].colSpan = spec.heads.length;
      line.append(...parts);
      table.append(line);
    }
    return table;
  }

  function popup(spec, fact, option) {
    const box = make("div", undefined, "survey-facts");
    box.append(make("h2", fact.title));
    const list = make("dl");
    spec.fields.forEach((label, i) => {
      if (fact.values[i] !== null) list.append(make("dt", label), make("dd", fact.values[i]));
    });
    box.append(list);
    const rows = fact.rows && spec.turning ? [fact.rows[fact.of.indexOf(option)]] : fact.rows;
    if (rows && rows.length) box.append(factTable(spec, rows));
    const items = spec.forms[fact.kind || fact.style];
    if (items) {
      const form = make("details");
      const listed = make("ul");
      listed.append(...items.map((item) => make("li", item)));
      form.append(make("summary", ["检查项目", "What to check"]), listed);
      box.append(form);
    }
    return box;
  }

  const quiet = {pane: "tilePane", interactive: false};

  // The world with the area cut out, so that what lies outside recedes.
  function outline(rings) {
    const places = rings.map(unpack);
    const world = [[-85, -180], [-85, 180], [85, 180], [85, -180]];
    return L.layerGroup([
      L.polygon([world, ...places], {...quiet, fillColor: "#fff", fillOpacity: 0.55, stroke: false}),
      L.polyline(places, {...quiet, color: "#5b6670", weight: 1.5, dashArray: "6 4"}),
    ]);
  }

  function styleOf(spec, fact) {
    return {
      ...LOOKS[spec.look][fact.style],
      ...(fact.letter && {letter: fact.letter}),
      ...(fact.prob !== undefined && oddsLook(fact.prob)),
      ...(spec.hollow && {fillOpacity: 0}),
    };
  }

  function toFeature(fact) {
    const shape = unpackShape(fact.shape);
    if (!fact.badge || shape.type === "Point") return {type: "Feature", properties: fact, geometry: shape};
    const badge = unpackShape([fact.badge]);
    return {type: "Feature", properties: fact, geometry: {type: "GeometryCollection", geometries: [shape, badge]}};
  }

  // A layer whose features answer a click. They are made when the layer is first shown, and where
  // `spec.group` names a choice of the page, those of the chosen option alone: a city has thousands.
  function features(spec) {
    const layer = L.layerGroup();
    const silent = spec.look === "subdistricts";
    for (const fact of spec.features) {
      fact.title = spec.words[fact.title];
      fact.values = (fact.values || []).map((word) => spec.words[word]);
    }
    layer.survey = spec;
    layer.paths = new Map();
    layer.choose = (option) => {
      const mine = ({of}) => of === undefined || of.includes(option);
      layer.clearLayers();
      layer.paths.clear();
      layer.option = option;
      layer.addLayer(L.geoJSON(spec.features.filter(mine).map(toFeature), {
        ...(silent && quiet),
        style: ({properties: fact}) => styleOf(spec, fact),
        pointToLayer: ({properties: fact}, place) => new Badge(place, styleOf(spec, fact)),
        onEachFeature(feature, path) {
          const fact = feature.properties;
          layer.paths.set(fact, path);
          if (silent) return;
          path.bindTooltip(() => make("span", fact.title), {sticky: true});
          path.bindPopup(() => popup(spec, fact, option), {maxWidth: 340, maxHeight: 340});
        },
      }));
    };
    return layer;
  }

  // Packed lines without facts, such as the street that a rule reaches: one list for each option.
  function lines(spec) {
    const layer = L.layerGroup();
    const style = LOOKS[spec.look][spec.look];
    layer.survey = spec;
    layer.choose = (option) => {
      layer.clearLayers();
      layer.option = option;
      const shown = spec.group ? spec.lines[option] : spec.lines[0];
      layer.addLayer(L.polyline(shown.map(unpack), {...style, interactive: false}));
    };
    return layer;
  }

  function badgesOf(layer) {
    if (layer instanceof Badge) return [layer];
    return layer.getLayers ? [].concat(...layer.getLayers().map(badgesOf)) : [];
  }

  function swatch(style) {
    const canvas = make("canvas");
    const [width, height] = [26, 20];
    canvas.width = 2 * width;
    canvas.height = 2 * height;
    canvas.setAttribute("aria-hidden", "true");
    const context = canvas.getContext("2d");
    context.scale(2, 2);
    if (style.badge) {
      const radius = Math.min(style.badge, style.sides === 3 ? 11 : 9);
      drawBadge(context, {x: width / 2, y: height / 2}, radius, style, style.letter);
      return canvas;
    }
    if (style.dashArray) context.setLineDash(style.dashArray.split(" ").map(Number));
    context.lineWidth = style.weight;
    context.strokeStyle = style.color;
    context.fillStyle = style.fillColor;
    context.beginPath();
    if (style.area) {
      context.rect(3, 4, width - 6, height - 8);
      context.globalAlpha = style.fillOpacity;
      context.fill();
    } else {
      context.moveTo(1, height / 2);
      context.lineTo(width - 1, height / 2);
    }
    context.globalAlpha = style.opacity === undefined ? 1 : style.opacity;
    context.stroke();
    return canvas;
  }

  return {LOOKS, ODDS, oddsLook, make, word, worded, unpack, outline, features, lines, badgesOf, swatch, quiet};
})();
