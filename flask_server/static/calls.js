// What the page just did, as code for other programs: the same URL, the same form. Where the router asks for an API key,
// the code reads it from a variable: the key itself is never shown.

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`; // for a POSIX shell

// In -F, a comma or a semicolon ends a file's name unless it stands in quotes.
const inForm = (file) => (/[,;"\\]|^\s|\s$/.test(file) ? `"${file.replace(/["\\]/g, "\\$&")}"` : file);

function curl(url, file, keyed) {
  const key = keyed ? ' -H "Authorization: Bearer $API_KEY"' : "";
  return `curl${key} -F ${quoted(`image=@${inForm(file)}`)} \\\n  ${quoted(url)}`;
}

function typescript(url, _file, keyed) {
  const key = keyed ? ", headers: { Authorization: `Bearer ${apiKey}` }" : "";
  return `const body = new FormData();
body.append("image", file);            // a File, as an <input type="file"> gives it
const response = await fetch(${JSON.stringify(url)}, { method: "POST", body${key} });
const answer = await response.json();
if (!response.ok) throw new Error(answer.detail);
const labels: [id: string, name: string, score: number][] = answer;`;
}

function python(url, file, keyed) {
  const key = keyed ? `\n        headers={"Authorization": f"Bearer {os.environ['API_KEY']}"},` : "";
  return `${keyed ? "import os\n\n" : ""}import requests

with open(${JSON.stringify(file)}, "rb") as picture:
    response = requests.post(
        ${JSON.stringify(url)},
        files={"image": picture},${key}
        timeout=30,
    )
answer = response.json()
if not response.ok:
    raise SystemExit(answer["detail"])
for _, name, score in answer:
    print(f"{score:6.1%}  {name}")`;
}

/** The call as text in each language: language -> (URL, file name, whether with an API key) -> code. */
export const calls = { curl, typescript, python };
