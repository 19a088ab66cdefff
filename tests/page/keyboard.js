// What the keyboard has to reach, by names that outlive a row being drawn anew; and where it is.

() => {
  const nameOf = (element) =>
    element.id || element.getAttribute("href") || element.getAttribute("aria-label")?.slice(0, 20) || element.textContent;
  const said = (element) =>
    element.getAttribute("aria-label") || [...(element.labels ?? [])].map((label) => label.textContent).join() || element.textContent.trim();
  const all = [...document.querySelectorAll("a[href], button, input, summary, [tabindex='0']")]
    .filter((element) => element.checkVisibility() && !element.disabled);
  const here = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(here);
  return {
    all: all.map(nameOf),
    unlabelled: all.filter((element) => !said(element)).map((element) => element.outerHTML),
    here: here === document.body ? null : nameOf(here),
    isSeen: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2,
  };
}
