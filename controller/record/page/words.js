// Numbers with their units, as people read them. What is not known is a dash, never a zero.

export const UNKNOWN = "–";

const known = (value) => value !== null && value !== undefined;

export const number = (value, digits = 1) => (known(value) ? value.toFixed(digits) : UNKNOWN);

export const count = (value) => (known(value) ? String(Math.round(value)) : UNKNOWN);

/** Cut, never rounded up: 0.9996 is no 100 %. */
export const percent = (ratio) =>
  known(ratio) ? `${(Math.floor(ratio * 1000 + 1e-9) / 10).toFixed(1)} %` : UNKNOWN;

export const target = (ratio) => `${Number((ratio * 100).toFixed(3))}\u00a0%`;

export const threshold = (seconds) => (seconds < 1 ? `${Number((seconds * 1000).toFixed(3))}\u00a0ms`
  : `${seconds}\u00a0s`);

export function clock(at, seconds = true) {
  const parts = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (seconds) parts.second = "2-digit";
  return new Intl.DateTimeFormat(undefined, parts).format(new Date(at * 1000));
}

export function since(at) {
  const date = new Date(at * 1000);
  const today = new Date().toDateString() === date.toDateString();
  return today ? clock(at) : `${date.toLocaleDateString()} ${clock(at)}`;
}

export const iso = (at) => new Date(at * 1000).toISOString();

export const replicas = (counts) => counts.map(([name, n]) => `${name} ${n}`).join(", ");

export function change(before, after) {
  const was = Object.fromEntries(before);
  return after.map(([name, n]) => (was[name] !== undefined && was[name] !== n ? `${name} ${was[name]} → ${n}`
    : `${name} ${n}`)).join(", ");
}

/** An estimate or input: its name carries the unit, which moves behind the number. */
export function quantity(name, value) {
  if (!known(value)) return UNKNOWN;
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 1 ? 2 : 3;
  const text = Number(value.toFixed(digits)).toString();
  const base = name.split(".")[0];
  if (base.endsWith("_ratio")) return `${Number((value * 100).toFixed(1))} %`;
  for (const [suffix, unit] of [["_rps_per_s", "requests/s²"], ["_rps", "requests/s"], ["_tps", "tokens/s"],
    ["_tokens", "tokens"], ["_per_hour", "/h"], ["_s", "s"]]) {
    if (base.endsWith(suffix)) return `${text} ${unit}`;
  }
  return text;
}

export function label(name) {
  const [base, ...variant] = name.split(".");
  const plain = base.replace(/_(ratio|rps_per_s|rps|tps|s)$/, "").replaceAll("_", " ");
  return variant.length ? `${plain}, ${variant.join(".")}` : plain;
}
