// Search over every name on a survey map, in both languages, by keyboard too.
(() => {
  "use strict";

  const {make, word} = survey;
  const MOST_FOUND = 12;

  function index(layers, names) {
    const found = [];
    for (const layer of layers) {
      if (!layer.survey.features || layer.survey.unsearched) continue;
      for (const fact of layer.survey.features) {
        found.push({title: fact.title, of: layer.survey.label, layer, fact,
          words: [].concat(fact.title).join("\n").toLowerCase()});
      }
    }
    for (const [title, lon, lat] of names) {
      found.push({title, of: ["街道", "Street"], place: [lat, lon], words: [].concat(title).join("\n").toLowerCase()});
    }
    return found;
  }

  survey.search = (layers, names, land) => {
    const entries = index(layers, names);
    const box = make("div", undefined, "survey-search");
    const input = Object.assign(make("input"), {type: "search", autocomplete: "off"});
    word(input, "placeholder", ["搜索名称", "Search a name"]);
    word(input, "aria-label", ["搜索名称", "Search a name"]);
    for (const [name, value] of [["role", "combobox"], ["aria-expanded", "false"], ["aria-controls", "survey-found"]]) {
      input.setAttribute(name, value);
    }
    const list = Object.assign(make("ul"), {id: "survey-found"});
    list.setAttribute("role", "listbox");
    const told = make("p", undefined, "survey-note");
    told.setAttribute("role", "status");
    let hits = [], at = -1;

    function point(n) {
      at = n;
      [...list.children].forEach((item, k) => item.setAttribute("aria-selected", k === n));
      if (n >= 0) input.setAttribute("aria-activedescendant", `survey-found-${n}`);
      else input.removeAttribute("aria-activedescendant");
    }
    function close() {
      list.textContent = "";
      input.setAttribute("aria-expanded", "false");
      point(-1);
    }
    function take(n) {
      const hit = hits[n];
      close();
      told.textContent = "";
      if (hit) land(hit);
    }
    function find() {
      const asked = input.value.trim().toLowerCase();
      close();
      told.textContent = "";
      if (!asked) return;
      const all = entries.filter(({words}) => words.includes(asked));
      // The name itself comes first, then names that begin with what was typed.
      const rank = ({words}) => `\n${words}\n`.includes(`\n${asked}\n`) ? 0 : `\n${words}`.includes(`\n${asked}`) ? 1 : 2;
      all.sort((a, b) => rank(a) - rank(b));
      hits = all.slice(0, MOST_FOUND);
      hits.forEach((hit, n) => {
        const item = Object.assign(make("li", hit.title), {id: `survey-found-${n}`});
        item.setAttribute("role", "option");
        item.append(make("small", hit.of));
        item.addEventListener("mousedown", (event) => { event.preventDefault(); take(n); });
        list.append(item);
      });
      input.setAttribute("aria-expanded", String(hits.length > 0));
      point(hits.length ? 0 : -1);
      const more = all.length - hits.length;
      told.append(make("span", all.length === 0 ? ["没有找到", "Nothing found"]
        : more ? [`共 ${all.length} 个，请再多输入几个字`, `${all.length} found; type more of the name`]
          : [`${all.length} 个结果`, `${all.length} found`]));
    }
    input.addEventListener("input", find);
    input.addEventListener("blur", close);
    input.addEventListener("keydown", (event) => {
      const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
      if (step && hits.length) point((at + step + hits.length) % hits.length);
      else if (event.key === "Enter") take(at);
      else if (event.key === "Escape") close();
      else return;
      event.preventDefault();
    });
    box.append(input, list, told);
    return box;
  };
})();
