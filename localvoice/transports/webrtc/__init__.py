"""WebRTC by aiortc: one browser's microphone in, the agent's voice out."""
