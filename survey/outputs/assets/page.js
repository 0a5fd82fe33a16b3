// The page around a survey map: language, choices, legend, search, tools, print.
(() => {
  "use strict";

  const {LOOKS, ODDS, make, oddsLook, swatch, word} = survey;
  const root = document.documentElement;

  const ICONS = {
    measure: "M2 11 11 2l5 5-9 9zM5 8l2 2M8 5l2 2",
    full: "M2 6V2h4M12 2h4v4M16 12v4h-4M6 16H2v-4",
    locate: "M9 1v4M9 13v4M1 9h4M13 9h4M5 9a4 4 0 1 0 8 0a4 4 0 1 0-8 0",
    print: "M5 6V2h8v4M5 13H2V6h14v7h-3M5 11h8v5H5z",
    panel: "M2 4h14M2 9h14M2 14h14",
  };

  function speak(lang) {
    root.lang = lang ? "en" : "zh-CN";
    root.dataset.lang = lang ? "en" : "zh";
    for (const [node, attribute, pair] of survey.worded) {
      if (attribute === "text") node.textContent = pair[lang];
      else node.setAttribute(attribute, pair[lang]);
    }
    document.dispatchEvent(new CustomEvent("survey-language", {detail: root.dataset.lang}));
  }

  function button(icon, pair, act) {
    const node = make("button");
    node.type = "button";
    const [drawing, line] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
    drawing.setAttribute("viewBox", "0 0 18 18");
    drawing.setAttribute("aria-hidden", "true");
    line.setAttribute("d", ICONS[icon]);
    drawing.append(line);
    node.append(drawing);
    word(node, "aria-label", pair);
    word(node, "title", pair);
    node.addEventListener("click", act);
    return node;
  }

  // -- choices: which of the options of a group is shown -------------------------------------

  function options(node, choice, pick) {
    choice.options.forEach((text, n) => {
      const pair = Array.isArray(text) ? text : [text, text];
      node.append(word(Object.assign(make("option"), {value: n}), "text", pair));
    });
    node.addEventListener("change", () => pick(Number(node.value)));
    return (n) => { node.value = n; };
  }

  function radios(box, choice, pick) {
    const inputs = choice.options.map((text, n) => {
      const label = make("label");
      const input = Object.assign(make("input"), {type: "radio", name: `survey-${choice.group}`, value: n});
      input.addEventListener("change", () => pick(n));
      label.append(input, make("span", text));
      box.append(label);
      return input;
    });
    return (n) => {
      inputs[n].checked = true;
      inputs.forEach((input, k) => input.parentNode.classList.toggle("on", k === n));
    };
  }

  function slider(box, choice, pick) {
    const input = Object.assign(make("input"), {type: "range", min: 0, max: choice.options.length - 1, step: 1});
    const told = make("output");
    input.disabled = choice.options.length < 2;
    word(input, "aria-label", choice.label);
    input.addEventListener("input", () => pick(Number(input.value)));
    box.append(input, told);
    return (n) => {
      input.value = n;
      told.textContent = "";
      told.append(make("b", choice.options[n]));
      input.setAttribute("aria-valuetext", told.textContent);
    };
  }

  function chooser(choice, pick) {
    const box = make("fieldset", undefined, "survey-choice");
    box.append(make("legend", choice.label));
    let show;
    if (choice.kind === "select") {
      const node = make("select");
      word(node, "aria-label", choice.label);
      show = options(node, choice, pick);
      box.append(node);
    } else {
      show = (choice.kind === "slider" ? slider : radios)(box, choice, pick);
    }
    const note = make("p", undefined, "survey-note");
    box.append(note);
    return {box, show(n) {
      show(n);
      note.textContent = "";
      const said = (choice.notes || [])[n];
      if (said) note.append(make("span", said));
    }};
  }

  // -- legend: what each sign means; its boxes switch the layers ------------------------------

  function signs(layer) {
    const spec = layer.survey;
    const list = make("ul");
    const look = LOOKS[spec.look];
    const used = new Set(spec.features ? spec.features.map((fact) => fact.style) : [spec.look]);
    for (const [name, style] of Object.entries(look || {})) {
      if (!used.has(name) || !style.label) continue;
      const line = make("li");
      line.append(swatch(style), make("span", style.label));
      list.append(line);
    }
    return list;
  }

  function oddsSigns() {
    const classes = make("ol", undefined, "survey-odds");
    for (const [most] of ODDS) {
      const line = make("li");
      line.append(swatch({...oddsLook(most), weight: 3, area: true}), make("span", most ? `≤${100 * most}%` : "0"));
      classes.append(line);
    }
    return classes;
  }

  const isByOdds = ({survey: {features}}) => Boolean(features) && features.some((fact) => "prob" in fact);

  function entry(label, on, turn) {
    const box = make("div", undefined, "survey-entry");
    const line = make("label");
    const input = Object.assign(make("input"), {type: "checkbox", checked: on});
    input.addEventListener("change", () => turn(input.checked));
    line.append(input, make("span", label));
    box.append(line);
    box.classList.toggle("off", !on);
    return {box, show(now) {
      input.checked = now;
      box.classList.toggle("off", !now);
    }};
  }

  function legend(layers, turn, turnGround) {
    const box = make("section", undefined, "survey-legend");
    box.append(make("h2", ["图例", "Legend"]));
    if (layers.some(isByOdds)) {
      box.append(make("p", ["颜色：入样概率（线为小巷，面为小区），虚线近数据边缘",
        "Colour: odds of being drawn (lines alleys, areas compounds); dashed near the data's edge"]), oddsSigns());
    }
    for (const layer of layers) {
      layer.entry = entry(layer.survey.label, layer.on, (on) => turn(layer, on));
      if (!isByOdds(layer)) layer.entry.box.append(signs(layer));
      box.append(layer.entry.box);
    }
    box.append(entry(["底图：街道、建筑、地名", "Background: streets, buildings, names"], true, turnGround).box);
    return box;
  }

  // -- tools ----------------------------------------------------------------------------------

  function measure(map, told) {
    let places = null, line = null;
    const say = () => {
      const metres = places.slice(1).reduce((sum, place, n) => sum + map.distance(places[n], place), 0);
      told(places.length < 2
        ? ["在图上依次点击，双击结束", "Click along the way on the map, double-click to end"]
        : [`${Math.round(metres).toLocaleString("en")} 米`, `${Math.round(metres).toLocaleString("en")} m`]);
    };
    const add = ({latlng}) => {
      places.push(latlng);
      line.setLatLngs(places);
      say();
    };
    const stop = () => {
      map.off("click", add);
      map.doubleClickZoom.enable();
      root.classList.remove("survey-measuring");
      places = null;
    };
    map.on("dblclick", () => places && stop());
    return () => {
      if (places) { stop(); told(null); if (line) line.remove(); return; }
      if (line) line.remove();
      places = [];
      line = L.polyline([], {color: "#000", weight: 3, dashArray: "6 4", interactive: false}).addTo(map);
      map.closePopup();
      map.doubleClickZoom.disable();
      map.on("click", add);
      root.classList.add("survey-measuring");
      say();
    };
  }

  function locate(map, told) {
    let here = null;
    map.on("locationfound", ({latlng, accuracy}) => {
      if (here) here.remove();
      here = L.circle(latlng, {radius: accuracy, color: "#0072B2", weight: 2, fillOpacity: 0.1}).addTo(map);
      told([`误差约 ${Math.round(accuracy)} 米`, `within about ${Math.round(accuracy)} m`]);
    });
    map.on("locationerror", () => told(["浏览器没有给出位置", "The browser gave no position"]));
    return () => { told(["正在定位", "Locating"]); map.locate({setView: true, maxZoom: 16, timeout: 10000}); };
  }

  function fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (root.requestFullscreen) root.requestFullscreen();
  }

  function tools(map) {
    const note = make("div", undefined, "survey-told");
    note.setAttribute("role", "status");
    let timer = 0;
    const told = (text) => {
      clearTimeout(timer);
      note.textContent = "";
      if (!text) return;
      note.append(make("span", text));
      timer = setTimeout(() => { note.textContent = ""; }, 30000);
    };
    const control = L.control({position: "topleft"});
    control.onAdd = () => {
      const bar = make("div", undefined, "leaflet-bar survey-tools");
      bar.append(
        button("measure", ["量距离", "Measure a distance"], measure(map, told)),
        button("full", ["全屏", "Full screen"], fullScreen),
        button("locate", ["我的位置", "Where am I"], locate(map, told)),
        button("print", ["打印", "Print"], () => window.print()),
      );
      L.DomEvent.disableClickPropagation(bar);
      return bar;
    };
    control.addTo(map);
    map.getContainer().append(note);
    const north = make("div", undefined, "survey-north");
    north.setAttribute("role", "img");
    word(north, "aria-label", ["北在上方", "North is up"]);
    north.append(make("span", "▲"), make("b", ["北", "N"]));
    map.getContainer().append(north);
    L.control.scale({imperial: false, position: "bottomleft"}).addTo(map);
  }

  // What is printed is the map as it stands on the screen, made to fit the sheet: canvases that are
  // painted anew for paper, twice even, would be white sheets over one another. So the measure is
  // kept ready; only the panel, whose words take another form on paper, is measured on the way.
  function fitSheet(map) {
    const [wide, high] = [746, 610];  // pixels that A4 landscape leaves for the map
    const box = map.getContainer(), panel = document.querySelector(".survey-panel");
    const keep = () => {
      if (window.matchMedia("print").matches) return;
      const [x, y] = [box.clientWidth, box.clientHeight];
      const scale = Math.min(wide / x, high / y);
      for (const [name, value] of [["scale", scale], ["width", `${x}px`], ["height", `${y}px`]]) {
        root.style.setProperty(`--sheet-${name}`, value);
      }
      map.invalidateSize({animate: false});
    };
    window.addEventListener("beforeprint", () => {
      root.classList.add("survey-sheet");
      root.style.setProperty("--panel-scale", Math.min(1, high / panel.scrollHeight));
      root.classList.remove("survey-sheet");
    });
    // The head grows with its words, which no event of the window tells.
    new ResizeObserver(keep).observe(box);
    keep();
  }

  // -- the whole ------------------------------------------------------------------------------

  // Where the background may write no name: below badges and the map's own signs.
  function obstacles(map, layers) {
    const box = map.getContainer();
    const signs = [".leaflet-bar", ".leaflet-control-scale", ".survey-north"].join(",");
    return () => {
      const edge = box.getBoundingClientRect(), size = map.getSize(), taken = [];
      for (const {left, top, right, bottom} of [...box.querySelectorAll(signs)].map((one) => one.getBoundingClientRect())) {
        taken.push([left - edge.left, top - edge.top, right - edge.left, bottom - edge.top]);
      }
      for (const layer of layers) {
        if (!layer.on) continue;
        for (const badge of survey.badgesOf(layer)) {
          const {x, y} = map.latLngToContainerPoint(badge.getLatLng()), r = badge.getRadius() + 1;
          if (x > -r && y > -r && x < size.x + r && y < size.y + r) taken.push([x - r, y - r, x + r, y + r]);
        }
      }
      return taken;
    };
  }

  function showPanel(map, head) {
    const open = button("panel", ["图例与搜索", "Legend and search"], () => {
      const shut = document.body.classList.toggle("survey-shut");
      open.setAttribute("aria-expanded", String(!shut));
      map.invalidateSize({animate: false});
    });
    open.setAttribute("aria-expanded", "true");
    head.append(open);
    if (window.innerWidth <= 700) open.click();
  }

  function languages(head) {
    let lang = /^zh/.test(navigator.language) ? 0 : 1;
    const other = make("button", undefined, "survey-language");
    other.type = "button";
    other.append(make("span", ["English", "中文"]));
    other.addEventListener("click", () => { lang = 1 - lang; speak(lang); });
    head.append(other);
    return () => speak(lang);
  }

  // `all` are the layers from the highest to the lowest; those without a word in the legend stay on.
  survey.open = (map, all, ground, plan) => {
    const layers = all.filter((layer) => layer.survey);
    const chosen = {}, choosers = {};
    for (const choice of plan.choices) chosen[choice.group] = choice.start;

    const fit = ([west, south, east, north]) =>
      map.fitBounds([[south, west], [north, east]], {animate: false, padding: [14, 14]});
    // No line and no area covers a badge, of whichever layer.
    const order = () => {
      const shown = layers.filter((layer) => layer.on && layer.survey.features).reverse();
      for (const layer of shown) layer.eachLayer((inner) => inner.bringToFront());
      for (const layer of shown) for (const badge of survey.badgesOf(layer)) badge.bringToFront();
      ground.placeNames();
    };
    const fill = (layer) => {
      const option = layer.survey.group ? chosen[layer.survey.group] : 0;
      if (layer.on && layer.choose && layer.option !== option) layer.choose(option);
    };
    const turn = (layer, on) => {
      layer.on = on;
      layer.entry.show(on);
      fill(layer);
      if (on) layer.addTo(map); else layer.remove();
      order();
    };
    const choose = (group, option) => {
      chosen[group] = option;
      map.closePopup();
      layers.forEach(fill);
      choosers[group].show(option);
      const {bounds} = plan.choices.find((one) => one.group === group);
      if (bounds.length) fit(bounds[option]);
      order();
    };
    const land = (hit) => {
      if (hit.place) { map.setView(hit.place, 17, {animate: false}); return; }
      const {layer, fact} = hit;
      const {group} = layer.survey;
      if (group && fact.of && !fact.of.includes(chosen[group])) choose(group, fact.of[0]);
      if (!layer.on) turn(layer, true);
      const path = layer.paths.get(fact);
      const bounds = path.getBounds ? path.getBounds() : L.latLngBounds([path.getLatLng()]);
      map.fitBounds(bounds, {animate: false, maxZoom: 17, padding: [60, 60]});
      path.openPopup(path.getLatLng ? path.getLatLng() : path.getCenter ? path.getCenter() : bounds.getCenter());
    };

    const panel = document.querySelector(".survey-panel");
    panel.append(survey.search(layers, plan.names, land));
    for (const choice of plan.choices) {
      choosers[choice.group] = chooser(choice, (option) => choose(choice.group, option));
      panel.append(choosers[choice.group].box);
      choosers[choice.group].show(choice.start);
    }
    for (const layer of layers) layer.on = layer.survey.show;
    panel.append(legend(layers, turn, (on) => { if (on) ground.addTo(map); else ground.remove(); }));

    const head = document.querySelector(".survey-buttons");
    const talk = languages(head);
    showPanel(map, head);
    word(map.getContainer(), "aria-label", ["地图，方向键移动", "Map, moved by the arrow keys"]);
    word(document.querySelector(".leaflet-control-zoom-in"), "title", ["放大", "Zoom in"]);
    word(document.querySelector(".leaflet-control-zoom-out"), "title", ["缩小", "Zoom out"]);
    tools(map);
    fitSheet(map);
    const first = plan.choices.find((one) => one.bounds.length);
    fit(first ? first.bounds[first.start] : plan.bounds);
    layers.forEach(fill);
    for (const layer of all) if (layer.on !== false) layer.addTo(map);
    // Names stand above the lines that they would else be crossed out by, and keep off the badges.
    if (map.getPane("surveyNames")) map.getPane("surveyNames").style.zIndex = 450;
    document.addEventListener("survey-language", ({detail}) => ground.setLanguage(detail));
    ground.setObstacles(obstacles(map, layers));
    talk();
    order();
  };
})();
