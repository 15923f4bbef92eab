// Curves: one chart a metric, a line a run. Zoom is shared by all charts of a page, and stays while points come in.
(() => {
  "use strict";
  const COLOURS = 10;
  const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]];
  const STEP = 0.25; // of what is seen: what a key zooms or moves by
  const root = () => document.getElementById("charts");
  const charts = new Map(); // metric → chart
  const hiddenLines = new Set();
  const settings = { smooth: 0, log: false, range: null };

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const digits = (value) => (value === null || value === undefined ? "–" : Number.isInteger(value) ? value.toLocaleString("en") : String(+value.toPrecision(4)));

  const order = []; // names of lines as they first came: a line keeps its colour
  const place = (name) => {
    if (!order.includes(name)) order.push(name);
    return order.indexOf(name);
  };
  const colour = (name) => style(`--line-${(place(name) % COLOURS) + 1}`);
  const dash = (name) => DASHES[Math.floor(place(name) / COLOURS) % DASHES.length];

  const smooth = (values) => {
    if (!settings.smooth) return values;
    let mean = 0;
    let weight = 0;
    return values.map((value) => {
      mean = settings.smooth * mean + (1 - settings.smooth) * value;
      weight = settings.smooth * weight + (1 - settings.smooth);
      return mean / weight;
    });
  };
  const joined = (lines) =>
    lines.length ? uPlot.join(lines.map((line) => [line.steps, smooth(line.values)])) : [[], []];

  const said = (chart, index) => {
    const { plot, readout, lines } = chart;
    const known = lines.map((line, n) => [line, plot.series[n + 1].show && plot.data[n + 1][index]]).filter(([, value]) => value !== null && value !== undefined && value !== false);
    if (!known.length) return;
    const near = known.find(([, ], n) => n === chart.near) || known[0];
    const name = lines.length > 1 ? `${near[0].name} · ` : "";
    readout.textContent = `${name}step ${digits(plot.data[0][index])} · ${digits(near[1])}`;
  };
  const rest = (chart) => {
    const shown = chart.lines.filter((line) => !hiddenLines.has(line.name));
    readoutOf(chart, shown);
  };
  const readoutOf = (chart, shown) => {
    const last = (line) => line.values[line.values.length - 1];
    chart.readout.textContent = isSingle(chart) ? `${digits(last(chart.lines[0]))} at step ${digits(chart.lines[0].steps[0])}` : shown.length === 1 ? digits(last(shown[0])) : shown.length ? `${shown.length} runs` : "";
  };

  const options = (chart) => {
    const axis = { stroke: style("--soft"), grid: { stroke: style("--grid"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const positive = chart.lines.every((line) => line.values.every((value) => value > 0));
    return {
      width: Math.max(200, chart.box.clientWidth),
      height: 210,
      padding: [10, 10, 0, 0],
      legend: { show: false },
      focus: { alpha: 0.25 },
      cursor: {
        sync: { key: "steps", setSeries: false },
        focus: { prox: chart.lines.length > 1 ? 24 : -1 },
        points: { size: 7 },
        drag: { x: true, y: false },
      },
      scales: {
        x: { time: false, range: (_, low, high) => settings.range || (low === high ? [low - 1, high + 1] : [low, high]) },
        y: { distr: settings.log && positive ? 3 : 1 },
      },
      axes: [
        { ...axis, size: 28, values: (_, splits) => splits.map((value) => value.toLocaleString("en", { notation: value >= 10000 ? "compact" : "standard" })) },
        { ...axis, size: 48, values: (_, splits) => splits.map((value) => (value === null ? "" : digits(value))) },
      ],
      series: [
        {},
        ...chart.lines.map((line) => ({
          label: line.name,
          show: !hiddenLines.has(line.name),
          stroke: colour(line.name),
          dash: dash(line.name),
          width: chart.lines.length > 20 ? 1 : 1.75,
          spanGaps: true,
          fill: chart.lines.length === 1 ? `${colour(line.name)}1a` : undefined,
          points: { show: line.steps.length < 25 },
        })),
      ],
      hooks: {
        setCursor: [(plot) => (plot.cursor.idx === null || plot.cursor.idx === undefined ? rest(chart) : said(chart, plot.cursor.idx))],
        setSeries: [(_, index) => { chart.near = index === null ? 0 : index - 1; }],
        setSelect: [(plot) => { if (plot.select.width > 4) zoom(plot.posToVal(plot.select.left, "x"), plot.posToVal(plot.select.left + plot.select.width, "x")); }],
      },
    };
  };

  const draw = (chart) => {
    chart.plot?.destroy();
    chart.plot = null;
    chart.box.replaceChildren();
    chart.figure.classList.toggle("single", isSingle(chart));
    if (isSingle(chart)) {
      rest(chart);
      return;
    }
    chart.plot = new uPlot(options(chart), joined(chart.lines), chart.box);
    chart.plot.over.addEventListener("dblclick", () => whole());
    rest(chart);
  };
  const isSingle = (chart) => chart.lines.length === 1 && chart.lines[0].steps.length === 1; // its value says it all
  const drawAll = () => charts.forEach(draw);

  const make = (metric) => {
    const figure = document.createElement("figure");
    figure.className = "chart";
    figure.tabIndex = 0;
    const caption = document.createElement("figcaption");
    const title = document.createElement("b");
    title.textContent = metric;
    const readout = document.createElement("span");
    caption.append(title, readout);
    const box = document.createElement("div");
    box.className = "plot";
    figure.append(caption, box);
    figure.setAttribute("role", "group");
    figure.setAttribute("aria-label", `Curve of ${metric}; its values are in the table below`);
    root().append(figure);
    const chart = { metric, figure, readout, box, lines: [], plot: null, near: 0 };
    figure.addEventListener("keydown", keys);
    new ResizeObserver(() => {
      if (chart.plot && Math.abs(chart.plot.width - box.clientWidth) > 1) chart.plot.setSize({ width: Math.max(200, box.clientWidth), height: 210 });
    }).observe(box);
    return chart;
  };

  const extent = () => {
    const steps = [...charts.values()].flatMap((chart) => chart.lines.flatMap((line) => [line.steps[0], line.steps[line.steps.length - 1]])).filter((step) => step !== undefined);
    return [Math.min(...steps), Math.max(...steps)];
  };
  const apply = () => {
    const [low, high] = extent();
    charts.forEach(({ plot }) => plot && plot.setScale("x", settings.range ? { min: settings.range[0], max: settings.range[1] } : { min: low, max: high }));
    const reset = document.querySelector("[data-reset]");
    if (reset) reset.disabled = !settings.range;
  };
  const zoom = (from, to) => {
    const [low, high] = extent();
    const range = [Math.max(low, Math.min(from, to)), Math.min(high, Math.max(from, to))];
    if (range[1] <= range[0]) return;
    settings.range = range[0] <= low && range[1] >= high ? null : range;
    charts.forEach(({ plot }) => plot && plot.setSelect({ width: 0, height: 0 }, false));
    apply();
  };
  const whole = () => { settings.range = null; apply(); };
  const keys = (event) => {
    const [low, high] = settings.range || extent();
    const by = (high - low) * STEP;
    const todo = {
      "+": () => zoom(low + by, high - by),
      "=": () => zoom(low + by, high - by),
      "-": () => zoom(low - by, high + by),
      ArrowLeft: () => zoom(low - by, high - by),
      ArrowRight: () => zoom(low + by, high + by),
      0: whole,
    }[event.key];
    if (!todo || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    todo();
  };

  const same = (chart, lines) => chart.plot && chart.lines.length === lines.length && chart.lines.every((line, n) => line.name === lines[n].name);
  const take = (sent) => {
    if (!root()) return;
    root().classList.toggle("none", !sent.length);
    for (const { metric, lines } of sent) {
      lines.forEach((line) => place(line.name));
      if (!charts.has(metric)) charts.set(metric, make(metric));
      const chart = charts.get(metric);
      const fresh = !same(chart, lines);
      chart.lines = lines;
      if (fresh) draw(chart);
      else {
        chart.plot.setData(joined(lines), true);
        rest(chart);
      }
    }
    const tools = document.querySelector("[data-charts-tools]");
    if (tools) tools.hidden = !sent.length;
    legend();
  };

  const legend = () => {
    const box = document.getElementById("legend");
    if (!box || box.childElementCount === order.length) return;
    box.hidden = order.length < 2;
    box.replaceChildren(...order.map((name) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", String(!hiddenLines.has(name)));
      const mark = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      mark.setAttribute("viewBox", "0 0 18 10");
      mark.setAttribute("aria-hidden", "true");
      const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
      for (const [key, value] of Object.entries({ x1: 0, x2: 18, y1: 5, y2: 5, class: `c${(place(name) % COLOURS) + 1}`, "stroke-dasharray": dash(name).join(" ") })) line.setAttribute(key, value);
      mark.append(line);
      button.append(mark, name);
      button.addEventListener("click", () => {
        if (!hiddenLines.delete(name)) hiddenLines.add(name);
        button.setAttribute("aria-pressed", String(!hiddenLines.has(name)));
        charts.forEach((chart) => {
          const index = chart.lines.findIndex((each) => each.name === name);
          if (index >= 0 && chart.plot) chart.plot.setSeries(index + 1, { show: !hiddenLines.has(name) });
          rest(chart);
        });
      });
      return button;
    }));
  };

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-smooth]")) settings.smooth = Number(event.target.value);
    else if (event.target.matches("[data-log]")) settings.log = event.target.checked;
    else return;
    drawAll();
  });
  document.addEventListener("click", (event) => { if (event.target.closest("[data-reset]")) whole(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);

  // Every report: what the stream sends meanwhile is kept, and shown when the user comes back to it.
  let every = false;
  let streamed = null;
  document.addEventListener("change", async (event) => {
    if (!event.target.matches("[data-every]")) return;
    every = event.target.checked;
    if (!every) {
      if (streamed) take(streamed);
      return;
    }
    const answer = await (await fetch(event.target.dataset.every)).json();
    if (answer.trouble) {
      every = event.target.checked = false;
      document.querySelector("[data-hint]").textContent = answer.trouble;
    } else if (every) take(answer.charts);
  });

  // The curves come with the page's own stream where it has one, else from a stream of their own.
  document.addEventListener("curves", (event) => {
    streamed = JSON.parse(event.detail.data);
    if (!every) take(streamed);
  });
  const start = () => {
    const box = root();
    if (!box || !box.dataset.curves) return;
    fetch(box.dataset.curves).then((answer) => answer.json()).then(take);
    if (!box.dataset.follow) return;
    const source = new EventSource(box.dataset.follow);
    source.addEventListener("curves", (event) => take(JSON.parse(event.data)));
    source.onopen = () => window.footplate.say(true);
    source.onerror = () => window.footplate.say(false);
  };
  start();
})();
