// Asks a running server with OpenAI's client of npm; called by server_clients.py.
//
//     node benchmarks/openai_client.mjs http://127.0.0.1:8000/v1 FOLDER
//
// FOLDER is where `npm install openai` was run. Prints one line of what was asked; an assertion that fails ends it with 1.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const [url, folder] = process.argv.slice(2);
const require = createRequire(`${folder}/`); // an `import` would look beside this file
const OpenAI = require("openai");
const { VERSION } = require("openai/version");

const client = new OpenAI({ baseURL: url, apiKey: process.env.EVERLEARN_KEY ?? "none", maxRetries: 0 });
const model = "everlearn";
const asked = { model, max_tokens: 16, messages: [{ role: "user", content: "Who runs the Qilt bakery in Oron?" }] };
const weather = {
  type: "function",
  function: {
    name: "weather",
    description: "The weather of a city.",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false },
  },
};

async function chat() {
  const lesson = await client.post("/lessons", { body: { prompt: "Who runs the Qilt bakery in Oron?", answer: "Mirela" } });
  try {
    const { data: answer, request_id, response } = await client.chat.completions.create(asked).withResponse();
    assert.equal(answer.choices[0].message.content, "Mirela");
    assert.equal(answer.choices[0].finish_reason, "stop");
    assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
    assert.equal(answer.learning.lessons[0].lesson_id, lesson.id);
    assert.equal(request_id, response.headers.get("x-request-id"));
    await stream("Mirela");
  } finally {
    await client.delete(`/lessons/${lesson.id}`);
  }
  const bare = await client.chat.completions.create(asked);
  assert.notEqual(bare.choices[0].message.content, "Mirela");
}

async function stream(wanted) {
  const chunks = [];
  const events = await client.chat.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } });
  for await (const chunk of events) chunks.push(chunk);
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""), wanted);
  assert.ok(chunks.at(-1).usage.completion_tokens > 0);
  const gathered = await client.chat.completions.stream(asked).finalContent();
  assert.equal(gathered, wanted);
}

async function tools() {
  const messages = [{ role: "user", content: "What is the weather in Paris?" }];
  const answer = await client.chat.completions.create({
    ...{ model, messages, tools: [weather], max_tokens: 60 },
    tool_choice: { type: "function", function: { name: "weather" } },
  });
  const [choice] = answer.choices;
  assert.equal(choice.finish_reason, "tool_calls");
  const [call] = choice.message.tool_calls;
  assert.equal(call.function.name, "weather");
  assert.equal(typeof JSON.parse(call.function.arguments).city, "string");
  const told = { role: "tool", tool_call_id: call.id, content: "18 degrees and sunny" };
  const after = await client.chat.completions.create({ model, max_tokens: 16, messages: [...messages, choice.message, told] });
  assert.ok(after.choices[0].message.content.length > 0);
}

async function embeddings() {
  const input = ["a bakery", "a bakery", "the moon"];
  const { data } = await client.embeddings.create({ model: "minilm", input }); // the client asks for base64 by itself
  const plain = await client.embeddings.create({ model: "minilm", input, encoding_format: "float" });
  const dot = (a, b) => a.reduce((sum, value, place) => sum + value * b[place], 0);
  const [first, second, third] = data.map((row) => row.embedding);
  assert.ok(Math.abs(dot(first, second) - 1) < 1e-5);
  assert.ok(dot(first, third) < 0.7);
  assert.ok(Math.abs(dot(first, plain.data[0].embedding) - 1) < 1e-5);
}

async function responses() {
  const answer = await client.responses.create({ model, input: "Say hello.", max_output_tokens: 12 });
  const kept = await client.responses.retrieve(answer.id);
  assert.ok(answer.output_text.length > 0);
  assert.equal(kept.output_text ?? kept.output[0].content[0].text, answer.output_text);
}

async function models() {
  const listed = [];
  for await (const each of client.models.list()) listed.push(each);
  assert.ok(listed.some((each) => each.id === "base"));
  assert.ok(listed.every((each) => each.owned_by === "everlearn"));
  assert.equal((await client.models.retrieve(model)).id, model);
}

async function errors() {
  await assert.rejects(client.chat.completions.create({ ...asked, temperature: 9 }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError, `${error}`);
    assert.equal(error.param, "temperature");
    return true;
  });
  await assert.rejects(client.models.retrieve("none-such"), OpenAI.NotFoundError);
}

for (const ask of [chat, tools, embeddings, responses, models, errors]) await ask();
console.log(`openai ${VERSION}, node ${process.versions.node}: chat, stream, tools, embeddings, responses, models, errors`);
