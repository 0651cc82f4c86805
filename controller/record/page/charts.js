// Small line and area charts in SVG: fixed time window, axes with units, values under the pointer, no jitter.

import { h, s, say } from "./dom.js";
import { UNKNOWN, clock } from "./words.js";

const WINDOWS_S = [120, 300, 600, 900];
const MARGIN = { top: 8, right: 8, bottom: 20, left: 44 };
const HEIGHT = 170;

/** The least 1, 2, 2.5 or 5 times a power of ten that is not below `value`. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999999);
}

function timeDomain(points) {
  const end = points.at(-1).at;
  const length = WINDOWS_S.find((window) => end - points[0].at <= window) ?? WINDOWS_S.at(-1);
  return [end - length, end];
}

export class Chart {
  /**
   * spec: {title, unit, series: [{name, color, kind, value, base}], format, floor, whole, least}
   * kind: line, step, dash (a dashed line), area (from `base` to `value`); value and base take a point to a number.
   * floor: where the axis may begin above zero, a function from the least value to the axis' begin.
   */
  constructor(spec) {
    this.spec = spec;
    this.top = 0;
    this.points = [];
    this.hover = null;
    this.values = spec.series.map(() => h("b", {}, UNKNOWN));
    this.moment = h("span", {}, spec.unit);
    this.plot = s("svg", { class: "plot", role: "img", "aria-label": `${spec.title}, ${spec.unit}` });
    this.element = h("figure", { class: "chart" },
      h("header", {}, h("h2", {}, spec.title), this.moment),
      h("ul", { class: "legend" }, spec.series.map((series, i) => series.silent ? null
        : h("li", {}, swatch(series), series.name, this.values[i]))),
      this.plot);
    this.plot.addEventListener("pointermove", (event) => this.point(event));
    this.plot.addEventListener("pointerleave", () => { this.hover = null; this.draw(); });
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  show(points) {
    this.points = points;
    this.draw();
  }

  point(event) {
    if (!this.points.length) return;
    const box = this.plot.getBoundingClientRect();
    const [from, to] = timeDomain(this.points);
    const share = (event.clientX - box.left - MARGIN.left) / (box.width - MARGIN.left - MARGIN.right);
    const at = from + share * (to - from);
    this.hover = this.points.reduce((best, p) => (Math.abs(p.at - at) < Math.abs(best.at - at) ? p : best)).at;
    this.draw();
  }

  /** The value axis. It grows at once and shrinks late, so that it stands still while values move. */
  valueDomain(points) {
    const { series, floor, least = 1 } = this.spec;
    const seen = points.flatMap((p) => series.map((one) => one.value(p))).filter(Number.isFinite);
    if (floor) return floor(Math.min(...seen, 1));
    const need = Math.max(...seen, least) * 1.04;
    if (need > this.top || need < this.top * 0.4) this.top = Math.ceil(need / this.step(need)) * this.step(need);
    return [0, this.top];
  }

  /** Between two grid lines, of which there are three to five. */
  step(length) {
    const step = nice(length / 4.001);
    return this.spec.whole ? Math.max(1, Math.ceil(step)) : step;
  }

  ticks([low, high]) {
    const step = this.step(high - low);
    const found = [];
    for (let value = Math.ceil(low / step - 1e-9) * step; value <= high * 1.000001; value += step) found.push(value);
    return found;
  }

  draw() {
    const width = this.plot.clientWidth;
    if (!this.points.length || !width) return;
    const times = timeDomain(this.points);
    const points = this.points.filter((p) => p.at >= times[0]);
    const values = this.valueDomain(points);
    const x = (at) => MARGIN.left + ((at - times[0]) / (times[1] - times[0])) * (width - MARGIN.left - MARGIN.right);
    const y = (value) => HEIGHT - MARGIN.bottom
      - ((value - values[0]) / (values[1] - values[0])) * (HEIGHT - MARGIN.top - MARGIN.bottom);
    this.plot.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const marks = this.spec.series.map((series) => s("path", {
      class: `mark ${series.kind} ${series.color}`, d: path(series, points, x, y),
    }));
    this.plot.replaceChildren(...this.axes(times, values, x, y, width), ...marks);
    this.read(points, x);
  }

  axes(times, values, x, y, width) {
    const rows = this.ticks(values).flatMap((value) => [
      s("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }),
      s("text", { x: MARGIN.left - 7, y: y(value) + 4, "text-anchor": "end" }, this.spec.format(value, true)),
    ]);
    const every = (times[1] - times[0]) / (width < 420 ? 3 : 5);
    const step = [30, 60, 120, 180, 300].find((seconds) => seconds >= every) ?? 300;
    const columns = [];
    for (let at = Math.ceil(times[0] / step) * step; at <= times[1]; at += step) {
      const near = x(at) < MARGIN.left + 16 || x(at) > width - 20;
      if (!near) columns.push(s("text", { x: x(at), y: HEIGHT - 4, "text-anchor": "middle" }, clock(at, step < 60)));
    }
    return [...rows, ...columns];
  }

  /** Values of the newest point, or of the one under the pointer. */
  read(points, x) {
    const hovered = points.find((p) => p.at === this.hover);
    const point = hovered ?? points.at(-1);
    this.spec.series.forEach((series, i) => say(this.values[i], this.spec.format(series.value(point, true))));
    say(this.moment, hovered ? `${clock(hovered.at)} · ${this.spec.unit}` : this.spec.unit);
    if (hovered) {
      this.plot.append(s("line", {
        class: "cursor", x1: x(hovered.at), x2: x(hovered.at), y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom,
      }));
    }
  }
}

/** Runs of known values: a gap in what is known is a gap in the line. */
function runs(series, points) {
  const found = [[]];
  for (const point of points) {
    if (Number.isFinite(series.value(point))) found.at(-1).push(point);
    else if (found.at(-1).length) found.push([]);
  }
  return found.filter((run) => run.length);
}

function path(series, points, x, y) {
  const stepped = series.kind === "step" || series.stepped;
  const trace = (run, value) => run.flatMap((point, i) => {
    const at = [x(point.at), y(value(point))];
    return stepped && i ? [[at[0], y(value(run[i - 1]))], at] : [at];
  });
  const text = (dots) => dots.map(([left, up]) => `${left.toFixed(1)},${up.toFixed(1)}`).join("L");
  return runs(series, points).map((run) => {
    const upper = trace(run, series.value);
    if (!["area", "solid"].includes(series.kind)) return `M${text(upper)}`;
    return `M${text(upper)}L${text(trace(run, series.base).reverse())}Z`;
  }).join("");
}

function swatch(series) {
  const filled = ["area", "solid"].includes(series.kind);
  const d = filled ? "M0,0H18V10H0Z" : "M0,5H18";
  return s("svg", { viewBox: "0 0 18 10", "aria-hidden": "true" },
    s("path", { class: `mark ${series.kind} ${series.color}`, d }));
}
