// Prices of orders and of the position as lines of the chart. What can be changed is dragged: where it is dropped, a question opens with the
// old and the new price, and until the server says otherwise the line is where it was.

import { lib, token } from "./chart-theme.js";

const NEAR_PX = 6;
const KEPT_MS = 5000;
const STYLES = { order: 0, external: 1, entry: 1, stop: 2, target: 2 };

export class Lines {
  constructor(chart, host) {
    this.chart = chart;
    this.host = host;
    this.drawn = new Map();
    this.known = [];
    this.dragged = null;
    this.asked = null;
    // The library listens to mouse and touch on its canvas: on a line that can be moved neither may reach it.
    for (const name of ["mousedown", "touchstart"]) host.addEventListener(name, (event) => this.keep(event), { capture: true, passive: false });
    host.addEventListener("pointerdown", (event) => this.begin(event), { capture: true });
    host.addEventListener("pointermove", (event) => this.move(event));
    host.addEventListener("pointerup", (event) => this.drop(event));
    host.addEventListener("pointercancel", () => this.letGo());
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.dragged && this.letGo());
    this.dialog = document.getElementById("position-dialog");
    this.dialog?.addEventListener("close", () => this.answered());
    document.addEventListener("dialog-close", (event) => event.detail.id === "position-dialog" && this.accepted());
    chart.follow(this);
  }

  /** Show these, as the server gives them. */
  set(lines) {
    this.known = lines;
    if (this.dragged) return;
    this.asked = null;
    this.redraw();
  }

  redraw() {
    const wanted = new Map(this.known.map((line) => [`${line.kind} ${line.id} ${line.n}`, line]));
    for (const [key, { handle }] of this.drawn) {
      if (wanted.has(key)) continue;
      this.chart.price.removePriceLine(handle);
      this.drawn.delete(key);
    }
    for (const [key, line] of wanted) {
      const options = this.options(line);
      const drawn = this.drawn.get(key);
      if (drawn) drawn.handle.applyOptions(options);
      this.drawn.set(key, { line, handle: drawn?.handle ?? this.chart.price.createPriceLine(options) });
    }
    this.host.dataset.lines = JSON.stringify(this.known.map((line) => [line.kind, line.p]));
  }

  options(line) {
    return {
      price: Number(line.p),
      color: token(colourOf(line)),
      lineWidth: 1,
      lineStyle: [lib.LineStyle.Dashed, lib.LineStyle.Dotted, lib.LineStyle.LargeDashed][STYLES[line.kind]],
      axisLabelVisible: true,
      title: innerWidth > 760 ? line.label : "",
    };
  }

  paint() {
    this.redraw();
  }

  // ---- dragging

  at(event) {
    const y = event.clientY - this.host.getBoundingClientRect().top;
    let nearest = null;
    for (const drawn of this.drawn.values()) {
      if (!drawn.line.movable) continue;
      const place = this.chart.price.priceToCoordinate(Number(drawn.line.p));
      const distance = place === null ? Infinity : Math.abs(place - y);
      if (distance <= NEAR_PX && distance < (nearest?.distance ?? Infinity)) nearest = { ...drawn, distance };
    }
    return nearest;
  }

  begin(event) {
    const found = event.button === 0 ? this.at(event) : null;
    if (!found) return;
    this.dragged = { ...found, price: Number(found.line.p), from: event.clientY };
    this.host.setPointerCapture(event.pointerId);
    this.host.classList.add("is-dragging");
  }

  keep(event) {
    if (!this.dragged) return;
    event.stopImmediatePropagation();
    // A finger on a line moves the line, not the page.
    event.preventDefault();
  }

  move(event) {
    if (!this.dragged) {
      this.host.classList.toggle("is-movable", Boolean(this.at(event)));
      return;
    }
    const y = event.clientY - this.host.getBoundingClientRect().top;
    const price = this.chart.price.coordinateToPrice(y);
    if (price === null || price <= 0) return;
    this.dragged.price = Number(price.toFixed(this.chart.decimals));
    this.dragged.handle.applyOptions({ price: this.dragged.price });
  }

  drop(event) {
    const { dragged } = this;
    if (!dragged) return;
    const isMoved = Math.abs(event.clientY - dragged.from) >= 3 && dragged.price !== Number(dragged.line.p);
    if (!isMoved) {
      this.letGo();
      return;
    }
    this.dragged = null;
    this.host.classList.remove("is-dragging");
    this.asked = dragged;
    const { kind, id, n } = dragged.line;
    const query = new URLSearchParams({ price: dragged.price.toFixed(this.chart.decimals) });
    if (kind !== "order") query.append("line", kind);
    if (kind === "target") query.append("number", n);
    const address = `/trading/${kind === "order" ? "orders" : "positions"}/${id}/move?${query}`;
    window.htmx.ajax("GET", address, { target: "#position-dialog-content", swap: "outerHTML" })?.catch?.(() => this.letGo());
    // A question that does not come leaves the line where it was.
    setTimeout(() => this.asked === dragged && !this.dialog.open && this.letGo(), KEPT_MS);
  }

  letGo() {
    this.dragged = null;
    this.asked = null;
    this.host.classList.remove("is-dragging");
    this.redraw();
  }

  // Taken by the server: the line stays where it was put until the next lines come.
  accepted() {
    const { asked } = this;
    if (!asked) return;
    this.isAccepted = true;
    setTimeout(() => this.asked === asked && this.letGo(), KEPT_MS);
  }

  answered() {
    if (this.asked && !this.isAccepted) this.letGo();
    this.isAccepted = false;
  }
}

function colourOf(line) {
  if (line.kind === "stop") return "--down";
  if (line.kind === "target") return "--up";
  if (line.kind === "order") return line.side === "sell" ? "--warn" : "--primary";
  return line.kind === "entry" ? "--fg-2" : "--fg-3";
}
