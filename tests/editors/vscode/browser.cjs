// A browser for pytest: one JSON command a line on stdin, one JSON answer a line on stdout.
// Usage: node browser.cjs CHROMIUM      (playwright-core is found through NODE_PATH)
//
// Owns: the browser and its page. What is asserted is Python's.
"use strict";
const readline = require("node:readline");
const { chromium } = require("playwright-core");

// Looks at the ghost text in every frame, to see whether it goes away between two keys.
function watchFrames() {
  const seen = [];
  window.ghostFrames = seen;
  // The lines behind the first stand before it in the document, so by where they are on the screen.
  const place = (element) => ({ text: element.textContent, ...element.getBoundingClientRect().toJSON() });
  window.ghostText = () =>
    [...document.querySelectorAll(".ghost-text, .ghost-text-decoration, .ghost-text-decoration-preview")]
      .map(place)
      .sort((a, b) => a.top - b.top || a.left - b.left)
      .map((each) => each.text)
      .join("")
      .replaceAll("\u00a0", " ");
  const look = () => {
    seen.push({ at_ms: performance.now(), text: window.ghostText() });
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
  window.keys = [];
  addEventListener("keydown", (event) => window.keys.push({ at_ms: performance.now(), key: event.key }), true);
}

async function main() {
  const browser = await chromium.launch({ executablePath: process.argv[2], args: ["--no-sandbox", "--disable-gpu"] });
  const page = await browser.newPage({ viewport: { width: 1000, height: 560 } });
  page.setDefaultTimeout(240_000);
  await page.addInitScript(watchFrames);
  const commands = {
    open: ({ url }) => page.goto(url, { waitUntil: "domcontentloaded" }).then(() => null),
    press: ({ key }) => page.keyboard.press(key),
    type: ({ text, delay_ms }) => page.keyboard.type(text, { delay: delay_ms }),
    wait: ({ selector, patience_ms }) => page.waitForSelector(selector, { timeout: patience_ms }).then(() => true),
    click: ({ selector, patience_ms }) => page.locator(selector).first().click({ timeout: patience_ms }),
    evaluate: ({ script }) => page.evaluate(script),
    screenshot: ({ path, clip }) => page.screenshot({ path, clip, animations: "disabled" }).then(() => path),
  };
  const lines = readline.createInterface({ input: process.stdin });
  process.stdout.write('{"ready": true}\n');
  for await (const line of lines) {
    const command = JSON.parse(line);
    let answer;
    try {
      answer = { value: (await commands[command.do](command)) ?? null };
    } catch (error) {
      answer = { error: String(error) };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
  await browser.close();
}

main();
