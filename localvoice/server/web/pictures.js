/**
 * Pictures that go with the next thing the user says: chosen, pasted or dropped; shrunk; shown until sent.
 *
 * Hooks for tests: `#attach`, `#files`, `#pictures li`.
 * @module
 */

/** As many as the server takes for one utterance. */
const MOST = 4;
const MOST_BYTES = 30_000_000;
/** A model looks at a picture in tiles of a few hundred pixels; more detail than this is lost on it. */
const SIDE_PX = 1_024;
/** Longer strips have nothing left to see when they are shrunk, and the server refuses them. */
const MOST_ASPECT = 20;
/** Four of these stay below the server's 4 MiB for one message. */
const MOST_CHARS = 900_000;
const QUALITIES = [0.85, 0.7, 0.5, 0.3];

export class Pictures {
  /** As data: URLs. @type {string[]} */
  #urls = [];
  #waiting;
  #onRefused;
  #strip = element('pictures');
  #files = /** @type {HTMLInputElement} */ (element('files'));
  #text = /** @type {HTMLTextAreaElement} */ (element('text'));
  #hint = this.#text.placeholder;

  /**
   * @param {() => number} waiting how many are with the server already, for the next utterance
   * @param {(why: string) => void} onRefused a file wasn't taken, in words for the user
   */
  constructor(waiting, onRefused) {
    this.#waiting = waiting;
    this.#onRefused = onRefused;
    element('attach').addEventListener('click', () => this.#files.click());
    this.#files.addEventListener('change', () => {
      this.#add([...(this.#files.files ?? [])]);
      this.#files.value = ''; // the same file may be chosen again
    });
    document.addEventListener('paste', (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (files.length === 0) return;
      event.preventDefault();
      this.#add(files);
    });
    this.#takeDrops();
  }

  /** @returns {string[]} all that are shown, which are then shown no longer */
  take() {
    const urls = this.#urls;
    this.#urls = [];
    this.#show();
    return urls;
  }

  /** Shows pictures that couldn't be sent again. @param {string[]} urls */
  putBack(urls) {
    this.#urls = [...urls, ...this.#urls];
    this.#show();
  }

  #takeDrops() {
    document.addEventListener('dragover', (event) => {
      if (!event.dataTransfer?.types.includes('Files')) return;
      event.preventDefault(); // or the browser would leave the page and open the file
      document.body.dataset.drop = 'true';
    });
    document.addEventListener('dragleave', (event) => {
      if (!event.relatedTarget) delete document.body.dataset.drop; // out of the window
    });
    document.addEventListener('drop', (event) => {
      delete document.body.dataset.drop;
      if (!event.dataTransfer?.files.length) return;
      event.preventDefault();
      this.#add([...event.dataTransfer.files]);
    });
  }

  /** @param {File[]} files */
  async #add(files) {
    for (const file of files) {
      try {
        const url = await shrunk(file);
        if (this.#urls.length + this.#waiting() >= MOST) throw new Refusal(`At most ${MOST} pictures go with one message.`);
        this.#urls.push(url);
        this.#show();
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        this.#onRefused(error.message);
      }
    }
  }

  #show() {
    this.#strip.hidden = this.#urls.length === 0;
    this.#text.placeholder = this.#urls.length === 0 ? this.#hint : 'Ask about it, or just talk';
    this.#strip.replaceChildren(...this.#urls.map((url, index) => this.#item(url, index)));
  }

  /** @param {string} url @param {number} index */
  #item(url, index) {
    const item = document.createElement('li');
    const picture = new Image();
    picture.src = url;
    picture.alt = `Picture ${index + 1}, goes with your next words`;
    const remove = document.createElement('button');
    remove.type = 'button';
    remove.textContent = '×';
    remove.setAttribute('aria-label', `Remove picture ${index + 1}`);
    remove.addEventListener('click', () => {
      this.#urls.splice(index, 1);
      this.#show();
      element('attach').focus(); // the button that had the focus is gone
    });
    item.append(picture, remove);
    return item;
  }
}

/** The `attachments` message for pictures. @param {string[]} urls @returns {import('./messages.js').Attachments} */
export function attachments(urls) {
  const list = urls.map((url) => ({ data: url.slice(url.indexOf(',') + 1), mimeType: 'image/jpeg' }));
  return { type: 'attachments', attachments: list };
}

/** A file that isn't taken; the message says why, for the user. */
class Refusal extends Error {}

/** @param {File} file @returns {Promise<string>} data: URL of a small JPEG @throws {Refusal} */
async function shrunk(file) {
  const name = file.name ? `“${file.name}”` : 'That';
  if (file.size > MOST_BYTES) throw new Refusal(`${name} is larger than ${MOST_BYTES / 1e6} MB.`);
  const bitmap = await createImageBitmap(file).catch((/** @type {unknown} */ error) => {
    console.warn('localvoice: no picture', error);
    throw new Refusal(`${name} is no picture that this browser can read.`);
  });
  const { width, height } = bitmap;
  if (Math.max(width, height) > MOST_ASPECT * Math.min(width, height)) {
    throw new Refusal(`${name} is too long and narrow.`);
  }
  const scale = Math.min(1, SIDE_PX / Math.max(width, height));
  const canvas = document.createElement('canvas');
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext('2d');
  if (!context) throw new Refusal('This browser can’t shrink pictures.');
  context.fillStyle = '#fff'; // JPEG knows no transparency, and what was clear would turn black
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  for (const quality of QUALITIES) {
    const url = canvas.toDataURL('image/jpeg', quality);
    if (url.length <= MOST_CHARS) return url;
  }
  throw new Refusal(`${name} stays too large, however much it is compressed.`);
}

/** @param {string} id @returns {HTMLElement} */
function element(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}
