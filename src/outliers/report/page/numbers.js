// Numbers and texts as people read them. The numbers are those of report/numbers.cpp and the texts those of
// core/display.cpp, to the last character: tests hold both against the same goldens.

const finite = (v) => typeof v === "number" && Number.isFinite(v);
const grouped = (digits) => digits.replace(/\B(?=(\d{3})+$)/g, ",");
/** Three significant digits below 1,000, thousands with commas above: 0.19, 42.7, 1,199; 2.9e7 from ten million on. */
function number(v) {
  if (!finite(v)) return "not finite";
  const size = Math.abs(v);
  if (size >= 1e7) return v.toExponential(1).replace("+", "");
  if (size >= 999.5) return grouped(v.toFixed(0));
  if (size >= 99.95) return v.toFixed(0);
  if (size >= 9.995) return v.toFixed(1);
  if (size >= 0.0995 || size === 0) return v.toFixed(2);
  return size >= 0.0001 ? String(Number(v.toPrecision(2))) : v.toExponential(1);
}
const count = (v) => grouped(String(v));
/** A threshold, with all its digits: 0.3, 100, 65,504. */
const limit = (v) => String(v).replace(/^\d+/, grouped);
function percent(v) {
  if (!finite(v)) return "none";
  const value = v * 100;
  return `${value.toFixed(value !== 0 && Math.abs(value) < 9.95 ? 1 : 0)} %`;
}
function bytes(v) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; v >= 999.5 && unit < 4; ++unit) v /= 1000;
  return `${v.toFixed(unit === 0 || v >= 99.95 ? 0 : v < 9.995 ? 2 : 1)} ${units[unit]}`;
}
function seconds(v) {
  if (v < 59.95) return `${v.toFixed(v < 9.995 ? 2 : 1)} s`;
  const whole = Math.floor(v + 0.5), two = (n) => String(n).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

const HIDDEN = /[\p{Default_Ignorable_Code_Point}\u2028\u2029\ufff9-\ufffb]/u;
/** What cannot be seen, or turns the direction of what can, as an escape; joiners within words and emoji stay. */
function visible(text) {
  if (!HIDDEN.test(text)) return text;
  let out = "", before = 0;
  for (const character of text) {
    const point = character.codePointAt(0), joiner = point === 0x200c || point === 0x200d;
    const selector = (point >= 0xfe00 && point <= 0xfe0f) || (point >= 0x180b && point <= 0x180f && point !== 0x180e);
    const hidden = joiner ? before < 0x300 : !selector && HIDDEN.test(character);
    const hex = (digits) => point.toString(16).padStart(digits, "0");
    out += !hidden ? character : point <= 0xffff ? `\\u${hex(4)}` : `\\U${hex(8)}`;
    before = hidden ? 0 : point;
  }
  return out;
}
