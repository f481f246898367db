"""The wire: what clients may send, and the exact JSON that they get."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localvoice.contract.client_messages import (
    MAX_MESSAGE_BYTES,
    MAX_SDP_CHARS,
    MAX_TEXT_CHARS,
    Audio,
    ForgetMessage,
    Offer,
    Ping,
    Reconnect,
    Text,
    parse,
)
from localvoice.contract.errors import ErrorCode, VoiceError
from localvoice.contract.messages import (
    ErrorMessage,
    Forgotten,
    LlmChunk,
    LlmReply,
    Pong,
    Ready,
    ReconnectAck,
    ReplyHeard,
    ServerMessage,
    Signal,
    SpeechEnd,
    SpeechStart,
    StateMessage,
    TranscriptMessage,
    TtsCancelled,
    TtsChunk,
    TtsComplete,
    TtsStart,
    TurnMetrics,
)


def test_each_client_message_is_understood() -> None:
    assert parse('{"type":"ping","timestamp":1700000000123}') == Ping(type="ping", timestamp=1700000000123)
    for kind in ("offer", "signal"):
        offer = parse(json.dumps({"type": kind, "signal": {"type": "offer", "sdp": "v=0"}}))
        assert isinstance(offer, Offer) and offer.signal.sdp == "v=0"
    again = parse(b'{"type":"reconnect","sessionId":"abc"}')
    assert isinstance(again, Reconnect) and again.session_id == "abc"
    audio = parse('{"type":"audio","data":"UklGRg==","attachments":[]}')
    assert isinstance(audio, Audio) and audio.data == "UklGRg=="
    text = parse('{"type":"text","text":"  Guten Tag, 世界 "}')
    assert isinstance(text, Text) and text.text.strip() == "Guten Tag, 世界"
    assert parse('{"type":"forget"}') == ForgetMessage(type="forget", all=False)
    assert parse('{"type":"forget","all":true}') == ForgetMessage(type="forget", all=True)


@pytest.mark.parametrize(
    ("message", "names"),
    [
        ("", "JSON"),
        ("hello", "JSON"),
        ("[]", "object"),
        ("null", "object"),
        ("{}", "type"),
        ('{"type":"shutdown"}', "shutdown"),
        ('{"type":["ping"]}', "type"),
        ('{"type":"ping"}', "timestamp"),
        ('{"type":"ping","timestamp":"soon"}', "timestamp"),
        ('{"type":"ping","timestamp":NaN}', "timestamp"),
        ('{"type":"ping","timestamp":1e999}', "timestamp"),
        ('{"type":"offer"}', "signal"),
        ('{"type":"offer","signal":{"type":"offer"}}', "sdp"),
        ('{"type":"offer","signal":{"type":"offer","sdp":""}}', "sdp"),
        ('{"type":"offer","signal":{"type":"rollback","sdp":"v=0"}}', "signal.type"),
        ('{"type":"reconnect"}', "sessionId"),
        ('{"type":"reconnect","sessionId":""}', "sessionId"),
        ('{"type":"reconnect","sessionId":17}', "sessionId"),
        ('{"type":"audio","data":""}', "data"),
        ('{"type":"text","text":" \\n\\t "}', "text"),
        ('{"type":"text","text":"\\ud800"}', "JSON"),
        ('{"type":"text","text":"' + "a" * (MAX_TEXT_CHARS + 1) + '"}', "text"),
        (json.dumps({"type": "offer", "signal": {"type": "offer", "sdp": "a" * (MAX_SDP_CHARS + 1)}}), "sdp"),
        ('{"a":' * 10_000, "JSON"),
        ('{"a":' * 100_000, "more than 20000 values"),
        ("[" * 10_000 + "]" * 10_000, "JSON"),
        (" " * (MAX_MESSAGE_BYTES + 1), "larger"),
        ("\U0001f600" * (MAX_MESSAGE_BYTES // 4 + 1), "larger"),
        (b"\xff\xfe", "JSON"),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_a_broken_message_is_refused_and_the_reason_named(message: str | bytes, names: str) -> None:
    with pytest.raises(VoiceError, match=names) as caught:
        parse(message)
    assert caught.value.code == ErrorCode.INVALID_MESSAGE


def test_a_refusal_does_not_send_the_message_back() -> None:
    with pytest.raises(VoiceError) as caught:
        parse('{"type":"' + "x" * 1_000_000 + '"}')
    assert len(caught.value.message) < 1_000


@given(st.one_of(st.text(), st.binary(), st.dictionaries(st.text(), st.text()).map(json.dumps)))
def test_whatever_comes_nothing_but_a_voice_error_is_raised(message: str | bytes) -> None:
    with pytest.raises(VoiceError):
        parse(message)


@pytest.mark.parametrize(
    ("message", "body"),
    [
        (
            Ready("id1", ({"urls": "stun:127.0.0.1:9"},)),
            {
                "type": "ready",
                "id": "id1",
                "protocolVersion": 1,
                "iceServers": [{"urls": "stun:127.0.0.1:9"}],
            },
        ),
        (Ready("id1"), {"type": "ready", "id": "id1", "protocolVersion": 1}),
        (Pong(5), {"type": "pong", "timestamp": 5}),
        (
            Signal({"type": "answer", "sdp": "v=0"}),
            {"type": "signal", "signal": {"type": "answer", "sdp": "v=0"}},
        ),
        (
            ReconnectAck(False, "s", False),
            {"type": "reconnect-ack", "success": False, "sessionId": "s", "historyRecovered": False},
        ),
        (TranscriptMessage("hi"), {"type": "transcript", "text": "hi", "isFinal": True}),
        (LlmChunk("a"), {"type": "llm-chunk", "content": "a", "done": False}),
        (LlmChunk("", done=True), {"type": "llm-chunk", "content": "", "done": True}),
        (LlmReply("é"), {"type": "llm", "text": "é"}),
        (TtsStart(), {"type": "tts-start"}),
        (
            TtsChunk("AAA=", 48000),
            {"type": "tts-chunk", "format": "pcm", "sampleRate": 48000, "data": "AAA="},
        ),
        (TtsComplete(), {"type": "tts-complete"}),
        (TtsCancelled(), {"type": "tts-cancelled"}),
        (SpeechStart(), {"type": "speech-start"}),
        (SpeechEnd(), {"type": "speech-end"}),
        (
            ErrorMessage(ErrorCode.STT_ERROR, "no"),
            {"type": "error", "code": "STT_ERROR", "message": "no"},
        ),
        (StateMessage("idle"), {"type": "state", "state": "idle"}),
        (ReplyHeard("Well,"), {"type": "reply-heard", "text": "Well,"}),
        (Forgotten(1, False, True), {"type": "forgotten", "exchanges": 1, "all": False, "said": True}),
        (
            TurnMetrics(5.0, None, 2.0, 3.0, 4.0, 1.0),
            {
                "type": "turn-metrics",
                "voiceToVoiceMs": 5.0,
                "transcriptMs": 2.0,
                "firstTokenMs": 3.0,
                "firstPieceMs": 4.0,
                "sttMs": 1.0,
            },
        ),
    ],
    ids=lambda value: value.type if isinstance(value, ServerMessage) else "",
)
def test_each_server_message_has_the_contracts_names(message: ServerMessage, body: dict[str, object]) -> None:
    assert json.loads(message.encode()) == body


def test_signalling_is_kept_off_the_data_channel() -> None:
    kinds = {each.type for each in ServerMessage.__subclasses__() if each.signalling}
    assert kinds == {"ready", "pong", "signal", "reconnect-ack"}


def test_the_contract_has_18_error_codes() -> None:
    assert len(ErrorCode) == 18
    assert all(code.value == code.name for code in ErrorCode)
