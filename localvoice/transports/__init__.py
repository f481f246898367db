"""How sound and messages come and go: WebRTC, the WebSocket, the sound card."""
