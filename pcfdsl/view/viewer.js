// The viewer itself: list, canvas, mouse, touch and keys. It follows draw.js and boxes.js in one script.
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
  const HELP = "Drag or arrow keys: turn. Wheel or + −: zoom. Shift-drag: move. 0: reset. N, P: next, previous. B: boxes. T: truth. O: open sides. Point at a box: what it is.";

  const list = element(root, "ul", { class: "items", "aria-label": "Clouds" });
  const stage = element(root, "div", { class: "stage" });
  const canvas = element(stage, "canvas", { tabindex: 0, role: "img" });
  const bar = element(stage, "div", { class: "bar" });
  const status = element(bar, "output", { "aria-live": "polite" });
  const [, sizeInput] = slider("Point size", { min: 0.5, max: 8, step: 0.25, value: 2 });
  const [boxesLabel, boxesInput] = box("Boxes", true);
  const [truthLabel, truthInput] = box("Truth, dashed", true);
  const [openLabel, openInput] = box("Open near sides", false);
  const scores = items.flatMap(({ item }) => item.box_scores ?? []);
  const least = Math.floor(100 * Math.min(1, ...scores)) / 100;
  const [scoreLabel, scoreInput, scoreText] = slider("Score from", { min: least, max: 1, step: 0.01, value: least, name: "score" });
  scoreLabel.hidden = scores.length === 0;
  const reset = element(bar, "button", { type: "button" }, "Reset view");
  element(bar, "small", {}, HELP);
  const hint = element(stage, "div", { class: "hint", role: "status", hidden: "" });

  function slider(text, attributes) {
    const label = element(bar, "label", {}, text);
    const input = element(label, "input", { type: "range", ...attributes });
    return [label, input, element(label, "span", { class: "value" })];
  }
  function box(text, checked) {
    const label = element(bar, "label");
    const input = element(label, "input", { type: "checkbox", ...(checked ? { checked: "" } : {}) });
    label.append(text);
    return [label, input];
  }

  // A switch for each class, and one for all of them.
  const classes = classesOf(items.map(({ item }) => item));
  const hidden = new Set();
  const chips = element(stage, "div", { class: "classes", role: "group", "aria-label": "Classes" });
  chips.hidden = classes.length < 2;
  const chip = (text, action) => {
    const button = element(chips, "button", { type: "button" }, text);
    button.addEventListener("click", () => { action(); refilter(); });
    return button;
  };
  const allChip = chip("All", () => { if (hidden.size) hidden.clear(); else classes.forEach(({ name }) => hidden.add(name)); });
  const classChips = classes.map(({ name, color }) => {
    const button = chip(name, () => hidden.delete(name) || hidden.add(name));
    if (color) button.style.setProperty("--dot", `rgb(${color})`);
    return button;
  });
  function refilter() {
    allChip.setAttribute("aria-pressed", hidden.size === 0);
    classChips.forEach((button, k) => button.setAttribute("aria-pressed", !hidden.has(classes[k].name)));
    scoreText.textContent = Number(scoreInput.value).toFixed(2);
    describe();
    point(null);
  }

  const context = canvas.getContext("2d");
  let [current, view, waiting, still, buffer, hovered, untouched] = [0, null, false, 0, new Float32Array(0), null, true];
  const passes = ({ truth, label, score }) => (truth ? truthInput.checked : score === null || score >= scoreInput.value) && !hidden.has(label);
  const shownObjects = () => (boxesInput.checked ? cloudAt(current).objects.filter(passes) : []);

  function draw(scale) {
    const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
    if (width < 2 || height < 2) return;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    if (buffer.length !== width * height) buffer = new Float32Array(width * height);
    const image = context.createImageData(width, height);
    const objects = shownObjects();
    const pointSize = sizeInput.value * scale;
    paint(image, buffer, cloudAt(current), view, { pointSize, paper: paper(), objects, hovered, openSides: openInput.checked, scale });
    context.putImageData(image, 0, 0);
    drawLabels(context, objects, hovered, projection(view, width, height), scale, paper());
    canvas.dataset.drawn = items[current].item.caption;
  }

  // What the pointer is on: its line is thicker, and the hint names all boxes under it.
  function point(event) {
    const { left, top } = canvas.getBoundingClientRect();
    const [x, y] = event ? [event.clientX - left, event.clientY - top] : [-1, -1];
    const met = event ? boxesAt(shownObjects(), view, canvas.clientWidth, canvas.clientHeight, x, y).slice(0, 4) : [];
    hint.hidden = met.length === 0;
    hint.textContent = met.map((object) => `${nameOf(object)} · ${sizeOf(object.box)}`).join("\n");
    const room = canvas.clientWidth - hint.offsetWidth - 8;
    hint.style.left = `${Math.max(4, Math.min(x + 14, room))}px`;
    hint.style.top = `${Math.max(4, y + 14 + hint.offsetHeight > canvas.clientHeight ? y - hint.offsetHeight - 10 : y + 14)}px`;
    if (hovered !== (met[0] ?? null) || !event) { hovered = met[0] ?? null; redraw(); }
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
    untouched = true;
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
    boxesLabel.hidden = cloud.objects.length === 0;
    truthLabel.hidden = cloud.truth_boxes.length === 0;
    refilter();
    const numBoxes = cloud.objects.length;
    openInput.checked = numBoxes > 1; // a room
    sizeInput.value = Math.min(Math.max(0.9 * Math.sqrt((canvas.clientWidth * canvas.clientHeight) / 2.5 / (cloud.count + 1)), 1.25), 4);
    fit();
  }

  function describe() {
    const cloud = cloudAt(current);
    const count = (n) => n.toLocaleString("en");
    const some = (n, one) => `${count(n)} ${n === 1 ? one : one === "box" ? "boxes" : `${one}s`}`;
    const facts = [cloud.caption, some(cloud.num_points, "point")];
    if (cloud.count < cloud.num_points) facts[1] += `, of which ${count(cloud.count)} are shown`;
    const [all, shown] = [cloud.boxes.length, cloud.objects.filter((object) => !object.truth && passes(object)).length];
    if (all) facts.push(shown < all ? `${count(shown)} of ${some(all, "box")}` : some(all, "box"));
    if (cloud.truth_boxes.length) facts.push(`${count(cloud.truth_boxes.length)} in truth`);
    status.textContent = facts.filter(Boolean).join(" · ");
    canvas.setAttribute("aria-label", `${status.textContent}. ${HELP}`);
  }

  const turn = (dx, dy) => {
    untouched = false;
    view.azimuth -= dx;
    view.elevation = Math.min(Math.max(view.elevation + dy, -Math.PI / 2), Math.PI / 2);
    redraw();
  };
  const zoom = (factor) => { untouched = false; view.distance *= factor; redraw(); };
  const pan = (dx, dy) => {
    untouched = false;
    const { up, right } = axesOf(view);
    const metres = (2 * Math.tan(FIELD_OF_VIEW / 2) * view.distance) / canvas.clientHeight;
    view.target = moved(moved(view.target, right, -dx * metres), up, dy * metres);
    redraw();
  };

  const fingers = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, event);
    if (fingers.size === 1) point(event); // a finger cannot hover
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return point(event);
    const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
    if (dx || dy) point(null);
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
  canvas.addEventListener("pointerleave", () => fingers.size || point(null));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    // Inside a report the wheel scrolls the page until the picture has been clicked.
    if (!root.classList.contains("whole-page") && document.activeElement !== canvas) return;
    event.preventDefault();
    zoom(Math.exp(event.deltaY * (event.deltaMode ? 0.04 : 0.0015)));
  }, { passive: false });
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.type === "range") return;
    const keys = {
      ArrowLeft: () => turn(-0.1, 0), ArrowRight: () => turn(0.1, 0), ArrowUp: () => turn(0, 0.1), ArrowDown: () => turn(0, -0.1),
      "+": () => zoom(0.9), "=": () => zoom(0.9), "-": () => zoom(1 / 0.9), 0: fit,
      n: () => select(current + 1), p: () => select(current - 1),
      b: () => { boxesInput.checked = !boxesInput.checked; point(null); },
      t: () => { truthInput.checked = !truthInput.checked; point(null); },
      o: () => { openInput.checked = !openInput.checked; redraw(); },
    };
    const action = keys[event.key] ?? keys[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  });
  sizeInput.addEventListener("input", redraw);
  for (const input of [boxesInput, truthInput]) input.addEventListener("change", () => point(null));
  scoreInput.addEventListener("input", refilter);
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
    const options = { pointSize: 1.5, paper: paper(), objects: cloud.objects, openSides: cloud.objects.length > 1, scale: 1 };
    paint(image, new Float32Array(width * height), cloud, thumbnailView, options);
    small.getContext("2d").putImageData(image, 0, 0);
    setTimeout(() => drawThumbnail(k + 1));
  }

  select(0);
  let shape = 0;
  new ResizeObserver(() => {
    const aspect = canvas.clientWidth / canvas.clientHeight;
    if (untouched && Math.abs(aspect - shape) > 0.01) fit(); else redraw();
    shape = aspect;
  }).observe(canvas);
  setTimeout(() => drawThumbnail(0), 200);
}

document.querySelectorAll(".viewer").forEach(mountViewer);
