/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/** Make an element: its tag, its properties, what is in it. */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Give an element a CSS variable; the strict CSP forbids style attributes, not this. */
export function withVariable(made, name, value) {
  made.style.setProperty(name, value);
  return made;
}
