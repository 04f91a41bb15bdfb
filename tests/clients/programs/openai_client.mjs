// The official OpenAI client for Node.
import OpenAI from "openai";

const { MODEL: model } = process.env;
const messages = [{ role: "user", content: process.env.QUESTION }];
const tool = JSON.parse(process.env.TOOL);
const toolChoice = { type: "function", function: { name: tool.function.name } };
const client = new OpenAI({
  baseURL: process.env.TALLYGATE_BASE_URL,
  apiKey: process.env.TALLYGATE_API_KEY,
  maxRetries: 0,
});

const refusal = async (call) => {
  try {
    await call();
    return [];
  } catch (error) {
    return [error.constructor.name, error.status, error.code, error.param];
  }
};

const { data: whole, response, request_id } = await client.chat.completions.create({ model, messages }).withResponse();
const chunks = [];
for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) chunks.push(chunk);
const helped = await client.chat.completions.stream({ model, messages }).finalChatCompletion();
const asked = { model, messages, tools: [tool], tool_choice: toolChoice };
const called = await client.chat.completions.create(asked);
const [call] = called.choices[0].message.tool_calls;
let streamedArguments = "";
for await (const chunk of await client.chat.completions.create({ ...asked, stream: true }))
  for (const delta of chunk.choices[0]?.delta?.tool_calls ?? []) streamedArguments += delta.function?.arguments ?? "";
const told = await client.chat.completions.create({
  model,
  messages: [...messages, called.choices[0].message, { role: "tool", tool_call_id: call.id, content: "42" }],
  tools: [tool],
});
const schema = {
  type: "object",
  properties: { title: { type: "string" }, score: { type: "integer" }, tags: { type: "array", items: { type: "string" } } },
  required: ["title", "score", "tags"],
  additionalProperties: false,
};
const parsed = await client.chat.completions.parse({
  model,
  messages,
  response_format: { type: "json_schema", json_schema: { name: "answer", strict: true, schema } },
});
const models = [];
for await (const one of client.models.list()) models.push(one.id);

console.log(
  JSON.stringify({
    models,
    texts: [
      whole.choices[0].message.content,
      chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join(""),
      helped.choices[0].message.content,
    ],
    usages: [whole.usage, ...chunks.filter((chunk) => chunk.usage).map((chunk) => chunk.usage)],
    calls: [call.function.arguments, streamedArguments],
    after_tool: told.choices[0].message.content,
    parsed: parsed.choices[0].message.parsed ?? JSON.parse(parsed.choices[0].message.content),
    request_ids: [request_id, response.headers.get("x-request-id")],
    inference_id: response.headers.get("x-inference-id"),
    refusals: [
      await refusal(async () => client.withOptions({ apiKey: "tg-wrong" }).models.list()),
      await refusal(() => client.chat.completions.create({ model: "no-such-model", messages })),
      await refusal(() => client.chat.completions.create({ model, messages, n: 9 })),
    ],
  }),
);
