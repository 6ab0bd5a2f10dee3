// The only file of the page that talks to the router. Addresses are relative, so that a proxy may give it a prefix.

/** A failure in the router's own words, with its HTTP status. */
export class Problem extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

/** Where POSTs for a model go, absolute. */
export function predictUrl(model) {
  return new URL(`${encodeURIComponent(model)}/predict/`, document.baseURI).href;
}

/** All models with their states, as `GET /models/` lists them. */
export async function listModels() {
  const { body } = await answerOf(fetch("models/", { headers: access() }));
  return body;
}

/** Ask a model what a picture (a File) shows. */
export async function predict(model, picture, signal) {
  const form = new FormData();
  form.append("image", picture, picture.name);
  const started = performance.now();
  const call = fetch(predictUrl(model), { method: "POST", body: form, headers: access(), signal });
  const { body, headers } = await answerOf(call);
  return {
    answer: body,
    version: headers.get("X-Model-Version"),
    stages: stagesOf(headers.get("Server-Timing") ?? ""),
    elapsed: performance.now() - started,
  };
}

/** Keep the API key for this tab; routers that ask for none ignore it. */
export function useKey(key) {
  sessionStorage.setItem("key", key);
}

/** Whether an API key is sent. */
export const hasKey = () => sessionStorage.getItem("key") !== null;

function access() {
  const key = sessionStorage.getItem("key");
  return key ? { Authorization: `Bearer ${key}` } : {};
}

async function answerOf(call) {
  const response = await call.catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The router does not answer. Is it running?");
  });
  const body = await response.json().catch(() => ({}));
  if (response.ok) return { body, headers: response.headers };
  throw new Problem(response.status, body.detail ?? body.title ?? `The answer was ${response.status}.`);
}

/** `decode;dur=1.5, total;dur=9` (Server-Timing) -> [{name: "decode", ms: 1.5}, {name: "total", ms: 9}]. */
function stagesOf(header) {
  const entries = header.split(",").map((entry) => entry.trim().match(/^([^;\s]+).*;\s*dur=([\d.]+)/));
  return entries.filter(Boolean).map(([, name, ms]) => ({ name, ms: Number(ms) }));
}
