// A chart over time by uPlot, with its numbers in words beside it: those under the pointer, or else of the whole range.

import { classes, html, useEffect, useLayoutEffect, useRef, useState } from "./draw.js";
import { clock, language, say } from "./language.js";
import { useDark } from "./screen.js";
import { useValue } from "./value.js";

const HEIGHT = 170;
const LABEL = "11px system-ui, sans-serif";
const library = import("./vendor/uplot.js");

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function options({ lines, show, width, at, step, over }, paths) {
  const soft = colour("--soft");
  const grid = { stroke: colour("--line"), width: 1 };
  const axis = { stroke: soft, font: LABEL, grid, ticks: { show: false } };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
    scales: {
      x: { time: true, range: () => [at[0], at.at(-1) + step] },
      y: { range: (_, __, most) => [0, Math.max(most, 0) * 1.08 || 1] },
    },
    axes: [
      { ...axis, size: 26, gap: 4, space: 64, values: (_, ticks) => ticks.map(clock), grid: { show: false } },
      // Half a message is none: where all values are whole, so are the labels.
      {
        ...axis,
        size: 46,
        gap: 6,
        space: 34,
        values: (_, ticks) => ticks.map((tick) => show(tick)),
        incrs: whole(lines),
      },
    ],
    series: [
      {},
      ...lines.map((line) => ({
        stroke: colour(`--line-${line.colour}`),
        fill: line.colour === 4 ? colour("--line-4-fill") : undefined,
        width: 1.75,
        // What is counted lasts a step; what is measured is a point in it.
        paths: whole(lines) && paths.stepped({ align: 1 }),
        points: { show: !whole(lines) && line.values.filter((value) => value !== null).length < 40, size: 4.5 },
      })),
    ],
    hooks: { setCursor: [(plot) => over(plot.cursor.idx === null ? null : Math.min(plot.cursor.idx, at.length - 1))] },
  };
}

function whole(lines) {
  const values = lines.flatMap((line) => line.values).filter((value) => value !== null);
  if (!values.every(Number.isInteger)) return undefined;
  return [1, 2, 5]
    .flatMap((digit) => Array.from({ length: 9 }, (_, power) => digit * 10 ** power))
    .sort((a, b) => a - b);
}

/** Draws into `box`, anew when the look changes, and only the lines when the numbers do. */
function usePlot(box, { at, step, lines, show, over, look }) {
  const plot = useRef(null);
  const latest = useRef({});
  latest.current = { at, step, lines, show };
  const data = () => {
    const now = latest.current;
    const series = now.lines.map((line) => line.values);
    if (!whole(now.lines)) return [now.at, ...series];
    // To the end of the last step.
    return [[...now.at, now.at.at(-1) + now.step], ...series.map((values) => [...values, values.at(-1)])];
  };
  useEffect(() => {
    let left = false;
    let observer = null;
    library.then(({ default: Plot }) => {
      if (left) return;
      const width = box.current.clientWidth;
      plot.current = new Plot(options({ ...latest.current, width, over }, Plot.paths), data(), box.current);
      observer = new ResizeObserver(() => {
        if (box.current.clientWidth) plot.current?.setSize({ width: box.current.clientWidth, height: HEIGHT });
      });
      observer.observe(box.current);
    });
    return () => {
      left = true;
      observer?.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [look]);
  useLayoutEffect(() => plot.current?.setData(data()), [at, lines]);
}

const Numbers = ({ title, at, lines, show }) => html`
  <div class="wide" role="group" aria-label=${title} tabindex="0">
    <table>
      <thead>
        <tr>
          <th scope="col">${say("time")}</th>
          ${lines.map((line) => html`<th scope="col" key=${line.label}>${line.label}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${at
          .map((moment, index) => [moment, lines.map((line) => line.values[index])])
          .filter(([, values]) => values.some((value) => value))
          .reverse()
          .map(
            ([moment, values]) => html`<tr key=${moment}>
              <th scope="row">${clock(moment)}</th>
              ${values.map((value) => html`<td>${show(value)}</td>`)}
            </tr>`,
          )}
      </tbody>
    </table>
  </div>
`;

export function Chart({ title, note, at, step, hours, lines, show }) {
  const box = useRef(null);
  const [place, over] = useState(null);
  const [open, setOpen] = useState(false);
  // What a drawing depends on; the rest is data.
  const points = lines.some((line) => line.values.filter((value) => value !== null).length < 40);
  const look = [useDark(), useValue(language), step, hours, at[0], points, whole(lines) === undefined].join();
  usePlot(box, { at, step, lines, show, over, look });
  const empty = lines.every((line) => line.values.every((value) => !value));
  const under = place === null ? null : at[place];
  return html`
    <figure class=${classes("chart card", { bare: empty })}>
      <figcaption>
        <h3>${title}</h3>
        <span class="soft">${under ? clock(under) : note || say(hours === 1 ? "last_hour" : "last_day")}</span>
      </figcaption>
      <ul class="legend">
        ${lines.map(
          (line) => html`<li key=${line.label}>
            <span class="swatch line-${line.colour}" aria-hidden="true"></span>${line.label}
            <b>${show(under ? line.values[place] : line.total)}</b>
          </li>`,
        )}
      </ul>
      <div class="plot" ref=${box} aria-hidden="true">
        ${empty && html`<p class="plot-empty">${say("no_numbers")}</p>`}
      </div>
      ${
        !empty &&
        html`<details class="numbers" onToggle=${(event) => setOpen(event.target.open)}>
        <summary>${say("as_numbers")}</summary>
        ${open && html`<${Numbers} title=${title} at=${at} lines=${lines} show=${show} />`}
      </details>`
      }
    </figure>
  `;
}
