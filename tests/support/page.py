"""What the tests do with the page, beside what Playwright does."""

from playwright.sync_api import Page, expect

ANSWER_MS = 60_000
"""Patience, not a bar of speed: a CI machine may be busy."""
HEARD = 0.01
"""RMS from which the agent's voice counts as heard."""

RECORD_LEVELS = """
// Both sides' loudness every 10 ms, from before the page's own code runs.
const levels = [];
Object.defineProperty(window, 'levels', { value: levels });
const original = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wanted) => {
  const stream = await original(wanted);
  const audio = new AudioContext();
  const analyser = new AnalyserNode(audio, { fftSize: 512 });
  audio.createMediaStreamSource(stream.clone()).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const own = Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length);
    levels.push([performance.now(), own, window.localvoice.remoteLevel()]);
  }, 10);
  return stream;
};
"""

REMEMBER_SOCKETS = """
const sockets = [];
Object.defineProperty(window, 'sockets', { value: sockets });
const Original = window.WebSocket;
window.WebSocket = class extends Original {
  constructor(...words) { super(...words); sockets.push(this); }
};
"""


def wait_until(page: Page, condition: str) -> None:
    """Poll: Playwright's own waiting evaluates text inside the page, which its security policy forbids."""
    for _ in range(ANSWER_MS // 50):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {condition}")


def expect_spoken_answer(page: Page, question: str) -> None:
    """The user's words are shown, and the agent answers in words and sound, once, to its end."""
    user = page.locator('#captions [data-role="user"]')
    agent = page.locator('#captions [data-role="agent"]')
    expect(user).to_contain_text(question, timeout=ANSWER_MS)
    expect(page.locator("#state")).to_have_attribute("data-state", "speaking", timeout=ANSWER_MS)
    wait_until(page, f"window.localvoice.remoteLevel() > {HEARD}")
    expect(agent).not_to_be_empty()
    assert float(agent.get_attribute("data-turn-ms", timeout=ANSWER_MS) or "nan") > 0
    expect(page.locator("#state")).to_have_attribute("data-state", "idle", timeout=ANSWER_MS)


def interruption(levels: list[tuple[float, float, float]]) -> tuple[float, float]:
    """When the user began to speak over the agent, and when the agent was heard last before the cut."""
    first_reply = next(time for time, _, agent in levels if agent > HEARD)
    onset = next(time for time, own, _ in levels if time > first_reply and own > HEARD)
    after = [(time, agent) for time, _, agent in levels if time >= onset]
    # Silent: 300 ms in a row without the agent's voice.
    for index, (time, _) in enumerate(after):
        window = [agent for later, agent in after[index:] if later - time <= 300]
        if max(window) <= HEARD:
            return onset, time
    raise AssertionError("the agent was never silent")


def expect_note(page: Page, words: str) -> None:
    """The page tells the user something."""
    note = page.locator('#captions [data-role="note"]', has_text=words)
    expect(note).to_be_visible(timeout=20_000)


def ask(page: Page, text: str) -> None:
    """Type it and send it."""
    page.fill("#text", text)
    page.press("#text", "Enter")


def shown(page: Page) -> list[str]:
    """The entries' roles in order."""
    roles: list[str] = page.locator("#captions > li").evaluate_all("items => items.map(i => i.dataset.role)")
    return roles
