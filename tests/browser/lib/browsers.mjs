// Chromium (through playwright-core) and Firefox (through puppeteer-core and WebDriver BiDi) behind one
// small interface: a Client is one browser window of one person.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { chromium } from 'playwright-core';
import puppeteer from 'puppeteer-core';

const PROBE = readFileSync(new URL('./probe.js', import.meta.url), 'utf8');

const CHROMIUM_PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const FIREFOX_PATHS = ['/usr/bin/firefox-esr', '/usr/bin/firefox'];

const CHROMIUM_FLAGS = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
  '--auto-select-desktop-capture-source=Entire screen',
  '--autoplay-policy=no-user-gesture-required',
];

// Firefox hides host addresses behind mDNS names, which nobody resolves here; the rest keeps it from
// calling home or asking questions.
const FIREFOX_PREFERENCES = {
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
  'media.autoplay.default': 0,
  'media.gmp-manager.updateEnabled': false,
  'media.gmp-provider.enabled': false,
  'app.update.enabled': false,
  'browser.safebrowsing.malware.enabled': false,
  'browser.safebrowsing.phishing.enabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'extensions.update.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'network.lna.enabled': false,
  'network.lna.blocking': false,
  'toolkit.telemetry.enabled': false,
};

function executable(variable, candidates) {
  const wanted = process.env[variable];
  if (wanted) return wanted;
  const found = candidates.find((file) => existsSync(file));
  if (!found) throw new Error(`none of ${candidates.join(', ')} exists; set ${variable}`);
  return found;
}

/** One person at one browser window. */
class Client {
  constructor(name, engine, page, close) {
    this.name = name;
    this.engine = engine;
    this.page = page;
    this.log = [];
    this.errors = [];
    this.#close = close;
    page.on('console', (message) => this.#note(`console.${message.type()}: ${message.text()}`));
    page.on('pageerror', (error) => {
      this.errors.push(error.message);
      this.#note(`uncaught: ${error.stack ?? error.message}`);
    });
  }

  #close;

  #note(line) {
    if (this.log.length < 5000) this.log.push(`${new Date().toISOString()} ${line}`);
  }

  evaluate(fn, arg) {
    return this.page.evaluate(fn, arg);
  }

  /** Runs a script in each page before its own scripts. */
  async before(script) {
    if (this.engine === 'chromium') await this.page.addInitScript({ content: script });
    else await this.page.evaluateOnNewDocument(script);
  }

  async open(url) {
    await this.page.goto(url, { waitUntil: 'load', timeout: 30_000 });
  }

  async screenshot(file) {
    mkdirSync(path.dirname(file), { recursive: true });
    await this.page.screenshot({ path: file });
  }

  press(key) {
    return this.page.keyboard.press(key);
  }

  async resize(width, height) {
    if (this.engine === 'chromium') await this.page.setViewportSize({ width, height });
    else await this.page.setViewport({ width, height });
  }

  /** The browser's own statistics of all peer connections, read past the page. */
  raw() {
    return this.evaluate(() => window.__probe.read());
  }

  /** What the page says of itself (`window.rillway.snapshot()`). */
  snapshot() {
    return this.evaluate(() => window.rillway.snapshot());
  }

  /** Writes picture, log and both kinds of statistics into a folder. */
  async testify(folder) {
    const base = path.join(folder, this.name);
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${base}.log`, `${this.log.join('\n')}\n`);
    await this.screenshot(`${base}.png`);
    const state = await this.evaluate(async () => ({
      url: location.href,
      snapshot: await window.rillway?.snapshot?.(),
      raw: await window.__probe?.read(),
      ice: window.__probe?.ice,
      pairs: await window.__probe?.pairs(),
      remote: window.__probe?.connections.map((pc) => pc.remoteDescription?.sdp ?? null),
      local: window.__probe?.connections.map((pc) => pc.localDescription?.sdp ?? null),
    }));
    writeFileSync(`${base}.json`, `${JSON.stringify(state, null, 1)}\n`);
  }

  close() {
    return this.#close();
  }
}

async function chromiumClient(browser, name) {
  const context = await browser.newContext({
    permissions: ['camera', 'microphone'],
    viewport: { width: 1280, height: 800 },
  });
  await context.addInitScript({ content: PROBE });
  const page = await context.newPage();
  return new Client(name, 'chromium', page, () => context.close());
}

async function firefoxClient(name, wrap, options) {
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: wrap(executable('FIREFOX', FIREFOX_PATHS)),
    headless: true,
    protocolTimeout: 60_000,
    extraPrefsFirefox: FIREFOX_PREFERENCES,
    ...options,
  });
  const page = (await browser.pages())[0] ?? (await browser.newPage());
  await page.setViewport({ width: 1280, height: 800 });
  await page.evaluateOnNewDocument(PROBE);
  return new Client(name, 'firefox', page, () => browser.close());
}

/**
 * The browsers of one run. Chromium is started once and gives each person a context; Firefox is started
 * for each person, because a window behind another one is throttled.
 */
export class Browsers {
  #chromium = null;
  #flags;
  #firefox;
  #wrap;

  /**
   * `flags`: more of Chromium's; `firefox`: more for starting that one; `wrap` makes another executable of a browser's
   * (`networks/profile.mjs`).
   */
  constructor({ flags = [], firefox = {}, wrap = (file) => file } = {}) {
    this.#flags = flags;
    this.#firefox = firefox;
    this.#wrap = wrap;
  }

  async client(engine, name) {
    if (engine === 'firefox') return firefoxClient(name, this.#wrap, this.#firefox);
    this.#chromium ??= await chromium.launch({
      executablePath: this.#wrap(executable('CHROMIUM', CHROMIUM_PATHS)),
      headless: false,
      args: [...CHROMIUM_FLAGS, ...this.#flags],
    });
    return chromiumClient(this.#chromium, name);
  }

  async versions() {
    const probe = await this.client('chromium', 'version');
    const chromiumVersion = this.#chromium.version();
    await probe.close();
    return { chromium: chromiumVersion };
  }

  async close() {
    await this.#chromium?.close();
    this.#chromium = null;
  }
}
