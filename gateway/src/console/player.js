// Plays the recording of a terminal. In: what the page's `data-recording` leads to, an asciicast (version 2) of what draws alone.
// Out: the terminal as it was, at any speed, from any moment. It asks nothing of anybody else.
import { Terminal } from '/xterm.mjs';

const LONGEST_PAUSE = 1;
const SPEEDS = [0.5, 1, 2, 4, 8, 16];
const by = (id) => document.getElementById(id);
const [play, speed, skip, at, clock, find, said] = ['play', 'speed', 'skip', 'at', 'clock', 'find', 'said'].map(by);

const answer = await fetch(by('terminal').dataset.recording);
if (!answer.ok) {
  said.textContent = (await answer.json()).error;
  throw new Error('no recording');
}
const [head, ...events] = (await answer.text()).trimEnd().split('\n').map((line) => JSON.parse(line));
const terminal = new Terminal({ cols: head.width, rows: head.height, disableStdin: true, screenReaderMode: true, scrollback: 10000 });
terminal.open(by('terminal'));

// What is looked for: the text that was written, and where each event's begins in it.
let text = '';
const begins = events.map(([, code, data]) => {
  const begin = text.length;
  if (code === 'o') text += data.replace(/\x1b(\[[0-?]*[ -/]*[@-~]|[()].|[@-Z\\^_`-~78])/g, '').toLowerCase();
  return begin;
});
let times = [];
let next = 0;
let now = 0;
let before = null;

const total = () => times.at(-1) ?? 0;
function arrange() {
  let sum = 0;
  let last = 0;
  times = events.map(([time]) => {
    sum += skip.checked ? Math.min(time - last, LONGEST_PAUSE) : time - last;
    last = time;
    return sum;
  });
  at.max = total();
}
function write(until) {
  for (; next < events.length && times[next] <= until; next += 1) {
    const [, code, data] = events[next];
    if (code === 'o') terminal.write(data);
    else if (code === 'r') terminal.resize(...data.split('x').map(Number));
  }
}
function show() {
  const shown = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, '0')}`;
  at.value = now;
  clock.textContent = `${shown(now)} / ${shown(total())}`;
  play.textContent = before === null ? 'Play' : 'Pause';
}
function go(to) {
  if (to < now || next === 0) {
    terminal.reset();
    terminal.resize(head.width, head.height);
    next = 0;
  }
  now = Math.min(Math.max(to, 0), total());
  write(now);
  show();
}
function stop() {
  before = null;
  show();
}
function tick(moment) {
  if (before === null) return;
  go(now + ((moment - before) / 1000) * Number(speed.value));
  before = moment;
  if (now >= total()) return stop();
  requestAnimationFrame(tick);
}
function start() {
  if (now >= total()) go(0);
  before = performance.now();
  show();
  requestAnimationFrame(tick);
}

play.addEventListener('click', () => (before === null ? start() : stop()));
at.addEventListener('input', () => go(Number(at.value)));
skip.addEventListener('change', () => {
  const played = next;
  arrange();
  go(played === 0 ? 0 : times[played - 1]);
});
find.addEventListener('submit', (event) => {
  event.preventDefault();
  stop();
  const wanted = new FormData(find).get('text').toLowerCase();
  // From behind what is shown, then from the beginning.
  const from = begins[next] ?? text.length;
  const found = [text.indexOf(wanted, from), text.indexOf(wanted)].find((place) => place >= 0);
  if (!wanted || found === undefined) {
    said.textContent = wanted ? 'It is nowhere in this recording.' : '';
    return;
  }
  const index = begins.findLastIndex((begin) => begin <= found + wanted.length - 1);
  go(times[index]);
  said.textContent = `Found at ${clock.textContent.split(' ')[0]}.`;
});
document.addEventListener('keydown', (event) => {
  if (['INPUT', 'SELECT', 'BUTTON', 'TEXTAREA'].includes(event.target.tagName)) return;
  const keys = {
    ' ': () => play.click(),
    ArrowLeft: () => go(now - 5),
    ArrowRight: () => go(now + 5),
    '+': () => (speed.value = SPEEDS[Math.min(SPEEDS.indexOf(Number(speed.value)) + 1, SPEEDS.length - 1)]),
    '-': () => (speed.value = SPEEDS[Math.max(SPEEDS.indexOf(Number(speed.value)) - 1, 0)]),
    '/': () => find.elements.text.focus(),
  };
  if (keys[event.key]) {
    event.preventDefault();
    keys[event.key]();
  }
});
arrange();
go(0);
