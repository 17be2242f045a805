// Looks at the page that is shown: what is wrong with it at this width, and what can be read.
(width) => {
  const problems = [];
  const nameOf = (one) => `${one.tagName}.${one.getAttribute("class")}`;
  const root = document.documentElement;
  if (root.scrollWidth > width) {
    const over = [...document.querySelectorAll("body *")]
      .filter((one) => one.getBoundingClientRect().right > width + 1)
      .map(nameOf);
    problems.push(`${root.scrollWidth} pixels wide, not ${width}: ${over.slice(0, 5).join(", ")}`);
  }
  for (const svg of document.querySelectorAll("svg[role=img]")) {
    const names = (svg.getAttribute("aria-labelledby") || "").split(" ");
    if (!names.every((id) => (document.getElementById(id)?.textContent || "").trim())) {
      problems.push("a picture without a name");
    }
    const box = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")]
      .map((one) => [one.textContent, one.getBoundingClientRect()]);
    texts.forEach(([text, its], at) => {
      if (its.left < box.left - 1 || its.right > box.right + 1 || its.bottom > box.bottom + 2) {
        problems.push(`"${text}" sticks out of its picture`);
      }
      for (const [other, theirs] of texts.slice(at + 1)) {
        const apart = its.right <= theirs.left || theirs.right <= its.left ||
          its.bottom <= theirs.top + 2 || theirs.bottom <= its.top + 2;
        if (!apart) {
          problems.push(`"${text}" lies upon "${other}"`);
        }
      }
    });
  }
  // Contrast as WCAG 2 has it.
  const light = (color) => {
    const [r, g, b] = color.match(/[\d.]+/g).map((one) => {
      const part = one / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (!/, 0\)$/.test(color)) {
        return color;
      }
    }
    return "rgb(255, 255, 255)";
  };
  const faint = new Set();
  for (const one of document.querySelectorAll("body *")) {
    const own = [...one.childNodes]
      .some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || ["title", "desc"].includes(one.tagName)) {
      continue;
    }
    const style = getComputedStyle(one);
    const color = one instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [color, behind(one)].map(light).sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) {
      faint.add(`contrast ${ratio.toFixed(1)}: ${nameOf(one)}`);
    }
  }
  const text = document.body.innerText;
  return { problems: [...problems, ...faint], text, height: root.scrollHeight };
}
