"use strict";

let api;

/** An element with attributes and children; texts are never read as HTML. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Prose with `code` in it, one paragraph for each of its own. */
function prose(text) {
  const holder = document.createDocumentFragment();
  for (const part of (text || "").split("\n\n").filter(Boolean)) {
    const pieces = part.split("`");
    holder.append(element("p", {}, ...pieces.map((piece, i) => (i % 2 ? element("code", {}, piece) : piece))));
  }
  return holder;
}

const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

const resolved = (schema) => (schema.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema);

/** A schema in a few words. */
function kind(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  for (const choice of ["oneOf", "anyOf"]) if (schema[choice]) return schema[choice].map(kind).join(" or ");
  if (schema.allOf) return schema.allOf.map(kind).join(" and ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(", ");
  if ("const" in schema) return JSON.stringify(schema.const);
  const types = [].concat(schema.type || "any");
  const named = types.map((type) => (type === "array" ? `list of ${kind(schema.items || {})}` : type)).join(" or ");
  const bounds = [];
  const say = (key, words) => key in schema && bounds.push(`${words} ${schema[key]}`);
  say("minimum", "at least"); say("exclusiveMinimum", "more than");
  say("maximum", "at most"); say("exclusiveMaximum", "less than");
  say("minItems", "items from"); say("maxItems", "items up to");
  say("maxLength", "characters up to"); say("pattern", "pattern"); say("default", "default");
  return bounds.length ? `${named} (${bounds.join(", ")})` : named;
}

/** All fields of an object, those of its parts included. */
function fields(schema) {
  const whole = resolved(schema);
  const parts = [...(whole.allOf || []), ...(whole.oneOf || []), ...(whole.anyOf || [])];
  const own = Object.entries(whole.properties || {}).map(([name, field]) => ({
    name, field, required: (whole.required || []).includes(name),
  }));
  return [...own, ...parts.flatMap(fields)];
}

function table(head, rows) {
  return element("table", {},
    element("thead", {}, element("tr", {}, ...head.map((cell) => element("th", { scope: "col" }, cell)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))))));
}

function schemaTable(schema) {
  const found = fields(schema);
  if (!found.length) return element("p", {}, element("code", {}, kind(schema)));
  return table(["Field", "What it is", "Meaning"], found.map(({ name, field, required }) => [
    element("code", {}, name + (required ? "" : "?")), kind(field), prose(field.description),
  ]));
}

function content(types) {
  return Object.entries(types || {}).flatMap(([type, holder]) => [
    element("p", { class: "quiet" }, type),
    holder.schema ? schemaTable(holder.schema) : null,
    ...Object.values(holder.examples || {}).map((example) => element("pre", { tabindex: "0" }, pretty(example.value))),
  ]);
}

/** A form that sends the request to this server. */
function trial(path, method, operation) {
  const inputs = (operation.parameters || []).map((parameter) => {
    const id = `${operation.operationId}-${parameter.in}-${parameter.name}`;
    const input = element("input", { id, autocomplete: "off" });
    return { parameter, input, label: element("label", { for: id }, `${parameter.name} (${parameter.in})`) };
  });
  const types = operation.requestBody ? Object.keys(operation.requestBody.content) : [];
  const type = element("select", { id: `${operation.operationId}-type` },
    ...types.map((name) => element("option", {}, name)));
  const body = element("textarea", { id: `${operation.operationId}-body`, spellcheck: "false" });
  const example = types.flatMap((name) => Object.values(operation.requestBody.content[name].examples || {}))[0];
  if (example) body.value = pretty(example.value);
  const outcome = element("pre", { tabindex: "0", role: "status" });
  const button = element("button", { type: "button" }, "Send");
  button.addEventListener("click", async () => {
    let url = path;
    const query = new URLSearchParams();
    const headers = {};
    for (const { parameter, input } of inputs) {
      if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value && parameter.in === "query") query.set(parameter.name, input.value);
      else if (input.value) headers[parameter.name] = input.value;
    }
    const request = { method: method.toUpperCase(), headers };
    if (types.length && body.value) {
      headers["content-type"] = type.value;
      request.body = body.value;
    }
    outcome.textContent = "…";
    try {
      const answer = await fetch(url + (query.size ? `?${query}` : ""), request);
      const told = answer.headers.get("content-type") || "";
      const text = told.includes("octet-stream") ? `${(await answer.arrayBuffer()).byteLength} bytes` : await answer.text();
      outcome.textContent = `${answer.status} ${answer.statusText}\n${told}\n\n${told.includes("json") ? pretty(JSON.parse(text)) : text}`;
    } catch (error) {
      outcome.textContent = `no answer: ${error.message}`;
    }
  });
  return element("details", {}, element("summary", {}, "Try it"),
    ...inputs.flatMap(({ label, input }) => [label, input]),
    ...(types.length ? [element("label", { for: type.id }, "Media type"), type, element("label", { for: body.id }, "Body"), body] : []),
    element("p", {}, button), outcome);
}

function route(path, method, operation) {
  const parameters = operation.parameters || [];
  const made = element("details", { id: operation.operationId },
    element("summary", {},
      element("span", { class: "method" }, method.toUpperCase()),
      element("span", { class: "route" }, path), ` ${operation.summary || ""}`),
    prose(operation.description),
    parameters.length ? element("h3", {}, "Parameters") : null,
    parameters.length ? table(["Name", "What it is", "Meaning"], parameters.map((it) => [
      element("code", {}, it.name + (it.required ? "" : "?")), `${it.in}: ${kind(it.schema)}`, prose(it.description),
    ])) : null,
    operation.requestBody ? element("h3", {}, "Request") : null,
    ...content(operation.requestBody && operation.requestBody.content),
    element("h3", {}, "Answers"),
    ...Object.entries(operation.responses).map(([status, answer]) => element("details", {},
      element("summary", {}, `${status}: ${answer.description.replaceAll("`", "")}`), ...content(answer.content))),
    trial(path, method, operation));
  made.dataset.words = `${method} ${path} ${operation.summary || ""}`.toLowerCase();
  return made;
}

async function show() {
  const routes = document.getElementById("routes");
  try {
    api = await (await fetch("openapi.json")).json();
  } catch (error) {
    routes.replaceChildren(element("p", { role: "alert" }, `The description could not be loaded: ${error.message}`));
    return;
  }
  document.getElementById("about").textContent = `${api.info.description || ""} Version ${api.info.version}.`;
  const all = Object.entries(api.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation })));
  routes.replaceChildren(...api.tags.map((tag) => element("section", { "aria-label": tag.name },
    element("h2", {}, tag.name), prose(tag.description),
    ...all.filter(({ operation }) => operation.tags.includes(tag.name))
      .map(({ path, method, operation }) => route(path, method, operation)))));
  const linked = location.hash && document.getElementById(location.hash.slice(1));
  if (linked) {
    linked.open = true;
    linked.scrollIntoView();
  }
  document.getElementById("search").addEventListener("input", ({ target }) => {
    for (const made of routes.querySelectorAll("section > details")) {
      made.hidden = !made.dataset.words.includes(target.value.toLowerCase());
    }
  });
}

show();
