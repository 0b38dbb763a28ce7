// What clients in Node do. Prints a line of JSON for each check.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect } from "node:net";

import { InferenceClient } from "@huggingface/inference";
import OpenAI, { NotFoundError, RateLimitError, UnprocessableEntityError } from "openai";

const { URL: url, LIMITED_URL: limitedUrl } = process.env;
const TEXTS = ["The film was a masterpiece.", "Shares fell sharply after the bad news."];
const packages = JSON.parse(readFileSync(here("./package.json"))).dependencies;

function here(path) {
  return new globalThis.URL(path, import.meta.url);
}

async function post(path, body) {
  const headers = { "content-type": "application/json" };
  const response = await fetch(url + path, { method: "POST", headers, body: JSON.stringify(body) });
  return response.json();
}

/** The embeddings that all clients have to get. */
const embed = (texts, options) => post("/embed", { inputs: texts, ...options });

/** In single precision: the client reads base64 as such. */
const bits = (rows) => rows.map((row) => Array.from(new Float32Array(row)));

const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });

async function openaiEmbeds() {
  const expected = bits(await embed(TEXTS));
  const rows = (answer) => bits(answer.data.map((data) => data.embedding));
  // Without an encoding_format the client asks for base64.
  const answer = await openai.embeddings.create({ model: "minilm", input: TEXTS });
  assert.deepEqual(rows(answer), expected);
  assert.ok(answer.usage.prompt_tokens > 12);
  const floats = { model: "minilm", input: TEXTS, encoding_format: "float" };
  assert.deepEqual(rows(await openai.embeddings.create(floats)), expected);
  const short = await openai.embeddings.create({ model: "minilm", input: TEXTS, dimensions: 64 });
  assert.deepEqual(rows(short), bits(await embed(TEXTS, { dimensions: 64 })));
  const ids = (await post("/tokenize", { inputs: TEXTS })).map((text) => text.map((it) => it.id));
  assert.equal((await openai.embeddings.create({ model: "minilm", input: ids })).data.length, 2);
}

async function openaiLists() {
  const models = [];
  for await (const model of openai.models.list()) models.push(model.id);
  assert.deepEqual(models.sort(), ["bert", "minilm"]);
}

async function openaiThrows() {
  const other = openai.embeddings.create({ model: "other", input: "a" });
  await assert.rejects(other, (error) => error instanceof NotFoundError && error.code === "model_not_found");
  const blank = openai.embeddings.create({ model: "minilm", input: ["a", ""] });
  await assert.rejects(blank, (error) => error instanceof UnprocessableEntityError && error.param === "input[1]");
}

async function openaiRetries() {
  // Most of a request that keeps the room that bodies share, until it is let go.
  const { hostname: host, port } = new globalThis.URL(limitedUrl);
  const upload = connect({ host, port: Number(port) });
  const head = `POST /embed HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\ncontent-length: 160000\r\n\r\n`;
  upload.write(`${head}{"inputs": "${"a".repeat(159000)}`);
  upload.on("error", () => {});
  const options = { baseURL: `${limitedUrl}/v1`, apiKey: "none" };
  const large = { model: "minilm", input: "a".repeat(180_000) };
  const once = new OpenAI({ ...options, maxRetries: 0 });
  for (let refused = false; !refused; ) {
    try {
      await once.embeddings.create(large);
    } catch (error) {
      assert.ok(error instanceof RateLimitError, error);
      refused = true;
    }
  }
  let refusedAt;
  const watched = async (...request) => {
    const response = await fetch(...request);
    if (response.status === 429) {
      refusedAt ??= performance.now();
      upload.destroy();
    }
    return response;
  };
  const patient = new OpenAI({ ...options, maxRetries: 5, fetch: watched });
  const answer = await patient.embeddings.create(large);
  assert.equal(answer.data[0].embedding.length, 384);
  // By itself the client comes back after half a second; timers may be a millisecond early.
  assert.ok(performance.now() - refusedAt >= 990);
}

const huggingFace = (path) => new InferenceClient().endpoint(url + path);

async function huggingFaceEmbeds() {
  const answer = await huggingFace("/").featureExtraction({ inputs: TEXTS });
  assert.deepEqual(answer, await embed(TEXTS));
}

async function huggingFaceCompares() {
  const inputs = { source_sentence: TEXTS[0], sentences: TEXTS };
  const answer = await huggingFace("/").sentenceSimilarity({ inputs });
  assert.equal(answer.length, 2);
  assert.ok(Math.abs(answer[0] - 1) < 1e-6 && answer[1] < 0.9);
}

async function huggingFaceClassifies() {
  const answer = await huggingFace("/heads/topic/predict").textClassification({ inputs: TEXTS[0] });
  const { results } = await post("/classify", { inputs: TEXTS[0], tasks: ["topic"] });
  assert.deepEqual(answer.map((it) => [it.label, it.score]), results[0].topic.scores.map((it) => [it.label, it.score]));
}

for (const [client, asserted, check] of [
  ["openai", "base64 by default, floats, dimensions, lists, token ids; usage", openaiEmbeds],
  ["openai", "models.list()", openaiLists],
  ["openai", "NotFoundError, UnprocessableEntityError, with code and param", openaiThrows],
  ["openai", "RateLimitError; with retries it waits for Retry-After and gets its answer", openaiRetries],
  ["@huggingface/inference", "featureExtraction at the server's address", huggingFaceEmbeds],
  ["@huggingface/inference", "sentenceSimilarity at the server's address", huggingFaceCompares],
  ["@huggingface/inference", "textClassification at /heads/{task}/predict", huggingFaceClassifies],
]) {
  let failure = null;
  try {
    await check();
  } catch (error) {
    console.error(error);
    failure = String(error).split("\n")[0];
  }
  console.log(JSON.stringify({ client: `${client} (Node)`, version: packages[client], asserted, failure }));
}
