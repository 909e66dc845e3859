// Clouds and boxes into the pixels of a 2D canvas: decoding, camera, z-buffer. No WebGL, nothing to load.
"use strict";

const FIELD_OF_VIEW = (30 * Math.PI) / 180;
const HIDDEN_LINE_OPACITY = 0.28;
const HEIGHT_RAMP = __HEIGHT_RAMP__;

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

// Points are stored as 16-bit steps from the low corner of their bounding box, little-endian, x y z of each point in turn.
function decodeItem(item) {
  const view = new DataView(bytesOf(item.points).buffer);
  const count = view.byteLength / 6;
  const points = new Float32Array(3 * count);
  for (let i = 0; i < points.length; i++) points[i] = item.low[i % 3] + item.step[i % 3] * view.getUint16(2 * i, true);
  const colors = item.colors ? bytesOf(item.colors) : heightColors(points);
  const extent = item.step.map((step) => 65535 * step);
  const wide = Math.max(extent[0], extent[1]) > 1.5 * extent[2]; // as rooms are
  return { ...item, count, points, colors, wide, sides: sidesOf(points), objects: objectsOf(item) };
}

// Just inside the sides of the cloud, along x, y and z; a few strays do not move a wall.
function sidesOf(points) {
  if (points.length === 0) return { low: [0, 0, 0], high: [0, 0, 0] };
  const sorted = [0, 1, 2].map((k) => points.filter((_, i) => i % 3 === k).sort());
  const [low, high] = [0.005, 0.995].map((share) => sorted.map((values) => values[Math.floor(share * values.length)]));
  const margin = 0.03 * Math.max(...high.map((value, k) => value - low[k]));
  return { low: low.map((value) => value + margin), high: high.map((value) => value - margin) };
}

function heightColors(points) {
  const heights = points.filter((_, i) => i % 3 === 2).sort();
  const low = heights[Math.floor(0.01 * heights.length)];
  const high = heights[Math.floor(0.99 * heights.length)];
  const colors = new Uint8Array(points.length);
  for (let i = 0; i < points.length; i += 3) {
    const share = Math.min(Math.max((points[i + 2] - low) / (high - low || 1), 0), 1) * (HEIGHT_RAMP.length - 1);
    const below = Math.min(Math.floor(share), HEIGHT_RAMP.length - 2);
    for (let k = 0; k < 3; k++) {
      colors[i + k] = HEIGHT_RAMP[below][k] + (share - below) * (HEIGHT_RAMP[below + 1][k] - HEIGHT_RAMP[below][k]);
    }
  }
  return colors;
}

// The twelve edges of cx cy cz dx dy dz yaw, and a spoke to its own +x on the top face, as pairs of corners.
function boxLines([cx, cy, cz, dx, dy, dz, yaw]) {
  const [cos, sin] = [Math.cos(yaw), Math.sin(yaw)];
  const at = (x, y, z) => [cx + cos * x * dx - sin * y * dy, cy + sin * x * dx + cos * y * dy, cz + z * dz];
  const corner = (i) => at(i & 4 ? 0.5 : -0.5, i & 2 ? 0.5 : -0.5, i & 1 ? 0.5 : -0.5);
  const lines = [[at(0, 0, 0.5), at(0.5, 0, 0.5)]];
  for (let i = 0; i < 8; i++) for (const bit of [4, 2, 1]) if (!(i & bit)) lines.push([corner(i), corner(i | bit)]);
  return lines;
}

// ---- camera: azimuth and elevation in radians, a target and a distance; z is up --------------------------------------

function axesOf(view) {
  const [ca, sa, ce, se] = [Math.cos(view.azimuth), Math.sin(view.azimuth), Math.cos(view.elevation), Math.sin(view.elevation)];
  return { back: [ce * ca, ce * sa, se], up: [-se * ca, -se * sa, ce], right: [-sa, ca, 0] };
}

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const moved = (a, b, amount) => [a[0] + amount * b[0], a[1] + amount * b[1], a[2] + amount * b[2]];

// The nearest view in this direction with everything in it: the tightest point on either side of each pair of planes of
// the frustum gives two equations in shift and distance.
function fittedView(cloud, aspect) {
  const places = cloud.objects.flatMap((object) => object.lines.flat());
  for (let i = 0; i < cloud.points.length; i += 3) places.push([cloud.points[i], cloud.points[i + 1], cloud.points[i + 2]]);
  if (places.length === 0) places.push([0, 0, 0]);
  const azimuth = (-60 * Math.PI) / 180;
  const elevation = ((cloud.wide ? 40 : 22) * Math.PI) / 180; // rooms from higher up
  const { back, up, right } = axesOf({ azimuth, elevation });
  const slopeUp = Math.tan(FIELD_OF_VIEW / 2) * 0.9;
  const tightest = { near: -Infinity, sides: [-Infinity, -Infinity, -Infinity, -Infinity], low: Infinity };
  const slopes = [slopeUp * aspect, slopeUp * aspect, slopeUp, slopeUp];
  for (const place of places) {
    const near = dot(place, back);
    const along = [dot(place, right), -dot(place, right), dot(place, up), -dot(place, up)];
    tightest.near = Math.max(tightest.near, near);
    tightest.low = Math.min(tightest.low, near);
    for (let k = 0; k < 4; k++) tightest.sides[k] = Math.max(tightest.sides[k], along[k] + slopes[k] * near);
  }
  const [e, w, n, s] = tightest.sides;
  const eye = Math.max((e + w) / (2 * slopes[0]), (n + s) / (2 * slopes[2]), tightest.near + 1e-3);
  const middle = (tightest.near + tightest.low) / 2;
  const target = moved(moved(moved([0, 0, 0], right, (e - w) / 2), up, (n - s) / 2), back, middle);
  return { azimuth, elevation, target, distance: eye - middle };
}

function projection(view, width, height) {
  const { back, up, right } = axesOf(view);
  const eye = moved(view.target, back, view.distance);
  const focal = height / 2 / Math.tan(FIELD_OF_VIEW / 2);
  return (x, y, z, out) => {
    const px = x - eye[0], py = y - eye[1], pz = z - eye[2];
    const depth = -(px * back[0] + py * back[1] + pz * back[2]);
    out[2] = depth;
    out[0] = width / 2 + (focal * (px * right[0] + py * right[1] + pz * right[2])) / depth;
    out[1] = height / 2 - (focal * (px * up[0] + py * up[1] + pz * up[2])) / depth;
  };
}

// ---- drawing ---------------------------------------------------------------------------------------------------------

// Draws the cloud and boxes of it into an ImageData; `buffer` is a Float32Array of as many pixels,
// `scale` of which go to one of the screen.
function paint(image, buffer, cloud, view, { pointSize, paper, objects, hovered, openSides, scale }) {
  const { width, height, data } = image;
  const project = projection(view, width, height);
  for (let i = 0; i < data.length; i += 4) {
    data[i] = paper[0]; data[i + 1] = paper[1]; data[i + 2] = paper[2]; data[i + 3] = 255;
  }
  buffer.fill(Infinity);
  const near = 1e-3 * view.distance;
  const at = [0, 0, 0];
  // Walls and ceiling between the eye and the room are left out: the sides that are seen from outside.
  const { back } = axesOf(view);
  const low = cloud.sides.low.map((value, k) => (openSides && back[k] < -0.1 ? value : -Infinity));
  const high = cloud.sides.high.map((value, k) => (openSides && back[k] > 0.1 ? value : Infinity));
  let [nearest, farthest] = [Infinity, 0];
  for (let i = 0; i < cloud.points.length; i += 3) {
    if (cloud.points[i] < low[0] || cloud.points[i] > high[0] || cloud.points[i + 1] < low[1] ||
      cloud.points[i + 1] > high[1] || cloud.points[i + 2] < low[2] || cloud.points[i + 2] > high[2]) continue;
    project(cloud.points[i], cloud.points[i + 1], cloud.points[i + 2], at);
    const x = at[0], y = at[1], z = at[2];
    if (z <= near) continue;
    const radius = Math.min(Math.max(((pointSize / 2) * view.distance) / z, 0.5), height / 8);
    if (x < -radius || y < -radius || x >= width + radius || y >= height + radius) continue;
    nearest = Math.min(nearest, z);
    farthest = Math.max(farthest, z);
    const column = Math.floor(x), row = Math.floor(y), reach = Math.ceil(radius);
    const top = Math.max(row - reach, 0), bottom = Math.min(row + reach, height - 1);
    const left = Math.max(column - reach, 0), right = Math.min(column + reach, width - 1);
    for (let r = top; r <= bottom; r++) {
      for (let c = left; c <= right; c++) {
        const inside = (c + 0.5 - x) ** 2 + (r + 0.5 - y) ** 2 <= radius * radius || (c === column && r === row);
        const pixel = r * width + c;
        if (!inside || z >= buffer[pixel]) continue;
        buffer[pixel] = z;
        data[4 * pixel] = cloud.colors[i]; data[4 * pixel + 1] = cloud.colors[i + 1]; data[4 * pixel + 2] = cloud.colors[i + 2];
      }
    }
  }
  const range = Math.max(farthest - nearest, 1e-6 * view.distance);
  shade(data, buffer, width, height, paper, nearest, range, scale > 1 ? 2 : 1);
  for (const object of objects) {
    const style = { color: object.color, half: (scale > 1 ? 1 : 0) + (object === hovered ? 1 : 0), dash: object.truth ? 6 * scale : 0 };
    for (const [start, end] of object.lines) drawLine(image, buffer, start, end, style, project, near, 0.01 * range);
  }
}

// Eye-dome lighting: a pixel is darkened by how far it lies behind its neighbours; far pixels fade into the paper.
function shade(data, buffer, width, height, paper, nearest, range, reach) {
  for (let r = 0; r < height; r++) {
    for (let c = 0; c < width; c++) {
      const pixel = r * width + c;
      const z = buffer[pixel];
      if (z === Infinity) continue;
      let behind = 0;
      if (c >= reach) behind += Math.min(Math.max(z - buffer[pixel - reach], 0) / range, 0.5);
      if (c < width - reach) behind += Math.min(Math.max(z - buffer[pixel + reach], 0) / range, 0.5);
      if (r >= reach) behind += Math.min(Math.max(z - buffer[pixel - reach * width], 0) / range, 0.5);
      if (r < height - reach) behind += Math.min(Math.max(z - buffer[pixel + reach * width], 0) / range, 0.5);
      const light = Math.exp(-1.25 * behind);
      const fade = 0.3 * Math.min(Math.max((z - nearest) / range, 0), 1);
      for (let k = 0; k < 3; k++) data[4 * pixel + k] = data[4 * pixel + k] * light * (1 - fade) + paper[k] * fade;
    }
  }
}

function drawLine(image, buffer, start, end, { color, half, dash }, project, near, bias) {
  const { width, height, data } = image;
  const [a, b] = [[0, 0, 0], [0, 0, 0]];
  project(...start, a);
  project(...end, b);
  if (a[2] <= near && b[2] <= near) return;
  if (a[2] <= near || b[2] <= near) {
    const cut = a[2] <= near ? a : b;
    const [behind, before] = a[2] <= near ? [start, end] : [end, start];
    const share = Math.min((2 * near - cut[2]) / Math.abs(a[2] - b[2]), 1);
    project(...behind.map((v, k) => v + share * (before[k] - v)), cut);
  }
  const along = Math.abs(b[0] - a[0]) >= Math.abs(b[1] - a[1]) ? 0 : 1;
  const [first, last] = a[along] <= b[along] ? [a, b] : [b, a];
  const stop = Math.min(Math.floor(last[along]), (along ? height : width) - 1);
  for (let step = Math.max(Math.floor(first[along]), 0); step <= stop; step++) {
    if (dash && Math.floor((step - first[along]) / dash) % 2) continue;
    const share = Math.min(Math.max((step + 0.5 - first[along]) / Math.max(last[along] - first[along], 1e-9), 0), 1);
    const middle = Math.floor(first[1 - along] * (1 - share) + last[1 - along] * share);
    const z = 1 / ((1 - share) / first[2] + share / last[2]);
    for (let other = middle - half; other <= middle + half; other++) {
      const [column, row] = along ? [other, step] : [step, other];
      if (column < 0 || row < 0 || column >= width || row >= height) continue;
      const pixel = row * width + column;
      const opacity = z <= buffer[pixel] + bias ? 1 : HIDDEN_LINE_OPACITY;
      for (let k = 0; k < 3; k++) data[4 * pixel + k] = data[4 * pixel + k] * (1 - opacity) + color[k] * opacity;
    }
  }
}
