import { byId } from "./dom.js";

const SMALL = 64; // pixels; what is smaller is shown with its pixels, not blurred
const drop = byId("drop");
const preview = byId("preview");

/** Call `take` with a File whenever a picture is chosen, photographed, dropped, pasted or picked from the samples. */
export function watchPictures(take) {
  const shown = (picture) => picture && take(show(picture));
  for (const input of [byId("file"), byId("camera")]) onChoice(input, shown);
  onDrop(shown);
  onPaste(shown);
  onSample(shown);
}

function show(picture) {
  URL.revokeObjectURL(preview.src);
  preview.hidden = true; // until it is known that the browser can draw it
  preview.src = URL.createObjectURL(picture);
  preview.alt = `The chosen picture, ${picture.name}`;
  byId("drop-hint").textContent = picture.name;
  return picture;
}

preview.addEventListener("load", () => {
  sharpen(preview);
  preview.hidden = false;
});

const sharpen = (image) => image.classList.toggle("pixels", image.naturalWidth < SMALL);

function onChoice(input, shown) {
  input.addEventListener("change", () => {
    shown(input.files[0]);
    input.value = ""; // so that the same file can be chosen again
  });
}

function onDrop(shown) {
  const mark = (over) => drop.classList.toggle("over", over);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    mark(true);
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget ?? mark(false));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(false);
    shown(event.dataTransfer.files[0]);
  });
}

function onPaste(shown) {
  document.addEventListener("paste", (event) => shown(event.clipboardData.files[0]));
}

function onSample(shown) {
  for (const image of document.querySelectorAll("#samples img")) {
    image.decode().then(() => sharpen(image), console.warn);
  }
  byId("samples")?.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const response = await fetch(button.querySelector("img").src);
    const bytes = await response.blob();
    shown(new File([bytes], button.dataset.name, { type: bytes.type }));
  });
}
