// Show /openapi.json, without a network: each path with its fields, an example for curl, and its answers.
const status = document.getElementById("status");

function make(tag, text = "", ...children) {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
}

function table(heads, rows) {
  const head = make("tr", "", ...heads.map((one) => make("th", one)));
  return make("table", "", head, ...rows.map((cells) => make("tr", "", ...cells.map((one) => make("td", one)))));
}

function curl(path, schema, token) {
  const words = ["curl"];
  if (token) words.push('-H "Authorization: Bearer $TOKEN"');
  for (const name of schema?.required ?? []) {
    const binary = schema.properties[name].format === "binary" || schema.properties[name].items?.format === "binary";
    words.push(binary ? `-F ${name}=@${name}.png` : `-F ${name}=...`);
  }
  words.push(schema ? "-o out.png" : "", `${location.origin}${path}`);
  return words.filter(Boolean).join(" ");
}

function section(path, method, operation, token) {
  const schema = operation.requestBody?.content["multipart/form-data"].schema;
  const parts = [make("h2", `${method.toUpperCase()} ${path}`), make("p", operation.summary)];
  if (operation.description) parts.push(make("p", operation.description));
  if (schema) {
    const rows = Object.entries(schema.properties).map(([name, field]) => [
      name, schema.required.includes(name) ? "yes" : "", field.format ?? field.type,
      [field.description, field.enum?.join(", "), field.maximum ? `${field.minimum} to ${field.maximum}` : ""]
        .filter(Boolean).join("; "),
    ]);
    parts.push(table(["field", "needed", "kind", "what it is"], rows));
  }
  parts.push(make("pre", curl(path, schema, token)));
  const answers = Object.entries(operation.responses).map(([code, one]) => [code, one.description]);
  const more = make("details", "", make("summary", "answers"), table(["status", "meaning"], answers));
  return make("section", "", ...parts, more);
}

const token = sessionStorage.getItem("token");
const headers = token ? { authorization: `Bearer ${token}` } : {};
const answer = await fetch("openapi.json", { headers, cache: "no-store" });
if (answer.ok) {
  const found = await answer.json();
  status.textContent = found.info.description;
  for (const [path, methods] of Object.entries(found.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      document.getElementById("paths").append(section(path, method, operation, found.security));
    }
  }
} else {
  status.textContent = answer.status === 401 ? "Give the token on the page first." : `The server answered ${answer.status}.`;
}
