// Opens a page of `ropewalk report` in headless Chromium: axe-core at phone and desktop width, no
// request beside the page, sorting, curves brought out, the saved data, screenshots. See README.md.
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";

const require = createRequire(path.join(process.cwd(), "package.json"));
const puppeteer = require("puppeteer-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf-8");
const [page_file, shots] = process.argv.slice(2);
const browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
let faults = 0;
const check = (right, what) => { console.log(`${right ? "ok  " : "FAIL"} ${what}`); faults += right ? 0 : 1; };

for (const [name, width, height, mobile] of [["phone", 360, 740, true], ["desktop", 1280, 900, false]]) {
  const page = await browser.newPage();
  const requests = [], messages = [];
  page.on("request", (request) => requests.push(request.url()));
  page.on("console", (message) => messages.push(message.text()));
  page.on("pageerror", (error) => messages.push(String(error)));
  await page.setViewport({ width, height, isMobile: mobile, deviceScaleFactor: mobile ? 2 : 1 });
  await page.goto(`file://${path.resolve(page_file)}`);
  check(requests.length === 1 && messages.length === 0, `${name}: one request, no message ${messages.join("; ")}`);
  const [scroll, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  check(scroll <= inner, `${name}: no sideways scroll of the page (${scroll} of ${inner})`);

  const sorted = await page.evaluate(() => {
    const table = document.querySelector(".sorts");
    const column = table.querySelectorAll("thead th").length - 1;
    table.querySelectorAll("thead button")[column].click();
    const values = [...table.tBodies[0].rows].map((row) => row.children[column].dataset.value);
    const numbers = values.filter((value) => value !== undefined).map(Number);
    const last = values.findIndex((value) => value === undefined);
    const inOrder = numbers.every((value, at) => at === 0 || numbers[at - 1] <= value);
    return inOrder && (last < 0 || last === numbers.length) && table.querySelectorAll("[aria-sort=ascending]").length === 1;
  });
  check(sorted, `${name}: a table sorts, what did not run last`);
  await page.focus(".legend button");
  await page.keyboard.press("Enter");
  const picked = await page.evaluate(() => document.querySelector("figure.picked .curve.on") !== null);
  check(picked, `${name}: a curve is brought out by the keyboard`);
  await page.keyboard.press("Enter");
  const saved = await page.evaluate(async () => {
    let blob = null;
    URL.createObjectURL = (each) => { blob = each; return "blob:none"; };
    HTMLAnchorElement.prototype.click = function () {};
    document.getElementById("save").click();
    await new Promise((done) => setTimeout(done, 500));
    return JSON.parse(await blob.text()).runs.length > 0 && document.getElementById("saved").textContent !== "";
  });
  check(saved, `${name}: the data can be saved`);
  if (shots) await page.screenshot({ path: path.join(shots, `${name}.png`), fullPage: true });
  // axe is put in by the debugger, which the page's content security policy does not bind.
  await page.evaluate(axe);
  const found = await page.evaluate(async () => (await window.axe.run()).violations);
  for (const each of found) console.log(`     ${each.impact} ${each.id}: ${each.help} (${each.nodes.length}) ${each.nodes[0].target}`);
  const serious = found.filter((each) => ["serious", "critical"].includes(each.impact));
  check(serious.length === 0, `${name}: axe finds nothing serious (${found.length} lesser findings)`);
  await page.close();
}
await browser.close();
process.exit(faults === 0 ? 0 : 1);
