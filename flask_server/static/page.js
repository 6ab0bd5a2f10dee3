import { showFailure, showPrediction, showWaiting } from "./answer.js";
import { calls } from "./calls.js";
import { byId } from "./dom.js";
import { offerKey, watchKey } from "./key.js";
import { chosenModel, refresh, watchModels } from "./models.js";
import { watchPictures } from "./picture.js";
import { hasKey, predict, predictUrl } from "./router.js";

let picture = null;
let underWay = new AbortController();

async function ask() {
  const model = chosenModel();
  showCall();
  if (!picture || !model) return;
  underWay.abort(); // an answer to an earlier question is of no use any more
  underWay = new AbortController();
  showWaiting(model);
  try {
    showPrediction(model, await predict(model, picture, underWay.signal));
  } catch (problem) {
    if (problem.name === "AbortError") return;
    showFailure(problem);
    offerKey(problem);
  }
}

function showCall() {
  const language = document.querySelector("[name=language]:checked").value;
  const file = picture?.name ?? "photo.jpg";
  byId("call").textContent = calls[language](predictUrl(chosenModel()), file, hasKey());
}

async function copyCall() {
  const code = byId("call");
  getSelection().selectAllChildren(code);
  try {
    await navigator.clipboard.writeText(code.textContent);
    byId("copied").textContent = "Copied.";
  } catch {
    byId("copied").textContent = "Selected; copy it with Ctrl-C."; // without HTTPS there is no clipboard for pages
  }
}

watchPictures((chosen) => {
  picture = chosen;
  ask();
});
watchModels(ask);
for (const radio of document.getElementsByName("language")) radio.addEventListener("change", showCall);
byId("copy").addEventListener("click", copyCall);
watchKey(() => refresh(ask));
showCall();
