// The page in a real browser: the tools are there, one is tried, and nothing is asked of any other server.
// node page.mjs NODE_MODULES CHROMIUM URL SCREENSHOT [KEY]
import { createRequire } from "node:module";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [modules, executablePath, url, screenshot, key] = process.argv.slice(2);
const { chromium } = createRequire(join(modules, "/"))("playwright-core");
const origin = new URL(url).origin;

const profile = await mkdtemp(join(tmpdir(), "page-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  viewport: { width: 1280, height: 1100 },
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});

function expect(truth, words) {
  if (!truth) throw new Error(words);
}

async function look() {
  const page = await browser.newPage();
  const complaints = [], elsewhere = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    const asked = new URL(request.url());
    if (asked.protocol.startsWith("http") && asked.origin !== origin) elsewhere.push(request.url());
  });
  const began = Date.now();
  await page.goto(url);
  if (key) {
    await page.locator("#key").fill("this is not the key");
    await page.getByRole("button", { name: "Open" }).click();
    await page.locator("#refused").waitFor();
    await page.screenshot({ path: screenshot.replace(".png", "-door.png") });
    await page.locator("#key").fill(key);
    await page.getByRole("button", { name: "Open" }).click();
  }
  const tool = page.locator("#operations-guests-proxmox-list-vms");
  await tool.waitFor();
  console.log(`shown after ${Date.now() - began} ms`);
  // They are drawn as they come into sight.
  const last = page.locator("#operations-rest-stop-task");
  for (let screen = 0; screen < 100 && !(await last.isVisible()); screen++) {
    await page.evaluate(() => window.scrollTo(0, document.body.scrollHeight));
    await page.waitForTimeout(100);
  }
  const shown = await page.locator(".opblock").count();
  console.log(`${shown} operations`);
  expect(await last.isVisible(), "the last operation is not shown");
  await page.evaluate(() => window.scrollTo(0, 0));

  await tool.locator(".opblock-summary-control").click();
  const body = tool.locator("textarea.body-param__text");
  await body.fill('{"status": "running", "limit": 3}');
  await tool.getByRole("button", { name: "Execute" }).click();
  const answer = tool.locator(".live-responses-table .response");
  await answer.waitFor();
  const [status, said] = [await answer.locator(".response-col_status").innerText(), await answer.innerText()];
  expect(status.trim().startsWith("200"), `the tool answered ${status}`);
  expect(said.includes("web-01"), `no guest in ${said}`);
  await page.evaluate(() => window.scrollTo(0, 0));
  await page.screenshot({ path: screenshot });
  await tool.locator(".opblock-summary").evaluate((summary) => summary.scrollIntoView());
  await page.screenshot({ path: screenshot.replace(".png", "-tried.png") });
  // Two refusals are what the wrong key and no key were answered with.
  const unexpected = complaints.filter((text) => !(key && text.includes("401")));
  expect(unexpected.length === 0, unexpected.join("\n"));
  expect(elsewhere.length === 0, `asked other servers: ${elsewhere}`);
}

try {
  await look();
} finally {
  await browser.close();
  await rm(profile, { recursive: true, force: true });
}
