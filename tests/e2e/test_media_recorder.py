"""What a real browser's MediaRecorder makes of the microphone is understood, sent in one message."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from playwright.sync_api import Page

from localvoice.audio.frames import AudioFrame

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

RECORD = """
async ([type, seconds]) => {
  if (!MediaRecorder.isTypeSupported(type)) return "";
  const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
  const recorder = new MediaRecorder(microphone, { mimeType: type });
  const parts = [];
  recorder.ondataavailable = (event) => parts.push(event.data);
  const stopped = new Promise((resolve) => { recorder.onstop = resolve; });
  recorder.start();
  await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  recorder.stop();
  await stopped;
  microphone.getTracks().forEach((track) => track.stop());
  const url = await new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.readAsDataURL(new Blob(parts));
  });
  const socket = new WebSocket(new URL("ws", location.href.replace("http", "ws")));
  return new Promise((resolve, reject) => {
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "ready") socket.send(JSON.stringify({ type: "audio", data: url.split(",")[1] }));
      if (message.type === "transcript" && message.isFinal) resolve(message.text);
      if (message.type === "error") reject(new Error(message.message));
    };
  });
}
"""


@pytest.mark.parametrize("kind", ["audio/webm;codecs=opus", "audio/mp4"])
def test_a_recording_of_the_browser_is_understood(
    kind: str,
    browse: Callable[..., AbstractContextManager[Page]],
    address: str,
    speak: Callable[[str], AudioFrame],
) -> None:
    question = speak("What is the capital of France?")
    with browse(question) as page:
        page.goto(address)
        words = page.evaluate(RECORD, [kind, question.seconds + 1])
        if not words:
            pytest.skip(f"this browser doesn't record {kind}")
        assert "capital of france" in words.lower()
