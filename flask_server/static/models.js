import { byId, element } from "./dom.js";
import { offerKey } from "./key.js";
import { listModels } from "./router.js";

const EVERY_MS = 3000;
const group = byId("models");
const state = byId("models-state");

/** The chosen model's name, or an empty string while there is none. */
export const chosenModel = () => group.querySelector("input:checked")?.value ?? "";

/** Show the models and keep their states live; `changed` is called when another one is chosen. */
export function watchModels(changed) {
  group.addEventListener("change", changed);
  document.addEventListener("visibilitychange", () => document.hidden || refresh(changed));
  const again = async () => {
    if (!document.hidden) await refresh(changed);
    setTimeout(again, EVERY_MS);
  };
  again();
}

/** Ask for the models now; `changed` is called if that changes which one is chosen. */
export async function refresh(changed) {
  try {
    show(await listModels(), changed);
    say("");
    offerKey(null);
  } catch (problem) {
    say(problem.message);
    offerKey(problem);
  }
}

function say(sentence) {
  if (state.textContent !== sentence) state.textContent = sentence; // a live region speaks at every change
}

function show(models, changed) {
  const before = chosenModel();
  const rows = new Map([...group.children].map((row) => [row.dataset.name, row]));
  const wanted = models.map((model) => updated(rows.get(model.name) ?? newRow(model), model));
  // A row that is taken out and put back loses the focus, so they stay where they are.
  const others = wanted.length !== group.children.length || wanted.some((row, at) => row !== group.children[at]);
  if (others) group.replaceChildren(...wanted);
  if (!models.length) say("No model is configured: add a table to models.toml.");
  if (!chosenModel()) choose(models);
  if (chosenModel() !== before) changed();
}

function choose(models) {
  const first = models.find((model) => model.state === "AVAILABLE") ?? models[0];
  if (first) group.querySelector(`[value="${CSS.escape(first.name)}"]`).checked = true;
}

function newRow(model) {
  const radio = element("input", { type: "radio", name: "model", value: model.name });
  const row = element(
    "label",
    { className: "model" },
    radio,
    element("span", { className: "name" }, model.name),
    element("span", { className: "state" }),
    element("span", { className: "about quiet" }),
  );
  row.dataset.name = model.name;
  return row;
}

function updated(row, model) {
  row.dataset.state = model.state;
  setText(row.querySelector(".state"), stateOf(model));
  setText(row.querySelector(".about"), about(model));
  return row;
}

function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

const stateOf = (model) => model.state.toLowerCase().replaceAll("_", " ");

function about({ problem, labels, input_size: size, versions }) {
  if (problem) return problem;
  const newest = versions.find(({ state }) => state === "AVAILABLE");
  const facts = [
    labels && `${labels} labels`,
    size && `${size[1]} × ${size[0]} pixels`,
    newest && `version ${newest.version}`,
  ];
  return facts.filter(Boolean).join(", ");
}
