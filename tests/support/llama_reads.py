"""Watches what a real language model reads."""

from collections.abc import Sequence

import pytest

from localvoice.engines.llama.engine import LlamaLlm


def counted_reads(llm: LlamaLlm, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens each step evaluates, from now on; a written one is a step of one."""
    steps: list[int] = []
    evaluate = llm._model._llama.eval

    def watched(tokens: Sequence[int]) -> None:
        steps.append(len(tokens))
        evaluate(tokens)

    monkeypatch.setattr(llm._model._llama, "eval", watched)
    return steps
