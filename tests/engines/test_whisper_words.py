"""Text is made of tokens as the model's own tokenizer makes it, without keeping that."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from localvoice.catalog import load_catalog, models_folder, ready
from localvoice.engines.whisper_text import WhisperWords

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    folder: Path = ready(load_catalog(), "tiny", models_folder()).stt_dir
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_any_tokens_give_the_text_that_the_tokenizer_gives(tokenizer: Tokenizer) -> None:
    words = WhisperWords(tokenizer, languages=["en"])
    end = tokenizer.token_to_id("<|endoftext|>")
    assert end is not None

    @settings(max_examples=300)
    @given(st.lists(st.integers(0, tokenizer.get_vocab_size() - 1)))
    def same(ids: list[int]) -> None:
        tokens = [tokenizer.id_to_token(number) or "" for number in ids]
        assert words.text(tokens, ids) == tokenizer.decode([number for number in ids if number < end])

    same()


@pytest.mark.parametrize("text", ["What's the weather in Paris?", "Grüße aus Köln", "こんにちは", "naïve 🙂"])
def test_words_of_all_writings_come_back(tokenizer: Tokenizer, text: str) -> None:
    encoded = tokenizer.encode(text, add_special_tokens=False)
    assert WhisperWords(tokenizer, languages=["en"]).text(encoded.tokens, encoded.ids) == text


def test_an_english_model_has_one_prompt(tokenizer: Tokenizer) -> None:
    prompts = WhisperWords(tokenizer, languages=["en"]).prompts
    names = ("<|startoftranscript|>", "<|notimestamps|>")
    assert prompts == {"en": tuple(tokenizer.token_to_id(name) for name in names)}


def test_a_language_that_the_model_lacks_has_none(tokenizer: Tokenizer) -> None:
    # The vocabulary of tiny.en knows the languages of the first models, but not Cantonese.
    prompts = WhisperWords(tokenizer, languages=["en", "de", "yue"]).prompts
    assert "de" in prompts and "yue" not in prompts
