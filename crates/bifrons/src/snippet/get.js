// npm install undici@6
// node THIS-FILE URL...
const { ProxyAgent, fetch } = require("undici");

// The fetch of Node itself takes no proxy before version 24.
const dispatcher = new ProxyAgent({
  uri: <<PROXY>>,
  token: "Basic " + Buffer.from(<<PAIR>>).toString("base64"),
});

async function main() {
  for (const url of process.argv.slice(2)) {
    const response = await fetch(url, { dispatcher });
    if (!response.ok) throw new Error(`${response.status} ${url}`);
    process.stdout.write(await response.text());
  }
  await dispatcher.close();
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
