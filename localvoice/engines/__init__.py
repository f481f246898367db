"""The models, each behind a small Protocol in a worker of its own; the only blocking code.

Silence on the network is set here, before any of the libraries can be imported: onnxruntime reports home
unless told not to before its first import, and faster-whisper brings the hub client along.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

# llama.cpp's threads spin where they meet. The default, minutes of it, takes the cores from every other model
# as soon as one of the threads is late; this is about 10 µs of spinning, then sleep. Read when libgomp loads.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
