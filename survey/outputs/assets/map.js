// What a survey map adds to Leaflet: packed lines, drawn badges, facts in popups, a legend.
// Every text from outside reaches the page through textContent, never as HTML.
const survey = (() => {
  "use strict";

  const LETTERS_FROM_ZOOM = 15;

  const STREETS = {
    major: {color: "#bdb9ae", weight: 3.2},
    middle: {color: "#d0cdc4", weight: 1.8},
    minor: {color: "#dedcd4", weight: 1},
  };
  const OUTLINE = {color: "#5b6670", weight: 1.5, dashArray: "6 4"};
  const VEIL = {fillColor: "#fff", fillOpacity: 0.55};

  // How each kind of layer looks. The colours of points are Okabe and Ito's, which colour-blind
  // readers can tell apart; red is kept for gaps, purple for what was drawn.
  const point = (tint, letter, rest) => ({
    tint, letter, color: tint, weight: 1.5, fillOpacity: 0.12, badge: 11, ...rest,
  });
  const LOOKS = {
    points: {
      market: point("#E69F00", "市", {label: "农贸市场 · Market", sides: 4, turn: 1 / 8, ink: "#222"}),
      mall: point("#CC79A7", "商", {label: "商场超市 · Mall, supermarket", sides: 4, badge: 12}),
      school: point("#0072B2", "学", {label: "学校 · School", sides: 5}),
      hospital: point("#009E73", "医", {label: "医院 · Hospital", sides: 6}),
      station: point("#56B4E9", "站", {label: "交通场站 · Station", ink: "#222", badge: 10}),
      community: point("#F0E442", "社", {label: "城市社区 · Community", sides: 3, ink: "#222", rim: "#5f5800",
        badge: 15, drop: 2, size: 0.75}),
    },
    draws: {
      drawn: {label: "抽中（数字为序号）· Drawn (slot)", color: "#6a1b9a", tint: "#6a1b9a",
        weight: 4, opacity: 0.8, fillOpacity: 0.18, badge: 8},
      spare: {label: "备选 · Replacement", color: "#b79ac8", tint: "#b79ac8",
        weight: 3, opacity: 0.8, fillOpacity: 0.12, badge: 7},
    },
    toilets: {
      public: {label: "公共卫生间 · Public toilet", tint: "#222", letter: "厕", badge: 8},
      opened: {label: "单位开放 · Opened by an institution", tint: "#fff", ink: "#222", rim: "#222",
        letter: "厕", badge: 8},
      closed: {label: "不对外 · Closed to the public", tint: "#b5b5b5", letter: "×", badge: 7},
    },
    sites: {
      open: {label: "补点：开放（数字为次序）· Site: open (rank)", tint: "#005f73", color: "#005f73", badge: 11, sides: 4},
      build: {label: "补点：新建 · Site: build", tint: "#fff", ink: "#005f73", rim: "#005f73", color: "#005f73", badge: 11, sides: 4},
    },
    candidates: {
      candidate: {label: "可开放单位 · Could open its toilet", tint: "#e8e3d6", rim: "#7c7466", badge: 6},
    },
    gaps: {
      gap: {label: "空白段 · Gap", color: "#d0021b", weight: 3, opacity: 0.8},
      edge: {label: "近边缘空白段 · Gap near data edge", color: "#d0021b", weight: 2.5,
        opacity: 0.7, dashArray: "5 5"},
    },
    priorities: {
      mend: {label: "先整治（数字为次序）· Mend first (rank)", color: "#7a3d00", tint: "#7a3d00", sides: 4, turn: 1 / 8,
        weight: 4, opacity: 0.85, fillOpacity: 0, badge: 12, size: 0.85, shift: -20},
    },
    alleys: {
      alley: {label: "背街小巷 · Alley", color: "#3b7a94", weight: 3, opacity: 0.9},
      edge: {weight: 3, dashArray: "9 3"},
    },
    compounds: {
      compound: {label: "小区 · Compound", color: "#9b8a66", fillColor: "#c9b78f", weight: 1, area: true,
        fillOpacity: 0.35},
      edge: {weight: 2, dashArray: "5 4"},
    },
    subdistricts: {
      subdistrict: {label: "街道办辖区 · Subdistrict", color: "#8d8470", weight: 1.5, dashArray: "2 5",
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

  function make(tag, text, className) {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (className) node.className = className;
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

  function drawBadge(context, at, radius, style, letter) {
    const {sides = 0, turn = 0, tint, ink = "#fff", rim = "#fff", drop = 1, size = 1.05} = style;
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
    context.lineWidth = 1.5;
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
      this.options.fullWeight ??= this.options.weight;
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

  function popup(spec, fact) {
    const box = make("div", undefined, "survey-facts");
    box.append(make("h2", fact.title));
    const list = make("dl");
    spec.fields.forEach((label, i) => {
      if (fact.values[i] !== null) list.append(make("dt", label), make("dd", fact.values[i]));
    });
    box.append(list);
    if (fact.rows && fact.rows.length) {
      const table = make("table");
      const rows = fact.rows.map((row) => ["td", row.map((word) => spec.words[word])]);
      for (const [tag, row] of [["th", spec.heads], ...rows]) {
        const line = make("tr");
        const cells = row.map((cell) => make(tag, cell));
        if (cells.length === 1) cells[0].colSpan = spec.heads.length;
        line.append(...cells);
        table.append(line);
      }
      box.append(table);
    }
    return box;
  }

  const quiet = {pane: "tilePane", interactive: false};

  function streets(groups) {
    return L.layerGroup(groups.map(({style, lines}) =>
      L.polyline(lines.map(unpack), {...STREETS[style], ...quiet, opacity: 1})));
  }

  // The world with the area cut out, so that what lies outside recedes.
  function outline(rings) {
    const places = rings.map(unpack);
    const world = [[-85, -180], [-85, 180], [85, 180], [85, -180]];
    return L.layerGroup([
      L.polygon([world, ...places], {...VEIL, ...quiet, stroke: false}),
      L.polyline(places, {...OUTLINE, ...quiet}),
    ]);
  }

  function features(spec) {
    const look = LOOKS[spec.look];
    const styleOf = ({properties: fact}) => ({
      ...look[fact.style],
      ...(fact.letter && {letter: fact.letter}),
      ...(fact.prob !== undefined && oddsLook(fact.prob)),
    });
    const names = spec.look === "subdistricts";
    const layer = L.geoJSON(spec.collection, {
      ...(names && quiet),
      style: styleOf,
      pointToLayer: (feature, place) => new Badge(place, styleOf(feature)),
      onEachFeature(feature, path) {
        const fact = feature.properties;
        const title = () => make("span", fact.title);
        if (names) {
          path.bindTooltip(title, {permanent: true, direction: "center", className: "survey-label"});
        } else {
          path.bindTooltip(title, {sticky: true});
          path.bindPopup(() => popup(spec, fact), {maxWidth: 340, maxHeight: 360, autoPanPaddingTopLeft: [5, 45]});
        }
      },
    });
    layer.survey = spec;
    return layer;
  }

  function swatch(style) {
    const canvas = make("canvas");
    const [width, height] = [26, 20];
    canvas.width = 2 * width;
    canvas.height = 2 * height;
    const context = canvas.getContext("2d");
    context.scale(2, 2);
    if (style.badge) {
      drawBadge(context, {x: width / 2, y: height / 2}, Math.min(style.badge, style.sides === 3 ? 11 : 9), style, style.letter);
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
    context.globalAlpha = style.opacity ?? 1;
    context.stroke();
    return canvas;
  }

  function item(style) {
    const line = make("li");
    line.append(swatch(style), make("span", style.label));
    return line;
  }

  // What the colours of alleys and compounds mean, once for both.
  function oddsLegend() {
    const box = make("section", undefined, "survey-odds");
    const classes = make("ol");
    for (const [most] of ODDS) {
      const line = make("li");
      line.append(swatch({...oddsLook(most), weight: 3, area: true}), make("span", most ? `≤${100 * most}%` : "0"));
      classes.append(line);
    }
    const list = make("ul");
    list.append(item({...LOOKS.alleys.edge, ...oddsLook(0.5), label: "近数据边缘，外面未知 · Near data edge"}));
    box.append(
      make("h3", "入样概率 · Odds of being drawn"),
      make("p", "线 = 小巷 alley，面 = 小区 compound"),
      classes,
      list,
      make("p", "颜色按本方案的半径规则；其他规则下的概率范围见弹窗 · Colours follow the design's own law of the radius;"
        + " the band over other laws is in the popups"),
    );
    return box;
  }

  function byOdds(layer) {
    return layer.survey.collection.features.some((feature) => "prob" in feature.properties);
  }

  function legend(layers) {
    const control = L.control({position: "bottomright"});
    control.onAdd = () => {
      const box = make("details", undefined, "survey-legend leaflet-control");
      box.open = !narrow();
      box.append(make("summary", "图例 · Legend"));
      if (layers.some(byOdds)) box.append(oddsLegend());
      const list = make("ul");
      for (const look of new Set(layers.filter((layer) => !byOdds(layer)).map((layer) => layer.survey.look))) {
        list.append(...Object.values(LOOKS[look]).filter((style) => style.label).map(item));
      }
      box.append(list);
      L.DomEvent.disableClickPropagation(box).disableScrollPropagation(box);
      return box;
    };
    return control;
  }

  const badgesOf = (layer) =>
    layer.getLayers ? layer.getLayers().flatMap(badgesOf) : layer instanceof Badge ? [layer] : [];

  const narrow = () => window.innerWidth <= 700;

  // On a phone the list of layers would hide the map, and the zoom buttons the top of a popup.
  function makeRoom(map) {
    const list = document.querySelector(".leaflet-control-layers-list");
    const box = make("details");
    list.replaceWith(box);
    box.append(make("summary", "图层 · Layers"), list);
    map.zoomControl.setPosition("bottomleft");
  }

  // Called last, with the layers from the highest to the lowest, and the first view.
  function finish(map, layers, [west, south, east, north]) {
    const wide = window.innerWidth > 1000;
    map.fitBounds([[south, west], [north, east]], {
      animate: false,
      paddingTopLeft: [wide ? 50 : 12, 12],
      paddingBottomRight: [wide ? 310 : 12, 12],
    });
    if (layers.some(byOdds)) {
      // An area that was drawn is an outline here, so that the colour of its odds stays what it is.
      for (const layer of layers) if (layer.survey.look === "draws") layer.setStyle({fillOpacity: 0});
    }
    // No line and no area covers a badge, of whichever layer.
    const order = () => {
      const shown = layers.filter((layer) => map.hasLayer(layer)).reverse();
      for (const layer of [...shown, ...shown.flatMap(badgesOf)]) layer.bringToFront();
    };
    order();
    map.on("overlayadd", order);
    L.control.scale({imperial: false, position: "bottomleft"}).addTo(map);
    legend(layers).addTo(map);
    if (narrow()) makeRoom(map);
  }

  return {streets, outline, features, finish};
})();
