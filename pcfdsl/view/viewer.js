// The viewer itself: list, canvas, mouse, touch and keys. It follows draw.js in one script.
// The page holds one <div class="viewer"> with a <script type="application/json"> inside for every viewer.

function element(parent, tag, attributes = {}, text = "") {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = text;
  parent.append(node);
  return node;
}

function mountViewer(root) {
  const items = JSON.parse(root.querySelector("script").textContent).map((item) => ({ item, cloud: null }));
  const cloudAt = (k) => (items[k].cloud ??= decodeItem(items[k].item));
  const paper = () => (matchMedia("(prefers-color-scheme: dark)").matches ? [24, 26, 30] : [255, 255, 255]);
  const HELP = "Drag or arrow keys: turn. Wheel or + −: zoom. Shift-drag: move. 0: reset. N, P: next, previous. B: boxes. O: open sides.";

  const list = element(root, "ul", { class: "items", "aria-label": "Clouds" });
  const stage = element(root, "div", { class: "stage" });
  const canvas = element(stage, "canvas", { tabindex: 0, role: "img" });
  const bar = element(stage, "div", { class: "bar" });
  const status = element(bar, "output", { "aria-live": "polite" });
  const sizeLabel = element(bar, "label", {}, "Point size ");
  const sizeInput = element(sizeLabel, "input", { type: "range", min: 0.5, max: 8, step: 0.25, value: 2 });
  const boxesLabel = element(bar, "label", {}, " Boxes");
  const boxesInput = element(boxesLabel, "input", { type: "checkbox", checked: "" });
  boxesLabel.prepend(boxesInput);
  const openLabel = element(bar, "label", {}, " Open near sides");
  const openInput = element(openLabel, "input", { type: "checkbox" });
  openLabel.prepend(openInput);
  const reset = element(bar, "button", { type: "button" }, "Reset view");
  element(bar, "small", {}, HELP);

  const context = canvas.getContext("2d");
  let [current, view, waiting, still, buffer] = [0, null, false, 0, new Float32Array(0)];

  function draw(scale) {
    const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
    if (width < 2 || height < 2) return;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    if (buffer.length !== width * height) buffer = new Float32Array(width * height);
    const image = context.createImageData(width, height);
    const showBoxes = boxesInput.checked;
    const pointSize = sizeInput.value * scale;
    paint(image, buffer, cloudAt(current), view, { pointSize, paper: paper(), showBoxes, openSides: openInput.checked });
    context.putImageData(image, 0, 0);
    if (showBoxes) drawLabels(width, height, scale);
    canvas.dataset.drawn = items[current].item.caption;
  }

  function drawLabels(width, height, scale) {
    const { boxes, box_labels: labels, box_colors: colors } = cloudAt(current);
    const project = projection(view, width, height);
    const at = [0, 0, 0];
    context.font = `${13 * scale}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.lineWidth = 3 * scale;
    context.lineJoin = "round";
    context.strokeStyle = `rgb(${paper()})`;
    labels.forEach((label, k) => {
      project(boxes[k][0], boxes[k][1], boxes[k][2] + boxes[k][5] / 2, at);
      if (at[2] <= 0) return;
      context.fillStyle = `rgb(${colors[k]})`;
      context.strokeText(label, at[0], at[1] - 4 * scale);
      context.fillText(label, at[0], at[1] - 4 * scale);
    });
  }

  // While something moves the picture is drawn at screen resolution, and once at twice that when it rests.
  function redraw() {
    clearTimeout(still);
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw(1);
      still = setTimeout(() => draw(Math.max(2, Math.min(devicePixelRatio, 3))), 120);
    });
  }

  function fit() {
    view = fittedView(cloudAt(current), canvas.clientWidth / Math.max(canvas.clientHeight, 1));
    redraw();
  }

  function select(k) {
    current = (k + items.length) % items.length;
    const cloud = cloudAt(current);
    list.querySelectorAll("button").forEach((b, i) => b.setAttribute("aria-current", i === current));
    if (document.activeElement?.parentElement?.parentElement === list) list.children[current].firstChild.focus();
    // not scrollIntoView: that would scroll a whole report down to its viewer when it opens
    const item = list.children[current].getBoundingClientRect(), view = list.getBoundingClientRect();
    list.scrollTop += item.top - view.top - (view.height - item.height) / 2;
    list.scrollLeft += item.left - view.left - (view.width - item.width) / 2;
    const numBoxes = cloud.boxes.length;
    const counted = (n, one, many) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
    const facts = [cloud.caption, counted(cloud.num_points, "point", "points")];
    if (cloud.count < cloud.num_points) facts.push(`${cloud.count.toLocaleString("en")} shown`);
    if (numBoxes) facts.push(counted(numBoxes, "box", "boxes"));
    status.textContent = facts.filter(Boolean).join(" · ");
    canvas.setAttribute("aria-label", `${status.textContent}. ${HELP}`);
    boxesLabel.hidden = numBoxes === 0;
    openInput.checked = numBoxes > 1; // a room
    sizeInput.value = Math.min(Math.max(0.9 * Math.sqrt((canvas.clientWidth * canvas.clientHeight) / 2.5 / (cloud.count + 1)), 1.25), 4);
    fit();
  }

  const turn = (dx, dy) => {
    view.azimuth -= dx;
    view.elevation = Math.min(Math.max(view.elevation + dy, -Math.PI / 2), Math.PI / 2);
    redraw();
  };
  const zoom = (factor) => { view.distance *= factor; redraw(); };
  const pan = (dx, dy) => {
    const { up, right } = axesOf(view);
    const metres = (2 * Math.tan(FIELD_OF_VIEW / 2) * view.distance) / canvas.clientHeight;
    view.target = moved(moved(view.target, right, -dx * metres), up, dy * metres);
    redraw();
  };

  const fingers = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, event);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
    fingers.set(event.pointerId, event);
    if (fingers.size === 2) {
      const [other] = [...fingers.values()].filter((f) => f.pointerId !== event.pointerId);
      const spread = (f) => Math.hypot(f.clientX - other.clientX, f.clientY - other.clientY);
      pan(dx / 2, dy / 2);
      zoom(Math.max(spread(before), 1) / Math.max(spread(event), 1));
    } else if (event.shiftKey || event.buttons & 6) pan(dx, dy);
    else turn(dx / 150, dy / 150);
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    // Inside a report the wheel scrolls the page until the picture has been clicked.
    if (!root.classList.contains("whole-page") && document.activeElement !== canvas) return;
    event.preventDefault();
    zoom(Math.exp(event.deltaY * (event.deltaMode ? 0.04 : 0.0015)));
  }, { passive: false });
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target === sizeInput) return;
    const keys = {
      ArrowLeft: () => turn(-0.1, 0), ArrowRight: () => turn(0.1, 0), ArrowUp: () => turn(0, 0.1), ArrowDown: () => turn(0, -0.1),
      "+": () => zoom(0.9), "=": () => zoom(0.9), "-": () => zoom(1 / 0.9), 0: fit,
      n: () => select(current + 1), p: () => select(current - 1),
      b: () => { boxesInput.checked = !boxesInput.checked; redraw(); },
      o: () => { openInput.checked = !openInput.checked; redraw(); },
    };
    const action = keys[event.key] ?? keys[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  });
  sizeInput.addEventListener("input", redraw);
  boxesInput.addEventListener("change", redraw);
  openInput.addEventListener("change", redraw);
  reset.addEventListener("click", fit);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { redraw(); drawThumbnail(0); });

  items.forEach(({ item }, k) => {
    const button = element(element(list, "li"), "button", { type: "button" });
    element(button, "canvas", { width: 192, height: 144, "aria-hidden": true });
    element(button, "span", {}, item.caption);
    button.addEventListener("click", () => select(k));
  });
  list.hidden = items.length < 2;

  // One small picture at a time, so that a page of hundreds opens at once.
  function drawThumbnail(k) {
    if (k >= items.length || list.hidden) return;
    const small = list.children[k].querySelector("canvas");
    const [width, height] = [small.width, small.height];
    const cloud = cloudAt(k);
    const image = new ImageData(width, height);
    const thumbnailView = fittedView(cloud, width / height);
    const options = { pointSize: 1.5, paper: paper(), showBoxes: true, openSides: cloud.boxes.length > 1 };
    paint(image, new Float32Array(width * height), cloud, thumbnailView, options);
    small.getContext("2d").putImageData(image, 0, 0);
    setTimeout(() => drawThumbnail(k + 1));
  }

  select(0);
  let shape = 0;
  new ResizeObserver(() => {
    const aspect = canvas.clientWidth / canvas.clientHeight;
    if (Math.abs(aspect - shape) > 0.01) fit(); else redraw();
    shape = aspect;
  }).observe(canvas);
  setTimeout(() => drawThumbnail(0), 200);
}

document.querySelectorAll(".viewer").forEach(mountViewer);
