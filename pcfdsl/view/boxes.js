// Boxes of a cloud: what was found and what is there, which of them are shown, and which one the pointer is on.

// Found and true boxes of an item, as one list.
function objectsOf(item) {
  const list = (boxes, labels, colors, scores, truth) =>
    boxes.map((box, k) => ({ box, label: labels[k] ?? "", color: colors[k], score: scores?.[k] ?? null, truth, lines: boxLines(box) }));
  return [
    ...list(item.boxes, item.box_labels, item.box_colors, item.box_scores, false),
    ...list(item.truth_boxes, item.truth_labels, item.truth_colors, null, true),
  ];
}

function nameOf({ label, score, truth }) {
  const words = [truth ? "truth:" : "", label || (score === null ? "box" : ""), score === null ? "" : score.toFixed(2)];
  return words.filter(Boolean).join(" ");
}

// Extents in metres and the yaw, for the pointer's hint.
function sizeOf([, , , dx, dy, dz, yaw]) {
  const size = [dx, dy, dz].map((metres) => metres.toFixed(2)).join(" × ");
  return `${size} m${yaw ? `, ${Math.round((yaw * 180) / Math.PI)}°` : ""}`;
}

// Names over all items, in order, each with its colour where that is the same everywhere.
function classesOf(items) {
  const found = new Map();
  const add = (labels, colors) => labels.forEach((label, k) => {
    const color = String(colors[k]);
    found.set(label, found.has(label) && found.get(label) !== color ? null : color);
  });
  for (const item of items) {
    add(item.box_labels, item.box_colors);
    add(item.truth_labels, item.truth_colors);
  }
  const names = [...found.keys()].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  return names.map((name) => ({ name, color: found.get(name) }));
}

// The boxes that the ray through a pixel meets, nearest first.
function boxesAt(objects, view, width, height, x, y) {
  const { back, up, right } = axesOf(view);
  const eye = moved(view.target, back, view.distance);
  const focal = height / 2 / Math.tan(FIELD_OF_VIEW / 2);
  const ray = moved(moved(back.map((value) => -focal * value), right, x - width / 2), up, height / 2 - y);
  const met = [];
  for (const object of objects) {
    const [cx, cy, cz, dx, dy, dz, yaw] = object.box;
    const [cos, sin] = [Math.cos(yaw), Math.sin(yaw)];
    const own = ([a, b, c]) => [cos * a + sin * b, cos * b - sin * a, c]; // in the frame of the box
    const [start, along] = [own([eye[0] - cx, eye[1] - cy, eye[2] - cz]), own(ray)];
    let [enter, leave] = [0, Infinity];
    [dx, dy, dz].forEach((extent, k) => {
      const sides = [-extent / 2, extent / 2].map((side) => (side - start[k]) / (along[k] || 1e-12));
      enter = Math.max(enter, Math.min(...sides));
      leave = Math.min(leave, Math.max(...sides));
    });
    if (enter <= leave) met.push({ object, enter });
  }
  return met.sort((a, b) => a.enter - b.enter).map(({ object }) => object);
}

// Names above the boxes, nearest first; one that would cover another is left out, except for that of the pointer's box.
function drawLabels(context, objects, hovered, project, scale, paper) {
  context.font = `600 ${13 * scale}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.lineWidth = 3 * scale;
  context.lineJoin = "round";
  context.strokeStyle = `rgb(${paper})`;
  const placed = [];
  const places = objects.filter((object) => (object.label || object.score !== null) && (!object.truth || object === hovered)).map((object) => {
    const at = [0, 0, 0];
    project(object.box[0], object.box[1], object.box[2] + object.box[5] / 2, at);
    return { object, x: at[0], y: at[1] - 4 * scale, depth: object === hovered ? -1 : at[2] };
  });
  places.sort((a, b) => a.depth - b.depth);
  for (const { object, x, y, depth } of places) {
    if (depth <= 0 && object !== hovered) continue;
    const text = nameOf(object);
    const half = context.measureText(text).width / 2 + 2 * scale;
    if (placed.some((p) => Math.abs(p.x - x) < p.half + half && Math.abs(p.y - y) < 15 * scale)) continue;
    placed.push({ x, y, half });
    context.fillStyle = `rgb(${readable(object.color, paper)})`;
    context.strokeText(text, x, y);
    context.fillText(text, x, y);
  }
}

// A colour moved towards black or white as far as text on the paper needs.
function readable(color, paper) {
  const away = paper[0] > 128 ? 0 : 255;
  const light = ([r, g, b]) => 0.299 * r + 0.587 * g + 0.114 * b;
  let text = color;
  for (let share = 0; share < 1 && Math.abs(light(text) - light(paper)) < 110; share += 0.1) {
    text = color.map((value) => Math.round(value + share * (away - value)));
  }
  return text;
}
