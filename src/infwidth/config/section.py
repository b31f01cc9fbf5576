# SPDX-License-Identifier: Apache-2.0
"""The base of every group of settings, with types and checks; and the groups that many share."""

from collections.abc import Collection
from operator import attrgetter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from infwidth.config.variants import ALL_VARIANTS, VARIANTS

Count = Annotated[int, Field(ge=1)]
Width = Count
Steps = Count
# JAX's generator takes a seed modulo 2³²: beyond, two seeds would be one.
Seed = Annotated[int, Field(ge=0, lt=2**32)]
LearningRate = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]
Nats = Annotated[float, Field(gt=0)]
C4Config = Literal["en", "en.noblocklist", "en.noclean", "realnewslike"]


class Section(BaseModel):
    """A group of settings; unknown keys are errors, values cannot change once read."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _null_may_arrive_as_text(cls, values: Any) -> Any:
        # `snakemake --config 'model={feature_bias: null}'` hands nested values on as strings.
        if isinstance(values, dict):
            return {k: None if v in ("null", "None", "~") else v for k, v in values.items()}
        return values

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_not_one(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        values = value if isinstance(value, list) else [value]
        if cls.model_fields[info.field_name].annotation is not bool:
            for item in values:
                if isinstance(item, bool):
                    raise ValueError(f"{str(item).lower()} is not a value here")
        return value


def each_once(*fields: str) -> Any:
    """A validator for lists in which a value may stand only once."""

    def check(values: list) -> list:
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} is given twice; give each value once")
        return values

    return field_validator(*fields)(check)


def known_variants(*fields: str) -> Any:
    """A validator for lists of rows of the table of the paper's variants."""
    return variants_known_in(VARIANTS, *fields)


def variants_known_in(table: Collection[str], *fields: str) -> Any:
    """A validator for lists of rows of a table of variants."""

    def check(values: list[str]) -> list[str]:
        for value in values:
            if value not in table:
                raise ValueError(f"unknown variant {value!r}; known: {', '.join(table)}")
        return values

    return field_validator(*fields)(check)


def seeds_apart(*names: str, tuning: str = "tuning.seeds") -> Any:
    """A validator for a section whose `names`, lists of seeds, are to have none of `tuning`."""

    def check(section: Any) -> Any:
        for name in names:
            shared = sorted(set(getattr(section, name)) & set(attrgetter(tuning)(section)))
            if shared:
                raise ValueError(
                    f"seed {shared[0]} is in {name} and in {tuning}; reported runs need others"
                )
        return section

    return model_validator(mode="after")(check)


def whole_chunks() -> Any:
    """A validator for a section of training: whole chunks, and a peak that is reached."""

    def check(section: Any) -> Any:
        for name in ("steps", "checkpoint_every"):
            if getattr(section, name) % section.log_every:
                raise ValueError(f"{name} must be a multiple of log_every ({section.log_every})")
        if section.warmup_steps >= section.steps:
            raise ValueError(f"warmup_steps must be below steps ({section.steps})")
        return section

    return model_validator(mode="after")(check)


class TuningSettings(Section):
    """The search for each variant's readout rate: one grid, one budget, one rule, for all."""

    seeds: list[Seed] = Field([0, 1], min_length=1, description="Seeds of the tuning runs.")
    learning_rates: list[LearningRate] = Field(
        [1.0, 3.0, 10.0],
        min_length=2,
        description="The readout's rates, in units in which every rule's first step has rms η.",
    )
    kappas: list[LearningRate] = Field(
        [0.3, 1.0, 3.0],
        min_length=1,
        description="Rates κ of the features (variants that train them): η_ω = κ √d η_trunk.",
    )
    max_extensions: Annotated[int, Field(ge=0)] = Field(
        5,
        description="Steps by which a grid may grow where its best lies at an edge; the axes of a "
        "grid (learning_rates and kappas) share them.",
    )
    tolerance: Annotated[float, Field(ge=0)] = Field(
        0.002,
        description="Nats per token within which two rates count as equal; the smallest rate wins.",
    )
    race_margin: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="A rate further than this behind the best on the first tuning seed (nats per "
        "token, on digits per image) is dropped. One that is left alone needs no other seed. "
        "null: every rate runs on every seed.",
    )
    trunk_factors: list[Annotated[float, Field(gt=0)]] = Field(
        [0.5, 2.0],
        description="Multiples of training.trunk_learning_rate at which `constant` is checked.",
    )

    _no_duplicates = each_once("seeds", "learning_rates", "kappas", "trunk_factors")

    @model_validator(mode="after")
    def _race_spares_equals(self) -> "TuningSettings":
        if self.race_margin is not None and self.race_margin < self.tolerance:
            raise ValueError(
                f"race_margin {self.race_margin:g} is below tolerance {self.tolerance:g}: rates "
                "that count as equal would be dropped; raise race_margin"
            )
        return self


class C4Settings(Section):
    """C4 (corpus `c4` only): json.gz shards as allenai/c4 has them, or a prepared TFDS folder."""

    config: C4Config = Field("en", description="Which of C4's configurations.")
    train_shards: Count | None = Field(
        None,
        description="Training shards to read, from the first; null: as many as it takes until the "
        "largest run reads no token twice.",
    )
    vocabulary_documents: Count = Field(
        50_000,
        description="Documents, the first of the training shards, that a SentencePiece model is "
        "trained on.",
    )


class MeshSettings(Section):
    """The data × fsdp × width devices that share a run; its numbers differ by rounding only."""

    data: Count = Field(
        1,
        description="Into how many parts a batch is split, on devices that hold all parameters.",
    )
    fsdp: Count = Field(
        1,
        description="Into how many parts each of these is split again, on devices that share the "
        "storage of parameters and optimizer state.",
    )
    width: Count = Field(
        1, description="Into how many parts features and readout are split along H."
    )

    @property
    def devices(self) -> int:
        """How many devices a run takes."""
        return self.data * self.fsdp * self.width

    @property
    def batch_parts(self) -> int:
        """In how many parts a batch is split; must divide it."""
        return self.data * self.fsdp


class StatisticsSettings(Section):
    """How sure a statement must be; fixed before the runs, so that no verdict is made by eye."""

    confidence: OpenFraction = Field(
        0.95, description="Confidence of every interval; a test's level is one minus this."
    )
    bootstrap_samples: Annotated[int, Field(ge=100)] = Field(
        2000, description="Resamples of the test documents behind each document interval."
    )
    bootstrap_seed: Seed = Field(0, description="Seed of the resampling of documents.")
    equivalence_margin: Nats = Field(
        0.02,
        description="`tracks`: two variants whose losses differ by less than this, in nats per "
        "token, count as equal (TOST).",
    )
    effect_of_interest: Nats = Field(
        0.01,
        description="Smallest difference in loss, in nats per token, that the number of seeds "
        "must be able to show (power calculation).",
    )
    power: OpenFraction = Field(
        0.9, description="Chance of showing the effect of interest that the seeds must give."
    )
    gap_fraction: Fraction = Field(
        0.5,
        description="Where the gap closed is undefined, the test is instead whether ADAM* closes "
        "more than this fraction of what separates SGD from the frozen variant.",
    )
    judge: bool = Field(
        True, description="Give verdicts; if false every verdict reads `too small to judge`."
    )


MAIN = [
    *("unfrozen", "frozen", "ntk", "adam_star", "adam_star_error"),
    *("adam_star_measured", "ntk_measured", "constant"),
]
"""The paper's variants, reading C of ADAM*, measured scales (R), and the check of the trunk."""


class StudySettings(Section):
    """Variants, seeds and search; in each condition every variant is tuned by itself."""

    variants: list[str] = Field(
        MAIN, min_length=1, description="Rows of the tables of variants, each tuned by itself."
    )
    seeds: list[Seed] = Field(
        [50, 51, 52, 53],
        min_length=1,
        description="Seeds of the reported runs; none of the tuning seeds. No run on those of the "
        "default had been made when the rules of config/claims.yaml were written.",
    )
    parts_per_job: Count = Field(
        1,
        description="Parts (a variant in a condition at a width) that share a process; raise it "
        "where runs are short.",
    )
    tuning: TuningSettings = Field(
        default_factory=lambda: TuningSettings(max_extensions=6, race_margin=0.01)
    )

    _no_duplicates = each_once("variants", "seeds")
    _known_variants = variants_known_in(ALL_VARIANTS, "variants")
    _seeds_apart = seeds_apart("seeds")


class NumericsSettings(Section):
    """How models of finite width are computed; those of infinite width always as the defaults say.

    Parameters, optimizer, residual stream, norms, softmax and loss are float32 in any case. On GPUs
    and TPUs JAX may round the factors of a float32 product (to TF32 or bfloat16).
    """

    compute_dtype: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="What the factors of matrix products are rounded to; the products are summed "
        "in float32.",
    )
    attention: Literal["auto", "plain", "xla", "cudnn"] = Field(
        "auto",
        description="`plain`: our own, float32 only; `xla`, `cudnn`: JAX's dot_product_attention; "
        "`auto`: plain on a CPU in float32, cudnn (flash attention) on NVIDIA GPUs in bfloat16 "
        "where it can, else xla.",
    )
    rematerialize: bool = Field(
        False,
        description="Keep only the input of each block, and compute the block again in the "
        "backward pass: less memory, a third more work in the blocks. Saves nothing on a CPU, "
        "whose compiler merges what is computed twice.",
    )
    loss_block: Count | None = Field(
        None,
        description="Tokens whose logits exist at a time; null: all up to 2^24 logits on a CPU "
        "(2^27 elsewhere), and beyond that blocks of this size.",
    )

    @model_validator(mode="after")
    def _attention_knows_the_type(self) -> "NumericsSettings":
        needed = {"plain": "float32", "cudnn": "bfloat16"}.get(self.attention, self.compute_dtype)
        if needed != self.compute_dtype:
            raise ValueError(f"attention '{self.attention}' needs compute_dtype '{needed}'")
        return self


class MeasuredScalesSettings(Section):
    """The scale of each feature, in the variants whose features are `measured`.

    Feature ω is divided by s^p, s = max(r / mean r, floor), with r the mean over batches and
    outputs of the square of its functional gradient.
    """

    hold_after: Annotated[int, Field(ge=0)] | None = Field(
        0,
        description="0: r is measured before training, with M = 0; N: in the first N steps, then "
        "held; null: it never stops, and no kernel is fixed (a control).",
    )
    batches: Count = Field(
        50, description="Batches that r is measured on before training: the first of the run."
    )
    power: Annotated[float, Field(ge=0, le=1)] = Field(
        0.25, description="p; at 1/4 a step is divided by √s in all, as Adam's is."
    )
    floor: Annotated[float, Field(gt=0, le=1)] = Field(
        1e-6, description="The least s, which features have that are silent while r is measured."
    )
    source: Literal["gradient", "activation"] = Field(
        "gradient",
        description="`activation`: r is the mean square of the feature itself, whatever the errors "
        "(a control).",
    )
    permuted: bool = Field(
        False, description="Whether features have the scales of others, at random (a control)."
    )
    stream: Literal["own", "other"] = Field(
        "own",
        description="`other`: r is measured on the same features in a network and on batches of "
        "another seed (a control).",
    )

    @model_validator(mode="after")
    def _controls_are_measured_before_training(self) -> "MeasuredScalesSettings":
        for name in ("source", "permuted", "stream"):
            value = getattr(self, name)
            if self.hold_after != 0 and value != type(self).model_fields[name].default:
                raise ValueError(
                    f"{name} {value!r} is for scales measured before training: set hold_after to 0"
                )
        return self
