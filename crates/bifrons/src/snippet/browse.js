// npm install playwright && npx playwright install chromium
// node THIS-FILE URL...           (CHROMIUM=/usr/bin/chromium for one that is installed)
const { chromium } = require("playwright");

const proxy = {
  server: <<PROXY>>,
  username: <<NAME>>,
  password: <<PASSWORD>>,
};

async function main() {
  const browser = await chromium.launch({ proxy, executablePath: process.env.CHROMIUM });
  try {
    const page = await browser.newPage();
    for (const url of process.argv.slice(2)) {
      const response = await page.goto(url);
      if (!response.ok()) throw new Error(`${response.status()} ${url}`);
      console.log(await page.content());
    }
  } finally {
    await browser.close();
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
