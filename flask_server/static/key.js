import { byId } from "./dom.js";
import { useKey } from "./router.js";

const form = byId("key-form");

/** Ask for an API key when the router wants one (a problem with status 401); `given` is called when it is there. */
export function watchKey(given) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    useKey(byId("key").value);
    given();
  });
}

/** Show the question for a key if that is what the problem is about. */
export function offerKey(problem) {
  form.hidden = problem?.status !== 401;
}
