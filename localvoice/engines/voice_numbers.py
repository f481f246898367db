"""The numbers in a voice's settings: within the ranges of real voices before anything is sized by them."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Id = Annotated[int, Field(ge=0, lt=1 << 20)]


class _Group(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class _Audio(_Group):
    sample_rate: int = Field(ge=8_000, le=192_000)


class _Inference(_Group):
    noise_scale: float = Field(default=0.667, ge=0, le=4)
    length_scale: float = Field(default=1.0, ge=0.1, le=10)
    noise_w: float = Field(default=0.8, ge=0, le=4)


class _Voice(_Group):
    audio: _Audio
    inference: _Inference = _Inference()
    num_symbols: int = Field(ge=1, lt=1 << 20)
    num_speakers: int = Field(ge=1, lt=1 << 20)
    default_speaker_id: Id = 0
    hop_length: int = Field(default=256, ge=1, le=8192)
    # A phoneme has one id; a combined one has a few.
    phoneme_id_map: dict[str, Annotated[list[Id], Field(max_length=16)]] = Field(max_length=20_000)

    @model_validator(mode="after")
    def _speaker_is_there(self) -> "_Voice":
        if self.default_speaker_id >= self.num_speakers:
            raise ValueError(f"there is no speaker {self.default_speaker_id} among {self.num_speakers}")
        return self


def check_numbers(settings: Any) -> None:
    """Raises `ValueError` naming the first number that is out of range, missing or none."""
    try:
        _Voice.model_validate(settings)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in problem["loc"])
        raise ValueError(f"{name}: {problem['msg']}" if name else problem["msg"]) from None
