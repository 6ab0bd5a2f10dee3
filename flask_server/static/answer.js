import { byId, element, withVariable } from "./dom.js";

const answer = byId("answer");
const status = byId("status");

/** Say that the model is at work; what was shown stays until there is something new. */
export function showWaiting(model) {
  answer.setAttribute("aria-busy", "true");
  say(`Asking ${model} …`);
}

/** Show a prediction: labels as bars, stages as a waterfall. */
export function showPrediction(model, prediction) {
  answer.setAttribute("aria-busy", "false");
  say(prediction.version ? `${model}, version ${prediction.version}` : model);
  showAnswer(prediction.answer);
  showTime(prediction);
  answer.scrollIntoView({ block: "nearest" }); // on a phone it lies below the picture
}

/** Show a failure as its sentence. */
export function showFailure(problem) {
  answer.setAttribute("aria-busy", "false");
  say(problem.message, "failure");
  showAnswer([]);
  byId("time").hidden = true;
  answer.scrollIntoView({ block: "nearest" });
}

/** Labels as bars; what a model's own decode function made, as JSON. */
function showAnswer(given) {
  const labelled = Array.isArray(given) && given.every((row) => typeof row?.[2] === "number");
  byId("labels").replaceChildren(...(labelled ? given.map(labelBar) : []));
  byId("other-answer").textContent = labelled ? "" : JSON.stringify(given, null, 2);
}

function say(sentence, kind = "quiet") {
  status.textContent = sentence;
  status.className = kind;
}

function labelBar([wnid, name, score]) {
  const bar = element("span", { className: "fill", title: `${wnid}, score ${score}` });
  return element(
    "li",
    {},
    element("span", { className: "name" }, name.replaceAll("_", " ")),
    element("span", { className: "score" }, readable(score)),
    withVariable(bar, "--share", Math.min(Math.max(score, 0), 1)),
  );
}

/** Probabilities as per cent; scores of another kind as they are. */
function readable(score) {
  if (score < 0 || score > 1) return score.toPrecision(4);
  return score.toLocaleString("en", { style: "percent", minimumFractionDigits: 1 });
}

function showTime({ stages, elapsed }) {
  const rows = waterfall(stages, elapsed);
  byId("stages").replaceChildren(...rows.map((row) => stageBar(row, elapsed)));
  byId("elapsed").textContent = milliseconds(elapsed);
  byId("time").hidden = false;
}

/** Stages one after the other, then what the router did besides, then what lies outside it. */
function waterfall(stages, elapsed) {
  const known = stages.filter(({ name }) => name !== "total");
  const sum = known.reduce((ms, stage) => ms + stage.ms, 0);
  const total = stages.find(({ name }) => name === "total")?.ms ?? sum;
  const rows = [
    ...known,
    { name: "rest of router", ms: Math.max(total - sum, 0), kind: "beside" },
    { name: "network, browser", ms: Math.max(elapsed - total, 0), kind: "beside" },
  ];
  let start = 0;
  return rows.map((row) => ({ ...row, start: (start += row.ms) - row.ms }));
}

function stageBar({ name, ms, start, kind = "" }, elapsed) {
  const fill = withVariable(element("span", { className: `fill ${kind}` }), "--share", ms / elapsed);
  return element(
    "li",
    {},
    element("span", { className: "name" }, name),
    element("span", { className: "score" }, milliseconds(ms)),
    withVariable(fill, "--start", start / elapsed),
  );
}

const milliseconds = (ms) => `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
