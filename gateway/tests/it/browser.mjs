// A person with Chromium. Arguments: the driver's module, a folder for pictures, where the console is, and those of the story,
// which is `steps.mjs` beside this file. It fails where a page reports an error: a script that breaks, a policy that is violated.
import steps from './steps.mjs';

const [module, pictures, place, ...args] = process.argv.slice(2);
const { default: puppeteer } = await import(module);
const browser = await puppeteer.launch({
  executablePath: '/usr/bin/chromium',
  // As root in a container, which has no user namespace to give; the issuer's and the console's authorities are the test's own.
  args: ['--no-sandbox', '--ignore-certificate-errors', '--disable-dev-shm-usage', '--disable-gpu'],
  protocolTimeout: 240_000,
});
const faults = [];
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(60_000);
  // The issuer's pages are its own affair.
  const fault = (text) => page.url().startsWith(place) && faults.push(`${page.url()}: ${text}`);
  page.on('pageerror', fault);
  page.on('console', (message) => message.type() === 'error' && fault(message.text()));
  const press = (selector) => Promise.all([page.waitForNavigation(), page.click(selector)]);
  const person = {
    page,
    args,
    press,
    desktop: () => page.setViewport({ width: 1280, height: 800 }),
    phone: () => page.setViewport({ width: 390, height: 844, isMobile: true, hasTouch: true }),
    go: (path) => page.goto(place + path),
    text: async (selector) => {
      const found = await page.$(selector);
      if (!found) throw new Error(`no ${selector} on ${page.url()}: ${await page.$eval('body', (body) => body.textContent)}`);
      return found.evaluate((found) => found.textContent);
    },
    // Nothing is wider than the window.
    fits: async () => {
      const [whole, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      if (whole > window) throw new Error(`${page.url()} is ${whole} wide in a window of ${window}`);
    },
    picture: (name) => page.screenshot({ path: `${pictures}/${name}.png`, fullPage: true }),
    login: async (name, path) => {
      await page.goto(place + path);
      await page.type('input[name=login]', name);
      await page.type('input[name=password]', 'x');
      await press('button[type=submit]');
      await press('button[type=submit]');
      await page.waitForFunction((url) => location.href === url, {}, place + path);
    },
  };
  await person.desktop();
  await steps(person).catch(async (error) => {
    await person.picture('failed');
    const seen = await page.$eval('body', (body) => body.innerText);
    throw new Error(`${error} at ${page.url()}: ${faults.join('\n')}\n${seen}`);
  });
} finally {
  await browser.close();
}
if (faults.length) throw new Error(faults.join('\n'));
