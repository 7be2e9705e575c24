// A cloud of points and paths in it, in perspective on a plain 2-D canvas: no WebGL, no library, nothing is fetched.
// Drag turns, shift and drag moves, the wheel comes nearer, a double click goes back; arrows, + and - do so, too.

const HEIGHT = 460; // pixels
const FIELD = 1.3; // focal length in heights of the picture
const HEIGHTS = ["#00204d", "#31446b", "#666970", "#958f78", "#cab969", "#ffea46"]; // cividis, from below
const COLORINGS = ["height", "features", "plain"]; // by what points are coloured
const PLAIN = "#7fa8c9", CRITICAL = "#cc79a7", HIDDEN = "#c4c4c4", INK = "#222222";
const NEAR = 0.45; // metres from the hand

const floats = (view) => new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));

function blend(share) {
  const place = Math.min(Math.max(share, 0), 1) * (HEIGHTS.length - 1);
  const low = Math.min(Math.floor(place), HEIGHTS.length - 2);
  const part = (color, k) => parseInt(color.slice(1 + 2 * k, 3 + 2 * k), 16);
  const mixed = [0, 1, 2].map((k) => {
    const [a, b] = [part(HEIGHTS[low], k), part(HEIGHTS[low + 1], k)];
    return Math.round(a + (b - a) * (place - low));
  });
  return `rgb(${mixed})`;
}

class Eye {
  // From where one looks: angles in radians, metres from the target, and by how much that was moved.
  constructor(model) {
    this.model = model;
    this.reset();
  }

  reset() {
    const home = this.model.get("home");
    [this.azimuth, this.elevation] = home.angles.map((angle) => (angle * Math.PI) / 180);
    this.nearer = 1;
    this.moved = [0, 0, 0];
  }

  aim(scene, height) {
    const home = this.model.get("home"), near = this.model.get("near") && scene.hand;
    const [sa, ca, se, ce] = [Math.sin, Math.cos].flatMap((f) => f(this.azimuth)).concat(
      [Math.sin, Math.cos].map((f) => f(this.elevation)));
    this.right = [-sa, ca, 0];
    this.up = [-ca * se, -sa * se, ce];
    this.toward = [ca * ce, sa * ce, se];
    this.target = (near ? scene.hand : home.middle).map((value, k) => value + this.moved[k]);
    this.distance = (near ? NEAR : 1.8 * home.radius) / this.nearer;
    this.focal = FIELD * height;
  }

  see(points, index) {
    // x to the right and y down in pixels from the middle, metres along the view, and how large a metre is there.
    const at = [0, 1, 2].map((k) => points[index + k] - this.target[k]);
    const along = (axis) => at[0] * axis[0] + at[1] * axis[1] + at[2] * axis[2];
    const depth = this.distance - along(this.toward);
    const scale = this.focal / Math.max(depth, 1e-3);
    return { x: scale * along(this.right), y: -scale * along(this.up), depth, scale };
  }
}

function drawPoints(pen, eye, scene, model) {
  const points = floats(scene.points), hidden = floats(scene.hidden), won = floats(scene.won);
  const size = model.get("size"), by = COLORINGS[model.get("coloring")], critical = model.get("critical");
  const { low, high } = model.get("home"), most = Math.max(1, ...won);
  pen.fillStyle = HIDDEN;
  for (let k = 0; k < hidden.length; k += 3) {
    const { x, y, depth } = eye.see(hidden, k);
    if (depth > 0) pen.fillRect(x - 1, y - 1, 2, 2);
  }
  const seen = Array.from(won, (count, k) => ({ ...eye.see(points, 3 * k), count, z: points[3 * k + 2] }));
  seen.sort((a, b) => b.depth - a.depth);
  for (const { x, y, depth, count, z } of seen.filter((each) => each.depth > 0)) {
    const radius = Math.max(0.6, (size * eye.distance) / depth);
    const share = by === "features" ? Math.sqrt(count / most) : (z - low) / (high - low || 1);
    pen.fillStyle = by === "plain" ? PLAIN : blend(share);
    pen.beginPath();
    pen.arc(x, y, radius, 0, 7);
    pen.fill();
    if (critical && count) {
      pen.strokeStyle = CRITICAL;
      pen.lineWidth = 1.6;
      pen.beginPath();
      pen.arc(x, y, radius + 2, 0, 7);
      pen.stroke();
    }
  }
}

function drawPaths(pen, eye, fan) {
  const data = floats(fan.paths), { count, length, executed } = fan;
  const part = (from, to, width, alpha) => {
    pen.lineWidth = width;
    pen.globalAlpha = alpha;
    pen.setLineDash(fan.dashed ? [5, 4] : []);
    for (let path = 0; path < count; path++) {
      let drawing = false;
      pen.beginPath();
      for (let step = from; step <= to; step++) {
        const { x, y, depth } = eye.see(data, 3 * (path * length + step));
        if (Number.isNaN(x)) break; // the simulation has ended there
        if (depth > 0 && drawing) pen.lineTo(x, y);
        else if (depth > 0) pen.moveTo(x, y);
        drawing = depth > 0; // behind the eye there is nothing to see
      }
      pen.stroke();
    }
  };
  pen.save();
  pen.strokeStyle = fan.color;
  pen.lineJoin = "round";
  const last = Math.min(executed, length - 1);
  part(last, length - 1, 1, count > 1 ? 0.6 : 0.9);
  part(0, last, fan.dashed ? 2 : 3, count > 1 ? 0.55 : 1);
  pen.restore();
}

function drawFrame(pen, eye, width, height) {
  // The world's axes in the lower left corner, and a scale at the depth of what one looks at in the right one.
  pen.font = "11px sans-serif";
  pen.lineWidth = 1.4;
  const corner = [-width / 2 + 34, height / 2 - 34];
  ["x", "y", "z"].forEach((name, k) => {
    const end = [corner[0] + 22 * eye.right[k], corner[1] - 22 * eye.up[k]];
    pen.strokeStyle = pen.fillStyle = ["#d55e00", "#009e73", "#0072b2"][k];
    pen.beginPath();
    pen.moveTo(...corner);
    pen.lineTo(...end);
    pen.stroke();
    pen.fillText(name, end[0] + 4 * eye.right[k] - 3, end[1] - 4 * eye.up[k] + 3);
  });
  const scale = eye.focal / eye.distance;
  const metres = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5].find((each) => each * scale > 50) || 1;
  const right = width / 2 - 16, bottom = height / 2 - 16;
  pen.strokeStyle = pen.fillStyle = INK;
  pen.beginPath();
  pen.moveTo(right - metres * scale, bottom);
  pen.lineTo(right, bottom);
  pen.stroke();
  pen.textAlign = "right";
  pen.fillText(`${Math.round(100 * metres)} cm`, right, bottom - 5);
  pen.textAlign = "left";
}

function listen(canvas, eye, draw) {
  const turn = (dx, dy) => {
    eye.azimuth -= 0.008 * dx;
    eye.elevation = Math.min(Math.max(eye.elevation + 0.008 * dy, -1.5), 1.5);
  };
  const move = (dx, dy) => {
    const metres = eye.distance / eye.focal;
    eye.moved = eye.moved.map((value, k) => value - metres * (dx * eye.right[k] - dy * eye.up[k]));
  };
  const come = (times) => {
    eye.nearer = Math.min(Math.max(eye.nearer * times, 0.2), 50);
  };
  const keys = {
    ArrowLeft: () => turn(-12, 0), ArrowRight: () => turn(12, 0), ArrowUp: () => turn(0, 12),
    ArrowDown: () => turn(0, -12), "+": () => come(1.2), "-": () => come(1 / 1.2), 0: () => eye.reset(),
  };
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons) return;
    (event.shiftKey || event.buttons > 1 ? move : turn)(event.movementX, event.movementY);
    draw();
  });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    come(Math.exp(-0.0015 * event.deltaY));
    draw();
  }, { passive: false });
  canvas.addEventListener("dblclick", () => {
    eye.reset();
    draw();
  });
  canvas.addEventListener("keydown", (event) => {
    if (!keys[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
    draw();
  });
}

function put(parent, tag, style, text = "") {
  const made = document.createElement(tag);
  made.style.cssText = style;
  made.textContent = text;
  parent.append(made);
  return made;
}

function tell(legend, scene, critical) {
  legend.replaceChildren();
  const row = (mark, label) => {
    const line = put(legend, "div", "display: flex; align-items: center; gap: 6px");
    put(put(line, "span", "width: 18px; display: flex; justify-content: center"), "span", mark);
    put(line, "span", "", label);
  };
  for (const { color, label, dashed } of scene.fans) {
    row(`width: 18px; border-top: 3px ${dashed ? "dashed" : "solid"} ${color}`, label);
  }
  if (critical) row(`width: 6px; height: 6px; border: 2px solid ${CRITICAL}; border-radius: 50%`, "wins a feature");
}

function render({ model, el }) {
  const small = "position: absolute; font: 12px sans-serif; pointer-events: none; color: #222222;";
  const box = put(el, "div", `position: relative; width: 100%; height: ${HEIGHT}px; background: white;`);
  const canvas = put(box, "canvas", "width: 100%; height: 100%; touch-action: none; cursor: grab; outline: none");
  const legend = put(box, "div", `${small} left: 8px; top: 6px; background: #ffffffb0`);
  const busy = put(box, "div", `${small} right: 8px; top: 6px; padding: 2px 8px; border-radius: 8px; background: #ffe8b0`);
  put(box, "div", `${small} left: 70px; bottom: 8px; color: #777777; font-size: 10px`,
    "drag: turn · shift+drag: move · wheel: nearer · double click: back");
  canvas.tabIndex = 0;
  canvas.dataset.lmSuppressShortcuts = "true"; // JupyterLab's, so that keys reach the canvas
  canvas.setAttribute("role", "img");
  const eye = new Eye(model), pen = canvas.getContext("2d");
  let due = 0, frames = 0;

  const paint = () => {
    due = 0;
    const scene = model.get("scene"), dense = window.devicePixelRatio || 1;
    const [width, height] = [box.clientWidth, box.clientHeight];
    if (!width || !scene.points) return;
    [canvas.width, canvas.height] = [Math.round(width * dense), Math.round(height * dense)];
    pen.setTransform(dense, 0, 0, dense, (dense * width) / 2, (dense * height) / 2);
    eye.aim(scene, height);
    drawPoints(pen, eye, scene, model);
    for (const fan of scene.fans) drawPaths(pen, eye, fan);
    drawFrame(pen, eye, width, height);
    tell(legend, scene, model.get("critical"));
    canvas.setAttribute("aria-label", scene.told);
    Object.assign(canvas.dataset, { frames: ++frames, number: scene.number, whole: scene.whole });
  };
  const draw = () => {
    due = due || requestAnimationFrame(paint);
  };
  const mark = () => {
    busy.textContent = model.get("busy");
    busy.hidden = !model.get("busy");
  };

  listen(canvas, eye, draw);
  for (const name of ["scene", "size", "coloring", "critical", "near"]) model.on(`change:${name}`, draw);
  model.on("change:home", () => {
    eye.reset();
    draw();
  });
  model.on("change:busy", mark);
  const watcher = new ResizeObserver(draw);
  watcher.observe(box);
  mark();
  draw();
  return () => {
    watcher.disconnect();
    cancelAnimationFrame(due);
  };
}

export default { render };
