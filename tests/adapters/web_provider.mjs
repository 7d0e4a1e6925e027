// OpenFeature's web SDK with its provider of OFREP, as a page would use it. argv: the server, a key.
// Prints what it was given as one JSON object; test_web_provider.py says what that must be.
import { OpenFeature } from "@openfeature/web-sdk";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";

const [baseUrl, key] = process.argv.slice(2);
const statuses = [];
const provider = new OFREPWebProvider({
  baseUrl,
  pollInterval: 200,
  headersFactory: () => [["Authorization", `Bearer ${key}`]],
  fetchImplementation: async (...request) => {
    const answer = await fetch(...request);
    statuses.push(answer.status);
    return answer;
  },
});
const user = async (targetingKey) => {
  await OpenFeature.setContext({ targetingKey });
  const { reason, variant, flagMetadata, value } = OpenFeature.getClient().getObjectDetails("triage", {});
  return { reason, variant, metadata: Object.keys(flagMetadata), messages: value.messages };
};

await OpenFeature.setContext({ targetingKey: "u0" });
await OpenFeature.setProviderAndWait(provider);
const client = OpenFeature.getClient();
while (!statuses.includes(304)) await new Promise((resume) => setTimeout(resume, 20)); // its next poll
const users = [];
for (let n = 0; n < 20; n++) users.push(await user(`u${n}`));
await OpenFeature.setContext({});
const nobody = client.getObjectDetails("triage", {});
const told = {
  users,
  nobody: [nobody.reason, nobody.variant, Object.keys(nobody.flagMetadata)],
  unknown: client.getObjectDetails("nothing", { messages: [] }).errorCode,
  otherType: client.getBooleanDetails("triage", false).errorCode,
  statuses,
};
console.log(JSON.stringify(told));
process.exit(0);
