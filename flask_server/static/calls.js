// What the page just did, as code for other programs: the same URL, the same form.

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`; // for a POSIX shell

const curl = (url, file) => `curl -F ${quoted(`image=@${file}`)} \\
  ${quoted(url)}`;

const typescript = (url) => `const body = new FormData();
body.append("image", file);            // a File, as an <input type="file"> gives it
const response = await fetch(${JSON.stringify(url)}, { method: "POST", body });
const answer = await response.json();
if (!response.ok) throw new Error(answer.detail);
const labels: [id: string, name: string, score: number][] = answer;`;

const python = (url, file) => `import requests

with open(${JSON.stringify(file)}, "rb") as picture:
    response = requests.post(${JSON.stringify(url)}, files={"image": picture}, timeout=30)
answer = response.json()
if not response.ok:
    raise SystemExit(answer["detail"])
for _, name, score in answer:
    print(f"{score:6.1%}  {name}")`;

/** The call as text in each language: language -> (URL, file name) -> code. */
export const calls = { curl, typescript, python };
