// Draws the points of a map on its canvas: 5 bytes each (x, y: 16 bits, group: 8), a hundred thousand in one stroke.
const NEAR = 9, WAIT = 90;
let map = null;

const bytesOf = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));

const read = (canvas) => {
  const bytes = bytesOf(canvas.dataset.points), view = new DataView(bytes.buffer), count = bytes.length / 5;
  const x = new Float32Array(count), y = new Float32Array(count), groups = new Map();
  for (let n = 0; n < count; n += 1) {
    x[n] = view.getUint16(n * 5, true) / 65535;
    y[n] = 1 - view.getUint16(n * 5 + 2, true) / 65535;
    const group = view.getUint8(n * 5 + 4);
    if (!groups.has(group)) groups.set(group, []);
    groups.get(group).push(n);
  }
  return { canvas, x, y, groups, count, hues: JSON.parse(canvas.dataset.hues),
    drawn: canvas.dataset.points + canvas.dataset.hues, zoom: 1, left: 0, top: 0, at: -1 };
};

const draw = () => {
  const begun = performance.now(), { canvas, x, y } = map;
  const width = canvas.clientWidth || 800, height = canvas.clientHeight || 500, sharp = window.devicePixelRatio || 1;
  canvas.width = width * sharp;
  canvas.height = height * sharp;
  const pen = canvas.getContext('2d');
  pen.scale(sharp, sharp);
  const size = Math.min(9, (map.count > 20000 ? 1.6 : map.count > 3000 ? 2.4 : 5) * Math.sqrt(map.zoom));
  pen.globalAlpha = map.count > 20000 ? 0.55 : 0.8;
  for (const [group, members] of map.groups) {
    pen.fillStyle = map.hues[Math.min(group, map.hues.length - 1)];
    for (const n of members) {
      const px = (x[n] - map.left) * map.zoom * (width - 20) + 10, py = (y[n] - map.top) * map.zoom * (height - 20) + 10;
      if (px > -9 && py > -9 && px < width + 9 && py < height + 9) dot(pen, px, py, size);
    }
  }
  canvas.dataset.ms = (performance.now() - begun).toFixed(1);
};

const dot = (pen, px, py, size) => {
  if (map.count > 3000) { pen.fillRect(px - size / 2, py - size / 2, size, size); return; }
  pen.beginPath();
  pen.arc(px, py, size / 2 + 1, 0, 7);
  pen.fill();
};

const nearest = (event) => {
  const { canvas, x, y } = map, box = canvas.getBoundingClientRect();
  const px = event.clientX - box.left, py = event.clientY - box.top;
  let best = -1, least = NEAR * NEAR;
  for (let n = 0; n < map.count; n += 1) {
    const dx = (x[n] - map.left) * map.zoom * (box.width - 20) + 10 - px;
    const dy = (y[n] - map.top) * map.zoom * (box.height - 20) + 10 - py;
    if (dx * dx + dy * dy < least) { least = dx * dx + dy * dy; best = n; }
  }
  return best;
};

const look = (factor) => {
  const middle = 0.5 / map.zoom;
  const zoom = Math.min(64, Math.max(1, map.zoom * factor));
  map.left = Math.max(0, Math.min(1 - 1 / zoom, map.left + middle - 0.5 / zoom));
  map.top = Math.max(0, Math.min(1 - 1 / zoom, map.top + middle - 0.5 / zoom));
  map.zoom = zoom;
  draw();
};

const settle = () => {
  const canvas = element.querySelector('canvas[data-points]');
  if (!canvas || (map && map.canvas === canvas && map.drawn === canvas.dataset.points + canvas.dataset.hues)) return;
  const known = map && map.canvas === canvas;
  map = read(canvas);
  draw();
  if (known) return;  // an update may keep the element and change what it says
  let wait = 0, from = null, moved = false;
  canvas.addEventListener('pointerdown', (event) => { from = event; moved = false; });
  canvas.addEventListener('pointerleave', () => { from = null; clearTimeout(wait); });
  canvas.addEventListener('pointermove', (event) => {
    if (from && event.buttons && map.zoom > 1) {
      moved = true;
      map.left = Math.max(0, Math.min(1 - 1 / map.zoom, map.left - event.movementX / canvas.clientWidth / map.zoom));
      map.top = Math.max(0, Math.min(1 - 1 / map.zoom, map.top - event.movementY / canvas.clientHeight / map.zoom));
      requestAnimationFrame(draw);
      return;
    }
    clearTimeout(wait);
    wait = setTimeout(() => {
      const n = nearest(event);
      canvas.style.cursor = n < 0 ? 'default' : 'pointer';
      if (n >= 0 && n !== map.at) { map.at = n; trigger('click', { act: 'peek', of: String(n) }); }
    }, WAIT);
  });
  canvas.addEventListener('click', (event) => {
    const n = nearest(event);
    if (n >= 0 && !moved) trigger('click', { act: 'open', of: String(n) });
  });
};

element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-zoom]');
  if (button && map) look(Number(button.dataset.zoom));
});
new MutationObserver(settle).observe(element,
  { childList: true, subtree: true, attributes: true, attributeFilter: ['data-points', 'data-hues'] });
new ResizeObserver(() => { if (map && map.canvas.isConnected) draw(); }).observe(element);
settle();
