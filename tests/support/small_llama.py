"""The language model of the tiny profile, which tests load by itself."""

from localvoice.engines.threads import ThreadPlan
from tests.support.folders import MODELS

MODEL = MODELS / "smollm2-135m-instruct" / "SmolLM2-135M-Instruct.Q4_1.gguf"
# One thread each: on a busy machine two that wait for one another are slower than one.
PLAN = ThreadPlan(llm_decode=1, llm_prompt=1, stt=1, tts=1)
