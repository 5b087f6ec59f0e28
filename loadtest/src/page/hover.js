'use strict';
// Under the pointer, the values of all lines at that place. Without it the page lacks nothing but this.
for (const svg of document.querySelectorAll('svg[data-hover]')) {
  const { top, bottom, lines } = JSON.parse(svg.dataset.hover);
  const box = svg.viewBox.baseVal;
  const make = (name, kind) => {
    const part = svg.appendChild(document.createElementNS('http://www.w3.org/2000/svg', name));
    part.setAttribute('class', kind);
    return part;
  };
  const hair = make('line', 'hair');
  hair.setAttribute('y1', top);
  hair.setAttribute('y2', bottom);
  const dots = lines.map((line) => make('circle', 'dot ' + line.class));
  dots.forEach((dot) => dot.setAttribute('r', 4.5));
  const tip = svg.parentNode.appendChild(document.createElement('div'));
  tip.className = 'tip';
  const hide = () => {
    tip.hidden = true;
    [hair, ...dots].forEach((part) => part.setAttribute('visibility', 'hidden'));
  };
  const say = (kind, text) => {
    const row = tip.appendChild(document.createElement(kind === null ? 'b' : 'div'));
    if (kind !== null) row.className = kind;
    row.textContent = text;
  };
  hide();
  svg.addEventListener('pointerleave', hide);
  svg.addEventListener('pointermove', (event) => {
    const seen = svg.getBoundingClientRect();
    const scale = box.width / seen.width;
    const x = (event.clientX - seen.left) * scale;
    const closer = (one, other) => (Math.abs(one[0] - x) < Math.abs(other[0] - x) ? one : other);
    const near = (points) => points.reduce((best, point) => closer(point, best));
    const found = lines.map((line) => near(line.points));
    const first = near(found);
    tip.replaceChildren();
    say(null, first[2]);
    hair.setAttribute('x1', first[0]);
    hair.setAttribute('x2', first[0]);
    hair.setAttribute('visibility', 'visible');
    lines.forEach((line, index) => {
      const [px, py, at, value] = found[index];
      // A line that has ended before this place has no value here.
      const here = Math.abs(px - first[0]) < 12;
      dots[index].setAttribute('cx', px);
      dots[index].setAttribute('cy', py);
      dots[index].setAttribute('visibility', here ? 'visible' : 'hidden');
      const name = lines.length > 1 ? line.name + ': ' : '';
      say(line.class + (here ? '' : ' off'), name + value + (here ? '' : ' (' + at + ')'));
    });
    tip.hidden = false;
    const left = first[0] / scale;
    const width = tip.offsetWidth;
    tip.style.left = (left + 14 + width > seen.width ? Math.max(0, left - 14 - width) : left + 14) + 'px';
    tip.style.top = svg.offsetTop + top / scale + 'px';
  });
}
