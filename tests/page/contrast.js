// Of all text on the page, what is fainter than WCAG 2.1 wants (1.4.3): its contrast with what is
// really behind it, opacity and all. What cannot be used has no need to be read.

(least) => {
  const parsed = (color) => {
    const numbers = /^rgba?\(([\d., ]+)\)$/.exec(color)?.[1].split(",").map(Number);
    if (!numbers) throw new Error(`not a colour that is known here: ${color}`);
    return { rgb: numbers.slice(0, 3), alpha: numbers[3] ?? 1 };
  };
  const over = (top, alpha, below) => below.map((value, place) => alpha * top[place] + (1 - alpha) * value);
  const light = (rgb) => {
    const [r, g, b] = rgb.map((value) => value / 255).map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [dark, bright] = [light(one), light(other)].sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05);
  };
  const line = (element) => (element ? [element, ...line(element.parentElement)] : []);
  const ground = (element) =>
    line(element).reverse().reduce((below, each) => {
      const { rgb, alpha } = parsed(getComputedStyle(each).backgroundColor);
      return over(rgb, alpha, below);
    }, [255, 255, 255]);
  const faint = [];
  let looked = 0;
  const check = (element, text, color) => {
    const behind = ground(element);
    const { rgb, alpha } = parsed(color);
    const shown = line(element).reduce((all, each) => all * Number(getComputedStyle(each).opacity), alpha);
    const found = ratio(over(rgb, shown, behind), behind);
    looked += 1;
    if (found < least) faint.push(`${found.toFixed(2)} ${element.tagName}.${element.getAttribute("class") ?? ""} ${text.slice(0, 40)}`);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.data.trim();
    const element = texts.currentNode.parentElement;
    if (!text || !element.checkVisibility() || element.closest(":disabled, noscript")) continue;
    const style = getComputedStyle(element);
    check(element, text, element instanceof SVGElement ? style.fill : style.color);
  }
  for (const input of document.querySelectorAll("input:not([type=checkbox])")) {
    if (!input.checkVisibility()) continue;
    check(input, `what is typed into ${input.id}`, getComputedStyle(input).color);
    check(input, `the example in ${input.id}`, getComputedStyle(input, "::placeholder").color);
  }
  return { looked, faint };
}
