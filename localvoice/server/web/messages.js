/**
 * The messages between the page and the server, as types only: no code runs here.
 *
 * They repeat `localvoice/contract/messages.py` and `client_messages.py`; a test compares the two.
 * @module
 */

/** @typedef {'idle'|'listening'|'thinking'|'speaking'} AgentState */

/* What the server sends, as far as the page reads it */

/** @typedef {{type: 'ready', id: string}} Ready */
/** @typedef {{type: 'pong', timestamp: number}} Pong */
/** @typedef {{type: 'signal', signal: RTCSessionDescriptionInit}} Signal */
/** @typedef {{type: 'reconnect-ack', success: boolean, sessionId: string, historyRecovered: boolean}} ReconnectAck */
/** @typedef {{type: 'transcript', text: string, isFinal: boolean}} TranscriptMessage */
/** @typedef {{type: 'llm-chunk', content: string, done: boolean}} LlmChunk */
/** @typedef {{type: 'llm', text: string}} LlmReply */
/** @typedef {{type: 'tts-start'}} TtsStart */
/** @typedef {{type: 'tts-chunk', data: string, sampleRate: number, format: string}} TtsChunk */
/** @typedef {{type: 'tts', data: string, format: string}} TtsMessage */
/** @typedef {{type: 'tts-complete'}} TtsComplete */
/** @typedef {{type: 'tts-cancelled'}} TtsCancelled */
/** @typedef {{type: 'speech-start'}} SpeechStart */
/** @typedef {{type: 'speech-end'}} SpeechEnd */
/** @typedef {{type: 'tool-call-start', name: string, callId: string, arguments: Record<string, unknown>}} ToolCallStart */
/** @typedef {{type: 'tool-call-end', callId: string, durationMs: number, result?: unknown, error?: string}} ToolCallEnd */
/** @typedef {{type: 'stage-change', from: string, to: string, reason: string}} StageChangeMessage */
/** @typedef {{type: 'error', code: string, message: string}} ErrorMessage */
/** @typedef {{type: 'state', state: AgentState}} StateMessage */
/** @typedef {{type: 'reply-heard', text: string}} ReplyHeard */
/** @typedef {{type: 'forgotten', exchanges: number, all: boolean, said: boolean}} Forgotten */
/**
 * @typedef {Object} Metrics ms after the end of the user's speech; a field that is missing was not measured
 * @property {number} [voiceToVoiceMs]
 * @property {number} [endpointMs]
 * @property {number} [transcriptMs]
 * @property {number} [firstTokenMs]
 * @property {number} [firstPieceMs]
 * @property {number} [sttMs] how long the transcription took
 */
/** @typedef {{type: 'turn-metrics'} & Metrics} TurnMetrics */
/**
 * @typedef {Ready|Pong|Signal|ReconnectAck|TranscriptMessage|LlmChunk|LlmReply|TtsStart|TtsChunk|TtsMessage|TtsComplete|
 *   TtsCancelled|SpeechStart|SpeechEnd|ToolCallStart|ToolCallEnd|StageChangeMessage|ErrorMessage|StateMessage|
 *   ReplyHeard|Forgotten|TurnMetrics} ServerMessage
 */

/* What the page sends */

/** @typedef {{type: 'offer', sdp: string}} SessionDescription */
/** @typedef {{data: string, mimeType: string}} Attachment */
/** @typedef {{type: 'ping', timestamp: number}} Ping */
/** @typedef {{type: 'offer', signal: SessionDescription}} Offer */
/** @typedef {{type: 'reconnect', sessionId: string}} Reconnect */
/** @typedef {{type: 'audio-chunk', data: string, sampleRate: number}} AudioChunk */
/** @typedef {{type: 'attachments', attachments: Attachment[]}} Attachments */
/** @typedef {{type: 'text', text: string}} Text */
/** @typedef {{type: 'forget', all: boolean}} ForgetMessage */
/** @typedef {Ping|Offer|Reconnect|AudioChunk|Attachments|Text|ForgetMessage} ClientMessage */

export {};
